"""maintain: all the care that a table needs, in the right order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from deltalite.cli.command import command, dry_run_option, writable_table_argument
from deltalite.cli.commands.layout import in_short, lay_out
from deltalite.cli.confirm import confirm
from deltalite.cli.output import text, write_records
from deltalite.cli.output.shapes import Field, Show
from deltalite.cli.policy import Policy, load_policy
from deltalite.cli.progress import Share
from deltalite.cli.settings import Settings
from deltalite.exceptions import DeltaError

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

STEPS = (
    Field("step", "text", "compact, zorder or cluster; checkpoint; clean_log; vacuum"),
    Field("status", "text", "done, skipped, failed, or in a dry run planned"),
    Field("what", "text", "what was done or would be, or why not"),
    Field("files", "integer", "files written; null where it is not known"),
    Field("removed_files", "integer", "files taken out of the table, or by vacuum deleted for good"),
    Field("removed_bytes", "integer", "their size in bytes"),
    Field("duration_s", "number", "wall time in seconds"),
)
_VIEW = (
    Show("STEP", lambda r, _: r["step"]),
    Show("STATUS", lambda r, _: r["status"]),
    Show("SECONDS", lambda r, _: f"{r['duration_s']:.2f}", right=True),
    Show("WHAT", lambda r, _: r["what"]),
)


@command(
    "maintain",
    examples=(
        "deltalite maintain ./events --dry-run",
        "deltalite maintain ./events --yes -o json",
        "deltalite maintain ./events --policy care.toml --yes",
    ),
    output=STEPS,
    python="DeltaTable(TABLE).optimize.compact(), .create_checkpoint(), .cleanup_metadata(), .vacuum(dry_run=False)",
)
@writable_table_argument
@click.option("--policy", "path", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="What to do.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@dry_run_option
def maintain(settings: Settings, table: str, path: str | None, yes: bool, dry_run: bool) -> None:
    """All maintenance in the right order, for every night.

    Small files are put together (or a clustered table's new rows clustered), then come a checkpoint, the clean-up of
    the log and vacuum. A policy file, in TOML or JSON, changes that. A step that fails does not keep the next ones from
    being done. Files are deleted: it asks first, and without a terminal does nothing unless told --yes.
    """
    policy = load_policy(path)
    handle = settings.open_writable(table)
    if not dry_run and policy.deletes:
        confirm(settings, f"this maintains {handle.table_uri} and deletes what it no longer needs", yes)
    failures: list[DeltaError] = []
    write_records(settings, STEPS, _run(_Care(settings, handle, policy, dry_run), failures), _VIEW)
    if failures:
        raise failures[0]


@dataclass(frozen=True)
class _Care:
    """One run."""

    settings: Settings
    handle: DeltaTable
    policy: Policy
    dry_run: bool


def _run(care: _Care, failures: list[DeltaError]) -> Iterator[dict[str, Any]]:
    for name, work in _steps(care):
        start = time.perf_counter()
        try:
            found = work(care)
        except DeltaError as error:
            failures.append(error)
            found = {"status": "failed", "what": error.message}
        record = {**dict.fromkeys(f.name for f in STEPS), **found}
        yield {**record, "step": name, "duration_s": round(time.perf_counter() - start, 3)}


def _steps(care: _Care) -> Iterator[tuple[str, Callable[[_Care], Mapping[str, Any]]]]:
    """New files first, so that the checkpoint is of them; what is deleted goes last."""
    policy = care.policy
    if policy.layout != "none":
        kind = _layout(care)
        yield kind, partial(_lay_out, kind)
    if policy.checkpoint:
        yield "checkpoint", _checkpoint
    if policy.clean_log:
        yield "clean_log", _clean_log
    if policy.vacuum:
        yield "vacuum", _vacuum


def _layout(care: _Care) -> str:
    if care.policy.layout != "auto":
        return care.policy.layout
    return "cluster" if "clustering" in care.handle.detail()["table_features"] else "compact"


def _lay_out(kind: str, care: _Care) -> dict[str, Any]:
    policy, optimize = care.policy, care.handle.optimize
    how: dict[str, Any] = {"target_size": policy.target_size, "max_bytes": policy.max_bytes}
    operation = {"compact": optimize.compact, "cluster": optimize.cluster, "zorder": optimize.z_order}[kind]
    if kind == "zorder":
        how["columns"] = policy.zorder_by
    record = lay_out(care.settings, operation, care.handle, how, care.dry_run)
    counts = {name: record[name] for name in ("files", "removed_files", "removed_bytes")}
    return {**counts, "status": _status(care, bool(record["skipped"])), "what": in_short(record)}


def _checkpoint(care: _Care) -> dict[str, Any]:
    version = care.handle.version()
    if care.handle.at().detail()["checkpoint_version"] == version:
        return {"status": "skipped", "what": f"version {version} has one"}
    if not care.dry_run:
        care.handle.create_checkpoint()
    return {"status": _status(care), "what": f"of version {version}"}


def _clean_log(care: _Care) -> dict[str, Any]:
    from deltalite.model.properties import LOG_RETENTION

    days = LOG_RETENTION.of(care.handle.properties()) / 86_400_000
    if not care.dry_run:
        care.handle.cleanup_metadata()
    return {"status": _status(care), "what": f"log files older than {days:g} days"}


def _vacuum(care: _Care) -> dict[str, Any]:
    policy = care.policy
    with Share(care.settings, "deleted") as progress:
        gone = care.handle.vacuum(
            policy.retention_hours, care.dry_run, full=policy.vacuum_full, keep_versions=policy.keep_versions,
            progress=progress,
        )  # fmt: skip
    what = f"{text.plural(len(gone), 'file')} ({text.size(gone.bytes)})" if gone else "no file has expired"
    if gone.refused:
        what += f"; refused: {gone.refused}"
    status = _status(care, not gone or gone.refused is not None)
    return {"status": status, "what": what, "removed_files": len(gone), "removed_bytes": gone.bytes}


def _status(care: _Care, idle: bool = False) -> str:
    return "skipped" if idle else "planned" if care.dry_run else "done"


COMMANDS = (maintain,)
