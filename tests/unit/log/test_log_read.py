"""What reading does with a log that is missing, damaged, cleaned up, replaced, or hinted at wrongly."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_model import (
    PROTOCOL,
    DictStore,
    lines,
    log_of,
    metadata,
    simple_commit,
    state_of,
    with_checkpoint,
    with_compaction,
    without_commits,
)

from deltalite import features
from deltalite.exceptions import (
    InvalidTableError,
    TableNotFoundError,
    UnsupportedFeatureError,
    VersionNotFoundError,
)
from deltalite.log import checkpoint, read, segment, write
from deltalite.model.actions import AddFile
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.paths import LOG, SIDECARS, checkpoint_file, commit_file
from deltalite.model.snapshot import Totals
from deltalite.storage.base import FileMeta, StorageError

COMMITS = [simple_commit(v) for v in range(8)]
HINT = LOG + "_last_checkpoint"


@pytest.fixture(autouse=True)
def _writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ensure_writable", lambda config: None)


def paths(snapshot) -> list[str]:
    return sorted(snapshot.files.table(["path"]).column("path").to_pylist())


def checkpointed(at: int, *, v2: bool = False, commits: list[bytes] = COMMITS) -> DictStore:
    store = log_of(*commits)
    return with_checkpoint(store, read.read_snapshot(store, at), v2=v2)


def with_checksum(store: DictStore, version: int) -> DictStore:
    snapshot = read.read_snapshot(store, version)
    assert write.put_checksum(store, replace(snapshot, totals=Totals(version + 1, 10 * (version + 1))))
    return store


# -- nothing there -----------------------------------------------------------------------------------------------


def test_no_log() -> None:
    with pytest.raises(TableNotFoundError, match="no commit in _delta_log") as found:
        read.read_snapshot(DictStore())
    assert "convert" not in str(found.value)
    assert not read.is_table(DictStore())
    for ask in (read.latest_version, read.version_range):
        with pytest.raises(FileNotFoundError):
            ask(DictStore())


def test_parquet_files_without_a_log_are_pointed_at_conversion() -> None:
    with pytest.raises(TableNotFoundError, match="convert_to_deltalake"):
        read.read_snapshot(DictStore({"part-0.parquet": b"PAR1"}))


@pytest.mark.trap(5)
@pytest.mark.bug("F-09")
@pytest.mark.parametrize("name", ["1.json", "0000000000000000001.json", "000000000000000000001.json", "x.json",
                                  "_staged_commits/00000000000000000001.11111111-1111-1111-1111-111111111111.json",
                                  "00000000000000000001.json.tmp", ".00000000000000000001.json.crc", "_commits",
                                  "00000000000000000001.checkpoint.parquet.tmp",
                                  "\u0660" * 19 + "\u0661.json"])  # fmt: skip
def test_foreign_names_are_ignored(name: str) -> None:
    store = log_of(COMMITS[0])
    store.put(LOG + name, b"anything")
    assert read.read_snapshot(store).version == 0
    assert read.is_table(store)
    assert not read.is_table(DictStore({LOG + name: b"anything"}))


# -- versions ----------------------------------------------------------------------------------------------------


def test_versions() -> None:
    store = log_of(*COMMITS)
    assert read.latest_version(store) == 7
    assert read.version_range(store) == (0, 7)
    assert paths(read.read_snapshot(store, 3)) == ["f0", "f1", "f2", "f3"]
    with pytest.raises(VersionNotFoundError, match="the table has 0 to 7") as found:
        read.read_snapshot(store, 8)
    assert found.value.available == (0, 7)


@pytest.mark.bug("T-49")
def test_versions_after_clean_up() -> None:
    store = without_commits(checkpointed(4), 3)
    assert read.version_range(store) == (4, 7)
    assert [paths(read.read_snapshot(store, v))[-1] for v in (4, 5, 6, 7)] == ["f4", "f5", "f6", "f7"]
    with pytest.raises(VersionNotFoundError, match="4 to 7"):
        read.read_snapshot(store, 3)
    store = without_commits(store.copy() and checkpointed(4), 2)  # an older commit left over by the cleaning
    assert read.version_range(store) == (4, 7)
    with pytest.raises(VersionNotFoundError, match="4 to 7"):
        read.read_snapshot(store, 3)


def test_a_checkpoint_alone_is_a_table() -> None:
    store = without_commits(checkpointed(7), 7)
    assert paths(read.read_snapshot(store)) == [f"f{v}" for v in range(8)]
    assert read.is_table(store)
    assert read.version_range(store) == (7, 7)
    assert read.update(store, read.read_snapshot(store)).version == 7


@pytest.mark.trap(51)
def test_time_travel_uses_no_later_checkpoint() -> None:
    store = checkpointed(5)
    store.objects[checkpoint_file(5)] = b"not to be looked at"
    assert paths(read.read_snapshot(store, 4)) == ["f0", "f1", "f2", "f3", "f4"]


# -- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.bug("F-09")
@pytest.mark.parametrize("missing", [1, 4, 6])
def test_a_gap_is_refused_naming_the_file(missing: int) -> None:
    store = log_of(*COMMITS)
    del store.objects[commit_file(missing)]
    with pytest.raises(InvalidTableError, match=commit_file(missing)):
        read.read_snapshot(store)
    with pytest.raises(InvalidTableError, match=commit_file(missing)):
        list(read.read_commits(store, 0))
    assert read.read_snapshot(store, missing - 1).version == missing - 1


def test_a_gap_below_the_checkpoint_does_no_harm() -> None:
    store = checkpointed(5)
    del store.objects[commit_file(2)]
    assert len(paths(read.read_snapshot(store))) == 8
    assert read.version_range(store) == (5, 7)


def test_a_log_that_lost_its_beginning() -> None:
    store = without_commits(log_of(*COMMITS), 2)
    with pytest.raises(InvalidTableError, match="starts at version 3 without a checkpoint"):
        read.read_snapshot(store)


@pytest.mark.bug("F-07")
@pytest.mark.bug("T-52")
@pytest.mark.parametrize("content", [b"", b"\n", b"  \r\n\n"])
@pytest.mark.parametrize("version", [0, 5, 7])
def test_a_commit_without_content_is_refused(content: bytes, version: int) -> None:
    store = log_of(*COMMITS)
    store.objects[commit_file(version)] = content
    with pytest.raises(InvalidTableError, match=f"{commit_file(version)} is empty"):
        read.read_snapshot(store).files.count  # noqa: B018
    with pytest.raises(InvalidTableError, match=f"{commit_file(version)} is empty"):
        list(read.read_commits(store, version))


@pytest.mark.bug("F-08")
@pytest.mark.parametrize("config_from", ["commits", "checkpoint", "checksum"])
def test_every_prefix_of_the_newest_commit_is_refused_or_whole(config_from: str) -> None:
    last = simple_commit(7, {"txn": {"appId": "a", "version": 1}}, {"remove": {"path": "f1", "dataChange": True}})
    newlines = {i for i, byte in enumerate(last) if byte == ord("\n")}
    ends = newlines | {i + 1 for i in newlines}
    store = checkpointed(6) if config_from == "checkpoint" else log_of(*COMMITS)
    for cut in range(len(last)):
        store.objects[commit_file(7)] = last[:cut]
        if cut in ends:  # a whole line may be all that there ever was
            continue
        with pytest.raises(InvalidTableError, match=commit_file(7)):
            read.read_snapshot(store)
        with pytest.raises(InvalidTableError, match=commit_file(7)):
            list(read.read_commits(store, 6))


@pytest.mark.bug("F-08")
@pytest.mark.parametrize("tail", [b"\0" * 512, b"{}garbage\n", b"[1]\n", b"null\n", b'{"add":{}}\n{"a', b'"x"\n'])
@pytest.mark.parametrize("version", [3, 7])
def test_rubbish_behind_the_actions_is_refused(tail: bytes, version: int) -> None:
    store = log_of(*COMMITS)
    store.objects[commit_file(version)] += tail
    with pytest.raises(InvalidTableError, match=commit_file(version)):
        read.read_snapshot(store).files.count  # noqa: B018


@pytest.mark.bug("S-04")
@pytest.mark.parametrize("line", [
    b'{"add":{"path":"x","path":"y","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"x","partitionValues":{},"size":NaN,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"x","partitionValues":{},"size":18446744073709551616,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"x","partitionValues":{},"size":1.5,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":7,"partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"\xff","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"\\ud800","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}',
    b'{"add":{"path":"x","modificationTime":1,"dataChange":true,"partitionValues":{}}}',
    b'{"add":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
])  # fmt: skip
@pytest.mark.parametrize("bulk", [True, False])
def test_hostile_lines_are_refused_in_bulk_and_one_by_one(line: bytes, bulk: bool, monkeypatch) -> None:
    monkeypatch.setattr("deltalite.model.file_actions._WORTH_BULK", 0 if bulk else 10**9)
    store = log_of(COMMITS[0], line + b"\n" + COMMITS[1], COMMITS[2])
    with pytest.raises(InvalidTableError):
        read.read_snapshot(store).files.count  # noqa: B018


@pytest.mark.trap(26)
@pytest.mark.parametrize("has", ["protocol", "metaData", "neither"])
def test_a_log_without_protocol_or_metadata(has: str) -> None:
    actions = {"protocol": [{"protocol": PROTOCOL}], "metaData": [{"metaData": metadata()}], "neither": []}[has]
    with pytest.raises(InvalidTableError, match="protocol" if has != "protocol" else "metadata"):
        read.read_snapshot(log_of(lines({"commitInfo": {}}, *actions)))


def test_an_unknown_reader_version_is_refused() -> None:
    protocol = {"minReaderVersion": 99, "minWriterVersion": 99}
    with pytest.raises(UnsupportedFeatureError, match="99"):
        read.read_snapshot(log_of(lines({"protocol": protocol}, {"metaData": metadata()})))


@pytest.mark.trap(16)
@pytest.mark.parametrize("by_checkpoint", [True, False])
def test_a_file_live_under_two_vectors_is_refused(by_checkpoint: bool) -> None:
    vector = {"storageType": "i", "pathOrInlineDv": "x", "sizeInBytes": 1, "cardinality": 1}
    again = {"path": "f1", "partitionValues": {"day": "x"}, "size": 10, "modificationTime": 1, "dataChange": True,
             "deletionVector": vector}  # fmt: skip
    commits = [*COMMITS[:3], lines({"add": again})]
    store = checkpointed(2, commits=commits) if by_checkpoint else log_of(*commits)
    with pytest.raises(InvalidTableError, match="'f1' as live under two"):
        read.read_snapshot(store).files.count  # noqa: B018
    before = read.read_snapshot(store, 2)
    before.files.count  # noqa: B018
    with pytest.raises(InvalidTableError, match="'f1' as live under two"):
        read.update(store, before).files.count  # noqa: B018


# -- hints -------------------------------------------------------------------------------------------------------


@pytest.mark.trap(51)
@pytest.mark.bug("T-45")
@pytest.mark.parametrize("hint", [
    b"", b"{", b"[]", b"null", b"{}", b'{"version":null}', b'{"version":"3"}', b'{"version":-1}', b'{"version":3.0}',
    b'{"version":0}', b'{"version":2}', b'{"version":3,"parts":7}', b'{"version":5}', b'{"version":99}',
    b'{"version":100000000000000000000000}', b'{"version":true}', b"\xff\xfe", b"[" * 10_000,
])  # fmt: skip
@pytest.mark.parametrize("upto", [-1, 3])
def test_a_hint_is_only_a_hint(hint: bytes, upto: int) -> None:
    store = without_commits(checkpointed(3), upto)
    expected = state_of(read.read_snapshot(store))
    store.objects[HINT] = hint
    assert state_of(read.read_snapshot(store)) == expected
    assert state_of(read.read_snapshot(store, 3))["files"] == expected["files"][:4]
    assert read.latest_version(store) == 7


def test_a_hint_at_a_checkpoint_that_is_gone() -> None:
    store = checkpointed(3)
    del store.objects[checkpoint_file(3)]
    assert len(paths(read.read_snapshot(store))) == 8


def test_a_hint_saves_listing_what_lies_below() -> None:
    store = checkpointed(5)
    for version in range(5):
        store.objects[commit_file(version)] = b"not to be looked at"
    assert len(paths(read.read_snapshot(store))) == 8


# -- checkpoints that cannot be read -----------------------------------------------------------------------------


@pytest.mark.bug("T-44")
@pytest.mark.bug("T-46")
@pytest.mark.parametrize("hint", [True, False])
@pytest.mark.parametrize("keep", [0, 1, 4, 100, -8, -1])
def test_a_cut_off_checkpoint_gives_way_to_the_commits(keep: int, hint: bool, caplog) -> None:
    store = checkpointed(4)
    store.objects[checkpoint_file(4)] = store.objects[checkpoint_file(4)][:keep]
    if not hint:
        del store.objects[HINT]
    with caplog.at_level(logging.WARNING, "deltalite.log"):
        assert len(paths(read.read_snapshot(store))) == 8
    assert "passing over the checkpoint of version 4" in caplog.text


@pytest.mark.bug("T-46")
def test_a_corrupt_checkpoint_gives_way_to_an_older_one(caplog) -> None:
    store = log_of(*COMMITS)
    for at in (2, 5):
        store = with_checkpoint(store, read.read_snapshot(store, at), v2=False)
    store.objects[checkpoint_file(5)] = b"PAR1 rubbish PAR1"
    store = without_commits(store, 2)
    assert len(paths(read.read_snapshot(store))) == 8
    assert "version 5" in caplog.text and "version 2" not in caplog.text


def test_a_corrupt_checkpoint_without_commits_below_is_refused() -> None:
    store = without_commits(checkpointed(4), 4)
    store.objects[checkpoint_file(4)] = b"PAR1 rubbish PAR1"
    with pytest.raises(InvalidTableError, match="checkpoint of version 4 is of no use") as found:
        read.read_snapshot(store)
    assert found.value.path == checkpoint_file(4)


@pytest.mark.parametrize("where", range(0, 4000, 97))
def test_a_flipped_bit_in_a_checkpoint_is_noticed(where: int) -> None:
    store = checkpointed(4)
    data = bytearray(store.objects[checkpoint_file(4)])
    data[where % len(data)] ^= 0x55
    store.objects[checkpoint_file(4)] = bytes(data)
    expected = state_of(read.read_snapshot(log_of(*COMMITS)))
    try:
        assert state_of(read.read_snapshot(store)) == expected  # pages carry checksums: no flip passes unseen
    except InvalidTableError:
        pass


@pytest.mark.trap(50)
def test_v2_checkpoints_missing_a_sidecar_or_of_another_version(caplog) -> None:
    store = checkpointed(4, v2=True)
    name = next(path for path in store.objects if path.startswith(SIDECARS))
    broken = store.copy()
    del broken.objects[name]
    assert len(paths(read.read_snapshot(broken))) == 8
    assert "is missing" in caplog.text
    main = next(path for path in store.objects if ".checkpoint." in path and path.endswith(".json"))
    store.objects[main] = store.objects[main].replace(b'"version":4', b'"version":3')
    assert len(paths(read.read_snapshot(store))) == 8
    assert "says that it is of version 3" in caplog.text


@pytest.mark.trap(51)
def test_multi_part_checkpoints_count_only_when_whole() -> None:
    store = log_of(*COMMITS)
    snapshot = read.read_snapshot(store, 4)
    tables = list(checkpoint.classic(snapshot, 0))
    parts = [tables[0], tables[1].slice(0, 2), tables[1].slice(2)]
    names = [f"{LOG}{4:020d}.checkpoint.{n:010d}.{3:010d}.parquet" for n in (1, 2, 3)]
    for name, part in zip(names, parts, strict=True):
        sink = pa.BufferOutputStream()
        pq.write_table(part, sink)
        store.put(name, sink.getvalue().to_pybytes())
    cleaned = without_commits(store, 4)
    assert len(paths(read.read_snapshot(cleaned))) == 8
    for name in names:
        partial = store.copy()
        del partial.objects[name]
        assert len(paths(read.read_snapshot(partial))) == 8
        partial = cleaned.copy()
        del partial.objects[name]
        with pytest.raises(InvalidTableError, match="without a checkpoint"):
            read.read_snapshot(partial)


@pytest.mark.trap(54)
def test_a_torn_compaction_gives_way_to_its_commits(caplog) -> None:
    store = with_compaction(log_of(*COMMITS), 2, 4, spoil=False)
    name = next(path for path in store.objects if "compacted" in path)
    whole = store.objects[name]
    for cut in (0, 10, len(whole) - 5):
        store.objects[name] = whole[:cut]
        assert len(paths(read.read_snapshot(store))) == 8
    assert "passing over a log compaction" in caplog.text


def test_a_storage_failure_is_not_taken_for_a_corrupt_checkpoint() -> None:
    store = checkpointed(4)

    def fails(path: str, **_: object) -> None:
        raise StorageError("the network is down")

    store.open_input = fails  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        read.read_snapshot(store).files.count  # noqa: B018


@pytest.mark.trap(55)
@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'{"numFiles":1,"tableSizeBytes":1}', b'{"numFiles":-1}'])
def test_a_malformed_checksum_is_passed_over(content: bytes) -> None:
    store = log_of(*COMMITS)
    store.put(f"{LOG}{7:020d}.crc", content)
    snapshot = read.read_snapshot(store)
    assert snapshot.totals is None
    assert len(paths(snapshot)) == 8


def test_a_checksum_of_an_older_version_is_brought_up_to_date() -> None:
    store = log_of(*COMMITS, lines({"metaData": metadata(name="later")}))
    with_checksum(store, 5)
    assert read.read_snapshot(store).config.metadata.name == "later"
    assert read.read_snapshot(store).totals is None
    assert read.read_snapshot(store, 5).totals == Totals(6, 60)
    assert read.read_snapshot(store, 4).totals is None


# -- commits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_local", [True, False])
def test_commits_come_in_order(is_local: bool) -> None:
    store = log_of(*[simple_commit(v) for v in range(40)], is_local=is_local)
    assert [c.version for c in read.read_commits(store, 0)] == list(range(40))
    assert [c.version for c in read.read_commits(store, 7, 9)] == [7, 8, 9]
    assert list(read.read_commits(store, 40)) == []
    assert [c.txn_id for c in read.read_commits(store, 38)] == ["txn-38", "txn-39"]


# -- updates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_local", [True, False])
def test_an_update_reads_only_what_is_new(is_local: bool) -> None:
    store = checkpointed(4)
    store.is_local = is_local
    snapshot = read.read_snapshot(store)
    assert len(paths(snapshot)) == 8
    store.put(commit_file(8), simple_commit(8))
    store.reset()
    newer = read.update(store, snapshot)
    assert paths(newer)[-1] == "f8"
    assert store.calls == ({"get": 1} if is_local else {"list": 1, "get": 1})
    store.reset()
    assert read.update(store, newer) is newer
    assert store.calls == ({} if is_local else {"list": 1})


@pytest.mark.bug("F-09")
@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("missing", [5, 6, 9])
def test_a_gap_above_the_checkpoint_or_above_a_known_version_is_refused(is_local: bool, missing: int) -> None:
    store = checkpointed(4, commits=[simple_commit(v) for v in range(12)])
    store.is_local = is_local
    old = read.read_snapshot(store, 4)
    del store.objects[commit_file(missing)]
    for ask in (lambda: read.read_snapshot(store), lambda: read.update(store, old)):
        with pytest.raises(InvalidTableError, match=commit_file(missing)):
            ask()


@pytest.mark.bug("T-50")
def test_an_update_after_the_log_was_cleaned_up() -> None:
    store = with_checksum(checkpointed(1), 4)
    old = read.read_snapshot(store, 4)  # by its checksum: no file is read yet
    store = with_checkpoint(store, read.read_snapshot(store, 5), v2=False)
    newest = read.update(store, old)
    for gone in (checkpoint_file(1), *(commit_file(v) for v in range(5))):
        del store.objects[gone]
    assert len(paths(newest)) == 8
    assert len(paths(read.update(store, old))) == 8


@pytest.mark.bug("T-50")
def test_a_handle_whose_version_was_cleaned_up_says_so() -> None:
    store = with_checksum(checkpointed(1), 4)
    store = with_checkpoint(store, read.read_snapshot(store, 5), v2=False)
    old = read.read_snapshot(store, 4)
    for gone in (checkpoint_file(1), *(commit_file(v) for v in range(5))):
        del store.objects[gone]
    with pytest.raises(InvalidTableError, match="vanished while the log was read"):
        old.files.count  # noqa: B018


@pytest.mark.bug("T-51")
@pytest.mark.parametrize("versions", [1, 3, 6])
@pytest.mark.parametrize("loaded", [True, False])
def test_a_table_created_anew_is_never_mixed_with_the_old_one(versions: int, loaded: bool, caplog) -> None:
    store = log_of(*COMMITS[:3])
    old = read.read_snapshot(store)
    if loaded:
        old.files.count  # noqa: B018
    other = [lines({"protocol": PROTOCOL}, {"metaData": metadata(id="other")}, {"commitInfo": {}})]
    other += [simple_commit(v) for v in range(1, versions)]  # the very bytes of the old table
    anew = log_of(*other)
    anew.times = {path: time + 10**9 for path, time in anew.times.items()}
    newest = read.update(anew, old)
    assert newest.config.metadata.id == "other"
    assert "created anew" in caplog.text
    assert paths(newest) == sorted(f"f{v}" for v in range(1, versions))


@pytest.mark.bug("T-51")
def test_a_commit_of_our_own_is_recognised_without_its_file_time() -> None:
    store = log_of(*COMMITS[:3])
    before = read.read_snapshot(store)
    ours = before.advance(Commit(3, COMMITS[3], 123), features.partition_keys)
    store.put(commit_file(3), COMMITS[3])
    store.put(commit_file(4), COMMITS[4])
    store.reset()
    newest = read.update(store, ours)
    assert (newest.version, store.calls) == (4, {"get": 2})
    store.objects[commit_file(3)] = COMMITS[3].replace(b"f3", b"g3")  # of the same size
    newest = read.update(store, ours)
    assert "g3" in paths(newest) and "f3" not in paths(newest)


def test_an_update_over_a_long_way_starts_at_the_new_checkpoint() -> None:
    commits = [simple_commit(v) for v in range(80)]
    store = log_of(*commits)
    old = read.read_snapshot(store, 3)
    store = with_checkpoint(store, read.read_snapshot(store, 78), v2=False)
    store.is_local = False
    store.reset()
    assert read.update(store, old).version == 79
    assert store.calls["get"] < 10


def test_an_update_that_changes_the_protocol_checks_it() -> None:
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["magic"], "writerFeatures": ["magic"]}
    store = log_of(COMMITS[0])
    old = read.read_snapshot(store)
    store.put(commit_file(1), lines({"protocol": protocol}))
    with pytest.raises(UnsupportedFeatureError, match="magic"):
        read.update(store, old)


# -- requests ----------------------------------------------------------------------------------------------------


def test_an_open_at_a_checkpoint_with_checksum_is_one_list_and_two_reads() -> None:
    store = checkpointed(7)
    store.is_local = False
    with_checksum(store, 7)
    store.reset()
    opened = read.read_snapshot(store)
    assert store.calls == {"list": 1, "get": 2}
    assert opened.totals == Totals(8, 80)
    assert opened.checkpoint_version == 7


def test_a_blind_open_reads_no_file_list() -> None:
    store = checkpointed(4)
    store.reset()
    read.read_snapshot(store)
    assert [p for p in store.read if p.endswith(".parquet")] == [checkpoint_file(4)]  # its footer and two small columns


def test_nothing_of_pandas_or_dataset_is_imported(tmp_path: Path) -> None:
    store = checkpointed(4)
    for path, data in store.objects.items():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    code = f"""
