"""From a Change to a version: write its files, make the pending commit, commit it, and clean up after a refusal."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deltalite import features
from deltalite._lazy import LazyModule
from deltalite.exceptions import CommitOutcomeUnknown, ConcurrentTransactionError, ExpressionError
from deltalite.log import read
from deltalite.model.actions import Action, AddFile, Metadata, Protocol
from deltalite.model.change import Append, Change, LogOnly, Rewrite, RowChanges
from deltalite.model.config import TableConfig
from deltalite.model.files import add_files, remove_of
from deltalite.model.paths import relative_path
from deltalite.model.pending import PendingCommit, ReadSet
from deltalite.model.properties import AUTO_COMPACT
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.options import Committing
from deltalite.operations.partitions import matching_partitions
from deltalite.scan.matching import may_match
from deltalite.storage.base import Store
from deltalite.txn.commit import commit
from deltalite.write.files import write_rows

if TYPE_CHECKING:
    from deltalite.engine.arrow import ArrowEngine
    from deltalite.operations import auto_compaction, file_changes, rewriting, row_changes, row_metrics
else:  # appending does not need them
    auto_compaction, file_changes, rewriting, row_changes, row_metrics = (
        LazyModule(f"deltalite.operations.{name}")
        for name in ("auto_compaction", "file_changes", "rewriting", "row_changes", "row_metrics")
    )

logger = logging.getLogger("deltalite.operations")

NOTHING_TO_DO: Mapping[type, str] = {
    RowChanges: "no row of the table is affected",
    Rewrite: "no file of the table needs it",
    LogOnly: "the table is that way already",
}
"""Why a change without actions is not committed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result and the snapshot that it left."""

    result: CommitResult
    snapshot: Snapshot


def perform(
    store: Store,
    base: Snapshot | None,
    plan: Callable[[Snapshot | None, str], Change],
    committing: Committing,
    start: float | None = None,
    engine: ArrowEngine | None = None,
) -> Outcome:
    """Plan, execute and commit one operation.

    :param plan: given the base and the transaction id, what is to be done; nothing is written by it.
    :param start: ``time.perf_counter()`` when the operation began, for its duration.
    :param engine: what changes rows; operations that only add or log need none.
    """
    start = time.perf_counter() if start is None else start
    if base is not None:
        features.ensure_writable(base.config)
        if (seen := already_applied(base, committing)) is not None:
            return _skipped(base, "WRITE", seen, start)
    txn_id = str(uuid.uuid4())
    change = plan(base, txn_id)
    pending = execute(store, base, change, txn_id, committing, engine)
    if base is not None and not pending.actions and not pending.transactions and type(change) in NOTHING_TO_DO:
        return _skipped(base, pending.operation, NOTHING_TO_DO[type(change)], start, pending.metrics)
    return finish(store, pending, committing, start)


def finish(store: Store, pending: PendingCommit, committing: Committing, start: float) -> Outcome:
    """Commit what was executed, and clean up after a refusal."""
    try:
        committed = commit(store, pending, committing.options)
    except CommitOutcomeUnknown:
        raise
    except ConcurrentTransactionError:
        discard(store, pending.written)
        newest = read.update(store, pending.base) if pending.base is not None else read.read_snapshot(store)
        if (seen := already_applied(newest, committing)) is not None:
            return _skipped(newest, pending.operation, seen, start)
        raise
    except Exception:
        discard(store, pending.written)
        raise
    duration = time.perf_counter() - start
    result = CommitResult(
        committed.snapshot.version, pending.operation, dict(pending.metrics), duration, pending.txn_id
    )
    return Outcome(result, _compacted(store, pending, committed.snapshot, committing))


def _compacted(store: Store, pending: PendingCommit, snapshot: Snapshot, committing: Committing) -> Snapshot:
    """The table after a commit that changed rows, small files put together if its properties say so."""
    try:
        if snapshot.config.get(AUTO_COMPACT) == "false":
            return snapshot
        added = [a for a in pending.actions if isinstance(a, AddFile) and a.data_change]
        return auto_compaction.after_write(store, snapshot, added, committing) if added else snapshot
    except Exception as error:
        logger.warning("the commit stands, but nobody looked for small files: %s", error)
        return snapshot


def already_applied(snapshot: Snapshot, committing: Committing) -> str | None:
    """Why nothing is left to do: the table has seen these application transactions."""
    for given in committing.transactions:
        known = snapshot.transactions.get(given.app_id)
        if known is not None and known.version >= given.version:
            return (
                f"transaction {given.app_id!r} is at version {known.version}, so version {given.version} is in already"
            )
    return None


def _skipped(
    snapshot: Snapshot, operation: str, why: str, start: float, metrics: Mapping[str, int] | None = None
) -> Outcome:
    result = CommitResult(snapshot.version, operation, dict(metrics or {}), time.perf_counter() - start, None, why)
    return Outcome(result, snapshot)


def execute(
    store: Store,
    base: Snapshot | None,
    change: Change,
    txn_id: str,
    committing: Committing,
    engine: ArrowEngine | None = None,
) -> PendingCommit:
    """Write the files of a change; nobody sees them before the commit."""
    now_ms = time.time_ns() // 1_000_000
    reads = change.reads
    if committing.transactions:
        app_ids = frozenset(t.app_id for t in committing.transactions)
        reads = ReadSet(reads.predicates, reads.files, reads.whole_table, reads.app_ids | app_ids)
    actions: tuple[Action, ...] = change.actions
    metrics: dict[str, int] = {}
    written: tuple[str, ...] = ()
    if isinstance(change, Append):
        added, numbers = write_rows(store, change.spec, change.data)
        written = tuple(relative_path(f.path) for f in added)
        actions = with_numbers(base, actions, numbers)
        try:
            replaced, reads = _replaced(base, change, added, reads)
        except BaseException:
            discard(store, written)
            raise
        actions = (*actions, *(remove_of(f, now_ms) for f in replaced), *added)
        metrics = {
            "numFiles": len(added),
            "numOutputRows": sum(rows_of(f) for f in added),
            "numOutputBytes": sum(f.size for f in added),
        }
        if replaced:
            metrics["numRemovedFiles"] = len(replaced)
            metrics["numRemovedBytes"] = sum(f.size or 0 for f in replaced)
    elif isinstance(change, RowChanges):
        assert base is not None and engine is not None
        done = _change_rows(store, base, change, engine, now_ms)
        actions = (*with_numbers(base, actions, done.numbers), *done.actions) if done.actions else ()
        metrics, written = done.metrics, done.paths
    elif isinstance(change, Rewrite):
        assert base is not None and engine is not None
        done = rewriting.rewrite_files(store, engine, base, change, now_ms)
        actions, metrics, written = (*actions, *done.actions), done.metrics, done.paths
    return PendingCommit(
        base=base,
        operation=change.operation,
        actions=actions,
        txn_id=txn_id,
        reads=reads,
        parameters=change.parameters,
        metrics=metrics,
        custom=committing.custom,
        transactions=tuple(t if t.last_updated is not None else _dated(t, now_ms) for t in committing.transactions),
        written=written,
    )


def with_numbers(base: Snapshot | None, actions: tuple[Action, ...], numbers: Mapping[str, int]) -> tuple[Action, ...]:
    """The table's actions with the metadata that goes with numbers given to rows; set before the first attempt, so that
    another writer's numbers are a conflict."""
    if not numbers:
        return actions
    protocol = next((a for a in actions if isinstance(a, Protocol)), base.config.protocol if base else None)
    metadata = next((a for a in actions if isinstance(a, Metadata)), base.config.metadata if base else None)
    assert protocol is not None and metadata is not None
    counted = features.after_rows(TableConfig(protocol, metadata), numbers)
    return actions if counted is None else (*(a for a in actions if not isinstance(a, Metadata)), counted)


