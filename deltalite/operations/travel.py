"""Which version a user means: a number, a time, or nothing for the newest."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from deltalite.exceptions import InvalidArgumentError, VersionNotFoundError
from deltalite.log import history, read
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


def at(store: Store, version: Any = None, timestamp: Any = None, clamp: bool = False) -> Snapshot:
    """The snapshot that a user asks for.

    :param version: a number, ``"12"``, ``"v12"``, or a time in any form that ``timestamp`` takes.
    :param timestamp: the newest version that is not younger than this.
    :param clamp: take the first or the last version for a time outside the table's history.
    :raises VersionNotFoundError: when there is no such version.
    :raises TimestampOutOfRangeError: when the time lies outside the history.
    """
    if version is not None and timestamp is not None:
        raise InvalidArgumentError("pass a version or a timestamp, not both")
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
