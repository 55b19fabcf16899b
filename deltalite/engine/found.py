"""What a match finds, gathered row by row and given out file by file."""

from __future__ import annotations

import numpy as np

from deltalite.model.edits import FileEdits


class Found:
    """Edits in the making."""

    def __init__(self) -> None:
        self._files: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(self, file: int | np.ndarray, positions: np.ndarray, clauses: np.ndarray, source_rows: np.ndarray) -> None:
        """Rows of a file, or of several.

        :param file: its number, or that of each row, ascending.
        :param clauses: -1 for rows to which nothing happens.
        """
        chosen = np.flatnonzero(clauses >= 0)
        if not len(chosen):
            return
        columns = positions[chosen], clauses[chosen], source_rows[chosen]
        if isinstance(file, int):
            self._files.setdefault(file, []).append(columns)
            return
        files = file[chosen]
        starts = np.flatnonzero(np.concatenate([[True], files[1:] != files[:-1]])).tolist()
        for start, end in zip(starts, [*starts[1:], len(files)], strict=True):
            positions, clauses, rows = (column[start:end] for column in columns)
            self._files.setdefault(int(files[start]), []).append((positions, clauses, rows))

    def files(self) -> tuple[FileEdits, ...]:
        """The edits of each file; they are given away."""
        return tuple(_edits(file, self._files.pop(file)) for file in sorted(self._files))


def _edits(file: int, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> FileEdits:
    positions, clauses, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    if np.any(positions[1:] < positions[:-1]):
        order = np.argsort(positions, kind="stable")
        positions, clauses, rows = positions[order], clauses[order], rows[order]
    return FileEdits(file, positions, clauses, rows if np.any(rows >= 0) else None)
