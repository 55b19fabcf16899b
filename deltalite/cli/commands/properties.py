"""properties get, set, unset: the table properties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import (
    Pair,
    command,
    dry_run_option,
    message_option,
    table_argument,
    writable_table_argument,
)
from deltalite.cli.output import write_record, write_records
from deltalite.cli.output.shapes import Field, Show
from deltalite.cli.rehearsal import rehearsal
from deltalite.cli.results import commit_properties
from deltalite.cli.settings import Settings
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

PROPERTIES = (
    Field("property", "text", "its name"),
    Field("value", "text", "its value"),
)

CHANGED = (
    Field("version", "integer", "the version the table has now; null in a dry run"),
    Field("operation", "text", "what was done, as history shows it"),
    Field("properties", "json", "those that changed: their new values, or null for those removed"),
    Field("dry_run", "boolean", "nothing was done, this is what would be"),
)


@click.group("properties")
def properties() -> None:
    """Table properties: get, set, unset."""


@command(
    "get",
    examples=("deltalite properties get ./events", "deltalite properties get ./events delta.appendOnly"),
    output=PROPERTIES,
    python="DeltaTable(TABLE).properties()",
)
@table_argument
@click.argument("names", nargs=-1, metavar="[NAME]...")
def get(settings: Settings, table: str, names: Sequence[str]) -> None:
    """Show the properties that are set, or some of them. One alone prints just its value in plain text."""
    current = settings.open(table).properties()
    wanted = [_spelled(name, current) for name in names] if names else sorted(current)
    if len(names) == 1 and settings.format == "plain":
        click.echo(current[wanted[0]])
        return
    records = [{"property": name, "value": current[name]} for name in wanted]
    view = (Show("PROPERTY", lambda r, _: r["property"]), Show("VALUE", lambda r, _: r["value"]))
    write_records(settings, PROPERTIES, records, view)


@command(
    "set",
    examples=("deltalite properties set ./events delta.appendOnly=true owner=ada",),
    output=CHANGED,
    python="DeltaTable(TABLE).alter.set_table_properties({...})",
)
@writable_table_argument
@click.argument("pairs", nargs=-1, required=True, type=Pair(), metavar="NAME=VALUE...")
@message_option
@dry_run_option
def set_(settings: Settings, table: str, pairs: Sequence[tuple[str, str]], message: str | None, dry_run: bool) -> None:
    """Set properties. One that switches a feature on also raises the table's protocol."""
    handle = settings.open_writable(table)
    given = dict(pairs)
    if len(given) < len(pairs):
        raise click.UsageError("a property is set twice")
    if dry_run:
        with rehearsal(handle) as staged:
            _tried(staged, given)
    else:
        handle.alter.set_table_properties(given, commit_properties=commit_properties(message))
    _changed(settings, handle, "SET TBLPROPERTIES", given, dry_run)


def _tried(staged: DeltaTable, given: dict[str, str]) -> None:
    """Set them where nobody sees it.

    :raises InvalidArgumentError: when they cannot be set.
    """
    try:
        staged.alter.set_table_properties(given)
    except InvalidArgumentError as error:
        if error.hint != "leave the transaction first":  # it takes commits of its own, which cannot be tried
            raise


@command(
    "unset",
    examples=("deltalite properties unset ./events owner",),
    output=CHANGED,
    python="DeltaTable(TABLE).alter.unset_table_properties([...])",
)
@writable_table_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@message_option
@dry_run_option
def unset(settings: Settings, table: str, names: Sequence[str], message: str | None, dry_run: bool) -> None:
    """Remove properties, so that their defaults count again."""
    handle = settings.open_writable(table)
    current = handle.properties()
    gone = [_spelled(name, current) for name in names]
    if not dry_run:
        handle.alter.unset_table_properties(gone, commit_properties=commit_properties(message))
    _changed(settings, handle, "UNSET TBLPROPERTIES", dict.fromkeys(gone), dry_run)


def _changed(settings: Settings, handle: Any, operation: str, changed: dict[str, Any], dry_run: bool) -> None:
    record = {
        "version": None if dry_run else handle.version(),
        "operation": operation,
        "properties": changed,
        "dry_run": dry_run,
    }
    what = ", ".join(name if value is None else f"{name}={value}" for name, value in changed.items())
    verb = ("would " if dry_run else "") + ("unset" if operation.startswith("UNSET") else "set")
    tail = "" if dry_run else f": version {record['version']}"
    write_record(settings, CHANGED, record, lambda: [f"{verb} {what}{tail}"])


def _spelled(name: str, current: dict[str, str]) -> str:
    """The property as the table spells it.

    :raises InvalidArgumentError: when it is not set.
    """
    import difflib

    for key in current:
        if key.lower() == name.lower():
            return key
    near = difflib.get_close_matches(name, current, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"set are: {', '.join(sorted(current)) or 'none'}"
    raise InvalidArgumentError(f"the property {name!r} is not set", hint=hint, property=name)


for _command in (get, set_, unset):
    properties.add_command(_command)

COMMANDS = (properties,)
