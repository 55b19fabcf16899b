"""Which version a user means: a number, a time, a tag, or nothing for the newest."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from deltalite.exceptions import InvalidArgumentError, InvalidTableError, VersionNotFoundError
from deltalite.log import history, pins, read
from deltalite.log.commits import fetch_one
from deltalite.model.paths import commit_file
from deltalite.model.pins import Tag, check_name
from deltalite.model.snapshot import Snapshot
from deltalite.storage.base import Store

_NUMBER = re.compile(r"v?(\d+)")
_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")


def to_millis(value: Any) -> int:
    """Milliseconds since 1970 of a ``datetime``, a ``date`` or ISO text; without a zone it is UTC.

    :raises InvalidArgumentError: for anything else.
    """
    if isinstance(value, str):
        value = _parse(value)
    if isinstance(value, dt.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=dt.timezone.utc)
        return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(milliseconds=1)
    if isinstance(value, dt.date):
        return (value.toordinal() - 719163) * 86_400_000
    raise InvalidArgumentError(f"{value!r} is no point in time", hint="pass a datetime or text like 2026-11-20T10:00Z")


def _parse(text: str) -> dt.datetime:
    body = text.strip().replace("Z", "+00:00").replace("z", "+00:00").replace(" ", "T", 1)
    if _DAY.fullmatch(body):
        year, month, day = body.split("-")
        body = f"{year}-{int(month):02d}-{int(day):02d}"
    fraction = re.search(r"\.(\d+)", body)
    if fraction:
        body = body.replace(fraction[0], "." + fraction[1].ljust(6, "0")[:6], 1)
    try:
        return dt.datetime.fromisoformat(body)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{text!r} is neither a version nor a time",
            hint="versions are numbers (12 or 'v12'); times read like 2026-11-20 or 2026-11-20T10:00:00Z",
        ) from error


def meaning(text: str) -> str:
    """Whether text reads as a ``version`` or as a ``time``.

    :raises InvalidArgumentError: as neither.
    """
    if _NUMBER.fullmatch(text.strip()):
        return "version"
    to_millis(text)
    return "time"


def at(
    store: Store, version: Any = None, timestamp: Any = None, clamp: bool = False, tag: str | None = None
) -> Snapshot:
    """The snapshot that a user asks for.

    :param version: a number, ``"12"``, ``"v12"``, or a time in any form that ``timestamp`` takes.
    :param timestamp: the newest version that is not younger than this.
    :param clamp: take the first or the last version for a time outside the table's history.
    :param tag: the version that was given this name.
    :raises VersionNotFoundError: when there is no such version, or no such tag.
    :raises TimestampOutOfRangeError: when the time lies outside the history.
    """
    if sum(given is not None for given in (version, timestamp, tag)) > 1:
        raise InvalidArgumentError("pass a version, a timestamp or a tag, not both")
    if tag is not None:
        return tagged(store, tag_of(store, tag))
    if isinstance(version, str) and (match := _NUMBER.fullmatch(version.strip())):
        version = int(match[1])
    if version is None and timestamp is None:
        return read.read_snapshot(store)
    if isinstance(version, int) and not isinstance(version, bool):
        if version < 0:
            available = read.version_range(store)
            raise VersionNotFoundError(
                f"version {version} is not available: the table has {available[0]} to {available[1]}",
                available=available,
                version=version,
            )
        return read.read_snapshot(store, version)
    moment = to_millis(version if timestamp is None else timestamp)
    return read.read_snapshot(store, history.version_at(store, moment, clamp=clamp))


# -- tags --------------------------------------------------------------------------------------------------------


def tag_of(store: Store, name: str) -> Tag:
    """
    :raises VersionNotFoundError: when there is no tag of this name, with those there are.
    """
    found = pins.read_tag(store, check_name(name))
    if found is None:
        raise no_tag(store, name)
    return found


def no_tag(store: Store, name: str) -> VersionNotFoundError:
    """What a name that no tag has is answered with."""
    try:
        names = [tag.name for tag in pins.read_tags(store)]
    except InvalidTableError:
        names = []
    known = ", ".join(repr(known) for known in names[:10]) + (", ..." if len(names) > 10 else "")
    return VersionNotFoundError(
        f"there is no tag {name!r}", hint=f"the table has {known}" if names else "the table has no tags", tag=name
    )


def tagged(store: Store, tag: Tag) -> Snapshot:
    """The snapshot that a tag names.

    :raises VersionNotFoundError: when its version is no longer in the log.
    :raises InvalidTableError: when the version is another one than that which was tagged.
    """
    hint = f"if it is no longer needed, remove it: tags.delete({tag.name!r})"
    try:
        snapshot = read.read_snapshot(store, tag.version)
    except VersionNotFoundError as error:
        raise VersionNotFoundError(
            f"the tag {tag.name!r} is broken: {error.message}", hint=hint, tag=tag.name, **error.context
        ) from None
    file = store.head(commit_file(tag.version)) if tag.txn_id is not None else None
    txn_id = fetch_one(store, tag.version, file).txn_id if file is not None else tag.txn_id
    if snapshot.config.metadata.id != tag.table_id or txn_id != tag.txn_id:
        raise InvalidTableError(
            f"the tag {tag.name!r} is broken: version {tag.version} is not the one that was tagged",
            hint=f"the table was probably dropped and created anew; {hint}",
            tag=tag.name,
            version=tag.version,
        )
    return snapshot
