"""What follows a commit and never fails it: checksum, checkpoint, clean-up."""

from __future__ import annotations

import logging
from collections.abc import Callable

from deltalite.log import checksum, write
from deltalite.model.properties import CHECKPOINT_INTERVAL, EXPIRED_LOG_CLEANUP
from deltalite.model.snapshot import Snapshot
from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.txn")


def after_commit(
    store: Store, snapshot: Snapshot, with_checkpoint: bool, with_cleanup: bool | None, now_ms: Callable[[], int]
) -> None:
    pass
