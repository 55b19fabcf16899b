"""Identity columns: the numbers that rows get, the mark they leave, and who may say otherwise."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from committed_tables import append, create, land, memory_store, rows, set_properties, written
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deltalite import features
from deltalite.exceptions import (
    ConstraintViolation,
    ExpressionError,
    InvalidArgumentError,
    InvalidTableError,
    MetadataChangedError,
)
from deltalite.expr.parse import parse_schema
from deltalite.features.identity_columns import MARK, Identity
from deltalite.log.read import read_snapshot
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.files import remove_of
from deltalite.model.pending import ReadSet
from deltalite.model.types import Field, Schema, StructType

LOW, HIGH = -(2**63), 2**63 - 1
LONGS = st.one_of(st.integers(-50, 50), st.integers(LOW, HIGH), st.sampled_from([LOW, LOW + 1, HIGH - 1, HIGH]))
STEPS = LONGS.filter(bool)


def identity(start=1, step=1, explicit=False, **more) -> dict:
    return {
        "delta.identity.start": start,
        "delta.identity.step": step,
        "delta.identity.allowExplicitInsert": explicit,
    } | more


def column(*args, name="id", nullable=True, **kwargs) -> Field:
    return Field(name, "long", nullable, identity(*args, **kwargs))


def table(store, *args, **kwargs):
    return create(store, column(*args, **kwargs), Field("x", "long"))


def xs(count: int, start: int = 0) -> pa.Table:
    return pa.table({"x": pa.array(range(start, start + count), pa.int64())})


def given_numbers(store) -> list[int]:
    return [row["id"] for row in sorted(rows(store), key=lambda row: row["x"])]


def mark(snapshot) -> int | None:
    return snapshot.config.schema.fields[0].metadata.get(MARK)


# -- the numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.trap(65)
@settings(deadline=None, max_examples=30)
@given(st.integers(-100, 100), st.integers(-9, 9).filter(bool), st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_trap_65_rows_are_numbered_from_the_start_in_steps_beyond_the_mark(start: int, step: int, counts: list) -> None:
    store = memory_store()
    base = table(store, start, step)
    assert mark(base) is None
    total = 0
    for count in counts:
        base = append(store, base, xs(count, total))
        total += count
        assert mark(base) == start + step * (total - 1)
    assert given_numbers(store) == [start + step * k for k in range(total)]


@pytest.mark.trap(65)
@settings(deadline=None)
@given(LONGS, STEPS, st.one_of(st.none(), LONGS))
@example(10, -3, 5)
@example(10, -3, 4)
@example(1, 5, 1)
@example(1, 5, -7)
def test_trap_65_the_next_number_is_the_first_one_beyond_the_mark(
    start: int, step: int, given_last: int | None
) -> None:
    """Marks of other writers lie anywhere, not only on the numbers of the column."""
    found = Identity("id", start, step, given_last, False).next
    k, rest = divmod(found - start, step)
    assert rest == 0 and k >= 0
    if given_last is not None:
        sign = 1 if step > 0 else -1
        assert sign * found > sign * given_last
        assert k == 0 or sign * (found - step) <= sign * given_last


@pytest.mark.trap(65)
@settings(deadline=None, max_examples=60)
@given(LONGS, STEPS, st.integers(1, 4), st.integers(1, 5), st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_trap_65_numbers_that_fit_are_given_exactly_and_others_are_refused(
    start: int, step: int, workers: int, tasks: int, batches: list
) -> None:
    """As one of several workers, too: together they give every number once."""
    store = memory_store()
    base = table(store, start, step)
    index = tasks % workers
    count = sum(batches)
    truth = [start + step * (index + k * workers) for k in range(count)]
    data = pa.concat_tables([xs(b, sum(batches[:i])) for i, b in enumerate(batches)])
    if all(LOW <= number <= HIGH for number in truth):
        base = land(store, base, written(store, base, data, task=(index, workers))).snapshot
        assert given_numbers(store) == truth and mark(base) == truth[-1]
    else:
        with pytest.raises(ConstraintViolation, match="out of numbers") as caught:
            written(store, base, data, task=(index, workers))
        assert caught.value.constraint == "id"
        assert not [meta for meta in store.list_all() if meta.path.endswith(".parquet")]


def test_several_identity_columns_and_what_is_computed_from_them() -> None:
    store = memory_store()
    double = Field("double", "long", metadata={"delta.generationExpression": "id * 2"})
    base = create(store, double, column(5, 5, nullable=False), column(0, -1, name="down"), Field("x", "long"))
    base = append(store, base, xs(3))
    assert [tuple(row.values()) for row in rows(store)] == [(10, 5, 0, 0), (20, 10, -1, 1), (30, 15, -2, 2)]
    assert {f.name: f.metadata[MARK] for f in base.config.schema.fields if MARK in f.metadata} == {"id": 15, "down": -2}


@pytest.mark.parametrize("mode", ["name", "id"])
def test_identity_under_column_mapping(mode: str) -> None:
    store = memory_store()
    base = create(store, column(), Field("x", "long"), properties={"delta.columnMapping.mode": mode})
    base = append(store, append(store, base, xs(2)), xs(2, 2))
    assert given_numbers(store) == [1, 2, 3, 4] and mark(base) == 4
    assert base.config.schema.fields[0].metadata["delta.columnMapping.id"] == 1


# -- the mark --------------------------------------------------------------------------------------------------------


@pytest.mark.trap(25)
@pytest.mark.trap(65)
def test_trap_65_moving_the_mark_changes_nothing_else_of_the_metadata() -> None:
    f = column(unknown={"a": [1.5, "ü"]}, comment="c")
    document = json.loads(Schema([f, Field("x", "long")]).to_json())
    document["fields"][0]["extra"] = True
    metadata = Metadata("id", json.dumps(document), (), {"k": "v"}, "name", "text", created_time=5)
    config = TableConfig(Protocol(1, 6), metadata)
    found = features.after_rows(config, {"id": 7})
    assert found is not None and replace(found, schema_string="") == replace(metadata, schema_string="")
    document["fields"][0]["metadata"][MARK] = 7
    assert json.loads(found.schema_string) == document and f'"{MARK}":7' in found.schema_string


def test_the_mark_moves_forward_only() -> None:
    for step, last, moves in ((1, 11, True), (1, 10, False), (1, 9, False), (-1, 9, True), (-1, 11, False)):
        config = create(memory_store(), column(0, step, **{MARK: 10}), Field("x", "long")).config
        assert (features.after_rows(config, {"id": last}) is not None) == moves
    assert features.after_rows(config, {}) is None


def test_no_rows_leave_no_mark() -> None:
    store = memory_store()
    assert written(store, table(store), xs(0)) == []


@pytest.mark.trap(57)
def test_trap_57_a_mark_that_another_writer_moved_is_a_conflict_for_who_numbers_rows() -> None:
    store = memory_store()
    base = table(store)
    mine = written(store, base, xs(2))
    append(store, base, xs(3, 10))
    with pytest.raises(MetadataChangedError):
        land(store, base, mine)
    append(store, read_snapshot(store), xs(2))
    found = given_numbers(store)
    assert sorted(found) == [1, 2, 3, 4, 5]


def test_a_mark_that_another_writer_moved_is_none_for_who_numbers_nothing() -> None:
    store = memory_store()
    base = append(store, table(store, explicit=True), xs(1))
    append(store, append(store, base, xs(1, 1)), xs(1, 2))
    explicit = pa.table({"id": pa.array([100], pa.int64()), "x": pa.array([3], pa.int64())})
    after = land(store, base, written(store, base, explicit)).snapshot
    (first,) = base.files.add_files()
    after = land(store, base, [remove_of(first, 1)], ReadSet(files=frozenset({first.key}))).snapshot
    assert given_numbers(store) == [2, 3, 100] and mark(after) == 3


def test_other_changes_of_the_metadata_are_conflicts_still() -> None:
    store = memory_store()
    base = append(store, table(store), xs(1))
    moved = features.after_rows(base.config, {"id": 50})
    assert moved is not None and features.only_counts(base.config, moved)
    assert not features.only_counts(base.config, base.config.metadata)
    assert not features.only_counts(base.config, replace(moved, configuration={"a": "b"}))
    other = table(memory_store(), start=2).config.metadata
    assert not features.only_counts(base.config, replace(other, id=base.config.metadata.id))
    set_properties(store, base, {"delta.appendOnly": "false"})
    (first,) = base.files.add_files()
    with pytest.raises(MetadataChangedError):
        land(store, base, [remove_of(first, 1)])


def test_metadata_that_somebody_brings_does_not_turn_the_mark_back() -> None:
    store = memory_store()
    fresh = table(store)
    base = append(store, fresh, xs(5))
    old = replace(fresh.config.metadata, configuration={"delta.appendOnly": "false"})
    _, metadata, config = features.configure(base.config, old, base.version + 1)
    assert mark(replace(base, config=config)) == 5
    assert metadata.configuration == {"delta.appendOnly": "false"}
    other = replace(old, schema_string=Schema([column(start=100), Field("x", "long")]).to_json())
    _, _, config = features.configure(base.config, other, base.version + 1)
    assert mark(replace(base, config=config)) is None


# -- explicit values -------------------------------------------------------------------------------------------------


@pytest.mark.trap(65)
def test_trap_65_only_a_column_by_default_takes_explicit_numbers_and_none_is_updated() -> None:
    always, by_default = table(memory_store()).config, table(memory_store(), explicit=True).config
    for config in (always, by_default):
        features.ensure_assignable(config, ["x"], "insert")
        features.ensure_assignable(config, ["x"], "update")
        with pytest.raises(InvalidArgumentError, match="never updated") as caught:
            features.ensure_assignable(config, ["x", "ID"], "update")
        assert caught.value.column == "id"
    features.ensure_assignable(by_default, ["id", "x"], "insert")
    with pytest.raises(InvalidArgumentError, match="GENERATED ALWAYS") as caught:
        features.ensure_assignable(always, ["Id", "x"], "insert")
    assert caught.value.column == "id"


def test_explicit_numbers_do_not_move_the_mark() -> None:
    store = memory_store()
    base = append(store, table(store, explicit=True), xs(2))
    base = append(store, base, pa.table({"id": pa.array([50, None], pa.int64()), "x": pa.array([2, 3], pa.int64())}))
    assert mark(base) == 2
    append(store, base, xs(1, 4))
    assert given_numbers(store) == [1, 2, 50, None, 3]


# -- definitions -----------------------------------------------------------------------------------------------------


def test_definitions_as_ddl_text() -> None:
    text = (
        "id BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY -5), "
        "other BIGINT GENERATED BY DEFAULT AS IDENTITY, x BIGINT"
    )
    store = memory_store()
    base = create(store, *parse_schema(text).fields)
    assert base.config.protocol == Protocol(1, 6)
    base = append(store, base, xs(2))
    assert [(row["id"], row["other"]) for row in rows(store)] == [(10, 1), (5, 2)]
    features.ensure_assignable(base.config, ["other"], "insert")
    with pytest.raises(ExpressionError, match="may not be 0"):
        parse_schema("id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 1 INCREMENT BY 0)")


def test_the_protocol_knows_the_feature() -> None:
    assert features.negotiate(None, StructType([column()]), {}) == Protocol(1, 6)
    with_features = features.negotiate(Protocol(1, 7, None, ("appendOnly",)), StructType([column()]), {})
    assert with_features == Protocol(1, 7, None, ("appendOnly", "identityColumns"))


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (Field("id", "integer", metadata=identity()), "bigint"),
        (Field("id", "string", metadata=identity()), "bigint"),
        (column(step=0), "step is 0"),
        (column(**{"delta.generationExpression": "x + 1"}), "expression"),
        (column(CURRENT_DEFAULT="7"), "default"),
        (Field("s", StructType([column()])), "top level"),
    ],
)
def test_columns_that_cannot_be_identities(f: Field, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        create(memory_store(), f, Field("x", "long"))


def test_a_partition_column_cannot_be_an_identity() -> None:
    with pytest.raises(InvalidArgumentError, match="partition"):
        create(memory_store(), column(), Field("x", "long"), partition_by=("id",))


@pytest.mark.parametrize(
    "broken",
    [
        {"delta.identity.start": "1"}, {"delta.identity.start": True}, {"delta.identity.start": None},
        {"delta.identity.step": 0}, {"delta.identity.step": 1.5}, {"delta.identity.step": 2**63},
        {MARK: "7"}, {MARK: -(2**63) - 1}, {"delta.identity.allowExplicitInsert": "false"},
    ],
)  # fmt: skip
def test_metadata_that_makes_no_sense_stops_writers(broken: dict) -> None:
    metadata = Metadata("id", Schema([Field("id", "long", metadata=identity() | broken), Field("x", "long")]).to_json())
    with pytest.raises(InvalidTableError, match="'id' makes no sense"):
        features.write_steps(TableConfig(Protocol(1, 6), metadata))


@pytest.mark.trap(28)
def test_trap_28_a_table_that_does_not_list_the_feature_numbers_nothing() -> None:
    metadata = Metadata("id", Schema([column(), Field("x", "long")]).to_json())
    config = TableConfig(Protocol(1, 7, None, ()), metadata)
    assert features.write_steps(config) == () and features.after_rows(config, {"id": 1}) is None
    features.ensure_assignable(config, ["id"], "insert")
