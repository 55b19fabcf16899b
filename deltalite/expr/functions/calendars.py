"""Steps through the calendar, distances in it, epochs and zones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type, name_of
from deltalite.expr.functions.dates import FIELDS, Local, moment
from deltalite.expr.functions.intervals import plus_months
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.text_to import days_from, first_of_month, known_zone
from deltalite.expr.time_zones import DAY, SECOND, to_local, to_utc
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_values, valid_mask
from deltalite.model.expr import DATE, INTEGER, LONG, STRING, TIMESTAMP, Call, Expr, Literal


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


add("date_add dateadd", _units_rule, _days_added(1), monotone=(0,))
add("date_sub", _units_rule, _days_added(-1), monotone=(0,))


@function("add_months", "date, int -> date", monotone=(0,))
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


@function("last_day", "date -> date", monotone=(0,), safe=True)
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
        raise ExpressionError(
            f"{unit!r} is no unit of {row.name}", hint=f"units: {', '.join((*_ADD_UNITS, *_ADD_MICROS))}"
        )
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

    add(f"unix_{names}", "timestamp -> long", to_number, monotone=(0,), safe=True)
    add(f"timestamp_{names}", "long -> timestamp", to_moment, monotone=(0,))


for _names, _micros in (("seconds", SECOND), ("millis", 1000), ("micros", 1)):
    _epoch(_names, _micros)


@function("unix_date", "date -> int", monotone=(0,), safe=True)
def unix_date(settings: Settings, value: Datum) -> Datum:
    return value.cast(pa.int32())


@function("date_from_unix_date", "int -> date", monotone=(0,), safe=True)
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
