"""Several operations in one atomic commit.

Each step is planned against the staged snapshot: the base, advanced by commits that were never put into the log. What
is committed in the end is the difference between the base and the last staged snapshot, so that a file born and changed
inside appears once, and one born and removed not at all.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.exceptions import InvalidArgumentError
from deltalite.features.change_data_feed import CHANGE_TYPE, plan_changes, records_changes
from deltalite.model.actions import Action, AddCDCFile, AddFile, Metadata, Protocol, RemoveFile, SetTransaction
from deltalite.model.change import Change
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.expr import BoundExpr
from deltalite.model.files import remove_of
from deltalite.model.paths import relative_path
from deltalite.model.pending import PendingCommit, ReadSet
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import ScanPlan
from deltalite.operations import execute
from deltalite.operations.changed_rows import Reader, View
from deltalite.operations.delete import reads_of
from deltalite.operations.execute import Outcome
from deltalite.operations.options import Committing
from deltalite.operations.row_changes import feed_spec
from deltalite.scan.paths import PathResolver
from deltalite.storage import Store, open_store
from deltalite.write.files import write_files
from deltalite.write.spec import spec_of

logger = logging.getLogger("deltalite.operations")


@dataclass(frozen=True)
class _Step:
    pending: PendingCommit
    commit: Commit
    before: Snapshot
    after: Snapshot


class Staging:
    """The steps of a transaction and the snapshot that they lead to.

    :param base: what the transaction reads; other writers' later commits are conflicts or not, at the end.
    :param external: prefixes outside the table that files may lie under.
    """

    def __init__(self, store: Store, base: Snapshot, external: Sequence[str] = ()) -> None:
        self._store = store
        self._resolve = PathResolver(store, tuple(external), open_store)
        self._base = base
        self._steps: list[_Step] = []
        self._read: list[ReadSet] = []
        self._written: list[str] = []
        self._txn_id = str(uuid.uuid4())
        self._is_over = False
        self.snapshot = base

    def perform(
        self,
        store: Store,
        base: Snapshot | None,
        plan: Callable[[Snapshot | None, str], Change],
        committing: Committing,
        start: float | None = None,
        engine: ArrowEngine | None = None,
    ) -> Outcome:
        """:func:`deltalite.operations.execute.perform` without the commit."""
        if self._is_over:
            raise InvalidArgumentError("the transaction is over", hint="use the table's own handle")
        start = time.perf_counter() if start is None else start
        features.ensure_writable(self.snapshot.config)
        if (seen := execute.already_applied(self.snapshot, committing)) is not None:
            self._read.append(ReadSet(app_ids=frozenset(t.app_id for t in committing.transactions)))
            return Outcome(CommitResult(self._base.version, "WRITE", {}, 0.0, None, seen), self.snapshot)
        change = plan(self.snapshot, self._txn_id)
        pending = execute.execute(store, self.snapshot, change, self._txn_id, committing, engine)
        self._written += pending.written
        self._read.append(pending.reads)  # also of a step that changes nothing: it relied on finding nothing
        skipped = None
        if pending.actions or pending.transactions:
            self._stage(pending)
        else:
            skipped = execute.NOTHING_TO_DO.get(type(change), "nothing changes")
        result = CommitResult(
            self._base.version, pending.operation, pending.metrics, time.perf_counter() - start, None, skipped
        )
        return Outcome(result, self.snapshot)

    def looked(self, plan: ScanPlan, predicate: BoundExpr | None) -> None:
        """Rows were read through the staged handle: what other writers do to them is a conflict, too."""
        names = self._base.config.schema.names
        if predicate is not None and not all(path[0] in names for path in predicate.columns):
            predicate = None  # columns of this transaction's own: the base cannot be judged by them
        if not self._is_over:
            self._read.append(reads_of(plan, predicate))

    def _stage(self, pending: PendingCommit) -> None:
        order = {Protocol: 0, Metadata: 1}
        actions = sorted((*pending.transactions, *pending.actions), key=lambda a: order.get(type(a), 2))
        staged = Commit(self.snapshot.version + 1, encode_commit(actions), time.time_ns() // 1_000_000)
        after = self.snapshot.advance(staged, features.partition_keys)
        self._steps.append(_Step(pending, staged, self.snapshot, after))
        self.snapshot = after

    # -- the end -----------------------------------------------------------------------------------------------------

    def commit(self, committing: Committing) -> Outcome:
        """Commit all steps as one version.

        :raises ConflictError: another writer changed what any step read; nothing is visible.
        """
        start = time.perf_counter()
        base, self._is_over = self._base, True
        if (seen := execute.already_applied(base, committing)) is not None:
            self.discard()
            return Outcome(CommitResult(base.version, "TRANSACTION", {}, 0.0, None, seen), base)
        try:
            pending = self._pending(committing)
        except BaseException:
            self.discard()
            raise
        if not pending.actions and not pending.transactions:
            self.discard()
            why = "the steps of the transaction change nothing"
            return Outcome(CommitResult(base.version, pending.operation, {}, 0.0, None, why), base)
        outcome = execute.finish(self._store, pending, committing, start)
        if outcome.result.skipped is None:
            needed = {relative_path(a.path) for a in pending.actions if isinstance(a, (AddFile, AddCDCFile))}
            needed |= {path for a in pending.actions if isinstance(a, AddFile) for path in features.files_of(a)}
            self._delete([path for path in pending.written if path not in needed])
        return outcome

    def discard(self) -> None:
        """Delete what the steps wrote."""
        self._is_over = True
        self._delete(self._written)

    def _delete(self, paths: list[str]) -> None:
        try:
            if paths:
                self._store.delete_many(paths)
        except Exception as error:
            logger.warning("%d files of a transaction are left for vacuum: %s", len(paths), error)

    def _pending(self, committing: Committing) -> PendingCommit:
        steps = [step.pending for step in self._steps]
        operations = [p.operation for p in steps]
        now_ms = time.time_ns() // 1_000_000
        change_files = self._change_files()
        single = len(steps) == 1
        transactions = {t.app_id: t for p in steps for t in p.transactions}
        for given in committing.transactions:
            last = given.last_updated if given.last_updated is not None else now_ms
            transactions[given.app_id] = SetTransaction(given.app_id, given.version, last)
        return PendingCommit(
            base=self._base,
            operation=operations[0] if single else "TRANSACTION",
            actions=(*self._table_actions(), *self._file_actions(now_ms), *change_files),
            txn_id=self._txn_id,
            reads=self._reads(committing),
            parameters=steps[0].parameters if single else {"operations": operations},
            metrics=_summed(steps),
            custom={**{k: v for p in steps for k, v in p.custom.items()}, **committing.custom},
            transactions=tuple(transactions.values()),
            written=tuple(self._written),
        )

    def _table_actions(self) -> Iterator[Action]:
        """Protocol and metadata where they changed, and domains."""
        old, new = self._base.config, self.snapshot.config
        if new.protocol != old.protocol:
            yield new.protocol
        if new.metadata != old.metadata:
            yield new.metadata
        for name, domain in self.snapshot.domains.items():
            if self._base.domains.get(name) != domain:
                yield domain

    def _file_actions(self, now_ms: int) -> Iterator[Action]:
        before, after = self._base.files, self.snapshot.files
        changes = any(_changes_rows(step.pending) for step in self._steps)
        yield from (remove_of(add, now_ms, changes) for add in before.minus(after))
        yield from (replace(add, data_change=changes) for add in after.minus(before))

    def _reads(self, committing: Committing) -> ReadSet:
        """What the steps read of the base; what they read of one another concerns nobody."""
        reads = self._read
        born = set(self._written)
        return ReadSet(
            tuple(dict.fromkeys(p for r in reads for p in r.predicates)),
            frozenset(key for r in reads for key in r.files if relative_path(key.path) not in born),
            any(r.whole_table for r in reads),
            frozenset().union(*(r.app_ids for r in reads), {t.app_id for t in committing.transactions}),
        )

    def _change_files(self) -> list[AddCDCFile]:
        """The change files of all steps. When one step has some, every other one needs them too: readers of a version
        with a change file look at nothing else. So they do when files were only rearranged besides."""
        steps = [step for step in self._steps if _changes_rows(step.pending)]
        told = [[a for a in step.pending.actions if isinstance(a, AddCDCFile)] for step in steps]
        rearranged = any(_has_files(step.pending) for step in self._steps if step not in steps)
        if not (any(told) or (rearranged and steps)) or not records_changes(self.snapshot.config):
            return []
        found = []
        for step, files in zip(steps, told, strict=True):
            if not files:
                files = self._told(step)
                self._written += [relative_path(f.path) for f in files]
            found += files
        return found

    def _told(self, step: _Step) -> list[AddCDCFile]:
        """Change files for a step whose adds, removes and vectors say what it changed."""
        config = self.snapshot.config
        view = View.of(config, [*config.schema.names, CHANGE_TYPE])
        before, after = (features.partition_keys(s.config) for s in (step.before, step.after))
        parts = [
            view.part(files, before if files.removed else after, {CHANGE_TYPE: files.change_type})
            for files in plan_changes(step.commit, after, before, step.before.files.table)
        ]
        rows = Reader(self._store, self._resolve, pa.cpu_count()).batches(parts)
        spec = feed_spec(spec_of(config, txn_id=self._txn_id))
        stream = pa.RecordBatchReader.from_batches(view.schema, rows)
        return [AddCDCFile(f.path, f.partition_values, f.size) for f in write_files(self._store, spec, stream)]


def _has_files(pending: PendingCommit) -> bool:
    return any(isinstance(a, (AddFile, RemoveFile)) for a in pending.actions)


def _changes_rows(pending: PendingCommit) -> bool:
    return any(isinstance(a, (AddFile, RemoveFile)) and a.data_change for a in pending.actions)


def _summed(steps: list[PendingCommit]) -> Mapping[str, Any]:
    """What the steps counted; of several only what can be added up."""
    if len(steps) == 1:
        return steps[0].metrics
    found: dict[str, int] = {}
    for step in steps:
        for name, value in step.metrics.items():
            if isinstance(value, int):
                found[name] = found.get(name, 0) + value
    return found


class TableTransaction:
    """Several operations, one commit: ``with table.transaction() as t: t.delete(...); t.append(...)``.

    Inside, ``t`` is a handle on the staged table: each step sees the ones before it, nobody else does. Leaving the
    block commits; an exception leaves the table untouched. Afterwards ``result`` says what was committed.
    """

    def __init__(
        self,
        staging: Callable[[], Staging],
        handle: Callable[[Staging], Any],
        moved: Callable[[Outcome], CommitResult],
        committing: Committing,
    ) -> None:
        self._begin = staging
        self._handle = handle
        self._moved = moved
        self._committing = committing
        self._staging: Staging | None = None
        self.result: CommitResult | None = None

    def __enter__(self) -> Any:
        if self._staging is not None:
            raise InvalidArgumentError("a transaction is entered once", hint="ask the table for another one")
        self._staging = self._begin()
        return self._handle(self._staging)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._staging is not None
        if kind is not None:
            self._staging.discard()
        else:
            self.result = self._moved(self._staging.commit(self._committing))
