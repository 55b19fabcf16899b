"""Expressions built in Python say what the same SQL says."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from deltalite import call, col, lit
from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr.arrow import evaluate
from deltalite.expr.bind import bind
from deltalite.expr.convert import to_expr, to_value
from deltalite.model.types import Schema

ROWS = pa.RecordBatch.from_pydict(
    {"a": [1, 2, None, -4], "b": [1.5, None, 0.0, 2.0], "s": ["x", "Y%", None, ""], "d": [dt.date(2026, 1, 2)] * 4}
)
SCHEMA = Schema.from_arrow(ROWS.schema)


def values(expression) -> list:
    return evaluate(bind(to_expr(expression, SCHEMA), SCHEMA), ROWS).to_pylist()


@pytest.mark.parametrize(
    ("built", "sql"),
    [
        (col("a") == 2, "a = 2"),
        (col("a") != 2, "a != 2"),
        ((col("a") > 0) & (col("b") < 2), "a > 0 AND b < 2"),
        ((col("a") >= 2) | col("b").is_null(), "a >= 2 OR b IS NULL"),
        (~(col("a") <= 1), "NOT a <= 1"),
        (col("s").is_not_null(), "s IS NOT NULL"),
        (col("a").same_as(None), "a <=> NULL"),
        (col("a").is_in([1, -4]), "a IN (1, -4)"),
        (col("a").between(-4, 1), "a BETWEEN -4 AND 1"),
        (col("s").like("Y%"), "s LIKE 'Y%'"),
        (2 * col("a") - 1 + col("a") % 2, "2 * a - 1 + a % 2"),
        (10 / (1 - col("a") + 10), "10 / (1 - a + 10)"),
        (-col("a"), "-a"),
        (col("a").cast("string"), "CAST(a AS string)"),
        (call("UPPER", col("s")), "upper(s)"),
        (col("d") == dt.date(2026, 1, 2), "d = DATE '2026-01-02'"),
        (lit(3) < col("a") * col("b"), "3 < a * b"),
        (True & (col("a") > 0), "true AND a > 0"),
    ],
)
def test_operators_are_their_sql(built, sql):
    assert values(built) == values(sql)


def test_an_expression_has_no_truth_of_its_own():
    with pytest.raises(InvalidArgumentError, match="neither true nor false"):
        bool(col("a") > 1)
    with pytest.raises(InvalidArgumentError, match="neither true nor false"):
        assert 0 < col("a") < 3
    with pytest.raises(ExpressionError, match="nope"):
        values(col("nope") > 1)


def test_what_a_column_is_assigned():
    assert to_value("a + 1", SCHEMA) == "a + 1"
    assert to_value(col("a") + 1, SCHEMA) == (col("a") + 1).expr
    assert to_value(5, SCHEMA) == lit(5).expr
