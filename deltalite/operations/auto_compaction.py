"""Compaction that follows a write by itself, where ``delta.autoOptimize.autoCompact`` asks for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc

from deltalite.model.actions import AddFile
from deltalite.model.arrow import array, to_numpy
from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.snapshot import Snapshot
from deltalite.operations import changing, execute
from deltalite.operations.compact import SMALL, candidates
from deltalite.operations.delete import row_spec
from deltalite.operations.layout import (
    Allowance,
    LayoutRequest,
    LiveLayout,
    parameters_of,
    rewrite_of,
    target_size,
)
from deltalite.operations.options import Committing
from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.operations")

FEWEST_FILES = 50
"""So many small files a partition has at least before it is compacted, as in Delta Spark."""


def after_write(store: Store, written: Snapshot, added: Sequence[AddFile], committing: Committing) -> Snapshot:
    """Compact the partitions that a write added files to; the write stands whatever happens here.

    :return: the newest version that this handle knows of.
    """
    engine = changing.engine_of(store, (), None)
    options = Committing(options=committing.options)

    def plan(base: Snapshot | None, txn_id: str) -> Rewrite:
        assert base is not None
        return plan_partitions(base, added, txn_id)

    try:
        return execute.perform(store, written, plan, options, engine=engine).snapshot
    except Exception as error:
        logger.warning("the write stands, but its small files were not compacted: %s", error)
        return written


def plan_partitions(base: Snapshot, added: Sequence[AddFile], txn_id: str) -> Rewrite:
    """The partitions of some files that have many small ones."""
    request, live = LayoutRequest(), LiveLayout(base)
    target = target_size(request, base.config)
    groups: list[FileGroup] = []
    if live.count >= FEWEST_FILES:
        paths = array([add.path for add in added], base.files.table(["path"]).column("path").type)
        new = to_numpy(pc.is_in(base.files.table(["path"]).column("path"), value_set=paths))
        touched = np.isin(live.partitions, live.partitions[new])
        found = candidates(live, touched, int(target * SMALL), Allowance.of(request))
        groups = [group for group in found if len(group.files) >= FEWEST_FILES]
    spec = replace(row_spec(base.config, txn_id), target_file_size=target)
    return rewrite_of(live, groups, spec, request, {**parameters_of(None, target), "auto": True})
