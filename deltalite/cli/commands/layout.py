"""optimize, zorder, cluster, analyze: how rows lie in files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import (
    columns_option,
    command,
    dry_run_option,
    message_option,
    table_argument,
    where_option,
    writable_table_argument,
)
from deltalite.cli.loading import Size
from deltalite.cli.output import text, write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.progress import Share
from deltalite.cli.rehearsal import rehearsal
from deltalite.cli.results import RESULT, commit_properties
from deltalite.cli.settings import Settings

if TYPE_CHECKING:
    from deltalite.model.layout import LayoutAnalysis, LayoutPreview
    from deltalite.model.result import CommitResult
    from deltalite.table import DeltaTable

_SHOWN = 20
_SHARED = {f.name: f for f in RESULT}
LAYOUT = (
    _SHARED["version"],
    _SHARED["operation"],
    Field("files", "integer", "files written; null in a dry run"),
    Field("bytes", "integer", "their size in bytes; null in a dry run"),
    _SHARED["removed_files"],
    _SHARED["removed_bytes"],
    Field("files_now", "integer", "live files before, of those that were asked for"),
    Field("files_after", "integer", "dry run: live files afterwards, about"),
    Field("memory_bytes", "integer", "dry run: estimate of what is held at a time, at most"),
    Field("lookups", "json", "dry run: by column, the files that a lookup of one value reads now and after, about"),
    Field("warnings", "json", "dry run: what becomes worse"),
    *(_SHARED[name] for name in ("duration_s", "txn_id", "skipped", "dry_run")),
)

ANALYSIS = (
    Field("version", "integer", "the version that was looked at"),
    Field("files", "integer", "live files"),
    Field("bytes", "integer", "their size in bytes"),
    Field("small_files", "integer", "files of less than half the size that they should have"),
    Field("worn_files", "integer", "files of which more than 5 % of the rows are deleted"),
    Field(
        "columns",
        "json",
        "files that a lookup of one value reads: column, average, worst, without_statistics (files always read)",
    ),
)

_OPTIONS = (
    click.option("--target-size", type=Size(), help="Size that files should have: 128MB; the table's by default."),
    click.option("--max-bytes", type=Size(), help="Rewrite no more than this, as in 10GB."),
    click.option("--memory-limit", type=Size(), help="Memory to hold rows in: 512MB; beyond it temporary files."),
    message_option,
    dry_run_option,
)


def layout_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that lay rows out."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@command(
    "optimize",
    examples=(
        "deltalite optimize ./events --dry-run",
        "deltalite optimize ./events --where \"day = date'2026-11-20'\" --target-size 256MB",
        "deltalite optimize ./events --purge",
    ),
    output=LAYOUT,
    python="DeltaTable(TABLE).optimize.compact(where=..., target_size=...), .optimize.purge(predicate)",
)
@writable_table_argument
@where_option("Only files that may hold a row this is true of.")
@click.option("--min-file-size", type=Size(), help="Files below are small; half of the target size by default.")
@click.option("--purge", is_flag=True, help="Instead rewrite all files with deletion vectors: deleted rows are gone.")
@layout_options
def optimize(settings: Settings, table: str, where: str | None, purge: bool, **given: Any) -> None:
    """Put small files together, and rewrite files with many deleted rows.

    No row changes and rows keep their order; the old files stay until vacuum. Doing it again finds nothing to do.
    """
    if purge and (unused := [n for n in ("target_size", "min_file_size", "max_bytes", "memory_limit") if given[n]]):
        raise click.UsageError(f"--purge takes no --{unused[0].replace('_', '-')}")
    handle = settings.open_writable(table)
    if purge:
        _print(settings, _purged(handle, where, given))
    else:
        how = _how(settings, given, where=where, min_file_size=given["min_file_size"])
        _print(settings, lay_out(settings, handle.optimize.compact, handle, how, given["dry_run"]))


@command(
    "zorder",
    examples=(
        "deltalite zorder ./events --by user_id,ts --dry-run",
        "deltalite zorder ./events --by user_id,ts --where \"day >= date'2026-11-01'\"",
    ),
    output=LAYOUT,
    python="DeltaTable(TABLE).optimize.z_order(columns, where=..., target_size=...)",
)
@writable_table_argument
@columns_option("--by", "The columns, separated by commas: rows with similar values come to share files.")
@where_option("Only files that may hold a row this is true of.")
@click.option("--full", is_flag=True, help="All files again, also those that an earlier run laid out.")
@layout_options
def zorder(settings: Settings, table: str, by: list[str] | None, where: str | None, full: bool, **given: Any) -> None:
    """Lay rows out so that lookups by some columns read few files.

    Within each partition. No row changes; the old files stay until vacuum. A dry run tells how many files a lookup
    reads now and after, and warns of orders that are lost.
    """
    if not by:
        raise click.UsageError("--by names the columns: --by user_id,ts")
    handle = settings.open_writable(table)
    how = _how(settings, given, where=where, full=full, columns=by)
    _print(settings, lay_out(settings, handle.optimize.z_order, handle, how, given["dry_run"]))


@command(
    "cluster",
    examples=(
        "deltalite cluster ./events --by user_id,day",
        "deltalite cluster ./events",
        "deltalite cluster ./events --full --dry-run",
    ),
    output=LAYOUT,
    python="DeltaTable(TABLE).alter.cluster_by([...]), .optimize.cluster(full=...)",
)
@writable_table_argument
@columns_option("--by", "First choose these as the clustering columns of the table.")
@click.option("--full", is_flag=True, help="All files again, also those that are clustered.")
@layout_options
def cluster(settings: Settings, table: str, by: list[str] | None, full: bool, **given: Any) -> None:
    """Lay out the rows of a clustered table that are not laid out yet.

    --by makes the table a clustered one, or chooses other columns; writers of any engine then keep what clustering
    needs. No row changes; the old files stay until vacuum.
    """
    handle = settings.open_writable(table)
    how = _how(settings, given, full=full)
    if by and given["dry_run"]:
        with rehearsal(handle) as staged:
            staged.alter.cluster_by(by)
            _print(settings, lay_out(settings, staged.optimize.cluster, staged, how, True))
        return
    if by:
        handle.alter.cluster_by(by, commit_properties=how["commit_properties"])
    _print(settings, lay_out(settings, handle.optimize.cluster, handle, how, given["dry_run"]))


@command(
    "analyze",
    examples=("deltalite analyze ./events", "deltalite analyze ./events --by user_id,ts -o json"),
    output=ANALYSIS,
    python="DeltaTable(TABLE).analyze(columns)",
)
@table_argument
@columns_option("--by", "Only lookups by these columns; by default all that have statistics.")
def analyze(settings: Settings, table: str, by: list[str] | None) -> None:
    """How many files a lookup of one value reads, and which files are small or worn. Metadata only."""
    found = settings.open(table).analyze(by)
    write_record(settings, ANALYSIS, found.to_dict(), lambda: _analysis_card(found))


# -- doing it ----------------------------------------------------------------------------------------------------------


def lay_out(
    settings: Settings, operation: Callable[..., Any], handle: DeltaTable, how: Mapping[str, Any], dry_run: bool
) -> dict[str, Any]:
    """Run an operation of ``optimize``, or preview it; returns its record."""
    start = time.perf_counter()
    with Share(settings, "rewritten") as progress:
        result = operation(**how, progress=progress, dry_run=dry_run)
    return _previewed(result, start) if dry_run else _done(result)


def _how(settings: Settings, given: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    shared = {name: given[name] for name in ("target_size", "max_bytes", "memory_limit")}
    return {**shared, "commit_properties": commit_properties(given["message"]), **more}


def _purged(handle: DeltaTable, where: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    if not given["dry_run"]:
        return _done(handle.optimize.purge(where, commit_properties=commit_properties(given["message"])))
    start = time.perf_counter()
    tasks = handle.plan_scan(predicate=where)
    worn = [task.size or 0 for task in tasks if task.deletion_vector is not None]
    return {
        **dict.fromkeys(f.name for f in LAYOUT),
        "operation": "REORG",
        "removed_files": len(worn),
        "removed_bytes": sum(worn),
        "files_now": len(tasks),
        "skipped": None if worn else "no file has deleted rows",
        "duration_s": round(time.perf_counter() - start, 3),
        "dry_run": True,
    }


def _done(result: CommitResult) -> dict[str, Any]:
    metrics = result.metrics
    return {
        **dict.fromkeys(f.name for f in LAYOUT),
        "version": result.version,
        "operation": result.operation,
        "files": metrics.get("numAddedFiles", 0),
        "bytes": metrics.get("numAddedBytes", 0),
        "removed_files": metrics.get("numRemovedFiles", 0),
        "removed_bytes": metrics.get("numRemovedBytes", 0),
        "files_now": metrics.get("totalConsideredFiles"),
        "duration_s": round(result.duration_s, 3),
        "txn_id": result.txn_id,
        "skipped": result.skipped,
        "dry_run": False,
    }


def _previewed(preview: LayoutPreview, start: float) -> dict[str, Any]:
    return {
        **dict.fromkeys(f.name for f in LAYOUT),
        "operation": preview.operation,
        "removed_files": preview.files_to_rewrite,
        "removed_bytes": preview.bytes_to_rewrite,
        "files_now": preview.files,
        "files_after": preview.files_after,
        "memory_bytes": preview.memory_bytes,
        "lookups": {column: dict(files) for column, files in preview.lookups.items()},
        "warnings": list(preview.warnings),
        "skipped": None if preview.files_to_rewrite else "no file needs it",
        "duration_s": round(time.perf_counter() - start, 3),
        "dry_run": True,
    }


# -- for people --------------------------------------------------------------------------------------------------------


def _print(settings: Settings, record: Record) -> None:
    for warning in record["warnings"] or ():
        settings.warn(warning)
    write_record(settings, LAYOUT, record, lambda: _lines(record))


def in_short(record: Record) -> str:
    """What an operation on the layout did or would do, on one line."""
    if record["skipped"]:
        return f"nothing to do: {record['skipped']}"
    old = f"{text.plural(record['removed_files'], 'file')} ({text.size(record['removed_bytes'])})"
    if not record["dry_run"]:
        new = f"{text.plural(record['files'], 'file')} ({text.size(record['bytes'])})"
        return f"{old} rewritten as {new}"
    if record["files_after"] is None:
        return f"would rewrite {old}"
    number = record["removed_files"] + record["files_after"] - record["files_now"]
    return f"would rewrite {old} as about {text.plural(max(0, number), 'file')}"


def _lines(record: Record) -> Iterator[str]:
    tail = "" if record["dry_run"] else f": version {record['version']}, {record['duration_s']:.2f} s"
    yield in_short(record) + tail
    if record["lookups"]:
        yield f"  {'lookup by':<24}{'files now':>12}{'after, about':>14}"
        changed = sorted(record["lookups"].items(), key=lambda item: -abs(item[1]["after"] - item[1]["now"]))
        for column, files in changed[:_SHOWN]:
            yield f"  {column:<24}{files['now']:>12,.1f}{files['after']:>14,.1f}"
        if len(changed) > _SHOWN:
            yield f"  ... and {text.count(len(changed) - _SHOWN)} more columns, which change less"


def _analysis_card(found: LayoutAnalysis) -> Iterator[str]:
    yield (
        f"version {found.version}: {text.plural(found.files, 'file')} ({text.size(found.bytes)}), "
        f"{text.count(found.small_files)} small, {text.count(found.worn_files)} with many deleted rows"
    )
    yield f"  {'lookup by':<24}{'files on average':>18}{'at worst':>12}{'no statistics':>16}"
    for c in found.columns:
        yield f"  {c.column:<24}{c.average:>18,.1f}{c.worst:>12,}{c.without_statistics:>16,}"


COMMANDS = (optimize, zorder, cluster, analyze)
