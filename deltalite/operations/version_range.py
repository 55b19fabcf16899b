"""Some versions of a table, one after the other: which ones a user means, and how the table was at each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deltalite import features
from deltalite.exceptions import (
    InvalidArgumentError,
    InvalidTableError,
    TimestampOutOfRangeError,
    VersionNotFoundError,
)
from deltalite.features.type_widening import is_widening
from deltalite.log import history, read
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.arrow import type_to_arrow
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import ArrayType, DataType, MapType, StructType
from deltalite.operations.travel import to_millis
from deltalite.storage.base import Store


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions from ``first`` to ``last``, both included."""

    first: int
    last: int


@dataclass(frozen=True)
class Version:
    """One of them.

    :param former: how the table was before it; for the first that the log still has, how it is at this one.
    """

    commit: Commit
    config: TableConfig
    former: TableConfig

    @property
    def number(self) -> int:
        return self.commit.version

    @property
    def timestamp(self) -> int:
        """Microseconds since 1970: in-commit time where the table has it, else the file's."""
        return 1_000 * history.timestamp_of(self.commit)


def resolve(
    store: Store,
    latest: Snapshot,
    first: int,
    last: int | None = None,
    from_time: Any = None,
    to_time: Any = None,
    allow_out_of_range: bool = False,
) -> Versions | None:
    """The versions between two, made between two times; all four ends are included. ``None`` if there are none.

    :param last: clamped to the newest version, as is ``to_time``.
    :param allow_out_of_range: ``None`` instead of an error where the range begins behind the newest version, or ends
        before it begins.
    :raises VersionNotFoundError: when it begins after the newest version, or before the oldest that is left.
    :raises InvalidArgumentError: when it ends before it begins.
    """
    if first < 0 or (last is not None and last < 0):
        raise InvalidArgumentError(f"versions are not negative: {first} to {last}")
    newest = latest.version
    if first > newest:
        return _none_or(allow_out_of_range, too_new(first, newest))
    end = newest if last is None else min(last, newest)
    if end < first:
        reversed_range = InvalidArgumentError(f"the range of versions ends before it begins: {first} to {end}")
        return _none_or(allow_out_of_range, reversed_range)
    if from_time is not None:
        moment = to_millis(from_time)
        if moment > latest.timestamp:
            return _none_or(allow_out_of_range, _too_late(from_time, moment, latest))
        first = max(first, _first_since(store, moment, first))
    if to_time is not None:
        end = min(end, _last_until(store, to_millis(to_time), latest))
    return Versions(first, end) if first <= end else None


def walk(store: Store, versions: Versions) -> Iterator[Version]:
    """Every version of a range, with the table's configuration before and after.

    :raises VersionNotFoundError: when the log no longer reaches back to the first.
    :raises UnsupportedFeatureError: when one of them demands what cannot be read here.
    """
    former = _config(store, versions.first - 1) if versions.first else None
    config = former or read.read_snapshot(store, versions.first).config
    expected = versions.first
    for commit in read.read_commits(store, versions.first, versions.last):
        before, config = config, _after(config, commit)
        if former is None and commit.version == versions.first:
            before = config
        yield Version(commit, config, before)
        expected += 1
    if expected <= versions.last:
        raise VersionNotFoundError(
            f"the commit of version {expected} is no longer in the log, so nobody can tell what it changed",
            hint="log clean-up removes old commits; start at a later version",
            version=expected,
        )


def check_readable(earlier: TableConfig, shown: TableConfig, version: int) -> None:
    """Refuse a schema whose values another one cannot show; columns may come, go, be renamed (by column mapping) and
    widened.

    :raises InvalidTableError: naming the column and the version.
    """
    if earlier.metadata.schema_string == shown.metadata.schema_string:
        return
    wrong = _misfit(features.physical_schema(earlier), features.physical_schema(shown), ())
    if wrong:
        raise InvalidTableError(
            f"column {'.'.join(wrong)} had another type in version {version} than at the end of the range",
            hint="read the versions up to that change, and those from it on, one after the other",
            version=version,
            column=".".join(wrong),
        )


def _none_or(allowed: bool, error: Exception) -> None:
    if not allowed:
        raise error


def too_new(first: int, newest: int) -> VersionNotFoundError:
    """The error for a version that nobody has committed yet."""
    return VersionNotFoundError(
        f"version {first} is not there yet: the newest is {newest}",
        hint="load_cdf(..., allow_out_of_range=True) gives an empty result instead",
        available=(0, newest),
        version=first,
    )


def _too_late(from_time: Any, moment: int, latest: Snapshot) -> TimestampOutOfRangeError:
    return TimestampOutOfRangeError(
        f"the newest version, {latest.version}, is older than the starting time {from_time}",
        hint="allow_out_of_range=True gives an empty result instead",
        available=(0, latest.version),
        timestamp=moment,
    )


def _first_since(store: Store, moment: int, first: int) -> int:
    """The first version made at a time or later, as far as it matters for a range that begins at ``first``.

    :raises TimestampOutOfRangeError: when versions that were cleaned up may have been made after the time.
    """
    try:
        return history.version_at(store, moment - 1) + 1
    except TimestampOutOfRangeError as error:
        oldest = error.context["available"][0]
        if oldest and first < oldest:
            raise
        return oldest


def _last_until(store: Store, moment: int, latest: Snapshot) -> int:
    """The newest version made at a time or earlier; -1 if all are younger."""
    if moment >= latest.timestamp:
        return latest.version
    try:
        return history.version_at(store, moment)
    except TimestampOutOfRangeError:
        return -1


def _config(store: Store, version: int) -> TableConfig | None:
    try:
        return read.read_snapshot(store, version).config
    except VersionNotFoundError:
        return None


def _after(config: TableConfig, commit: Commit) -> TableConfig:
    protocol, metadata = config.protocol, config.metadata
    for action in commit.of_kind("protocol", "metaData"):
        if isinstance(action, Protocol):
            protocol = action
        elif isinstance(action, Metadata):
            metadata = action
    if protocol is config.protocol and metadata is config.metadata:
        return config
    features.ensure_readable(protocol)
    return TableConfig(protocol, metadata)


def _misfit(old: DataType, new: DataType, path: tuple[str, ...]) -> tuple[str, ...]:
    """The path of a field whose values one type holds and another cannot show; empty if there is none."""
    if isinstance(old, StructType) and isinstance(new, StructType):
        known = {f.name: f for f in new.fields}
        found = (_misfit(f.type, known[f.name].type, (*path, f.name)) for f in old.fields if f.name in known)
        return next((wrong for wrong in found if wrong), ())
    if isinstance(old, ArrayType) and isinstance(new, ArrayType):
        return _misfit(old.element_type, new.element_type, (*path, "element"))
    if isinstance(old, MapType) and isinstance(new, MapType):
        pairs = ((old.key_type, new.key_type, "key"), (old.value_type, new.value_type, "value"))
        return next((wrong for a, b, name in pairs if (wrong := _misfit(a, b, (*path, name)))), ())
    if old == new or (old.type == "void" and path):
        return ()
    if isinstance(old, (StructType, ArrayType, MapType)) or isinstance(new, (StructType, ArrayType, MapType)):
        return path
    if "variant" in (old.type, new.type):
        return path
    stored, shown = type_to_arrow(old), type_to_arrow(new)
    return () if stored == shown or is_widening(stored, shown) else path
