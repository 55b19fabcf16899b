"""Partition values: texts of the log, directories, and the URIs of both."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_tables import files_in, memory_store, rows_of, small_groups, spec, struct, write

from deltalite.exceptions import SchemaMismatchError
from deltalite.model.types import Field
from deltalite.storage.local import LocalStore
from deltalite.write.split import Splitter

SPECIAL = [chr(c) for c in range(0x20, 0x7F)] + [
    "\n", "\t", "\x7f", "é", "日本", "\U0001f600", "..", ".", "a/b", "a%20b", "a b", "x=y", "\\u0001", "ß" * 40
]  # fmt: skip


@pytest.mark.trap(1)
@pytest.mark.trap(3)
@pytest.mark.bug("T-42")
def test_every_character_makes_the_round_trip_on_a_disk(tmp_path) -> None:
    table = struct(("p", "string"), ("id", "long"))
    store = LocalStore(str(tmp_path), durability="relaxed")
    write_spec = spec(table, ["p"])
    data = pa.table({"p": SPECIAL, "id": range(len(SPECIAL))})
    adds = write(store, write_spec, data)
    assert {a.partition_values["p"] for a in adds} == set(SPECIAL)
    assert all((tmp_path / unquote(a.path)).is_file() for a in adds), "the URI decodes once to the file's name"
    expected = sorted(data.to_pylist(), key=lambda row: row["id"])
    assert sorted(rows_of(store, write_spec, adds), key=lambda row: row["id"]) == expected
    (add,) = [a for a in adds if a.partition_values["p"] == "a%20b"]
    assert add.path.startswith("p=a%252520b/"), "the directory is p=a%2520b, and its URI escapes the percent again"


@pytest.mark.bug("T-42")
def test_nul_is_refused_before_anything_is_written() -> None:
    store = memory_store()
    with pytest.raises(SchemaMismatchError, match="NUL"):
        write(store, spec(struct(("p", "string"), ("id", "long")), ["p"]), pa.table({"p": ["a\0b"], "id": [1]}))
    assert files_in(store) == []


@pytest.mark.trap(12)
def test_trap_12_null_and_empty_text_share_a_partition_and_are_written_as_null() -> None:
    store = memory_store()
    write_spec = spec(struct(("p", "string"), ("id", "long")), ["p"])
    (add,) = write(store, write_spec, pa.table({"p": [None, ""], "id": [1, 2]}))
    assert add.partition_values == {"p": None}
    assert add.path.startswith("p=__HIVE_DEFAULT_PARTITION__/")
    strict = spec(struct(Field("p", "string", False), ("id", "long")), ["p"])
    with pytest.raises(SchemaMismatchError, match="empty text"):
        write(memory_store(), strict, pa.table({"p": [""], "id": [2]}))


TYPED = [
    ("long", [1, -5, None], ["1", "-5", None]),
    ("boolean", [True, False, None], ["true", "false", None]),
    ("double", [1.0, 0.1, float("nan"), None], ["1.0", "0.1", "NaN", None]),
    ("decimal(10,2)", [Decimal("1.50"), None], ["1.50", None]),
    ("date", [dt.date(2020, 1, 2), dt.date(1, 1, 1), None], ["2020-01-02", "0001-01-01", None]),
    ("timestamp", [dt.datetime(2020, 1, 2, 3, 4, 5, 6, dt.timezone.utc)], ["2020-01-02T03:04:05.000006Z"]),
    ("timestamp_ntz", [dt.datetime(2020, 1, 2)], ["2020-01-02 00:00:00"]),
    ("binary", [b"\x01\xff", None], ["\x01\xff", None]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "values", "texts"), TYPED)
def test_traps_8_to_14_typed_values(kind: str, values: list, texts: list) -> None:
    store = memory_store()
    write_spec = spec(struct(("p", kind), ("id", "long")), ["p"])
    arrow = write_spec.schema.fields[0].type.to_arrow()
    data = pa.table({"p": pa.array(values, arrow), "id": pa.array(range(len(values)))})
    adds = write(store, write_spec, data)
    assert {a.partition_values["p"] for a in adds} == set(texts)
    found = {row["id"]: row["p"] for row in rows_of(store, write_spec, adds)}
    assert [str(found[i]) for i in range(len(values))] == [str(v) for v in values]


def test_partitions_are_keyed_by_physical_names_and_ordered_as_declared() -> None:
    store = memory_store()
    table = struct(("b", "long"), ("x", "long"), ("a", "long"))
    physical = struct(("p-b", "long"), ("p-x", "long"), ("p-a", "long"))
    write_spec = spec(table, ["a", "b"], physical=physical)
    adds = write(store, write_spec, pa.table({"a": [1, 1, 2], "b": [1, 2, 1], "x": [7, 8, 9]}))
    assert sorted(a.path.rpartition("/")[0] for a in adds) == ["p-a=1/p-b=1", "p-a=1/p-b=2", "p-a=2/p-b=1"]
    assert adds[0].partition_values == {"p-a": "1", "p-b": "1"}


PAIRS = st.tuples(st.sampled_from(["a", "b", "", None, "c"]), st.one_of(st.none(), st.integers(0, 3)))


@settings(deadline=None)
@given(st.lists(PAIRS, max_size=60), st.integers(1, 20))
def test_rows_keep_their_order_within_a_partition(keys: list, batch_rows: int) -> None:
    """Against a dict of lists."""
    splitter = Splitter([Field("p", "string"), Field("q", "long")])
    found: dict = {}
    for start in range(0, len(keys), batch_rows):
        part = keys[start : start + batch_rows]
        columns = [pa.array([p for p, _ in part], pa.string()), pa.array([q for _, q in part], pa.int64())]
        rows = pa.record_batch([pa.array(range(start, start + len(part)), pa.int64())], names=["row"])
        run = splitter.split(columns, rows)
        assert np.all(np.diff(run.partitions) > 0)
        position = 0
        for number, end in zip(run.partitions.tolist(), run.ends.tolist(), strict=True):
            found.setdefault(splitter.keys[number], []).extend(run.rows.column(0)[position:end].to_pylist())
            position = end
        assert position == len(part)
    expected: dict = {}
    for row, (p, q) in enumerate(keys):
        expected.setdefault((p or None, None if q is None else str(q)), []).append(row)
    assert found == expected


def test_many_partitions_of_few_rows_each_are_written_once(tmp_path) -> None:
    store = LocalStore(str(tmp_path), durability="relaxed")
    write_spec = spec(struct(("p", "long"), ("id", "long")), ["p"], memory_budget=10_000, parquet=small_groups(10**6))
    batches = [pa.record_batch([pa.array([i % 300 for i in range(n, n + 1000)]), pa.array(range(n, n + 1000))],
                               names=["p", "id"]) for n in range(0, 20_000, 1000)]  # fmt: skip
    adds = write(store, write_spec, batches)
    assert len(adds) == 300, "one file a partition, although nothing fits into memory"
    rows = rows_of(store, write_spec, adds)
    assert sorted(row["id"] for row in rows) == list(range(20_000))
    assert all(row["p"] == row["id"] % 300 for row in rows)
