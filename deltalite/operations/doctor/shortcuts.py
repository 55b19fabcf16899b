"""The files that save readers time, against the commits that they stand for: checkpoints, checksums, the hint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.exceptions import DeltaError
from deltalite.log import checksum, last_checkpoint, segment
from deltalite.log.segment import Checkpoint, LogNames
from deltalite.log.source import CheckpointSource
from deltalite.log.state import LogState
from deltalite.model.actions import DomainMetadata, SetTransaction
from deltalite.model.files import FileSet, file_keys
from deltalite.model.paths import LAST_CHECKPOINT
from deltalite.model.snapshot import LazyMapping, Snapshot
from deltalite.operations.doctor.findings import WRITE_CHECKPOINT, WRITE_CHECKSUM, Finding, Patient
from deltalite.storage.base import Store

_KEY_COLUMNS = ("path", "deletionVector")


def replayed(store: Store, names: LogNames, version: int, checkpoints: tuple[Checkpoint, ...]) -> Snapshot | None:
    """A version by its commits, above one of the given checkpoints at most; ``None`` where they do not lead there."""
    found = segment.build(LogNames(names.commits, checkpoints, (), {}), version)
    if found is None:
        return None
    state = LogState(store, found, lambda: found)
    domains = LazyMapping(state.domains)
    config = replace(state.config(), domains=domains)
    files = FileSet(state.files, features.partition_keys(config))
    timestamp = state.timestamp(config)
    return Snapshot(version, config, files, LazyMapping(state.transactions), domains, timestamp)


def check_checkpoints(patient: Patient) -> Iterator[Finding]:
    """The newest checkpoint, or with ``deep`` all of them, against the commits below it."""
    names = patient.names
    for checkpoint in names.checkpoints if patient.deep else names.checkpoints[:1]:
        path, version = checkpoint.files[0].path, checkpoint.version
        try:
            source = CheckpointSource(patient.store, checkpoint)
            told = source.config(), source.adds(_KEY_COLUMNS), source.actions("txn", "domainMetadata")
        except (DeltaError, OSError) as error:
            what = getattr(error, "message", str(error))
            yield Finding("checkpoint-unreadable", "warning", what, path, version, WRITE_CHECKPOINT)
            continue
        below = tuple(c for c in names.checkpoints if c.version < version)
        try:
            truth = replayed(patient.store, names, version, below)
        except DeltaError:
            truth = None  # what is wrong with the commits is told elsewhere
        for what in () if truth is None else _differences(told, truth):
            message = f"the checkpoint of version {version} differs from its commits: {what}"
            yield Finding("checkpoint-differs", "error", message, path, version, WRITE_CHECKPOINT)


def _differences(told: tuple, truth: Snapshot) -> Iterator[str]:  # type: ignore[type-arg]
    (protocol, metadata), adds, others = told
    if protocol != truth.config.protocol:
        yield "another protocol"
    if metadata != truth.config.metadata:
        yield "other metadata"
    here, there = file_keys(adds), file_keys(truth.files.table(_KEY_COLUMNS))
    for keys, known, word in ((here, there, "not live"), (there, here, "live and not in it")):
        count = _lacking(keys, known)
        if count:
            yield f"{count} of its files are {word}" if word == "not live" else f"{count} files are {word}"
    domains = {a.domain: a for a in others if isinstance(a, DomainMetadata) and not a.removed}
    if domains != dict(truth.domains):
        yield "other metadata domains"
    transactions = {a.app_id: a.version for a in others if isinstance(a, SetTransaction)}
    if transactions != {name: t.version for name, t in truth.transactions.items()}:
        yield "other application transactions"


def _lacking(keys: pa.ChunkedArray, known: pa.ChunkedArray) -> int:
    if not len(keys):
        return 0
    values = known.combine_chunks() if len(known) else pa.nulls(0, keys.type)
    there = pc.is_in(keys, value_set=values)
    return len(keys) - (pc.sum(there).as_py() or 0)


def check_checksums(patient: Patient) -> Iterator[Finding]:
    """The checksum of the newest version, or with ``deep`` all of them."""
    names = patient.names
    for version in sorted(names.checksums, reverse=True):
        if version != patient.snapshot.version and not patient.deep:
            continue
        path = names.checksums[version].path
        try:
            found = checksum.parse(patient.store.get(path))
        except FileNotFoundError:
            continue
        if found is None:
            yield Finding(
                "checksum-unreadable",
                "warning",
                f"{path} is damaged, or of an old form that readers pass over",
                path,
                version,
                WRITE_CHECKSUM,
            )
            continue
        try:
            usable = tuple(c for c in names.checkpoints if c.version <= version)
            at_newest = version == patient.snapshot.version
            truth = patient.snapshot if at_newest else replayed(patient.store, names, version, usable)
            wrong = [] if truth is None else checksum.differences(found, truth)
        except DeltaError:
            continue
        if wrong:
            message = f"the checksum of version {version} is wrong: {'; '.join(what[:200] for what in wrong)}"
            yield Finding("checksum-differs", "error", message, path, version, WRITE_CHECKSUM)


def check_hint(patient: Patient) -> Iterator[Finding]:
    """``_last_checkpoint``: only a hint, but a wrong one costs a listing."""
    try:
        data = patient.store.get(LAST_CHECKPOINT)
    except FileNotFoundError:
        return
    version = last_checkpoint.parse(data)
    wrong = None
    if version is None:
        wrong = "it is damaged"
    elif not any(c.version == version for c in patient.names.checkpoints):
        wrong = f"there is no checkpoint of version {version}, to which it points"
    elif (claimed := (value := json.loads(data)).get("checksum")) and claimed != last_checkpoint.checksum(value):
        wrong = "its checksum is wrong"
    if wrong:
        yield Finding("hint-wrong", "warning", f"{LAST_CHECKPOINT}: {wrong}", LAST_CHECKPOINT, None, WRITE_CHECKPOINT)
