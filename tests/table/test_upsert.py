"""DeltaTable.upsert against a dict: the key's last row is the row."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable
from deltalite.engine import dedupe
from deltalite.engine.parts import divide_source
from deltalite.exceptions import (
    ConstraintViolation,
    ExpressionError,
    InvalidArgumentError,
    MultipleMatchesError,
    SchemaMismatchError,
)

DDL = "id bigint, day string, v int, ts double"
SCHEMA = pa.schema([("id", pa.int64()), ("day", pa.string()), ("v", pa.int32()), ("ts", pa.float64())])
RELAXED = {"durability": "relaxed"}
MARKED = {"delta.enableDeletionVectors": "true"}

KEY = st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.sampled_from([None, "a", "b"]))
TIME = st.one_of(st.none(), st.sampled_from([-1.5, 0.0, -0.0, 2.0, math.inf, -math.inf, math.nan]))
ROW = st.tuples(KEY, st.one_of(st.none(), st.integers(-9, 9)), TIME)
ROWS = st.lists(ROW, max_size=12)
UNIQUE = st.lists(ROW, max_size=12, unique_by=lambda row: row[0])

laws = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def arrow(rows: list[Any]) -> pa.Table:
    columns = list(zip(*((*key, v, ts) for key, v, ts in rows), strict=True)) or [(), (), (), ()]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def model(rows: list[Any]) -> dict[Any, Any]:
    return {key: (v, ts) for key, v, ts in rows}


def shown(ts: float | None) -> Any:
    return None if ts is None else "nan" if math.isnan(ts) else ts + 0.0


def comparable(rows: dict[Any, Any]) -> dict[Any, Any]:
    return {key: (v, shown(ts)) for key, (v, ts) in rows.items()}


def held(table: DeltaTable) -> dict[Any, Any]:
    rows = table.to_pyarrow_table().to_pylist()
    found = {(r["id"], r["day"]): (r["v"], shown(r["ts"])) for r in rows}
    assert len(found) == len(rows), "a key occurs twice"
    return found


def made(place: Path, rows: list[Any], marked: bool = True) -> DeltaTable:
    number = len(list(place.iterdir()))
    table = DeltaTable.create(
        place / str(number), DDL, configuration=MARKED if marked else None, storage_options=RELAXED
    )  # fmt: skip
    if rows:
        table.append(arrow(rows))
    return table


def rank(ts: float | None) -> tuple[int, float]:
    """Null is least, NaN greatest."""
    return (0, 0.0) if ts is None else (2, 0.0) if math.isnan(ts) else (1, ts)


# -- the law -----------------------------------------------------------------------------------------------------------


@laws
@given(before=UNIQUE, source=UNIQUE, marked=st.booleans())
def test_it_is_what_a_dict_does_and_twice_is_once(tmp_path, before, source, marked):
    table = made(tmp_path, before, marked)
    expected = comparable({**model(before), **model(source)})
    result = table.upsert(arrow(source), ["id", "day"])
    assert held(table) == expected
    known = sum(row[0] in model(before) for row in source)
    if source:
        assert (result["num_target_rows_updated"], result["num_target_rows_inserted"]) == (known, len(source) - known)
    table.upsert(arrow(source), ["id", "day"])
    assert held(table) == expected


@laws
@given(before=UNIQUE, source=ROWS, keep=st.sampled_from(["first", "last"]), limit=st.sampled_from([None, 2000]))
def test_of_rows_with_one_key_the_first_or_the_last_counts(tmp_path, before, source, keep, limit):
    table = made(tmp_path, before)
    table.upsert(arrow(source), ["id", "day"], dedupe=keep, memory_limit=limit)
    arrived = source if keep == "last" else source[::-1]
    assert held(table) == comparable({**model(before), **model(arrived)})


@laws
@given(source=ROWS, keep=st.sampled_from(["first", "last"]), order=st.permutations(["ts", "v"]), step=st.integers(2, 5))
def test_order_by_says_which_row_counts(tmp_path, source, keep, order, step):
    """``step``: so few rows are ranked at a time that groups of rows are longer."""
    table = made(tmp_path, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedupe, "BATCH_ROWS", step)
        table.upsert(arrow(source), ["id", "day"], dedupe=keep, order_by=order)

    def by(row: Any) -> Any:
        _, v, ts = row
        found = {"ts": rank(ts), "v": rank(v)}
        return [found[name] for name in order]

    ordered = sorted(source, key=by)  # stable: ties by arrival
    assert held(table) == comparable(model(ordered if keep == "last" else ordered[::-1]))


@pytest.mark.parametrize("limit", [None, "256kB"])
@pytest.mark.parametrize("keep", ["first", "last"])
def test_duckdb_keeps_the_same_rows(tmp_path, keep, limit, monkeypatch):
    """Under a small limit the keys are divided by way of a temporary file."""
    duckdb = pytest.importorskip("duckdb")
    parts = []
    monkeypatch.setattr(dedupe, "divide_source", lambda *given: parts.append(given[2]) or divide_source(*given))
    random = np.random.default_rng(7)
    count = 20_000
    rows = pa.table({
        "id": random.integers(0, 3000, count),
        "name": [None if n == 0 else f"{'long ' * 3}{n}" for n in random.integers(0, 40, count).tolist()],
        "price": pa.array(random.integers(-50, 50, count).tolist()).cast(pa.decimal128(30, 2)),
        "day": pa.array(random.integers(0, 9, count).astype("int32")).cast(pa.date32()),
        "number": range(count),
    })  # fmt: skip
    table = DeltaTable.create(
        tmp_path / "t", "id bigint, name string, price decimal(30,2), day date, number bigint", storage_options=RELAXED
    )  # fmt: skip
    table.upsert(rows, "id", dedupe=keep, order_by=["price", "name", "day"], memory_limit=limit)
    assert not parts if limit is None else parts[0] > 4
    way = "desc nulls last" if keep == "last" else "asc nulls first"
    order = ", ".join(f"{name} {way}" for name in ("price", "name", "day", "number"))
    connection = duckdb.connect()
    connection.register("rows", rows)
    expected = connection.sql(f"select distinct on (id) number from rows order by id, {order}").fetchall()
    assert sorted(table.to_pyarrow_table()["number"].to_pylist()) == sorted(n for (n,) in expected)


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 1000])
def test_repeated_keys_are_refused_before_anything_is_written(tmp_path, limit):
    table = made(tmp_path, [((1, "a"), 1, 1.0)])
    before = sorted(p.name for p in tmp_path.rglob("*"))
    rows = [((7, "x"), 1, None), ((1, "a"), 2, None), ((7, "x"), 3, None), ((None, "n"), 4, None)] + [
        ((None, "n"), 5, None)
    ] * 2
    for dry_run in (False, True):
        with pytest.raises(MultipleMatchesError, match="dedupe='last'") as caught:
            table.upsert(arrow(rows), ["id", "day"], memory_limit=limit, dry_run=dry_run)
        assert caught.value.count == 2
        assert sorted(caught.value.keys, key=str) == [{"id": 7, "day": "x"}, {"id": None, "day": "n"}]
        assert sorted(caught.value.source_rows) == [[0, 2], [3, 4, 5]]
    assert sorted(p.name for p in tmp_path.rglob("*")) == before and table.version() == 1


def test_many_repeated_keys_are_counted_and_few_shown(tmp_path):
    table = made(tmp_path, [])
    rows = arrow([((n // 2, "a"), n, None) for n in range(2000)])
    with pytest.raises(MultipleMatchesError, match="2000 rows of the source share 1000 keys") as caught:
        table.upsert(rows, ["id", "day"])
    assert caught.value.count == 1000 and len(caught.value.keys) == 5


def test_nan_and_the_zeros_are_one_key_each(tmp_path):
    table = DeltaTable.create(tmp_path / "t", "k double, v int", storage_options=RELAXED)
    table.upsert(pa.table({"k": [math.nan, 0.0], "v": pa.array([1, 1], pa.int32())}), "k")
    rows = pa.table({"k": [-0.0, math.nan, math.nan, 0.0], "v": pa.array([2, 3, 4, 5], pa.int32())})
    with pytest.raises(MultipleMatchesError) as caught:
        table.upsert(rows, "k")
    assert caught.value.count == 2
    table.upsert(rows, "k", dedupe="last")
    assert sorted(table.to_pyarrow_table()["v"].to_pylist()) == [4, 5]


def test_keys_are_compared_in_the_type_of_the_match(tmp_path):
    table = made(tmp_path, [((1, "a"), 1, None)])
    rows = pa.table({"ID": pa.array([1, 2], pa.int8()), "v": pa.array([5, 6], pa.int8())})
    table.upsert(rows, "id", update=["v"])
    assert held(table) == {(1, "a"): (5, None), (2, None): (6, None)}


def test_long_texts_and_wide_keys(tmp_path):
    table = DeltaTable.create(tmp_path / "t", "a string, b string, c decimal(38,0), v int", storage_options=RELAXED)
    texts = ["x" * 300, "x" * 300 + "y", "", None]
    rows = [{"a": a, "b": b, "c": c, "v": 1} for a in texts for b in texts[1:] for c in (None, 10**30)]
    source = pa.Table.from_pylist(
        rows, pa.schema([("a", pa.string()), ("b", pa.string()), ("c", pa.decimal128(38, 0)), ("v", pa.int32())])
    )
    table.upsert(source, ["a", "b", "c"])
    table.upsert(pa.concat_tables([source] * 3), ["a", "b", "c"], dedupe="first")
    assert table.to_pyarrow_table().num_rows == len(rows) == len({(r["a"], r["b"], r["c"]) for r in rows})


# -- what happens ------------------------------------------------------------------------------------------------------

BEFORE = [((1, "a"), 10, 1.0), ((2, "a"), 20, 2.0), ((3, "a"), 30, 3.0)]
SOURCE = pa.table({
    "id": [1, 2, 9, 8], "day": ["a", "a", "a", "a"], "v": pa.array([11, 21, 91, 81], pa.int32()),
    "ts": [5.0, 0.5, 9.0, 8.0], "op": ["U", "D", "I", "D"],
})  # fmt: skip
KEPT = comparable(model(BEFORE))


def after(tmp_path: Path, **arguments: Any) -> dict[int, int]:
    """``v`` by ``id``."""
    table = made(tmp_path, BEFORE)
    table.upsert(SOURCE, arguments.pop("on", ["id", "day"]), **arguments)
    return {key: v for (key, _), (v, _) in held(table).items()}


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, {1: 11, 2: 21, 3: 30, 9: 91, 8: 81}),
        ({"update": False}, {1: 10, 2: 20, 3: 30, 9: 91, 8: 81}),
        ({"insert": False}, {1: 11, 2: 21, 3: 30}),
        ({"insert": "s.v > 90"}, {1: 11, 2: 21, 3: 30, 9: 91}),
        ({"update_when": "s.ts > t.ts"}, {1: 11, 2: 20, 3: 30, 9: 91, 8: 81}),
        ({"delete_when": "op = 'D'"}, {1: 11, 3: 30, 9: 91}),
        ({"delete_when": "op = 'D'", "insert": "s.v > 91"}, {1: 11, 3: 30}),
        ({"delete_when": "op = 'D'", "update": False, "insert": False}, {1: 10, 3: 30}),
        # for a new key the table's columns are null: the first is true of all of them, the second of none
        ({"delete_when": "t.v is null"}, {1: 11, 2: 21, 3: 30}),
        ({"delete_when": "t.v >= 20"}, {1: 11, 3: 30, 9: 91, 8: 81}),
        ({"update": ["ts"]}, {1: 10, 2: 20, 3: 30, 9: 91, 8: 81}),
        ({"update": ["V"]}, {1: 11, 2: 21, 3: 30, 9: 91, 8: 81}),
        ({"update": {"v": "t.v + s.v"}}, {1: 21, 2: 41, 3: 30, 9: 91, 8: 81}),
        ({"source_alias": "new", "target_alias": "old", "update_when": "new.ts > old.ts"},
         {1: 11, 2: 20, 3: 30, 9: 91, 8: 81}),
    ],
)  # fmt: skip
def test_what_becomes_of_rows(tmp_path, arguments, expected):
    assert after(tmp_path, **arguments) == expected


def test_deduplication_comes_before_conditions(tmp_path):
    """Of the changes of a row only the last one counts: a deletion, or a row that came back."""
    table = made(tmp_path, BEFORE)
    log = pa.table({
        "id": [1, 1, 2, 2], "day": ["a"] * 4, "v": pa.array([1, None, None, 2], pa.int32()), "ts": [1.0, 2.0, 3.0, 4.0],
        "op": ["U", "D", "D", "U"],
    })  # fmt: skip
    table.upsert(log, ["id", "day"], dedupe="last", order_by="ts", delete_when="op = 'D'")
    assert {key: v for (key, _), (v, _) in held(table).items()} == {2: 2, 3: 30}


def test_columns_that_the_source_lacks(tmp_path):
    narrow = pa.table({"id": [1, 9], "day": ["a", "a"], "v": pa.array([5, 6], pa.int32())})
    for arguments in ({}, {"update": False}):
        with pytest.raises(SchemaMismatchError, match=r"update=\[") as caught:
            made(tmp_path, BEFORE).upsert(narrow, ["id", "day"], **arguments)
        assert caught.value.columns == ["ts"]
    for arguments in ({"update": ["v"]}, {"merge_schema": True}, {"update": {"v": "s.v"}}):
        table = made(tmp_path, BEFORE)
        table.upsert(narrow, ["id", "day"], **arguments)
        assert held(table) == {**KEPT, (1, "a"): (5, 1.0), (9, "a"): (6, None)}


def test_new_columns_come_in_where_asked_for(tmp_path):
    table = made(tmp_path, BEFORE)
    table.upsert(SOURCE, ["id", "day"], merge_schema=True)
    assert table.schema().names[-1] == "op" and table.count("op is null") == 1


def test_rules_of_the_table_hold(tmp_path):
    table = DeltaTable.create(
        tmp_path / "t", "id bigint NOT NULL, v int, w int GENERATED ALWAYS AS (v * 2)",
        configuration={"delta.constraints.small": "v < 100"}, storage_options=RELAXED,
    )  # fmt: skip
    table.upsert({"id": [1, 2], "v": [1, 2]}, "id")
    table.upsert({"id": [2, 3], "v": [5, 6]}, "id")
    rows = sorted(table.to_pyarrow_table().to_pylist(), key=lambda r: r["id"])
    assert rows == [{"id": 1, "v": 1, "w": 2}, {"id": 2, "v": 5, "w": 10}, {"id": 3, "v": 6, "w": 12}]
    with pytest.raises(ConstraintViolation):
        table.upsert({"id": [1], "v": [100]}, "id")


def test_a_dry_run_a_transaction_and_a_repeated_delivery(tmp_path):
    table = made(tmp_path, BEFORE)
    preview = table.upsert(SOURCE, ["id", "day"], dry_run=True)
    assert (preview["num_target_rows_updated"], preview["num_target_rows_inserted"]) == (2, 2)
    assert table.version() == 1 and held(table) == KEPT
    with table.transaction() as t:
        t.delete("id = 3")
        t.upsert(SOURCE, ["id", "day"], insert=False)
    assert {key: v for (key, _), (v, _) in held(table).items()} == {1: 11, 2: 21} and table.version() == 2
    assert table.upsert(SOURCE, ["id", "day"], txn=("feed", 1)).skipped is None
    assert table.upsert(SOURCE, ["id", "day"], txn=("feed", 1)).skipped
    assert table.upsert(SOURCE.slice(0, 0), ["id", "day"]).skipped


def test_the_table_may_be_its_own_source(tmp_path):
    table = made(tmp_path, BEFORE)
    table.upsert(table, ["id", "day"], update={"v": "t.v + s.v"})
    assert {key: v for (key, _), (v, _) in held(table).items()} == {1: 20, 2: 40, 3: 60}


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"on": []}, InvalidArgumentError, "which rows are the same"),
        ({"on": "nope"}, InvalidArgumentError, "the table lacks"),
        ({"on": "op"}, InvalidArgumentError, "the table lacks"),
        ({"dedupe": "any"}, InvalidArgumentError, "error, first, last"),
        ({"order_by": "ts"}, InvalidArgumentError, "dedupe='last'"),
        ({"order_by": "nope", "dedupe": "last"}, ExpressionError, "nope"),
        ({"update": True}, InvalidArgumentError, "update=True"),
        ({"update": []}, InvalidArgumentError, "update=False"),
        ({"update": ["nope"]}, InvalidArgumentError, "nope"),
        ({"update": {"nope": "1"}}, ExpressionError, "nope"),
        ({"update": False, "insert": False}, InvalidArgumentError, "nothing to do"),
        ({"update": False, "update_when": "true"}, InvalidArgumentError, "update_when"),
        ({"delete_when": "ts > 1"}, ExpressionError, "both the table and the source"),
        ({"delete_when": "op"}, ExpressionError, "boolean|BOOLEAN"),
        ({"insert": "t.v > 1"}, ExpressionError, "NOT MATCHED"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, error, words):
    with pytest.raises(error, match=words):
        after(tmp_path, **arguments)


def test_nested_keys_are_refused(tmp_path):
    table = DeltaTable.create(tmp_path / "t", "s struct<a: int>, l array<int>", storage_options=RELAXED)
    rows = pa.table({"s": [{"a": 1}], "l": [[1]]})
    for on in ("s", "l"):
        with pytest.raises(InvalidArgumentError, match="keys are plain values"):
            table.upsert(rows, on)


def test_no_pandas(tmp_path):
    made(tmp_path, BEFORE)
    code = f"""
