"""Reading plain files: columns, partitions, virtual columns, and errors that name the file."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from scan_tables import add_file, make_config, make_snapshot, memory_store

from deltalite.exceptions import InvalidArgumentError, InvalidTableError, UnsafePathError
from deltalite.model.types import Schema
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan, read_task

SCHEMA = Schema.from_arrow(pa.schema([("day", pa.date32()), ("id", pa.int64()), ("name", pa.string())]))


@pytest.fixture
def table():
    store = memory_store()
    data = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "name": ["a", None, "c"]})
    files = [
        add_file(store, "day=2026-01-01/a.parquet", data, {"day": "2026-01-01"}),
        add_file(store, "day=__HIVE_DEFAULT_PARTITION__/b c.parquet", data.slice(0, 1), {"day": None}),
    ]
    files[1] = add_file(store, "b c.parquet", data.slice(0, 1), {"day": None})
    object.__setattr__(files[1], "path", "b%20c.parquet")
    return store, make_snapshot(make_config(SCHEMA, ["day"]), files)


def test_partition_values_are_columns_like_others(table):
    store, snapshot = table
    rows = read_plan(store, plan(snapshot)).read_all()
    assert rows.schema.names == ["day", "id", "name"]
    assert rows.schema.types == [pa.date32(), pa.int64(), pa.string()]
    assert rows.column("id").to_pylist() == [1, 2, 3, 1]
    assert [str(d) for d in rows.column("day").to_pylist()] == ["2026-01-01"] * 3 + ["None"]


def test_columns_come_in_the_order_asked_for_and_ignore_case(table):
    store, snapshot = table
    rows = read_plan(store, plan(snapshot, columns=["NAME", "day"])).read_all()
    assert rows.schema.names == ["name", "day"]
    assert rows.num_rows == 4


def test_only_partition_columns_need_no_data_columns(table):
    store, snapshot = table
    assert plan(snapshot, columns=["day"]).logical.fields == []
    assert read_plan(store, plan(snapshot, columns=["day"])).read_all().num_rows == 4


def test_virtual_columns_tell_file_and_position(table):
    store, snapshot = table
    rows = read_plan(store, plan(snapshot, columns=["id"], virtual=["_file", "_row_index"])).read_all()
    assert rows.column("_file").to_pylist() == ["day=2026-01-01/a.parquet"] * 3 + ["b%20c.parquet"]
    assert rows.column("_row_index").to_pylist() == [0, 1, 2, 0]


def test_unknown_column_is_refused_with_a_suggestion(table):
    with pytest.raises(InvalidArgumentError, match="nam") as error:
        plan(table[1], columns=["nme"])
    assert "'name'" in error.value.hint
    with pytest.raises(InvalidArgumentError, match="twice"):
        plan(table[1], columns=["id", "ID"])


def test_plan_and_tasks_pickle(table):
    store, snapshot = table
    made = plan(snapshot, virtual=["_row_index"])
    shared, tasks = pickle.loads(pickle.dumps((made.shared(), made.tasks())))
    assert shared.files.num_rows == 0
    batches = [batch for task in tasks for batch in read_task(store, shared, task)]
    assert pa.Table.from_batches(batches) == read_plan(store, made).read_all()


def test_limit_stops_in_the_middle_of_a_file(table):
    store, snapshot = table
    assert read_plan(store, plan(snapshot, limit=2)).read_all().num_rows == 2
    assert read_plan(store, plan(snapshot), limit=0).read_all().num_rows == 0
    assert read_plan(store, plan(snapshot), limit=99).read_all().num_rows == 4


def test_nothing_is_read_before_the_first_batch(table):
    store, snapshot = table
    made = plan(snapshot)
    store.delete_many(["day=2026-01-01/a.parquet"])
    reader = read_plan(store, made)
    with pytest.raises(InvalidTableError, match="a.parquet is missing"):
        reader.read_all()


def test_damaged_bytes_raise_and_name_the_file(table):
    store, snapshot = table
    good = store.get("day=2026-01-01/a.parquet")
    for bad in (b"", b"PAR1", good[:-5], good[: len(good) // 2], b"x" * len(good)):
        store.put("day=2026-01-01/a.parquet", bad)
        with pytest.raises(InvalidTableError, match=r"a\.parquet"):
            read_plan(store, plan(snapshot)).read_all()


@pytest.mark.bug("S-01")
@pytest.mark.parametrize(
    "path",
    ["../x.parquet", "%2e%2e/x.parquet", "a/..%2fx.parquet", "/etc/x.parquet", "file:///etc/x.parquet", "//host/x",
     "s3://other/x.parquet", "a/%00.parquet", "file:/etc/../etc/x.parquet", "C:/x.parquet", "..\\x.parquet"],
)  # fmt: skip
def test_files_outside_the_table_are_refused(table, path):
    store, snapshot = table
    outside = make_snapshot(snapshot.config, [add_file(store, "ok.parquet", pa.table({"id": [1]}), {"day": None})])
    file = outside.files.add_files()[0]
    object.__setattr__(file, "path", path)
    with pytest.raises(UnsafePathError):
        read_plan(store, plan(make_snapshot(snapshot.config, [file]))).read_all()
