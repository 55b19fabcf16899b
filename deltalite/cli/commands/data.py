"""head, count, query: the rows of a table."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from deltalite.cli.command import Pair, command, table_argument, where_option
from deltalite.cli.output import text, write_record, write_rows
from deltalite.cli.output.shapes import Field
from deltalite.cli.settings import Settings
from deltalite.exceptions import InvalidArgumentError

COUNT = (Field("count", "integer", "rows that match"),)


@command(
    "head",
    examples=(
        "deltalite head ./events",
        "deltalite head ./events@12 -n 100 -c id,day --where \"day >= '2026-11-01'\" -o csv",
    ),
    python="DeltaTable(TABLE).head(n, columns, predicate)",
)
@table_argument
@click.option(
    "-n", "--limit", type=click.IntRange(0), metavar="N", default=10, show_default=True, help="How many rows."
)
@where_option("Only rows this is true of: SQL in Spark's dialect.")
def head(settings: Settings, table: str, limit: int, where: str | None) -> None:
    """The first rows, reading no more than they need. -c chooses the columns."""
    write_rows(settings, settings.open(table).scan(settings.columns, where, limit=limit))


@command(
    "count",
    examples=("deltalite count ./events", "deltalite count ./events --where \"day = date'2026-11-14'\""),
    output=COUNT,
    python="DeltaTable(TABLE).count(predicate)",
)
@table_argument
@where_option("Only rows this is true of: SQL in Spark's dialect.")
def count(settings: Settings, table: str, where: str | None) -> None:
    """How many rows there are; from metadata alone where that is exact."""
    rows = settings.open(table).count(where)
    if settings.format in ("table", "plain"):
        click.echo(str(rows))
    else:
        write_record(settings, COUNT, {"count": rows})


@command(
    "query",
    examples=(
        "deltalite query \"select day, count(*) from './events' group by day\"",
        'deltalite query --table e=./events@12 "select * from e where id = 7" -o csv',
        "deltalite query -f report.sql -o parquet > report.parquet",
    ),
    python="deltalite.sql(query, tables={name: DeltaTable(...)})",
)
@click.argument("sql", required=False)
@click.option("-f", "--file", "path", metavar="FILE", help="Read the SQL from a file; - is stdin.")
@click.option(
    "--table",
    "tables",
    type=Pair(),
    multiple=True,
    metavar="NAME=TABLE[@VERSION]",
    help="A table by the name that the SQL uses; repeatable.",
)
def query(settings: Settings, sql: str | None, path: str | None, tables: tuple[tuple[str, str], ...]) -> None:
    """Run SQL in DuckDB's dialect, with filters and columns pushed into the scan.

    In the SQL a table is its path or URL in single quotes, with @VERSION if wanted; or a name that --table gives; or
    its short name in the configuration file. Needs the extra deltalite[sql].
    """
    if (sql is None) == (path is None):
        raise click.UsageError("give the SQL as one argument, or a file that holds it with -f")
    statement = sql if sql is not None else _read(path or "-")
    handles = {name: settings.open(place) for name, place in tables}
    for name in _short_names(statement, settings.config.tables.keys() - handles.keys()):
        handles[name] = settings.open(name)
    from deltalite.query import changes_rows
    from deltalite.query import sql as run

    if changes_rows(statement):
        raise click.UsageError("query only reads; in Python, deltalite.sql() runs statements that change rows too")
    shown = write_rows(settings, run(statement, tables=handles, storage_options=settings.storage_options()))
    if settings.format == "table":
        settings.note(text.plural(shown, "row"))


def _short_names(statement: str, names: Iterable[str]) -> list[str]:
    """Those of the names that stand where SQL names a table."""
    return [n for n in names if re.search(rf'(?:\b(?:from|join)\s+|,\s*)"?{re.escape(n)}\b', statement, re.IGNORECASE)]


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path} is not UTF-8 text: {error}") from error


COMMANDS = (head, count, query)
