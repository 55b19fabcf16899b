"""The binary encoding of variants: a value, and the metadata with the names of its objects' fields.

Parquet's "Variant Binary Encoding". A value begins with a byte whose two low bits are its basic type: primitive, short
string, object or array.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import itertools
import json
import math
import struct
import uuid
from collections.abc import Iterator, Sequence

from deltalite.exceptions import InvalidTableError

PRIMITIVE, SHORT_STRING, OBJECT, ARRAY = range(4)
NULL, TRUE, FALSE, INT8, INT16, INT32, INT64, DOUBLE, DECIMAL4, DECIMAL8, DECIMAL16 = range(11)
DATE, TIMESTAMP, TIMESTAMP_NTZ, FLOAT, BINARY, STRING, TIME, TIMESTAMP_NS, TIMESTAMP_NTZ_NS, UUID = range(11, 21)
NULL_VALUE = b"\0"
MAX_DEPTH = 200
_EPOCH = dt.datetime(1970, 1, 1)
_FIXED = {INT8: "<b", INT16: "<h", INT32: "<i", INT64: "<q", DOUBLE: "<d", FLOAT: "<f"}
_DECIMALS = {DECIMAL4: 4, DECIMAL8: 8, DECIMAL16: 16}


def header(kind: int) -> bytes:
    """The first byte of a primitive value."""
    return bytes([kind << 2 | PRIMITIVE])


def string(text: bytes) -> bytes:
    if len(text) < 64:
        return bytes([len(text) << 2 | SHORT_STRING]) + text
    return header(STRING) + struct.pack("<I", len(text)) + text


def size_for(number: int) -> int:
    """The bytes, 1 to 4, that hold an unsigned number."""
    return max(1, (number.bit_length() + 7) // 8)


def object_start(ids: Sequence[int], offset_size: int) -> bytes:
    """An object's bytes up to its offsets."""
    id_size = size_for(max(ids, default=0))
    large = len(ids) > 255
    head = (large << 4 | (id_size - 1) << 2 | (offset_size - 1)) << 2 | OBJECT
    count = len(ids).to_bytes(4 if large else 1, "little")
    return bytes([head]) + count + b"".join(i.to_bytes(id_size, "little") for i in ids)


def array_start(length: int, offset_size: int) -> bytes:
    """An array's bytes up to its offsets."""
    large = length > 255
    head = (large << 2 | (offset_size - 1)) << 2 | ARRAY
    return bytes([head]) + length.to_bytes(4 if large else 1, "little")


def encode_object(fields: Sequence[tuple[int, bytes]]) -> bytes:
    """An object of ids and encoded values, given in the order of their names."""
    values = [value for _, value in fields]
    offset_size = size_for(sum(map(len, values)))
    return object_start([i for i, _ in fields], offset_size) + offsets(values, offset_size) + b"".join(values)


def encode_array(values: Sequence[bytes]) -> bytes:
    """An array of encoded values."""
    offset_size = size_for(sum(map(len, values)))
    return array_start(len(values), offset_size) + offsets(values, offset_size) + b"".join(values)


def offsets(values: Sequence[bytes], size: int) -> bytes:
    """Where each of the values begins behind one another, and where the last one ends; ``size`` bytes a number."""
    at, found = 0, [bytes(size)]
    for value in values:
        at += len(value)
        found.append(at.to_bytes(size, "little"))
    return b"".join(found)


# -- reading -------------------------------------------------------------------------------------------------------


def names_of(metadata: bytes) -> list[str]:
    """The field names that ids count through.

    :raises InvalidTableError: when the bytes are no metadata of version 1.
    """
    try:
        if metadata[0] & 0x0F != 1:
            raise _damaged(f"its metadata has version {metadata[0] & 0x0F}")
        size = (metadata[0] >> 6) + 1
        count = _number(metadata, 1, size)
        start = 1 + size * (count + 2)
        offsets = [_number(metadata, 1 + size * (i + 1), size) for i in range(count + 1)]
        if offsets and start + offsets[-1] > len(metadata):
            raise _damaged("its metadata is cut off")
        return [metadata[start + a : start + b].decode() for a, b in itertools.pairwise(offsets)]
    except (IndexError, UnicodeDecodeError) as error:
        raise _damaged("its metadata is cut off") from error


def fields_of(value: bytes, at: int = 0) -> Iterator[tuple[int, int]]:
    """Field id and position of every field of the object that begins at a position."""
    head = value[at] >> 2
    offset_size, id_size, large = (head & 3) + 1, (head >> 2 & 3) + 1, head >> 4 & 1
    count = _number(value, at + 1, 4 if large else 1)
    ids = at + (5 if large else 2)
    offsets = ids + count * id_size
    start = offsets + (count + 1) * offset_size
    for i in range(count):
        yield _number(value, ids + i * id_size, id_size), start + _number(value, offsets + i * offset_size, offset_size)


def elements_of(value: bytes, at: int = 0) -> Iterator[int]:
    """The position of every element of the array that begins at a position."""
    head = value[at] >> 2
    offset_size, large = (head & 3) + 1, head >> 2 & 1
    count = _number(value, at + 1, 4 if large else 1)
    offsets = at + (5 if large else 2)
    start = offsets + (count + 1) * offset_size
    return (start + _number(value, offsets + i * offset_size, offset_size) for i in range(count))


