"""Rows in temporary files.

The file has no name: nobody else can open it, and the system takes it back whatever becomes of the process. It is
mapped into memory, so that batches read from it look like any others while the system drops and reloads their pages as
it needs.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import StorageError
from deltalite.expr.vectors import from_numpy

PIECE_BYTES = 8 << 20
"""What is written at a time; a second copy of so much is made."""
_ALIGNMENT = 64


class BatchFile:
    """Record batches of one schema in a temporary file: first all are added, then read by number.

    :param schema: without dictionaries.
    :param directory: where the file is; ``None`` is the system's choice (``TMPDIR``).
    :raises StorageError: the file cannot be made or written, as when the disk is full.
    """

    def __init__(self, schema: pa.Schema, directory: str | None = None) -> None:
        self.schema = schema
        self.size = 0
        self._directory = directory or tempfile.gettempdir()
        self._places: list[tuple[int, int]] = []
        self._mapped: Any = None
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="deltalite-", dir=self._directory)  # noqa: SIM115
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, batch: pa.RecordBatch) -> int:
        """Write a batch and return its number."""
        message = batch.serialize()
        padding = -message.size % _ALIGNMENT
        try:
            self._file.write(message)
            self._file.write(bytes(padding))
        except OSError as error:
            raise self._refusal(error) from error
        self._places.append((self.size, message.size))
        self.size += message.size + padding
        return len(self._places) - 1

    def read(self, number: int) -> pa.RecordBatch:
        """A batch whose buffers lie in the file."""
        if self._mapped is None:
            self._mapped = self._map()
        return pa.ipc.read_record_batch(self._mapped.slice(*self._places[number]), self.schema)

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Give the file back; batches that were read stay valid as long as somebody holds them."""
        self._mapped = None
        self._file.close()

    def _map(self) -> pa.Buffer:
        try:
            self._file.flush()
        except OSError as error:
            raise self._refusal(error) from error
        return pa.py_buffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def _refusal(self, error: OSError) -> StorageError:
        return StorageError(
            f"cannot keep rows in a temporary file: {error.strerror or error}",
            hint="choose a roomier spill directory, or raise the memory limit",
            directory=self._directory,
            size=self.size,
        )


class Partitions:
    """Rows divided into numbered parts in a temporary file. Rows of one part keep their order.

    :param count: the number of parts, 65,536 at most.
    :param waiting: bytes that wait in memory until they are written.
    """

    def __init__(self, count: int, waiting: int, directory: str | None = None) -> None:
        self.rows = [0] * count
        """How many rows each part has."""
        self._file: BatchFile | None = None
        self._directory = directory
        self._limit = waiting
        self._size = 0
        self._waiting: list[list[pa.RecordBatch]] = [[] for _ in range(count)]
        self._written: list[list[int]] = [[] for _ in range(count)]

    def add(self, batch: pa.RecordBatch, parts: np.ndarray) -> None:
        """
        :param batch: of the same columns as all others.
        :param parts: the part of each row.
        """
        small = parts.astype(np.uint16)  # 16 bits sort by radix
        ordered = decoded(batch).take(from_numpy(np.argsort(small, kind="stable"), pa.int64()))
        ends = np.cumsum(np.bincount(small, minlength=len(self._waiting)))
        starts = np.concatenate([[0], ends[:-1]])
        for part in np.flatnonzero(ends > starts).tolist():
            rows = int(ends[part] - starts[part])
            self._waiting[part].append(ordered.slice(starts[part], rows))
            self.rows[part] += rows
        self._size += ordered.nbytes
        if self._size >= self._limit:
            self._flush()

    def finish(self) -> None:
        """Write what still waits, and give its memory back."""
        self._flush()
        pa.default_memory_pool().release_unused()

    def read(self, part: int) -> Iterator[pa.RecordBatch]:
        """The rows of a part; nothing is added any more."""
        self._flush()
        for number in self._written[part]:
            assert self._file is not None
            yield self._file.read(number)

    def __enter__(self) -> Partitions:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting = []
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        for part, batches in enumerate(self._waiting):
            if batches:
                self._file = self._file if self._file is not None else BatchFile(batches[0].schema, self._directory)
                self._written[part] += [self._file.add(p) for batch in together(batches) for p in pieces(batch)]
                batches.clear()
        self._size = 0


def together(batches: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The rows of several batches in one, or in as few as 2 GiB of text in a column allow."""
    return pa.Table.from_batches(batches).combine_chunks().to_batches() if batches else []


def decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries, which a file of batches cannot change from one to the next."""
    if not any(pa.types.is_dictionary(column.type) for column in batch.columns):
        return batch
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def pieces(batch: pa.RecordBatch, size: int = PIECE_BYTES) -> Iterator[pa.RecordBatch]:
    """A batch in slices of about so many bytes."""
    rows = batch.num_rows if batch.nbytes <= size else max(1, batch.num_rows * size // batch.nbytes)
    for start in range(0, batch.num_rows, rows or 1):
        yield batch.slice(start, rows)
