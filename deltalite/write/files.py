"""Rows to data files: the only place that writes them.

The calling thread reads, fits, computes and checks rows and cuts them into row groups, one partition each; threads
encode and upload them, several files at once. Rows wait under a memory budget (``waiting``), encoding is throttled to
another one, and only so many files are open at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from deltalite.model.actions import AddFile
from deltalite.model.arrow import concat_batches
from deltalite.model.types import Field
from deltalite.model.write_spec import MIB, WriteSpec
from deltalite.write.encode import Encoder
from deltalite.write.layout import layout_of
from deltalite.write.rules import RowRules
from deltalite.write.split import Splitter
from deltalite.write.waiting import Waiting

if TYPE_CHECKING:
    from deltalite.storage.base import Store

BATCH_ROWS = 131_072
BATCH_BYTES = 8 * MIB
SMALL_BATCH_ROWS = 16_384
SAMPLE_ROWS = 1000
_NOTHING: frozenset[str] = frozenset()
ROW_GROUP_BYTES = 24 * MIB
SMALL_ROW_GROUP_BYTES = 8 * MIB


class FileWriter:
    """Rows pushed into data files of the table, batch by batch.

    Every row is fitted to the table, computed columns are filled or verified, and constraints are checked before any
    file that holds the row becomes visible. End it with :meth:`finish` or :meth:`abort`.
    """

    def __init__(self, store: Store, spec: WriteSpec) -> None:
        self._spec = spec
        self._layout = layout_of(spec)
        self.rules = RowRules(spec, self._layout)
        self._encoder = Encoder(store, spec)
        self._splitter = Splitter(_partition_fields(spec))
        self._waiting = Waiting()
        self._small: list[pa.RecordBatch] = []
        self._small_rows = self._small_bytes = 0
        self._row_group_bytes = min(ROW_GROUP_BYTES, spec.target_file_size)

    def check(self, schema: pa.Schema) -> None:
        """Refuse data of a schema that does not fit the table, without any rows.

        :raises SchemaMismatchError: when columns do not fit.
        """
        self._layout.plan(schema, self.rules.computed, self._spec.unsafe_cast, None)

    def add(self, batch: pa.RecordBatch, *, copied: bool = False) -> list[pa.RecordBatch]:
        """Write some rows.

        :param copied: the rows are in the table already, so that nothing is computed or checked; dictionaries stay.
        :return: the rows as the table has them, in slices.
        :raises SchemaMismatchError: when columns or values do not fit the table.
        :raises ConstraintViolation: when rows break NOT NULL, an invariant, a CHECK or a generated column's expression.
        :raises StorageError: when the store refuses.
        """
        return [self._add(part, copied) for part in _sliced(batch)]

    def _add(self, batch: pa.RecordBatch, copied: bool) -> pa.RecordBatch:
        computed = _NOTHING if copied else self.rules.computed
        sample = batch.slice(0, SAMPLE_ROWS)
        encoded = copied and not self._spec.partition_columns
        rows = self._layout.plan(batch.schema, computed, self._spec.unsafe_cast, sample, encoded).apply(batch)
        if not copied:
            rows = self.rules.apply(rows)
        if self._spec.partition_columns:
            self._gather(rows)
        else:
            self._wait(rows)
        return rows

    def _gather(self, rows: pa.RecordBatch) -> None:
        """Small batches are put together, because each one costs a slice per partition."""
        self._small.append(rows)
        self._small_rows += rows.num_rows
        self._small_bytes += rows.nbytes
        if self._small_rows >= SMALL_BATCH_ROWS or self._small_bytes >= BATCH_BYTES:
            self._wait_gathered()

    def _wait_gathered(self) -> None:
        if self._small:
            rows = concat_batches(self._small) if len(self._small) > 1 else self._small[0]
            self._small, self._small_rows, self._small_bytes = [], 0, 0
            self._wait(rows)

    def _wait(self, rows: pa.RecordBatch) -> None:
        waiting, spec = self._waiting, self._spec
        keys = [rows.column(name) for name in spec.partition_columns]
        waiting.add(self._splitter.split(keys, self._layout.file_rows(rows)))
        self._cut(waiting.at_least(self._row_group_bytes, spec.parquet.row_group_rows))
        if waiting.in_memory > spec.memory_budget:
            self._cut(waiting.at_least(SMALL_ROW_GROUP_BYTES))
            if waiting.in_memory > spec.memory_budget // 2:
                waiting.spill()

    def _cut(self, numbers: Iterable[int], last: bool = False) -> None:
        for number in numbers:
            self._encoder.submit(self._splitter.keys[number], self._waiting.take(number), last)

    def finish(self) -> list[AddFile]:
        """Make the files visible.

        :return: one ``AddFile`` per data file, partitions in order of appearance; none when there were no rows.
        """
        self._wait_gathered()
        self._cut(self._waiting.partitions(), last=True)
        found = self._encoder.finish()
        self._waiting.close()
        return found

    def abort(self) -> None:
        """Delete everything that was written."""
        self._encoder.abort()
        self._waiting.close()


def write_files(store: Store, spec: WriteSpec, reader: pa.RecordBatchReader) -> list[AddFile]:
    """:func:`write_rows` for tables that do not number their rows."""
    return write_rows(store, spec, reader)[0]


def write_rows(store: Store, spec: WriteSpec, reader: pa.RecordBatchReader) -> tuple[list[AddFile], Mapping[str, int]]:
    """Write all rows of a stream with a :class:`FileWriter`; when anything fails, its files are deleted again.

    :param reader: the rows; read once, never collected whole.
    :return: one ``AddFile`` per data file, and the last number that each numbered column got.
    """
    writer = FileWriter(store, spec)
    try:
        is_empty = True
        for batch in reader:
            if batch.num_rows:
                is_empty = False
                writer.add(batch)
        if is_empty:
            writer.check(reader.schema)
        return writer.finish(), writer.rules.sequences
    except BaseException:
        writer.abort()
        raise


def _partition_fields(spec: WriteSpec) -> list[Field]:
    by_name = {f.name: f for f in spec.schema.fields}
    return [by_name[name] for name in spec.partition_columns]


def _sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch, in slices if it is large; nothing if it has no rows."""
    if batch.num_rows:
        step = max(1, min(BATCH_ROWS, batch.num_rows * BATCH_BYTES // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step) if step < batch.num_rows else batch
