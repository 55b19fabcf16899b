"""A state is the same however the log has it: commits, checkpoints of every form, compactions, checksums, updates."""

from __future__ import annotations

import json
from dataclasses import replace
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from log_model import (
    PROTOCOL,
    DictStore,
    Model,
    histories,
    lines,
    log_of,
    metadata,
    reconciled,
    state_of,
    with_checkpoint,
    with_compaction,
    without_commits,
)

from deltalite import features
from deltalite.log import checkpoint, checksum, read, write
from deltalite.model import file_actions
from deltalite.model.actions import Sidecar
from deltalite.model.file_actions import TEXT_MAP, column_of
from deltalite.model.paths import LOG, SIDECARS, checkpoint_file, commit_file
from deltalite.model.snapshot import Totals

FAST = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(autouse=True, scope="module")
def _writable():
    with patch.object(features, "ensure_writable", lambda config: None):
        yield


def states(commits: list[bytes]) -> list[dict]:
    model, found = Model(), []
    for data in commits:
        model.apply(data)
        found.append(model.state())
    return found


@given(histories(), st.booleans())
@FAST
@pytest.mark.trap(1)
def test_json_replay_of_every_version(commits: list[bytes], in_bulk: bool) -> None:
    store = log_of(*commits)
    with patch.object(file_actions, "_WORTH_BULK", 0 if in_bulk else 10**9):
        for version, expected in enumerate(states(commits)):
            assert state_of(read.read_snapshot(store, version)) == expected


@given(histories(), st.data())
@FAST
@pytest.mark.bug("T-48")
def test_checkpoint_at_any_version_and_the_commits_below_gone(commits: list[bytes], data: st.DataObject) -> None:
    store, expected = log_of(*commits), states(commits)
    at = data.draw(st.integers(0, len(commits) - 1))
    v2, hint = data.draw(st.booleans()), data.draw(st.booleans())
    rows = data.draw(st.sampled_from([1, 3, 1000]))
    with patch.object(checkpoint, "ROWS_PER_TABLE", rows), patch.object(checkpoint, "ACTIONS_PER_SIDECAR", rows):
        checkpointed = with_checkpoint(store, read.read_snapshot(store, at), v2=v2, hint=hint)
    cleaned = without_commits(checkpointed, at)
    for version in range(len(commits)):
        assert state_of(read.read_snapshot(checkpointed, version)) == expected[version]
        if version >= at:
            assert state_of(read.read_snapshot(cleaned, version)) == expected[version]


@given(histories(), st.data())
@FAST
@pytest.mark.bug("T-48")
def test_checkpoints_built_on_checkpoints(commits: list[bytes], data: st.DataObject) -> None:
    store = log_of(*commits)
    for version, expected in enumerate(states(commits)):
        snapshot = read.read_snapshot(store, version)
        assert state_of(snapshot) == expected
        if data.draw(st.booleans()):
            store = with_checkpoint(store, snapshot, v2=data.draw(st.booleans()))
            store.objects[commit_file(version)] += b" "  # a re-read is a read of the checkpoint, not of a cache


@given(histories(max_commits=10), st.data())
@FAST
@pytest.mark.trap(54)
def test_compactions_stand_for_their_commits(commits: list[bytes], data: st.DataObject) -> None:
    store, expected = log_of(*commits), states(commits)
    assume(len(commits) >= 2)
    first = data.draw(st.integers(0, len(commits) - 2))
    last = data.draw(st.integers(first + 1, len(commits) - 1))
    assume(reconciled(commits[first : last + 1]))
    compacted = with_compaction(store, first, last, spoil=False)
    for version in range(len(commits)):  # a target inside the range must not use it
        assert state_of(read.read_snapshot(compacted, version)) == expected[version]
    spoilt = with_compaction(store, first, last, spoil=True)
    assert state_of(read.read_snapshot(spoilt)) == expected[-1]


@given(histories(), st.data())
@FAST
@pytest.mark.bug("T-48")
def test_updates_of_an_old_snapshot(commits: list[bytes], data: st.DataObject) -> None:
    expected = states(commits)
    whole = log_of(*commits)
    store = DictStore({commit_file(0): commits[0]}, is_local=data.draw(st.booleans()))
    store.times = dict(whole.times)
    snapshot = read.read_snapshot(store)
    handles = [snapshot]
    for version in range(1, len(commits)):
        store.objects[commit_file(version)] = commits[version]
        if data.draw(st.booleans()):
            handles.append(read.update(store, data.draw(st.sampled_from(handles))))
            assert handles[-1].version == version
            if data.draw(st.booleans()):
                handles[-1].files.count  # noqa: B018
        if data.draw(st.integers(0, 3)) == 0:
            store = with_checkpoint(store, read.read_snapshot(store), v2=data.draw(st.booleans()))
    for handle in handles:
        assert state_of(handle) == expected[handle.version]
        assert state_of(read.update(store, handle)) == expected[-1]


