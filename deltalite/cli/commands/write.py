"""create, append, overwrite: new tables and new rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import (
    Pair,
    columns_option,
    command,
    dry_run_option,
    message_option,
    where_option,
    writable_table_argument,
)
from deltalite.cli.confirm import confirm
from deltalite.cli.loading import input_options, open_rows
from deltalite.cli.output import text, write_record
from deltalite.cli.progress import RowProgress
from deltalite.cli.results import RESULT, commit_properties, committed, record_of, sentence
from deltalite.cli.settings import Settings
from deltalite.exceptions import TableNotFoundError

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.table import DeltaTable


@command(
    "create",
    examples=(
        'deltalite create ./events --schema "id bigint NOT NULL, day date, v double" --partition-by day',
        'deltalite create ./events --schema "id bigint" --property delta.appendOnly=true --if-not-exists',
    ),
    output=RESULT,
    python="DeltaTable.create(TABLE, schema, partition_by=..., configuration=...)",
)
@writable_table_argument
@click.option("--schema", "ddl", required=True, metavar="DDL", help="The columns, as CREATE TABLE lists them.")
@columns_option("--partition-by", "Partition columns, separated by commas.")
@click.option(
    "--property", "properties", type=Pair(), multiple=True, metavar="KEY=VALUE", help="Table property; repeatable."
)
@click.option("--name", metavar="TEXT", help="Name of the table.")
@click.option("--description", metavar="TEXT", help="Description of the table.")
@click.option("--if-not-exists", is_flag=True, help="Leave a table that exists alone.")
@message_option
@dry_run_option
def create(
    settings: Settings,
    table: str,
    ddl: str,
    partition_by: list[str] | None,
    properties: Sequence[tuple[str, str]],
    name: str | None,
    description: str | None,
    if_not_exists: bool,
    message: str | None,
    dry_run: bool,
) -> None:
    """Create a table without rows."""
    from deltalite.operations.create import schema_of
    from deltalite.table import DeltaTable

    start = time.perf_counter()
    uri, options = settings.locate_writable(table)
    schema = schema_of(ddl)
    if if_not_exists and (existing := _existing(settings, table)) is not None:
        record = record_of("CREATE TABLE", existing.version(), start, skipped="the table exists")
    elif dry_run:
        record = record_of("CREATE TABLE", None, start, dry_run=True)
    else:
        created = DeltaTable.create(
            uri, schema, "error", partition_by, name, description, dict(properties), options,
            commit_properties=commit_properties(message),
        )  # fmt: skip
        record = record_of("CREATE TABLE", created.version(), start)
    write_record(settings, RESULT, record, lambda: [sentence(record, "created")])


@command(
    "append",
    examples=(
        "deltalite append ./events new.csv more.csv.gz",
        "deltalite append ./events part-*.parquet --schema-mode merge",
        "deltalite append ./events day.ndjson --create --partition-by day",
        "deltalite append ./events 2026-11-20.csv --txn nightly:20261120",
        "zcat events.json.gz | deltalite append ./events - --format ndjson",
    ),
    output=RESULT,
    python="DeltaTable(TABLE).append(data, schema_mode=..., txn=...)",
)
@writable_table_argument
@input_options
@click.option("--create", "create_it", is_flag=True, help="Create the table if there is none.")
@columns_option("--partition-by", "Partition columns of a table that --create makes.")
@click.option(
    "--property",
    "properties",
    type=Pair(),
    multiple=True,
    metavar="KEY=VALUE",
    help="Property of a table that --create makes; repeatable.",
)
def append(
    settings: Settings,
    table: str,
    create_it: bool,
    partition_by: list[str] | None,
    properties: Sequence[tuple[str, str]],
    **given: Any,
) -> None:
    """Append the rows of files, or of stdin (-), in one commit.

    Nothing is written when one value does not fit; the error names its row. Columns that the input lacks become null.
    """
    start = time.perf_counter()
    uri, options = settings.locate_writable(table)
    handle = _existing(settings, table) if create_it else settings.open_writable(table)
    if handle is not None and (partition_by or properties):
        settings.warn("the table exists: --partition-by and --property were not used")
    reader, progress = open_rows(settings, handle, given)
    if given["dry_run"]:
        record = _counted("WRITE", reader, progress, start)
    elif handle is None:
        from deltalite.writer import write_deltalake

        made = {"mode": "append", "partition_by": partition_by, "configuration": dict(properties)}
        record = committed(write_deltalake(uri, reader, storage_options=options, **made, **_how(given)))
    else:
        record = committed(handle.append(reader, schema_mode=given["schema_mode"], **_how(given)))
    progress.clear()
    write_record(settings, RESULT, record, lambda: [sentence(record, "appended")])


@command(
    "overwrite",
    examples=(
        "deltalite overwrite ./events all.parquet --dry-run",
        "deltalite overwrite ./events day.csv --where \"day = date'2026-11-20'\" --yes",
        "deltalite overwrite ./events late.ndjson --dynamic --yes",
    ),
    output=RESULT,
    python="DeltaTable(TABLE).overwrite(data, predicate=..., partition_overwrite=...)",
)
@writable_table_argument
@input_options
@where_option("Replace only the rows this is true of; every new row must satisfy it.")
@click.option("--dynamic", is_flag=True, help="Replace only the partitions that get new rows.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def overwrite(settings: Settings, table: str, where: str | None, dynamic: bool, yes: bool, **given: Any) -> None:
    """Replace rows by those of files, in one commit.

    All rows are replaced, those that --where selects, or (--dynamic) those of the partitions that get new ones. Asks
    before it does, and without a terminal does nothing unless told --yes.
    """
    start = time.perf_counter()
    if dynamic and where is not None:
        raise click.UsageError("--where and --dynamic both say what to replace: give one")
    handle = settings.open_writable(table)
    plan = _plan(handle, where, dynamic, given["files"])
    if given["dry_run"]:
        settings.note(plan)
    else:
        confirm(settings, plan, yes)
    reader, progress = open_rows(settings, handle, given)
    if given["dry_run"]:
        record = _counted("WRITE", reader, progress, start)
    else:
        which = {"predicate": where, "partition_overwrite": "dynamic" if dynamic else "static"}
        record = committed(handle.overwrite(reader, schema_mode=given["schema_mode"], **which, **_how(given)))
    progress.clear()
    write_record(settings, RESULT, record, lambda: [sentence(record, "written")])


def _plan(handle: DeltaTable, where: str | None, dynamic: bool, files: Sequence[str]) -> str:
    """What an overwrite will do, in a sentence."""
    source = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    if dynamic:
        return f"this replaces every partition of {handle.table_uri} that {source} has rows of"
    if where is not None:
        rows = text.plural(handle.count(where), "row")
        return f"this replaces {rows} of {handle.table_uri} where {where} by {source}"
    facts = handle.detail()
    rows = "an unknown number of rows" if facts["num_records"] is None else text.plural(facts["num_records"], "row")
    files, size = text.plural(facts["num_files"], "file"), text.size(facts["size_in_bytes"])
    return f"this replaces all of {handle.table_uri} ({rows}, {files}, {size}) by {source}"


def _how(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that all writes have."""
    properties = commit_properties(given["message"])
    return {"txn": given["txn"], "target_file_size": given["target_file_size"], "commit_properties": properties}


def _existing(settings: Settings, table: str) -> DeltaTable | None:
    try:
        return settings.open_writable(table)
    except TableNotFoundError:
        return None


def _counted(operation: str, reader: pa.RecordBatchReader, progress: RowProgress, start: float) -> dict[str, Any]:
    """Read everything and write nothing: every value was typed, every row counted."""
    for _ in reader:
        pass
    return record_of(operation, None, start, rows=progress.rows, dry_run=True)


COMMANDS = (create, append, overwrite)
