"""CAST: which casts exist, and the conversions between numbers, times and text.

Spark's ANSI rules: fractions are cut towards zero on the way to integers and rounded half up on the way to decimals;
what does not fit is an error, or null with TRY_CAST.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr import text_of, text_to
from deltalite.expr.coerce import INTEGRAL, is_decimal, is_numeric, name_of
from deltalite.expr.decimals import fits, from_unscaled, rescaled, to_floats, truncated, unscaled
from deltalite.expr.functions.registry import Function, add, wrong_arguments
from deltalite.expr.time_zones import DAY, SECOND, to_local, to_utc
from deltalite.expr.vectors import (
    Datum,
    arrow_type,
    bools,
    broadcast,
    from_numpy,
    is_null_scalar,
    null_where,
    numpy_type,
    numpy_values,
    scalar_null,
    valid_mask,
)
from deltalite.model.expr import Cast, Expr, ExprType, IntervalType, type_name
from deltalite.model.types import ArrayType, MapType, PrimitiveType, StructType

INTEGER_RANGE = {"byte": 2**7, "short": 2**15, "integer": 2**31, "long": 2**63}
LAST_DAY = 106_751_990
"""Days since 1970 that a timestamp of microseconds can hold, either way."""
_NUMBERS = {*INTEGRAL, "float", "double", "decimal"}
_ALLOWED = {
    "boolean": {"string"} | _NUMBERS,
    "string": {"boolean", "date", "timestamp", "timestamp_ntz", "binary"} | _NUMBERS,
    "binary": {"string"},
    "date": {"string", "timestamp", "timestamp_ntz"},
    "timestamp": {"string", "date", "timestamp_ntz"} | _NUMBERS,
    "timestamp_ntz": {"string", "date", "timestamp"},
    **{name: {"string", "boolean", "timestamp"} | _NUMBERS for name in _NUMBERS},
}


def check_cast(source: ExprType, target: ExprType, try_: bool = False) -> None:
    """Refuse a cast that does not exist.

    :raises ExpressionError: naming both types.
    """
    if not _castable(source, target):
        hint = (
            "format it first, e.g. with date_format or unix_date"
            if "date" in (name_of(source), name_of(target))
            else None
        )
        raise ExpressionError(f"cannot cast {type_name(source)} to {type_name(target)}", hint=hint)


def _castable(source: ExprType, target: ExprType) -> bool:
    if source == target or name_of(source) == "void":
        return not isinstance(target, IntervalType) or source == target
    if isinstance(source, ArrayType) and isinstance(target, ArrayType):
        return _castable(source.element_type, target.element_type)
    if isinstance(source, StructType) and isinstance(target, StructType):
        pairs = zip(source.fields, target.fields, strict=False)
        return len(source.fields) == len(target.fields) and all(_castable(a.type, b.type) for a, b in pairs)
    if isinstance(source, MapType) and isinstance(target, MapType):
        return _castable(source.key_type, target.key_type) and _castable(source.value_type, target.value_type)
    if isinstance(source, IntervalType):
        return (
            isinstance(target, IntervalType)
            and source.type == "interval day"
            and target.type.startswith("interval day")
        )
    return name_of(target) in _ALLOWED.get(name_of(source), set()) or name_of(source) == name_of(target)


def cast_node(operand: Any, target: ExprType, try_: bool = False) -> Expr:
    """A typed operand cast to a type, checked to exist."""
    check_cast(operand.type, target, try_)
    return Cast(operand, target, try_)


def _cast_function(target: ExprType) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        if len(args) != 1:
            raise wrong_arguments(row, args, "arguments")
        return cast_node(args[0], target)

    return rule


for _name, _type in (
    ("boolean", "boolean"), ("tinyint", "byte"), ("smallint", "short"), ("int", "integer"), ("bigint", "long"),
    ("float", "float"), ("double", "double"), ("decimal", "decimal(10,0)"), ("string", "string"), ("binary", "binary"),
    ("date", "date"), ("timestamp", "timestamp"), ("timestamp_ntz", "timestamp_ntz"),
):  # fmt: skip
    add(_name, _cast_function(PrimitiveType(_type)), None)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a cast goes, and what a value that cannot be converted becomes."""

    type: Any
    time_zone: str
    try_: bool = False

    @property
    def name(self) -> str:
        return name_of(self.type)

    @property
    def arrow_type(self) -> pa.DataType:
        return arrow_type(self.type)

    def checked(self, result: pa.Array, good: np.ndarray, values: pa.Array) -> pa.Array:
        """The result, null where not good, or an error that shows the first such value.

        :param good: where the conversion succeeded; positions that are null in ``values`` do not matter.
        """
        bad = ~good & valid_mask(values)
        if not bad.any():
            return result
        if self.try_:
            return null_where(result, bad)
        raise self.failure(values[int(np.argmax(bad))], values.type)

    def failure(self, value: pa.Scalar, t: pa.DataType) -> ExpressionError:
        shown = repr(value.as_py()) if pa.types.is_string(t) else str(text_of.plain(value))
        return ExpressionError(
            f"the value {shown[:100]} cannot be cast to {type_name(self.type)}",
            hint="use try_cast to get null instead", value=shown, type=type_name(self.type),
        )  # fmt: skip


