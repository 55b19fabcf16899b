"""Dates, timestamps and intervals added to, taken from and multiplied with one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, is_integral, is_numeric, name_of
from deltalite.expr.decimals import truncated
from deltalite.expr.functions.registry import Settings
from deltalite.expr.text_to import first_of_month
from deltalite.expr.time_zones import DAY as DAY_MICROS
from deltalite.expr.time_zones import to_local, to_utc
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_values, valid_mask
from deltalite.model.expr import (
    DATE,
    DAY,
    DAY_TIME,
    INTEGER,
    LONG,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    YEAR_MONTH,
    Call,
    Expr,
    IntervalType,
    Literal,
    type_name,
)

_TIMES = ("date", "timestamp", "timestamp_ntz")


def time_arithmetic(operator: str, args: list[Any]) -> Expr | None:
    """The node of an operator with a time or an interval among its operands; ``None`` when there is none.

    :raises ExpressionError: when the two do not go together.
    """
    if len(args) != 2 or not any(_is_time(a) for a in args):
        return None
    left, right = args
    if operator == "+" and not _is_moment(left) and _is_moment(right):
        left, right = right, left
    found = _combined(operator, left, right)
    if found is None:
        raise ExpressionError(f"cannot compute {type_name(args[0].type)} {operator} {type_name(args[1].type)}")
    return found


def _is_time(arg: Any) -> bool:
    return _is_moment(arg) or isinstance(arg.type, IntervalType)


def _is_moment(arg: Any) -> bool:
    return name_of(arg.type) in _TIMES


def _combined(operator: str, left: Any, right: Any) -> Expr | None:
    if _is_moment(left) and operator in ("+", "-"):
        if isinstance(right.type, IntervalType):
            amount = right if operator == "+" else _negated(right)
            return _moved(left, amount)
        if left.type == DATE and is_integral(right.type) and name_of(right.type) != "long":
            return Call("date_add" if operator == "+" else "date_sub", (left, converted(right, INTEGER)), DATE)
        return _difference(left, right) if operator == "-" else None
    if operator == "-" and _is_moment(right) and left.type == STRING:
        return _difference(converted(left, right.type), right)
    if isinstance(left.type, IntervalType) and isinstance(right.type, IntervalType):
        return _interval_sum(operator, left, right)
    if operator == "*" and isinstance(right.type, IntervalType):
        left, right = right, left
    if isinstance(left.type, IntervalType) and operator in ("*", "/") and is_numeric(right.type):
        if operator == "/" or not is_integral(right.type):
            raise ExpressionError("intervals are multiplied by whole numbers only", hint="write the interval you need")
        return Call("*", (left, converted(right, INTEGER if left.type == YEAR_MONTH else LONG)), left.type)
    return None


def _negated(amount: Any) -> Any:
    if isinstance(amount, Literal) and amount.value is not None:
        return Literal(-amount.value, amount.type)
    return Call("negative", (amount,), amount.type)


def _moved(moment: Any, amount: Any) -> Expr:
    """A moment plus an interval. A date stays a date unless hours or less are added."""
    if moment.type == DATE and amount.type == DAY_TIME:
        moment = converted(moment, TIMESTAMP)
    return Call("+", (moment, amount), moment.type)


def _difference(left: Any, right: Any) -> Expr | None:
    if right.type == STRING:
        right = converted(right, left.type)
    if not _is_moment(right):
        return None
    if left.type == DATE and right.type == DATE:
        return Call("-", (left, right), DAY)
    t = TIMESTAMP if TIMESTAMP in (left.type, right.type) else TIMESTAMP_NTZ
    return Call("-", (converted(left, t), converted(right, t)), DAY_TIME)


def _interval_sum(operator: str, left: Any, right: Any) -> Expr | None:
    months = (left.type == YEAR_MONTH, right.type == YEAR_MONTH)
    if operator not in ("+", "-") or months[0] != months[1]:
        return None
    t = left.type if left.type == right.type else DAY_TIME
    return Call(operator, (left, right), t)


def local_days_and_rest(values: pa.Array, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local days since 1970 and the microseconds into the day; dates have none."""
    numbers = numpy_values(values).astype(np.int64)
    if pa.types.is_date(values.type):
        return numbers, np.zeros(len(values), dtype=np.int64)
    local = to_local(numbers, zone) if values.type.tz is not None else numbers
    return local // DAY_MICROS, local % DAY_MICROS


