"""Z-order and clustering: rows of many files laid out along one curve, incrementally.

What one run lays out together is a *cube*. A run takes the files that are in no cube yet, and of the cubes the small
ones: as long as the next one is at most twice as large as all that is taken already. So a small append never rewrites
a large cube, every row is rewritten a logarithmic number of times while the table grows, and a lookup meets few cubes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from deltalite.exceptions import InvalidArgumentError
from deltalite.features.clustering import PROVIDER, clustering_columns, cube_tags
from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.snapshot import Snapshot
from deltalite.model.write_spec import WriteSpec
from deltalite.operations.delete import row_spec
from deltalite.operations.layout import (
    ORDER_COLUMNS,
    ORDER_ID,
    Allowance,
    Cube,
    LayoutRequest,
    LiveLayout,
    Path,
    ordered_columns,
    parameters_of,
    predicate_of,
    rewrite_of,
    target_size,
)
from deltalite.scan.matching import live_rows
from deltalite.write.leaves import leaves

GROWTH = 2
LARGEST_CUBE = 100 << 30
CURVE = "hilbert"


def plan_z_order(
    request: LayoutRequest,
    columns: Sequence[str],
    full: bool,
    base: Snapshot,
    txn_id: str,
) -> Rewrite:
    """
    :raises InvalidArgumentError: for columns by which rows cannot be ordered, or a table that is clustered.
    """
    config = base.config
    if clustering_columns(config):
        raise InvalidArgumentError(
            "the table is clustered, which is the order that its rows have",
            hint="optimize.cluster() lays them out, alter.cluster_by([...]) chooses other columns",
        )
    if not columns:
        raise InvalidArgumentError("Z-order needs a column at least", hint="name those that queries filter by")
    paths = ordered_columns(config.schema, columns)
    if partitions := [path[0] for path in paths if path[0] in config.partition_columns]:
        raise InvalidArgumentError(
            f"rows cannot be ordered by the partition columns {partitions}: they are alike in all rows of a partition",
            hint="leave them out; rows are ordered within each partition",
            columns=partitions,
        )
    live, predicate = LiveLayout(base), predicate_of(request, config)
    names = tuple(".".join(path) for path in paths)
    selected = live.selected(predicate)
    chosen = _choose(
        live, selected, lambda cube: cube is None or (bool(cube.id) and cube.columns != names), names, full
    )
    tags = {ORDER_COLUMNS: json.dumps(list(names), separators=(",", ":"), ensure_ascii=False)}
    groups = [
        FileGroup(rows, {ORDER_ID: str(uuid.uuid5(uuid.NAMESPACE_OID, f"{txn_id}/{n}")), **tags})
        for n, rows in enumerate(_allowed(live, chosen, request))
    ]
    parameters = parameters_of(predicate, target_size(request, config), order=names)
    return _rewrite(live, groups, request, paths, txn_id, parameters, int(selected.sum()))


def plan_cluster(request: LayoutRequest, full: bool, base: Snapshot, txn_id: str) -> Rewrite:
    """
    :raises InvalidArgumentError: for a table that is not clustered.
    """
    config = base.config
    paths = clustering_columns(config)
    if not paths:
        raise InvalidArgumentError(
            "the table has no columns to cluster by",
            hint="alter.cluster_by([...]) chooses them; optimize.z_order([...]) orders rows once",
        )
    live = LiveLayout(base)
    names = tuple(".".join(path) for path in paths)
    chosen = _choose(live, np.ones(live.count, bool), lambda cube: cube is None or not cube.provider, names, full)
    groups = []
    for number, rows in enumerate(_allowed(live, chosen, request)):
        cube_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{txn_id}/{number}"))
        groups.append(FileGroup(rows, cube_tags(cube_id, paths, CURVE), PROVIDER))
    parameters = {**parameters_of(None, target_size(request, config), cluster=names), "isFull": full}
    return _rewrite(live, groups, request, paths, txn_id, parameters, live.count)


def _choose(
    live: LiveLayout, selected: np.ndarray, is_fresh: Callable[[Cube | None], bool], names: tuple[str, ...], full: bool
) -> Iterator[np.ndarray]:
    """What is laid out anew, per partition: files in no cube, and cubes that are not too large for them.

    :param is_fresh: whether the files of a cube (or of none) count as not laid out.
    :param full: lay out everything again, unless it is one cube of these columns.
    """
    live_rows(live.base.config, live.base.files)  # so that the plan knows how many rows there are
    cubes = live.cubes[1]
    partitions: dict[int, list[tuple[Cube | None, np.ndarray]]] = {}
    for (partition, number), rows in live.groups(selected):
        partitions.setdefault(partition, []).append((cubes[number], rows))
    for parts in partitions.values():
        fresh = [rows for cube, rows in parts if is_fresh(cube)]
        others = [(cube, rows) for cube, rows in parts if cube is not None and not is_fresh(cube)]
        if full:
            if fresh or len(others) > 1 or any(cube.columns != names for cube, _ in others):
                yield _joined([rows for _, rows in parts])
            continue
        own = sorted((rows for cube, rows in others if cube.columns == names), key=lambda r: int(live.sizes[r].sum()))
        size = sum(int(live.sizes[rows].sum()) for rows in fresh)
        taken = list(fresh)
        for rows in own:
            more = int(live.sizes[rows].sum())
            if not fresh or more > GROWTH * size or size + more > LARGEST_CUBE:
                break
            taken.append(rows)
            size += more
        if taken:
            yield _joined(taken)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(parts))


def _allowed(live: LiveLayout, chosen: Iterator[np.ndarray], request: LayoutRequest) -> Iterator[np.ndarray]:
    """The groups within the budgets, none of them larger than a cube may be."""
    allowance = Allowance.of(request)
    for rows in chosen:
        cubes = np.cumsum(live.sizes[rows]) // LARGEST_CUBE
        for cube in np.unique(cubes).tolist():
            part = allowance.first(rows[cubes == cube], live.sizes)
            if len(part):
                allowance.take(part, live.sizes)
                yield part


def _rewrite(
    live: LiveLayout,
    groups: Sequence[FileGroup],
    request: LayoutRequest,
    paths: tuple[Path, ...],
    txn_id: str,
    parameters: dict[str, object],
    considered: int,
) -> Rewrite:
    config = live.base.config
    spec = row_spec(config, txn_id, request.writer_properties)
    spec = replace(spec, target_file_size=target_size(request, config), stats_columns=_with_statistics(spec, paths))
    return rewrite_of(live, groups, spec, request, parameters, order=paths, considered=considered)


def _with_statistics(spec: WriteSpec, paths: Sequence[Path]) -> tuple[Path, ...]:
    """The columns with statistics, those of the order among them: without bounds the order would be of no use."""
    logical = [leaf.path for leaf in leaves([f for f, _ in spec.data_fields])]
    physical = [leaf.path for leaf in leaves([p for _, p in spec.data_fields])]
    wanted = {p for path, p in zip(logical, physical, strict=True) if path in paths}
    return tuple(p for p in physical if p in wanted or p in spec.stats_columns)
