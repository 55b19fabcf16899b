"""The rows of one file: which of them are read, judged and returned, and in which order that is cheapest.

Deleted rows go first, by position, so that no predicate ever sees them. Row groups that cannot match are not read.
Where there is a predicate, its columns are read first, and the others only for row groups in which something matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.expr.arrow import true_mask
from deltalite.expr.prune import keep_mask
from deltalite.features.reading import deleted_rows
from deltalite.model.actions import DeletionVector
from deltalite.model.arrow import mask_array, scalar, to_numpy, type_to_arrow
from deltalite.model.tasks import FileTask, ScanPlan, VirtualColumn
from deltalite.model.types import Field, StructType
from deltalite.scan.columns import Columns, MatchedColumn
from deltalite.scan.footer import FooterStats
from deltalite.scan.parquet import DataFile, FileBatch, RowGroup, reading
from deltalite.scan.paths import Resolve

Values = dict[str, Any]
_SPAN_ROWS = 1 << 17


def marked_rows(task: FileTask, vector: DeletionVector | None, resolve: Resolve) -> Any:
    """The positions that a deletion vector of a file holds, or ``None`` if there is no vector."""
    if vector is None:
        return None

    def fetch(uri: str, offset: int, length: int) -> bytes:
        store, path = resolve(uri)
        with reading(path):
            return store.get_range(path, offset, length)

    return deleted_rows(vector, fetch)


class FileRows:
    """One file on its way to batches.

    :param deleted: positions of deleted rows, as the feature that knows them gives them, or ``None``.
    :param only: positions of the rows to look at, in the same form; ``None`` is all of them.
    :param encoded: columns that the file holds as dictionaries stay so; for plans without a predicate.
    """

    def __init__(
        self,
        plan: ScanPlan,
        task: FileTask,
        file: DataFile,
        deleted: Any,
        batch_size: int,
        use_threads: bool,
        only: Any = None,
        encoded: bool = False,
    ) -> None:
        self._plan = plan
        self._task = task
        self._file = file
        self._deleted = deleted
        self._batch_size = batch_size
        self._use_threads = use_threads
        self._schema = plan.schema
        self._columns = _with_stored_virtual(plan)
        self._only = only
        self._encoded = encoded
        for marked in (deleted, only):
            if marked is not None and marked.last >= file.num_rows:
                raise InvalidTableError(
                    f"the deletion vector of {task.path} marks row {marked.last}, the file has {file.num_rows} rows",
                    path=task.path,
                )

    def batches(self) -> Iterator[pa.RecordBatch]:
        predicate = self._plan.predicate
        groups = self._file.row_groups()
        if self._only is not None:
            groups = [group for group in groups if self._only.any_between(group.start, group.start + group.num_rows)]
        if predicate is None:
            yield from self._all(groups, self._file.match(self._columns))
            return
        first = self._columns.only(predicate.columns)
        whole = {f.name for f in first.logical.fields if f in self._columns.logical.fields}
        names = {f.name for f in self._plan.output.fields}
        judged = self._file.match(first)
        others = self._file.match(self._columns.without(whole).only((name,) for name in names))
        kept = keep_mask(predicate, FooterStats(self._file, groups, first, self._constants))
        for span in _spans([group for group, keep in zip(groups, kept, strict=True) if keep]):
            yield from self._matching(span, judged, others, whole & names)

    def _all(self, groups: Sequence[RowGroup], columns: Sequence[MatchedColumn]) -> Iterator[pa.RecordBatch]:
        for run in _runs(groups):
            start = run[0].start
            for batch in self._read(columns, run):
                live = self._live(start, batch.num_rows)
                rows = _Rows(np.arange(start, start + batch.num_rows), live)
                if rows.count:
                    yield self._assembled(batch.values(live, self._encoded), rows)
                start += batch.num_rows

    def _matching(
        self,
        span: Sequence[RowGroup],
        judged: Sequence[MatchedColumn],
        others: Sequence[MatchedColumn],
        reused: set[str],
    ) -> Iterator[pa.RecordBatch]:
        """First which rows of the row groups match, then what else is wanted of them."""
        positions = np.concatenate([np.arange(group.start, group.start + group.num_rows) for group in span])
        masks, found = [], []
        at = 0
        for batch in self._read(judged, span):
            mask, values = self._judge(batch, positions[at : at + batch.num_rows], reused)
            masks.append(mask)
            found.append(values)
            at += batch.num_rows
        mask = np.concatenate(masks) if masks else np.zeros(0, bool)
        ends = np.cumsum([group.num_rows for group in span])
        hit = [mask[end - group.num_rows : end].any() for group, end in zip(span, ends, strict=True)]
        if not any(hit):
            return
        kept = {name: pa.chunked_array([values[name] for values in found]) for name in reused}
        wanted = np.repeat(hit, [group.num_rows for group in span])
        mask, positions = mask[wanted], positions[wanted]
        at = done = 0
        for batch in self._read(others, [group for group, is_hit in zip(span, hit, strict=True) if is_hit]):
            rows = _Rows(positions[at : at + batch.num_rows], mask[at : at + batch.num_rows])
            at += batch.num_rows
            if rows.count:
                values = batch.values(rows.mask)
                values.update({name: _slice(column, done, rows.count) for name, column in kept.items()})
                done += rows.count
                yield self._assembled(values, rows)

    def _read(self, columns: Sequence[MatchedColumn], groups: Sequence[RowGroup]) -> Iterator[FileBatch]:
        return self._file.batches(columns, groups, self._batch_size, self._use_threads)

    def _judge(self, batch: FileBatch, positions: np.ndarray, reused: set[str]) -> tuple[np.ndarray, Values]:
        """Where a row is live and satisfies the predicate, and the columns to be used again, of those rows.

        :param positions: where the rows lie in the file, rising.
        """
        live = self._live_at(positions)
        rows = _Rows(positions, live)
        values = batch.values(live)
        hit = self._holds(values, rows)
        kept = {name: values[name] if hit.all() else values[name].filter(mask_array(hit)) for name in reused}
        if live is None:
            return hit, kept
        live[live] = hit
        return live, kept

    def _holds(self, values: Values, rows: _Rows) -> np.ndarray:
        """Where the predicate is true."""
        predicate = self._plan.predicate
        if predicate is None or not rows.count:
            return np.ones(rows.count, bool)
        names = sorted({path[0] for path in predicate.columns})
        return to_numpy(true_mask(predicate, _batch([self._value(n, values, rows) for n in names], names, rows.count)))

    def _live_at(self, rows_at: np.ndarray) -> np.ndarray | None:
        """Which of some rising positions are not deleted; ``None`` for all of them."""
        start, stop = int(rows_at[0]), int(rows_at[-1]) + 1
        live = self._live(start, stop - start)
        return live if live is None or len(rows_at) == len(live) else live[rows_at - start]

    def _live(self, start: int, rows: int) -> np.ndarray | None:
        """Which rows are to be looked at and not deleted; ``None`` for all of them."""
        gone = None if self._deleted is None else self._deleted.between(start, start + rows)
        if self._only is None and (gone is None or not len(gone)):
            return None
        mask = np.ones(rows, bool)
        if self._only is not None:
            mask[:] = False
            mask[self._only.between(start, start + rows) - start] = True
        if gone is not None:
            mask[gone - start] = False
        return mask

    def _assembled(self, values: Values, rows: _Rows) -> pa.RecordBatch:
        arrays = [self._value(field.name, values, rows) for field in self._plan.output.fields]
        return _batch(arrays, self._schema.names if self._encoded else self._schema, rows.count)

    def _value(self, name: str, values: Values, rows: _Rows) -> pa.Array:
        """A column of the result: from the file, from the partition, or made up."""
        if name in self._plan.virtual:
            return self._virtual(name, self._plan.virtual[name], values.get(name), rows)
        return values[name] if name in values else _repeated(self._constants[name], rows.count)

    def _virtual(self, name: str, column: VirtualColumn, stored: Any, rows: _Rows) -> pa.Array:
        if stored is not None and not stored.null_count:
            return stored
        if column.constant is None and not column.add_position:
            return pa.nulls(rows.count, type_to_arrow(column.type)) if stored is None else stored
        base = getattr(self._task, column.constant) if column.constant else 0
        if base is None:
            raise InvalidTableError(
                f"the log has no {name} for {self._task.path}, though the table promises one for every row",
                path=self._task.path,
            )
        if column.add_position:
            numbers = np.ascontiguousarray(rows.positions() + base)
            made = pa.Array.from_buffers(pa.int64(), rows.count, [None, pa.py_buffer(numbers)])
        else:
            made = _repeated(scalar(base, type_to_arrow(column.type)), rows.count)
        return made if stored is None else pc.coalesce(stored, made)

    @cached_property
    def _constants(self) -> dict[str, pa.Scalar]:
        plan = self._plan
        kinds = zip(plan.partition_columns, plan.partition_types, strict=True)
        return {name: scalar(self._task.partition[name], type_to_arrow(kind)) for name, kind in kinds}


class _Rows:
    """The rows of a batch: some positions in the file, of which a mask chooses (``None``: all)."""

    __slots__ = ("_candidates", "count", "mask")

    def __init__(self, candidates: np.ndarray, mask: np.ndarray | None) -> None:
        self._candidates = candidates
        self.mask = mask
        self.count = len(candidates) if mask is None else int(np.count_nonzero(mask))

    def positions(self) -> np.ndarray:
        return self._candidates if self.mask is None else self._candidates[self.mask]


def _runs(groups: Sequence[RowGroup]) -> Iterator[list[RowGroup]]:
    """Row groups that follow one another in the file, taken together."""
    run: list[RowGroup] = []
    for group in groups:
        if run and run[-1].index + 1 != group.index:
            yield run
            run = []
        run.append(group)
    if run:
        yield run


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


def _slice(column: pa.ChunkedArray, start: int, length: int) -> pa.Array:
    part = column.slice(start, length)
    return part.chunk(0) if part.num_chunks == 1 else pa.concat_arrays(part.chunks)


def _repeated(value: pa.Scalar, rows: int) -> pa.Array:
    return pa.repeat(value, rows) if value.is_valid else pa.nulls(rows, value.type)
