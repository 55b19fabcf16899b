"""Shredded variants put together again: parts of the values lie in typed columns beside the binary rest.

Parquet's "Variant Shredding". A shredded group is a struct of ``value`` and ``typed_value``; ``typed_value`` is a plain
column, a list of groups, or a struct of groups, one for each field of an object. Everything happens a column at a
time; only objects that are partly shredded are merged row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.features.variant import binary as b
from deltalite.features.variant.scalars import encode_column
from deltalite.model.arrow import array, to_numpy

_BINARY = pa.binary()
_EMPTY = array([b""], _BINARY)[0]
_NULL_VALUE = array([b.NULL_VALUE], _BINARY)[0]


def rebuild(group: pa.StructArray) -> pa.StructArray:
    """A column of variants as structs of ``metadata`` and ``value``, whatever was shredded.

    :raises InvalidTableError: when a shredded part contradicts its metadata or is of a type that variants lack.
    """
    metadata = _member(group, "metadata")
    if metadata is None:
        raise InvalidTableError("a column of variants has no metadata")
    values = _values(group, metadata.cast(_BINARY))
    if values.null_count:  # a variant that is there but says nothing is the variant null
        values = pc.if_else(pc.and_(group.is_valid(), values.is_null()), _NULL_VALUE, values)
    return pa.StructArray.from_arrays(
        [metadata.cast(_BINARY), values],
        fields=[pa.field("metadata", _BINARY, False), pa.field("value", _BINARY, False)],
        mask=group.is_null() if group.null_count else None,
    )


def _member(group: Any, name: str) -> Any:
    """A member of a struct, null where the struct is."""
    index = group.type.get_field_index(name)
    return None if index < 0 else pc.struct_field(group, [index])


def _values(group: Any, metadata: pa.Array) -> pa.Array:
    """The binary value of every row, null where there is none."""
    value, typed = _member(group, "value"), _member(group, "typed_value")
    value = pa.nulls(len(group), _BINARY) if value is None else value.cast(_BINARY)
    if typed is None or typed.null_count == len(typed):
        return value
    if pa.types.is_struct(typed.type):
        return _objects(typed, value, metadata)
    if pa.types.is_list(typed.type) or pa.types.is_large_list(typed.type):
        shredded = _arrays(typed, metadata)
    else:
        shredded = encode_column(typed)
    return pc.if_else(typed.is_valid(), shredded, value)


# -- arrays --------------------------------------------------------------------------------------------------------


def _arrays(lists: Any, metadata: pa.Array) -> pa.Array:
    lists = lists.cast(pa.list_(lists.type.value_field))
    offsets = np.frombuffer(lists.buffers()[1], np.int32)[lists.offset : lists.offset + len(lists) + 1]
    rows = np.repeat(np.arange(len(lists)), np.diff(offsets))
    inner = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
    elements = _values(inner, metadata.take(_indices(rows)))
    elements = pc.fill_null(elements, _NULL_VALUE)
    ends = np.concatenate([[0], np.cumsum(_lengths(elements))])
    data = b"".join(elements.to_pylist())
    found = []
    for first, last in zip((offsets[:-1] - offsets[0]).tolist(), (offsets[1:] - offsets[0]).tolist(), strict=True):
        places = ends[first : last + 1] - ends[first]
        size = b.size_for(int(places[-1]))
        found.append(
            b.array_start(last - first, size) + _little_endian(places, size).tobytes() + data[ends[first] : ends[last]]
        )
    return array(found, _BINARY)


# -- objects -------------------------------------------------------------------------------------------------------


def _objects(typed: Any, value: pa.Array, metadata: pa.Array) -> pa.Array:
    """Objects of shredded fields; rows whose ``typed_value`` is null keep their ``value``."""
    names = sorted((typed.type.field(i).name for i in range(typed.type.num_fields)), key=str.encode)
    children = {name: _values(_member(typed, name), metadata) for name in names}
    whole = pc.and_(typed.is_valid(), value.is_null())
    partly = np.flatnonzero(to_numpy(pc.and_(typed.is_valid(), value.is_valid())))
    found = _whole_objects(children, metadata, to_numpy(whole))
    found = pc.if_else(whole, found, value)
    if len(partly):
        found = _merged(found, partly, children, value, metadata)
    return found


def _whole_objects(children: Mapping[str, pa.Array], metadata: pa.Array, chosen: np.ndarray) -> pa.Array:
    """Objects made of the given fields only. Rows with the same fields under the same ids are built together."""
    n = len(metadata)
    present = np.array([to_numpy(child.is_valid()) for child in children.values()]).reshape(len(children), n)
    sizes = np.array([_lengths(child) for child in children.values()]).reshape(len(children), n)
    widths = np.searchsorted([256, 1 << 16, 1 << 24], sizes.sum(axis=0), "right")
    encoded = metadata.dictionary_encode()
    codes = to_numpy(pc.fill_null(encoded.indices, array([0], pa.int32())[0])).astype(np.int64)
    keys = np.column_stack([codes, widths, chosen, present.T])
    shapes, group_of = np.unique(keys, axis=0, return_inverse=True)
    parts, order = [], []
    for at, shape in enumerate(shapes):
        rows = np.flatnonzero(group_of.reshape(-1) == at)
        order.append(rows)
        if not shape[2]:
            parts.append(pa.nulls(len(rows), _BINARY))
            continue
        names = [name for name, is_there in zip(children, shape[3:], strict=True) if is_there]
        ids = _ids(encoded.dictionary[int(shape[0])].as_py(), tuple(names))
        values = [children[name].take(_indices(rows)) for name in names]
        parts.append(_same_shape(ids, values, int(shape[1]) + 1, len(rows)))
    back = np.empty(n, np.int64)
    back[np.concatenate(order) if order else []] = np.arange(n)
    return pa.concat_arrays(parts).take(_indices(back)) if parts else pa.nulls(0, _BINARY)


def _same_shape(ids: Sequence[int], values: Sequence[pa.Array], offset_size: int, rows: int) -> pa.Array:
    """Objects that have the same fields and the same width of offsets."""
    if not values:
        return array([b.object_start(ids, offset_size) + bytes(offset_size)] * rows, _BINARY)
    start = array([b.object_start(ids, offset_size)], _BINARY)[0]
    lengths = np.array([_lengths(value) for value in values])
    places = np.vstack([np.zeros(lengths.shape[1], np.int64), np.cumsum(lengths, axis=0)]).T
    raw = _little_endian(places, offset_size).reshape(len(places), -1)
    offsets = pa.Array.from_buffers(
        pa.binary(raw.shape[1]), len(raw), [None, pa.py_buffer(np.ascontiguousarray(raw))]
    ).cast(_BINARY)
    return pc.binary_join_element_wise(start, offsets, *values, _EMPTY)


def _merged(
    found: pa.Array, rows: np.ndarray, children: Mapping[str, pa.Array], value: pa.Array, metadata: pa.Array
) -> pa.Array:
    """The rows whose objects have fields in both places."""
    results = found.to_pylist()
    for row in rows.tolist():
        rest, text = value[row].as_py(), metadata[row].as_py()
        if rest[0] & 3 != b.OBJECT:
            raise InvalidTableError("a shredded variant has fields beside a value that is no object")
        names = _names(text)
        fields = {names[i]: rest[at : at + b.length_at(rest, at)] for i, at in b.fields_of(rest)}
        for name, child in children.items():
            if (shredded := child[row].as_py()) is not None:
                fields[name] = shredded
        ordered = sorted(fields, key=str.encode)
        ids = _ids(text, tuple(ordered))
        results[row] = b.encode_object([(i, fields[name]) for i, name in zip(ids, ordered, strict=True)])
    return array(results, _BINARY)


@lru_cache(maxsize=1024)
def _names(metadata: bytes) -> list[str]:
    return b.names_of(metadata)


@lru_cache(maxsize=1024)
def _ids(metadata: bytes, names: tuple[str, ...]) -> tuple[int, ...]:
    known = {name: i for i, name in enumerate(_names(metadata))}
    try:
        return tuple(known[name] for name in names)
    except KeyError as error:
        raise InvalidTableError(f"the metadata of a shredded variant lacks its field {error}") from None


# -- small tools ---------------------------------------------------------------------------------------------------


def _lengths(values: pa.Array) -> np.ndarray:
    """Bytes of every value; 0 for null."""
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    lengths = np.diff(offsets).astype(np.int64)
    return lengths * to_numpy(values.is_valid()) if values.null_count else lengths


def _little_endian(numbers: np.ndarray, size: int) -> np.ndarray:
    """The low bytes of numbers, along a new last axis."""
    return np.ascontiguousarray(numbers, "<i8").view(np.uint8).reshape(*numbers.shape, 8)[..., :size]


def _indices(rows: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows, np.int64))])
