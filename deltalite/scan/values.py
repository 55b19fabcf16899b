"""Values in the many physical forms of Parquet and Arrow, brought to the one form that the table's type has.

Nothing here changes a value: units, encodings and offsets vanish, and what would not fit raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.model.arrow import to_numpy

t = pa.types
_UNSIGNED = {
    pa.uint8(): (pa.int16(), pa.int32(), pa.int64()),
    pa.uint16(): (pa.int32(), pa.int64()),
    pa.uint32(): (pa.int64(),),
    pa.uint64(): (pa.int64(),),
    pa.int32(): (pa.int16(), pa.int8()),  # Parquet stores both as 32 bits; not every writer notes the width
    pa.int16(): (pa.int8(),),
}
_UNITS_PER_MICRO = {"s": 1_000_000, "ms": 1000, "us": 1}


def plain_type(data_type: Any) -> pa.DataType:
    """The type without dictionary, run-end, extension or view; offsets of 32 bits, times in microseconds."""
    if isinstance(data_type, pa.BaseExtensionType):
        return plain_type(data_type.storage_type)
    if t.is_dictionary(data_type) or t.is_run_end_encoded(data_type):
        return plain_type(data_type.value_type)
    if t.is_large_string(data_type) or t.is_string_view(data_type):
        return pa.string()
    if t.is_large_binary(data_type) or t.is_binary_view(data_type) or t.is_fixed_size_binary(data_type):
        return data_type if t.is_decimal(data_type) else pa.binary()
    if t.is_timestamp(data_type):
        return pa.timestamp("us", "UTC" if data_type.tz is not None else None)
    if t.is_date64(data_type):
        return pa.date32()
    return data_type


def same_kind(plain: pa.DataType, target: pa.DataType) -> bool:
    """Whether two types differ in their form only, so that no feature is needed to get from one to the other."""
    if t.is_null(plain) or t.is_null(target):
        return True
    if target in _UNSIGNED.get(plain, ()):
        return True
    if t.is_decimal(target):
        return plain == pa.uint64() if not t.is_decimal(plain) else plain.scale == target.scale
    if t.is_timestamp(plain) and t.is_timestamp(target):
        return True
    texts = (pa.string(), pa.binary())
    return (plain in texts and target in texts) or (plain == pa.float16() and target == pa.float32())


def plain_values(values: Any, target: pa.DataType) -> pa.Array:
    """The values as ``target``, to which :func:`same_kind` leads.

    :raises pyarrow.ArrowInvalid: when a value does not fit.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    elif t.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    if values.type == target:
        return values
    if t.is_null(target):
        return pa.nulls(len(values))
    if t.is_timestamp(values.type) and t.is_timestamp(target):
        return _micros(values, target)
    return values.cast(target)


def _micros(values: pa.Array, target: pa.DataType) -> pa.Array:
    """Timestamps of any unit, rounded down to microseconds; the instant stays, whatever zone it is noted in."""
    ticks = values.view(pa.int64())
    if values.type.unit == "ns":
        micros = np.floor_divide(to_numpy(ticks), 1000)
        floored = pa.Array.from_buffers(pa.int64(), len(micros), [None, pa.py_buffer(micros)])
        ticks = _with_nulls_of(floored, ticks)
    elif values.type.unit != "us":
        return values.cast(pa.timestamp("us", values.type.tz)).view(target)
    return ticks.view(target)


def _with_nulls_of(values: pa.Array, nulls: pa.Array) -> pa.Array:
    if not nulls.null_count:
        return values
    return pc.if_else(nulls.is_valid(), values, pa.nulls(len(values), values.type))
