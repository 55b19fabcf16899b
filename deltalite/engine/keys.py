"""Keys of a match as 64-bit codes: one number per row, so that any set of key columns is matched like one integer.

Where the values of all columns fit into 64 bits together, the code *is* the key: the place of each value within the
source's range, in mixed radix. Otherwise (texts, long decimals, many wide columns) the code is a hash, and rows that
share a code are compared in full.

Equality is Spark's: NaN equals NaN, -0.0 equals 0.0, null equals nothing, or null under ``<=>`` and inside structs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.expr.functions.comparison import identical
from deltalite.expr.vectors import bools, from_numpy, numpy_bools, numpy_values, valid_mask

_FULL = 1 << 64
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_NULL = 0x9FB21C651E98DF25
_LONG_TEXT = 256
_KEPT_BYTES = np.array([(1 << 8 * n) - 1 for n in range(8)] + [_FULL - 1], np.uint64)
"""Masks for the words at the ends of texts."""


@dataclass(frozen=True)
class KeyColumn:
    """One column of a key, as plain values.

    :param values: no structs: their fields are columns of their own.
    :param null_is_value: null equals null.
    """

    values: pa.Array
    null_is_value: bool


def key_columns(keys: Iterable[tuple[pa.Array, bool]]) -> tuple[list[KeyColumn], np.ndarray | None]:
    """The columns of a key, and which rows can equal any at all (``None``: all).

    :param keys: the values of each part of the key, and whether null equals null in it.
    """
    columns: list[KeyColumn] = []
    able: np.ndarray | None = None
    for values, null_safe in keys:
        if not null_safe and values.null_count:
            valid = valid_mask(values)
            able = valid if able is None else able & valid
        columns.extend(_flat(values, null_safe))
    return columns, able


def _flat(values: pa.Array, null_safe: bool) -> Iterator[KeyColumn]:
    if not pa.types.is_struct(values.type):
        yield KeyColumn(values, null_safe)
        return
    if null_safe:
        yield KeyColumn(bools(valid_mask(values)), False)
    for child in values.flatten():
        yield from _flat(child, True)


def equal_keys(a: Sequence[KeyColumn], b: Sequence[KeyColumn]) -> np.ndarray:
    """Where two keys, both able to equal any, are the same."""
    same = np.ones(len(a[0].values), bool)
    for x, y in zip(a, b, strict=True):
        same &= identical(x.values, y.values)
    return same


class Ranges:
    """The least and the greatest number of each key column over all batches of the source."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int] | None] = []
        self._exact = True

    def add(self, columns: Sequence[KeyColumn], able: np.ndarray | None) -> None:
        if not self._found:
            self._found = [None] * len(columns)
        for i, column in enumerate(columns):
            if not _has_numbers(column.values.type):
                self._exact = False
                return
            numbers = _numbers(column.values)
            counted = valid_mask(column.values) if column.values.null_count else None
            if able is not None:
                counted = able if counted is None else counted & able
            if counted is not None:
                numbers = numbers[counted]
            if len(numbers):
                low, high = self._found[i] or (_FULL, -_FULL)
                self._found[i] = min(low, int(numbers.min())), max(high, int(numbers.max()))

    def coding(self, null_is_value: Sequence[bool]) -> Coding:
        """The codes that tell all keys of the source apart."""
        ranges = [found or (0, 0) for found in self._found]
        sizes = [high - low + 1 + null for (low, high), null in zip(ranges, null_is_value, strict=False)]
        capacity = 1
        for size in sizes:
            capacity *= size
        return Coding(tuple(low for low, _ in ranges), tuple(sizes) if self._exact and capacity < _FULL else None)


