"""The commit loop: finalise, put if absent, on loss check the winners, again.

::

    put N ── 2xx ───────────────────────────────> committed at N
      │
      ├── taken ── read N ── our txnId ─────────> committed at N (the reply had been lost)
      │                └── another's ───────────> check it and what follows; N := latest + 1; finalise anew
      │
      ├── no definite answer ── read N ── ours ─> committed at N
      │                          ├── another's ─> as above
      │                          └── absent ────> the same bytes at the same N again, until an answer
      │                                           or the end of the budget: CommitOutcomeUnknown
      └── definite refusal ─────────────────────> StorageError; nothing is visible, ever

Moving on to N + 1 while the first request may still be under way is how commits double; only a definite loss does it.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from deltalite import features
from deltalite.exceptions import (
    CommitFailedError,
    CommitOutcomeUnknown,
    DeltaError,
    InvalidTableError,
    ProtocolChangedError,
    StorageError,
    TableNotFoundError,
)
from deltalite.log import read, write
from deltalite.model.actions import Action, AddFile, RemoveFile
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.paths import commit_file
from deltalite.model.pending import PendingCommit
from deltalite.model.snapshot import Snapshot, Totals
from deltalite.storage.base import AmbiguousPut, NotDurable, Store
from deltalite.txn import after, conflicts
from deltalite.txn.finalize import config_after, finalize, isolation_level

logger = logging.getLogger("deltalite.txn")


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """How long a commit insists.

    :param max_retries: versions that may be lost to other writers before giving up.
    :param unknown_budget_s: seconds to insist on a definite answer.
    :param checkpoint: whether a due checkpoint is written afterwards.
    :param cleanup: whether expired log files are removed afterwards; ``None`` asks the table.
    """

    max_retries: int = 1000
    unknown_budget_s: float = 30.0
    checkpoint: bool = True
    cleanup: bool | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What the loop takes from outside itself, so that a test can give it another."""

    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


WORLD = World()


@dataclass(frozen=True, slots=True)
class Committed:
    """A version that is in the log for good. ``attempts`` counts the versions that were tried."""

    snapshot: Snapshot
    actions: tuple[Action, ...]
    attempts: int


def commit(
    store: Store, pending: PendingCommit, options: CommitOptions | None = None, world: World | None = None
) -> Committed:
    """Make a pending commit the next version of its table.

    :raises ConflictError: another writer's commit contradicts it; nothing is visible.
    :raises CommitOutcomeUnknown: nobody can tell; nothing may be deleted.
    :raises StorageError: the storage refused; nothing is visible.
    """
    options, world = options or CommitOptions(), world or WORLD
    _require_commits(store)
    base = pending.base
    for attempt in range(1, options.max_retries + 2):
        version = base.version + 1 if base else 0
        actions = finalize(pending, base, world.now_ms())
        body = encode_commit(actions)
        started = world.monotonic()
        winner = _put(store, version, body, pending.txn_id, options, world)
        if winner is None:
            seen = partial(_advanced, base, version, body, actions, world.now_ms())
            snapshot = _landed(pending.txn_id, version, seen)
            snapshot = after.after_commit(
                store, snapshot, world.now_ms,
                txn_id=pending.txn_id, with_checkpoint=options.checkpoint, with_cleanup=options.cleanup,
            )  # fmt: skip
            return Committed(snapshot, tuple(actions), attempt)
        logger.info("version %d was taken by another writer", version)
        base, mine = _pass_winners(store, pending, base, version)
        if mine is not None:
            return Committed(mine, tuple(actions), attempt)
        took = world.monotonic() - started
        world.sleep(min(2.0, took * 2 ** min(attempt - 1, 4)) * world.random())
    raise CommitFailedError(
        f"gave up after losing {options.max_retries + 1} versions to other writers",
        hint="too many writers at once; allow more with CommitProperties(max_commit_retries=...)",
        txn_id=pending.txn_id,
    )


def _require_commits(store: Store) -> None:
    if not store.accepts_commits:
        raise StorageError(
            f"{store.root} cannot create a file only if it is absent: two writers could overwrite each other's commit",
            hint="if nobody else ever writes this table, open it with storage_options={'single_writer': 'true'}",
        )


