"""Tables on S3, by the tests' own server: requests counted, replies lost, dialects spoken, writers racing."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import CommitOutcomeUnknown
from deltalite.storage import open_store
from deltalite.testing.faults import CountingStore
from deltalite.testing.s3_server import Dialect, S3Server

pytest.importorskip("s3fs")

ROWS = pa.table({"part": ["a", "b"], "x": pa.array([1, 2], pa.int64())})


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture
def place(server: S3Server) -> str:
    return f"s3://bucket/{uuid.uuid4()}"


def rows(table: DeltaTable) -> Counter[Any]:
    return Counter(tuple(r.values()) for r in table.to_pyarrow_table(columns=["part", "x"]).to_pylist())


def test_a_life_on_s3(server: S3Server, place: str) -> None:
    options = server.storage_options
    interval = {"delta.checkpointInterval": "10"}
    write_deltalake(place, ROWS, partition_by="part", storage_options=options, configuration=interval)
    table = DeltaTable(place, storage_options=options)
    for _ in range(11):
        table.append(ROWS)
    table.overwrite(ROWS.slice(0, 1), predicate="part = 'a'")
    fresh = DeltaTable(place, storage_options=options)
    assert fresh.version() == 12 and rows(fresh) == Counter({("a", 1): 1, ("b", 2): 12})
    assert rows(fresh.at(3)) == Counter({("a", 1): 4, ("b", 2): 4})
    assert fresh.detail()["checkpoint_version"] == 10
    assert [e["version"] for e in fresh.history(2)] == [12, 11]


def test_requests_are_few(server: S3Server, place: str) -> None:
    """Open at a checkpoint: one list and two reads. Append on an open handle: one data file, one commit."""
    store = CountingStore(open_store(place, server.storage_options))
    write_deltalake(store, ROWS, configuration={"delta.checkpointInterval": "10"})
    for _ in range(10):
        write_deltalake(store, ROWS, mode="append")
    assert DeltaTable(store).detail()["checkpoint_version"] == 10

    store.calls.clear()
    table = DeltaTable(store)
    assert store.count("list_from") == 1
    assert store.count("get", "get_range", "head", "open_input") <= 2

    store.calls.clear()
    table.append(ROWS, post_commithook_properties=None)
    assert store.count("list_from", "list_all", "get", "get_range", "head", "open_input") <= 1
    log_puts = [call.path for call in store.calls if call.op in ("put", "put_if_absent")]
    assert log_puts == ["_delta_log/00000000000000000011.json", "_delta_log/00000000000000000011.crc"]
    assert store.count("publish") == 1


@pytest.mark.bug("T-01")
@pytest.mark.parametrize("action", ["drop", "error_after"])
@pytest.mark.parametrize("verb", ["append", "overwrite"])
def test_a_lost_reply_of_the_commit(server: S3Server, place: str, action: Any, verb: str) -> None:
    options = server.storage_options
    write_deltalake(place, ROWS, storage_options=options)
    table = DeltaTable(place, storage_options=options)
    server.inject(action, method="PUT", key="_delta_log/00000000000000000001.json")
    result = getattr(table, verb)(ROWS)
    assert result.version == 1
    fresh = DeltaTable(place, storage_options=options)
    assert fresh.version() == 1
    assert fresh.count() == (4 if verb == "append" else 2)


@pytest.mark.parametrize(
    "dialect",
    [
        Dialect(condition_element=False),
        Dialect(conflict=(409, "ConditionalRequestConflict")),
        Dialect(page_size=2),
        Dialect(honours_start_after=False),
    ],
    ids=["412 without condition", "409", "short pages", "no start-after"],
)
def test_dialects(dialect: Dialect) -> None:
    with S3Server(dialect=dialect) as server:
        options = server.storage_options
        place = "s3://bucket/t"
        write_deltalake(place, ROWS, storage_options=options)
        stale = DeltaTable(place, storage_options=options)
        for _ in range(3):
            write_deltalake(place, ROWS, mode="append", storage_options=options)
        assert stale.append(ROWS).version == 4, "a taken version is a lost race, not an error"
        assert DeltaTable(place, storage_options=options).count() == 10


@pytest.mark.bug("T-16")
def test_racing_writers_all_land(server: S3Server, place: str) -> None:
    options = server.storage_options
    write_deltalake(place, ROWS, storage_options=options)

    def append(_: int) -> int:
        return write_deltalake(place, ROWS, mode="append", storage_options=options).version

    with ThreadPoolExecutor(8) as pool:
        versions = sorted(pool.map(append, range(24)))
    assert versions == list(range(1, 25))
    assert DeltaTable(place, storage_options=options).count() == 50


def test_a_server_that_stays_silent_leaves_the_outcome_open(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    from deltalite.txn import commit as commit_module

    clock = iter(range(0, 10**6, 10))
    world = dataclasses.replace(commit_module.WORLD, sleep=lambda _: None, monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(commit_module, "WORLD", world)
    place = "s3://bucket/t"
    with S3Server() as server:
        options = server.storage_options
        write_deltalake(place, ROWS, storage_options=options)
        server.inject("error", method="PUT", key="_delta_log/00000000000000000001.json", times=1000)
        with pytest.raises(CommitOutcomeUnknown) as caught:
            write_deltalake(place, ROWS, mode="append", storage_options=options)
        fresh = DeltaTable(place, storage_options=options)
        assert fresh.resolve(caught.value.txn_id) is None and fresh.count() == 2
