"""Columns by name, encodings unwrapped, nested types rebuilt."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_tables import struct

from deltalite.exceptions import SchemaMismatchError
from deltalite.model.arrow import schema_to_arrow
from deltalite.model.types import ArrayType, Field, MapType
from deltalite.write.conform import conform

TABLE = struct(("id", "long"), ("Name", "string"), ("n", struct(("a", "integer"), ("B", "string"))))


def fitted(batch: pa.RecordBatch, table=TABLE, **options) -> pa.RecordBatch:
    found = conform(batch.schema, table, **options).apply(batch)
    found.validate(full=True)
    return found


def test_names_match_ignoring_case_in_any_order_and_keep_the_tables_spelling() -> None:
    nested = pa.StructArray.from_arrays([pa.array(["x"]), pa.array([1], pa.int64())], names=["b", "A"])
    found = fitted(pa.record_batch([nested, pa.array(["v"]), pa.array([5])], names=["N", "NAME", "ID"]))
    assert found.schema.equals(schema_to_arrow(TABLE))
    assert found.to_pylist() == [{"id": 5, "Name": "v", "n": {"a": 1, "B": "x"}}]


def test_missing_nullable_columns_and_fields_are_null() -> None:
    nested = pa.StructArray.from_arrays([pa.array([1])], names=["a"])
    found = fitted(pa.record_batch([nested], names=["n"]))
    assert found.to_pylist() == [{"id": None, "Name": None, "n": {"a": 1, "B": None}}]


def test_everything_that_does_not_fit_is_listed_at_once() -> None:
    table = struct(("a", "long"), Field("b", "long", False), ("s", struct(Field("x", "long", False))))
    nested = pa.StructArray.from_arrays([pa.array([1])], names=["extra"])
    batch = pa.record_batch([pa.array(["1"]), pa.array([1]), nested], names=["a", "c", "s"])
    with pytest.raises(SchemaMismatchError) as caught:
        conform(batch.schema, table)
    assert set(caught.value.columns) == {"a", "b", "s.x", "s.extra", "c"}
    assert 'schema_mode="merge"' in caught.value.hint


def test_columns_that_write_steps_compute_stay_absent() -> None:
    plan = conform(pa.schema([("id", pa.int64())]), struct(("id", "long"), Field("g", "long", False)), computed=["g"])
    assert plan.absent == ("g",)
    assert plan.schema.names == ["id"]


def test_two_columns_of_one_name_ignoring_case_are_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="two columns"):
        conform(pa.schema([("id", pa.int64()), ("ID", pa.int64())]), TABLE)


def test_data_without_a_single_column_of_the_table_is_rows_of_nulls() -> None:
    rows = pa.record_batch([pa.array([1, 2])], names=["id"]).select([])
    if rows.num_rows:  # older releases of pyarrow forget the number
        assert fitted(rows).to_pylist() == [{"id": None, "Name": None, "n": None}] * 2


VALUES = st.lists(st.one_of(st.none(), st.integers(-5, 5)), max_size=12)


@settings(deadline=None)
@given(VALUES, st.integers(0, 3))
def test_encodings_of_one_column_are_the_same_column(values: list, skip: int) -> None:
    """Dictionary, run-end and view encodings, large offsets, slices: all give the plain values."""
    plain = pa.array([None if v is None else str(v) for v in values], pa.string())
    encodings = [
        plain,
        plain.cast(pa.large_string()),
        plain.cast(pa.string_view()),
        plain.dictionary_encode(),
        pc.run_end_encode(plain),
    ]
    for array in encodings:
        batch = pa.record_batch([array], names=["s"]).slice(skip)
        assert fitted(batch, struct(("s", "string"))).column(0).equals(plain.slice(skip)), array.type


NESTED = st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.integers(-9, 9)), max_size=3)), max_size=8)


@settings(deadline=None)
@given(NESTED, st.integers(0, 4))
def test_lists_of_every_kind_become_lists(values: list, skip: int) -> None:
    table = struct(("l", ArrayType("long")))
    plain = pa.array(values, pa.list_(pa.int32()))
    sources = [plain, plain.cast(pa.large_list(pa.int16())), pa.array(values, pa.list_view(pa.int64()))]
    for array in sources:
        found = fitted(pa.record_batch([array], names=["l"]).slice(skip), table)
        assert found.column(0).to_pylist() == values[skip:], array.type
    fixed = pa.array([None if v is None else [1, None] for v in values], pa.list_(pa.int8(), 2))
    found = fitted(pa.record_batch([fixed], names=["l"]).slice(skip), table)
    assert found.column(0).to_pylist() == fixed.to_pylist()[skip:]


MAYBE = st.one_of(st.none(), st.integers(0, 9))
ROWS = st.lists(
    st.one_of(
        st.none(),
        st.fixed_dictionaries(
            {
                "A": st.one_of(st.none(), st.integers(-9, 9)),
                "m": st.one_of(st.none(), st.dictionaries(st.sampled_from("xyz"), MAYBE)),
                "l": st.one_of(st.none(), st.lists(st.fixed_dictionaries({"q": st.integers(0, 9)}), max_size=2)),
            }
        ),
    ),
    max_size=7,
)


@settings(deadline=None)
@given(ROWS, st.integers(0, 3))
def test_deep_types_are_cast_filled_and_reordered_by_name(rows: list, skip: int) -> None:
    source = pa.struct(
        [
            ("l", pa.large_list(pa.struct([("q", pa.int8())]))),
            ("A", pa.int16()),
            ("m", pa.map_(pa.large_string(), pa.int8())),
        ]
    )
    given_rows = [r and {**r, "m": None if r["m"] is None else list(r["m"].items())} for r in rows]
    table = struct(
        (
            "s",
            struct(
                ("a", "long"),
                ("m", MapType("string", "integer")),
                ("l", ArrayType(struct(("p", "string"), ("Q", "long")))),
                ("new", "date"),
            ),
        )
    )
    batch = pa.record_batch([pa.array(given_rows, source)], names=["s"]).slice(skip)
    expected = [
        r and {"a": r["A"], "m": r["m"], "l": r["l"] and [{"p": None, "Q": e["q"]} for e in r["l"]], "new": None}
        for r in given_rows
    ]
    assert fitted(batch, table).column(0).to_pylist() == expected[skip:]


def test_what_hides_below_a_null_is_not_judged() -> None:
    """A struct that is null may have anything in its children; casting them must not fail."""
    hidden = pa.StructArray.from_arrays([pa.array([1000, 1])], names=["a"], mask=pa.array([True, False]))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array([1000, 1]), mask=pa.array([True, False]))
    batch = pa.record_batch([hidden, lists], names=["s", "l"])
    table = struct(("s", struct(("a", "byte"))), ("l", ArrayType("byte")))
    assert fitted(batch, table).to_pylist() == [{"s": None, "l": None}, {"s": {"a": 1}, "l": [1]}]


def test_values_deep_inside_are_refused_by_their_path() -> None:
    batch = pa.record_batch([pa.array([[{"a": 1000}]])], names=["l"])
    with pytest.raises(SchemaMismatchError) as caught:
        fitted(batch, struct(("l", ArrayType(struct(("a", "byte"))))))
    assert caught.value.columns == ["l.element.a"]
