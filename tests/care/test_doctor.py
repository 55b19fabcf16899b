"""The doctor finds what tests break on purpose, and nothing on tables that are well."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite import DeltaTable, convert_to_deltalake
from deltalite.exceptions import TableNotFoundError
from deltalite.operations.doctor import fsck
from deltalite.storage import open_store

FAST = {"durability": "relaxed"}
KINDS: dict[str, dict[str, str]] = {
    "plain": {},
    "vectors": {"delta.enableDeletionVectors": "true"},
    "mapped": {"delta.columnMapping.mode": "name", "delta.enableDeletionVectors": "true"},
    "tracked": {"delta.enableRowTracking": "true", "delta.enableInCommitTimestamps": "true"},
    "feed": {"delta.enableChangeDataFeed": "true"},
    "v2": {"delta.checkpointPolicy": "v2"},
}


def numbers(start: int, stop: int) -> pa.Table:
    values = [float(i) if i % 5 else float("nan") for i in range(start, stop)]
    return pa.table({
        "n": list(range(start, stop)), "k": [f"k {i % 2}" for i in range(start, stop)],
        "s": [{"x": f"{'text' * 20}{i}", "t": None} for i in range(start, stop)], "f": values,
    })


def make(root: Path, kind: str = "vectors", partition_by: Any = "k") -> DeltaTable:
    schema = "n bigint, k string, s struct<x string, t timestamp>, f double"
    table = DeltaTable.create(root, schema, partition_by=partition_by, configuration=KINDS[kind], storage_options=FAST)
    table.append(numbers(0, 3000))
    table.delete("n % 7 = 1 or n * n % 11 = 3 or n % 50 < 13")
    table.append(numbers(3000, 3006))
    table.create_checkpoint()
    table.update({"n": "n + 0"}, predicate="n = 3001")
    return table


def codes(root: Path, **options: Any) -> set[str]:
    return {f.code for f in fsck(open_store(str(root)), **options)}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_on_healthy_tables(tmp_path: Path, kind: str, deep: bool) -> None:
    table = make(tmp_path, kind)
    table.tags.create("fine")
    seen: list[tuple[int, int]] = []
    assert table.fsck(deep=deep, progress=lambda *at: seen.append(at)) == []
    assert seen[-1][0] == seen[-1][1] == table.files().num_rows
    table.optimize.compact()
    table.restore(1)
    assert table.fsck(deep=deep) == []
    assert table.repair() == {"dry_run": False, "files_removed": []}


def test_nothing_on_clones_and_converted_tables_and_deltalakes(tmp_path: Path) -> None:
    table = make(tmp_path / "a")
    assert table.clone(tmp_path / "c").fsck(deep=True) == []
    assert table.clone(tmp_path / "d", shallow=False).fsck(deep=True) == []
    (tmp_path / "p").mkdir()
    pq.write_table(numbers(0, 10), tmp_path / "p" / "a.parquet")
    convert_to_deltalake(tmp_path / "p")
    assert DeltaTable(tmp_path / "p").fsck() == []
    deltalake.write_deltalake(tmp_path / "t", numbers(0, 30), partition_by=["k"])
    deltalake.write_deltalake(tmp_path / "t", numbers(0, 30), mode="append")
    deltalake.DeltaTable(tmp_path / "t").create_checkpoint()
    assert DeltaTable(tmp_path / "t").fsck() == []


def data_files(root: Path) -> list[Path]:
    return [Path(uri) for uri in DeltaTable(root).file_uris()]


def commit_of(root: Path, version: int) -> Path:
    return root / "_delta_log" / f"{version:020}.json"


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        change(action)
    path.write_text("".join(json.dumps(action) + "\n" for action in actions if action))


def no_file(root: Path) -> None:
    data_files(root)[0].unlink()


def other_size(root: Path) -> None:
    with data_files(root)[0].open("ab") as file:
        file.write(b"x")


def torn_data(root: Path) -> None:
    path = data_files(root)[0]
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)


def no_vector(root: Path) -> None:
    for path in root.glob("deletion_vector*"):
        path.unlink()


def damaged_vector(root: Path) -> None:
    for path in root.glob("deletion_vector*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


def wrong_cardinality(root: Path) -> None:
    def change(action: dict[str, Any]) -> None:
        if (vector := action.get("add", {}).get("deletionVector")) is not None:
            vector["cardinality"] += 1

    edit(commit_of(root, 2), change)


def changed_stats(root: Path, change: Callable[[dict[str, Any]], None], version: int = 3) -> None:
    def each(action: dict[str, Any]) -> None:
        if "add" in action:
            stats = json.loads(action["add"]["stats"])
            change(stats)
            action["add"]["stats"] = json.dumps(stats)

    edit(commit_of(root, version), each)


def fewer_rows(root: Path) -> None:
    changed_stats(root, lambda stats: stats.update(numRecords=stats["numRecords"] - 1))


def narrow_bounds(root: Path) -> None:
    changed_stats(root, lambda stats: stats["minValues"].update(n=3004))


def low_maximum(root: Path) -> None:
    changed_stats(root, lambda stats: stats["maxValues"].update(n=3003))


def wrong_nulls(root: Path) -> None:
    changed_stats(root, lambda stats: stats["nullCount"].update(n=2))


def gap(root: Path) -> None:
    commit_of(root, 4).rename(commit_of(root, 5))


def old_gap(root: Path) -> None:
    commit_of(root, 1).unlink()


def empty_newest(root: Path) -> None:
    commit_of(root, 5).write_bytes(b"")


def torn_newest(root: Path) -> None:
    path = commit_of(root, 4)
    path.write_bytes(path.read_bytes()[:-30])


def odd_checkpoint(root: Path) -> None:
    """A checkpoint of other rows: an earlier one under the newest one's name."""
    other = root.parent / "other"
    shutil.copytree(root, other)
    table = DeltaTable(other, version=1)
    table.create_checkpoint()
    shutil.copy(other / "_delta_log" / f"{1:020}.checkpoint.parquet", root / "_delta_log" / f"{3:020}.checkpoint.parquet")


