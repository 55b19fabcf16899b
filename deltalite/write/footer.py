"""Row groups that were encoded apart, put together into one Parquet file.

pyarrow encodes the row groups of a file one after the other. Encoded each into a file of its own, they are encoded in
parallel, and their bytes can follow one another in one file: only the offsets in the footer change. This module reads
and writes footers (parquet.thrift, ``FileMetaData``) in Thrift's compact protocol, knowing no more than those offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

MAGIC = b"PAR1"
_BOOL_TRUE, _BOOL_FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT, _STOP = 1, 2, 3, 7, 8, 9, 10, 12, 0
_INTEGERS = (4, 5, 6)

# ids of fields in parquet.thrift
_FILE_ROWS, _FILE_GROUPS = 3, 4
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_CHUNK_OFFSET, _CHUNK_META = 2, 3
_META_OFFSETS = (9, 10, 11, 14)  # data page, index page, dictionary page, Bloom filter


class _List(NamedTuple):
    kind: int
    items: list[Any]


Struct = dict[int, tuple[int, Any]]
"""A Thrift struct: field id to type and value."""


def footer_start(file: memoryview) -> int:
    """Where the footer of a Parquet file begins."""
    return len(file) - 8 - int.from_bytes(file[-8:-4], "little")


def file_end(footers: Sequence[bytes], starts: Sequence[int]) -> bytes:
    """The end of a file of these row groups, from its footer on. With a single one, it is the end of its own file.

    :param footers: the Thrift footers of files with one row group each and the same schema.
    :param starts: where the row group of each begins in the new file; it began after the magic in its own.
    """
    footer = footers[0] if len(footers) == 1 else _merged(footers, starts)
    return footer + len(footer).to_bytes(4, "little") + MAGIC


def _merged(footers: Sequence[bytes], starts: Sequence[int]) -> bytes:
    result = _Reader(footers[0]).struct()
    groups = []
    rows = 0
    for ordinal, (footer, start) in enumerate(zip(footers, starts, strict=True)):
        part = _Reader(footer).struct()
        (group,) = part[_FILE_GROUPS][1].items
        _shift_group(group, start - len(MAGIC), ordinal)
        groups.append(group)
        rows += part[_FILE_ROWS][1]
    result[_FILE_ROWS] = (result[_FILE_ROWS][0], rows)
    result[_FILE_GROUPS] = (_LIST, _List(_STRUCT, groups))
    out = bytearray()
    _write_struct(out, result)
    return bytes(out)


def _shift_group(group: Struct, distance: int, ordinal: int) -> None:
    _shift(group, _GROUP_OFFSET, distance)
    if _GROUP_ORDINAL in group:
        group[_GROUP_ORDINAL] = (group[_GROUP_ORDINAL][0], ordinal)
    for chunk in group[_GROUP_COLUMNS][1].items:
        _shift(chunk, _CHUNK_OFFSET, distance)
        for field in _META_OFFSETS:
            _shift(chunk[_CHUNK_META][1], field, distance)


def _shift(fields: Struct, field: int, distance: int) -> None:
    """Move an offset. Zero and absence say that there is none."""
    kind, value = fields.get(field, (0, 0))
    if value:
        fields[field] = (kind, value + distance)


class _Reader:
    """Thrift's compact protocol, read into structs."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> Struct:
        fields: Struct = {}
        field = 0
        while head := self._byte():
            kind = head & 0x0F
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            fields[field] = (kind, kind == _BOOL_TRUE if kind in (_BOOL_TRUE, _BOOL_FALSE) else self._value(kind))
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.struct()
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 != 15 else self._varint()
            return _List(head & 0x0F, [self._value(head & 0x0F) for _ in range(size)])
        if kind in (_BOOL_TRUE, _BOOL_FALSE, _BYTE):
            return self._bytes(1)
        if kind == _DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        raise ValueError(f"no footer of Parquet: Thrift type {kind}")

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _write_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for field, (kind, value) in fields.items():
        if kind in (_BOOL_TRUE, _BOOL_FALSE):
            kind = _BOOL_TRUE if value else _BOOL_FALSE
        if 0 < field - last <= 15:
            out.append((field - last) << 4 | kind)
        else:
            out.append(kind)
            _write_zigzag(out, field)
        if kind not in (_BOOL_TRUE, _BOOL_FALSE):
            _write_value(out, kind, value)
        last = field
    out.append(_STOP)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _write_zigzag(out, value)
    elif kind == _BINARY:
        _write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        _write_struct(out, value)
    elif kind in (_LIST, _SET):
        size = len(value.items)
        out.append((min(size, 15) << 4) | value.kind)
        if size >= 15:
            _write_varint(out, size)
        for item in value.items:
            _write_value(out, value.kind, item)
    elif kind == _DOUBLE:
        out += struct.pack("<d", value)
    else:
        out += value


def _write_varint(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_zigzag(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
