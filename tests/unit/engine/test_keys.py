"""Codes of keys and their index."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from match_model import Merge, run, told

from deltalite.engine import index as indexing
from deltalite.engine import keys
from deltalite.engine.index import Hits, KeyIndex
from deltalite.model.change import Match
from deltalite.model.types import Field, PrimitiveType, Schema

U64 = 2**64
codes_of = st.lists(
    st.integers(0, U64 - 1) | st.integers(0, 40) | st.integers(0, 200).map(lambda i: (1 << 62) + i), max_size=300
)


@settings(max_examples=200, deadline=None)
@given(codes_of, codes_of, st.integers(1, 50), st.sampled_from([0, 3, 32]))
def test_an_index_finds_all_rows_of_a_code(source, asked, limit, crowded):
    rows = np.arange(len(source)) * 7
    groups: dict[int, list[int]] = defaultdict(list)
    for code, row in zip(source, rows.tolist()):
        groups[code].append(row)
    before, indexing._CROWDED = indexing._CROWDED, crowded
    try:
        parts = [(np.array(source[i : i + 50], np.uint64), rows[i : i + 50]) for i in range(0, len(source), 50)]
        index = KeyIndex(iter(parts), len(source) + 5)
    finally:
        indexing._CROWDED = before
    asked = asked + source[::2]
    hits = index.find(np.array(asked, np.uint64))
    assert hits.rows.tolist() == [i for i, code in enumerate(asked) if code in groups]
    assert index.unique == (len(groups) == len(source)) and index.groups == len(groups)
    assert index.firsts(hits.groups).tolist() == [groups[asked[i]][0] for i in hits.rows]
    assert index.sizes(hits.groups).tolist() == [len(groups[asked[i]]) for i in hits.rows]
    found = [(t, s) for a, b in index.pairs(hits, limit) for t, s in zip(a.tolist(), b.tolist())]
    assert all(len(a) <= limit for a, _ in index.pairs(hits, limit))
    assert found == [(i, s) for i, code in enumerate(asked) for s in groups.get(code, ())]
    later = [(s, f) for a, b in index.repeated(limit) for s, f in zip(a.tolist(), b.tolist())]
    assert sorted(later) == sorted((s, g[0]) for g in groups.values() for s in g[1:])
    chosen = np.zeros(index.groups, bool)
    chosen[hits.groups] = True
    assert sorted(index.rows_of(chosen).tolist()) == sorted(s for code in set(asked) for s in groups.get(code, ()))
    assert list(index.pairs(Hits(np.zeros(0, int), np.zeros(0, int)), limit)) == []


texts = st.lists(st.none() | st.binary(max_size=40) | st.sampled_from([b"x" * n for n in (255, 256, 257, 600)]))


@given(texts, texts, st.integers(0, 9), st.integers(0, 3))
def test_equal_texts_have_equal_hashes_wherever_they_lie(left, right, cut, seed):
    a, b = pa.array(left, pa.binary()), pa.array(right, pa.binary())
    whole = pa.concat_arrays([a, b])
    separate = np.concatenate([keys._hashed_texts(a, seed), keys._hashed_texts(b, seed)])
    together = keys._hashed_texts(whole, seed)
    valid = ~np.array([v is None for v in left + right], bool)
    assert separate[valid].tolist() == together[valid].tolist()
    assert together[cut:][valid[cut:]].tolist() == keys._hashed_texts(whole.slice(cut), seed)[valid[cut:]].tolist()
    by_text = {v: h for v, h in zip(left + right, together.tolist()) if v is not None}
    assert len(set(by_text.values())) == len(by_text), "64 bits are enough for a test"


STRINGS = Schema([Field("k", PrimitiveType("string")), Field("v", PrimitiveType("long"))])


@pytest.mark.parametrize("limit", ["64MB", 2000])
@pytest.mark.parametrize("good_seed", [0, 2])
def test_hashes_may_collide(monkeypatch, limit, good_seed):
    """With hashes of two bits, target rows meet wrong groups, and source rows fall into wrong groups."""
    mixed = keys._mixed
    hashed = keys._hashed_texts

    def poor(values, seed):
        found = hashed(values, seed)
        return found if seed >= good_seed + 1 else found & np.uint64(3)

    monkeypatch.setattr(keys, "_hashed_texts", poor)
    assert mixed is keys._mixed
    source = [f"k{i}" for i in range(0, 60, 2)]
    target = [f"k{i}" for i in range(60)]
    merge = Merge(STRINGS, STRINGS)
    clauses = [merge.clause("matched", "update"), merge.clause("not_matched_by_source", "delete")]
    edits = run(
        pa.table({"k": target, "v": range(60)}),
        pa.table({"k": source, "v": range(30)}),
        Match((merge.pair("t_k", "s_k"),)),
        clauses,
        limit=limit,
    )
    assert told(edits, None)[0] == {i: (1, -1) if i % 2 else (0, i // 2) for i in range(60)}


def test_a_value_may_hash_like_null():
    schema = Schema([Field("a", PrimitiveType("string")), Field("b", PrimitiveType("long"))])
    merge = Merge(schema, schema)
    match = Match((merge.pair("t_a", "s_a"), merge.pair("t_b", "s_b", null_safe=True)))
    number = int(np.uint64(keys._NULL).astype(np.int64))
    rows = pa.table({"a": ["x", "x", "x"], "b": pa.array([None, number, 3], pa.int64())})
    edits = run(rows, rows.take([2, 1, 0]), match, [merge.clause("matched", "update")])
    assert told(edits, None)[0] == {0: (0, 2), 1: (0, 1), 2: (0, 0)}


@pytest.mark.parametrize("value", [0, 1, 9, -1])
def test_the_code_of_null_is_no_values(value):
    """A value just below the source's least must not be taken for null, nor one above for anything."""
    schema = Schema([Field("k", PrimitiveType("long"))])
    merge = Merge(schema, schema)
    match = Match((merge.pair("t_k", "s_k", null_safe=True),))
    edits = run(
        pa.table({"k": pa.array([value, None], pa.int64())}),
        pa.table({"k": pa.array([None, 2, 8], pa.int64())}),
        match,
        [merge.clause("matched", "update")],
    )
    assert told(edits, None)[0] == {1: (0, 0)}


