"""Generated columns and column defaults."""

from __future__ import annotations

import datetime as dt
import math

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_tables import config, default, generated, write

from deltalite import features
from deltalite.exceptions import ConstraintViolation, ExpressionError, InvalidArgumentError, SchemaMismatchError
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.types import Field, Schema, StructType

NUMBERS = st.one_of(st.none(), st.integers(-5, 5))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
def test_generated_columns_are_computed_when_absent_and_compared_when_given(rows: list) -> None:
    table = config(Field("a", "long"), Field("g", "long", metadata=generated("a * 2")))
    a = pa.array([x for x, _ in rows], pa.int64())
    truth = [None if x is None else 2 * x for x, _ in rows]
    assert [row["g"] for row in write(table, pa.table({"a": a}))] == truth
    assert [row["g"] for row in write(table, pa.table({"a": a, "g": pa.array(truth, pa.int64())}))] == truth
    claimed = [y for _, y in rows]
    data = pa.table({"a": a, "g": pa.array(claimed, pa.int64())})
    wrong = sum(c != t for c, t in zip(claimed, truth, strict=True))
    if wrong:
        with pytest.raises(ConstraintViolation, match="generated column 'g'") as caught:
            write(table, data)
        assert caught.value.count == wrong and set(caught.value.rows[0]) == {"g", "a"}
    else:
        assert write(table, data)


@pytest.mark.trap(64)
def test_trap_64_null_and_nan_equal_themselves() -> None:
    table = config(Field("a", "double"), Field("g", "double", metadata=generated("a")))
    values = pa.array([None, math.nan, -0.0])
    assert len(write(table, pa.table({"a": values, "g": values}))) == 3


def test_the_expression_takes_the_type_of_its_column() -> None:
    day = Field("day", "date", metadata=generated("CAST(at AS DATE)"))
    year = Field("year", "integer", metadata=generated("year(at)"))
    text = Field("t", "string", metadata=generated("a"))
    table = config(Field("at", "timestamp"), day, year, text, Field("a", "long"))
    at = pa.array([dt.datetime(2026, 5, 6, 23, 59, tzinfo=dt.timezone.utc)])
    (row,) = write(table, pa.table({"at": at, "a": [7]}))
    assert (row["day"], row["year"], row["t"]) == (dt.date(2026, 5, 6), 2026, "7")


def test_generated_partition_columns() -> None:
    table = config(Field("a", "long"), Field("p", "long", metadata=generated("a % 2")), partition_by=("p",))
    assert sorted(row["a"] for row in write(table, pa.table({"a": [1, 2, 3]}))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("h + 1", "h"), ("nope", "nope"), ("rand()", "rand"), ("year(now())", "now"), ("sum(a)", "sum")],
)
def test_expressions_that_are_not_legal(text: str, reason: str) -> None:
    """No other generated columns, no unknown names, nothing that changes by itself, no aggregates."""
    fields = [Field("a", "long"), *(Field(n, "long", metadata=generated(t)) for n, t in (("h", "a"), ("g", text)))]
    with pytest.raises((ExpressionError, InvalidArgumentError), match=reason):
        config(*fields)


def test_nested_fields_cannot_be_generated() -> None:
    with pytest.raises(InvalidArgumentError, match=r"s\.g"):
        config(Field("a", "long"), Field("s", StructType([Field("g", "long", metadata=generated("a"))])))


@pytest.mark.trap(66)
def test_trap_66_a_default_fills_absent_columns_and_never_an_explicit_null() -> None:
    table = config(Field("id", "long"), Field("x", "long", metadata=default("5")))
    assert write(table, pa.table({"id": [1]})) == [{"id": 1, "x": 5}]
    assert write(table, pa.table({"id": [1], "x": pa.array([None], pa.int64())})) == [{"id": 1, "x": None}]


def test_a_default_meets_not_null_and_feeds_generated_columns() -> None:
    table = config(
        Field("id", "long"),
        Field("g", "long", metadata=generated("x + 1")),
        Field("x", "integer", False, default("40 + 1")),
    )
    assert write(table, pa.table({"id": [1]})) == [{"id": 1, "g": 42, "x": 41}]


def test_defaults_take_the_type_of_their_column_and_the_present_time() -> None:
    table = config(
        Field("id", "long"),
        Field("d", "decimal(5,2)", metadata=default("1.5")),
        Field("s", "string", metadata=default("concat('a', 'b')")),
        Field("at", "timestamp", metadata=default("current_timestamp()")),
        Field("day", "date", metadata=default("CURRENT_DATE")),
        Field("n", "string", metadata=default("NULL")),
    )
    before = dt.datetime.now(dt.timezone.utc)
    (row,) = write(table, pa.table({"id": [1]}))
    assert (str(row["d"]), row["s"], row["n"]) == ("1.50", "ab", None)
    assert before - dt.timedelta(seconds=1) <= row["at"] <= dt.datetime.now(dt.timezone.utc)
    assert row["day"] >= before.date()


def test_defaults_that_are_no_constants_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="names id"):
        config(Field("id", "long"), Field("x", "long", metadata=default("id + 1")))
    with pytest.raises(ExpressionError):
        config(Field("id", "long"), Field("x", "long", metadata=default("uuid()")))


def test_a_default_that_only_spark_knows_stands_in_the_way_of_rows_that_need_it_and_of_no_others() -> None:
    fields = [Field("id", "long"), Field("x", "string", metadata=default("uuid()"))]
    protocol = Protocol(1, 7, None, ("allowColumnDefaults",))
    table = TableConfig(protocol, Metadata("id", Schema(fields).to_json()))
    assert write(table, pa.table({"id": [1], "x": ["given"]}))
    with pytest.raises(ExpressionError, match="uuid"):
        write(table, pa.table({"id": [1]}))


@pytest.mark.trap(28)
def test_trap_28_rules_of_features_that_are_not_listed_are_ignored() -> None:
    fields = [Field("id", "long"), Field("g", "long", metadata=generated("id * 2"))]
    metadata = Metadata("id", Schema(fields).to_json(), configuration={"delta.constraints.c": "id > 0"})
    unlisted = TableConfig(Protocol(1, 7, None, ()), metadata)
    assert features.write_steps(unlisted) == ()
    assert write(unlisted, pa.table({"id": [-1]})) == [{"id": -1, "g": None}]
    listed = TableConfig(Protocol(1, 7, None, ("checkConstraints", "generatedColumns")), metadata)
    with pytest.raises(ConstraintViolation):
        write(listed, pa.table({"id": [-1]}))


def test_a_missing_not_null_column_without_a_rule_is_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="NOT NULL"):
        write(config(Field("id", "long"), Field("x", "long", False)), pa.table({"id": [1]}))
