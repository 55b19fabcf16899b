"""The budget, the source of a MERGE in memory and in a temporary file, and rows in parts."""

from __future__ import annotations

import datetime as dt
import errno
import math
import os
import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.engine.spill import Budget, Source, available_memory
from deltalite.engine.temporary import BatchFile, Partitions
from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.expr.bind import bind
from deltalite.model.types import Field, PrimitiveType, Schema


def test_limits():
    assert Budget(1000).limit == 1000
    assert Budget("512MB").limit == 512 << 20 and Budget("1.5 GiB").limit == 3 << 29
    assert 0 < Budget().limit <= available_memory()
    for wrong in (0, -1, "many", "0MB", ""):
        with pytest.raises(InvalidArgumentError, match="no amount of memory"):
            Budget(wrong)


def test_the_directory_is_there(tmp_path):
    with pytest.raises(InvalidArgumentError, match="no directory"):
        Budget(1, str(tmp_path / "missing"))


ROWS = [
    {"i": 1, "s": "a", "n": {"x": [1, 2]}, "t": dt.datetime(2024, 1, 1)},
    {"i": None, "s": None, "n": None, "t": None},
    {"i": -7, "s": "long " * 50, "n": {"x": None}, "t": dt.datetime(1, 1, 1)},
]
SCHEMA = pa.schema(
    [
        pa.field("i", pa.int64(), False),
        ("s", pa.dictionary(pa.int32(), pa.string())),
        ("n", pa.struct([("x", pa.list_(pa.int32()))])),
        ("t", pa.timestamp("us")),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(ROWS), max_size=20), max_size=6),
    st.sampled_from([1, 5000, 1 << 30]),
    st.data(),
)
def test_rows_are_read_as_they_came(parts, limit, data):
    batches = [pa.RecordBatch.from_pylist(part, SCHEMA) for part in parts]
    rows = [row for part in parts for row in part]
    budget = Budget(limit)
    with Source.of(pa.RecordBatchReader.from_batches(SCHEMA, batches), budget) as source:
        assert source.num_rows == len(rows)
        if limit != 5000:
            assert source.spilled == (limit == 1 and bool(rows))
        assert source.schema.names == SCHEMA.names and source.schema.field("s").type == pa.string()
        for size in (1, 7, 1 << 16):
            found = list(source.batches(["s", "i"], size))
            assert all(0 < b.num_rows <= size and b.schema.names == ["s", "i"] for b in found)
            assert [r for b in found for r in b.to_pylist()] == [{"s": r["s"], "i": r["i"]} for r in rows]
        numbers = data.draw(st.lists(st.integers(-1, len(rows) - 1), max_size=30))
        numbers = data.draw(st.sampled_from([numbers, sorted(numbers)]))
        columns = data.draw(st.none() | st.lists(st.sampled_from(SCHEMA.names), min_size=1, unique=True))
        taken = source.take(np.array(numbers, np.int64), columns)
        names = columns or SCHEMA.names
        assert taken.schema.names == names and taken.schema.types == [source.schema.field(n).type for n in names]
        assert taken.to_pylist() == [{n: rows[i][n] if i >= 0 else None for n in names} for i in numbers]
    assert budget.held == 0


def test_large_sources_leave_memory_and_no_names(tmp_path):
    batch = pa.record_batch({"i": np.arange(100_000), "w": ["x" * 90] * 100_000})
    budget = Budget("16MB", str(tmp_path))
    before = pa.total_allocated_bytes()
    with Source.of(pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(20))), budget) as source:
        assert source.spilled and source.nbytes > 200_000_000 and budget.held == 0
        assert pa.total_allocated_bytes() - before < 32 << 20
        assert os.listdir(tmp_path) == []
        rows = np.random.default_rng(1).integers(0, 2_000_000, 5000)
        assert source.take(rows, ["i"])["i"].to_pylist() == (rows % 100_000).tolist()
    small = Source.of(pa.RecordBatchReader.from_batches(batch.schema, [batch.slice(0, 10)]), budget)
    assert not small.spilled and budget.held == small.nbytes > 0
    small.close()
    assert budget.held == 0


def test_many_small_batches_become_few():
    reader = pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), (pa.record_batch({"i": [i]}) for i in range(3000)))
    with Source.of(reader, Budget("1GB")) as source:
        assert len(list(source.batches(["i"]))) == 1
        assert source.take(np.array([2999, 0]), ["i"])["i"].to_pylist() == [2999, 0]


