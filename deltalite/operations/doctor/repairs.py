"""The repairs that lose nothing which is not lost already."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deltalite import features
from deltalite.log import checksum
from deltalite.log.segment import LogNames
from deltalite.model.actions import AddFile
from deltalite.model.arrow import mask_array, to_numpy
from deltalite.model.change import LogOnly
from deltalite.model.files import remove_of
from deltalite.model.paths import crc_file
from deltalite.model.pending import ReadSet
from deltalite.model.snapshot import Snapshot, Totals
from deltalite.operations.changing import engine_of
from deltalite.operations.doctor.findings import (
    DROP_FILE,
    WRITE_CHECKPOINT,
    WRITE_CHECKSUM,
    WRITE_STATISTICS,
    Finding,
    Patient,
)
from deltalite.operations.doctor.shortcuts import replayed
from deltalite.operations.execute import Outcome, perform
from deltalite.operations.logged import commit_actions, in_threads
from deltalite.operations.options import Committing
from deltalite.operations.statistics_repair import RepairRequest
from deltalite.operations.statistics_repair import plan as plan_statistics
from deltalite.scan.paths import Resolve
from deltalite.storage.base import Store
from deltalite.txn import after


def missing_files(snapshot: Snapshot, resolve: Resolve) -> list[AddFile]:
    """The live files that are gone."""

    def is_missing(path: str) -> bool:
        store, place = resolve(path)
        return store.head(place) is None

    paths = snapshot.files.table(["path"]).column("path").to_pylist()
    gone = in_threads(is_missing, paths, "doctor")
    return snapshot.files.add_files(mask_array(np.array(gone, dtype=bool))) if any(gone) else []


def drop_missing(
    store: Store, snapshot: Snapshot, resolve: Resolve, committing: Committing, dry_run: bool = False
) -> tuple[list[str], Outcome]:
    """FSCK: a commit that removes the files which are gone; their paths."""
    start = time.perf_counter()
    features.ensure_writable(snapshot.config)
    gone = missing_files(snapshot, resolve)
    now_ms = time.time_ns() // 1_000_000
    reads = ReadSet(files=frozenset(add.key for add in gone))
    change = LogOnly(tuple(remove_of(add, now_ms) for add in gone), "FSCK", {}, reads)
    metrics = {"numRemovedFiles": len(gone)}
    outcome = commit_actions(store, snapshot, change, committing, metrics, start=start, dry_run=dry_run)
    return [add.path for add in gone], outcome


def repair(patient: Patient, findings: Sequence[Finding]) -> list[Finding]:
    """Do what findings say that can be done; the findings, marked."""
    asked = {finding.repair for finding in findings if finding.repair}
    if not asked:
        return list(findings)
    features.ensure_writable(patient.snapshot.config)
    if WRITE_CHECKSUM in asked:
        for finding in findings:
            if finding.repair == WRITE_CHECKSUM and finding.version is not None:
                _write_checksum(patient.store, patient.names, patient.snapshot, finding.version)
    if WRITE_CHECKPOINT in asked:
        _write_checkpoints(patient, findings)
    snapshot = patient.snapshot
    if DROP_FILE in asked:
        snapshot = drop_missing(patient.store, snapshot, patient.resolve, Committing.of())[1].snapshot
    if WRITE_STATISTICS in asked:
        engine = engine_of(patient.store, patient.external)
        request = RepairRequest(deep=True)
        perform(
            patient.store, snapshot,
            lambda base, txn_id: plan_statistics(request, base, txn_id, engine),  # type: ignore[arg-type]
            Committing.of(), engine=engine,
        )  # fmt: skip
    return [replace(finding, repaired=finding.repair in asked) for finding in findings]


def _write_checksum(store: Store, names: LogNames, newest: Snapshot, version: int) -> None:
    """What the version is by the commits; where these no longer lead to it, the checksum only goes."""
    usable = tuple(c for c in names.checkpoints if c.version <= version)
    truth = newest if version == newest.version else replayed(store, names, version, usable)
    data = None if truth is None else checksum.encode(replace(truth, totals=_totals(truth)))
    if data is None:
        store.delete_many([crc_file(version)])
    else:
        store.put(crc_file(version), data, durable=False)


def _totals(snapshot: Snapshot) -> Totals:
    sizes = snapshot.files.table(["size"]).column("size")
    return Totals(len(sizes), int(to_numpy(sizes).sum()))


def _write_checkpoints(patient: Patient, findings: Sequence[Finding]) -> None:
    """One of the newest version; broken ones go where the commits are all there, and so tell everything."""
    now_ms = time.time_ns() // 1_000_000
    broken = {f.version for f in findings if f.repair == WRITE_CHECKPOINT and f.version is not None}
    files = [f.path for c in patient.names.checkpoints if c.version in broken for f in c.files]
    if all(version in patient.names.commits for version in range(patient.snapshot.version + 1)):
        patient.store.delete_many(files)
    after.checkpoint(patient.store, patient.snapshot, now_ms)
