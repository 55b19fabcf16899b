"""Data files: what is read back is what was written, whatever the cuts; and nothing stays of a write that failed."""

from __future__ import annotations

import threading
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_tables import (
    delta,
    files_in,
    memory_store,
    open_file,
    reader,
    rows_of,
    small_groups,
    spec,
    stats,
    struct,
    write,
)

from deltalite.exceptions import ConstraintViolation, InvalidArgumentError, SchemaMismatchError, UnsupportedTypeError
from deltalite.model.arrow import type_to_arrow
from deltalite.model.types import ArrayType, Field, MapType
from deltalite.model.write_spec import ParquetOptions
from deltalite.storage.local import LocalStore
from deltalite.testing.faults import CountingStore, FaultyStore
from deltalite.write.files import write_files

EVERYTHING = struct(
    ("id", "long"), ("i", "integer"), ("s", "short"), ("y", "byte"), ("f", "float"), ("d", "double"),
    ("text", "string"), ("bytes", "binary"), ("flag", "boolean"), ("day", "date"), ("at", "timestamp"),
    ("local", "timestamp_ntz"), ("small", "decimal(5,2)"), ("big", "decimal(38,4)"), ("none", "void"),
    ("tags", ArrayType("string")), ("props", MapType("string", "long")),
    ("nested", struct(("a", "long"), ("b", struct(("c", ArrayType("integer")), ("v", "void"))))),
)  # fmt: skip
ARROW = pa.schema([(f.name, type_to_arrow(f.type)) for f in EVERYTHING.fields])
MICROS = st.integers(-(10**15), 10**15)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.none(), strategy)


def array_of(kind: pa.DataType, values: list) -> pa.Array:
    if pa.types.is_timestamp(kind):
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    size = draw(st.integers(0, 25))
    innermost = st.fixed_dictionaries({"c": maybe(st.lists(st.integers(0, 3), max_size=2))})
    inner = st.fixed_dictionaries({"a": maybe(st.integers(0, 9)), "b": maybe(innermost)})
    pairs = st.dictionaries(st.text(max_size=2), maybe(st.integers(0, 9)), max_size=2).map(lambda m: list(m.items()))
    small = st.integers(-9, 9)
    strategies = {
        "id": st.integers(-(2**63), 2**63 - 1), "i": small, "s": small, "y": small,
        "f": st.floats(width=32, allow_nan=False), "d": st.floats(allow_nan=False), "text": st.text(max_size=5),
        "bytes": st.binary(max_size=4), "flag": st.booleans(), "day": st.dates(), "at": MICROS, "local": MICROS,
        "small": st.decimals(-999, 999, places=2), "big": st.decimals(-999, 999, places=4), "none": st.none(),
        "tags": st.lists(maybe(st.text(max_size=2)), max_size=3),
        "props": pairs,
        "nested": inner,
    }  # fmt: skip
    columns = [array_of(f.type, draw(st.lists(maybe(strategies[f.name]), min_size=size, max_size=size))) for f in ARROW]
    return pa.Table.from_arrays(columns, schema=ARROW)


def without_void(row: dict) -> dict:
    """A row as it comes back: void columns are in no file (trap 68)."""
    row = {name: value for name, value in row.items() if name != "none"}
    if row["nested"] and row["nested"]["b"]:
        row["nested"] = {**row["nested"], "b": {"c": row["nested"]["b"]["c"]}}
    return row


@settings(deadline=None, max_examples=30)
@given(tables(), st.integers(1, 9), st.integers(1, 9))
def test_what_is_read_is_what_was_written(table: pa.Table, batch_rows: int, group_rows: int) -> None:
    store = memory_store()
    write_spec = spec(EVERYTHING, parquet=small_groups(group_rows))
    adds = write_files(store, write_spec, reader(table.to_batches(max_chunksize=batch_rows), table.schema))
    assert rows_of(store, write_spec, adds) == [without_void(row) for row in table.to_pylist()]
    assert sum(stats(add)["numRecords"] for add in adds) == table.num_rows
    assert files_in(store) == sorted(add.path for add in adds)
    assert all(store.head(add.path).size == add.size for add in adds)


