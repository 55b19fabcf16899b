"""S3: lost replies, refusals, busy and lying servers, expiring credentials, forks."""

from __future__ import annotations

import gc
import os
import time
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite.exceptions import StorageError
from deltalite.storage import AmbiguousPut, open_store, s3_client
from deltalite.storage.probe import probe_conditional_put
from deltalite.testing.s3_server import Dialect, S3Server
from deltalite.testing.stores import race

pytest.importorskip("s3fs")

N = "_delta_log/00000000000000000001.json"


@pytest.fixture(scope="module")
def shared():
    with S3Server() as server:
        yield server


@pytest.fixture
def server(shared):
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def opened(shared):
    return open_store("s3://bucket/t", shared.storage_options)


@pytest.fixture
def store(opened, server, monkeypatch):
    monkeypatch.setattr(s3_client, "_FIRST_PAUSE", 0.001)
    return opened


def speaking(server, **dialect):
    server.dialect = Dialect(**dialect)
    return server


def commit(store, body, turns=8):
    """The commit rule in small: the same bytes at the same name until there is a definite answer."""
    for _ in range(turns):
        try:
            store.put_if_absent(N, body)
            return "ours"
        except FileExistsError:
            return "ours" if store.get(N) == body else "theirs"
        except AmbiguousPut:
            if store.head(N) is not None:
                return "ours" if store.get(N) == body else "theirs"
        except StorageError:
            return "refused"
    return "unknown"


# --- one request goes wrong -------------------------------------------------------------------------------------------

FAULTS = {
    "lost reply": {"action": "drop"},
    "lost request": {"action": "refuse"},
    "late request": {"action": "delay"},
    "500": {"action": "error", "status": 500},
    "500 but applied": {"action": "error_after", "status": 500},
    "503": {"action": "error", "status": 503, "code": "ServiceUnavailable"},
    "slow down": {"action": "error", "status": 503, "code": "SlowDown"},
    "slow down but applied": {"action": "error_after", "status": 503, "code": "SlowDown"},
    "409": {"action": "error", "status": 409, "code": "ConditionalRequestConflict"},
    "409 aborted": {"action": "error", "status": 409, "code": "OperationAborted"},
    "error in a 200": {"action": "error_200"},
    "slow": {"action": "slow", "seconds": 0.2},
    "408": {"action": "error", "status": 400, "code": "RequestTimeout"},
}


@pytest.mark.bug("F-10")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_commit_lands_exactly_once_whatever_happens_to_its_request(server, store, fault, times):
    server.inject(**FAULTS[fault], key=N, times=times)
    assert commit(store, b"ours") == "ours"
    assert store.get(N) == b"ours"
    server.deliver()
    assert store.get(N) == b"ours"


@pytest.mark.bug("F-10")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_commit_never_claims_what_another_writer_took(server, store, fault):
    server.put("t/" + N, b"theirs")
    server.inject(**FAULTS[fault], key=N)
    assert commit(store, b"ours") == "theirs"
    server.deliver()
    assert store.get(N) == b"theirs"


@pytest.mark.bug("F-11")
def test_a_request_that_arrives_late_does_not_replace_the_winner(server, store):
    server.inject("delay", key=N, times=2)  # the client library itself may send twice
    with pytest.raises(AmbiguousPut):
        store.put_if_absent(N, b"late")
    assert store.head(N) is None
    store.put_if_absent(N, b"another")
    assert set(server.deliver()) == {412}
    assert store.get(N) == b"another"


@pytest.mark.parametrize("status, code", [(403, "AccessDenied"), (400, "InvalidRequest"), (501, "NotImplemented")])
def test_definite_refusals(server, store, status, code):
    server.inject("error", key=N, status=status, code=code)
    with pytest.raises(StorageError, match=code) as caught:
        store.put_if_absent(N, b"x")
    assert not caught.value.transient
    assert caught.value.error_code == code
    assert len([r for r in server.requests if r[0] == "PUT"]) == 1


def test_a_conditional_put_is_one_request(server, store):
    store.put_if_absent(N, b"x")
    assert [method for method, _, _ in server.requests] == ["PUT"]


