"""What a match finds, gathered row by row and given out file by file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deltalite.model.edits import FileEdits


class Found:
    """Edits in the making."""

    def __init__(self) -> None:
        self._parts: list[tuple[int | np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def add(
        self, file: int | np.ndarray, positions: np.ndarray, clauses: np.ndarray, source_rows: np.ndarray | None
    ) -> None:
        """Rows of a file, or of several.

        :param clauses: -1 for rows to which nothing happens.
        """
        chosen = np.flatnonzero(clauses >= 0)
        if len(chosen):
            file = file if isinstance(file, int) else file[chosen]
            rows = np.full(len(chosen), -1, np.int64) if source_rows is None else source_rows[chosen]
            self._parts.append((file, positions[chosen], clauses[chosen], rows))

    def files(self) -> tuple[FileEdits, ...]:
        """The edits of each file; they are given away."""
        parts, self._parts = self._parts, []
        if any(not isinstance(part[0], int) for part in parts):
            parts = _divided(parts)
        return tuple(_of_file(file, rows) for file, rows in _by_file(parts))


def _divided(
    parts: list[tuple[int | np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> list[tuple[int | np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Rows of several files, by file and position."""
    files = np.concatenate([np.full(len(p[1]), p[0]) for p in parts])
    positions, clauses, rows = (np.concatenate([p[i] for p in parts]) for i in (1, 2, 3))
    order = np.lexsort((positions, files))
    files, positions, clauses, rows = files[order], positions[order], clauses[order], rows[order]
    ends = [*(np.flatnonzero(files[1:] != files[:-1]) + 1).tolist(), len(files)]
    return [
        (int(files[start]), positions[start:end], clauses[start:end], rows[start:end])
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _by_file(parts: list) -> Iterator[tuple[int, list]]:
    parts.reverse()
    while parts:
        file = parts[-1][0]
        same = []
        while parts and parts[-1][0] == file:
            same.append(parts.pop())
        yield file, same


def _of_file(file: int, parts: list) -> FileEdits:
    positions, clauses, rows = (np.concatenate([p[i] for p in parts]) for i in (1, 2, 3))
    return FileEdits(file, positions, clauses, rows if np.any(rows >= 0) else None)
