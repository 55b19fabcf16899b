"""The text of literals: escapes in strings, numbers with suffixes, dates, timestamps and intervals."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from decimal import Decimal

from deltalite.exceptions import ExpressionError
from deltalite.model.expr import (
    BYTE,
    DAY,
    DAY_TIME,
    DOUBLE,
    FLOAT,
    LONG,
    SHORT,
    YEAR_MONTH,
    ExprType,
    IntervalType,
    Literal,
    decimal_type,
    integer_type,
)

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)", re.DOTALL)
_ESCAPED = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}
_NUMBER = re.compile(r"(.*?)(BD|[LSYDF])?$")
_SUFFIX: dict[str, tuple[ExprType, int]] = {"L": (LONG, 64), "S": (SHORT, 16), "Y": (BYTE, 8)}

DATE_TEXT = r"(?P<year>[+-]?\d{4,7})(?:-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?)?"
TIME_TEXT = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d{0,20}))?)?)?"
ZONE_TEXT = r"(?P<zone>[zZ]|(?:UTC|GMT|UT)?[+-]\d{1,2}(?::?\d{1,2}(?::?\d{1,2})?)?|[A-Za-z][\w/+-]*)"
TIMESTAMP_TEXT = rf"{DATE_TEXT}(?:[ T](?:{TIME_TEXT}(?: ?{ZONE_TEXT})?)?)?"
OFFSET_TEXT = r"(?:UTC|GMT|UT)?(?P<sign>[+-])(?P<h>\d{1,2})(?::?(?P<m>\d{1,2})(?::?(?P<s>\d{1,2}))?)?"


def unescape(body: str) -> str:
    """The inside of a string literal with its backslash escapes read as Spark reads them.

    ``\\%`` and ``\\_`` keep their backslash: they are for LIKE.
    """
    if "\\" not in body:
        return body
    return _ESCAPE.sub(_escaped, body)


def _escaped(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "uU" and len(code) > 1:
        point = int(code[1:], 16)
        return chr(point) if point <= 0x10FFFF else "\ufffd"
    if len(code) == 3:
        return chr(int(code, 8))
    return _ESCAPED.get(code, code)


def string_value(token: str) -> str:
    """The value of a quoted token, single or double quotes, raw ones included."""
    if token[0] in "rR":
        return token[2:-1]
    quote = token[0]
    value = unescape(token[1:-1].replace(quote * 2, "\\" + quote))
    if any("\ud800" <= c <= "\udfff" for c in value):
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value


def number(text: str, negative: bool = False) -> Literal:
    """A numeric literal: ``1``, ``1L``, ``1.5``, ``1e3``, ``1.5BD``, ``1D``, ``1F``, ``1S``, ``1Y``.

    :raises ExpressionError: when the value does not fit the type of its suffix, or 38 digits.
    """
    body, suffix = _NUMBER.fullmatch(text.upper()).groups()  # type: ignore[union-attr]
    sign = "-" if negative else ""
    if suffix in ("D", "F") or (suffix is None and "E" in body):
        return Literal(float(sign + body), FLOAT if suffix == "F" else DOUBLE)
    if suffix == "BD" or "." in body:
        value = Decimal(sign + body)
        return Literal(value, decimal_type(value))
    if not body.isdigit() or len(body) > 40:
        raise ExpressionError(f"{text[:60]} is not a number that any type holds")
    whole = int(sign + body)
    if suffix is None:
        data_type = integer_type(whole)
        return Literal(Decimal(whole) if data_type.is_decimal else whole, data_type)
    data_type, bits = _SUFFIX[suffix]
    if not -(2 ** (bits - 1)) <= whole < 2 ** (bits - 1):
        raise ExpressionError(f"{sign}{text} does not fit into {bits} bits")
    return Literal(whole, data_type)


def parse_date(text: str) -> dt.date:
    """The date of a ``DATE`` literal. :raises ExpressionError: when it is none."""
    match = re.fullmatch(DATE_TEXT, text.strip())
    try:
        if match:
            return dt.date(int(match["year"]), int(match["month"] or 1), int(match["day"] or 1))
    except ValueError:
        pass
    raise ExpressionError(f"{text!r} is not a date", hint="dates are written as in DATE '2026-01-31'")


def parse_timestamp(text: str) -> tuple[dt.datetime, str | None]:
    """The wall time and the zone, if one is named, of a ``TIMESTAMP`` literal.

    :raises ExpressionError: when it is none.
    """
    match = re.fullmatch(TIMESTAMP_TEXT, text.strip())
    try:
        if match:
            day = dt.date(int(match["year"]), int(match["month"] or 1), int(match["day"] or 1))
            hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
            micros = int((match["fraction"] or "")[:6].ljust(6, "0"))
            return dt.datetime.combine(day, dt.time(hour, minute, second, micros)), match["zone"]
    except ValueError:
        pass
    raise ExpressionError(
        f"{text!r} is not a timestamp", hint="timestamps are written as in TIMESTAMP '2026-01-31 12:30:00'"
    )


def parse_offset(zone: str) -> dt.timedelta | None:
    """The offset from UTC that a zone's name fixes (``Z``, ``+02:00``, ``UTC+2``), or ``None`` for a region."""
    if zone.upper() in ("Z", "UTC", "GMT", "UT", "ETC/UTC"):
        return dt.timedelta(0)
    match = re.fullmatch(OFFSET_TEXT, zone)
    if match is None:
        return None
    hours, minutes, seconds = int(match["h"]), int(match["m"] or 0), int(match["s"] or 0)
    if hours > 18 or minutes > 59 or seconds > 59:
        return None
    offset = dt.timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -offset if match["sign"] == "-" else offset