@pytest.mark.bug("T-02")
def test_requests_without_an_answer_are_not_repeated_behind_our_back(server, store):
    server.inject("drop", key=N, times=100)
    started = time.monotonic()
    with pytest.raises((AmbiguousPut, FileExistsError)):
        store.put_if_absent(N, b"x")
    assert time.monotonic() - started < 5
    assert len(server.requests) <= 2  # one of ours, one that the HTTP library may add


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.bug("F-12")
@pytest.mark.parametrize("fault", ["drop", "truncate", "error", "refuse"])
def test_reads_are_repeated(server, store, fault):
    server.put("t/x", bytes(range(256)) * 100)
    server.inject(fault, method="GET", key="t/x", times=3)
    assert store.get("x") == bytes(range(256)) * 100
    server.inject(fault, method="GET", key="t/x", times=3)
    assert store.get_range("x", 100, 56) == bytes(range(100, 156))
    server.inject(fault, method="GET", key="t/", times=3)
    assert [meta.path for meta in store.list_from("")] == ["x"]


@pytest.mark.bug("F-14")
@pytest.mark.parametrize("fault", ["truncate", "error"])
def test_reads_that_keep_failing_are_errors_and_never_shorter(server, store, fault):
    server.put("t/x", bytes(1000))
    server.inject(fault, method="GET", times=10_000)
    for read in (lambda: store.get("x"), lambda: store.get_range("x", 0, 1000), lambda: list(store.list_from(""))):
        with pytest.raises(StorageError) as caught:
            read()
        assert caught.value.transient


@pytest.mark.bug("F-12")
def test_an_error_in_a_200_is_no_empty_listing(server, store):
    server.put("t/x", b"1")
    server.inject("error_200", method="GET", key="t/")
    assert [meta.path for meta in store.list_from("")] == ["x"]
    server.inject("error_200", method="GET", times=10_000)
    with pytest.raises(StorageError):
        list(store.list_from(""))
    with pytest.raises(StorageError):
        list(store.list_all())


@pytest.mark.bug("F-12")
def test_an_object_that_changes_between_two_ranges_is_an_error(server, store):
    server.put("t/x", bytes(3_000_000))
    source = store.open_input("x")
    assert source.read(10) == bytes(10)
    server.put("t/x", b"1" * 3_000_000)
    with pytest.raises(StorageError, match="changed"):
        source.read(10)


def test_missing_buckets_and_permissions(server):
    store = open_store("s3://nowhere/t", server.storage_options)
    for call in (lambda: store.get("x"), lambda: list(store.list_from("")), lambda: store.put_if_absent("x", b"")):
        with pytest.raises(StorageError, match="NoSuchBucket") as caught:
            call()
        assert "create the bucket" in caught.value.hint
    store = open_store("s3://bucket/t", server.storage_options)
    server.inject("error", method="GET", status=403, code="AccessDenied")
    with pytest.raises(StorageError, match="AccessDenied") as caught:
        store.get("x")
    assert not caught.value.transient


def test_nobody_listens():
    options = {"endpoint_url": "http://127.0.0.1:9", "access_key_id": "a", "secret_access_key": "b", "max_retries": "1"}
    with pytest.raises(StorageError) as caught:
        open_store("s3://bucket/t", options).get("x")
    assert caught.value.transient


def test_the_tail_of_a_log_is_listed_by_start_after(server, store):
    for version in range(50):
        server.put(f"t/_delta_log/{version:020}.json", b"")
    server.requests.clear()
    tail = [meta.path[-7:] for meta in store.list_from("_delta_log/", f"{47:020}.json")]
    assert tail == ["48.json", "49.json"]
    ((_, _, query),) = server.requests
    assert query["start-after"] == f"t/_delta_log/{47:020}.json"


# --- dialects ---------------------------------------------------------------------------------------------------------


