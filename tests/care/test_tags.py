"""Tags: names for versions that VACUUM and the clean-up of the log keep, and that no other engine trips over."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from aging import START_MS, commits, fake_clock, memory, rows

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import InvalidArgumentError, InvalidTableError, StorageError, VersionNotFoundError
from deltalite.log import cleanup, pins
from deltalite.model.paths import parse_log_name
from deltalite.model.pins import Clone, Tag, check_name, decode_clone, decode_tag, encode_pin, tag_file
from deltalite.storage.base import AmbiguousPut, FileMeta
from deltalite.testing.faults import FaultyStore, every_fault

NAMES = [
    "a",
    "release-3",
    "2026 Q4",
    "ü/ñ \N{SNOWMAN}",
    "..",
    ".hidden",
    "_x",
    "%41",
    "a%2Fb",
    "a@b",
    "00000000000000000001x",
]


def frame(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def appended(place: Any, versions: int = 4, **configuration: str) -> DeltaTable:
    for value in range(versions):
        write_deltalake(place, frame(value), mode="append", configuration=configuration or None)
    return DeltaTable(place)


# -- what they do ------------------------------------------------------------------------------------------------------


def test_create_list_get_delete() -> None:
    store = memory()
    table = appended(store)
    made = table.tags.create("first", 1, message="before the change")
    assert (made.name, made.version, made.message) == ("first", 1, "before the change")
    assert made.time == table.at(1).timestamp() and made.time.tzinfo is dt.timezone.utc
    table.tags.create("newest")
    table.at(2).tags.create("of the handle")
    table.tags.create("by time", table.at(0).timestamp())
    assert [(tag.name, tag.version) for tag in table.tags.list()] == [
        ("by time", 0), ("first", 1), ("newest", 3), ("of the handle", 2)
    ]  # fmt: skip
    assert table.tags.get("first") == made
    assert "first (v1)" in repr(table.tags)
    for handle in (DeltaTable(store, tag="first"), table.at(tag="first")):
        assert handle.version() == 1 and rows(handle) == {(0,): 1, (1,): 1}
    table.tags.delete("first")
    for missing in (lambda: table.tags.get("first"), lambda: table.at(tag="first"), lambda: table.tags.delete("first")):
        with pytest.raises(VersionNotFoundError, match="no tag 'first'") as caught:
            missing()
        assert "'newest'" in str(caught.value.hint) and caught.value.tag == "first"
    assert table.version() == 3, "nothing is committed"
    store.clear()


def test_a_name_is_taken_once() -> None:
    store = memory()
    table = appended(store)
    table.tags.create("x", 0)
    with pytest.raises(InvalidArgumentError, match="there is a tag 'x' already"):
        table.tags.create("x", 1)
    assert table.tags.get("x").version == 0
    assert table.tags.create("x", 2, replace=True).version == 2 == table.tags.get("x").version
    store.clear()


def test_of_many_authors_one_wins(tmp_path: Path) -> None:
    appended(tmp_path / "t", 8)
    won = []

    def create(version: int) -> None:
        try:
            won.append(DeltaTable(tmp_path / "t").tags.create("x", version).version)
        except InvalidArgumentError:
            pass

    threads = [threading.Thread(target=create, args=(v,)) for v in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [DeltaTable(tmp_path / "t").tags.get("x").version]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_on_a_disk(tmp_path: Path, name: str) -> None:
    table = appended(tmp_path / "t", 2)
    table.tags.create(name, 0)
    assert [tag.name for tag in table.tags.list()] == [name]
    assert DeltaTable(tmp_path / "t", tag=name).version() == 0
    table.tags.delete(name)
    assert table.tags.list() == []


@pytest.mark.parametrize(
    "name", ["", " a", "a\n", "a\0b", "a\x1bb", "\ud800", "x" * 201, "\N{SNOWMAN}" * 23, "a\u2028b", None, 3]
)
def test_what_is_no_name(name: Any) -> None:
    store = memory()
    table = appended(store, 1)
    with pytest.raises(InvalidArgumentError):
        table.tags.create(name)
    assert list(store.list_from("_delta_log/_deltalite/tags/")) == []
    store.clear()


@pytest.mark.parametrize("name", ["3", "v12", "2026-11-20", "2026-11-20T10:00:00Z", "2026-1-2", "00000000000000000001"])
def test_what_reads_as_a_version_or_a_time_is_no_name(name: str) -> None:
    store = memory()
    with pytest.raises(InvalidArgumentError, match="reads as a"):
        appended(store, 1).tags.create(name)
    store.clear()


def test_one_way_to_say_which_version() -> None:
    store = memory()
    table = appended(store, 2)
    table.tags.create("x", 0)
    for other in ({"version": 0}, {"timestamp": "2026-01-01"}):
        with pytest.raises(InvalidArgumentError):
            table.at(tag="x", **other)
    with pytest.raises(InvalidArgumentError):
        DeltaTable(store, "x")
    store.clear()


# -- what can go wrong -------------------------------------------------------------------------------------------------


def test_a_version_that_vacuum_removed_is_not_tagged() -> None:
    store = memory()
    for value in range(3):
        write_deltalake(store, frame(value), mode="overwrite")
    table = DeltaTable(store)
    table.tags.create("x", 2)
    table.vacuum(0, False, False)
    for options in ({}, {"replace": True}):
        with pytest.raises(VersionNotFoundError, match="no longer complete: 1 of its files"):
            table.tags.create("y" if not options else "x", 1, **options)
    assert [(tag.name, tag.version) for tag in table.tags.list()] == [("x", 2)]
    store.clear()


def test_a_table_that_was_created_anew_breaks_its_tags(tmp_path: Path) -> None:
    table = appended(tmp_path / "t")
    table.tags.create("early", 1)
    table.tags.create("late", 3)
    shutil.copytree(tmp_path / "t/_delta_log/_deltalite", tmp_path / "tags")
    shutil.rmtree(tmp_path / "t")
    appended(tmp_path / "t", 2)
    shutil.copytree(tmp_path / "tags", tmp_path / "t/_delta_log/_deltalite")
    with pytest.raises(InvalidTableError, match="not the one that was tagged"):
        DeltaTable(tmp_path / "t", tag="early")
    with pytest.raises(VersionNotFoundError, match="tag 'late' is broken") as caught:
        DeltaTable(tmp_path / "t", tag="late")
    assert caught.value.available == (0, 1) and "tags.delete('late')" in str(caught.value.hint)


def test_a_log_that_was_rewritten_breaks_its_tags(tmp_path: Path) -> None:
    """The same table id, as when a folder is restored from a backup and written on: the transaction is another."""
    table = appended(tmp_path / "t", 2)
    table.tags.create("x", 1)
    (tmp_path / "t/_delta_log" / f"{1:020d}.json").unlink()
    (tmp_path / "t/_delta_log" / f"{1:020d}.crc").unlink()
    DeltaTable(tmp_path / "t").append(frame(7))
    with pytest.raises(InvalidTableError, match="not the one that was tagged"):
        DeltaTable(tmp_path / "t", tag="x")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"{}", b'{"name":"x"}', b"\xff", b'{"name":1}', b"[" * 9999]
)
def test_damaged_tags(data: bytes) -> None:
    store = memory()
    table = appended(store, 1)
    whole = encode_pin(Tag("x", 0, 1, "id", created_ms=1))
    for damaged in (
        data,
        whole.replace(b'"version": 0', b'"version": -1'),
        whole.replace(b'"version": 0', b'"version": true'),
    ):
        store.put("_delta_log/_deltalite/tags/x.json", damaged)
        for use in (table.tags.list, lambda: table.tags.get("x"), lambda: table.at(tag="x")):
            with pytest.raises(InvalidTableError, match=r"tags/x\.json is damaged"):
                use()
    table.tags.delete("x")
    assert table.tags.list() == []
    store.clear()


def test_lost_replies() -> None:
    inner = memory()
    appended(inner, 2)
    tags = lambda call: "tags/" in call.path  # noqa: E731
    assert DeltaTable(FaultyStore(inner, at=1, mode="after", matching=tags)).tags.create("x", 0).version == 0
    with pytest.raises((StorageError, AmbiguousPut)):
        DeltaTable(FaultyStore(inner, at=1, mode="before", matching=tags)).tags.create("y", 0)
    assert [tag.name for tag in DeltaTable(inner).tags.list()] == ["x"]
    inner.clear()


@pytest.mark.parametrize("mode", ["before", "after", "crash_before", "crash_after"])
def test_a_tag_is_there_or_not(mode: Any) -> None:
    def prepared() -> Any:
        store = memory()
        appended(store, 3).tags.create("x", 0)
        return store

    for run in every_fault(prepared, mode=mode, counts="any"):
        run.attempt(lambda store: DeltaTable(store).tags.create("x", 1, replace=True))
        found = DeltaTable(run.inner).tags.get("x").version
        assert found in ((1,) if run.error is None else (0, 1))
        assert rows(DeltaTable(run.inner, tag="x")) == {(value,): 1 for value in range(found + 1)}
        run.inner.clear()


# -- other engines -----------------------------------------------------------------------------------------------------


@pytest.mark.trap(5)
@given(st.text(min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_name_of_a_tag_is_a_name_of_the_log(name: str) -> None:
    try:
        check_name(name)
    except InvalidArgumentError:
        return
    file = tag_file(name).rpartition("/")[2]
    assert tag_file(name).startswith("_delta_log/_deltalite/tags/") and file.count("/") == 0
    assert (
        parse_log_name(file) is None and not file[:1].isdigit() and file.isascii() and not file.startswith((".", "_"))
    )
    found = decode_tag(encode_pin(Tag(name, 1, 2, "id", created_ms=3)), "f")
    assert found == Tag(name, 1, 2, "id", created_ms=3)


def test_every_name_has_its_own_file() -> None:
    names = [*NAMES, "A", "%2E.", "%61", "a/b", "%C3%BC"]
    assert len({tag_file(name) for name in names}) == len(names)
    clone = Clone("s3://b/c", "3f", 4, 5)
    assert decode_clone(encode_pin(clone), "f") == clone


@pytest.mark.trap(5)
def test_deltalake_and_duckdb_do_not_mind(tmp_path: Path) -> None:
    table = appended(tmp_path / "t")
    for name in NAMES:
        table.tags.create(name, 1)
    folder = tmp_path / "t/_delta_log/_deltalite"
    (folder / "clones").mkdir()
    (folder / "clones" / f"{99:020d}.json").write_text("{}")
    (folder / "tags" / f"{99:020d}.json").write_text("not ours")
    for hint in (False, True):
        if hint:
            table.create_checkpoint()
        theirs = deltalake.DeltaTable(str(tmp_path / "t"))
        assert theirs.version() == table.version() == DeltaTable(tmp_path / "t").version()
        assert theirs.to_pyarrow_table().num_rows == 4 and len(theirs.history()) == theirs.version() + 1
        deltalake.write_deltalake(str(tmp_path / "t"), frame(4), mode="append")
        deltalake.DeltaTable(str(tmp_path / "t")).delete("x = 4")
        table.refresh()
    theirs = deltalake.DeltaTable(str(tmp_path / "t"))
    theirs.create_checkpoint()
    theirs.cleanup_metadata()
    theirs.vacuum(0, False, False, full=True)
    (folder / "tags" / f"{99:020d}.json").unlink()
    assert len(table.tags.list()) == len(NAMES)
    assert rows(table.at(tag="a")) == {(0,): 1, (1,): 1}
    try:
        count = duckdb.sql(f"select count(*) from delta_scan('{tmp_path}/t')").fetchone()
    except duckdb.Error:
        return  # its Delta reader is not installed here
    assert count == (4,)


# -- the clean-up of the log -------------------------------------------------------------------------------------------

DAY = 86_400_000


def listing(versions: int, checkpoints: list[int], first: int = 0) -> list[FileMeta]:
    """A commit a day from ``first`` on, each with its checksum, and checkpoints."""
    names = [(f"{v:020d}.{kind}", v) for v in range(first, versions) for kind in ("json", "crc")]
    names += [(f"{v:020d}.checkpoint.parquet", v) for v in checkpoints]
    return [FileMeta(f"_delta_log/{name}", 10, v * DAY) for name, v in sorted(names)]


def left(files: list[FileMeta], found: cleanup.Expired | None) -> set[str]:
    gone = set() if found is None else {*found.commits, *found.others}
    return {file.path.rpartition("/")[2] for file in files if file.path not in gone}


def test_commits_stay_from_the_oldest_kept_version_on_and_checkpoints_only_below_kept_ones() -> None:
    files = listing(20, [3, 6, 9, 12, 15])
    found = cleanup.expired(files, 18 * DAY, 5 * DAY, keep=[7])
    assert found is not None and found.anchor.version == 12 and [c.version for c in found.pinned] == [6]
    stay = left(files, found)
    assert {int(name[:20]) for name in stay if name.endswith(".json")} == set(range(6, 20))
    assert {int(name[:20]) for name in stay if "checkpoint" in name} == {6, 12, 15}
    assert {int(name[:20]) for name in stay if name.endswith(".crc")} == set(range(12, 20))


def test_a_kept_version_without_a_checkpoint_keeps_all_commits() -> None:
    files = listing(20, [6, 12])
    found = cleanup.expired(files, 18 * DAY, 5 * DAY, keep=[4])
    stay = left(files, found)
    assert {int(name[:20]) for name in stay if name.endswith(".json")} == set(range(20))
    assert {int(name[:20]) for name in stay if "checkpoint" in name} == {12}


@pytest.mark.parametrize("keep", [[], [15], [99], [2]])
def test_what_needs_no_keeping_changes_nothing(keep: list[int]) -> None:
    """Versions of the retention, of the future, and those that are lost already."""
    files = listing(20, [6, 9, 12], first=6)
    found = cleanup.expired(files, 18 * DAY, 5 * DAY, keep=keep)
    assert found is not None and found == cleanup.expired(files, 18 * DAY, 5 * DAY) and found.anchor.version == 12


@pytest.mark.trap(33)
def test_trap_33_history_below_protected_versions_goes_as_a_whole_or_stays() -> None:
    files = listing(20, [6, 12])
    assert cleanup.expired(files, 18 * DAY, 5 * DAY, protected_before=10) is not None
    assert cleanup.expired(files, 18 * DAY, 5 * DAY, protected_before=10, keep=[7]) is None


@given(
    checkpoints=st.lists(st.integers(0, 29), unique=True, max_size=6),
    keep=st.lists(st.integers(-1, 40), max_size=4),
    retention=st.integers(0, 30),
    first=st.integers(0, 3),
)
@settings(max_examples=300, deadline=None)
@pytest.mark.trap(53)
def test_what_is_kept_can_be_read(checkpoints: list[int], keep: list[int], retention: int, first: int) -> None:
    """Every version that could be read before and is recent or to be kept can be read after, wherever deleting stops."""
    files = listing(30, checkpoints, first)
    found = cleanup.expired(files, 31 * DAY, retention * DAY, keep=keep)
    if found is None:
        return
    before = readable(files)
    wanted = {v for v in before if v in keep or (v + 1) * DAY > (31 - retention) * DAY}
    order = [*found.commits, *found.others]
    for cut in range(len(order) + 1):
        gone = set(order[:cut])
        assert wanted <= readable([file for file in files if file.path not in gone]), cut


def readable(files: list[FileMeta]) -> set[int]:
    names = {file.path.rpartition("/")[2] for file in files}
    commits_there = {int(name[:20]) for name in names if name.endswith(".json")}
    found: set[int] = set()
    for start in (-1, *(int(name[:20]) for name in names if "checkpoint" in name)):
        found |= {start} - {-1}
        version = start
        while version + 1 in commits_there:
            version += 1
            found.add(version)
    return found


@pytest.mark.bug("T-49")
def test_a_tagged_version_outlives_the_history_around_it() -> None:
    with fake_clock() as clock:
        store = memory()
        table = appended(store, 1, **{"delta.logRetentionDuration": "interval 2 days", "delta.checkpointInterval": "5"})
        for value in range(1, 40):
            clock.pass_hours(12)
            table.append(frame(value))
            if value == 12:
                table.tags.create("mid", 7)
        assert table.timestamp().timestamp() * 1000 > START_MS + 19 * DAY
        table.cleanup_metadata()
        assert rows(DeltaTable(store, tag="mid")) == {(value,): 1 for value in range(8)}
        assert min(commits(store)) == 5
        checkpoints = {int(f.path[-39:-19]) for f in store.list_from("_delta_log/") if f.path.endswith("t.parquet")}
        assert checkpoints == {5, 30, 35}
        for version in range(35, 40):
            assert sum(rows(table.at(version)).values()) == version + 1
        reopened = DeltaTable(store, tag="mid").refresh()
        assert reopened.version() == 39
        table.tags.delete("mid")
        table.cleanup_metadata()
        assert min(commits(store)) == 30, "the newest checkpoint that is two days old at midnight"
        with pytest.raises(VersionNotFoundError):
            table.at(7)
        store.clear()


def test_a_damaged_tag_stops_the_clean_up_but_no_commit(caplog: pytest.LogCaptureFixture) -> None:
    with fake_clock() as clock:
        store = memory()
        table = appended(store, 1, **{"delta.logRetentionDuration": "interval 1 days", "delta.checkpointInterval": "2"})
        store.put("_delta_log/_deltalite/tags/x.json", b"{")
        for value in range(1, 9):
            clock.pass_hours(24)
            table.append(frame(value))
        assert min(commits(store)) == 0 and "x.json is damaged" in caplog.text
        with pytest.raises(InvalidTableError):
            table.cleanup_metadata()
        table.tags.delete("x")
        table.cleanup_metadata()
        assert min(commits(store)) > 0
        store.clear()


def test_files_of_the_folder_that_are_no_tags(tmp_path: Path) -> None:
    table = appended(tmp_path / "t", 2)
    table.tags.create("x", 0)
    (tmp_path / "t/_delta_log/_deltalite/tags/README").write_text("?")
    (tmp_path / "t/_delta_log/_deltalite/tags/.x.json.tmp").write_text("?")
    assert [tag.name for tag in table.tags.list()] == ["x"]
    body = json.loads((tmp_path / "t/_delta_log/_deltalite/tags/x.json").read_text())
    assert {"name", "version", "timestamp", "tableId", "txnId", "createdTime"} == set(body)
    assert body["createdTime"] <= time.time() * 1000 and pins.read_tag(table._store, "X") is None
    os.rename(tmp_path / "t/_delta_log/_deltalite/tags/x.json", tmp_path / "t/_delta_log/_deltalite/tags/X.json")
    assert pins.read_tag(table._store, "X") is None, "the file of another tag, as a disk that ignores case shows it"
