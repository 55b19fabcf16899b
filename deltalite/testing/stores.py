"""What every store must do, as a pytest mixin.

Subclass it, give a ``store`` fixture with an empty root, and a way to the same bytes that bypasses the store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self): ...
        def raw_put(self, store, path, data): ...
        def raw_get(self, store, path): ...
"""

from __future__ import annotations

import gc
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite.exceptions import StorageError, UnsafePathError
from deltalite.storage.base import FileMeta, Store
from deltalite.storage.probe import probe_conditional_put

__all__ = ["HOSTILE_NAMES", "UNSAFE_PATHS", "StoreContract", "race"]

HOSTILE_NAMES = (
    "plain.json",
    "with space.json",
    "percent%20literal",
    "100%",
    "a+b",
    "hash#1",
    "what?.x",
    "pipe|d",
    "ünïcode-値-🎈",
    "quote'\"",
    "day=2026-11-20 10%3A00/part-0.parquet",
    "a&b;c=d,e",
    "back`tick$(x)",
    "[brackets]{*}",
    "...dots",
    ".hidden",
)
"""Names that some layer below may want to interpret."""

UNSAFE_PATHS = (
    "", "/", ".", "..", "../x", "a/../x", "a/..", "/etc/hostname", "a//b", "a/./b", "a/", "//host/x", "nul\0x", "\ud800"
)  # fmt: skip
"""Paths that are not plain names inside a table."""


