"""Which directories still have to be flushed before a commit may refer to what is in them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable

from deltalite.exceptions import StorageError
from deltalite.storage import publish
from deltalite.storage.base import refusal

__all__ = ["UnsyncedDirectories"]


class UnsyncedDirectories:
    """Directories with new names in them, gathered so that many files share one fsync per directory.

    A failed fsync is remembered for good: the kernel drops the pages it could not write, so a later fsync would succeed
    without having saved anything.
    """

    def __init__(self) -> None:
        self._pending: set[str] = set()
        self._reached: set[str] = set()
        self._failure: StorageError | None = None
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._pid = os.getpid()
        self._set_lock = threading.Lock()
        self._flush_lock = threading.Lock()

    def add(self, directories: Iterable[str]) -> None:
        """Directories in which names were made."""
        if self._pid != os.getpid():  # a lock may have been held by a thread that the fork left behind
            self._renew_locks()
        with self._set_lock:
            self._pending.update(os.path.join(directory, "") for directory in directories)

    def add_parents(self, base: str, path: str) -> None:
        """The directories above ``path``'s own, up to the root, once per directory.

        Another process may have made them a moment ago and not flushed them yet, while our commit relies on them.
        """
        parent = path.rpartition("/")[0]
        if parent and parent not in self._reached:
            parts = parent.split("/")
            self.add(base + "/".join(parts[:depth]) for depth in range(len(parts)))
            self._reached.add(parent)

    def flush(self) -> None:
        """Fsync them all; returns only when those that other threads took over are flushed too."""
        if self._pid != os.getpid():
            self._renew_locks()
        with self._flush_lock:
            if self._failure is not None:
                raise refusal("write", ".", f"an earlier flush failed ({self._failure.message})")
            with self._set_lock:
                batch, self._pending = self._pending, set()
            try:
                for directory in sorted(batch):
                    self._flush_one(directory)
            except OSError as error:
                self._failure = refusal(
                    "flush the directory",
                    directory,
                    error.strerror or str(error),
                    hint="check the disk, then open the table again; nothing was committed",
                )
                raise self._failure from error

    @staticmethod
    def _flush_one(directory: str) -> None:
        try:
            publish.fsync_directory(directory)
        except FileNotFoundError:  # removed since, and its files with it
            pass
