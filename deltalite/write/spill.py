"""Rows that wait for their row group, within a budget of memory; what exceeds it waits in a temporary file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa

from deltalite.write.split import Key, Piece


@dataclass
class _Run:
    """A batch that several partitions hold slices of: its memory is free when all of them are gone."""

    size: int
    holders: int


@dataclass
class _Waiting:
    """What waits for one partition: rows in the temporary file first, then rows in memory, in order of arrival."""

    spilled: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[tuple[pa.RecordBatch, _Run]] = field(default_factory=list)
    rows: int = 0
    size: int = 0


class Waiting:
    """The rows of all partitions that have no row group yet.

    :param budget: bytes to hold in memory.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._by_key: dict[Key, _Waiting] = {}
        self._held = 0
        self._file: IO[bytes] | None = None
        self._end = 0

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take the pieces of one batch."""
        sizes = [piece.rows.nbytes for piece in pieces]
        run = _Run(sum(sizes), len(pieces))
        self._held += run.size
        for piece, size in zip(pieces, sizes, strict=True):
            waiting = self._by_key.get(piece.key)
            if waiting is None:
                waiting = self._by_key[piece.key] = _Waiting()
            waiting.pieces.append((piece.rows, run))
            waiting.rows += piece.rows.num_rows
            waiting.size += size

    def rows(self, key: Key) -> int:
        """How many rows wait for a partition."""
        return self._by_key[key].rows

    def size(self, key: Key) -> int:
        """How many bytes wait for a partition, in memory or not."""
        return self._by_key[key].size

    @property
    def keys(self) -> list[Key]:
        """The partitions with waiting rows, in order of first arrival."""
        return list(self._by_key)

    @property
    def exceeds(self) -> bool:
        """Whether memory holds more than the budget."""
        return self._held > self._budget

    def take(self, key: Key) -> list[pa.RecordBatch]:
        """The rows of a partition, in order of arrival; they wait no longer."""
        waiting = self._by_key.pop(key)
        found = [self._read(offset, length) for offset, length in waiting.spilled]
        found += [self._let_go(rows, run) for rows, run in waiting.pieces]
        return found

    def spill(self) -> None:
        """Move all rows in memory to the temporary file."""
        for waiting in self._by_key.values():
            if waiting.pieces:
                rows = [self._let_go(rows, run) for rows, run in waiting.pieces]
                waiting.pieces = []
                waiting.spilled.append(self._write(pa.concat_batches(rows) if len(rows) > 1 else rows[0]))

    def close(self) -> None:
        """Give the temporary file back."""
        self._by_key.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _let_go(self, rows: pa.RecordBatch, run: _Run) -> pa.RecordBatch:
        run.holders -= 1
        if not run.holders:
            self._held -= run.size
        return rows

    def _write(self, rows: pa.RecordBatch) -> tuple[int, int]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="deltalite-")  # noqa: SIM115 (closed in close())
        message = _serialise(rows)
        place = (self._end, message.size)
        self._file.seek(self._end)
        self._file.write(message)
        self._end += message.size
        return place

    def _read(self, offset: int, length: int) -> pa.RecordBatch:
        assert self._file is not None
        self._file.seek(offset)
        return pa.ipc.open_stream(pa.py_buffer(self._file.read(length))).read_next_batch()


def _serialise(rows: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(rows)
    return sink.getvalue()
