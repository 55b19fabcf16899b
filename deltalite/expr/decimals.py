"""Decimal arithmetic on the whole numbers behind the decimals.

Up to 18 digits these are numpy int64, beyond that Python integers in an object array: the same operators serve both,
and nothing is ever rounded by accident. ``digits`` bounds the number of digits and so chooses between the two.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from deltalite.expr.vectors import bitmap, valid_mask

_LOW = (1 << 64) - 1


def unscaled(values: pa.Array, digits: int = 0) -> np.ndarray:
    """The whole numbers of a decimal array (0 under a null), wide enough for results of so many digits."""
    pairs = np.frombuffer(values.buffers()[1] or b"", dtype="<u8")
    pairs = pairs[2 * values.offset : 2 * (values.offset + len(values))].reshape(-1, 2)
    low, high = pairs[:, 0], pairs[:, 1].view(np.int64)
    if values.null_count:
        valid = valid_mask(values)
        low, high = np.where(valid, low, 0), np.where(valid, high, 0)
    if max(values.type.precision, digits) <= 18:
        return low.astype(np.int64)
    return low.astype(object) + high.astype(object) * (1 << 64)


def widened(values: np.ndarray, digits: int) -> np.ndarray:
    """The numbers in a form that holds results of so many digits."""
    return values if digits <= 18 or values.dtype == object else values.astype(object)


def from_unscaled(values: np.ndarray, t: pa.DataType, valid: np.ndarray | None = None) -> pa.Array:
    """A decimal array of whole numbers that fit its precision."""
    pairs = np.empty((len(values), 2), dtype="<u8")
    if values.dtype == object:
        pairs[:, 0] = (values & _LOW).astype(np.uint64)
        pairs[:, 1] = (values >> 64).astype(np.int64).view(np.uint64)
    else:
        pairs[:, 0] = values.astype(np.int64).view(np.uint64)
        pairs[:, 1] = (values.astype(np.int64) >> 63).view(np.uint64)
    nulls = 0 if valid is None else len(values) - int(np.count_nonzero(valid))
    present = bitmap(valid) if nulls and valid is not None else None
    return pa.Array.from_buffers(t, len(values), [present, pa.py_buffer(pairs)], nulls)


def rescaled(values: np.ndarray, digits: int, source: int, target: int) -> np.ndarray:
    """From one scale to another; digits that fall away are rounded half up, away from zero."""
    if target >= source:
        return widened(values, digits + target - source) * 10 ** (target - source)
    return divided_half_up(widened(values, digits), 10 ** (source - target), source - target)


def divided_half_up(values: np.ndarray, divisor: int | np.ndarray, digits: int = 0) -> np.ndarray:
    """Quotients rounded to whole numbers, halves away from zero. ``digits`` bounds those of the divisor."""
    values = widened(values, digits + 1)
    size = np.abs(divisor)
    quotient, rest = np.abs(values) // size, np.abs(values) % size
    rounded = quotient + (rest >= size - rest)
    return np.where((values < 0) != (np.asarray(divisor) < 0), -rounded, rounded)


def truncated(values: np.ndarray, divisor: int | np.ndarray) -> np.ndarray:
    """Quotients cut towards zero."""
    quotient = np.abs(values) // np.abs(divisor)
    return np.where((values < 0) != (np.asarray(divisor) < 0), -quotient, quotient)


def fits(values: np.ndarray, precision: int) -> np.ndarray:
    """Where the whole number has at most so many digits."""
    if values.dtype != object and precision >= 19:
        return np.ones(len(values), dtype=bool)
    return (np.abs(values) < 10**precision).astype(bool)


def to_floats(values: np.ndarray, scale: int) -> np.ndarray:
    """The nearest double of each."""
    if values.dtype != object and scale <= 22 and (np.abs(values) <= 2**53).all():
        return values / 10.0**scale
    return (values.astype(object) / 10**scale).astype(np.float64)


def plain_text(value: int, scale: int) -> str:
    """The decimal as plain digits, all of its scale shown."""
    if scale == 0:
        return str(value)
    digits = f"{abs(value):0{scale + 1}d}"
    return f"{'-' if value < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"
