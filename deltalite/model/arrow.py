"""Delta types to and from Arrow types, and small Arrow values that do not pull in pandas.

``pa.array(list)`` and ``pa.scalar(value)`` import pandas where it is installed (about a second of CPU), hence
:func:`array` and :func:`scalar`, which go by way of JSON-free buffers and casts.
"""

from __future__ import annotations

import datetime as dt
import decimal
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import UnsupportedTypeError
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, Schema, StructType, VariantType

UTC_MICROS = pa.timestamp("us", tz="UTC")
MICROS = pa.timestamp("us")
VARIANT = pa.struct([pa.field("metadata", pa.binary(), False), pa.field("value", pa.binary(), False)])
_NUMPY_KINDS: dict[str, str] = {
    **{f"uint{bits}": f"u{bits // 8}" for bits in (8, 16, 32, 64)},
    "halffloat": "f2",
    "float": "f4",
    "double": "f8",
}
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)

_TO_ARROW: dict[str, pa.DataType] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": UTC_MICROS,
    "timestamp_ntz": MICROS,
    "void": pa.null(),
    "variant": VARIANT,
}
_FROM_ARROW: dict[pa.DataType, str] = {
    pa.string(): "string",
    pa.large_string(): "string",
    pa.string_view(): "string",
    pa.binary(): "binary",
    pa.large_binary(): "binary",
    pa.binary_view(): "binary",
    pa.int64(): "long",
    pa.int32(): "integer",
    pa.int16(): "short",
    pa.int8(): "byte",
    pa.uint8(): "short",
    pa.uint16(): "integer",
    pa.uint32(): "long",
    pa.uint64(): "decimal(20,0)",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.float16(): "float",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.date64(): "date",
    pa.null(): "void",
}


def type_to_arrow(data_type: DataType, large: bool = False) -> pa.DataType:
    """The Arrow type in which values of a Delta type are read. ``large`` asks for 64-bit offsets."""
    if isinstance(data_type, PrimitiveType):
        if data_type.is_decimal:
            return pa.decimal128(data_type.precision, data_type.scale)
        if large and data_type.type in ("string", "binary"):
            return pa.large_string() if data_type.type == "string" else pa.large_binary()
        return _TO_ARROW[data_type.type]
    if isinstance(data_type, ArrayType):
        element = pa.field("element", type_to_arrow(data_type.element_type, large), data_type.contains_null)
        return pa.large_list(element) if large else pa.list_(element)
    if isinstance(data_type, MapType):
        value = pa.field("value", type_to_arrow(data_type.value_type, large), data_type.value_contains_null)
        return pa.map_(pa.field("key", type_to_arrow(data_type.key_type, large), False), value)
    return pa.struct([field_to_arrow(f, large) for f in data_type.fields])


def field_to_arrow(field: Field, large: bool = False) -> pa.Field:
    metadata = {k: v if isinstance(v, str) else _json(v) for k, v in field.metadata.items()} or None
    return pa.field(field.name, type_to_arrow(field.type, large), field.nullable, metadata)


def schema_to_arrow(schema: StructType, large: bool = False) -> pa.Schema:
    return pa.schema([field_to_arrow(f, large) for f in schema.fields])


