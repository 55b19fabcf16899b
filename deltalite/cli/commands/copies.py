"""convert, clone: tables made of files, or of another table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from deltalite.cli.command import (
    Pair,
    command,
    dry_run_option,
    message_option,
    table_argument,
)
from deltalite.cli.confirm import confirm
from deltalite.cli.output import text, write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.progress import Share
from deltalite.cli.results import RESULT, commit_properties
from deltalite.cli.settings import Settings
from deltalite.exceptions import TableExistsError

_SHARED = {f.name: f for f in RESULT}
MADE = (
    _SHARED["version"],
    _SHARED["operation"],
    Field("files", "integer", "files that the table got; of a clone that was there, those that are new"),
    Field("bytes", "integer", "their size in bytes; null for a shallow clone"),
    Field("removed_files", "integer", "files that a table which was there lost"),
    Field("copied_files", "integer", "files that were copied"),
    *(_SHARED[name] for name in ("duration_s", "skipped", "dry_run")),
)
_PROPERTIES = click.option(
    "--property", "properties", type=Pair(), multiple=True, metavar="KEY=VALUE", help="Table property; repeatable."
)


@command(
    "convert",
    examples=(
        "deltalite convert ./exports --dry-run",
        'deltalite convert ./exports --partition-by "year int, month int"',
        "deltalite convert s3://lake/exports --no-stats",
    ),
    output=MADE,
    python="convert_to_deltalake(PATH, partition_by=..., collect_stats=...)",
)
@click.argument("path")
@click.option(
    "--partition-by", metavar="COLUMNS", help='Partition columns: "year int, month int", or names alone: year,month.'
)
@click.option(
    "--strategy",
    type=click.Choice(("hive", "directory")),
    help="Folders are named year=2026 (hive, found by itself), or just 2026 (directory).",
)
@click.option("--no-stats", is_flag=True, help="Do not collect statistics from the files' footers.")
@click.option("--name", metavar="TEXT", help="Name of the table.")
@click.option("--description", metavar="TEXT", help="Description of the table.")
@_PROPERTIES
@click.option("--if-not-exists", is_flag=True, help="Leave a table that is there alone.")
@message_option
@dry_run_option
def convert(settings: Settings, path: str, **given: Any) -> None:
    """Make a table of the Parquet files below a folder, where they are.

    No file is copied or changed, and no row is read: everything is learnt from names and footers.
    """
    start = time.perf_counter()
    uri, options = settings.locate_writable(path)
    if not _is_there(uri, options):
        version, metrics = _converted(settings, uri, options, given)
        found = {"files": metrics["numConvertedFiles"], "bytes": metrics["numConvertedBytes"]}
        record = _record("CONVERT", version, start, **found, dry_run=given["dry_run"])
    elif given["if_not_exists"]:
        version = settings.open_writable(path).version()
        record = _record("CONVERT", version, start, skipped="the table exists", dry_run=given["dry_run"])
    else:
        raise TableExistsError(f"there is a table at {uri} already", hint="--if-not-exists leaves it alone")
    write_record(settings, MADE, record, lambda: [_sentence(record)])


def _converted(
    settings: Settings, uri: str, options: dict[str, str] | None, given: Mapping[str, Any]
) -> tuple[int | None, Mapping[str, Any]]:
    """The version that a conversion made (none in a dry run), and its metrics."""
    from deltalite.operations import convert as conversion
    from deltalite.operations.opening import store_of

    how = (_partitions(given["partition_by"]), given["strategy"], given["name"], given["description"])
    how = (*how, dict(given["properties"]))
    with Share(settings, "looked at") as progress:
        if given["dry_run"]:
            request = conversion.ConvertRequest(*how, collect_stats=False)
            return None, conversion.plan(request, store_of(uri, options), progress)[1]
        result = conversion.convert_to_deltalake(
            uri, "error", *how, options, collect_stats=not given["no_stats"],
            commit_properties=commit_properties(given["message"]), progress=progress,
        )  # fmt: skip
        return result.version, result.metrics


def _partitions(given: str | None) -> Any:
    from deltalite.operations.create import schema_of

    if given is None:
        return None
    names = [name.strip() for name in given.split(",")]
    return names if all(name and " " not in name for name in names) else schema_of(given)


@command(
    "clone",
    examples=(
        "deltalite clone ./events ./experiment",
        "deltalite clone ./events@release-3 s3://backup/events --deep",
        "deltalite clone ./events ./backup --deep --replace --yes",
    ),
    output=MADE,
    python="DeltaTable(TABLE).clone(target_uri, shallow=..., replace=...)",
)
@table_argument
@click.argument("target")
@click.option("--deep", is_flag=True, help="Copy the files, instead of referring to them.")
@click.option("--replace", is_flag=True, help="Take the place of a table that is there; only what differs is copied.")
@_PROPERTIES
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@message_option
@dry_run_option
def clone(
    settings: Settings,
    table: str,
    target: str,
    deep: bool,
    replace: bool,
    properties: Sequence[tuple[str, str]],
    yes: bool,
    message: str | None,
    dry_run: bool,
) -> None:
    """Make another table with the same rows.

    A shallow clone reads the files of its source, which vacuum keeps for it; commands that read it are told with
    --allow-external where these are. Either table may be changed without the other one noticing. Asks before the rows
    of a table are replaced, and without a terminal does nothing unless told --yes.
    """
    start = time.perf_counter()
    source = settings.open(table)
    uri, options = settings.locate_writable(target)
    is_there = _is_there(uri, options)
    if is_there and not replace:
        raise TableExistsError(f"there is a table at {uri} already", hint="--replace puts the clone in its place")
    if dry_run:
        facts = source.detail()
        found = {"files": facts["num_files"], "bytes": facts["size_in_bytes"] if deep else None}
        record = _record("CLONE", None, start, **found, copied_files=facts["num_files"] if deep else 0, dry_run=True)
    else:
        if is_there:
            confirm(settings, f"this replaces all of {uri} by version {source.version()} of {source.table_uri}", yes)
        with Share(settings, "copied") as progress:
            made = source.clone(
                uri, shallow=not deep, replace=replace, storage_options=options, configuration=dict(properties),
                commit_properties=commit_properties(message), progress=progress,
            )  # fmt: skip
        metrics = made.history(1)[0].get("operationMetrics") or {}
        found = {
            "files": int(metrics.get("numAddedFiles", 0)),
            "bytes": int(metrics.get("copiedFilesSize", 0)) if deep else None,
            "removed_files": int(metrics.get("numRemovedFiles", 0)),
            "copied_files": int(metrics.get("numCopiedFiles", 0)),
        }
        record = _record("CLONE", made.version(), start, **found)
    write_record(settings, MADE, record, lambda: [_sentence(record)])


def _is_there(uri: str, options: dict[str, str] | None) -> bool:
    from deltalite.table import DeltaTable

    return DeltaTable.is_deltatable(uri, options)


def _record(operation: str, version: int | None, start: float, **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("files", "bytes", "removed_files", "copied_files"), 0)
    duration = round(time.perf_counter() - start, 3)
    shared = {"version": version, "operation": operation, "duration_s": duration, "skipped": None, "dry_run": False}
    return {**shared, **counts, **more}


def _sentence(record: Record) -> str:
    if record["skipped"]:
        return f"nothing to do: {record['skipped']}"
    size = "" if record["bytes"] is None else f" ({text.size(record['bytes'])})"
    files = text.plural(record["files"], "file") + size
    verb = "convert" if record["operation"] == "CONVERT" else "clone"
    if record["dry_run"]:
        return f"would {verb} {files}"
    return f"{'converted' if verb == 'convert' else 'cloned'} {files}: version {record['version']}"


COMMANDS = (convert, clone)