def damaged_checkpoint(root: Path) -> None:
    path = root / "_delta_log" / f"{3:020}.checkpoint.parquet"
    path.write_bytes(path.read_bytes()[:100])


def wrong_checksum(root: Path) -> None:
    edit(root / "_delta_log" / f"{4:020}.crc", lambda value: value.update(numFiles=77))


def damaged_checksum(root: Path) -> None:
    (root / "_delta_log" / f"{4:020}.crc").write_text('{"numFiles"')


def wrong_hint(root: Path) -> None:
    (root / "_delta_log/_last_checkpoint").write_text('{"version": 99, "size": 1}')


def damaged_hint(root: Path) -> None:
    edit(root / "_delta_log/_last_checkpoint", lambda value: value.update(size=12345))


def outside(root: Path) -> None:
    def change(action: dict[str, Any]) -> None:
        if "add" in action:
            action["add"]["path"] = "/etc/x.parquet"

    edit(commit_of(root, 3), change)


def no_feature(root: Path) -> None:
    def change(action: dict[str, Any]) -> None:
        if "protocol" in action:
            for names in ("readerFeatures", "writerFeatures"):
                action["protocol"][names].remove("deletionVectors")

    edit(commit_of(root, 0), change)


def broken_tag(root: Path) -> None:
    table = DeltaTable(root)
    table.tags.create("mine", 2)
    (file,) = (root / "_delta_log").rglob("mine.json")
    value = json.loads(file.read_text())
    file.write_text(json.dumps({**value, "version": 99}))


def twice(root: Path) -> None:
    path = commit_of(root, 3)
    line = next(text for text in path.read_text().splitlines() if '"add"' in text)
    path.write_text(path.read_text() + line + "\n")


def no_partition_value(root: Path) -> None:
    def change(action: dict[str, Any]) -> None:
        if "add" in action:
            action["add"]["partitionValues"] = {}

    edit(commit_of(root, 3), change)


BROKEN: dict[Callable[[Path], None], tuple[str, bool]] = {
    no_file: ("file-missing", True),
    other_size: ("file-size", False),
    torn_data: ("file-unreadable", False),
    no_vector: ("vector-missing", False),
    damaged_vector: ("vector-damaged", False),
    wrong_cardinality: ("vector-damaged", False),
    fewer_rows: ("file-rows", True),
    narrow_bounds: ("statistics-wrong", True),
    low_maximum: ("statistics-wrong", True),
    gap: ("log-gap", False),
    old_gap: ("log-gap", False),
    empty_newest: ("commit-unreadable", False),
    torn_newest: ("commit-unreadable", False),
    odd_checkpoint: ("checkpoint-differs", True),
    damaged_checkpoint: ("checkpoint-unreadable", True),
    wrong_checksum: ("checksum-differs", True),
    damaged_checksum: ("checksum-unreadable", True),
    wrong_hint: ("hint-wrong", True),
    damaged_hint: ("hint-wrong", True),
    outside: ("path-outside", False),
    no_feature: ("feature-missing", False),
    broken_tag: ("tag-broken", False),
    twice: ("file-twice", False),
    no_partition_value: ("partition-value", False),
}


