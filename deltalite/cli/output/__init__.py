"""Printing: a stream of Arrow rows, a list of records, or one record, in the format the user wants."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltalite.cli.output.shapes import Field, Record, Shape, View, compact_json, jsonable, plain_view, shown
from deltalite.cli.output.text import escape
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.cli.settings import Settings

FORMATS = ("table", "plain", "json", "ndjson", "csv", "tsv", "parquet", "arrow")


def write_rows(settings: Settings, reader: pa.RecordBatchReader) -> int:
    """Print Arrow rows; returns how many there were."""
    from deltalite.cli.output.streams import refuse_terminal, write_stream

    refuse_terminal(settings.format)
    if settings.columns is not None and reader.schema.names != settings.columns:
        reader = _selected(reader, settings.columns)
    counter = _Counter(reader)
    if settings.format == "table":
        _write_arrow_table(settings, reader.schema, counter)
    else:
        write_stream(settings.format, reader.schema, counter, settings.header)
    return counter.rows


def write_records(settings: Settings, shape: Shape, records: Iterable[Record], view: View | None = None) -> None:
    """Print records: as their view for people and in plain text, with the keys of their shape elsewhere."""
    if settings.columns is not None:
        shape, view = _picked(shape, settings.columns), None
    if settings.format == "table":
        _write_record_table(settings, view or plain_view(shape), records)
    elif settings.format == "plain":
        _write_plain(settings, view or plain_view(shape), records)
    elif settings.format == "json":
        between = "["
        for record in records:
            sys.stdout.write(between + json_object(shape, record))
            between = ",\n"
        sys.stdout.write("]\n" if between != "[" else "[]\n")
    elif settings.format == "ndjson":
        sys.stdout.writelines(json_object(shape, record) + "\n" for record in records)
    else:
        _write_as_arrow(settings, shape, records)


def write_record(
    settings: Settings, shape: Shape, record: Record, card: Callable[[], Iterable[str]] | None = None
) -> None:
    """Print one record: as a card for people, ``key<TAB>value`` lines in plain text, one object in JSON.

    :param card: the lines of the card; aligned keys and values by default.
    """
    if settings.columns is not None:
        shape, card = _picked(shape, settings.columns), None
    if settings.format == "table":
        for line in card() if card else pairs_card(shape, record):
            sys.stdout.write(escape(line) + "\n")
    elif settings.format == "plain":
        for f in shape:
            sys.stdout.write(f"{f.name}\t{escape(shown(f, record.get(f.name), people=False) or '')}\n")
    elif settings.format in ("json", "ndjson"):
        sys.stdout.write(json_object(shape, record) + "\n")
    else:
        _write_as_arrow(settings, shape, [record])


def _picked(shape: Shape, names: Sequence[str]) -> Shape:
    known = {f.name: f for f in shape}
    if missing := [name for name in names if name not in known]:
        raise InvalidArgumentError(f"there is no column {missing[0]!r} to print", hint=f"columns: {', '.join(known)}")
    return tuple(known[name] for name in names)


def _selected(reader: pa.RecordBatchReader, names: Sequence[str]) -> pa.RecordBatchReader:
    import pyarrow as pa

    known = reader.schema.names
    if missing := [name for name in names if name not in known]:
        raise InvalidArgumentError(f"there is no column {missing[0]!r} to print", hint=f"columns: {', '.join(known)}")
    schema = pa.schema([reader.schema.field(name) for name in names])
    return pa.RecordBatchReader.from_batches(schema, (batch.select(list(names)) for batch in reader))


def json_object(shape: Shape, record: Record) -> str:
    """A record as one line of JSON: every key of the shape in its order, ``null`` where there is no value."""
    return compact_json({f.name: jsonable(f, record.get(f.name)) for f in shape})


def pairs_card(shape: Shape, record: Mapping[str, Any]) -> Iterator[str]:
    """``key  value`` lines, aligned; keys without a value are left out."""
    width = max(len(f.name) for f in shape)
    for f in shape:
        if (value := shown(f, record.get(f.name), people=True)) is not None:
            yield f"{f.name.replace('_', ' '):<{width}}  {value}"


class _Counter:
    """Batches passed on and their rows counted."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.rows = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._reader:
            self.rows += batch.num_rows
            yield batch


def _write_arrow_table(settings: Settings, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    import pyarrow as pa

    from deltalite.cli.output.terminal import Column, write_table
    from deltalite.cli.output.values import safe_column, text_column

    def rows() -> Iterator[tuple[str | None, ...]]:
        for batch in batches:
            yield from zip(*(safe_column(text_column(c)).to_pylist() for c in batch.columns), strict=True)

    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    columns = [Column(escape(f.name), right=any(test(f.type) for test in numeric)) for f in schema]
    write_table(settings, columns, rows())


def _write_record_table(settings: Settings, view: View, records: Iterable[Record]) -> None:
    from deltalite.cli.output.terminal import Column, write_table

    rows = ([_safe(show.cell(record, True)) or "" for show in view] for record in records)
    write_table(settings, [Column(escape(show.title), show.right, show.cut_inside) for show in view], rows)


def _write_plain(settings: Settings, view: View, records: Iterable[Record]) -> None:
    if settings.header:
        sys.stdout.write("\t".join(escape(show.title) for show in view) + "\n")
    for record in records:
        sys.stdout.write("\t".join(_safe(show.cell(record, False)) or "" for show in view) + "\n")


def _safe(cell: str | None) -> str | None:
    return None if cell is None else escape(cell)


def _write_as_arrow(settings: Settings, shape: Shape, records: Iterable[Record]) -> None:
    from deltalite.cli.output.streams import refuse_terminal, write_stream

    refuse_terminal(settings.format)
    batch = to_batch(shape, list(records), times_as_text=settings.format in ("csv", "tsv"))
    write_stream(settings.format, batch.schema, [batch], settings.header)


def to_batch(shape: Shape, records: list[Record], times_as_text: bool = False) -> pa.RecordBatch:
    """Records as Arrow: ``json`` values as JSON text, times as UTC timestamps (or as RFC 3339 text)."""
    import pyarrow as pa

    from deltalite.model.arrow import UTC_MICROS, array

    types = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(), "time": UTC_MICROS}
    if times_as_text:
        types.pop("time")
    columns = []
    for f in shape:
        wanted = types.get(f.kind, pa.string())
        columns.append(array([_arrow_value(f, r.get(f.name), wanted == pa.string()) for r in records], wanted))
    return pa.RecordBatch.from_arrays(columns, names=[f.name for f in shape])


def _arrow_value(f: Field, value: Any, as_text: bool) -> Any:
    if value is None:
        return None
    if as_text:
        return shown(f, value, people=False)
    return value * 1000 if f.kind == "time" and isinstance(value, int) else value


__all__ = ["FORMATS", "json_object", "pairs_card", "to_batch", "write_record", "write_records", "write_rows"]
