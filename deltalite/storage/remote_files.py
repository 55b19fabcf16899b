"""Random access to a remote object: every read is one exact range request."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["open_ranges"]

SMALL_BYTES = 1 << 20
"""Objects up to this size are fetched in one request rather than footer first."""


def open_ranges(size: int, read_range: Callable[[int, int], bytes]) -> pa.NativeFile:
    """A file of ``size`` bytes over ``read_range(start, length)``, which answers exactly or raises."""
    from pyarrow import BufferReader, PythonFile  # deferred: what reads only the log starts without pyarrow

    if size <= SMALL_BYTES:
        return BufferReader(read_range(0, size))
    return PythonFile(_RangeFile(size, read_range), "r")


class _RangeFile(io.RawIOBase):
    def __init__(self, size: int, read_range: Callable[[int, int], bytes]) -> None:
        self._size, self._read_range, self._position = size, read_range, 0

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._position)
        length = left if size is None or size < 0 else min(size, left)
        data = self._read_range(self._position, length) if length else b""
        self._position += length
        return data

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
