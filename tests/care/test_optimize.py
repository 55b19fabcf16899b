"""Compaction and Z-order: what is chosen, what it leaves, what it says, and what other engines got wrong."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from layout_tables import TRACKING, VECTORS, check, content, frame, in_order, make, removed_and_added

from deltalite import BloomFilterProperties, ColumnProperties, DeltaTable, WriterProperties, write_deltalake
from deltalite.exceptions import ConflictError, InvalidArgumentError
from deltalite.model.layout import LayoutPreview

# -- compaction --------------------------------------------------------------------------------------------------------


def test_small_files_become_one_per_partition_in_their_order(tmp_path: Path) -> None:
    table = make(tmp_path, 6, partition_by=["part"])
    before = content(table)
    parts = {p: table.scan(["id"], f"part = '{p}'").read_all()["id"].to_pylist() for p in ("p0", "p1", "p2")}
    result = table.optimize.compact()
    assert (result["numFilesAdded"], result["numFilesRemoved"], result["partitionsOptimized"]) == (3, 18, 3)
    assert content(table) == before and table.files().num_rows == 3
    for part, ids in parts.items():
        assert table.scan(["id"], f"part = '{part}'").read_all()["id"].to_pylist() == ids
    assert table.optimize.compact().skipped


def test_metrics_have_deltalakes_names(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for root in (theirs, ours):
        for i in range(4):
            deltalake.write_deltalake(root, frame(i * 10, 10), mode="append")
    expected = deltalake.DeltaTable(theirs).optimize.compact()
    found = DeltaTable(ours).optimize.compact()
    for name in ("numFilesAdded", "numFilesRemoved", "partitionsOptimized", "totalConsideredFiles", "totalFilesSkipped",
                 "preserveInsertionOrder"):  # fmt: skip
        assert found[name] == expected[name], name
    assert set(found["filesAdded"]) == set(json.loads(expected["filesAdded"])) == set(found["filesRemoved"])
    assert found["filesRemoved"]["totalSize"] == json.loads(expected["filesRemoved"])["totalSize"]
    assert "numBatches" in found and deltalake.DeltaTable(ours).to_pyarrow_table().num_rows == 40


def test_large_files_are_left_alone_and_targets_kept(tmp_path: Path) -> None:
    table = make(tmp_path, 1, 20_000)
    large = table.files()["path"].to_pylist()
    for i in range(12):
        table.append(frame(20_000 + 1000 * i, 1000))
    size = table.files()["size_bytes"].to_pylist()[0]
    assert table.optimize.compact(target_size=size).metrics["numFilesRemoved"] == 12
    assert large[0] in table.files()["path"].to_pylist()
    assert table.optimize.compact(target_size=size).skipped


def test_the_table_says_how_large_files_should_be(tmp_path: Path) -> None:
    table = make(tmp_path, 10, 1000, configuration={"delta.targetFileSize": "20kb"})
    table.optimize.compact(min_file_size="19kB")
    sizes = table.files()["size_bytes"].to_pylist()
    assert len(sizes) > 2 and all(20_000 < size < 40_000 for size in sizes[:-1])
    assert table.optimize.compact().skipped


def test_files_with_many_deleted_rows_are_rewritten(tmp_path: Path) -> None:
    table = make(tmp_path, 1, 4000, configuration=VECTORS)
    size = table.files()["size_bytes"].to_pylist()[0]
    table.delete("id < 40")
    assert table.optimize.compact(target_size=size // 4, min_file_size=1).skipped
    table.delete("id < 400")
    result = table.optimize.compact(target_size=size * 4, min_file_size=1)
    assert result["numDeletionVectorsRemoved"] == 1
    assert table.count() == 3600 and table.analyze().worn_files == 0
    assert table.optimize.compact(target_size=size * 4).skipped


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    table = make(tmp_path, 6, partition_by=["part"])
    assert table.optimize.compact([("part", "=", "p1")]).metrics["numFilesRemoved"] == 6
    assert table.optimize.compact(where="part = 'p1'").skipped
    assert table.optimize.compact(where="part = 'p2' and id < 100").metrics["numFilesRemoved"] == 2
    assert table.optimize.compact(max_files=3).metrics["numFilesRemoved"] == 3
    check(tmp_path)


def test_budgets_in_turns_come_to_an_end(tmp_path: Path) -> None:
    table = make(tmp_path, 12)
    budget, rounds = 4 * max(table.files()["size_bytes"].to_pylist()), 0
    while not (result := table.optimize.compact(max_bytes=budget)).skipped:
        assert result["numRemovedBytes"] <= budget
        rounds += 1
    assert 2 < rounds < 12 and table.count() == 600


def test_one_commit_per_partition(tmp_path: Path) -> None:
    table = make(tmp_path, 4, partition_by=["part"])
    version = table.version()
    result = table.optimize.compact(min_commit_interval=0)
    assert table.version() == result.version == version + 3
    assert (result["numFilesRemoved"], result["numFilesAdded"], result["partitionsOptimized"]) == (12, 3, 3)
    assert result["filesRemoved"]["totalFiles"] == 12
    check(tmp_path)


def test_progress_counts_bytes(tmp_path: Path) -> None:
    table, seen = make(tmp_path, 5), []
    table.optimize.compact(progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1] and len(seen) == 5


def test_bloom_filters_on_request(tmp_path: Path) -> None:
    table = make(tmp_path, 3)
    bloom = ColumnProperties(bloom_filter_properties=BloomFilterProperties(True, fpp=0.01, ndv=200))
    table.optimize.compact(writer_properties=WriterProperties(column_properties={"name": bloom}))
    plain, filtered = (path.stat().st_size for path in _sizes(tmp_path, table))
    assert filtered > plain


def _sizes(root: Path, table: DeltaTable) -> tuple[Path, Path]:
    """A file without filters made of the same rows, and the table's."""
    plain = make(root / "plain", 3)
    plain.optimize.compact()
    return root / "plain" / plain.files()["path"][0].as_py(), root / table.files()["path"][0].as_py()


