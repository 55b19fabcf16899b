"""The TABLE argument: ``path[@12|@v12|@2026-11-01|@2026-11-01T10:00Z|@tag]``."""

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
_TIME_FORMS = "2026-11-01, 2026-11-01T10:00 or 2026-11-01T10:00:00Z (UTC where no zone is given)"


@dataclass(frozen=True)
class Target:
    """Where a table is, and which of its versions is meant; at most one of ``version`` and ``timestamp`` is set.

    :param timestamp: in UTC.
    """

    uri: str
    version: int | None = None
    timestamp: dt.datetime | None = None

    @property
    def pinned(self) -> bool:
        return self.version is not None or self.timestamp is not None


def parse_target(text: str) -> Target:
    """Split a TABLE argument. An existing path that contains ``@`` is a path, and so is a URL's ``user@host``.

    :raises InvalidArgumentError: when what follows the ``@`` is neither a version nor a time.
    """
    base, mark, suffix = text.rpartition("@")
    if not mark or "/" in suffix or "\\" in suffix or Path(text).exists():
        return Target(text)
    if not base:
        raise InvalidArgumentError(f"{text!r} names no table", hint="write TABLE@VERSION")
    if match := _VERSION.fullmatch(suffix):
        return Target(base, version=int(match[1]))
    if _TIME.fullmatch(suffix):
        return Target(base, timestamp=parse_time(suffix))
    if _in_authority(base):
        return Target(text)
    raise InvalidArgumentError(
        f"{suffix!r} in {text!r} is neither a version nor a time, and there is no tag of that name",
        hint=f"versions read like @12 or @v12; times like @{_TIME_FORMS}",
    )


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
