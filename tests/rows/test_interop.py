"""What we write, others read with the same rows: DuckDB's delta reader, and deltalake, vectors included.

DuckDB's reader is a wheel for certain versions of DuckDB only. Where the tests' own DuckDB is another one, name a Python
that has both in ``DUCKDB_DELTA_PYTHON`` (``pip install duckdb==1.5.5 duckdb-extension-delta==1.5.5``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable
from deltalite.features.deletion_vectors import removal
from rows.drawing import SCHEMA
from rows.tables import of_kind, table_of

deltalake = pytest.importorskip("deltalake")

DUCKDB_PYTHON = os.environ.get("DUCKDB_DELTA_PYTHON", sys.executable)
SCRIPT = """
import glob, json, os, sys
import duckdb, duckdb_extension_delta
(path,) = glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")
connection = duckdb.connect()
connection.execute("LOAD '%s'" % path)
for table in sys.argv[1:]:
    found = connection.execute("SELECT k, p, n, v, tags FROM delta_scan('%s')" % table).fetchall()
    counted = connection.execute("SELECT count(*), count(k) FILTER (p = 'a') FROM delta_scan('%s')" % table).fetchone()
    print(json.dumps([found, counted]))
"""


def run_duckdb(*tables: Path) -> list[Any]:
    command = [DUCKDB_PYTHON, "-c", SCRIPT, *map(str, tables)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@lru_cache(1)
def has_duckdb() -> bool:
    try:
        run_duckdb()
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def data(*keys: int | None, p: str | None = "a", v: str | None = "x") -> pa.Table:
    rows = [{"k": k, "p": p, "n": k, "v": v, "tags": None if k is None else [k, None]} for k in keys]
    return pa.Table.from_pylist(rows, SCHEMA)


def merge(table: DeltaTable, source: pa.Table) -> Any:
    merger = table.merge(source, "t.k <=> s.k").when_matched_delete("t.n % 5 = 0").when_matched_update_all()
    merger = merger.when_not_matched_insert_all().when_not_matched_by_source_update({"v": "'left'"}, "t.k = 33")
    return merger.execute()


STEPS: list[Callable[[DeltaTable], Any]] = [
    lambda t: t.delete("k IN (3, 4) OR k = 42"),
    lambda t: t.update({"v": "concat(v, '!')", "p": "'c d'"}, predicate="k % 10 = 7"),
    lambda t: merge(t, data(1, 5, 45, 90, None, p="b", v="m")),
    lambda t: t.overwrite(data(20, 21, 21), predicate="p = 'a' AND k BETWEEN 18 AND 22"),
    lambda t: t.upsert(data(50, 51, 91, p=None, v="u"), on="k"),
    lambda t: t.delete("k < 28"),
    lambda t: t.update({"n": "n + 1"}),
]
PROPERTIES = {
    "plain": {},
    "feed": {"delta.enableChangeDataFeed": "true"},
    "ids": {"delta.enableRowTracking": "true"},
    "mapped": {"delta.columnMapping.mode": "name"},
}


def key(rows: list[Any]) -> list[str]:
    return sorted(map(repr, (list(row) for row in rows)))


def ours(root: Path) -> list[Any]:
    data = DeltaTable(root).to_pyarrow_table(columns=SCHEMA.names)
    return list(zip(*(column.to_pylist() for column in data.columns), strict=True))


def story(root: Path, mode: str, kind: str, partitioned: bool, after_step: Callable[[DeltaTable], None]) -> None:
    files = [data(*range(30)), data(*range(30, 60), p="b"), data(None, 60, p=None, v=None)]
    options: dict[str, Any] = {"partition_by": "p"} if partitioned else {}
    table = table_of(root, mode, *files, properties=PROPERTIES[kind], **options)
    for step in STEPS:
        step(table)
        after_step(table)


@pytest.fixture(params=["inline vectors", "vectors in files", "copies"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    limit = 0 if request.param == "vectors in files" else 500
    monkeypatch.setattr(removal, "RowRemover", partial(removal.RowRemover, inline_characters=limit))
    return "copies" if request.param == "copies" else "vectors"


# Under column mapping DuckDB's reader takes values of partition columns for null: duckdb/duckdb-delta#343.
SHAPES = [("plain", True), ("plain", False), ("feed", True), ("ids", False), ("ids", True), ("mapped", False)]


@pytest.mark.parametrize(("kind", "partitioned"), SHAPES)
def test_duckdb_reads_the_same_rows(tmp_path: Path, mode: str, kind: str, partitioned: bool) -> None:
    if not has_duckdb():
        pytest.skip("DuckDB's delta reader is not installed; see DUCKDB_DELTA_PYTHON above")
    copies: list[tuple[Path, list[Any]]] = []

    def keep(table: DeltaTable) -> None:
        """Its reader reads the newest version: one copy of the log per version."""
        copy = tmp_path / f"v{table.version()}"
        copy.mkdir()
        for entry in (tmp_path / "t").iterdir():
            if entry.name != "_delta_log":
                (copy / entry.name).symlink_to(entry)
        (copy / "_delta_log").mkdir()
        for entry in (tmp_path / "t" / "_delta_log").glob("*.json"):
            (copy / "_delta_log" / entry.name).write_bytes(entry.read_bytes())
        copies.append((copy, ours(tmp_path / "t")))

    story(tmp_path / "t", mode, kind, partitioned, keep)
    assert any("deletionVector" in a for v in range(3, 11) for a in of_kind(tmp_path / "t", v, "add")) == (
        mode == "vectors"
    )
    for (_, expected), (found, counted) in zip(copies, run_duckdb(*(c for c, _ in copies)), strict=True):
        assert key(found) == key(expected)
        assert counted == [len(expected), sum(row[1] == "a" and row[0] is not None for row in expected)]


def through_sql(root: Path) -> list[Any]:
    """deltalake's SQL reader knows deletion vectors."""
    builder = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(root))
    found = pa.table(builder.execute("SELECT k, p, n, v, tags FROM t"))
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def through_arrow(root: Path) -> list[Any]:
    found = pa.table(deltalake.DeltaTable(root).to_pyarrow_dataset().to_table(columns=SCHEMA.names))
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


@pytest.mark.parametrize(("kind", "partitioned"), [shape for shape in SHAPES if shape[0] != "mapped"])
def test_deltalake_reads_the_same_rows(tmp_path: Path, mode: str, kind: str, partitioned: bool) -> None:
    root = tmp_path / "t"

    def compare(_: DeltaTable) -> None:
        expected = key(ours(root))
        assert key(through_sql(root)) == expected
        if mode == "copies":
            assert key(through_arrow(root)) == expected

    story(root, mode, kind, partitioned, compare)


def test_deltalake_reads_the_same_changes(tmp_path: Path, mode: str) -> None:
    """Where nothing but added and removed files and change files tell of changes; it does not know vectors here."""
    root = tmp_path / "t"
    story(root, mode, "feed", True, lambda _: None)
    columns = [*SCHEMA.names, "_change_type", "_commit_version"]

    def told(reader: Any) -> list[str]:
        return sorted(repr([row[name] for name in columns]) for row in pa.table(reader.read_all()).to_pylist())

    cdc_only = [v for v in range(DeltaTable(root).version() + 1) if of_kind(root, v, "cdc")]
    assert cdc_only
    for version in cdc_only if mode == "vectors" else range(1, DeltaTable(root).version() + 1):
        theirs = deltalake.DeltaTable(root).load_cdf(version, version)
        assert told(theirs) == told(DeltaTable(root).load_cdf(version, version))
