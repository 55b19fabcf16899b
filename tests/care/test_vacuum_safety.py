"""What VACUUM must never delete: links and what lies behind them, other file systems, files under odd names, files that
writers at work, tags or clones need; and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aging import HOUR_MS, commits, data_files, fake_clock, memory, rows, vectors_in_files

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import (
    InvalidArgumentError,
    InvalidTableError,
    StorageError,
    UnsafePathError,
    UnsupportedFeatureError,
    VersionNotFoundError,
)
from deltalite.features.deletion_vectors.file import uri_of
from deltalite.log import pins
from deltalite.model.actions import DeletionVector
from deltalite.model.pins import Clone
from deltalite.storage.base import FileMeta, temporary_name
from deltalite.storage.local import LocalStore
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import Call, RelayStore

NOW: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False, "dry_run": False, "force": True}
BOTH = pytest.mark.parametrize("full", [False, True], ids=["lite", "full"])


def frame(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def overwritten(place: Any, times: int = 3, **options: Any) -> DeltaTable:
    """A table with one file live and the others removed."""
    for value in range(times):
        write_deltalake(place, frame(value), mode="overwrite", **options)
    return DeltaTable(place)


def edit_commit(root: Path, version: int, change: Any) -> None:
    path = root / "_delta_log" / f"{version:020d}.json"
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(action) + "\n" for action in change(actions)))
    path.with_suffix(".crc").unlink(missing_ok=True)


# -- links, mounts, names ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.bug("S-02")
@pytest.mark.bug("T-55")
def test_nothing_behind_a_symbolic_link_is_deleted(tmp_path: Path, full: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim.parquet").write_text("precious")
    table = overwritten(tmp_path / "t")
    root = tmp_path / "t"
    os.symlink(outside, root / "linked")
    os.symlink(outside / "victim.parquet", root / "link.parquet")
    (root / "inside").mkdir()
    os.symlink(root / "inside", root / "alias")
    (root / "inside" / "kept.parquet").write_text("reached by two names")
    edit_commit(
        root,
        2,
        lambda actions: [*actions, *map(tombstone, ["linked/victim.parquet", "link.parquet", "alias/kept.parquet"])],
    )
    dry = table.vacuum(**{**NOW, "dry_run": True}, full=full)
    result = table.vacuum(**NOW, full=full)
    assert list(dry) == list(result)
    assert (outside / "victim.parquet").read_text() == "precious"
    assert (root / "link.parquet").is_symlink() and (root / "linked").is_symlink() and (root / "alias").is_symlink()
    assert (root / "inside" / "kept.parquet").exists() is not full  # an orphan, seen by its own name
    assert not [path for path in result if path.startswith("link")]
    if not full:
        assert dict(result.skipped) == {
            "linked/victim.parquet": "behind a symbolic link",
            "link.parquet": "not a regular file",
            "alias/kept.parquet": "behind a symbolic link",
        }


def tombstone(path: str, **more: Any) -> dict[str, Any]:
    return {"remove": {"path": path, "dataChange": True, "deletionTimestamp": 1, **more}}


@pytest.mark.bug("S-02")
def test_a_directory_that_becomes_a_link_after_the_plan_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    table = overwritten(tmp_path / "t")
    root = tmp_path / "t"
    (root / "p=1").mkdir()
    (root / "p=1" / "old.parquet").write_text("orphan")
    (tmp_path / "outside" / "old.parquet").write_text("precious")

    class Swapping(RelayStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "delete_many" and "p=1" in call.path and not (root / "p=1").is_symlink():
                shutil.rmtree(root / "p=1")
                os.symlink(tmp_path / "outside", root / "p=1")
            return super().around(call, effect, data)

    result = DeltaTable(Swapping(LocalStore(str(root)))).vacuum(**NOW, full=True)
    assert (tmp_path / "outside" / "old.parquet").read_text() == "precious"
    assert "p=1/old.parquet" not in result and ("p=1/old.parquet", "it could not be deleted") in result.skipped
    assert rows(table.refresh()) == {(2,): 1}


@BOTH
@pytest.mark.bug("S-02")
def test_another_file_system_below_the_root_is_left_alone(tmp_path: Path, full: bool) -> None:
    overwritten(tmp_path / "t")
    root = tmp_path / "t"
    (root / "m").mkdir()
    edit_commit(root, 2, lambda actions: [*actions, tombstone("m/old.parquet")])
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
open({str(root / "m" / "old.parquet")!r}, "w").write("on the other one")
from deltalite import DeltaTable
from deltalite.storage.tree import delete_files
result = DeltaTable({str(root)!r}).vacuum(0, False, False, full={full}, force=True)
assert len(result) == 2, result
assert result.skipped == ([] if {full} else [("m/old.parquet", "on another file system")]), result.skipped
assert delete_files({str(root)!r} + "/", ["m/old.parquet"]) == []
assert open({str(root / "m" / "old.parquet")!r}).read() == "on the other one"
print("held")
"""
    command = f'mount -t tmpfs none "{root}/m" && "{sys.executable}" -c "$SCRIPT"'
    environment = {**os.environ, "SCRIPT": script}
    try:
        done = subprocess.run(["unshare", "-rm", "sh", "-c", command], env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if done.stderr.startswith(("mount:", "unshare:")):
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert "held" in done.stdout, done.stderr


@BOTH
@pytest.mark.bug("S-01")
def test_the_log_cannot_make_it_delete_outside(tmp_path: Path, full: bool) -> None:
    victim = tmp_path / "victim.parquet"
    victim.write_text("precious")
    table = overwritten(tmp_path / "t")
    paths = [
        "../victim.parquet", "%2e%2e/victim.parquet", "..%2fvictim.parquet", "a/../../victim.parquet", str(victim),
        f"file://{victim}", f"file:{victim}", f"//{victim}", "s3://bucket/victim.parquet", f"{tmp_path}/t/../victim.parquet",
    ]  # fmt: skip
    edit_commit(tmp_path / "t", 2, lambda actions: [*actions, *map(tombstone, paths)])
    result = table.vacuum(**NOW, full=full)
    assert victim.read_text() == "precious"
    assert len(result) == 2 and not [path for path in result if "victim" in path]


@BOTH
@pytest.mark.bug("S-01")
def test_a_live_file_that_climbs_is_refused(tmp_path: Path, full: bool) -> None:
    table = overwritten(tmp_path / "t")
    before = sorted(os.listdir(tmp_path / "t"))

    def climb(actions: list[Any]) -> list[Any]:
        add = next(a["add"] for a in actions if "add" in a)
        return [*actions, {"add": {**add, "path": f"x/../{add['path']}"}}]

    edit_commit(tmp_path / "t", 1, climb)
    with pytest.raises(UnsafePathError):
        table.vacuum(**NOW, full=full)
    assert sorted(os.listdir(tmp_path / "t")) == before


@BOTH
@pytest.mark.trap(1)
@pytest.mark.bug("T-59")
@pytest.mark.parametrize("folder", ["t", "t%20 ü#?", "t/"])
def test_odd_names_of_live_files_stay(tmp_path: Path, folder: str, full: bool) -> None:
    """Partition values whose directories are escaped once on disk and twice in the log; a trailing slash."""
    values = ["a b", "a%20b", "ü/ñ", "%", "#?", None, "=", "..", "_x", " "]
    data = pa.table({"_p": pa.array(values), "x": pa.array(range(len(values)), pa.int64())})
    place = f"{tmp_path}/{folder}"
    write_deltalake(place, data, partition_by="_p")
    write_deltalake(place, data, mode="overwrite")
    table = DeltaTable(place)
    before = rows(table)
    live = set(table.file_uris())
    result = table.vacuum(**NOW, full=full)
    assert len(result) == len(values), "the files of version 0"
    assert rows(DeltaTable(place)) == before
    left = {str(p) for p in Path(place).rglob("*.parquet")}
    assert len(left) == len(live)
    assert not [d for d in Path(place).iterdir() if d.is_dir() and d.name != "_delta_log" and not any(d.iterdir())]


@BOTH
@pytest.mark.bug("T-56")
def test_directories_left_empty_go_and_others_stay(tmp_path: Path, full: bool) -> None:
    data = pa.table({"_p": [1, 2], "q": [1, 1], "x": [1, 2]})
    write_deltalake(tmp_path / "t", data, partition_by=["_p", "q"])
    table = DeltaTable(tmp_path / "t")
    table.delete("_p = 1")
    (tmp_path / "t" / "mine").mkdir()
    result = table.vacuum(**NOW, full=full)
    assert len(result) == 1 and result.directories == 2
    assert sorted(os.listdir(tmp_path / "t")) == ["_delta_log", "_p=2", "mine"]
    assert table.history(1)[0]["operationMetrics"]["numVacuumedDirectories"] == "2"


# -- deletion vectors --------------------------------------------------------------------------------------------------


def marked(place: Any) -> DeltaTable:
    """Two files marked by two vectors in one file, then one of them by a later vector, so that the first is shared."""
    with vectors_in_files():
        for start in (0, 10):
            write_deltalake(
                place, frame(*range(start, start + 10)), mode="append",
                configuration={"delta.enableDeletionVectors": "true"},
            )  # fmt: skip
        table = DeltaTable(place)
        table.delete("x = 1 OR x = 11")
        table.delete("x = 12")
    return table


@BOTH
@pytest.mark.trap(16)
@pytest.mark.bug("T-57")
def test_a_file_of_vectors_stays_while_any_of_them_is_needed(full: bool) -> None:
    store = memory()
    with fake_clock() as clock:
        table = marked(store)
        before, vectors = rows(table), {path for path in data_files(store) if path.endswith(".bin")}
        assert len(vectors) == 2
        clock.pass_hours(10)
        assert table.vacuum(**NOW, full=full) == []
        table.delete("x < 10")
        clock.pass_hours(10)
        result = table.vacuum(**NOW, full=full)
        assert len(result) == 2 and len([path for path in result if path.endswith(".bin")]) == 1
        assert rows(table.refresh()) == {row: n for row, n in before.items() if row[0] >= 10}
        store.clear()


@BOTH
@pytest.mark.trap(2)
@pytest.mark.trap(6)
@pytest.mark.bug("T-57")
@pytest.mark.parametrize("spelled", ["plain", "file", "alias"])
def test_absolute_paths_inside_the_table_are_recognised(tmp_path: Path, full: bool, spelled: str) -> None:
    root = tmp_path / "t ü"
    table = marked(root)
    expected = rows(table)
    os.symlink(root, tmp_path / "alias")
    base = {"plain": str(root), "file": f"file://{tmp_path}/t%20%C3%BC", "alias": str(tmp_path / "alias")}[spelled]

    def absolute(actions: list[Any]) -> list[Any]:
        for action in actions:
            for body in (action.get("add"), action.get("remove")):
                if body and (vector := body.get("deletionVector")) and vector["storageType"] == "u":
                    uri = uri_of(DeletionVector("u", vector["pathOrInlineDv"], 0, 0))
                    vector.update(storageType="p", pathOrInlineDv=f"{base}/{uri}")
        return actions

    for version in (2, 3):
        edit_commit(root, version, absolute)
    table = DeltaTable(root, allow_external_paths=[str(tmp_path / "alias")])
    assert table.vacuum(**NOW, full=full) == [] and rows(table.refresh()) == expected


# -- who else needs files ----------------------------------------------------------------------------------------------


@BOTH
def test_versions_and_tags_stay(full: bool) -> None:
    store = memory()
    table = overwritten(store, 5)
    table.tags.create("first", 0)
    result = table.vacuum(**NOW, full=full, keep_versions=[2])
    assert len(result) == 2 and result.kept["in tag first"] == 1 and result.kept["in version 2"] == 1
    assert [rows(table.at(v)) for v in (0, 2, 4)] == [{(0,): 1}, {(2,): 1}, {(4,): 1}]
    with pytest.raises(VersionNotFoundError):
        table.vacuum(**NOW, full=full, keep_versions=[99])
    store.clear()


@BOTH
def test_broken_tags_are_refused(full: bool) -> None:
    store = memory()
    table = overwritten(store)
    tag = table.tags.create("x", 1)
    pins.put_tag(store, dataclasses.replace(tag, table_id="another"), replace=True)
    with pytest.raises(InvalidTableError, match="tag 'x' is broken"):
        table.vacuum(**NOW, full=full)
    store.put("_delta_log/_deltalite/tags/x.json", b"{")
    with pytest.raises(InvalidTableError, match=r"tags/x\.json is damaged"):
        table.vacuum(**NOW, full=full)
    table.tags.delete("x")
    assert len(table.vacuum(**NOW, full=full)) == 2
    store.clear()


@BOTH
def test_what_a_registered_clone_reads_stays(tmp_path: Path, full: bool) -> None:
    source = overwritten(tmp_path / "source", 4)
    old = source.at(1)
    clone = tmp_path / "clone"
    DeltaTable.create(clone, old.schema())
    add = next(a["add"] for a in commits(source._store)[1] if "add" in a)
    add["path"] = f"file://{tmp_path}/source/{add['path']}"
    (clone / "_delta_log" / f"{1:020d}.json").write_text(json.dumps({"add": add}) + "\n")
    handle = DeltaTable(clone, allow_external_paths=[str(tmp_path / "source")])
    assert rows(handle) == {(1,): 1}
    pins.register_clone(source._store, Clone(str(clone), handle.metadata().id, 1, 0))
    result = source.vacuum(**NOW, full=full)
    assert len(result) == 2 and result.kept[f"in the clone {clone}"] == 1
    assert rows(handle) == {(1,): 1}

    handle.delete()  # its former version still needs the file
    assert source.vacuum(**NOW, full=full) == []

    shutil.move(clone, tmp_path / "moved")
    with pytest.raises(InvalidTableError, match="cannot be read, so nobody can tell"):
        source.vacuum(**NOW, full=full)
    DeltaTable.create(clone, old.schema())
    with pytest.raises(InvalidTableError, match="another table is there now"):
        source.vacuum(**NOW, full=full)
    assert pins.forget_clone(source._store, handle.metadata().id)
    assert len(source.vacuum(**NOW, full=full)) == 1


@BOTH
def test_a_file_that_becomes_needed_after_the_plan_stays(full: bool) -> None:
    """A version is restored, another tagged, while VACUUM is between its plan and its first deletion."""
    inner = memory()
    table = overwritten(inner, 4)
    added = [next(a["add"] for a in actions if "add" in a) for _, actions in sorted(commits(inner).items())]

    class Meanwhile(RelayStore):
        done = False

        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "put_if_absent" and data is not None and b"VACUUM START" in data and not self.done:
                self.done = True
                inner.put_if_absent(call.path, json.dumps({"add": added[0]}).encode() + b"\n")
                table.tags.create("late", 1)
            return super().around(call, effect, data)

    result = DeltaTable(Meanwhile(inner)).vacuum(**NOW, full=full)
    assert list(result) == [added[2]["path"]]
    assert sorted(result.skipped) == sorted((add["path"], "needed again") for add in added[:2])
    assert rows(table.refresh()) == {(0,): 1, (3,): 1} and rows(table.at(tag="late")) == {(1,): 1}
    inner.clear()


@BOTH
@pytest.mark.bug("T-53")
def test_the_newest_version_decides_not_the_handle_and_not_the_hint(full: bool) -> None:
    store = memory()
    stale = overwritten(store, 1)
    table = DeltaTable(store)
    table.create_checkpoint()
    hint = store.get("_delta_log/_last_checkpoint")
    for value in range(1, 12):
        table.append(frame(value))
    table.create_checkpoint()
    store.put("_delta_log/_last_checkpoint", hint)
    for handle in (stale, DeltaTable(store, version=3)):
        assert handle.vacuum(**NOW, full=full) == [] and handle.version() == 11
    store.put("_delta_log/_last_checkpoint", b'{"version":999,"size":1}')
    assert stale.vacuum(**NOW, full=full) == []
    assert sum(rows(table.refresh()).values()) == 12
    store.clear()


@pytest.mark.bug("T-54")
@pytest.mark.bug("T-63")
@BOTH
def test_appenders_lose_nothing_while_vacuum_loops(tmp_path: Path, full: bool) -> None:
    """Files of writers in flight are younger than the grace."""
    place = tmp_path / "t"
    DeltaTable.create(place, "x bigint", storage_options={"durability": "relaxed"})
    stop, vacuums, failures = threading.Event(), [0], []

    def append(writer: int) -> None:
        try:
            table = DeltaTable(place, storage_options={"durability": "relaxed"})
            for n in range(6):
                table.append(frame(writer * 100 + n))
        except Exception as error:
            failures.append(error)

    def clean() -> None:
        table = DeltaTable(place, storage_options={"durability": "relaxed"})
        while not stop.is_set():
            (place / f"orphan-{vacuums[0]}").write_text("old")
            os.utime(place / f"orphan-{vacuums[0]}", (1, 1))
            try:
                table.vacuum(30 / 3600, False, False, full=full, force=True)
            except Exception as error:
                failures.append(error)
            vacuums[0] += 1

    writers = [threading.Thread(target=append, args=(w,)) for w in range(8)]
    cleaner = threading.Thread(target=clean)
    for thread in [*writers, cleaner]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    cleaner.join()
    assert not failures
    assert vacuums[0] > 0
    assert rows(DeltaTable(place)) == {(w * 100 + n,): 1 for w in range(8) for n in range(6)}
    if full:
        assert not list(place.glob("orphan-*"))


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_most_of_the_files_unknown_to_the_log_is_refused(tmp_path: Path) -> None:
    table = overwritten(tmp_path / "t", 1)
    for n in range(2):
        (tmp_path / "t" / f"somebody-else-{n}.parquet").write_text("x")
    options = {key: value for key, value in NOW.items() if key != "force"}
    dry = table.vacuum(**{**options, "dry_run": True}, full=True)
    assert len(dry) == 2 and "2 of the 3 data files" in str(dry.refused) and "refused" in repr(dry)
    with pytest.raises(InvalidArgumentError, match="knows nothing of 2 of the 3"):
        table.vacuum(**options, full=True)
    assert len(os.listdir(tmp_path / "t")) == 4 and table.refresh().version() == 0
    assert table.vacuum(**options) == [], "lite goes by the log"
    assert len(table.vacuum(**NOW, full=True)) == 2


def test_removed_files_are_known_however_many(tmp_path: Path) -> None:
    table = overwritten(tmp_path / "t", 9)
    assert len(table.vacuum(0, False, False, full=True)) == 8


@pytest.mark.bug("F-15")
@pytest.mark.parametrize("hours", [-48, -1, 1, 48])
def test_clocks_that_differ_are_refused(hours: int) -> None:
    class Skewed(MemoryStore):
        def head(self, path: str) -> FileMeta | None:
            found = super().head(path)
            return found and found._replace(modified_ms=found.modified_ms + hours * HOUR_MS)

    store = Skewed(memory().root)
    table = overwritten(store)
    before = data_files(store)
    with pytest.raises(StorageError, match="s apart"):
        table.vacuum(**NOW, full=True)
    assert data_files(store) == before and table.refresh().version() == 2
    store.clear()


def age(paths: Any) -> None:
    for path in paths:
        os.utime(path, (time.time() - 7200, time.time() - 7200))


@BOTH
@pytest.mark.trap(19)
@pytest.mark.bug("F-15")
@pytest.mark.parametrize("said", [None, 1])
def test_a_tombstone_is_no_older_than_its_commit(tmp_path: Path, full: bool, said: int | None) -> None:
    """A writer's clock may be years behind; trap 19 makes a tombstone without a time old at once, were it not for that."""
    table = overwritten(tmp_path / "t", 2)

    def early(actions: list[Any]) -> list[Any]:
        for action in actions:
            if "remove" in action:
                del action["remove"]["deletionTimestamp"]
                action["remove"].update({} if said is None else {"deletionTimestamp": said})
        return actions

    edit_commit(tmp_path / "t", 1, early)
    age((tmp_path / "t").glob("*.parquet"))
    result = table.vacuum(1, True, False, full=full)
    assert result == [] and result.kept["removed recently"] == 1
    age((tmp_path / "t").rglob("*"))
    assert len(table.vacuum(1, False, False, full=full)) == 1


@BOTH
@pytest.mark.bug("T-58")
def test_recorded_changes_stay_as_long_as_their_commit_is_recent(tmp_path: Path, full: bool) -> None:
    """However long before the commit they were written."""
    write_deltalake(tmp_path / "t", frame(1, 2), configuration={"delta.enableChangeDataFeed": "true"})
    table = DeltaTable(tmp_path / "t")
    table.update({"x": "x + 10"}, predicate="x = 1")
    feed = list((tmp_path / "t" / "_change_data").rglob("*.parquet"))
    assert feed
    age([*feed, *(tmp_path / "t").glob("*.parquet")])
    result = table.vacuum(1, False, False, full=full)
    assert result == [] and result.kept["recent changes"] == len(feed)
    assert table.load_cdf(1, 1).read_all().num_rows == 2
    age((tmp_path / "t").rglob("*"))
    assert len(table.vacuum(1, False, False, full=full)) == len(feed), "the tombstone says that it is recent"


@pytest.mark.bug("T-54")
@BOTH
def test_a_young_file_stays_though_its_tombstone_is_old(tmp_path: Path, full: bool) -> None:
    table = overwritten(tmp_path / "t", 2)
    for path in (tmp_path / "t" / "_delta_log").iterdir():
        os.utime(path, (1, 1))
    edit_commit(
        tmp_path / "t", 1,
        lambda actions: [{"remove": {**a["remove"], "deletionTimestamp": 1}} if "remove" in a else a for a in actions],
    )  # fmt: skip
    os.utime(tmp_path / "t" / "_delta_log" / f"{1:020d}.json", (1, 1))
    result = table.vacuum(1, True, False, full=full)
    assert result == [] and result.kept["written recently"] == 1


@BOTH
@pytest.mark.trap(30)
def test_trap_30_vacuum_is_a_write(tmp_path: Path, full: bool) -> None:
    table = overwritten(tmp_path / "t", 2)

    def upgrade(actions: list[Any]) -> list[Any]:
        return [
            *actions,
            {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["fromTheFuture"]}},
        ]

    edit_commit(tmp_path / "t", 1, upgrade)
    for dry_run in (True, False):
        with pytest.raises(UnsupportedFeatureError, match="fromTheFuture"):
            table.vacuum(**{**NOW, "dry_run": dry_run}, full=full)
    assert len(list((tmp_path / "t").glob("*.parquet"))) == 2


