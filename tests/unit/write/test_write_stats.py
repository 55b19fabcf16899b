"""Statistics bound the values of the file (I-09), and say what traps 39 to 46 ask."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from write_tables import memory_store, small_groups, spec, stats, struct, write

from deltalite.model.arrow import type_to_arrow
from deltalite.model.types import ArrayType, MapType, PrimitiveType
from deltalite.model.write_spec import ParquetOptions
from deltalite.write.leaves import leaves
from deltalite.write.stats import render, truncated_maximum

D = Decimal
UTC = dt.timezone.utc
MICROS = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
VALUES = {
    "byte": st.integers(-128, 127),
    "short": st.integers(-(2**15), 2**15 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "decimal(9,2)": st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: D(n).scaleb(-2)),
    "decimal(18,0)": st.integers(-(10**18) + 1, 10**18 - 1).map(D),
    "decimal(38,10)": st.integers(1 - 10**28, 10**28 - 1).map(D),
    "string": st.text(max_size=70),
    "date": st.dates(),
    "timestamp": MICROS,
    "timestamp_ntz": MICROS,
    "boolean": st.booleans(),
    "binary": st.binary(max_size=5),
}


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, list]:
    kind = draw(st.sampled_from(sorted(VALUES)))
    return kind, draw(st.lists(st.one_of(st.none(), VALUES[kind]), min_size=1, max_size=20))


def written_stats(kind: str, values: list, options: ParquetOptions, **changes) -> dict:
    table = struct(("x", kind))
    arrow = type_to_arrow(table.fields[0].type)
    source = pa.array(values, pa.int64()).cast(arrow) if "timestamp" in kind else pa.array(values, arrow)
    # two batches, so that row groups of one file are put together
    half = len(values) // 2
    batches = [pa.record_batch([part], names=["x"]) for part in (source[:half], source[half:])]
    (add,) = write(memory_store(), spec(table, parquet=options, **changes), batches)
    return stats(add)


def bound(text, kind: str):
    """A bound of the log as a value that compares with the column's."""
    if text is None:
        return None
    if kind == "date":
        return dt.date.fromisoformat(text)
    if kind in ("timestamp", "timestamp_ntz"):
        assert text.endswith("Z") == (kind == "timestamp")
        moment = dt.datetime.fromisoformat(text.removesuffix("Z")) - dt.datetime(1970, 1, 1)
        return moment // dt.timedelta(microseconds=1)
    return float(text) if kind in ("float", "double") else text


@settings(deadline=None, max_examples=150)
@given(columns(), st.booleans(), st.booleans())
@example(("double", [math.nan, 1.0]), False, False)
@example(("double", [math.nan]), False, False)
@example(("double", [-math.inf, math.inf]), False, False)
@example(("double", [-0.0]), False, True)
@example(("string", ["a" * 5000, "b"]), False, False)
@example(("string", ["\U0010ffff" * 40]), False, False)
def test_bounds_hold_for_every_value(column: tuple[str, list], split: bool, footer_off: bool) -> None:
    kind, values = column
    off = ("x",) if footer_off else ()
    options = ParquetOptions(row_group_rows=1 if split else 10**6, statistics_off=off)
    found = written_stats(kind, values, options)
    known = [v for v in values if v is not None]
    assert found["numRecords"] == len(values)
    assert found["nullCount"] == {"x": len(values) - len(known)}
    assert found["tightBounds"] is True
    low, high = (bound(found[side].get("x"), kind) for side in ("minValues", "maxValues"))
    if kind in ("boolean", "binary"):
        assert low is None and high is None
        return
    if kind in ("timestamp", "timestamp_ntz") and high is not None:
        high += 999  # trap 41: readers allow for the milliseconds
    numbers = [v for v in known if not (isinstance(v, float) and math.isnan(v))]
    if low is not None:
        assert all(low <= v for v in numbers)
    if high is not None:
        assert len(numbers) == len(known), "trap 42: NaN sorts above every number, so there is no maximum"
        assert all(v <= high for v in numbers)
    if not known:
        assert low is None and high is None
    elif kind not in ("float", "double", "string"):
        assert low is not None and high is not None


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1), st.integers(1, 8))
def test_text_bounds_are_prefixes_that_bound(values: list[str], prefix: int) -> None:
    found = written_stats("string", values, ParquetOptions(), stats_prefix=prefix)
    low = found["minValues"]["x"]
    smallest, largest = min(values), max(values)  # code points order as UTF-8 bytes do
    assert smallest.startswith(low) and java_length(low) <= prefix
    assert java_length(low) == java_length(smallest) or java_length(low) >= prefix - 1
    high = found["maxValues"].get("x")
    assert high == java_maximum(largest, prefix)
    if high is not None:
        assert high >= largest