@pytest.mark.bug("T-71")
@pytest.mark.parametrize(
    "dialect",
    [
        {"condition_element": False},
        {"conflict": (409, "ConditionalRequestConflict")},
        {"conflict": (409, "ObjectAlreadyExists")},
        {"conflict": (412, "PreconditionFailed")},
    ],
    ids=str,
)
def test_every_dialect_of_taken(server, store, dialect):
    speaking(server, **dialect)
    store.put_if_absent(N, b"first")
    with pytest.raises(FileExistsError):
        store.put_if_absent(N, b"second")
    with pytest.raises(FileExistsError):
        store.put_if_absent(N, b"")
    assert store.get(N) == b"first"


@pytest.mark.bug("F-13")
@pytest.mark.parametrize(
    "dialect", [{"page_size": 3}, {"sorted_listings": False}, {"honours_start_after": False}], ids=str
)
def test_every_dialect_of_listing(server, store, dialect):
    speaking(server, **dialect)
    for number in range(20):
        server.put(f"t/log/{number:02}", b"")
    server.put("t/log/", b"")  # a marker, as consoles make for directories
    assert [meta.path for meta in store.list_from("log/")] == [f"log/{number:02}" for number in range(20)]
    assert [meta.path for meta in store.list_from("log/", "12")] == [f"log/{number:02}" for number in range(13, 20)]
    assert len(list(store.list_all())) == 20


@pytest.mark.bug("T-70")
def test_the_probe_passes_an_honest_server(server, store):
    result = probe_conditional_put(store, threads=32, keys=20)
    assert result.conforming, result
    assert result.races == 20
    assert server.objects["bucket"] == {}


@pytest.mark.bug("T-70")
@pytest.mark.parametrize("dialect", [{"honours_condition": False}, {"atomic": False}], ids=str)
def test_the_probe_finds_servers_that_lie(server, store, dialect):
    speaking(server, **dialect)
    result = probe_conditional_put(store, threads=8, keys=3)
    assert not result.conforming
    assert "not conforming" in str(result)
    assert server.objects["bucket"] == {}


@pytest.mark.bug("T-70")
def test_32_writers_race_for_20_versions(server, store):
    others = [open_store("s3://bucket/t", server.storage_options) for _ in range(3)]
    handles = [store, *others]
    for version in range(20):
        path = f"_delta_log/{version:020}.json"
        outcomes = race(32, lambda n, path=path: handles[n % 4].put_if_absent(path, b"%d" % n * 100))
        assert outcomes.count(None) == 1
        assert {type(outcome) for outcome in outcomes} == {type(None), FileExistsError}
        assert store.get(path) == b"%d" % outcomes.index(None) * 100


# --- large objects ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_parts(monkeypatch):
    from deltalite.storage import s3_upload

    monkeypatch.setattr(s3_upload, "PART_BYTES", 1000)


@pytest.mark.parametrize("fault", ["drop", "error", "error_after", "error_200"])
@pytest.mark.parametrize("where", ["start", "part", "complete"])
def test_multipart_uploads_survive_one_fault_anywhere(server, store, small_parts, fault, where):
    data = os.urandom(5_500)
    output = store.open_output("big")
    if where == "start":
        server.inject(fault, method="POST", key="t/big")
    output.write(data[:3_100])
    if where == "part":
        server.inject(fault, method="PUT", key="t/big")
    output.write(data[3_100:])
    if where == "complete":
        server.inject(fault, method="POST", key="t/big")
    assert server.get("t/big") is None
    output.close()
    assert store.get("big") == data


def test_failed_and_abandoned_uploads_leave_nothing(server, store, small_parts):
    output = store.open_output("a")
    output.write(bytes(5_000))
    assert server.uploads
    output.abort()
    assert not server.uploads
    output = store.open_output("b")
    output.write(bytes(5_000))
    server.inject("error", method="POST", status=403, code="AccessDenied")
    with pytest.raises(StorageError):
        output.close()
    assert not server.uploads
    output = store.open_output("c")
    output.write(bytes(5_000))
    del output
    gc.collect()
    deadline = time.monotonic() + 10
    while server.uploads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not server.uploads
    assert server.objects["bucket"] == {}