def test_append_only_and_vacuum_protocol_check_tables_can_be_vacuumed() -> None:
    store = memory()
    configuration = {"delta.appendOnly": "true", "delta.feature.vacuumProtocolCheck": "supported"}
    write_deltalake(store, frame(1), configuration=configuration)
    store.put("orphan.parquet", b"x")
    assert list(DeltaTable(store).vacuum(**NOW, full=True)) == ["orphan.parquet"]
    store.clear()


@pytest.mark.bug("T-62")
def test_leftovers_are_invisible_and_go(tmp_path: Path) -> None:
    table = overwritten(tmp_path / "t", 1)
    leftovers = [
        "part-9.parquet",
        temporary_name("part-9.parquet"),
        "deletion_vector_0.bin",
        "_change_data/cdc-1.parquet",
    ]
    (tmp_path / "t" / "_change_data").mkdir()
    for name in leftovers:
        (tmp_path / "t" / name).write_text("x")
    (tmp_path / "t" / "_mine").write_text("hidden")
    assert rows(table.refresh()) == {(0,): 1}
    assert sorted(table.vacuum(**NOW, full=True)) == sorted(leftovers)
    assert sorted(os.listdir(tmp_path / "t"))[:2] == ["_delta_log", "_mine"]


@BOTH
def test_only_some_partitions(tmp_path: Path, full: bool) -> None:
    data = pa.table({"p": ["a", "b"], "x": [1, 2]})
    for _ in range(2):
        write_deltalake(tmp_path / "t", data, mode="overwrite", partition_by="p")
    (tmp_path / "t" / "p=a" / "orphan").write_text("x")
    (tmp_path / "t" / "orphan").write_text("x")
    table = DeltaTable(tmp_path / "t")
    result = table.vacuum(**NOW, full=full, partitions="p = 'a'")
    assert {path.partition("/")[0] for path in result} == {"p=a"} and len(result) == (2 if full else 1)
    assert result.skipped == ([("orphan", "nobody can tell its partition")] if full else [])
    assert len(table.vacuum(**NOW, full=full, partitions=[("p", "=", "b")])) == 1
    with pytest.raises(InvalidArgumentError, match="x is not one"):
        table.vacuum(**NOW, partitions="x = 1")


def test_not_inside_a_transaction() -> None:
    store = memory()
    table = overwritten(store)
    with pytest.raises(InvalidArgumentError, match="leave the transaction"), table.transaction() as t:
        t.vacuum(**NOW)
    store.clear()
