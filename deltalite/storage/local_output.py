# ruff: noqa: PTH105, PTH108, PTH120  (the os functions take descriptors and flags)
"""Writing one local file piece by piece, and what the errors of the operating system mean."""

from __future__ import annotations

import errno
import os
from typing import Any

from deltalite.exceptions import StorageError
from deltalite.storage import publish
from deltalite.storage.base import OutputFile, refusal
from deltalite.storage.durable import UnsyncedDirectories

__all__ = ["AMBIGUOUS", "LocalOutput", "refused", "unlink_quietly"]

_BUFFER = 1 << 18

AMBIGUOUS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EINTR})
"""After these nobody can tell whether the call took effect."""

_TRANSIENT = AMBIGUOUS | {errno.EAGAIN, errno.EBUSY, errno.EMFILE, errno.ENFILE}
_HINTS = {
    errno.ENOSPC: "free some space and repeat the call",
    errno.EDQUOT: "the disk quota of this user is used up",
    errno.EACCES: "this user lacks the permission",
    errno.EROFS: "the file system is mounted read-only",
    errno.EMFILE: "too many open files; raise `ulimit -n`",
}


class LocalOutput(OutputFile):
    """Buffered writes to a temporary file, renamed at the end."""

    def __init__(
        self, unsynced: UnsyncedDirectories, base: str, path: str, temporary: str, fd: int, durable: bool
    ) -> None:
        self._unsynced, self._base, self._path = unsynced, base, path
        self._temporary, self._durable = temporary, durable
        self._file = open(fd, "wb", buffering=_BUFFER)  # noqa: SIM115  closed by _publish or _discard

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            raise refused("write", self._path, error) from error

    def tell(self) -> int:
        return self._file.tell()

    def _publish(self) -> None:
        full = self._base + self._path
        try:
            self._file.flush()
            if self._durable:
                publish.fsync_file(self._file.fileno())
            self._file.close()
            os.replace(self._temporary, full)
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError):
                raise refused("write", self._path, error) from error
            raise
        if self._durable:
            self._unsynced.add([os.path.dirname(full)])
            self._unsynced.add_parents(self._base, self._path)

    def _discard(self) -> None:
        try:
            self._file.close()
        except OSError:  # what could not be flushed is not wanted any more
            pass
        unlink_quietly(self._temporary)


def refused(action: str, path: str, error: OSError) -> StorageError | FileNotFoundError:
    """The store's error for one of the operating system's; ``errno`` is kept."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    transient = error.errno in _TRANSIENT
    refused = refusal(
        action, path, error.strerror or str(error), hint=_HINTS.get(error.errno or 0), transient=transient
    )
    refused.errno = error.errno
    return refused


def unlink_quietly(path: str) -> None:
    """Remove a temporary file if it is there."""
    try:
        os.unlink(path)
    except OSError:  # gone by a rename, or left for vacuum
        pass
