"""Tables for tests of ALTER TABLE, and what all its operations keep: one commit, no data file, old versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from deltalite import DeltaTable

Actions = list[dict[str, Any]]


def log(root: Path, version: int) -> Actions:
    """The actions of one commit."""
    text = (Path(root) / "_delta_log" / f"{version:020}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


def metadata(root: Path, version: int) -> dict[str, Any]:
    return next(action["metaData"] for action in log(root, version) if "metaData" in action)


def data_files(root: Path) -> dict[str, tuple[int, int]]:
    """Everything beside the log, with size and time of change."""
    found = (p for p in Path(root).rglob("*") if p.is_file() and "_delta_log" not in p.parts)
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in found}


def rows(table: DeltaTable, **options: Any) -> list[dict[str, Any]]:
    return table.to_pyarrow_table(**options).to_pylist()


def altered(table: DeltaTable, change: Callable[[], Any]) -> Actions:
    """Run one alteration and hold it to what all of them promise; the actions of its commit.

    It is one commit of the log alone, no data file is written or touched, and every older version reads as before.
    """
    root, version = Path(table.table_uri), table.version()
    files = data_files(root)
    before = {v: rows(DeltaTable(root, version=v)) for v in range(version + 1)}
    result = change()
    assert result.version == table.version() == version + 1, result
    actions = log(root, version + 1)
    assert {next(iter(action)) for action in actions} <= {"commitInfo", "protocol", "metaData", "domainMetadata"}
    assert data_files(root) == files
    assert {v: rows(DeltaTable(root, version=v)) for v in before} == before
    assert rows(DeltaTable(root)) == rows(table), "a fresh reader sees what the handle does"
    return actions


NESTED = pa.table(
    {
        "id": pa.array([1, 2], pa.int32()),
        "s": pa.array([{"x": 1, "y": "a"}, None], pa.struct([("x", pa.int32()), ("y", pa.string())])),
        "l": pa.array([[{"v": 1}], []], pa.list_(pa.struct([("v", pa.int32())]))),
        "m": pa.array([[("k", {"w": 1})], None], pa.map_(pa.string(), pa.struct([("w", pa.int32())]))),
        "p": ["a", "b"],
        "f": pa.array([1.5, None], pa.float32()),
    }
)
MAPPED = {"delta.columnMapping.mode": "name"}
WIDENING = {"delta.enableTypeWidening": "true"}


def nested_table(root: Path, **configuration: str) -> DeltaTable:
    """Two rows with everything that nests, partitioned by ``p``."""
    table = DeltaTable.create(root, NESTED.schema, partition_by=["p"], configuration={"mine": "kept", **configuration})
    table.append(NESTED)
    return table


def table_of(root: Path, data: pa.Table, **configuration: str) -> DeltaTable:
    table = DeltaTable.create(root, data.schema, configuration=configuration)
    table.append(data)
    return table