@dataclass(frozen=True)
class Coding:
    """How keys become codes.

    :param lows: the least number of each column.
    :param sizes: how many numbers each column may have, null included; ``None`` when codes are hashes.
    :param seed: makes another hash.
    """

    lows: tuple[int, ...]
    sizes: tuple[int, ...] | None
    seed: int = 0

    @property
    def exact(self) -> bool:
        """Whether rows with equal codes have equal keys."""
        return self.sizes is not None

    def codes(self, columns: Sequence[KeyColumn], rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The codes (uint64), and which rows have one that may occur in the source (``None``: all)."""
        if self.sizes is None:
            return self._hashes(columns, rows), None
        codes = np.zeros(rows, np.uint64)
        inside: np.ndarray | None = None
        for i, (column, low, size) in enumerate(zip(columns, self.lows, self.sizes, strict=True)):
            places = _places(column, low)
            below = places < np.uint64(size)
            inside = below if inside is None else inside & below
            codes = places if i == 0 else codes * np.uint64(size) + places
        return codes, inside

    def _hashes(self, columns: Sequence[KeyColumn], rows: int) -> np.ndarray:
        codes = np.full(rows, self.seed, np.uint64)
        for column in columns:
            values = column.values
            words = _numbers(values).view(np.uint64) if _has_numbers(values.type) else _hashed(values, self.seed)
            if values.null_count:
                null = np.uint64(
                    _NULL * (self.seed + 1) % _FULL
                )  # a value that it collides with is another's next time
                words = np.where(valid_mask(values), words, null)
            codes = _mixed(codes, words)
        return codes


def _places(column: KeyColumn, low: int) -> np.ndarray:
    """The distance of each number from the lowest; what lies below wraps around and is far above."""
    places = _numbers(column.values).view(np.uint64) - np.uint64(low % _FULL)
    if not column.null_is_value:
        return places
    above = places + np.uint64(1)
    above[above == 0] = np.uint64(_FULL - 1)
    return np.where(valid_mask(column.values), above, np.uint64(0)) if column.values.null_count else above


def _has_numbers(t: pa.DataType) -> bool:
    """Whether 64 bits hold every value of the type."""
    if pa.types.is_decimal(t):
        return t.precision <= 18
    return not (pa.types.is_nested(t) or _is_text(t))


def _is_text(t: pa.DataType) -> bool:
    return pa.types.is_string(t) or pa.types.is_binary(t)


def _numbers(values: pa.Array) -> np.ndarray:
    """One int64 per value, equal for equal values; what stands under a null is arbitrary."""
    t = values.type
    if pa.types.is_null(t):
        return np.zeros(len(values), np.int64)
    if pa.types.is_boolean(t):
        return numpy_bools(values).astype(np.int64)
    if pa.types.is_decimal(t):
        return _words(values)[:, 0].astype(np.int64)
    numbers = numpy_values(values)
    if pa.types.is_floating(t):
        numbers = numbers + numbers.dtype.type(0)  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan
        numbers = numbers.view(f"i{numbers.dtype.itemsize}")
    return numbers.astype(np.int64, copy=False)


def _words(values: pa.Array) -> np.ndarray:
    """The low and the high half of each decimal."""
    if not len(values) or values.buffers()[1] is None:
        return np.zeros((len(values), 2), np.uint64)
    return np.frombuffer(values.buffers()[1], "<u8", 2 * len(values), 16 * values.offset).reshape(-1, 2)


def _mixed(state: np.ndarray, words: np.ndarray) -> np.ndarray:
    state = (state ^ words) * _FACTOR
    state ^= state >> _HALF
    state *= _FACTOR
    state ^= state >> _HALF
    return state


def _hashed(values: Any, seed: int) -> np.ndarray:
    """A hash of each long decimal or text; what stands under a null is arbitrary."""
    if pa.types.is_decimal(values.type):
        words = _words(values)
        return _mixed(_mixed(np.full(len(values), seed, np.uint64), words[:, 0]), words[:, 1])
    return _hashed_texts(values, seed)


def _hashed_texts(values: Any, seed: int) -> np.ndarray:
    """Texts are hashed side by side, eight bytes at a time; very long ones each for itself."""
    buffers = values.buffers()
    offsets = np.frombuffer(buffers[1] or bytes(4), np.int32)[values.offset : values.offset + len(values) + 1]
    offsets = offsets.astype(np.int64)
    data = buffers[2] if len(buffers[2] or b"") >= 8 else pa.py_buffer(bytes(buffers[2] or b"") + bytes(8))
    words = np.ndarray(data.size - 7, "<u8", data, strides=(1,))
    lengths = np.diff(offsets)
    hashes = _mixed(np.full(len(values), seed, np.uint64), lengths.view(np.uint64))
    starts, shortest, longest = offsets[:-1], int(lengths.min(initial=_LONG_TEXT)), int(lengths.max(initial=0))
    for start in range(0, min(longest, _LONG_TEXT), 8):
        if start + 8 <= shortest:
            hashes = _mixed(hashes, words[starts + start])
        else:
            rows = np.flatnonzero(lengths > start)
            hashes[rows] = _mixed(hashes[rows], _words_at(words, starts[rows] + start, lengths[rows] - start))
    if longest > _LONG_TEXT:
        whole, key = memoryview(data), seed.to_bytes(8, "little")
        for row in np.flatnonzero(lengths > _LONG_TEXT).tolist():
            digest = hashlib.blake2b(whole[offsets[row] : offsets[row + 1]], digest_size=8, key=key).digest()
            hashes[row] ^= np.frombuffer(digest, np.uint64)[0]
    return hashes


def _words_at(words: np.ndarray, starts: np.ndarray, left: np.ndarray) -> np.ndarray:
    """The eight bytes at each place, or as many as are left of the text."""
    last = len(words) - 1
    found = words[np.minimum(starts, last)]
    over = np.clip(starts - last, 0, 7)
    if over.any():
        found >>= (over * 8).astype(np.uint64)
    return found & _KEPT_BYTES[np.clip(left, 0, 8)]


def row_numbers(selected: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray | None:
    """Numbers of selected rows, where ``rows`` are the numbers of the rows themselves (``None``: all, in order)."""
    if selected is None or selected.all():
        return rows
    return np.flatnonzero(selected) if rows is None else rows[selected]


def only(columns: Sequence[KeyColumn], rows: np.ndarray) -> list[KeyColumn]:
    """The key columns at some rows."""
    wanted = from_numpy(rows, pa.int64())
    return [KeyColumn(column.values.take(wanted), column.null_is_value) for column in columns]
