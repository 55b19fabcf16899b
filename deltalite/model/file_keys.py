"""The keys of logical files as a column: the decoded path, and the deletion vector's id (PROTOCOL.md, "Action
Reconciliation").

Writers differ in which characters of a path they escape, so paths are compared percent-decoded (trap 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.model.arrow import array

KEY_COLUMNS = ("path", "deletionVector")

_BYTES = pa.binary()
_SEPARATOR, _EMPTY, _AT = (array([text], _BYTES)[0] for text in (b"\0", b"", b"@"))
_DIGITS = np.full(256, 255, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    _DIGITS[np.frombuffer(_digits, np.uint8)] = np.arange(16)


def file_keys(table: pa.Table) -> pa.ChunkedArray:
    """The key of every row, as bytes: its decoded path, and behind a zero byte its deletion vector's id if it has one.

    :param table: with the columns ``path`` and ``deletionVector``.
    """
    paths, vectors = table.column("path"), table.column("deletionVector")
    keys = [_canonical(chunk) for chunk in paths.chunks]
    if vectors.null_count < len(vectors):
        ids = pa.chunked_array([_ids(chunk) for chunk in vectors.chunks], _BYTES)
        keys = [_keyed(key, ids.slice(start, len(key))) for start, key in zip(_starts(keys), keys, strict=True)]
    return pa.chunked_array(keys, _BYTES)


def chained(*columns: pa.ChunkedArray) -> pa.ChunkedArray:
    """Columns of keys one below the other."""
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], _BYTES)


def _starts(parts: Sequence[pa.Array]) -> list[int]:
    return [0, *np.cumsum([len(part) for part in parts]).tolist()][: len(parts)]


def _keyed(paths: pa.Array, ids: pa.ChunkedArray) -> pa.Array:
    joined = ids.chunk(0) if ids.num_chunks == 1 else pa.concat_arrays(ids.chunks or [pa.nulls(0, _BYTES)])
    keyed = pc.binary_join_element_wise(paths, joined, _SEPARATOR)
    return pc.if_else(joined.is_valid(), keyed, paths)


def _ids(vectors: pa.StructArray) -> pa.Array:
    """The ids of deletion vectors; null for none, also where a writer left an empty struct."""
    storage, place, offset = (vectors.field(name) for name in ("storageType", "pathOrInlineDv", "offset"))
    at = pc.binary_join_element_wise(_EMPTY, offset.cast(pa.string()).cast(_BYTES), _AT)
    ids = pc.binary_join_element_wise(storage.cast(_BYTES), place.cast(_BYTES), pc.fill_null(at, _EMPTY), _EMPTY)
    return pc.if_else(vectors.is_valid(), ids, pa.nulls(len(ids), _BYTES))


def _canonical(paths: pa.StringArray) -> pa.Array:
    """One spelling for all URIs of a file: percent-decoded once, local absolute paths without their scheme."""
    found = _percent_decoded(paths.cast(_BYTES))
    if pc.any(pc.starts_with(found, "file:/")).as_py():
        found = pc.replace_substring_regex(found, "^file:/+", "/")
    return found


def _percent_decoded(values: pa.BinaryArray) -> pa.BinaryArray:
    """All values decoded at once: the byte of every escape takes its first place, the other two drop out."""
    _, offset_buffer, data_buffer = values.buffers()
    if not len(values) or data_buffer is None:
        return values
    offsets = np.frombuffer(offset_buffer, np.int32)[values.offset : values.offset + len(values) + 1]
    first = int(offsets[0])
    data = np.frombuffer(data_buffer, np.uint8)[first : offsets[-1]]
    at = np.flatnonzero(data == ord("%"))
    if not len(at):
        return values
    ends = offsets[np.searchsorted(offsets, at + first, side="right")] - first
    at = at[at + 2 < ends]
    high, low = _DIGITS[data[at + 1]], _DIGITS[data[at + 2]]
    is_escape = (high < 16) & (low < 16)
    at = at[is_escape]
    decoded, kept = data.copy(), np.ones(len(data), bool)
    decoded[at] = high[is_escape] * 16 + low[is_escape]
    kept[at + 1] = kept[at + 2] = False
    ends = (offsets - first - 2 * np.searchsorted(at, offsets - first)).astype(np.int32)
    validity = values.is_valid().buffers()[1] if values.null_count else None
    buffers = [validity, pa.py_buffer(ends.tobytes()), pa.py_buffer(decoded[kept].tobytes())]
    return pa.Array.from_buffers(_BYTES, len(values), buffers)
