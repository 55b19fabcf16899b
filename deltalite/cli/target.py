"""The TABLE argument: ``path[@12|@v12|@2026-11-01|@2026-11-01T10:00Z|@tag]``; and durations."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path

from deltalite.exceptions import InvalidArgumentError

_VERSION = re.compile(r"[vV]?(\d+)")
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<clock>\d\d:\d\d(?::\d\d)?)(?:\.(?P<fraction>\d{1,6}))?(?P<zone>[Zz]|[+-]\d\d:?\d\d)?)?"
)
_AGO = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_UNITS_OF_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0}
_TIME_FORMS = "2026-11-01, 2026-11-01T10:00 or 2026-11-01T10:00:00Z (UTC where no zone is given)"


@dataclass(frozen=True)
class Target:
    """Where a table is, and which of its versions is meant; at most one of the others is set.

    :param timestamp: in UTC.
    :param tag: the name that a version was given.
    """

    uri: str
    version: int | None = None
    timestamp: dt.datetime | None = None
    tag: str | None = None

    @property
    def pinned(self) -> bool:
        return self.version is not None or self.timestamp is not None or self.tag is not None


def parse_target(text: str) -> Target:
    """Split a TABLE argument. An existing path that contains ``@`` is a path, and so is a URL's ``user@host``.

    :raises InvalidArgumentError: when nothing stands before or behind the ``@``.
    """
    base, mark, suffix = text.rpartition("@")
    if not mark or "/" in suffix or "\\" in suffix or Path(text).exists():
        return Target(text)
    if not base:
        raise InvalidArgumentError(f"{text!r} names no table", hint="write TABLE@VERSION")
    if _in_authority(base) and not (_VERSION.fullmatch(suffix) or _TIME.fullmatch(suffix)):
        return Target(text)
    return parse_point(base, suffix)


def parse_point(uri: str, text: str, now: dt.datetime | None = None) -> Target:
    """A version of a table: a number, a time, or else a tag, which a leading ``@`` says too.

    :param now: allows times that tell how long ago (see :func:`parse_time`).
    :raises InvalidArgumentError: for text that is nothing of it.
    """
    name = text.removeprefix("@")
    if not name.strip():
        raise InvalidArgumentError(
            f"{text!r} names no version",
            hint=f"versions read like 12 or v12; times like {_TIME_FORMS}; all else is a tag",
        )
    if match := _VERSION.fullmatch(name):
        return Target(uri, version=int(match[1]))
    if _TIME.fullmatch(name) or (now is not None and name == text and _AGO.fullmatch(name)):
        return Target(uri, timestamp=parse_time(name, now))
    return Target(uri, tag=name)


def parse_time(text: str, now: dt.datetime | None = None) -> dt.datetime:
    """A point in time in UTC. With ``now``, also how long ago it was: ``90m``, ``12h``, ``7d``, ``2w``.

    :raises InvalidArgumentError: when the text is none.
    """
    if now is not None and (ago := _AGO.fullmatch(text)):
        return now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    match = _TIME.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("unknown form")
        moment = dt.datetime.fromisoformat(f"{match['date']}T{match['clock'] or '00:00'}")
        moment = moment.replace(microsecond=int((match["fraction"] or "0").ljust(6, "0")), tzinfo=_zone(match["zone"]))
        return moment.astimezone(dt.timezone.utc)
    except (ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"{text!r} is no point in time", hint=f"times read like {_TIME_FORMS}") from error


def parse_hours(text: str) -> float:
    """A duration in hours: ``168h``, ``7d``, ``90m``, ``1w``; a number alone is hours.

    :raises InvalidArgumentError: when the text is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw]?)", text.strip())
    if match is None:
        raise InvalidArgumentError(f"{text!r} is no duration", hint="durations read like 168h, 7d or 90m")
    return float(match[1]) * _UNITS_OF_HOURS[match[2] or "h"]


def _zone(text: str | None) -> dt.timezone:
    if text is None or text in "Zz":
        return dt.timezone.utc
    digits = text[1:].replace(":", "")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)


def _in_authority(base: str) -> bool:
    """Whether an ``@`` after ``base`` stands between user and host of a URL (``abfss://container@account...``)."""
    _, scheme, rest = base.partition("://")
    return bool(scheme) and "/" not in rest
