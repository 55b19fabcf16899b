"""Dates and timestamps: their fields, truncation, calendar arithmetic, epochs and zones.

Fields of a timestamp are those that clocks in the bound time zone show. The calendar is the proleptic Gregorian one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type, name_of
from deltalite.expr.functions.intervals import from_local, local_days_and_rest, plus_months
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.text_to import days_from, first_of_month, known_zone
from deltalite.expr.time_zones import DAY, SECOND, to_local, to_utc
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_values, valid_mask
from deltalite.model.expr import (
    DATE,
    INTEGER,
    LONG,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    VOID,
    Call,
    Expr,
    Literal,
    PrimitiveType,
)

_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


class Local:
    """The local calendar of an array of dates or timestamps."""

    def __init__(self, settings: Settings, value: Datum) -> None:
        self.values = broadcast(value, settings.length)
        self.valid = valid_mask(self.values)
        days, rest = local_days_and_rest(self.values, settings.time_zone)
        self.days, self.rest = np.where(self.valid, days, 0), np.where(self.valid, rest, 0)
        self.zone = settings.time_zone

    @property
    def months(self) -> np.ndarray:
        """Months since January 1970."""
        return self.days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)

    @property
    def year(self) -> np.ndarray:
        return self.months // 12 + 1970

    @property
    def first_of_year(self) -> np.ndarray:
        return first_of_month((self.year - 1970) * 12)

    @property
    def weekday(self) -> np.ndarray:
        """Monday is 0."""
        return (self.days + _EPOCH_WEEKDAY) % 7

    @property
    def iso_week_year(self) -> np.ndarray:
        thursday = self.days - self.weekday + 3
        return thursday.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970

    @property
    def iso_week(self) -> np.ndarray:
        return (self.days - self.weekday + 3 - first_of_month((self.iso_week_year - 1970) * 12)) // 7 + 1

    def back(self, days: np.ndarray, rest: np.ndarray) -> pa.Array:
        """Local days and microseconds as values of the same type."""
        return from_local(days, rest, self.values.type, self.zone, self.valid)


FIELDS: dict[str, Callable[[Local], np.ndarray]] = {
    "year": lambda local: local.year,
    "quarter": lambda local: local.months % 12 // 3 + 1,
    "month": lambda local: local.months % 12 + 1,
    "day": lambda local: local.days - first_of_month(local.months) + 1,
    "dayofweek": lambda local: (local.weekday + 1) % 7 + 1,
    "weekday": lambda local: local.weekday,
    "dayofyear": lambda local: local.days - local.first_of_year + 1,
    "weekofyear": lambda local: local.iso_week,
    "yearofweek": lambda local: local.iso_week_year,
    "hour": lambda local: local.rest // (3600 * SECOND),
    "minute": lambda local: local.rest // (60 * SECOND) % 60,
    "second": lambda local: local.rest // SECOND % 60,
}
_FIELD_NAMES = {
    "year": "year", "y": "year", "years": "year", "yr": "year", "yrs": "year", "yearofweek": "yearofweek",
    "quarter": "quarter", "qtr": "quarter", "month": "month", "mon": "month", "mons": "month", "months": "month",
    "week": "weekofyear", "w": "weekofyear", "weeks": "weekofyear", "day": "day", "d": "day", "days": "day",
    "dayofweek": "dayofweek", "dow": "dayofweek", "dayofweek_iso": "dow_iso", "dow_iso": "dow_iso", "doy": "dayofyear",
    "hour": "hour", "h": "hour", "hours": "hour", "hr": "hour", "hrs": "hour", "minute": "minute", "m": "minute",
    "min": "minute", "mins": "minute", "minutes": "minute",
}  # fmt: skip


def _field(name: str) -> Callable[[Settings, Datum], Datum]:
    def evaluate(settings: Settings, value: Datum) -> Datum:
        local = Local(settings, value)
        return from_numpy(FIELDS[name](local), pa.int32(), local.valid)

    return evaluate


def moment_rule(result: Any = None, wanted: tuple[str, ...] = ("date", "timestamp", "timestamp_ntz")) -> Any:
    """One date or timestamp; text becomes the first of the wanted types."""

    def rule(row: Function, args: list[Any]) -> Expr:
        if len(args) != 1:
            raise wrong_arguments(row, args, "arguments")
        value = moment(row, args[0], wanted)
        return Call(row.name, (value,), result or value.type)

    return rule


def moment(row: Function, arg: Any, wanted: tuple[str, ...]) -> Any:
    if name_of(arg.type) in wanted:
        return arg
    if arg.type in (STRING, VOID) or name_of(arg.type) == "date":
        return converted(arg, PrimitiveType(wanted[0]))
    raise wrong_arguments(row, [arg], "types")


for _names in (
    "year", "quarter", "month", "day dayofmonth", "dayofweek", "weekday", "dayofyear", "weekofyear",
):  # fmt: skip
    _first = _names.split()[0]
    add(_names, moment_rule(INTEGER), _field(_first), monotone=_first == "year", safe=True)
for _first in ("hour", "minute", "second"):
    add(_first, moment_rule(INTEGER, ("timestamp", "timestamp_ntz")), _field(_first), safe=True)


@function("dow_iso", moment_rule(INTEGER), safe=True)
def dow_iso(settings: Settings, value: Datum) -> Datum:
    local = Local(settings, value)
    return from_numpy(local.weekday + 1, pa.int32(), local.valid)


@function("yearofweek", moment_rule(INTEGER), safe=True)
def yearofweek(settings: Settings, value: Datum) -> Datum:
    local = Local(settings, value)
    return from_numpy(local.iso_week_year, pa.int32(), local.valid)


@function("fractional_second", moment_rule(PrimitiveType("decimal(8,6)"), ("timestamp", "timestamp_ntz")), safe=True)
def fractional_second(settings: Settings, value: Datum) -> Datum:
    from deltalite.expr.decimals import from_unscaled

    local = Local(settings, value)
    return from_unscaled(local.rest % (60 * SECOND), settings.arrow_type, local.valid)


def _date_part_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    field = str(constant(row, args, 0, "field")).lower()
    if field in ("second", "s", "sec", "seconds", "secs"):
        return build("fractional_second", args[1])
    if field not in _FIELD_NAMES:
        raise ExpressionError(f"there is no field {field!r} of a timestamp", hint="e.g. year, month, day, hour, second")
    return build(_FIELD_NAMES[field], args[1])


add("date_part datepart extract", _date_part_rule, None)


# truncation ---------------------------------------------------------------------------------------------------------

_TRUNC_UNITS = {
    "year": "year", "yyyy": "year", "yy": "year", "quarter": "quarter", "month": "month", "mm": "month", "mon": "month",
    "week": "week", "day": "day", "dd": "day", "hour": "hour", "minute": "minute", "second": "second",
    "millisecond": "millisecond", "microsecond": "microsecond",
}  # fmt: skip
_TRUNC_MICROS = {
    "hour": 3600 * SECOND, "minute": 60 * SECOND, "second": SECOND, "millisecond": 1000, "microsecond": 1,
}  # fmt: skip


def truncated_days(local: Local, unit: str) -> np.ndarray:
    if unit == "week":
        return local.days - local.weekday
    if unit == "day":
        return local.days
    months = {"year": 12, "quarter": 3, "month": 1}[unit]
    return first_of_month(local.months // months * months)


def _unit(row: Function, args: list[Any], index: int) -> str:
    given = constant(row, args, index, "unit")
    unit = _TRUNC_UNITS.get(str(given).lower())
    if unit is None:
        raise ExpressionError(f"{given!r} is no unit of {row.name}", hint=f"units: {', '.join(sorted(set(_TRUNC_UNITS.values())))}")
    return unit


def _trunc_rule(row: Function, args: list[Any]) -> Expr:
    """``trunc(date, unit)``"""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    unit = _unit(row, args, 1)
    if unit in _TRUNC_MICROS or unit == "day":
        raise ExpressionError(f"trunc cuts dates to year, quarter, month or week, not {unit}", hint="use date_trunc")
    t = implicit_type(args[0].type, "date")
    if t is None:
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(args[0], t), Literal(unit, STRING)), DATE)


@function("trunc", _trunc_rule, monotone=True, safe=True)
def trunc(settings: Settings, value: Datum, unit: Datum) -> Datum:
    local = Local(settings, value)
    return local.back(truncated_days(local, unit.as_py()), local.rest)


def _date_trunc_rule(row: Function, args: list[Any]) -> Expr:
    """``date_trunc(unit, timestamp)``; the typed node has the timestamp first, which is what it is monotone in."""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    if implicit_type(args[1].type, "timestamp") is None:
        raise wrong_arguments(row, args, "types")
    value = converted(args[1], TIMESTAMP)
    return Call("truncate_timestamp", (value, Literal(_unit(row, args, 0), STRING)), TIMESTAMP)


add("date_trunc", _date_trunc_rule, None)


def _internal(row: Function, args: list[Any]) -> Expr:
    if len(args) == 2 and args[0].type == TIMESTAMP and isinstance(args[1], Literal):
        return Call(row.name, (args[0], args[1]), args[0].type)
    raise wrong_arguments(row, args, "types")


@function("truncate_timestamp", _internal, monotone=True, safe=True)
def truncate_timestamp(settings: Settings, value: Datum, unit: Datum) -> Datum:
    local, name = Local(settings, value), unit.as_py()
    if name in ("second", "millisecond", "microsecond", "minute"):
        micros = numpy_values(local.values)
        if name != "minute":
            return from_numpy(micros - micros % _TRUNC_MICROS[name], local.values.type, local.valid)
    if name in _TRUNC_MICROS:
        return local.back(local.days, local.rest - local.rest % _TRUNC_MICROS[name])
    return local.back(truncated_days(local, name), np.zeros_like(local.rest))


# calendar arithmetic ------------------------------------------------------------------------------------------------


def _units_rule(row: Function, args: list[Any]) -> Expr:
    """``date_add(date, days)``; with a unit first it is ``timestampadd``."""
    if len(args) == 3:
        return build("timestampadd", *args)
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    start, days = implicit_type(args[0].type, "date"), implicit_type(args[1].type, "integer")
    if start is None or days is None or name_of(args[1].type) == "long":
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(args[0], start), converted(args[1], days)), DATE)


def _days_added(sign: int) -> Any:
    def evaluate(settings: Settings, start: Datum, days: Datum) -> Datum:
        local, amount = Local(settings, start), broadcast(days, settings.length)
        local.valid = local.valid & valid_mask(amount)
        return local.back(local.days + sign * numpy_values(amount).astype(np.int64), local.rest)

    return evaluate


add("date_add dateadd", _units_rule, _days_added(1), monotone=True)
add("date_sub", _units_rule, _days_added(-1), monotone=True)


@function("add_months", "date, int -> date", monotone=True)
def add_months(settings: Settings, start: Datum, months: Datum) -> Datum:
    local, amount = Local(settings, start), broadcast(months, settings.length)
    local.valid = local.valid & valid_mask(amount)
    return local.back(plus_months(local.days, numpy_values(amount).astype(np.int64)), local.rest)


def _datediff_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) == 3:
        return build("timestampdiff", *args)
    types = [implicit_type(a.type, "date") for a in args]
    if len(args) != 2 or None in types:
        raise wrong_arguments(row, args, "types" if len(args) == 2 else "arguments")
    return Call("datediff", tuple(converted(a, DATE) for a in args), INTEGER)


@function("datediff date_diff", _datediff_rule, safe=True)
def datediff(settings: Settings, end: Datum, start: Datum) -> Datum:
    return pc.subtract(end.cast(pa.int32()), start.cast(pa.int32()))


@function("last_day", "date -> date", monotone=True, safe=True)
def last_day(settings: Settings, value: Datum) -> Datum:
    local = Local(settings, value)
    return local.back(first_of_month(local.months + 1) - 1, local.rest)


_WEEKDAYS = {"mo": 0, "tu": 1, "we": 2, "th": 3, "fr": 4, "sa": 5, "su": 6}


def _next_day_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    name = str(constant(row, args, 1, "day")).strip().lower()
    full = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    if name[:2] not in _WEEKDAYS or name not in {f for d in full for f in (d[:2], d[:3], d)}:
        raise ExpressionError(f"{name!r} is no day of the week")
    t = implicit_type(args[0].type, "date")
    if t is None:
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(args[0], DATE), args[1]), DATE)


@function("next_day", _next_day_rule, safe=True)
def next_day(settings: Settings, value: Datum, day: Datum) -> Datum:
    local = Local(settings, value)
    wanted = _WEEKDAYS[day.as_py().strip().lower()[:2]]
    return local.back(local.days + 1 + (wanted - 1 - local.weekday) % 7, local.rest)


@function("months_between", "timestamp, timestamp[, boolean] -> double", safe=True)
def months_between(settings: Settings, end: Datum, start: Datum, round_off: Datum | None = None) -> Datum:
    """Whole months where the days of the month agree or both are last; otherwise with a fraction of 31 days."""
    a, b = Local(settings, end), Local(settings, start)
    months = (a.months - b.months).astype(np.float64)
    day_a, day_b = FIELDS["day"](a), FIELDS["day"](b)
    last_a = first_of_month(a.months + 1) - first_of_month(a.months) == day_a
    last_b = first_of_month(b.months + 1) - first_of_month(b.months) == day_b
    seconds = (day_a - day_b) * 86_400 + a.rest // SECOND - b.rest // SECOND
    fraction = seconds / (31 * 86_400.0)
    found = np.where((day_a == day_b) | (last_a & last_b), months, months + fraction)
    if round_off is None or (round_off.is_valid and round_off.as_py()):
        found = np.floor(found * 1e8 + 0.5) / 1e8
    return from_numpy(found, pa.float64(), a.valid & b.valid)


_ADD_UNITS = {"year": 12, "quarter": 3, "month": 1}
_ADD_MICROS = {
    "week": 7 * DAY, "day": DAY, "dayofyear": DAY, "hour": 3600 * SECOND, "minute": 60 * SECOND, "second": SECOND,
    "millisecond": 1000, "microsecond": 1,
}  # fmt: skip


def _unit_of(row: Function, args: list[Any]) -> str:
    unit = str(constant(row, args, 0, "unit")).lower()
    if len(args) != 3:
        raise wrong_arguments(row, args, "arguments")
    if unit not in _ADD_UNITS and unit not in _ADD_MICROS:
        raise ExpressionError(f"{unit!r} is no unit of {row.name}", hint=f"units: {', '.join((*_ADD_UNITS, *_ADD_MICROS))}")
    return unit


def _timestampadd_rule(row: Function, args: list[Any]) -> Expr:
    unit = _unit_of(row, args)
    value = moment(row, args[2], ("timestamp", "timestamp_ntz"))
    if name_of(args[1].type) not in ("byte", "short", "integer", "long"):
        raise wrong_arguments(row, args, "types")
    return Call("timestampadd", (Literal(unit, STRING), converted(args[1], LONG), value), value.type)


@function("timestampadd", _timestampadd_rule)
def timestampadd(settings: Settings, unit: Datum, amount: Datum, value: Datum) -> Datum:
    local, name, by = Local(settings, value), unit.as_py(), broadcast(amount, settings.length)
    local.valid = local.valid & valid_mask(by)
    count = np.where(local.valid, numpy_values(by), 0)
    if name in _ADD_UNITS:
        return local.back(plus_months(local.days, count * _ADD_UNITS[name]), local.rest)
    if name in ("week", "day", "dayofyear"):
        return local.back(local.days + count * (_ADD_MICROS[name] // DAY), local.rest)
    step = from_numpy(np.array([_ADD_MICROS[name]]), pa.int64())[0]
    return pc.add_checked(local.values, pc.multiply_checked(by, step).cast(pa.duration("us")))


def _timestampdiff_rule(row: Function, args: list[Any]) -> Expr:
    unit = _unit_of(row, args)
    values = [moment(row, a, ("timestamp", "timestamp_ntz")) for a in args[1:]]
    t = values[0].type if values[0].type == values[1].type else TIMESTAMP
    return Call("timestampdiff", (Literal(unit, STRING), *(converted(v, t) for v in values)), LONG)


@function("timestampdiff", _timestampdiff_rule, safe=True)
def timestampdiff(settings: Settings, unit: Datum, start: Datum, end: Datum) -> Datum:
    """Whole units from start to end, cut towards zero."""
    a, b, name = Local(settings, start), Local(settings, end), unit.as_py()
    valid = a.valid & b.valid
    if name in _ADD_UNITS:
        months = b.months - a.months
        into_a = (a.days - first_of_month(a.months)) * DAY + a.rest
        into_b = (b.days - first_of_month(b.months)) * DAY + b.rest
        months = months - ((months > 0) & (into_b < into_a)) + ((months < 0) & (into_b > into_a))
        return from_numpy(_cut(months, _ADD_UNITS[name]), pa.int64(), valid)
    span = (b.days - a.days) * DAY + b.rest - a.rest
    return from_numpy(_cut(span, _ADD_MICROS[name]), pa.int64(), valid)


def _cut(numbers: np.ndarray, divisor: int) -> np.ndarray:
    return np.sign(numbers) * (np.abs(numbers) // divisor)


@function("make_date", "int, int, int -> date")
def make_date(settings: Settings, *parts: Datum) -> Datum:
    arrays = [broadcast(p, settings.length) for p in parts]
    valid = np.logical_and.reduce([valid_mask(a) for a in arrays])
    year, month, day = (np.where(valid, numpy_values(a), 1).astype(np.int64) for a in arrays)
    days, good = days_from(year, month, day, np.ones(settings.length, dtype=bool))
    if not (good | ~valid).all():
        raise ExpressionError("make_date was given a day that does not exist")
    return from_numpy(days, pa.date32(), valid)


# epochs and zones ---------------------------------------------------------------------------------------------------


def _epoch(names: str, unit: int) -> None:
    def to_number(settings: Settings, value: Datum) -> Datum:
        values = broadcast(value, settings.length)
        return from_numpy(numpy_values(values) // unit, pa.int64(), valid_mask(values))

    def to_moment(settings: Settings, value: Datum) -> Datum:
        step = from_numpy(np.array([unit]), pa.int64())[0]
        return pc.multiply_checked(value, step).cast(pa.timestamp("us", tz="UTC"))

    add(f"unix_{names}", "timestamp -> long", to_number, monotone=True, safe=True)
    add(f"timestamp_{names}", "long -> timestamp", to_moment, monotone=True)


for _names, _micros in (("seconds", SECOND), ("millis", 1000), ("micros", 1)):
    _epoch(_names, _micros)


@function("unix_date", "date -> int", monotone=True, safe=True)
def unix_date(settings: Settings, value: Datum) -> Datum:
    return value.cast(pa.int32())


@function("date_from_unix_date", "int -> date", monotone=True, safe=True)
def date_from_unix_date(settings: Settings, value: Datum) -> Datum:
    return value.cast(pa.date32())


def _zone_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    zone = constant(row, args, 1, "time zone")
    if zone is not None and not known_zone(str(zone)):
        raise ExpressionError(f"unknown time zone {zone!r}")
    t = implicit_type(args[0].type, "timestamp")
    if t is None:
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(args[0], t), args[1]), TIMESTAMP)


@function("from_utc_timestamp", _zone_rule, safe=True)
def from_utc_timestamp(settings: Settings, value: Datum, zone: Datum) -> Datum:
    return _relabelled(settings, value, zone, to_local)


@function("to_utc_timestamp", _zone_rule, safe=True)
def to_utc_timestamp(settings: Settings, value: Datum, zone: Datum) -> Datum:
    return _relabelled(settings, value, zone, to_utc)


def _relabelled(settings: Settings, value: Datum, zone: Datum, shift: Any) -> Datum:
    values = broadcast(value, settings.length)
    if not zone.is_valid:
        return pa.nulls(settings.length, values.type)
    return from_numpy(shift(numpy_values(values), zone.as_py()), values.type, valid_mask(values))
