"""upsert, merge, delete, update: rows that change, in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.changing import change_options, how, run_change
from deltalite.cli.command import columns_option, command, where_option, writable_table_argument
from deltalite.cli.completion import complete_tables
from deltalite.cli.loading import FORMAT_OPTIONS, open_rows
from deltalite.cli.output import text
from deltalite.cli.results import ROW_CHANGES
from deltalite.cli.settings import Settings

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

_MERGE_SCHEMA = click.option("--merge-schema", is_flag=True, help="Add the columns of FILE that the table lacks.")


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """``FILE`` and how it is read."""
    for option in reversed((*FORMAT_OPTIONS, _MERGE_SCHEMA)):
        function = option(function)
    return function


# -- with a source -----------------------------------------------------------------------------------------------------


@command(
    "upsert",
    examples=(
        "deltalite upsert ./events new.csv --on id --dry-run",
        "deltalite upsert ./events new.parquet --on id,day --yes",
        'deltalite upsert ./events late.ndjson --on id --update-when "s.ts > t.ts" --yes',
        "deltalite upsert ./events feed.csv --on id --dedupe last --order-by ts --delete-when \"op = 'D'\" --yes",
        "deltalite upsert ./events ./staging@12 --on id --no-update",
    ),
    output=ROW_CHANGES,
    python="DeltaTable(TABLE).upsert(data, on, update=..., delete_when=..., dedupe=..., order_by=...)",
)
@writable_table_argument
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@columns_option("--on", "The key: columns that FILE and the table have, separated by commas. Null equals null.")
@columns_option("--update", "Update only these columns; new rows get all that FILE has.")
@click.option("--update-when", metavar="PREDICATE", help="Update only rows this is true of: s.ts > t.ts")
@click.option("--delete-when", metavar="PREDICATE", help="Delete rows this is true of, instead of inserting them.")
@click.option("--insert-when", metavar="PREDICATE", help="Insert only rows this is true of.")
@click.option("--no-insert", is_flag=True, help="Leave rows with new keys out.")
@click.option("--no-update", is_flag=True, help="Leave rows with known keys as they are.")
@click.option(
    "--dedupe",
    type=click.Choice(("error", "first", "last")),
    default="error",
    show_default=True,
    help="Several rows of FILE with one key: refuse them, or let the first or the last count.",
)
@columns_option("--order-by", "What last (the greatest) and first mean; by default the order in FILE.")
@source_options
@change_options
def upsert(settings: Settings, table: str, file: str, **given: Any) -> None:
    """Update the rows whose key FILE has, and insert the others of FILE.

    FILE is csv, tsv, json, ndjson, parquet, arrow, - for stdin, or a table. In conditions s.x is the column of FILE and
    t.x the table's; a name that only one of them has needs no prefix. A row of FILE replaces the whole row of the
    table; FILE must have all its columns unless --update lists some. Asks before rows are replaced or deleted, and
    without a terminal does nothing unless told --yes.
    """
    if not given["on"]:
        raise click.UsageError("--on names the columns by which rows are known: --on id")
    if given["no_update"] and given["update"]:
        raise click.UsageError("--update and --no-update contradict each other")
    if given["no_insert"] and given["insert_when"]:
        raise click.UsageError("--insert-when and --no-insert contradict each other")
    handle = settings.open_writable(table)

    def change(dry_run: bool) -> Any:
        with _Rows(settings, handle, file, given) as rows:
            return handle.upsert(
                rows, given["on"],
                update=False if given["no_update"] else given["update"],
                insert=given["insert_when"] or not given["no_insert"],
                delete_when=given["delete_when"], update_when=given["update_when"],
                order_by=given["order_by"], dedupe=given["dedupe"],
                merge_schema=given["merge_schema"], dry_run=dry_run, **how(given),
            )  # fmt: skip

    plan = f"this upserts the rows of {file} into {handle.table_uri}"
    only_inserts = given["no_update"] and not given["delete_when"]
    run_change(settings, given, plan, change, asks=not only_inserts, again=file != "-")


@command(
    "merge",
    examples=(
        'deltalite merge ./events new.csv --on "t.id = s.id" --when-matched "update *" --when-not-matched "insert *"',
        'deltalite merge ./events feed.ndjson --on "t.id = s.id" --when-matched "s.op = \'D\' delete" '
        '--when-matched "update set v = s.v, n = t.n + 1" --when-not-matched "s.op <> \'D\' insert (id, v) '
        'values (s.id, s.v)" --explain',
        'deltalite merge ./events all.parquet --on "t.id = s.id" --when-not-matched-by-source delete --yes',
        "deltalite merge --sql \"MERGE INTO './events' AS t USING 'new.csv' AS s ON t.id = s.id "
        'WHEN MATCHED THEN UPDATE SET *" --yes',
    ),
    output=ROW_CHANGES,
    python="DeltaTable(TABLE).merge(source, predicate).when_matched_update_all()....execute()",
)
@click.argument("table", metavar="[TABLE]", required=False, shell_complete=complete_tables)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(allow_dash=True))
@click.option("--on", metavar="PREDICATE", help="When a row of FILE (s) and one of the table (t) match.")
@click.option(
    "--when-matched",
    multiple=True,
    metavar="CLAUSE",
    help="[CONDITION] update * | update set a = s.a, ... | delete. Repeatable; the first that applies counts.",
)
@click.option(
    "--when-not-matched",
    multiple=True,
    metavar="CLAUSE",
    help="For rows of FILE only: [CONDITION] insert * | insert (a, ...) values (s.a, ...). Repeatable.",
)
@click.option(
    "--when-not-matched-by-source",
    multiple=True,
    metavar="CLAUSE",
    help="For rows of the table only: [CONDITION] delete | update set a = ... Repeatable.",
)
@click.option("--sql", metavar="STATEMENT", help="All of it as MERGE INTO ... USING ... ON ... WHEN ...")
@source_options
@change_options
def merge(settings: Settings, table: str | None, file: str | None, **given: Any) -> None:
    """Update, delete and insert rows as the rows of FILE say.

    A clause is an optional condition and what then happens; of the clauses of one option the first whose condition is
    true decides. s.x is the column of FILE and t.x the table's. With --sql the table and the file are those of the
    statement, in quotes, unless TABLE and FILE are given too. FILE is csv, tsv, json, ndjson, parquet, arrow, - for
    stdin, or a table. Asks before rows are replaced or deleted, and without a terminal does nothing unless told --yes.
    """
    from deltalite.exceptions import ExpressionError
    from deltalite.expr.bind import pointing
    from deltalite.expr.statements import Merge, parse_statement
    from deltalite.operations import statements

    sentence = _statement(given)
    statement = parse_statement(sentence)
    if not isinstance(statement, Merge):
        raise click.UsageError("--sql takes a MERGE statement")
    if table is None and given["sql"]:
        table = statement.target.name
    if file is None and given["sql"]:
        file = statement.source.name
    if table is None or file is None:
        raise click.UsageError("give TABLE and FILE, or --sql with a whole statement")
    handle = settings.open_writable(table)
    evolve = given["merge_schema"] or statement.schema_evolution
    source, whole = file, statement if evolve == statement.schema_evolution else _evolving(statement)

    def change(dry_run: bool) -> Any:
        with _Rows(settings, handle, source, given) as rows:
            try:
                return statements.run(whole, handle, rows, dry_run=dry_run, **how(given))
            except ExpressionError as error:
                raise pointing(error, sentence) from error

    asks = any(clause.action != "insert" for clause in statement.clauses)
    run_change(settings, given, f"this merges {file} into {handle.table_uri}", change, asks=asks, again=file != "-")


def _statement(given: Mapping[str, Any]) -> str:
    """The SQL that the options spell."""
    from deltalite.cli.clauses import merge_statement

    clauses = {f"--{name.replace('_', '-')}": given[name] for name in given if name.startswith("when_")}
    if given["sql"]:
        if given["on"] or any(clauses.values()):
            raise click.UsageError("--sql is the whole statement: leave --on and --when-... out")
        return given["sql"]
    if not given["on"]:
        raise click.UsageError('--on says when rows match: --on "t.id = s.id"')
    return merge_statement(given["on"], clauses)


def _evolving(statement: Any) -> Any:
    from dataclasses import replace

    return replace(statement, schema_evolution=True)


class _Rows:
    """The rows of FILE, opened anew each time, and their progress taken away in the end."""

    def __init__(self, settings: Settings, handle: DeltaTable, file: str, given: Mapping[str, Any]) -> None:
        self._settings, self._handle, self._file, self._given = settings, handle, file, given
        self._progress: Any = None

    def __enter__(self) -> Any:
        if self._given["format"] is None and self._is_table():
            return self._settings.open(self._file).scan()
        given = {**self._given, "files": [self._file]}
        rows, self._progress = open_rows(self._settings, self._handle, given, given_only=True)
        return rows

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.clear()

    def _is_table(self) -> bool:
        from deltalite.table import DeltaTable

        if self._file == "-" or Path(self._file).is_file():
            return False
        target, options = self._settings.locate(self._file)
        return DeltaTable.is_deltatable(target.uri, options)


# -- without a source --------------------------------------------------------------------------------------------------


@command(
    "delete",
    examples=(
        "deltalite delete ./events --where \"day < date'2026-01-01'\" --dry-run",
        'deltalite delete ./events --where "id = 7" --yes',
        "deltalite delete ./events --all",
    ),
    output=ROW_CHANGES,
    python="DeltaTable(TABLE).delete(predicate)",
)
@writable_table_argument
@where_option("Delete the rows this is true of: SQL in Spark's dialect.")
@click.option("--all", "everything", is_flag=True, help="Delete all rows.")
@change_options
def delete(settings: Settings, table: str, where: str | None, everything: bool, **given: Any) -> None:
    """Delete rows.

    Asks before it does, and without a terminal does nothing unless told --yes. Older versions keep the rows.
    """
    if (where is None) != everything:
        raise click.UsageError("say which rows: --where PREDICATE, or --all")
    handle = settings.open_writable(table)
    plan = f"this deletes {_which(handle, where)}"
    run_change(settings, given, plan, lambda dry_run: handle.delete(where, dry_run=dry_run, **how(given)))


@command(
    "update",
    examples=(
        'deltalite update ./events --set "name = upper(name)" --where "day = date\'2026-11-14\'" --dry-run',
        'deltalite update ./events --set "v = v * 2" --set "address.city = null" --where "id = 7" --yes',
    ),
    output=ROW_CHANGES,
    python="DeltaTable(TABLE).update(updates, predicate=...)",
)
@writable_table_argument
@click.option(
    "--set",
    "assignments",
    multiple=True,
    required=True,
    metavar="ASSIGNMENT",
    help="COLUMN = EXPRESSION, over the row as it was; repeatable.",
)
@where_option("Update only the rows this is true of: SQL in Spark's dialect.")
@change_options
def update(settings: Settings, table: str, assignments: Sequence[str], where: str | None, **given: Any) -> None:
    """Give rows new values.

    Asks before it does, and without a terminal does nothing unless told --yes.
    """
    from deltalite.exceptions import ExpressionError
    from deltalite.expr.bind import pointing
    from deltalite.expr.statements import Update, parse_statement
    from deltalite.operations import statements

    sentence = "UPDATE target\nSET " + ",\n    ".join(assignments) + (f"\nWHERE {where}" if where is not None else "")
    statement = parse_statement(sentence)
    if not isinstance(statement, Update) or (where is None) != (statement.condition is None):
        raise click.UsageError("--set takes COLUMN = EXPRESSION, and --where says for which rows")
    handle = settings.open_writable(table)

    def change(dry_run: bool) -> Any:
        try:
            return statements.run(statement, handle, dry_run=dry_run, **how(given))
        except ExpressionError as error:
            raise pointing(error, sentence) from error

    run_change(settings, given, f"this updates {_which(handle, where)}", change)


def _which(handle: DeltaTable, where: str | None) -> str:
    if where is not None:
        return f"the rows of {handle.table_uri} where {where}"
    rows = handle.detail()["num_records"]
    return f"all rows of {handle.table_uri}" + ("" if rows is None else f" ({text.plural(rows, 'row')})")


COMMANDS = (upsert, merge, delete, update)