def from_local(days: np.ndarray, rest: np.ndarray, like: pa.DataType, zone: str, valid: np.ndarray) -> pa.Array:
    """Local days and microseconds back to a moment of a type.

    :raises ExpressionError: when the type cannot hold it.
    """
    if pa.types.is_date(like):
        if (np.abs(np.where(valid, days, 0)) >= 2**31).any():
            raise ExpressionError("the date is out of range")
        return from_numpy(np.where(valid, days, 0), like, valid)
    if (np.abs(np.where(valid, days, 0)) >= 106_751_990).any():
        raise ExpressionError("the timestamp is out of range")
    local = np.where(valid, days, 0) * DAY_MICROS + np.where(valid, rest, 0)
    return from_numpy(to_utc(local, zone) if like.tz is not None else local, like, valid)


def plus_months(days: np.ndarray, months: np.ndarray) -> np.ndarray:
    """The same day so many months on, or the last day of that month where it is shorter."""
    here = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    into = days - first_of_month(here)
    first = first_of_month(here + months)
    return first + np.minimum(into, first_of_month(here + months + 1) - first - 1)


def is_moment(t: pa.DataType) -> bool:
    return pa.types.is_date(t) or pa.types.is_timestamp(t)


def moved(settings: Settings, moment: Datum, amount: Datum) -> Datum:
    """A moment plus an interval of months (int32) or of time (duration)."""
    return (_plus_months if pa.types.is_int32(amount.type) else _plus_time)(settings, moment, amount)


def multiplied(span: Datum, times: Datum) -> Datum:
    """A duration so many times."""
    return pc.multiply_checked(span.cast(pa.int64()), times).cast(span.type)


def _plus_months(settings: Settings, moment: Datum, months: Datum) -> Datum:
    a, b = broadcast(moment, settings.length), broadcast(months, settings.length)
    valid = valid_mask(a) & valid_mask(b)
    days, rest = local_days_and_rest(a, settings.time_zone)
    moved = plus_months(np.where(valid, days, 0), np.where(valid, numpy_values(b), 0).astype(np.int64))
    return from_local(moved, rest, a.type, settings.time_zone, valid)


def _plus_time(settings: Settings, moment: Datum, span: Datum) -> Datum:
    """Whole days move the local calendar, the rest of the interval moves the instant."""
    if not pa.types.is_date(moment.type) and (moment.type.tz is None or settings.time_zone == "UTC"):
        return pc.add_checked(moment, span)
    a, b = broadcast(moment, settings.length), broadcast(span, settings.length)
    valid = valid_mask(a) & valid_mask(b)
    micros = np.where(valid, numpy_values(b), 0)
    whole_days = truncated(micros, DAY_MICROS)
    days, rest = local_days_and_rest(a, settings.time_zone)
    moved = from_local(days + whole_days, rest, a.type, settings.time_zone, valid)
    if pa.types.is_date(moment.type):
        return moved
    return pc.add_checked(moved, from_numpy(micros - whole_days * DAY_MICROS, pa.duration("us"), valid))


def times_apart(settings: Settings, left: Datum, right: Datum) -> Datum:
    """The interval between two moments: what the clocks of the zone show differs by so much."""
    if pa.types.is_date(left.type):
        days = pc.subtract(left.cast(pa.int32()).cast(pa.int64()), right.cast(pa.int32()).cast(pa.int64()))
        return pc.multiply_checked(days, _long(DAY_MICROS)).cast(pa.duration("us"))
    if settings.time_zone != "UTC" and left.type.tz is not None:
        a, b = broadcast(left, settings.length), broadcast(right, settings.length)
        valid = valid_mask(a) & valid_mask(b)
        zone = settings.time_zone
        span = to_local(numpy_values(a), zone) - to_local(numpy_values(b), zone)
        return from_numpy(span, pa.duration("us"), valid)
    return pc.subtract_checked(left, right)


def _long(value: int) -> pa.Scalar:
    return from_numpy(np.array([value]), pa.int64())[0]
