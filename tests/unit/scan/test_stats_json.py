"""Statistics from JSON to columns: in bulk and line by line they say the same, and nonsense says nothing."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.model import stats
from deltalite.model.stats import parse_stats, record_counts, stats_type
from deltalite.model.types import Field, Schema, StructType

UTC = dt.timezone.utc
SCHEMA = Schema(
    [
        Field("i", "integer"), Field("l", "long"), Field("d", "double"), Field("f", "float"), Field("s", "string"), Field("b", "boolean"),
        Field("t", "timestamp"), Field("z", "timestamp_ntz"), Field("y", "date"), Field("x", "decimal(38,3)"), Field("v", "variant"),
        Field("n", StructType([Field("l", "long"), Field("deep", StructType([Field("s", "string")]))])),
    ]
)  # fmt: skip
PATHS = [(f.name,) for f in SCHEMA.fields[:-1]] + [("n", "l"), ("n", "deep", "s")]
KIND = stats_type(SCHEMA, PATHS)


def texts(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def parse(values: list[str | None], kind: pa.StructType = KIND) -> list[Any]:
    return parse_stats(texts(values), kind).to_pylist()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5)
    | st.sampled_from(["2024-01-02", "2024-01-02T03:04:05.678Z", "2024-01-02T03:04:05.678-08:00", "1850-01-01 00:00:00", "NaN"]),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.sampled_from(["l", "s", "deep", "q"]), v, max_size=3),
    max_leaves=3,
)  # fmt: skip
columns = st.dictionaries(st.sampled_from([f.name for f in SCHEMA.fields]), json_values, max_size=4)
documents = st.fixed_dictionaries(
    {}, optional={"numRecords": json_values, "tightBounds": json_values, "minValues": columns, "maxValues": columns, "nullCount": columns}
)  # fmt: skip
lines = (
    st.none()
    | documents.map(json.dumps)
    | st.sampled_from(["", "{}", "null", "[1]", "{", "not json", '{"numRecords":1}{}'])
)


@settings(max_examples=80, deadline=None)
@given(st.lists(lines, min_size=1, max_size=4))
def test_any_json_is_parsed_without_failing_and_line_by_line(values):
    together = parse(values)
    assert len(together) == len(values)
    alone = [parse([value])[0] for value in values]
    assert repr(normal(together)) == repr(normal(alone)), "what stands beside a line does not matter"


def normal(value: Any) -> Any:
    """Structs of nothing are as good as no struct."""
    if isinstance(value, list):
        return [normal(v) for v in value]
    if isinstance(value, dict):
        kept = {k: found for k, v in value.items() if (found := normal(v)) is not None}
        return kept or None
    return value


proper = st.fixed_dictionaries(
    {
        "i": st.integers(-(2**31), 2**31 - 1), "l": st.integers(-(2**63), 2**63 - 1), "d": st.floats(allow_nan=False, allow_infinity=False),
        "s": st.text(st.characters(exclude_categories=["Cs"]), max_size=6), "b": st.booleans(),
        "x": st.decimals(min_value=-(10**34), max_value=10**34, places=3),
    }
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(proper, min_size=1, max_size=4), st.booleans())
@pytest.mark.trap(46)
def test_values_come_back_exactly_by_either_way(rows, odd):
    values = []
    for row in rows:
        plain = json.dumps({k: v for k, v in row.items() if k != "x"})
        values.append('{"numRecords":7,"minValues":%s,"x":%s}}' % (plain[:-1], row["x"]))
    found = parse([*values, "odd"] if odd else values)[: len(rows)]
    assert [{k: f["minValues"][k] for k in row} for f, row in zip(found, rows, strict=True)] == rows
    assert all(f["numRecords"] == 7 for f in found)


@pytest.mark.parametrize("unit, zone", [("us", "UTC"), ("us", None), ("ns", None), ("ns", "UTC"), ("ms", None)])
@pytest.mark.parametrize(
    "text", ["2024-01-02T03:04:05.678Z", "2024-01-02 03:04:05.678", "2024-01-01T19:04:05.678-08:00"]
)
def test_times_in_any_type_that_a_checkpoint_has(unit, zone, text):
    kind = pa.struct([("maxValues", pa.struct([("t", pa.timestamp(unit, zone))]))])
    found = parse_stats(texts([json.dumps({"maxValues": {"t": text}})]), kind)
    moment = found.chunk(0).field("maxValues").field("t").cast(pa.timestamp("us", zone)).to_pylist()
    assert [m.replace(tzinfo=UTC) for m in moment] == [dt.datetime(2024, 1, 2, 3, 4, 5, 678000, UTC)]


def test_the_type_of_statistics_mirrors_the_schema():
    kind = stats_type(SCHEMA, [("l",), ("n", "deep", "s"), ("v",), ("gone",)])
    assert kind.field("minValues").type == pa.struct(
        [("l", pa.int64()), ("n", pa.struct([("deep", pa.struct([("s", pa.string())]))]))]
    )
    assert kind.field("nullCount").type.field("v").type == pa.int64()
    assert [f.name for f in stats_type(SCHEMA, [])] == ["numRecords", "tightBounds"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        lines.filter(lambda t: t is None or not t.endswith("}{}"))
        | st.integers(0, 10**18).map(lambda n: f'{{"numRecords":{n},"minValues":{{}}}}'),
        max_size=5,
    )
)
def test_record_counts_are_what_parsing_finds(values):
    whole = (
        [None if row is None else row["numRecords"] for row in parse(values, stats_type(SCHEMA, []))] if values else []
    )
    assert record_counts(texts(values)).to_pylist() == whole


def test_many_and_long_lines_are_parsed_in_pieces(monkeypatch):
    monkeypatch.setattr(stats, "_CHUNK_BYTES", 1000)
    values = [json.dumps({"numRecords": i, "minValues": {"s": "x" * (i % 300)}}) for i in range(200)] + [None, "bad"]
    found = parse(values)
    assert [f["numRecords"] for f in found[:200]] == list(range(200)) and found[200] is None
    assert found[99]["minValues"]["s"] == "x" * 99


def test_decimals_with_too_many_digits_are_unknown():
    kind = stats_type(Schema([Field("x", "decimal(4,2)")]), [("x",)])
    values = ["1.25", "1.255", "123.4", "99.99", "1e1", '"1.5"']
    found = parse([f'{{"minValues":{{"x":{v}}}}}' for v in values], kind)
    known = [None if f["minValues"] is None else f["minValues"]["x"] for f in found]
    assert known[:5] == [Decimal("1.25"), None, None, Decimal("99.99"), Decimal("10.00")]


def test_a_number_beyond_a_float_is_infinite_on_both_paths():
    text = '{"maxValues": {"f": 3.4028235677973366e+38}}'
    odd = '{"maxValues": {"f": 3.4028235677973366e+38, "d": []}}'
    assert [row["maxValues"]["f"] for row in parse([text, odd])] == [float("inf")] * 2
