"""Filters of pyarrow and polars in our terms keep exactly the rows that their engines keep."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from exits_tables import MIXED
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.expr.arrow import true_mask
from deltalite.expr.sql import to_sql
from deltalite.interop.polars import translated_parts
from deltalite.interop.pushdown import all_of, columns_read, translated
from deltalite.model.arrow import schema_from_arrow

SCHEMA = schema_from_arrow(MIXED.schema)
NUMBERED = MIXED.append_column("n", pa.array(range(MIXED.num_rows)))
TESTS = ["<", "<=", ">", ">=", "==", "!=", "null", "nan", "in"]
VALUES: dict[str, Any] = {
    "id": st.sampled_from([0, 1, 3, 9]),
    "x": st.sampled_from([-1.0, 0.0, -0.0, 2.0, 6.0, math.inf, math.nan]),
    "s": st.sampled_from(["", "a", "ab", "zz"]),
}
_OPERATORS = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b, "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Any:
    """A filter as nested tuples, for either engine."""
    kind = draw(st.sampled_from(["and", "or", "not", "test", "test"])) if depth else "test"
    if kind == "not":
        return ("not", draw(trees(depth - 1)))
    if kind != "test":
        return (kind, draw(trees(depth - 1)), draw(trees(depth - 1)))
    name, test = draw(st.sampled_from(sorted(VALUES))), draw(st.sampled_from(TESTS))
    if test in ("null", "nan"):
        return (test, "x" if test == "nan" else name)
    if test == "in":
        items = draw(st.lists(st.one_of(VALUES[name], st.none()), max_size=2))
        return ("in", name, [draw(VALUES[name]), *items])
    other = draw(st.one_of(VALUES[name], st.just(name)))
    return (test, name, other, other == name and name in VALUES)


def build(tree: Any, column: Any, is_in: Any, is_null: Any) -> Any:
    kind, *parts = tree
    if kind in ("and", "or"):
        left, right = (build(part, column, is_in, is_null) for part in parts)
        return left & right if kind == "and" else left | right
    if kind == "not":
        return ~build(parts[0], column, is_in, is_null)
    if kind == "null":
        return is_null(column(parts[0]))
    if kind == "nan":
        return column("x").is_nan()
    if kind == "in":
        return is_in(column(parts[0]), parts[1])
    name, value, is_column = parts
    return _OPERATORS[kind](column(name), column(value) if is_column else value)


def kept_by_ours(predicate: Any) -> set[int] | None:
    bound = translated(predicate, SCHEMA)
    if bound is None:
        return None
    return set(NUMBERED.filter(true_mask(bound, NUMBERED.combine_chunks().to_batches()[0])).column("n").to_pylist())


@settings(max_examples=120, deadline=None)
@given(tree=trees())
def test_pyarrow_and_we_keep_the_same_rows(tree: Any) -> None:
    condition = build(tree, pc.field, lambda c, values: c.isin(values), lambda c: c.is_null())
    theirs = set(ds.InMemoryDataset(NUMBERED).to_table(filter=condition).column("n").to_pylist())
    assert kept_by_ours(condition) in (None, theirs)


@settings(max_examples=120, deadline=None)
@given(tree=trees())
def test_polars_and_we_keep_the_same_rows(tree: Any) -> None:
    condition = build(tree, pl.col, lambda c, values: c.is_in(values), lambda c: c.is_null())
    theirs = set(pl.DataFrame(NUMBERED).filter(condition)["n"].to_list())
    assert kept_by_ours(condition) in (None, theirs)


F = pc.field
c = pl.col


@pytest.mark.parametrize(
    "predicate",
    [
        F("id") > 3,
        F("x") > 3.0,
        ~(F("x") > 3.0),
        (F("p") == "u") | F("p").is_null(),
        ~F("id").isin([1, 2]),
        pc.if_else(F("id").is_valid(), F("id").isin([1, 2]), None),
        c("id") > 3,
        c("id").is_between(3, 4),
        c("s").is_in(["a"]),
        ~(c("x") > 3.0),
    ],
    ids=str,
)
def test_common_filters_are_taken_over(predicate: Any) -> None:
    assert translated(predicate, SCHEMA) is not None


@pytest.mark.parametrize("predicate", [pc.utf8_upper(F("s")) == "A", F("x") == F("x"), c("x").sin() > 0], ids=str)
def test_what_has_no_counterpart_is_left_to_its_engine(predicate: Any) -> None:
    assert translated(predicate, SCHEMA) is None


@pytest.mark.parametrize(
    ("predicate", "text"),
    [
        ((c("id") > 3) & (c("x").sin() > 0), "id > 3"),
        ((c("x").sin() > 0) & (c("id") > 3) & (c("s") == "a"), "id > 3 AND s = 'a'"),
        ((c("id") > 3) & ((c("x").sin() > 0) | (c("s") == "a")), "id > 3"),
        ((c("id") > 3) | (c("x").sin() > 0), None),
        (c("id") == c("id").max(), None),
    ],
    ids=str,
)
def test_of_polars_conjunctions_the_parts_are_taken_over(predicate: Any, text: str | None) -> None:
    bound = all_of(*translated_parts(predicate, SCHEMA))
    assert (None if bound is None else to_sql(bound.expr).replace("3L", "3")) == text


def test_columns_of_an_expression() -> None:
    assert columns_read(F("id") + 1, SCHEMA) >= {"id"}
    assert columns_read((F("st", "a") > 1) & (F("s") == "x"), SCHEMA) == {"st", "s"}
    assert "s" in columns_read(pc.utf8_trim(F("s"), characters="x") == "a", SCHEMA)
