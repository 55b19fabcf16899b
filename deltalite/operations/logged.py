"""Commits of actions that are known beforehand: RESTORE, clones, conversion, repairs of the log."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from deltalite.model.change import LogOnly
from deltalite.model.pending import PendingCommit
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome, already_applied, finish
from deltalite.operations.options import Committing
from deltalite.storage.base import Store

AT_ONCE = 32
T = TypeVar("T")
S = TypeVar("S")


def commit_actions(
    store: Store,
    base: Snapshot | None,
    change: LogOnly,
    committing: Committing,
    metrics: Mapping[str, Any],
    *,
    start: float,
    dry_run: bool = False,
    written: Iterable[str] = (),
    txn_id: str | None = None,
) -> Outcome:
    """Commit them, or say why not.

    :param metrics: for the result and the log.
    :param start: ``time.perf_counter()`` when the operation began.
    :param written: files that exist for the commit's sake alone; they go again when it is refused.
    """
    if base is not None:
        skipped = "a dry run" if dry_run else already_applied(base, committing)
        if skipped is None and not change.actions and not committing.transactions:
            skipped = "the table is that way already"
        if skipped is not None:
            result = CommitResult(
                base.version, change.operation, dict(metrics), time.perf_counter() - start, None, skipped
            )
            return Outcome(result, base)
    pending = PendingCommit(
        base, change.operation, change.actions, txn_id or str(uuid.uuid4()), change.reads, change.parameters,
        metrics, committing.custom, committing.transactions, tuple(written),
    )  # fmt: skip
    return finish(store, pending, committing, start)


def in_threads(work: Callable[[S], T], items: Iterable[S], name: str, at_once: int = AT_ONCE) -> list[T]:
    """The results of slow reads, in order."""
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(at_once, len(items)), f"deltalite-{name}") as pool:
        return list(pool.map(work, items))
