"""The traps of statistics and partition values that a table of other engines sets, each by its number."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from scan_tables import add_file, make_config, make_snapshot, memory_store

from deltalite.expr.bind import bind_predicate
from deltalite.model.types import Field, Schema, StructType
from deltalite.scan.matching import may_match, partition_column, row_counts, rows_matched, statistics
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan


def kept(schema: Schema, stats: dict | str | None, predicate: str, configuration=None) -> bool:
    text = json.dumps(stats) if isinstance(stats, dict) else stats
    files = pa.table({"path": ["f"], "stats": pa.array([text], pa.string())})
    config = make_config(schema, configuration=configuration)
    return bool(may_match(config, files, bind_predicate(predicate, schema))[0])


def one(name: str, kind: str, metadata=None) -> Schema:
    return Schema([Field(name, kind, metadata=metadata)])


def bounds(name: str, low, high, nulls=0, rows=10) -> dict:
    return {"numRecords": rows, "minValues": {name: low}, "maxValues": {name: high}, "nullCount": {name: nulls}}


@pytest.mark.trap(39)
def test_trap_39_wide_bounds_still_exclude_and_null_counts_in_between_decide_nothing():
    stats = {**bounds("a", 1, 5, nulls=3), "tightBounds": False}
    assert not kept(one("a", "long"), stats, "a > 5")
    assert kept(one("a", "long"), stats, "a is null") and kept(one("a", "long"), stats, "a is not null")
    assert not kept(one("a", "long"), {**bounds("a", 1, 5, nulls=0), "tightBounds": False}, "a is null")
    assert not kept(one("a", "long"), {**bounds("a", None, None, nulls=10), "tightBounds": False}, "a is not null")


@pytest.mark.trap(40)
@pytest.mark.parametrize("high", ["x" * 32, "x" * 32 + "\x7f", "x" * 32 + "\U0010ffff"])
def test_trap_40_cut_maximum_covers_what_it_was_cut_from(high):
    value = "x" * 32 + ("a" if high.endswith("\x7f") else "\U0001f600")
    assert kept(one("s", "string"), bounds("s", "a", high), f"s = '{value}'")
    assert not kept(one("s", "string"), bounds("s", "a", high), "s > 'y'")


@pytest.mark.trap(40)
def test_trap_40_shorter_prefix_of_the_table_counts():
    assert kept(one("s", "string"), bounds("s", "a", "xx"), "s = 'xxz'", {"delta.dataSkippingStringPrefixLength": "2"})


@pytest.mark.trap(41)
@pytest.mark.bug("T-38")
def test_trap_41_times_are_cut_to_milliseconds():
    stats = bounds("t", "2024-01-01T01:02:03.456Z", "2024-01-01T01:02:03.456Z")
    for kind, literal in (("timestamp", "TIMESTAMP '2024-01-01 01:02:03.4565Z'"),
                          ("timestamp_ntz", "TIMESTAMP_NTZ '2024-01-01 01:02:03.4565'")):  # fmt: skip
        text = {**stats, **{k: {"t": "2024-01-01T01:02:03.456"} for k in ("minValues", "maxValues") if "ntz" in kind}}
        assert kept(one("t", kind), text, f"t > {literal}")
        assert kept(one("t", kind), text, f"t = {literal}")
        assert not kept(one("t", kind), text, f"t > {literal.replace('.4565', '.4571')}")


@pytest.mark.trap(41)
def test_trap_41_the_last_timestamp_does_not_overflow():
    stats = bounds("t", "2024-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z")
    assert kept(one("t", "timestamp"), stats, "t > TIMESTAMP '9999-12-31 23:59:59.999Z'")


@pytest.mark.bug("T-39")
def test_seconds_of_old_offsets_are_missing_from_the_text():
    """12:00:58 in local mean time of -07:52:58 is 19:53:56Z; Spark writes 12:00:58-07:52, which reads as 19:52:58Z."""
    stats = bounds("t", "1850-01-01T12:00:58.000-07:52", "1850-01-01T12:00:58.000-07:52")
    assert kept(one("t", "timestamp"), stats, "t >= TIMESTAMP '1850-01-01 19:53:56Z'")
    eastern = bounds("t", "1850-01-01T12:00:58.000+07:52", "1850-01-01T12:00:58.000+07:52")
    assert kept(one("t", "timestamp"), eastern, "t <= TIMESTAMP '1850-01-01 04:08:00Z'")
    assert not kept(one("t", "timestamp"), stats, "t > TIMESTAMP '1851-01-01 00:00:00Z'")


@pytest.mark.trap(42)
def test_trap_42_a_maximum_may_be_blind_to_nan():
    assert kept(one("d", "double"), bounds("d", 1.0, 2.0), "d > 5")
    assert kept(one("d", "double"), bounds("d", 1.0, 2.0), "d = double('NaN')")
    assert not kept(one("d", "double"), bounds("d", 1.0, 2.0), "d = 5")
    assert not kept(one("d", "double"), bounds("d", 1.0, 2.0), "d < 1")
    assert kept(one("d", "double"), '{"numRecords":1,"minValues":{"d":"NaN"},"maxValues":{"d":"NaN"}}', "d < 1")
    assert kept(one("d", "double"), '{"numRecords":1,"minValues":{"d":NaN},"maxValues":{"d":Infinity}}', "d > 1")


@pytest.mark.trap(42)
def test_trap_42_both_zeros_are_one():
    assert kept(one("d", "double"), bounds("d", 0.0, 0.0), "d = -0.0D") and kept(
        one("d", "double"), bounds("d", -0.0, -0.0), "d >= 0"
    )


@pytest.mark.trap(44)
def test_trap_44_a_dotted_name_is_not_a_path():
    schema = Schema([Field("a.b", "long"), Field("a", StructType([Field("b", "long")]))])
    stats = {"numRecords": 1, "minValues": {"a.b": 1, "a": {"b": 100}}, "maxValues": {"a.b": 1, "a": {"b": 100}}}
    assert kept(schema, stats, "`a.b` = 1") and not kept(schema, stats, "`a.b` = 100")
    assert kept(schema, stats, "a.b = 100") and not kept(schema, stats, "a.b = 1")


@pytest.mark.trap(45)
def test_trap_45_missing_statistics_keep_the_file_and_all_null_columns_do_not():
    schema = one("a", "long")
    for stats in (None, "", "{}", "not json", '{"numRecords":3}', '{"minValues":{"b":1}}', "[]", '{"minValues":7}'):
        assert kept(schema, stats, "a = 1") and kept(schema, stats, "not (a = 1)") and kept(schema, stats, "a is null")
    all_null = {"numRecords": 3, "nullCount": {"a": 3}}
    assert not kept(schema, all_null, "a = 1") and not kept(schema, all_null, "not (a = 1)")
    assert kept(schema, all_null, "a is null") and kept(schema, all_null, "a <=> null")


@pytest.mark.trap(46)
def test_trap_46_decimals_keep_their_38_digits():
    high = "12345678901234567890123456789012345.678"
    stats = '{"numRecords":1,"minValues":{"x":0},"maxValues":{"x":%s},"nullCount":{"x":0}}' % high
    schema = one("x", "decimal(38,3)")
    assert kept(schema, stats, f"x >= {high}BD")
    assert not kept(schema, stats, "x > 12345678901234567890123456789012345.678BD")
    odd = stats.replace('"nullCount"', '"nullCount":{"x":0.0},"other"')
    assert kept(schema, odd, f"x >= {high}BD") and not kept(schema, odd, f"x > {high}BD")


@pytest.mark.trap(62)
def test_trap_62_statistics_of_the_old_type():
    changed = {"delta.typeChanges": [{"fromType": "float", "toType": "double"}]}
    value = float(np.float32(0.1))
    assert kept(one("d", "double", changed), bounds("d", 0.1, 0.1), f"d = {value!r}D")
    assert kept(one("d", "double", changed), bounds("d", -0.1, -0.1), "d < -0.1D")
    assert kept(one("x", "decimal(20,2)"), bounds("x", 1, 5), "x = 5.00") and not kept(
        one("x", "decimal(20,2)"), bounds("x", 1, 5), "x > 5.5"
    )
    ntz = bounds("t", "2024-01-01", "2024-01-02")
    assert kept(one("t", "timestamp_ntz"), ntz, "t = TIMESTAMP_NTZ '2024-01-02 00:00:00'")
    assert not kept(one("t", "timestamp_ntz"), ntz, "t > TIMESTAMP_NTZ '2024-01-03 00:00:00'")


def test_booleans_have_bounds_where_a_writer_gives_them():
    assert not kept(one("b", "boolean"), bounds("b", False, False), "b") and kept(
        one("b", "boolean"), bounds("b", False, True), "b"
    )


def test_column_mapping_finds_statistics_by_physical_names():
    metadata = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    schema = Schema([Field("a", "long", metadata=metadata)])
    mapped = {"delta.columnMapping.mode": "name"}
    assert not kept(schema, bounds("col-1", 1, 2), "a = 9", mapped) and kept(schema, bounds("a", 1, 2), "a = 9", mapped)


# -- partition values ----------------------------------------------------------------------------------------------

PARTITIONS = [
    ("long", "-12", -12), ("byte", "7", 7), ("boolean", "true", True), ("double", "1", 1.0), ("float", "1.5", 1.5),
    ("date", "1970-01-02", dt.date(1970, 1, 2)), ("decimal(5,2)", "1.50", Decimal("1.50")),
    ("decimal(5,2)", "1.5", Decimal("1.50")), ("string", "", ""), ("string", "a%b=c", "a%b=c"), ("long", "", None),
    ("binary", "\x01A", b"\x01A"), ("binary", "\\u0001A", b"\x01A"), ("string", None, None),
    ("string", "__HIVE_DEFAULT_PARTITION__", None),
]  # fmt: skip


@pytest.mark.trap(10)
@pytest.mark.trap(12)
@pytest.mark.trap(13)
@pytest.mark.trap(14)
@pytest.mark.bug("T-40")
@pytest.mark.parametrize("kind, text, value", PARTITIONS)
def test_partition_values_are_typed_and_prune_as_they_read(kind, text, value):
    schema = Schema([Field("p", kind), Field("a", "long")])
    config = make_config(schema, ["p"])
    store = memory_store()
    add = add_file(store, "f.parquet", pa.table({"a": [1, 2]}), {"p": text})
    snapshot = make_snapshot(config, [add])
    rows = read_plan(store, plan(snapshot)).read_all()
    assert rows.column("p").to_pylist() == [value, value]
    assert partition_column(config, snapshot.files.table(), "p").to_pylist() == [value]
    null = bind_predicate("p is null", schema)
    assert (plan(snapshot, predicate=null).report.kept == 1) == (value is None)
    assert plan(snapshot, predicate=null).predicate is None, "a partition predicate leaves nothing to decide by row"


@pytest.mark.trap(11)
@pytest.mark.parametrize(
    "text", ["2024-01-02 03:04:05.123456", "2024-01-02T03:04:05.123456Z", "2024-01-01T19:04:05.123456-08:00"]
)
def test_trap_11_timestamps_of_partitions(text):
    schema = Schema([Field("p", "timestamp"), Field("a", "long")])
    store = memory_store()
    snapshot = make_snapshot(make_config(schema, ["p"]), [add_file(store, "f", pa.table({"a": [1]}), {"p": text})])
    found = read_plan(store, plan(snapshot)).read_all().column("p").to_pylist()
    assert found == [dt.datetime(2024, 1, 2, 3, 4, 5, 123456, dt.timezone.utc)]
    hit = bind_predicate("p = TIMESTAMP '2024-01-02 03:04:05.123456Z'", schema)
    assert plan(snapshot, predicate=hit).report.kept == 1


@pytest.mark.trap(8)
def test_trap_8_a_partition_column_inside_the_file_does_not_win():
    schema = Schema([Field("p", "long"), Field("a", "long")])
    store = memory_store()
    add = add_file(store, "f", pa.table({"a": [1], "p": [99]}), {"p": "5"})
    rows = read_plan(store, plan(make_snapshot(make_config(schema, ["p"]), [add]))).read_all()
    assert rows.to_pylist() == [{"p": 5, "a": 1}]


# -- what others ask of statistics ---------------------------------------------------------------------------------


@pytest.mark.bug("T-34")
def test_row_counts_subtract_deleted_rows_and_admit_ignorance():
    from deltalite.features.deletion_vectors import RowPositions
    from deltalite.features.deletion_vectors.file import inline
    from deltalite.model.actions import AddFile
    from deltalite.model.files import add_table

    vector = inline(RowPositions.of([1, 3]))
    files = add_table([
        AddFile("a", {}, 1, 1, True, '{"numRecords": 10}'), AddFile("b", {}, 1, 1, True, '{"numRecords": 10}', None, vector),
        AddFile("c", {}, 1, 1, True, None), AddFile("d", {}, 1, 1, True, '{"numRecords": 1}', None, vector),
    ])  # fmt: skip
    assert row_counts(files).tolist() == [10, 8, -1, -1]


def test_rows_matched_tells_whole_files_from_parts():
    schema = one("a", "long")
    stats = [json.dumps(bounds("a", low, high)) for low, high in ((1, 5), (6, 9), (10, 12))]
    files = pa.table({"path": list("xyz"), "stats": stats})
    some, every = rows_matched(make_config(schema), files, bind_predicate("a > 5 and a < 11", schema))
    assert some.tolist() == [False, True, True] and every.tolist() == [False, True, False]


def test_statistics_for_people_keep_logical_names():
    metadata = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    schema = Schema([Field("a", "long", metadata=metadata)])
    config = make_config(schema, configuration={"delta.columnMapping.mode": "name"})
    found = statistics(config, pa.table({"stats": [json.dumps(bounds("col-1", 1, 2)), None]}))
    assert found.num_records.to_pylist() == [10, None]
    assert found.minimum["a"].to_pylist() == [1, None] and found.null_count["a"].to_pylist() == [0, None]
