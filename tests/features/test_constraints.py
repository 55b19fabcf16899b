"""Invariants, CHECK constraints and NOT NULL against a row-by-row model."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_tables import config, invariant, write

from deltalite.exceptions import ConstraintViolation, ExpressionError, InvalidTableError
from deltalite.features import write_steps
from deltalite.model.types import ArrayType, Field, MapType, StructType

MAYBE = st.one_of(st.none(), st.integers(-3, 3))
RULES = [  # SQL, and what it says of a row; None stands for SQL's null
    ("a > 0", lambda a, b: None if a is None else a > 0),
    ("a IS NOT NULL AND b IS NOT NULL", lambda a, b: a is not None and b is not None),
    ("a < b OR a IS NULL", lambda a, b: True if a is None else None if b is None else a < b),
    ("a <=> b", lambda a, b: a == b),
    ("coalesce(a, 1) IN (1, 2, 3)", lambda a, b: (1 if a is None else a) in (1, 2, 3)),
    ("CASE WHEN b <> 0 THEN a / b < 1 ELSE true END", lambda a, b: None if b and a is None else not b or a / b < 1),
]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(MAYBE, MAYBE), min_size=1, max_size=8), st.sampled_from(RULES))
def test_a_row_passes_only_when_the_condition_is_true(rows: list, rule: tuple) -> None:
    """False and null both fail, in a CHECK constraint as in an invariant (trap 64)."""
    text, model = rule
    data = pa.table({"a": pa.array([a for a, _ in rows], pa.int64()), "b": pa.array([b for _, b in rows], pa.int64())})
    broken = [{"a": a, "b": b} for a, b in rows if model(a, b) is not True]
    by_check = config(Field("a", "long"), Field("b", "long"), properties={"delta.constraints.Rule": text})
    by_invariant = config(Field("a", "long", metadata=invariant(text)), Field("b", "long"))
    for table, name in ((by_check, "rule"), (by_invariant, "invariant of a")):
        if not broken:
            assert len(write(table, data)) == len(rows)
            continue
        with pytest.raises(ConstraintViolation) as caught:
            write(table, data)
        assert caught.value.constraint == name
        assert caught.value.count == len(broken)
        shown = [{name: row[name] for name in caught.value.rows[0]} for row in broken[:3]]
        assert caught.value.rows == shown
        assert text in str(caught.value) and name in str(caught.value)


@pytest.mark.trap(64)
def test_trap_64_null_fails_and_names_are_lower_case() -> None:
    table = config(Field("a", "long"), properties={"delta.constraints.Positive": "a > 0"})
    with pytest.raises(ConstraintViolation, match=r"positive \(a > 0\).*\{a: None\}"):
        write(table, pa.table({"a": pa.array([1, None])}))


def test_a_constraint_sees_the_values_that_are_stored() -> None:
    """After casts, defaults and nulls for absent columns."""
    table = config(Field("a", "integer"), Field("b", "long"), properties={"delta.constraints.c": "b IS NULL AND a > 0"})
    assert write(table, pa.table({"A": pa.array([1], pa.int8())})) == [{"a": 1, "b": None}]


def test_constraints_on_partition_columns_hold_too() -> None:
    properties = {"delta.constraints.c": "p <> 'x'"}
    table = config(Field("p", "string"), Field("a", "long"), properties=properties, partition_by=("p",))
    with pytest.raises(ConstraintViolation):
        write(table, pa.table({"p": ["x"], "a": [1]}))


def test_invariants_of_nested_fields() -> None:
    inner = StructType([Field("x", "long", metadata=invariant("s.x > 3"))])
    table = config(Field("s", inner))
    assert write(table, pa.table({"s": [{"x": 4}]}))
    with pytest.raises(ConstraintViolation, match="invariant of s.x"):
        write(table, pa.table({"s": [{"x": 3}]}))


def test_malformed_rules_are_refused_when_the_table_is_configured() -> None:
    with pytest.raises(InvalidTableError, match="malformed"):
        config(Field("a", "long", metadata={"delta.invariants": '{"expression": 5}'}))
    with pytest.raises(ExpressionError):
        config(Field("a", "long"), properties={"delta.constraints.c": "nope > 1"})
    with pytest.raises(ExpressionError, match="boolean"):
        config(Field("a", "long"), properties={"delta.constraints.c": "a + 1"})


def test_conditions_are_bound_once() -> None:
    table = config(Field("a", "long", metadata=invariant("a > 0")), properties={"delta.constraints.c": "a < 9"})
    first, second = ([c for step in write_steps(table) for c in step.checks] for _ in range(2))
    assert all(x is y for x, y in zip(first, second, strict=True))


def test_conditions_on_the_present_time_are_about_each_write() -> None:
    table = config(Field("at", "timestamp"), properties={"delta.constraints.past": "at <= current_timestamp()"})
    write_steps(table)
    later = pa.array([dt.datetime.now(dt.timezone.utc)])
    assert write(table, pa.table({"at": later})), "the time of an earlier write is not remembered"


NOT_NULL = [
    (StructType([Field("x", "long", False)]), [{"x": None}], "c.x"),
    (ArrayType("long", False), [[1, None]], "c.element"),
    (MapType("string", "long", False), [[("k", None)]], "c.value"),
    (ArrayType(StructType([Field("x", "long", False)])), [[{"x": 1}, {"x": None}]], "c.element.x"),
    (StructType([Field("y", ArrayType("long", False))]), [{"y": [None]}], "c.y.element"),
]


@pytest.mark.parametrize(("kind", "bad", "path"), NOT_NULL)
def test_not_null_holds_at_every_depth_and_a_null_parent_excuses(kind, bad: list, path: str) -> None:
    table = config(Field("id", "long"), Field("c", kind))
    arrow = Field("c", kind).to_arrow().type
    assert write(table, pa.table({"id": [1, 2], "c": pa.array([None, None], arrow)}))
    loose = pa.array(bad, _all_nullable(arrow))
    with pytest.raises(ConstraintViolation, match="NOT NULL") as caught:
        write(table, pa.table({"id": [1], "c": loose}))
    assert caught.value.constraint == path and caught.value.count == 1


def _all_nullable(t: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(t):
        return pa.struct([pa.field(t.field(i).name, _all_nullable(t.field(i).type)) for i in range(t.num_fields)])
    if pa.types.is_map(t):
        return pa.map_(t.key_type, _all_nullable(t.item_type))
    return pa.list_(_all_nullable(t.value_type)) if pa.types.is_list(t) else t


def test_not_null_at_the_top_counts_and_shows_rows() -> None:
    table = config(Field("id", "long", False), Field("s", "string"))
    data = pa.table({"id": pa.array([1, None, None]), "s": ["a", "b", "c"]})
    with pytest.raises(ConstraintViolation, match="'id' is NOT NULL: violated by 2 of the first 3 rows") as caught:
        write(table, data)
    assert caught.value.rows == [{"id": None, "s": "b"}, {"id": None, "s": "c"}]
