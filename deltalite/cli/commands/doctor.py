"""fsck: what of a table is not as its log, the protocol or its files say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deltalite.cli import errors
from deltalite.cli.command import command, writable_table_argument
from deltalite.cli.confirm import confirm
from deltalite.cli.output import text, write_records
from deltalite.cli.output.shapes import Field, Show
from deltalite.cli.progress import Share
from deltalite.cli.settings import Settings

if TYPE_CHECKING:
    from deltalite.operations.doctor import Finding

FINDINGS = (
    Field("code", "text", "the kind of it: file-missing, checksum-wrong, ..."),
    Field("severity", "text", "error: rows cannot be read, or not rightly; warning: it costs time or history"),
    Field("message", "text", "what it is"),
    Field("path", "text", "the file"),
    Field("version", "integer", "the version"),
    Field("repair", "text", "what --repair does about it; null where nothing safe can be done"),
    Field("repaired", "boolean", "that was done"),
)
_VIEW = (
    Show("SEVERITY", lambda r, _: r["severity"]),
    Show("CODE", lambda r, _: r["code"]),
    Show("WHAT", lambda r, _: r["message"]),
    Show("REPAIR", lambda r, _: "done" if r["repaired"] else r["repair"]),
)
_SHOWN = 20


@command(
    "fsck",
    examples=(
        "deltalite fsck ./events",
        "deltalite fsck ./events --deep -o json",
        "deltalite fsck ./events --repair --yes",
    ),
    output=FINDINGS,
    python="DeltaTable(TABLE).fsck(deep=..., repair=...)",
)
@writable_table_argument
@click.option("--deep", is_flag=True, help="Also all checkpoints and checksums, and statistics against the rows.")
@click.option("--repair", is_flag=True, help="Do what is safe about what is found.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def fsck(ctx: click.Context, settings: Settings, table: str, deep: bool, repair: bool, yes: bool) -> None:
    """Examine a table: log, checkpoints, files, statistics, tags.

    Also one that cannot be opened. Exits with 5 when something is found and not repaired. --repair takes files that are
    missing out of the log (be sure that they are gone for good), and writes checksums, checkpoints and statistics
    again; it asks first, and without a terminal does nothing unless told --yes.
    """
    uri, options = settings.locate_writable(table)

    def examined(repairing: bool) -> list[Finding]:
        from deltalite.operations import doctor
        from deltalite.operations.opening import store_of

        with Share(settings, "looked at") as progress:
            store = store_of(uri, options)
            return doctor.fsck(store, settings.allow_external, deep=deep, repair=repairing, progress=progress)

    if repair:
        confirm(settings, f"this repairs {uri}: files that are missing leave the log", yes,
                lambda: _repairs(examined(False)))  # fmt: skip
    found = examined(repair)
    write_records(settings, FINDINGS, [_record(finding) for finding in found], _VIEW)
    left = sum(not finding.repaired for finding in found)
    settings.note(
        f"{text.plural(len(found), 'finding')}, {text.count(len(found) - left)} repaired" if found else "all is well"
    )
    if left:
        ctx.exit(errors.CHECK_FAILED)


def _repairs(found: list[Finding]) -> str:
    todo = [f"  {finding.repair}: {finding.message}" for finding in found if finding.repair]
    more = [f"  ... and {text.count(len(todo) - _SHOWN)} more"] if len(todo) > _SHOWN else []
    return "\n".join([*todo[:_SHOWN], *more]) or "nothing can be repaired"


def _record(finding: Finding) -> dict[str, Any]:
    return {f.name: getattr(finding, f.name) for f in FINDINGS}


COMMANDS = (fsck,)
