"""Arithmetic: overflow and division by zero are errors, decimals follow Spark's rules of precision and scale."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, decimal, decimal_for, is_decimal, is_integral, is_numeric, tightest_type
from deltalite.expr.decimals import rescaled, truncated, unscaled
from deltalite.expr.functions.intervals import is_moment, moved, multiplied, time_arithmetic, times_apart
from deltalite.expr.functions.numeric import (
    decimal_product,
    decimal_quotient,
    decimal_result,
    decimal_sum,
    nonzero,
    pair,
)
from deltalite.expr.functions.registry import Function, Settings, add, build, function, lookup, wrong_arguments
from deltalite.expr.vectors import Datum, from_numpy, null_where, numpy_type, numpy_values
from deltalite.model.expr import (
    DOUBLE,
    FLOAT,
    LONG,
    STRING,
    VOID,
    Call,
    Expr,
    IntervalType,
    Literal,
    decimal_type,
)
from deltalite.model.types import PrimitiveType

Numbers = Callable[[np.ndarray, np.ndarray], np.ndarray]


# types --------------------------------------------------------------------------------------------------------------


def operands(row: Function, args: list[Any]) -> tuple[Any, Any]:
    """Two numbers of one type, or two decimals."""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    left, right = _number(args[0], args[1]), _number(args[1], args[0])
    if left is None or right is None:
        raise wrong_arguments(row, args, "types")
    if (is_decimal(left.type) or is_decimal(right.type)) and not {left.type, right.type} & {DOUBLE, FLOAT}:
        return _as_decimal(left), _as_decimal(right)
    t = tightest_type(left.type, right.type)
    if t is None:
        raise wrong_arguments(row, args, "types")
    return converted(left, t), converted(right, t)


def _number(arg: Any, other: Any) -> Any:
    """The argument as a number: text becomes bigint or double beside a number, null becomes the other's type."""
    if is_numeric(arg.type):
        return arg
    if arg.type == VOID:
        return converted(arg, other.type if is_numeric(other.type) else DOUBLE)
    if arg.type == STRING and is_numeric(other.type):
        return converted(arg, LONG if is_integral(other.type) else DOUBLE)
    return None


def _as_decimal(arg: Any) -> Any:
    """A whole-number constant takes just the digits it has, a column all that its type may hold."""
    if isinstance(arg, Literal) and isinstance(arg.value, int):
        value = Decimal(arg.value)
        return Literal(value, decimal_type(value))
    return converted(arg, decimal_for(arg.type))


def sum_type(a: PrimitiveType, b: PrimitiveType) -> PrimitiveType:
    scale = max(a.scale, b.scale)
    return decimal(max(a.precision - a.scale, b.precision - b.scale) + scale + 1, scale)


def product_type(a: PrimitiveType, b: PrimitiveType) -> PrimitiveType:
    return decimal(a.precision + b.precision + 1, a.scale + b.scale)


def quotient_type(a: PrimitiveType, b: PrimitiveType) -> PrimitiveType:
    scale = max(6, a.scale + b.precision + 1)
    return decimal(a.precision - a.scale + b.scale + scale, scale)


def remainder_type(a: PrimitiveType, b: PrimitiveType) -> PrimitiveType:
    scale = max(a.scale, b.scale)
    return decimal(min(a.precision - a.scale, b.precision - b.scale) + scale, scale)


def _rule(decimal_result: Callable[[Any, Any], PrimitiveType]) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        timed = time_arithmetic(row.name, args)
        if timed is not None:
            return timed
        left, right = operands(row, args)
        t = decimal_result(left.type, right.type) if is_decimal(left.type) else left.type
        return Call(row.name, (left, right), t)

    return rule


def _quotient_rule(row: Function, args: list[Any]) -> Expr:
    """``/`` divides decimals as decimals and everything else as doubles."""
    timed = time_arithmetic(row.name, args)
    if timed is not None:
        return timed
    left, right = operands(row, args)
    if is_decimal(left.type):
        return Call(row.name, (left, right), quotient_type(left.type, right.type))
    return Call(row.name, (converted(left, DOUBLE), converted(right, DOUBLE)), DOUBLE)


def _div_rule(row: Function, args: list[Any]) -> Expr:
    left, right = operands(row, args)
    if is_decimal(left.type):
        return Call(row.name, (left, right), LONG)
    if not is_integral(left.type):
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(left, LONG), converted(right, LONG)), LONG)


# values -------------------------------------------------------------------------------------------------------------


def _sum(settings: Settings, left: Datum, right: Datum) -> Datum:
    if is_moment(left.type):
        return moved(settings, left, right)
    return _decimal_plus(settings, left, right) if pa.types.is_decimal(left.type) else pc.add_checked(left, right)


def _difference(settings: Settings, left: Datum, right: Datum) -> Datum:
    if is_moment(left.type):
        return times_apart(settings, left, right)
    return _decimal_minus(settings, left, right) if pa.types.is_decimal(left.type) else pc.subtract_checked(left, right)


def _product(settings: Settings, left: Datum, right: Datum) -> Datum:
    if pa.types.is_duration(left.type):
        return multiplied(left, right)
    if pa.types.is_decimal(left.type):
        return decimal_product(settings, left, right)
    return pc.multiply_checked(left, right)


_decimal_plus, _decimal_minus = decimal_sum(1), decimal_sum(-1)


def _float_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    a, b, valid = pair(settings, left, right)
    with np.errstate(all="ignore"):
        quotient = numpy_values(a) / nonzero(numpy_values(b), valid)
    return from_numpy(quotient, settings.arrow_type, valid)


