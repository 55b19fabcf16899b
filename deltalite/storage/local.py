"""Tables on a file system of this machine.

Files are written under a hidden temporary name in their final directory and published by a rename, commits by a link,
so that no reader ever sees half a file. With ``durability="full"`` contents are flushed before a name points at them,
and names before anything refers to them: one small append costs four fsyncs (data file, commit file, the data file's
directory, ``_delta_log``).
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from deltalite.exceptions import UnsafePathError
from deltalite.storage import publish
from deltalite.storage.base import (
    AmbiguousPut,
    FileMeta,
    NotDurable,
    OutputFile,
    check_path,
    directory_prefix,
    refusal,
    temporary_name,
)
from deltalite.storage.durable import UnsyncedDirectories
from deltalite.storage.local_output import AMBIGUOUS, LocalOutput, refused, unlink_quietly
from deltalite.storage.tree import delete_files, walk_files

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Durability", "LocalStore"]

logger = logging.getLogger("deltalite.storage")

Durability = Literal["full", "relaxed"]

_BINARY = getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _BINARY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not hang
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NOFOLLOW
_IS_LINK = (errno.ELOOP, errno.EMLINK)  # the answers of O_NOFOLLOW


class LocalStore:
    """A table directory.

    :param path: the directory; it need not exist before the first write.
    :param durability: ``"full"`` survives a power loss, ``"relaxed"`` the death of the process only (no fsync).
    :param follow_symlinks: read files that symbolic links inside the table place outside of it. Deletion, and the
        listing that decides what may be deleted, never follow links.
    """

    atomic_put = accepts_commits = True
    is_local = True

    def __init__(self, path: str, *, durability: Durability = "full", follow_symlinks: bool = False) -> None:
        self.root = os.path.abspath(path)
        self._base = self.root if self.root.endswith(os.sep) else self.root + os.sep
        self._durability: Durability = durability
        self._durable = durability == "full"
        self._follow_symlinks = follow_symlinks
        self._confined = {""}  # directories known to lie inside the root, links resolved
        self._primitives = publish.PRIMITIVES
        self._unsynced = UnsyncedDirectories()

    def __repr__(self) -> str:
        return f"LocalStore({self.root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.root, self._durability, self._follow_symlinks)

    # --- reading ------------------------------------------------------------------------------------------------------

    def local_path(self, path: str) -> str:
        return self._base + _check_local(path)

    def get(self, path: str) -> bytes:
        fd, size = self._open(path)
        try:
            return _read(fd, path, size)
        finally:
            os.close(fd)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        fd, _ = self._open(path)
        try:
            os.lseek(fd, start, os.SEEK_SET)
            return _read(fd, path, length)
        finally:
            os.close(fd)

    def head(self, path: str) -> FileMeta | None:
        try:
            found = os.stat(self._confine(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise refused("look at", path, error) from error
        return _meta(path, found) if stat.S_ISREG(found.st_mode) else None

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        prefix = directory_prefix(prefix)
        after = start_after.removeprefix(prefix)
        directory = self._confine(prefix + "*").removesuffix("*")
        try:
            names = sorted(name for name in os.listdir(directory) if name > after)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise refused("list", prefix or ".", error) from error
        for name in names:
            try:
                found = os.stat(directory + name)
            except FileNotFoundError:  # deleted since, or a dangling link
                continue
            except OSError as error:
                raise refused("look at", prefix + name, error) from error
            if stat.S_ISREG(found.st_mode):
                yield _meta(prefix + name, found)

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        return walk_files(self._base, directory_prefix(prefix))

    def open_input(self, path: str, *, size: int | None = None) -> pa.NativeFile:
        from pyarrow import OSFile  # deferred: what reads only the log starts without pyarrow

        fd, _ = self._open(path)  # judges links, kind and permissions; pyarrow opens by name only
        os.close(fd)
        try:
            return OSFile(self.local_path(path), "rb")
        except OSError as error:
            raise refused("open", path, error) from error

    def _open(self, path: str) -> tuple[int, int]:
        """A descriptor of a regular file, and its size in bytes."""
        full = self._confine(path)
        try:
            fd = os.open(full, _READ)
        except OSError as error:
            if error.errno not in _IS_LINK:
                raise refused("read", path, error) from error
            fd = os.open(self._resolve_link(path), _READ)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise refusal("read", path, "it is not a regular file")
        return fd, found.st_size

    # --- staying inside the root --------------------------------------------------------------------------------------

    def _confine(self, path: str) -> str:
        """The full path, after making sure that its directory lies inside the root with all links resolved."""
        full = self.local_path(path)
        parent = path.rpartition("/")[0]
        if parent not in self._confined and not self._follow_symlinks:
            self._check_inside(os.path.realpath(self._base + parent), path)
            if os.path.isdir(self._base + parent):
                self._confined.add(parent)
        return full

    def _resolve_link(self, path: str) -> str:
        target = os.path.realpath(self.local_path(path))
        if not self._follow_symlinks:
            self._check_inside(target, path)
        return target

    def _check_inside(self, target: str, path: str) -> None:
        root = os.path.realpath(self.root)
        if target != root and not target.startswith(root.rstrip(os.sep) + os.sep):
            raise UnsafePathError(
                f"{path!r} leads through a symbolic link to {target!r}, outside the table",
                hint='storage_options={"follow_symlinks": "true"} reads through the links of a table you trust',
                path=path,
            )

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        output = self.open_output(path, durable=durable)
        try:
            output.write(data)
            output.close()
        finally:
            output.abort()

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        full = self._confine(path)
        if os.path.lexists(full):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), full)
        durable = durable and self._durable
        temporary, fd = self._create_temporary(path, full)
        try:
            self._fill(fd, path, data, durable)
            if durable:
                self._unsynced.add_parents(self._base, path)
                self.sync()
            self._publish(temporary, full, path)
        finally:
            unlink_quietly(temporary)
        if durable:
            try:
                publish.fsync_directory(os.path.dirname(full))
            except OSError as error:
                raise NotDurable(f"{path!r} is visible, but its directory could not be flushed: {error}") from error

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        full = self._confine(path)
        temporary, fd = self._create_temporary(path, full)
        return LocalOutput(self._unsynced, self._base, path, temporary, fd, durable and self._durable)

    def sync(self) -> None:
        self._unsynced.flush()

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        return delete_files(self._base, [_check_local(path) for path in paths])

    def _create_temporary(self, path: str, full: str) -> tuple[str, int]:
        directory, name = os.path.split(full)
        temporary = os.path.join(directory, temporary_name(name))
        for _ in range(10):  # somebody may remove the empty directory as often as we make it
            try:
                return temporary, os.open(temporary, _CREATE, 0o666)
            except FileNotFoundError:
                self._make_directory(directory, path)
            except OSError as error:
                raise refused("write", path, error) from error
        raise refusal("write", path, "its directory keeps disappearing", transient=True)

    def _make_directory(self, directory: str, path: str) -> None:
        missing, above = [], directory
        while not os.path.isdir(above) and os.path.dirname(above) != above:
            missing.append(above)
            above = os.path.dirname(above)
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise refused("create the directory of", path, error) from error
        if self._durable:
            self._unsynced.add(os.path.dirname(made) for made in missing)

    def _fill(self, fd: int, path: str, data: bytes, durable: bool) -> None:
        try:
            publish.write_fully(fd, data)
            if durable:
                publish.fsync_file(fd)
        except OSError as error:
            raise refused("write", path, error) from error
        finally:
            os.close(fd)

    def _publish(self, temporary: str, full: str, path: str) -> None:
        primitives = self._primitives  # other threads may shorten it meanwhile
        for position, primitive in enumerate(primitives):
            try:
                primitive(temporary, full)
            except FileExistsError:
                raise
            except OSError as error:
                if error.errno in publish.UNSUPPORTED and position + 1 < len(primitives):
                    continue
                if error.errno in AMBIGUOUS:
                    raise AmbiguousPut(f"publishing {path!r} ended without an answer: {error}") from error
                raise refused("write", path, error) from error
            if position:
                self._remember(primitives[position:])
            return

    def _remember(self, working: tuple[publish.Primitive, ...]) -> None:
        self._primitives = working
        if working[0] is publish.copy_exclusive:
            logger.warning(
                "%s: the file system has neither hard links nor a rename that refuses to replace; "
                "readers may meet commits half written",
                self.root,
            )


def _check_local(path: str) -> str:
    if sys.platform == "win32" and ("\\" in path or ":" in path):
        raise UnsafePathError(f"the path {path!r} has a meaning of its own on Windows", path=path)
    return check_path(path)


def _read(fd: int, path: str, length: int) -> bytes:
    """Exactly ``length`` bytes from where the descriptor stands."""
    try:
        data = os.read(fd, length)
        if len(data) == length:
            return data
        parts = [data]
        while data and sum(map(len, parts)) < length:
            data = os.read(fd, length - sum(map(len, parts)))
            parts.append(data)
    except OSError as error:
        raise refused("read", path, error) from error
    whole = b"".join(parts)
    if len(whole) != length:
        raise refusal("read", path, f"it ended after {len(whole)} of {length} bytes")
    return whole


def _meta(path: str, found: os.stat_result) -> FileMeta:
    return FileMeta(path, found.st_size, found.st_mtime_ns // 1_000_000)


def _reopen(path: str, durability: Durability, follow_symlinks: bool) -> LocalStore:
    return LocalStore(path, durability=durability, follow_symlinks=follow_symlinks)
