"""The rows of one file: which of them are read, judged and returned, and in which order that is cheapest.

Deleted rows go first, by position, so that no predicate ever sees them. Row groups that cannot match are not read.
Where there is a predicate, its columns are read first, and the others only for row groups in which something matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.expr.arrow import true_mask
from deltalite.expr.prune import keep_mask
from deltalite.features.reading import deleted_rows
from deltalite.model.arrow import mask_array, scalar, to_numpy, type_to_arrow
from deltalite.model.tasks import FileTask, ScanPlan, VirtualColumn
from deltalite.model.types import Field, StructType
from deltalite.scan.columns import Columns, MatchedColumn
from deltalite.scan.footer import FooterStats
from deltalite.scan.parquet import DataFile, RowGroup, reading
from deltalite.scan.paths import Resolve

Values = dict[str, Any]


def deleted_rows_of(task: FileTask, resolve: Resolve) -> Any:
    """The positions of a file's deleted rows, or ``None`` if it has no deletion vector."""
    if task.deletion_vector is None:
        return None

    def fetch(uri: str, offset: int, length: int) -> bytes:
        store, path = resolve(uri)
        with reading(path):
            return store.get_range(path, offset, length)

    return deleted_rows(task.deletion_vector, fetch)


class FileRows:
    """One file on its way to batches.

    :param deleted: positions of deleted rows, as the feature that knows them gives them, or ``None``.
    """

    def __init__(
        self, plan: ScanPlan, task: FileTask, file: DataFile, deleted: Any, batch_size: int, use_threads: bool
    ) -> None:
        self._plan = plan
        self._task = task
        self._file = file
        self._deleted = deleted
        self._batch_size = batch_size
        self._use_threads = use_threads
        self._schema = plan.schema
        self._columns = _with_stored_virtual(plan)
        if deleted is not None and deleted.last >= file.num_rows:
            raise InvalidTableError(
                f"the deletion vector of {task.path} marks row {deleted.last}, the file has {file.num_rows} rows",
                path=task.path,
            )

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self._plan.predicate is None:
            columns = self._file.match(self._columns)
            for group in self._file.row_groups():
                yield from self._all(group, columns)
            return
        needed = self._plan.predicate.columns
        first = self._columns.only(needed)
        whole = {f.name for f in first.logical.fields if f in self._columns.logical.fields}
        names = {f.name for f in self._plan.output.fields}
        judged = self._file.match(first)
        others = self._file.match(self._columns.without(whole).only((name,) for name in names))
        for group in self._groups(first):
            yield from self._matching(group, judged, others, whole & names)

    def _groups(self, columns: Columns) -> list[RowGroup]:
        """The row groups in which the footer does not rule the predicate out."""
        groups = self._file.row_groups()
        assert self._plan.predicate is not None
        stats = FooterStats(self._file, groups, columns, self._constants)
        return [group for group, kept in zip(groups, keep_mask(self._plan.predicate, stats), strict=True) if kept]

    def _read(self, columns: Sequence[MatchedColumn], group: RowGroup) -> Iterator[tuple[Values, int, int]]:
        """Values by name, the position of the first row, and the number of rows."""
        start = group.start
        for arrays, rows in self._file.batches(columns, group, self._batch_size, self._use_threads):
            yield {c.name: values for c, values in zip(columns, arrays, strict=True)}, start, rows
            start += rows

    def _all(self, group: RowGroup, columns: Sequence[MatchedColumn]) -> Iterator[pa.RecordBatch]:
        for values, start, rows in self._read(columns, group):
            live = self._live(start, rows)
            if live is not None:
                values = _filtered(values, mask_array(live))
            if positions := _Positions(start, rows, live):
                yield self._assembled(values, positions)

    def _matching(
        self, group: RowGroup, judged: Sequence[MatchedColumn], others: Sequence[MatchedColumn], reused: set[str]
    ) -> Iterator[pa.RecordBatch]:
        masks: list[np.ndarray] = []
        found: list[Values] = []
        for values, start, rows in self._read(judged, group):
            mask, hits = self._judge(values, start, rows)
            masks.append(mask)
            found.append({name: _taken(values[name], mask, hits) for name in reused})
        mask = np.concatenate(masks) if masks else np.zeros(0, bool)
        left = int(np.count_nonzero(mask))
        if not left:
            return
        kept = {name: pa.chunked_array([part[name] for part in found]) for name in reused}
        at = done = 0
        pieces = self._read(others, group) if others else (({}, 0, len(m)) for m in masks)
        for values, _, rows in pieces:
            here = mask[at : at + rows]
            positions = _Positions(group.start + at, rows, here)
            at += rows
            if positions:
                hits = len(positions)
                values = {name: _taken(v, here, hits) for name, v in values.items()}
                values.update({name: _slice(column, done, hits) for name, column in kept.items()})
                done += hits
                yield self._assembled(values, positions)
            if done == left:
                return

    def _judge(self, values: Values, start: int, rows: int) -> tuple[np.ndarray, int]:
        """Where a row is live and satisfies the predicate, and how many do."""
        live = self._live(start, rows)
        positions = _Positions(start, rows, live)
        if not positions:
            return np.zeros(rows, bool), 0
        if live is not None:
            values = _filtered(values, mask_array(live))
        predicate = self._plan.predicate
        assert predicate is not None
        names = sorted({path[0] for path in predicate.columns})
        batch = _batch([self._value(name, values, positions) for name in names], names, len(positions))
        hit = to_numpy(true_mask(predicate, batch))
        if live is not None:
            hit, judged = live, hit
            hit[hit] = judged
        return hit, int(np.count_nonzero(hit))

    def _live(self, start: int, rows: int) -> np.ndarray | None:
        """Which rows are not deleted; ``None`` for all of them."""
        gone = None if self._deleted is None else self._deleted.between(start, start + rows)
        if gone is None or not len(gone):
            return None
        mask = np.ones(rows, bool)
        mask[gone - start] = False
        return mask

    def _assembled(self, values: Values, positions: _Positions) -> pa.RecordBatch:
        arrays = [self._value(field.name, values, positions) for field in self._plan.output.fields]
        return _batch(arrays, self._schema, len(positions))

    def _value(self, name: str, values: Mapping[str, Any], positions: _Positions) -> pa.Array:
        """A column of the result: from the file, from the partition, or made up."""
        if name in self._plan.virtual:
            return self._virtual(name, self._plan.virtual[name], values.get(name), positions)
        if name in values:
            return values[name]
        return _repeated(self._constants[name], len(positions))

    def _virtual(self, name: str, column: VirtualColumn, stored: Any, positions: _Positions) -> pa.Array:
        rows = len(positions)
        if stored is not None and not stored.null_count:
            return stored
        base = getattr(self._task, column.constant) if column.constant else 0
        if base is None:
            raise InvalidTableError(
                f"the log has no {name} for {self._task.path}, though the table promises one for every row",
                path=self._task.path,
            )
        if column.add_position:
            numbers = positions.numbers() + base
            made = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(np.ascontiguousarray(numbers))])
        else:
            made = _repeated(scalar(base, type_to_arrow(column.type)), rows)
        return made if stored is None else pc.coalesce(stored, made)

    @cached_property
    def _constants(self) -> dict[str, pa.Scalar]:
        plan = self._plan
        kinds = zip(plan.partition_columns, plan.partition_types, strict=True)
        return {name: scalar(self._task.partition[name], type_to_arrow(kind)) for name, kind in kinds}


