"""Tables on any file system that fsspec knows.

Only a few backends create an object atomically; the others are read-only unless the caller is the single writer. There
files are written under a temporary name and moved, because most backends show a file while it grows.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.spec import AbstractFileSystem

from deltalite.exceptions import StorageError
from deltalite.storage.base import (
    AmbiguousPut,
    FileMeta,
    OutputFile,
    check_path,
    directory_prefix,
    refusal,
    temporary_name,
)
from deltalite.storage.redact import redact
from deltalite.storage.remote_files import open_ranges
from deltalite.storage.single_writer import SingleWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ATOMIC_PROTOCOLS", "FsspecStore"]

logger = logging.getLogger("deltalite.storage")

T = TypeVar("T")

ATOMIC_PROTOCOLS = frozenset({"gs", "gcs", "abfs", "abfss", "az", "azure"})
"""Object stores whose ``pipe_file(mode="create")`` is one conditional request."""

_DEFINITE = (PermissionError, NotImplementedError, TypeError, FileNotFoundError)
_MISSING = (FileNotFoundError, NotADirectoryError)


class FsspecStore:
    """Objects below a path of an fsspec file system.

    :param fs: the file system; its listing cache is bypassed.
    :param path: the root, as ``fs`` spells it.
    :param url: the root for display, without credentials.
    :param atomic: ``pipe_file(mode="create")`` decides between concurrent writers, and nothing is visible before a
        file is closed.
    :param single_writer: allow writes though it does not.
    :param reopen: a picklable callable and its arguments that open this store again.
    :param secrets: values to keep out of messages.
    """

    is_local = False

    def __init__(
        self,
        fs: Any,
        path: str,
        url: str,
        *,
        atomic: bool = False,
        single_writer: bool = False,
        reopen: tuple[Callable[..., Any], tuple[Any, ...]] | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self.root = redact(url, secrets)
        self.atomic_put = atomic
        self.accepts_commits = atomic or single_writer
        self._fs, self._base = fs, path.rstrip("/") + "/"
        self._reopen, self._secrets = reopen, tuple(secrets)
        self._alone = SingleWriter(
            self.root, f"{type(fs).__name__} cannot create a file atomically", atomic or single_writer
        )

    def __repr__(self) -> str:
        return f"FsspecStore({self.root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._reopen is None:
            raise StorageError(
                f"{self!r} cannot be pickled: its file system was given as an object",
                hint="give a URL and storage_options, or pickle_secrets=True",
                transient=False,
            )
        return self._reopen

    def local_path(self, path: str) -> str | None:
        check_path(path)
        return None

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> bytes:
        full = self._full(path)
        return self._do("read", path, lambda: self._fs.cat_file(full))

    def get_range(self, path: str, start: int, length: int) -> bytes:
        full = self._full(path)
        if length == 0:
            return b""
        data = self._do("read", path, lambda: self._fs.cat_file(full, start=start, end=start + length))
        if len(data) != length:
            raise refusal("read", path, f"{len(data)} bytes came instead of {length} from offset {start}")
        return data

    def head(self, path: str) -> FileMeta | None:
        full = self._full(path)
        self._forget(full)
        try:
            info = self._do("look at", path, lambda: self._fs.info(full))
        except FileNotFoundError:
            return None
        return _meta(path, info) if info.get("type") == "file" else None

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        prefix = directory_prefix(prefix)
        after = prefix + start_after.removeprefix(prefix)
        files = [meta for meta, _ in self._entries(prefix) if meta is not None and meta.path > after]
        return iter(sorted(files))

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        pending = [directory_prefix(prefix)]
        while pending:
            for meta, below in self._entries(pending.pop()):
                if meta is not None:
                    yield meta
                elif below is not None:
                    pending.append(below)

    def _entries(self, prefix: str) -> Iterator[tuple[FileMeta | None, str | None]]:
        """The files, and the directories, directly inside a directory. Links are passed over."""
        directory = (self._base + prefix).rstrip("/") or "/"
        self._forget(directory)
        try:
            infos = self._do("list", prefix or ".", lambda: self._fs.ls(directory, detail=True))
        except FileNotFoundError:
            return
        for info in infos:
            name = info["name"].rstrip("/").rpartition("/")[2]
            if info.get("islink"):
                logger.warning("skipping %s: a symbolic link", prefix + name)
            elif info["type"] == "directory":
                yield None, f"{prefix}{name}/"
            elif name and not info["name"].endswith("/") and info["name"].rstrip("/") != directory:
                yield _meta(prefix + name, info), None

    def open_input(self, path: str, *, size: int | None = None) -> pa.NativeFile:
        if size is None:
            found = self.head(path)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            size = found.size
        return open_ranges(size, lambda start, length: self.get_range(path, start, length))

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        with self.open_output(path) as output:
            output.write(data)

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        full = self._full(path)
        if not self.atomic_put:
            self._alone.put_if_absent(path, lambda: self.head(path) is not None, lambda: self.put(path, data))
            return
        try:
            self._fs.pipe_file(full, bytes(data), mode="create")
            return
        except FileExistsError:
            taken, definite, reason = True, False, ""
        except Exception as error:
            taken, definite, reason = False, isinstance(error, _DEFINITE), self._reason(error)
        if taken:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if definite:
            raise refusal("write", path, reason)
        raise AmbiguousPut(f"creating {path!r} ended without an answer: {reason}")

    def sync(self) -> None:
        """Nothing to do: what the backend acknowledged is as durable as it makes it."""

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        full = self._full(path)
        self._alone.check(path)
        return _FsspecOutput(self, path, full)

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        paths = [check_path(path) for path in paths]
        with ThreadPoolExecutor(16) as pool:
            gone = pool.map(self._delete, paths)
        return [path for path, is_gone in zip(paths, gone, strict=True) if is_gone]

    def _delete(self, path: str) -> bool:
        try:
            self._fs.rm_file(self._full(path))
        except _MISSING:
            return True
        except Exception as error:
            logger.warning("not deleting %s: %s", path, self._reason(error))
            return False
        return True

    # --- calls --------------------------------------------------------------------------------------------------------

    def _full(self, path: str) -> str:
        return self._base + check_path(path)

    def _forget(self, full: str) -> None:
        """Drop what the file system remembers of a directory; other clients write to it."""
        self._fs.invalidate_cache(full)
        self._fs.invalidate_cache(full.rpartition("/")[0])

    def _do(self, action: str, path: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except _MISSING:
            failure: Exception = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{path}")
        except StorageError as error:
            failure = error
        except Exception as error:
            transient = not isinstance(error, (*_DEFINITE, IsADirectoryError))
            failure = refusal(action, f"{self.root}/{path}", self._reason(error), transient=transient)
        raise failure  # outside the handler: a client's exception may hold credentials

    def _reason(self, error: Exception) -> str:
        return redact(f"{type(error).__name__}: {error}", self._secrets)


class _FsspecOutput(OutputFile):
    def __init__(self, store: FsspecStore, path: str, full: str) -> None:
        self._store, self._path, self._full = store, path, full
        parent, _, name = full.rpartition("/")
        self._target = full if store.atomic_put else f"{parent}/{temporary_name(name)}"
        self._file = store._do("write", path, lambda: self._open(parent))

    def _open(self, parent: str) -> Any:
        if not self._store.atomic_put:
            self._store._fs.makedirs(parent, exist_ok=True)
        return self._store._fs.open(self._target, "wb")

    def write(self, data: Any) -> int:
        self._store._do("write", self._path, lambda: self._file.write(data))
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self._file.tell()

    def _publish(self) -> None:
        try:
            self._store._do("write", self._path, self._file.close)
            if self._target != self._full:
                self._store._do("write", self._path, lambda: _move(self._store._fs, self._target, self._full))
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        """Close without publishing: fsspec's own files publish when they are closed, or collected."""
        file, fs = self._file, self._store._fs
        if self._target != self._full:
            file.close()
            if fs.exists(self._target):
                fs.rm_file(self._target)
        elif not file.closed:
            discard = getattr(file, "discard", None)
            if discard is not None:
                discard()
            file.closed = True


def _move(fs: Any, source: str, target: str) -> None:
    """fsspec's own ``mv`` expands wildcards, and would move, then delete, other files than ours."""
    if type(fs).mv is AbstractFileSystem.mv:
        fs.cp_file(source, target)
        fs.rm_file(source)
    else:
        fs.mv(source, target)


def _meta(path: str, info: Mapping[str, Any]) -> FileMeta:
    return FileMeta(path, int(info["size"] or 0), _modified_ms(info))


def _modified_ms(info: Mapping[str, Any]) -> int:
    """Each backend has its own key. Without any the file counts as new, so that nothing takes it for old."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "modified", "created", "creation_time"):
        value = info.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            return round(value.timestamp() * 1000)
        if isinstance(value, (int, float)):
            return round(value * 1000)
    return round(time.time() * 1000)