class Stream:
    """Batches, and then an error."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        for _ in range(self.count):
            yield pa.record_batch({"i": np.arange(100_000)})
        raise ValueError("the source broke")


def test_a_source_that_breaks_leaves_nothing(tmp_path):
    budget = Budget("1MB", str(tmp_path))
    reader = pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), iter(Stream(10)))
    with pytest.raises(ValueError, match="broke"):
        Source.of(reader, budget)
    assert budget.held == 0 and os.listdir(tmp_path) == []


def test_a_full_disk_is_named(monkeypatch, tmp_path):
    file = BatchFile(pa.schema([("i", pa.int64())]), str(tmp_path))

    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self):
            pass

    real, file._file = file._file, Full()
    with pytest.raises(StorageError, match="No space left") as caught:
        file.add(pa.record_batch({"i": [1]}))
    assert caught.value.directory == str(tmp_path) and "memory limit" in caught.value.hint
    real.close()
    with pytest.raises(StorageError, match="temporary file"):
        BatchFile(pa.schema([]), str(tmp_path / "missing"))


def source_of(name, kind, values, chunks=3):
    from deltalite.model.arrow import type_to_arrow

    t = type_to_arrow(PrimitiveType(kind))
    batches = [pa.record_batch({name: pa.array(values[i::chunks], t)}) for i in range(chunks)]
    bound = bind(f"`source.{name}`", Schema([Field(f"source.{name}", PrimitiveType(kind))]))
    return Source.of(pa.RecordBatchReader.from_batches(batches[0].schema, batches), Budget("1MB")), bound


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("long", [5, -(2**63), 7, 7]),
        ("string", ["b", "", "é", "b"]),
        ("decimal(38,2)", [Decimal("1.25"), Decimal("-99999999999999999999.01")]),
        ("date", [dt.date(2024, 1, 1), dt.date(1, 1, 1)]),
        ("timestamp", [dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), dt.datetime(9999, 12, 31, tzinfo=dt.timezone.utc)]),
        ("binary", [b"\xff", b""]),
        ("boolean", [True, False]),
        ("double", [1.5, -2.0, math.inf]),
    ],
)
def test_bounds_and_distinct_values(kind, values):
    shuffled = [*values, None, None, *values]
    random.Random(1).shuffle(shuffled)
    source, bound = source_of("x", kind, shuffled)
    with source:
        assert source.bounds(bound) == (min(values), max(values), 2)
        assert sorted(source.distinct(bound, 10)) == sorted(set(values))
        assert source.distinct(bound, len(set(values)) - 1) is None
        assert len(source.distinct(bound, len(set(values)))) == len(set(values))


def test_bounds_of_nothing_and_of_nan():
    source, bound = source_of("x", "long", [None, None])
    assert source.bounds(bound) == (None, None, 2) and source.distinct(bound, 1) == []
    source, bound = source_of("x", "long", [])
    assert source.bounds(bound) == (None, None, 0) and source.distinct(bound, 0) == []
    source, bound = source_of("x", "double", [1.0, math.nan, -0.0, 0.0, 5.0])
    low, high, nulls = source.bounds(bound)
    assert (low, math.isnan(high), nulls) == (0.0, True, 0)
    assert sorted(map(str, source.distinct(bound, 4))) == ["0.0", "1.0", "5.0", "nan"]
    source, bound = source_of("x", "double", [math.nan, None], chunks=2)
    assert list(map(str, source.bounds(bound))) == ["nan", "nan", "1"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=30), max_size=8), st.sampled_from([0, 500, 1 << 20]))
def test_parts_keep_their_rows_in_order(batches, waiting):
    expected: dict[int, list[tuple[int, str]]] = {}
    number = 0
    with Partitions(7, waiting) as parts:
        for parted in batches:
            rows = [(number + i, f"text {number + i}") for i in range(len(parted))]
            number += len(parted)
            for part, row in zip(parted, rows):
                expected.setdefault(part, []).append(row)
            arrays = [pa.array([r[0] for r in rows], pa.int64()), pa.array([r[1] for r in rows]).dictionary_encode()]
            if rows:
                parts.add(pa.RecordBatch.from_arrays(arrays, ["i", "s"]), np.array(parted))
        for part in range(7):
            found = [tuple(row.values()) for batch in parts.read(part) for row in batch.to_pylist()]
            assert found == expected.get(part, []) and parts.rows[part] == len(found)
