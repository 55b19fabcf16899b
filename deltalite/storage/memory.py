"""Tables in the memory of this process, for tests and experiments: every handle on one URL sees the same objects."""

from __future__ import annotations

import errno
import os
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from deltalite.storage.base import FileMeta, OutputFile, check_path, directory_prefix, refusal

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MemoryStore"]


class _Objects:
    """Bytes by name, the names also in order."""

    def __init__(self) -> None:
        self.data: dict[str, tuple[bytes, int]] = {}
        self.names: list[str] = []
        self.lock = threading.RLock()

    def set(self, name: str, data: bytes) -> None:
        if name not in self.data:
            insort(self.names, name)
        self.data[name] = (bytes(data), time.time_ns() // 1_000_000)

    def remove(self, name: str) -> None:
        if self.data.pop(name, None) is not None:
            del self.names[bisect_left(self.names, name)]

    def between(self, first: str, prefix: str) -> list[FileMeta]:
        """Those from ``first`` on whose names start with ``prefix``, which the metas lack."""
        found = []
        with self.lock:
            for position in range(bisect_left(self.names, first), len(self.names)):
                name = self.names[position]
                if not name.startswith(prefix):
                    break
                data, modified_ms = self.data[name]
                found.append(FileMeta(name[len(prefix) :], len(data), modified_ms))
        return found


_OBJECTS = _Objects()


def _renew_lock() -> None:
    _OBJECTS.lock = threading.RLock()  # a thread that the fork left behind may hold the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class MemoryStore:
    """Objects under ``memory://<name>``. They live as long as the process; :meth:`clear` drops them."""

    atomic_put = accepts_commits = True
    is_local = False

    def __init__(self, url: str) -> None:
        name = url.removeprefix("memory://").strip("/")
        self.root = f"memory://{name}"
        self._base = name + "/" if name else ""

    def __repr__(self) -> str:
        return f"MemoryStore({self.root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore, (self.root,)

    def clear(self) -> None:
        """Drop every object of this root."""
        for meta in list(self.list_all()):
            self.delete_many([meta.path])

    def local_path(self, path: str) -> str | None:
        check_path(path)
        return None

    def get(self, path: str) -> bytes:
        try:
            return _OBJECTS.data[self._base + check_path(path)][0]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def get_range(self, path: str, start: int, length: int) -> bytes:
        part = self.get(path)[start : start + length]
        if len(part) != length:
            raise refusal("read", path, f"it ended after {len(part)} of {length} bytes")
        return part

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        name = self._base + check_path(path)
        with _OBJECTS.lock:
            _OBJECTS.set(name, data)

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        name = self._base + check_path(path)
        with _OBJECTS.lock:
            if name in _OBJECTS.data:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            _OBJECTS.set(name, data)

    def sync(self) -> None:
        pass

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        prefix = directory_prefix(prefix)
        after = start_after.removeprefix(prefix)
        base = self._base + prefix
        for meta in _OBJECTS.between(base + after, base):
            if "/" not in meta.path and meta.path > after:
                yield meta._replace(path=prefix + meta.path)

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        prefix = directory_prefix(prefix)
        base = self._base + prefix
        return iter([meta._replace(path=prefix + meta.path) for meta in _OBJECTS.between(base, base)])

    def head(self, path: str) -> FileMeta | None:
        found = _OBJECTS.data.get(self._base + check_path(path))
        return FileMeta(path, len(found[0]), found[1]) if found else None

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        gone = [check_path(path) for path in paths]
        with _OBJECTS.lock:
            for path in gone:
                _OBJECTS.remove(self._base + path)
        return gone

    def open_input(self, path: str, *, size: int | None = None) -> pa.NativeFile:
        from pyarrow import BufferReader  # deferred: what reads only the log starts without pyarrow

        return BufferReader(self.get(path))

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        return _MemoryOutput(self, check_path(path))


class _MemoryOutput(OutputFile):
    def __init__(self, store: MemoryStore, path: str) -> None:
        self._store, self._path, self._buffer = store, path, BytesIO()

    def write(self, data: Any) -> int:
        return self._buffer.write(data)

    def tell(self) -> int:
        return self._buffer.tell()

    def _publish(self) -> None:
        self._store.put(self._path, self._buffer.getvalue())

    def _discard(self) -> None:
        self._buffer = BytesIO()
