"""Row tracking turned on for tables with files: ids for every row, in commits that change no data."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import deltalake
import pyarrow as pa
import pytest

from deltalite import DeltaTable
from deltalite.exceptions import InvalidArgumentError
from deltalite.operations import backfill, retrying

ENABLE = {"delta.enableRowTracking": "true"}
IDS = ["a", "_row_id", "_row_commit_version"]


def numbers(*values: int) -> pa.Table:
    return pa.table({"a": pa.array(values, pa.int64())})


def actions(root: Path) -> list[list[dict]]:
    files = sorted((root / "_delta_log").glob("0*.json"))
    return [[json.loads(line) for line in f.read_text().splitlines()] for f in files if f.stem.isdigit()]


def ids(root) -> dict[int, tuple[int, int]]:
    found = DeltaTable(root).to_pyarrow_table(columns=IDS).to_pylist()
    return {row["a"]: (row["_row_id"], row["_row_commit_version"]) for row in found}


def mark(root: Path) -> int:
    found = [a["domainMetadata"] for commit in actions(root) for a in commit if "domainMetadata" in a]
    return json.loads(found[-1]["configuration"])["rowIdHighWaterMark"]


@pytest.mark.trap(63)
@pytest.mark.trap(20)
def test_trap_63_every_row_has_an_id_before_ids_are_promised(tmp_path):
    for values in ((1, 2, 3), (4,), (5, 6)):
        deltalake.write_deltalake(tmp_path, numbers(*values), mode="append")
    table = DeltaTable(tmp_path)
    files = set(tmp_path.glob("*.parquet"))
    result = table.alter.set_table_properties(ENABLE)
    assert result["numFilesBackfilled"] == 3 and table.version() == result.version == 5
    assert set(tmp_path.glob("*.parquet")) == files, "no file is written"
    found = ids(tmp_path)
    assert sorted(row_id for row_id, _ in found.values()) == list(range(6)) and mark(tmp_path) == 5
    protocol, again, enabled = actions(tmp_path)[3:]
    assert {"rowTracking", "domainMetadata"} <= set(
        next(a["protocol"] for a in protocol if "protocol" in a)["writerFeatures"]
    )
    adds = [a["add"] for a in again if "add" in a]
    assert len(adds) == 3 and not any(a["dataChange"] for a in adds) and not any("remove" in a for a in again)
    assert all(a["baseRowId"] is not None and a["defaultRowCommitVersion"] == 4 for a in adds)
    assert next(a["metaData"] for a in enabled if "metaData" in a)["configuration"]["delta.enableRowTracking"] == "true"
    assert sorted(row["a"] for row in deltalake.DeltaTable(tmp_path).to_pyarrow_table().to_pylist()) == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    table.update({"a": "a + 10"}, predicate="a = 2")
    table.append(numbers(7))
    after = ids(tmp_path)
    assert after[12][0] == found[2][0] and after[1] == found[1] and after[7][0] > mark(tmp_path) - 4
    assert len({row_id for row_id, _ in after.values()}) == 7


@pytest.mark.parametrize("size", [1, 2])
def test_many_files_take_several_commits(tmp_path, monkeypatch, size):
    monkeypatch.setattr(backfill, "FILES_PER_COMMIT", size)
    table = DeltaTable.create(tmp_path, numbers(1).schema, configuration={"delta.enableDeletionVectors": "true"})
    for n in range(5):
        table.append(numbers(10 * n, 10 * n + 1, 10 * n + 2))
    table.delete("a = 11")
    table.create_checkpoint()
    before = sorted(row["a"] for row in table.to_pyarrow_table().to_pylist())
    table = DeltaTable(tmp_path)
    assert table.alter.set_table_properties(ENABLE)["numFilesBackfilled"] == 5
    found = ids(tmp_path)
    assert sorted(found) == before and len({i for i, _ in found.values()}) == 14
    assert mark(tmp_path) == 14, "rows under a vector count"


def test_files_without_statistics_are_counted(tmp_path):
    deltalake.write_deltalake(tmp_path, numbers(1, 2, 3))
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            del line["add"]["stats"]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    DeltaTable(tmp_path).alter.set_table_properties(ENABLE)
    assert sorted(i for i, _ in ids(tmp_path).values()) == [0, 1, 2]


def test_an_empty_table_and_one_that_has_ids_take_one_commit(tmp_path):
    table = DeltaTable.create(tmp_path / "empty", numbers(1).schema)
    table.alter.set_table_properties(ENABLE)
    assert table.version() == 1
    supported = {"delta.feature.rowTracking": "supported"}
    table = DeltaTable.create(tmp_path / "supported", numbers(1).schema, configuration=supported)
    table.append(numbers(1, 2))
    table.alter.set_table_properties(ENABLE)
    assert table.version() == 2 and [i for i, _ in ids(tmp_path / "supported").values()] == [0, 1]


def test_what_was_interrupted_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(backfill, "FILES_PER_COMMIT", 1)
    table = DeltaTable.create(tmp_path, numbers(1).schema)
    for n in range(3):
        table.append(numbers(n))
    commits, perform = [], retrying.perform

    def stops(*args, **more):
        commits.append(args)
        if len(commits) == 3:
            raise KeyboardInterrupt
        return perform(*args, **more)

    monkeypatch.setattr(retrying, "perform", stops)
    with pytest.raises(KeyboardInterrupt):
        table.alter.set_table_properties(ENABLE)
    other = DeltaTable(tmp_path)
    other.append(numbers(9))
    assert "delta.enableRowTracking" not in other.properties()
    assert other.alter.set_table_properties(ENABLE)["numFilesBackfilled"] == 2
    assert sorted(i for i, _ in ids(tmp_path).values()) == [0, 1, 2, 3]


def test_writers_at_the_same_time(tmp_path, monkeypatch):
    monkeypatch.setattr(backfill, "FILES_PER_COMMIT", 2)
    table = DeltaTable.create(tmp_path, numbers(1).schema, configuration={"delta.enableDeletionVectors": "true"})
    for n in range(8):
        table.append(numbers(n, n + 100))
    errors = []

    def writes():
        mine = DeltaTable(tmp_path)
        for n in range(8):
            try:
                mine.refresh()
                mine.append(numbers(200 + n)) if n % 2 else mine.delete(f"a = {n + 100}")
            except Exception as error:
                errors.append(type(error).__name__)

    thread = threading.Thread(target=writes)
    thread.start()
    table.alter.set_table_properties(ENABLE)
    thread.join()
    assert set(errors) <= {"ConcurrentAppendError", "MetadataChangedError", "ConcurrentDeleteReadError"}, errors
    found = ids(tmp_path)
    assert len({i for i, _ in found.values()}) == len(found) == DeltaTable(tmp_path).count()
    for commit in actions(tmp_path):
        given = [a["add"]["baseRowId"] for a in commit if "add" in a and a["add"].get("baseRowId") is not None]
        assert len(given) == len(set(given))


def test_not_in_a_transaction_and_not_while_suspended(tmp_path):
    table = DeltaTable.create(tmp_path, numbers(1).schema)
    table.append(numbers(1))
    with pytest.raises(InvalidArgumentError, match="commits of its own"), table.transaction() as staged:
        staged.alter.set_table_properties(ENABLE)
    table.alter.set_table_properties({"delta.rowTrackingSuspended": "true"})
    version = table.version()
    with pytest.raises(InvalidArgumentError, match="contradict"):
        table.alter.set_table_properties(ENABLE)
    assert DeltaTable(tmp_path).version() == version
    with pytest.raises(InvalidArgumentError, match="true or false"):
        table.alter.set_table_properties({"delta.rowTrackingSuspended": "maybe"})


def test_suspended_tables_give_no_ids(tmp_path):
    properties = {"delta.feature.rowTracking": "supported", "delta.rowTrackingSuspended": "true"}
    table = DeltaTable.create(tmp_path, numbers(1).schema, configuration=properties)
    table.append(numbers(1))
    assert not any("baseRowId" in a["add"] for commit in actions(tmp_path) for a in commit if "add" in a)
    table.alter.unset_table_properties(["delta.rowTrackingSuspended"])
    table.alter.set_table_properties(ENABLE)
    assert [i for i, _ in ids(tmp_path).values()] == [0]
