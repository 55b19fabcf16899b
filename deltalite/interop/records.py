"""Plain Python values and pandas frames as streams of Arrow batches.

Types come from the values, never from a guess that would change them; the table's schema decides only where values
leave it open: maps, decimals, columns of nothing but ``None``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.features import variant
from deltalite.model.arrow import schema_to_arrow, type_to_arrow
from deltalite.model.types import ArrayType, DataType, MapType, PrimitiveType, StructType

ROWS_PER_BATCH = 16_384
_NOT_OF_TYPE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError)


# -- dicts -------------------------------------------------------------------------------------------------------------


def from_columns(data: Mapping[Any, Any], schema: StructType | None) -> pa.RecordBatchReader:
    """From a dict of columns: lists, arrays of numpy or Arrow, series of pandas or polars."""
    names = [_name(key) for key in data]
    arrays = [_column(name, values, schema) for name, values in zip(names, data.values(), strict=True)]
    if len({len(a) for a in arrays}) > 1:
        shown = ", ".join(f"{name}: {len(a)}" for name, a in zip(names, arrays, strict=True))
        raise InvalidArgumentError(f"the columns differ in length ({shown})")
    return pa.Table.from_arrays(arrays, names=names).to_reader(ROWS_PER_BATCH)


def from_rows(rows: Iterable[Mapping[Any, Any]], schema: StructType | None) -> pa.RecordBatchReader:
    """From dicts, one per row. A key that a row lacks is null there; the first rows decide names and types."""
    source = iter(rows)
    first = list(itertools.islice(source, ROWS_PER_BATCH))
    if not first and schema is not None:
        return schema_to_arrow(schema).empty_table().to_reader()
    names = list(dict.fromkeys(_name(key) for row in first for key in _row(row)))
    arrays = [_column(name, [row.get(name) for row in first], schema) for name in names]
    arrays = [_into(a, _stream_type(a.type, name, schema), name) for a, name in zip(arrays, names, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch
        while chunk := list(itertools.islice(source, ROWS_PER_BATCH)):
            yield _more(chunk, batch.schema, schema)

    return pa.RecordBatchReader.from_batches(batch.schema, batches())


def _more(rows: Sequence[Mapping[Any, Any]], known: pa.Schema, schema: StructType | None) -> pa.RecordBatch:
    names = set(known.names)
    unknown = [key for row in rows for key in _row(row) if key not in names]
    if unknown:
        raise SchemaMismatchError(
            f"a row has the key {unknown[0]!r}, which the first {ROWS_PER_BATCH} rows lack",
            hint="give every key in one of the first rows, with None as its value if need be",
            columns=[str(unknown[0])],
        )
    arrays = [_into(_column(f.name, [row.get(f.name) for row in rows], schema), f.type, f.name) for f in known]
    return pa.RecordBatch.from_arrays(arrays, schema=known)


def _row(row: Any) -> Mapping[Any, Any]:
    if not isinstance(row, Mapping):
        raise InvalidArgumentError(f"among rows that are dicts there is a {type(row).__name__}")
    return row


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidArgumentError(f"a column name is text, not {key!r}")
    return key


def _stream_type(found: pa.DataType, name: str, schema: StructType | None) -> pa.DataType:
    """A type for the whole stream that later rows may need more than the first ones did."""
    f = schema.get(name) if schema is not None else None
    if f is None:
        return found
    wanted = type_to_arrow(f.type)
    if pa.types.is_null(found):
        return wanted
    if pa.types.is_integer(found) and pa.types.is_floating(wanted):
        return pa.float64()
    if (pa.types.is_integer(found) or pa.types.is_decimal(found)) and pa.types.is_decimal(wanted):
        return pa.decimal128(38, wanted.scale)
    return found


def _into(array: Any, wanted: pa.DataType, name: str) -> Any:
    if array.type == wanted:
        return array
    try:
        if pa.types.is_floating(array.type) and not pa.types.is_floating(wanted):
            raise pa.ArrowInvalid("numbers with a fraction")
        return pc.cast(array, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatchError(
            f"column {name!r} has values of type {array.type} among values of type {wanted}: {error}",
            hint="give all rows values of one type",
            columns=[name],
        ) from error


# -- values ------------------------------------------------------------------------------------------------------------


def _column(name: str, values: Any, schema: StructType | None) -> Any:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__") and not _is_series(values):
        return pa.chunked_array(values)
    if hasattr(values, "__arrow_c_array__") and not _is_series(values):
        return pa.array(values)
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidArgumentError(
            f"column {name!r} is no sequence but a value of type {type(values).__name__}",
            hint="for a single row pass [{...}], a list of dicts",
        )
    f = schema.get(name) if schema is not None else None
    try:
        return _array(values if hasattr(values, "__len__") else list(values), f.type if f else None)
    except _NOT_OF_TYPE as error:
        text = f"the values of column {name!r} have no common type: {error}"
        raise SchemaMismatchError(text, columns=[name]) from error


def _array(values: Any, wanted: DataType | None) -> Any:
    """The values in the type that they have. ``wanted`` tells a map or a variant from a struct, and gives decimals
    their scale."""
    if wanted is not None and _needs_type(wanted) and _has_objects(values):
        return _nested(list(values), wanted)
    try:
        found = pa.array(values, from_pandas=_is_series(values))
        if pa.types.is_floating(found.type) and _has_objects(values) and any(v is True or v is False for v in values):
            raise pa.ArrowTypeError("numbers and booleans")  # pyarrow would take True for 1.0
        return found
    except _NOT_OF_TYPE:
        if isinstance(wanted, PrimitiveType) and wanted.is_decimal:
            return pa.array(values, type_to_arrow(wanted), from_pandas=_is_series(values))
        raise


def _is_series(values: Any) -> bool:
    """Whether the values are a column of pandas, where NaN stands for a missing value."""
    return hasattr(values, "iloc")


def _has_objects(values: Any) -> bool:
    """Whether the values are Python objects rather than numbers in a buffer."""
    return str(getattr(values, "dtype", "object")) == "object"


def _needs_type(data_type: DataType) -> bool:
    """Whether values do not tell the type: maps look like structs, and variants like anything."""
    if isinstance(data_type, StructType):
        return any(_needs_type(f.type) for f in data_type.fields)
    if isinstance(data_type, ArrayType):
        return _needs_type(data_type.element_type)
    return isinstance(data_type, MapType) or data_type.type == "variant"


def _nested(values: list[Any], wanted: DataType) -> Any:
    """Values of such a type, built from the inside out."""
    if wanted.type == "variant":
        return variant.from_values(values)
    if isinstance(wanted, MapType):
        pairs = [list(v.items()) if isinstance(v, Mapping) else [tuple(p) for p in v or ()] for v in values]
        keys = _array([k for entry in pairs for k, _ in entry], wanted.key_type)
        items = _array([v for entry in pairs for _, v in entry], wanted.value_type)
        return pa.MapArray.from_arrays(_offsets(pairs, values), keys, items)
    if isinstance(wanted, ArrayType):
        lists = [list(v) if v is not None else [] for v in values]
        elements = _array([e for part in lists for e in part], wanted.element_type)
        return pa.ListArray.from_arrays(_offsets(lists, values), elements)
    assert isinstance(wanted, StructType)
    known = {f.name.lower(): f.type for f in wanted.fields}
    names = list(dict.fromkeys(key for v in values if v is not None for key in v))
    children = [_array([None if v is None else v.get(n) for v in values], known.get(n.lower())) for n in names]
    return pa.StructArray.from_arrays(children, names=names, mask=pa.array([v is None for v in values]))


def _offsets(parts: Sequence[Sequence[Any]], values: Sequence[Any]) -> pa.Array:
    """Offsets of list or map entries; null where the value is."""
    ends = [0, *itertools.accumulate(map(len, parts))]
    return pa.array([None if v is None else end for v, end in zip([*values, ()], ends, strict=True)], pa.int32())


# -- pandas ------------------------------------------------------------------------------------------------------------


def from_pandas(frame: Any, schema: StructType | None) -> pa.RecordBatchReader:
    """From a pandas frame, in slices. The index is left out, but for named levels that are columns of the table."""
    levels = [n for n in frame.index.names if isinstance(n, str) and n not in frame.columns]
    kept = [n for n in levels if schema is not None and schema.get(n) is not None]
    if kept:
        frame = frame.reset_index(level=kept)
    names = [str(name) for name in frame.columns]
    objects = {i: _column(names[i], frame.iloc[:, i], schema) for i, t in enumerate(frame.dtypes) if str(t) == "object"}
    empty = frame.iloc[:0]
    others = [i for i in range(len(names)) if i not in objects]
    types = dict(zip(others, pa.Schema.from_pandas(empty.iloc[:, others], preserve_index=False).types, strict=True))
    fields = [pa.field(n, objects[i].type if i in objects else types[i]) for i, n in enumerate(names)]
    arrow_schema = pa.schema(fields)

    def column(part: Any, i: int, start: int) -> pa.Array:
        if i in objects:
            found = objects[i].slice(start, len(part))
        else:
            found = pa.array(part.iloc[:, i], fields[i].type, from_pandas=True)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(frame), ROWS_PER_BATCH):
            part = frame.iloc[start : start + ROWS_PER_BATCH]
            yield pa.RecordBatch.from_arrays([column(part, i, start) for i in range(len(names))], schema=arrow_schema)

    return pa.RecordBatchReader.from_batches(arrow_schema, batches())
