"""Laws of change feeds: what deltalake wrote we read alike, and replaying a feed gives the table (I-11)."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from feed_tables import ON, replayed, told
from hypothesis import given, settings
from hypothesis import strategies as st

import deltalite
from deltalite.operations.differences import ALONE, CHANGED, by_key, by_row_id, by_rows
from deltalite.operations.fingerprints import fingerprints, joined

deltalake = pytest.importorskip("deltalake")


def rows(table: pa.Table) -> Counter:
    names = sorted(table.column_names)
    return Counter(tuple(repr(row[name]) for name in names) for row in table.to_pylist())


def some(rng: random.Random, count: int) -> pa.Table:
    picked = rng.sample(range(40), count)
    return pa.table(
        {
            "id": pa.array(picked, pa.int64()),
            "p": [rng.choice(["a", "b"]) for _ in picked],
            "v": [rng.choice([None, "x", "y"]) for _ in picked],
        }
    )


def deltalake_step(path: str, rng: random.Random) -> None:
    table = deltalake.DeltaTable(path)
    kind = rng.choice(["append", "delete", "update", "merge", "compact", "overwrite"])
    if kind == "append":
        deltalake.write_deltalake(path, some(rng, 3), mode="append")
    elif kind == "delete":
        table.delete(rng.choice(["id < 5", "p = 'a'", "v is null", "id % 3 = 0"]))
    elif kind == "update":
        table.update(predicate=rng.choice(["id > 20", "p = 'b'"]), updates={"v": rng.choice(["'z'", "p"])})
    elif kind == "merge":
        merge = table.merge(some(rng, 8), "t.id = s.id", source_alias="s", target_alias="t")
        merge = merge.when_matched_update_all("s.v is not null").when_matched_delete().when_not_matched_insert_all()
        merge.execute()
    elif kind == "compact":
        table.optimize.compact()
    else:
        deltalake.write_deltalake(path, some(rng, 4), mode="overwrite")


def unique_start(rng: random.Random) -> pa.Table:
    return some(rng, 20)


@pytest.mark.bug("T-67")
@pytest.mark.parametrize("partition_by", [None, ["p"]])
@pytest.mark.parametrize("seed", range(3))
def test_the_feed_of_a_table_that_deltalake_wrote(tmp_path: Path, seed: int, partition_by: list[str] | None) -> None:
    rng, path = random.Random(seed), str(tmp_path / "t")
    deltalake.write_deltalake(path, unique_start(rng), partition_by=partition_by, configuration=ON)
    for _ in range(7):
        try:
            deltalake_step(path, rng)
        except Exception as error:  # ambiguous merges: ids repeat after appends
            assert "multiple source rows" in str(error) or "matched" in str(error)
    ours = deltalite.DeltaTable(path)
    names = ["id", "p", "v", "_change_type", "_commit_version"]
    assert told(ours.load_cdf(), *names) == told(pa.table(deltalake.DeltaTable(path).load_cdf().read_all()), *names)
    feed, computed = ours.load_cdf().read_all(), ours.changes(0).read_all()
    for version in range(ours.version() + 1):
        expected = rows(deltalite.DeltaTable(path, version).to_pyarrow_table())
        assert replayed(feed, version) == replayed(computed, version) == expected


@pytest.mark.bug("T-67")
@pytest.mark.parametrize("seed", range(3))
def test_changes_of_a_table_without_a_feed_replay_it(tmp_path: Path, seed: int) -> None:
    rng, path = random.Random(100 + seed), str(tmp_path / "t")
    deltalake.write_deltalake(path, unique_start(rng), partition_by=["p"])
    for _ in range(6):
        try:
            deltalake_step(path, rng)
        except Exception as error:
            assert "multiple source rows" in str(error) or "matched" in str(error)
    ours = deltalite.DeltaTable(path)
    feed = ours.changes(0).read_all()
    for version in range(ours.version() + 1):
        expected = rows(deltalite.DeltaTable(path, version).to_pyarrow_table())
        assert replayed(feed, version) == expected
        found = ours.diff(version)
        net = Counter()
        for row in found.rows().read_all().to_pylist():
            net[tuple(repr(row[n]) for n in ("id", "p", "v"))] += 1 if row["_change_type"] == "insert" else -1
        now = rows(ours.to_pyarrow_table())
        assert net == Counter({r: now[r] - expected[r] for r in {*now, *expected} if now[r] != expected[r]})


# -- our own writers -------------------------------------------------------------------------------------------------

DELETES = ["id < 5", "p = 'a'", "v is null", "id % 3 = 0", "p = 'b' and id > 10", "id in (1, 2, 3)", None]


def our_step(table: deltalite.DeltaTable, rng: random.Random) -> None:
    kind = rng.choice(["append", "delete", "delete", "update", "update", "merge", "merge", "overwrite", "transaction"])
    if kind == "append":
        fresh = some(rng, 3)
        table.append(fresh.set_column(0, "id", pa.array([rng.randrange(10**9) for _ in range(3)], pa.int64())))
    elif kind == "delete":
        table.delete(rng.choice(DELETES[: None if rng.random() < 0.1 else -1]))
    elif kind == "update":
        table.update(
            predicate=rng.choice(["id > 20", "p = 'b'", "id = 7"]),
            updates=rng.choice([{"v": "'z'"}, {"p": "'c'"}, {"v": "v"}]),
        )
    elif kind == "merge":
        merge = table.merge(some(rng, 8), "t.id = s.id", source_alias="s", target_alias="t")
        merge = merge.when_matched_update_all("s.v is not null")
        if rng.random() < 0.7:
            merge = merge.when_matched_delete()
        if rng.random() < 0.7:
            merge = merge.when_not_matched_insert_all()
        if rng.random() < 0.3:
            merge = merge.when_not_matched_by_source_delete("t.id % 5 = 0")
        merge.execute()
    elif kind == "overwrite":
        part = some(rng, 4)
        table.overwrite(part.set_column(1, "p", pa.array(["a"] * 4)), predicate="p = 'a'")
    else:
        with table.transaction() as t:
            t.update(predicate="id > 25", updates={"v": "'t'"})
            t.append(pa.table({"id": [rng.randrange(10**9)], "p": ["a"], "v": ["new"]}))
            t.delete("id < 3")


@pytest.mark.bug("T-67")
@pytest.mark.parametrize("feed", [True, False])
@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_the_feed_of_a_table_that_we_wrote(tmp_path: Path, seed: int, tracked: bool, vectors: bool, feed: bool) -> None:
    rng, path = random.Random(f"{seed} {tracked} {vectors} {feed}"), str(tmp_path / "t")
    properties = {
        "delta.enableChangeDataFeed": str(feed).lower(),
        "delta.enableDeletionVectors": str(vectors).lower(),
        "delta.enableRowTracking": str(tracked).lower(),
    }
    deltalite.write_deltalake(path, unique_start(rng), partition_by=rng.choice([None, ["p"]]), configuration=properties)
    table = deltalite.DeltaTable(path)
    for _ in range(9):
        our_step(table, rng)
    told_of = [table.changes(0)] + ([table.load_cdf()] if feed else [])
    if tracked or feed:
        assert told_of[0].schema.metadata[b"deltalite.exact"] == b"true"
    for changes in told_of:
        found = changes.read_all()
        for version in range(table.version() + 1):
            assert replayed(found, version) == rows(deltalite.DeltaTable(path, version).to_pyarrow_table()), version
    if feed and not vectors and not tracked:
        names = ["id", "p", "v", "_change_type", "_commit_version"]
        theirs = pa.table(deltalake.DeltaTable(path).load_cdf().read_all())
        assert told(table.load_cdf(), *names) == told(theirs, *names)


def test_row_ids_tell_what_the_feed_tells(tmp_path: Path) -> None:
    """The same operations on a table with a feed, and on one with row ids alone."""
    found = []
    for name, properties in (("feed", ON), ("ids", {"delta.enableRowTracking": "true"})):
        rng = random.Random(5)
        path = str(tmp_path / name)
        deltalite.write_deltalake(path, unique_start(rng), configuration=properties)
        table = deltalite.DeltaTable(path)
        table.update(predicate="id > 20", updates={"v": "'u'"})
        table.delete("id % 4 = 0")
        source = pa.table({"id": [1, 2, 3, 100], "p": ["m"] * 4, "v": ["m"] * 4})
        merge = table.merge(source, "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
        found.append(told(table.changes(0), "id", "p", "v", "_change_type", "_commit_version"))
    assert found[0] == found[1]
    assert any("'update_postimage'" in row for row in found[1])


# -- fingerprints ----------------------------------------------------------------------------------------------------

VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20) | st.sampled_from(["", "a", "a\0", "\0", "x" * 300, "x" * 301, "x" * 256]),
    pa.large_binary(): st.binary(max_size=20),
    pa.decimal128(20, 2): st.integers(-(10**18), 10**18).map(lambda n: Decimal(n).scaleb(-2)),
    pa.timestamp("us", "UTC"): st.integers(-(2**50), 2**50),
    pa.date32(): st.integers(-10000, 10000),
}


@st.composite
def columns(draw: st.DrawFn) -> tuple[pa.DataType, list]:
    kind = draw(st.sampled_from(list(VALUES)))
    value = st.none() | VALUES[kind]
    shape = draw(st.sampled_from(["plain", "plain", "list", "struct", "map", "list of struct"]))
    if shape == "list":
        kind, value = pa.list_(kind), st.none() | st.lists(value, max_size=4)
    elif shape == "struct":
        kind, value = (
            pa.struct([("a", kind), ("b", pa.string())]),
            st.none() | st.fixed_dictionaries({"a": value, "b": st.none() | st.text(max_size=3)}),
        )
    elif shape == "map":
        kind = pa.map_(pa.string(), kind)
        value = st.none() | st.dictionaries(st.text(max_size=3), value, max_size=3).map(lambda d: list(d.items()))
    elif shape == "list of struct":
        kind, value = (
            pa.list_(pa.struct([("a", kind)])),
            st.none() | st.lists(st.none() | st.fixed_dictionaries({"a": value}), max_size=3),
        )
    return kind, draw(st.lists(value, min_size=1, max_size=12))


def canonical(value: object) -> object:
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0
    if isinstance(value, dict):
        return {k: canonical(v) for k, v in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return sorted((repr(k), repr(canonical(v))) for k, v in value)
    return [canonical(v) for v in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None)
@given(columns(), st.data())
def test_equal_rows_and_only_those_have_equal_fingerprints(
    column: tuple[pa.DataType, list], data: st.DataObject
) -> None:
    kind, values = column
    array = pa.array([*values, *values], kind)
    found = fingerprints(pa.RecordBatch.from_arrays([array], ["c"]))
    texts = [repr(canonical(v)) for v in array.to_pylist()]
    for i in range(len(texts)):
        for j in range(i):
            assert (texts[i] == texts[j]) == bool((found[:, i] == found[:, j]).all()), (texts[i], texts[j])
    start = data.draw(st.integers(0, len(array)))
    stop = data.draw(st.integers(start, len(array)))
    part = fingerprints(pa.RecordBatch.from_arrays([array.slice(start, stop - start)], ["c"]))
    assert (part == found[:, start:stop]).all()


def test_not_even_a_half_of_fingerprints_collides_for_values_in_regular_patterns() -> None:
    integers, few = range(-50, 50), [None, -1, 0, 1, 2, 255, 2**63 - 1]
    patterns = [
        pa.array(range(200_000), pa.int64()),
        pa.array([n << 45 for n in range(200_000)], pa.int64()),
        pa.array([bytes(p) for size in range(4) for p in itertools.product(range(0, 256, 9), repeat=size)]),
        pa.array([list(p) for size in range(5) for p in itertools.product(few, repeat=size)], pa.list_(pa.int64())),
        pa.array(
            [
                {"a": a, "b": b, "c": c}
                for a in (None, *integers)
                for b in (None, "", "a", "1")
                for c in (None, *integers)
            ]
        ),
    ]
    for array in patterns:
        for half in fingerprints(pa.RecordBatch.from_arrays([array], ["c"])):
            assert len(np.unique(half)) == len(array)


def test_columns_count_in_their_order() -> None:
    a, b = pa.array([1, 2]), pa.array([2, 1])
    one, other = (fingerprints(pa.RecordBatch.from_arrays(arrays, ["x", "y"])) for arrays in ([a, b], [b, a]))
    assert not (one == other).any()
    assert (one[:, 0] == other[:, 1]).all()


# -- labels ----------------------------------------------------------------------------------------------------------

KEYED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=14)


def prints(values: list) -> np.ndarray:
    return joined([fingerprints(pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], ["x"]))])


def test_fingerprints_that_share_a_half_are_told_apart() -> None:
    left = np.array([[7, 7, 7, 1], [1, 2, 1, 9]], np.uint64)
    right = np.array([[7, 7, 2], [2, 3, 9]], np.uint64)
    labels = by_rows(left, right)
    assert labels.left.tolist() == [ALONE, 0, ALONE, ALONE]
    assert labels.right.tolist() == [0, ALONE, ALONE]


@settings(max_examples=200, deadline=None)
@given(KEYED, KEYED)
def test_rows_that_stand_alone_are_the_difference_of_multisets(left: list, right: list) -> None:
    codes = [[k * 10 + v for k, v in side] for side in (left, right)]
    labels = by_rows(*map(prints, codes))
    kept = [
        Counter(c for c, label in zip(side, found, strict=True) if label)
        for side, found in zip(codes, labels, strict=True)
    ]
    assert kept == [Counter(codes[0]) - Counter(codes[1]), Counter(codes[1]) - Counter(codes[0])]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.integers(0, 9), st.integers(0, 2)), st.dictionaries(st.integers(0, 9), st.integers(0, 2)))
def test_rows_by_key_are_compared_with_their_partner(left: dict, right: dict) -> None:
    sides = [list(side.items()) for side in (left, right)]
    rows_of = [prints([k * 10 + v for k, v in side]) for side in sides]
    keys_of = [prints([k for k, _ in side]) for side in sides]
    labels = by_key(keys_of[0], rows_of[0], keys_of[1], rows_of[1])
    for side, other, found in zip(sides, (right, left), labels, strict=True):
        expected = [ALONE if k not in other else CHANGED if other[k] != v else 0 for k, v in side]
        assert found.tolist() == expected


def test_row_ids_tell_copies_from_updates() -> None:
    labels = by_row_id(np.array([5, 1, 9]), np.array([1, 1, 1]), np.array([9, 5, 7]), np.array([2, 1, 2]))
    assert labels.left.tolist() == [0, ALONE, CHANGED]
    assert labels.right.tolist() == [CHANGED, 0, ALONE]
