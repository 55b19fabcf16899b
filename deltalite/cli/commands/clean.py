"""vacuum, restore, checkpoint: files that nobody needs, versions to go back to, the log."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import command, dry_run_option, message_option, where_option, writable_table_argument
from deltalite.cli.confirm import can_ask, confirm
from deltalite.cli.output import text, write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.progress import Share
from deltalite.cli.results import RESULT, commit_properties
from deltalite.cli.settings import Settings
from deltalite.cli.target import Target, parse_hours, parse_point
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from deltalite.model.result import CommitResult, VacuumResult
    from deltalite.table import DeltaTable

_SHARED = {f.name: f for f in RESULT}
VACUUM = (
    _SHARED["version"],
    Field("files", "integer", "files that are gone, or in a dry run would be"),
    Field("bytes", "integer", "their size in bytes"),
    Field("paths", "json", "which they are, relative to the table"),
    Field("kept", "json", "how many files stay, by reason"),
    Field("skipped_files", "json", "files that could not be judged or deleted: [path, reason]"),
    Field("directories", "integer", "empty directories that were removed"),
    Field("refused", "text", "why nothing was deleted, or without a dry run would not be; else null"),
    _SHARED["duration_s"],
    _SHARED["dry_run"],
)

RESTORE = (
    _SHARED["version"],
    _SHARED["operation"],
    Field("files", "integer", "files that come back"),
    Field("bytes", "integer", "their size in bytes"),
    _SHARED["removed_files"],
    _SHARED["removed_bytes"],
    Field("missing_files", "integer", "files of that version that are gone, and their rows with them"),
    *(_SHARED[name] for name in ("duration_s", "txn_id", "skipped", "dry_run")),
)

CHECKPOINT = (
    Field("version", "integer", "the version that has a checkpoint now"),
    Field("duration_s", "number", "wall time in seconds"),
    Field("dry_run", "boolean", "nothing was done, this is what would be"),
)
_SHOWN = 20


class Hours(click.ParamType):
    """A duration, as a number of hours."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return value if isinstance(value, float) else parse_hours(value)
        except InvalidArgumentError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)


# -- vacuum ------------------------------------------------------------------------------------------------------------


