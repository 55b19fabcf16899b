"""Comparisons. NaN equals itself and is above every number; 0.0 equals -0.0; decimals compare exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, converted, decimal_for, is_decimal, is_integral, orderable
from deltalite.expr.functions.registry import Function, Settings, add, build, function, once_more, wrong_arguments
from deltalite.expr.vectors import (
    Datum,
    bools,
    broadcast,
    from_numpy,
    is_null_scalar,
    is_scalar,
    numpy_bools,
    numpy_values,
    scalar_null,
    valid_mask,
)
from deltalite.model.arrow import FALSE, TRUE, scalar
from deltalite.model.expr import BOOLEAN, Call, Expr, IntervalType, and_, type_name
from deltalite.model.types import ArrayType, PrimitiveType, StructType

_KERNELS = {
    "=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip
FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<=", "<=>": "<=>"}


def compare(op: str, left: Datum, right: Datum) -> Datum:
    """``left op right`` with Spark's order; null where either side is."""
    if is_null_scalar(left) or is_null_scalar(right):
        other = right if is_null_scalar(left) else left
        return pa.nulls(len(other), pa.bool_()) if isinstance(other, pa.Array) else scalar_null(pa.bool_())
    if pa.types.is_floating(left.type):
        return _compare_floats(op, left, right)
    if pa.types.is_nested(left.type):
        return _compare_nested(op, left, right)
    if pa.types.is_decimal(left.type) and left.type != right.type:
        left, right = _same_decimals(left, right)
    return _KERNELS[op](left, right)


def _compare_nested(op: str, left: Any, right: Any) -> Datum:
    """Equality of structs and arrays; inside them null equals null."""
    length = (
        max(len(v) for v in (left, right) if isinstance(v, pa.Array))
        if not is_scalar(left) or not is_scalar(right)
        else 1
    )
    a, b = broadcast(left, length), broadcast(right, length)
    same = identical(a, b)
    return bools(same if op == "=" else ~same, valid_mask(a) & valid_mask(b))


def identical(a: Any, b: Any) -> np.ndarray:
    """Where two arrays hold the same value, or both hold null."""
    both, neither = valid_mask(a) & valid_mask(b), ~valid_mask(a) & ~valid_mask(b)
    if pa.types.is_struct(a.type):
        same = np.ones(len(a), dtype=bool)
        for x, y in zip(a.flatten(), b.flatten(), strict=True):
            same &= identical(x, y)
    elif pa.types.is_list(a.type):
        same = _same_lists(a, b, both)
    else:
        same = numpy_bools(compare("=", a, b))
    return neither | (both & same)


def _same_lists(a: Any, b: Any, both: np.ndarray) -> np.ndarray:
    """Elements are compared side by side in the rows where both arrays are equally long."""
    x, y = numpy_values(a.offsets).astype(np.int64), numpy_values(b.offsets).astype(np.int64)
    sizes = np.diff(x)
    same = both & (sizes == np.diff(y))
    sizes = np.where(same, sizes, 0)
    rows = np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[rows]
    places = (from_numpy(v[:-1][rows] + within, pa.int64()) for v in (x, y))
    equal = identical(*(v.values.take(place) for v, place in zip((a, b), places, strict=True)))
    same[rows[~equal]] = False
    return same


def _compare_floats(op: str, left: Datum, right: Datum) -> Datum:
    """IEEE comparison, mended where a NaN takes part."""
    plain = _KERNELS[op](left, right)
    left_nan, right_nan = _nan(left), _nan(right)
    if left_nan is FALSE and right_nan is FALSE:
        return plain
    if op == "=":
        return pc.or_(plain, pc.and_(left_nan, right_nan))
    if op == "!=":
        return pc.invert(_compare_floats("=", left, right))
    if op in ("<", ">"):
        low, high = (left_nan, right_nan) if op == "<" else (right_nan, left_nan)
        return pc.or_(plain, pc.and_not(high, low))
    return pc.or_(plain, right_nan if op == "<=" else left_nan)


def _nan(value: Datum) -> Datum:
    found = pc.is_nan(value)
    if isinstance(found, pa.Scalar):
        return TRUE if found.is_valid and found.as_py() else FALSE
    return found


def _same_decimals(left: Datum, right: Datum) -> tuple[Datum, Datum]:
    scale = max(left.type.scale, right.type.scale)
    digits = max(left.type.precision - left.type.scale, right.type.precision - right.type.scale) + scale
    t = pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
    return left.cast(t), right.cast(t)


def _rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    left, right = comparable(row.name, args)
    return Call(row.name, (left, right), BOOLEAN)


def comparable(name: str, args: list[Any]) -> list[Expr]:
    """The arguments in the type in which they are compared."""
    types = [a.type for a in args]
    if len(args) == 2 and any(map(is_decimal, types)) and all(is_decimal(t) or is_integral(t) for t in types):
        return [converted(a, decimal_for(a.type)) for a in args]  # compared exactly, whatever their scales
    t = common_of(types)
    if t is None:
        shown = " and ".join(sorted({type_name(x) for x in types}))
        raise ExpressionError(f"{name!r} cannot compare {shown}", hint="cast one of them", name=name)
    if not orderable(t) or (isinstance(t, (ArrayType, StructType)) and name not in ("=", "!=", "<=>")):
        raise ExpressionError(f"{name!r} cannot compare {type_name(t)}", hint="compare its parts", name=name)
    return [converted(a, t) for a in args]


def _evaluator(op: str) -> Any:
    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        return compare(op, left, right)

    return evaluate


for _op in _KERNELS:
    add(_op, _rule, _evaluator(_op), safe=True)


@function("<=>", _rule, strict=False, safe=True)
def null_safe_equal(settings: Settings, left: Datum, right: Datum) -> Datum:
    equal = compare("=", left, right)
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.if_else(pc.is_null(equal), both_null, equal)


add("equal_null", lambda row, args: build("<=>", *args), None)


def _between_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 3:
        raise wrong_arguments(row, args, "arguments")
    value, low, high = args
    value = once_more("BETWEEN", value)
    return and_(build(">=", value, low), build("<=", value, high))


add("between", _between_rule, None)


def _in_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) < 2:
        raise wrong_arguments(row, args, "arguments")
    t = common_of([a.type for a in args])
    if t is None or not isinstance(t, (PrimitiveType, IntervalType)):
        shown = ", ".join(sorted({type_name(a.type) for a in args}))
        raise ExpressionError(f"IN cannot compare {shown}", hint="cast one of them", name="in")
    value, *items = [converted(a, t) for a in args]
    return Call("in", (value, *items), BOOLEAN)


@function("in", _in_rule, strict=False, safe=True)
def is_in(settings: Settings, value: Datum, *items: Datum) -> Datum:
    """True where an item equals the value; otherwise null where the value or an item is null."""
    if len(items) == 1 and pa.types.is_list(items[0].type):
        return _in_constants(value, items[0].values)
    found: Datum = FALSE
    for item in items:
        found = pc.or_kleene(found, compare("=", value, item))
    return found


def _in_constants(value: Datum, constants: pa.Array) -> Datum:
    present = constants.drop_null()
    if pa.types.is_floating(value.type):
        zero = scalar(0.0, value.type)
        value, present = pc.add(value, zero), pc.add(present, zero)  # -0.0 becomes 0.0, which is hashed alike
    found = pc.is_in(value, value_set=present)
    unknown = pc.is_null(value)
    if constants.null_count:
        unknown = pc.or_(unknown, pc.invert(found))
    return pc.if_else(unknown, scalar_null(pa.bool_()), found)
