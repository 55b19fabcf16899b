"""Pruning never drops a matching row, and never claims that all rows match when one does not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import true_mask
from deltalite.expr.bind import bind_predicate, conjunction, conjuncts, negate
from deltalite.expr.prune import ColumnStats, Reason, all_rows_match, explain, keep_mask
from deltalite.expr.sql import to_sql
from deltalite.model.arrow import array
from deltalite.model.types import Field, Schema

from .strategies import NAN, PARTITIONS, SCHEMA, UTC, Files, conditions, files

FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(max_examples=6000, deadline=None, suppress_health_check=list(HealthCheck))


def check_law(found: Files, predicate: Any, zone: str) -> None:
    bound = bind_predicate(predicate, SCHEMA, time_zone=zone)
    keep, whole = keep_mask(bound, found), all_rows_match(bound, found)
    told = explain(bound, found, set(PARTITIONS))
    for i, batch in enumerate(found.batches):
        try:
            matching = true_mask(bound, batch).to_pylist()
        except ExpressionError:
            continue
        assert keep[i] or not any(matching), f"file {i} dropped by {to_sql(bound)}"
        assert all(matching) or not whole[i], f"file {i} taken whole by {to_sql(bound)}"
    assert ((told.reasons < Reason.SKIPPED_BY_PARTITION) == keep).all()


@FAST
@given(files(), conditions())
def test_law_of_pruning(found, predicate):
    check_law(found, predicate, "UTC")


@FAST
@given(files(), conditions(1))
def test_law_of_pruning_where_clocks_change(found, predicate):
    check_law(found, predicate, "Europe/Berlin")


@pytest.mark.slow
@SLOW
@given(files(), conditions())
def test_law_of_pruning_at_length(found, predicate):
    check_law(found, predicate, "America/St_Johns")


# single traps -------------------------------------------------------------------------------------------------------


def stats(name: str, kind: str, low: Any, high: Any, nulls: Any = 0, rows: Any = 10, exact: bool = False) -> Any:
    schema = Schema([Field(name, kind)])
    t = schema.to_arrow().field(0).type
    column = ColumnStats(array([low], t), array([high], t), None if exact else array([nulls], pa.int64()), exact)
    return schema, Files([None], array([rows], pa.int64()), {name: column})  # type: ignore[list-item]


def kept(predicate: str, *args: Any, **named: Any) -> bool:
    schema, found = stats(*args, **named)
    return bool(keep_mask(bind_predicate(predicate, schema), found)[0])


def whole(predicate: str, *args: Any, **named: Any) -> bool:
    schema, found = stats(*args, **named)
    return bool(all_rows_match(bind_predicate(predicate, schema), found)[0])


@pytest.mark.trap(41)
@pytest.mark.bug("T-38")
def test_trap_41_a_maximum_of_milliseconds_is_widened_by_the_provider_and_compared_in_microseconds():
    low = dt.datetime(2020, 1, 1, 1, 2, 3, 456000, tzinfo=UTC)
    high = low + dt.timedelta(milliseconds=1)
    assert kept("c > timestamp '2020-01-01 01:02:03.4565Z'", "c", "timestamp", low, high)
    assert kept("c = timestamp '2020-01-01 01:02:03.456789Z'", "c", "timestamp", low, high)
    assert not kept("c > timestamp '2020-01-01 01:02:03.457001Z'", "c", "timestamp", low, high)
    assert not kept("c < timestamp '2020-01-01 01:02:03.455999Z'", "c", "timestamp", low, high)


@pytest.mark.trap(42)
def test_trap_42_bounds_of_floats_say_nothing_of_nan():
    for predicate in (
        "c > 5",
        "c >= 5",
        "c = double('NaN')",
        "c != 1",
        "not c <= 5",
        "c <=> double('NaN')",
        "c in (9, double('NaN'))",
    ):
        assert kept(predicate, "c", "double", 1.0, 2.0), predicate
    for predicate in ("c = 5", "c < 1", "c in (0, 3)", "c <=> 5", "c < double('-Infinity')"):
        assert not kept(predicate, "c", "double", 1.0, 2.0), predicate
    assert not kept("c > 5", "c", "double", 1.0, 1.0, exact=True)
    assert kept("c > 5", "c", "double", NAN, NAN, exact=True)
    assert not kept("c < 5", "c", "double", NAN, NAN, exact=True)
    assert kept("c > 5", "c", "double", NAN, NAN)
    assert not whole("c <= 2", "c", "double", 1.0, 2.0)
    assert whole("c >= 1", "c", "double", 1.0, 2.0)


@pytest.mark.trap(42)
def test_trap_42_zero_and_minus_zero_are_one_value():
    for low, high in ((0.0, 0.0), (-0.0, -0.0), (-0.0, 0.0)):
        for predicate in ("c = 0.0", "c = -0.0D", "c in (-0.0D, 7)", "c >= 0", "c <= -0.0D", "c <=> 0"):
            assert kept(predicate, "c", "double", low, high), (predicate, low)
        assert not kept("c < 0.0", "c", "double", low, high)


@pytest.mark.trap(45)
def test_trap_45_an_all_null_column_has_no_bounds():
    named = {"nulls": 10, "rows": 10}
    assert kept("c is null", "c", "long", None, None, **named)
    assert whole("c is null", "c", "long", None, None, **named)
    assert kept("c <=> null", "c", "long", None, None, **named)
    assert kept("not (c <=> 5)", "c", "long", None, None, **named)
    for predicate in (
        "c = 1",
        "c != 1",
        "not c = 1",
        "c is not null",
        "c in (1, 2)",
        "c not in (1)",
        "c > 1 or c <= 1",
        "c <=> 5",
    ):
        assert not kept(predicate, "c", "long", None, None, **named), predicate


@pytest.mark.trap(45)
def test_trap_45_what_is_missing_keeps_the_file():
    for predicate in ("c = 1", "c is null", "c is not null", "not c = 1", "c <=> null", "c in (1)"):
        assert kept(predicate, "c", "long", None, None, nulls=None), predicate
        assert not whole(predicate, "c", "long", None, None, nulls=None), predicate
    assert kept("c is null", "c", "long", 1, 2, nulls=None)
    assert not kept("c = 3", "c", "long", 1, 2, nulls=None, rows=None)
    assert kept("c = 2", "c", "long", 1, None, nulls=None)
    assert not kept("c = 0", "c", "long", 1, None, nulls=None)


def test_bounds_of_another_type_are_converted_or_tell_nothing():
    schema = Schema([Field("c", "long"), Field("d", "date")])
    narrow = ColumnStats(array([1], pa.int32()), array([5], pa.int32()), array([0], pa.int32()))
    odd = ColumnStats(array(["x"], pa.string()), array(["y"], pa.string()), None)
    found = Files([None], array([10], pa.int32()), {"c": narrow, "d": odd})  # type: ignore[list-item]
    assert not keep_mask(bind_predicate("c > 5", schema), found)[0]
    assert whole_file(found, "c between 1 and 5", schema)
    assert keep_mask(bind_predicate("d > '2020-01-01'", schema), found)[0]


def whole_file(found: Files, predicate: str, schema: Schema) -> bool:
    return bool(all_rows_match(bind_predicate(predicate, schema), found)[0])


def test_nulls_under_not_neither_match_nor_make_a_whole_file_match():
    assert not kept("not c > 5", "c", "long", 6, 9, nulls=3)
    assert not whole("not c > 5", "c", "long", 1, 5, nulls=3)
    assert whole("not c > 5", "c", "long", 1, 5, nulls=0)


@pytest.mark.trap(40)
def test_trap_40_text_is_compared_by_its_bytes_and_prefixes_by_characters():
    assert kept("c like 'ab%'", "c", "string", "a", "b")
    assert not kept("c like 'ac%'", "c", "string", "a", "abz")
    assert not kept("c like 'a%'", "c", "string", "b", "c")
    assert whole("c like 'ab%'", "c", "string", "ab", "abc\U0010ffff")
    assert not whole("c like 'ab%'", "c", "string", "ab", "ac")
    assert not kept("c not like 'ab%'", "c", "string", "ab", "abc")
    assert kept("c not like 'ab%x'", "c", "string", "ab", "abc")
    assert kept("c > '\uffff'", "c", "string", "a", "\U0001f600")
    assert kept("c = '\U0001f600'", "c", "string", "a", "\U0001f600")


@pytest.mark.trap(46)
def test_trap_46_decimals_are_compared_with_all_their_digits():
    high = Decimal("12345678901234567890.99")
    assert kept("c = 12345678901234567890.99", "c", "decimal(22,2)", Decimal(0), high)
    assert kept("c > 12345678901234567890.985", "c", "decimal(22,2)", Decimal(0), high)
    assert not kept("c > 12345678901234567890.995", "c", "decimal(22,2)", Decimal(0), high)


@pytest.mark.bug("T-40")
@pytest.mark.trap(12)
def test_trap_12_empty_text_and_null_are_two_partition_values():
    assert kept("c = ''", "c", "string", "", "", exact=True)
    assert not kept("c is null", "c", "string", "", "", exact=True)
    assert kept("c is null", "c", "string", None, None, exact=True)
    assert not kept("c = ''", "c", "string", None, None, exact=True)
    assert not kept("c != ''", "c", "string", None, None, exact=True)


@pytest.mark.trap(14)
def test_trap_14_partition_values_are_compared_as_values():
    assert kept("c = 1.5", "c", "decimal(5,3)", Decimal("1.500"), Decimal("1.500"), exact=True)
    assert kept("c = '1'", "c", "double", 1.0, 1.0, exact=True)
    assert whole("c + 1 = 2", "c", "double", 1.0, 1.0, exact=True)
    assert not kept("cast(c as string) = '2'", "c", "double", 1.0, 1.0, exact=True)
    assert kept("c % 2 = 1", "c", "integer", 3, 3, exact=True)
    assert not kept("c % 2 = 1", "c", "integer", 4, 4, exact=True)


def test_functions_of_a_column_prune_only_where_they_are_monotone():
    low, high = dt.datetime(2020, 1, 5, tzinfo=UTC), dt.datetime(2020, 1, 9, tzinfo=UTC)
    assert not kept("cast(c as date) = date '2020-02-01'", "c", "timestamp", low, high)
    assert not kept("year(c) > 2020", "c", "timestamp", low, high)
    assert not kept("date_trunc('MONTH', c) < timestamp '2020-01-01 00:00:00Z'", "c", "timestamp", low, high)
    assert whole("cast(c as date) between '2020-01-01' and '2020-01-31'", "c", "timestamp", low, high)
    assert kept("month(c) = 7", "c", "timestamp", low, high)
    assert kept("c % 3 = 7", "c", "long", 1, 2)
    assert not kept("c + 1 > 5", "c", "long", 1, 2)
    assert kept("c + 1 > 5", "c", "long", 1, 2**63 - 1)


def test_a_file_is_explained_by_the_condition_that_excluded_it():
    schema = Schema([Field("p", "integer"), Field("c", "long")])
    found = Files([None] * 4, array([5, 5, 5, 5], pa.int64()), {
        "p": ColumnStats(array([1, 2, 1, 1], pa.int32()), array([1, 2, 1, 1], pa.int32()), None, True),
        "c": ColumnStats(array([0, 0, 50, None], pa.int64()), array([9, 9, 60, None], pa.int64()),
                         array([0, 0, 0, None], pa.int64())),
    })  # type: ignore[list-item] # fmt: skip
    told = explain(bind_predicate("p = 1 and c > 20", schema), found, {"p"})
    assert [told.text(i) for i in range(4)] == [
        "skipped by min/max: c > 20L", "skipped by partition value: p = 1", "kept", "kept: no statistics",
    ]  # fmt: skip
    assert told.count(Reason.SKIPPED_BY_PARTITION) == 1
    assert told.conjuncts == ("p = 1", "c > 20L")


def test_many_constants_are_looked_up_by_rank():
    listed = ", ".join(map(str, range(0, 100_000, 7)))
    schema, found = stats("c", "long", 8, 13)
    assert not keep_mask(bind_predicate(f"c in ({listed})", schema), found)[0]
    schema, found = stats("c", "long", 8, 14)
    assert keep_mask(bind_predicate(f"c in ({listed})", schema), found)[0]


def test_conjuncts_and_negation():
    schema = Schema([Field("a", "long"), Field("b", "long")])
    bound = bind_predicate("a = 1 and b = 2 and a < b", schema)
    parts = conjuncts(bound)
    assert [to_sql(p) for p in parts] == ["a = 1L", "b = 2L", "a < b"]
    assert [sorted(p.columns) for p in parts] == [[("a",)], [("b",)], [("a",), ("b",)]]
    assert conjunction(parts).expr == bound.expr
    assert conjuncts(bind_predicate("true", schema)) == []
    assert to_sql(negate(bound)) == "NOT (a = 1L AND b = 2L AND a < b)"
    assert negate(negate(bound)).expr == bound.expr