import sys
from deltalite.storage.local import LocalStore
from deltalite.log import history, read, write
store = LocalStore({str(tmp_path)!r})
snapshot = read.read_snapshot(store)
snapshot.files.table(); snapshot.files.tombstones(); dict(snapshot.transactions); dict(snapshot.domains)
list(history.history(store, snapshot)); history.version_at(store, snapshot.timestamp)
snapshot = read.update(store, read.read_snapshot(store, 3)); snapshot.files.table()
from deltalite import features
features.ensure_writable = lambda config: None
write.put_checkpoint(store, snapshot, 0)
snapshot = read.read_snapshot(store); snapshot.files.table(["path", "stats_parsed", "partitionValues_parsed"])
snapshot.files.leaf("stats_parsed", "numRecords")
print([name for name in ("pandas", "pyarrow.dataset", "pyarrow.acero") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# -- listings as they come (F-13) --------------------------------------------------------------------------------


@pytest.mark.bug("F-13")
def test_a_listing_may_be_unsorted_and_repeat_itself() -> None:
    files = [FileMeta(commit_file(v), 10, v) for v in range(30)]
    shuffled = files[::-1] + files[3:9] + [FileMeta(LOG + "other", 1, 1)]
    found = segment.build(segment.sort_out(shuffled))
    assert found is not None
    assert [v for v, _ in found.tail(-1)] == list(range(30))


def test_add_files_are_objects_on_demand() -> None:
    action = AddFile("a%20b", {"day": "x"}, 1, 2, True, stats='{"numRecords":1}', tags={"k": "v"})
    head = lines({"protocol": PROTOCOL}, {"metaData": metadata()})
    snapshot = read.read_snapshot(log_of(head + encode_commit([action])))
    assert snapshot.files.add_files() == [action]
    assert json.loads(snapshot.files.add_files()[0].stats or "") == {"numRecords": 1}
