"""Parquet, CSV, JSON and Arrow files as streams of Arrow batches."""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.model.arrow import type_to_arrow
from deltalite.model.types import StructType

FORMATS: Mapping[str, str] = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".tsv": "tsv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".arrows": "arrow",
}  # fmt: skip
_ARROW_FILE_MAGIC = b"ARROW1"


def open_data_file(path: str | Path, schema: StructType | None) -> pa.RecordBatchReader:
    """The rows of a file; its ending tells the format.

    :param schema: types for the columns of text files; without it, or for other columns, they are guessed.
    :raises InvalidArgumentError: for a missing file or an unknown ending.
    """
    file = Path(path)
    kind = FORMATS.get(file.suffix.lower())
    if kind is None or not file.is_file():
        what = "there is no file" if kind else "rows are not read from"
        raise InvalidArgumentError(
            f"{what} {str(path)!r}",
            hint=f"a path names a file that ends in {', '.join(FORMATS)}; other rows are passed as objects",
        )
    try:
        reader = _OPEN[kind](file, schema)
    except pa.ArrowInvalid as error:
        raise _malformed(file, kind, error) from error
    return pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, file, kind))


def _batches(reader: pa.RecordBatchReader, file: Path, kind: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from reader
    except pa.ArrowInvalid as error:
        raise _malformed(file, kind, error) from error


def _malformed(file: Path, kind: str, error: Exception) -> SchemaMismatchError:
    return SchemaMismatchError(f"{str(file)!r} cannot be read as {kind}: {error}", path=str(file))


def _parquet(file: Path, _: StructType | None) -> pa.RecordBatchReader:
    import pyarrow.parquet as pq

    source = pq.ParquetFile(file, coerce_int96_timestamp_unit="us")
    return pa.RecordBatchReader.from_batches(source.schema_arrow, source.iter_batches())


def _arrow(file: Path, _: StructType | None) -> pa.RecordBatchReader:
    source = pa.memory_map(str(file))
    magic = source.read(len(_ARROW_FILE_MAGIC))
    source.seek(0)
    if magic != _ARROW_FILE_MAGIC:
        return pa.ipc.open_stream(source)
    opened = pa.ipc.open_file(source)
    return pa.RecordBatchReader.from_batches(
        opened.schema, (opened.get_batch(i) for i in range(opened.num_record_batches))
    )


def _csv(file: Path, schema: StructType | None, delimiter: str = ",") -> pa.RecordBatchReader:
    from pyarrow import csv as arrow_csv

    with file.open(newline="", encoding="utf-8-sig", errors="replace") as lines:
        header = next(csv.reader(lines, delimiter=delimiter), [])
    return arrow_csv.open_csv(
        file,
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=_types(header, schema), strings_can_be_null=True,
                                                 quoted_strings_can_be_null=False),
    )  # fmt: skip


def _tsv(file: Path, schema: StructType | None) -> pa.RecordBatchReader:
    return _csv(file, schema, "\t")


def _types(names: list[str], schema: StructType | None) -> dict[str, pa.DataType]:
    fields = {name: schema.get(name) for name in names} if schema is not None else {}
    return {name: type_to_arrow(f.type) for name, f in fields.items() if f is not None and not _is_nested(f.type.type)}


def _is_nested(name: str) -> bool:
    return name in ("struct", "array", "map", "variant", "void", "binary")


_NULL_LINE = re.compile(rb"(?:\A|\n)\s*null")


def _refuse_null_lines(file: Path) -> None:
    """pyarrow's JSON reader ends the process on a block of the file that begins with ``null``."""
    if not file.stat().st_size:
        return
    with file.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if (found := _NULL_LINE.search(data)) is not None:
            line = data[: found.end()].count(b"\n") + 1
            raise InvalidArgumentError(f"{file}, line {line} is null, not a JSON object", path=str(file))


def _json(file: Path, schema: StructType | None) -> pa.RecordBatchReader:
    from pyarrow import json as arrow_json

    _refuse_null_lines(file)

    def opened(explicit: pa.Schema | None) -> pa.RecordBatchReader:
        options = arrow_json.ParseOptions(explicit_schema=explicit)
        if hasattr(arrow_json, "open_json"):
            return arrow_json.open_json(file, parse_options=options)
        return arrow_json.read_json(file, parse_options=options).to_reader()

    guessed = opened(None)
    if schema is None:
        return guessed
    known = {name: schema.get(name) for name in guessed.schema.names}
    return opened(pa.schema([(name, type_to_arrow(f.type)) for name, f in known.items() if f is not None]))


_OPEN = {"parquet": _parquet, "csv": _csv, "tsv": _tsv, "json": _json, "arrow": _arrow}
