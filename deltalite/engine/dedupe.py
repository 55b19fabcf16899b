"""One row per key of a source, so that no row of the table meets two of them.

Keys are the same where the match says so. They lie in an index, in as many parts as the budget asks for; the columns
that order rows are read only where a key repeats, some rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.engine.clauses import EXAMPLES, example_keys
from deltalite.engine.index import BYTES_PER_ROW, KeyIndex
from deltalite.engine.parts import divide_source, entries, partitions, parts_needed
from deltalite.engine.sides import Keys
from deltalite.engine.spill import BATCH_ROWS, Budget, Source, names_of
from deltalite.exceptions import MultipleMatchesError
from deltalite.expr.arrow import evaluate
from deltalite.expr.vectors import from_numpy, numpy_bools, numpy_values, valid_mask
from deltalite.model.arrow import to_numpy
from deltalite.model.change import SOURCE, Match
from deltalite.model.expr import BoundExpr

Keep = Literal["error", "first", "last"]


def unique(source: Source, match: Match, keep: Keep, order_by: Sequence[BoundExpr], budget: Budget) -> Source:
    """The source with one row per key, which is closed with it; the source itself when no key repeats.

    :param match: equalities of columns that are no arrays or maps, and nothing else.
    :param keep: of the rows with one key the ``first`` or the ``last``; ``error`` refuses them.
    :param order_by: over the joined row's names (``source.x``), by which rows are first and last; rows that are equal
        in them, and all rows where there are none, by their arrival. Null is less than any value, NaN greater.
    :raises MultipleMatchesError: for ``error``, when keys repeat: ``count`` counts them, ``keys`` and ``source_rows``
        show some.
    """
    keys = Keys(match, source)
    repeated = _Repeated()
    left = np.ones(0 if keep == "error" else source.num_rows, bool)
    for index in _indexes(keys, source, budget):
        if keep == "error":
            repeated.add(index)
            continue
        left[index.rows] = False
        left[_winners(source, index, keep, order_by)] = True
    repeated.check(keys, source)
    return source if left.all() else Selection(source, np.flatnonzero(left), budget)


class Selection(Source):
    """Some rows of a source, numbered anew in their order.

    :param rows: their numbers, ascending.
    """

    def __init__(self, source: Source, rows: np.ndarray, budget: Budget) -> None:
        super().__init__(source.schema, [], None, budget)
        self._whole, self._rows = source, rows

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        return self._whole.nbytes

    @property
    def spilled(self) -> bool:
        return self._whole.spilled

    def close(self) -> None:
        self._whole.close()

    def batches(self, columns: Sequence[str], rows_per_batch: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        start = 0
        for batch in self._whole.batches(columns, rows_per_batch):
            first, last = np.searchsorted(self._rows, (start, start + batch.num_rows))
            if last - first == batch.num_rows:
                yield batch
            elif last > first:
                yield batch.take(from_numpy(self._rows[first:last] - start, pa.int64()))
            start += batch.num_rows

    def take(self, rows: np.ndarray, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        if not len(self._rows):
            return self._whole.take(rows, columns)  # nothing but rows of nulls can be asked for
        return self._whole.take(np.where(rows < 0, -1, self._rows[rows]), columns)


# -- keys that repeat --------------------------------------------------------------------------------------------------


def _indexes(keys: Keys, source: Source, budget: Budget) -> Iterator[KeyIndex]:
    """An index of each part of the source in which a key repeats; held while the caller is busy with it."""
    for coded, size in _parts(keys, source, budget):
        budget.hold(BYTES_PER_ROW * size)
        try:
            index = keys.lookup(coded, size).index
            if not index.unique:
                yield index
        finally:
            budget.release(BYTES_PER_ROW * size)


def _parts(keys: Keys, source: Source, budget: Budget) -> Iterator[tuple[Iterator[tuple[np.ndarray, np.ndarray]], int]]:
    """The source's codes and row numbers and how many there are, part by part."""
    parts = parts_needed(source.num_rows, budget)
    if parts == 1:
        yield keys.source_codes(), source.num_rows
        return
    with partitions(parts, budget) as divided:
        divide_source(keys, divided, parts)
        for part in range(parts):
            yield entries(divided, part), divided.rows[part]


