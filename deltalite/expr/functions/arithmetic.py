"""Arithmetic: overflow and division by zero are errors, decimals follow Spark's rules of precision and scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, decimal, decimal_for, is_decimal, is_integral, is_numeric, tightest_type
from deltalite.expr.decimals import divided_half_up, fits, from_unscaled, rescaled, truncated, unscaled, widened
from deltalite.expr.functions.intervals import time_arithmetic
from deltalite.expr.functions.registry import Function, Settings, add, function, wrong_arguments
from deltalite.expr.vectors import Datum, broadcast, from_numpy, null_where, numpy_type, numpy_values, valid_mask
from deltalite.model.expr import DOUBLE, FLOAT, LONG, STRING, VOID, Call, Expr, IntervalType, Literal, decimal_type, type_name
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
        from decimal import Decimal

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


def pair(settings: Settings, left: Datum, right: Datum) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Both as arrays, and where neither is null."""
    a, b = broadcast(left, settings.length), broadcast(right, settings.length)
    return a, b, valid_mask(a) & valid_mask(b)


def _kernel(plain: Any, decimals: Any) -> Any:
    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        if pa.types.is_decimal(left.type):
            return decimals(settings, left, right)
        return plain(left, right)

    return evaluate


def decimal_result(settings: Settings, numbers: np.ndarray, scale: int, valid: np.ndarray) -> pa.Array:
    """Exact whole numbers of a scale as the result type, rounded half up.

    :raises ExpressionError: when one has too many digits.
    """
    t: Any = settings.type
    numbers = rescaled(widened(numbers, 19), 38, scale, t.scale)
    if not (fits(numbers, t.precision) | ~valid).all():
        raise ExpressionError(f"the result does not fit into {type_name(t)}", hint="cast the operands to smaller decimals")
    return from_unscaled(np.where(valid, numbers, 0), settings.arrow_type, valid)


def _decimal_sum(sign: int) -> Any:
    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        a, b, valid = pair(settings, left, right)
        scale = max(a.type.scale, b.type.scale)
        digits = max(a.type.precision - a.type.scale, b.type.precision - b.type.scale) + scale + 1
        x = rescaled(unscaled(a, digits), digits, a.type.scale, scale)
        y = rescaled(unscaled(b, digits), digits, b.type.scale, scale)
        return _fast_or_exact(settings, x + sign * y, scale, valid, digits)

    return evaluate


def _decimal_product(settings: Settings, left: Datum, right: Datum) -> Datum:
    a, b, valid = pair(settings, left, right)
    digits = a.type.precision + b.type.precision
    product = unscaled(a, digits) * unscaled(b, digits)
    if digits > 38:
        product = _to_38_digits(product)
    return _fast_or_exact(settings, product, a.type.scale + b.type.scale, valid, digits)


def _to_38_digits(numbers: np.ndarray) -> np.ndarray:
    """Spark multiplies with a precision of 38 digits: the digits behind them are rounded away first."""
    excess = [max(0, len(str(abs(v))) - 38) for v in numbers]
    powers = np.array([10**e for e in excess], dtype=object)
    return divided_half_up(numbers, powers) * powers


def _fast_or_exact(settings: Settings, numbers: np.ndarray, scale: int, valid: np.ndarray, digits: int) -> pa.Array:
    t: Any = settings.type
    if numbers.dtype != object and t.scale == scale and digits <= t.precision:
        return from_unscaled(np.where(valid, numbers, 0), settings.arrow_type, valid)
    return decimal_result(settings, numbers, scale, valid)


def _decimal_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    """Spark divides to 39 digits behind the point, half up, and then rounds to the scale of the result."""
    a, b, valid = pair(settings, left, right)
    divisor = _nonzero(unscaled(b, 39), valid)
    numbers = unscaled(a, 39) * 10 ** (39 + b.type.scale - a.type.scale) if a.type.scale <= 39 + b.type.scale else unscaled(a, 39)
    return decimal_result(settings, divided_half_up(numbers, divisor), 39, valid)


