"""The deleting part of VACUUM: between two commits that record it, batch after batch, watching what becomes needed."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from deltalite.exceptions import ConflictError
from deltalite.log import read
from deltalite.model.pending import PendingCommit
from deltalite.model.properties import DELETED_FILE_RETENTION
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import Outcome, finish
from deltalite.operations.file_references import TableRoot
from deltalite.operations.options import Committing
from deltalite.operations.vacuum_plan import VacuumPlan, VacuumRequest
from deltalite.operations.vacuum_read import OpenStore, Planned, added_files, pinned_files
from deltalite.storage.base import FileMeta, Store
from deltalite.storage.tree import remove_empty_directories

logger = logging.getLogger("deltalite.operations")

Progress = Callable[[int, int], None]
_BATCH = 500
_BATCHES_AT_ONCE = 8
_ATTEMPTS = 10


@dataclass
class Deleted:
    """How far the deleting has come.

    :param gone: paths that are really gone.
    :param left: planned ones that are not, each with the reason.
    :param directories: how many empty ones were removed.
    """

    gone: list[str] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    directories: int = 0


class Watch:
    """Looks for files that became needed after the plan was made: a version was restored, a tag set, a clone made.

    :param version: the version that was planned for.
    :param known: the pins that it knew of.
    """

    def __init__(self, store: Store, version: int, known: frozenset[object], open_store: OpenStore) -> None:
        self._store = store
        self._root = TableRoot(store)
        self._version = version
        self._known = known
        self._open_store = open_store
        self._needed: set[str] = set()

    def needed(self) -> set[str]:
        """All paths that became needed so far."""
        for version, paths in added_files(self._store, self._root, self._version):
            self._needed |= paths
            self._version = version
        pinned, known = pinned_files(self._store, self._root, (), self._open_store, self._known)
        self._needed.update(pinned)
        self._known |= known
        return self._needed


def log_start(store: Store, planned: Planned, request: VacuumRequest, committing: Committing) -> Outcome:
    """Record that a VACUUM begins.

    :raises ConflictError: the table's metadata or protocol changed since the plan was made.
    """
    config = planned.snapshot.config
    parameters = {
        "retentionCheckEnabled": request.enforce_retention,
        "specifiedRetentionMillis": request.retention_ms(config),
        "defaultRetentionMillis": config.get(DELETED_FILE_RETENTION),
    }
    metrics = {"numFilesToDelete": len(planned.plan.delete), "sizeOfDataToDelete": planned.plan.bytes}
    pending = _pending(planned.snapshot, "VACUUM START", parameters, metrics, committing)
    pending = replace(pending, transactions=committing.transactions)
    return finish(store, pending, committing, time.perf_counter())


def execute(
    store: Store,
    started: Snapshot,
    plan: VacuumPlan,
    watch: Watch,
    committing: Committing,
    progress: Progress | None = None,
) -> tuple[Deleted, Snapshot]:
    """Delete what was planned and record how it ended.

    :param started: the snapshot that the first record left.
    :return: what came of it, and the snapshot that the second record left.
    """
    done = Deleted()
    try:
        delete(store, plan.delete, watch, done, progress)
    except BaseException:
        _log_end(store, started, "FAILED", done, committing)
        raise
    return done, _log_end(store, started, "COMPLETED", done, committing)


def _log_end(store: Store, base: Snapshot, status: str, done: Deleted, committing: Committing) -> Snapshot:
    """The files are gone whatever becomes of this record, so that a failure is only logged."""
    metrics = {"numDeletedFiles": len(done.gone), "numVacuumedDirectories": done.directories}
    try:
        for _ in range(_ATTEMPTS):
            pending = _pending(base, "VACUUM END", {"status": status}, metrics, committing)
            try:
                return finish(store, pending, committing, time.perf_counter()).snapshot
            except ConflictError:  # the table's properties are others now
                base = read.update(store, base)
        logger.warning("the end of a VACUUM was not recorded: other writers keep changing the table's properties")
    except Exception as error:
        logger.warning("the end of a VACUUM was not recorded: %s", error)
    return base


def _pending(
    base: Snapshot, operation: str, parameters: Mapping[str, Any], metrics: Mapping[str, int], committing: Committing
) -> PendingCommit:
    return PendingCommit(
        base, operation, (), str(uuid.uuid4()), parameters=parameters, metrics=metrics, custom=committing.custom
    )


def delete(
    store: Store, files: Sequence[FileMeta], watch: Watch, done: Deleted, progress: Progress | None = None
) -> None:
    """Delete planned files, then the directories that they leave empty.

    :param done: is filled, so that it tells how far this came when it raises.
    """
    wave = _BATCH * _BATCHES_AT_ONCE
    with ThreadPoolExecutor(_BATCHES_AT_ONCE, "deltalite-vacuum") as pool:
        for start in range(0, len(files), wave):
            needed = watch.needed()
            paths = [file.path for file in files[start : start + wave] if file.path not in needed]
            done.left += [(f.path, "needed again") for f in files[start : start + wave] if f.path in needed]
            batches = [paths[at : at + _BATCH] for at in range(0, len(paths), _BATCH)]
            for batch, gone in zip(batches, pool.map(store.delete_many, batches), strict=True):
                done.gone += gone
                done.left += [(path, "it could not be deleted") for path in sorted(set(batch) - set(gone))]
                if progress is not None:
                    progress(len(done.gone) + len(done.left), len(files))
    if store.is_local:
        emptied = {path.rpartition("/")[0] for path in done.gone}
        done.directories = remove_empty_directories(store.root.rstrip("/") + "/", emptied)
