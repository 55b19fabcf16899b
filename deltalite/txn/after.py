"""What follows a commit and never fails it: checksum, checkpoint, clean-up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from deltalite.log import write
from deltalite.model.properties import CHECKPOINT_INTERVAL, EXPIRED_LOG_CLEANUP
from deltalite.model.snapshot import Snapshot
from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.txn")
T = TypeVar("T")

MANY_FILES = 100_000
"""From so many live files on a checkpoint also waits until the tail is a tenth of the last one."""


def after_commit(
    store: Store,
    snapshot: Snapshot,
    now_ms: Callable[[], int],
    *,
    txn_id: str,
    with_checkpoint: bool = True,
    with_cleanup: bool | None = None,
) -> Snapshot:
    """Do what is due; failures are logged, because the commit stands whatever happens here.

    :param with_cleanup: ``None`` asks ``delta.enableExpiredLogCleanup``.
    :returns: the snapshot, which knows of the checkpoint if one was written.
    """
    _quietly("checksum", lambda: write.put_checksum(store, snapshot, txn_id))
    if not with_checkpoint:
        return snapshot
    checkpointed = _quietly("checkpoint", lambda: _checkpointed(store, snapshot, now_ms()))
    if checkpointed is None:
        return snapshot
    _quietly("clean-up", lambda: _clean_up_if_asked(store, checkpointed, now_ms(), with_cleanup))
    return checkpointed


def _checkpointed(store: Store, snapshot: Snapshot, now_ms: int) -> Snapshot | None:
    """The snapshot with the checkpoint that was due; ``None`` when none was."""
    if not checkpoint_is_due(snapshot):
        return None
    write.put_checkpoint(store, snapshot, now_ms)
    return snapshot.checkpointed()


def _clean_up_if_asked(store: Store, snapshot: Snapshot, now_ms: int, asked: bool | None) -> None:
    if snapshot.config.get(EXPIRED_LOG_CLEANUP) if asked is None else asked:
        write.clean_up(store, snapshot, now_ms)


def checkpoint_is_due(snapshot: Snapshot) -> bool:
    """Every ``delta.checkpointInterval`` versions; less often where a checkpoint holds very many files."""
    interval = snapshot.config.get(CHECKPOINT_INTERVAL)
    if snapshot.version == 0 or snapshot.version % interval:
        return False
    if snapshot.totals is None or snapshot.totals.num_files < MANY_FILES or snapshot.checkpoint_version is None:
        return True
    return (snapshot.version - snapshot.checkpoint_version) >= min(snapshot.totals.num_files // 10_000, 10 * interval)


def checkpoint(store: Store, snapshot: Snapshot, now_ms: int) -> None:
    """Write a checkpoint because somebody asked; failures are raised."""
    write.put_checkpoint(store, snapshot, now_ms)


def clean_up(store: Store, snapshot: Snapshot, now_ms: int) -> int:
    """Remove expired log files because somebody asked; how many are gone."""
    return write.clean_up(store, snapshot, now_ms)


def _quietly(what: str, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Exception as error:
        logger.warning("the commit stands, but its %s was not written: %s", what, error)
        return None
