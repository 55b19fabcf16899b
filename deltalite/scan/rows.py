"""The rows of one file: which of them are read, judged and returned, and in which order that is cheapest.

Deleted rows go first, by position, so that no predicate ever sees them. Row groups that cannot match are not read.
Where there is a predicate, its columns are read first, and the others only for row groups in which something matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

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
_SPAN_ROWS = 1 << 17


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
        predicate = self._plan.predicate
        if predicate is None:
            yield from self._all(self._file.row_groups(), self._file.match(self._columns))
            return
        first = self._columns.only(predicate.columns)
        whole = {f.name for f in first.logical.fields if f in self._columns.logical.fields}
        names = {f.name for f in self._plan.output.fields}
        judged = self._file.match(first)
        others = self._file.match(self._columns.without(whole).only((name,) for name in names))
        stats = FooterStats(self._file, self._file.row_groups(), first, self._constants)
        kept = keep_mask(predicate, stats)
        for span in _spans([group for group, keep in zip(self._file.row_groups(), kept, strict=True) if keep]):
            yield from self._matching(span, judged, others, whole & names)

    def _all(self, groups: Sequence[RowGroup], columns: Sequence[MatchedColumn]) -> Iterator[pa.RecordBatch]:
        start = 0
        for values, rows in self._read(columns, groups):
            live = self._live(start, rows)
            if live is not None:
                values = _filtered(values, mask_array(live))
            if count := rows if live is None else int(np.count_nonzero(live)):
                yield self._assembled(values, _Positions(np.arange(start, start + rows), live), count)
            start += rows

    def _matching(
        self,
        span: Sequence[RowGroup],
        judged: Sequence[MatchedColumn],
        others: Sequence[MatchedColumn],
        reused: set[str],
    ) -> Iterator[pa.RecordBatch]:
        """First which rows of the row groups match, then what else is wanted of them."""
        rows_at = np.concatenate([np.arange(group.start, group.start + group.num_rows) for group in span])
        mask = np.zeros(len(rows_at), bool)
        found: list[Values] = []
        at = 0
        for values, rows in self._read(judged, span):
            mask[at : at + rows], hits = self._judge(values, rows_at[at : at + rows])
            found.append({name: _taken(values[name], mask[at : at + rows], hits) for name in reused})
            at += rows
        ends = np.cumsum([group.num_rows for group in span])
        hit = [mask[end - group.num_rows : end].any() for group, end in zip(span, ends, strict=True)]
        if not any(hit):
            return
        kept = {name: pa.chunked_array([part[name] for part in found]) for name in reused}
        wanted = np.repeat(hit, [group.num_rows for group in span])
        mask, rows_at = mask[wanted], rows_at[wanted]
        at = done = 0
        groups = [group for group, is_hit in zip(span, hit, strict=True) if is_hit]
        for values, rows in self._read(others, groups):
            here, places = mask[at : at + rows], rows_at[at : at + rows]
            at += rows
            if hits := int(np.count_nonzero(here)):
                values = {name: _taken(v, here, hits) for name, v in values.items()}
                values.update({name: _slice(column, done, hits) for name, column in kept.items()})
                done += hits
                yield self._assembled(values, _Positions(places, here), hits)

    def _read(self, columns: Sequence[MatchedColumn], groups: Sequence[RowGroup]) -> Iterator[tuple[Values, int]]:
        """Values by name, and the number of rows."""
        for arrays, rows in self._file.batches(columns, groups, self._batch_size, self._use_threads):
            yield {c.name: values for c, values in zip(columns, arrays, strict=True)}, rows

    def _judge(self, values: Values, rows_at: np.ndarray) -> tuple[np.ndarray, int]:
        """Where a row is live and satisfies the predicate, and how many do. Positions are consecutive per row group."""
        live = self._live_at(rows_at)
        count = len(rows_at) if live is None else int(np.count_nonzero(live))
        if not count:
            return np.zeros(len(rows_at), bool), 0
        if live is not None:
            values = _filtered(values, mask_array(live))
        predicate = self._plan.predicate
        assert predicate is not None
        names = sorted({path[0] for path in predicate.columns})
        positions = _Positions(rows_at, live)
        batch = _batch([self._value(name, values, positions, count) for name in names], names, count)
        hit = to_numpy(true_mask(predicate, batch))
        if live is not None:
            live[live] = hit
            hit = live
        return hit, int(np.count_nonzero(hit))

    def _live_at(self, rows_at: np.ndarray) -> np.ndarray | None:
        """Which of some rising positions are not deleted; ``None`` for all of them."""
        start, stop = int(rows_at[0]), int(rows_at[-1]) + 1
        live = self._live(start, stop - start)
        return live if live is None or len(rows_at) == len(live) else live[rows_at - start]

    def _live(self, start: int, rows: int) -> np.ndarray | None:
        """Which rows are not deleted; ``None`` for all of them."""
        gone = None if self._deleted is None else self._deleted.between(start, start + rows)
        if gone is None or not len(gone):
            return None
        mask = np.ones(rows, bool)
        mask[gone - start] = False
        return mask

    def _assembled(self, values: Values, positions: _Positions, rows: int) -> pa.RecordBatch:
        arrays = [self._value(field.name, values, positions, rows) for field in self._plan.output.fields]
        return _batch(arrays, self._schema, rows)

    def _value(self, name: str, values: Mapping[str, Any], positions: _Positions, rows: int) -> pa.Array:
        """A column of the result: from the file, from the partition, or made up."""
        if name in self._plan.virtual:
            return self._virtual(name, self._plan.virtual[name], values.get(name), positions, rows)
        if name in values:
            return values[name]
        return _repeated(self._constants[name], rows)

    def _virtual(self, name: str, column: VirtualColumn, stored: Any, positions: _Positions, rows: int) -> pa.Array:
        if stored is not None and not stored.null_count:
            return stored
        base = getattr(self._task, column.constant) if column.constant else 0
        if base is None:
            raise InvalidTableError(
                f"the log has no {name} for {self._task.path}, though the table promises one for every row",
                path=self._task.path,
            )
        if column.add_position:
            numbers = np.ascontiguousarray(positions.numbers() + base)
            made = pa.Array.from_buffers(pa.int64(), rows, [None, pa.py_buffer(numbers)])
        else:
            made = _repeated(scalar(base, type_to_arrow(column.type)), rows)
        return made if stored is None else pc.coalesce(stored, made)

    @cached_property
    def _constants(self) -> dict[str, pa.Scalar]:
        plan = self._plan
        kinds = zip(plan.partition_columns, plan.partition_types, strict=True)
        return {name: scalar(self._task.partition[name], type_to_arrow(kind)) for name, kind in kinds}


class _Positions(NamedTuple):
    """Where the rows of a batch lie in the file: some positions, of which a mask chooses."""

    candidates: np.ndarray
    mask: np.ndarray | None

    def numbers(self) -> np.ndarray:
        return self.candidates if self.mask is None else self.candidates[self.mask]


def _spans(groups: Sequence[RowGroup]) -> Iterator[list[RowGroup]]:
    """Small row groups taken together, so that each step has enough to do."""
    span: list[RowGroup] = []
    for group in groups:
        if span and sum(g.num_rows for g in span) + group.num_rows > _SPAN_ROWS:
            yield span
            span = []
        span.append(group)
    if span:
        yield span


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
