"""Whatever the rows, the conditions and the budget: the match finds what nested loops in Python find."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from match_model import Ambiguous, Merge, ModelClause, Refused, Side, model, run, same, told

from deltalite.exceptions import MergeRefusedError, MultipleMatchesError
from deltalite.model.change import Match
from deltalite.model.types import ArrayType, Field, PrimitiveType, Schema, StructType

NAN = math.nan
LONG = "x" * 300
PAIR = StructType([Field("a", PrimitiveType("integer")), Field("b", PrimitiveType("string"))])
KEYS = {
    "long": (PrimitiveType("long"), [-(2**63), -1, 0, 1, 2, 2**63 - 1]),
    "narrow": (PrimitiveType("long"), [0, 1, 2, 3, 4]),
    "integer": (PrimitiveType("integer"), [-(2**31), 0, 1, 2, 7]),
    "byte": (PrimitiveType("byte"), [-128, 0, 127]),
    "boolean": (PrimitiveType("boolean"), [True, False]),
    "double": (PrimitiveType("double"), [0.0, -0.0, NAN, -NAN, 1.5, math.inf]),
    "float": (PrimitiveType("float"), [0.0, -0.0, NAN, 2.5]),
    "string": (PrimitiveType("string"), ["", "a", "ab", "\0", "é", "x" * 8, "x" * 9, LONG, LONG[1:], LONG[1:] + "y"]),
    "binary": (PrimitiveType("binary"), [b"", b"\0", b"\0\0", b"abcdefghi"]),
    "decimal": (PrimitiveType("decimal(10,2)"), [Decimal("0.00"), Decimal("-1.50"), Decimal("99999999.99")]),
    "decimal38": (PrimitiveType("decimal(38,2)"), [Decimal(0), Decimal(1), Decimal(2**64), Decimal(2**64 + 1)]),
    "date": (PrimitiveType("date"), [dt.date(1970, 1, 1), dt.date(1969, 12, 31), dt.date(2024, 2, 29)]),
    "timestamp": (PrimitiveType("timestamp_ntz"), [dt.datetime(1970, 1, 1), dt.datetime(2024, 1, 1, 0, 0, 0, 1)]),
    "struct": (PAIR, [{"a": 1, "b": "x"}, {"a": 1, "b": None}, {"a": None, "b": None}, {"a": 2, "b": "x"}]),
    "array": (ArrayType(PrimitiveType("integer"), True), [[], [1], [1, None], [1, 2]]),
}


def less(a, b):
    return None if a is None or b is None else a < b


def both(a, b):
    return False if a is False or b is False else None if a is None or b is None else True


TARGET_ONLY = {"t_v > 1": lambda t, s: less(1, t["v"]), "t_v is null": lambda t, s: t["v"] is None}
SOURCE_ONLY = {"s_v < 3": lambda t, s: less(s["v"], 3), "s_v is not null": lambda t, s: s["v"] is not None}
JOINED = {
    "t_v < s_v": lambda t, s: less(t["v"], s["v"]),
    "t_v > 0 AND s_v > 1": lambda t, s: both(less(0, t["v"]), less(1, s["v"])),
}
FALSE = {"s_v <> s_v": lambda t, s: None if s["v"] is None else False}
CONDITIONS = {
    "matched": TARGET_ONLY | SOURCE_ONLY | JOINED | FALSE,
    "not_matched": SOURCE_ONLY | FALSE,
    "not_matched_by_source": TARGET_ONLY,
}
ACTIONS = {
    "matched": ["update", "delete", "update", "delete", "fail"],
    "not_matched": ["insert", "insert", "insert", "fail"],
    "not_matched_by_source": ["update", "delete", "update", "delete", "fail"],
}


@st.composite
def cases(draw):
    kinds = draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=3))
    names = [f"k{i}" for i in range(len(kinds))]
    schema = Schema([*(Field(n, KEYS[k][0]) for n, k in zip(names, kinds)), Field("v", PrimitiveType("long"))])
    row = st.fixed_dictionaries(
        {n: st.sampled_from([*KEYS[k][1], None]) for n, k in zip(names, kinds)}
        | {"v": st.sampled_from([None, 0, 1, 2, 3, 4])}
    )
    sides = [Side(schema, draw(st.lists(row, max_size=12))) for _ in range(2)]
    safe = [draw(st.booleans()) for _ in kinds]
    parts = [draw(st.none() | st.sampled_from(sorted(pool))) for pool in (TARGET_ONLY, SOURCE_ONLY, JOINED)]
    whens = draw(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=5))
    clauses = [
        (when, draw(st.sampled_from(ACTIONS[when])), draw(st.none() | st.sampled_from(sorted(CONDITIONS[when]))))
        for when in whens
    ]
    return names, safe, parts, sides, clauses


def matches(names, safe, parts):
    pools = (TARGET_ONLY, SOURCE_ONLY, JOINED)
    conditions = [pool[text] for pool, text in zip(pools, parts) if text is not None]

    def joined(t, s):
        equal = all(same(t[n], s[n], null_safe) is True for n, null_safe in zip(names, safe))
        return equal and all(condition(t, s) is True for condition in conditions)

    return joined


def split(rows: int, cuts: list[int]) -> list[int]:
    ends = sorted({min(c, rows) for c in cuts} | {rows})
    return [b - a for a, b in zip([0, *ends], ends)]


@settings(max_examples=250, deadline=None)
@given(cases(), st.sampled_from(["64MB", 1, 300, 1000]), st.lists(st.integers(0, 12), max_size=3), st.integers(1, 5))
def test_equals_nested_loops(case, limit, cuts, batch_rows):
    names, safe, parts, (target, source), clauses = case
    merge = Merge(target.schema, source.schema)
    keys = tuple(merge.pair(f"t_{n}", f"s_{n}", null_safe) for n, null_safe in zip(names, safe))
    match = Match(keys, *(merge.condition(text) for text in parts))
    bound = [merge.clause(*clause) for clause in clauses]
    files = split(len(target.rows), cuts)
    expected = [ModelClause(w, a, c and CONDITIONS[w][c]) for w, a, c in clauses]

    def found():
        return run(target.table(), source.table(), match, bound, limit=limit, files=files, batch_rows=batch_rows, step=3)

    try:
        edits, inserted = model(target.rows, source.rows, matches(names, safe, parts), expected)
    except Refused:
        with pytest.raises(MergeRefusedError) as refused:
            found()
        assert refused.value.count >= len(refused.value.keys)
    except Ambiguous as ambiguous:
        with pytest.raises(MultipleMatchesError) as caught:
            found()
        assert caught.value.count == len(ambiguous.rows)
        several = [rows[:5] for rows in ambiguous.pairs.values()]
        assert all(rows in several for rows in caught.value.source_rows)
    else:
        assert told(found(), files, step=3) == (edits, inserted)
