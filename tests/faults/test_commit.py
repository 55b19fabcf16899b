"""Fail, or lose the reply of, the n-th call of an operation, for every n: the table is old or new, never between."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import CommitOutcomeUnknown, DeltaError, StorageError
from deltalite.model.actions import AddFile, CommitInfo
from deltalite.model.codec import encode_commit
from deltalite.model.commit import Commit
from deltalite.model.paths import commit_file, relative_path
from deltalite.storage.base import AmbiguousPut
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import Call, FaultyStore, SimulatedCrash
from deltalite.txn import commit as commit_module

ROWS = pa.table({"part": ["a", "b"], "x": pa.array([1, 2], pa.int64())})
MORE = pa.table({"part": ["b", "c"], "x": pa.array([3, 4], pa.int64())})
OPERATIONS = {
    "create": lambda store: DeltaTable.create(store, "part string, x bigint", partition_by="part"),
    "write": lambda store: write_deltalake(store, ROWS, partition_by="part", mode="append"),
    "append": lambda store: DeltaTable(store).append(MORE),
    "append with schema": lambda store: DeltaTable(store).append(
        MORE.append_column("y", pa.array([1.0, 2.0])), schema_mode="merge"
    ),
    "overwrite": lambda store: DeltaTable(store).overwrite(MORE),
    "replace where": lambda store: DeltaTable(store).overwrite(MORE.slice(0, 1), predicate="part = 'b'"),
    "dynamic": lambda store: DeltaTable(store).overwrite(MORE, partition_overwrite="dynamic"),
    "properties": lambda store: DeltaTable(store).alter.set_table_properties({"owner": "me"}),
}
FRESH = {"create", "write"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9))
    world = dataclasses.replace(commit_module.WORLD, sleep=lambda _: None, monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(commit_module, "WORLD", world)


def prepared(fresh: bool) -> MemoryStore:
    inner = MemoryStore(f"memory://{uuid.uuid4()}")
    if not fresh:
        options = {"delta.checkpointInterval": "2"}
        write_deltalake(inner, ROWS, partition_by="part", configuration=options)
    return inner


def state(inner: Any) -> tuple[int, Counter[Any], dict[str, str]]:
    if not DeltaTable.is_deltatable(inner):
        return -1, Counter(), {}
    table = DeltaTable(inner)
    rows = table.to_pyarrow_table().to_pylist()
    return table.version(), Counter(tuple(sorted(r.items())) for r in rows), table.properties()


def txn_ids(inner: Any) -> list[str | None]:
    return [c.txn_id for c in DeltaTable(inner).commits()] if DeltaTable.is_deltatable(inner) else []


@pytest.mark.bug("T-01")
@pytest.mark.bug("T-05")
@pytest.mark.parametrize("mode", ["before", "after", "crash_before", "crash_after"])
@pytest.mark.parametrize("counts", ["mutating", "any"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_old_or_new(name: str, counts: Any, mode: Any) -> None:
    operation = OPERATIONS[name]
    reference = prepared(name in FRESH)
    old = state(reference)
    operation(reference)
    new = state(reference)
    for at in range(1, 200):
        inner = prepared(name in FRESH)
        store = FaultyStore(inner, at=at, mode=mode, counts=counts)
        try:
            operation(store)
            outcome = "committed"
        except SimulatedCrash:
            outcome = "crashed"
        except CommitOutcomeUnknown:
            outcome = "unknown"
        except (DeltaError, OSError):
            outcome = "aborted"
        found = state(inner)
        assert found in (old, new), (at, store.hit, outcome)
        if outcome == "committed":
            assert found == new, (at, store.hit)
        if outcome == "aborted":
            assert found == old, (at, store.hit)
        ids = [i for i in txn_ids(inner) if i]
        assert len(ids) == len(set(ids)), "a transaction is in the log twice"
        if store.hit is None:
            return
    pytest.fail("the operation never ended unharmed")


@pytest.mark.bug("T-03")
@pytest.mark.bug("T-04")
@pytest.mark.parametrize("name", ["append", "overwrite", "replace where", "properties", "create"])
def test_a_lost_reply_of_the_commit_is_recognised(name: str) -> None:
    inner = prepared(name in FRESH)
    before = state(inner)[0]
    store = FaultyStore(
        inner, at=1, mode="after", matching=lambda call: call.op == "put_if_absent" and call.path.endswith(".json")
    )
    OPERATIONS[name](store)
    assert store.hit is not None
    assert state(inner)[0] == before + 1
    assert not store.count("delete_many")


@pytest.mark.bug("T-06")
def test_no_answer_at_all_is_unknown_and_deletes_nothing() -> None:
    inner = prepared(False)

    class Mute(FaultyStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "put_if_absent" and call.path.endswith(".json"):
                raise AmbiguousPut("no answer")
            return super().around(call, effect, data)

    store = Mute(inner)
    with pytest.raises(CommitOutcomeUnknown) as caught:
        DeltaTable(store).append(MORE)
    assert not store.count("delete_many")
    assert caught.value.version == 1 and caught.value.txn_id
    assert DeltaTable(inner).resolve(caught.value.txn_id) is None


@pytest.mark.bug("F-11")
def test_a_delayed_commit_lands_once() -> None:
    """The first request is applied long after its caller gave up: the retry used the same version, so it is one commit."""
    inner = prepared(False)
    store = FaultyStore(
        inner, at=1, mode="delay", matching=lambda call: call.op == "put_if_absent" and call.path.endswith(".json")
    )
    result = DeltaTable(store).append(MORE)
    store.deliver()
    assert state(inner)[0] == result.version == 1
    assert len(set(txn_ids(inner))) == 2


def test_a_definite_refusal_leaves_no_files() -> None:
    inner = prepared(False)
    files = {f.path for f in inner.list_all()}
    store = FaultyStore(
        inner, at=1, mode="before", error=StorageError("access denied"),
        matching=lambda call: call.op == "put_if_absent" and call.path.endswith(".json"),
    )  # fmt: skip
    with pytest.raises(StorageError, match="access denied"):
        DeltaTable(store).append(MORE)
    assert {f.path for f in inner.list_all()} == files


@pytest.mark.bug("T-10")
def test_work_after_the_commit_never_fails_it() -> None:
    inner = prepared(False)
    broken = lambda call: (
        call.op in ("put", "put_if_absent", "publish")
        and not call.path.endswith((".json", ".parquet"))
        or "checkpoint" in call.path
    )  # noqa: E731
    for at in range(1, 6):
        store = FaultyStore(inner, at=at, mode="before", matching=broken)
        version = DeltaTable(store).append(MORE).version
        assert DeltaTable(inner).version() == version


@pytest.mark.bug("T-16")
def test_sixteen_appenders_all_land() -> None:
    from concurrent.futures import ThreadPoolExecutor

    inner = prepared(False)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda _: DeltaTable(inner).append(MORE), range(32)))
    assert sorted(r.version for r in results) == list(range(1, 33))
    assert DeltaTable(inner).count() == 2 + 64


@pytest.mark.bug("T-68")
def test_an_application_transaction_is_applied_once() -> None:
    inner = prepared(False)
    assert DeltaTable(inner).append(MORE, txn=("app", 7)).skipped is None
    assert DeltaTable(inner).append(MORE, txn=("app", 7)).skipped
    assert DeltaTable(inner).append(MORE, txn=("app", 6)).skipped
    stale = DeltaTable(inner, version=0)
    assert stale.append(MORE, txn=("app", 7)).skipped, "a stale handle finds out when it loses the race"
    assert DeltaTable(inner).count() == 4
    assert DeltaTable(inner).transaction_version("app") == 7


@pytest.mark.bug("F-07")
def test_an_empty_commit_is_refused() -> None:
    inner = prepared(False)
    inner.put(commit_file(1), b"")
    with pytest.raises(DeltaError, match="0001.json"):
        DeltaTable(inner).to_pyarrow_table()
    with pytest.raises(DeltaError):
        write_deltalake(inner, MORE, mode="append")


def test_every_file_of_a_commit_is_there_before_the_commit() -> None:
    inner = prepared(False)
    store = FaultyStore(inner)
    DeltaTable(store).append(MORE)
    commit_at = next(
        i for i, call in enumerate(store.calls) if call.op == "put_if_absent" and call.path == commit_file(1)
    )
    published = {call.path for call in store.calls[:commit_at] if call.op in ("publish", "put")}
    named = [a for a in Commit(1, inner.get(commit_file(1))).actions if isinstance(a, AddFile)]
    assert named and {relative_path(a.path) for a in named} <= published


@pytest.mark.trap(56)
def test_trap_56_an_existing_commit_is_never_overwritten() -> None:
    inner = prepared(False)
    theirs = encode_commit([CommitInfo({"txnId": "theirs", "operation": "WRITE"})])
    stale = DeltaTable(inner)
    inner.put(commit_file(1), theirs)
    assert stale.append(MORE).version == 2
    assert inner.get(commit_file(1)) == theirs