def java_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def java_maximum(text: str, prefix: int) -> str | None:
    """The rule over UTF-16 units, as the reference states it."""
    units = text.encode("utf-16-le")
    if java_length(text) <= prefix:
        return text
    for length in range(prefix, 2 * prefix + 1):
        head, tail = units[: 2 * length], units[2 * length :]
        if not tail:
            return text
        if 0xDC00 <= int.from_bytes(tail[:2], "little") < 0xE000:
            if length > prefix:
                continue
            head, tail = head[:-2], head[-2:] + tail
        dropped = tail.decode("utf-16-le")[0]
        if dropped != "\U0010ffff":
            return head.decode("utf-16-le") + ("\x7f" if dropped < "\x7f" else "\U0010ffff")
    return None


@pytest.mark.trap(40)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 32, "a" * 32),
        ("a" * 33, "a" * 32 + "\x7f"),
        ("a" * 32 + "\x7f", "a" * 32 + "\U0010ffff"),
        ("a" * 32 + "é", "a" * 32 + "\U0010ffff"),
        ("a" * 31 + "\U0001f600b", "a" * 31 + "\U0010ffff"),
        ("a" * 32 + "\U0010ffff" + "b" * 9, "a" * 32 + "\U0010ffff" + "\x7f"),
        ("\U0010ffff" * 32, "\U0010ffff" * 32),
        ("\U0010ffff" * 33, None),
    ],
)
def test_trap_40_maximum_is_a_prefix_and_a_tie_breaker(text: str, expected: str | None) -> None:
    assert truncated_maximum(text, 32) == expected


@pytest.mark.trap(41)
def test_trap_41_timestamps_are_cut_to_milliseconds_both_ways() -> None:
    moment = (1 * 3600 + 2 * 60 + 3) * 1_000_000 + 456_789
    found = written_stats("timestamp", [moment], ParquetOptions())
    assert found["minValues"] == found["maxValues"] == {"x": "1970-01-01T01:02:03.456Z"}
    before_1970 = written_stats("timestamp_ntz", [-1], ParquetOptions())
    assert before_1970["minValues"] == {"x": "1969-12-31T23:59:59.999"}


@pytest.mark.trap(42)
def test_trap_42_floats() -> None:
    assert written_stats("double", [math.nan, 2.0, 1.0], ParquetOptions())["minValues"] == {"x": D("1.0")}
    assert written_stats("double", [math.nan, 2.0], ParquetOptions())["maxValues"] == {}
    zero = written_stats("double", [0.0], ParquetOptions())
    assert str(zero["minValues"]["x"]) == "-0.0" and str(zero["maxValues"]["x"]) == "0.0"
    assert written_stats("float", [math.inf, 1.0], ParquetOptions())["maxValues"] == {}
    assert written_stats("float", [-math.inf, 1.0], ParquetOptions())["minValues"] == {}


@pytest.mark.trap(43)
@pytest.mark.trap(45)
def test_trap_43_arrays_maps_binary_and_booleans_have_null_counts_only() -> None:
    table = struct(
        ("a", ArrayType("long")), ("m", MapType("string", "long")), ("b", "binary"), ("t", "boolean"), ("n", "long")
    )
    row = {"a": [1, None], "m": [("k", None)], "b": b"x", "t": True, "n": None}
    arrow = pa.schema([(f.name, type_to_arrow(f.type)) for f in table.fields])
    data = pa.RecordBatch.from_pylist([row, dict.fromkeys(row), row], arrow)
    (add,) = write(memory_store(), spec(table), data)
    found = stats(add)
    assert found["nullCount"] == {"a": 1, "m": 1, "b": 1, "t": 1, "n": 3}
    assert found["minValues"] == found["maxValues"] == {}