def type_from_arrow(arrow_type: Any, path: str = "") -> DataType:
    """The Delta type that holds every value of an Arrow type; unsigned integers widen.

    :raises UnsupportedTypeError: when there is none, naming the column and a cast that helps.
    """
    if not isinstance(arrow_type, pa.DataType):
        arrow_type = pa.field(arrow_type).type if hasattr(arrow_type, "__arrow_c_schema__") else arrow_type
    t = arrow_type
    if isinstance(t, pa.BaseExtensionType):
        if t.extension_name in ("parquet.variant", "arrow.parquet.variant"):
            return VariantType()
        t = t.storage_type
    if t in _FROM_ARROW:
        return PrimitiveType(_FROM_ARROW[t])
    if pa.types.is_decimal(t):
        if t.precision > 38:
            raise _unsupported(path, t, "cast it to decimal128(38, s)")
        if t.scale < 0:
            raise _unsupported(path, t, f"cast it to decimal128({min(38, t.precision - t.scale)}, 0)")
        return PrimitiveType(f"decimal({t.precision},{t.scale})")
    if pa.types.is_timestamp(t):
        return PrimitiveType("timestamp" if t.tz is not None else "timestamp_ntz")
    if pa.types.is_dictionary(t):
        return type_from_arrow(t.value_type, path)
    if pa.types.is_run_end_encoded(t):
        return type_from_arrow(t.value_type, path)
    if pa.types.is_fixed_size_binary(t):
        return PrimitiveType("binary")
    if pa.types.is_map(t):
        key = type_from_arrow(t.key_type, f"{path}.key")
        return MapType(key, type_from_arrow(t.item_type, f"{path}.value"), t.item_field.nullable)
    if hasattr(t, "value_field") and (
        pa.types.is_list(t)
        or pa.types.is_large_list(t)
        or pa.types.is_fixed_size_list(t)
        or pa.types.is_list_view(t)
        or pa.types.is_large_list_view(t)
    ):
        return ArrayType(type_from_arrow(t.value_type, f"{path}.element"), t.value_field.nullable)
    if t == VARIANT:
        return VariantType()
    if pa.types.is_struct(t):
        return StructType([field_from_arrow(t.field(i), path) for i in range(t.num_fields)])
    if pa.types.is_time(t):
        raise _unsupported(path, t, "cast it to int64 or to string")
    if pa.types.is_duration(t):
        raise _unsupported(path, t, "cast it to int64")
    raise _unsupported(path, t, "cast it to a type that Delta has")


def _unsupported(path: str, arrow_type: Any, hint: str) -> UnsupportedTypeError:
    where = f"column {path!r}" if path else "the value"
    return UnsupportedTypeError(
        f"{where} has the Arrow type {arrow_type}, which Delta cannot store", hint=hint, column=path
    )


def field_from_arrow(field: Any, path: str = "") -> Field:
    if not isinstance(field, pa.Field):
        field = pa.field(field)
    here = f"{path}.{field.name}" if path else field.name
    return Field(field.name, type_from_arrow(field.type, here), field.nullable, _metadata(field.metadata))


def schema_from_arrow(schema: Any) -> Schema:
    if not isinstance(schema, pa.Schema):
        schema = pa.schema(schema)
    return Schema([field_from_arrow(f) for f in schema])


def _metadata(raw: Any) -> dict[str, Any]:
    """Field metadata from Arrow: text, with the JSON values of ``delta.*`` keys restored; Parquet's own left out."""
    import json

    found: dict[str, Any] = {}
    for key, value in (raw or {}).items():
        name, text = key.decode(), value.decode("utf-8", "replace")
        if name.startswith(("PARQUET:", "ARROW:")):
            continue
        if name.startswith("delta.") and name not in ("delta.invariants", "delta.generationExpression"):
            try:
                found[name] = json.loads(text)
                continue
            except ValueError:
                pass
        found[name] = text
    return found


def _json(value: Any) -> str:
    import json

    return json.dumps(value, separators=(",", ":"))


def array(values: Sequence[Any], arrow_type: pa.DataType) -> pa.Array:
    """An Arrow array of Python values, from buffers.

    Knows booleans, integers, floats, text, bytes, dates, timestamps and decimals; ``None`` is null. Dates may be
    ``datetime.date`` or days, timestamps ``datetime`` or microseconds since 1970.
    """
    n = len(values)
    valid = np.fromiter((v is not None for v in values), dtype=bool, count=n)
    nulls = n - int(valid.sum())
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes()) if nulls else None
    t = pa.types
    if t.is_null(arrow_type):
        return pa.nulls(n)
    if (
        t.is_string(arrow_type)
        or t.is_binary(arrow_type)
        or t.is_large_string(arrow_type)
        or t.is_large_binary(arrow_type)
    ):
        raw = [b"" if v is None else v.encode() if isinstance(v, str) else bytes(v) for v in values]
        wide = t.is_large_string(arrow_type) or t.is_large_binary(arrow_type)
        offsets = np.zeros(n + 1, dtype=np.int64 if wide else np.int32)
        np.cumsum(np.fromiter(map(len, raw), dtype=offsets.dtype, count=n), out=offsets[1:])
        buffers = [bitmap, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(raw))]
        return pa.Array.from_buffers(arrow_type, n, buffers, nulls)
    if t.is_boolean(arrow_type):
        bits = np.fromiter((bool(v) for v in values), dtype=bool, count=n)
        buffers = [bitmap, pa.py_buffer(np.packbits(bits, bitorder="little").tobytes())]
        return pa.Array.from_buffers(arrow_type, n, buffers, nulls)
    if t.is_decimal(arrow_type):
        raw = b"".join(_decimal_bytes(v, arrow_type.scale) for v in values)
        return pa.Array.from_buffers(arrow_type, n, [bitmap, pa.py_buffer(raw)], nulls)
    codes = {"int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I",
             "uint64": "Q", "float": "f", "double": "d", "date32[day]": "i"}  # fmt: skip
    code = codes.get(str(arrow_type), "q" if t.is_timestamp(arrow_type) else None)
    if code is None:
        raise UnsupportedTypeError(f"no plain array of {arrow_type}")
    plain = [_plain(v) for v in values]
    if code == "f":
        with np.errstate(over="ignore"):  # beyond the range is infinite, as in a cast of Arrow's
            return pa.Array.from_buffers(
                arrow_type, n, [bitmap, pa.py_buffer(np.array(plain, np.float32).tobytes())], nulls
            )
    buffers = [bitmap, pa.py_buffer(struct.pack(f"<{n}{code}", *plain))]
    return pa.Array.from_buffers(arrow_type, n, buffers, nulls)


