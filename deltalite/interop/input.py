"""Any dataframe in: everything that users hold rows in, as one stream of Arrow batches.

Nothing is collected whole that was not whole before. Names and values pass unchanged; what fits the table and what may
be cast is decided by ``write.conform``.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.interop import records
from deltalite.interop.datafiles import open_data_file
from deltalite.model.types import StructType

ACCEPTED = (
    "a pyarrow Table, RecordBatch, RecordBatchReader, Dataset or Scanner; any object with __arrow_c_stream__ or "
    "__arrow_c_array__ (pandas, polars, DuckDB, DataFusion, Ibis, ...); a polars LazyFrame; a Spark DataFrame; an "
    "iterable of these; a dict of columns; dicts of one row each; the path of a parquet, csv, json or arrow file"
)


def to_reader(data: Any, *, schema: StructType | None = None) -> pa.RecordBatchReader:
    """The rows of ``data`` as a stream that is read once.

    :param data: a pyarrow Table, RecordBatch, RecordBatchReader, Dataset or Scanner; any object of the Arrow PyCapsule
        interface (dataframes of pandas and polars, DuckDB relations, ...); a polars LazyFrame; a Spark DataFrame; an
        iterable of those; a dict of columns; an iterable of dicts, one per row; the path of a file. Of a pandas frame
        the index is left out, but for named levels that are columns of the table.
    :param schema: the table's schema. It gives types to plain Python values and to text files, nothing else.
    :raises InvalidArgumentError: when ``data`` is none of these, listing what is accepted.
    """
    for recognise in _KINDS:
        reader = recognise(data, schema)
        if reader is not None:
            return reader
    raise InvalidArgumentError(f"cannot read rows from a {_kind_name(data)}", hint=f"pass {ACCEPTED}")


def _kind_name(data: Any) -> str:
    kind = type(data)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _arrow(data: Any, _: StructType | None) -> pa.RecordBatchReader | None:
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.Table):
        return data.to_reader()
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    dataset = sys.modules.get("pyarrow.dataset")
    if dataset is not None and isinstance(data, dataset.Dataset):
        return data.scanner(batch_readahead=2, fragment_readahead=1).to_reader()  # the default reads far ahead
    if dataset is not None and isinstance(data, dataset.Scanner):
        return data.to_reader()
    return None


def _pandas(data: Any, schema: StructType | None) -> pa.RecordBatchReader | None:
    pandas = sys.modules.get("pandas")
    return records.from_pandas(data, schema) if pandas is not None and isinstance(data, pandas.DataFrame) else None


def _capsule(data: Any, _: StructType | None) -> pa.RecordBatchReader | None:
    if not hasattr(data, "__arrow_c_stream__") and not hasattr(data, "__arrow_c_array__"):
        return None
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data)
        batch = pa.record_batch(data)
    except pa.ArrowInvalid as error:
        raise InvalidArgumentError(
            f"the Arrow data of a {_kind_name(data)} has no columns: {error}",
            hint="give it a name in a table of columns",
        ) from error
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


def _polars_lazy(data: Any, _: StructType | None) -> pa.RecordBatchReader | None:
    polars = sys.modules.get("polars")
    if polars is None or not isinstance(data, polars.LazyFrame):
        return None
    empty = polars.DataFrame(schema=data.collect_schema())
    frames = data.collect_batches() if hasattr(data, "collect_batches") else [data.collect(engine="streaming")]
    return _chain(itertools.chain([empty], frames), None)


def _spark(data: Any, _: StructType | None) -> pa.RecordBatchReader | None:
    if type(data).__module__.startswith("pyspark.") and hasattr(data, "toArrow"):
        return data.toArrow().to_reader()
    return None


def _path(data: Any, schema: StructType | None) -> pa.RecordBatchReader | None:
    return open_data_file(data, schema) if isinstance(data, (str, Path)) else None


def _columns(data: Any, schema: StructType | None) -> pa.RecordBatchReader | None:
    return records.from_columns(data, schema) if isinstance(data, Mapping) else None


def _iterable(data: Any, schema: StructType | None) -> pa.RecordBatchReader | None:
    if isinstance(data, (bytes, bytearray, memoryview)) or not isinstance(data, Iterable):
        return None
    items = iter(data)
    first = next(items, None)
    if first is None:
        return records.from_rows((), schema)
    items = itertools.chain([first], items)
    if isinstance(first, Mapping):
        return records.from_rows(items, schema)
    if isinstance(first, (str, Path)) or not _is_rows(first):
        return None
    return _chain(items, schema)


def _is_rows(item: Any) -> bool:
    return any(hasattr(item, name) for name in ("__arrow_c_stream__", "__arrow_c_array__", "to_reader", "toArrow"))


_KINDS: tuple[Callable[[Any, StructType | None], pa.RecordBatchReader | None], ...] = (
    _arrow,
    _pandas,
    _capsule,
    _polars_lazy,
    _spark,
    _path,
    _columns,
    _iterable,
)


def _chain(items: Iterable[Any], schema: StructType | None) -> pa.RecordBatchReader:
    """One stream of many parts, opened one after the other; all must have the first one's columns."""
    parts = iter(items)
    first = to_reader(next(parts), schema=schema)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first
        for number, part in enumerate(parts, start=2):
            reader = to_reader(part, schema=schema)
            if not reader.schema.equals(first.schema):
                raise SchemaMismatchError(
                    f"part {number} of the data has other columns or types than the first one: "
                    f"{_difference(first.schema, reader.schema)}",
                    hint="give all parts one schema, for example with Table.cast or pyarrow.unify_schemas",
                )
            yield from reader

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def _difference(a: pa.Schema, b: pa.Schema) -> str:
    if a.names != b.names:
        return f"{a.names} and {b.names}"
    different = next(i for i in range(len(a)) if not a.field(i).equals(b.field(i)))
    return f"{a.field(different)} and {b.field(different)}"