def cast(value: Datum, source: ExprType, target: ExprType, time_zone: str, try_: bool = False) -> Datum:
    """A value converted from one type of an expression to another.

    :raises ExpressionError: when a value does not fit, unless ``try_``.
    """
    wanted = arrow_type(target)
    if value.type == wanted and source == target:
        return value
    if is_null_scalar(value) or pa.types.is_null(value.type):
        return scalar_null(wanted) if isinstance(value, pa.Scalar) else pa.nulls(len(value), wanted)
    if isinstance(value, pa.Scalar):
        return cast(broadcast(value, 1), source, target, time_zone, try_)[0]  # type: ignore[index]
    return convert(value, source, Target(target, time_zone, try_))


def convert(values: pa.Array, source: ExprType, target: Target) -> pa.Array:
    """An array converted, by the kinds of its type and of the target's."""
    kind, goal = name_of(source), target.name
    if goal == "string":
        return text_of.TEXT[kind](values, target.time_zone) if kind in text_of.TEXT else _nested_text(source)
    if isinstance(source, (ArrayType, StructType, MapType)):
        return _nested(values, source, target)
    if kind == "string":
        return _from_text(values, target)
    if isinstance(source, IntervalType):
        return values
    if kind == "boolean":
        return convert(pc.cast(values, pa.int32()), PrimitiveType("integer"), target)
    if kind == "timestamp" and goal in _NUMBERS:
        return _timestamp_to_number(values, target)
    if kind in _NUMBERS and goal == "timestamp":
        return _number_to_timestamp(values, source, target)
    if kind in _NUMBERS:
        return _number(values, source, target)
    return _time(values, kind, target)


# numbers ------------------------------------------------------------------------------------------------------------


def _number(values: pa.Array, source: ExprType, target: Target) -> pa.Array:
    if target.name == "boolean":
        numbers = unscaled(values) if is_decimal(source) else numpy_values(values)
        return bools((numbers != 0).astype(bool), valid_mask(values))
    if is_decimal(source):
        return _from_decimal(values, source, target)
    if target.name == "decimal":
        return _to_decimal(values, source, target)
    if target.name in ("float", "double"):
        return pc.cast(values, target.arrow_type, safe=False)
    if values.type in (pa.float32(), pa.float64()):
        return _float_to_integer(values, target)
    numbers = numpy_values(values)
    bound = INTEGER_RANGE[target.name]
    good = (numbers >= -bound) & (numbers <= bound - 1)
    return target.checked(pc.cast(values, target.arrow_type, safe=False), good, values)


def _float_to_integer(values: pa.Array, target: Target) -> pa.Array:
    numbers = numpy_values(values).astype(np.float64)
    bound = INTEGER_RANGE[target.name]
    with np.errstate(invalid="ignore"):
        good = (np.floor(numbers) <= float(bound - 1)) & (np.ceil(numbers) >= -float(bound))
        whole = np.trunc(np.where(good, numbers, 0.0))
    too_big = whole >= float(2**63)  # only 2**63 itself, which Java cuts to the largest long
    result = np.where(too_big, 2**63 - 1, np.where(too_big, 0, whole).astype(np.int64))
    return target.checked(_with_nulls(result, target.arrow_type, values), good, values)


def _with_nulls(result: np.ndarray, t: pa.DataType, values: pa.Array) -> pa.Array:
    return from_numpy(result.astype(numpy_type(t)), t, valid_mask(values))


def _from_decimal(values: pa.Array, source: Any, target: Target) -> pa.Array:
    numbers = unscaled(values)
    if target.name == "decimal":
        result = rescaled(numbers, source.precision, source.scale, target.type.scale)
        return _decimals(result, target, values)
    if target.name in ("float", "double"):
        return _with_nulls(to_floats(numbers, source.scale), target.arrow_type, values)
    whole = truncated(numbers, 10**source.scale)
    bound = INTEGER_RANGE[target.name]
    good = ((whole >= -bound) & (whole < bound)).astype(bool)
    return target.checked(
        _with_nulls(np.where(good, whole, 0).astype(np.int64), target.arrow_type, values), good, values
    )


def _to_decimal(values: pa.Array, source: Any, target: Target) -> pa.Array:
    if values.type in (pa.float32(), pa.float64()):
        texts = [repr(v) for v in numpy_values(values).astype(np.float64).tolist()]
        return text_to.decimals(texts, values, target)
    numbers = np.where(valid_mask(values), numpy_values(values), 0).astype(np.int64)
    return _decimals(rescaled(numbers, 19, 0, target.type.scale), target, values)


