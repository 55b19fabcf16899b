"""Walking and deleting below a local directory without ever following a symbolic link out of it.

Deletion resolves every directory from the root down with ``O_NOFOLLOW`` and unlinks relative to the last one, so that a
directory swapped for a link in between is refused, not followed.
"""

# ruff: noqa: PTH114, PTH116  (the os functions take descriptors and flags)

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator

from deltalite.storage.base import FileMeta

__all__ = ["delete_files", "walk_files"]

logger = logging.getLogger("deltalite.storage")

_HAS_DIR_FD = os.unlink in os.supports_dir_fd and os.stat in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_OPEN_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


def walk_files(base: str, prefix: str) -> Iterator[FileMeta]:
    """Regular files below ``base + prefix``. Links, mount points and special files are logged and skipped.

    :param base: the root, ending with a separator.
    :param prefix: a directory below it ending with ``/``, or the empty string.
    """
    if _link_on_the_way(base, prefix):
        logger.warning("not listing %s%s: it lies behind a symbolic link", base, prefix)
        return
    try:
        device = os.stat(base + prefix).st_dev
    except (FileNotFoundError, NotADirectoryError):
        return
    pending = [prefix]
    while pending:
        directory = pending.pop()
        try:
            entries = list(os.scandir(base + directory))
        except (FileNotFoundError, NotADirectoryError):  # removed since
            continue
        for entry in entries:
            path = directory + entry.name
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield FileMeta(path, found.st_size, found.st_mtime_ns // 1_000_000)
            elif stat.S_ISDIR(found.st_mode) and (found.st_dev == device or found.st_dev == 0):  # 0: Windows
                pending.append(path + "/")
            else:
                logger.warning("skipping %s: a symbolic link, a mount point or a special file", path)


def _link_on_the_way(base: str, prefix: str) -> bool:
    parts = prefix.split("/")[:-1]
    return any(os.path.islink(base + "/".join(parts[: i + 1])) for i in range(len(parts)))


def delete_files(base: str, paths: Iterable[str]) -> list[str]:
    """Unlink regular files below ``base``; returns those that are gone, be it that they were missing before."""
    by_directory: dict[str, list[str]] = {}
    for path in paths:
        by_directory.setdefault(path.rpartition("/")[0], []).append(path)
    gone: list[str] = []
    for directory, members in by_directory.items():
        try:
            gone += _delete_in(base, directory, members)
        except (FileNotFoundError, NotADirectoryError) as error:
            if _link_on_the_way(base, directory + "/"):
                logger.warning("not deleting in %s: it lies behind a symbolic link (%s)", directory, error)
            else:
                gone += members
        except OSError as error:
            logger.warning("not deleting in %s: %s", directory or base, error)
    return gone


def _delete_in(base: str, directory: str, paths: list[str]) -> list[str]:
    if not _HAS_DIR_FD:
        if directory and _link_on_the_way(base, directory + "/"):
            raise OSError(f"{directory} lies behind a symbolic link")
        return [path for path in paths if _unlink(path, base + path, None)]
    fd = _open_directory(base, directory)
    try:
        return [path for path in paths if _unlink(path, path.rpartition("/")[2], fd)]
    finally:
        os.close(fd)


def _open_directory(base: str, directory: str) -> int:
    fd = os.open(base, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))  # the root itself may be a link: the user's choice
    for name in directory.split("/") if directory else ():
        try:
            below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _unlink(path: str, name: str, dir_fd: int | None) -> bool:
    try:
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            logger.warning("not deleting %s: not a regular file", path)
            return False
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        logger.warning("not deleting %s: %s", path, error)
        return False
    return True
