"""Fetching commit files, and refusing those that are not whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from deltalite.exceptions import InvalidTableError
from deltalite.log import segment
from deltalite.model.commit import Commit
from deltalite.model.paths import commit_file
from deltalite.storage.base import FileMeta, Store

_REQUESTS_AT_ONCE = 16
_BLANKS = b" \t\r\n"


def fetch(store: Store, files: Sequence[tuple[int, FileMeta]]) -> Iterator[Commit]:
    """Commit files in the given order; from remote stores several at once.

    :param files: each with the (last) version that it is of.
    :raises InvalidTableError: for one that is missing, empty, or ends in the middle of an object (F-07, F-08).
    """
    if store.is_local or len(files) < 2:
        return (fetch_one(store, version, file) for version, file in files)
    return _in_parallel(store, files)


def _in_parallel(store: Store, files: Sequence[tuple[int, FileMeta]]) -> Iterator[Commit]:
    with ThreadPoolExecutor(min(_REQUESTS_AT_ONCE, len(files)), "deltalite-log") as pool:
        yield from pool.map(lambda item: fetch_one(store, *item), files)


def fetch_one(store: Store, version: int, file: FileMeta) -> Commit:
    """One commit file.

    :raises InvalidTableError: when it is missing, empty, or ends in the middle of an object.
    """
    try:
        data = store.get(file.path)
    except FileNotFoundError as error:
        raise InvalidTableError(
            f"{file.path} vanished while the log was read",
            hint="expired history was probably cleaned up meanwhile; read again",
            path=file.path,
            version=version,
        ) from error
    text = data.rstrip(_BLANKS)
    if not text:
        raise segment.empty_commit(file.path, version)
    if not text.endswith(b"}"):
        raise _torn(file.path, version)
    return Commit(version, data, file.modified_ms)


def check_last_line(commit: Commit) -> Commit:
    """Refuse a commit whose last line is not a whole JSON object.

    Needed where not all of its lines are decoded anyway; of a torn commit, only the end is missing.
    """
    text = commit.data.rstrip(_BLANKS)
    try:
        whole = isinstance(json.loads(text[text.rfind(b"\n") + 1 :]), dict)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise _torn(commit_file(commit.version), commit.version)
    return commit


def _torn(path: str, version: int) -> InvalidTableError:
    return InvalidTableError(
        f"{path} is torn: its last line is not a whole JSON object",
        hint="its writer was probably cut off; remove the file only if nobody was told that the commit succeeded",
        path=path,
        version=version,
    )
