"""Arrow columns as JSON and as text, against what pyarrow and the json module say of the same values."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import io
import json
import math
import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.cli.output.streams import write_stream
from deltalite.cli.output.values import json_column, safe_column, text_column

UTC = dt.timezone.utc
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
moments = st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31))

SCALARS = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint8(), st.integers(0, 255)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.string(), text),
    (pa.large_string(), text),
    (pa.string_view(), text),
    (pa.binary(), st.binary(max_size=6)),
    (pa.date32(), st.dates()),
    (pa.timestamp("us", "UTC"), moments.map(lambda m: m.replace(tzinfo=UTC))),
    (pa.timestamp("us"), moments),
    (pa.decimal128(20, 6), st.decimals(-(10**12), 10**12, places=6, allow_nan=False)),
    (pa.null(), st.none()),
]


def columns(inner):
    """An Arrow type and a strategy of values, nested a few levels deep."""
    return st.one_of(
        st.sampled_from(SCALARS),
        inner.map(lambda i: (pa.list_(i[0]), st.lists(st.none() | i[1], max_size=3))),
        inner.map(
            lambda i: (
                pa.map_(pa.string(), i[0]),
                st.dictionaries(text, st.none() | i[1], max_size=3).map(lambda d: list(d.items())),
            )
        ),
        st.tuples(inner, inner).map(
            lambda p: (
                pa.struct([("a", p[0][0]), ('odd "name"', p[1][0])]),
                st.fixed_dictionaries({"a": st.none() | p[0][1], 'odd "name"': st.none() | p[1][1]}),
            )
        ),
    )


typed = columns(st.sampled_from(SCALARS)).flatmap(lambda c: columns(st.just(c)))


@st.composite
def arrays(draw):
    arrow_type, values = draw(typed)
    rows = draw(st.lists(st.none() | values, max_size=5))
    array = pa.array(rows, arrow_type)
    start = draw(st.integers(0, len(rows)))
    return array.slice(start)


def model(value, arrow_type):
    """What JSON should hold for a Python value."""
    if value is None:
        return None
    if pa.types.is_list(arrow_type):
        return [model(v, arrow_type.value_type) for v in value]
    if pa.types.is_map(arrow_type):
        return {k: model(v, arrow_type.item_type) for k, v in value}
    if pa.types.is_struct(arrow_type):
        return {f.name: model(value[f.name], f.type) for f in arrow_type}
    if isinstance(value, float):
        return (
            value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        )
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dt.datetime):
        body = value.replace(tzinfo=None).isoformat()
        return (body.rstrip("0") if "." in body else body) + ("Z" if value.tzinfo else "")
    if isinstance(value, dt.date):
        return value.isoformat()
    return value


def same(found, expected):
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return (
        type(found) is type(expected)
        and found == expected
        or (isinstance(expected, Decimal) and Decimal(found) == expected)
    )


@settings(max_examples=300, deadline=None)
@given(arrays())
def test_json_says_what_the_values_are(array):
    texts = json_column(array).to_pylist()
    for document, value in zip(texts, array.to_pylist()):
        expected = model(value, array.type)
        exact = json.loads(document, parse_float=Decimal if "decimal" in str(array.type) else float)
        if pa.types.is_floating(array.type) and pa.types.is_float32(array.type) and isinstance(exact, float):
            assert pa.scalar(exact, pa.float32()).as_py() == expected
        elif "decimal" in str(array.type) or "float" in str(array.type):
            assert normal(json.loads(document)) == normal(json.loads(json.dumps(expected, default=float)))
        else:
            assert same(exact, expected), (document, expected)
        assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in document)


def normal(value):
    """Numbers at the precision of a float32, for nested mixtures of number types."""
    if isinstance(value, dict):
        return {k: normal(v) for k, v in value.items()}
    if isinstance(value, list):
        return [normal(v) for v in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.5e}"
    return value


def test_decimals_and_long_integers_are_exact():
    decimals = pa.array(
        [Decimal("0.1"), Decimal("-12345678901234567890.123456789"), Decimal("1E-9")], pa.decimal128(38, 9)
    )
    assert [Decimal(t) for t in json_column(decimals).to_pylist()] == decimals.to_pylist()
    assert json_column(pa.array([2**63 - 1, -(2**63)])).to_pylist() == [str(2**63 - 1), str(-(2**63))]


@settings(deadline=None)
@given(st.lists(st.none() | st.floats()))
def test_floats_read_back_and_look_like_floats(values):
    texts = text_column(pa.array(values, pa.float64())).to_pylist()
    for shown, value in zip(texts, values):
        assert (shown is None) == (value is None)
        if value is not None:
            assert float(shown) == value or math.isnan(value)
            assert any(c in shown for c in ".eEIN")


@pytest.mark.parametrize(
    "array, shown",
    [
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array([[1, 2], None], pa.list_(pa.int64(), 2)), ["[1,2]", None]),
        (pa.array([["a"], None], pa.large_list(pa.string())), ['["a"]', None]),
        (pa.array([["a"], None], pa.list_view(pa.string())), ['["a"]', None]),
        (pa.array([1], pa.time64("us")), ["00:00:00.000001"]),
        (pa.array([uuid.UUID(int=7).bytes], pa.uuid()), [str(uuid.UUID(int=7))]),
        (pa.array([b"ab"], pa.binary(2)), ["YWI="]),
        (pa.chunked_array([["a"], ["b", None]]), ["a", "b", None]),
        (
            pa.array([-62135596800000000, 253402300799999999], pa.timestamp("us", "UTC")),
            ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
        ),
        (pa.array([1], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001"]),
    ],
)
def test_types_that_queries_return(array, shown):
    assert text_column(array).to_pylist() == shown


@pytest.mark.bug("S-19")
def test_control_characters_are_shown():
    assert safe_column(pa.array(["\x1b[31mred", "a\tb\nc", "\u202egpj", None])).to_pylist() == [
        "\\x1b[31mred",
        "a\\tb\\nc",
        "\\u202egpj",
        None,
    ]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.none() | text.filter(lambda t: "\0" not in t), st.none() | st.integers(-99, 99)), max_size=6)
)
def test_csv_reads_back_with_the_csv_module(rows):
    out = printed("csv", rows)
    found = list(csv.reader(io.StringIO(out, newline="")))
    assert found[0] == ["s", 'odd "n"']
    assert [tuple(r) for r in found[1:]] == [(s or "", "" if n is None else str(n)) for s, n in rows]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.none() | text, st.none() | st.integers(-99, 99)), max_size=6))
def test_tsv_and_plain_keep_one_line_per_row(rows):
    for format in ("tsv", "plain"):
        lines = printed(format, rows).split("\n")
        assert len(lines) == len(rows) + 2 and lines[-1] == ""
        assert all(line.count("\t") == 1 for line in lines[:-1])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.none() | text, st.none() | st.integers(-99, 99)), max_size=6))
def test_json_and_ndjson_say_the_same(rows):
    expected = [{"s": s, 'odd "n"': n} for s, n in rows]
    assert json.loads(printed("json", rows)) == expected
    assert [json.loads(line) for line in printed("ndjson", rows).split("\n")[:-1]] == expected


def test_no_rows_and_no_header():
    assert printed("json", []) == "[]\n"
    assert printed("ndjson", []) == ""
    assert printed("csv", [], header=False) == ""


def printed(format: str, rows, header: bool = True) -> str:
    table = pa.table(
        {"s": pa.array([s for s, _ in rows], pa.string()), 'odd "n"': pa.array([n for _, n in rows], pa.int64())}
    )
    out = io.StringIO(newline="")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        write_stream(format, table.schema, table.to_batches(max_chunksize=2), header)
    return out.getvalue()
