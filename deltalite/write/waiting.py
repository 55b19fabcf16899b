"""Rows that wait until their partition has enough for a row group, within a budget of memory.

Batches wait as they are, in the order of their partitions; a partition's rows are slices of them. What exceeds the
budget moves to an unnamed temporary file and is mapped back, so that nothing else needs to know.
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO

import numpy as np
import pyarrow as pa

from deltalite.model.arrow import concat_batches, decoded
from deltalite.write.split import Run

SMALL_PART_ROWS = 4096
"""Smaller slices are put together: every slice costs as much as some thousand rows."""


class _Held:
    """A run that still has rows waiting."""

    def __init__(self, run: Run, number: int) -> None:
        self.run = run
        self.number = number
        self.waiting = run.rows.num_rows
        self.size = run.rows.nbytes
        self.in_memory = True
        self._next = 0

    def slice_of(self, partition: int) -> pa.RecordBatch | None:
        """The rows of a partition, if there are any. Quick for partitions that are asked for in ascending order."""
        partitions, place = self.run.partitions, self._next
        if place >= len(partitions) or partitions[place] != partition:
            place = int(np.searchsorted(partitions, partition))
            if place >= len(partitions) or partitions[place] != partition:
                return None
        self._next = place + 1
        ends = self.run.ends
        start = int(ends[place - 1]) if place else 0
        return self.run.rows.slice(start, int(ends[place]) - start)


class Waiting:
    """The rows of all partitions that are in no row group yet."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._count = 0
        self._rows = np.zeros(64, dtype=np.int64)
        self._bytes = np.zeros(64, dtype=np.float64)
        self._since = np.zeros(64, dtype=np.int64)  # rows of a partition in older runs are gone
        self._file: IO[bytes] | None = None
        self._end = 0
        self.in_memory = 0
        """Bytes that wait in memory."""

    def add(self, run: Run) -> None:
        """Let the rows of a run wait."""
        held = _Held(run, self._count)
        self._count += 1
        self._held.append(held)
        self.in_memory += held.size
        self._make_room(int(run.partitions[-1]) + 1)
        counts = run.counts
        self._rows[run.partitions] += counts
        self._bytes[run.partitions] += counts * (held.size / run.rows.num_rows)

    def at_least(self, size: int, rows: int | None = None) -> list[int]:
        """The partitions for which so many bytes wait, or so many rows."""
        enough = self._bytes >= size
        if rows is not None:
            enough |= self._rows >= rows
        return np.flatnonzero(enough).tolist()

    def partitions(self) -> list[int]:
        """All partitions with waiting rows."""
        return np.flatnonzero(self._rows).tolist()

    def take(self, partition: int) -> list[pa.RecordBatch]:
        """The rows of a partition in their order; they wait no longer."""
        found = []
        for held in self._held:
            if held.number >= self._since[partition] and (part := held.slice_of(partition)) is not None:
                found.append(part)
                held.waiting -= part.num_rows
        self._since[partition] = self._count
        self._rows[partition] = 0
        self._bytes[partition] = 0
        self._drop_empty()
        rows = sum(part.num_rows for part in found)
        if len(found) < 2 or rows >= SMALL_PART_ROWS * len(found):
            return found
        return [concat_batches([decoded(part) for part in found])]

    def spill(self) -> None:
        """Move all rows in memory to the temporary file."""
        for held in self._held:
            if held.in_memory:
                held.run.rows = self._to_file(held.run.rows)
                held.in_memory = False
                self.in_memory -= held.size

    def close(self) -> None:
        """Give the temporary file back."""
        self._held.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _drop_empty(self) -> None:
        if all(held.waiting for held in self._held):
            return
        self.in_memory -= sum(held.size for held in self._held if not held.waiting and held.in_memory)
        self._held = [held for held in self._held if held.waiting]

    def _make_room(self, count: int) -> None:
        if count > len(self._rows):
            more = max(count, 2 * len(self._rows)) - len(self._rows)
            arrays = (self._rows, self._bytes, self._since)
            self._rows, self._bytes, self._since = (np.pad(a, (0, more)) for a in arrays)

    def _to_file(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="deltalite-")  # noqa: SIM115 (closed in close())
        rows = decoded(rows)
        message = rows.serialize()
        self._file.seek(self._end)
        self._file.write(message)
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), message.size, offset=self._end, access=mmap.ACCESS_READ)
        self._end += -(-message.size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        return pa.ipc.read_record_batch(pa.py_buffer(mapped), rows.schema)
