"""Commits that operations make for themselves, planned anew on the newest version as often as others come first."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from deltalite.engine.arrow import ArrowEngine
from deltalite.exceptions import ConflictError
from deltalite.log import read
from deltalite.model.change import Change
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome, perform
from deltalite.operations.options import Committing
from deltalite.storage.base import Store

ATTEMPTS = 10


def persistently(
    store: Store,
    base: Snapshot,
    plan: Callable[[Snapshot, str], Change],
    committing: Committing,
    engine: ArrowEngine | None = None,
) -> Outcome:
    """Plan and commit, again and again if need be.

    :raises ConflictError: when others were first each time.
    """
    attempt = 1
    while True:
        try:
            return perform(store, base, lambda s, txn_id: plan(cast(Snapshot, s), txn_id), committing, engine=engine)
        except ConflictError:
            if attempt == ATTEMPTS:
                raise
            attempt, base = attempt + 1, read.update(store, base)
