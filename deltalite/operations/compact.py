"""Compaction: the small files of each partition become few large ones, in their order.

Files below ``min_file_size`` are small, and files of which many rows are deleted are worn; both are rewritten together,
per partition, into files of the target size. What this leaves is at most one small file per partition (or cube), so
that doing it again finds nothing to do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.snapshot import Snapshot
from deltalite.operations.delete import row_spec
from deltalite.operations.layout import (
    Allowance,
    LayoutRequest,
    LiveLayout,
    bytes_of,
    parameters_of,
    predicate_of,
    rewrite_of,
    target_size,
)

WORN = 0.05
"""A file of which more rows are deleted is rewritten whatever its size."""
SMALL = 0.5
"""Files below this share of the target are small."""


def plan(request: LayoutRequest, base: Snapshot, txn_id: str) -> Rewrite:
    """The files to be put together."""
    config = base.config
    live, target = LiveLayout(base), target_size(request, config)
    predicate = predicate_of(request, config)
    spec = replace(row_spec(config, txn_id, request.writer_properties), target_file_size=target)
    least = bytes_of("min_file_size", request.min_file_size) or int(target * SMALL)
    selected = live.selected(predicate)
    groups = candidates(live, selected, min(least, target), Allowance.of(request))
    considered = int(selected.sum())
    return rewrite_of(live, groups, spec, request, parameters_of(predicate, target), considered=considered)


def candidates(live: LiveLayout, selected: np.ndarray, least: int, allowance: Allowance) -> list[FileGroup]:
    """Groups of at least two small files, or with a worn one."""
    worn = live.deleted_share > WORN
    chosen = selected & ((live.sizes < least) | worn)
    found = []
    for key, rows in live.groups(chosen):
        cube = live.cubes[1][key[-1]]
        if cube is not None and not cube.id:  # clustered in a way that only others know
            continue
        rows = allowance.first(rows, live.sizes)
        if len(rows) > 1 or worn[rows].any():
            allowance.take(rows, live.sizes)
            found.append(FileGroup(rows, cube.tags if cube else None, cube.provider if cube else None))
    return found


def plan_purge(request: LayoutRequest, base: Snapshot, txn_id: str) -> Rewrite:
    """The files with deletion vectors, of those that may hold a matching row."""
    predicate = predicate_of(request, base.config)
    live = LiveLayout(base)
    found = []
    for key, rows in live.groups(live.selected(predicate) & (live.deleted_share > 0)):
        cube = live.cubes[1][key[-1]]
        found.append(FileGroup(rows, cube.tags if cube else None, cube.provider if cube else None))
    spec = row_spec(base.config, txn_id, request.writer_properties)
    parameters = {"applyPurge": True, "predicate": parameters_of(predicate, 0)["predicate"]}
    return rewrite_of(live, found, spec, request, parameters, operation="REORG")
