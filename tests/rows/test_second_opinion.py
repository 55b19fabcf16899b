"""DuckDB runs the same MERGE, DELETE and UPDATE over the same rows, many of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest

from deltalite import DeltaTable, WriterProperties
from deltalite.engine import match
from rows.tables import BOTH_MODES, table_of

duckdb = pytest.importorskip("duckdb")
if tuple(map(int, duckdb.__version__.split(".")[:2])) < (1, 4):
    pytest.skip("MERGE INTO came with DuckDB 1.4", allow_module_level=True)

COLUMNS = ("k", "part", "n", "x", "v", "tags")


def random_rows(rng: np.random.Generator, keys: np.ndarray) -> pa.Table:
    count = len(keys)

    def some(values: Any, kind: pa.DataType, share: float = 0.05) -> pa.Array:
        return pa.array(values, kind, mask=rng.random(count) < share)

    return pa.table(
        {
            "k": some(keys, pa.int64(), 0.02),
            "part": some(rng.choice(["a", "b", "c d"], count), pa.string(), 0.1),
            "n": some(rng.integers(-50, 50, count), pa.int64()),
            "x": some(rng.integers(-1000, 1000, count) / 8, pa.float64()),
            "v": some(np.char.add("value ", rng.integers(0, count, count).astype(str)), pa.string()),
            "tags": pa.array([None if i % 7 == 0 else list(range(i % 4)) for i in range(count)], pa.list_(pa.int64())),
        }
    )


def with_few_null_keys(source: pa.Table) -> pa.Table:
    """One row without a key per part at most, since rows that match by null would be ambiguous."""
    seen: set[str | None] = set()
    kept = []
    for k, part in zip(source["k"].to_pylist(), source["part"].to_pylist(), strict=True):
        kept.append(k is not None or part not in seen)
        if k is None:
            seen.add(part)
    return source.filter(pa.array(kept))


Clause = tuple[str, str, str | None, dict[str, str] | None]
"""When, action, condition, values; without values, all columns of the source."""

MERGES: dict[str, tuple[str, list[Clause]]] = {
    "upsert": (
        "t.k = s.k",
        [("matched", "update", None, None), ("not_matched", "insert", None, None)],
    ),
    "null-safe keys": (
        "t.k IS NOT DISTINCT FROM s.k AND t.part IS NOT DISTINCT FROM s.part",
        [
            ("matched", "delete", "s.k % 3 = 0", None),
            ("matched", "update", None, {"v": "s.v", "x": "s.x"}),
            ("not_matched", "insert", "s.n IS NOT NULL", None),
        ],
    ),
    "every kind": (
        "t.k = s.k",
        [
            ("matched", "delete", "s.n < -30", None),
            ("matched", "update", "t.part = s.part", {"n": "t.n + s.n", "x": "s.x * 2"}),
            ("matched", "update", "s.part IS NOT NULL", None),
            ("not_matched", "insert", "s.n > 10", {"k": "s.k", "part": "s.part", "v": "'new'"}),
            ("not_matched", "insert", "s.v IS NULL", None),
            ("not_matched_by_source", "delete", "t.n BETWEEN 0 AND 3", None),
            ("not_matched_by_source", "update", "t.x > 100", {"v": "'left'", "part": "'b'"}),
        ],
    ),
    "two keys and a condition": (
        "t.k = s.k AND t.part = s.part AND s.x > t.x AND t.n >= 0",
        [("matched", "update", None, {"v": "s.v", "tags": "s.tags"}), ("not_matched", "insert", "s.k IS NULL", None)],
    ),
    "one partition": (
        "t.k = s.k AND t.part = 'a'",
        [
            ("matched", "delete", None, None),
            ("not_matched_by_source", "update", "t.part IS NULL", {"n": "t.n - 1"}),
        ],
    ),
}


def duck_sql(on: str, clauses: Sequence[Clause]) -> str:
    kinds = {"matched": "MATCHED", "not_matched": "NOT MATCHED", "not_matched_by_source": "NOT MATCHED BY SOURCE"}
    text = f"MERGE INTO t USING s ON ({on})"
    for when, action, condition, values in clauses:
        text += f" WHEN {kinds[when]}{f' AND ({condition})' if condition else ''} THEN {action.upper()}"
        given = {name: f"s.{name}" for name in COLUMNS} if values is None else values
        if action == "update":
            text += " SET " + ", ".join(f"{name} = {value}" for name, value in given.items())
        elif action == "insert":
            text += f" ({', '.join(given)}) VALUES ({', '.join(given.values())})"
    return text


def ours(table: DeltaTable, source: Any, on: str, clauses: Sequence[Clause], **options: Any) -> Any:
    spelled = on.replace("IS NOT DISTINCT FROM", "<=>")
    merger = table.merge(source, spelled, **options)
    for when, action, condition, values in clauses:
        method = f"when_{when}_{action}"
        if action == "delete":
            merger = getattr(merger, method)(condition)
        elif values is None:
            merger = getattr(merger, f"{method}_all")(condition)
        else:
            merger = getattr(merger, method)(values, condition)
    return merger.execute()


def ordered(connection: Any, table: pa.Table) -> pa.Table:
    connection.register("unordered", table)
    found = connection.sql(f"SELECT {', '.join(COLUMNS)} FROM unordered ORDER BY ALL").to_arrow_table()
    connection.unregister("unordered")
    return found


def check(connection: Any, table: DeltaTable) -> None:
    found = ordered(connection, table.to_pyarrow_table(columns=list(COLUMNS)))
    expected = ordered(connection, connection.sql("SELECT * FROM t").to_arrow_table())
    assert found.num_rows == expected.num_rows == table.count()
    assert found.cast(expected.schema).equals(expected)


def compare(root: Path, mode: str, count: int, name: str, partitioned: bool, memory_limit: str | None) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    on, clauses = MERGES[name]
    keys = rng.permutation(2 * count)
    target = random_rows(rng, keys[:count])
    source = with_few_null_keys(random_rows(rng, rng.permutation(keys[count // 2 : count + count // 2])[: count // 3]))
    writing = WriterProperties(max_row_group_size=7001)
    cuts = [0, count // 5, count // 2, count]
    table = table_of(
        root, mode, *(target.slice(a, b - a) for a, b in zip(cuts, cuts[1:], strict=False)),
        partition_by="part" if partitioned else None, writer_properties=writing,
    )  # fmt: skip
    connection = duckdb.connect()
    connection.register("s", source)
    connection.execute("CREATE TABLE t AS SELECT * FROM target")
    table.delete("n = 7 OR v LIKE '%9'")
    connection.execute("DELETE FROM t WHERE n = 7 OR v LIKE '%9'")
    done = ours(table, source, on, clauses, memory_limit=memory_limit)
    (touched,) = connection.execute(duck_sql(on, clauses)).fetchone()
    counts = [done[f"numTargetRows{ending}"] for ending in ("Updated", "Deleted", "Inserted")]
    assert sum(counts) == touched > 0
    check(connection, table)
    table.update({"x": "x + n", "v": "upper(v)"}, predicate="k % 5 = 0 AND n > x")
    connection.execute("UPDATE t SET x = x + n, v = upper(v) WHERE k % 5 = 0 AND n > x")
    table.delete("part = 'a' AND n < 0 OR tags IS NULL AND k > 100")
    connection.execute("DELETE FROM t WHERE part = 'a' AND n < 0 OR tags IS NULL AND k > 100")
    check(connection, table)


@BOTH_MODES
@pytest.mark.parametrize("name", MERGES)
def test_duckdb_agrees(tmp_path: Path, mode: str, name: str) -> None:
    partitioned = (mode == "vectors") == (len(name) % 2 == 0)
    compare(tmp_path / "t", mode, 20_000, name, partitioned, None)


def test_duckdb_agrees_when_the_source_is_divided(tmp_path: Path) -> None:
    divide = match._Matching._by_parts
    with mock.patch.object(match._Matching, "_by_parts", autospec=True, side_effect=divide) as divided:
        compare(tmp_path / "t", "vectors", 150_000, "every kind", True, "2MB")
    assert divided.called


@pytest.mark.nightly
@BOTH_MODES
@pytest.mark.parametrize(("partitioned", "memory_limit"), [(True, "16MB"), (False, None)])
@pytest.mark.parametrize("name", MERGES)
def test_duckdb_agrees_on_many_rows(
    tmp_path: Path, mode: str, name: str, partitioned: bool, memory_limit: str | None
) -> None:
    compare(tmp_path / "t", mode, 300_000, name, partitioned, memory_limit)
