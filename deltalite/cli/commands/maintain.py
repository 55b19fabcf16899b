"""checkpoint: care of the log."""

from __future__ import annotations

import time

from deltalite.cli.command import command, dry_run_option, writable_table_argument
from deltalite.cli.output import write_record
from deltalite.cli.output.shapes import Field
from deltalite.cli.settings import Settings

CHECKPOINT = (
    Field("version", "integer", "the version that has a checkpoint now"),
    Field("duration_s", "number", "wall time in seconds"),
    Field("dry_run", "boolean", "nothing was done, this is what would be"),
)


@command(
    "checkpoint",
    examples=("deltalite checkpoint ./events",),
    output=CHECKPOINT,
    python="DeltaTable(TABLE).create_checkpoint()",
)
@writable_table_argument
@dry_run_option
def checkpoint(settings: Settings, table: str, dry_run: bool) -> None:
    """Write a checkpoint, so that readers need not replay the whole log."""
    start = time.perf_counter()
    handle = settings.open_writable(table)
    if not dry_run:
        handle.create_checkpoint()
    record = {"version": handle.version(), "duration_s": round(time.perf_counter() - start, 3), "dry_run": dry_run}
    verb = "would write" if dry_run else "wrote"
    write_record(settings, CHECKPOINT, record, lambda: [f"{verb} the checkpoint of version {record['version']}"])


COMMANDS = (checkpoint,)
