"""Rows written under the rules of a table's features, without a log around them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deltalite import features
from deltalite.model.actions import Metadata
from deltalite.model.config import TableConfig
from deltalite.model.types import Field, Schema
from deltalite.storage.memory import MemoryStore
from deltalite.write.files import write_files
from deltalite.write.spec import spec_of

_NAMES = itertools.count()


def config(
    *fields: Field, properties: Mapping[str, str] | None = None, partition_by: tuple[str, ...] = ()
) -> TableConfig:
    """A new table's configuration, negotiated and checked as on creation."""
    metadata = Metadata("id", Schema(list(fields)).to_json(), partition_by, dict(properties or {}))
    return features.configure(None, metadata, 0)[2]


def write(table: TableConfig, data: pa.Table, **options: Any) -> list[dict[str, Any]]:
    """The rows as the table has them afterwards. A refused write is checked to leave no file."""
    store = MemoryStore(f"memory://rules-{next(_NAMES)}")
    try:
        adds = write_files(store, spec_of(table, steps=features.write_steps(table), **options), data.to_reader())
    except Exception:
        assert list(store.list_all()) == []
        raise
    rows = [row for add in adds for row in pq.ParquetFile(store.open_input(add.path)).read().to_pylist()]
    store.clear()
    return rows


def invariant(text: str) -> dict[str, str]:
    return {"delta.invariants": json.dumps({"expression": {"expression": text}})}


def generated(text: str) -> dict[str, str]:
    return {"delta.generationExpression": text}


def default(text: str) -> dict[str, str]:
    return {"CURRENT_DEFAULT": text}
