"""Rows to partitions: each batch is cut into one run of rows per combination of partition values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from deltalite.exceptions import SchemaMismatchError
from deltalite.model import partition
from deltalite.model.arrow import scalar
from deltalite.model.types import Field

Key = tuple["str | None", ...]
_MINUS_ONE = scalar(-1, pa.int32())


class Piece(NamedTuple):
    """Rows of one partition: the log's texts of its values, and the rows."""

    key: Key
    rows: pa.RecordBatch


def split(columns: Sequence[pa.Array], fields: Sequence[Field], rows: pa.RecordBatch) -> list[Piece]:
    """Cut a batch by the values of its partition columns; rows keep their order within a partition.

    :param columns: the partition columns of the batch.
    :param fields: their fields, in parallel.
    :param rows: the data columns of the batch.
    """
    if not columns:
        return [Piece((), rows)]
    keys: list[Key] = [()]
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for column, f in zip(columns, fields, strict=True):
        texts, places = _encode(column, f)
        codes, combined = _compressed(codes * len(texts) + places)
        keys = [(*keys[code // len(texts)], texts[code % len(texts)]) for code in combined.tolist()]
    if len(keys) == 1:
        return [Piece(keys[0], rows)]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(keys))).tolist()
    ordered = rows.take(pa.Array.from_buffers(pa.int64(), len(order), [None, pa.py_buffer(order)]))
    starts = [0, *ends[:-1]]
    return [Piece(k, ordered.slice(a, b - a)) for k, a, b in zip(keys, starts, ends, strict=True)]


def _compressed(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes renumbered from 0 without gaps, and the old code of each new one."""
    distinct, renumbered = np.unique(codes, return_inverse=True)
    return renumbered.reshape(-1), distinct


def _encode(column: Any, f: Field) -> tuple[list[str | None], np.ndarray]:
    """The distinct texts of a partition column and the place of each row's text among them."""
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    elif pa.types.is_date(column.type):
        column = column.view(pa.int32())
    encoded = column.dictionary_encode()
    indices = encoded.indices.fill_null(_MINUS_ONE) if encoded.indices.null_count else encoded.indices
    raw = np.frombuffer(indices.buffers()[1], dtype=np.int32, count=len(indices) + indices.offset)[indices.offset :]
    number: dict[str | None, int] = {}
    places = [number.setdefault(_text(v, f), len(number)) for v in encoded.dictionary.to_pylist()]
    places.append(number.setdefault(None, len(number)) if encoded.indices.null_count else 0)
    return list(number), np.array(places, dtype=np.int64)[raw]


def _text(value: Any, f: Field) -> str | None:
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
