"""Reading data files: from FileTasks to record batches of the plan's schema."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from deltalite.model.tasks import FileTask, ScanPlan
from deltalite.scan.ahead import ordered
from deltalite.scan.parquet import DataFile
from deltalite.scan.paths import PathResolver, Resolve
from deltalite.scan.rows import FileRows, marked_rows
from deltalite.storage import Store

BATCH_ROWS = 1 << 16
AHEAD_BYTES = 32 << 20


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
    :param threads: files read at a time; the default is one per processor, 8 at most. Up to 32 MB of each wait.
    :param batch_size: rows of a batch at most.
    :param limit: rows in all at most; the default is the plan's.
    """
    limit = plan.limit if limit is None else limit
    batches = _batches(store, plan, resolve or PathResolver(store), threads or _processors(), batch_size, limit)
    return pa.RecordBatchReader.from_batches(plan.schema, _first(batches, limit))


def _processors() -> int:
    return min(8, pa.cpu_count())


def _batches(
    store: Store, plan: ScanPlan, resolve: Resolve, threads: int, batch_size: int, limit: int | None
) -> Iterator[pa.RecordBatch]:
    if limit is not None and limit <= 0:
        return
    shared, only_one = plan.shared(), plan.files.num_rows == 1
    read = partial(
        read_task, store, shared, resolve=resolve, batch_size=batch_size, use_threads=only_one and threads > 1
    )
    sources = (partial(read, task) for task in plan.iter_tasks())
    yield from ordered(
        sources, 1 if only_one or limit is not None else threads, lambda batch: batch.nbytes, AHEAD_BYTES
    )


def _first(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
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
    only: Any = None,
    encoded: bool = False,
) -> Iterator[pa.RecordBatch]:
    """The rows of one file as batches of ``plan.schema``; empty batches are left out.

    :param plan: the plan of the task, or its ``shared()`` part.
    :param use_threads: decode columns in parallel; for single large files.
    :param only: read these rows of the file alone, a set of positions like those of deleted rows; row groups without
        any are not opened.
    :param encoded: columns of few distinct values may come as dictionaries; for plans without a predicate.
    :raises InvalidTableError: the file or its deletion vector is missing, damaged, or does not fit the table.
    :raises UnsafePathError: the log names a file outside the table that ``resolve`` does not allow.
    """
    resolve = resolve or PathResolver(store)
    deleted = marked_rows(task, task.deletion_vector, resolve)
    if task.within is not None:
        only = marked_rows(task, task.within, resolve)
    place, path = resolve(task.path)
    with DataFile(place, path, task.size, plan.by_field_id) as file:
        yield from FileRows(plan, task, file, deleted, batch_size, use_threads, only, encoded).batches()