def test_a_stitched_file_is_one_that_other_engines_read(tmp_path) -> None:
    """Row groups encoded apart make a file like any other: footer offsets, statistics, checksums."""
    data = pa.table({"a": range(1000), "s": [f"value {i % 7}" for i in range(1000)], "f": [i / 3 for i in range(1000)]})
    store = LocalStore(str(tmp_path), durability="relaxed")
    (add,) = write(store, spec(delta(data), parquet=small_groups(64)), data.to_batches(max_chunksize=50))
    path = str(tmp_path / add.path)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    assert file.metadata.num_row_groups > 5
    assert file.metadata.num_rows == 1000
    assert file.read().equals(data)
    for i in range(file.metadata.num_row_groups):
        assert file.read_row_group(i).num_rows == file.metadata.row_group(i).num_rows
    rows = duckdb.execute("SELECT a, s, f FROM read_parquet(?) ORDER BY a", [path]).fetchall()
    assert rows == list(zip(*(data[name].to_pylist() for name in ("a", "s", "f")), strict=True))
    assert duckdb.execute("SELECT s FROM read_parquet(?) WHERE a = 777", [path]).fetchall() == [("value 0",)]
    bounds = [file.metadata.row_group(i).column(0).statistics for i in range(file.metadata.num_row_groups)]
    assert [(b.min, b.max + 1) for b in bounds][0][0] == 0 and bounds[-1].max == 999


@pytest.mark.trap(70)
@pytest.mark.trap(59)
def test_trap_70_physical_form_of_the_file() -> None:
    table = struct(
        ("at", "timestamp"), ("local", "timestamp_ntz"), ("d9", "decimal(9,2)"), ("d38", "decimal(38,2)"),
        ("s", struct(("x", ArrayType("long")),)), ("y", "byte"),
    )  # fmt: skip
    physical = struct(
        Field("col-a", "timestamp", metadata={"parquet.field.id": 1}),
        Field("col-b", "timestamp_ntz", metadata={"parquet.field.id": 2}),
        Field("col-c", "decimal(9,2)", metadata={"parquet.field.id": 3}),
        Field("col-d", "decimal(38,2)", metadata={"parquet.field.id": 4}),
        Field("col-e", struct(Field("col-f", ArrayType("long"), metadata={"parquet.field.id": 6})),
              metadata={"parquet.field.id": 5}),
        Field("col-g", "byte", metadata={"parquet.field.id": 7}),
    )  # fmt: skip
    store = memory_store()
    arrow = pa.schema([(f.name, type_to_arrow(f.type)) for f in table.fields])
    row = {"at": 0, "local": 0, "d9": None, "d38": None, "s": {"x": [1]}, "y": 1}
    (add,) = write(store, spec(table, physical=physical), pa.RecordBatch.from_pylist([row, row], arrow))
    file = open_file(store, add)
    text = str(file.schema)
    assert "int64 field_id=1 col-a (Timestamp(isAdjustedToUTC=true, timeUnit=microseconds" in text
    assert "int64 field_id=2 col-b (Timestamp(isAdjustedToUTC=false, timeUnit=microseconds" in text
    assert "int32 field_id=3 col-c (Decimal(precision=9, scale=2))" in text
    assert "field_id=4 col-d (Decimal(precision=38, scale=2))" in text
    assert "group field_id=5 col-e" in text and "group field_id=6 col-f (List)" in text
    assert "list {" in text and "element;" in text
    assert "int32 field_id=7 col-g (Int(bitWidth=8, isSigned=true))" in text
    assert "int96" not in text.lower()
    assert b"ARROW:schema" not in (file.metadata.metadata or {})
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert add.path.endswith(".zstd.parquet")


@pytest.mark.trap(68)
def test_trap_68_void_that_no_file_can_hold_is_refused() -> None:
    for table in (struct(("x", "long"), ("s", struct(("v", "void")))), struct(("x", "long"), ("l", ArrayType("void")))):
        with pytest.raises(UnsupportedTypeError):
            write(memory_store(), spec(table), pa.table({"x": [1]}))
    with pytest.raises(InvalidArgumentError, match="no column is left"):
        write(memory_store(), spec(struct(("x", "long")), ["x"]), pa.table({"x": [1]}))


