"""Rows to partitions: a batch is put into the order of its partitions, and every partition gets a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import SchemaMismatchError
from deltalite.model import partition
from deltalite.model.arrow import scalar
from deltalite.model.types import Field

Key = tuple["str | None", ...]
_MINUS_ONE = scalar(-1, pa.int32())
_CACHED_TEXTS = 100_000


@dataclass
class Run:
    """Rows in the order of their partitions.

    :param rows: the rows; those of ``partitions[i]`` end before row ``ends[i]``.
    :param partitions: numbers of the partitions, ascending.
    """

    rows: pa.RecordBatch
    partitions: np.ndarray
    ends: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Rows of each partition."""
        counts = self.ends.copy()
        counts[1:] -= self.ends[:-1]
        return counts


class Splitter:
    """Puts batches into the order of their partitions; rows of one partition keep theirs.

    :param fields: the partition columns.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields
        self._texts: list[dict[Any, str | None]] = [{} for _ in fields]
        self._numbers: dict[Key, int] = {}
        self.keys: list[Key] = []
        """The log's texts of each partition's values, by its number."""

    def split(self, columns: Sequence[pa.Array], rows: pa.RecordBatch) -> Run:
        """
        :param columns: the partition columns of the batch.
        :param rows: the data columns of the batch.
        """
        keys: list[Key] = [()]
        codes = np.zeros(rows.num_rows, dtype=np.int64)
        for index, column in enumerate(columns):
            texts, places = self._encode(column, index)
            codes, combined = _compressed(codes * len(texts) + places)
            keys = [(*keys[code // len(texts)], texts[code % len(texts)]) for code in combined.tolist()]
        numbers = np.fromiter(map(self._number, keys), dtype=np.int64, count=len(keys))
        if len(keys) == 1:
            return Run(rows, numbers, np.array([rows.num_rows]))
        rank = np.argsort(numbers)
        place = np.empty(len(rank), dtype=np.uint16 if len(rank) <= 1 << 16 else np.int64)  # 16 bits sort by radix
        place[rank] = np.arange(len(rank))
        ordered = place[codes]
        ends = np.cumsum(np.bincount(ordered, minlength=len(rank)))
        if np.any(ordered[1:] < ordered[:-1]):
            order = np.argsort(ordered, kind="stable")
            rows = rows.take(pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)]))
        return Run(rows, numbers[rank], ends)

    def _number(self, key: Key) -> int:
        number = self._numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
        return number

    def _encode(self, column: Any, index: int) -> tuple[list[str | None], np.ndarray]:
        """The distinct texts of a partition column and the place of each row's text among them."""
        if pa.types.is_timestamp(column.type):
            column = column.view(pa.int64())
        elif pa.types.is_date(column.type):
            column = column.view(pa.int32())
        encoded = column.dictionary_encode()
        indices = encoded.indices.fill_null(_MINUS_ONE) if encoded.indices.null_count else encoded.indices
        raw = np.frombuffer(indices.buffers()[1], dtype=np.int32, count=len(indices) + indices.offset)[indices.offset :]
        place: dict[str | None, int] = {}
        places = [place.setdefault(self._text(v, index), len(place)) for v in encoded.dictionary.to_pylist()]
        places.append(place.setdefault(None, len(place)) if encoded.indices.null_count else 0)
        return list(place), np.array(places, dtype=np.int64)[raw]

    def _text(self, value: Any, index: int) -> str | None:
        cache = self._texts[index]
        try:
            return cache[value]
        except KeyError:
            if len(cache) >= _CACHED_TEXTS:
                cache.clear()
            text = cache[value] = partition_text(value, self._fields[index])
            return text


def _compressed(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes renumbered from 0 without gaps, and the old code of each new one."""
    distinct, renumbered = np.unique(codes, return_inverse=True)
    return renumbered.reshape(-1), distinct


def partition_text(value: Any, f: Field) -> str | None:
    """The log's text of a value of a partition column.

    :raises SchemaMismatchError: for a value that no partition can hold: text with NUL, a year beyond 9999, or an empty
        text where null is not allowed, because the log tells the two apart for nobody.
    """
    try:
        text = partition.serialize(value, f.type)
    except (ValueError, OverflowError) as error:
        raise SchemaMismatchError(
            f"partition column {f.name!r} has a {f.type.type} outside the years 1 to 9999: {value}", columns=[f.name]
        ) from error
    if text is not None and "\0" in text and f.type.type != "binary":
        raise SchemaMismatchError(
            f"partition column {f.name!r} has a value with a NUL character: {text!r}",
            hint="no path can hold it; clean the values or partition by another column",
            columns=[f.name],
        )
    if text is None and value is not None and not f.nullable:
        raise SchemaMismatchError(
            f"partition column {f.name!r} is NOT NULL and has an empty text, which a partition cannot tell from null",
            hint="use a placeholder for empty texts, or partition by another column",
            columns=[f.name],
        )
    return text
