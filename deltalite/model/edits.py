"""Edits: which rows of which files a RowChanges found, as an engine reports it before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FileEdits:
    """The rows of one file that change or leave.

    :param file: the row of ``plan.files``.
    :param positions: where they lie in the file, ascending, each once; int64.
    :param clauses: in parallel, the clause of ``RowChanges.clauses`` that each is for; int8.
    :param source_rows: in parallel, the matching row of the source, or -1 for none; int64. ``None`` when none has one.
    :param live: live rows of the file that were looked at.
    """

    file: int
    positions: np.ndarray
    clauses: np.ndarray
    source_rows: np.ndarray | None = None
    live: int = 0


@dataclass(frozen=True)
class Edits:
    """What an engine found.

    :param files: only files in which something happens, in the order of the plan.
    :param inserted: for each insert clause that applies, its number and the rows of the source, ascending int64.
    :param source_count: rows of the source.
    """

    files: tuple[FileEdits, ...]
    inserted: tuple[tuple[int, np.ndarray], ...] = ()
    source_count: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.files and not any(len(rows) for _, rows in self.inserted)

    def counts(self) -> dict[int, int]:
        """Rows by number of the clause."""
        found: dict[int, int] = {}
        for edits in self.files:
            for clause, rows in zip(*np.unique(edits.clauses, return_counts=True), strict=True):
                found[int(clause)] = found.get(int(clause), 0) + int(rows)
        for clause, rows in self.inserted:
            found[clause] = found.get(clause, 0) + len(rows)
        return found
