"""RoaringBitmapArray: the set of row positions that a deletion vector holds, and its two byte formats.

PROTOCOL.md, "Deletion Vector Format". The portable format is what everybody writes; the native one, older and found in
the specification's own inline sample, is read in either byte order (protocol traps 35 and 36).
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from pyroaring import BitMap, BitMap64

PORTABLE_MAGIC = 1681511377
NATIVE_MAGIC = 1681511376
MAX_BYTES = 512 << 20  # twice what a bitmap over the 2**31 rows of the largest file takes


class RowPositions:
    """An immutable set of row positions of one file."""

    __slots__ = ("_bitmap",)

    def __init__(self, bitmap: BitMap64) -> None:
        self._bitmap = bitmap

    @classmethod
    def of(cls, positions: Any) -> RowPositions:
        """From any integers that are not negative: a numpy array, a range, a list."""
        if isinstance(positions, range):
            return cls(BitMap64(positions))
        return cls(BitMap64(np.ascontiguousarray(positions, dtype=np.uint64)))

    def __len__(self) -> int:
        return len(self._bitmap)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowPositions) and self._bitmap == other._bitmap

    def __hash__(self) -> int:
        return hash((len(self), self.last))

    def __or__(self, other: RowPositions) -> RowPositions:
        return RowPositions(self._bitmap | other._bitmap)

    def __sub__(self, other: RowPositions) -> RowPositions:
        return RowPositions(self._bitmap - other._bitmap)

    def __reduce__(self) -> tuple[Any, ...]:
        return decode, (encode(self),)

    def __repr__(self) -> str:
        return f"RowPositions({len(self)} rows)"

    @property
    def last(self) -> int:
        """The greatest position; -1 for the empty set."""
        return self._bitmap.max() if self._bitmap else -1

    def between(self, start: int, stop: int) -> np.ndarray:
        """The positions from ``start`` up to but without ``stop``, ascending, as int64; a span of modest length."""
        if not self._bitmap.range_cardinality(start, stop):
            return np.zeros(0, np.int64)
        return _to_numpy(self._bitmap & BitMap64(range(start, stop)))

    def any_between(self, start: int, stop: int) -> bool:
        """Whether a position from ``start`` up to but without ``stop`` is in the set."""
        return bool(self._bitmap.range_cardinality(start, stop))

    def to_numpy(self) -> np.ndarray:
        """All positions, ascending, as int64."""
        return _to_numpy(self._bitmap)


def _to_numpy(bitmap: BitMap64) -> np.ndarray:
    return np.frombuffer(bitmap.to_array(), dtype=np.uint64).astype(np.int64) if bitmap else np.zeros(0, np.int64)


def encode(positions: RowPositions) -> bytes:
    """The set in the portable format: the magic number, then a 64-bit Roaring bitmap, runs of rows as such."""
    bitmap = positions._bitmap.copy()
    bitmap.run_optimize()
    return struct.pack("<I", PORTABLE_MAGIC) + bitmap.serialize()


def decode(data: bytes) -> RowPositions:
    """The set in either format.

    :raises ValueError: when the bytes are no such set, or others follow them.
    """
    try:
        magics = struct.unpack_from("<I", data)[0], struct.unpack_from(">I", data)[0]
        if magics[0] == PORTABLE_MAGIC:
            bitmap = _portable(data[4:])
        elif NATIVE_MAGIC in magics:
            bitmap = _native(data[4:], "<" if magics[0] == NATIVE_MAGIC else ">")
        else:
            raise ValueError(f"it begins with the magic number {magics[0]}")
    except struct.error as error:
        raise ValueError("it is cut off") from error
    if bitmap and bitmap.max() >= 2**63:
        raise ValueError("a row position has more than 63 bits")
    return RowPositions(bitmap)


def _portable(data: bytes) -> BitMap64:
    if _portable_length(data) != len(data):
        raise ValueError("bytes are left over")
    return BitMap64.deserialize(data)


def _portable_length(data: bytes) -> int:
    """Bytes that the 64-bit bitmap takes, by walking over its buckets."""
    (buckets,) = struct.unpack_from("<Q", data)
    at, last = 8, -1
    for _ in range(buckets):
        (key,) = struct.unpack_from("<I", data, at)
        if key <= last:
            raise ValueError("its buckets are out of order")
        last = key
        at += 4 + _length_of_32(data, at + 4)
    return at


def _length_of_32(data: bytes, at: int) -> int:
    """Bytes that a 32-bit Roaring bitmap at an offset takes (RoaringFormatSpec)."""
    start = at
    (cookie,) = struct.unpack_from("<I", data, at)
    at += 4
    if cookie & 0xFFFF == 12347:
        containers, has_runs = (cookie >> 16) + 1, True
        runs = data[at : at + (containers + 7) // 8]
        at += (containers + 7) // 8
    elif cookie == 12346:
        (containers,) = struct.unpack_from("<I", data, at)
        at, has_runs, runs = at + 4, False, b""
    else:
        raise ValueError(f"a bucket begins with the cookie {cookie}")
    headers = np.frombuffer(data, "<u2", 2 * containers, at).reshape(containers, 2)
    at += 4 * containers
    if not has_runs or containers >= 4:
        at += 4 * containers
    for index, (_, cardinality) in enumerate(headers.tolist()):
        if has_runs and runs[index // 8] >> (index % 8) & 1:
            at += 2 + 4 * struct.unpack_from("<H", data, at)[0]
        else:
            at += 2 * (cardinality + 1) if cardinality < 4096 else 8192
    return at - start


def _native(data: bytes, order: str) -> BitMap64:
    """Bitmaps of 32 bits one after the other, each with its length; the n-th holds positions from n * 2**32 on."""
    (count,) = struct.unpack_from(f"{order}I", data)
    at, found = 4, BitMap64()
    for index in range(count):
        (length,) = struct.unpack_from(f"{order}I", data, at)
        part = data[at + 4 : at + 4 + length]
        if len(part) != length or _length_of_32(part, 0) != length:
            raise ValueError("a bitmap in it is cut off")
        low = np.frombuffer(BitMap.deserialize(part).to_array(), dtype=np.uint32)
        found |= BitMap64(low.astype(np.uint64) + (index << 32))
        at += 4 + length
    if at != len(data):
        raise ValueError("bytes are left over")
    return found
