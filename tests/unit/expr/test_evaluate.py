"""Evaluation over vectors equals evaluation row by row, errors included."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.expr.bind import bind, bind_predicate
from deltalite.expr.sql import to_sql
from deltalite.expr.vectors import arrow_type
from deltalite.model.expr import Call, Case, Column, call, lit
from deltalite.model.types import Field, Schema

from .strategies import SCHEMA, ModelError, batch_of, conditions, model, same, scalar_of, values

FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SMALL = Schema(
    [Field("i", "integer"), Field("l", "long"), Field("f", "double"), Field("s", "string"), Field("b", "boolean")]
)
ROWS = st.lists(st.fixed_dictionaries({n: values(n) for n in SMALL.names}), min_size=1, max_size=6)


@st.composite
def numbers(draw: Any, depth: int = 3) -> Any:
    """Expressions of integers that overflow, divide by zero and fail to cast on some rows."""
    kind = draw(st.sampled_from(["column", "literal", "op", "case", "coalesce", "cast"])) if depth else "column"
    if kind == "column":
        return Column((draw(st.sampled_from("il")),))
    if kind == "literal":
        return lit(draw(st.integers(-3, 3) | st.sampled_from([2**31 - 1, 2**63 - 1])))
    if kind == "op":
        return Call(draw(st.sampled_from("+-*")), (draw(numbers(depth - 1)), draw(numbers(depth - 1))))
    if kind == "case":
        return Case(((draw(checks(depth - 1)), draw(numbers(depth - 1))),), draw(numbers(depth - 1)))
    if kind == "cast":
        return call("int", Column(("s",)))
    return Call("coalesce", (draw(numbers(depth - 1)), draw(numbers(depth - 1))))


@st.composite
def checks(draw: Any, depth: int = 3) -> Any:
    kind = draw(st.sampled_from(["compare", "logic", "divide", "text", "flag"])) if depth else "flag"
    if kind == "compare":
        return Call(
            draw(st.sampled_from(["=", "<", ">=", "<=>", "!="])), (draw(numbers(depth - 1)), draw(numbers(depth - 1)))
        )
    if kind == "logic":
        name = draw(st.sampled_from(["and", "or", "not"]))
        return Call(name, tuple(draw(checks(depth - 1)) for _ in range(1 if name == "not" else 2)))
    if kind == "divide":
        return Call(
            ">", (Call("/", (lit(1), Column((draw(st.sampled_from("ilf")),)))), lit(draw(st.sampled_from([0, 1]))))
        )
    if kind == "text":
        return Call("like", (Column(("s",)), lit(draw(st.sampled_from(["a%", "%b%", "_", "ab_%"])))))
    return Column(("b",))


def check(expr: Any, rows: list[dict[str, Any]]) -> None:
    try:
        bound = bind(expr, SMALL)
    except ExpressionError:
        return
    try:
        expected = [model(bound.expr, row) for row in rows]
    except ModelError:
        with pytest.raises(ExpressionError):
            evaluate(bound, batch_of(rows, SMALL))
        return
    found = evaluate(bound, batch_of(rows, SMALL))
    assert found.type == arrow_type(bound.type)
    got = [scalar_of(found, i) for i in range(len(rows))]
    assert all(map(same, got, expected)), (got, expected)


@FAST
@given(checks(), ROWS)
def test_conditions_equal_the_model(expr, rows):
    check(expr, rows)


@FAST
@given(numbers(), ROWS)
def test_numbers_equal_the_model(expr, rows):
    check(expr, rows)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(conditions(), ROWS, st.integers(0, 3))
def test_slices_tables_and_chunks_give_the_same(expr, rows, skip):
    bound = bind(expr, SMALL) if bindable(expr) else bind("b", SMALL)
    batch = batch_of(rows, SMALL)
    try:
        whole = evaluate(bound, batch)
    except ExpressionError:
        return
    assert evaluate(bound, batch.slice(skip)).to_pylist() == whole.slice(skip).to_pylist() or has_nan(whole)
    table = pa.Table.from_batches([batch.slice(0, skip), batch.slice(skip)])
    assert evaluate(bound, table).equals(whole) or has_nan(whole)


def bindable(expr: Any) -> bool:
    try:
        bind(expr, SMALL)
    except ExpressionError:
        return False
    return True


def has_nan(found: pa.Array) -> bool:
    return pa.types.is_floating(found.type)


LAZY = Schema([Field("a", "long"), Field("b", "long"), Field("s", "string")])
LAZY_ROWS = [{"a": 1, "b": 0, "s": "x"}, {"a": 4, "b": 2, "s": "7"}, {"a": None, "b": None, "s": None}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("case when b <> 0 then a / b end", [None, 2.0, None]),
        ("case when b = 0 then 0 else a / b end", [0.0, 2.0, None]),
        ("if(b <> 0, a / b, -1)", [-1.0, 2.0, -1.0]),
        ("b <> 0 and a / b > 1", [False, True, None]),
        ("b = 0 or a / b > 1", [True, True, None]),
        ("coalesce(cast(if(s = 'x', null, s) as int), 0)", [0, 7, 0]),
        ("coalesce(a, 1 / b)", [1.0, 4.0, None]),
        ("nullif(b, 0)", [None, 2, None]),
        ("a / nullif(b, 0)", [None, 2.0, None]),
        ("case when s rlike '^[0-9]+$' then cast(s as int) else -1 end", [-1, 7, -1]),
        ("case when b <> 0 then case when a / b > 1 then 'big' else 'small' end end", [None, "big", None]),
        ("not (b = 0 or a / b > 5)", [False, True, None]),
    ],
)
def test_a_part_that_may_fail_is_computed_only_for_the_rows_that_reach_it(text, expected):
    assert evaluate(bind(text, LAZY), batch_of(LAZY_ROWS, LAZY)).to_pylist() == expected


@pytest.mark.parametrize(
    "text", ["a / b > 1 and b <> 0", "1 / b", "cast(s as int)", "coalesce(1 / b, a)", "a % b = 0 or b = 0"]
)
def test_a_part_that_is_reached_fails(text):
    with pytest.raises(ExpressionError):
        evaluate(bind(text, LAZY), batch_of(LAZY_ROWS, LAZY))


def test_true_mask_has_no_nulls():
    mask = true_mask(bind_predicate("a > 1", LAZY), batch_of(LAZY_ROWS, LAZY))
    assert mask.to_pylist() == [False, True, False]
    assert mask.null_count == 0
    assert true_mask(bind_predicate("null", LAZY), batch_of(LAZY_ROWS, LAZY)).to_pylist() == [False] * 3


def test_a_constant_is_repeated_and_no_rows_give_no_values():
    assert evaluate(bind("1 + 1", LAZY), batch_of(LAZY_ROWS, LAZY)).to_pylist() == [2, 2, 2]
    empty = batch_of([], LAZY)
    for text in (
        "1",
        "a / b",
        "case when b <> 0 then a / b end",
        "upper(s)",
        "s like 'a_'",
        "a in (1, 2)",
        "cast(s as date)",
    ):
        bound = bind(text, LAZY)
        assert evaluate(bound, empty).type == arrow_type(bound.type)
        assert len(evaluate(bound, pa.Table.from_batches([], empty.schema))) == 0


def test_columns_in_other_encodings_are_read_as_their_type():
    schema = Schema([Field("s", "string"), Field("t", "timestamp"), Field("k", "long")])
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["a", "b", None]).dictionary_encode(), pa.array([1_000, 2_000, None], pa.timestamp("ns", "UTC")),
         pa.array([1, 2, None], pa.int32())], names=["s", "t", "k"],
    )  # fmt: skip
    assert evaluate(bind("s = 'b'", schema), batch).to_pylist() == [False, True, None]
    assert evaluate(bind("unix_micros(t)", schema), batch).to_pylist() == [1, 2, None]
    assert evaluate(bind("k + 1", schema), batch).to_pylist() == [2, 3, None]
    large = batch.set_column(0, "s", pa.array(["a", "b", None], pa.large_string()))
    assert evaluate(bind("upper(s)", schema), large).type == pa.string()


def test_nested_fields_see_the_nulls_of_their_parents():
    schema = Schema.from_arrow(
        pa.schema([("st", pa.struct([("x", pa.int64()), ("in", pa.struct([("y", pa.string())]))]))])
    )
    batch = pa.RecordBatch.from_pylist(
        [{"st": {"x": 1, "in": {"y": "a"}}}, {"st": None}, {"st": {"x": None, "in": None}}], schema=schema.to_arrow()
    )
    assert evaluate(bind("ST.X", schema), batch).to_pylist() == [1, None, None]
    assert evaluate(bind("st.in.y = 'a'", schema), batch).to_pylist() == [True, None, None]
    assert evaluate(bind("st.in.y is null", schema), batch).to_pylist() == [False, True, True]


def test_maps_and_arrays_of_sliced_batches():
    t = pa.schema([("m", pa.map_(pa.string(), pa.int64())), ("l", pa.list_(pa.int64()))])
    schema = Schema.from_arrow(t)
    batch = pa.RecordBatch.from_pylist(
        [
            {"m": [("z", 0)], "l": [9]},
            {"m": [("a", 1), ("b", None)], "l": [1, None, 3]},
            {"m": None, "l": None},
            {"m": [], "l": []},
        ],
        schema=t,
    )
    for start in range(4):
        part = batch.slice(start)
        expect = lambda values: values[start:]  # noqa: B023
        assert evaluate(bind("m['a']", schema), part).to_pylist() == expect([None, 1, None, None])
        assert evaluate(bind("m.a", schema), part).to_pylist() == expect([None, 1, None, None])
        assert evaluate(bind("size(l)", schema), part).to_pylist() == expect([1, 3, None, 0])
        assert evaluate(bind("get(l, 2)", schema), part).to_pylist() == expect([None, 3, None, None])
        assert evaluate(bind("array_contains(l, 3)", schema), part).to_pylist() == expect([False, True, None, False])
        assert evaluate(bind("map_keys(m)", schema), part).to_pylist() == expect([["z"], ["a", "b"], None, []])
        assert evaluate(bind("map_values(m)", schema), part).to_pylist() == expect([[0], [1, None], None, []])
        assert evaluate(bind("map_contains_key(m, 'b')", schema), part).to_pylist() == expect(
            [False, True, None, False]
        )
        assert evaluate(bind("array_position(l, 3)", schema), part).to_pylist() == expect([0, 3, None, 0])


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(conditions(1))
def test_the_text_of_a_bound_expression_binds_to_itself(expr):
    bound = bind(expr, SCHEMA)
    assert to_sql(bind(to_sql(bound), SCHEMA)) == to_sql(bound)


def test_bound_expressions_travel_to_workers():
    bound = bind_predicate("a > 1 and s like 'x%' and cast(a as string) in ('1', '2')", LAZY)
    assert pickle.loads(pickle.dumps(bound)) == bound
    assert hash(bound) == hash(pickle.loads(pickle.dumps(bound)))


def test_evaluation_does_not_import_pandas():
    """pyarrow imports pandas at many an innocent call; it costs a second."""
    code = """
