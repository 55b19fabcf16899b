"""Files judged by their log entries: which may hold matching rows, which hold nothing else, how many rows they have."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.prune import ColumnStats, all_rows_match, keep_mask
from deltalite.features import partition_keys
from deltalite.model import partition
from deltalite.model.arrow import scalar
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr

COUNT_COLUMNS = ("stats", "deletionVector")


class _Stats:
    def __init__(self, config: TableConfig, files: pa.Table) -> None:
        self._config, self._files = config, files
        self.length = files.num_rows
        self.num_records = None

    def column(self, path: tuple[str, ...]) -> ColumnStats | None:
        if len(path) != 1 or path[0] not in self._config.partition_columns:
            return None
        values = partition_column(self._config, self._files, path[0]).combine_chunks()
        return ColumnStats(values, values, None, exact=True)


def may_match(config: TableConfig, files: pa.Table, predicate: BoundExpr) -> np.ndarray:
    """Which files may hold a row that satisfies the predicate."""
    return keep_mask(predicate, _Stats(config, files))


def rows_matched(config: TableConfig, files: pa.Table, predicate: BoundExpr) -> tuple[np.ndarray, np.ndarray]:
    """Which files may hold a matching row, and which hold nothing but matching rows."""
    stats = _Stats(config, files)
    return keep_mask(predicate, stats), all_rows_match(predicate, stats)


def partition_column(config: TableConfig, files: pa.Table, name: str) -> pa.ChunkedArray:
    """The typed values of a partition column, one a file."""
    at = config.partition_columns.index(name)
    key = scalar(partition_keys(config)[at], pa.string())
    texts = [pc.map_lookup(c, query_key=key, occurrence="first") for c in files.column("partitionValues").chunks]
    kind = config.partition_fields[at].type
    return pa.chunked_array([partition.parse_column(t, kind) for t in texts])


def row_counts(files: pa.Table) -> np.ndarray:
    """Live rows of each file, -1 where its statistics do not tell."""
    found = [-1 if s is None else int(s.split('"numRecords":')[1].split(",")[0].rstrip("}")) for s in files.column("stats").to_pylist()]
    return np.array(found, dtype=np.int64)
