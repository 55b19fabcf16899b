"""The path of a data file, given where rows are expected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from deltalite.exceptions import SchemaMismatchError
from deltalite.interop.rows_from import InputOptions, Source, open_inputs
from deltalite.interop.rows_from.sources import source_of
from deltalite.model.types import StructType


def open_data_file(path: str | Path, schema: StructType | None) -> pa.RecordBatchReader:
    """The rows of a Parquet, CSV, JSON or Arrow file; its ending tells the format, ``.gz``, ``.bz2``, ``.zst`` too.

    :param schema: types for the columns of text files; without it, or for other columns, they are guessed.
    :raises InvalidArgumentError: for a missing file or an unknown ending.
    :raises SchemaMismatchError: for a malformed file, or a value that does not fit its column.
    """
    source = source_of(str(path))
    reader = open_inputs([source], InputOptions(schema=schema, extend=True))
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, source))


def _batches(reader: pa.RecordBatchReader, source: Source) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except pa.ArrowInvalid as error:
        raise SchemaMismatchError(f"{source.name!r} cannot be read as {source.format}: {error}") from error
