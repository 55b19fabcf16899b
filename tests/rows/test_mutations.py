"""The laws see what is missing: with one safeguard taken out of deltalite, the story of a table goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from deltalite.engine import match
from deltalite.features.change_data_feed import UPDATE_PREIMAGE
from deltalite.features.deletion_vectors import removal
from deltalite.operations import file_changes, row_changes
from rows.drawing import Append, Delete, Merge, Shape, Update
from rows.expressions import And, Col, Compare, In, Lit
from rows.model import ModelClause, Row
from rows.story import Story

KEY = Compare("=", Col("t", "k"), Col("s", "k"))
UPSERT = [ModelClause("matched", "update"), ModelClause("not_matched", "insert")]


def row(k: int | None, p: str | None = "a", v: str = "x") -> Row:
    return {"k": k, "p": p, "n": k, "v": v, "tags": [1]}


def source(*keys: int | None, v: str = "m") -> list[Row]:
    return [{**row(k, "b", v), "op": "u"} for k in keys]


def having(*keys: int) -> In:
    return In(Col("t", "k"), keys)


STORY = [
    Append([row(k) for k in range(1, 13)]),
    Append([row(k, "b") for k in range(13, 25)]),
    Delete(having(2, 14)),
    Delete(having(3, 15)),
    Update(having(4), {"v": Lit("new")}),
    Merge(source(5, 5), KEY, UPSERT, False),
    Merge(source(5, 16, 30, None), KEY, UPSERT, True),
    Merge(
        source(6, 17), And(KEY, Compare("=", Col("t", "p"), Lit("a"))),
        [ModelClause("matched", "delete"), ModelClause("not_matched_by_source", "update", having(1, 18), {"v": Lit("o")})],
        False,
    ),
    Delete(In(Col("t", "k"), tuple(range(7, 12)))),
    Delete(Compare("=", Col("t", "p"), Lit("b"))),
]  # fmt: skip


def tell(root: Path, **shape: bool) -> None:
    """Play the story on every kind of table that ``shape`` leaves open."""
    vectors = shape.pop("vectors", True)
    story = Story(root / "t", Shape(vectors, True, True, shape.get("partitioned", False), False), 5)
    for step in STORY:
        story.take(step)


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("partitioned", [True, False])
def test_the_story_goes_well(tmp_path: Path, vectors: bool, partitioned: bool) -> None:
    tell(tmp_path, vectors=vectors, partitioned=partitioned)


def without_old_vector(*_: Any) -> None:
    return None


def remove_without_vector(add: Any, *args: Any) -> Any:
    return replace(row_changes_remove(add, *args), deletion_vector=None)


row_changes_remove = row_changes.remove_of
tell_change = row_changes._Work._tell
carried = row_changes.features.carried
count_records = file_changes._num_records


def tell_no_preimage(self: Any, rows: Any, change_type: str) -> None:
    if change_type != UPDATE_PREIMAGE:
        tell_change(self, rows, change_type)


def patch(where: Any, name: str, instead: Any) -> Callable[[], AbstractContextManager[Any]]:
    return partial(mock.patch.object, where, name, instead)


MUTANTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], bool]] = {
    "the cardinality check": (patch(match._Matching, "_ambiguous", lambda *_: None), False),
    "the old vector": (patch(row_changes, "marked_rows", without_old_vector), True),
    "the images before updates": (patch(row_changes._Work, "_tell", tell_no_preimage), False),
    "the vector of a removal": (patch(row_changes, "remove_of", remove_without_vector), True),
    "wide bounds": (patch(removal, "wide_stats", lambda stats, _: stats), True),
    "ids of updated rows": (
        patch(row_changes.features, "carried", lambda c, kind: () if kind == "updated" else carried(c, kind)),
        False,
    ),
    "versions of copied rows": (
        patch(row_changes.features, "carried", lambda c, kind: tuple(carried(c, kind))[:1]),
        False,
    ),
    "files without a source row": (patch(match._Matching, "_not_matched_by_source", lambda *_: None), False),
    "rows that a vector marks already": (
        patch(file_changes, "_num_records", lambda *a: count_records(*a) - (a[1].deletion_vector is not None)),
        True,
    ),
    "the survivors": (patch(row_changes, "_filtered", lambda batch, mask: batch.slice(0, int(np.sum(mask)))), False),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_story_goes_wrong_without(tmp_path: Path, mutant: str) -> None:
    patched, vectors = MUTANTS[mutant]
    with patched(), pytest.raises(AssertionError):
        tell(tmp_path, vectors=vectors)
