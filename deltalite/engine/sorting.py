"""Rows in the order of their places on a curve, whatever their number: a sort by distribution.

Rows are dealt into parts that follow one another on the curve, each small enough to be sorted in memory. What does not
fit into memory meanwhile lies in a temporary file. Every row is written and read once, and no runs are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from deltalite.engine.spill import Budget
from deltalite.engine.temporary import PIECE_BYTES, Partitions, pieces
from deltalite.expr.vectors import from_numpy, numpy_values
from deltalite.model.arrow import concat_batches

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
    with Partitions(len(splits) + 1, 2 * size, budget.directory) as parts:
        parts.add(*_dealt(first, places, splits))
        del first
        for batch in batches:
            parts.add(*_dealt(batch, places, splits))
        for part in range(len(splits) + 1):
            for held in _gathered(parts.read(part), 2 * size):
                yield from pieces(_in_order(held))


def _splits(sample: np.ndarray, parts: int) -> np.ndarray:
    """The least place of every part but the first."""
    ordered = np.sort(sample)
    return np.unique(ordered[np.arange(1, parts) * len(ordered) // parts]) if len(ordered) else ordered


def _dealt(batch: pa.RecordBatch, places: Places, splits: np.ndarray) -> tuple[pa.RecordBatch, np.ndarray]:
    """The batch with its places, and the part of each row."""
    found = places(batch)
    columns = [*batch.columns, from_numpy(found, pa.uint32())]
    schema = pa.schema([*batch.schema, pa.field(_PLACE, pa.uint32())])
    return pa.RecordBatch.from_arrays(columns, schema=schema), np.searchsorted(splits, found, side="right")


def _gathered(batches: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """A part as one batch, or as several where too many rows share a place to be sorted at once."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.nbytes for b in held) >= size:
            yield concat_batches(held)
            held = []
    if held:
        yield concat_batches(held)


def _in_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns: Sequence[pa.Array] = batch.columns
    places = numpy_values(columns[-1])
    places = places - places.min()
    if places.max() < 1 << 16:
        places = places.astype(np.uint16)  # 16 bits sort by radix
    plain = pa.RecordBatch.from_arrays(columns[:-1], schema=batch.schema.remove(len(columns) - 1))
    return plain.take(from_numpy(np.argsort(places, kind="stable"), pa.int64()))
