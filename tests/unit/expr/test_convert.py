"""Predicates of other libraries keep the rows that those libraries keep."""

from __future__ import annotations

import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr.arrow import true_mask
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.expr.sql import to_sql
from deltalite.model.expr import Column, col, lit
from deltalite.model.types import Schema

UTC = dt.timezone.utc
NAN = float("nan")
TABLE = pa.table(
    {
        "a": pa.array([1, 2, 3, None, -5, 0], pa.int64()),
        "i": pa.array([1, 2, None, 4, 5, 6], pa.int32()),
        "s": ["x", 'b"c', "d\\e", None, "abc", ""],
        "f": [1.0, NAN, -0.0, None, 1e300, 2.5],
        "b": [True, False, None, True, False, None],
        "d": [dt.date(2020, 1, 1), None, dt.date(1999, 12, 31), dt.date(2021, 6, 5), dt.date(2020, 1, 2),
              dt.date(1, 1, 1)],
        "t": pa.array([dt.datetime(2020, 1, 1, tzinfo=UTC), None,
                       *[dt.datetime(2021, 1, 1, 1, 2, 3, 4, tzinfo=UTC)] * 4],
                      pa.timestamp("us", "UTC")),
        "n": pa.array([dt.datetime(2020, 1, 1), None, *[dt.datetime(2021, 1, 1)] * 4], pa.timestamp("us")),
        "x": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2"), decimal.Decimal("0"), None, None],
                      pa.decimal128(10, 2)),
        "st": pa.array([{"x": 1}, {"x": None}, None, {"x": 3}, {"x": 4}, {"x": 5}], pa.struct([("x", pa.int64())])),
        "we ird `and` 1": pa.array([1, 2, 3, 4, 5, None], pa.int64()),
    }
)  # fmt: skip
SCHEMA = Schema.from_arrow(TABLE.schema)
f = pc.field


def rows(predicate) -> list[bool]:
    return true_mask(bind_predicate(to_expr(predicate, SCHEMA), SCHEMA), TABLE).to_pylist()


def kept_by_pyarrow(expression) -> list[bool]:
    numbered = TABLE.append_column("#", pa.array(range(len(TABLE))))
    found = set(numbered.filter(expression)["#"].to_pylist())
    return [i in found for i in range(len(TABLE))]


PYARROW = [
    f("a") > 1,
    1 < f("a"),
    (f("a") == 1) & (f("s") != "q") | ~(f("f") <= 2.5),
    ~(f("a") > 1),
    f("f") > 1.5,
    f("f") >= 1.5,
    f("f") < 1.5,
    f("f") != 1.0,
    ~(f("f") > 1.5),
    ~(f("f") != 1.0),
    ~(f("f") == 2.5),
    pc.scalar(1.5) < f("f"),
    f("f") > 1,
    f("a") > 1.5,
    f("a").isin([1, 2]),
    ~f("a").isin([1, 2]),
    f("a").isin([1, None]),
    ~f("a").isin([1, None]),
    f("a").isin(list(range(100))),
    f("s").isin(["x", 'b"c', "d\\e"]),
    f("f").isin([1.0, 2.5]),
    f("a").is_valid(),
    f("a").is_null(),
    ~f("a").is_null(),
    f("f").is_null(nan_is_null=True),
    f("f").is_nan(),
    ~f("f").is_nan(),
    f("t") > pa.scalar(dt.datetime(2020, 6, 1, tzinfo=UTC), pa.timestamp("us", "UTC")),
    f("n") > dt.datetime(2020, 6, 1),
    f("n") > pa.scalar(dt.datetime(2020, 6, 1), pa.timestamp("ns")),
    f("d") == dt.date(2020, 1, 1),
    f("x") == decimal.Decimal("1.50"),
    f("x") > pa.scalar(decimal.Decimal("-1"), pa.decimal128(5, 0)),
    f("st", "x") == 1,
    f("i").cast(pa.int64()) == 5,
    f("b") == True,  # noqa: E712
    f("b"),
    ~f("b"),
    pc.if_else(f("a").is_valid(), f("a").isin([1]), False),
    pc.if_else(f("a").is_valid(), f("a").isin([1]), pa.scalar(None, pa.bool_())),
    ~pc.if_else(f("a").is_valid(), f("a").isin([1]), pa.scalar(None, pa.bool_())),
    pc.if_else(f("b"), f("a") > 0, f("a") < 0),
    f("we ird `and` 1") == 1,
    pc.starts_with(f("s"), "ab"),
    pc.ends_with(f("s"), "c"),
    pc.match_substring(f("s"), "e"),
    pc.match_like(f("s"), "_b%"),
    f("s") == pa.scalar("x", pa.large_string()),
    f("a") == pa.scalar(1, pa.int8()),
    f("a") == pa.scalar(3, pa.uint64()),
    pc.scalar(True),
    pc.scalar(False),
]


@pytest.mark.parametrize("expression", PYARROW, ids=[str(e)[:60] for e in PYARROW])
def test_a_pyarrow_expression_keeps_the_same_rows(expression):
    assert rows(expression) == kept_by_pyarrow(expression)


@pytest.mark.parametrize(
    "expression",
    [
        f("a") + 1 > 2,
        f("f") == NAN,
        f("f") > f("f"),
        f("f").isin([0.0]),
        f("nowhere") == 1,
        f("A") == 1,
        f(0) == 1,
        pc.utf8_lower(f("s")) == "x",
        pc.starts_with(f("s"), "AB", ignore_case=True),
        f("f").cast(pa.int64()) == 1,
        f("n") == pa.scalar(1, pa.timestamp("ns")),
        pc.and_(f("b"), f("b")),
    ],
    ids=str,
)
def test_a_pyarrow_expression_without_counterpart_is_refused(expression):
    with pytest.raises(ExpressionError):
        to_expr(expression, SCHEMA)


