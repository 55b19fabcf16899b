"""Typed columns of shredded variants, encoded as variant values a column at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.features.variant import binary as b
from deltalite.model.arrow import array, to_numpy

_EMPTY = array([b""], pa.binary())[0]
t = pa.types


def encode_column(values: Any) -> pa.Array:
    """Every value as a variant, in the smallest form that holds it, as Spark builds it; anything where it is null.

    :raises InvalidTableError: for a type that variants do not have.
    """
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return _texts(values.cast(pa.string()).cast(pa.binary()))
    if kind == pa.binary(16):
        return _fixed(b.UUID, _raw(values, 16))
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind) or t.is_fixed_size_binary(kind):
        return _prefixed(b.BINARY, values.cast(pa.binary()))
    if t.is_boolean(kind):
        truth = to_numpy(values)
        return _ragged(np.where(truth, b.TRUE << 2, b.FALSE << 2).astype(np.uint8)[:, None], np.ones(len(values), int))
    if t.is_signed_integer(kind):
        return _integers(values.cast(pa.int64()))
    if t.is_decimal(kind):
        return _decimals(values.cast(pa.decimal128(kind.precision, kind.scale)), kind.scale)
    if (code := _code(kind)) is not None:
        return _fixed(code, _raw(values, kind.bit_width // 8))
    raise InvalidTableError(f"a shredded variant has a column of type {kind}, which no variant can hold")


def _code(kind: pa.DataType) -> int | None:
    if t.is_timestamp(kind) and kind.unit in ("us", "ns"):
        codes = {"us": (b.TIMESTAMP_NTZ, b.TIMESTAMP), "ns": (b.TIMESTAMP_NTZ_NS, b.TIMESTAMP_NS)}
        return codes[kind.unit][kind.tz is not None]
    return {pa.float32(): b.FLOAT, pa.float64(): b.DOUBLE, pa.date32(): b.DATE, pa.time64("us"): b.TIME}.get(kind)


def _raw(values: pa.Array, width: int) -> np.ndarray:
    """The bytes of fixed-width values, one row each."""
    data = np.frombuffer(values.buffers()[1] or b"", np.uint8)
    return data[values.offset * width : (values.offset + len(values)) * width].reshape(len(values), width)


def _fixed(code: int, raw: np.ndarray) -> pa.Array:
    rows = np.hstack([np.full((len(raw), 1), code << 2, np.uint8), raw])
    return _ragged(rows, np.full(len(raw), rows.shape[1]))


def _integers(values: pa.Array) -> pa.Array:
    raw = _raw(values, 8)
    numbers = raw.view("<i8").reshape(-1) if len(raw) else np.zeros(0, np.int64)
    level = np.zeros(len(numbers), np.int64)
    for bits in (8, 16, 32):
        limit = 1 << (bits - 1)
        level += (numbers < -limit) | (numbers >= limit)
    heads = (np.array([b.INT8, b.INT16, b.INT32, b.INT64]) << 2).astype(np.uint8)[level]
    return _ragged(np.hstack([heads[:, None], raw]), 1 + (1 << level))


def _decimals(values: pa.Array, scale: int) -> pa.Array:
    raw = _raw(values, 16)
    halves = raw.view("<i8").reshape(-1, 2) if len(raw) else np.zeros((0, 2), np.int64)
    low, high = halves[:, 0], halves[:, 1]
    narrow = high == low >> 63
    level = np.full(len(raw), 2)
    level[narrow & (np.abs(low) < 10**18) & (scale <= 18)] = 1
    level[narrow & (np.abs(low) < 10**9) & (scale <= 9)] = 0
    heads = (np.array([b.DECIMAL4, b.DECIMAL8, b.DECIMAL16]) << 2).astype(np.uint8)[level]
    rows = np.hstack([heads[:, None], np.full((len(raw), 1), scale, np.uint8), raw])
    return _ragged(rows, 2 + (4 << level))


def _texts(data: pa.Array) -> pa.Array:
    sizes = to_numpy(pc.fill_null(pc.binary_length(data), array([0], pa.int32())[0]))
    short = sizes < 64
    heads = np.where(short, sizes << 2 | b.SHORT_STRING, b.STRING << 2).astype(np.uint8)
    rows = np.hstack([heads[:, None], np.ascontiguousarray(sizes, "<i4").view(np.uint8).reshape(-1, 4)])
    return pc.binary_join_element_wise(_ragged(rows, np.where(short, 1, 5)), data, _EMPTY)


def _prefixed(code: int, data: pa.Array) -> pa.Array:
    sizes = pc.fill_null(pc.binary_length(data), array([0], pa.int32())[0])
    return pc.binary_join_element_wise(_fixed(code, _raw(sizes, 4)), data, _EMPTY)


def _ragged(rows: np.ndarray, lengths: np.ndarray) -> pa.Array:
    """Binary values of the first ``lengths`` bytes of every row."""
    data = rows[np.arange(rows.shape[1]) < lengths[:, None]]
    offsets = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(
        pa.binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    )
