"""The match of a MERGE: traps of other engines, larger sets against DuckDB, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from match_model import Merge, run, targets, told

from deltalite.engine import match as matching
from deltalite.engine.match import find
from deltalite.engine.spill import Budget, Source
from deltalite.exceptions import ExpressionError, InvalidArgumentError, MergeRefusedError, MultipleMatchesError
from deltalite.model.change import Match
from deltalite.model.types import Field, PrimitiveType, Schema

KEYED = Schema([Field("k", PrimitiveType("long")), Field("v", PrimitiveType("long"))])
UPSERT = Merge(KEYED, KEYED)
ON_K = Match((UPSERT.pair("t_k", "s_k"),))
UPDATE, INSERT = UPSERT.clause("matched", "update"), UPSERT.clause("not_matched", "insert")
CLAUSES = (UPDATE, INSERT)
BOTH_WAYS = pytest.mark.parametrize("limit", ["256MB", "20kB"])


def numbers(keys, values=None):
    values = range(len(keys)) if values is None else values
    return pa.table({"k": pa.array(keys, pa.int64()), "v": pa.array(values, pa.int64())})


def test_an_upsert():
    edits = run(numbers([5, 3, None, 8]), numbers([8, 9, 3, None]), ON_K, CLAUSES)
    assert told(edits, None) == ({1: (0, 2), 3: (0, 0)}, {1: [1, 3]})
    assert edits.source_count == 4


def test_nothing_happens():
    edits = run(numbers([1, 2]), numbers([3, 4]), ON_K, (UPDATE,))
    assert edits.is_empty and edits.files == () and edits.inserted == ()


@pytest.mark.parametrize("source", [numbers([]), numbers([None, None])])
def test_a_source_without_keys(source):
    clauses = (*CLAUSES, UPSERT.clause("not_matched_by_source", "delete"))
    edits = run(numbers([1, None]), source, ON_K, clauses)
    found, inserted = told(edits, None)
    assert found == {0: (2, -1), 1: (2, -1)}
    assert inserted == ({1: [0, 1]} if source.num_rows else {})
    assert edits.files[0].source_rows is None


def test_batches_without_rows():
    batches = [b for _, b in targets(numbers([1, 2]), None, 10, 1)]
    budget = Budget("1MB")
    with Source.of(numbers([2]).to_reader(), budget) as source:
        edits = find(iter([(0, batches[0].slice(0, 0)), (1, batches[0]), (2, batches[0].slice(2))]), source, ON_K, CLAUSES, budget)
    assert [(f.file, f.positions.tolist()) for f in edits.files] == [(1, [1])]
    assert budget.held == 0


# -- cardinality -------------------------------------------------------------------------------------------------------


@pytest.mark.bug("T-19")
@BOTH_WAYS
def test_several_source_rows_for_one_row(limit):
    with pytest.raises(MultipleMatchesError) as caught:
        run(numbers([5, 3, 8]), numbers([8, 3, 3, 3]), ON_K, CLAUSES, limit=limit)
    assert (caught.value.count, caught.value.keys, caught.value.source_rows) == (1, [{"k": 3}], [[1, 2, 3]])
    assert "k = 3" in str(caught.value)


@pytest.mark.bug("T-20")
@pytest.mark.parametrize("rows", [8191, 8192, 8193, 100_000])
@pytest.mark.parametrize("batch_rows", [1000, 8192, 65536])
def test_unique_keys_are_never_ambiguous(rows, batch_rows):
    keys = np.random.default_rng(rows).permutation(rows)
    edits = run(numbers(keys), numbers(keys[::-1]), ON_K, CLAUSES, batch_rows=batch_rows)
    assert told(edits, None) == ({i: (0, rows - 1 - i) for i in range(rows)}, {})


@pytest.mark.bug("T-20")
@BOTH_WAYS
def test_one_repeated_key_among_many(limit):
    keys = np.arange(100_000)
    with pytest.raises(MultipleMatchesError) as caught:
        run(numbers(keys), numbers([*keys, 8192]), ON_K, CLAUSES, limit=limit, batch_rows=8192)
    assert (caught.value.count, caught.value.keys, caught.value.source_rows) == (1, [{"k": 8192}], [[8192, 100_000]])


def test_repeated_keys_that_no_clause_applies_to():
    clauses = (UPSERT.clause("matched", "update", "s_v > 0"), INSERT)
    edits = run(numbers([1, 2]), numbers([1, 1, 3, 3], [0, 7, 1, 2]), ON_K, clauses)
    assert told(edits, None) == ({0: (0, 1)}, {1: [2, 3]})


def test_a_lone_delete_may_match_often():
    edits = run(numbers([1, 2]), numbers([2, 2, 2]), ON_K, (UPSERT.clause("matched", "delete"), INSERT))
    assert told(edits, None) == ({1: (0, 0)}, {})
    for clauses in (
        (UPSERT.clause("matched", "delete", "s_v >= 0"),),
        (UPSERT.clause("matched", "delete"), UPSERT.clause("matched", "update")),
    ):
        with pytest.raises(MultipleMatchesError):
            run(numbers([1, 2]), numbers([2, 2, 2]), ON_K, clauses)


def test_a_key_that_repeats_a_hundred_thousand_times_on_both_sides():
    same = np.zeros(100_000, np.int64)
    with pytest.raises(MultipleMatchesError) as caught:
        run(numbers(same), numbers(same), ON_K, CLAUSES, batch_rows=10_000)
    assert (caught.value.count, len(caught.value.keys)) == (100_000, 5)
    edits = run(numbers(same), numbers(same), ON_K, (UPSERT.clause("matched", "delete"), INSERT), batch_rows=10_000)
    assert len(edits.files[0].positions) == 100_000 and edits.inserted == ()


def test_an_ambiguous_match_of_very_many_pairs_is_refused_early(monkeypatch):
    monkeypatch.setattr(matching, "ENOUGH_PAIRS", 10_000)
    clauses = (UPSERT.clause("matched", "update", "s_v >= 0"), INSERT)
    many = numbers(np.zeros(2000, np.int64))
    with pytest.raises(MultipleMatchesError, match=r"at least \d+ of its rows") as caught:
        run(many, many, ON_K, clauses, batch_rows=1000)
    assert caught.value.source_rows == [list(range(5))] * 5 and caught.value.count < 1000
    lone = (UPSERT.clause("matched", "delete"), INSERT)
    assert len(run(many, many, Match(ON_K.keys, residual=UPSERT.condition("s_v >= 0")), lone).files[0].positions) == 2000


# -- rows without a match ----------------------------------------------------------------------------------------------


@pytest.mark.bug("T-23")
@BOTH_WAYS
def test_rows_that_the_condition_on_the_table_leaves_out_are_not_matched_by_source(limit):
    match = Match(ON_K.keys, target=UPSERT.condition("t_v < 100"))
    clauses = (UPDATE, UPSERT.clause("not_matched_by_source", "delete"))
    target = numbers(range(2000), np.arange(2000) % 200)
    edits, _ = told(run(target, numbers(range(2000)), match, clauses, limit=limit), None)
    assert edits == {i: (0, i) if i % 200 < 100 else (1, -1) for i in range(2000)}


@pytest.mark.bug("T-24")
@BOTH_WAYS
def test_conditions_of_clauses_for_rows_not_matched_by_source(limit):
    target = pa.table({"k": pa.array(range(600)), "v": pa.array([i % 3 if i % 3 else None for i in range(600)])})
    clauses = (UPSERT.clause("not_matched_by_source", "delete", "t_v = 1"),)
    edits, _ = told(run(target, numbers([1, 2, 3]), ON_K, clauses, limit=limit), None)
    assert edits == {i: (0, -1) for i in range(4, 600) if i % 3 == 1}


@pytest.mark.bug("T-64")
def test_deletes_beside_updates_are_all_found():
    clauses = (UPSERT.clause("matched", "delete", "s_v % 2 = 0"), UPDATE, INSERT)
    edits = run(numbers(range(1000)), numbers(range(500, 1500)), ON_K, clauses, files=[300, 300, 400])
    found, inserted = told(edits, [300, 300, 400])
    assert found == {i: (0 if (i - 500) % 2 == 0 else 1, i - 500) for i in range(500, 1000)}
    assert inserted == {2: list(range(500, 1000))}
    assert [f.file for f in edits.files] == [1, 2]


# -- when conditions are computed --------------------------------------------------------------------------------------


def test_conditions_are_computed_only_for_rows_that_reach_them():
    clauses = (
        UPSERT.clause("matched", "delete", "t_v = 0"),
        UPSERT.clause("matched", "update", "10 / t_v > 4"),
        UPSERT.clause("not_matched", "insert", "s_v <> 0"),
    )
    edits = run(numbers([1, 2, 3, 4], [0, 2, 5, 0]), numbers([1, 2, 3, 9], [1, 1, 1, 0]), ON_K, clauses)
    assert told(edits, None)[0] == {0: (0, 0), 1: (1, 1)}
    with pytest.raises(ExpressionError, match="division by zero"):
        run(numbers([4], [0]), numbers([4]), ON_K, clauses[1:2])


def test_the_rest_of_the_condition_is_computed_for_pairs_with_equal_keys():
    match = Match(ON_K.keys, residual=UPSERT.condition("10 / (t_v - s_v) > 1"))
    edits = run(numbers([1, 2], [5, 3]), numbers([1, 3, 2], [0, 5, 1]), match, CLAUSES)
    assert told(edits, None) == ({0: (0, 0), 1: (0, 2)}, {1: [1]})


def test_keys_are_computed_for_rows_that_meet_their_sides_condition():
    keys = (UPSERT.pair("10 / t_v", "10 / s_v"),)
    match = Match(keys, target=UPSERT.condition("t_v <> 0"), source=UPSERT.condition("s_v <> 0"))
    edits = run(numbers([1, 2, 3], [0, 2, 5]), numbers([7, 8], [0, 5]), match, CLAUSES)
    assert told(edits, None) == ({2: (0, 1)}, {1: [0]})


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "condition", "count", "keys"),
    [
        ("matched", None, 2, [{"k": 2}, {"k": 3}]),
        ("matched", "t_v = 2", 1, [{"k": 3}]),
        ("not_matched", "s_k > 8", 1, [{"k": 9}]),
        ("not_matched_by_source", None, 1, [{"k": 1}]),
    ],
)
@BOTH_WAYS
def test_clauses_that_refuse(when, condition, count, keys, limit):
    clauses = [UPSERT.clause(when, "fail", condition)]
    with pytest.raises(MergeRefusedError) as caught:
        run(numbers([1, 2, 3]), numbers([2, 3, 8, 9]), ON_K, clauses, limit=limit)
    assert caught.value.count == count and sorted(map(str, caught.value.keys)) == sorted(map(str, keys))
    other = {"matched": "not_matched", "not_matched": "matched", "not_matched_by_source": "matched"}[when]
    clauses = [UPSERT.clause(other, "fail", "s_v is null"), *([INSERT] if other == "not_matched" else [UPDATE])]
    assert not run(numbers([1, 2, 3]), numbers([2, 3, 8, 9]), ON_K, clauses, limit=limit).is_empty


def test_too_many_pairs(monkeypatch):
    match = Match((), residual=UPSERT.condition("t_k > s_k"))
    assert not run(numbers(range(100)), numbers([90, 200]), match, (UPDATE,), batch_rows=10).is_empty
    monkeypatch.setattr(matching, "MOST_PAIRS", 100)
    with pytest.raises(InvalidArgumentError, match="2 rows of the source would each be compared with at least 60 rows") as caught:
        run(numbers(range(100)), numbers([90, 200]), match, (UPDATE,), batch_rows=10)
    assert (caught.value.source_rows, caught.value.target_rows) == (2, 60)


def test_more_clauses_than_eight_bits_count():
    with pytest.raises(InvalidArgumentError, match="128"):
        run(numbers([1]), numbers([1]), ON_K, [UPSERT.clause("matched", "update", "t_v > 1")] * 128)


# -- larger sets -------------------------------------------------------------------------------------------------------


@BOTH_WAYS
@pytest.mark.parametrize("sign", ["=", "IS NOT DISTINCT FROM"])
def test_equals_a_join_of_duckdb(limit, sign):
    schema = Schema([Field(n, PrimitiveType(t)) for n, t in (("a", "string"), ("b", "integer"), ("c", "double"), ("v", "long"))])
    merge = Merge(schema, schema)
    rng = np.random.default_rng(7)

    def side(rows):
        def holes(values):
            return pa.array(values, mask=rng.random(rows) < 0.05)

        a = holes(np.array([f"key {i}" * (i % 5 + 1) for i in rng.integers(0, 300, rows)], object))
        c = holes(rng.choice([0.0, -0.0, np.nan, 1.5, 2.5], rows))
        return pa.table({"a": a, "b": holes(rng.integers(-5, 5, rows).astype(np.int32)), "c": c, "v": holes(rng.integers(0, 50, rows))})

    target, source = side(40_000), side(2_000)
    match = Match(
        tuple(merge.pair(f"t_{n}", f"s_{n}", sign != "=") for n in "abc"), residual=merge.condition("t_v <= s_v")
    )
    clauses = [merge.clause("matched", "delete"), merge.clause("not_matched", "insert"), merge.clause("not_matched_by_source", "update")]
    files = [10_000, 1, 20_000, 9_999]
    edits, inserted = told(run(target, source, match, clauses, limit=limit, files=files, batch_rows=3000), files)
    on = " AND ".join(f"t.{n} {sign} s.{n}" for n in "abc") + " AND t.v <= s.v"
    t, s = target.append_column("i", pa.array(range(40_000))), source.append_column("j", pa.array(range(2_000)))
    with duckdb.connect() as connection:
        connection.register("t", t)
        connection.register("s", s)
        pairs = connection.execute(f"SELECT t.i, min(s.j) FROM t JOIN s ON {on} GROUP BY t.i").fetchall()
        missing = connection.execute(f"SELECT s.j FROM s WHERE NOT EXISTS (SELECT 1 FROM t WHERE {on}) ORDER BY s.j").fetchall()
    assert len(pairs) > 1000 and missing
    assert edits == dict.fromkeys(range(40_000), (2, -1)) | {i: (0, j) for i, j in pairs}
    assert inserted == {1: [j for (j,) in missing]}


def test_a_match_loads_no_pandas():
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, pyarrow as pa
from deltalite.engine.match import find
from deltalite.engine.spill import Budget, Source
from deltalite.expr.vectors import from_numpy
from match_model import Merge
from deltalite.model.arrow import array
from deltalite.model.change import Match
from deltalite.model.types import Field, PrimitiveType, Schema
schema = Schema([Field("a", PrimitiveType("string")), Field("b", PrimitiveType("timestamp")), Field("c", PrimitiveType("double"))])
merge = Merge(schema, schema)
types = [pa.string(), pa.timestamp("us", "UTC"), pa.float64()]
columns = [array(v, t) for v, t in zip((["x", None, "y"], [5, 6, 7], [1.0, float("nan"), None]), types)]
batch = pa.RecordBatch.from_arrays(columns, ["a", "b", "c"])
for limit in ("64MB", 100):
    budget = Budget(limit)
    with Source.of(pa.RecordBatchReader.from_batches(batch.schema, [batch]), budget) as source:
        for pair in (merge.pair("t_a", "s_a"), merge.pair("t_b", "s_b"), merge.pair("t_c", "s_c", True)):
            assert source.bounds(pair.source) and source.distinct(pair.source, 10)
            rows = batch.rename_columns(["target.a", "target.b", "target.c"]).append_column("_row_index", array([0, 1, 2], pa.int64()))
            clauses = [merge.clause("matched", "update", "s_b = t_b"), merge.clause("not_matched", "insert")]
            edits = find(iter([(0, rows)]), source, Match((pair,)), clauses, budget)
            assert len(edits.files[0].positions) >= 2
print(sorted({"pandas", "pyarrow.dataset", "pyarrow.acero"} & set(sys.modules)))
"""
    here = os.path.dirname(__file__)
    found = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "[]", found.stderr
