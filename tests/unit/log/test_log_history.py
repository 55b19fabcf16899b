"""Times of versions, what expires, and the checksum of a version."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_model import DictStore, lines, log_of, metadata, simple_commit, state_of, with_checkpoint

from deltalite import features
from deltalite.exceptions import InvalidTableError, TimestampOutOfRangeError, VersionNotFoundError
from deltalite.log import checksum, cleanup, history, read, write
from deltalite.model.commit import Commit
from deltalite.model.paths import LOG, SIDECARS, checkpoint_file, commit_file, compaction_file, crc_file
from deltalite.model.snapshot import Totals

DAY = cleanup.DAY_MS
ICT = {"delta.enableInCommitTimestamps": "true"}


@pytest.fixture(autouse=True)
def _writable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ensure_writable", lambda config: None)


def timed(times: list[int], commits: list[bytes] | None = None) -> DictStore:
    store = log_of(*(commits or [simple_commit(v) for v in range(len(times))]))
    store.times = {commit_file(v): time for v, time in enumerate(times)}
    return store


def in_commit(version: int, time: int, **config: str) -> bytes:
    more = [{"metaData": metadata(configuration=config)}] if config else []
    data = simple_commit(version, *more).replace(b'"timestamp"', b'"inCommitTimestamp": %d, "timestamp"' % time, 1)
    if version == 0 and config:  # the configuration belongs into the only metaData
        data = simple_commit(0, **config).replace(b'"timestamp"', b'"inCommitTimestamp": %d, "timestamp"' % time, 1)
    return data


# -- time travel -------------------------------------------------------------------------------------------------


def test_the_newest_version_not_younger_than_a_time() -> None:
    store = timed([100, 200, 300])
    assert [history.version_at(store, t) for t in (100, 199, 200, 299, 300)] == [0, 0, 1, 1, 2]


def test_times_outside_the_history() -> None:
    store = timed([1_000, 2_000])
    for time in (999, 2_001, -(10**18), 10**18):
        available = "from 1970-01-01T00:00:01.000Z to 1970-01-01T00:00:02.000Z"
        with pytest.raises(TimestampOutOfRangeError, match=available) as e:
            history.version_at(store, time)
        assert e.value.available == (0, 1)
        assert isinstance(e.value, VersionNotFoundError)
    assert [history.version_at(store, t, clamp=True) for t in (0, 5_000)] == [0, 1]


@pytest.mark.trap(22)
def test_file_times_are_made_to_grow() -> None:
    store = timed([500, 100, 100, 600, 550])  # 500, 501, 502, 600, 601
    assert [history.version_at(store, t) for t in (500, 501, 502, 599, 600, 601)] == [0, 1, 2, 2, 3, 4]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(0, 70))
@settings(max_examples=200, deadline=None)
@pytest.mark.trap(22)
def test_time_travel_against_a_walk(times: list[int], asked: int) -> None:
    grown: list[int] = []
    for time in times:
        grown.append(max(time, grown[-1] + 1) if grown else time)
    fitting = [v for v, time in enumerate(grown) if time <= asked]
    store = timed(times)
    if not fitting or asked > grown[-1]:
        with pytest.raises(TimestampOutOfRangeError):
            history.version_at(store, asked)
    else:
        assert history.version_at(store, asked) == fitting[-1]


@pytest.mark.trap(22)
def test_in_commit_times_from_the_start() -> None:
    store = timed([9, 9, 9], [in_commit(0, 100, **ICT), in_commit(1, 200), in_commit(2, 300)])
    assert [history.version_at(store, t) for t in (100, 250, 300)] == [0, 1, 2]
    assert read.read_snapshot(store).timestamp == 300
    assert read.read_snapshot(store, 1).timestamp == 200
    with pytest.raises(TimestampOutOfRangeError):
        history.version_at(store, 301)


@pytest.mark.trap(22)
def test_in_commit_times_enabled_later() -> None:
    enabled = {**ICT, "delta.inCommitTimestampEnablementVersion": "2",
               "delta.inCommitTimestampEnablementTimestamp": "1000"}  # fmt: skip
    commits = [simple_commit(0), simple_commit(1), in_commit(2, 1_000, **enabled), in_commit(3, 2_000)]
    store = timed([100, 5_000, 5_001, 5_002], commits)  # the file time of version 1 lies after the enablement
    assert [history.version_at(store, t) for t in (100, 999, 1_000, 1_999, 2_000)] == [0, 0, 2, 2, 3]
    entries = history.history(store, read.read_snapshot(store))
    assert [entry["timestamp"] for entry in entries] == [2_000, 1_000, 5_000, 100]


def test_time_travel_only_to_what_can_be_read() -> None:
    store = timed([100, 200, 300, 400, 500])
    store = with_checkpoint(store, read.read_snapshot(store, 2), v2=False)
    del store.objects[commit_file(0)]
    assert history.version_at(store, 300) == 2
    with pytest.raises(TimestampOutOfRangeError, match="versions 2 to 4"):
        history.version_at(store, 299)
    assert history.version_at(store, 0, clamp=True) == 2


def test_in_commit_times_are_searched_not_read_through() -> None:
    commits = [in_commit(0, 0, **ICT), *(in_commit(v, 10 * v) for v in range(1, 256))]
    store = timed(list(range(256)), commits)
    store.reset()
    assert history.version_at(store, 1_234) == 123
    assert store.calls["get"] < 256 + 20  # the walk to the metadata reads all; the search only a few


# -- history -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_local", [True, False])
def test_history_newest_first_reading_only_its_limit(is_local: bool) -> None:
    store = timed(list(range(0, 300, 10)))
    store.is_local = is_local
    snapshot = read.read_snapshot(store)
    store.reset()
    found = list(history.history(store, snapshot, 3))
    assert [(e["version"], e["timestamp"], e["txnId"]) for e in found] == [
        (29, 290, "txn-29"), (28, 280, "txn-28"), (27, 270, "txn-27")]  # fmt: skip
    assert store.calls == {"list": 1, "get": 3}
    assert len(list(history.history(store, snapshot))) == 30
    assert len(list(history.history(store, read.read_snapshot(store, 4)))) == 5
    assert list(history.history(store, snapshot, 0)) == []


@pytest.mark.trap(21)
def test_history_of_commits_without_provenance_or_cleaned_up() -> None:
    bare = lines({"add": {"path": "x", "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": True}})
    store = timed([10, 20, 30, 40], [simple_commit(0), simple_commit(1), bare, simple_commit(3)])
    assert list(history.history(store, read.read_snapshot(store)))[1] == {"version": 2, "timestamp": 30}
    store = with_checkpoint(store, read.read_snapshot(store, 2), v2=False)
    del store.objects[commit_file(1)]
    assert [e["version"] for e in history.history(store, read.read_snapshot(store))] == [3, 2]


def test_the_time_of_a_commit() -> None:
    assert history.timestamp_of(Commit(0, simple_commit(0), 5)) == 5
    assert history.timestamp_of(Commit(0, in_commit(0, 7), 5)) == 7


# -- clean-up ----------------------------------------------------------------------------------------------------


def names(found: cleanup.Expired | None) -> list[str]:
    return [] if found is None else [p.removeprefix(LOG) for p in (*found.commits, *found.others)]


def with_checkpoints(times: list[int], *at: int) -> DictStore:
    store = timed(times)
    for version in at:
        store = with_checkpoint(store, read.read_snapshot(store, version), v2=False)
        store.times[checkpoint_file(version)] = times[version]
    return store


def listing(store: DictStore) -> list:
    return list(store.list_from(LOG))


@pytest.mark.trap(53)
@pytest.mark.bug("T-49")
def test_clean_up_keeps_the_checkpoint_at_the_cutoff_and_all_after() -> None:
    store = with_checkpoints([v * DAY for v in range(10)], 2, 5, 8)
    store.put(crc_file(4), b"{}")
    store.put(crc_file(5), b"{}")
    store.put(compaction_file(4, 6), b"{}")
    store.put(compaction_file(5, 7), b"{}")
    store.put(compaction_file(6, 7), b"{}")
    found = cleanup.expired(listing(store), now_ms=9 * DAY + 5, retention_ms=2 * DAY)  # cutoff: day 7, version 7
    assert found is not None and found.anchor.version == 5
    assert found.commits == tuple(commit_file(v) for v in range(5))
    assert set(found.others) == {checkpoint_file(2), crc_file(4), compaction_file(4, 6), compaction_file(5, 7)}


@pytest.mark.trap(53)
def test_the_cutoff_is_a_midnight() -> None:
    store = with_checkpoints([0, 5 * DAY, 5 * DAY + 1, 6 * DAY], 1, 2)
    for hour in range(0, 24, 5):
        found = cleanup.expired(listing(store), now_ms=6 * DAY + hour * 3_600_000, retention_ms=DAY)
        assert found is not None and found.anchor.version == 1  # exactly at midnight is old enough, a moment later not


@pytest.mark.trap(53)
@pytest.mark.bug("T-49")
def test_without_a_checkpoint_old_enough_nothing_goes() -> None:
    assert cleanup.expired(listing(timed([0, 1, 2])), 100 * DAY, DAY) is None
    assert cleanup.expired(listing(with_checkpoints([0, 1, 99 * DAY], 2)), 100 * DAY, 2 * DAY) is None
    assert cleanup.expired([], 100 * DAY, DAY) is None
    assert cleanup.expired(listing(with_checkpoints([0, 1], 0)), 100 * DAY, DAY) is None  # nothing lies below


@pytest.mark.trap(33)
def test_protected_history_goes_as_a_whole_or_not_at_all() -> None:
    store = with_checkpoints([v * DAY for v in range(10)], 2, 5)
    assert cleanup.expired(listing(store), 20 * DAY, DAY, protected_before=6) is None
    found = cleanup.expired(listing(store), 20 * DAY, DAY, protected_before=5)
    assert found is not None and found.anchor.version == 5


@given(st.lists(st.integers(0, 3 * DAY), min_size=2, max_size=9), st.sets(st.integers(0, 8), max_size=3),
       st.integers(0, 30), st.data())  # fmt: skip
@settings(max_examples=20, deadline=None)
@pytest.mark.bug("T-49")
def test_whatever_is_cleaned_up_the_retention_period_can_be_read(steps, checkpoints, now_days, data) -> None:
    times = [sum(steps[: n + 1]) for n in range(len(steps))]
    at = sorted(v for v in checkpoints if v < len(times))
    from unittest.mock import patch

    with patch.object(features, "ensure_writable", lambda config: None):
        store = with_checkpoints(times, *at)
    now, retention = now_days * DAY, 2 * DAY
    cutoff = (now - retention) // DAY * DAY
    before = {v: state_of(read.read_snapshot(store, v)) for v in range(len(times))}
    found = cleanup.expired(listing(store), now, retention)
    grown = dict(cleanup.growing_times(f for f in listing(store) if f.path in {commit_file(v) for v in before}))
    current = max((v for v, t in grown.items() if t <= cutoff), default=0)
    doomed = [*found.commits, *found.others] if found else []
    for path in doomed[: data.draw(st.integers(0, len(doomed)))]:  # wherever the deleting stops (F-03)
        del store.objects[path]
    for version in range(current, len(times)):
        assert state_of(read.read_snapshot(store, version)) == before[version]
    earliest, latest = read.version_range(store)
    assert latest == len(times) - 1
    for version in range(earliest, latest + 1):
        assert state_of(read.read_snapshot(store, version)) == before[version]


def test_clean_up_of_a_table() -> None:
    store = with_checkpoints([v * DAY for v in range(40)], 5, 9)
    now = 45 * DAY
    assert write.clean_up(store, read.read_snapshot(store), now) == 10
    assert read.version_range(store) == (9, 39)
    assert commit_file(9) in store.objects and checkpoint_file(9) in store.objects
    assert write.clean_up(store, read.read_snapshot(store), now) == 0


@pytest.mark.bug("T-49")
def test_no_clean_up_onto_a_checkpoint_that_cannot_be_read() -> None:
    store = with_checkpoints([v * DAY for v in range(40)], 5)
    store.objects[checkpoint_file(5)] = store.objects[checkpoint_file(5)][:-20]
    assert write.clean_up(store, read.read_snapshot(store), 45 * DAY) == 0
    assert read.version_range(store) == (0, 39)


def test_clean_up_of_sidecars_keeps_those_in_use_and_young_ones() -> None:
    store = timed([v * DAY for v in range(40)])
    for version in (3, 6):
        store = with_checkpoint(store, read.read_snapshot(store, version), v2=True)
    now = 45 * DAY
    store.put(SIDECARS + "stray.parquet", b"")
    store.put(SIDECARS + "young.parquet", b"")
    for path in store.objects:
        if path.startswith(SIDECARS) or "checkpoint" in path:
            store.times[path] = 6 * DAY
    store.times[SIDECARS + "young.parquet"] = now - DAY // 2
    before = [path for path in store.objects if path.startswith(SIDECARS)]
    write.clean_up(store, read.read_snapshot(store), now)
    after = [path for path in store.objects if path.startswith(SIDECARS)]
    assert len(before) == 4 and len(after) == 2 and SIDECARS + "young.parquet" in after
    assert len(read.read_snapshot(store).files.table(["path"])) == 40
    assert read.version_range(store) == (6, 39)


# -- checksums ---------------------------------------------------------------------------------------------------


@pytest.mark.trap(55)
def test_a_checksum_says_what_the_version_is() -> None:
    store = log_of(simple_commit(0, {"txn": {"appId": "a", "version": 3}}), simple_commit(1))
    snapshot = replace(read.read_snapshot(store), totals=Totals(2, 20))
    found = json.loads(checksum.encode(snapshot, "t") or b"")
    assert {k: found[k] for k in ("txnId", "tableSizeBytes", "numFiles", "numMetadata", "numProtocol")} == {
        "txnId": "t", "tableSizeBytes": 20, "numFiles": 2, "numMetadata": 1, "numProtocol": 1}  # fmt: skip
    assert "setTransactions" not in found and "inCommitTimestampOpt" not in found  # not known without reading more
    dict(snapshot.transactions)
    found = json.loads(checksum.encode(snapshot) or b"")
    assert found["setTransactions"] == [{"appId": "a", "version": 3}]
    assert found["metadata"]["id"] == "t" and found["protocol"]["minReaderVersion"] == 3
    assert checksum.encode(replace(snapshot, totals=None)) is None


@pytest.mark.trap(55)
def test_a_checksum_has_the_in_commit_time_exactly_when_that_is_on() -> None:
    snapshot = replace(read.read_snapshot(log_of(in_commit(0, 77, **ICT))), totals=Totals(1, 10))
    assert json.loads(checksum.encode(snapshot) or b"")["inCommitTimestampOpt"] == 77
    store = log_of(in_commit(0, 77, **ICT))
    assert write.put_checksum(store, snapshot)
    store.objects[commit_file(0)] = in_commit(0, 78, **ICT)
    assert read.read_snapshot(store).timestamp == 77  # no commit was read


@pytest.mark.trap(55)
def test_a_checksum_is_never_overwritten() -> None:
    store = log_of(simple_commit(0))
    snapshot = replace(read.read_snapshot(store), totals=Totals(1, 10))
    assert write.put_checksum(store, snapshot)
    assert not write.put_checksum(store, replace(snapshot, totals=Totals(2, 10)))
    assert read.read_snapshot(store).totals == Totals(1, 10)
    assert not write.put_checksum(store, replace(snapshot, totals=None))


@pytest.mark.trap(55)
def test_a_checksum_of_another_engine() -> None:
    found = checksum.parse(json.dumps({
        "txnId": "x", "tableSizeBytes": 5259, "numFiles": 10, "numDeletedRecordsOpt": 0, "numMetadata": 1,
        "numProtocol": 1, "inCommitTimestampOpt": 1694758257000,
        "setTransactions": [{"appId": "a", "version": 42, "lastUpdated": 1}],
        "domainMetadata": [{"domain": "d", "configuration": "c", "removed": False}],
        "metadata": metadata(), "protocol": {"minReaderVersion": 1, "minWriterVersion": 2},
        "fileSizeHistogram": {"sortedBinBoundaries": [0], "fileCounts": [10], "totalBytes": [5259]}, "allFiles": [],
    }).encode())  # fmt: skip
    assert found is not None
    assert (found.totals, found.in_commit_timestamp) == (Totals(10, 5259), 1694758257000)
    assert found.transactions is not None and found.transactions["a"].version == 42
    assert found.domains is not None and found.domains["d"].configuration == "c"


def test_differences_between_a_checksum_and_the_log() -> None:
    store = log_of(simple_commit(0), simple_commit(1))
    snapshot = replace(read.read_snapshot(store), totals=Totals(3, 20))
    found = checksum.parse(checksum.encode(snapshot) or b"")
    assert found is not None
    assert checksum.differences(found, snapshot) == ["number of files: the checksum says 3, the log 2"]


def test_commits_are_put_once() -> None:
    store = log_of()
    write.put_commit(store, 0, simple_commit(0))
    with pytest.raises(FileExistsError):
        write.put_commit(store, 0, simple_commit(0))
    with pytest.raises(InvalidTableError):
        list(read.read_commits(DictStore({commit_file(1): b"x"}), 0))
