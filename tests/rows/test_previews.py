"""What a row change would do, says before it does it; and row changes that do nothing, or make no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable
from deltalite.exceptions import InvalidArgumentError, MergeRefusedError, MultipleMatchesError
from rows.tables import BOTH_MODES, FEED, files_below, of_kind, rows, table_of


def data(*keys: int, v: str = "x", p: str = "a") -> pa.Table:
    return pa.table({"k": pa.array(keys, pa.int64()), "p": [p] * len(keys), "v": [v] * len(keys)})


def three_files(root: Path, mode: str, **properties: str) -> DeltaTable:
    """Keys 0 to 9, 10 to 19 and 20 to 29, a file each; 5 is gone already."""
    files = [data(*range(start, start + 10)) for start in (0, 10, 20)]
    table = table_of(root, mode, *files, properties=properties)
    table.delete("k = 5")
    return table


def merge(table: DeltaTable, *keys: int) -> Any:
    merger = table.merge(data(*keys, v="m"), "t.k = s.k").when_matched_delete("t.k % 2 = 0")
    return merger.when_matched_update_all().when_not_matched_insert_all()


Run = Callable[..., Any]
RUNS: dict[str, Run] = {
    "delete rows": lambda t, **o: t.delete("k IN (1, 11)", **o),
    "delete a file": lambda t, **o: t.delete("k >= 20", **o),
    "delete most": lambda t, **o: t.delete("k BETWEEN 1 AND 8 OR k = 12", **o),
    "delete all": lambda t, **o: t.delete(**o),
    "update": lambda t, **o: t.update({"v": "'new'"}, predicate="k IN (1, 11)", **o),
    "update most": lambda t, **o: t.update({"v": "'new'"}, predicate="k < 13", **o),
    "merge": lambda t, **o: merge(t, 1, 2, 11, 99).execute(**o),
    "merge one file": lambda t, **o: merge(t, 12, 13).execute(**o),
    "merge, inserts only": lambda t, **o: t.merge(data(1, 99), "t.k = s.k").when_not_matched_insert_all().execute(**o),
    "merge, without a source": lambda t, **o: (
        t.merge(data(*range(28)), "t.k = s.k").when_not_matched_by_source_delete().execute(**o)
    ),
    "upsert": lambda t, **o: t.upsert(data(1, 2, 99, v="u"), on="k", **o),
}


@BOTH_MODES
@pytest.mark.parametrize("properties", [{}, FEED], ids=["plain", "feed"])
@pytest.mark.parametrize("name", RUNS)
def test_a_dry_run_writes_nothing_and_is_right(
    tmp_path: Path, mode: str, name: str, properties: dict[str, str]
) -> None:
    root = tmp_path / "t"
    table = three_files(root, mode, **properties)
    before, shown = files_below(root), rows(table)
    told = RUNS[name](table, dry_run=True)
    assert files_below(root) == before
    assert (rows(table), table.version()) == (shown, 4)
    done = RUNS[name](table)
    assert (told.version, told.operation) == (4, done.operation)
    assert told.metrics, "numbers"
    assert {k: done.metrics[k] for k in told.metrics} == dict(told.metrics)
    assert all("Time" not in k for k in told.metrics)
    _compare_files(root, told.files, done)
    assert json.dumps(told.to_dict())
    assert "not executed" in repr(told)


def _compare_files(root: Path, told: pa.Table, done: Any) -> None:
    """Per file: what was foretold is what the commit did."""
    version = done.version
    adds = {a["path"]: a for a in of_kind(root, version, "add")}
    removed = {r["path"] for r in of_kind(root, version, "remove")}
    copied = changed = 0
    live = DeltaTable(root, version=version - 1).files().column("path").to_pylist()
    assert sorted(told.column("path").to_pylist()) == sorted(live)
    for file in told.to_pylist():
        path = file["path"]
        expected = "keep" if path not in removed else "mark" if path in adds else "gone"
        assert ("gone" if file["way"] in ("remove", "rewrite") else file["way"]) == expected, file
        assert (file["rows_changed"] > 0) == (file["way"] != "keep")
        assert file["kept"] or file["way"] == "keep", "a file that changes was looked into"
        assert file["reason"]
        copied, changed = copied + file["rows_copied"], changed + file["rows_changed"]
    target = "Target" if done.operation == "MERGE" else ""
    assert copied == done.metrics["numTargetRowsCopied" if target else "numCopiedRows"]
    names = ("numTargetRowsUpdated", "numTargetRowsDeleted") if target else ("numUpdatedRows", "numDeletedRows")
    assert changed == sum(done.metrics.get(name, 0) for name in names)


def test_explain_is_a_dry_run(tmp_path: Path) -> None:
    table = three_files(tmp_path / "t", "vectors")
    before = files_below(tmp_path / "t")
    told = merge(table, 12, 13).explain()
    assert told.to_dict() == merge(table, 12, 13).execute(dry_run=True).to_dict()
    assert files_below(tmp_path / "t") == before
    assert [f["way"] for f in sorted(told.files.to_pylist(), key=lambda f: f["way"])] == ["keep", "keep", "mark"]
    assert sum(told.files.column("kept").to_pylist()) == 1


@BOTH_MODES
def test_a_dry_run_refuses_what_the_run_would(tmp_path: Path, mode: str) -> None:
    root = tmp_path / "t"
    table = three_files(root, mode)
    before = files_below(root)
    twice = table.merge(data(1, 1), "t.k = s.k").when_matched_update_all()
    refusing = table.merge(data(1, 99), "t.k = s.k").when_not_matched_fail()
    failing = table.merge(data(1, 99), "t.k = s.k").when_matched_fail("s.k = 1").when_not_matched_insert_all()
    for run in (twice.explain, lambda: twice.execute(dry_run=True), twice.execute):
        with pytest.raises(MultipleMatchesError):
            run()
    for merger in (refusing, failing):
        for run in (merger.explain, lambda merger=merger: merger.execute(dry_run=True), merger.execute):
            with pytest.raises(MergeRefusedError) as caught:
                run()
            assert caught.value.count == 1
    assert files_below(root) == before


# -- nothing to do -----------------------------------------------------------------------------------------------------

NOTHING: dict[str, Run] = {
    "delete": lambda t, **o: t.delete("k = 77", **o),
    "delete what is gone": lambda t, **o: t.delete("k = 5", **o),
    "delete null": lambda t, **o: t.delete("NULL", **o),
    "update": lambda t, **o: t.update({"v": "'new'"}, predicate="k = 77", **o),
    "merge": lambda t, **o: t.merge(data(5, 77), "t.k = s.k").when_matched_update_all().execute(**o),
    "merge by conditions": lambda t, **o: (
        t.merge(data(1, 77), "t.k = s.k")
        .when_matched_delete("s.v = 'other'")
        .when_not_matched_insert_all("s.k < 0")
        .when_not_matched_by_source_delete("t.k < 0")
        .execute(**o)
    ),
    "merge nothing": lambda t, **o: merge(t).execute(**o),
    "upsert nothing": lambda t, **o: t.upsert(data(), on="k", **o),
}


@BOTH_MODES
@pytest.mark.parametrize("name", NOTHING)
def test_what_changes_nothing_commits_nothing_and_says_so(tmp_path: Path, mode: str, name: str) -> None:
    root = tmp_path / "t"
    table = three_files(root, mode, **FEED)
    before = files_below(root)
    told = NOTHING[name](table, dry_run=True)
    done = NOTHING[name](table)
    assert "no row" in done.skipped
    assert (done.version, done.txn_id, table.version()) == (4, None, 4)
    assert files_below(root) == before
    counts = {k: v for k, v in done.metrics.items() if "Rows" in k and k != "numSourceRows"}
    assert set(counts.values()) == {0}
    assert set(told.files.column("way").to_pylist()) == {"keep"}


def test_an_update_to_equal_values_is_a_change(tmp_path: Path) -> None:
    """As everywhere else: an update says which rows it is for, not whether their values differ."""
    table = three_files(tmp_path / "t", "vectors")
    assert table.update({"v": "v"}, predicate="k = 1").version == 5


# -- no sense ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", ["execute", "explain"])
def test_a_merge_without_clauses_is_an_error(tmp_path: Path, run: str) -> None:
    table = three_files(tmp_path / "t", "vectors")
    with pytest.raises(InvalidArgumentError, match="without clauses"):
        getattr(table.merge(data(1), "t.k = s.k"), run)()
    assert table.refresh().version() == 4


@pytest.mark.parametrize(
    "build",
    [
        lambda m: m.when_matched_update_all().when_matched_delete("t.k = 1"),
        lambda m: m.when_matched_delete().when_matched_update_all(),
        lambda m: m.when_matched_fail().when_not_matched_insert_all().when_matched_delete(),
        lambda m: m.when_not_matched_insert_all().when_not_matched_insert({"k": "s.k"}, "s.k > 1"),
        lambda m: m.when_not_matched_by_source_delete().when_not_matched_by_source_update({"v": "'n'"}),
    ],
)
def test_a_clause_that_is_never_reached_is_refused(tmp_path: Path, build: Any) -> None:
    root = tmp_path / "t"
    table = three_files(root, "vectors")
    before = files_below(root)
    with pytest.raises(InvalidArgumentError, match="never apply"):
        build(table.merge(data(1), "t.k = s.k")).execute()
    assert files_below(root) == before


def test_clauses_of_several_kinds_do_not_hide_one_another(tmp_path: Path) -> None:
    table = three_files(tmp_path / "t", "vectors")
    merger = table.merge(data(1, 99, v="m"), "t.k = s.k").when_matched_update_all()
    merger.when_not_matched_insert_all().when_not_matched_by_source_delete().execute()
    assert rows(table, "k", "v") == [(1, "m"), (99, "m")]
