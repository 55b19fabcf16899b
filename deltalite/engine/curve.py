"""Places of rows on a space-filling curve: rows that are alike in all columns get places near one another.

A column's values first become ranks: the share of the rows that are less, so that skew does not matter and any type
that can be ordered will do. The ranks of all columns are the coordinates of a cell, and a Hilbert curve numbers the
cells. It has no jumps, unlike plain interleaving of bits (Z-order), so that fewer files hold the rows of a box.

Null is less than any value, NaN is greater, as in Spark. Ranks never contradict that order, though values that the
sample did not tell apart share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.expr.vectors import numpy_bools, numpy_values, valid_mask

CELL_BITS = 20
SAMPLE_ROWS = 50_000
_FEWEST_BITS_ALONE = 16
_WIDEST_TABLE = 1 << 20
_WORD = 8


class Curve:
    """A curve through the rows that a sample stands for.

    :param sample: per column some values of rows drawn at random.
    """

    def __init__(self, sample: Sequence[pa.Array]) -> None:
        count = len(sample)
        self._bits = _FEWEST_BITS_ALONE if count == 1 else max(1, CELL_BITS // count)
        self._ranks = [_ranks_of(values, self._bits) for values in sample]

    def places(self, columns: Sequence[pa.Array]) -> np.ndarray:
        """The place of every row, as uint32."""
        cells: Any = None
        for ranks, values in zip(self._ranks, columns, strict=True):
            coordinate = ranks.of(values)
            cells = coordinate if cells is None else (cells << np.uint32(self._bits)) | coordinate
        return cells if len(self._ranks) == 1 else hilbert_numbers(len(self._ranks), self._bits)[cells]


# -- ranks -------------------------------------------------------------------------------------------------------------


class _Ranks:
    """The ranks of a column's values, in so many bits.

    :param levels: the rank of what is less than all bounds, then of what is not less than each of them.
    """

    def __init__(self, bounds: Any, levels: np.ndarray) -> None:
        self._bounds = bounds
        self._levels = levels
        self._table = _table_of(bounds, levels)

    def of(self, values: pa.Array) -> np.ndarray:
        if not len(self._bounds):
            return np.zeros(len(values), np.uint32)
        if is_text(values.type):
            found = self._levels[_text_positions(_Texts(values), self._bounds)]
        elif self._table is not None:
            numbers = np.clip(ordered_numbers(values), self._bounds[0] - 1, self._bounds[-1])
            found = self._table[numbers.astype(np.int64) - (int(self._bounds[0]) - 1)]
        else:
            found = self._levels[np.searchsorted(self._bounds, ordered_numbers(values), side="right")]
        if values.null_count:
            found[~valid_mask(values)] = 0
        return found


def _ranks_of(sample: pa.Array, bits: int) -> _Ranks:
    present = sample.drop_null() if sample.null_count else sample
    if is_text(sample.type):
        ordered: Any = sorted(v if isinstance(v, bytes) else v.encode() for v in present.to_pylist())
    else:
        ordered = np.sort(ordered_numbers(present))
    nulls, total, cells = sample.null_count, len(sample), 1 << bits
    wanted = np.unique(np.maximum(np.arange(cells, dtype=np.int64) * total // cells - nulls, 0))
    wanted = wanted[wanted < len(ordered)]
    bounds = [ordered[i] for i in wanted.tolist()]
    first = [i for i in range(len(bounds)) if i == 0 or bounds[i] != bounds[i - 1]]
    ranks = (wanted[first] + nulls) * cells // max(1, total)
    levels = np.concatenate([[nulls * cells // max(1, total)], ranks]).astype(np.uint32)
    kept = [bounds[i] for i in first]
    return _Ranks(kept if is_text(sample.type) else np.array(kept, ordered.dtype), levels)


def _table_of(bounds: Any, levels: np.ndarray) -> np.ndarray | None:
    """The rank of every number from just below the first bound to the last one, where these are whole and near."""
    if not len(bounds) or isinstance(bounds, list) or bounds.dtype.kind != "i":
        return None
    low, high = int(bounds[0]), int(bounds[-1])
    if high - low >= _WIDEST_TABLE or low == np.iinfo(bounds.dtype).min:
        return None
    return levels[np.searchsorted(bounds.astype(np.int64), np.arange(low - 1, high + 1), side="right")]


def is_text(t: pa.DataType) -> bool:
    return pa.types.is_string(t) or pa.types.is_binary(t)


def ordered_numbers(values: pa.Array) -> np.ndarray:
    """Numbers in the order of the values; what stands under a null is arbitrary. Very long decimals are rounded."""
    t = values.type
    if pa.types.is_boolean(t):
        return numpy_bools(values).astype(np.int8)
    if pa.types.is_decimal(t):
        low, high = _halves(values)
        return low if t.precision <= 18 else high * 2.0**64 + low.view(np.uint64)
    numbers = numpy_values(values)
    if not pa.types.is_floating(t):
        return numbers
    numbers = numbers.astype(np.float64) + 0.0  # -0.0 becomes 0.0
    numbers[np.isnan(numbers)] = np.nan
    bits = numbers.view(np.int64)
    return bits ^ ((bits >> 63) & np.int64(np.iinfo(np.int64).max))


def _halves(decimals: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    buffer = decimals.buffers()[1]
    if buffer is None or not len(decimals):
        return np.zeros(len(decimals), np.int64), np.zeros(len(decimals), np.int64)
    words = np.frombuffer(buffer, "<i8", 2 * len(decimals), 16 * decimals.offset)
    return words[0::2].copy(), words[1::2]


class _Texts:
    """Texts as words of eight bytes, the order of which is that of the texts."""

    def __init__(self, values: pa.Array) -> None:
        _, offsets, data = values.buffers()
        ends = np.frombuffer(offsets or bytes(4), np.int32)[values.offset : values.offset + len(values) + 1]
        raw = bytes(_WORD) if data is None else data
        if len(raw) < _WORD:
            raw = bytes(raw) + bytes(_WORD)
        self._words = np.ndarray(len(raw) - _WORD + 1, ">u8", raw, strides=(1,))
        self._starts = ends[:-1].astype(np.int64)
        self._lengths = np.diff(ends).astype(np.int64)
        self.count = len(values)

    def words(self, level: int, rows: np.ndarray | None) -> np.ndarray:
        """The word of each text after so many others; zero bytes follow its end."""
        starts, lengths = self._starts, self._lengths
        if rows is not None:
            starts, lengths = starts[rows], lengths[rows]
        at, left = starts + level * _WORD, np.clip(lengths - level * _WORD, 0, _WORD)
        last = len(self._words) - 1
        over = np.clip(at - last, 0, _WORD).astype(np.uint64)
        found = self._words[np.minimum(at, last)].astype(np.uint64)
        found = np.where(over < _WORD, found << (over % _WORD * np.uint64(8)), np.uint64(0))
        return found & _KEPT[left]


_KEPT = np.array([((1 << 64) - 1) ^ ((1 << 8 * (_WORD - n)) - 1) for n in range(_WORD + 1)], np.uint64)
_DEEPEST = 8


def _text_positions(texts: _Texts, bounds: Sequence[bytes]) -> np.ndarray:
    """How many bounds are not greater than each text, as far as their first words tell."""
    found = np.zeros(texts.count, np.int64)
    todo: list[tuple[int, np.ndarray | None, int, int]] = [(0, None, 0, len(bounds))]
    while todo:
        level, rows, start, stop = todo.pop()
        edges = _words_of(bounds[start:stop], level)
        words = texts.words(level, rows)
        right = np.searchsorted(edges, words, side="right")
        places = start + right
        if rows is None:
            found = places
        else:
            found[rows] = places
        if level == _DEEPEST:
            continue
        distinct, firsts, counts = np.unique(edges, return_index=True, return_counts=True)
        for word, first, count in zip(distinct[counts > 1], firsts[counts > 1], counts[counts > 1], strict=True):
            alike = np.flatnonzero(words == word)
            if len(alike):
                at = start + int(first)
                todo.append((level + 1, alike if rows is None else rows[alike], at, at + int(count)))
    return found


def _words_of(texts: Sequence[bytes], level: int) -> np.ndarray:
    parts = (text[level * _WORD : (level + 1) * _WORD].ljust(_WORD, b"\0") for text in texts)
    return np.frombuffer(b"".join(parts), ">u8").astype(np.uint64)


# -- the curve ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def hilbert_numbers(dimensions: int, bits: int) -> np.ndarray:
    """The number of every cell along the Hilbert curve; the cells are those of a cube with ``2 ** bits`` per side.

    J. Skilling, "Programming the Hilbert curve", AIP Conference Proceedings 707 (2004).
    """
    cells = np.arange(1 << (dimensions * bits), dtype=np.uint32)
    side = (1 << bits) - 1
    axes = [(cells >> np.uint32(bits * (dimensions - 1 - i))) & np.uint32(side) for i in range(dimensions)]
    for at in range(bits - 1, 0, -1):
        bit, below = np.uint32(1 << at), np.uint32((1 << at) - 1)
        for i in range(dimensions):
            is_set = (axes[i] & bit) != 0
            swapped = np.where(is_set, 0, (axes[0] ^ axes[i]) & below)
            axes[0] = axes[0] ^ np.where(is_set, below, swapped)
            axes[i] = axes[i] ^ swapped
    for i in range(1, dimensions):
        axes[i] = axes[i] ^ axes[i - 1]
    turned = np.zeros_like(cells)
    for at in range(bits - 1, 0, -1):
        turned ^= np.where(axes[-1] & np.uint32(1 << at), np.uint32((1 << at) - 1), np.uint32(0))
    numbers = np.zeros_like(cells)
    for at in range(bits - 1, -1, -1):
        for axis in axes:
            numbers = (numbers << np.uint32(1)) | (((axis ^ turned) >> np.uint32(at)) & np.uint32(1))
    return numbers