import sys
from deltalite.expr.bind import bind, bind_predicate
from deltalite.expr.sql import to_sql
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.expr.prune import keep_mask, ColumnStats
from deltalite.expr.parse import parse_schema
from deltalite.model.arrow import array
import pyarrow as pa
schema = parse_schema('a bigint, f double, s string, t timestamp, d date, x decimal(10,2), b boolean')
rows = [array(v, f.type) for v, f in zip(
    ([1, None], [1.5, None], ['7', None], [1, None], [1, None], [1, None], [True, None]), schema.to_arrow())]
batch = pa.RecordBatch.from_arrays(rows, schema=schema.to_arrow())
for text in sys.stdin.read().splitlines():
    evaluate(bind(text, schema, time_zone='Europe/Berlin'), batch)
class Stats:
    length, num_records = 2, array([5, 5], pa.int64())
    def column(self, path):
        t = schema.get(path[0]).type.to_arrow()
        return ColumnStats(pa.nulls(2, t), pa.nulls(2, t), array([0, None], pa.int64()))
for text in ('a > 1', 'f in (1, 2)', "s like 'a%'", 'cast(t as date) = date "2020-01-01"', 'x > 1.5', 'b',
             'd + 1 > "2020-01-01"'):
    keep_mask(bind_predicate(text, schema), Stats())
