"""DELETE, UPDATE, MERGE and replaceWhere against a plain evaluator over rows, for every kind of table."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from deltalite import WriterProperties
from deltalite.features.deletion_vectors import removal
from rows import drawing, invariants
from rows.drawing import Shape
from rows.model import ROW_ID, Outcome, Refusal, Row

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example]
FLAGS = [(v, f, t) for v in (True, False) for f in (True, False) for t in (True, False)]
IDS = ["-".join(n if on else f"no_{n}" for n, on in zip(("vectors", "feed", "ids"), f, strict=True)) for f in FLAGS]


class Story:
    """A table and what the model says of it, step by step."""

    def __init__(self, root: Path, shape: Shape, row_group: int) -> None:
        self.root, self.shape = root, shape
        self.writing = WriterProperties(max_row_group_size=row_group)
        self.table = drawing.create(root, shape)
        self.rows: list[Row] = []

    def take(self, step: Any) -> None:
        """Run a step in both; compare rows, row ids, the change feed and the metrics; check the table on disk."""
        note(f"{step}")
        version = self.table.version()
        try:
            expected = step.expected(self.rows, self.shape.tracking)
        except Refusal as refusal:
            with pytest.raises(drawing.refusals(refusal)) as caught:
                step.run(self.table, self.writing)
            assert getattr(caught.value, "count", 0) > 0
            assert self.table.refresh().version() == version, "a refused operation commits nothing"
            event("refused")
        else:
            result = step.run(self.table, self.writing)
            self._compare(step, expected, result, version)
        invariants.check(self.root)

    def _compare(self, step: Any, expected: Outcome, result: Any, version: int) -> None:
        writes = isinstance(step, (drawing.Append, drawing.ReplaceWhere))
        if expected.is_empty and (not writes or result.skipped):
            assert result.skipped, "nothing to do, nothing committed"
            assert self.table.version() == version
            event("nothing to do")
        else:
            assert (result.skipped, result.version) == (None, version + 1)
        found = drawing.rows_now(self.table, self.shape.tracking)
        if self.shape.tracking:
            told = drawing.named(found, {row[ROW_ID] for row in self.rows}, version + 1)
        else:
            told = found
        assert invariants.multiset(told) == invariants.multiset(expected.rows)
        self.rows = found
        if not writes:
            self._compare_metrics(step, expected, result)
        if self.shape.feed and self.table.version() > version:
            changes = invariants.feed(self.root).get(version + 1, [])
            told_changes = [{**row, "_": kind} for kind, row in changes]
            assert invariants.multiset(told_changes) == invariants.multiset(
                [{**row, "_": kind} for kind, row in expected.changes]
            )
        event(type(step).__name__)

    def _compare_metrics(self, step: Any, expected: Outcome, result: Any) -> None:
        if isinstance(step, drawing.Merge):
            assert result["numSourceRows"] == len(step.source)
            for action, ending in (("update", "Updated"), ("delete", "Deleted"), ("insert", "Inserted")):
                assert result[f"numTargetRows{ending}"] == expected.total(action)
        else:
            name, action = (
                ("numDeletedRows", "delete") if isinstance(step, drawing.Delete) else ("numUpdatedRows", "update")
            )
            assert result[name] == expected.total(action)


@st.composite
def stories(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "partitioned": draw(st.booleans()),
        "mapped": draw(st.booleans()),
        "row_group": draw(st.sampled_from([1, 3, 1000])),
        "inline": draw(st.sampled_from([0, 500])),
        "live_share": draw(st.sampled_from([0.0, 0.5])),
        "steps": draw(drawing.story_steps()),
    }


def play(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    shape = Shape(*flags, told["partitioned"], told["mapped"])
    remover = partial(removal.RowRemover, inline_characters=told["inline"], least_live_share=told["live_share"])
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(removal, "RowRemover", remover):
        story = Story(Path(folder) / "t", shape, told["row_group"])
        for step in told["steps"]:
            story.take(step)


LAW = settings(deadline=None, suppress_health_check=QUIET, derandomize=True)


@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
@given(told=stories())
@settings(LAW, max_examples=6)
def test_operations_do_what_the_model_says(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    play(flags, told)


@pytest.mark.slow
@pytest.mark.parametrize("flags", FLAGS, ids=IDS)
@given(told=stories())
@settings(LAW, max_examples=100, derandomize=False)
def test_operations_do_what_the_model_says_at_length(flags: tuple[bool, bool, bool], told: dict[str, Any]) -> None:
    play(flags, told)
