"""From a snapshot and a request to a ScanPlan. Pure: nothing is read but the log that the snapshot stands on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr import prune
from deltalite.expr.bind import conjunction, conjuncts
from deltalite.expr.prune import Reason
from deltalite.features import partition_keys, physical_schema
from deltalite.features.reading import by_field_id, virtual_columns
from deltalite.model.arrow import array, mask_array, to_numpy
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import (
    FILE_COLUMNS,
    FILE_NAME,
    NUM_RECORDS,
    PLAN_FILES,
    ROW_INDEX,
    ScanPlan,
    ScanReport,
    VirtualColumn,
)
from deltalite.model.types import Field, PrimitiveType, StructType
from deltalite.scan.columns import Columns
from deltalite.scan.stats import LiveFiles, LogStats, known_stats

_BUILT_IN = {
    FILE_NAME: VirtualColumn(PrimitiveType("string"), constant="path"),
    ROW_INDEX: VirtualColumn(PrimitiveType("long"), add_position=True),
}


def plan(
    snapshot: Snapshot,
    *,
    predicate: BoundExpr | None = None,
    columns: Sequence[str] | None = None,
    virtual: Sequence[str] = (),
    limit: int | None = None,
    keep: pa.BooleanArray | None = None,
) -> ScanPlan:
    """What to read for the rows of a snapshot that satisfy a predicate.

    :param predicate: bound against the table's schema (and virtual columns); ``None`` for all rows.
    :param columns: names of the result's columns in order, ignoring case; ``None`` for all of the table.
    :param virtual: virtual columns to append: ``_file`` (the path as the log spells it), ``_row_index`` (position in
        the file, from 0) and those that the table's features add.
    :param limit: number of rows to stop after.
    :param keep: a mask over the snapshot's files; others are left out beforehand and not reported as skipped.
    :raises InvalidArgumentError: a column that does not exist, or one asked for twice.
    """
    config = snapshot.config
    selection = _select(snapshot, predicate, keep)
    needed = _Needed.of(config, columns, virtual, selection.residual)
    files = snapshot.files.table(FILE_COLUMNS)
    counts = known_stats(snapshot.files).get(())
    rows = pa.nulls(files.num_rows, pa.int64()) if counts is None else counts.null_count
    files = files.append_column(NUM_RECORDS, rows).select(PLAN_FILES.names)
    if selection.mask is not None:
        files = files.filter(mask_array(selection.mask))
    return ScanPlan(
        version=snapshot.version,
        output=needed.output,
        logical=needed.columns.logical,
        physical=needed.columns.physical,
        partition_columns=config.partition_columns,
        partition_keys=partition_keys(config),
        partition_types=tuple(f.type for f in config.partition_fields),
        virtual=needed.virtual,
        by_field_id=by_field_id(config),
        predicate=selection.residual,
        limit=limit,
        files=files,
        report=selection.report,
    )


def reading(
    plan: ScanPlan,
    config: TableConfig,
    columns: Sequence[str],
    virtual: Sequence[str] = (),
    predicate: BoundExpr | None = None,
) -> ScanPlan:
    """The files of a plan, read for other columns and another condition.

    :param config: the configuration that the plan was made for.
    """
    needed = _Needed.of(config, columns, virtual, predicate)
    return replace(
        plan,
        output=needed.output,
        logical=needed.columns.logical,
        physical=needed.columns.physical,
        virtual=needed.virtual,
        predicate=predicate,
        limit=None,
    )


def kept_files(snapshot: Snapshot, predicate: BoundExpr) -> pa.BooleanArray:
    """Which live files may hold a row that satisfies the predicate, as a mask over the rows of ``snapshot.files``."""
    mask = _select(snapshot, predicate, None).mask
    assert mask is not None
    return mask_array(mask)


def explain(snapshot: Snapshot, predicate: BoundExpr | None) -> pa.Table:
    """``path``, ``kept`` and ``reason`` of every live file for a scan with this predicate."""
    paths = snapshot.files.table(["path"]).column("path")
    if predicate is None:
        reasons, codes = ["kept"], np.zeros(len(paths), np.int64)
        kept = np.ones(len(paths), bool)
    else:
        stats = LogStats(snapshot.config, LiveFiles(snapshot.files), predicate.columns, known_stats(snapshot.files))
        found = prune.explain(predicate, stats, set(snapshot.config.partition_columns))
        kept = found.reasons < Reason.SKIPPED_BY_PARTITION
        pairs = np.column_stack([found.reasons.astype(np.int64), found.decided_by])
        _, examples, codes = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
        reasons = [found.text(int(i)) for i in examples]
    texts = array(reasons, pa.string()).take(_indices(codes))
    return pa.table({"path": paths, "kept": mask_array(kept), "reason": texts})


def _indices(codes: np.ndarray) -> pa.Array:
    flat = np.ascontiguousarray(codes.reshape(-1), np.int64)
    return pa.Array.from_buffers(pa.int64(), len(flat), [None, pa.py_buffer(flat)])


# -- files ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Selection:
    """The files to read (``None`` for all), and what of the predicate is left to decide row by row."""

    mask: np.ndarray | None
    report: ScanReport
    residual: BoundExpr | None


def _select(snapshot: Snapshot, predicate: BoundExpr | None, keep: pa.BooleanArray | None) -> _Selection:
    """First by partition values, then by the statistics of what is left."""
    files = snapshot.files
    count = files.count
    mask = np.ones(count, bool) if keep is None else to_numpy(keep).copy()
    if predicate is None:
        return _Selection(None if keep is None else mask, ScanReport(count, int(mask.sum())), None)
    partitions = set(snapshot.config.partition_columns)
    parts = conjuncts(predicate)
    early = [p for p in parts if all(path[0] in partitions for path in p.columns)]
    late = [p for p in parts if p not in early]
    known = known_stats(files)
    by_partition = by_statistics = without = 0
    if early:
        stats = LogStats(snapshot.config, LiveFiles(files), predicate.columns, known)
        before = int(mask.sum())
        for part in early:
            mask &= prune.keep_mask(part, stats)
        by_partition = before - int(mask.sum())
        early = [part for part in early if not prune.all_rows_match(part, stats)[mask].all()]
    if late and mask.any():
        rest = conjunction(late)
        few = 4 * int(mask.sum()) < count and not all(path in known for path in rest.columns)
        chosen = LiveFiles(files, mask_array(mask)) if few else LiveFiles(files)
        stats = LogStats(snapshot.config, chosen, rest.columns, None if few else known)
        found = prune.explain(rest, stats, partitions)
        reasons = found.reasons if few else found.reasons[mask]
        mask[mask] = reasons < Reason.SKIPPED_BY_PARTITION
        by_statistics = int((reasons >= Reason.SKIPPED_BY_PARTITION).sum())
        without = int((reasons == Reason.NO_STATISTICS).sum())
    report = ScanReport(count, int(mask.sum()), by_partition, by_statistics, without)
    left = [part for part in parts if part in late or part in early]
    return _Selection(mask, report, conjunction(left) if left else None)


# -- columns -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Needed:
    """The columns that a scan needs, by kind."""

    output: StructType
    columns: Columns
    virtual: dict[str, VirtualColumn]

    @classmethod
    def of(
        cls, config: TableConfig, columns: Sequence[str] | None, virtual: Sequence[str], predicate: BoundExpr | None
    ) -> _Needed:
        available = _available_virtual(config)
        names = config.schema.names if columns is None else list(columns)
        output = [_output_field(config, available, name) for name in (*names, *virtual)]
        chosen = [f.name for f in output]
        if twice := sorted({name for name in chosen if chosen.count(name) > 1}):
            raise InvalidArgumentError(f"columns {twice} are asked for twice", columns=twice)
        paths = [(name,) for name in chosen] + sorted(predicate.columns if predicate else ())
        stored = Columns(config.schema, physical_schema(config)).without(config.partition_columns).only(paths)
        used = {path[0] for path in paths} - set(config.schema.names)
        return cls(StructType(output), stored, {name: available[name] for name in sorted(used)})


def _available_virtual(config: TableConfig) -> dict[str, VirtualColumn]:
    own = set(config.schema.names)
    return {n: c for n, c in {**_BUILT_IN, **virtual_columns(config)}.items() if n not in own}


def _output_field(config: TableConfig, available: dict[str, VirtualColumn], name: str) -> Field:
    if (found := config.schema.get(name)) is not None:
        return found
    if name in available:
        return Field(name, available[name].type)
    near = difflib.get_close_matches(name, [*config.schema.names, *available], 1)
    raise InvalidArgumentError(
        f"there is no column {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(config.schema.names)}",
        column=name,
    )
