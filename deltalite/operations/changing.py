"""DELETE, UPDATE and MERGE run the same way: a plan with an engine at hand, then a commit or a preview."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.spill import Budget
from deltalite.model.change import RowChanges
from deltalite.model.result import ChangePreview
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome, perform
from deltalite.operations.options import Committing
from deltalite.operations.preview import preview
from deltalite.scan.paths import PathResolver
from deltalite.storage import Store, open_store

Plan = Callable[[Snapshot, str, ArrowEngine], RowChanges]


def engine_of(store: Store, external: Sequence[str] = (), memory_limit: int | str | None = None) -> ArrowEngine:
    """The local engine for one operation.

    :param external: prefixes outside the table that files may lie under.
    :param memory_limit: bytes, or a size such as ``"512MB"``; ``None`` is a quarter of what is free.
    """
    return ArrowEngine(store, PathResolver(store, tuple(external), open_store), Budget(memory_limit))


def change_rows(
    store: Store,
    base: Snapshot,
    plan: Plan,
    committing: Committing,
    *,
    run: Callable[..., Outcome] = perform,
    external: Sequence[str] = (),
    memory_limit: int | str | None = None,
    dry_run: bool = False,
) -> Outcome | ChangePreview:
    """Run one row-changing operation, or find out what it would do.

    :param run: how it takes effect: ``execute.perform``, or as a step of a transaction.
    """
    start = time.perf_counter()
    engine = engine_of(store, external, memory_limit)
    if dry_run:
        features.ensure_writable(base.config)
        return preview(base, plan(base, "", engine), engine)

    def planned(snapshot: Snapshot | None, txn_id: str) -> RowChanges:
        assert snapshot is not None
        return plan(snapshot, txn_id, engine)

    return run(store, base, planned, committing, start, engine)
