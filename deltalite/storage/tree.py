"""Walking and deleting below a local directory without ever following a symbolic link out of it.

Deletion resolves every directory from the root down with ``O_NOFOLLOW`` and unlinks relative to the last one, so that a
directory swapped for a link in between is refused, not followed.
"""

# ruff: noqa: PTH114, PTH116  (the os functions take descriptors and flags)

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterable, Iterator

from deltalite.storage.base import FileMeta

__all__ = ["delete_files", "find_files", "remove_empty_directories", "walk_files"]

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


def find_files(base: str, paths: Iterable[str]) -> tuple[list[FileMeta], list[tuple[str, str]]]:
    """Which of these paths are regular files that :func:`walk_files` would come across, and which others there are,
    with the reason why it would not."""
    device = os.stat(base).st_dev
    obstacles: dict[str, str | None] = {"": None}
    files: list[FileMeta] = []
    others: list[tuple[str, str]] = []
    for path in paths:
        try:
            obstacle = _obstacle(base, path.rpartition("/")[0], device, obstacles)
            found = os.stat(base + path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            obstacle, found = str(error.strerror), None
        if found is not None and obstacle is None and stat.S_ISREG(found.st_mode):
            files.append(FileMeta(path, found.st_size, found.st_mtime_ns // 1_000_000))
        else:
            others.append((path, obstacle or "not a regular file"))
    return files, others


def _obstacle(base: str, directory: str, device: int, known: dict[str, str | None]) -> str | None:
    """What keeps us from entering a directory, from the root down."""
    if directory not in known:
        found = _obstacle(base, directory.rpartition("/")[0], device, known)
        if found is None:
            here = os.stat(base + directory, follow_symlinks=False)
            if stat.S_ISLNK(here.st_mode):
                found = "behind a symbolic link"
            elif here.st_dev != device and here.st_dev != 0:  # 0: Windows
                found = "on another file system"
        known[directory] = found
    return known[directory]


def remove_empty_directories(base: str, directories: Iterable[str]) -> int:
    """Remove directories below ``base`` that are empty, and those above them that become so; how many.

    The system refuses to remove one that is not empty; a writer that finds its directory gone makes it anew.
    """
    if not _HAS_DIR_FD:
        return 0
    removed = 0
    waiting = sorted(set(directories) - {""}, key=lambda directory: (-directory.count("/"), directory))
    seen = set(waiting)
    for directory in waiting:
        above, _, name = directory.rpartition("/")
        try:
            fd = _open_directory(base, above)
        except OSError:
            continue
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError:  # not empty, gone, not ours to remove
            continue
        finally:
            os.close(fd)
        removed += 1
        if above and above not in seen:
            seen.add(above)
            waiting.append(above)
    return removed


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
    device = os.fstat(fd).st_dev
    for name in directory.split("/") if directory else ():
        try:
            below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
        if os.fstat(fd).st_dev != device:
            os.close(fd)
            raise OSError(errno.EXDEV, f"{directory} lies on another file system")
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
