"""How VACUUM runs: what it records, what it returns, what is left when it is cut off; deltalake's arguments."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aging import commits, data_files, memory, rows

from deltalite import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalite.exceptions import InvalidArgumentError, MetadataChangedError, StorageError
from deltalite.operations import vacuum_run
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import Call, FaultyStore, RelayStore, SimulatedCrash, every_fault

NOW: dict[str, Any] = {"retention_hours": 0, "enforce_retention_duration": False, "dry_run": False}
BOTH = pytest.mark.parametrize("full", [False, True], ids=["lite", "full"])


def frame(*values: int) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def overwritten(place: Any, times: int = 3) -> DeltaTable:
    for value in range(times):
        write_deltalake(place, frame(value), mode="overwrite")
    return DeltaTable(place)


def recorded(store: Any) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    infos = [a["commitInfo"] for _, actions in sorted(commits(store).items()) for a in actions if "commitInfo" in a]
    return [
        (i["operation"], i["operationParameters"], i["operationMetrics"]) for i in infos if "VACUUM" in i["operation"]
    ]


# -- records and results -----------------------------------------------------------------------------------------------


@BOTH
def test_both_ends_are_recorded_as_other_engines_do(full: bool) -> None:
    store = memory()
    table = overwritten(store)
    sizes = sum(file.size for file in store.list_all() if file.path in set(table.vacuum(0, True, False)))
    result = table.vacuum(
        **NOW, full=full, commit_properties=CommitProperties(custom_metadata={"userMetadata": "tidy"})
    )
    assert recorded(store) == [
        (
            "VACUUM START",
            {"retentionCheckEnabled": "false", "specifiedRetentionMillis": "0", "defaultRetentionMillis": "604800000"},
            {"numFilesToDelete": "2", "sizeOfDataToDelete": str(sizes)},
        ),
        ("VACUUM END", {"status": "COMPLETED"}, {"numDeletedFiles": "2", "numVacuumedDirectories": "0"}),
    ]
    assert [entry.get("userMetadata") for entry in table.history(2)] == ["tidy", "tidy"]
    assert (result.version, table.version(), result.bytes, result.dry_run) == (4, 4, sizes, False)
    assert isinstance(result, list) and all(isinstance(path, str) for path in result)
    store.clear()


@BOTH
@pytest.mark.bug("T-55")
def test_what_is_gone_is_not_reported_again(full: bool) -> None:
    """deltalake reports, and records, the same files on every run."""
    store = memory()
    table = overwritten(store)
    assert len(table.vacuum(**NOW, full=full)) == 2
    assert table.vacuum(**NOW, full=full) == [] and table.vacuum(0, True, False, full=full) == []
    assert table.version() == 4, "nothing to do is not recorded"
    store.clear()


@pytest.mark.bug("T-55")
@BOTH
def test_the_result_is_what_is_really_gone(full: bool) -> None:
    class Stubborn(MemoryStore):
        def delete_many(self, paths: Any) -> list[str]:
            return super().delete_many([path for path in paths if path != stubborn])

    store = Stubborn(memory().root)
    table = overwritten(store)
    stubborn, other = table.vacuum(0, True, False)
    result = table.vacuum(**NOW, full=full)
    assert list(result) == [other] and result.skipped == [(stubborn, "it could not be deleted")]
    assert store.head(stubborn) is not None and store.head(other) is None
    assert recorded(store)[-1][2]["numDeletedFiles"] == "1"
    assert stubborn in repr(result) and repr(result).startswith("deleted 1 file (")
    store.clear()


@BOTH
def test_a_dry_run_changes_nothing(tmp_path: Path, full: bool) -> None:
    table = overwritten(tmp_path / "t")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "t").rglob("*")}
    for result in (table.vacuum(full=full), table.vacuum(0, enforce_retention_duration=False, full=full)):
        assert result.dry_run and repr(result).startswith("DRY RUN: would delete")
    behind = DeltaTable(tmp_path / "t", version=1)
    assert len(behind.vacuum(0, True, False, full=full)) == 2 and behind.version() == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "t").rglob("*")} == before


def test_progress_batches_and_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vacuum_run, "_BATCH", 2)
    monkeypatch.setattr(vacuum_run, "_BATCHES_AT_ONCE", 2)
    store, seen = memory(), []
    table = overwritten(store, 12)
    assert len(table.vacuum(**NOW, progress=lambda done, of: seen.append((done, of)))) == 11
    assert seen == [(2, 11), (4, 11), (6, 11), (8, 11), (10, 11), (11, 11)]
    assert len(data_files(store)) == 1
    store.clear()


def test_properties_of_the_commits() -> None:
    store = memory()
    table = overwritten(store)
    once = CommitProperties(app_transactions=[Transaction("cleaner", 7)])
    hooks = PostCommitHookProperties(create_checkpoint=False)
    assert len(table.vacuum(**NOW, commit_properties=once, post_commithook_properties=hooks)) == 2
    assert table.transaction_version("cleaner") == 7
    table.overwrite(frame(9))
    again = table.vacuum(**NOW, commit_properties=once)
    assert again == [] and "cleaner" in str(again.refused)
    store.clear()


def test_the_table_property_is_the_default_and_the_limit() -> None:
    store = memory()
    write_deltalake(store, frame(1), configuration={"delta.deletedFileRetentionDuration": "interval 0 hours"})
    write_deltalake(store, frame(2), mode="overwrite")
    table = DeltaTable(store)
    assert len(table.vacuum(dry_run=False)) == 1
    table.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 2 hours"})
    with pytest.raises(InvalidArgumentError, match="shorter than the 2 hours"):
        table.vacuum(1)
    assert recorded(store)[0][1]["retentionCheckEnabled"] == "true"
    store.clear()


# -- other writers -----------------------------------------------------------------------------------------------------


def test_a_longer_retention_set_meanwhile_is_respected() -> None:
    inner = memory()
    write_deltalake(inner, frame(1), configuration={"delta.deletedFileRetentionDuration": "interval 0 hours"})
    write_deltalake(inner, frame(2), mode="overwrite")

    class Meanwhile(RelayStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "put_if_absent" and data is not None and b"VACUUM START" in data:
                DeltaTable(inner).alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 1 week"})
            return super().around(call, effect, data)

    assert DeltaTable(Meanwhile(inner)).vacuum(dry_run=False) == []
    assert len(data_files(inner)) == 2 and not recorded(inner)
    inner.clear()


def test_metadata_that_never_rests_is_a_conflict() -> None:
    inner = memory()
    overwritten(inner)

    class Restless(RelayStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "put_if_absent" and data is not None and b"VACUUM START" in data:
                number = str(len(commits(inner)))
                DeltaTable(inner).alter.set_table_properties({"restless": number})
            return super().around(call, effect, data)

    with pytest.raises(MetadataChangedError):
        DeltaTable(Restless(inner)).vacuum(**NOW)
    assert len(data_files(inner)) == 3
    inner.clear()


def test_properties_changed_while_deleting_do_not_lose_the_record() -> None:
    inner = memory()
    overwritten(inner)

    class Meanwhile(RelayStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "delete_many":
                DeltaTable(inner).alter.set_table_properties({"owner": "me"})
                DeltaTable(inner).append(frame(7))
            return super().around(call, effect, data)

    table = DeltaTable(Meanwhile(inner))
    assert len(table.vacuum(**NOW)) == 2
    assert recorded(inner)[-1][1] == {"status": "COMPLETED"}
    assert rows(table) == {(2,): 1, (7,): 1}
    inner.clear()


def test_vacuum_disturbs_no_writer() -> None:
    """A handle that is behind by a VACUUM deletes, updates and overwrites as if nothing had happened."""
    store = memory()
    for change in ("delete", "update", "overwrite", "append"):
        table = overwritten(store)
        behind = DeltaTable(store)
        table.vacuum(**NOW)
        if change == "delete":
            behind.delete("x = 2")
        elif change == "update":
            behind.update({"x": "5"})
        else:
            getattr(behind, change)(frame(6))
        assert rows(DeltaTable(store)) == {"delete": {}, "update": {(5,): 1}, "overwrite": {(6,): 1}}.get(
            change, {(2,): 1, (6,): 1}
        )
        store.clear()


# -- cut off -----------------------------------------------------------------------------------------------------------


def history_of_three() -> MemoryStore:
    store = memory()
    table = overwritten(store)
    table.tags.create("kept", 1)
    store.put("orphan.parquet", b"x")
    return store


@BOTH
@pytest.mark.bug("F-04")
@pytest.mark.parametrize("mode", ["before", "after", "crash_before", "crash_after"])
@pytest.mark.parametrize("counts", ["mutating", "any"])
def test_cut_off_at_every_step(full: bool, mode: Any, counts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call fails or dies: the table reads as before, and running it again completes."""
    monkeypatch.setattr(vacuum_run, "_BATCH", 1)
    monkeypatch.setattr(vacuum_run, "_BATCHES_AT_ONCE", 1)
    for run in every_fault(history_of_three, mode=mode, counts=counts):
        run.attempt(lambda store: DeltaTable(store).vacuum(**NOW, full=full))
        table = DeltaTable(run.inner)
        assert rows(table) == {(2,): 1} and rows(table.at(tag="kept")) == {(1,): 1}
        if run.error is None:
            assert not set(run.result) & data_files(run.inner), "reported, but not gone"
        table.vacuum(**NOW, full=full)
        left = data_files(run.inner) - {path for path in data_files(run.inner) if path.endswith(".tmp")}
        assert len(left) == (2 if full else 3), run.store.hit
        run.inner.clear()


