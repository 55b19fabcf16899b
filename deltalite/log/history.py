"""Versions and times: when a version was made, and which one was there at a time."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deltalite.exceptions import TimestampOutOfRangeError
from deltalite.log import read, segment
from deltalite.log.cleanup import growing_times
from deltalite.log.commits import fetch, fetch_one
from deltalite.model.commit import Commit
from deltalite.model.paths import LOG, commit_file
from deltalite.model.properties import IN_COMMIT_TIMESTAMPS
from deltalite.model.snapshot import Snapshot
from deltalite.storage.base import FileMeta, Store

_ENABLED_AT_VERSION = "delta.inCommitTimestampEnablementVersion"
_ENABLED_AT_TIME = "delta.inCommitTimestampEnablementTimestamp"
_AT_ONCE = 16


def timestamp_of(commit: Commit) -> int:
    """When a version was made, in milliseconds since 1970: as its commit says, else as its file does."""
    in_commit = commit.info.in_commit_timestamp if commit.info else None
    return commit.modified_ms if in_commit is None else in_commit


def history(store: Store, snapshot: Snapshot, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """What ``commitInfo`` says of each version, newest first, with its ``version`` and ``timestamp``.

    It ends where older commits were cleaned up. ``timestamp`` is what time travel goes by.

    :param limit: how many versions; no other commit is read.
    """
    first = 0 if limit is None else max(0, snapshot.version - limit + 1)
    listing = store.list_from(LOG, commit_file(first - 1) if first else "")
    commits = segment.sort_out(listing).commits
    versions = []
    for version in range(snapshot.version, first - 1, -1):
        if version not in commits:
            break
        versions.append((version, commits[version]))
    for start in range(0, len(versions), _AT_ONCE):
        for commit in fetch(store, versions[start : start + _AT_ONCE]):
            info: Mapping[str, Any] = commit.info.values if commit.info else {}
            yield {**info, "version": commit.version, "timestamp": timestamp_of(commit)}


def version_at(store: Store, timestamp_ms: int, *, clamp: bool = False) -> int:
    """The newest version that is not younger than a time (PROTOCOL.md, "In-Commit Timestamps"; trap 22).

    Before in-commit timestamps were enabled, times are those of the commit files, each made at least a millisecond
    later than the one before.

    :param timestamp_ms: milliseconds since 1970.
    :param clamp: give the first or the last version for a time outside the history instead of raising.
    :raises TimestampOutOfRangeError: when the time lies before the first version that is left, or after the last.
    """
    names = segment.sort_out(store.list_from(LOG))
    latest = read.read_snapshot(store)
    times = _Times(store, latest, names.commits, names.earliest)
    versions, time_of = times.around(timestamp_ms)
    at = bisect_right(versions, timestamp_ms, key=time_of)
    if at == 0 or (at == len(versions) and versions[-1] == latest.version and timestamp_ms > time_of(versions[-1])):
        if not clamp:
            raise _out_of_range(timestamp_ms, times)
        return times.versions[0] if at == 0 else latest.version
    return versions[at - 1]


class _Times:
    """The times of all versions that can be read; in-commit ones are looked up as a search asks for them."""

    def __init__(self, store: Store, latest: Snapshot, commits: Mapping[int, FileMeta], earliest: int) -> None:
        self._store = store
        self._commits = commits
        self._file_times = dict(growing_times(commits.values()))
        self._file_times.setdefault(latest.version, latest.timestamp)
        self.versions: Sequence[int] = sorted(v for v in self._file_times if earliest <= v <= latest.version)
        configuration = latest.config.configuration
        self._in_commit_from: int | None = None
        self._enabled_at = 0
        if latest.config.get(IN_COMMIT_TIMESTAMPS):
            self._in_commit_from = int(configuration.get(_ENABLED_AT_VERSION, 0))
            self._enabled_at = int(configuration.get(_ENABLED_AT_TIME, 0))

    def around(self, timestamp_ms: int) -> tuple[Sequence[int], Callable[[int], int]]:
        """The versions to look among, and what tells their times."""
        start = self._in_commit_from
        if start is None:
            return self.versions, self.of
        if timestamp_ms >= self._enabled_at:
            return [v for v in self.versions if v >= start], self.of
        return [v for v in self.versions if v < start], self.of

    def of(self, version: int) -> int:
        """The time of a version."""
        if self._in_commit_from is None or version < self._in_commit_from or version not in self._commits:
            return self._file_times[version]
        return timestamp_of(fetch_one(self._store, version, self._commits[version]))


def _out_of_range(timestamp_ms: int, times: _Times) -> TimestampOutOfRangeError:
    first, last = times.versions[0], times.versions[-1]
    return TimestampOutOfRangeError(
        f"no version at {_utc(timestamp_ms)}: the table has versions {first} to {last}, "
        f"made from {_utc(times.of(first))} to {_utc(times.of(last))}",
        hint="ask for a time in between, or for a version by its number",
        available=(first, last),
        timestamp=timestamp_ms,
    )


def _utc(timestamp_ms: int) -> str:
    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=timestamp_ms)
    except OverflowError:
        return f"{timestamp_ms} ms since 1970"
    return moment.isoformat(timespec="milliseconds") + "Z"