def _change_rows(
    store: Store, base: Snapshot, change: RowChanges, engine: ArrowEngine, now_ms: int
) -> row_changes.Written:
    """Find the rows, decide about their files, write. Without any such row there are no actions."""
    started = time.perf_counter()
    try:
        edits = engine.find(change)
        found = time.perf_counter()
        files = file_changes.decide(engine, base, change, edits)
        if edits.is_empty and change.appended is None:
            done = row_changes.Written((), row_metrics.row_metrics(change, edits, files, (), ()), ())
        else:
            done = row_changes.write_changes(store, engine, change, edits, files, now_ms)
    except ExpressionError as error:
        if change.readable is None:
            raise
        raise change.readable(error) from None
    finally:
        if change.source is not None:
            change.source.close()
    ended = time.perf_counter()
    times = {"executionTimeMs": ended - started, "scanTimeMs": found - started, "rewriteTimeMs": ended - found}
    return replace(done, metrics={**done.metrics, **{name: round(s * 1000) for name, s in times.items()}})


def _dated(transaction, now_ms: int):
    return type(transaction)(transaction.app_id, transaction.version, now_ms)


def _replaced(
    base: Snapshot | None, change: Append, added: Sequence[AddFile], reads: ReadSet
) -> tuple[list[AddFile], ReadSet]:
    """The live files that leave, and the reads that this means."""
    table = change.replaced
    if change.replace_partitions and base is not None and added:
        predicate = matching_partitions(base.config, added)
        live = base.files.table()
        table = live.filter(may_match(base.config, live, predicate))
        reads = ReadSet((*reads.predicates, predicate), reads.files, reads.whole_table, reads.app_ids)
    if table is None or not table.num_rows:
        return [], reads
    files = add_files(table)
    keys = frozenset(f.key for f in files)
    return files, ReadSet(reads.predicates, reads.files | keys, reads.whole_table, reads.app_ids)


def rows_of(add: AddFile) -> int:
    """Rows that readers see of a file, from its statistics."""
    import json

    if not add.stats:
        return 0
    deleted = add.deletion_vector.cardinality if add.deletion_vector else 0
    return int(json.loads(add.stats).get("numRecords", 0)) - deleted


def discard(store: Store, written: Sequence[str]) -> None:
    """Delete the files of a commit that did not happen; only ever called after a definite refusal."""
    try:
        if written:
            store.delete_many(written)
    except Exception as error:
        logger.warning("%d files of an aborted commit are left for vacuum: %s", len(written), error)
