"""Publishing a finished local file under a name that must not exist yet: the primitive each system has.

``link`` fails when the name is taken and never shows a partial file. Where hard links are missing (FAT, SMB, some
container mounts) a rename that refuses to replace does the same; the last resort, ``O_EXCL``, still has one winner but
shows the file while it grows.
"""

# ruff: noqa: PTH104, PTH108, PTH116  (the os functions take descriptors and flags)

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from functools import cache

__all__ = ["PRIMITIVES", "UNSUPPORTED", "Primitive", "copy_exclusive", "fsync_directory", "fsync_file", "write_fully"]

logger = logging.getLogger("deltalite.storage")

Primitive = Callable[[str, str], None]

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1  # renameat2(2), Linux
_RENAME_EXCL = 4  # renamex_np(2), macOS

UNSUPPORTED = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.EMLINK})
"""What systems answer when they lack a primitive, rather than fail at it."""


def link(temporary: str, final: str) -> None:
    """``link(2)``. Over NFS it may report an error after it succeeded, which a second link on the inode betrays."""
    try:
        os.link(temporary, final)
    except OSError as error:
        if not _has_second_link(temporary):
            raise error


def _has_second_link(path: str) -> bool:
    try:
        return os.stat(path, follow_symlinks=False).st_nlink == 2
    except OSError:
        return False


def rename_exclusive(temporary: str, final: str) -> None:
    """A rename that raises ``FileExistsError`` instead of replacing; ``ENOSYS`` where the system has none."""
    if sys.platform == "win32":
        os.rename(temporary, final)
        return
    rename = _system_rename()
    code = rename(os.fsencode(temporary), os.fsencode(final)) if rename else errno.ENOSYS
    if code:
        raise OSError(code, os.strerror(code), final)


@cache
def _system_rename() -> Callable[[bytes, bytes], int] | None:
    """The C library's exclusive rename, as a function that returns an errno or 0."""
    import ctypes  # rarely needed, and slow to load

    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            renamex, flag = libc.renamex_np, ctypes.c_uint(_RENAME_EXCL)
            return lambda old, new: ctypes.get_errno() if renamex(old, new, flag) else 0
        renameat, here, flag = libc.renameat2, ctypes.c_int(_AT_FDCWD), ctypes.c_uint(_RENAME_NOREPLACE)
        return lambda old, new: ctypes.get_errno() if renameat(here, old, here, new, flag) else 0
    except (OSError, AttributeError):
        return None


def copy_exclusive(temporary: str, final: str) -> None:
    """Create ``final`` with ``O_EXCL`` and copy. One winner, but readers may see it half written."""
    with open(temporary, "rb") as source:
        data = source.read()
    fd = os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        write_fully(fd, data)
        fsync_file(fd)
    except BaseException:
        os.close(fd)
        os.unlink(final)
        raise
    os.close(fd)


def write_fully(fd: int, data: bytes) -> None:
    """``write(2)`` until all is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync_file(fd: int) -> None:
    """Flush a file to the platter; macOS needs ``F_FULLFSYNC`` for that."""
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
        except OSError:  # not every file system knows it
            pass
    os.fsync(fd)


def fsync_directory(path: str) -> None:
    """Flush the names in a directory. Systems that cannot open or flush directories make them durable by themselves."""
    if sys.platform == "win32":
        return
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        logger.debug("%s cannot flush directories", path)
    finally:
        os.close(fd)


PRIMITIVES: tuple[Primitive, ...] = (
    (rename_exclusive,) if sys.platform == "win32" else (link, rename_exclusive, copy_exclusive)
)
"""How to publish ``(temporary, final)``, best first. The temporary file may or may not remain."""
