"""Files and stdin as one stream of typed Arrow rows; no value is guessed into another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.interop.rows_from.sources import FORMATS, Source
from deltalite.interop.rows_from.typed import COMPUTED
from deltalite.model.arrow import schema_to_arrow

if TYPE_CHECKING:
    from deltalite.interop.rows_from.csvs import CsvOptions
    from deltalite.model.types import StructType


@dataclass(frozen=True)
class InputOptions:
    """How inputs are read.

    :param schema: types for the columns of text formats, found by name ignoring case.
    :param extend: columns that ``schema`` lacks are read too, with guessed types.
    :param given_only: columns of ``schema`` that the input lacks stay away; without it JSON has them, as null.
    :param csv: how csv is written; ``None`` is the usual way.
    :param batch_rows: rows of a batch at most; ``None`` leaves it to the format.
    """

    schema: StructType | None = None
    extend: bool = False
    given_only: bool = False
    csv: CsvOptions | None = None
    batch_rows: int | None = None


def open_inputs(sources: Sequence[Source], options: InputOptions) -> pa.RecordBatchReader:
    """The rows of all sources in order, as one stream. Columns that some of them lack are null there.

    :raises SchemaMismatchError: when a value does not fit, or the sources differ in the type of a column.
    """
    if len(sources) == 1:
        reader = _open(sources[0], options)
        return _limited(reader.schema, reader, options.batch_rows)
    schema = _common_schema(sources, options)

    def batches() -> Iterator[pa.RecordBatch]:
        for source in sources:
            for batch in _open(source, options):
                yield _aligned(batch, schema)

    return _limited(schema, batches(), options.batch_rows)


def _open(source: Source, options: InputOptions) -> pa.RecordBatchReader:
    if source.format in ("csv", "tsv"):
        from deltalite.interop.rows_from.csvs import CsvOptions, read_csv

        csv = options.csv or CsvOptions()
        if source.format == "tsv" and csv.delimiter == ",":
            csv = replace(csv, delimiter="\t")
        return read_csv(source.open(), options.schema, csv, source.name)
    if source.format in ("json", "ndjson"):
        from deltalite.interop.rows_from.jsons import read_json

        lines = source.format == "ndjson"
        return read_json(source.open(), options.schema, options.extend, lines, source.name, options.given_only)
    try:
        return _parquet(source, options) if source.format == "parquet" else _arrow(source)
    except pa.ArrowInvalid as error:
        raise SchemaMismatchError(f"{source.name} is no {source.format} file: {error}", path=source.name) from error


def _parquet(source: Source, options: InputOptions) -> pa.RecordBatchReader:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source.open_seekable())
    return pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(options.batch_rows or 65_536))


def _arrow(source: Source) -> pa.RecordBatchReader:
    """The IPC file format or the stream format, told apart by how the file begins."""
    stream = source.open()
    magic = stream.peek(6)[:6] if hasattr(stream, "peek") else b""
    if magic != b"ARROW1":
        return pa.ipc.open_stream(stream)
    file = pa.ipc.open_file(_seekable(source, stream))
    batches = (file.get_batch(i) for i in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)


def _seekable(source: Source, stream: Any) -> Any:
    if source.path is None:
        return source.open_seekable()
    stream.close()
    return source.open_seekable()


def _common_schema(sources: Sequence[Source], options: InputOptions) -> pa.Schema:
    """The columns of all sources, in the order in which they first occur."""
    fields: dict[str, pa.Field] = {}
    owners: dict[str, str] = {}
    for source in sources:
        for f in _open(source, options).schema:
            known = fields.setdefault(f.name, f)
            owner = owners.setdefault(f.name, source.name)
            if known.type != f.type:
                raise SchemaMismatchError(
                    f"column {f.name!r} is {known.type} in {owner} and {f.type} in {source.name}",
                    hint="load the files one by one, or name the types with --schema",
                    columns=[f.name],
                )
    return pa.schema([f.with_nullable(True) for f in fields.values()])


def _aligned(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    names = set(batch.schema.names)
    columns = [batch.column(f.name) if f.name in names else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def arranged(reader: pa.RecordBatchReader, schema: StructType) -> pa.RecordBatchReader:
    """The rows in the columns of a schema that a table is to be created with, constraints and comments included.

    :raises InvalidArgumentError: when that takes more than naming columns and filling absent ones with null.
    """
    wanted = schema_to_arrow(schema)
    places = {f.name.lower(): i for i, f in enumerate(reader.schema)}
    unknown = sorted(places.keys() - {f.name.lower() for f in schema.fields})
    differing = [
        f.name
        for f in wanted
        if (i := places.get(f.name.lower())) is not None and reader.schema.field(i).type != f.type
    ]
    computed = [
        f.name for f in schema.fields if f.name.lower() not in places and any(mark in f.metadata for mark in COMPUTED)
    ]
    if odd := [*unknown, *differing, *computed]:
        raise InvalidArgumentError(
            f"the input does not have these columns as the schema has them: {', '.join(odd)}",
            hint="create the table first with deltalite create, and append to it then",
        )

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [
                pa.nulls(batch.num_rows, f.type) if (i := places.get(f.name.lower())) is None else batch.column(i)
                for f in wanted
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=wanted)

    return pa.RecordBatchReader.from_batches(wanted, batches())


def _limited(schema: pa.Schema, batches: Any, rows: int | None) -> pa.RecordBatchReader:
    def parts() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            step = rows or max(batch.num_rows, 1)
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step)

    return pa.RecordBatchReader.from_batches(schema, parts())


__all__ = ["FORMATS", "InputOptions", "Source", "arranged", "open_inputs"]
