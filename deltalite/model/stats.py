"""The statistics of files: from the JSON text of the log to typed columns.

PROTOCOL.md, "Per-file Statistics". Only what a struct type names is parsed. Values come as they are written; what they
prove (truncated text, times cut to milliseconds) is for the reader of the statistics to judge. Text that is no
statistics, or no value of its column's type, counts as missing: whoever does not know skips nothing.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import DeltaError
from deltalite.model.arrow import array, type_from_arrow, type_to_arrow
from deltalite.model.partition import parse
from deltalite.model.types import DataType, PrimitiveType, StructType

Path = tuple[str, ...]
ROWS, TIGHT, MIN, MAX, NULLS = "numRecords", "tightBounds", "minValues", "maxValues", "nullCount"
_NO_BOUNDS = ("binary", "variant", "void")
_LEADING_COUNT = r'^\{"numRecords": ?(?P<n>[0-9]{1,18})[,}]'
_CHUNK_BYTES = 16 << 20
_TEXT = pa.string()
_NOTHING, _EMPTY_OBJECT, _NEWLINE = (array([text], _TEXT)[0] for text in ("", "{}", "\n"))


# -- types ---------------------------------------------------------------------------------------------------------


def has_bounds(data_type: DataType | None) -> bool:
    """Whether statistics may hold a minimum and a maximum of such a column."""
    return isinstance(data_type, PrimitiveType) and data_type.type not in _NO_BOUNDS


def type_at(schema: StructType, path: Path) -> DataType | None:
    """The type at a path of struct fields, ``None`` where there is none."""
    current: DataType | None = schema
    for name in path:
        fields = current.fields if isinstance(current, StructType) else []
        current = next((f.type for f in fields if f.name == name), None)
    return current


def stats_type(schema: StructType, columns: Sequence[Path]) -> pa.StructType:
    """The struct type of the statistics of some leaf columns, as checkpoints name it ``stats_parsed``.

    :param schema: the physical schema.
    :param columns: physical paths of leaves; number of rows and tightness of the bounds are always part of it.
    """
    kinds = {path: kind for path in columns if (kind := type_at(schema, path)) is not None}
    bounds = nested_type({path: type_to_arrow(kind) for path, kind in kinds.items() if has_bounds(kind)})
    counts = nested_type({path: pa.int64() for path, kind in kinds.items() if not isinstance(kind, StructType)})
    fields = [pa.field(ROWS, pa.int64()), pa.field(TIGHT, pa.bool_())]
    fields += [pa.field(name, kind) for name, kind in ((MIN, bounds), (MAX, bounds), (NULLS, counts)) if kind]
    return pa.struct(fields)


def nested_type(leaves: Mapping[Path, pa.DataType]) -> pa.StructType | None:
    """The struct type that has the given leaves; ``None`` for none."""
    heads: dict[str, dict[Path, pa.DataType]] = {}
    for path, kind in leaves.items():
        heads.setdefault(path[0], {})[path[1:]] = kind
    fields = [pa.field(name, rest.get((), None) or nested_type(rest)) for name, rest in heads.items()]
    return pa.struct(fields) if fields else None


def record_counts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """``numRecords`` of every text, null where it does not say. Writers put it first, where it is found at once."""
    kind = pa.struct([pa.field(ROWS, pa.int64())])
    parts = []
    for chunk in texts.chunks:
        digits = pc.struct_field(pc.extract_regex(chunk, _LEADING_COUNT), [0])
        if digits.null_count > chunk.null_count:
            parts += [pc.struct_field(part, [0]) for part in parse_stats(pa.chunked_array([chunk]), kind).chunks]
        else:
            parts.append(digits.cast(pa.int64()))
    return pa.chunked_array(parts, pa.int64())


# -- JSON in bulk --------------------------------------------------------------------------------------------------


def parse_stats(texts: pa.ChunkedArray, kind: pa.StructType) -> pa.ChunkedArray:
    """The statistics in JSON texts as structs; a struct is null where there is no text."""
    pieces = [piece for chunk in _gathered(texts) for piece in _pieces(chunk)]
    return pa.chunked_array([_in_bulk(piece, kind) or _line_by_line(piece, kind) for piece in pieces], kind)


def _gathered(texts: pa.ChunkedArray) -> list[pa.Array]:
    """Small chunks as one: a call of the JSON reader costs as much as some hundred rows."""
    together = texts.num_chunks > 1 and texts.nbytes <= _CHUNK_BYTES
    return [pa.concat_arrays(texts.chunks)] if together else texts.chunks


def _pieces(texts: pa.Array) -> list[pa.Array]:
    rows = max(1, len(texts) * _CHUNK_BYTES // max(texts.nbytes, 1))
    return [texts.slice(start, rows) for start in range(0, len(texts), rows)]


def _in_bulk(texts: pa.Array, kind: pa.StructType) -> pa.StructArray | None:
    """By pyarrow's JSON reader, ten times as fast as the standard library; ``None`` where it gives up on a line."""
    import pyarrow.json as pj

    filled = pc.if_else(pc.equal(pc.fill_null(texts, _NOTHING), _NOTHING), _EMPTY_OBJECT, texts)
    lines = pc.binary_join_element_wise(filled, _NOTHING, _NEWLINE)
    if not _are_objects(lines):
        return None
    longest = pc.max(pc.binary_length(lines)).as_py() or 1
    written = pa.schema([pa.field(f.name, _written_type(f.type)) for f in kind])
    try:
        table = pj.read_json(
            pa.BufferReader(_bytes_of(lines)),
            pj.ReadOptions(block_size=max(1 << 20, 2 * longest)),
            pj.ParseOptions(explicit_schema=written, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != len(texts):
        return None
    children = [_typed(_one(table.column(f.name)), f.type) for f in kind]
    return _struct(children, kind, texts)


def _are_objects(lines: pa.Array) -> bool:
    """Whether every line begins an object and ends it; pyarrow's reader crashes on a block that begins with null."""
    if not pc.all(pc.starts_with(lines, "{")).as_py():
        return False
    data = np.frombuffer(_bytes_of(lines), np.uint8)
    return np.count_nonzero(data == ord("\n")) == len(lines) and not (data == ord("\r")).any()


def _bytes_of(lines: pa.Array) -> pa.Buffer:
    _, offsets, data = lines.buffers()
    ends = np.frombuffer(offsets, np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return data.slice(int(ends[0]), int(ends[-1] - ends[0]))


def _one(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks)


def _written_type(kind: pa.DataType) -> pa.DataType:
    """The form that JSON has for values of a type: times come as text, in more than one format."""
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _written_type(f.type)) for f in kind])
    return _TEXT if pa.types.is_temporal(kind) else kind


