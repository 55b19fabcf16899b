"""128 bits that stand for a row: equal rows have equal ones, other rows practically never do.

Equal means what ``<=>`` says: null equals null, NaN equals NaN, 0.0 equals -0.0. The order of a map's entries does not
count. Computed by numpy over Arrow's buffers, two mixing functions side by side, so that comparing versions holds 16
bytes of each row instead of the row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from deltalite.model.arrow import to_numpy

_SEEDS = np.array([[0x9E3779B97F4A7C15], [0xC2B2AE3D27D4EB4F]], np.uint64)
_SPREAD = np.array([[0xD6E8FEB86659FD93], [0xA0761D6478BD642F]], np.uint64)
_OFFSETS = np.array([[0x8EBC6AF09C88C6E3], [0x589965CC75374CC3]], np.uint64)
_FACTORS = np.array([[0xFF51AFD7ED558CCD], [0x9FB21C651E98DF25]], np.uint64)
_NULL = np.array([[0x27D4EB2F165667C5], [0x165667B19E3779F9]], np.uint64)
_SHIFT, _WORD = np.uint64(32), 8
_LONG_WORDS = 32
"""From how many words on a value is digested by itself; up to there all values of a batch go word by word together."""

Fingerprints: TypeAlias = np.ndarray
"""Two rows of uint64, one column per row of data."""


def fingerprints(batch: pa.RecordBatch | pa.Table) -> Fingerprints:
    """One fingerprint per row, of all columns in order."""
    seeds = np.repeat(_SEEDS, batch.num_rows, axis=1)
    for column in batch.columns:
        parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        seeds = _mixed(seeds, joined(_values(part) for part in parts))
    return seeds


def joined(parts: Iterable[Fingerprints]) -> Fingerprints:
    """The fingerprints of several batches one after the other."""
    found = list(parts)
    return np.concatenate(found, axis=1) if found else np.zeros((2, 0), np.uint64)


def _mixed(seeds: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Words folded into seeds; for a given seed no two words give the same."""
    mixed = ((seeds ^ (words * _SPREAD)) + _OFFSETS) * _FACTORS
    mixed ^= mixed >> _SHIFT
    mixed *= _FACTORS[::-1]
    mixed ^= mixed >> _SHIFT
    return mixed


def _values(values: Any) -> Fingerprints:
    if not len(values):
        return np.zeros((2, 0), np.uint64)
    found = _valid_values(values)
    if values.null_count:
        found = np.where(to_numpy(values.is_valid()), found, _NULL)
    return found


def _valid_values(values: Any) -> Fingerprints:
    kind, t = values.type, pa.types
    if isinstance(values, pa.ExtensionArray):
        return _valid_values(values.storage)
    if t.is_null(kind):
        return np.repeat(_NULL, len(values), axis=1)
    if t.is_dictionary(kind):
        return _values(values.dictionary_decode())
    if t.is_struct(kind):
        return fingerprints(pa.RecordBatch.from_arrays(values.flatten(), [str(i) for i in range(kind.num_fields)]))
    if t.is_map(kind):
        return _of_map(values)
    if t.is_list(kind) or t.is_large_list(kind):
        return _of_lists(values)
    if t.is_string(kind) or t.is_binary(kind) or t.is_large_string(kind) or t.is_large_binary(kind):
        return _of_bytes(values)
    if t.is_decimal(kind):
        return _of_decimals(values)
    numbers = to_numpy(values)
    if t.is_floating(kind):
        numbers = numbers.astype(np.float64) + 0.0  # -0.0 becomes 0.0
        numbers = np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)
    words = numbers.astype(np.int64).view(np.uint64)
    return _mixed(_SEEDS, np.stack([words, words]))


def _of_decimals(values: Any) -> Fingerprints:
    halves = np.frombuffer(values.buffers()[1] or b"", np.uint64).reshape(-1, 2)
    halves = halves[values.offset : values.offset + len(values)]
    found = np.repeat(_SEEDS, len(values), axis=1)
    for half in halves.T:
        found = _mixed(found, np.stack([half, half]))
    return found


def _of_bytes(values: Any) -> Fingerprints:
    wide = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    _, offset_buffer, data = values.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64 if wide else np.int32)
    offsets = offsets[values.offset : values.offset + len(values) + 1].astype(np.int64)
    lengths = np.diff(offsets)
    padded = -(-lengths // _WORD)  # words of each value, the last filled up with zeros
    starts = np.concatenate([[0], np.cumsum(padded)])
    text = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
    filled = np.zeros(int(starts[-1]) * _WORD, np.uint8)
    shift = np.repeat(starts[:-1] * _WORD - (offsets[:-1] - offsets[0]), lengths)
    filled[np.arange(len(text)) + shift] = text
    words = filled.view(np.uint64)
    return _folded(np.stack([words, words]), starts, lengths)


def _of_lists(values: Any) -> Fingerprints:
    offsets = to_numpy(values.offsets).astype(np.int64)
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return _folded(_values(values.values.slice(first, count)), offsets - first, np.diff(offsets))


def _of_map(values: Any) -> Fingerprints:
    """The sum over the entries, whose order has no meaning."""
    offsets = to_numpy(values.offsets).astype(np.int64)
    first, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    entries = [values.keys.slice(first, count), values.items.slice(first, count)]
    each = fingerprints(pa.RecordBatch.from_arrays(entries, ["key", "value"]))
    sums = np.concatenate([np.zeros((2, 1), np.uint64), np.cumsum(each, axis=1, dtype=np.uint64)], axis=1)
    offsets -= first
    sizes = np.diff(offsets).astype(np.uint64)
    return _mixed(sums[:, offsets[1:]] - sums[:, offsets[:-1]], np.stack([sizes, sizes]))


def _folded(words: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Fingerprints:
    """For each value its words, folded in order.

    :param words: two lanes of the words of all values one after the other.
    :param starts: where the words of each value begin, and where the last ones end.
    :param lengths: what tells values apart that are filled up to the same words.
    """
    counts = np.diff(starts)
    sizes = lengths.astype(np.uint64)
    found = _mixed(np.repeat(_SEEDS, len(counts), axis=1), np.stack([sizes, sizes]))
    for at in np.flatnonzero(counts > _LONG_WORDS):
        found[:, at] = _digest(words[:, starts[at] : starts[at + 1]])
    left = np.flatnonzero((counts > 0) & (counts <= _LONG_WORDS))
    for step in range(_LONG_WORDS):
        left = left[counts[left] > step]
        if not len(left):
            break
        found[:, left] = _mixed(found[:, left], words[:, starts[left] + step])
    return found


def _digest(words: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.blake2b(words.tobytes(), digest_size=16).digest(), np.uint64)
