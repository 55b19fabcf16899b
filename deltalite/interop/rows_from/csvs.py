"""Comma and tab separated text as typed rows.

Every cell is read as text and typed afterwards, so that a refusal can name the row and the value, and no spelling but
the one that the user gives stands for null.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from deltalite.exceptions import SchemaMismatchError
from deltalite.interop.rows_from.jsonvalues import build_column
from deltalite.interop.rows_from.sources import Prefixed, read_block
from deltalite.interop.rows_from.typed import Unfit, first_unfit, typed, unfit_error
from deltalite.model.arrow import scalar, type_from_arrow, type_to_arrow
from deltalite.model.types import DataType, Field, PrimitiveType, StructType

SAMPLE = 4 << 20
BLOCK = 4 << 20
_STRING = PrimitiveType("string")
_HINT = "correct the value, or name what stands for null with --null-value"


@dataclass(frozen=True)
class CsvOptions:
    """How the text is written.

    :param null_values: what an unquoted null looks like; quoted it is text.
    :param column_names: names of the columns of a file without a header.
    """

    delimiter: str = ","
    null_values: Sequence[str] = ("",)
    column_names: Sequence[str] | None = None


def read_csv(stream: BinaryIO, schema: StructType | None, options: CsvOptions, name: str) -> pa.RecordBatchReader:
    """The rows of a csv file as a stream.

    :param schema: types of columns by name, ignoring case; others are guessed from the first megabytes.
    :param name: the file, for messages.
    :raises SchemaMismatchError: for a value that is not of its column's type, with row and value; while reading.
    """
    sample = read_block(stream, SAMPLE)
    columns = _columns(sample, len(sample) < SAMPLE, schema, options, name)
    texts = _Text(Prefixed(sample, stream), options, name, BLOCK, {c.name: pa.string() for c in columns})
    wanted = pa.schema([pa.field(c.name, type_to_arrow(c.type), c.nullable) for c in columns])
    return pa.RecordBatchReader.from_batches(wanted, _batches(texts.batches(), columns, wanted, options, name))


def _batches(
    texts: Iterable[pa.RecordBatch], columns: Sequence[Field], schema: pa.Schema, options: CsvOptions, name: str
) -> Iterator[pa.RecordBatch]:
    row = first = 1 if options.column_names else 2
    for batch in texts:
        arrays = [
            _typed(_nulls(cells, c.type, options.null_values), c, name, first, row)
            for cells, c in zip(batch.columns, columns, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        row += batch.num_rows


def _nulls(texts: pa.Array, wanted: DataType, null_values: Sequence[str]) -> pa.Array:
    """An empty cell of a column that is not text is null, quoted or not: many programs quote every cell."""
    if wanted.type == "string" or "" not in null_values:
        return texts
    empty = pc.fill_null(pc.equal(texts, scalar("", pa.string())), scalar(False, pa.bool_()))
    return pc.if_else(empty, pa.nulls(len(texts), pa.string()), texts) if pc.any(empty).as_py() else texts


def _typed(texts: pa.Array, column: Field, name: str, first: int, row: int) -> pa.Array:
    """The cells of a column in its type.

    :param first: the number of the file's first row of data; ``row`` is that of the first cell here.
    """

    def where(index: int) -> str:
        return f"{name}, row {row + index}" + (" (the header is row 1)" if first > 1 else "")

    if column.type.type in ("struct", "array", "map"):
        return build_column(texts, column, where)
    try:
        return typed(texts, column.type)
    except Unfit:
        bad = first_unfit(texts, column.type)
        raise unfit_error(where(bad), column.name, repr(texts[bad].as_py()), column.type.type, _HINT) from None


class _Text:
    """A csv file as record batches of text, or with guessed types."""

    def __init__(
        self, stream: Any, options: CsvOptions, name: str, block: int, types: Mapping[str, Any] | None
    ) -> None:
        """
        :param types: types by column; ``None`` guesses them from the first block.
        """
        self._name = name
        self._broken: list[Any] = []
        guessing = {"true_values": ["true", "True", "TRUE"], "false_values": ["false", "False", "FALSE"]}
        texts = {"column_types": types, "strings_can_be_null": True, "quoted_strings_can_be_null": False}
        self._reader = self._checked(
            lambda: pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=block, column_names=list(options.column_names or []) or None
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=options.delimiter, newlines_in_values=True, invalid_row_handler=self._keep
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    null_values=list(options.null_values), **(guessing if types is None else texts)
                ),
            )
        )

    @property
    def schema(self) -> pa.Schema:
        return self._reader.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._checked(lambda: next(self._reader, None))) is not None:
            yield batch

    def _keep(self, row: Any) -> str:
        self._broken.append(row)
        return "error"

    def _checked(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except pa.ArrowInvalid as error:
            raise _malformed(self._name, self._broken, error) from error


def _malformed(name: str, broken: Sequence[Any], error: Exception) -> SchemaMismatchError:
    if broken:
        row = broken[0]
        where = f", row {row.number}" if row.number is not None else ""
        text = row.text if len(row.text) <= 80 else row.text[:77] + "..."
        return SchemaMismatchError(
            f"{name}{where}: {row.actual_columns} cells where {row.expected_columns} are expected: {text!r}",
            hint="a cell with the delimiter or a line break in it stands in double quotes; see also --delimiter",
            path=name,
        )
    return SchemaMismatchError(f"{name} cannot be read as csv: {error}", path=name)


def _columns(sample: bytes, whole: bool, schema: StructType | None, options: CsvOptions, name: str) -> list[Field]:
    """The columns of the file: their names as the file has them, their types from the schema or guessed."""
    if not sample.strip():
        raise SchemaMismatchError(f"{name} is empty", hint="a csv file begins with the names of its columns", path=name)
    guessed = _guess(sample if whole else _whole_rows(sample), options, name)
    fields = {f.name: schema.get(f.name) if schema is not None else None for f in guessed}
    return [known.with_(name=f.name) if (known := fields[f.name]) is not None else f for f in guessed]


def _guess(sample: bytes, options: CsvOptions, name: str) -> list[Field]:
    """Columns with the types that the sample suggests."""
    block = max(len(sample), 1)
    schema = _Text(io.BytesIO(sample), options, name, block, None).schema
    try:
        folded = [n.lower() for n in schema.names]
    except UnicodeDecodeError as error:
        raise SchemaMismatchError(
            f"{name}: the header is not UTF-8 text", hint="convert the file to UTF-8", path=name
        ) from error
    if twice := sorted({n for n in schema.names if folded.count(n.lower()) > 1}):
        raise SchemaMismatchError(f"{name} names columns twice: {twice}", path=name)
    texts = next(
        _Text(io.BytesIO(sample), options, name, block, dict.fromkeys(schema.names, pa.string())).batches(), None
    )
    return [Field(f.name, _guessed_type(f.type, texts.column(f.name) if texts is not None else None)) for f in schema]


def _guessed_type(arrow_type: pa.DataType, texts: pa.Array | None) -> DataType:
    """What a guess is worth.

    Times without a zone are UTC. Numbers with leading zeros are text (they are codes), whole numbers beyond 64 bits
    are decimals, and what never had a value or has no Delta type is text.
    """
    if pa.types.is_timestamp(arrow_type):
        return PrimitiveType("timestamp")
    if pa.types.is_null(arrow_type) or pa.types.is_time(arrow_type) or pa.types.is_binary(arrow_type):
        return _STRING
    if texts is not None and (pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type)):
        if pc.any(pc.match_substring_regex(texts, r"^\s*[+-]?0\d")).as_py():
            return _STRING
        if (
            pa.types.is_floating(arrow_type)
            and pc.all(pc.match_substring_regex(texts, r"^\s*[+-]?\d{1,38}\s*$")).as_py()
        ):
            return PrimitiveType("decimal(38,0)")
    return type_from_arrow(arrow_type)


def _whole_rows(sample: bytes) -> bytes:
    """The sample up to the end of its last whole row: a line break with an even number of quotes before it."""
    end = sample.rfind(b"\n")
    while end > 0 and sample.count(b'"', 0, end) % 2:
        end = sample.rfind(b"\n", 0, end)
    return sample[: end + 1] if end > 0 else sample