def scalar(value: Any, arrow_type: pa.DataType) -> pa.Scalar:
    """One Arrow value, without the detour over pandas that ``pa.scalar`` takes."""
    return array([value], arrow_type)[0]


def _plain(value: Any) -> Any:
    if value is None:
        return 0
    if isinstance(value, dt.datetime):
        delta = value - (_EPOCH if value.tzinfo is None else _EPOCH_UTC)
        return delta // dt.timedelta(microseconds=1)
    if isinstance(value, dt.date):
        return value.toordinal() - 719163
    return value


def _decimal_bytes(value: Any, scale: int) -> bytes:
    if value is None:
        return bytes(16)
    with decimal.localcontext() as context:
        context.prec = 100
        scaled = decimal.Decimal(value).scaleb(scale)
        whole = int(scaled)
        if whole != scaled:
            raise UnsupportedTypeError(f"{value} has more than {scale} digits behind the point")
    return whole.to_bytes(16, "little", signed=True)


def mask_array(mask: np.ndarray) -> pa.BooleanArray:
    """A numpy mask as an Arrow array."""
    bits = pa.py_buffer(np.packbits(mask, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, bits], 0)


def to_numpy(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Booleans or numbers as numpy, by buffers; what stands where a value is null is undefined."""
    if isinstance(values, pa.ChunkedArray):
        parts = [to_numpy(chunk) for chunk in values.chunks]
        return np.concatenate(parts) if parts else to_numpy(pa.nulls(0, values.type))
    start, stop = values.offset, values.offset + len(values)
    data = values.buffers()[1]
    if pa.types.is_boolean(values.type):
        bits = np.frombuffer(data or b"", np.uint8)[start // 8 : (stop + 7) // 8]
        return np.unpackbits(bits, count=stop - start // 8 * 8, bitorder="little")[start % 8 :].view(bool)
    kind = _NUMPY_KINDS.get(str(values.type)) or f"i{values.type.bit_width // 8}"
    return np.frombuffer(data or b"", kind)[start:stop]


def concat_batches(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Several batches of one schema as one; ``pyarrow.concat_batches`` is younger than the oldest pyarrow we take.

    :raises UnsupportedTypeError: when the text or bytes of a column add up to more than 2 GiB, which no array holds.
    """
    joined = pa.Table.from_batches(batches).combine_chunks().to_batches()
    if len(joined) > 1:
        raise UnsupportedTypeError(
            "the values of one column add up to more than 2 GiB in a single batch", hint="pass smaller batches"
        )
    return joined[0] if joined else batches[0]


def decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain columns in place of dictionaries."""
    schema = batch.schema
    if not any(pa.types.is_dictionary(f.type) for f in schema):
        return batch
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    fields = [f.with_type(column.type) for f, column in zip(schema, columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def all_null(arrow_type: pa.DataType, length: int) -> pa.Array:
    return pa.nulls(length, arrow_type)


def is_true(mask: Any) -> Any:
    """SQL's WHERE: keep only rows where the condition is true, not where it is null."""
    return pc.fill_null(mask, FALSE) if mask.null_count else mask


FALSE = scalar(False, pa.bool_())
TRUE = scalar(True, pa.bool_())
