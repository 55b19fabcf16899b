"""Rows to data files: the only place that writes them.

The calling thread reads, fits, computes and checks rows and cuts them into row groups, one partition each; threads
encode and upload them, several files at once. Rows wait under a memory budget (``waiting``), encoding is throttled to
another one, and only so many files are open at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from deltalite.model.actions import AddFile
from deltalite.model.arrow import concat_batches
from deltalite.model.types import Field
from deltalite.model.write_spec import MIB, WriteSpec
from deltalite.write.conform import Conform
from deltalite.write.encode import Encoder
from deltalite.write.layout import layout_of
from deltalite.write.rules import RowRules
from deltalite.write.split import Run, Splitter
from deltalite.write.waiting import Waiting

if TYPE_CHECKING:
    from deltalite.storage.base import Store

BATCH_ROWS = 131_072
BATCH_BYTES = 8 * MIB
SMALL_BATCH_ROWS = 16_384
SAMPLE_ROWS = 1000
ROW_GROUP_BYTES = 24 * MIB
SMALL_ROW_GROUP_BYTES = 8 * MIB


def write_files(store: Store, spec: WriteSpec, reader: pa.RecordBatchReader) -> list[AddFile]:
    """Write all rows of a stream into data files of the table.

    Every row is fitted to the table, computed columns are filled or verified, and constraints are checked before any
    file that holds the row becomes visible. When anything fails, the files that this call finished are deleted again.

    :param reader: the rows; read once, never collected whole.
    :return: one ``AddFile`` per data file, partitions in order of appearance; none when there are no rows.
    :raises SchemaMismatchError: when columns or values do not fit the table.
    :raises ConstraintViolation: when rows break NOT NULL, an invariant, a CHECK or a generated column's expression.
    :raises StorageError: when the store refuses.
    """
    encoder = Encoder(store, spec)
    splitter = Splitter(_partition_fields(spec))
    waiting = Waiting()
    row_group_bytes = min(ROW_GROUP_BYTES, spec.target_file_size)

    def cut(numbers: Iterable[int], last: bool = False) -> None:
        for number in numbers:
            encoder.submit(splitter.keys[number], waiting.take(number), last)

    try:
        for run in _runs(spec, splitter, reader):
            waiting.add(run)
            cut(waiting.at_least(row_group_bytes, spec.parquet.row_group_rows))
            if waiting.in_memory > spec.memory_budget:
                cut(waiting.at_least(SMALL_ROW_GROUP_BYTES))
                if waiting.in_memory > spec.memory_budget // 2:
                    waiting.spill()
        cut(waiting.partitions(), last=True)
        return encoder.finish()
    except BaseException:
        encoder.abort()
        raise
    finally:
        waiting.close()


def _partition_fields(spec: WriteSpec) -> list[Field]:
    by_name = {f.name: f for f in spec.schema.fields}
    return [by_name[name] for name in spec.partition_columns]


def _runs(spec: WriteSpec, splitter: Splitter, reader: pa.RecordBatchReader) -> Iterator[Run]:
    """The rows as they go into files, batch by batch, in the order of partitions."""
    layout = layout_of(spec)
    rules = RowRules(spec, layout)
    batches = _fitted(spec, rules.computed, reader)
    for batch in _merged(batches) if spec.partition_columns else batches:
        rows = rules.apply(batch)
        yield splitter.split([rows.column(name) for name in spec.partition_columns], layout.file_rows(rows))


def _fitted(spec: WriteSpec, computed: frozenset[str], reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches with the table's columns and types."""
    layout = layout_of(spec)
    plan: Conform | None = None
    for batch in _sliced(reader):
        if plan is None:
            plan = layout.plan(reader.schema, computed, spec.unsafe_cast, batch.slice(0, SAMPLE_ROWS))
        yield plan.apply(batch)
    if plan is None:
        layout.plan(reader.schema, computed, spec.unsafe_cast, None)


def _merged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches put together, because each one costs a slice per partition."""
    gathered: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        gathered.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= SMALL_BATCH_ROWS or size >= BATCH_BYTES:
            yield _together(gathered)
            gathered, rows, size = [], 0, 0
    if gathered:
        yield _together(gathered)


def _together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return concat_batches(batches) if len(batches) > 1 else batches[0]


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches that have rows, large ones in slices."""
    for batch in batches:
        if batch.num_rows:
            step = max(1, min(BATCH_ROWS, batch.num_rows * BATCH_BYTES // max(1, batch.nbytes)))
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step) if step < batch.num_rows else batch
