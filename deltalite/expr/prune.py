"""Which files may hold a matching row, and which hold nothing else, judged by their statistics.

This is the one rewrite of predicates onto statistics. It serves partition pruning, file skipping, Parquet row groups,
whole-file deletes and the conflict rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from deltalite.expr.bind import conjuncts
from deltalite.expr.bounds import Walk
from deltalite.expr.sql import to_sql
from deltalite.expr.statistics import ColumnStats, FileStats
from deltalite.expr.vectors import valid_mask
from deltalite.model.expr import BoundExpr

__all__ = ["ColumnStats", "Explanation", "FileStats", "Reason", "all_rows_match", "explain", "keep_mask"]


class Reason(IntEnum):
    """Why a file is read or skipped."""

    MAY_MATCH = 0
    NO_STATISTICS = 1
    SKIPPED_BY_PARTITION = 2
    SKIPPED_BY_STATISTICS = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """For every file, why it is kept or skipped.

    :param reasons: :class:`Reason` codes as int8.
    :param decided_by: the index into ``conjuncts`` of the condition that excluded the file, or -1.
    :param conjuncts: the conditions that must all hold, as SQL.
    """

    reasons: np.ndarray
    decided_by: np.ndarray
    conjuncts: tuple[str, ...]

    def count(self, reason: Reason) -> int:
        return int(np.count_nonzero(self.reasons == reason))

    def text(self, index: int) -> str:
        """The reason for one file, as a phrase."""
        reason = Reason(int(self.reasons[index]))
        if reason >= Reason.SKIPPED_BY_PARTITION:
            how = "partition value" if reason == Reason.SKIPPED_BY_PARTITION else "min/max"
            return f"skipped by {how}: {self.conjuncts[self.decided_by[index]]}"
        return "kept" if reason == Reason.MAY_MATCH else "kept: no statistics"


def keep_mask(predicate: BoundExpr, stats: FileStats) -> np.ndarray:
    """Which files may hold a row for which the predicate is true."""
    return Walk(stats, predicate.time_zone).truth(predicate.expr).true


def all_rows_match(predicate: BoundExpr, stats: FileStats) -> np.ndarray:
    """Which files provably hold only rows for which the predicate is true."""
    found = Walk(stats, predicate.time_zone).truth(predicate.expr)
    return ~found.false & ~found.null


def explain(predicate: BoundExpr, stats: FileStats, partition_columns: set[str]) -> Explanation:
    """For every file whether it is kept or skipped, and which condition decided."""
    parts = conjuncts(predicate)
    reasons = np.zeros(stats.length, dtype=np.int8)
    decided_by = np.full(stats.length, -1, dtype=np.int32)
    for i, part in enumerate(parts):
        by_partition = bool(part.columns) and all(path[0] in partition_columns for path in part.columns)
        skipped = ~keep_mask(part, stats) & (decided_by < 0)
        decided_by[skipped] = i
        reasons[skipped] = Reason.SKIPPED_BY_PARTITION if by_partition else Reason.SKIPPED_BY_STATISTICS
    kept = decided_by < 0
    for path in predicate.columns:
        reasons[kept & _without_statistics(stats, path)] = Reason.NO_STATISTICS
    return Explanation(reasons, decided_by, tuple(to_sql(part) for part in parts))


def _without_statistics(stats: FileStats, path: tuple[str, ...]) -> np.ndarray:
    found = stats.column(path)
    if found is None:
        return np.ones(stats.length, dtype=bool)
    if found.exact:
        return np.zeros(stats.length, dtype=bool)
    known = [a for a in (found.min, found.max, found.null_count) if a is not None]
    return ~np.any([valid_mask(a) for a in known], axis=0) if known else np.ones(stats.length, dtype=bool)
