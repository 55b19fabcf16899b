"""Rows to data files: the only place that writes them.

The calling thread reads, fits, computes and checks rows and cuts them into row groups, one partition each; threads
encode and upload them, several files at once. Rows wait under a memory budget (``spill``), encoding is throttled to
another one, and only so many files are open at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from deltalite.model.actions import AddFile
from deltalite.model.write_spec import MIB, WriteSpec
from deltalite.write.conform import Conform, conform
from deltalite.write.encode import Encoder
from deltalite.write.layout import layout_of
from deltalite.write.rules import RowRules
from deltalite.write.spill import Waiting
from deltalite.write.split import Piece, split

if TYPE_CHECKING:
    from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.write")

BATCH_ROWS = 131_072
BATCH_BYTES = 8 * MIB
ROW_GROUP_BYTES = 32 * MIB


def write_files(store: Store, spec: WriteSpec, reader: pa.RecordBatchReader) -> list[AddFile]:
    """Write all rows of a stream into data files of the table.

    Every row is fitted to the table, computed columns are filled or verified, and constraints are checked before any
    file that holds the row becomes visible. When anything fails, the files that this call finished are deleted again.

    :param reader: the rows; read once, never collected whole.
    :return: one ``AddFile`` per data file, in the order in which they were begun; none when there are no rows.
    :raises SchemaMismatchError: when columns or values do not fit the table.
    :raises ConstraintViolation: when rows break NOT NULL, an invariant, a CHECK or a generated column's expression.
    :raises StorageError: when the store refuses.
    """
    encoder = Encoder(store, spec)
    waiting = Waiting(spec.memory_budget)
    try:
        for pieces in _pieces(spec, reader):
            waiting.add(pieces)
            for piece in pieces:
                if _is_full(waiting, piece, spec):
                    encoder.submit(piece.key, waiting.take(piece.key))
            if waiting.exceeds:
                waiting.spill()
        for key in waiting.keys:
            encoder.submit(key, waiting.take(key), last=True)
        return encoder.finish()
    except BaseException:
        encoder.abort()
        raise
    finally:
        waiting.close()


def _pieces(spec: WriteSpec, reader: pa.RecordBatchReader) -> Iterator[list[Piece]]:
    """The rows as they go into files, batch by batch, cut into partitions."""
    layout = layout_of(spec)
    rules = RowRules(spec)
    types = {f.name: f for f in spec.schema.fields}
    partition_fields = [types[name] for name in spec.partition_columns]
    computed, unsafe = rules.computed, spec.unsafe_cast
    plan: Conform | None = None
    for batch in _batches(reader):
        if plan is None:
            plan = conform(reader.schema, spec.schema, computed=computed, unsafe=unsafe, sample=batch.slice(0, 1000))
        rows = rules.apply(plan.apply(batch))
        columns = [rows.column(f.name) for f in partition_fields]
        yield split(columns, partition_fields, layout.file_rows(rows))
    if plan is None:
        conform(reader.schema, spec.schema, computed=computed, unsafe=unsafe)


def _batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a stream, large ones in slices."""
    for batch in reader:
        if batch.num_rows:
            step = max(1, min(BATCH_ROWS, batch.num_rows * BATCH_BYTES // max(1, batch.nbytes)))
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step) if step < batch.num_rows else batch


def _is_full(waiting: Waiting, piece: Piece, spec: WriteSpec) -> bool:
    limit = min(ROW_GROUP_BYTES, spec.target_file_size)
    return waiting.size(piece.key) >= limit or waiting.rows(piece.key) >= spec.parquet.row_group_rows
