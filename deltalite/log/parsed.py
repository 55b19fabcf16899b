"""``stats_parsed`` and ``partitionValues_parsed``: the columns beside the text that checkpoints may hold.

PROTOCOL.md, "Checkpoints" and "Per-file Statistics". Both directions, a column at a time; names are physical. Text that
does not fit a type (another type's value from before a widening, NaN, a number too big) becomes null: unknown, which
never makes a reader skip a file.
"""

from __future__ import annotations

import decimal
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from deltalite.exceptions import DeltaError
from deltalite.model.arrow import array, mask_array, type_from_arrow, type_to_arrow
from deltalite.model.partition import parse, parse_column
from deltalite.model.types import PrimitiveType, StructType

COLUMNS = ("stats_parsed", "partitionValues_parsed")

_ROWS_AT_ONCE = 16_384
_NO_BOUNDS = ("boolean", "binary", "variant", "void")
_TEXT = pa.string()
_NEWLINE = array(["\n"], _TEXT)[0]
_EMPTY = array([""], _TEXT)[0]
_NOTHING = array(["{}"], _TEXT)[0]
_OPEN, _CLOSE, _COMMA = (array([c], _TEXT)[0] for c in "{},")


# -- types -------------------------------------------------------------------------------------------------------


def stats_type(schema: StructType, columns: Iterable[tuple[str, ...]]) -> pa.StructType:
    """The type of ``stats_parsed``.

    :param schema: the data columns under their physical names.
    :param columns: the physical paths of the leaves that have statistics.
    """
    wanted = set(columns)
    bounds = _mirror(schema, wanted, (), _bound_type)
    counts = _mirror(schema, wanted, (), lambda _: pa.int64())
    fields = [pa.field("numRecords", pa.int64()), pa.field("tightBounds", pa.bool_())]
    for name, kind in (("minValues", bounds), ("maxValues", bounds), ("nullCount", counts)):
        if kind is not None:
            fields.append(pa.field(name, kind))
    return pa.struct(fields)


def _mirror(
    schema: StructType, wanted: set[tuple[str, ...]], above: tuple[str, ...], leaf: Callable[[Any], pa.DataType | None]
) -> pa.StructType | None:
    fields = []
    for f in schema.fields:
        path = (*above, f.name)
        if isinstance(f.type, StructType):
            kind = _mirror(f.type, wanted, path, leaf)
        else:
            kind = leaf(f.type) if path in wanted else None
        if kind is not None:
            fields.append(pa.field(f.name, kind))
    return pa.struct(fields) if fields else None


def _bound_type(data_type: Any) -> pa.DataType | None:
    if not isinstance(data_type, PrimitiveType) or data_type.type in _NO_BOUNDS:
        return None
    return type_to_arrow(data_type)


def partition_type(fields: Sequence[tuple[str, PrimitiveType]]) -> pa.StructType:
    """The type of ``partitionValues_parsed``, from physical names and types."""
    return pa.struct([pa.field(name, type_to_arrow(kind)) for name, kind in fields])


# -- text to columns ---------------------------------------------------------------------------------------------


def parse_partition_values(values: pa.ChunkedArray, kind: pa.StructType) -> pa.ChunkedArray:
    """A column of string maps as typed structs."""
    chunks = []
    for chunk in values.chunks:
        children = [
            parse_column(pc.map_lookup(chunk, array([f.name], _TEXT)[0], "first"), type_from_arrow(f.type)).cast(f.type)
            for f in kind
        ]
        chunks.append(_struct(children, kind, chunk))
    return pa.chunked_array(chunks, kind)


def parse_stats(stats: pa.ChunkedArray, kind: pa.StructType) -> pa.ChunkedArray:
    """A column of statistics in JSON as structs; null where there are none."""
    chunks = []
    for chunk in stats.chunks:
        for start in range(0, len(chunk), _ROWS_AT_ONCE):
            piece = chunk.slice(start, _ROWS_AT_ONCE)
            chunks.append(_parse_in_bulk(piece, kind) or _parse_one_by_one(piece, kind))
    return pa.chunked_array(chunks, kind)


def _parse_in_bulk(stats: pa.StringArray, kind: pa.StructType) -> pa.StructArray | None:
    if stats.null_count == len(stats):
        return pa.nulls(len(stats), kind)
    carrier = _carrier(kind)
    lines = pc.binary_join_element_wise(pc.fill_null(stats, _NOTHING), _EMPTY, _NEWLINE)
    options = pj.ParseOptions(
        explicit_schema=pa.schema(list(carrier)), newlines_in_values=False, unexpected_field_behavior="ignore"
    )
    try:
        data = _bytes_of(lines)
        table = pj.read_json(io.BytesIO(data), pj.ReadOptions(block_size=max(len(data), 1)), options)
        if table.num_rows != len(stats):
            return None
        children = [_cast(table.column(f.name).combine_chunks(), f.type) for f in kind]
    except pa.ArrowInvalid:
        return None
    return _struct(children, kind, stats)


