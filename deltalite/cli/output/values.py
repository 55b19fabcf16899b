"""Columns of any Arrow type as columns of text: as JSON, and as people read it.

What can be done by kernels is; nested values and binary go by way of Python, a value at a time.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.cli.output.shapes import escape_json
from deltalite.cli.output.text import UNSAFE, escape
from deltalite.model.arrow import array, scalar

_RE2_UNSAFE = "[" + "".join(c if c in "-" else f"\\x{{{ord(c):x}}}" for c in UNSAFE) + "]"
_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def text_column(column: Any) -> pa.Array:
    """The values as unquoted text; null stays null. Times are RFC 3339, binary is base64, nested values are JSON."""
    column = _simplified(column)
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return array([None if t is None else _unquoted(t) for t in _json_values(column)], pa.string())
    if pa.types.is_floating(kind):
        return _floats(column)
    if pa.types.is_timestamp(kind):
        return _timestamps(column)
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    try:
        return pc.cast(column, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return array([None if v is None else str(v) for v in column.to_pylist()], pa.string())


def json_column(column: Any) -> pa.Array:
    """The values as JSON, exact for every number; null is ``null``. NaN and infinities are strings, as in Spark."""
    column = _simplified(column)
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        found = array(list(_json_values(column)), pa.string())
    else:
        texts = text_column(column)
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
            found = _plain_decimals(texts) if pa.types.is_decimal(kind) else texts
        elif pa.types.is_floating(kind):
            found = _quote(texts, only=pc.match_substring_regex(texts, "[NI]"))
        else:
            found = _quote(_json_escaped(texts))
    return pc.fill_null(found, _text("null"))


def safe_column(texts: pa.Array) -> pa.Array:
    """Text with control characters shown; untouched where there are none."""
    if not _any(pc.match_substring_regex(texts, _RE2_UNSAFE)):
        return texts
    return array([None if t is None else escape(t) for t in texts.to_pylist()], pa.string())


def joined(parts: list[Any], length: int) -> pa.Array:
    """Text columns and constants side by side, as one column."""
    spread = [pa.repeat(_text(p), length) if isinstance(p, str) else p for p in parts]
    return pc.binary_join_element_wise(*spread, _text(""), null_handling="replace", null_replacement="")


def _simplified(column: Any) -> pa.Array:
    """A single array of a type that the functions here know, without dictionaries, views or extensions."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ExtensionArray) and not isinstance(column.type, pa.UuidType):
        return _simplified(column.storage)
    if pa.types.is_dictionary(column.type):
        return _simplified(column.dictionary_decode())
    if isinstance(column, pa.ExtensionArray):
        return array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
    for narrow, wide in (
        (pa.string(), (pa.types.is_large_string, pa.types.is_string_view)),
        (pa.binary(), (pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)),
    ):
        if any(test(column.type) for test in wide):
            return pc.cast(column, narrow)
    return column


def _json_values(column: pa.Array) -> Iterator[str | None]:
    """JSON text of binary and nested values, one by one."""
    kind = column.type
    if pa.types.is_binary(kind):
        return (None if v is None else f'"{base64.b64encode(v).decode()}"' for v in column.to_pylist())
    if pa.types.is_struct(kind):
        return _json_structs(column)
    if pa.types.is_map(kind):
        keys = _keys(column.keys)
        items = json_column(column.items).to_pylist()
        return _json_ranges(column, [f"{k}:{v}" for k, v in zip(keys, items, strict=True)], "{}")
    if pa.types.is_fixed_size_list(kind) or not hasattr(column, "offsets"):
        column = pc.cast(column, pa.list_(kind.value_field))
    return _json_ranges(column, json_column(column.values).to_pylist(), "[]")


def _json_structs(column: pa.StructArray) -> Iterator[str | None]:
    names = [json.dumps(f.name, ensure_ascii=False) for f in column.type]
    children = [json_column(child).to_pylist() for child in column.flatten()]
    valid = column.is_valid().to_pylist()
    for i, there in enumerate(valid):
        parts = (f"{n}:{child[i]}" for n, child in zip(names, children, strict=True))
        yield "{" + ",".join(parts) + "}" if there else None


def _json_ranges(column: Any, parts: list[str], brackets: str) -> Iterator[str | None]:
    offsets = _offsets(column)
    for i, there in enumerate(column.is_valid().to_pylist()):
        yield brackets[0] + ",".join(parts[offsets[i] : offsets[i + 1]]) + brackets[1] if there else None


def _offsets(column: Any) -> tuple[int, ...]:
    """Where each list begins in its child, as plain integers."""
    offsets = column.offsets
    code, width = ("q", 8) if pa.types.is_int64(offsets.type) else ("i", 4)
    return struct.unpack_from(f"<{len(offsets)}{code}", offsets.buffers()[1], offsets.offset * width)


def _keys(keys: Any) -> list[str]:
    """Map keys as the names of JSON members."""
    return [escape_json(json.dumps(t, ensure_ascii=False)) for t in text_column(keys).to_pylist()]


def _unquoted(document: str) -> str:
    return document[1:-1] if document.startswith('"') else document


def _floats(column: pa.Array) -> pa.Array:
    """Shortest digits that read back the same; whole numbers keep their ``.0``."""
    texts = pc.cast(column, pa.string())
    whole = pc.match_substring_regex(texts, r"^-?\d+$")
    if _any(whole):
        texts = pc.if_else(whole, joined([texts, ".0"], len(texts)), texts)
    if _any(pc.match_substring_regex(texts, "^-?[ni]")):
        texts = array([None if t is None else _NON_FINITE.get(t, t) for t in texts.to_pylist()], pa.string())
    return texts


def _timestamps(column: Any) -> pa.Array:
    """RFC 3339; with ``Z`` where the type has a zone, because the values then are UTC."""
    naive = column.view(pa.timestamp(column.type.unit))
    texts = pc.replace_substring(pc.cast(naive, pa.string()), " ", "T", max_replacements=1)
    texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    texts = pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$", r"\1")
    if column.type.tz is None:
        return texts
    return pc.if_else(column.is_valid(), joined([texts, "Z"], len(texts)), pa.nulls(len(texts), pa.string()))


def _plain_decimals(texts: pa.Array) -> pa.Array:
    """Decimals as JSON numbers: those that Arrow writes with an exponent are numbers already."""
    return pc.replace_substring_regex(texts, r"E\+?", "e")


def _quote(texts: pa.Array, only: Any = None) -> pa.Array:
    if only is not None and not _any(only):
        return texts
    quoted = joined(['"', texts, '"'], len(texts))
    keep = pc.is_valid(texts) if only is None else only
    return pc.if_else(keep, quoted, texts)


def _json_escaped(texts: pa.Array) -> pa.Array:
    """The inside of JSON strings."""
    if not _any(pc.match_substring_regex(texts, _RE2_UNSAFE[:-1] + r'"\\]')):
        return texts
    dumps = json.encoder.encode_basestring
    return array([None if t is None else escape_json(dumps(t))[1:-1] for t in texts.to_pylist()], pa.string())


def _any(mask: Any) -> bool:
    return pc.any(mask).as_py() is True


def _text(value: str) -> pa.Scalar:
    return scalar(value, pa.string())
