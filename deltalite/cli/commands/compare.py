"""changes, diff: what happened between two versions, and what differs between them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli import errors
from deltalite.cli.command import columns_option, command, table_argument, where_option
from deltalite.cli.output import text, write_record, write_rows
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.settings import Settings
from deltalite.cli.target import parse_time
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from deltalite.operations.diff import ColumnChange, TableDiff
    from deltalite.table import DeltaTable

DIFF = (
    Field("from_version", "integer", "the first version"),
    Field("to_version", "integer", "the second version"),
    Field("rows_added", "integer", "rows that only the second version has"),
    Field("rows_removed", "integer", "rows that only the first version has"),
    Field("rows_changed", "integer", "rows of one key with other values; null without --on"),
    Field("keys", "json", "the columns of --on"),
    Field("columns", "json", "columns that differ: before and after, each with name, type, nullable, or null"),
    Field("properties", "json", "table properties that differ, each with its value before and after"),
)

_VERSION = re.compile(r"[vV]?(\d+)")
_RANGE = re.compile(r"(?P<a>[^.]*)\.\.(?P<b>[^.]*)")


@command(
    "changes",
    examples=(
        "deltalite changes ./events --from 12",
        "deltalite changes ./events --from 2026-11-20 --to 2026-11-21 -o ndjson",
        "deltalite changes ./events --from 3 --to 7 --where \"_change_type = 'delete'\" -c id,_commit_version",
    ),
    python="DeltaTable(TABLE).changes(start, end)",
)
@table_argument
@click.option("--from", "start", required=True, metavar="V|TIME", help="The first version, or the time it starts.")
@click.option("--to", "end", metavar="V|TIME", help="The last version or time, included; the newest by default.")
@where_option("Only changes this is true of: SQL in Spark's dialect.")
def changes(settings: Settings, table: str, start: str, end: str | None, where: str | None) -> None:
    """The rows that versions inserted, updated and deleted.

    Rows of the table with _change_type (insert, delete, update_preimage, update_postimage), _commit_version and
    _commit_timestamp. From the change feed where it was on, else computed from the rows that left and came; what could
    not be told is said on stderr.
    """
    handle = settings.open(table)
    first = _first_version(handle, start)
    last = None if end is None else _last_version(handle, end)
    reader = handle.changes(first, last, columns=settings.columns, predicate=where)
    notes = (reader.schema.metadata or {}).get(b"notes", b"").decode()
    shown = write_rows(settings, reader)
    if settings.format == "table":
        settings.note(text.plural(shown, "row"))
    if notes:
        settings.note(f"note: {notes}")


def _first_version(handle: DeltaTable, given: str) -> int:
    """The version, or the first one that was not made before the time."""
    if match := _VERSION.fullmatch(given):
        return int(match[1])
    moment = _time(given)
    before = handle.at(timestamp=moment, clamp=True)
    if before.timestamp() >= moment:
        return before.version()
    return handle.at(timestamp=moment).version() + 1


def _last_version(handle: DeltaTable, given: str) -> int:
    """The version, or the last one that was made by the time."""
    if match := _VERSION.fullmatch(given):
        return int(match[1])
    moment = _time(given)
    return handle.version() if moment >= handle.timestamp() else handle.at(timestamp=moment).version()


def _time(given: str) -> dt.datetime:
    return parse_time(given, dt.datetime.now(dt.timezone.utc))


@command(
    "diff",
    examples=(
        "deltalite diff ./events@11 ./events@12 --on id",
        "deltalite diff ./events 11..12",
        "deltalite diff ./events 2026-11-20 2026-11-21 --on id --rows -o ndjson",
        "deltalite diff ./events 11 12 --exit-code -q",
    ),
    output=DIFF,
    python="DeltaTable(TABLE).diff(a, b, on=...)",
)
@click.argument("places", nargs=-1, required=True, metavar="TABLE@A TABLE@B | TABLE A B | TABLE A..B")
@columns_option("--on", "Columns that tell rows apart, to see which changed; otherwise whole rows are compared.")
@click.option("--rows", is_flag=True, help="Show the rows that differ, with _change_type.")
@click.option("--exit-code", is_flag=True, help=f"Exit with {errors.CHECK_FAILED} if something differs.")
@click.pass_context
def diff(
    ctx: click.Context, settings: Settings, places: Sequence[str], on: list[str] | None, rows: bool, exit_code: bool
) -> None:
    """What differs between two versions: columns, properties and, net, rows.

    A and B are versions or times; without B the newest version is compared. Only files that differ are read.
    """
    handle, a, b = _versions(settings, places)
    found = handle.diff(a, b, on=on)
    if rows:
        shown = write_rows(settings, found.rows())
        if settings.format == "table":
            settings.note(text.plural(shown, "row"))
    else:
        record = _record(found)
        write_record(settings, DIFF, record, lambda: _card(record, found))
    if exit_code and not found.is_empty:
        ctx.exit(errors.CHECK_FAILED)


def _versions(settings: Settings, places: Sequence[str]) -> tuple[DeltaTable, int, int | None]:
    """The table and the two versions that the arguments name; ``None`` is the newest."""
    if len(places) > 3:
        raise click.UsageError("give a table and two of its versions: TABLE A B, or TABLE@A TABLE@B")
    first, *others = places
    target, _ = settings.locate(first)
    handle = settings.open(first.rpartition("@")[0] if target.pinned else first)
    if target.pinned:
        a = settings.open(first).version()
        if len(others) > 1:
            raise click.UsageError(f"{first} names a version already: give TABLE@A TABLE@B")
        return handle, a, _second(settings, handle, target.uri, others[0]) if others else None
    if len(others) == 1 and (match := _RANGE.fullmatch(others[0])):
        others = [match["a"], match["b"]]
    if not others:
        raise click.UsageError("say which versions: TABLE A B, TABLE A..B, or TABLE@A TABLE@B")
    numbers = [_version(handle, given) if given else None for given in others]
    return handle, numbers[0] or 0, numbers[1] if len(numbers) > 1 else None


def _second(settings: Settings, handle: DeltaTable, uri: str, given: str) -> int | None:
    """The version that a second argument names: ``TABLE@B``, or ``B`` alone."""
    target, _ = settings.locate(given)
    if target.uri == uri:
        return settings.open(given).version()
    try:
        return _version(handle, given)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{given!r} is neither a version of {uri} nor a time", hint="diff compares versions of one table"
        ) from error


def _version(handle: DeltaTable, given: str) -> int:
    match = _VERSION.fullmatch(given)
    return int(match[1]) if match else handle.at(timestamp=_time(given)).version()


# -- what is printed ---------------------------------------------------------------------------------------------------


def _record(found: TableDiff) -> dict[str, Any]:
    return {
        "from_version": found.from_version,
        "to_version": found.to_version,
        "rows_added": found.rows_added,
        "rows_removed": found.rows_removed,
        "rows_changed": found.rows_changed,
        "keys": list(found.keys),
        "columns": [_column(change) for change in found.columns],
        "properties": {k: {"before": old, "after": new} for k, (old, new) in found.properties.items()},
    }


def _column(change: ColumnChange) -> dict[str, Any]:
    from deltalite.model.types import type_to_json

    def shown(f: Any) -> dict[str, Any] | None:
        return None if f is None else {"name": f.name, "type": type_to_json(f.type), "nullable": f.nullable}

    return {"before": shown(change.before), "after": shown(change.after)}


def _card(record: Record, found: TableDiff) -> Iterator[str]:
    yield f"version {found.from_version} -> {found.to_version}"
    kinds = [(found.rows_added, "added"), (found.rows_removed, "removed"), (found.rows_changed, "changed")]
    rows = ", ".join(f"{text.count(number)} {kind}" for number, kind in kinds if number)
    how = f"by {', '.join(found.keys)}" if found.keys else "whole rows; --on KEY tells which changed"
    yield f"  rows        {rows or 'the same'}  ({how})"
    yield f"  columns     {'' if found.columns else 'the same'}".rstrip()
    for sign, changes in (("+", found.columns_added), ("-", found.columns_dropped), ("~", found.columns_changed)):
        yield from (f"    {sign} {change}" for change in changes)
    yield f"  properties  {'' if found.properties else 'the same'}".rstrip()
    for key, (before, after) in found.properties.items():
        old, new = ("unset" if value is None else value for value in (before, after))
        yield f"    {key}: {old} -> {new}"


COMMANDS = (changes, diff)
