"""Tables on a local disk, written with deletion vectors or by copying rows, and short ways to look at them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable

FAST = {"durability": "relaxed"}
BOTH_MODES = pytest.mark.parametrize("mode", ["vectors", "copies"])
FEED = {"delta.enableChangeDataFeed": "true"}


def configuration(mode: str, properties: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"delta.enableDeletionVectors": str(mode == "vectors").lower(), **(properties or {})}


def table_of(
    root: Path,
    mode: str,
    *files: pa.Table,
    partition_by: list[str] | str | None = None,
    properties: Mapping[str, str] | None = None,
    **options: Any,
) -> DeltaTable:
    """A table with one commit, and so at least one file, for each of the given parts."""
    table = DeltaTable.create(
        root, files[0].schema, partition_by=partition_by, configuration=configuration(mode, properties),
        storage_options=FAST,
    )  # fmt: skip
    for part in files:
        table.append(part, **options)
    return table


def rows(table: DeltaTable | Path, *columns: str) -> list[tuple[Any, ...]]:
    """All rows in one order, as a fresh handle sees them."""
    table = DeltaTable(table if isinstance(table, Path) else table.table_uri)
    data = table.to_pyarrow_table(columns=list(columns) or None)
    return sorted(zip(*(column.to_pylist() for column in data.columns), strict=True), key=repr)


def log_of(root: Path, version: int) -> list[dict[str, Any]]:
    text = (root / "_delta_log" / f"{version:020}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]


def of_kind(root: Path, version: int, kind: str) -> list[dict[str, Any]]:
    """The adds, removes, cdc ... of one commit."""
    return [action[kind] for action in log_of(root, version) if kind in action]


def feed(root: Path, version: int, *columns: str) -> list[tuple[Any, ...]]:
    """The changes of one version: the kind, then the columns."""
    told = DeltaTable(root).load_cdf(version, version).read_all().to_pylist()
    return sorted(((r["_change_type"], *(r[c] for c in columns)) for r in told), key=repr)


def files_below(root: Path) -> dict[str, int]:
    """Every file with its size."""
    return {str(p.relative_to(root)): p.stat().st_size for p in root.rglob("*") if p.is_file()}
