"""Rounding, roots, powers, logarithms and trigonometry.

Transcendental functions are computed by the C library in double precision; the last bit may differ from a JVM's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, decimal, implicit_type, is_decimal, is_integral
from deltalite.expr.decimals import divided_half_up, from_unscaled, rescaled, unscaled, widened
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.vectors import Datum, broadcast, from_numpy, numpy_values, valid_mask
from deltalite.model.expr import DOUBLE, INTEGER, LONG, STRING, VOID, Call, Expr, Literal, type_name
from deltalite.model.types import PrimitiveType


def _doubles(compute: Callable[..., np.ndarray], null_where: Callable[..., np.ndarray] | None = None) -> Any:
    """A function of doubles by numpy. ``null_where`` tells the arguments for which Spark returns null."""

    def evaluate(settings: Settings, *args: Datum) -> Datum:
        arrays = [broadcast(a, settings.length) for a in args]
        valid = np.logical_and.reduce([valid_mask(a) for a in arrays])
        numbers = [np.where(valid, numpy_values(a), 1.0) for a in arrays]
        if null_where is not None:
            valid = valid & ~null_where(*numbers)
        with np.errstate(all="ignore"):
            return from_numpy(compute(*numbers), pa.float64(), valid)

    return evaluate


for _name, _compute in {
    "sqrt": np.sqrt, "cbrt": np.cbrt, "exp": np.exp, "expm1": np.expm1, "rint": np.rint, "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "degrees": np.degrees, "radians": np.radians, "sign signum": np.sign,
}.items():  # fmt: skip
    add(_name, "double -> double", _doubles(_compute), safe=True)
for _name, _compute, _limit in (
    ("ln", np.log, 0.0), ("log10", np.log10, 0.0), ("log2", np.log2, 0.0), ("log1p", np.log1p, -1.0),
):  # fmt: skip
    add(_name, "double -> double", _doubles(_compute, lambda x, limit=_limit: x <= limit), strict=False, safe=True)
for _name, _compute in {"power pow": np.power, "atan2": np.arctan2, "hypot": np.hypot}.items():
    add(_name, "double, double -> double", _doubles(_compute), safe=True)


def _log_rule(row: Function, args: list[Any]) -> Expr:
    """``log(x)`` is natural, ``log(base, x)`` is not."""
    if len(args) == 1:
        return build("ln", *args)
    types = [implicit_type(a.type, "double") for a in args]
    if len(args) != 2 or None in types:
        raise wrong_arguments(row, args, "types")
    return Call("log", tuple(converted(a, DOUBLE) for a in args), DOUBLE)


@function("log", _log_rule, strict=False, safe=True)
def log(settings: Settings, base: Datum, value: Datum) -> Datum:
    compute = _doubles(lambda b, x: np.log(x) / np.log(b), lambda b, x: (b <= 0) | (x <= 0))
    return compute(settings, base, value)


add("pi", lambda row, args: _constant_of(row, args, math.pi), None)
add("e", lambda row, args: _constant_of(row, args, math.e), None)


def _constant_of(row: Function, args: list[Any], value: float) -> Expr:
    if args:
        raise wrong_arguments(row, args, "arguments")
    return Literal(value, DOUBLE)


# rounding -----------------------------------------------------------------------------------------------------------


def _whole_rule(row: Function, args: list[Any]) -> Expr:
    """``ceil`` and ``floor``: doubles and integers give bigint, decimals a decimal without fraction."""
    if len(args) != 1:
        raise wrong_arguments(row, args, "arguments")
    value = args[0]
    if is_decimal(value.type):
        return Call(row.name, (value,), decimal(value.type.precision - value.type.scale + 1, 0))
    if is_integral(value.type):
        return Call(row.name, (converted(value, LONG),), LONG)
    if value.type not in (DOUBLE, PrimitiveType("float"), STRING, VOID):
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (converted(value, DOUBLE),), LONG)


def _whole(up: bool) -> Any:
    def evaluate(settings: Settings, value: Datum) -> Datum:
        values = broadcast(value, settings.length)
        if pa.types.is_int64(values.type):
            return values
        valid = valid_mask(values)
        if pa.types.is_decimal(values.type):
            step = 10**values.type.scale
            numbers = unscaled(values, values.type.precision + 1)
            whole = -(-numbers // step) if up else numbers // step
            return from_unscaled(whole, settings.arrow_type, valid)
        numbers = np.where(valid, numpy_values(values), 0.0)
        return from_numpy(saturated(np.ceil(numbers) if up else np.floor(numbers)), pa.int64(), valid)

    return evaluate


def saturated(numbers: np.ndarray) -> np.ndarray:
    """Doubles to longs as Java casts them: NaN is 0, what is too large is the largest long."""
    numbers = np.where(np.isnan(numbers), 0.0, numbers)
    high, low = numbers >= 2.0**63, numbers < -(2.0**63)
    whole = np.where(high | low, 0.0, numbers).astype(np.int64)
    return np.where(high, 2**63 - 1, np.where(low, -(2**63), whole))


add("ceil ceiling", _whole_rule, _whole(up=True), safe=True)
add("floor", _whole_rule, _whole(up=False), safe=True)


def _round_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) not in (1, 2):
        raise wrong_arguments(row, args, "arguments")
    value: Any = args[0]
    places = constant(row, args, 1, "number of places") if len(args) == 2 else 0
    if not isinstance(places, int):
        raise wrong_arguments(row, args, "types")
    if value.type in (STRING, VOID):
        value = converted(value, DOUBLE)
    t = value.type
    if is_decimal(t):
        t = _rounded_type(t, places)
    elif not is_integral(t) and t not in (DOUBLE, PrimitiveType("float")):
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (value, Literal(places, INTEGER)), t)


def _rounded_type(t: Any, places: int) -> PrimitiveType:
    whole = t.precision - t.scale
    if places < 0:
        return PrimitiveType(f"decimal({min(max(whole, -places) + 1, 38)},0)")
    scale = min(t.scale, places)
    return PrimitiveType(f"decimal({min(whole + 1 + scale, 38)},{scale})")


def _round(divide: Callable[[np.ndarray, int], np.ndarray], text_mode: str) -> Any:
    def evaluate(settings: Settings, value: Datum, places: Datum) -> Datum:
        values, digits = broadcast(value, settings.length), places.as_py()
        valid = valid_mask(values)
        if pa.types.is_floating(values.type):
            return from_numpy(_round_doubles(numpy_values(values).astype(np.float64), digits, text_mode),
                              settings.arrow_type, valid)  # fmt: skip
        if pa.types.is_decimal(values.type):
            numbers = unscaled(values, 39)
            if digits < values.type.scale:
                step = 10 ** (values.type.scale - digits)
                numbers = divide(numbers, step) * 10 ** max(0, -digits)
            scale: Any = settings.type
            found = rescaled(widened(numbers, 39), 39, min(max(digits, 0), values.type.scale), scale.scale)
            return _within(found, settings, valid)
        if digits >= 0:
            return values
        step = 10**-digits
        return _within(divide(numpy_values(values).astype(object), step) * step, settings, valid)

    return evaluate


def _within(numbers: np.ndarray, settings: Settings, valid: np.ndarray) -> pa.Array:
    t = settings.arrow_type
    if pa.types.is_decimal(t):
        if (valid & (np.abs(numbers) >= 10**t.precision).astype(bool)).any():
            raise ExpressionError(f"the rounded value does not fit into {type_name(settings.type)}")
        return from_unscaled(np.where(valid, numbers, 0), t, valid)
    bits = t.bit_width - 1
    if (valid & ((numbers >= 2**bits) | (numbers < -(2**bits))).astype(bool)).any():
        raise ExpressionError(f"the rounded value does not fit into {type_name(settings.type)}")
    return from_numpy(np.where(valid, numbers, 0).astype(np.int64), t, valid)


def _round_doubles(numbers: np.ndarray, places: int, mode: str) -> np.ndarray:
    """Where the digits are clearly not at a half, doubles tell the same as decimals do."""
    power = 10.0 ** max(places, 0)
    with np.errstate(all="ignore"):
        scaled = np.abs(numbers) * power
        clear = (scaled < 1e9) & (np.abs(scaled - np.floor(scaled) - 0.5) > 1e-6) & (0 <= places <= 9)
        found = np.copysign(np.floor(scaled + 0.5) / power, numbers)
    found[~clear] = [_round_double(v, places, mode) for v in numbers[~clear].tolist()]
    return found


def _round_double(value: float, places: int, mode: str) -> float:
    """Rounds the decimal digits that the double prints as, as Java's BigDecimal does."""
    if not math.isfinite(value):
        return value
    with localcontext() as context:
        context.prec = 800
        return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), rounding=mode))


def divided_half_even(values: np.ndarray, divisor: int) -> np.ndarray:
    values = values.astype(object)
    quotient, rest = values // divisor, values % divisor
    up = (2 * rest > divisor) | ((2 * rest == divisor) & (quotient % 2 == 1))
    return quotient + up.astype(bool)


add("round", _round_rule, _round(divided_half_up, "ROUND_HALF_UP"))
add("bround", _round_rule, _round(divided_half_even, "ROUND_HALF_EVEN"))