def test_files_roll_at_the_target_size_and_none_is_tiny() -> None:
    data = pa.table({"id": range(200_000), "x": np.random.default_rng(0).random(200_000)})
    store = memory_store()
    write_spec = spec(delta(data), target_file_size=300_000)
    adds = write(store, write_spec, data.to_batches(max_chunksize=10_000))
    assert len(adds) > 3
    assert all(add.size >= 300_000 for add in adds[:-1])
    assert all(add.size < 600_000 for add in adds)
    ids = [stats(add)["minValues"]["id"] for add in adds]
    assert ids == sorted(ids), "files come in the order of their rows"
    ranges = [(stats(a)["minValues"]["id"], stats(a)["maxValues"]["id"]) for a in adds]
    assert all(first[1] < second[0] for first, second in zip(ranges, ranges[1:], strict=False)), "and do not overlap"


def test_no_rows_make_no_file_but_are_still_compared_with_the_table() -> None:
    store = memory_store()
    empty = pa.table({"id": pa.array([], pa.int64())})
    assert write(store, spec(struct(("id", "long"))), empty) == []
    assert files_in(store) == []
    with pytest.raises(SchemaMismatchError):
        write(store, spec(struct(("other", "long"))), empty)


def test_names_tell_the_transaction_and_never_repeat() -> None:
    store = memory_store()
    write_spec = spec(struct(("id", "long")), txn_id="11111111-2222-3333-4444-555555555555", task=(3, 9))
    paths = {write(store, write_spec, pa.table({"id": [1]}))[0].path for _ in range(5)}
    assert len(paths) == 5
    assert all(path.startswith("part-00003-11111111-2222-3333-4444-555555555555-") for path in paths)


# -- failures ----------------------------------------------------------------------------------------------------------


def partitioned_batches(rows: int = 400, parts: int = 4):
    return [pa.record_batch([pa.array([i % parts for i in range(n, n + 50)]), pa.array(range(n, n + 50))],
                            names=["p", "id"]) for n in range(0, rows, 50)]  # fmt: skip


@pytest.mark.bug("F-06")
@pytest.mark.parametrize("operation", ["open_output", "publish"])
@pytest.mark.parametrize("mode", ["before", "after"])
def test_nothing_stays_visible_when_the_nth_file_fails(operation: str, mode: str) -> None:
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], parquet=small_groups(60), target_file_size=700)
    total = CountingStore(memory_store())
    write(total, write_spec, partitioned_batches())
    calls = total.count(operation)
    assert calls >= 4
    for n in range(1, calls + 1):
        inner = memory_store()
        store = FaultyStore(inner, at=n, mode=mode, counts="any", matching=lambda call: call.op == operation,
                            error=OSError(28, "no space left"))  # fmt: skip
        with pytest.raises(OSError):
            write(store, write_spec, partitioned_batches())
        assert files_in(inner) == []
        adds = write(inner, write_spec, partitioned_batches())  # with space again, the same write works
        assert len(rows_of(inner, write_spec, adds)) == 400


@pytest.mark.bug("F-06")
def test_a_write_call_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch) -> None:
    store = LocalStore(str(tmp_path / "t"), durability="relaxed")
    real, calls = store.open_output, iter(range(1000))

    def failing(path: str, **options):
        output = real(path, **options)
        write_once = output.write

        def write_bytes(data):
            if next(calls) == 7:
                raise OSError(28, "No space left on device")
            return write_once(data)

        output.write = write_bytes
        return output

    monkeypatch.setattr(store, "open_output", failing)
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], parquet=small_groups(60))
    with pytest.raises(OSError, match="No space"):
        write(store, write_spec, partitioned_batches())
    assert [p for p in (tmp_path / "t").rglob("*") if p.is_file()] == [], "no partial and no temporary file"


