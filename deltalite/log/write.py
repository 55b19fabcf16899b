"""Puts into the log. Commits and checksums are never overwritten; checkpoints and the hint may be.

Imported by ``txn`` only: whoever else wants to change a table makes a pending commit.
"""

from __future__ import annotations

from deltalite.model.paths import commit_file
from deltalite.storage.base import Store


def put_commit(store: Store, version: int, data: bytes) -> None:
    """Make ``data`` the commit of a version, durably.

    :raises FileExistsError: when that version is taken, possibly by this very call's lost first try.
    :raises AmbiguousPut: when nobody can tell.
    """
    store.put_if_absent(commit_file(version), data, durable=True)
