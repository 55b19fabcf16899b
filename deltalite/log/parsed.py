"""``stats_parsed`` and ``partitionValues_parsed``: the columns beside the text that checkpoints may hold.

PROTOCOL.md, "Checkpoints". Names are physical. Statistics become columns in ``model.stats``; here they become text
again, for checkpoints that keep them as columns only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.model.arrow import array, type_from_arrow, type_to_arrow
from deltalite.model.partition import parse_column
from deltalite.model.types import DataType

COLUMNS = ("stats_parsed", "partitionValues_parsed")

_TEXT = pa.string()
_EMPTY, _OPEN, _CLOSE, _COMMA, _QUOTE = (array([text], _TEXT)[0] for text in ("", "{", "}", ",", '"'))


# -- partition values --------------------------------------------------------------------------------------------


def partition_type(fields: Sequence[tuple[str, DataType]]) -> pa.StructType:
    """The type of ``partitionValues_parsed``, from physical names and types."""
    return pa.struct([pa.field(name, type_to_arrow(kind)) for name, kind in fields])


def parse_partition_values(values: pa.ChunkedArray, kind: pa.StructType) -> pa.ChunkedArray:
    """A column of string maps as typed structs."""
    chunks = []
    for chunk in values.chunks:
        children = [
            parse_column(pc.map_lookup(chunk, array([f.name], _TEXT)[0], "first"), type_from_arrow(f.type)).cast(f.type)
            for f in kind
        ]
        missing = chunk.is_null() if chunk.null_count else None
        chunks.append(pa.StructArray.from_arrays(children, fields=list(kind), mask=missing))
    return pa.chunked_array(chunks, kind)


# -- statistics --------------------------------------------------------------------------------------------------


def stats_text(structs: pa.ChunkedArray) -> pa.ChunkedArray:
    """Statistics in columns as the JSON text of commits; what is null is left out."""
    return pa.chunked_array([_json(chunk) for chunk in structs.chunks], _TEXT)


def _json(values: pa.Array) -> pa.StringArray:
    """JSON text of every value, null where there is none to write."""
    kind = values.type
    if pa.types.is_struct(kind):
        return _json_object(values)
    if pa.types.is_string(kind):
        return _json_string(values)
    if pa.types.is_boolean(kind):
        return values.cast(_TEXT)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_finite(values), values.cast(_TEXT), pa.nulls(len(values), _TEXT))
    if pa.types.is_date(kind):
        return _quoted(values.cast(_TEXT))
    if pa.types.is_timestamp(kind):
        local = pc.replace_substring(values.cast(pa.timestamp("us")).cast(_TEXT), " ", "T")
        local = pc.replace_substring_regex(local, r"(\.\d{3})000$", r"\1")
        return _quoted(pc.binary_join_element_wise(local, array(["Z"], _TEXT)[0], _EMPTY) if kind.tz else local)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return values.cast(_TEXT)
    return pa.nulls(len(values), _TEXT)


def _json_object(values: pa.StructArray) -> pa.StringArray:
    text = array([""] * len(values), _TEXT)
    for f in values.type:
        name = array([json.dumps(f.name, ensure_ascii=False) + ":"], _TEXT)[0]
        member = pc.binary_join_element_wise(name, _json(values.field(f.name)), _COMMA, _EMPTY)
        text = pc.binary_join_element_wise(text, pc.fill_null(member, _EMPTY), _EMPTY)
    text = pc.binary_join_element_wise(_OPEN, pc.utf8_rtrim(text, ","), _CLOSE, _EMPTY)
    return pc.if_else(values.is_valid(), text, pa.nulls(len(values), _TEXT)) if values.null_count else text


def _json_string(values: pa.StringArray) -> pa.StringArray:
    if pc.any(pc.match_substring_regex(values, "[\\x00-\\x1f]")).as_py():
        texts = values.to_pylist()
        return array([None if t is None else json.dumps(t, ensure_ascii=False) for t in texts], _TEXT)
    return _quoted(pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"'))


def _quoted(values: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(_QUOTE, values, _QUOTE, _EMPTY)