def _put(store: Store, version: int, body: bytes, txn_id: str, options: CommitOptions, world: World) -> Commit | None:
    """Put the body at its version and find out what became of it: ``None`` if it is there, else the winner."""
    deadline = world.monotonic() + options.unknown_budget_s
    pause, put_before = 0.05, False
    while True:
        try:
            write.put_commit(store, version, body)
            return None
        except FileExistsError:
            answer = _read_back(store, version)
        except NotDurable as error:
            raise _unknown(txn_id, version, "the disk did not promise to keep it") from error
        except AmbiguousPut as error:
            logger.warning("no definite answer for version %d: %s", version, error)
            answer = _read_back(store, version)
        except DeltaError:
            if put_before:
                raise _unknown(txn_id, version, "a first request went unanswered, a second one was refused") from None
            raise
        except BaseException as error:
            if _read_back_quietly(store, version, txn_id):
                if isinstance(error, Exception):
                    return None
                logger.warning("interrupted, but version %d is committed", version)
            elif isinstance(error, Exception):
                raise _unknown(txn_id, version, repr(error)) from error
            raise
        if answer is not None:
            return None if answer.txn_id == txn_id else answer
        if world.monotonic() > deadline:
            raise _unknown(txn_id, version, "the storage gave no definite answer in time")
        put_before = True
        world.sleep(pause * (0.5 + world.random()))
        pause = min(pause * 2, 2.0)


def _read_back(store: Store, version: int) -> Commit | None:
    """What is in the log at a version; ``None`` while nothing is, or nothing can be read."""
    try:
        data = store.get(commit_file(version))
    except FileNotFoundError:
        return None
    except (OSError, StorageError) as error:
        logger.warning("cannot read version %d back: %s", version, error)
        return None
    found = Commit(version, data)
    if not data.strip():
        raise InvalidTableError(
            f"{commit_file(version)} is empty", hint="a writer was cut off; see `deltalite fsck`", version=version
        )
    return found


def _read_back_quietly(store: Store, version: int, txn_id: str) -> bool:
    try:
        found = _read_back(store, version)
    except Exception:
        return False
    return found is not None and found.txn_id == txn_id


def _unknown(txn_id: str, version: int, why: str) -> CommitOutcomeUnknown:
    return CommitOutcomeUnknown(
        f"nobody can tell whether version {version} was written: {why}",
        hint=f"nothing was deleted; ask DeltaTable.resolve({txn_id!r}) before you repeat the operation",
        txn_id=txn_id,
        version=version,
    )


def _landed(txn_id: str, version: int, see: Callable[[], Snapshot]) -> Snapshot:
    """The table after a commit that is in the log for good; whatever fails now must not pass for a refusal, after which
    its files would be deleted."""
    try:
        return see()
    except Exception as error:
        raise CommitOutcomeUnknown(
            f"version {version} is committed, but the table cannot be read since: {error}",
            hint="nothing was deleted; do not repeat the operation",
            txn_id=txn_id,
            version=version,
        ) from error


def _pass_winners(
    store: Store, pending: PendingCommit, base: Snapshot | None, version: int
) -> tuple[Snapshot | None, Snapshot | None]:
    """Check every commit from ``version`` on; the snapshot after them, and ours if one of them was ours."""
    if base is None:
        return _table_appeared(store, pending)
    for winner in read.read_commits(store, version):
        if winner.txn_id == pending.txn_id:
            seen = partial(base.advance, winner, features.partition_keys)
            return base, _landed(pending.txn_id, winner.version, seen)
        isolation = isolation_level(pending, pending.base)
        config = pending.base.config if pending.base else base.config
        conflicts.check(conflicts.Contest(pending, winner, config, isolation))
        base = base.advance(winner, features.partition_keys)
        config = config_after(pending, base)
        features.ensure_writable(config)
        if config.metadata is not base.config.metadata:
            features.check(config)
    return base, None


def _table_appeared(store: Store, pending: PendingCommit) -> tuple[Snapshot | None, Snapshot | None]:
    for winner in read.read_commits(store, 0):
        if winner.txn_id == pending.txn_id:
            return None, _landed(pending.txn_id, winner.version, partial(read.read_snapshot, store, winner.version))
        break
    else:
        raise TableNotFoundError(f"the log of {store.root} vanished while its first version was written")
    raise ProtocolChangedError(
        f"another writer created the table at {store.root} first",
        hint="append to it, or overwrite it",
        winner_version=0,
        winner_txn_id=winner.txn_id,
    )


def _advanced(base: Snapshot | None, version: int, body: bytes, actions: list[Action], now: int) -> Snapshot:
    committed = Commit(version, body, now)
    if base is None:
        found, totals = Snapshot.first(committed, features.partition_keys), Totals(0, 0)
    else:
        found, totals = base.advance(committed, features.partition_keys), base.totals
    if totals is None or _describes_anew(actions):
        return found
    files, size = totals.num_files, totals.size_in_bytes
    for action in actions:
        if isinstance(action, AddFile):
            files, size = files + 1, size + action.size
        elif isinstance(action, RemoveFile):
            if action.size is None:
                return found
            files, size = files - 1, size - action.size
    return replace(found, totals=Totals(files, size))


def _describes_anew(actions: list[Action]) -> bool:
    """Whether files are added that may be in the table already: with other statistics or row ids, say."""
    adds = [a for a in actions if isinstance(a, AddFile)]
    return bool(adds) and not any(a.data_change for a in adds) and not any(isinstance(a, RemoveFile) for a in actions)