def length_at(value: bytes, at: int) -> int:
    """How many bytes the value at a position takes."""
    basic, head = value[at] & 3, value[at] >> 2
    if basic == SHORT_STRING:
        return 1 + head
    if basic in (OBJECT, ARRAY):
        offset_size = (head & 3) + 1
        large = head >> 4 & 1 if basic == OBJECT else head >> 2 & 1
        count = _number(value, at + 1, 4 if large else 1)
        ids = count * ((head >> 2 & 3) + 1) if basic == OBJECT else 0
        offsets = at + (5 if large else 2) + ids
        last = _number(value, offsets + count * offset_size, offset_size)
        return offsets + (count + 1) * offset_size + last - at
    if head in (BINARY, STRING):
        return 5 + _number(value, at + 1, 4)
    if head in _DECIMALS:
        return 2 + _DECIMALS[head]
    try:
        return _LENGTHS[head]
    except KeyError:
        raise _damaged(f"it holds the unknown type {head}") from None


_LENGTHS = {NULL: 1, TRUE: 1, FALSE: 1, DATE: 5, TIMESTAMP: 9, TIMESTAMP_NTZ: 9, TIME: 9, TIMESTAMP_NS: 9,
            TIMESTAMP_NTZ_NS: 9, UUID: 17, **{k: 1 + struct.calcsize(f) for k, f in _FIXED.items()}}  # fmt: skip


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise _damaged("it is cut off")
    return int.from_bytes(data[at : at + size], "little")


def _damaged(why: str) -> InvalidTableError:
    return InvalidTableError(f"a variant is damaged: {why}")


# -- JSON ----------------------------------------------------------------------------------------------------------


def to_json(names: Sequence[str], value: bytes) -> str:
    """The JSON text of a value, as Spark's ``to_json`` writes it; times in UTC.

    :raises InvalidTableError: when the bytes are damaged.
    """
    try:
        return _json(names, value, 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise _damaged(str(error) or "it is cut off") from error


def _json(names: Sequence[str], value: bytes, at: int, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise _damaged(f"it nests deeper than {MAX_DEPTH} levels")
    basic, head = value[at] & 3, value[at] >> 2
    if basic == OBJECT:
        fields = [f"{_quote(names[i])}:{_json(names, value, p, depth + 1)}" for i, p in fields_of(value, at)]
        return "{" + ",".join(fields) + "}"
    if basic == ARRAY:
        return "[" + ",".join(_json(names, value, p, depth + 1) for p in elements_of(value, at)) + "]"
    if basic == SHORT_STRING:
        return _quote(_bytes(value, at + 1, head).decode())
    return _primitive_json(head, value, at + 1)


def _primitive_json(kind: int, value: bytes, at: int) -> str:
    if kind in (NULL, TRUE, FALSE):
        return ("null", "true", "false")[kind]
    if kind in (BINARY, STRING):
        data = _bytes(value, at + 4, _number(value, at, 4))
        return _quote(data.decode() if kind == STRING else base64.b64encode(data).decode())
    if kind in (FLOAT, DOUBLE):
        (number,) = struct.unpack_from(_FIXED[kind], value, at)
        return _float_json(number, kind == FLOAT)
    if kind in _FIXED:
        return str(struct.unpack_from(_FIXED[kind], value, at)[0])
    if kind in _DECIMALS:
        unscaled = int.from_bytes(_bytes(value, at + 1, _DECIMALS[kind]), "little", signed=True)
        return _decimal_json(unscaled, value[at])
    if kind == UUID:
        return _quote(str(uuid.UUID(bytes=_bytes(value, at, 16))))
    return _quote(_time_text(kind, value, at))


def _bytes(value: bytes, at: int, length: int) -> bytes:
    if at + length > len(value):
        raise _damaged("it is cut off")
    return value[at : at + length]


def _time_text(kind: int, value: bytes, at: int) -> str:
    if kind == DATE:
        return (_EPOCH + dt.timedelta(days=struct.unpack_from("<i", value, at)[0])).date().isoformat()
    (ticks,) = struct.unpack_from("<q", value, at)
    nanos = kind in (TIMESTAMP_NS, TIMESTAMP_NTZ_NS)
    moment = _EPOCH + dt.timedelta(microseconds=ticks // 1000 if nanos else ticks)
    fraction = f"{moment.microsecond:06d}" + (f"{ticks % 1000:03d}" if nanos else "")
    fraction = "." + fraction.rstrip("0") if fraction.strip("0") else ""
    if kind == TIME:
        return f"{moment:%H:%M:%S}{fraction}"
    zone = "+00:00" if kind in (TIMESTAMP, TIMESTAMP_NS) else ""
    return f"{moment.date().isoformat()} {moment:%H:%M:%S}{fraction}{zone}"


def _decimal_json(unscaled: int, scale: int) -> str:
    text = f"{decimal.Decimal(unscaled).scaleb(-scale, decimal.Context(prec=76)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _float_json(number: float, single: bool) -> str:
    if not math.isfinite(number):
        return _quote("NaN" if number != number else "Infinity" if number > 0 else "-Infinity")
    if not single:
        return repr(number)
    digits = next(d for d in range(1, 10) if struct.pack("<f", float(f"{number:.{d}g}")) == struct.pack("<f", number))
    return repr(float(f"{number:.{digits}g}"))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
