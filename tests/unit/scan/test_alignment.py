"""Every file is brought to the table's schema: names, nesting, types and encodings of every age."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_tables import add_file, make_config, make_snapshot, memory_store

from deltalite.exceptions import InvalidTableError
from deltalite.model.arrow import schema_to_arrow
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, Schema, StructType
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan

UTC = dt.timezone.utc


def read(schema: Schema, data: pa.Table, configuration=None, columns=None, **parquet: Any) -> pa.Table:
    store = memory_store()
    config = make_config(schema, configuration=configuration)
    snapshot = make_snapshot(config, [add_file(store, "f.parquet", data, parquet=parquet)])
    rows = read_plan(store, plan(snapshot, columns=columns)).read_all()
    if columns is None:
        assert rows.schema.equals(schema_to_arrow(schema)), "types are exactly the table's"
    rows.validate(full=True)
    return rows


def read_one(kind: DataType | str, values: pa.Array, **parquet: Any) -> list[Any]:
    return read(Schema([Field("a", kind)]), pa.table({"a": values}), **parquet).column("a").to_pylist()


# -- forms of one type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", None, "y"], pa.large_string()),
        pa.array(["x", None, "y"], pa.string_view()),
        pa.array(["x", None, "y"]).dictionary_encode(),
        pa.array([b"x", None, b"y"], pa.binary()),
        pa.array(["x", None, "y"], pa.large_string()).dictionary_encode(),
    ],
    ids=lambda a: str(a.type),
)
def test_text_in_any_form(values):
    assert read_one("string", values) == ["x", None, "y"]
    assert read_one("binary", values) == [b"x", None, b"y"]


def test_fixed_size_binary_and_uuid_are_binary():
    assert read_one("binary", pa.array([b"0123456789abcdef", None], pa.binary(16))) == [b"0123456789abcdef", None]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/Los_Angeles"])
@pytest.mark.parametrize("kind", ["timestamp", "timestamp_ntz"])
def test_timestamps_of_any_unit_and_zone_keep_the_instant(unit, zone, kind):
    per_second = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    values = pa.array([0, -1 * per_second, None], pa.int64()).cast(pa.timestamp(unit, zone))
    zone_out = UTC if kind == "timestamp" else None
    expected = [dt.datetime(1970, 1, 1, tzinfo=zone_out), dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=zone_out), None]
    assert read_one(kind, values) == expected


def test_nanoseconds_round_down_on_both_sides_of_1970():
    values = pa.array([1, -1, 1999, None], pa.int64()).cast(pa.timestamp("ns"))
    rows = read(Schema([Field("a", "timestamp_ntz")]), pa.table({"a": values}))
    assert rows.column("a").cast(pa.int64()).to_pylist() == [0, -1, 1, None]


@pytest.mark.trap(70)
def test_trap_70_int96_beyond_the_range_of_nanoseconds():
    moments = [dt.datetime(1, 1, 1), dt.datetime(1582, 10, 4), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), None]
    values = pa.array(moments, pa.timestamp("us"))
    assert read_one("timestamp_ntz", values, use_deprecated_int96_timestamps=True) == moments
    aware = [m and m.replace(tzinfo=UTC) for m in moments]
    assert read_one("timestamp", values, use_deprecated_int96_timestamps=True) == aware


@pytest.mark.trap(70)
@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "lz4", "brotli", "none"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
def test_trap_70_codecs_and_page_versions(codec, page):
    values = pa.array(["a", None, "b"] * 50)
    assert read_one("string", values, compression=codec, data_page_version=page) == values.to_pylist()


def test_unsigned_integers():
    assert read_one("short", pa.array([255, None], pa.uint8())) == [255, None]
    assert read_one("integer", pa.array([65535], pa.uint16())) == [65535]
    assert read_one("long", pa.array([2**32 - 1], pa.uint32())) == [2**32 - 1]
    assert read_one("decimal(20,0)", pa.array([2**64 - 1], pa.uint64())) == [Decimal(2**64 - 1)]


def test_small_integers_stored_without_their_width():
    assert read_one("byte", pa.array([1, -128, None], pa.int32())) == [1, -128, None]
    with pytest.raises(InvalidTableError, match="f.parquet"):
        read_one("byte", pa.array([128], pa.int32()))


@pytest.mark.parametrize("precision", [5, 9, 15, 18, 25, 38])
@pytest.mark.parametrize("as_integer", [True, False])
def test_decimals_stored_as_integers_or_bytes(precision, as_integer):
    values = [Decimal("12.34"), Decimal("-0.01"), None]
    stored = pa.array(values, pa.decimal128(precision, 2))
    assert read_one(f"decimal({precision},2)", stored, store_decimal_as_integer=as_integer) == values
    assert read_one("decimal(38,2)", stored, store_decimal_as_integer=as_integer) == values


def test_dates_and_floats_of_other_widths():
    assert read_one("date", pa.array([0, 86_400_000], pa.int64()).cast(pa.date64())) == [
        dt.date(1970, 1, 1),
        dt.date(1970, 1, 2),
    ]
    assert read_one("float", pa.array([1.5, None], pa.float16())) == [1.5, None]


# -- names ---------------------------------------------------------------------------------------------------------


def test_names_match_exactly_before_they_match_ignoring_case():
    schema = Schema([Field("Id", "long"), Field("late", "string")])
    assert read(schema, pa.table({"ID": [1], "extra": [2]})).to_pylist() == [{"Id": 1, "late": None}]
    assert read(schema, pa.table({"id": [1], "Id": [2]})).to_pylist() == [{"Id": 2, "late": None}]
    with pytest.raises(InvalidTableError, match="several"):
        read(schema, pa.table({"id": [1], "ID": [2]}))


def test_names_with_dots_are_not_paths():
    schema = Schema([Field("a", StructType([Field("b", "long")])), Field("a.b", "long")])
    data = pa.table({"a.b": [7], "a": [{"b": 1}]})
    assert read(schema, data).to_pylist() == [{"a": {"b": 1}, "a.b": 7}]
    assert read(schema, data, columns=["a.b"]).to_pylist() == [{"a.b": 7}]


@pytest.mark.trap(67)
def test_trap_67_change_type_is_hidden():
    data = pa.table({"a": [1], "_change_type": ["insert"]})
    assert read(Schema([Field("a", "long")]), data).to_pylist() == [{"a": 1}]


@pytest.mark.trap(68)
def test_trap_68_void_columns_are_null_and_absent():
    schema = Schema(
        [Field("a", "long"), Field("v", "void"), Field("s", StructType([Field("x", "long"), Field("v", "void")]))]
    )
    found = read(schema, pa.table({"a": [1, 2], "s": [{"x": 1}, None]})).to_pylist()
    assert found == [{"a": 1, "v": None, "s": {"x": 1, "v": None}}, {"a": 2, "v": None, "s": None}]


def test_files_without_any_known_column_or_row():
    schema = Schema([Field("a", "long"), Field("n", StructType([Field("x", "long")]))])
    assert read(schema, pa.table({"z": [1, 2]})).to_pylist() == [{"a": None, "n": None}] * 2
    assert read(schema, pa.table({"a": pa.array([], pa.int64())})).num_rows == 0
    assert read(schema, pa.table({"z": [1, 2]}), columns=[]).num_rows == 2


def test_char_and_varchar_are_text():
    schema = Schema([Field("a", "string", metadata={"__CHAR_VARCHAR_TYPE_STRING": "char(3)"})])
    assert read(schema, pa.table({"a": ["abc"]})).to_pylist() == [{"a": "abc"}]


# -- widening ------------------------------------------------------------------------------------------------------

WIDENINGS = [
    (pa.int8(), "short", 5), (pa.int8(), "long", 5), (pa.int32(), "long", 5), (pa.int16(), "integer", 5),
    (pa.int32(), "double", 5), (pa.float32(), "double", 0.5), (pa.int32(), "decimal(10,0)", 5),
    (pa.int8(), "decimal(12,2)", 5), (pa.int64(), "decimal(22,2)", 5), (pa.decimal128(5, 2), "decimal(7,4)", Decimal("1.25")),
    (pa.decimal128(5, 2), "decimal(5,2)", Decimal("1.25")), (pa.date32(), "timestamp_ntz", dt.date(1500, 2, 3)),
]  # fmt: skip
REFUSED = [
    (pa.int64(), "integer"), (pa.int64(), "double"), (pa.float64(), "float"), (pa.string(), "long"), (pa.int64(), "string"),
    (pa.int32(), "decimal(9,0)"), (pa.int32(), "decimal(11,2)"), (pa.int64(), "decimal(19,0)"), (pa.decimal128(5, 2), "decimal(6,4)"),
    (pa.decimal128(5, 2), "decimal(5,1)"), (pa.date32(), "timestamp"), (pa.timestamp("us"), "date"), (pa.bool_(), "integer"),
    (pa.int64(), "timestamp"), (pa.float32(), "decimal(20,2)"), (pa.int32(), "float"), (pa.string(), "boolean"),
]  # fmt: skip


@pytest.mark.trap(62)
@pytest.mark.parametrize("stored, kind, value", WIDENINGS, ids=str)
def test_trap_62_types_widen_as_the_protocol_lists(stored, kind, value):
    expected = dt.datetime(value.year, value.month, value.day) if isinstance(value, dt.date) else value
    values = pa.array([value, None], stored)
    assert read_one(kind, values) == [expected, None]
    assert read_one(ArrayType(kind), pa.array([[value, None], None], pa.list_(stored))) == [[expected, None], None]
    nested = StructType([Field("m", MapType("string", kind))])
    assert read_one(nested, pa.array([{"m": [("k", value)]}], pa.struct([("m", pa.map_(pa.string(), stored))]))) == [
        {"m": [("k", expected)]}
    ]


@pytest.mark.trap(62)
@pytest.mark.parametrize("stored, kind", REFUSED, ids=str)
def test_trap_62_any_other_pair_is_refused_by_name(stored, kind):
    values = pa.nulls(1, stored)
    for data_type, data in (
        (PrimitiveType(kind), values),
        (ArrayType(kind), pa.array([[None]], pa.list_(stored))),
        (StructType([Field("x", kind)]), pa.StructArray.from_arrays([values], ["x"])),
    ):
        with pytest.raises(InvalidTableError, match=r"f\.parquet holds column 'a"):
            read_one(data_type, data)


@pytest.mark.parametrize("stored, kind", [(pa.int64(), ArrayType("long")), (pa.list_(pa.int64()), PrimitiveType("long")),
                                          (pa.struct([("x", pa.int64())]), MapType("string", "long"))], ids=str)  # fmt: skip
def test_nested_and_plain_types_do_not_mix(stored, kind):
    with pytest.raises(InvalidTableError, match="cannot be read as"):
        read_one(kind, pa.nulls(1, stored))


# -- nesting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compliant", [True, False])
def test_lists_of_structs_that_grew(compliant):
    kind = ArrayType(
        StructType(
            [Field("new", "string"), Field("X", "long"), Field("deep", ArrayType(StructType([Field("q", "long")])))]
        )
    )
    stored = pa.array([[{"x": 1, "old": 9, "deep": [{"p": 1}]}, None], None, []],
                      pa.list_(pa.struct([("x", pa.int32()), ("old", pa.int64()), ("deep", pa.list_(pa.struct([("p", pa.int64())])))])))  # fmt: skip
    expected = [[{"new": None, "X": 1, "deep": [{"q": None}]}, None], None, []]
    assert read_one(kind, stored, use_compliant_nested_type=compliant) == expected


@pytest.mark.skipif(
    int(pa.__version__.split(".")[0]) < 24, reason="older pyarrow cannot read fixed-size lists that are null"
)
def test_large_and_fixed_size_lists():
    assert read_one(ArrayType("long"), pa.array([[1], None, []], pa.large_list(pa.int64()))) == [[1], None, []]
    assert read_one(ArrayType("long"), pa.array([[1, 2], None], pa.list_(pa.int64(), 2))) == [[1, 2], None]


def test_a_map_left_as_a_list_of_pairs():
    stored = pa.array(
        [[{"key": "a", "value": 1}], None], pa.list_(pa.struct([("key", pa.string()), ("value", pa.int32())]))
    )
    assert read_one(MapType("string", "long"), stored) == [[("a", 1)], None]


@st.composite
def nested_case(draw: st.DrawFn, depth: int = 3) -> tuple[DataType, pa.DataType, Any]:
    """A table's type, a file's type of which the table's grew, and a converter of Python values."""
    kind = draw(st.sampled_from(["leaf", "leaf", *(["struct", "list", "map"] if depth else [])]))
    if kind == "leaf":
        logical, stored = draw(
            st.sampled_from([("long", pa.int32()), ("long", pa.int64()), ("string", pa.large_string())])
        )
        return PrimitiveType(logical), stored, lambda v: v
    if kind == "list":
        inner, stored, convert = draw(nested_case(depth=depth - 1))
        return ArrayType(inner), pa.list_(stored), lambda v: None if v is None else [convert(x) for x in v]
    if kind == "map":
        inner, stored, convert = draw(nested_case(depth=depth - 1))
        return (
            MapType("string", inner),
            pa.map_(pa.string(), stored),
            lambda v: None if v is None else [(k, convert(x)) for k, x in v],
        )
    members = {name: draw(nested_case(depth=depth - 1)) for name in draw(st.sets(st.sampled_from("abc"), min_size=1))}
    lost = draw(st.sets(st.sampled_from(sorted(members)), max_size=len(members) - 1))
    order = draw(st.permutations([n for n in members if n not in lost]))
    fields = [pa.field(n, members[n][1]) for n in order] + ([pa.field("zz", pa.int64())] if draw(st.booleans()) else [])

    def convert_struct(v: Any) -> Any:
        return None if v is None else {n: None if n in lost else m[2](v[n]) for n, m in members.items()}

    return StructType([Field(n, m[0]) for n, m in members.items()]), pa.struct(fields), convert_struct