def _integer_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    a, b, valid = pair(settings, left, right)
    if pa.types.is_decimal(a.type):
        scale = max(a.type.scale, b.type.scale)
        x, y = (rescaled(unscaled(v, 39), 76, v.type.scale, scale) for v in (a, b))
        whole = truncated(x, nonzero(y, valid))
        if not (((whole >= -(2**63)) & (whole < 2**63)).astype(bool) | ~valid).all():
            raise ExpressionError("the quotient does not fit into bigint")
        return from_numpy(np.where(valid, whole, 0).astype(np.int64), pa.int64(), valid)
    x, y = numpy_values(a), nonzero(numpy_values(b), valid)
    if ((x == -(2**63)) & (y == -1) & valid).any():
        raise ExpressionError("the result overflows bigint")
    x = np.where(valid, x, 0)
    quotient = (x - np.fmod(x, y)) // y
    return from_numpy(quotient, pa.int64(), valid)


def remainder(settings: Settings, left: Datum, right: Datum) -> Datum:
    """What truncating division leaves: the sign is the dividend's."""
    a, b, valid = pair(settings, left, right)
    if pa.types.is_decimal(a.type):
        scale = max(a.type.scale, b.type.scale)
        x, y = (rescaled(unscaled(v, 39), 76, v.type.scale, scale) for v in (a, b))
        y = nonzero(y, valid)
        return decimal_result(settings, x - truncated(x, y) * y, scale, valid)
    y = nonzero(numpy_values(b), valid)
    with np.errstate(invalid="ignore"):
        found = np.fmod(np.where(valid, numpy_values(a), 0), y)
    return from_numpy(found.astype(numpy_type(a.type)), a.type, valid)


def _positive_remainder(settings: Settings, left: Datum, right: Datum) -> Datum:
    """``pmod``: the remainder, plus the divisor where it is negative."""
    a, b, valid = pair(settings, left, right)
    if pa.types.is_decimal(a.type):
        scale = max(a.type.scale, b.type.scale)
        x, y = (rescaled(unscaled(v, 39), 76, v.type.scale, scale) for v in (a, b))
        y = nonzero(y, valid)
        x = x - truncated(x, y) * y
        raised = x + y
        return decimal_result(
            settings, np.where((x < 0).astype(bool), raised - truncated(raised, y) * y, x), scale, valid
        )
    x, y = numpy_values(remainder(settings, a, b)), np.where(valid, numpy_values(b), 1)
    with np.errstate(invalid="ignore", over="ignore"):
        raised = np.fmod(x + y, y)
    return from_numpy(np.where(x < 0, raised, x).astype(numpy_type(a.type)), a.type, valid)


add("+", _rule(sum_type), _sum, monotone=(0, 1))
add("-", _rule(sum_type), _difference, monotone=(0,))
add("*", _rule(product_type), _product)
function("/", _quotient_rule)(
    lambda settings, a, b: (decimal_quotient if pa.types.is_decimal(a.type) else _float_quotient)(settings, a, b)
)
add("div", _div_rule, _integer_quotient)
add("% mod", _rule(remainder_type), remainder)
add("pmod", _rule(remainder_type), _positive_remainder)


# one operand --------------------------------------------------------------------------------------------------------


def one_number(row: Function, args: list[Any]) -> Expr:
    if len(args) != 1:
        raise wrong_arguments(row, args, "arguments")
    value = args[0]
    if not isinstance(value.type, IntervalType):
        value = _number(value, Literal(0.0, DOUBLE))
        if value is None:
            raise wrong_arguments(row, args, "types")
    return value if row.name == "positive" else Call(row.name, (value,), value.type)


add("positive", one_number, None)


@function("negative", one_number)
def negative(settings: Settings, value: Datum) -> Datum:
    if pa.types.is_duration(value.type):
        return pc.negate_checked(value.cast(pa.int64())).cast(value.type)
    return pc.negate_checked(value)


@function("abs", one_number)
def absolute(settings: Settings, value: Datum) -> Datum:
    if pa.types.is_duration(value.type):
        return pc.abs_checked(value.cast(pa.int64())).cast(value.type)
    return pc.abs_checked(value)


# try_ ---------------------------------------------------------------------------------------------------------------


def _try_rule(operator: str) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        node = build(operator, *args)
        if not isinstance(node, Call) or node.function != operator:
            raise wrong_arguments(row, args, "types")
        return Call(row.name, node.args, node.type)

    return rule


def _try(operator: str) -> Any:
    """The operator, with null where it would fail: first all rows at once, then row by row if that fails."""

    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        compute: Any = lookup(operator).evaluate
        try:
            return compute(settings, left, right)
        except (ExpressionError, pa.ArrowException):
            a, b, _ = pair(settings, left, right)
        one = Settings(settings.type, settings.time_zone, 1)
        failed, parts = np.zeros(settings.length, dtype=bool), []
        for i in range(settings.length):
            try:
                parts.append(compute(one, a[i : i + 1], b[i : i + 1]))
            except (ExpressionError, pa.ArrowException):
                failed[i] = True
                parts.append(pa.nulls(1, settings.arrow_type))
        return null_where(pa.concat_arrays(parts), failed)

    return evaluate


for _name, _operator in (
    ("try_add", "+"),
    ("try_subtract", "-"),
    ("try_multiply", "*"),
    ("try_divide", "/"),
    ("try_mod", "%"),
):
    add(_name, _try_rule(_operator), _try(_operator), strict=False, safe=True)
