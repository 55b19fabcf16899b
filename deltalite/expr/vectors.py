"""Arrow arrays as numpy views and back, and the Arrow values of literals.

Everything goes by buffers: ``to_numpy`` and ``pa.array`` would import pandas.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.model.arrow import all_null, array, type_to_arrow
from deltalite.model.expr import YEAR_MONTH, ExprType, IntervalType, Literal
from deltalite.model.types import ArrayType, PrimitiveType

Datum: TypeAlias = pa.Array | pa.Scalar
"""What evaluation passes around: a value per row, or one value for all rows."""

_NUMPY = {
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "float": np.float32,
    "double": np.float64, "date32[day]": np.int32, "uint8": np.uint8, "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def arrow_type(data_type: ExprType) -> pa.DataType:
    """The Arrow type of an expression's values: months as int32, day-time intervals as durations."""
    if isinstance(data_type, IntervalType):
        return pa.int32() if data_type == YEAR_MONTH else pa.duration("us")
    return type_to_arrow(data_type)


def is_scalar(value: Datum) -> bool:
    return isinstance(value, pa.Scalar)


def is_null_scalar(value: Datum) -> bool:
    return isinstance(value, pa.Scalar) and not value.is_valid


def broadcast(value: Datum, length: int) -> pa.Array:
    """The value once per row."""
    if not isinstance(value, pa.Scalar):
        return value
    if not value.is_valid:
        return all_null(value.type, length)
    return pa.repeat(value, length)


def numpy_type(t: pa.DataType) -> Any:
    return _NUMPY.get(str(t), np.int64)  # timestamps and durations are int64


def numpy_values(values: pa.Array) -> np.ndarray:
    """The values of a fixed-width array without copying; what stands under a null is arbitrary."""
    kind = np.dtype(numpy_type(values.type))
    buffer = values.buffers()[1]
    if buffer is None or len(values) == 0:
        return np.zeros(len(values), dtype=kind)
    return np.frombuffer(buffer, dtype=kind, count=len(values), offset=values.offset * kind.itemsize)


def numpy_bools(values: pa.Array) -> np.ndarray:
    """The values of a boolean array; a null reads as false."""
    bits = _bits(values.buffers()[1], values.offset, len(values))
    return bits if values.null_count == 0 else bits & valid_mask(values)


def valid_mask(values: pa.Array) -> np.ndarray:
    """Where an array is not null."""
    if values.null_count == 0:
        return np.ones(len(values), dtype=bool)
    if values.null_count == len(values):
        return np.zeros(len(values), dtype=bool)
    return _bits(values.buffers()[0], values.offset, len(values))


def _bits(buffer: pa.Buffer | None, offset: int, length: int) -> np.ndarray:
    if buffer is None or length == 0:
        return np.zeros(length, dtype=bool)
    raw = np.frombuffer(buffer, dtype=np.uint8)[offset // 8 : (offset + length + 7) // 8]
    return np.unpackbits(raw, bitorder="little", count=offset % 8 + length)[offset % 8 :].view(bool)


def bitmap(bits: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(np.packbits(bits, bitorder="little"))


def from_numpy(values: np.ndarray, t: pa.DataType, valid: np.ndarray | None = None) -> pa.Array:
    """A fixed-width Arrow array over numpy values, null where ``valid`` is false."""
    nulls = 0 if valid is None else len(values) - int(np.count_nonzero(valid))
    present = bitmap(valid) if nulls and valid is not None else None
    if pa.types.is_boolean(t):
        return pa.Array.from_buffers(t, len(values), [present, bitmap(values)], nulls)
    data = np.ascontiguousarray(values, dtype=numpy_type(t))
    return pa.Array.from_buffers(t, len(values), [present, pa.py_buffer(data)], nulls)


def bools(values: np.ndarray, valid: np.ndarray | None = None) -> pa.Array:
    return from_numpy(values, pa.bool_(), valid)


def null_where(values: pa.Array, where: np.ndarray) -> pa.Array:
    """The array with more nulls."""
    if not where.any():
        return values
    return pc.if_else(bools(where), scalar_null(values.type), values)


@lru_cache(maxsize=256)
def scalar_null(t: pa.DataType) -> pa.Scalar:
    return all_null(t, 1)[0]


def literal_scalar(literal: Literal) -> pa.Scalar:
    """The Arrow scalar of a literal."""
    if isinstance(literal.type, ArrayType) and literal.value is not None:
        return pa.ListArray.from_arrays(
            from_numpy(np.array([0, len(literal.value)]), pa.int32()), literal_array(literal), arrow_type(literal.type)
        )[0]
    if literal.value is None:
        return scalar_null(arrow_type(literal.type))
    return values_array([literal.value], literal.type)[0]


@lru_cache(maxsize=64)
def literal_array(literal: Literal) -> pa.Array:
    """The elements of an array literal, whose value is a tuple."""
    if not isinstance(literal.type, ArrayType):
        raise ExpressionError(f"{literal} is no array")
    return values_array(literal.value, literal.type.element_type)


def values_array(values: Any, data_type: ExprType) -> pa.Array:
    """An Arrow array of Python values as literals hold them."""
    t = arrow_type(data_type)
    if pa.types.is_duration(t):
        return array(values, pa.int64()).view(t)
    return array(values, t)


def python_value(value: pa.Scalar, data_type: ExprType) -> Any:
    """The Python value that a literal of this type holds.

    :raises ExpressionError: when Python has none: a year outside 1 to 9999, or a nested type.
    """
    if not value.is_valid:
        return None
    name = data_type.type if isinstance(data_type, PrimitiveType) else ""
    if isinstance(data_type, IntervalType):
        return value.cast(pa.int64()).as_py() if data_type != YEAR_MONTH else value.as_py()
    try:
        if name == "date":
            return dt.date.fromordinal(value.cast(pa.int32()).as_py() + 719163)
        if name in ("timestamp", "timestamp_ntz"):
            epoch = _EPOCH_UTC if name == "timestamp" else _EPOCH
            return epoch + dt.timedelta(microseconds=value.cast(pa.int64()).as_py())
    except (ValueError, OverflowError):
        raise ExpressionError("the date lies outside the years 1 to 9999") from None
    if name and name != "variant":
        found = value.as_py()
        return Decimal(found) if isinstance(found, Decimal) else found
    raise ExpressionError(f"a value of {data_type} has no literal")
