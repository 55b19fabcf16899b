"""Tags: names for versions, which VACUUM and the clean-up of the log then keep.

They are ours alone. Other engines do not see them, and what those delete is lost to a tag too: using it then fails,
naming the version.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deltalite.exceptions import InvalidArgumentError, StorageError, VersionNotFoundError
from deltalite.log import pins, read
from deltalite.log.commits import fetch_one
from deltalite.model.paths import commit_file
from deltalite.model.pins import Tag, check_name
from deltalite.model.snapshot import Snapshot
from deltalite.operations import travel
from deltalite.operations.file_references import TableRoot, paths_of
from deltalite.storage.base import Store

_AT_ONCE = 16
_SHOWN = 3


class TableTags:
    """The ``tags`` of a handle."""

    def __init__(self, store: Store, snapshot: Callable[[], Snapshot]) -> None:
        self._store = store
        self._snapshot = snapshot

    def create(self, name: str, version: Any = None, *, message: str | None = None, replace: bool = False) -> Tag:
        """Name a version; nothing is committed.

        :param name: what does not read as a version or a time, at most 200 characters.
        :param version: a number, ``"v12"`` or a time; the handle's version by default.
        :param message: a note to keep with it.
        :param replace: move a tag of this name.
        :raises InvalidArgumentError: for a name that is taken or no name.
        :raises VersionNotFoundError: there is no such version, or VACUUM has removed files of it.
        """
        _refuse_ambiguous(check_name(name))
        snapshot = self._snapshot() if version is None else travel.at(self._store, version)
        tag = Tag(
            name, snapshot.version, snapshot.timestamp, snapshot.config.metadata.id,
            _txn_id(self._store, snapshot), message, time.time_ns() // 1_000_000,
        )  # fmt: skip
        former = pins.read_tag(self._store, name) if replace else None
        try:
            pins.put_tag(self._store, tag, replace)
        except FileExistsError:
            raise InvalidArgumentError(
                f"there is a tag {name!r} already", hint="replace=True moves it", tag=name
            ) from None
        try:
            _ensure_complete(self._store, snapshot)  # only now: from here on VACUUM knows of the tag
        except BaseException:
            _put_back(self._store, name, former)
            raise
        return tag

    def list(self) -> list[Tag]:
        """All tags by name: ``name``, ``version``, ``time`` of the version, ``message``."""
        return pins.read_tags(self._store)

    def get(self, name: str) -> Tag:
        """One tag.

        :raises VersionNotFoundError: when there is none of this name.
        """
        return travel.tag_of(self._store, name)

    def delete(self, name: str) -> None:
        """Forget a name; its version stays as long as the table's retention says.

        :raises VersionNotFoundError: when there is none of this name.
        """
        check_name(name)
        if not pins.delete_tag(self._store, name):
            raise travel.no_tag(self._store, name)

    def __repr__(self) -> str:
        return f"<tags {', '.join(f'{tag.name} (v{tag.version})' for tag in self.list()) or 'none'}>"


def _refuse_ambiguous(name: str) -> None:
    try:
        meaning = travel.meaning(name)
    except InvalidArgumentError:
        return
    raise InvalidArgumentError(
        f"a tag cannot be named {name!r}: that reads as a {meaning}", hint="add a word, as in 'release-3'", tag=name
    )


def _txn_id(store: Store, snapshot: Snapshot) -> str | None:
    file = store.head(commit_file(snapshot.version))
    return fetch_one(store, snapshot.version, file).txn_id if file is not None else None


def _ensure_complete(store: Store, snapshot: Snapshot) -> None:
    """Files of the newest version are there; the others may be gone."""
    newest = read.read_snapshot(store)
    if newest.version == snapshot.version:
        return
    root = TableRoot(store)
    needed = {path for path in paths_of(root, snapshot.files) if path is not None}
    needed.difference_update(paths_of(root, newest.files))
    with ThreadPoolExecutor(_AT_ONCE, "deltalite-tags") as pool:
        missing = [path for path, file in zip(needed, pool.map(store.head, needed), strict=True) if file is None]
    if missing:
        raise VersionNotFoundError(
            f"version {snapshot.version} is no longer complete: {len(missing)} of its files are gone, "
            f"such as {', '.join(sorted(missing)[:_SHOWN])}",
            hint="VACUUM removed them; tag a later version",
            version=snapshot.version,
        )


def _put_back(store: Store, name: str, former: Tag | None) -> None:
    try:
        if former is None:
            pins.delete_tag(store, name)
        else:
            pins.put_tag(store, former, replace=True)
    except (OSError, StorageError):
        pass  # the reason that led here is raised
