"""columns add, drop, rename, move, type, comment, default, not-null: the columns of a table, metadata only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from deltalite.cli.altering import ALTERED, alter, alter_options
from deltalite.cli.command import command, writable_table_argument
from deltalite.cli.settings import Settings

_COLUMN = click.argument("column", metavar="COLUMN")


@click.group("columns")
def columns() -> None:
    """Columns: add, drop, rename, move, type, comment, default, not-null."""


@command(
    "add",
    examples=(
        'deltalite columns add ./events "device string, score double" --after name',
        'deltalite columns add ./events "zip string" --into address',
    ),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.add_columns(fields, into=..., first=..., after=...)",
)
@writable_table_argument
@click.argument("ddl", metavar="COLUMNS")
@click.option("--into", default="", metavar="STRUCT", help="Add fields to this struct, a dotted path.")
@click.option("--first", is_flag=True, help="Put them first.")
@click.option("--after", metavar="COLUMN", help="Put them behind this one.")
@alter_options
def add(settings: Settings, table: str, ddl: str, into: str, first: bool, after: str | None, **given: Any) -> None:
    """Add columns, written as in CREATE TABLE; rows that are there are null in them."""
    if first and after:
        raise click.UsageError("--first and --after contradict each other")
    where = f" to {into}" if into else ""
    alter(
        settings, table, given,
        lambda a, how: a.add_columns(ddl, into=into or (), first=first, after=after, **how), f"added {ddl}{where}",
    )  # fmt: skip


@command(
    "drop",
    examples=("deltalite columns drop ./events device --dry-run", "deltalite columns drop ./events address.zip --yes"),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.drop_columns([...])",
)
@writable_table_argument
@click.argument("names", nargs=-1, required=True, metavar="COLUMN...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@alter_options
def drop(settings: Settings, table: str, names: Sequence[str], **given: Any) -> None:
    """Drop columns, or fields of structs by dotted paths.

    Files keep the values until they are rewritten, but nobody reads them any more; the table needs
    delta.columnMapping.mode=name. Asks before it does, and without a terminal does nothing unless told --yes.
    """
    what = ", ".join(names)
    alter(
        settings, table, given, lambda a, how: a.drop_columns(list(names), **how), f"dropped {what}",
        asks=f"this drops the column {what}" if len(names) == 1 else f"this drops the columns {what}",
    )  # fmt: skip


@command(
    "rename",
    examples=("deltalite columns rename ./events name title", "deltalite columns rename ./events address.zip code"),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.rename_column(name, new_name)",
)
@writable_table_argument
@_COLUMN
@click.argument("name")
@alter_options
def rename(settings: Settings, table: str, column: str, name: str, **given: Any) -> None:
    """Rename a column, or a field of structs.

    No file is rewritten; the table needs delta.columnMapping.mode=name.
    """
    alter(settings, table, given, lambda a, how: a.rename_column(column, name, **how), f"renamed {column} to {name}")


@command(
    "move",
    examples=("deltalite columns move ./events score --first", "deltalite columns move ./events score --after name"),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.move_column(name, first=..., after=...)",
)
@writable_table_argument
@_COLUMN
@click.option("--first", is_flag=True, help="Put it first.")
@click.option("--after", metavar="COLUMN", help="Put it behind this one.")
@alter_options
def move(settings: Settings, table: str, column: str, first: bool, after: str | None, **given: Any) -> None:
    """Change the order of columns, or of the fields of a struct."""
    if first == bool(after):
        raise click.UsageError("say where the column goes: --first, or --after COLUMN")
    where = "to the front" if first else f"behind {after}"
    alter(
        settings, table, given, lambda a, how: a.move_column(column, first=first, after=after, **how),
        f"moved {column} {where}",
    )  # fmt: skip


@command(
    "type",
    examples=(
        "deltalite columns type ./events id bigint",
        'deltalite columns type ./events prices.element "decimal(12,2)" --dry-run',
    ),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.set_column_type(name, data_type)",
)
@writable_table_argument
@_COLUMN
@click.argument("data_type", metavar="TYPE")
@alter_options
def type_(settings: Settings, table: str, column: str, data_type: str, **given: Any) -> None:
    """Let the type of a column grow.

    No file is rewritten; the table needs delta.enableTypeWidening=true.
    """
    alter(
        settings, table, given, lambda a, how: a.set_column_type(column, data_type, **how), f"{column} is {data_type}"
    )


@command(
    "comment",
    examples=(
        'deltalite columns comment ./events ts "when it happened, UTC"',
        "deltalite columns comment ./events ts --remove",
    ),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.set_column_comment(column, comment)",
)
@writable_table_argument
@_COLUMN
@click.argument("text", required=False)
@click.option("--remove", is_flag=True, help="Remove the comment.")
@alter_options
def comment(settings: Settings, table: str, column: str, text: str | None, remove: bool, **given: Any) -> None:
    """Describe a column."""
    _one_of(text, remove, "TEXT")
    done = f"removed the comment of {column}" if remove else f"described {column}"
    alter(settings, table, given, lambda a, how: a.set_column_comment(column, text, **how), done)


@command(
    "default",
    examples=(
        'deltalite columns default ./events ts "current_timestamp()"',
        "deltalite columns default ./events ts --remove",
    ),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.set_column_default(column, expression)",
)
@writable_table_argument
@_COLUMN
@click.argument("expression", required=False)
@click.option("--remove", is_flag=True, help="Remove the default.")
@alter_options
def default(settings: Settings, table: str, column: str, expression: str | None, remove: bool, **given: Any) -> None:
    """The value of a column for new rows that lack it, as constant SQL.

    Rows that are there stay as they are.
    """
    _one_of(expression, remove, "EXPRESSION")
    done = f"removed the default of {column}" if remove else f"the default of {column} is {expression}"
    alter(settings, table, given, lambda a, how: a.set_column_default(column, expression, **how), done)


@command(
    "not-null",
    examples=("deltalite columns not-null ./events id", "deltalite columns not-null ./events id --drop"),
    output=ALTERED,
    python="DeltaTable(TABLE).alter.set_column_not_null(column), .alter.drop_column_not_null(column)",
)
@writable_table_argument
@_COLUMN
@click.option("--drop", is_flag=True, help="Allow nulls again.")
@alter_options
def not_null(settings: Settings, table: str, column: str, drop: bool, **given: Any) -> None:
    """Forbid nulls in a column, after a look at the rows that are there."""
    done = f"{column} may be null" if drop else f"{column} is NOT NULL"

    def change(a: Any, how: dict[str, Any]) -> Any:
        return a.drop_column_not_null(column, **how) if drop else a.set_column_not_null(column, **how)

    alter(settings, table, given, change, done)


def _one_of(value: str | None, remove: bool, name: str) -> None:
    if (value is None) != remove:
        raise click.UsageError(f"give {name}, or --remove")


for _command in (add, drop, rename, move, type_, comment, default, not_null):
    columns.add_command(_command)

COMMANDS = (columns,)