class _Positions:
    """Which rows of the file a batch holds; false when it holds none."""

    def __init__(self, start: int, rows: int, mask: np.ndarray | None) -> None:
        self._start = start
        self._rows = rows
        self._mask = mask
        self._count = rows if mask is None else int(np.count_nonzero(mask))

    def __len__(self) -> int:
        return self._count

    def numbers(self) -> np.ndarray:
        if self._mask is None:
            return np.arange(self._start, self._start + self._rows)
        return np.flatnonzero(self._mask) + self._start


def _with_stored_virtual(plan: ScanPlan) -> Columns:
    """The plan's columns, and those in which files may keep virtual ones."""
    stored = [(name, column) for name, column in plan.virtual.items() if column.stored_as]
    logical = [*plan.logical.fields, *(Field(name, column.type) for name, column in stored)]
    physical = [*plan.physical.fields, *(Field(str(column.stored_as), column.type) for _, column in stored)]
    return Columns(StructType(logical), StructType(physical))


def _batch(arrays: Sequence[pa.Array], schema: pa.Schema | Sequence[str], rows: int) -> pa.RecordBatch:
    if not arrays:  # a batch without columns still has rows
        return pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), rows, [None]))
    if isinstance(schema, pa.Schema):
        return pa.RecordBatch.from_arrays(list(arrays), schema=schema)
    return pa.RecordBatch.from_arrays(list(arrays), names=list(schema))


def _filtered(values: Values, mask: pa.BooleanArray) -> Values:
    return {name: column.filter(mask) for name, column in values.items()}


def _taken(values: Any, mask: np.ndarray, hits: int) -> Any:
    if hits == len(mask):
        return values
    return values.filter(mask_array(mask)) if hits else values.slice(0, 0)


def _slice(column: pa.ChunkedArray, start: int, length: int) -> pa.Array:
    part = column.slice(start, length)
    return part.chunk(0) if part.num_chunks == 1 else pa.concat_arrays(part.chunks)


def _repeated(value: pa.Scalar, rows: int) -> pa.Array:
    return pa.repeat(value, rows) if value.is_valid else pa.nulls(rows, value.type)
