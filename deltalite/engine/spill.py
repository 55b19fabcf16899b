"""What an operation may hold in memory, and a MERGE's source, which goes to a temporary file when it is larger."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.engine.temporary import PIECE_BYTES, BatchFile, pieces, together
from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.arrow import evaluate
from deltalite.expr.vectors import from_numpy, python_value
from deltalite.model.arrow import concat_batches, scalar
from deltalite.model.change import SOURCE
from deltalite.model.expr import BoundExpr
from deltalite.model.properties import byte_size

BATCH_ROWS = 1 << 16
_DEFAULT_SHARE = 4
_UNKNOWN_MEMORY = 4 << 30


class Budget:
    """Bytes of memory that one operation may hold. Everything that keeps rows draws on the same budget.

    :param limit: bytes, or a size such as ``"512MB"`` (units are powers of 1024); ``None`` is a quarter of the memory
        that is available when the budget is made.
    :param directory: where temporary files go; ``None`` is the system's choice (``TMPDIR``).
    :raises InvalidArgumentError: the limit is no positive size, or the directory does not exist.
    """

    def __init__(self, limit: int | str | None = None, directory: str | None = None) -> None:
        self.limit = memory_limit(limit)
        self.directory = directory
        self.held = 0
        self._lock = threading.Lock()
        if directory is not None and not Path(directory).is_dir():
            raise InvalidArgumentError(
                f"there is no directory {directory!r} for temporary files",
                hint="create it, or leave spill_directory out",
                directory=directory,
            )

    @property
    def free(self) -> int:
        return max(0, self.limit - self.held)

    def hold(self, size: int) -> None:
        """So many bytes are in memory from now on."""
        with self._lock:
            self.held += size

    def release(self, size: int) -> None:
        self.hold(-size)


def memory_limit(limit: int | str | None) -> int:
    """The bytes that a ``memory_limit=`` argument means."""
    if limit is None:
        return max(1, available_memory() // _DEFAULT_SHARE)
    try:
        size = byte_size(limit) if isinstance(limit, str) else int(limit)
    except ValueError:
        size = 0
    if size <= 0:
        raise InvalidArgumentError(f"{limit!r} is no amount of memory", hint="give bytes or a size such as '512MB'")
    return size


def available_memory() -> int:
    """Bytes of memory that the system has left, or the container allows at all, whichever is less."""
    found = [_from_meminfo()]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(int(Path(name).read_text()))
        except (OSError, ValueError):  # not Linux, no container, or "max"
            pass
    return min(found)


def _from_meminfo() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN_MEMORY


class Source:
    """The rows of a MERGE's source, evaluated once and read as often as needed, numbered in the order of arrival.

    They stay in memory while they take at most a quarter of the budget, else they are in a temporary file. Columns
    that are not asked for are not touched. Columns are nullable, dictionaries are decoded.
    """

    def __init__(self, schema: pa.Schema, batches: Sequence[pa.RecordBatch], file: BatchFile | None, budget: Budget):
        self.schema = schema
        self._batches = list(batches)
        self._starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        self._file = file
        self._budget = budget
        self._held = 0 if file else sum(batch.nbytes for batch in batches)
        budget.hold(self._held)

    @classmethod
    def of(cls, reader: pa.RecordBatchReader, budget: Budget, directory: str | None = None) -> Source:
        """Read a stream to its end.

        :param directory: where a temporary file goes; the default is the budget's.
        """
        schema = pa.schema([_plain(f) for f in reader.schema])
        held: list[pa.RecordBatch] = []
        size, limit = 0, budget.free // 4
        file: BatchFile | None = None
        try:
            for batch in _joined(reader, schema):
                if file is None:
                    held.append(batch)
                    size += batch.nbytes
                    if size <= limit:
                        continue
                    file = BatchFile(schema, directory or budget.directory)
                for piece in (p for b in (held or [batch]) for p in pieces(b)):
                    file.add(piece)
                held = []
            batches = held if file is None else [file.read(i) for i in range(len(file))]
            return cls(schema, batches, file, budget)
        except BaseException:
            if file is not None:
                file.close()
            raise

    @property
    def num_rows(self) -> int:
        return int(self._starts[-1])

    @property
    def nbytes(self) -> int:
        """The size of the rows, wherever they are."""
        return self._held if self._file is None else self._file.size

    @property
    def spilled(self) -> bool:
        return self._file is not None

    def close(self) -> None:
        """Forget the rows and give the temporary file back."""
        self._budget.release(self._held)
        self._held = 0
        self._batches = []
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batches(self, columns: Sequence[str], rows_per_batch: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
        """All rows with some columns, in their order."""
        indices = [self.schema.get_field_index(name) for name in columns]
        for batch in self._batches:
            narrow = batch.select(indices)
            for start in range(0, batch.num_rows, rows_per_batch):
                yield narrow.slice(start, rows_per_batch)

    def joined_batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """:meth:`batches` under the names of the joined row (``source.x``)."""
        names = [SOURCE + name for name in columns]
        for batch in self.batches(columns):
            yield batch.rename_columns(names)

    def take(self, rows: np.ndarray, columns: Sequence[str] | None = None) -> pa.RecordBatch:
        """Rows by number, in the order asked for.

        :param rows: int64; -1 gives a row of nulls. Ascending numbers are quicker.
        :param columns: the default is all.
        """
        names = self.schema.names if columns is None else list(columns)
        indices = [self.schema.get_field_index(name) for name in names]
        if len(self._batches) == 1 and (not len(rows) or rows.min() >= 0):
            return self._batches[0].select(indices).take(from_numpy(rows, pa.int64()))
        if np.all(rows[1:] >= rows[:-1]):
            return self._ascending(rows, indices)
        order = np.argsort(rows, kind="stable")
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return self._ascending(rows[order], indices).take(from_numpy(back, pa.int64()))

    def take_joined(self, rows: np.ndarray, columns: Sequence[str]) -> pa.RecordBatch:
        """:meth:`take` under the names of the joined row."""
        return self.take(rows, columns).rename_columns([SOURCE + name for name in columns])

    def _ascending(self, rows: np.ndarray, indices: list[int]) -> pa.RecordBatch:
        ends = np.searchsorted(rows, self._starts)
        schema = pa.schema([self.schema.field(i) for i in indices])
        parts = []
        if ends[0]:
            parts.append(pa.RecordBatch.from_arrays([pa.nulls(int(ends[0]), f.type) for f in schema], schema=schema))
        for number in np.flatnonzero(ends[1:] > ends[:-1]).tolist():
            wanted = rows[ends[number] : ends[number + 1]] - self._starts[number]
            parts.append(self._batches[number].select(indices).take(from_numpy(wanted, pa.int64())))
        if len(parts) == 1:
            return parts[0]
        found = concat_batches(
            parts or [pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in schema], schema=schema)]
        )
        if found.num_rows != len(rows) and indices:
            raise InvalidArgumentError(
                f"{len(rows)} rows of the source hold more than 2 GiB of text in one column",
                hint="ask for fewer rows at a time",
                rows=len(rows),
            )
        return found

    def bounds(self, bound: BoundExpr) -> tuple[Any, Any, int]:
        """The least and the greatest value of an expression over the source, and how many rows are null.

        NaN is above every number. ``(None, None, nulls)`` for types without order and without any value.

        :param bound: over the joined row's names (``source.x``).
        """
        lows: list[pa.Scalar] = []
        highs: list[pa.Scalar] = []
        nulls = 0
        for batch in self.joined_batches(source_names(bound)):
            values = evaluate(bound, batch)
            nulls += values.null_count
            if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
                continue
            least = pc.min_max(values)
            lows.append(least["min"])
            highs.append(_nan(values) or least["max"])
        return _extreme(lows, bound, min), _extreme(highs, bound, max), nulls

    def distinct(self, bound: BoundExpr, limit: int) -> list[Any] | None:
        """The different values of an expression over the source but for null, or ``None`` for more than ``limit``."""
        known: Any = None
        for batch in self.joined_batches(source_names(bound)):
            values = evaluate(bound, batch)
            if pa.types.is_nested(values.type):
                return None
            if pa.types.is_floating(values.type):
                values = pc.add(values, scalar(0.0, values.type))  # -0.0 becomes 0.0, which it equals
            values = values.unique().drop_null()
            known = values if known is None else pa.concat_arrays([known, values]).unique()
            if len(known) > limit:
                return None
        return [] if known is None else [python_value(value, bound.type) for value in known]


def source_names(*bounds: BoundExpr | None) -> list[str]:
    """The columns of the source that expressions over the joined row read, without their prefix."""
    return names_of(SOURCE, bounds)


def names_of(prefix: str, bounds: Sequence[BoundExpr | None]) -> list[str]:
    found = {path[0] for bound in bounds if bound is not None for path in bound.columns}
    return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix))


def _joined(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches of a stream in the wanted types, small ones put together."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in reader:
        if waiting and (rows + batch.num_rows > BATCH_ROWS or size + batch.nbytes > PIECE_BYTES):
            yield from together(waiting)
            waiting, rows, size = [], 0, 0
        if batch.num_rows:
            waiting.append(_conformed(batch, schema))
            rows, size = rows + batch.num_rows, size + batch.nbytes
    yield from together(waiting)


def _plain(f: pa.Field) -> pa.Field:
    return pa.field(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type)


def _conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [c if c.type == f.type else c.cast(f.type) for c, f in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _nan(values: pa.Array) -> pa.Scalar | None:
    """A NaN of the array, if there is one."""
    if not pa.types.is_floating(values.type):
        return None
    found = values.filter(pc.is_nan(values))
    return found[0] if len(found) else None


def _extreme(found: list[pa.Scalar], bound: BoundExpr, pick: Any) -> Any:
    values = [value for value in (python_value(scalar, bound.type) for scalar in found) if value is not None]
    return pick(values, key=_with_nan_last, default=None)


def _with_nan_last(value: Any) -> tuple[bool, Any]:
    missing = isinstance(value, float) and math.isnan(value)
    return missing, 0 if missing else value