def race(threads: int, action) -> list:
    """Run ``action(number)`` in so many threads at once; returns their results or exceptions."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> object:
        barrier.wait()
        try:
            return action(number)
        except Exception as error:  # the outcome is what is asked for
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


class StoreContract:
    """The contract of :class:`deltalite.storage.base.Store`."""

    hostile_names = HOSTILE_NAMES

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def raw_put(self, store: Store, path: str, data: bytes) -> None:
        """Write as another client would."""
        raise NotImplementedError

    def raw_get(self, store: Store, path: str) -> bytes | None:
        """Read as another client would; ``None`` when missing."""
        raise NotImplementedError

    def other_handle(self, store: Store) -> Store:
        """A second handle on the same root."""
        return pickle.loads(pickle.dumps(store))  # noqa: S301  (our own bytes)

    # --- whole objects ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
    def test_put_then_get(self, store, size):
        data = bytes(range(256)) * (size // 256 + 1)
        store.put("a/b/object.bin", data[:size])
        assert store.get("a/b/object.bin") == data[:size]
        assert self.raw_get(store, "a/b/object.bin") == data[:size]

    def test_put_replaces(self, store):
        store.put("x", b"old and long")
        store.put("x", b"new")
        assert store.get("x") == b"new"
        assert [meta.path for meta in store.list_all()] == ["x"]

    def test_put_of_views_and_arrow_buffers(self, store):
        store.put("view", memoryview(b"abc")[1:])
        store.put_if_absent("bytearray", bytearray(b"xyz"))
        assert (store.get("view"), store.get("bytearray")) == (b"bc", b"xyz")

    @pytest.mark.bug("T-43")
    def test_names_are_taken_literally(self, store):
        for name in self.hostile_names:
            store.put(name, name.encode())
            assert store.get(name) == name.encode(), name
            assert self.raw_get(store, name) == name.encode(), name
            assert store.head(name) is not None, name
            assert store.open_input(name).read() == name.encode()
        assert sorted(meta.path for meta in store.list_all()) == sorted(self.hostile_names)
        assert sorted(store.delete_many(self.hostile_names)) == sorted(self.hostile_names)
        assert list(store.list_all()) == []

    def test_missing_objects(self, store):
        for read in (store.get, store.open_input, lambda path: store.get_range(path, 0, 1)):
            with pytest.raises(FileNotFoundError):
                read("no/such/object")
        store.put("file", b"x")
        with pytest.raises(FileNotFoundError):
            store.get("file/below")
        assert store.head("no/such/object") is None
        assert store.head("file/below") is None
        with pytest.raises(FileNotFoundError) as caught:
            store.get("gone")
        assert not isinstance(caught.value, StorageError)

    def test_a_directory_is_not_an_object(self, store):
        store.put("dir/file", b"x")
        assert store.head("dir") is None
        with pytest.raises((FileNotFoundError, StorageError)):
            store.get("dir")

    @pytest.mark.bug("S-01")
    @pytest.mark.parametrize("path", UNSAFE_PATHS)
    def test_paths_never_leave_the_root(self, store, path):
        calls = [
            lambda: store.get(path),
            lambda: store.get_range(path, 0, 1),
            lambda: store.put(path, b""),
            lambda: store.put_if_absent(path, b""),
            lambda: store.head(path),
            lambda: store.delete_many(["fine", path]),
            lambda: store.open_input(path),
            lambda: store.open_output(path),
            lambda: store.local_path(path),
        ]
        store.put("fine", b"")
        for call in calls:
            with pytest.raises(UnsafePathError):
                call()
        if path.strip("/"):
            for list_ in (store.list_from, store.list_all):
                with pytest.raises(UnsafePathError):
                    list(list_(path if not path.endswith("/") else path + "../"))
        assert store.head("fine")

    # --- ranges -------------------------------------------------------------------------------------------------------

    def test_get_range_gives_exactly_what_was_asked(self, store):
        data = bytes(range(200))
        store.put("r", data)
        for start, length in ((0, 200), (0, 1), (199, 1), (7, 50), (0, 0), (200, 0)):
            assert store.get_range("r", start, length) == data[start : start + length]

    def test_a_short_range_is_an_error_never_fewer_bytes(self, store):
        store.put("r", bytes(100))
        for start, length in ((0, 101), (99, 2), (100, 1), (500, 10)):
            with pytest.raises(StorageError):
                store.get_range("r", start, length)

    # --- put-if-absent ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"first"])
    def test_put_if_absent_never_replaces(self, store, data):
        store.put_if_absent("_delta_log/0.json", data)
        for later in (b"", b"second"):
            with pytest.raises(FileExistsError):
                store.put_if_absent("_delta_log/0.json", later)
        assert store.get("_delta_log/0.json") == data

    def test_put_if_absent_sees_what_other_clients_wrote(self, store):
        assert store.head("n.json") is None
        self.raw_put(store, "n.json", b"theirs")
        with pytest.raises(FileExistsError):
            store.put_if_absent("n.json", b"ours")
        assert store.get("n.json") == b"theirs"

    def test_put_if_absent_after_delete(self, store):
        store.put_if_absent("n", b"1")
        store.delete_many(["n"])
        store.put_if_absent("n", b"2")
        assert store.get("n") == b"2"

    @pytest.mark.bug("T-70")
    def test_of_many_racing_creators_one_wins(self, store):
        if not store.atomic_put:
            pytest.skip("this store promises nothing to concurrent writers")
        handles = [store, self.other_handle(store)]
        for key in range(6):
            path = f"race/{key}"
            outcomes = race(8, lambda n, path=path: handles[n % 2].put_if_absent(path, f"writer {n}".encode() * 50))
            winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
            assert len(winners) == 1, outcomes
            assert all(isinstance(outcome, FileExistsError) for outcome in outcomes if outcome is not None), outcomes
            assert store.get(path) == f"writer {winners[0]}".encode() * 50

    @pytest.mark.bug("T-71")
    def test_the_probe_agrees_with_the_promise(self, store):
        result = probe_conditional_put(store, threads=4, keys=3)
        assert result.conforming or not store.atomic_put, result
        assert list(store.list_all()) == []

    # --- listings -----------------------------------------------------------------------------------------------------

    def test_list_from(self, store):
        names = ["00.json", "01.json", "01.json.crc", "02.json", "10.checkpoint.parquet", "_last_checkpoint", "é"]
        for name in reversed(names):
            store.put(f"_delta_log/{name}", name.encode())
        store.put("_delta_log/_sidecars/x.parquet", b"")
        store.put("_delta_log2/00.json", b"")
        store.put("part.parquet", b"")
        listed = list(store.list_from("_delta_log/"))
        assert [meta.path for meta in listed] == [f"_delta_log/{name}" for name in names]
        assert [meta.size for meta in listed] == [len(name.encode()) for name in names]
        for position, name in enumerate(names):
            rest = [f"_delta_log/{later}" for later in names[position + 1 :]]
            assert [meta.path for meta in store.list_from("_delta_log/", name)] == rest
            assert [meta.path for meta in store.list_from("_delta_log", f"_delta_log/{name}")] == rest
        assert next(store.list_from("_delta_log/", "01")).path == "_delta_log/01.json"
        assert [meta.path for meta in store.list_from("")] == ["part.parquet"]

    def test_listing_what_is_not_there(self, store):
        assert list(store.list_from("_delta_log/")) == []
        assert list(store.list_all()) == []
        assert list(store.list_all("nothing/")) == []

    @pytest.mark.bug("F-13")
    def test_listings_are_never_cached(self, store):
        store.put("_delta_log/0.json", b"")
        for version in range(1, 4):
            assert [meta.path for meta in store.list_from("_delta_log/")][-1] == f"_delta_log/{version - 1}.json"
            assert store.head(f"_delta_log/{version}.json") is None
            self.raw_put(store, f"_delta_log/{version}.json", b"theirs")
            assert store.head(f"_delta_log/{version}.json") is not None
            assert store.get(f"_delta_log/{version}.json") == b"theirs"

    def test_list_all(self, store):
        paths = {"a", "b/c", "b/d/e", "b/d/f", "b2/g", "_delta_log/0.json"}
        for path in paths:
            store.put(path, path.encode())
        assert {(meta.path, meta.size) for meta in store.list_all()} == {(path, len(path)) for path in paths}
        assert {meta.path for meta in store.list_all("b")} == {"b/c", "b/d/e", "b/d/f"}
        assert {meta.path for meta in store.list_all("b/d/")} == {"b/d/e", "b/d/f"}

    def test_long_listings_are_complete_and_ordered(self, store):
        names = [f"{version:05}.json" for version in range(1203)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self.raw_put(store, f"log/{name}", b"x"), names))
        assert [meta.path for meta in store.list_from("log/")] == [f"log/{name}" for name in names]
        assert [meta.path for meta in store.list_from("log/", names[1100])] == [f"log/{name}" for name in names[1101:]]
        assert len(list(store.list_all())) == len(names)
        assert len(store.delete_many(f"log/{name}" for name in names)) == len(names)
        assert list(store.list_all()) == []

    def test_head(self, store):
        before = time.time() * 1000 - 5_000
        store.put("dir/file", b"12345")
        meta = store.head("dir/file")
        assert meta == FileMeta("dir/file", 5, meta.modified_ms)
        assert before < meta.modified_ms < time.time() * 1000 + 5_000
        (listed,) = store.list_from("dir/")
        assert listed[:2] == meta[:2]
        assert abs(listed.modified_ms - meta.modified_ms) < 1_000  # HTTP dates have no fractions

    # --- deletion -----------------------------------------------------------------------------------------------------

    @pytest.mark.bug("T-55")
    def test_delete_many_reports_what_is_gone(self, store):
        for path in ("a", "b/c", "b/d", "keep"):
            store.put(path, b"x")
        assert sorted(store.delete_many(["a", "b/c", "never-was"])) == ["a", "b/c", "never-was"]
        assert {meta.path for meta in store.list_all()} == {"b/d", "keep"}
        assert self.raw_get(store, "a") is None
        assert store.delete_many([]) == []

    # --- files --------------------------------------------------------------------------------------------------------

    def test_an_output_is_invisible_until_closed(self, store):
        output = store.open_output("data/part.bin")
        assert output.write(b"abc") == 3
        assert output.tell() == 3
        assert store.head("data/part.bin") is None
        assert self.raw_get(store, "data/part.bin") is None
        output.close()
        output.close()
        output.abort()
        assert output.closed
        assert store.get("data/part.bin") == b"abc"

    def test_an_aborted_output_leaves_nothing(self, store):
        output = store.open_output("a.bin")
        output.write(b"abc")
        output.abort()
        output.close()
        with pytest.raises(RuntimeError, match="stop"), store.open_output("b.bin") as output:
            output.write(b"abc")
            raise RuntimeError("stop")
        abandoned = store.open_output("c.bin")
        abandoned.write(b"abc")
        del abandoned, output
        gc.collect()
        assert list(store.list_all()) == []

    def test_a_large_output(self, store):
        block = bytes(range(256)) * 4096
        with store.open_output("large.bin") as output:
            for number in range(25):
                output.write(number.to_bytes(4, "big") + block)
        assert store.head("large.bin").size == 25 * (len(block) + 4)
        data = store.get("large.bin")
        for number in range(25):
            start = number * (len(block) + 4)
            assert data[start : start + 4] == number.to_bytes(4, "big")
            assert data[start + 4 : start + 4 + len(block)] == block

    @pytest.mark.parametrize("rows", [10, 400_000])
    def test_parquet_goes_in_and_out(self, store, rows):
        values = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(bytes(range(8)) * rows)])
        table = pa.table({"a": values, "b": values})
        with store.open_output("p.parquet") as output, pq.ParquetWriter(output, table.schema) as writer:
            writer.write_table(table, row_group_size=rows // 2)
        size = store.head("p.parquet").size
        for hint in (None, size):
            with store.open_input("p.parquet", size=hint) as source:
                file = pq.ParquetFile(source)
                assert file.read(columns=["b"], use_threads=True).equals(table.select(["b"]))
                assert file.read_row_group(1).equals(table.slice(rows // 2, rows - rows // 2))

    def test_random_access(self, store):
        data = bytes(range(256)) * 20_000
        store.put("r.bin", data)
        with store.open_input("r.bin") as source:
            assert source.size() == len(data)
            for start, length in ((0, 10), (5_000_000, 300), (len(data) - 5, 5), (77, 1_000_000)):
                source.seek(start)
                assert source.read(length) == data[start : start + length]
            assert source.read_at(16, 4_000_000) == data[4_000_000:4_000_016]

    # --- handles ------------------------------------------------------------------------------------------------------

    def test_handles_pickle(self, store):
        store.put("x", b"1")
        other = self.other_handle(store)
        assert other.get("x") == b"1"
        assert (other.root, other.atomic_put, other.is_local) == (store.root, store.atomic_put, store.is_local)
        other.put("y", b"2")
        assert store.get("y") == b"2"

    def test_threads_share_a_handle(self, store):
        def work(number: int) -> None:
            for turn in range(5):
                store.put(f"t/{number}/{turn}", f"{number}-{turn}".encode())
                assert store.get(f"t/{number}/{turn}") == f"{number}-{turn}".encode()
                assert len(list(store.list_from(f"t/{number}/"))) == turn + 1

        assert race(8, work) == [None] * 8

    def test_sync_is_always_allowed(self, store):
        store.sync()
        store.put("x", b"1")
        store.sync()
        store.sync()

    def test_local_path_goes_with_is_local(self, store):
        assert (store.local_path("x") is not None) == store.is_local
        assert repr(store.root) in repr(store)
