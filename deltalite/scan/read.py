"""Reading data files: from FileTasks to record batches of the plan's schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.model.arrow import scalar, type_to_arrow
from deltalite.model.tasks import FileTask, ScanPlan, VirtualColumn
from deltalite.scan.parquet import DataFile
from deltalite.scan.paths import PathResolver, Resolve
from deltalite.storage import Store

BATCH_ROWS = 1 << 16


def read_plan(
    store: Store,
    plan: ScanPlan,
    *,
    resolve: Resolve | None = None,
    threads: int | None = None,
    batch_size: int = BATCH_ROWS,
    limit: int | None = None,
) -> pa.RecordBatchReader:
    """The rows of a plan, file by file in the order of the log. Nothing is read before the first batch.

    :param store: the table's store.
    :param resolve: finds the store of a file; the default refuses files outside the table.
    :param threads: files read at a time; the default is one per processor, 8 at most.
    :param batch_size: rows of a batch at most.
    :param limit: rows in all at most; the default is the plan's.
    """
    batches = _batches(store, plan, resolve or PathResolver(store), batch_size, plan.limit if limit is None else limit)
    return pa.RecordBatchReader.from_batches(plan.schema, batches)


def _batches(
    store: Store, plan: ScanPlan, resolve: Resolve, batch_size: int, limit: int | None
) -> Iterator[pa.RecordBatch]:
    left = limit
    for task in plan.tasks():
        if left is not None and left <= 0:
            return
        for batch in read_task(store, plan, task, resolve=resolve, batch_size=batch_size):
            yield batch if left is None else batch.slice(0, left)
            if left is not None:
                left -= batch.num_rows
                if left <= 0:
                    return


def read_task(
    store: Store,
    plan: ScanPlan,
    task: FileTask,
    *,
    resolve: Resolve | None = None,
    batch_size: int = BATCH_ROWS,
    use_threads: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of one file as batches of ``plan.schema``; empty batches are left out.

    :param plan: the plan of the task, or its ``shared()`` part.
    :param use_threads: decode columns in parallel; for single large files.
    :raises InvalidTableError: the file is missing, damaged, or does not fit the table.
    :raises UnsafePathError: the log names a file outside the table that ``resolve`` does not allow.
    """
    place, path = (resolve or PathResolver(store))(task.path)
    with DataFile(place, path, task.size, plan.by_field_id) as file:
        columns = file.match(plan.logical, plan.physical)
        names = [column.name for column in columns]
        schema = plan.schema
        for group in file.row_groups():
            start = group.start
            for arrays, rows in file.batches(columns, group, batch_size, use_threads):
                values = dict(zip(names, arrays, strict=True))
                yield _assemble(plan, task, schema, values, np.arange(start, start + rows), rows)
                start += rows


def _assemble(
    plan: ScanPlan, task: FileTask, schema: pa.Schema, values: Mapping[str, pa.Array], positions: np.ndarray, rows: int
) -> pa.RecordBatch:
    columns = []
    for field in plan.output.fields:
        if field.name in values:
            columns.append(values[field.name])
        elif field.name in task.partition:
            columns.append(constant(task.partition[field.name], type_to_arrow(field.type), rows))
        else:
            columns.append(_virtual(plan.virtual[field.name], task, positions))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def constant(value: Any, data_type: pa.DataType, rows: int) -> pa.Array:
    return pa.nulls(rows, data_type) if value is None else pa.repeat(scalar(value, data_type), rows)


def _virtual(column: VirtualColumn, task: FileTask, positions: np.ndarray) -> pa.Array:
    base = getattr(task, column.constant) if column.constant else 0
    if not column.add_position:
        return constant(base, type_to_arrow(column.type), len(positions))
    if base is None:
        return pa.nulls(len(positions), pa.int64())
    return pa.Array.from_buffers(pa.int64(), len(positions), [None, pa.py_buffer(positions + base)])