@pytest.mark.parametrize("arguments", [{"target_size": 0}, {"target_size": "big"}, {"max_files": 0}, {"max_bytes": -1},
                                       {"max_concurrent_tasks": 0}, {"min_commit_interval": -1}])  # fmt: skip
def test_senseless_arguments(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        make(tmp_path, 2).optimize.compact(**arguments)


# -- Z-order -----------------------------------------------------------------------------------------------------------


def grid(count: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    values = {name: rng.integers(0, 1_000_000, count) for name in "xy"}
    return pa.table({"id": np.arange(count), **values})


def test_a_box_touches_few_files(tmp_path: Path) -> None:
    """A box of 5 % of each of two columns meets at most 12 % of the files."""
    for i in range(10):
        write_deltalake(tmp_path, grid(20_000, i), mode="append")
    table = DeltaTable(tmp_path)
    assert touched(table) == 1.0
    table.optimize.z_order(["x", "y"], target_size=60_000)
    assert 15 < table.files().num_rows < 40
    assert touched(table) <= 0.12


def touched(table: DeltaTable, boxes: int = 150) -> float:
    chance, found = random.Random(7), 0
    for _ in range(boxes):
        x, y = chance.randrange(950_000), chance.randrange(950_000)
        predicate = f"x between {x} and {x + 50_000} and y between {y} and {y + 50_000}"
        found += len(table.plan_scan(predicate=predicate))
    return found / boxes / table.files().num_rows


def test_any_type_can_order_rows(tmp_path: Path) -> None:
    import datetime as dt
    import decimal

    chance = random.Random(3)
    numbers = [chance.choice([None, chance.randrange(10**6)]) for _ in range(4000)]
    kinds = {
        "i": (pa.int16(), lambda n: n % 30_000 - 15_000),
        "f": (pa.float64(), lambda n: float("nan") if n % 50 == 0 else -0.0 if n % 51 == 0 else n / 7 - 5e4),
        "s": (pa.string(), lambda n: f"common prefix of all {n:06d} é"),
        "b": (pa.binary(), lambda n: n.to_bytes(4, "big") + b"\0"),
        "d": (pa.decimal128(38, 2), lambda n: decimal.Decimal(n - 500_000) * 10**20),
        "t": (pa.timestamp("us", "UTC"), lambda n: dt.datetime(2026, 1, 1) + dt.timedelta(seconds=n)),
        "day": (pa.date32(), lambda n: dt.date(2000, 1, 1) + dt.timedelta(days=n % 9000)),
        "o": (pa.bool_(), lambda n: n % 2 == 0),
    }
    columns = {name: pa.array([None if n is None else of(n) for n in numbers], t) for name, (t, of) in kinds.items()}
    columns["r"] = pa.StructArray.from_arrays([columns["i"]], ["inner"])
    for start in range(0, 4000, 1000):
        write_deltalake(tmp_path, pa.table(columns).slice(start, 1000), mode="append")
    table = DeltaTable(tmp_path)
    before = Counter(map(repr, table.scan().read_all().to_pylist()))
    for name in ("i", "f", "s", "b", "d", "t", "day", "o", "r.inner"):
        table.optimize.z_order([name], target_size=1000, full=True)
        assert Counter(map(repr, table.scan().read_all().to_pylist())) == before
        if name in ("i", "s", "d", "t", "day", "r.inner"):
            assert table.analyze([name])[name].average < 2.2, name


def test_rows_of_one_column_come_in_order(tmp_path: Path) -> None:
    table = make(tmp_path, 4, 100)
    table.optimize.z_order("y")
    found = table.scan(["y", "id"]).read_all().to_pylist()
    assert [row["y"] for row in found] == sorted(row["y"] for row in found)
    ties = [(row["y"], row["id"]) for row in found]
    assert ties == sorted(ties), "rows that are alike keep their order"


def test_it_is_incremental_and_done_once(tmp_path: Path) -> None:
    table = make(tmp_path, 6, 1000)
    table.optimize.z_order(["x", "y"], target_size=8000)
    assert table.optimize.z_order(["x", "y"]).skipped
    laid_out = set(table.files()["path"].to_pylist())
    table.append(frame(6000, 60))
    assert table.optimize.z_order(["x", "y"]).metrics["numFilesRemoved"] == 1
    assert laid_out < set(table.files()["path"].to_pylist())
    result = table.optimize.z_order(["x"], target_size=8000)
    assert result["numFilesRemoved"] == len(laid_out) + 1, "another order is made anew"
    table.append(frame(7000, 1000))
    assert table.optimize.z_order(["x"], full=True)["numFilesAdded"] == 1
    assert table.optimize.z_order(["x"], full=True).skipped


def test_compaction_keeps_what_lies_in_one_order_together(tmp_path: Path) -> None:
    table = make(tmp_path, 6, 1000)
    table.optimize.z_order(["x"], target_size=8000)
    order = in_order(table, "x")
    table.append(frame(6000, 60))
    table.optimize.compact()
    assert in_order(table, "x")[: len(order)] == order or in_order(table, "x")[60:] == order
    assert table.optimize.z_order(["x"]).metrics["numFilesRemoved"] == 1


def test_its_columns_get_statistics(tmp_path: Path) -> None:
    table = make(tmp_path, 3, configuration={"delta.dataSkippingNumIndexedCols": "1"})
    table.optimize.z_order(["y"])
    (add,) = table._snapshot.files.add_files()
    assert set(json.loads(add.stats or "")["minValues"]) == {"id", "y"}


def test_columns_that_cannot_order_rows(tmp_path: Path) -> None:
    table = make(tmp_path, 2, partition_by=["part"])
    with pytest.raises(InvalidArgumentError, match="partition columns"):
        table.optimize.z_order(["part", "x"])
    with pytest.raises(InvalidArgumentError, match="no column 'nam'") as caught:
        table.optimize.z_order(["nam"])
    assert "name" in str(caught.value.hint)
    for wrong in ([], ["x", "X"]):
        with pytest.raises(InvalidArgumentError):
            table.optimize.z_order(wrong)


# -- previews ----------------------------------------------------------------------------------------------------------


def test_dry_runs_write_nothing_and_tell(tmp_path: Path) -> None:
    table = make(tmp_path, 8, 500, partition_by=["part"])
    files = sorted(str(p) for p in tmp_path.rglob("*"))
    told = table.optimize.compact(dry_run=True)
    assert isinstance(told, LayoutPreview) and "not executed" in repr(told)
    assert sorted(str(p) for p in tmp_path.rglob("*")) == files
    done = table.optimize.compact()
    assert (told.files_to_rewrite, told.bytes_to_rewrite) == (done["numFilesRemoved"], done["numRemovedBytes"])
    assert told.files_after == table.files().num_rows
    assert {g["partition"]["part"]: g["files"] for g in told.groups} == {"p0": 8, "p1": 8, "p2": 8}
    assert json.loads(json.dumps(told.to_dict()))["files_after"] == 3


def test_previews_foretell_lookups_and_warn_of_lost_orders(tmp_path: Path) -> None:
    for i in range(16):
        rows = grid(5000, i)
        write_deltalake(
            tmp_path, rows.set_column(0, "id", pa.array(np.arange(i * 5000, i * 5000 + 5000))), mode="append"
        )
    table = DeltaTable(tmp_path)
    told = table.optimize.z_order(["x", "y"], target_size=60_000, dry_run=True)
    assert isinstance(told, LayoutPreview)
    assert told.lookups["id"]["now"] == pytest.approx(1.0, abs=0.1)
    assert any("id" in warning for warning in told.warnings) and not any(" x" in w for w in told.warnings)
    table.optimize.z_order(["x", "y"], target_size=60_000)
    now = table.analyze()
    for column in ("x", "y"):
        assert now[column].average == pytest.approx(told.lookups[column]["after"], rel=0.6)
        assert now[column].average < told.lookups[column]["now"] / 2
    assert now["id"].average > 5


def test_analysis_counts_files_as_a_scan_does(tmp_path: Path) -> None:
    table = make(tmp_path, 9, 30)
    found = table.analyze(["x", "id", "name"])
    for column, values in (("x", range(1000)), ("id", range(270))):
        touched = [len(table.plan_scan(predicate=f"{column} = {v}")) for v in values]
        assert max(touched) == found[column].worst
    assert found["id"].average == 1 and "lookup by" in repr(found) and found.to_dict()["files"] == 9
    with pytest.raises(InvalidArgumentError):
        table.analyze(["nothing"])


# -- by itself ---------------------------------------------------------------------------------------------------------


def test_auto_compaction_follows_the_fiftieth_small_file(tmp_path: Path) -> None:
    make(tmp_path, 1, 5, configuration={"delta.autoOptimize.autoCompact": "true"})
    for i in range(1, 51):
        result = write_deltalake(tmp_path, frame(5 * i, 5), mode="append")
    table = DeltaTable(tmp_path)
    assert [h["operation"] for h in table.history(3)] == ["WRITE", "OPTIMIZE", "WRITE"]
    assert table.files().num_rows == 2 and sorted(in_order(table)) == list(range(255))
    assert result.operation == "WRITE" and result.version == table.version()
    check(tmp_path)


def test_auto_compaction_never_fails_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    make(tmp_path, 49, 2, configuration={"delta.autoOptimize.autoCompact": "auto"})

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no disk")

    monkeypatch.setattr("deltalite.operations.auto_compaction.plan_partitions", fail)
    result = write_deltalake(tmp_path, frame(98, 2), mode="append")
    assert result.skipped is None and DeltaTable(tmp_path).count() == 100
    assert "no disk" in caplog.text


# -- what went wrong elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.bug("T-28")
def test_bug_t28_keys_stay_unique_when_vectors_are_purged(tmp_path: Path) -> None:
    table = make(tmp_path, 4, configuration=VECTORS)
    for turn in range(4):
        table.update({"y": "-1"}, predicate=f"id % 4 = {turn}")
        table.optimize.compact()
        ids = in_order(table)
        assert len(ids) == len(set(ids)) == 200


@pytest.mark.bug("T-31")
def test_bug_t31_removes_name_the_vector_that_a_file_had(tmp_path: Path) -> None:
    table = make(tmp_path, 3, configuration=VECTORS)
    table.delete("id % 10 = 0")
    vectors = {add.path: add.deletion_vector for add in table._snapshot.files.add_files()}
    result = table.optimize.compact()
    removes, adds = removed_and_added(tmp_path, result.version)
    assert len(removes) == 3 and all("deletionVector" in r for r in removes) and "deletionVector" not in adds[0]
    for remove in removes:
        assert remove["deletionVector"]["pathOrInlineDv"] == vectors[remove["path"]].path_or_inline_dv
    assert table.count() == 135
    check(tmp_path)  # a plain replay of the JSON
    table.create_checkpoint()
    check(tmp_path)  # and of the checkpoint
    assert DeltaTable(tmp_path).count() == 135


@pytest.mark.bug("T-48")
def test_bug_t48_checkpoints_between_repeated_runs_multiply_nothing(tmp_path: Path) -> None:
    table = make(tmp_path, 3)
    for turn in range(4):
        table.append(frame(150 + turn * 10, 10))
        table.optimize.compact()
        table.create_checkpoint()
        table.optimize.z_order(["x"], full=True)
        fresh = DeltaTable(tmp_path)
        assert sorted(in_order(fresh)) == sorted(in_order(table)) == list(range(160 + turn * 10))
    check(tmp_path)


@pytest.mark.bug("T-61")
def test_bug_t61_every_remove_names_a_live_file(tmp_path: Path) -> None:
    table = make(tmp_path, 5, 200, configuration=VECTORS, partition_by=["part"])
    table.delete("id % 9 = 0")
    rows = table.count()
    for target in (2000, 5000, 100_000):
        live = set(table.files()["path"].to_pylist())
        result = table.optimize.z_order(["x", "y"], target_size=target, full=True)
        if not result.skipped:
            removes, _ = removed_and_added(tmp_path, result.version)
            assert {r["path"] for r in removes} <= live and len(removes) == result["numFilesRemoved"]
        assert table.count() == rows == DeltaTable(tmp_path).count()
    check(tmp_path)


# -- other writers -----------------------------------------------------------------------------------------------------


def test_appends_do_not_disturb(tmp_path: Path) -> None:
    make(tmp_path, 4)
    stale = DeltaTable(tmp_path)
    write_deltalake(tmp_path, frame(200, 50), mode="append")
    assert not stale.optimize.compact().skipped
    assert stale.files().num_rows == 2 and sorted(in_order(stale)) == list(range(250))


@pytest.mark.parametrize("other", ["delete", "vector", "compact", "repair"])
def test_changes_of_the_same_files_are_conflicts(tmp_path: Path, other: str) -> None:
    make(tmp_path, 4, configuration=VECTORS if other == "vector" else {})
    stale, winner = DeltaTable(tmp_path), DeltaTable(tmp_path)
    if other == "compact":
        winner.optimize.compact()
    else:
        winner.delete("id = 7")
    files = {p.name for p in tmp_path.glob("*.parquet")}
    with pytest.raises(ConflictError):
        stale.optimize.compact() if other != "repair" else stale.optimize.repair_statistics(["name"], deep=True)
        if other == "repair":
            stale.optimize.z_order("x")
    assert {p.name for p in tmp_path.glob("*.parquet")} == files, "the loser's files are gone"
    assert DeltaTable(tmp_path).count() == (200 if other == "compact" else 199)


def test_a_transaction_may_compact(tmp_path: Path) -> None:
    table = make(tmp_path, 4, configuration=TRACKING)
    before = content(table)
    with table.transaction() as t:
        t.append(frame(200, 10))
        t.optimize.compact()
    assert table.files().num_rows == 1 and not before - content(table) and table.count() == 210
    check(tmp_path)


@pytest.mark.bug("F-05")
def test_f05_a_run_that_is_killed_leaves_the_rows_as_they_were(tmp_path: Path) -> None:
    import subprocess
    import sys

    make(tmp_path, 12, 2000)
    script = (
        "import os, sys, deltalite\n"
        "table = deltalite.DeltaTable(sys.argv[1])\n"
        "def progress(done, total):\n"
        "    if done >= float(sys.argv[2]) * total: os.kill(os.getpid(), 9)\n"
        "table.optimize.z_order(['x'], target_size=9000, progress=progress)\n"
    )
    for share in ("0.1", "0.6", "1"):
        killed = subprocess.run([sys.executable, "-c", script, str(tmp_path), share], check=False)
        assert killed.returncode == -9
        assert sorted(in_order(DeltaTable(tmp_path))) == list(range(24_000))
    DeltaTable(tmp_path).optimize.z_order(["x"], target_size=9000)
    assert sorted(in_order(DeltaTable(tmp_path))) == list(range(24_000))


def test_row_groups_of_the_output_are_not_tiny(tmp_path: Path) -> None:
    table = make(tmp_path, 30, 20)
    table.optimize.compact()
    path = tmp_path / table.files()["path"][0].as_py()
    assert pq.ParquetFile(path).metadata.num_row_groups == 1


@pytest.mark.parametrize("options", [{"cluster_by": "x"}, {"partition_by": "part"}, {}])
def test_tables_without_files(tmp_path: Path, options: dict[str, Any]) -> None:
    table = DeltaTable.create(tmp_path, "id bigint, part string, x int", **options)
    order = table.optimize.cluster if "cluster_by" in options else lambda: table.optimize.z_order("x")
    for operation in (table.optimize.compact, order, table.optimize.purge, table.optimize.repair_statistics):
        assert operation().skipped
    assert table.analyze().files == 0 and "not executed" in repr(table.optimize.compact(dry_run=True))


def test_neither_pandas_nor_datasets_are_loaded(tmp_path: Path) -> None:
    import subprocess
    import sys

    make(tmp_path, 3, partition_by=["part"], configuration={**TRACKING, **VECTORS}).delete("id % 7 = 0")
    script = (
        "import sys, deltalite\n"
        "t = deltalite.DeltaTable(sys.argv[1])\n"
        "t.analyze(), t.optimize.z_order(['x', 'name'], dry_run=True), t.optimize.z_order(['x', 'name'])\n"
        "t.optimize.compact(), t.optimize.repair_statistics(deep=True)\n"
        "print([m for m in ('pandas', 'pyarrow.dataset', 'pyarrow.acero') if m in sys.modules])\n"
    )
    told = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