@pytest.mark.parametrize("harm", BROKEN, ids=lambda harm: harm.__name__)
def test_what_is_broken_is_found_and_repaired_where_that_is_safe(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    root = tmp_path / "t"
    make(root)
    code, repairable = BROKEN[harm]
    harm(root)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    found = [f for f in fsck(open_store(str(root))) if f.code == code]
    assert found, codes(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()} == before, "looking changes nothing"
    assert all((f.repair is not None) == repairable and str(f) for f in found)
    if repairable:
        done = fsck(open_store(str(root)), repair=True)
        assert all(f.repaired for f in done if f.code == code)
        assert code not in codes(root)
        DeltaTable(root).to_pyarrow_table()


def test_statistics_that_only_the_rows_betray(tmp_path: Path) -> None:
    table = make(tmp_path)
    wrong_nulls(tmp_path)
    assert "statistics-differ" in codes(tmp_path, deep=True)
    table = DeltaTable(tmp_path)
    assert any(f.repaired for f in table.fsck(deep=True, repair=True))
    assert "statistics-differ" not in codes(tmp_path, deep=True)


def test_clocks(tmp_path: Path) -> None:
    make(tmp_path, "tracked")

    def back(action: dict[str, Any]) -> None:
        if "commitInfo" in action:
            action["commitInfo"]["inCommitTimestamp"] = 5

    edit(commit_of(tmp_path, 2), back)
    assert "clock-order" in codes(tmp_path)
    edit(commit_of(tmp_path, 3), lambda action: action.get("commitInfo", {}).pop("inCommitTimestamp", None))
    assert "clock-missing" in codes(tmp_path)


def test_mapping_that_contradicts_itself(tmp_path: Path) -> None:
    make(tmp_path, "mapped")

    def change(action: dict[str, Any]) -> None:
        if "metaData" in action:
            action["metaData"]["configuration"]["delta.columnMapping.maxColumnId"] = "1"

    edit(commit_of(tmp_path, 0), change)
    assert "config-wrong" in codes(tmp_path)


def test_repair_is_deltalakes(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        deltalake.write_deltalake(tmp_path / name, pa.table({"n": [1, 2]}))
        deltalake.write_deltalake(tmp_path / name, pa.table({"n": [3]}), mode="append")
        no_file(tmp_path / name)
    for dry_run in (True, False):
        ours = DeltaTable(tmp_path / "ours").repair(dry_run)
        theirs = deltalake.DeltaTable(tmp_path / "theirs").repair(dry_run)
        assert ours.keys() == theirs.keys() and ours["dry_run"] == theirs["dry_run"]
        assert len(ours["files_removed"]) == len(theirs["files_removed"]) == 1
    assert DeltaTable(tmp_path / "ours").history(1)[0]["operation"] == "FSCK"
    assert DeltaTable(tmp_path / "ours").repair()["files_removed"] == []
    assert DeltaTable(tmp_path / "ours").to_pyarrow_table().num_rows == deltalake.DeltaTable(tmp_path / "theirs").to_pyarrow_table().num_rows


def test_a_table_that_lost_most_of_its_files_is_left_alone(tmp_path: Path) -> None:
    table = make(tmp_path)
    for path in data_files(tmp_path)[:-1]:
        path.unlink()
    version = table.version()
    found = table.fsck(repair=True)
    assert {f.code for f in found} == {"file-missing"} and not any(f.repaired or f.repair for f in found)
    assert DeltaTable(tmp_path).version() == version
    assert len(table.repair()["files_removed"]) == len(found)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError):
        fsck(open_store(str(tmp_path)))


ILL = {
    "without their data files": (
        "spark-variant-stable-feature-checkpoint", "checkpoint_with_partitions", "checkpoints", "latest_not_checkpointed",
        "with_checkpoint_no_last_checkpoint", "app-txn-with-last-updated", "log-replay-special-characters-b",
    ),
    "logs without metadata, of other protocols, with types of later ones": (
        "canonicalized-paths-normal-a", "canonicalized-paths-normal-b", "data-reader-absolute-paths-escaped-chars",
        "deltalog-state-reconstruction-from-checkpoint-missing-metadata", "table-with-geo", "catalog-owned-preview", "table_f",
        "deltalog-state-reconstruction-from-checkpoint-missing-protocol", "deltalog-invalid-protocol-version",
        "delta-live-table",
    ),
    "a minimum above a value": ("issue_1374",),
    "a checksum of another table": ("crc-full",),
    "change files without the feature": ("deltalog-getChanges",),
}


def test_golden_tables_have_no_errors_but_those_that_are_broken_by_design() -> None:
    folder = os.environ.get("DELTALITE_GOLDEN")
    if not folder:
        pytest.skip("DELTALITE_GOLDEN names no folder of golden tables")
    known = {name for names in ILL.values() for name in names}
    found: dict[str, list[str]] = {}
    for log in sorted(Path(folder).rglob("_delta_log")):
        name = log.parent.parent.name
        try:
            errors = [str(f) for f in fsck(open_store(str(log.parent))) if f.severity == "error"]
        except TableNotFoundError:
            continue
        if errors and name not in known:
            found[name] = errors
    assert not found, json.dumps(found, indent=1)
