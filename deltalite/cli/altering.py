"""What commands share that change the table itself: options, a trial without a commit, and the record they print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from deltalite.cli.command import dry_run_option, message_option
from deltalite.cli.confirm import confirm
from deltalite.cli.output import write_record
from deltalite.cli.output.shapes import Field, Record
from deltalite.cli.rehearsal import rehearsal
from deltalite.cli.results import RESULT, commit_properties
from deltalite.cli.settings import Settings

if TYPE_CHECKING:
    from deltalite.model.result import CommitResult
    from deltalite.operations.alter import TableAlterer

    Alter = Callable[..., CommitResult]

_SHARED = {f.name: f for f in RESULT}
ALTERED = (
    _SHARED["version"],
    _SHARED["operation"],
    Field("done", "text", "what was done, in words"),
    *(_SHARED[name] for name in ("duration_s", "txn_id", "skipped", "dry_run")),
)


def alter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that change the table itself."""
    return message_option(dry_run_option(function))


def alter(
    settings: Settings,
    table: str,
    given: Mapping[str, Any],
    change: Callable[[TableAlterer, dict[str, Any]], CommitResult],
    done: str,
    asks: str | None = None,
) -> None:
    """Make a change, or try it, and print what came of it.

    :param given: the values of :func:`alter_options`, and ``yes`` where the command asks.
    :param change: makes it with ``alter`` of a handle, and the arguments that go along.
    :param done: what it does, for people: "dropped x".
    :param asks: a sentence to ask about first: "this drops x".
    """
    handle = settings.open_writable(table)
    properties = {"commit_properties": commit_properties(given["message"])}
    if given["dry_run"]:
        with rehearsal(handle) as staged:
            record = _record(change(staged.alter, {}), done, True)
    else:
        if asks is not None:
            confirm(settings, f"{asks} of {handle.table_uri}", given["yes"])
        record = _record(change(handle.alter, properties), done, False)
    write_record(settings, ALTERED, record, lambda: [_sentence(record)])


def _record(result: CommitResult, done: str, dry_run: bool) -> dict[str, Any]:
    return {
        "version": None if dry_run else result.version,
        "operation": result.operation,
        "done": None if result.skipped else done,
        "duration_s": round(result.duration_s, 3),
        "txn_id": None if dry_run else result.txn_id,
        "skipped": result.skipped,
        "dry_run": dry_run,
    }


def _sentence(record: Record) -> str:
    if record["skipped"]:
        return f"nothing to do: {record['skipped']}"
    return f"possible: {record['done']}" if record["dry_run"] else f"{record['done']}: version {record['version']}"


__all__ = ["ALTERED", "alter", "alter_options"]
