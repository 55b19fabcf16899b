"""Tables for tests of scanning: Parquet files in a memory store and a snapshot over them, without a log on disk."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deltalite.features import partition_keys
from deltalite.model.actions import AddFile, Metadata, Protocol
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import EmptySource, FileSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Schema
from deltalite.storage import open_store
from deltalite.storage.base import Store

MODERN = Protocol(3, 7, ("columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "variantType"), (
    "columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "variantType", "rowTracking", "domainMetadata",
))  # fmt: skip


def memory_store() -> Store:
    return open_store(f"memory://{uuid.uuid4().hex}")


def put_parquet(store: Store, path: str, table: pa.Table, **options: Any) -> int:
    """Write a data file; its size in bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    data = sink.getvalue().to_pybytes()
    store.put(path, data)
    return len(data)


def add_file(
    store: Store, path: str, table: pa.Table, partition: Mapping[str, str | None] | None = None, **kwargs: Any
) -> AddFile:
    """Write a data file and describe it; ``stats`` may be a dict, ``parquet`` options of the writer."""
    size = put_parquet(store, path, table, **kwargs.pop("parquet", {}))
    stats = kwargs.pop("stats", None)
    text = stats if stats is None or isinstance(stats, str) else json.dumps(stats)
    return AddFile(path, dict(partition or {}), size, 0, True, text, **kwargs)


def make_config(
    schema: Schema | pa.Schema,
    partition_by: Sequence[str] = (),
    configuration: Mapping[str, str] | None = None,
    protocol: Protocol = MODERN,
) -> TableConfig:
    if isinstance(schema, pa.Schema):
        schema = Schema.from_arrow(schema)
    return TableConfig(protocol, Metadata("test", schema.to_json(), tuple(partition_by), dict(configuration or {})))


def make_snapshot(config: TableConfig, files: Sequence[AddFile]) -> Snapshot:
    commit = Commit(0, encode_commit([config.protocol, config.metadata, *files]))
    fileset = FileSet(lambda: (EmptySource(), (commit,)), partition_keys(config))
    return Snapshot(0, config, fileset, {}, {}, 0)
