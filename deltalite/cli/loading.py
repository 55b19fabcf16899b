"""The input of commands that load rows: their options, and the stream of rows that these describe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import Columns, dry_run_option, message_option
from deltalite.cli.progress import RowProgress
from deltalite.cli.settings import Settings
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.table import DeltaTable

FORMATS = ("csv", "tsv", "json", "ndjson", "parquet", "arrow")


class Size(click.ParamType):
    """A number of bytes: ``128MB``; units are powers of 1024, as in table properties."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", str(value).lower())
        if not match or float(match[1]) <= 0:
            self.fail(f"{value!r} is no size; sizes read like 128MB", param, ctx)
        return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


class Txn(click.ParamType):
    """``APPID:VERSION``."""

    name = "APPID:VERSION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        app_id, mark, version = value.rpartition(":")
        if not mark or not app_id or not version.isdecimal():
            self.fail(f"{value!r} is not APPID:VERSION", param, ctx)
        return app_id, int(version)


FORMAT_OPTIONS = (
    click.option(
        "--format", type=click.Choice(FORMATS), help="Format of the input; else the name of the file tells it."
    ),
    click.option(
        "--schema", "ddl", metavar="DDL", help="Types of columns in csv and json; those of the table's are known."
    ),
    click.option(
        "--null-value",
        "null_values",
        multiple=True,
        metavar="TEXT",
        help="What null looks like in csv; repeatable. An empty cell by default.",
    ),
    click.option("--delimiter", metavar="CHAR", help="What separates the cells of csv; a comma by default."),
    click.option("--column-names", type=Columns(), help="Names for csv that has no header."),
    click.option("--batch-rows", type=click.IntRange(1), metavar="N", help="Rows to hold at a time, at most."),
)
"""How an input is read."""

_INPUT_OPTIONS = (
    click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(allow_dash=True)),
    *FORMAT_OPTIONS,
    click.option("--schema-mode", type=click.Choice(("merge",)), help="merge adds columns that the table lacks."),
    click.option("--target-file-size", type=Size(), help="Size of the data files: 128MB."),
    click.option("--txn", type=Txn(), help="Skip the load if the table has seen this version of the application."),
    message_option,
    dry_run_option,
)


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of how input is read and rows are written."""
    for option in reversed(_INPUT_OPTIONS):
        function = option(function)
    return function


def open_rows(
    settings: Settings, handle: DeltaTable | None, given: Mapping[str, Any], given_only: bool = False
) -> tuple[pa.RecordBatchReader, RowProgress]:
    """The rows of the inputs, and the progress that counts them.

    :param handle: the table whose columns give the types; ``None`` for one that is yet to be created.
    :param given: the values of ``input_options`` by name.
    :param given_only: exactly the columns of the inputs, those that the table lacks included.
    """
    from deltalite.interop.rows_from import InputOptions, arranged, open_inputs
    from deltalite.interop.rows_from.csvs import CsvOptions
    from deltalite.interop.rows_from.sources import source_of
    from deltalite.model.types import Schema
    from deltalite.operations.create import schema_of

    sources = [source_of(file, given["format"]) for file in given["files"]]
    if len(sources) > 1 and any(source.path is None for source in sources):
        raise InvalidArgumentError("stdin (-) cannot be read together with files", hint="load them one after the other")
    named = schema_of(given["ddl"]) if given["ddl"] else None
    known = handle.schema() if handle is not None else None
    fields = {f.name.lower(): f for schema in (known, named) if schema is not None for f in schema.fields}
    options = InputOptions(
        schema=Schema(list(fields.values())) if fields else None,
        extend=given_only or given["schema_mode"] == "merge",
        given_only=given_only,
        csv=CsvOptions(given["delimiter"] or ",", given["null_values"] or ("",), given["column_names"]),
        batch_rows=given["batch_rows"],
    )
    reader = open_inputs(sources, options)
    if handle is None and named is not None:
        reader = arranged(reader, named)
    progress = RowProgress(settings)
    return progress.watch(reader), progress