def _decimals(numbers: np.ndarray, target: Target, values: pa.Array) -> pa.Array:
    good = fits(numbers, target.type.precision)
    return target.checked(
        from_unscaled(np.where(good, numbers, 0), target.arrow_type, valid_mask(values)), good, values
    )


# times --------------------------------------------------------------------------------------------------------------


def _time(values: pa.Array, kind: str, target: Target) -> pa.Array:
    """Dates, instants and wall times into one another."""
    numbers = numpy_values(values).astype(np.int64)
    good = np.ones(len(values), dtype=bool)
    if kind == "date":
        good = np.abs(numbers) <= LAST_DAY
        numbers, kind = np.where(good, numbers, 0) * DAY, "timestamp_ntz"
    if kind == "timestamp" and target.name != "timestamp":
        numbers = to_local(numbers, target.time_zone)
    if kind == "timestamp_ntz" and target.name == "timestamp":
        numbers = to_utc(numbers, target.time_zone)
    if target.name == "date":
        numbers = numbers // DAY
    return target.checked(_with_nulls(numbers, target.arrow_type, values), good, values)


def _timestamp_to_number(values: pa.Array, target: Target) -> pa.Array:
    micros = numpy_values(values)
    if target.name in ("float", "double"):
        return _with_nulls(micros / float(SECOND), target.arrow_type, values)
    if target.name == "decimal":
        exact = from_unscaled(micros, pa.decimal128(20, 6), valid_mask(values))
        return _from_decimal(exact, PrimitiveType("decimal(20,6)"), target)
    return _number(_with_nulls(micros // SECOND, pa.int64(), values), PrimitiveType("long"), target)


def _number_to_timestamp(values: pa.Array, source: Any, target: Target) -> pa.Array:
    """Numbers are seconds since 1970."""
    limit = 2**63 // SECOND
    if is_decimal(source):
        micros = truncated(unscaled(values, source.precision + 6) * SECOND, 10**source.scale)
        good = ((micros >= -(2**63)) & (micros < 2**63)).astype(bool)
    elif is_numeric(source) and pa.types.is_floating(values.type):
        seconds = numpy_values(values).astype(np.float64)
        good = np.isfinite(seconds) & (np.abs(seconds) < limit)
        micros = np.where(good, seconds, 0.0) * SECOND
    else:
        seconds = numpy_values(values).astype(np.int64)
        good = (seconds >= -limit) & (seconds <= limit)
        micros = np.where(good, seconds, 0) * SECOND
    return target.checked(
        _with_nulls(np.where(good, micros, 0).astype(np.int64), target.arrow_type, values), good, values
    )


# text and nested values ----------------------------------------------------------------------------------------------


def _from_text(values: pa.Array, target: Target) -> pa.Array:
    if target.name == "binary":
        return pc.cast(values, pa.binary())
    return _READERS[target.name](values, target)


_READERS: dict[str, Callable[[pa.Array, Target], pa.Array]] = {
    **dict.fromkeys(INTEGRAL, text_to.integers),
    "float": text_to.floats,
    "double": text_to.floats,
    "decimal": lambda values, target: text_to.decimals(text_to.trimmed(values).to_pylist(), values, target),
    "boolean": text_to.booleans,
    "date": text_to.dates,
    "timestamp": text_to.timestamps,
    "timestamp_ntz": text_to.timestamps,
}


def _nested_text(source: ExprType) -> pa.Array:
    raise ExpressionError(f"cannot cast {type_name(source)} to string")


def _nested(values: Any, source: Any, target: Target) -> pa.Array:
    wanted = target.arrow_type
    if isinstance(source, ArrayType):
        inner = _part(values.flatten(), source.element_type, target.type.element_type, target)
        return _list(values, inner, wanted)
    if isinstance(source, StructType):
        parts = [
            _part(child, a.type, b.type, target)
            for child, a, b in zip(values.flatten(), source.fields, target.type.fields, strict=True)
        ]
        mask = bools(~valid_mask(values)) if values.null_count else None
        return pa.StructArray.from_arrays(parts, fields=list(wanted), mask=mask)
    raise ExpressionError(f"cannot cast {type_name(source)} to {type_name(target.type)}")


def _part(values: pa.Array, source: ExprType, target: ExprType, outer: Target) -> Any:
    return cast(values, source, target, outer.time_zone, outer.try_)


def _list(values: Any, inner: pa.Array, wanted: pa.DataType) -> pa.Array:
    lengths = np.where(valid_mask(values), np.diff(numpy_values(values.offsets)), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    mask = bools(~valid_mask(values)) if values.null_count else None
    return pa.ListArray.from_arrays(from_numpy(offsets, pa.int32()), inner, type=wanted, mask=mask)
