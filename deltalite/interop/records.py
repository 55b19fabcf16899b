"""Plain Python values and pandas frames as streams of Arrow batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.model.arrow import schema_to_arrow, type_to_arrow
from deltalite.model.types import StructType

ROWS_PER_BATCH = 16_384


def from_columns(data: Mapping[Any, Any], schema: StructType | None) -> pa.RecordBatchReader:
    """From a dict of columns: lists, arrays of numpy or Arrow, series of pandas or polars."""
    names = [_name(key) for key in data]
    arrays = [_column(name, values, schema) for name, values in zip(names, data.values(), strict=True)]
    lengths = {len(a) for a in arrays}
    if len(lengths) > 1:
        shown = ", ".join(f"{name}: {len(a)}" for name, a in zip(names, arrays, strict=True))
        raise InvalidArgumentError(f"the columns differ in length ({shown})")
    return pa.Table.from_arrays(arrays, names=names).to_reader(ROWS_PER_BATCH)


def from_rows(rows: Iterable[Mapping[Any, Any]], schema: StructType | None) -> pa.RecordBatchReader:
    """From dicts, one per row. A key that a row lacks is null there; the first rows decide names and types."""
    source = iter(rows)
    first = list(itertools.islice(source, ROWS_PER_BATCH))
    names = list(dict.fromkeys(key for row in first for key in _row(row)))
    if not first and schema is not None:
        return schema_to_arrow(schema).empty_table().to_reader()
    batch = _batch(first, names, schema, None)

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch
        while chunk := list(itertools.islice(source, ROWS_PER_BATCH)):
            yield _batch(chunk, names, schema, batch.schema)

    return pa.RecordBatchReader.from_batches(batch.schema, batches())


def _batch(
    rows: Sequence[Mapping[Any, Any]], names: Sequence[Any], schema: StructType | None, known: pa.Schema | None
) -> pa.RecordBatch:
    unknown = [key for row in rows for key in _row(row) if key not in names]
    if unknown:
        raise SchemaMismatchError(
            f"a row has the key {unknown[0]!r}, which the first {ROWS_PER_BATCH} rows lack",
            hint="give every key in one of the first rows, with None as its value if need be",
            columns=[str(unknown[0])],
        )
    arrays = []
    for index, name in enumerate(names):
        values = [row.get(name) for row in rows]
        if known is None:
            array = _column(_name(name), values, schema)
            arrays.append(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array)
        else:
            arrays.append(_typed(_name(name), values, known.field(index).type))
    return pa.RecordBatch.from_arrays(arrays, names=[_name(name) for name in names])


def _row(row: Any) -> Mapping[Any, Any]:
    if not isinstance(row, Mapping):
        raise InvalidArgumentError(f"among rows that are dicts there is a {type(row).__name__}")
    return row


def _name(key: Any) -> str:
    if not isinstance(key, str):
        raise InvalidArgumentError(f"a column name is text, not {key!r}")
    return key


def _column(name: str, values: Any, schema: StructType | None) -> Any:
    """The values in the table's type where they fit it as they are, otherwise in the type that they suggest."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    if hasattr(values, "__arrow_c_array__"):
        return pa.array(values)
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidArgumentError(
            f"column {name!r} is a {type(values).__name__}, not a sequence of values",
            hint="for a single row pass [{...}], a list of dicts",
        )
    if not hasattr(values, "__len__"):
        values = list(values)
    wanted = schema.get(name) if schema is not None else None
    if wanted is not None:
        found = _as(values, type_to_arrow(wanted.type))
        if found is not None:
            return found
    try:
        return pa.array(values, from_pandas=hasattr(values, "index") and hasattr(values, "dtype"))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaMismatchError(f"the values of column {name!r} have no common type: {error}", columns=[name]) from error


def _as(values: Any, wanted: pa.DataType) -> Any:
    """The values in a type, or ``None`` when some are not of it."""
    try:
        found = pa.array(values, wanted)
        if pa.types.is_timestamp(wanted) and pa.array(values).type.tz is None and wanted.tz is not None:
            return None  # values without a zone; the table's own rules shall refuse them
        return found
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError, AttributeError):
        return None


def _typed(name: str, values: Any, wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, wanted)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError) as error:
        raise SchemaMismatchError(
            f"column {name!r}: later rows are not {wanted} as the first {ROWS_PER_BATCH} are: {error}", columns=[name]
        ) from error


def from_pandas(frame: Any, schema: StructType | None) -> pa.RecordBatchReader:
    """From a pandas frame, in slices. The index is left out, but for named levels that are columns of the table."""
    levels = [n for n in frame.index.names if isinstance(n, str) and n not in frame.columns]
    kept = [n for n in levels if schema is not None and schema.get(n) is not None]
    if kept:
        frame = frame.reset_index(level=kept)
    arrow_schema = _pandas_schema(frame, schema)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(frame), ROWS_PER_BATCH):
            part = frame.iloc[start : start + ROWS_PER_BATCH]
            yield pa.RecordBatch.from_pandas(part, arrow_schema, preserve_index=False)

    return pa.RecordBatchReader.from_batches(arrow_schema, batches())


def _pandas_schema(frame: Any, schema: StructType | None) -> pa.Schema:
    """Arrow types of a frame. Columns of Python objects take the table's type where all their values are of it."""
    fields = []
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        found = None
        if column.dtype == object:
            array = _column(str(name), column, schema)
            found = pa.field(str(name), array.type)
        fields.append(found or pa.field(str(name), pa.Schema.from_pandas(frame.iloc[:0, [position]], False).field(0).type))
    return pa.schema(fields)
