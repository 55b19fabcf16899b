"""A table and the model of it, side by side, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltalite import WriterProperties
from deltalite.exceptions import MergeRefusedError, MultipleMatchesError
from rows import drawing, invariants
from rows.drawing import Shape
from rows.model import ROW_ID, Outcome, Refusal, Row


class Story:
    """A table and what the model says of it, step by step."""

    def __init__(self, root: Path, shape: Shape, row_group: int) -> None:
        self.root, self.shape = root, shape
        self.writing = WriterProperties(max_row_group_size=row_group)
        self.table = drawing.create(root, shape)
        self.rows: list[Row] = []

    def take(self, step: Any) -> None:
        """Run a step in both; compare rows, row ids, the change feed and the metrics; check the table on disk."""
        version = self.table.version()
        try:
            expected = step.expected(self.rows, self.shape.tracking)
        except Refusal as refusal:
            self._refused(step, drawing.refusals(refusal))
        else:
            try:
                result = step.run(self.table, self.writing)
            finally:  # whatever else went wrong, the log is sound
                invariants.check_commits(self.root)
            self._compare(step, expected, result, version)
        invariants.check(self.root)

    def _refused(self, step: Any, expected: tuple[type[Exception], ...]) -> None:
        version = self.table.version()
        try:
            step.run(self.table, self.writing)
        except (MultipleMatchesError, MergeRefusedError) as error:
            assert isinstance(error, expected), error
            assert error.count > 0
        else:
            raise AssertionError(f"not refused: {step}")
        assert self.table.refresh().version() == version, "a refused operation commits nothing"

    def _compare(self, step: Any, expected: Outcome, result: Any, version: int) -> None:
        writes = isinstance(step, (drawing.Append, drawing.ReplaceWhere))
        if expected.is_empty and (not writes or result.skipped):
            assert result.skipped, "nothing to do, nothing committed"
            assert self.table.version() == version
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

    def _compare_metrics(self, step: Any, expected: Outcome, result: Any) -> None:
        if isinstance(step, (drawing.Merge, drawing.Upsert)):
            if isinstance(step, drawing.Merge):
                assert result["numSourceRows"] == len(step.source)
            for action, ending in (("update", "Updated"), ("delete", "Deleted"), ("insert", "Inserted")):
                assert result[f"numTargetRows{ending}"] == expected.total(action)
        else:
            name, action = (
                ("numDeletedRows", "delete") if isinstance(step, drawing.Delete) else ("numUpdatedRows", "update")
            )
            assert result[name] == expected.total(action)
