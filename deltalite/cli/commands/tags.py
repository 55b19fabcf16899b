"""tag create, list, delete: names for versions, which vacuum then keeps."""

from __future__ import annotations

import click

from deltalite.cli.command import command, dry_run_option, table_argument, writable_table_argument
from deltalite.cli.output import write_record, write_records
from deltalite.cli.output.shapes import Field, Show
from deltalite.cli.output.text import clock, moment
from deltalite.cli.settings import Settings

TAG = (
    Field("tag", "text", "its name"),
    Field("version", "integer", "the version that has it"),
    Field("timestamp", "time", "when that version was committed"),
    Field("message", "text", "what was noted with it"),
)
CHANGED = (*TAG[:2], Field("dry_run", "boolean", "nothing was done, this is what would be"))
_VIEW = (
    Show("TAG", lambda r, _: r["tag"]),
    Show("VERSION", lambda r, _: str(r["version"]), right=True),
    Show("TIME (UTC)", lambda r, people: (clock if people else moment)(r["timestamp"])),
    Show("MESSAGE", lambda r, _: r["message"]),
)


@click.group("tag")
def tag() -> None:
    """Names for versions, which vacuum then keeps: create, list, delete."""


@command(
    "create",
    examples=(
        "deltalite tag create ./events before-import",
        'deltalite tag create ./events@12 release-3 --message "what the report was made of"',
    ),
    output=CHANGED,
    python="DeltaTable(TABLE).tags.create(name, version)",
)
@table_argument
@click.argument("name")
@click.option("--message", metavar="TEXT", help="A note to keep with it.")
@click.option("--replace", is_flag=True, help="Move a tag of this name.")
@dry_run_option
def create(settings: Settings, table: str, name: str, message: str | None, replace: bool, dry_run: bool) -> None:
    """Name a version, so that TABLE@NAME is it and vacuum keeps it.

    It is no commit, and other engines do not see it: what they vacuum is lost to a tag too.
    """
    handle = settings.open(table)
    if not dry_run:
        handle.tags.create(name, message=message, replace=replace)
    _changed(settings, name, handle.version(), dry_run, "tagged version {version} as {tag}")


@command("list", examples=("deltalite tag list ./events -o json",), output=TAG, python="DeltaTable(TABLE).tags.list()")
@writable_table_argument
def list_(settings: Settings, table: str) -> None:
    """The tags of a table, by name."""
    found = settings.open_writable(table).tags.list()
    records = [
        {"tag": t.name, "version": t.version, "timestamp": t.timestamp, "message": t.message} for t in found
    ]  # fmt: skip
    write_records(settings, TAG, records, _VIEW)


@command(
    "delete",
    examples=("deltalite tag delete ./events before-import",),
    output=CHANGED,
    python="DeltaTable(TABLE).tags.delete(name)",
)
@writable_table_argument
@click.argument("name")
@dry_run_option
def delete(settings: Settings, table: str, name: str, dry_run: bool) -> None:
    """Forget a name. The version stays, as long as the table's retention says."""
    tags = settings.open_writable(table).tags
    version = tags.get(name).version
    if not dry_run:
        tags.delete(name)
    _changed(settings, name, version, dry_run, "forgot the tag {tag} of version {version}")


def _changed(settings: Settings, name: str, version: int, dry_run: bool, sentence: str) -> None:
    record = {"tag": name, "version": version, "dry_run": dry_run}
    shown = sentence.format(**record)
    write_record(settings, CHANGED, record, lambda: [f"not done: {shown}" if dry_run else shown])


for _command in (create, list_, delete):
    tag.add_command(_command)

COMMANDS = (tag,)