@pytest.mark.trap(44)
def test_trap_44_nested_statistics_carry_physical_names_and_inherited_nulls() -> None:
    table = struct(("s", struct(("a", "long"), ("l", ArrayType("long")))), ("s.a", "long"))
    physical = struct(("col-1", struct(("col-2", "long"), ("col-3", ArrayType("long")))), ("col-4", "long"))
    arrow = pa.schema([(f.name, type_to_arrow(f.type)) for f in table.fields])
    rows = [{"s": None, "s.a": 7}, {"s": {"a": None, "l": None}, "s.a": 8}, {"s": {"a": 5, "l": [1]}, "s.a": 9}]
    data = pa.RecordBatch.from_pylist(rows, arrow)
    (add,) = write(memory_store(), spec(table, physical=physical), data)
    found = stats(add)
    assert found["nullCount"] == {"col-1": {"col-2": 2, "col-3": 2}, "col-4": 0}
    assert found["minValues"] == {"col-1": {"col-2": 5}, "col-4": 7}


@pytest.mark.trap(46)
def test_trap_46_decimals_are_exact_numerals() -> None:
    value = D("12345678901234567890123456.789012345678")
    found = written_stats("decimal(38,12)", [value, -value], ParquetOptions())
    assert found["maxValues"]["x"] == value and found["minValues"]["x"] == -value
    assert render((5, 105), PrimitiveType("decimal(9,2)"), 32) == ("0.05", "1.05")
    assert render((-5, 0), PrimitiveType("decimal(9,2)"), 32) == ("-0.05", "0.00")


def test_years_that_no_text_of_the_log_holds_have_no_bound() -> None:
    assert render((-(2**31), 0), PrimitiveType("date"), 32) == (None, '"1970-01-01"')
    assert render((0, 2**63 - 1), PrimitiveType("timestamp"), 32) == ('"1970-01-01T00:00:00.000Z"', None)


def test_only_the_chosen_columns_have_statistics() -> None:
    table = struct(("a", "long"), ("s", struct(("b", "long"), ("c", "long"))), ("d", "string"))
    data = pa.record_batch([pa.array([1]), pa.array([{"b": 2, "c": 3}]), pa.array(["x"])], names=["a", "s", "d"])
    (add,) = write(memory_store(), spec(table, stats_columns=(("s", "c"),)), data)
    assert stats(add) == {
        "numRecords": 1, "minValues": {"s": {"c": 3}}, "maxValues": {"s": {"c": 3}}, "nullCount": {"s": {"c": 0}},
        "tightBounds": True,
    }  # fmt: skip
    (add,) = write(memory_store(), spec(table, stats_columns=()), data)
    assert json.loads(add.stats or "") == {
        "numRecords": 1, "minValues": {}, "maxValues": {}, "nullCount": {}, "tightBounds": True
    }  # fmt: skip


def test_leaf_positions_follow_the_parquet_file_past_nested_columns() -> None:
    """A column behind a map and a list of structs takes its statistics from the right leaf."""
    table = struct(
        ("m", MapType("string", struct(("x", "long"), ("y", "long")))),
        ("l", ArrayType("long")),
        ("v", "void"),
        ("after", "long"),
    )
    arrow = pa.schema([(f.name, type_to_arrow(f.type)) for f in table.fields])
    row = {"m": [("k", {"x": 100, "y": 200})], "l": [300], "v": None, "after": 5}
    (add,) = write(memory_store(), spec(table, parquet=small_groups(1)), pa.RecordBatch.from_pylist([row, row], arrow))
    assert stats(add)["minValues"] == {"after": 5}
    assert [(leaf.path, leaf.position) for leaf in leaves(table.fields)] == [(("m",), 0), (("l",), 3), (("after",), 4)]
