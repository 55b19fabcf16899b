"""Clones: the rows of a version in another table, both going their own ways; symbolic manifests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from deltalite import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalite.exceptions import (
    ConflictError,
    InvalidArgumentError,
    StorageError,
    TableExistsError,
    UnsafePathError,
    UnsupportedFeatureError,
)
from deltalite.log import pins
from deltalite.operations import clone as operation

FAST = {"durability": "relaxed"}
KINDS = {
    "plain": {},
    "vectors": {"delta.enableDeletionVectors": "true"},
    "mapped": {"delta.columnMapping.mode": "name", "delta.enableDeletionVectors": "true"},
    "tracked": {"delta.enableRowTracking": "true"},
    "feed": {"delta.enableChangeDataFeed": "true", "delta.enableInCommitTimestamps": "true"},
}


def numbers(start: int, stop: int) -> pa.Table:
    return pa.table({"n": list(range(start, stop)), "k": [f"k {i % 3}/%" for i in range(start, stop)]})


def source(root: Path, kind: str = "plain", partition_by: Any = "k") -> DeltaTable:
    table = DeltaTable.create(root, numbers(0, 1).schema, partition_by=partition_by, configuration=KINDS[kind], storage_options=FAST)
    table.append(numbers(0, 3000))
    table.delete("n % 7 = 1 or n * n % 11 = 3 or n % 50 < 13")
    table.append(numbers(5000, 5006))
    return table


def rows(table: DeltaTable | Path) -> list[tuple[Any, ...]]:
    data = (table if isinstance(table, DeltaTable) else DeltaTable(table)).to_pyarrow_table()
    return sorted(map(tuple, (row.values() for row in data.to_pylist())), key=repr)


def commit(root: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "_delta_log" / f"{version:020}.json").read_text().splitlines()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shallow", [True, False])
def test_a_clone_has_the_rows_and_goes_its_own_way(tmp_path: Path, kind: str, shallow: bool) -> None:
    origin = source(tmp_path / "a b", kind)
    before = rows(origin)
    files = sorted(p.name for p in (tmp_path / "a b").rglob("*.parquet"))
    copy = origin.clone(tmp_path / "c", shallow=shallow)
    assert rows(copy) == before and copy.version() == 0
    assert copy.metadata().id != origin.metadata().id and copy.schema() == origin.schema()
    assert copy.protocol() == origin.protocol()
    info = copy.history(1)[0]
    assert info["operation"] == "CLONE" and info["operationParameters"]["isShallow"] == json.dumps(shallow)
    assert any((tmp_path / "c").rglob("*.parquet")) != shallow
    copy.append(numbers(9000, 9002))
    copy.delete("n >= 5000 and n < 5003")
    copy.update({"n": "n + 100000"}, predicate="n % 10 = 0")
    copy.merge(numbers(5003, 5007), "t.n = s.n").when_matched_delete().when_not_matched_insert_all().execute()
    expected = sorted(
        [*((n + 100000 if n % 10 == 0 else n, k) for n, k in [*before, *rows_of(9000, 9002)] if not 5000 <= n < 5006), *rows_of(5006, 5007)],
        key=repr,
    )
    assert rows(copy) == expected
    if kind == "feed":
        assert copy.load_cdf(1).read_all().num_rows
    assert rows(tmp_path / "a b") == before
    assert sorted(p.name for p in (tmp_path / "a b").rglob("*.parquet")) == files
    copy.optimize.compact()
    assert rows(copy) == expected
    again = DeltaTable(tmp_path / "c", allow_external_paths=[origin.table_uri] if shallow else [])
    assert rows(again) == expected
    again.restore(0)
    assert rows(again) == before
    if not shallow:
        shutil.rmtree(tmp_path / "a b")
        assert rows(tmp_path / "c") == before
        if kind == "plain":
            theirs = deltalake.DeltaTable(str(tmp_path / "c")).to_pyarrow_table()
            assert sorted((r["n"], r["k"]) for r in theirs.to_pylist()) == sorted(before)


def rows_of(start: int, stop: int) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in numbers(start, stop).to_pylist()]


def test_opening_a_shallow_clone_says_what_to_allow(tmp_path: Path) -> None:
    source(tmp_path / "a").clone(tmp_path / "c")
    table = DeltaTable(tmp_path / "c")
    with pytest.raises(UnsafePathError) as caught:
        table.to_pyarrow_table()
    assert f"allow_external_paths=[{str(tmp_path / 'a')!r}]" in str(caught.value)
    assert DeltaTable(tmp_path / "c", allow_external_paths=[tmp_path / "a"]).to_pyarrow_table().num_rows


def test_tombstones_keep_the_path_that_made_the_file_live(tmp_path: Path) -> None:
    copy = source(tmp_path / "a").clone(tmp_path / "c")
    added = {a["add"]["path"] for a in commit(tmp_path / "c", 0) if "add" in a}
    assert all(path.startswith("file:///") for path in added)
    copy.overwrite(numbers(0, 1))
    assert {a["remove"]["path"] for a in commit(tmp_path / "c", 1) if "remove" in a} == added


def test_vectors_of_a_shallow_clone_are_absolute_and_a_deep_clone_of_it_is_whole_again(tmp_path: Path) -> None:
    origin = source(tmp_path / "a", "vectors")
    copy = origin.clone(tmp_path / "c")
    stored = [a["add"]["deletionVector"] for a in commit(tmp_path / "c", 0) if a.get("add", {}).get("deletionVector")]
    assert {v["storageType"] for v in stored} == {"p"}
    assert all(v["pathOrInlineDv"].startswith("file:///") for v in stored)
    copy.append(numbers(9000, 9001))
    deep = copy.clone(tmp_path / "d", shallow=False)
    shallow = copy.clone(tmp_path / "e")
    expected = rows(copy)
    assert rows(deep) == rows(shallow) == expected
    assert {c.location for c in pins.read_clones(origin._store)} == {str(tmp_path / "c"), str(tmp_path / "e")}
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "c")
    assert rows(tmp_path / "d") == expected


def test_an_earlier_version_by_number_time_and_tag(tmp_path: Path) -> None:
    origin = source(tmp_path / "a")
    origin.tags.create("first", 1)
    first = rows(origin.at(1))
    for i, asked in enumerate(({"version": 1}, {"timestamp": origin.at(1).timestamp()}, {"tag": "first"})):
        assert rows(origin.clone(tmp_path / f"c{i}", **asked)) == first
    assert rows(origin.at(1).clone(tmp_path / "d")) == first


@pytest.mark.parametrize("shallow", [True, False])
def test_cloned_again_only_what_is_new_comes(tmp_path: Path, shallow: bool) -> None:
    origin = source(tmp_path / "a", "vectors", partition_by=None)
    origin.clone(tmp_path / "c", shallow=shallow)
    with pytest.raises(TableExistsError):
        origin.clone(tmp_path / "c", shallow=shallow)
    origin.append(numbers(7000, 7002))
    origin.delete("n = 5000")
    seen: list[tuple[int, int]] = []
    copy = origin.clone(tmp_path / "c", shallow=shallow, replace=True, progress=lambda *at: seen.append(at))
    assert rows(copy) == rows(origin) and copy.version() == 1
    counts = {k: int(v) for k, v in copy.history(1)[0]["operationMetrics"].items()}
    assert (counts["numAddedFiles"], counts["numRemovedFiles"]) == (2, 1)
    assert counts["numCopiedFiles"] == (0 if shallow else 1)
    copy.append(numbers(1, 2))
    copy = origin.clone(tmp_path / "c", shallow=shallow, replace=True)
    assert rows(copy) == rows(origin) and copy.version() == 3
    assert origin.clone(tmp_path / "c", shallow=shallow, replace=True).version() == 3, "nothing is new"


def test_a_shallow_clone_becomes_a_deep_one(tmp_path: Path) -> None:
    origin = source(tmp_path / "a", "vectors")
    origin.clone(tmp_path / "c")
    deep = origin.clone(tmp_path / "c", shallow=False, replace=True)
    expected = rows(origin)
    shutil.rmtree(tmp_path / "a")
    assert rows(deep) == rows(tmp_path / "c") == expected


def test_vacuum_of_the_source_spares_the_clones_files(tmp_path: Path) -> None:
    origin = source(tmp_path / "a", "vectors")
    copy = origin.clone(tmp_path / "c")
    expected = rows(copy)
    origin.overwrite(numbers(0, 1))
    origin.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert rows(copy) == expected
    deep = origin.clone(tmp_path / "d", shallow=False)
    shutil.rmtree(tmp_path / "c")
    pins.forget_clone(origin._store, copy.metadata().id)
    assert len(origin.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)) > 3
    assert rows(deep) == rows(origin)


def test_marks_go_on_from_the_source(tmp_path: Path) -> None:
    origin = source(tmp_path / "a", "tracked")
    ids = origin.scan(["n", "_row_id"]).read_all().to_pylist()
    for shallow in (True, False):
        copy = origin.clone(tmp_path / f"c{shallow}", shallow=shallow)
        assert sorted(map(repr, copy.scan(["n", "_row_id"]).read_all().to_pylist())) == sorted(map(repr, ids))
        copy.append(numbers(20000, 20001))
        (new,) = [r["_row_id"] for r in copy.scan(["n", "_row_id"], "n = 20000").read_all().to_pylist()]
        assert new > max(r["_row_id"] for r in ids)


@pytest.mark.parametrize("shallow", [True, False])
def test_application_transactions_come_with_deep_clones(tmp_path: Path, shallow: bool) -> None:
    origin = source(tmp_path / "a")
    origin.append(numbers(1, 2), commit_properties=CommitProperties(app_transactions=[Transaction("app", 7)]))
    copy = origin.clone(tmp_path / "c", shallow=shallow)
    assert copy.transaction_version("app") == (None if shallow else 7)


def test_properties_of_the_clone(tmp_path: Path) -> None:
    origin = source(tmp_path / "a")
    copy = origin.clone(tmp_path / "c", configuration={"delta.logRetentionDuration": "interval 3 days", "mine": "x"})
    assert copy.properties() == {**origin.properties(), "delta.logRetentionDuration": "interval 3 days", "mine": "x"}
    for wrong in ({"delta.columnMapping.mode": "name"}, {"delta.constraints.c": "n > 0"}, {"delta.enableRowTracking": "true"}):
        with pytest.raises(InvalidArgumentError):
            origin.clone(tmp_path / "d", configuration=wrong)
    with pytest.raises(InvalidArgumentError, match="itself"):
        origin.clone(tmp_path / "a", replace=True)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("shallow", [True, False])
def test_a_conflict_leaves_no_trace(tmp_path: Path, shallow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = source(tmp_path / "a")
    origin.clone(tmp_path / "c", shallow=shallow)
    origin.append(numbers(6000, 6001))
    real = operation.commit_actions

    def late(target: Any, *args: Any, **options: Any) -> Any:
        DeltaTable(tmp_path / "c", allow_external_paths=[tmp_path / "a"]).delete("n = 5000")
        return real(target, *args, **options)

    monkeypatch.setattr(operation, "commit_actions", late)
    before = set((tmp_path / "c").rglob("*.parquet"))
    with pytest.raises(ConflictError):
        origin.clone(tmp_path / "c", shallow=shallow, replace=True)
    monkeypatch.undo()
    live = set((tmp_path / "c").rglob("*.parquet")) - before
    assert len(live) <= 1, "only what the winner wrote"
    assert 5000 not in {n for n, _ in rows(DeltaTable(tmp_path / "c", allow_external_paths=[tmp_path / "a"]))}


def test_a_copy_that_fails_leaves_no_table_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = source(tmp_path / "a")
    real, count = operation._copy_bytes, []

    def failing(*args: Any) -> None:
        count.append(1)
        if len(count) == 3:
            raise StorageError("the disk is full")
        real(*args)

    monkeypatch.setattr(operation, "_copy_bytes", failing)
    with pytest.raises(StorageError):
        origin.clone(tmp_path / "c", shallow=False)
    assert not list((tmp_path / "c").rglob("*.parquet")) and not DeltaTable.is_deltatable(tmp_path / "c")


# -- manifests, vectors ------------------------------------------------------------------------------------------------


def test_manifests_name_the_files_of_each_partition(tmp_path: Path) -> None:
    table = source(tmp_path / "a b")
    table.generate()
    folder = tmp_path / "a b" / "_symlink_format_manifest"
    lists = sorted(folder.rglob("manifest"))
    assert len(lists) == 3
    named = [line for path in lists for line in path.read_text().splitlines()]
    assert sorted(named) == sorted(table.file_uris()) and all(Path(line).is_file() for line in named)
    table.delete("k = 'k 0/%'")
    table.generate()
    assert len(list(folder.rglob("manifest"))) == 2
    flat = source(tmp_path / "flat", partition_by=None)
    flat.generate()
    assert (tmp_path / "flat/_symlink_format_manifest/manifest").read_text().splitlines() == flat.file_uris()
    flat.delete()
    flat.generate()
    assert (tmp_path / "flat/_symlink_format_manifest/manifest").read_text() == ""
    theirs = source(tmp_path / "theirs", partition_by=None)
    theirs.generate()
    ours = (tmp_path / "theirs/_symlink_format_manifest/manifest").read_text()
    deltalake.DeltaTable(str(tmp_path / "theirs")).generate()
    assert sorted((tmp_path / "theirs/_symlink_format_manifest/manifest").read_text().split()) == sorted(ours.split())


def test_manifests_are_refused_with_vectors(tmp_path: Path) -> None:
    table = source(tmp_path, "vectors")
    with pytest.raises(UnsupportedFeatureError, match="deletion vector"):
        table.generate()
    assert not (tmp_path / "_symlink_format_manifest").exists()
    table.optimize.purge()
    table.generate()


def test_deletion_vectors_are_those_that_deltalake_tells(tmp_path: Path) -> None:
    table = source(tmp_path, "vectors")
    found = table.deletion_vectors().read_all()
    theirs = pa.RecordBatchReader.from_stream(deltalake.DeltaTable(str(tmp_path)).deletion_vectors()).read_all()
    assert found.schema.names == theirs.schema.names
    ours = dict(zip(*(c.to_pylist() for c in found.columns), strict=True))
    for path, selection in zip(*(c.to_pylist() for c in theirs.columns), strict=True):
        assert ours[path][: len(selection)] == selection and all(ours[path][len(selection) :])
    assert len(ours) == theirs.num_rows == 3
    gone = sum(vector.count(False) for vector in ours.values())
    assert sum(table.files().column("num_deleted").to_pylist()) == gone == 3006 - table.count()
    assert sum(table.get_add_actions().column("num_deleted").to_pylist()) == gone
    assert source(tmp_path / "plain").deletion_vectors().read_all().num_rows == 0


def test_on_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    from deltalite.testing.s3_server import S3Server

    with S3Server() as server:
        options = server.storage_options
        place = "s3://bucket/a table"
        data = numbers(0, 3000)
        write_deltalake(place, data, partition_by="k", configuration=KINDS["vectors"], storage_options=options)
        table = DeltaTable(place, storage_options=options)
        table.delete("n % 7 = 1 or n * n % 11 = 3 or n % 50 < 13")
        deep = table.clone("s3://bucket/deep", shallow=False)
        assert sorted(deep.to_pyarrow_table().column("n").to_pylist()) == sorted(table.to_pyarrow_table().column("n").to_pylist())
        assert deep.fsck(deep=True) == []
        table.clone("s3://bucket/shallow")
        for key, value in options.items():
            monkeypatch.setenv(key.upper() if key.lower().startswith("aws") else f"AWS_{key.upper()}", str(value))
        again = DeltaTable("s3://bucket/shallow", storage_options=options, allow_external_paths=[place])
        assert again.to_pyarrow_table().num_rows == table.count()
        table.restore(0)
        assert table.count() == 3000 and table.fsck() == []
