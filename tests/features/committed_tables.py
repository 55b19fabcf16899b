"""Tables written commit by commit below the operations: files, actions, the commit loop, and scans of the result."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalite import features
from deltalite.features.deletion_vectors import RowPositions, load, marked
from deltalite.log.read import read_snapshot
from deltalite.model.actions import Action, AddFile, Metadata, Protocol
from deltalite.model.files import remove_of
from deltalite.model.pending import PendingCommit, ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Field, Schema
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan
from deltalite.storage.base import Store
from deltalite.storage.memory import MemoryStore
from deltalite.txn.commit import CommitOptions, Committed, commit
from deltalite.write.files import FileWriter
from deltalite.write.spec import spec_of

_NAMES = itertools.count()


def memory_store() -> MemoryStore:
    return MemoryStore(f"memory://committed-{next(_NAMES)}")


def land(store: Store, base: Snapshot | None, actions: Sequence[Action], reads: ReadSet | None = None) -> Committed:
    pending = PendingCommit(base, "TEST", tuple(actions), str(uuid.uuid4()), reads or ReadSet())
    return commit(store, pending, CommitOptions(checkpoint=False))


def create(
    store: Store, *fields: Field, properties: Mapping[str, str] | None = None, partition_by: tuple[str, ...] = ()
) -> Snapshot:
    metadata = Metadata(str(uuid.uuid4()), Schema(list(fields)).to_json(), partition_by, dict(properties or {}))
    protocol, metadata, _ = features.configure(None, metadata, 0)
    return land(store, None, (protocol, metadata)).snapshot


def set_properties(store: Store, base: Snapshot, properties: Mapping[str, str]) -> Snapshot:
    old = base.config.metadata
    new = Metadata(old.id, old.schema_string, old.partition_columns, {**old.configuration, **properties})
    protocol, metadata, _ = features.configure(base.config, new, base.version + 1)
    actions: list[Protocol | Metadata] = [metadata]
    return land(store, base, actions if protocol == base.config.protocol else [protocol, metadata]).snapshot


def written(store: Store, base: Snapshot, data: pa.Table, copied: bool = False, **options: Any) -> list[Action]:
    """The actions that new rows come with, files written."""
    writer = FileWriter(store, spec_of(base.config, steps=features.write_steps(base.config), **options))
    try:
        for batch in data.to_batches():
            writer.add(batch, copied=copied)
        adds = writer.finish()
    except BaseException:
        writer.abort()
        raise
    metadata = features.after_rows(base.config, writer.rules.sequences)
    return [*adds, *([metadata] if metadata else [])]


def append(store: Store, base: Snapshot, data: pa.Table, **options: Any) -> Snapshot:
    return land(store, base, written(store, base, data, **options)).snapshot


def delete(store: Store, base: Snapshot, gone: Callable[[AddFile], Sequence[int]], **remover: Any) -> Snapshot:
    """Mark rows of every file, as positions."""
    found = features.remove_rows(base.config)
    assert found is not None
    removing = type(found)(**remover)
    old, vectors = [], []
    for add in base.files.add_files():
        before = RowPositions.of([])
        if add.deletion_vector is not None:
            before = load(add.deletion_vector, store.get_range)
        after = before | RowPositions.of(sorted(gone(add)))
        if after != before:
            old.append(add)
            vectors.append(after)

    def put(path: str, data: bytes) -> None:
        with store.open_output(path) as output:
            output.write(data)

    stored = removing.write(vectors, uuid.uuid4(), put)
    adds = [marked(add, vector, records(add)) for add, vector in zip(old, stored, strict=True)]
    return land(store, base, [*(remove_of(add, 1) for add in old), *adds]).snapshot


def records(add: AddFile) -> int:
    import json

    return json.loads(add.stats or "{}")["numRecords"]


def rows(store: Store, *virtual: str, version: int | None = None, columns: Any = None) -> list[dict[str, Any]]:
    """The rows of a version as a fresh reader finds them."""
    snapshot = read_snapshot(store, version)
    return read_plan(store, plan(snapshot, virtual=virtual, columns=columns)).read_all().to_pylist()
