"""What commands that commit print: one record, the same keys for all of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from deltalite.cli.output import text
from deltalite.cli.output.shapes import Field, Record

if TYPE_CHECKING:
    from deltalite.model.result import CommitResult
    from deltalite.operations.options import CommitProperties

RESULT = (
    Field("version", "integer", "the version the table has now; null in a dry run"),
    Field("operation", "text", "what was done, as history shows it"),
    Field("rows", "integer", "rows written"),
    Field("files", "integer", "files written"),
    Field("bytes", "integer", "their size in bytes"),
    Field("removed_files", "integer", "files taken out of the table"),
    Field("removed_bytes", "integer", "their size in bytes"),
    Field("duration_s", "number", "wall time in seconds"),
    Field("txn_id", "text", "id of the commit; null when nothing was committed"),
    Field("skipped", "text", "why nothing was committed, else null"),
    Field("dry_run", "boolean", "nothing was done, this is what would be"),
)

_SHARED = {f.name: f for f in RESULT}
ROW_CHANGES = (
    _SHARED["version"],
    _SHARED["operation"],
    Field("rows_inserted", "integer", "new rows"),
    Field("rows_updated", "integer", "rows with new values"),
    Field("rows_deleted", "integer", "rows that left"),
    Field("rows_copied", "integer", "rows written again unchanged, because others of their file changed"),
    Field("deletion_vectors", "integer", "files in which rows were marked as deleted instead"),
    Field("files", "integer", "files written; null in a dry run"),
    Field("bytes", "integer", "their size in bytes; in a dry run an estimate"),
    Field("removed_files", "integer", "files taken out of the table"),
    Field("removed_bytes", "integer", "their size in bytes; null in a dry run"),
    *(_SHARED[name] for name in ("duration_s", "txn_id", "skipped", "dry_run")),
)
"""What commands print that change rows."""


def commit_properties(message: str | None) -> CommitProperties | None:
    """What ``--message`` puts into a commit."""
    if message is None:
        return None
    from deltalite.operations.options import CommitProperties

    return CommitProperties({"userMetadata": message})


def record_of(operation: str, version: int | None, start: float, **more: Any) -> dict[str, Any]:
    """A record without a ``CommitResult``.

    :param start: ``time.perf_counter()`` when the command began.
    """
    record: dict[str, Any] = dict.fromkeys(f.name for f in RESULT)
    counts = dict.fromkeys(("rows", "files", "bytes", "removed_files", "removed_bytes"), 0)
    duration = round(time.perf_counter() - start, 3)
    return {
        **record,
        **counts,
        "version": version,
        "operation": operation,
        "duration_s": duration,
        "dry_run": False,
        **more,
    }


def committed(result: CommitResult) -> dict[str, Any]:
    """A ``CommitResult`` under the names of the command line."""
    metrics = result.metrics
    return {
        "version": result.version,
        "operation": result.operation,
        "rows": metrics.get("numOutputRows", 0),
        "files": metrics.get("numFiles", 0),
        "bytes": metrics.get("numOutputBytes", 0),
        "removed_files": metrics.get("numRemovedFiles", 0),
        "removed_bytes": metrics.get("numRemovedBytes", 0),
        "duration_s": round(result.duration_s, 3),
        "txn_id": result.txn_id,
        "skipped": result.skipped,
        "dry_run": False,
    }


def sentence(record: Record, done: str) -> str:
    """A result as people read it.

    :param done: what happened to the rows: "appended".
    """
    if record["skipped"]:
        return f"nothing to do: {record['skipped']} (version {record['version']})"
    if record["operation"] == "CREATE TABLE":
        return "would create the table" if record["dry_run"] else f"created: version {record['version']}"
    rows = text.plural(record["rows"], "row")
    if record["dry_run"]:
        return f"{rows} would be {done}; nothing was written"
    parts = [f"{rows} {done} in {text.plural(record['files'], 'file')} ({text.size(record['bytes'])})"]
    if record["removed_files"]:
        parts.append(
            f"in place of {text.plural(record['removed_files'], 'file')} ({text.size(record['removed_bytes'])})"
        )
    return f"{', '.join(parts)}: version {record['version']}, {record['duration_s']:.2f} s"
