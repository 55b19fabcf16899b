"""Values as text for people: sizes, counts, times, and text that is safe to show on a terminal."""

from __future__ import annotations

import datetime as dt
import re

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

# C0 and C1 controls, DEL, line separators, and the marks that turn the direction of text around.
UNSAFE = "\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
UNSAFE_PATTERN = re.compile(f"[{UNSAFE}]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """The text with every control character shown, none acting: what a table says cannot steer a terminal."""
    return UNSAFE_PATTERN.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    return _NAMED.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}")


def size(count: int) -> str:
    """Bytes in decimal units, to two or three digits: ``612 MB``, ``15.2 MB``, ``812 B``."""
    value, unit = float(abs(count)), "B"
    for unit in UNITS:
        if value < 999.5 or unit == UNITS[-1]:
            break
        value /= 1000
    digits = f"{value:.0f}" if unit == "B" or value >= 99.95 else f"{value:.1f}"
    return f"{'-' if count < 0 else ''}{digits.removesuffix('.0') if unit == 'B' else digits} {unit}"


def count(number: int) -> str:
    """A whole number with commas: ``8,000,000``."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """``1 file``, ``41 files``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def moment(value: dt.datetime | int) -> str:
    """A time as RFC 3339 in UTC, with as many digits of the second as it has.

    :param value: a ``datetime`` with a zone, or milliseconds since 1970.
    """
    when = _EPOCH + dt.timedelta(milliseconds=value) if isinstance(value, int) else value.astimezone(dt.timezone.utc)
    digits = f".{when.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{when:%Y-%m-%dT%H:%M:%S}{digits}Z" if when.year >= 1000 else f"{when.replace(tzinfo=None).isoformat()}Z"


def clock(value: dt.datetime | int) -> str:
    """A time for a column that says UTC in its title: ``2026-11-20 09:41:07``."""
    return moment(value)[:19].replace("T", " ")


def change(number: int, sign: str, people: bool) -> str:
    """A signed count: ``+1,000`` for people, ``+1000`` for programs."""
    return f"{sign}{count(number) if people else number}"


def share(part: int, whole: int) -> str:
    """``97.6 %``; an exact share of nothing or all only where it is exact."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.1f} %" if 0 < percent < 100 else f"{percent:.0f} %"
