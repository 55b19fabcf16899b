"""TableMerger: the clauses of a MERGE, collected one call at a time, under deltalake's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.result import ChangePreview, CommitResult
from deltalite.operations.merge import ClauseRequest, MergeRequest

Run = Callable[[MergeRequest, bool], "CommitResult | ChangePreview"]


class TableMerger:
    """What a MERGE will do. Of the clauses of one kind (matched, not matched, not matched by source) the first whose
    predicate is true decides about a row.

    Predicates and values are SQL in Spark's dialect or expressions; they name the table's columns by the target's alias
    (also ``target`` and ``t``) and the source's by its own (also ``source`` and ``s``), or without where only one side
    has the name.
    """

    def __init__(self, request: MergeRequest, run: Run) -> None:
        self._request = request
        self._run = run

    def with_writer_properties(self, writer_properties: Any) -> TableMerger:
        """How new files are encoded."""
        self._request = replace(self._request, writer_properties=writer_properties)
        return self

    def _with(self, clause: ClauseRequest) -> TableMerger:
        self._request = replace(self._request, clauses=(*self._request.clauses, clause))
        return self

    def when_matched_update(self, updates: Mapping[str, Any], predicate: Any = None) -> TableMerger:
        """Matched rows get new values.

        :param updates: by column, or by field inside of a struct.
        """
        return self._with(ClauseRequest("matched", "update", predicate, _given(updates)))

    def when_matched_update_all(self, predicate: Any = None, except_cols: Sequence[str] | None = None) -> TableMerger:
        """Every column of a matched row gets the value of the source's column of its name.

        :param except_cols: columns that keep their values.
        :raises SchemaMismatchError: on execution, when the source lacks a column and ``merge_schema`` is off.
        """
        return self._with(ClauseRequest("matched", "update", predicate, None, tuple(except_cols or ())))

    def when_matched_delete(self, predicate: Any = None) -> TableMerger:
        """Matched rows leave the table."""
        return self._with(ClauseRequest("matched", "delete", predicate))

    def when_matched_fail(self, predicate: Any = None) -> TableMerger:
        """Refuse the whole merge when a row matches; nothing is written."""
        return self._with(ClauseRequest("matched", "fail", predicate))

    def when_not_matched_insert(self, updates: Mapping[str, Any], predicate: Any = None) -> TableMerger:
        """Rows of the source that match none of the table are inserted; columns not named get their default or null."""
        return self._with(ClauseRequest("not_matched", "insert", predicate, _given(updates)))

    def when_not_matched_insert_all(
        self, predicate: Any = None, except_cols: Sequence[str] | None = None
    ) -> TableMerger:
        """Rows of the source that match none of the table are inserted, column by column of the same name."""
        return self._with(ClauseRequest("not_matched", "insert", predicate, None, tuple(except_cols or ())))

    def when_not_matched_fail(self, predicate: Any = None) -> TableMerger:
        """Refuse the whole merge when a row of the source matches none of the table."""
        return self._with(ClauseRequest("not_matched", "fail", predicate))

    def when_not_matched_by_source_update(self, updates: Mapping[str, Any], predicate: Any = None) -> TableMerger:
        """Rows of the table that no row of the source matches get new values, made of their own columns."""
        return self._with(ClauseRequest("not_matched_by_source", "update", predicate, _given(updates)))

    def when_not_matched_by_source_delete(self, predicate: Any = None) -> TableMerger:
        """Rows of the table that no row of the source matches leave it."""
        return self._with(ClauseRequest("not_matched_by_source", "delete", predicate))

    def execute(self, *, dry_run: bool = False) -> CommitResult | ChangePreview:
        """Run the merge as one commit.

        :param dry_run: find out what would happen and write nothing.
        :raises MultipleMatchesError: several rows of the source would change one row of the table.
        :raises ConflictError: another writer changed what was read; run it again.
        """
        return self._run(self._request, dry_run)

    def explain(self) -> ChangePreview:
        """What executing would do: files looked into and skipped and why, rows, bytes, memory."""
        found = self._run(self._request, True)
        assert isinstance(found, ChangePreview)
        return found

    def __repr__(self) -> str:
        clauses = [f"{c.when} {c.action}" for c in self._request.clauses]
        return f"TableMerger({self._request.predicate!r}: {', '.join(clauses) or 'no clauses yet'})"


def _given(updates: Mapping[str, Any]) -> Mapping[str, Any]:
    if not updates:
        raise InvalidArgumentError("no column is given a value", hint="updates={'column': 'SQL expression'}")
    return dict(updates)
