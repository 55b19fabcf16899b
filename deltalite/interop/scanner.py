"""What ``DeltaDataset.scanner()`` gives: one projection and one filter, to be read.

pyarrow's own scanner reads ahead by threads of C++, which hangs or kills the process at its end when a consumer has
stopped early and the rows come from Python. Here whoever asks for a batch waits for it, in the thread that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

Columns = Sequence[str] | Mapping[str, pc.Expression] | None
HEAD_BATCH_ROWS = 4096


class DeltaScanner:
    """The interface of ``pyarrow.dataset.Scanner``. Every call reads anew, and nothing is read before its first batch.

    :param read: gives the rows of the columns that projection and filter need, from a batch size and a limit.
    :param schema: of these rows.
    :param columns: names, or expressions under the names that the result gives them.
    :param filter: the condition that pyarrow judges.
    """

    def __init__(
        self,
        read: Callable[[int | None, int | None], pa.RecordBatchReader],
        schema: pa.Schema,
        columns: Sequence[str] | Mapping[str, pc.Expression],
        filter: pc.Expression | None,
        batch_size: int | None,
        dataset_schema: pa.Schema,
    ) -> None:
        self._read = read
        self._columns = dict(columns) if isinstance(columns, Mapping) else list(columns)
        self._filter = filter
        self._batch_size = batch_size
        self.dataset_schema = dataset_schema
        self.projected_schema: pa.Schema = self._through_pyarrow(schema.empty_table()).projected_schema

    def to_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches(self._batch_size, None))

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        return self._batches(self._batch_size, None)

    def to_table(self) -> pa.Table:
        return self.to_reader().read_all()

    def head(self, num_rows: int) -> pa.Table:
        """The first rows, reading little more than they need."""
        found, left = [], num_rows
        for batch in self._batches(HEAD_BATCH_ROWS, num_rows if self._filter is None else None) if num_rows else ():
            found.append(batch.slice(0, left))
            left -= batch.num_rows
            if left <= 0:
                break
        return pa.Table.from_batches(found, self.projected_schema)

    def take(self, indices: Any) -> pa.Table:
        return self.to_table().take(indices)

    def count_rows(self) -> int:
        return sum(batch.num_rows for batch in self.to_batches())

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.to_batches()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def _batches(self, batch_size: int | None, limit: int | None) -> Iterator[pa.RecordBatch]:
        simple = self._filter is None and isinstance(self._columns, list)
        for batch in self._read(batch_size, limit):
            if simple:
                yield batch.select(self._columns)
            else:
                yield from self._through_pyarrow(batch).to_table().to_batches()

    def _through_pyarrow(self, rows: pa.RecordBatch | pa.Table) -> ds.Scanner:
        """pyarrow's scanner over rows in memory."""
        return ds.InMemoryDataset(rows).scanner(columns=self._columns, filter=self._filter, use_threads=False)
