"""Small batches of changed rows, put together: to compute and write a batch costs as much as some thousand rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from deltalite.model.arrow import concat_batches

ENOUGH_ROWS = 1 << 14
ENOUGH_BYTES = 8 << 20

Changed = tuple[pa.RecordBatch, int, "np.ndarray | None"]
"""Old rows, the number of the clause that changes them, and the matching rows of the source, if there is one."""


class Gathered:
    """Rows that wait for others of their clause. Rows of one clause keep their order.

    :param most_rows: so many are enough in any case.
    """

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._waiting: dict[int, list[Changed]] = {}

    def add(self, old: pa.RecordBatch, clause: int, source_rows: np.ndarray | None) -> Iterator[Changed]:
        """Some rows; those that have become enough come back."""
        waiting = self._waiting.setdefault(clause, [])
        if waiting and not _alike(waiting[0], (old, clause, source_rows)):
            yield self._taken(clause)
        waiting.append((old, clause, source_rows))
        rows, size = (sum(found) for found in zip(*((b.num_rows, b.nbytes) for b, _, _ in waiting), strict=True))
        enough = self._most_rows if old.num_columns == 1 else min(ENOUGH_ROWS, self._most_rows)
        if rows >= enough or size >= ENOUGH_BYTES:
            yield self._taken(clause)

    def rest(self) -> Iterator[Changed]:
        """All rows that still wait."""
        for clause, waiting in self._waiting.items():
            if waiting:
                yield self._taken(clause)

    def _taken(self, clause: int) -> Changed:
        waiting = self._waiting[clause]
        batches = [batch for batch, _, _ in waiting]
        rows = [rows for _, _, rows in waiting if rows is not None]
        waiting.clear()
        old = concat_batches(batches) if len(batches) > 1 else batches[0]
        return old, clause, np.concatenate(rows) if rows else None


def _alike(a: Changed, b: Changed) -> bool:
    """Whether two parts can be put together; files may differ in the hidden columns that they are read with."""
    return a[0].schema == b[0].schema and (a[2] is None) == (b[2] is None)
