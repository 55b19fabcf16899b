"""The stores that fail on purpose do what they say; other suites rely on them."""

from __future__ import annotations

import itertools
import time
import uuid

import pytest

from deltalite.exceptions import StorageError
from deltalite.storage import AmbiguousPut
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import (
    Call,
    CountingStore,
    FaultyStore,
    LatencyStore,
    RelayStore,
    SimulatedCrash,
    every_fault,
)
from deltalite.testing.stores import StoreContract


@pytest.fixture
def inner():
    store = MemoryStore(f"memory://{uuid.uuid4().hex}")
    yield store
    store.clear()


def scenario(store):
    """Two data files and a commit, as a small transaction does."""
    store.put("a.parquet", b"aaaa")
    with store.open_output("b.parquet") as output:
        output.write(b"bbbb")
    store.sync()
    store.put_if_absent("_delta_log/0.json", b"commit")
    return "done"


class TestRelay(StoreContract):
    """A store in between changes nothing."""

    @pytest.fixture
    def store(self, inner):
        return FaultyStore(RelayStore(inner))

    def other_handle(self, store):
        return FaultyStore(RelayStore(store.inner.inner))

    def raw_put(self, store, path, data):
        store.inner.inner.put(path, data)

    def raw_get(self, store, path):
        return store.inner.inner.get(path) if store.inner.inner.head(path) else None


def test_counting(inner):
    store = CountingStore(inner)
    scenario(store)
    list(store.list_from("_delta_log/"))
    assert store.calls == [
        Call("put", "a.parquet"),
        Call("open_output", "b.parquet"),
        Call("publish", "b.parquet"),
        Call("sync", ""),
        Call("put_if_absent", "_delta_log/0.json"),
        Call("list_from", "_delta_log/"),
    ]
    assert store.count() == 6
    assert store.count("put", "publish") == 2
    assert store.count(containing="parquet") == 3


def test_latency(inner):
    store = LatencyStore(inner, 0.02)
    started = time.perf_counter()
    scenario(store)
    assert time.perf_counter() - started >= 0.1
    assert store.count() == 5


@pytest.mark.parametrize("mode", ["before", "after", "torn", "delay", "crash_before", "crash_after"])
def test_every_call_fails_once(mode):
    seen = []
    for run in every_fault(lambda: MemoryStore(f"memory://{uuid.uuid4().hex}"), mode=mode):
        run.attempt(scenario)
        seen.append(run.store.hit)
        visible = {meta.path for meta in run.inner.list_all()}
        if run.store.hit is None:
            assert run.result == "done"
            assert len(visible) == 3
        elif mode.startswith("crash"):
            assert isinstance(run.error, SimulatedCrash)
            with pytest.raises(SimulatedCrash):
                run.store.get("a.parquet")
        else:
            assert isinstance(run.error, (StorageError, AmbiguousPut))
        if run.store.hit is not None:
            landed = run.store.hit.path in visible
            assert landed == (mode in ("after", "crash_after") or (mode == "torn" and run.store.hit.op == "put")) or (
                run.store.hit.op == "sync"
            )
        run.inner.clear()
    assert [call and call.op for call in seen] == ["put", "publish", "sync", "put_if_absent", None]


def test_reads_can_fail_too(inner):
    scenario(inner)
    ops = []
    for run in every_fault(lambda: inner, counts="any"):
        run.attempt(lambda store: [store.get("a.parquet"), list(store.list_from("")), store.head("x")])
        ops.append(run.store.hit and run.store.hit.op)
    assert ops == ["get", "list_from", "head", None]


def test_torn_puts(inner):
    store = FaultyStore(inner, at=1, mode="torn", torn=lambda data: data[:-1])
    with pytest.raises(StorageError):
        store.put("_delta_log/_last_checkpoint", b"12345")
    assert inner.get("_delta_log/_last_checkpoint") == b"1234"
    store = FaultyStore(inner, at=1, mode="torn")
    with pytest.raises(StorageError):
        store.put_if_absent("n", b"12345")
    assert inner.head("n") is None


@pytest.mark.bug("F-11")
def test_delayed_puts_arrive_when_told(inner):
    store = FaultyStore(inner, at=1, mode="delay")
    with pytest.raises(AmbiguousPut):
        store.put_if_absent("n", b"late")
    assert store.head("n") is None
    assert store.deliver() == [None]
    assert store.get("n") == b"late"
    store = FaultyStore(inner, at=1, mode="delay")
    with pytest.raises(AmbiguousPut):
        store.put_if_absent("m", b"late")
    store.put_if_absent("m", b"another")
    assert [type(outcome) for outcome in store.deliver()] == [FileExistsError]
    assert store.get("m") == b"another"
    assert store.deliver() == []


def test_a_delayed_output_arrives_too(inner):
    store = FaultyStore(inner, at=1, mode="delay")
    with pytest.raises(StorageError), store.open_output("x") as output:
        output.write(b"data")
    assert inner.head("x") is None
    store.deliver()
    assert inner.get("x") == b"data"


def test_hanging(inner):
    hung = []
    store = FaultyStore(inner, at=1, mode="hang", on_hang=hung.append)
    assert scenario(store) == "done"
    assert hung == [Call("put", "a.parquet")]


def test_chosen_calls_and_errors(inner):
    store = FaultyStore(
        inner, at=2, matching=lambda call: call.path.startswith("_delta_log/"), error=KeyboardInterrupt, mode="after"
    )
    store.put("x", b"")
    store.put("_delta_log/a", b"")
    with pytest.raises(KeyboardInterrupt):
        store.put("_delta_log/b", b"")
    assert inner.head("_delta_log/b")
    store.put("_delta_log/c", b"")


@pytest.mark.bug("F-13")
def test_stale_listings(inner):
    store = FaultyStore(inner)
    store.put("log/0", b"")
    store.freeze_listings()
    store.put("log/1", b"")
    assert [meta.path for meta in store.list_from("log/")] == ["log/0"]
    assert [meta.path for meta in store.list_all()] == ["log/0"]
    assert store.head("log/1")
    store.thaw_listings()
    assert len(list(store.list_from("log/"))) == 2


def test_failed_assertions_are_not_faults(inner):
    def broken_law(store):
        raise AssertionError("a broken law")

    with pytest.raises(AssertionError):
        next(every_fault(lambda: inner)).attempt(broken_law)


# --- the commit rule, against every fault on the way ------------------------------------------------------------------


def commit(store, body, turns=6):
    """The same bytes at the same version until the answer is definite."""
    for version in itertools.count():
        path = f"_delta_log/{version}.json"
        for _ in range(turns):
            try:
                store.put_if_absent(path, body)
                return version
            except (FileExistsError, AmbiguousPut):
                if store.head(path):
                    break
            except StorageError:
                return None
        if store.get(path) == body:
            return version
    return None


@pytest.mark.bug("T-01")
@pytest.mark.parametrize("mode", ["before", "after", "delay"])
@pytest.mark.parametrize("others", [0, 2])
def test_a_commit_lands_once(mode, others):
    def prepared():
        store = MemoryStore(f"memory://{uuid.uuid4().hex}")
        for version in range(others):
            store.put(f"_delta_log/{version}.json", b"other")
        return store

    for run in every_fault(prepared, mode=mode):
        version = commit(run.store, b"mine")
        run.store.deliver()
        bodies = [run.inner.get(meta.path) for meta in run.inner.list_from("_delta_log/")]
        assert bodies.count(b"mine") == (version is not None)
        assert bodies.count(b"other") == others
        assert version is not None or mode == "before"
        run.inner.clear()
