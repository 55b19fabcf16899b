"""What commands that change rows share: options, asking beforehand, and the record or the explanation they print."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import dry_run_option, message_option
from deltalite.cli.confirm import confirm
from deltalite.cli.loading import Size, Txn
from deltalite.cli.output import text, write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.results import ROW_CHANGES, commit_properties
from deltalite.cli.settings import Settings

if TYPE_CHECKING:
    from deltalite.model.result import ChangePreview, CommitResult

    Change = Callable[[bool], CommitResult | ChangePreview]

FILES_SHOWN = 20

EXPLAINED = (
    Field("operation", "text", "what would be done"),
    Field("version", "integer", "the version that was looked at"),
    *(f for f in ROW_CHANGES if f.name.startswith("rows_")),
    Field("bytes_to_write", "integer", "estimate"),
    Field("memory_bytes", "integer", "estimate of what is held at a time, at most"),
    Field(
        "files",
        "json",
        "every live file: path; kept: it is looked into, with the reason; way: keep, remove, mark (with a deletion "
        "vector) or rewrite; rows_changed; rows_copied",
    ),
)
"""What ``--explain`` prints."""

_OPTIONS = (
    click.option("--memory-limit", type=Size(), help="Memory to hold rows in: 512MB; a quarter of what is free."),
    click.option("--txn", type=Txn(), help="Skip it if the table has seen this version of the application."),
    message_option,
    dry_run_option,
    click.option("--explain", is_flag=True, help="Show which files are looked into and changed, and do nothing."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask."),
)


def change_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that change rows."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def how(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a table's methods that :func:`change_options` give."""
    return {
        "memory_limit": given["memory_limit"],
        "txn": given["txn"],
        "commit_properties": commit_properties(given["message"]),
    }


def run_change(
    settings: Settings, given: Mapping[str, Any], plan: str, change: Change, *, asks: bool = True, again: bool = True
) -> None:
    """Explain a change, try it or do it, and print what came of it.

    :param plan: a sentence: "this deletes ...".
    :param change: does it, or with ``True`` finds out what it would do.
    :param asks: rows leave or are replaced.
    :param again: it can be tried before it is done; stdin is read once.
    """
    start = time.perf_counter()
    if given["explain"]:
        explained = _explained(_preview(change))
        write_record(settings, EXPLAINED, explained, lambda: _card(explained))
        return
    if given["dry_run"]:
        record = _tried(_preview(change), start)
    else:
        if asks:
            confirm(settings, plan, given["yes"], partial(_in_short, change) if again else None)
        result: Any = change(False)
        record = _done(result)
    write_record(settings, ROW_CHANGES, record, lambda: [_sentence(record)])


def _preview(change: Change) -> ChangePreview:
    found: Any = change(True)
    return found


# -- records -----------------------------------------------------------------------------------------------------------

_METRICS = {
    "rows_inserted": ("numTargetRowsInserted",),
    "rows_updated": ("numTargetRowsUpdated", "numUpdatedRows"),
    "rows_deleted": ("numTargetRowsDeleted", "numDeletedRows"),
    "rows_copied": ("numTargetRowsCopied", "numCopiedRows"),
    "deletion_vectors": ("numTargetDeletionVectorsAdded", "numDeletionVectorsAdded"),
    "files": ("numTargetFilesAdded", "numAddedFiles"),
    "bytes": ("numTargetBytesAdded", "numAddedBytes"),
    "removed_files": ("numTargetFilesRemoved", "numRemovedFiles"),
    "removed_bytes": ("numTargetBytesRemoved", "numRemovedBytes"),
}


def _counts(metrics: Mapping[str, Any]) -> dict[str, int]:
    return {key: next((metrics[n] for n in names if n in metrics), 0) for key, names in _METRICS.items()}


def _done(result: CommitResult) -> dict[str, Any]:
    return {
        "version": result.version,
        "operation": result.operation,
        **_counts(result.metrics),
        "duration_s": round(result.duration_s, 3),
        "txn_id": result.txn_id,
        "skipped": result.skipped,
        "dry_run": False,
    }


def _tried(preview: ChangePreview, start: float) -> dict[str, Any]:
    return {
        "operation": preview.operation,
        **_counts(preview.metrics),
        "deletion_vectors": preview.files.column("way").to_pylist().count("mark"),
        "files": None,
        "bytes": preview.bytes_to_write,
        "removed_bytes": None,
        "duration_s": round(time.perf_counter() - start, 3),
        "dry_run": True,
    }


def _explained(preview: ChangePreview) -> dict[str, Any]:
    return {**_counts(preview.metrics), **preview.to_dict()}


# -- for people --------------------------------------------------------------------------------------------------------


def _rows(record: Record, noun: bool = True) -> str:
    """``12 rows updated, 3 deleted``."""
    kinds = [(record[f"rows_{kind}"], kind) for kind in ("inserted", "updated", "deleted") if record[f"rows_{kind}"]]
    parts = [f"{text.count(number)} {kind}" for number, kind in kinds]
    if parts and noun:
        number, kind = kinds[0]
        parts[0] = f"{text.plural(number, 'row')} {kind}"
    return ", ".join(parts) or "no row changes"


def _sentence(record: Record) -> str:
    if record.get("skipped"):
        return f"nothing to do: {record['skipped']} (version {record['version']})"
    if record["dry_run"]:
        return f"{_rows(record)}; about {text.size(record['bytes'])} to write; nothing was written"
    parts = [_rows(record)]
    if record["files"]:
        parts.append(f"{text.plural(record['files'], 'file')} written ({text.size(record['bytes'])})")
    if record["removed_files"]:
        parts.append(f"{text.plural(record['removed_files'], 'file')} removed")
    if record["deletion_vectors"]:
        parts.append(f"rows marked in {text.plural(record['deletion_vectors'], 'file')}")
    return f"{'; '.join(parts)}: version {record['version']}, {record['duration_s']:.2f} s"


def _in_short(change: Change) -> str:
    """What would happen, for somebody who is asked whether it should."""
    preview = _preview(change)
    ways = preview.files.column("way").to_pylist()
    touched = len(ways) - ways.count("keep")
    files = f"in {text.count(touched)} of {text.plural(len(ways), 'file')}"
    return f"{_rows(_counts(preview.metrics))}, {files}; about {text.size(preview.bytes_to_write)} to write"


def _card(record: Record) -> Iterator[str]:
    files = record["files"]
    touched = [f for f in files if f["way"] != "keep"]
    skipped = sum(not f["kept"] for f in files)
    yield f"{record['operation']} on version {record['version']}, not executed"
    yield f"  rows    {_rows(record, noun=False)}; {text.count(record['rows_copied'])} copied"
    yield f"  writes  about {text.size(record['bytes_to_write'])}; memory about {text.size(record['memory_bytes'])}"
    yield f"  files   {text.count(len(files))}: {text.count(skipped)} skipped, {text.count(len(touched))} changed"
    reasons: dict[str, int] = {}
    for f in files:
        if not f["kept"]:
            reasons[f["reason"]] = reasons.get(f["reason"], 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1])[:FILES_SHOWN]:
        yield f"    {text.count(count):>8} {reason}"
    for f in touched[:FILES_SHOWN]:
        yield f"    {f['way']:<8} {text.plural(f['rows_changed'], 'row')} changed  {f['path']}"
    if len(touched) > FILES_SHOWN:
        yield f"    ... and {text.count(len(touched) - FILES_SHOWN)} more"


__all__ = ["EXPLAINED", "change_options", "how", "run_change"]
