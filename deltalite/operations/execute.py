"""From a Change to a version: write its files, make the pending commit, commit it, and clean up after a refusal."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deltalite import features
from deltalite.exceptions import CommitOutcomeUnknown, ConcurrentTransactionError
from deltalite.log import read
from deltalite.model.actions import Action, AddFile, FileKey
from deltalite.model.change import Append, Change
from deltalite.model.files import add_files, remove_of
from deltalite.model.paths import relative_path
from deltalite.model.pending import PendingCommit, ReadSet
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.options import Committing
from deltalite.operations.partitions import matching_partitions
from deltalite.scan.matching import may_match
from deltalite.storage.base import Store
from deltalite.txn.commit import commit
from deltalite.write.files import write_files

logger = logging.getLogger("deltalite.operations")


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
) -> Outcome:
    """Plan, execute and commit one operation.

    :param plan: given the base and the transaction id, what is to be done; nothing is written by it.
    :param start: ``time.perf_counter()`` when the operation began, for its duration.
    """
    start = time.perf_counter() if start is None else start
    if base is not None:
        features.ensure_writable(base.config)
        if (seen := already_applied(base, committing)) is not None:
            return _skipped(base, "WRITE", seen, start)
    txn_id = str(uuid.uuid4())
    change = plan(base, txn_id)
    pending = _execute(store, base, change, txn_id, committing)
    try:
        committed = commit(store, pending, committing.options)
    except CommitOutcomeUnknown:
        raise
    except ConcurrentTransactionError:
        discard(store, pending)
        newest = read.update(store, base) if base is not None else read.read_snapshot(store)
        if (seen := already_applied(newest, committing)) is not None:
            return _skipped(newest, pending.operation, seen, start)
        raise
    except Exception:
        discard(store, pending)
        raise
    duration = time.perf_counter() - start
    result = CommitResult(committed.snapshot.version, pending.operation, dict(pending.metrics), duration, txn_id)
    return Outcome(result, committed.snapshot)


def already_applied(snapshot: Snapshot, committing: Committing) -> str | None:
    """Why nothing is left to do: the table has seen these application transactions."""
    for given in committing.transactions:
        known = snapshot.transactions.get(given.app_id)
        if known is not None and known.version >= given.version:
            return (
                f"transaction {given.app_id!r} is at version {known.version}, so version {given.version} is in already"
            )
    return None


def _skipped(snapshot: Snapshot, operation: str, why: str, start: float) -> Outcome:
    result = CommitResult(snapshot.version, operation, {}, time.perf_counter() - start, None, why)
    return Outcome(result, snapshot)


def _execute(store: Store, base: Snapshot | None, change: Change, txn_id: str, committing: Committing) -> PendingCommit:
    now_ms = time.time_ns() // 1_000_000
    reads = change.reads
    if committing.transactions:
        app_ids = frozenset(t.app_id for t in committing.transactions)
        reads = ReadSet(reads.predicates, reads.files, reads.whole_table, reads.app_ids | app_ids)
    actions: tuple[Action, ...] = change.actions
    metrics: dict[str, int] = {}
    if isinstance(change, Append):
        added = write_files(store, change.spec, change.data)
        replaced, reads = _replaced(base, change, added, reads)
        actions = (*actions, *(remove_of(f, now_ms) for f in replaced), *added)
        metrics = {
            "numFiles": len(added),
            "numOutputRows": sum(rows_of(f) for f in added),
            "numOutputBytes": sum(f.size for f in added),
        }
        if replaced:
            metrics["numRemovedFiles"] = len(replaced)
            metrics["numRemovedBytes"] = sum(f.size or 0 for f in replaced)
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
    )


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
    keys = frozenset(FileKey(f.path, f.deletion_vector.unique_id if f.deletion_vector else None) for f in files)
    return files, ReadSet(reads.predicates, reads.files | keys, reads.whole_table, reads.app_ids)


def rows_of(add: AddFile) -> int:
    """Rows that readers see of a file, from its statistics."""
    import json

    if not add.stats:
        return 0
    deleted = add.deletion_vector.cardinality if add.deletion_vector else 0
    return int(json.loads(add.stats).get("numRecords", 0)) - deleted


def discard(store: Store, pending: PendingCommit) -> None:
    """Delete the files of a commit that did not happen; only ever called after a definite refusal."""
    paths = [relative_path(a.path) for a in pending.actions if isinstance(a, AddFile) and a.data_change]
    try:
        if paths:
            store.delete_many(paths)
    except Exception as error:
        logger.warning("%d files of an aborted commit are left for vacuum: %s", len(paths), error)