@given(histories(), st.data())
@FAST
def test_checksums_give_the_same_state(commits: list[bytes], data: st.DataObject) -> None:
    store, expected = log_of(*commits), states(commits)
    at = data.draw(st.integers(0, len(commits) - 1))
    snapshot = read.read_snapshot(store, at)
    if data.draw(st.booleans()):
        dict(snapshot.transactions), dict(snapshot.domains)
    sizes = snapshot.files.table(["size"]).column("size").to_pylist()
    counted = replace(snapshot, totals=Totals(len(sizes), sum(sizes)))
    assert write.put_checksum(store, counted)
    found = read.read_snapshot(store)
    assert state_of(found) == expected[-1]
    again = read.read_snapshot(store, at)
    assert (again.totals, again.config) == (counted.totals, snapshot.config)
    assert checksum.differences(checksum.parse(store.objects[f"{LOG}{at:020d}.crc"]), again) == []


@pytest.mark.trap(9)
def test_a_missing_partition_value_is_not_a_null_one() -> None:
    add = {"path": "f", "size": 1, "modificationTime": 1, "dataChange": True}
    adds = [{"add": {**add, "path": f"f{n}", "partitionValues": values}}
            for n, values in enumerate([{"day": None}, {}, {"DAY": "x"}, {"day": "y", "more": "z"}])]  # fmt: skip
    for threshold in (0, 10**9):
        with patch.object(file_actions, "_WORTH_BULK", threshold):
            store = log_of(lines({"protocol": PROTOCOL}, {"metaData": metadata()}), lines(*adds))
            found = read.read_snapshot(store).files.table(["partitionValues"]).column("partitionValues").to_pylist()
            assert [dict(values) for values in found] == [a["add"]["partitionValues"] for a in adds]


@given(histories(), st.sampled_from(["json", "parquet"]), st.booleans())
@FAST
@pytest.mark.trap(50)
def test_v2_checkpoints_in_the_forms_that_we_do_not_write(commits: list[bytes], form: str, classic_name: bool) -> None:
    """File actions in the main file, main files in Parquet, classic and uuid names; with a sidecar or without."""
    store, expected = log_of(*commits), states(commits)[-1]
    snapshot = read.read_snapshot(store)
    at = snapshot.version
    tables = list(checkpoint.files(snapshot, 0))
    for with_sidecar in (True, False):
        found = without_commits(store, at)
        sidecars = []
        if with_sidecar and tables:
            found.put(SIDECARS + "s%20 1.parquet", _parquet(pa.concat_tables(tables)))
            sidecars = [Sidecar("s%2520 1.parquet", len(found.objects[SIDECARS + "s%20 1.parquet"]), 1)]
        main = [json.loads(line) for line in checkpoint.manifest(snapshot, 0, sidecars).splitlines()]
        if not sidecars:
            main += [{kind: _json(row)} for t in tables for kind in t.column_names
                     for row in t.column(kind).to_pylist() if row is not None]  # fmt: skip
        uuid = None if classic_name and form == "parquet" else "11111111-2222-3333-4444-555555555555"
        data = lines(*main) if form == "json" else _parquet(_main_table(main, tables))
        found.put(checkpoint_file(at, uuid, form), data)
        assert state_of(read.read_snapshot(found)) == expected


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _json(row: dict) -> dict:
    """A row of a checkpoint as the JSON of an action."""
    found = {k: v for k, v in row.items() if v is not None and not k.endswith("_parsed")}
    for name in ("partitionValues", "tags"):
        if name in found:
            found[name] = dict(found[name])
    if "deletionVector" in found:
        found["deletionVector"] = {k: v for k, v in found["deletionVector"].items() if v is not None}
    return found


def _main_table(actions: list[dict], tables: list[pa.Table]) -> pa.Table:
    kinds = dict(checkpoint._OTHERS)
    kinds["checkpointMetadata"] = pa.struct([("version", pa.int64()), ("tags", TEXT_MAP)])
    kinds["sidecar"] = pa.struct([("path", pa.string()), ("sizeInBytes", pa.int64()), ("modificationTime", pa.int64())])
    if tables:
        kinds |= {name: tables[0].schema.field(name).type for name in ("add", "remove")}
    columns = {name: column_of([a.get(name) for a in actions], kind) for name, kind in kinds.items()}
    return pa.table(columns)
