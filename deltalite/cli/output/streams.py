"""Record batches to stdout in every format but ``table``; never more than a batch in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.cli.output.shapes import escape_json
from deltalite.cli.output.values import joined, json_column, safe_column, text_column
from deltalite.exceptions import InvalidArgumentError
from deltalite.model.arrow import array

Batches = Iterable[pa.RecordBatch]
_CSV_SPECIAL = '[",\r\n]|^\\s|\\s$'


def write_stream(format: str, schema: pa.Schema, batches: Batches, header: bool = True) -> None:
    """Print all rows.

    :param format: ``json``, ``ndjson``, ``csv``, ``tsv``, ``plain``, ``parquet`` or ``arrow``.
    :param header: whether ``csv``, ``tsv`` and ``plain`` begin with the names of the columns.
    """
    if format in ("parquet", "arrow"):
        _write_binary(format, schema, batches)
    elif format == "json":
        _write_json(schema.names, batches)
    elif format == "ndjson":
        for batch in batches:
            _write_lines(json_lines(schema.names, batch))
    else:
        separator, cells = _SEPARATED[format]
        if header:
            names = array([str(name) for name in schema.names], pa.string())
            sys.stdout.write(separator.join(cells(names).to_pylist()) + "\n")
        for batch in batches:
            columns = [cells(text_column(column)) for column in batch.columns]
            _write_lines(_side_by_side(columns, separator, batch.num_rows))


def json_lines(names: Sequence[str], batch: pa.RecordBatch) -> pa.Array:
    """The rows of a batch as JSON objects, one text each."""
    parts: list[Any] = ["{"]
    for i, name in enumerate(names):
        key = escape_json(json.dumps(name, ensure_ascii=False))
        parts += [f"{',' if i else ''}{key}:", json_column(batch.column(i))]
    return joined([*parts, "}"], batch.num_rows)


def _write_json(names: Sequence[str], batches: Batches) -> None:
    opening = "["
    for batch in batches:
        if batch.num_rows:
            sys.stdout.write(opening)
            _write_lines(json_lines(names, batch), between=",\n", end="")
            opening = ",\n"
    sys.stdout.write("[]\n" if opening == "[" else "]\n")


def _write_lines(lines: pa.Array, between: str = "\n", end: str = "\n") -> None:
    if len(lines):
        sys.stdout.write(between.join(lines.to_pylist()) + end)


def _side_by_side(columns: list[pa.Array], separator: str, rows: int) -> pa.Array:
    parts: list[Any] = []
    for i, column in enumerate(columns):
        parts += [separator, column] if i else [column]
    return joined(parts or [""], rows)


def csv_cells(texts: pa.Array) -> pa.Array:
    """Quoted where RFC 4180 asks for it. The empty string is ``""``, null is nothing."""
    if sys.stdout.isatty():
        texts = safe_column(texts)
    special = pc.or_(pc.match_substring_regex(texts, _CSV_SPECIAL), pc.match_substring_regex(texts, "^$"))
    if not pc.any(special).as_py():
        return texts
    quoted = joined(['"', pc.replace_substring(texts, '"', '""'), '"'], len(texts))
    return pc.if_else(special, quoted, texts)


def tsv_cells(texts: pa.Array) -> pa.Array:
    """Backslash, tab and line breaks as ``\\\\``, ``\\t``, ``\\n``, ``\\r``; null is nothing."""
    for char, shown in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        texts = pc.replace_substring(texts, char, shown)
    return safe_column(texts) if sys.stdout.isatty() else texts


_SEPARATED = {"csv": (",", csv_cells), "tsv": ("\t", tsv_cells), "plain": ("\t", safe_column)}


class _Pipe:
    """stdout as a file that knows its position, as Parquet's writer asks, and is not closed by it."""

    closed = False

    def __init__(self) -> None:
        self._out: Any = sys.stdout.buffer
        self._position = 0

    def write(self, data: Any) -> int:
        self._out.write(data)
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self.flush()

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


def refuse_terminal(format: str) -> None:
    """
    :raises InvalidArgumentError: when binary output would go to a terminal.
    """
    if format in ("parquet", "arrow") and sys.stdout.isatty():
        raise InvalidArgumentError(
            f"-o {format} is binary, and stdout is a terminal", hint=f"redirect it: ... -o {format} > rows.{format}"
        )


def _write_binary(format: str, schema: pa.Schema, batches: Batches) -> None:
    sys.stdout.flush()
    if format == "arrow":
        with pa.ipc.new_stream(_Pipe(), schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return
    import pyarrow.parquet as pq

    with pq.ParquetWriter(_Pipe(), schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
