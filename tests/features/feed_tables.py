"""Tables whose log is written line by line, so that tests of change feeds do not depend on our writers."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from deltalite import DeltaTable
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.file import inline
from deltalite.model.codec import encode_value
from deltalite.model.types import Schema

FEED = ("_change_type", "_commit_version", "_commit_timestamp")
ON = {"delta.enableChangeDataFeed": "true"}
START_MS = 1_700_000_000_000


class Log:
    """A table on disk, one method per kind of action. Version ``n`` was made ``n`` seconds after ``START_MS``."""

    def __init__(
        self,
        path: Path,
        schema: pa.Schema | Schema,
        partition_by: Iterable[str] = (),
        properties: Mapping[str, str] = ON,
        protocol: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = path
        self.version = -1
        (path / "_delta_log").mkdir(parents=True)
        self.partition_by = list(partition_by)
        features = ["deletionVectors", "columnMapping", "typeWidening"]
        writers = [*features, "changeDataFeed", "rowTracking", "domainMetadata", "inCommitTimestamp"]
        self.protocol = protocol or {
            "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": writers,
        }  # fmt: skip
        self.commit({"protocol": self.protocol}, self.metadata(schema, properties))

    def metadata(self, schema: pa.Schema | Schema, properties: Mapping[str, str], **other: Any) -> dict[str, Any]:
        if isinstance(schema, pa.Schema):
            schema = Schema.from_arrow(schema)
        body = {
            "id": "00000000-0000-0000-0000-000000000001", "format": {"provider": "parquet", "options": {}},
            "schemaString": schema.to_json(), "partitionColumns": self.partition_by, "configuration": dict(properties),
        }  # fmt: skip
        return {"metaData": {**body, **other}}

    def commit(self, *actions: Mapping[str, Any], ms: int | None = None) -> int:
        self.version += 1
        file = self.path / "_delta_log" / f"{self.version:020d}.json"
        file.write_text("".join(json.dumps(action) + "\n" for action in actions))
        seconds = (START_MS + 1000 * self.version if ms is None else ms) / 1000
        os.utime(file, (seconds, seconds))
        return self.version

    def add(
        self,
        uri: str,
        rows: pa.Table | None = None,
        partition: Mapping[str, Any] | None = None,
        gone: Any = None,
        **other: Any,
    ) -> dict[str, Any]:
        """Writes the data file if rows are given; ``gone`` are the positions of an inline deletion vector."""
        return {
            "add": {
                "path": uri, "partitionValues": dict(partition or {}), "size": self._file(uri, rows), "modificationTime": 1,
                "dataChange": True, **vector(gone), **other,
            }
        }  # fmt: skip

    def remove(
        self, uri: str, partition: Mapping[str, Any] | None = None, gone: Any = None, **other: Any
    ) -> dict[str, Any]:
        body = {"path": uri, "deletionTimestamp": 1, "dataChange": True, **vector(gone)}
        if partition is not None or not self.partition_by:
            body |= {
                "extendedFileMetadata": True,
                "partitionValues": dict(partition or {}),
                "size": self._file(uri, None),
            }
        return {"remove": {**body, **other}}

    def cdc(self, uri: str, rows: pa.Table, partition: Mapping[str, Any] | None = None) -> dict[str, Any]:
        size = self._file(uri, rows)
        return {"cdc": {"path": uri, "partitionValues": dict(partition or {}), "size": size, "dataChange": False}}

    def _file(self, uri: str, rows: pa.Table | None) -> int:
        path = self.path / unquote(uri)
        if rows is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, path, row_group_size=4)
        return path.stat().st_size

    @property
    def table(self) -> DeltaTable:
        return DeltaTable(self.path)


def vector(gone: Any) -> dict[str, Any]:
    return {} if gone is None else {"deletionVector": encode_value(inline(RowPositions.of(gone)))}


def told(feed: Any, *columns: str) -> Counter:
    """The rows of a feed as a multiset, without their times."""
    table = pa.table(feed.read_all()) if hasattr(feed, "read_all") else feed
    names = columns or sorted(name for name in table.column_names if name != "_commit_timestamp")
    return Counter(tuple(repr(row[name]) for name in names) for row in table.select(names).to_pylist())


def replayed(feed: pa.Table, upto: int) -> Counter:
    """What a replica holds that applied the feed up to a version."""
    state: Counter = Counter()
    names = sorted(set(feed.column_names) - set(FEED))
    for row in feed.to_pylist():
        if row["_commit_version"] <= upto:
            come = row["_change_type"] in ("insert", "update_postimage")
            assert come or row["_change_type"] in ("delete", "update_preimage")
            state[tuple(repr(row[name]) for name in names)] += 1 if come else -1
    assert not [row for row, count in state.items() if count < 0]
    return +state
