"""Writing where the backend cannot decide between concurrent writers: only on the caller's word that there is one."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

from deltalite.storage.base import refusal

__all__ = ["SingleWriter"]

_LOCKS: dict[str, threading.Lock] = {}
_GUARD = threading.Lock()


def _renew_locks() -> None:
    global _GUARD
    _GUARD = threading.Lock()  # threads that held the old ones did not survive the fork
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class SingleWriter:
    """Refuses writes unless allowed, and keeps the threads of this one process apart.

    :param root: the table, as a display URL.
    :param why: why the backend cannot do it, as a clause.
    :param allowed: the caller's ``single_writer=True``.
    """

    def __init__(self, root: str, why: str, allowed: bool) -> None:
        self._root, self._why, self._allowed = root, why, allowed

    def check(self, path: str) -> None:
        """:raises StorageError: the caller did not promise to be the only writer."""
        if not self._allowed:
            raise refusal(
                "write",
                path,
                f"two writers could overwrite each other's commits, for {self._why}",
                hint="single_writer=True opens the table for writing if no other process writes to it",
            )

    def put_if_absent(self, path: str, exists: Callable[[], bool], put: Callable[[], None]) -> None:
        """Look, then put, one thread at a time."""
        self.check(path)
        with _GUARD:
            lock = _LOCKS.setdefault(self._root, threading.Lock())
        with lock:
            if exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            put()