def test_keys_whose_types_differ_are_compared_all_the_same():
    ours = Schema([Field("k", PrimitiveType("decimal(10,2)"))])
    theirs = Schema([Field("k", PrimitiveType("decimal(20,5)")), Field("w", PrimitiveType("decimal(38,10)"))])
    merge = Merge(ours, theirs)
    target = pa.table({"k": pa.array([Decimal("1.50"), Decimal("2.25"), None], pa.decimal128(10, 2))})
    values = [Decimal("2.25000"), Decimal("2.25001"), Decimal("1.5"), None]
    source = pa.table({"k": pa.array(values, pa.decimal128(20, 5)), "w": pa.array(values, pa.decimal128(38, 10))})
    for name in ("s_k", "s_w"):
        edits = run(target, source, Match((merge.pair("t_k", name),)), [merge.clause("matched", "delete")])
        assert told(edits, None)[0] == {0: (0, 2), 1: (0, 0)}


def test_structs_whose_fields_have_other_names():
    t = pa.struct([("a", pa.int32()), ("b", pa.string())])
    from deltalite.model.types import StructType

    kind = [
        StructType([Field(a, PrimitiveType("integer")), Field(b, PrimitiveType("string"), False)]) for a, b in ("ab", "xy")
    ]
    merge = Merge(Schema([Field("k", kind[0])]), Schema([Field("k", kind[1])]))
    target = pa.table({"k": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}], t)})
    source = pa.table({"k": pa.array([{"x": None, "y": "y"}, None], pa.struct([("x", pa.int32()), ("y", pa.string())]))})
    match = Match((merge.pair("t_k", "s_k"),))
    edits = run(target, source, match, [merge.clause("matched", "update")])
    assert told(edits, None)[0] == {2: (0, 0)}
