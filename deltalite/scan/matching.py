"""Files judged by their log entries: which may hold matching rows, which hold nothing else, how many rows they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from deltalite.expr.prune import all_rows_match, keep_mask
from deltalite.features import physical_schema
from deltalite.model.arrow import to_numpy
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.files import FileSet, struct_leaf
from deltalite.model.stats import MAX, MIN, NULLS, ROWS, has_bounds, parse_stats, record_counts, stats_type
from deltalite.scan.stats import LiveFiles, LogStats, TableFiles, known_stats, leaf_columns, partition_values

COUNT_COLUMNS = ("stats", "deletionVector")
MATCH_COLUMNS = ("path", "partitionValues", "stats")


def may_match(config: TableConfig, files: pa.Table, predicate: BoundExpr) -> np.ndarray:
    """Which files may hold a row that satisfies the predicate, as a mask.

    :param files: columns ``path``, ``partitionValues`` and ``stats`` of the log.
    """
    return keep_mask(predicate, LogStats(config, TableFiles(files), predicate.columns))


def rows_matched(config: TableConfig, files: pa.Table, predicate: BoundExpr) -> tuple[np.ndarray, np.ndarray]:
    """Which files may hold a matching row, and which hold nothing but matching rows, as masks."""
    stats = LogStats(config, TableFiles(files), predicate.columns)
    return keep_mask(predicate, stats), all_rows_match(predicate, stats)


def partition_column(config: TableConfig, files: pa.Table, name: str) -> pa.ChunkedArray:
    """The typed values of a partition column, one a file."""
    return pa.chunked_array([partition_values(config, TableFiles(files), name)])


def live_rows(config: TableConfig, files: FileSet) -> np.ndarray:
    """Live rows of each file of a version, as :func:`row_counts`; found once."""
    if (found := _LIVE_ROWS.get(files)) is None:
        counts = LogStats(config, LiveFiles(files), (), known_stats(files)).num_records
        found = _LIVE_ROWS[files] = _live(pa.chunked_array([counts]), files.table(["deletionVector"]))
    return found


_LIVE_ROWS: WeakKeyDictionary[FileSet, np.ndarray] = WeakKeyDictionary()


def row_counts(files: pa.Table) -> np.ndarray:
    """Live rows of each file, deleted ones subtracted; -1 where its statistics do not tell.

    :param files: the columns ``COUNT_COLUMNS`` of the log.
    """
    counts = record_counts(files.column("stats"))
    return _live(counts, files)


def _live(counts: pa.ChunkedArray, files: pa.Table) -> np.ndarray:
    rows = np.where(_valid(counts), to_numpy(counts), -1)
    deleted = struct_leaf(files.column("deletionVector"), ("cardinality",))
    gone = np.where(_valid(deleted), to_numpy(deleted), 0)
    return np.where((rows >= 0) & (gone <= rows), rows - gone, -1)


def _valid(values: pa.ChunkedArray) -> np.ndarray:
    return to_numpy(values.is_valid()) if values.null_count else np.ones(len(values), bool)


@dataclass(frozen=True)
class Statistics:
    """The statistics of files as their writers left them, by dotted logical name of the columns that have any."""

    num_records: pa.ChunkedArray
    minimum: Mapping[str, pa.ChunkedArray]
    maximum: Mapping[str, pa.ChunkedArray]
    null_count: Mapping[str, pa.ChunkedArray]


def statistics(config: TableConfig, files: pa.Table) -> Statistics:
    """What the log says about the columns of files; for people, not for pruning.

    :param files: the column ``stats`` of the log.
    """
    mapped = physical_schema(config)
    stored = set(config.data_schema.names)
    logical = [(path, kind) for path, kind in leaf_columns(config.schema) if path[0] in stored]
    partitions = {p.name for f, p in zip(config.schema.fields, mapped.fields, strict=True) if f.name not in stored}
    physical = [path for path, _ in leaf_columns(mapped) if path[0] not in partitions]
    parsed = parse_stats(files.column("stats"), stats_type(mapped, physical))

    def leaves(name: str, only_bounded: bool) -> dict[str, pa.ChunkedArray]:
        found = {}
        for (path, kind), at in zip(logical, physical, strict=True):
            if has_bounds(kind) or not only_bounded:
                column = struct_leaf(parsed, (name, *at))
                if column.null_count < len(column):
                    found[".".join(path)] = column
        return found

    return Statistics(struct_leaf(parsed, (ROWS,)), leaves(MIN, True), leaves(MAX, True), leaves(NULLS, False))


__all__ = [
    "COUNT_COLUMNS",
    "MATCH_COLUMNS",
    "Statistics",
    "may_match",
    "partition_column",
    "row_counts",
    "rows_matched",
    "statistics",
]
