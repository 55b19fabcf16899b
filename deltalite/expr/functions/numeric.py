"""What arithmetic does to decimals, exactly and with Spark's rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.decimals import divided_half_up, fits, from_unscaled, rescaled, unscaled, widened
from deltalite.expr.functions.registry import Settings
from deltalite.expr.vectors import Datum, broadcast, valid_mask
from deltalite.model.expr import type_name


def pair(settings: Settings, left: Datum, right: Datum) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """Both as arrays, and where neither is null."""
    a, b = broadcast(left, settings.length), broadcast(right, settings.length)
    return a, b, valid_mask(a) & valid_mask(b)


def nonzero(divisor: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The divisor, with ones where the row is null anyway.

    :raises ExpressionError: when another one is zero.
    """
    zero = (divisor == 0).astype(bool)
    if (zero & valid).any():
        raise ExpressionError("division by zero", hint="use try_divide or nullif(divisor, 0) to get null instead")
    return np.where(zero | ~valid, 1, divisor)


def decimal_result(settings: Settings, numbers: np.ndarray, scale: int, valid: np.ndarray) -> pa.Array:
    """Exact whole numbers of a scale as the result type, rounded half up.

    :raises ExpressionError: when one has too many digits.
    """
    t: Any = settings.type
    numbers = rescaled(widened(numbers, 19), 38, scale, t.scale)
    if not (fits(numbers, t.precision) | ~valid).all():
        raise ExpressionError(
            f"the result does not fit into {type_name(t)}", hint="cast the operands to smaller decimals"
        )
    return from_unscaled(np.where(valid, numbers, 0), settings.arrow_type, valid)


def _fast_or_exact(settings: Settings, numbers: np.ndarray, scale: int, valid: np.ndarray, digits: int) -> pa.Array:
    t: Any = settings.type
    if numbers.dtype != object and t.scale == scale and digits <= t.precision:
        return from_unscaled(np.where(valid, numbers, 0), settings.arrow_type, valid)
    return decimal_result(settings, numbers, scale, valid)


def decimal_sum(sign: int) -> Any:
    def evaluate(settings: Settings, left: Datum, right: Datum) -> Datum:
        a, b, valid = pair(settings, left, right)
        scale = max(a.type.scale, b.type.scale)
        digits = max(a.type.precision - a.type.scale, b.type.precision - b.type.scale) + scale + 1
        x = rescaled(unscaled(a, digits), digits, a.type.scale, scale)
        y = rescaled(unscaled(b, digits), digits, b.type.scale, scale)
        return _fast_or_exact(settings, x + sign * y, scale, valid, digits)

    return evaluate


def decimal_product(settings: Settings, left: Datum, right: Datum) -> Datum:
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


def decimal_quotient(settings: Settings, left: Datum, right: Datum) -> Datum:
    """Spark divides to 39 digits behind the point, half up, and then rounds to the scale of the result."""
    a, b, valid = pair(settings, left, right)
    divisor = nonzero(unscaled(b, 39), valid)
    numbers = (
        unscaled(a, 39) * 10 ** (39 + b.type.scale - a.type.scale)
        if a.type.scale <= 39 + b.type.scale
        else unscaled(a, 39)
    )
    return decimal_result(settings, divided_half_up(numbers, divisor), 39, valid)