@command(
    "vacuum",
    examples=(
        "deltalite vacuum ./events --dry-run",
        "deltalite vacuum ./events --retention 7d --yes",
        "deltalite vacuum ./events --full --keep 12 --keep 20 -n -o json | jq -r '.paths[]'",
    ),
    output=VACUUM,
    python="DeltaTable(TABLE).vacuum(retention_hours, dry_run=..., full=..., keep_versions=[...])",
)
@writable_table_argument
@click.option("--retention", type=Hours(), help="How long removed files stay: 168h, 7d; the table's by default.")
@click.option("--full", is_flag=True, help="List the table, and delete what no commit mentions too.")
@click.option("--keep", type=click.IntRange(0), multiple=True, metavar="VERSION", help="Keep it readable; repeatable.")
@where_option("Only files in partitions for which this holds.")
@click.option("--force", is_flag=True, help="Delete even if the log knows nothing of most of the files.")
@click.option("--short-retention", is_flag=True, help="Allow a retention shorter than the table's.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@message_option
@dry_run_option
def vacuum(settings: Settings, table: str, yes: bool, dry_run: bool, **given: Any) -> None:
    """Delete the files that no version within the retention needs.

    Older versions can then no longer be read, but for tagged ones and those of --keep. What shallow clones read stays.
    Shows its plan and asks, and without a terminal does nothing unless told --yes.
    """
    start = time.perf_counter()
    handle = settings.open_writable(table)
    if not dry_run and not yes and can_ask():
        planned = _vacuum(settings, handle, given, True)
        if not planned or planned.refused:
            dry_run = not planned  # nothing to ask about; what is refused is refused by the real run
        else:
            confirm(settings, f"this deletes files of {handle.table_uri}", False, lambda: "\n".join(_plan(planned)))
    elif not dry_run:
        confirm(settings, f"this deletes the files of {handle.table_uri} that no version to keep needs", yes)
    result = _vacuum(settings, handle, given, dry_run)
    record = vacuum_record(result, start)
    write_record(settings, VACUUM, record, lambda: _vacuum_card(result, record))


def _vacuum(settings: Settings, handle: DeltaTable, given: Mapping[str, Any], dry_run: bool) -> VacuumResult:
    try:
        with Share(settings, "deleted") as progress:
            return handle.vacuum(
                given["retention"], dry_run, not given["short_retention"],
                commit_properties=commit_properties(given["message"]), full=given["full"],
                keep_versions=given["keep"], force=given["force"], partitions=given["where"], progress=progress,
            )  # fmt: skip
    except InvalidArgumentError as error:
        hints = {"retention_hours": "--short-retention allows it, if nobody reads or writes the table",
                 "unknown": "look at them with --dry-run; --force deletes them"}  # fmt: skip
        for fact, hint in hints.items():
            if fact in error.context:
                raise InvalidArgumentError(error.message, hint=hint, **error.context) from error
        raise


def vacuum_record(result: VacuumResult, start: float) -> dict[str, Any]:
    """The record of a vacuum."""
    return {
        "version": result.version,
        "files": len(result),
        "bytes": result.bytes,
        "paths": list(result),
        "kept": result.kept,
        "skipped_files": [list(pair) for pair in result.skipped],
        "directories": result.directories,
        "refused": result.refused,
        "duration_s": round(time.perf_counter() - start, 3),
        "dry_run": result.dry_run,
    }


def _plan(result: VacuumResult) -> Iterator[str]:
    yield f"{text.plural(len(result), 'file')}, {text.size(result.bytes)}"
    yield from (f"  {path}" for path in result[:_SHOWN])
    if len(result) > _SHOWN:
        yield f"  ... and {text.count(len(result) - _SHOWN)} more"
    if result.kept:
        yield "kept " + ", ".join(f"{text.count(n)} {why}" for why, n in sorted(result.kept.items()))
    yield from (f"left alone {path}: {why}" for path, why in result.skipped[:_SHOWN])


def _vacuum_card(result: VacuumResult, record: Record) -> Iterator[str]:
    if not result:
        yield "nothing to delete" + (f": {result.refused}" if result.refused else "")
        return
    first, *rest = _plan(result)
    yield f"would delete {first}" if result.dry_run else f"deleted {first}, {record['duration_s']:.2f} s"
    yield from rest
    if result.refused:
        yield f"would be refused: {result.refused}"


# -- restore -----------------------------------------------------------------------------------------------------------


@command(
    "restore",
    examples=(
        "deltalite restore ./events --to 12 --dry-run",
        "deltalite restore ./events --to 2026-11-20T09:00 --yes",
        "deltalite restore ./events --to @before-import --yes",
    ),
    output=RESTORE,
    python="DeltaTable(TABLE).restore(target, tag=...)",
)
@writable_table_argument
@click.option("--to", required=True, metavar="VERSION|TIME|@TAG", help="Where to go back to; 7d is seven days ago.")
@click.option("--ignore-missing-files", is_flag=True, help="Do without the rows of files that vacuum removed.")
@click.option("--protocol-downgrade", is_flag=True, help="Go back to that version's protocol too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@message_option
@dry_run_option
def restore(settings: Settings, table: str, to: str, yes: bool, dry_run: bool, **given: Any) -> None:
    """Make rows, columns and properties what they were at an earlier version.

    It is a new version: what is undone stays in the history. Asks before it does, and without a terminal does nothing
    unless told --yes.
    """
    handle = settings.open_writable(table)
    point = parse_point(handle.table_uri, to, dt.datetime.now(dt.timezone.utc))

    def change(trial: bool) -> CommitResult:
        target: Any = point.timestamp if point.version is None else point.version
        return handle.restore(
            target, tag=point.tag, ignore_missing_files=given["ignore_missing_files"],
            protocol_downgrade_allowed=given["protocol_downgrade"],
            commit_properties=commit_properties(given["message"]), dry_run=trial,
        )  # fmt: skip

    if not dry_run:
        confirm(settings, f"this restores {handle.table_uri} to {_named(point)}", yes,
                lambda: _restore_sentence(_restored(change(True), True)))  # fmt: skip
    record = _restored(change(dry_run), dry_run)
    write_record(settings, RESTORE, record, lambda: [_restore_sentence(record)])


def _named(point: Target) -> str:
    if point.tag is not None:
        return f"the tag {point.tag}"
    return f"version {point.version}" if point.timestamp is None else f"its state at {text.moment(point.timestamp)}"


def _restored(result: CommitResult, dry_run: bool) -> dict[str, Any]:
    metrics = result.metrics
    return {
        "version": None if dry_run else result.version,
        "operation": result.operation,
        "files": metrics.get("numRestoredFiles", 0),
        "bytes": metrics.get("restoredFilesSize", 0),
        "removed_files": metrics.get("numRemovedFiles", 0),
        "removed_bytes": metrics.get("removedFilesSize", 0),
        "missing_files": metrics.get("numMissingFiles", 0),
        "duration_s": round(result.duration_s, 3),
        "txn_id": result.txn_id,
        "skipped": None if dry_run else result.skipped,
        "dry_run": dry_run,
    }


def _restore_sentence(record: Record) -> str:
    if record["skipped"]:
        return f"nothing to do: {record['skipped']} (version {record['version']})"
    verb = ("would come back", "would go") if record["dry_run"] else ("came back", "went")
    parts = [
        f"{text.plural(record['files'], 'file')} ({text.size(record['bytes'])}) {verb[0]}",
        f"{text.plural(record['removed_files'], 'file')} ({text.size(record['removed_bytes'])}) {verb[1]}",
    ]
    if record["missing_files"]:
        parts.append(f"{text.plural(record['missing_files'], 'file')} missing")
    tail = "" if record["dry_run"] else f": version {record['version']}, {record['duration_s']:.2f} s"
    return ", ".join(parts) + tail


# -- checkpoint --------------------------------------------------------------------------------------------------------


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


COMMANDS: Sequence[click.Command] = (vacuum, restore, checkpoint)
