"""Under deltalake's names stand deltalake's numbers: the same operations on the same files, rows copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import deltalite
from rows.tables import rows

deltalake = pytest.importorskip("deltalake")

SOURCE = pa.table({"k": [1, 2, 30], "p": ["a", "b", "c"], "v": ["n"] * 3})
PRUNING = ("num_target_files_scanned", "num_target_files_skipped_during_scan")
ALIASES = {"source_alias": "source", "target_alias": "target"}


def merge(table: Any, source: pa.Table = SOURCE, on: str = "target.k = source.k") -> Any:
    return table.merge(source, on, **ALIASES)


RUNS = {
    "delete rows": lambda t: t.delete("k IN (1, 2)"),
    "delete a partition": lambda t: t.delete("p = 'a'"),
    "delete a partition and more": lambda t: t.delete("p = 'a' OR k = 13"),
    "delete by statistics": lambda t: t.delete("k > 9"),
    "delete all": lambda t: t.delete(),
    "delete nothing": lambda t: t.delete("k = 99"),
    "delete nulls": lambda t: t.delete("v IS NULL"),
    "update rows": lambda t: t.update(updates={"v": "'new'"}, predicate="k IN (1, 2)"),
    "update all": lambda t: t.update(updates={"v": "'new'"}),
    "update nothing": lambda t: t.update(updates={"v": "'new'"}, predicate="k = 99"),
    "update with values": lambda t: t.update(new_values={"v": "new"}, predicate="p = 'b'"),
    "upsert": lambda t: merge(t).when_matched_update_all().when_not_matched_insert_all().execute(),
    "insert only": lambda t: merge(t).when_not_matched_insert_all().execute(),
    "insert by condition": lambda t: merge(t).when_not_matched_insert_all("source.k < 0").execute(),
    "update by condition": lambda t: merge(t).when_matched_update({"v": "source.v"}, "target.k = 1").execute(),
    "delete matched": lambda t: merge(t).when_matched_delete().execute(),
    "everything": lambda t: (
        merge(t)
        .when_matched_delete("target.k = 1")
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .when_not_matched_by_source_delete("target.k > 15")
        .when_not_matched_by_source_update({"v": "'left'"}, "target.k = 7")
        .execute()
    ),
    "no match": lambda t: merge(t, on="target.k = source.k AND target.k = 77").when_matched_update_all().execute(),
}


def table(root: Path) -> Path:
    """Keys 0 to 9 and 10 to 19, in partitions a and b: four files."""
    for start, mode in ((0, "error"), (10, "append")):
        data = pa.table({
            "k": range(start, start + 10), "p": ["a", "b"] * 5, "v": [None if k % 3 else "x" for k in range(10)],
        })  # fmt: skip
        deltalake.write_deltalake(root, data, partition_by=["p"], mode=mode)
    return root


@pytest.mark.bug("T-66")
@pytest.mark.parametrize("name", RUNS)
def test_metrics_are_deltalakes(tmp_path: Path, name: str) -> None:
    ours, theirs = table(tmp_path / "ours"), table(tmp_path / "theirs")
    expected = RUNS[name](deltalake.DeltaTable(theirs))
    found = dict(RUNS[name](deltalite.DeltaTable(ours)))
    assert set(expected) <= set(found), "every name of deltalake's"
    for key, value in expected.items():
        if key in PRUNING:
            continue
        if not key.endswith("_ms"):
            assert found[key] == value, key
    if PRUNING[0] in expected:
        scanned, skipped = (found[key] for key in PRUNING)
        assert scanned + skipped == sum(expected[key] for key in PRUNING)
        assert scanned <= expected[PRUNING[0]], "files are skipped at least as well"
    assert rows(ours) == rows(theirs)
    assert deltalite.DeltaTable(ours).version() == deltalake.DeltaTable(theirs).version()
