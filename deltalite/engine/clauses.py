"""Which clause of a MERGE decides about a row, and the refusals that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import ExpressionError, MergeRefusedError, MultipleMatchesError
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.expr.sql import to_sql
from deltalite.expr.vectors import from_numpy, numpy_bools, python_value
from deltalite.model.change import SOURCE, TARGET, Clause, When
from deltalite.model.expr import BoundExpr

EXAMPLES = 5


class Decision:
    """The clauses of one kind, in their order: the first whose condition is true decides."""

    def __init__(self, clauses: Sequence[Clause], when: When) -> None:
        self.clauses = [(number, clause) for number, clause in enumerate(clauses) if clause.when == when]
        self.conditions = [clause.condition for _, clause in self.clauses if clause.condition is not None]
        self.failing = [number for number, clause in self.clauses if clause.action == "fail"]

    def __bool__(self) -> bool:
        return bool(self.clauses)

    @property
    def lone_delete(self) -> bool:
        """Whether it does not matter how often a row is matched."""
        return [(c.action, c.condition) for _, c in self.clauses] == [("delete", None)]

    def decide(self, rows: pa.RecordBatch, count: int) -> np.ndarray:
        """The number of the clause for each row, or -1; int8.

        A condition is computed for the rows only that no clause before it has taken.

        :param rows: with the columns of ``conditions``.
        """
        decided = np.full(count, -1, np.int8)
        left = np.arange(count)
        for number, clause in self.clauses:
            if clause.condition is None:
                decided[left] = number
                break
            holds = numpy_bools(true_mask(clause.condition, rows))
            decided[left[holds]] = number
            missed = np.flatnonzero(~holds)
            left, rows = left[missed], rows.take(from_numpy(missed, pa.int64()))
        return decided


class Refusals:
    """Rows for which the whole operation is refused: counted all, shown a few."""

    def __init__(self, clauses: Sequence[Clause]) -> None:
        self._clauses = clauses
        self._failed: dict[int, int] = {}
        self._failed_keys: list[Any] = []
        self._ambiguous = 0
        self._ambiguous_keys: list[Any] = []
        self._source_rows: list[list[int]] = []

    def failed(self, clause: int, count: int, keys: list[Any]) -> None:
        """Rows that a ``fail`` clause applies to."""
        self._failed[clause] = self._failed.get(clause, 0) + count
        self._failed_keys = (self._failed_keys + keys)[:EXAMPLES]

    def ambiguous(self, count: int, keys: list[Any], source_rows: list[list[int]]) -> None:
        """Rows of the table that several source rows would change."""
        self._ambiguous += count
        self._ambiguous_keys = (self._ambiguous_keys + keys)[:EXAMPLES]
        self._source_rows = (self._source_rows + source_rows)[:EXAMPLES]

    @property
    def wanted(self) -> int:
        """How many examples of ambiguous rows are still welcome."""
        return EXAMPLES - len(self._ambiguous_keys)

    def check(self, complete: bool = True) -> None:
        """
        :param complete: whether all rows of the table were looked at.
        :raises MergeRefusedError: a ``fail`` clause applied to a row.
        :raises MultipleMatchesError: several source rows would change one row of the table.
        """
        if self._failed:
            number, total = next(iter(self._failed)), sum(self._failed.values())
            clause = self._clauses[number]
            kind = {"matched": "matched rows", "not_matched": "source rows without a match"}
            raise MergeRefusedError(
                f"{total} {kind.get(clause.when, 'rows of the table without a match')} meet a clause that refuses them"
                f"; keys, for example: {_shown(self._failed_keys)}",
                hint="correct the source, or the condition of the clause; nothing was written",
                clause=number,
                count=total,
                keys=self._failed_keys,
            )
        if self._ambiguous:
            rows = f"{'' if complete else 'at least '}{self._ambiguous} of its rows"
            raise MultipleMatchesError(
                f"several rows of the source would change the same row of the table, for {rows}"
                f"; keys, for example: {_shown(self._ambiguous_keys)}",
                hint="make the source unique by the keys of the match; nothing was written",
                count=self._ambiguous,
                keys=self._ambiguous_keys,
                source_rows=self._source_rows,
            )


def _shown(keys: list[Any]) -> str:
    return ", ".join(", ".join(f"{name} = {value!r}" for name, value in key.items()) or "(none)" for key in keys)


def example_keys(bounds: Sequence[BoundExpr], rows: pa.RecordBatch) -> list[dict[str, Any]]:
    """The values of key expressions, by their names."""
    names = [to_sql(bound.expr).replace("`", "").removeprefix(TARGET).removeprefix(SOURCE) for bound in bounds]
    columns = [[_python(value, bound) for value in evaluate(bound, rows)] for bound in bounds]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)] if columns else []


def _python(value: pa.Scalar, bound: BoundExpr) -> Any:
    try:
        return python_value(value, bound.type)
    except ExpressionError:  # beyond Python's calendar, or nested
        return str(value)