@BOTH
def test_a_failure_is_recorded_and_raised(full: bool) -> None:
    inner = memory()
    overwritten(inner)
    store = FaultyStore(inner, at=1, matching=lambda call: call.op == "delete_many" and "vacuum" not in call.path)
    with pytest.raises(StorageError, match="injected"):
        DeltaTable(store).vacuum(**NOW, full=full)
    assert recorded(inner)[-1] == (
        "VACUUM END", {"status": "FAILED"}, {"numDeletedFiles": "0", "numVacuumedDirectories": "0"}
    )  # fmt: skip
    inner.clear()


def test_an_interrupt_is_recorded_and_raised() -> None:
    inner = memory()
    overwritten(inner)
    store = FaultyStore(inner, at=1, error=KeyboardInterrupt, matching=lambda call: call.op == "delete_many")
    with pytest.raises(KeyboardInterrupt):
        DeltaTable(store).vacuum(**NOW)
    assert recorded(inner)[-1][1] == {"status": "FAILED"}
    inner.clear()


def test_a_lost_record_of_the_end_does_not_hide_the_result(caplog: pytest.LogCaptureFixture) -> None:
    inner = memory()
    overwritten(inner)
    ends = lambda call: call.op == "put_if_absent" and call.path.endswith("4.json")  # noqa: E731
    result = DeltaTable(FaultyStore(inner, at=1, matching=ends)).vacuum(**NOW)
    assert len(result) == 2 and result.version == 3 and "not recorded" in caplog.text
    inner.clear()


