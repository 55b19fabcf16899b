"""Rows in the order of their places on a curve, whatever their number: a sort by distribution.

Rows are dealt into parts that follow one another on the curve, each small enough to be sorted in memory. What does not
fit into memory meanwhile lies in a temporary file. Every row is written and read once, and no runs are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import pyarrow as pa

from deltalite.engine.spill import Budget
from deltalite.engine.temporary import PIECE_BYTES, Partitions, decoded, pieces, together
from deltalite.engine.vocabulary import Vocabulary
from deltalite.expr.vectors import from_numpy, numpy_values

Places = Callable[[pa.RecordBatch], np.ndarray]
MOST_PARTS = 4096
_PLACE = "\0place"


def sorted_rows(
    batches: Iterator[pa.RecordBatch], places: Places, sample: np.ndarray, rows: int, budget: Budget
) -> Iterator[pa.RecordBatch]:
    """The rows in ascending order of their places; rows with one place keep their order.

    :param places: gives the place of each row of a batch, as uint32.
    :param sample: places of rows drawn at random, by which the parts are made equal.
    :param rows: how many rows there are, about.
    :param budget: half of what is free of it is used.
    """
    size = max(PIECE_BYTES, budget.free // 8)
    first = next(batches, None)
    if first is None:
        return
    width = first.nbytes / max(1, first.num_rows)
    splits = _splits(sample, min(MOST_PARTS, int(rows * width // size) + 1))
    with _Dealt(splits, 2 * size, budget.directory) as dealt:
        for batch in chain([first], batches):
            dealt.add(batch, places(batch))
        del first
        for part in range(len(splits) + 1):
            for held in _gathered(dealt.read(part), 2 * size):
                yield from pieces(_in_order(held))


class _Dealt:
    """Rows in parts; those of a part in the order in which they came.

    Columns of few distinct values are kept as numbers until there are too many of these.
    """

    def __init__(self, splits: np.ndarray, waiting: int, directory: str | None) -> None:
        self._splits = splits
        self._new = lambda: Partitions(len(splits) + 1, waiting, directory)
        self._vocabulary: Vocabulary | None = None
        self._coded = self._new()
        self._plain: Partitions | None = None

    def add(self, batch: pa.RecordBatch, places: np.ndarray) -> None:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(batch)
        if self._vocabulary.is_full and self._plain is None:
            self._plain = self._new()
        rows = self._vocabulary.coded(batch) if self._plain is None else decoded(batch)
        columns = [*rows.columns, from_numpy(places, pa.uint32())]
        placed = pa.RecordBatch.from_arrays(columns, [*rows.schema.names, _PLACE])
        (self._plain or self._coded).add(placed, np.searchsorted(self._splits, places, side="right"))

    def read(self, part: int) -> Iterator[pa.RecordBatch]:
        assert self._vocabulary is not None
        for batch in self._coded.read(part):
            worded = self._vocabulary.worded(batch)
            yield worded if self._plain is None else decoded(worded)
        if self._plain is not None:
            yield from self._plain.read(part)

    def __enter__(self) -> _Dealt:
        return self

    def __exit__(self, *error: object) -> None:
        for parts in (self._coded, self._plain):
            if parts is not None:
                parts.__exit__(*error)


def _splits(sample: np.ndarray, parts: int) -> np.ndarray:
    """The least place of every part but the first."""
    ordered = np.sort(sample)
    return np.unique(ordered[np.arange(1, parts) * len(ordered) // parts]) if len(ordered) else ordered


def _gathered(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """A part as one batch, or as several where too many rows share a place to be sorted at once."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.nbytes for b in held) >= size:
            yield from together(held)
            held = []
    if held:
        yield from together(held)


def _in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: Sequence[pa.Array] = batch.columns
    places = numpy_values(columns[-1])
    places = places - places.min()
    finest = max(0, int(places.max()).bit_length() - 16)
    places = (places >> np.uint32(finest)).astype(np.uint16)  # 16 bits sort by radix, and are fine enough
    plain = pa.RecordBatch.from_arrays(columns[:-1], batch.schema.names[:-1])
    return plain.take(from_numpy(np.argsort(places, kind="stable"), pa.int64()))