def test_a_source_that_fails_late_leaves_nothing() -> None:
    store = memory_store()
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], parquet=small_groups(10))

    def rows():
        yield from partitioned_batches()
        raise RuntimeError("the source is gone")

    source = pa.RecordBatchReader.from_batches(partitioned_batches()[0].schema, rows())
    with pytest.raises(RuntimeError, match="the source is gone"):
        write_files(store, write_spec, source)
    assert files_in(store) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("deltalite-write") and t.is_alive()]


def test_a_violation_in_the_last_batch_leaves_nothing() -> None:
    store = memory_store()
    table = struct(("p", "long"), Field("id", "long", False))
    bad = pa.record_batch([pa.array([1, 1]), pa.array([5, None], pa.int64())], names=["p", "id"])
    with pytest.raises(ConstraintViolation, match="NOT NULL") as caught:
        write(store, spec(table, ["p"], parquet=small_groups(10)), [*partitioned_batches(), bad])
    assert caught.value.count == 1 and caught.value.rows == [{"p": 1, "id": None}]
    assert files_in(store) == []


def test_an_interrupt_leaves_nothing() -> None:
    store = memory_store()

    def rows():
        yield from partitioned_batches()
        raise KeyboardInterrupt

    source = pa.RecordBatchReader.from_batches(partitioned_batches()[0].schema, rows())
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], parquet=small_groups(10))
    with pytest.raises(KeyboardInterrupt):
        write_files(store, write_spec, source)
    assert files_in(store) == []


# -- bounds ------------------------------------------------------------------------------------------------------------


class OpenFiles(CountingStore):
    """Counts outputs that are open at the same time."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.now = self.most = 0

    def open_output(self, path: str, *, durable: bool = True):
        output = super().open_output(path, durable=durable)
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        publish, discard = output._publish, output._discard

        def closed(effect):
            with self._lock:
                self.now -= 1
            effect()

        output._publish, output._discard = lambda: closed(publish), lambda: closed(discard)
        return output


def test_open_files_are_bounded_with_many_partitions(monkeypatch) -> None:
    monkeypatch.setattr("deltalite.write.encode.OPEN_FILES_REMOTE", 5)
    store = OpenFiles(memory_store())
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], parquet=small_groups(20))
    adds = write(store, write_spec, partitioned_batches(rows=5000, parts=60))
    assert store.most <= 5 + 4 + 1, "those that wait for rows, one a worker, and the one that makes room"
    assert sorted(row["id"] for row in rows_of(store, write_spec, adds)) == list(range(5000))
    assert store.now == 0


@pytest.mark.parametrize("parts", [0, 3, 200])
def test_memory_is_bounded_whatever_comes_in(parts: int) -> None:
    """100 MB of rows through a budget of 4 MB; what pyarrow holds at most stays far below the input."""
    rows, columns = 20_000, 8

    def batches():
        for n in range(80):
            ids = np.arange(n * rows, n * rows + rows)
            arrays = [pa.array(ids % max(parts, 1)), *(pa.array(ids + i) for i in range(columns))]
            yield pa.record_batch(arrays, names=["p", *(f"x{i}" for i in range(columns))])

    table = struct(*((name, "long") for name in ["p", *(f"x{i}" for i in range(columns))]))
    write_spec = spec(table, ["p"] if parts else [], memory_budget=4 << 20, target_file_size=2 << 20)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], pa.total_allocated_bytes())

    before = pa.total_allocated_bytes()
    watcher = threading.Thread(target=watch)
    watcher.start()
    first = next(batches())
    store = memory_store()
    try:
        adds = write_files(store, write_spec, pa.RecordBatchReader.from_batches(first.schema, batches()))
    finally:
        done.set()
        watcher.join()
        store.clear()
    assert sum(stats(add)["numRecords"] for add in adds) == 80 * rows
    assert peak[0] - before < 90 << 20


def test_specs_travel_between_processes() -> None:
    import pickle

    write_spec = spec(EVERYTHING, parquet=ParquetOptions(compression="snappy"))
    write(memory_store(), write_spec, pa.table({"id": [1]}))
    copy = pickle.loads(pickle.dumps(write_spec))
    assert copy == write_spec and copy.derived == {}
    assert write(memory_store(), replace(copy, txn_id="t"), pa.table({"id": [1]}))[0].path.endswith(".snappy.parquet")