def test_crashes_are_crashes() -> None:
    store = FaultyStore(history_of_three(), at=1, mode="crash_before")
    with pytest.raises(SimulatedCrash):
        DeltaTable(store).vacuum(**NOW)


# -- deltalake ---------------------------------------------------------------------------------------------------------


def test_arguments_are_deltalakes() -> None:
    theirs = inspect.signature(deltalake.DeltaTable.vacuum).parameters
    ours = inspect.signature(DeltaTable.vacuum).parameters
    for name, parameter in theirs.items():
        if parameter.kind is not parameter.VAR_POSITIONAL:
            assert repr(ours[name].default) == repr(parameter.default), name
    positional = [n for n, p in theirs.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional


@BOTH
def test_the_same_files_as_deltalake(tmp_path: Path, full: bool) -> None:
    """On a table without anything special both name the same files, and each reads what the other left."""
    table = overwritten(tmp_path / "t", 4)
    (tmp_path / "t" / "orphan.parquet").write_bytes(b"x")
    theirs = deltalake.DeltaTable(str(tmp_path / "t"))
    named = theirs.vacuum(0, enforce_retention_duration=False, full=full)
    assert sorted(table.vacuum(0, enforce_retention_duration=False, full=full)) == sorted(
        Path(path).name for path in named
    )
    table.vacuum(**NOW, full=full)
    theirs = deltalake.DeltaTable(str(tmp_path / "t"))
    assert theirs.version() == 5 and theirs.to_pyarrow_table().to_pydict() == {"x": [3]}
    theirs.vacuum(0, False, False, full=full)
    assert rows(table.refresh()) == {(3,): 1}
    deltalake.write_deltalake(str(tmp_path / "t"), frame(8), mode="append")
    assert rows(table.refresh()) == {(3,): 1, (8,): 1}
