"""Dates and times to text and back by a pattern such as ``yyyy-MM-dd HH:mm``.

The letters are those of Java's DateTimeFormatter that mean numbers, English names and AM/PM; others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type
from deltalite.expr.functions.casts import Target
from deltalite.expr.functions.dates import FIELDS, Local
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.java_regex import escaped
from deltalite.expr.text_to import days_from
from deltalite.expr.time_zones import DAY, SECOND, to_utc
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_bools, numpy_values, valid_mask
from deltalite.model.arrow import array, scalar
from deltalite.model.expr import DATE, LONG, STRING, TIMESTAMP, Call, Cast, Expr, Literal

_EMPTY = scalar("", pa.string())
DEFAULT = "yyyy-MM-dd HH:mm:ss"
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December")  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PIECE = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z'\[\]{}#]+)")


@lru_cache(maxsize=256)
def pieces(pattern: str) -> tuple[tuple[str, str], ...]:
    """A pattern as (kind, text): literals, or a letter with its repetition.

    :raises ExpressionError: for letters that are not supported.
    """
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(pattern):
        match = _PIECE.match(pattern, position)
        if match is None:
            raise ExpressionError(f"the pattern {pattern!r} has an unexpected {pattern[position]!r}", pattern=pattern)
        position = match.end()
        if match[2]:
            if match[0] not in _WRITE and match[2] != "S":
                raise ExpressionError(
                    f"the pattern {pattern!r} uses {match[0]!r}, which is not supported",
                    hint=f"supported: {', '.join(sorted(_WRITE))}, S...", pattern=pattern,
                )  # fmt: skip
            found.append(("field", match[0]))
        else:
            text = match[3] if match[1] is None else (match[1].replace("''", "'") or "'")
            found.append(("text", text))
    return tuple(found)


def _padded(width: int) -> Callable[[np.ndarray], pa.Array]:
    def write(numbers: np.ndarray) -> pa.Array:
        return pc.utf8_lpad(pc.cast(from_numpy(numbers, pa.int64()), pa.string()), width, padding="0")

    return write


def _years(numbers: np.ndarray) -> pa.Array:
    text = _padded(4)(numbers)
    return pc.if_else(
        from_numpy(numbers > 9999, pa.bool_()),
        pc.binary_join_element_wise(scalar("+", pa.string()), text, _EMPTY),
        text,
    )


def _named(names: tuple[str, ...], first: int, cut: int | None = None) -> Callable[[np.ndarray], pa.Array]:
    table = [n[:cut] for n in names]
    return lambda numbers: array([table[int(n) - first] for n in numbers], pa.string())


def _half_hour(local: Local) -> np.ndarray:
    return (FIELDS["hour"](local) + 11) % 12 + 1


def _half(local: Local) -> np.ndarray:
    return FIELDS["hour"](local) // 12


_Write = tuple[Callable[[Local], np.ndarray], Callable[[np.ndarray], pa.Array]]
_WRITE: dict[str, _Write] = {
    "yyyy": (FIELDS["year"], _years),
    "y": (FIELDS["year"], _padded(1)),
    "yy": (lambda local: FIELDS["year"](local) % 100, _padded(2)),
    "M": (FIELDS["month"], _padded(1)),
    "MM": (FIELDS["month"], _padded(2)),
    "MMM": (FIELDS["month"], _named(MONTHS, 1, 3)),
    "MMMM": (FIELDS["month"], _named(MONTHS, 1)),
    "d": (FIELDS["day"], _padded(1)),
    "dd": (FIELDS["day"], _padded(2)),
    "D": (FIELDS["dayofyear"], _padded(1)),
    "DDD": (FIELDS["dayofyear"], _padded(3)),
    "Q": (FIELDS["quarter"], _padded(1)),
    "E": (FIELDS["weekday"], _named(DAYS, 0, 3)),
    "EEE": (FIELDS["weekday"], _named(DAYS, 0, 3)),
    "EEEE": (FIELDS["weekday"], _named(DAYS, 0)),
    "a": (_half, _named(("AM", "PM"), 0)),
    "H": (FIELDS["hour"], _padded(1)),
    "HH": (FIELDS["hour"], _padded(2)),
    "h": (_half_hour, _padded(1)),
    "hh": (_half_hour, _padded(2)),
    "m": (FIELDS["minute"], _padded(1)),
    "mm": (FIELDS["minute"], _padded(2)),
    "s": (FIELDS["second"], _padded(1)),
    "ss": (FIELDS["second"], _padded(2)),
}


def _written(local: Local, pattern: str) -> pa.Array:
    parts: list[Any] = []
    for kind, text in pieces(pattern):
        if kind == "text":
            parts.append(scalar(text, pa.string()))
        elif text[0] == "S":
            micros = pc.utf8_rpad(_padded(6)(local.rest % SECOND), max(6, len(text)), padding="0")
            parts.append(pc.utf8_slice_codeunits(micros, 0, len(text)))
        else:
            number, write = _WRITE[text]
            parts.append(write(number(local)))
    joined = broadcast(pc.binary_join_element_wise(*parts, _EMPTY), len(local.values)) if parts else None
    found = joined if joined is not None else array([""] * len(local.values), pa.string())
    return (
        found
        if local.valid.all()
        else pc.if_else(from_numpy(local.valid, pa.bool_()), found, scalar(None, pa.string()))
    )


# reading ------------------------------------------------------------------------------------------------------------

_READ = {
    "yyyy": r"(?P<year>[+-]?\d{4,6})", "y": r"(?P<year>[+-]?\d{1,6})", "yy": r"(?P<short_year>\d{2})",
    "M": r"(?P<month>\d{1,2})", "MM": r"(?P<month>\d{2})", "MMM": rf"(?P<name>(?i:{'|'.join(m[:3] for m in MONTHS)}))",
    "MMMM": rf"(?P<name>(?i:{'|'.join(MONTHS)}))", "d": r"(?P<day>\d{1,2})", "dd": r"(?P<day>\d{2})",
    "H": r"(?P<hour>\d{1,2})", "HH": r"(?P<hour>\d{2})", "h": r"(?P<half_hour>\d{1,2})", "hh": r"(?P<half_hour>\d{2})",
    "m": r"(?P<minute>\d{1,2})", "mm": r"(?P<minute>\d{2})", "s": r"(?P<second>\d{1,2})", "ss": r"(?P<second>\d{2})",
    "a": r"(?P<half>(?i:AM|PM))",
}  # fmt: skip


@lru_cache(maxsize=256)
def reader(pattern: str) -> str:
    """The regular expression that reads what the pattern writes.

    :raises ExpressionError: for letters that cannot be read back.
    """
    found = pieces(pattern)
    out: list[str] = []
    for i, (kind, text) in enumerate(found):
        if kind == "text":
            out.append(escaped(text))
        elif text[0] == "S":
            out.append(rf"(?P<fraction>\d{{1,{min(len(text), 9)}}})")
        elif text not in _READ:
            raise ExpressionError(f"text cannot be read by {text!r} of the pattern {pattern!r}", pattern=pattern)
        else:
            adjacent = i + 1 < len(found) and found[i + 1][0] == "field"
            out.append(r"(?P<year>\d{4})" if text == "yyyy" and adjacent else _READ[text])
    names = re.findall(r"\?P<(\w+)>", "".join(out))
    if len(names) != len(set(names)):
        raise ExpressionError(f"the pattern {pattern!r} names a field twice", pattern=pattern)
    return rf"^{''.join(out)}$"


class _Read:
    """Texts taken apart by a pattern."""

    def __init__(self, values: pa.Array, pattern: str) -> None:
        self.groups = pc.extract_regex(values, reader(pattern))
        self.matched = valid_mask(self.groups)
        self.names = [self.groups.type.field(i).name for i in range(self.groups.type.num_fields)]

    def text(self, name: str) -> pa.Array | None:
        if name not in self.names:
            return None
        return pc.fill_null(pc.struct_field(self.groups, [self.names.index(name)]), _EMPTY)

    def number(self, name: str, default: int) -> np.ndarray:
        text = self.text(name)
        if text is None:
            return np.full(len(self.matched), default, dtype=np.int64)
        filled = pc.if_else(from_numpy(self.matched, pa.bool_()), text, scalar(str(default), pa.string()))
        return numpy_values(pc.cast(pc.replace_substring_regex(filled, r"^\+", ""), pa.int64()))

    def month(self) -> np.ndarray:
        name = self.text("name")
        if name is None:
            return self.number("month", 1)
        short = pc.utf8_lower(pc.utf8_slice_codeunits(name, 0, 3))
        found = pc.index_in(short, value_set=array([m[:3].lower() for m in MONTHS], pa.string()))
        return numpy_values(pc.fill_null(found, scalar(0, pa.int32()))).astype(np.int64) + 1

    def hour(self) -> np.ndarray:
        if "half_hour" not in self.names:
            return self.number("hour", 0)
        half = self.text("half")
        pm = numpy_bools(pc.equal(pc.utf8_lower(half), scalar("pm", pa.string()))) if half is not None else np.False_
        hours = self.number("half_hour", 12)
        self.matched &= (hours >= 1) & (hours <= 12)
        return hours % 12 + 12 * pm

    def micros(self) -> tuple[np.ndarray, np.ndarray]:
        """Wall times, and where the text names one."""
        year = self.number("short_year", 0) + 2000 if "short_year" in self.names else self.number("year", 1970)
        days, good = days_from(year, self.month(), self.number("day", 1), self.matched)
        hour, minute, second = self.hour(), self.number("minute", 0), self.number("second", 0)
        good = good & self.matched & (hour < 24) & (minute < 60) & (second < 60)
        micros = days * DAY + (hour * 3600 + minute * 60 + second) * SECOND
        fraction = self.text("fraction")
        if fraction is not None:
            text = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, 6, padding="0"), 0, 6)
            micros = micros + numpy_values(pc.cast(text, pa.int64()))
        return micros, good


# functions ----------------------------------------------------------------------------------------------------------


def _pattern(row: Function, args: list[Any], index: int, reads: bool) -> Literal:
    text = constant(row, args, index, "pattern")
    if text is not None:
        (reader if reads else pieces)(str(text))
    return Literal(text, STRING)


def _date_format_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    if implicit_type(args[0].type, "timestamp") is None:
        raise wrong_arguments(row, args, "types")
    return Call("date_format", (converted(args[0], TIMESTAMP), _pattern(row, args, 1, reads=False)), STRING)


@function("date_format", _date_format_rule, safe=True)
def date_format(settings: Settings, value: Datum, pattern: Datum) -> Datum:
    if not pattern.is_valid:
        return pa.nulls(settings.length, pa.string())
    return _written(Local(settings, value), pattern.as_py())


def _parse_rule(target: Any) -> Any:
    """``to_date`` and ``to_timestamp``: a cast without a pattern, a reading by the pattern with one."""

    def rule(row: Function, args: list[Any]) -> Expr:
        if len(args) not in (1, 2):
            raise wrong_arguments(row, args, "arguments")
        if implicit_type(args[0].type, target.type) is None:
            raise wrong_arguments(row, args, "types")
        if len(args) == 1 or args[0].type != STRING:
            return converted(args[0], target)
        parsed = Call("to_timestamp", (args[0], _pattern(row, args, 1, reads=True)), TIMESTAMP)
        return parsed if target == TIMESTAMP else Cast(parsed, target)

    return rule


add("to_date", _parse_rule(DATE), None)


@function("to_timestamp", _parse_rule(TIMESTAMP))
def to_timestamp(settings: Settings, value: Datum, pattern: Datum) -> Datum:
    if not pattern.is_valid:
        return pa.nulls(settings.length, settings.arrow_type)
    values = broadcast(value, settings.length)
    micros, good = _Read(values, pattern.as_py()).micros()
    utc = to_utc(np.where(good, micros, 0), settings.time_zone)
    result = from_numpy(utc, settings.arrow_type, valid_mask(values))
    return Target(TIMESTAMP, settings.time_zone).checked(result, good, values)


def _unix_timestamp_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) not in (1, 2):
        raise wrong_arguments(row, args, "arguments")
    if args[0].type == STRING:
        pattern = args[1] if len(args) == 2 else Literal(DEFAULT, STRING)
        return build("unix_seconds", build("to_timestamp", args[0], pattern))
    return build("unix_seconds", args[0])


add("unix_timestamp to_unix_timestamp", _unix_timestamp_rule, None)


def _from_unixtime_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) not in (1, 2):
        raise wrong_arguments(row, args, "arguments")
    t = implicit_type(args[0].type, "long")
    if t is None:
        raise wrong_arguments(row, args, "types")
    pattern = args[1] if len(args) == 2 else Literal(DEFAULT, STRING)
    return build("date_format", build("timestamp_seconds", converted(args[0], LONG)), pattern)


add("from_unixtime", _from_unixtime_rule, None)
