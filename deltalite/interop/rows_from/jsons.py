"""JSON as typed rows: an object per line, objects one after another, or one array of objects.

pyarrow reads what it can read exactly, a few megabytes of lines at a time. The rest (maps, names in another case), and
every chunk that it refuses, is read by :mod:`~deltalite.interop.rows_from.jsonvalues`, whose word is the last.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.json

from deltalite.exceptions import SchemaMismatchError, UnsupportedTypeError
from deltalite.interop.rows_from.jsonlines import json_chunks
from deltalite.interop.rows_from.jsonvalues import TEXT, exact_batch, parse_row, row_lines, struct_array
from deltalite.interop.rows_from.typed import COMPUTED, Unfit, typed
from deltalite.model.arrow import type_from_arrow, type_to_arrow
from deltalite.model.types import ArrayType, DataType, Field, PrimitiveType, StructType

_LONG_NUMBER = re.compile(rb"\d{19}")
_NULL_LINE = re.compile(rb"(?:\A|\n)\s*null")


def read_json(
    stream: BinaryIO, schema: StructType | None, extend: bool, lines: bool, name: str, given_only: bool = False
) -> pa.RecordBatchReader:
    """The rows of a JSON file as a stream.

    A key that a row lacks is null there.

    :param schema: the table's columns, found by name ignoring case; ``None`` guesses all from the first megabytes.
    :param extend: keys that ``schema`` lacks become columns too, with guessed types.
    :param lines: one object per line, and nothing else.
    :param name: the file, for messages.
    :param given_only: columns of ``schema`` that the first megabytes lack stay away.
    :raises SchemaMismatchError: while reading, for a value that is not of its column's type or a key that is no column.
    """
    chunks = json_chunks(stream, lines, name)
    first = next(chunks, b"")
    columns = _columns(first, schema, extend, name, given_only)
    wanted = pa.schema([pa.field(c.name, type_to_arrow(c.type), c.nullable) for c in columns])
    return pa.RecordBatchReader.from_batches(wanted, _batches(first, chunks, columns, wanted, name))


def _batches(
    first: bytes, chunks: Iterable[bytes], columns: Sequence[Field], schema: pa.Schema, name: str
) -> Iterator[pa.RecordBatch]:
    row = 1
    wire = _wire_schema(columns)
    for chunk in _prepended(first, chunks):
        batch = _fast_batch(chunk, columns, wire, schema) if wire is not None else None
        if batch is None:
            batch = exact_batch(chunk, columns, schema, name, row)
        yield batch
        row += batch.num_rows


def _prepended(first: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    if first.strip():
        yield first
    yield from chunks


# -- what the columns are ----------------------------------------------------------------------------------------------


def _columns(first: bytes, schema: StructType | None, extend: bool, name: str, given_only: bool) -> list[Field]:
    """The columns to read, under the names that the file uses for them.

    A column that the table computes for itself counts only if the file begins with it.
    """
    keys = _keys(first, name)
    if schema is None:
        return _guessed(first, name)
    spelled = {key.lower(): key for key in keys}
    columns = [
        f.with_(name=spelled.get(f.name.lower(), f.name))
        for f in schema.fields
        if f.name.lower() in spelled or not any(mark in f.metadata for mark in COMPUTED)
    ]
    guessed = _guessed(first, name) if extend or given_only else []
    if given_only:
        given = {f.name.lower() for f in guessed}
        columns = [f for f in columns if f.name.lower() in given]
    for f in columns:
        _refuse_variant(f, name)
    if extend:
        columns += [f for f in guessed if schema.get(f.name) is None]
    return columns


def _refuse_variant(f: Field, name: str) -> None:
    if f.type.type == "variant":
        raise UnsupportedTypeError(
            f"{name}: column {f.name!r} is a variant, which is not read from JSON", hint="load it from Parquet or Arrow"
        )


def _keys(first: bytes, name: str) -> list[str]:
    """The keys of the first row."""
    line = first.strip().partition(b"\n")[0]
    return list(parse_row(line, name, 1)) if line else []


def _guessed(first: bytes, name: str) -> list[Field]:
    """Columns and types from the first chunk. Text stays text, whatever it looks like."""
    if not first.strip():
        return []
    if _NULL_LINE.search(first):
        for number, line in enumerate(row_lines(first), start=1):
            parse_row(line, name, number)
    try:
        found = pyarrow.json.read_json(io.BytesIO(first), pyarrow.json.ReadOptions(block_size=len(first) + 1)).schema
    except pa.ArrowInvalid:
        for number, line in enumerate(first.split(b"\n"), start=1):
            parse_row(line, name, number)
        raise SchemaMismatchError(
            f"{name}: the first rows have no common type for every key", hint="name the types with --schema", path=name
        ) from None
    columns = [Field(f.name, _guessed_type(f.type)) for f in found]
    if _LONG_NUMBER.search(first):
        rows = [parse_row(line, name, number) for number, line in enumerate(row_lines(first), start=1)]
        columns = [_exact_number(c, rows) for c in columns]
    return columns


def _exact_number(column: Field, rows: Sequence[dict[str, Any]]) -> Field:
    """Whole numbers beyond 64 bits, which pyarrow guesses to be floating point, as decimals."""
    if column.type == PrimitiveType("double") and all(
        isinstance(r.get(column.name, 0), (int, type(None))) for r in rows
    ):
        return column.with_(type=PrimitiveType("decimal(38,0)"))
    return column


def _guessed_type(arrow_type: pa.DataType) -> DataType:
    if pa.types.is_timestamp(arrow_type) or pa.types.is_null(arrow_type):
        return PrimitiveType("string")
    if pa.types.is_list(arrow_type):
        return ArrayType(_guessed_type(arrow_type.value_type))
    if pa.types.is_struct(arrow_type):
        return StructType([Field(f.name, _guessed_type(f.type)) for f in arrow_type])
    return type_from_arrow(arrow_type)


# -- the fast way ------------------------------------------------------------------------------------------------------


def _wire_schema(columns: Sequence[Field]) -> pa.Schema | None:
    """How pyarrow is to read the columns: what JSON has as text, as text. ``None`` where it cannot read one of them."""
    wires = [_wire(c.type) for c in columns]
    if any(wire is None for wire in wires):
        return None
    return pa.schema([pa.field(c.name, wire) for c, wire in zip(columns, wires, strict=True)])


def _wire(data_type: DataType) -> pa.DataType | None:
    if isinstance(data_type, PrimitiveType):
        return pa.string() if data_type.type in TEXT else type_to_arrow(data_type)
    if isinstance(data_type, ArrayType):
        inner = _wire(data_type.element_type)
        return None if inner is None else pa.list_(inner)
    if isinstance(data_type, StructType):
        inner = [(f.name, _wire(f.type)) for f in data_type.fields]
        return None if any(wire is None for _, wire in inner) else pa.struct(inner)
    return None


def _fast_batch(chunk: bytes, columns: Sequence[Field], wire: pa.Schema, schema: pa.Schema) -> pa.RecordBatch | None:
    """The rows as pyarrow reads them; ``None`` where it refuses, or accepts what is no row.

    It takes a bare ``null`` for a row, and crashes on a block that begins with one.
    """
    if _NULL_LINE.search(chunk):
        return None
    try:
        found = pyarrow.json.read_json(
            io.BytesIO(chunk),
            pyarrow.json.ReadOptions(block_size=max(len(chunk) + 1, 1 << 20)),
            pyarrow.json.ParseOptions(explicit_schema=wire, unexpected_field_behavior="error"),
        ).combine_chunks()
        arrays = [_from_wire(found.column(c.name).combine_chunks(), c.type) for c in columns]
    except (pa.ArrowInvalid, Unfit):
        return None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _from_wire(column: Any, wanted: DataType) -> pa.Array:
    """An array as read, in the type of the table.

    :raises Unfit: when a value is not of it.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)
    if isinstance(wanted, ArrayType):
        inner = _from_wire(column.values, wanted.element_type)
        return pa.Array.from_buffers(
            type_to_arrow(wanted), len(column), column.buffers()[:2], column.null_count, column.offset, [inner]
        )
    if isinstance(wanted, StructType):
        children = [_from_wire(column.field(i), f.type) for i, f in enumerate(wanted.fields)]
        return struct_array(children, type_to_arrow(wanted), column.is_valid())
    if wanted.type in TEXT:
        return typed(column, wanted)
    if wanted.type in ("float", "double"):
        values = np.frombuffer(column.buffers()[1] or b"", np.float32 if wanted.type == "float" else np.float64)
        if len(values) and not np.isfinite(values[column.offset : column.offset + len(column)]).all():
            raise Unfit
    return column