def values_of(stored: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_map(stored):
        found = st.lists(
            st.tuples(st.sampled_from("kl"), values_of(stored.item_type)), max_size=2, unique_by=lambda p: p[0]
        )
    elif pa.types.is_list(stored):
        found = st.lists(values_of(stored.value_type), max_size=3)
    elif pa.types.is_struct(stored):
        found = st.fixed_dictionaries({f.name: values_of(f.type) for f in stored})
    else:
        found = st.sampled_from(["", "x", "yy"]) if pa.types.is_large_string(stored) else st.integers(-9, 9)
    return st.none() | found


@settings(max_examples=80, deadline=None)
@given(nested_case(), st.data(), st.integers(1, 4))
def test_nested_columns_of_any_shape(case, data, batch_size):
    logical, stored, convert = case
    rows = data.draw(st.lists(values_of(stored), min_size=1, max_size=7))
    store = memory_store()
    table = pa.table({"a": pa.array(rows, stored), "b": range(len(rows))})
    schema = Schema([Field("b", "long"), Field("a", logical)])
    snapshot = make_snapshot(make_config(schema), [add_file(store, "f", table, parquet={"row_group_size": 3})])
    found = read_plan(store, plan(snapshot), batch_size=batch_size).read_all()
    found.validate(full=True)
    assert found.schema.equals(schema_to_arrow(schema))
    assert found.column("a").to_pylist() == [convert(row) for row in rows]
    assert pq.read_table(pa.BufferReader(store.get("f"))).num_rows == len(rows)