def _bytes_of(lines: pa.StringArray) -> bytes:
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return lines.buffers()[2].to_pybytes()[offsets[0] : offsets[-1]]


def _carrier(kind: pa.DataType) -> pa.DataType:
    """The type in which pyarrow's JSON reader gives a value: dates come as text."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _carrier(f.type)) for f in kind])
    return _TEXT if pa.types.is_date(kind) or pa.types.is_timestamp(kind) else kind


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        return _struct([_cast(pc.struct_field(values, f.name), f.type) for f in kind], kind, values)
    if values.type == kind:
        return _finite(values, values) if pa.types.is_floating(kind) else values
    return values.cast(kind)


def _finite(values: pa.Array, found: pa.Array) -> pa.Array:
    """``found`` where a float is a number."""
    return pc.if_else(pc.is_finite(values), found, pa.nulls(len(found), found.type))


def _struct(children: list[pa.Array], kind: pa.StructType, like: pa.Array) -> pa.StructArray:
    """A struct array that is null where ``like`` is."""
    mask = like.is_null() if like.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)


def _parse_one_by_one(stats: pa.StringArray, kind: pa.StructType) -> pa.StructArray:
    return _column([_loads(text) for text in stats.to_pylist()], kind)


def _loads(text: str | None) -> Any:
    try:
        value = json.loads(text, parse_float=decimal.Decimal) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        rows = [value if isinstance(value, dict) else None for value in values]
        children = [_column([row.get(f.name) if row else None for row in rows], f.type) for f in kind]
        missing = mask_array(np.fromiter((row is None for row in rows), bool, len(rows)))
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=missing)
    return array([_fitting(value, kind) for value in values], kind)


def _fitting(value: Any, kind: pa.DataType) -> Any:
    """A JSON value as the Python value of a type, or ``None`` where it is not one."""
    if value is None or isinstance(value, bool) != pa.types.is_boolean(kind):
        return None
    try:
        if pa.types.is_string(kind):
            return value if isinstance(value, str) else None
        if pa.types.is_integer(kind):
            whole = int(value)
            limit = 2 ** (kind.bit_width - 1)
            return whole if whole == value and -limit <= whole < limit else None
        if pa.types.is_floating(kind):
            number = float(value)
            return number if np.isfinite(number) else None
        if pa.types.is_decimal(kind):
            array([value], kind)
            return value if abs(value) < 10 ** (kind.precision - kind.scale) else None
        if pa.types.is_boolean(kind):
            return value
        return parse(value, type_from_arrow(kind)) if isinstance(value, str) else None
    except (DeltaError, ValueError, TypeError, ArithmeticError):
        return None


# -- columns to text ---------------------------------------------------------------------------------------------


def stats_text(parsed: pa.ChunkedArray) -> pa.ChunkedArray:
    """Statistics in columns as the JSON text of commits; what is null is left out."""
    return pa.chunked_array([_json(chunk) for chunk in parsed.chunks], _TEXT)


def _json(values: pa.Array) -> pa.StringArray:
    """JSON text of every value, null where there is none to write."""
    kind = values.type
    if pa.types.is_struct(kind):
        return _json_object(values)
    if pa.types.is_string(kind):
        return _json_string(values)
    if pa.types.is_boolean(kind):
        return values.cast(_TEXT)
    if pa.types.is_floating(kind):
        return _finite(values, values.cast(_TEXT))
    if pa.types.is_date(kind):
        return _quoted(values.cast(_TEXT))
    if pa.types.is_timestamp(kind):
        local = pc.replace_substring(values.cast(pa.timestamp("us")).cast(_TEXT), " ", "T")
        return _quoted(pc.binary_join_element_wise(local, array(["Z"], _TEXT)[0], _EMPTY) if kind.tz else local)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return values.cast(_TEXT)
    return pa.nulls(len(values), _TEXT)


def _json_object(values: pa.StructArray) -> pa.StringArray:
    text = array([""] * len(values), _TEXT)
    for f in values.type:
        name = array([json.dumps(f.name, ensure_ascii=False) + ":"], _TEXT)[0]
        member = pc.binary_join_element_wise(name, _json(values.field(f.name)), _COMMA, _EMPTY)
        text = pc.binary_join_element_wise(text, pc.fill_null(member, _EMPTY), _EMPTY)
    text = pc.binary_join_element_wise(_OPEN, pc.utf8_rtrim(text, ","), _CLOSE, _EMPTY)
    return pc.if_else(values.is_valid(), text, pa.nulls(len(values), _TEXT)) if values.null_count else text


def _json_string(values: pa.StringArray) -> pa.StringArray:
    if pc.any(pc.match_substring_regex(values, "[\\x00-\\x1f]")).as_py():
        texts = values.to_pylist()
        return array([None if t is None else json.dumps(t, ensure_ascii=False) for t in texts], _TEXT)
    return _quoted(pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"'))


def _quoted(values: pa.StringArray) -> pa.StringArray:
    quote = array(['"'], _TEXT)[0]
    return pc.binary_join_element_wise(quote, values, quote, _EMPTY)
