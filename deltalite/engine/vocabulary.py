"""Columns of few distinct texts as numbers, so that rows can be moved about without their texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.vectors import from_numpy, numpy_values, valid_mask

MOST_WORDS = 4096
"""Distinct values of a column that are kept in memory."""


class Vocabulary:
    """The distinct values of some columns, over all batches.

    :param first: those of its columns that are dictionaries, and not too large, become numbers.
    """

    def __init__(self, first: pa.RecordBatch) -> None:
        self._words = {
            i: column.dictionary.slice(0, 0)
            for i, column in enumerate(first.columns)
            if pa.types.is_dictionary(column.type) and len(column.dictionary) <= MOST_WORDS
        }

    def __bool__(self) -> bool:
        return bool(self._words)

    @property
    def is_full(self) -> bool:
        """Whether there are more values than are worth keeping."""
        return any(len(words) > MOST_WORDS for words in self._words.values())

    def coded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with numbers for these columns, and without any other dictionaries."""
        columns = []
        for i, column in enumerate(batch.columns):
            if i in self._words:
                column = self._codes(i, column)
            elif pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            columns.append(column)
        return pa.RecordBatch.from_arrays(columns, batch.schema.names)

    def worded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """What :meth:`coded` was made of, with dictionaries that all batches share."""
        columns = [
            pa.DictionaryArray.from_arrays(column, self._words[i]) if i in self._words else column
            for i, column in enumerate(batch.columns)
        ]
        return pa.RecordBatch.from_arrays(columns, batch.schema.names)

    def _codes(self, place: int, column: pa.Array) -> pa.Array:
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        known, local = self._words[place], column.dictionary
        found = pc.index_in(local, value_set=known)
        if found.null_count:
            new = local.filter(found.is_null()).drop_null().unique()
            if len(new):
                self._words[place] = known = pa.concat_arrays([known, new])
                found = pc.index_in(local, value_set=known)
        indices = column.indices.cast(pa.int32())
        valid = valid_mask(indices)
        numbers = numpy_values(found) if len(found) else np.zeros(1, np.int32)
        if local.null_count:
            valid = valid & np.append(valid_mask(local), False)[np.where(valid, numpy_values(indices), len(local))]
        return from_numpy(numbers[np.where(valid, numpy_values(indices), 0)], pa.int32(), valid)