def _typed(values: Any, kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        return _struct([_typed(pc.struct_field(values, [i]), f.type) for i, f in enumerate(kind)], kind, values)
    if values.type == kind:
        return values
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        distinct = values.dictionary_encode()
        return _column(distinct.dictionary.to_pylist(), kind).take(distinct.indices)


def _struct(children: list[pa.Array], kind: pa.StructType, like: pa.Array) -> pa.StructArray:
    """A struct array that is null where ``like`` is."""
    mask = like.is_null() if like.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=mask)


# -- JSON line by line ---------------------------------------------------------------------------------------------


def _line_by_line(texts: pa.Array, kind: pa.StructType) -> pa.Array:
    return _column([_load(text) for text in texts.to_pylist()], kind)


def _load(text: str | None) -> Any:
    try:
        value = json.loads(text, parse_float=decimal.Decimal) if text else None
    except (ValueError, RecursionError, ArithmeticError):
        return None
    return value if isinstance(value, dict) else None


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_struct(kind):
        rows = [value if isinstance(value, dict) else None for value in values]
        children = [_column([row.get(f.name) if row else None for row in rows], f.type) for f in kind]
        return _struct(children, kind, array([True if row is not None else None for row in rows], pa.bool_()))
    data_type = type_from_arrow(kind)
    found = array([_value(value, data_type) for value in values], type_to_arrow(data_type))  # times in microseconds
    if found.type == kind:
        return found
    try:
        return found.cast(kind)
    except pa.ArrowInvalid:
        return pa.nulls(len(found), kind)


_BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}


def _value(value: Any, kind: Any) -> Any:
    """A JSON value as :func:`deltalite.model.arrow.array` takes it; ``None`` for what is not of the type."""
    if value is None or isinstance(value, (dict, list)) or isinstance(value, bool) != (kind.type == "boolean"):
        return None
    is_text = isinstance(value, str)
    try:
        if kind.type == "string":
            return value if is_text and value.encode() is not None else None
        if kind.type in ("date", "timestamp", "timestamp_ntz"):
            return parse(value, kind) if is_text else None
        if kind.type in ("float", "double"):
            return float(value)
        if is_text or kind.type == "boolean":
            return None if is_text else value
        if kind.is_decimal:
            return _decimal(decimal.Decimal(value), kind)
        whole, limit = int(value), 1 << (_BITS[kind.type] - 1)
        return whole if whole == value and -limit <= whole < limit else None
    except (DeltaError, ValueError, ArithmeticError, KeyError):
        return None


def _decimal(value: decimal.Decimal, kind: PrimitiveType) -> decimal.Decimal | None:
    if not value.is_finite() or (value and value.adjusted() >= kind.precision - kind.scale):
        return None
    rounded = value.quantize(decimal.Decimal(1).scaleb(-kind.scale), context=decimal.Context(prec=76))
    return rounded if rounded == value else None