class _Repeated:
    """Keys that several rows have: counted all, shown a few."""

    def __init__(self) -> None:
        self._count = self._rows = 0
        self._examples: list[np.ndarray] = []

    def add(self, index: KeyIndex) -> None:
        counts = index.sizes(np.arange(index.groups))
        several = np.flatnonzero(counts > 1)
        self._count += len(several)
        self._rows += int(counts[several].sum())
        ends = np.cumsum(counts)
        for group in several[: EXAMPLES - len(self._examples)]:
            self._examples.append(index.rows[ends[group] - counts[group] : ends[group]])

    def check(self, keys: Keys, source: Source) -> None:
        """
        :raises MultipleMatchesError: when there are any.
        """
        if not self._count:
            return
        sides = keys.source_sides
        firsts = np.sort(np.array([rows[0] for rows in self._examples]))
        names = [names_of(SOURCE, [side])[0] for side in sides]
        found = example_keys(sides, source.take_joined(firsts, names_of(SOURCE, sides)))
        examples: list[dict[str, Any]] = [dict(zip(names, key.values(), strict=True)) for key in found]
        shown = "; ".join(", ".join(f"{name} = {value!r}" for name, value in key.items()) for key in examples)
        raise MultipleMatchesError(
            f"{self._rows} rows of the source share {self._count} {'key' if self._count == 1 else 'keys'}, and each "
            f"key may have one row only; for example {shown}",
            hint="pass dedupe='last' or dedupe='first' to keep one row of each key, and order_by= to say by which "
            "columns; nothing was written",
            count=self._count,
            keys=examples,
            source_rows=[rows[:EXAMPLES].tolist() for rows in sorted(self._examples, key=lambda rows: rows[0])],
        )


# -- which row of a key ------------------------------------------------------------------------------------------------


def _winners(source: Source, index: KeyIndex, keep: Keep, order_by: Sequence[BoundExpr]) -> np.ndarray:
    """The row of each group that is kept."""
    counts = index.sizes(np.arange(index.groups))
    ends = np.cumsum(counts)
    winners = index.rows[ends - 1 if keep == "last" else ends - counts]
    several = np.flatnonzero(counts > 1)
    if order_by and len(several):
        rows = index.rows[np.repeat(counts > 1, counts)]
        groups = np.repeat(np.arange(len(several)), counts[several])
        winners[several] = _ranked(source, rows, groups, keep, order_by)
    return winners


def _ranked(
    source: Source, rows: np.ndarray, groups: np.ndarray, keep: Keep, order_by: Sequence[BoundExpr]
) -> np.ndarray:
    """The row of each group that comes first or last by some values.

    :param groups: of the rows, ascending. A group that does not end where some rows do goes on with its winner so far.
    """
    winners = np.zeros(int(groups[-1]) + 1, np.int64)
    for start in range(0, len(rows), BATCH_ROWS):
        some, of = rows[start : start + BATCH_ROWS], groups[start : start + BATCH_ROWS]
        if start and groups[start - 1] == of[0]:
            some, of = np.concatenate([[winners[of[0]]], some]), np.concatenate([of[:1], of])
        batch = source.take_joined(some, names_of(SOURCE, order_by))
        columns = [part for bound in reversed(order_by) for part in _sortable(evaluate(bound, batch))]
        order = np.lexsort((some, *columns, of))
        ended = of[order][1:] != of[order][:-1]
        edge = np.concatenate([ended, [True]]) if keep == "last" else np.concatenate([[True], ended])
        winners[of[order][edge]] = some[order][edge]
    return winners


def _sortable(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in the order of the values, and before them, whether there is a value."""
    valid, t = valid_mask(values), values.type
    if pa.types.is_null(t):
        numbers = np.zeros(len(values), np.int64)
    elif pa.types.is_boolean(t):
        numbers = numpy_bools(values)
    elif pa.types.is_decimal(t) or pa.types.is_string(t) or pa.types.is_binary(t):
        numbers = to_numpy(pc.rank(values, "ascending", tiebreaker="dense"))
    else:
        numbers = numpy_values(values)  # of floats the zeros are equal and NaN comes last
    return np.where(valid, numbers, numbers.dtype.type(0)), valid