def _nonzero(divisor: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The divisor, with ones where the row is null anyway.

    :raises ExpressionError: when another one is zero.
    """
    zero = (divisor == 0).astype(bool)
    if (zero & valid).any():
        raise ExpressionError("division by zero", hint="use try_divide or nullif(divisor, 0) to get null instead")
    return np.where(zero | ~valid, 1, divisor)


def _float_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    a, b, valid = pair(settings, left, right)
    return from_numpy(numpy_values(a) / _nonzero(numpy_values(b), valid), settings.arrow_type, valid)


def _integer_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    a, b, valid = pair(settings, left, right)
    if pa.types.is_decimal(a.type):
        scale = max(a.type.scale, b.type.scale)
        x, y = (rescaled(unscaled(v, 39), 76, v.type.scale, scale) for v in (a, b))
        whole = truncated(x, _nonzero(y, valid))
        if not (((whole >= -(2**63)) & (whole < 2**63)).astype(bool) | ~valid).all():
            raise ExpressionError("the quotient does not fit into bigint")
        return from_numpy(np.where(valid, whole, 0).astype(np.int64), pa.int64(), valid)
    x, y = numpy_values(a), _nonzero(numpy_values(b), valid)
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
        y = _nonzero(y, valid)
        return decimal_result(settings, x - truncated(x, y) * y, scale, valid)
    y = _nonzero(numpy_values(b), valid)
    with np.errstate(invalid="ignore"):
        found = np.fmod(np.where(valid, numpy_values(a), 0), y)
    return from_numpy(found.astype(numpy_type(a.type)), a.type, valid)


def _positive_remainder(settings: Settings, left: Datum, right: Datum) -> Datum:
    """``pmod``: the remainder, plus the divisor where it is negative."""
    a, b, valid = pair(settings, left, right)
    if pa.types.is_decimal(a.type):
        scale = max(a.type.scale, b.type.scale)
        x, y = (rescaled(unscaled(v, 39), 76, v.type.scale, scale) for v in (a, b))
        y = _nonzero(y, valid)
        x = x - truncated(x, y) * y
        raised = x + y
        return decimal_result(settings, np.where((x < 0).astype(bool), raised - truncated(raised, y) * y, x), scale, valid)
    x, y = numpy_values(remainder(settings, a, b)), np.where(valid, numpy_values(b), 1)
    with np.errstate(invalid="ignore", over="ignore"):
        raised = np.fmod(x + y, y)
    return from_numpy(np.where(x < 0, raised, x).astype(numpy_type(a.type)), a.type, valid)


add("+", _rule(sum_type), _kernel(pc.add_checked, _decimal_sum(1)), monotone=True)
add("-", _rule(sum_type), _kernel(pc.subtract_checked, _decimal_sum(-1)), monotone=True)
add("*", _rule(product_type), _kernel(pc.multiply_checked, _decimal_product))
function("/", _quotient_rule)(
    lambda settings, a, b: (_decimal_quotient if pa.types.is_decimal(a.type) else _float_quotient)(settings, a, b)
)
add("div", _div_rule, _integer_quotient)
add("% mod", _rule(remainder_type), remainder)
add("pmod", _rule(remainder_type), _positive_remainder)


# one operand --------------------------------------------------------------------------------------------------------


def _one_number(row: Function, args: list[Any]) -> Expr:
    if len(args) != 1:
        raise wrong_arguments(row, args, "arguments")
    value = args[0]
    if not isinstance(value.type, IntervalType):
        value = _number(value, Literal(0.0, DOUBLE))
        if value is None:
            raise wrong_arguments(row, args, "types")
    return value if row.name == "positive" else Call(row.name, (value,), value.type)


add("positive", _one_number, None)


@function("negative", _one_number)
def negative(settings: Settings, value: Datum) -> Datum:
    if pa.types.is_duration(value.type):
        return pc.negate_checked(value.cast(pa.int64())).cast(value.type)
    return pc.negate_checked(value)


@function("abs", _one_number)
def absolute(settings: Settings, value: Datum) -> Datum:
    if pa.types.is_duration(value.type):
        return pc.abs_checked(value.cast(pa.int64())).cast(value.type)
    return pc.abs_checked(value)


# bits ---------------------------------------------------------------------------------------------------------------


def _bits_rule(row: Function, args: list[Any]) -> Expr:
    left, right = operands(row, args)
    if not is_integral(left.type):
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (left, right), left.type)


for _name, _bit_kernel in (("&", pc.bit_wise_and), ("|", pc.bit_wise_or), ("^", pc.bit_wise_xor)):
    add(_name, _bits_rule, lambda settings, a, b, kernel=_bit_kernel: kernel(a, b), safe=True)


def _not_rule(row: Function, args: list[Any]) -> Expr:
    node = _one_number(row, args)
    if not is_integral(node.type):  # type: ignore[attr-defined]
        raise wrong_arguments(row, args, "types")
    return node


@function("~", _not_rule, safe=True)
def bit_not(settings: Settings, value: Datum) -> Datum:
    return pc.bit_wise_not(value)


def _shift(kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """Shifts by the amount modulo the width of the type, as Java does."""

    def evaluate(settings: Settings, value: Datum, amount: Datum) -> Datum:
        a, b, valid = pair(settings, value, amount)
        numbers = numpy_values(a)
        by = (numpy_values(b) & (numbers.dtype.itemsize * 8 - 1)).astype(numbers.dtype)
        return from_numpy(kernel(numbers, by).astype(numbers.dtype), a.type, valid)

    return evaluate


def _unsigned_shift(numbers: np.ndarray, by: np.ndarray) -> np.ndarray:
    unsigned = np.dtype(f"u{numbers.dtype.itemsize}")
    return (numbers.view(unsigned) >> by.view(unsigned)).view(numbers.dtype)


_SHIFTED = "int, int -> int | long, int -> long"
add("shiftleft", _SHIFTED, _shift(np.left_shift), safe=True)
add("shiftright", _SHIFTED, _shift(np.right_shift), safe=True)
add("shiftrightunsigned", _SHIFTED, _shift(_unsigned_shift), safe=True)


# try_ ---------------------------------------------------------------------------------------------------------------


def _try_rule(operator: str) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        from deltalite.expr.functions.registry import build

        node = build(operator, *args)
        if not isinstance(node, Call) or node.function != operator:
            raise wrong_arguments(row, args, "types")
        return Call(row.name, node.args, node.type)

    return rule


def _try(operator: str) -> Any:
    """The operator, with null where it would fail: first all rows at once, then row by row if that fails."""

    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        from deltalite.expr.functions.registry import lookup

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


for _name, _operator in (("try_add", "+"), ("try_subtract", "-"), ("try_multiply", "*"), ("try_divide", "/"), ("try_mod", "%")):
    add(_name, _try_rule(_operator), _try(_operator), strict=False, safe=True)