def zone_info(zone: str) -> dt.tzinfo:
    """The zone of a name or an offset.

    :raises ExpressionError: when neither the offset syntax nor the time zone database knows it.
    """
    offset = parse_offset(zone)
    if offset is not None:
        return dt.timezone.utc if not offset else dt.timezone(offset)
    try:
        return zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ExpressionError(
            f"unknown time zone {zone!r}", hint="zones are named as 'Europe/Berlin' or as offsets like '+02:00'"
        ) from None


_MONTHS = {"YEAR": 12, "QUARTER": 3, "MONTH": 1}
_MICROS = {
    "WEEK": 7 * 86_400_000_000,
    "DAY": 86_400_000_000,
    "HOUR": 3_600_000_000,
    "MINUTE": 60_000_000,
    "SECOND": 1_000_000,
    "MILLISECOND": 1_000,
    "MICROSECOND": 1,
}
_TRAILING = {"HOUR": 24, "MINUTE": 60, "SECOND": 60}
_YEAR_TO_MONTH = re.compile(r"([+-])?(\d{1,9})-(\d{1,2})")
INTERVAL_UNITS = frozenset(name + s for name in {**_MONTHS, **_MICROS} if name != "QUARTER" for s in ("", "S"))


def interval(parts: list[tuple[str, str]]) -> Literal:
    """An interval of (amount, unit) pairs, e.g. ``[("1", "DAY"), ("2", "HOURS")]``.

    :raises ExpressionError: for months mixed with days or smaller units, or an amount that is no number.
    """
    months = micros = 0
    units = {unit.upper().removesuffix("S") for _, unit in parts}
    for amount, unit in parts:
        name = unit.upper().removesuffix("S")
        value = _amount(amount, name)
        if name in _MONTHS:
            months += int(value * _MONTHS[name])
        else:
            micros += int(value * _MICROS[name])
    if units & _MONTHS.keys() and units & _MICROS.keys():
        raise ExpressionError(
            "an interval may not mix years or months with days or smaller units", hint="add two intervals instead"
        )
    if units & _MONTHS.keys():
        return _checked(months, YEAR_MONTH)
    return _checked(micros, DAY if units <= {"WEEK", "DAY"} else DAY_TIME)


def _amount(text: str, unit: str) -> Decimal:
    pattern = r"\s*[+-]?\s*\d{1,19}(\.\d{0,9})?\s*" if unit == "SECOND" else r"\s*[+-]?\s*\d{1,19}\s*"
    if not re.fullmatch(pattern, text):
        raise ExpressionError(f"{text!r} is not a number of {unit.lower()}s")
    return Decimal(re.sub(r"\s", "", text))


def _checked(value: int, data_type: IntervalType) -> Literal:
    bits = 31 if data_type == YEAR_MONTH else 63
    if not -(2**bits) <= value < 2**bits:
        raise ExpressionError(f"the interval is out of the range of {data_type}")
    return Literal(value, data_type)


def interval_range(text: str, start: str, end: str) -> Literal:
    """An interval with leading and trailing field: ``'1-2' YEAR TO MONTH``, ``'1 02:03:04.5' DAY TO SECOND``."""
    if (start, end) == ("YEAR", "MONTH"):
        match = _YEAR_TO_MONTH.fullmatch(text.strip())
        if match and int(match[3]) < 12:
            months = int(match[2]) * 12 + int(match[3])
            return _checked(-months if match[1] == "-" else months, YEAR_MONTH)
        raise ExpressionError(
            f"{text!r} is not an interval of years and months", hint="write it as '1-2' YEAR TO MONTH"
        )
    fields = ["DAY", "HOUR", "MINUTE", "SECOND"]
    if start in fields and end in fields and fields.index(start) < fields.index(end):
        names = fields[fields.index(start) : fields.index(end) + 1]
        pattern = {
            "DAY": r"(\d{1,9})",
            "HOUR": r"(\d{1,10})",
            "MINUTE": r"(\d{1,10})",
            "SECOND": r"(\d{1,10}(?:\.\d{0,9})?)",
        }
        separators = ["", *(" " if name == "HOUR" else ":" for name in names[1:])]
        match = re.fullmatch(
            "([+-])?" + "".join(s + pattern[n] for s, n in zip(separators, names, strict=True)), text.strip()
        )
        if match and all(Decimal(match[i + 2]) < _TRAILING[names[i]] for i in range(1, len(names))):
            value = sum(int(Decimal(match[i + 2]) * _MICROS[name]) for i, name in enumerate(names))
            return _checked(-value if match[1] == "-" else value, DAY_TIME)
    raise ExpressionError(f"{text!r} is not an interval {start.lower()} to {end.lower()}")
