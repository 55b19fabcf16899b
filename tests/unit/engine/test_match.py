"""The match of a MERGE against nested loops in Python."""

from __future__ import annotations

import pyarrow as pa
import pytest
from match_model import Merge, run, told

from deltalite.exceptions import MultipleMatchesError
from deltalite.model.change import Match
from deltalite.model.types import Field, PrimitiveType, Schema

KEYED = Schema([Field("k", PrimitiveType("long")), Field("v", PrimitiveType("long"))])
UPSERT = Merge(KEYED, KEYED)
ON_K = Match((UPSERT.pair("t_k", "s_k"),))
CLAUSES = (UPSERT.clause("matched", "update"), UPSERT.clause("not_matched", "insert"))


def numbers(keys, values=None):
    values = range(len(keys)) if values is None else values
    return pa.table({"k": pa.array(keys, pa.int64()), "v": pa.array(values, pa.int64())})


def test_an_upsert():
    edits = run(numbers([5, 3, None, 8]), numbers([8, 9, 3, None]), ON_K, CLAUSES)
    assert told(edits, None) == ({1: (0, 2), 3: (0, 0)}, {1: [1, 3]})


def test_several_source_rows():
    with pytest.raises(MultipleMatchesError) as caught:
        run(numbers([5, 3, 8]), numbers([8, 3, 3, 3]), ON_K, CLAUSES)
    assert (caught.value.count, caught.value.keys, caught.value.source_rows) == (1, [{"k": 3}], [[1, 2, 3]])
