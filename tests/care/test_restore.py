"""RESTORE against the rows that each version had, and what must not turn back."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable, Schema
from deltalite.exceptions import ConflictError, InvalidArgumentError, VersionNotFoundError
from deltalite.log.read import read_snapshot
from deltalite.model.actions import DomainMetadata
from deltalite.model.pending import PendingCommit
from deltalite.operations import restore as operation
from deltalite.txn.commit import commit

FAST = {"durability": "relaxed"}
VECTORS = {"delta.enableDeletionVectors": "true"}


def make(root: Path, properties: dict[str, str] | None = None, schema: Any = "n bigint, s string") -> DeltaTable:
    return DeltaTable.create(root, schema, configuration=properties, storage_options=FAST)


def numbers(start: int, stop: int) -> pa.Table:
    return pa.table({"n": list(range(start, stop)), "s": [f"s{i}" for i in range(start, stop)]})


def content(table: Any, version: int | None = None) -> list[tuple[Any, ...]]:
    data = DeltaTable(table.table_uri, version).to_pyarrow_table()
    return sorted(map(tuple, (row.values() for row in data.to_pylist())), key=repr)


def actions(root: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "_delta_log" / f"{version:020}.json").read_text().splitlines()]


STEPS = st.lists(st.sampled_from(["append", "overwrite", "delete", "update", "compact", "checkpoint", "restore"]), max_size=7)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.booleans(), st.data())
def test_any_version_comes_back_with_its_rows(steps: list[str], vectors: bool, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        table = make(Path(place), {"delta.enableDeletionVectors": str(vectors).lower(), "delta.enableChangeDataFeed": "true"})
        told = {0: content(table)}
        for i, step in enumerate(steps):
            if step == "append":
                table.append(numbers(10 * i, 10 * i + 6))
            elif step == "overwrite":
                table.overwrite(numbers(100 * i, 100 * i + 3))
            elif step == "delete":
                table.delete("n % 3 = 1")
            elif step == "update":
                table.update({"s": "concat(s, '!')"}, predicate="n % 4 = 0")
            elif step == "compact":
                table.optimize.compact()
            elif step == "checkpoint":
                table.create_checkpoint()
            else:
                table.restore(data.draw(st.sampled_from(sorted(told))))
            told.setdefault(table.version(), content(table))
        version = data.draw(st.sampled_from(sorted(told)))
        before = told[table.version()]
        result = table.restore(version)
        assert content(table) == told[version]
        if result.skipped is None:
            feed = DeltaTable(place).load_cdf(table.version(), table.version()).read_all().to_pylist()
            came = [(r["n"], r["s"]) for r in feed if r["_change_type"] in ("insert", "update_postimage")]
            left = [(r["n"], r["s"]) for r in feed if r["_change_type"] in ("delete", "update_preimage")]
            replayed = list(before)
            for row in left:
                replayed.remove(row)
            assert sorted([*replayed, *came], key=repr) == told[version]
        if not vectors:  # deltalake's own reader takes no vectors
            theirs = deltalake.DeltaTable(place).to_pyarrow_table().to_pylist()
            assert sorted(((r["n"], r["s"]) for r in theirs), key=repr) == told[version]


def test_metrics_are_deltalakes_and_sparks(tmp_path: Path) -> None:
    table = make(tmp_path / "ours")
    table.append(numbers(0, 5))
    table.overwrite(numbers(5, 9))
    deltalake.write_deltalake(tmp_path / "theirs", numbers(0, 5))
    deltalake.write_deltalake(tmp_path / "theirs", numbers(5, 9), mode="overwrite")
    theirs = deltalake.DeltaTable(tmp_path / "theirs").restore(0)
    preview = table.restore(1, dry_run=True)
    assert (preview.skipped, table.version()) == ("a dry run", 2)
    ours = table.restore(1)
    assert ours.metrics == preview.metrics
    assert {name: ours[name] for name in theirs} == theirs
    assert (ours["numRestoredFiles"], ours["numRemovedFiles"], ours["numOfFilesAfterRestore"]) == (1, 1, 1)
    info = table.history(1)[0]
    assert info["operation"] == "RESTORE" and info["operationParameters"]["version"] == "1"


def test_targets_by_time_text_and_tag(tmp_path: Path) -> None:
    table = make(tmp_path)
    table.append(numbers(0, 2))
    when = table.timestamp()
    table.tags.create("good")
    for target in ({"target": when}, {"target": when.isoformat()}, {"target": "v1"}, {"tag": "good"}):
        table.append(numbers(5, 6))
        table.restore(**target)
        assert content(table) == [(0, "s0"), (1, "s1")], target
    assert table.history(1)[0]["operationParameters"]["tag"] == "good"
    with pytest.raises(InvalidArgumentError):
        table.restore()
    with pytest.raises(InvalidArgumentError):
        table.restore(1, tag="good")
    with pytest.raises(VersionNotFoundError):
        table.restore(99)
    with pytest.raises(VersionNotFoundError, match="good"):
        table.restore(tag="bad")


def test_nothing_to_do_commits_nothing(tmp_path: Path) -> None:
    table = make(tmp_path)
    table.append(numbers(0, 2))
    result = table.restore(1)
    assert result.skipped and table.version() == 1


def test_an_old_handle_restores_over_the_newest_version(tmp_path: Path) -> None:
    table = make(tmp_path)
    table.append(numbers(0, 2))
    table.overwrite(numbers(7, 8))
    old = DeltaTable(tmp_path, version=1)
    assert old.restore(1).version == 3 and content(old) == [(0, "s0"), (1, "s1")]


@pytest.mark.parametrize("what", ["data", "vector"])
def test_missing_files_are_named_and_can_be_ignored(tmp_path: Path, what: str) -> None:
    table = make(tmp_path, VECTORS)
    table.append(numbers(0, 3000))
    table.append(numbers(5000, 5002))
    table.delete("n < 3000 and (n % 7 = 1 or n % 5 = 2 or n * n % 11 = 3)")
    vectors = list(tmp_path.glob("deletion_vector*"))
    assert vectors, "the vector lies in a file"
    target = table.version()
    before = {a["add"]["path"] for v in range(target + 1) for a in actions(tmp_path, v) if "add" in a}
    table.overwrite(numbers(1, 2))
    if what == "vector":
        vectors[0].unlink()
    else:
        small = min(before, key=lambda path: (tmp_path / path).stat().st_size)
        (tmp_path / small).unlink()
    with pytest.raises(VersionNotFoundError, match="1 of its files are gone"):
        table.restore(target)
    assert table.version() == target + 1
    done = table.restore(target, ignore_missing_files=True)
    assert (done["numMissingFiles"], done["numRestoredFiles"]) == (1, 1)
    left = {n for n, _ in content(table)}
    assert (left == {5000, 5001}) if what == "vector" else not left & {5000, 5001}


def test_schema_and_properties_go_back_and_the_protocol_does_not(tmp_path: Path) -> None:
    table = make(tmp_path, {"delta.appendOnly": "false", "my.key": "a"})
    table.append(numbers(0, 2))
    low = table.protocol()
    table.append(numbers(2, 3).append_column("extra", pa.array([1])), schema_mode="merge")
    table.alter.set_table_properties({"my.key": "b", **VECTORS}, raise_if_not_exists=False)
    high = table.protocol()
    assert high.min_reader_version == 3
    table.restore(1)
    assert table.schema().names == ["n", "s"] and table.properties()["my.key"] == "a"
    assert "delta.enableDeletionVectors" not in table.properties()
    assert table.protocol() == high
    table.restore(1, protocol_downgrade_allowed=True)
    assert table.protocol() == low and content(table) == [(0, "s0"), (1, "s1")]


@pytest.mark.trap(59)
def test_trap_59_column_ids_never_turn_back(tmp_path: Path) -> None:
    table = make(tmp_path, {"delta.columnMapping.mode": "name"})
    table.append(numbers(0, 2))
    table.append(numbers(2, 3).append_column("extra", pa.array(["secret"])), schema_mode="merge")
    given = table.properties()["delta.columnMapping.maxColumnId"]
    table.restore(1)
    assert table.properties()["delta.columnMapping.maxColumnId"] == given == "3"
    table.append(numbers(3, 4).append_column("extra", pa.array(["new"])), schema_mode="merge")
    added = table.schema().get("extra")
    assert added is not None and added.metadata["delta.columnMapping.id"] == 4
    old = DeltaTable(tmp_path, version=2).schema().get("extra")
    assert old is not None
    physical = "delta.columnMapping.physicalName"
    assert added.metadata[physical] != old.metadata[physical]
    assert [r["extra"] for r in table.to_pyarrow_table().to_pylist()].count("new") == 1


def test_back_to_before_columns_were_mapped(tmp_path: Path) -> None:
    table = make(tmp_path)
    table.append(numbers(0, 2))
    table.alter.set_table_properties({"delta.columnMapping.mode": "name"})
    table.alter.rename_column("s", "text")
    table.append(numbers(2, 3).rename_columns(["n", "text"]))
    table.restore(1)
    assert content(table) == [(0, "s0"), (1, "s1")] and table.schema().names == ["n", "s"]
    table.append(numbers(8, 9))
    table.restore(4)
    assert content(table) == [(0, "s0"), (1, "s1"), (2, "s2")] and table.schema().names == ["n", "text"]


@pytest.mark.trap(65)
@pytest.mark.parametrize("renamed", [False, True])
def test_trap_65_identity_numbers_never_turn_back(tmp_path: Path, renamed: bool) -> None:
    schema = {
        "type": "struct",
        "fields": [
            {"name": "id", "type": "long", "nullable": True, "metadata": {
                "delta.identity.start": 1, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": False}},
            {"name": "s", "type": "string", "nullable": True, "metadata": {}},
        ],
    }
    table = make(tmp_path, {"delta.columnMapping.mode": "name"} if renamed else None, Schema.from_json(json.dumps(schema)))
    table.append(pa.table({"s": ["a", "b"]}))
    if renamed:
        table.alter.rename_column("id", "number")
    table.append(pa.table({"s": ["c"]}))
    before = table.version()
    table.restore(1)
    table.append(pa.table({"s": ["d"]}))
    assert sorted(r["id"] for r in table.to_pyarrow_table().to_pylist()) == [1, 2, 4]
    assert before == (3 if renamed else 2)


@pytest.mark.trap(63)
def test_trap_63_row_ids_come_back_with_their_rows_and_are_never_given_again(tmp_path: Path) -> None:
    table = make(tmp_path, {"delta.enableRowTracking": "true"})
    table.append(numbers(0, 3))
    ids = sorted((r["n"], r["_row_id"], r["_row_commit_version"]) for r in tracked(table))
    table.overwrite(numbers(5, 9))
    table.restore(1)
    assert sorted((r["n"], r["_row_id"], r["_row_commit_version"]) for r in tracked(table)) == ids
    table.append(numbers(20, 21))
    assert max(r["_row_id"] for r in tracked(table)) == 7


def tracked(table: DeltaTable) -> list[dict[str, Any]]:
    return table.scan(["n", "_row_id", "_row_commit_version"]).read_all().to_pylist()


def test_in_commit_times_stay_readable_when_they_were_off_in_between(tmp_path: Path) -> None:
    on, off = ({"delta.enableInCommitTimestamps": value} for value in ("true", "false"))
    table = make(tmp_path, on)
    table.append(numbers(0, 1))
    table.alter.set_table_properties(off)
    table.append(numbers(1, 2))
    table.alter.set_table_properties(on)
    table.append(numbers(2, 3))
    table.restore(1)
    assert table.properties()["delta.inCommitTimestampEnablementVersion"] == "4"
    for version in range(4, table.version() + 1):
        at = DeltaTable(tmp_path, version).timestamp()
        assert DeltaTable(tmp_path, timestamp=at).version() == version


def test_clustering_goes_back(tmp_path: Path) -> None:
    table = make(tmp_path, {"delta.feature.clustering": "supported"})
    for by in ("n", "s"):
        base = read_snapshot(table._store)
        domain = DomainMetadata("delta.clustering", json.dumps({"clusteringColumns": [[by]]}))
        commit(table._store, PendingCommit(base, "T", (domain,), f"txn-{by}"))
    table.refresh()
    table.append(numbers(0, 1))
    table.restore(1)
    assert json.loads(table._snapshot.domains["delta.clustering"].configuration) == {"clusteringColumns": [["n"]]}
    table.restore(0)
    assert "delta.clustering" not in table._snapshot.domains


@pytest.mark.parametrize("isolation", ["WriteSerializable", "Serializable"])
def test_conflicts_as_for_an_operation_that_reads_all(tmp_path: Path, monkeypatch: Any, isolation: str) -> None:
    """Blind appends pass under WriteSerializable; everything else that touches rows is a conflict."""
    table = make(tmp_path, {"delta.isolationLevel": isolation})
    table.append(numbers(0, 2))
    table.overwrite(numbers(5, 7))
    real = operation.plan

    def during(act: Any) -> None:
        def plan(*args: Any) -> Any:
            found = real(*args)
            act(DeltaTable(tmp_path, storage_options=FAST))
            return found

        monkeypatch.setattr(operation, "plan", plan)

    during(lambda other: other.append(numbers(8, 9)))
    if isolation == "Serializable":
        with pytest.raises(ConflictError):
            table.restore(1)
        monkeypatch.setattr(operation, "plan", real)
        return
    table.restore(1)
    assert content(table) == [(0, "s0"), (1, "s1"), (8, "s8")]
    for act in (
        lambda other: other.delete("n = 8"),
        lambda other: other.overwrite(numbers(1, 2)),
        lambda other: other.alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"}),
        lambda other: other.restore(2),
    ):
        monkeypatch.setattr(operation, "plan", real)
        table.restore(1)
        table.append(numbers(8, 9))
        table.refresh()
        state: list[Any] = []

        def once(other: DeltaTable, act: Any = act, state: list[Any] = state) -> None:
            if not state:
                state.append(1)
                act(other)

        during(once)
        version = table.version()
        with pytest.raises(ConflictError):
            table.restore(1)
        assert table.version() == version


def test_two_threads_restore_and_append(tmp_path: Path) -> None:
    """Whatever wins, the rows are those of some order."""
    table = make(tmp_path)
    table.append(numbers(0, 2))
    table.overwrite(numbers(5, 7))

    def work(act: Any) -> None:
        try:
            act(DeltaTable(tmp_path, storage_options=FAST))
        except ConflictError:
            pass

    threads = [threading.Thread(target=work, args=(act,)) for act in (
        lambda t: t.restore(1), lambda t: t.append(numbers(8, 9)), lambda t: t.restore(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ns = {n for n, _ in content(table)}
    assert ns - {8} in ({0, 1}, {5, 6})
    deltalake.DeltaTable(tmp_path).to_pyarrow_table()
