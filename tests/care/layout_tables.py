"""Tables to be laid out anew, and what must be as before afterwards."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite import DeltaTable, write_deltalake

sys.path.insert(0, str(Path(__file__).parents[1]))

from rows import invariants  # noqa: E402

TRACKED = ("_row_id", "_row_commit_version")
MAPPED = {"delta.columnMapping.mode": "name"}
VECTORS = {"delta.enableDeletionVectors": "true"}
TRACKING = {"delta.enableRowTracking": "true"}
FEED = {"delta.enableChangeDataFeed": "true"}


def frame(first: int, count: int, seed: int = 0) -> pa.Table:
    """Rows with the ids from ``first`` on."""
    rng = np.random.default_rng((seed, first))
    x, y = rng.integers(0, 1000, (2, count))
    return pa.table(
        {
            "id": pa.array(np.arange(first, first + count)),
            "part": pa.array([f"p{i % 3}" for i in range(first, first + count)]),
            "x": pa.array(x, mask=rng.random(count) < 0.1),
            "y": pa.array(y),
            "name": pa.array([None if i % 11 == 0 else f"name-{i % 97:03d}" for i in x.tolist()]),
        }
    )


def make(root: Path | str, files: int = 8, rows: int = 50, *, seed: int = 0, **options: Any) -> DeltaTable:
    for i in range(files):
        write_deltalake(root, frame(i * rows, rows, seed), mode="append", **(options if i == 0 else {}))
    return DeltaTable(root)


def content(table: DeltaTable) -> Counter[tuple[Any, ...]]:
    """All rows, with their ids and commit versions where the table keeps them."""
    tracked = table.properties().get("delta.enableRowTracking") == "true"
    columns = [*sorted(table.schema().names), *(TRACKED if tracked else ())]
    found = table.scan(columns).read_all().to_pylist()
    return Counter(tuple(map(repr, row.values())) for row in found)


def in_order(table: DeltaTable, column: str = "id") -> list[Any]:
    return table.scan([column]).read_all().column(column).to_pylist()


def check(root: Path | str) -> None:
    """What must hold of every version; told by a second reader of the log."""
    invariants.check(Path(root))


def removed_and_added(root: Path | str, version: int) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    import json

    text = (Path(root) / "_delta_log" / f"{version:020d}.json").read_text()
    actions = [json.loads(line) for line in text.splitlines()]
    return [a["remove"] for a in actions if "remove" in a], [a["add"] for a in actions if "add" in a]