def test_in_as_duckdb_pushes_it_down_stays_an_in_that_prunes():
    pushed = pc.if_else(f("a").is_valid(), f("a").isin([1, 2]), pa.scalar(None, pa.bool_()))
    assert to_sql(to_expr(pushed, SCHEMA)) == "a IN (1L, 2L)"


def polars_cases():
    pl = pytest.importorskip("polars")
    c = pl.col
    return [
        (c("a") > 1) & (c("s") == "x") | ~c("b"),
        c("a").is_in([1, 2]),
        ~c("a").is_in([1, 2]),
        c("a").is_in([1, None]),
        ~c("a").is_in([1, None]),
        c("s").is_in(["x", 'b"c']),
        c("a").is_null(),
        c("a").is_not_null(),
        c("f").is_nan(),
        c("f").is_not_nan(),
        c("f") > 1.5,
        c("f") <= 1.5,
        ~(c("f") > 1.5),
        c("t") > pl.lit(dt.datetime(2020, 6, 1, tzinfo=UTC)),
        c("n") > dt.datetime(2020, 6, 1),
        c("d") == dt.date(2020, 1, 1),
        c("a").is_between(1, 2),
        c("a").is_between(1, 2, closed="none"),
        c("a").eq_missing(None),
        c("a").ne_missing(1),
        c("s").str.starts_with("ab"),
        c("s").str.ends_with("c"),
        c("s").str.contains("b", literal=True),
        c("st").struct.field("x") == 1,
        c("i").cast(pl.Int64) == 5,
        pl.lit(True),
    ]


@pytest.mark.parametrize("index", range(26))
def test_a_polars_expression_keeps_the_same_rows(index):
    pl = pytest.importorskip("polars")
    expression = polars_cases()[index]
    frame = pl.from_arrow(TABLE).with_row_index("#")
    found = set(frame.filter(expression)["#"].to_list())
    assert rows(expression) == [i in found for i in range(len(TABLE))], str(expression)


def test_a_polars_expression_without_counterpart_is_refused():
    pl = pytest.importorskip("polars")
    for expression in (pl.col("a") + 1 > 2, pl.col("A") == 1, pl.col("a").sum() > 1, pl.col("s").str.contains("a.c"),
                       pl.col("f").cast(pl.Int64) == 1, pl.col("f") == NAN):  # fmt: skip
        with pytest.raises(ExpressionError):
            to_expr(expression, SCHEMA)


@pytest.mark.parametrize(
    ("filters", "sql"),
    [
        ([("a", "=", 1)], "a = 1"),
        ([("a", "==", 1), ("s", "!=", "x")], "a = 1 AND s != 'x'"),
        ([[("a", "=", 1)], [("a", "=", 2), ("b", "=", True)]], "a = 1 OR a = 2 AND b = true"),
        (("a", ">", 1), "a > 1"),
        ([("a", "in", [1, 2])], "a IN (1, 2) IS TRUE"),
        ([("A", "=", "7")], "a = CAST('7' AS bigint)"),
        ([("d", ">=", "2020-01-01")], "d >= CAST('2020-01-01' AS date)"),
        ([("s", "=", "")], "s = ''"),
        ([("a", "=", "")], "a IS NULL"),
        ([("a", "!=", None)], "a IS NOT NULL"),
        ([("a", "in", ["1", None])], "(a IN (CAST('1' AS bigint)) OR a IS NULL) IS TRUE"),
        ([("st.x", "=", 1)], "st.x = 1"),
        ([], "true"),
    ],
)
def test_a_dnf_filter_as_sql(filters, sql):
    assert to_sql(to_expr(filters, SCHEMA)) == sql


@pytest.mark.parametrize(
    "filters",
    [
        [("a", "in", [1, 2])],
        [("a", "not in", [1, 2])],
        [("a", "in", [1, None])],
        [("a", "not in", [1, None])],
        [("a", ">", 1), ("s", "!=", "x")],
        [[("a", "=", 1)], [("s", "=", "abc")]],
        [("d", "<", dt.date(2020, 1, 2))],
        [("t", "<", dt.datetime(2021, 1, 1, tzinfo=UTC))],
    ],
)
def test_a_dnf_filter_keeps_the_rows_that_pyarrow_keeps(filters):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert rows(filters) == kept_by_pyarrow(parquet.filters_to_expression(filters))


@pytest.mark.parametrize(
    "filters",
    [
        [("nope", "=", 1)],
        [("a", "~", 1)],
        [("a", "=")],
        [("a", "in", "xy")],
        [("a", "<", None)],
        [1],
        [("a", "=", 1), "b"],
    ],
)
def test_a_malformed_dnf_filter_is_an_error(filters):
    with pytest.raises(ExpressionError):
        to_expr(filters, SCHEMA)


def test_other_forms():
    assert to_expr("a = 1", SCHEMA) == to_expr(to_expr("a = 1", SCHEMA), SCHEMA)
    bound = bind_predicate("a = 1", SCHEMA)
    assert to_expr(bound, SCHEMA) == bound.expr
    assert col("a.b") == Column(("a", "b"))
    assert lit(True).value is True  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgumentError):
        to_expr(5, SCHEMA)