assert 'pandas' not in sys.modules, 'pandas'
assert 'pyarrow.dataset' not in sys.modules and 'pyarrow.acero' not in sys.modules
"""
    texts = [
        "a > 1 and f <= 2.5", "a in (1, 2, null)", "f in (1.5)", "s = '7'", "cast(s as int) + 1", "cast(s as double)",
        "cast(s as decimal(5,1))", "cast(f as string)", "cast(x as string)", "cast(t as string)", "cast(d as string)",
        "cast('2020-01-01 ' || s || ':00:00' as timestamp)", "year(t) + month(d) + hour(t)", "date_trunc('month', t)",
        "d + interval 1 month", "t - interval 3 hours", "x * 2 / 3", "x % 2", "a div 2", "round(x, 1)", "round(f, 1)",
        "substring(s, 1, 2) || lpad(s, 3, '0')", "s rlike '^[0-9]$'", "regexp_replace(s, '7', '8')", "split(s, ',')",
        "concat_ws('-', s, s)", "hash(a, s, f, x)", "md5(s)", "case when a = 1 then 1 / a else 0 end", "coalesce(a, 0)",
        "greatest(a, 2)", "array(a, 1)[0]", "date_format(t, 'yyyy-MM-dd EEE')", "to_timestamp(s, 's')",
        "try_divide(a, 0)",
        "a <=> null", "isnan(f)", "nullif(a, 1)", "t > current_timestamp() - interval 7 days", "named_struct('k', a).k",
    ]  # fmt: skip
    found = subprocess.run([sys.executable, "-c", code], input="\n".join(texts), capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