import sys, pyarrow as pa
from deltalite import DeltaTable
from deltalite.model.arrow import array
names = ["id", "day", "v", "ts"]
types = [pa.int64(), pa.string(), pa.int32(), pa.float64()]
columns = [array(c, t) for c, t in zip([[1, 1], ["a", "a"], [5, 6], [1.0, 2.0]], types)]
table = DeltaTable({str(tmp_path / "0")!r})
table.upsert(pa.Table.from_arrays(columns, names), ["id", "day"], dedupe="last", order_by=["day", "ts"])
assert not {{"pandas", "pyarrow.dataset"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rows_without_the_columns_that_a_table_computes(tmp_path: Path) -> None:
    table = DeltaTable.create(
        tmp_path / "t", "id bigint GENERATED ALWAYS AS IDENTITY, name string, upper string GENERATED ALWAYS AS (upper(name))"
    )
    table.upsert([{"name": "a"}, {"name": "b"}], "name")
    table.upsert([{"name": "b"}, {"name": "c"}], "name")
    rows = sorted(tuple(r.values()) for r in table.to_pyarrow_table().to_pylist())
    assert rows == [(1, "a", "A"), (2, "b", "B"), (3, "c", "C")]


def test_no_rows_at_all_change_nothing(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path / "t", "id bigint, name string")
    assert table.upsert([], "id").skipped
    assert table.version() == 0


def test_a_key_that_nobody_has_is_named_first(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path / "t", "id bigint, name string")
    with pytest.raises(InvalidArgumentError, match="'nope'"):
        table.upsert([{"id": 1}], "nope")
