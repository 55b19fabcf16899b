"""Statistics that files lack, or have wrong, computed from their rows and recorded in the log; no file is written.

The files are added again under the same path, with nothing changed but their statistics (PROTOCOL.md, "Per-file
Statistics"). Of a file with a deletion vector the bounds are those of all its rows, deleted ones included, and said to
be wide, unless its statistics speak of the live rows alone (protocol trap 39).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.engine.arrow import ArrowEngine
from deltalite.expr.vectors import numpy_bools, numpy_values, valid_mask
from deltalite.model.actions import AddFile
from deltalite.model.arrow import mask_array
from deltalite.model.change import Rewrite
from deltalite.model.config import TableConfig
from deltalite.model.files import add_table
from deltalite.model.pending import ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.stats import TIGHT
from deltalite.model.tasks import FileTask, ScanPlan
from deltalite.model.types import StructType
from deltalite.model.write_spec import WriteSpec
from deltalite.operations.delete import reads_of
from deltalite.operations.file_changes import adds_of
from deltalite.operations.layout import LayoutRequest, LiveLayout, Path, ordered_columns, predicate_of
from deltalite.scan import plan as planning
from deltalite.scan.stats import LiveFiles, LogStats, TableFiles, leaf_columns
from deltalite.write import stats
from deltalite.write.layout import Layout, layout_of
from deltalite.write.leaves import leaves
from deltalite.write.spec import spec_of


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """Which statistics to look at.

    :param columns: names; ``None`` for those that the table asks for.
    :param deep: compare those that are there with the rows.
    :param where: only files that may hold a matching row.
    """

    columns: Sequence[str] | None = None
    deep: bool = False
    where: Any = None


def plan(request: RepairRequest, base: Snapshot, txn_id: str, engine: ArrowEngine) -> Rewrite:
    """
    :raises InvalidArgumentError: for an unknown column.
    """
    config, live = base.config, LiveLayout(base)
    spec = spec_of(config, txn_id=txn_id)
    paths = _Paths.of(config, spec)
    wanted = paths.wanted(spec, request.columns)
    chosen = live.selected(predicate_of(LayoutRequest(request.where), config))
    known = LogStats(config, LiveFiles(base.files), paths.logical)
    if not request.deep:
        chosen &= _lacking(known, wanted)
    computed = [p for p in paths.logical if p in wanted or _is_known(known, p)]
    names = tuple(dict.fromkeys(path[0] for path in computed))
    files = planning.plan(base, columns=names, keep=mask_array(chosen))
    old = adds_of(base, files.files.column("path")) if files.files.num_rows else []
    new = list(_recomputed(engine, files, old, _narrowed(spec, paths, computed)))
    if request.deep and new:
        wrong = _differing(config, old, new, computed)
        new = [add for add, is_wrong in zip(new, wrong.tolist(), strict=True) if is_wrong]
    return Rewrite(
        config=config,
        plan=files,
        spec=spec,
        operation="COMPUTE STATS",
        parameters={"columns": list(request.columns or ()), "deep": request.deep},
        reads=ReadSet(files=reads_of(files, None).files),
        actions=tuple(new),
        metrics={"numFilesScanned": len(old), "numFilesRepaired": len(new)},
    )


@dataclass(frozen=True)
class _Paths:
    """The leaf columns of the data files, under their logical and their physical names."""

    logical: list[Path]
    physical: dict[Path, Path]

    @classmethod
    def of(cls, config: TableConfig, spec: WriteSpec) -> _Paths:
        logical = [leaf.path for leaf in leaves([f for f, _ in spec.data_fields])]
        physical = [leaf.path for leaf in leaves([p for _, p in spec.data_fields])]
        return cls(logical, dict(zip(logical, physical, strict=True)))

    def wanted(self, spec: WriteSpec, columns: Sequence[str] | None) -> set[Path]:
        if columns is not None:
            roots = ordered_columns(spec.schema, columns)
            return {path for path in self.logical if any(path[: len(root)] == root for root in roots)}
        return {path for path, physical in self.physical.items() if physical in spec.stats_columns}


def _lacking(known: LogStats, wanted: set[Path]) -> np.ndarray:
    """Which files lack their number of rows, or the count of nulls of a column."""
    found = ~valid_mask(known.num_records)
    for path in wanted:
        column = known.column(path)
        if column is not None and column.null_count is not None:
            found |= ~valid_mask(column.null_count)
    return found


def _is_known(known: LogStats, path: Path) -> bool:
    """Whether any file has statistics of a column, which must not get lost."""
    column = known.column(path)
    return column is not None and column.null_count is not None and column.null_count.null_count < known.length


def _narrowed(spec: WriteSpec, paths: _Paths, computed: Sequence[Path]) -> Layout:
    """The layout of data files with the top-level columns of some leaves alone."""
    names = {path[0] for path in computed}
    pairs = [(f, p) for f, p in spec.data_fields if f.name in names]
    return layout_of(
        replace(
            spec,
            schema=StructType([f for f, _ in pairs]),
            physical=StructType([p for _, p in pairs]),
            partition_columns=(),
            stats_columns=tuple(paths.physical[path] for path in computed),
        )
    )


# -- computing ---------------------------------------------------------------------------------------------------------


def _recomputed(engine: ArrowEngine, plan: ScanPlan, old: Sequence[AddFile], layout: Layout) -> Iterator[AddFile]:
    shared = plan.shared()
    adds = {add.path: add for add in old}

    def one(task: FileTask) -> Iterator[AddFile]:
        add = adds[task.path]
        of_live_rows = add.deletion_vector is not None and _says_tight(add)
        read = task if of_live_rows else replace(task, deletion_vector=None)
        found, rows = _of_rows(engine.read(shared, read), layout)
        if of_live_rows and add.deletion_vector is not None:
            rows += add.deletion_vector.cardinality
        text = stats.to_json(layout.stats, found, rows, layout.spec.stats_prefix)
        if add.deletion_vector is not None and not of_live_rows:
            text = text.replace(f'"{TIGHT}":true', f'"{TIGHT}":false')
        yield replace(add, stats=text, data_change=False)

    sources = (partial(one, task) for task in plan.iter_tasks())
    return engine.over_files(sources, plan.files.num_rows, lambda add: len(add.stats or ""))


def _of_rows(batches: Iterator[pa.RecordBatch], layout: Layout) -> tuple[list[stats.LeafStats], int]:
    found = [stats.LeafStats(0, None) for _ in layout.stats]
    everywhere = frozenset(leaf.position for leaf in layout.stats)  # from the rows, since there is no footer to ask
    rows = 0
    for batch in batches:
        rows += batch.num_rows
        here = stats.of_row_group(layout.stats, [layout.file_rows(batch)], None, everywhere)
        found = stats.merged(found, here)
    return found, rows


def _says_tight(add: AddFile) -> bool:
    """Whether bounds are claimed to be exact for the live rows; by default they are."""
    try:
        told = json.loads(add.stats or "null")
    except ValueError:
        return False
    return isinstance(told, dict) and told.get(TIGHT, True) is not False


# -- comparing ---------------------------------------------------------------------------------------------------------


def _differing(
    config: TableConfig, old: Sequence[AddFile], new: Sequence[AddFile], paths: Sequence[Path]
) -> np.ndarray:
    """Which files' old statistics claim too much, or say less than the new ones."""
    by_path = {add.path: add for add in old}
    before = LogStats(config, TableFiles(add_table([by_path[add.path] for add in new])), paths)
    after = LogStats(config, TableFiles(add_table(new)), paths)
    found = _unequal(before.num_records, after.num_records)
    bounded = {path for path, _ in leaf_columns(config.schema)}
    for path in paths:
        b, a = before.column(path), after.column(path)
        if path not in bounded or b is None or a is None:
            continue
        found |= _unequal(b.null_count, a.null_count)
        if b.min is not None and a.min is not None and b.max is not None and a.max is not None:
            found |= _differ_in_presence(b.min, a.min) | numpy_bools(pc.greater(b.min, a.min))
            found |= _differ_in_presence(b.max, a.max) | numpy_bools(pc.less(b.max, a.max))
    return found


def _unequal(a: pa.Array | None, b: pa.Array | None) -> np.ndarray:
    assert a is not None and b is not None
    return _differ_in_presence(a, b) | (valid_mask(a) & (numpy_values(a) != numpy_values(b)))


def _differ_in_presence(a: pa.Array, b: pa.Array) -> np.ndarray:
    return valid_mask(a) != valid_mask(b)