def test_parquet_reads_ask_for_ranges_only(server, store):
    rows = 500_000
    values = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(os.urandom(8 * rows))])
    table = pa.table({"a": values, "b": values})
    with store.open_output("p") as output:
        pq.write_table(table, output, compression="none", use_dictionary=False)
    size = len(server.get("t/p"))
    server.requests.clear()
    with store.open_input("p", size=size) as source:
        assert pq.ParquetFile(source).read(columns=["b"]).equals(table.select(["b"]))
    assert {method for method, _, _ in server.requests} == {"GET"}
    assert len(server.requests) <= 4


# --- credentials and processes ----------------------------------------------------------------------------------------


def test_expired_credentials_are_renewed(server):
    keys = iter(["first", "second", "third"])
    store = open_store(
        "s3://bucket/t",
        {key: value for key, value in server.storage_options.items() if "KEY" not in key},
        credentials=lambda: {"access_key_id": next(keys), "secret_access_key": "s"},
    )
    store.put("x", b"1")
    server.inject("error", method="GET", status=400, code="ExpiredToken")
    assert store.get("x") == b"1"
    server.inject("error", status=400, code="ExpiredToken")
    store.put_if_absent("y", b"2")
    assert list(dict.fromkeys(server.access_keys)) == ["first", "second", "third"]


def test_credentials_are_renewed_before_they_expire(server):
    keys = iter(["first", "second"])
    expiries = iter([time.time() + 30, time.time() + 3600])  # within the margin, then not
    store = open_store(
        "s3://bucket/t",
        {key: value for key, value in server.storage_options.items() if "KEY" not in key},
        credentials=lambda: ({"access_key_id": next(keys), "secret_access_key": "s"}, next(expiries)),
    )
    store.put("x", b"1")
    for _ in range(3):
        store.get("x")
    assert list(dict.fromkeys(server.access_keys)) == ["first", "second"]


def test_credentials_that_stay_expired(server):
    store = open_store("s3://bucket/t", server.storage_options, credentials=lambda: {"session_token": "t"})
    server.inject("error", method="GET", status=400, code="ExpiredToken", times=100)
    with pytest.raises(StorageError, match="ExpiredToken") as caught:
        store.get("x")
    assert "callable" in caught.value.hint
    assert len(server.requests) == 2
    broken = open_store("s3://bucket/t", server.storage_options, credentials=lambda: None)
    with pytest.raises(StorageError, match="callable failed"):
        broken.get("x")


@pytest.mark.bug("S-20")
def test_two_handles_never_share_credentials(server):
    stores = {
        key: open_store("s3://bucket/t", {**server.storage_options, "AWS_ACCESS_KEY_ID": key})
        for key in ("alice", "bob")
    }
    for key in ("alice", "bob", "alice"):
        stores[key].put(key, b"")
        assert server.access_keys[-1] == key


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_may_use_the_handle_of_its_parent(server, store):
    store.put("x", b"1")
    store._client._lock.acquire()  # as if another thread were connecting in the moment of the fork
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                store.put("y", store.get("x") + b"2")
            finally:
                os._exit(0)
    finally:
        store._client._lock.release()
    os.waitpid(child, 0)
    assert store.get("y") == b"12"
    store.put("z", b"parent goes on")


# --- without conditional puts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"conditional_put": "disabled"}, {"AWS_S3_LOCKING_PROVIDER": "dynamodb"}], ids=str)
def test_stores_without_conditional_put_refuse_to_write(server, option):
    options = {**server.storage_options, **option}
    store = open_store("s3://bucket/t", options)
    assert not store.atomic_put
    for write in (store.put, store.put_if_absent):
        with pytest.raises(StorageError, match="overwrite each other") as caught:
            write("x", b"1")
        assert "single_writer=True" in caught.value.hint
    with pytest.raises(StorageError):
        store.open_output("x")
    alone = open_store("s3://bucket/t", options, single_writer=True)
    assert not alone.atomic_put
    outcomes = race(8, lambda n: alone.put_if_absent("n", b"%d" % n))
    assert outcomes.count(None) == 1
    assert store.get("n") == b"%d" % outcomes.index(None)
