"""Dates and timestamps: their fields, and truncation.

Fields of a timestamp are those that clocks in the bound time zone show. The calendar is the proleptic Gregorian one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type, name_of
from deltalite.expr.decimals import from_unscaled
from deltalite.expr.functions.intervals import from_local, local_days_and_rest
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.text_to import first_of_month
from deltalite.expr.time_zones import SECOND
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_values, valid_mask
from deltalite.model.expr import (
    DATE,
    INTEGER,
    STRING,
    TIMESTAMP,
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
    "min": "minute", "mins": "minute", "minutes": "minute", "second": "second", "s": "second", "sec": "second",
    "seconds": "second", "secs": "second",
}  # fmt: skip


_OWN_FIELDS = ("second", "dow_iso", "yearofweek")  # seconds with their fraction, unlike second()
_MOMENTS = ("date", "timestamp", "timestamp_ntz")


def _field(name: str) -> Callable[[Settings, Datum], Datum]:
    def evaluate(settings: Settings, value: Datum) -> Datum:
        local = Local(settings, value)
        return from_numpy(FIELDS[name](local), pa.int32(), local.valid)

    return evaluate


def moment_rule(result: Any = None, wanted: tuple[str, ...] = _MOMENTS) -> Any:
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
    add(_names, moment_rule(INTEGER), _field(_first), monotone=(0,) if _first == "year" else (), safe=True)
for _first in ("hour", "minute", "second"):
    add(_first, moment_rule(INTEGER, ("timestamp", "timestamp_ntz")), _field(_first), safe=True)


def _date_part_rule(row: Function, args: list[Any]) -> Expr:
    """The fields that have a function of their own become that; the others are computed here."""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    given = str(constant(row, args, 0, "field")).lower()
    field = _FIELD_NAMES.get(given)
    if field is None:
        raise ExpressionError(f"there is no field {given!r} of a timestamp", hint="e.g. year, month, day, hour, second")
    if field not in _OWN_FIELDS:
        return build(field, args[1])
    t = PrimitiveType("decimal(8,6)") if field == "second" else INTEGER
    wanted = ("timestamp", "timestamp_ntz") if field == "second" else _MOMENTS
    return Call("date_part", (Literal(field, STRING), moment(row, args[1], wanted)), t)


@function("date_part datepart extract", _date_part_rule, safe=True)
def date_part(settings: Settings, field: Datum, value: Datum) -> Datum:
    local = Local(settings, value)
    if field.as_py() == "second":
        return from_unscaled(local.rest % (60 * SECOND), settings.arrow_type, local.valid)
    numbers = local.weekday + 1 if field.as_py() == "dow_iso" else local.iso_week_year
    return from_numpy(numbers, pa.int32(), local.valid)


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
        raise ExpressionError(
            f"{given!r} is no unit of {row.name}", hint=f"units: {', '.join(sorted(set(_TRUNC_UNITS.values())))}"
        )
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


@function("trunc", _trunc_rule, monotone=(0,), safe=True)
def trunc(settings: Settings, value: Datum, unit: Datum) -> Datum:
    local = Local(settings, value)
    return local.back(truncated_days(local, unit.as_py()), local.rest)


def _date_trunc_rule(row: Function, args: list[Any]) -> Expr:
    """``date_trunc(unit, timestamp)``"""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    if implicit_type(args[1].type, "timestamp") is None:
        raise wrong_arguments(row, args, "types")
    return Call("date_trunc", (Literal(_unit(row, args, 0), STRING), converted(args[1], TIMESTAMP)), TIMESTAMP)


@function("date_trunc", _date_trunc_rule, monotone=(1,), safe=True)
def date_trunc(settings: Settings, unit: Datum, value: Datum) -> Datum:
    local, name = Local(settings, value), unit.as_py()
    if name in ("second", "millisecond", "microsecond"):
        micros = numpy_values(local.values)
        return from_numpy(micros - micros % _TRUNC_MICROS[name], local.values.type, local.valid)
    if name in _TRUNC_MICROS:
        return local.back(local.days, local.rest - local.rest % _TRUNC_MICROS[name])
    return local.back(truncated_days(local, name), np.zeros_like(local.rest))
