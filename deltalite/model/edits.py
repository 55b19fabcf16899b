"""Edits: which rows of which files a RowChanges found, as an engine reports it before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FileEdits:
    """The rows of one file that change or leave.

    :param file: the row of ``plan.files``.
    :param positions: where they lie in the file, ascending, each once; int64. ``None``: all live rows of the file,
        which was not read.
    :param clauses: in parallel, the clause of ``RowChanges.clauses`` that each is for; int8. For a file that was not
        read, the one clause that all rows are for.
    :param source_rows: in parallel, the matching row of the source, or -1 for none; int64. ``None`` when none has one.
    """

    file: int
    positions: np.ndarray | None
    clauses: np.ndarray
    source_rows: np.ndarray | None = None


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
