"""Values into variants: Python's, and those of JSON text, as Spark's ``parse_json`` reads it.

Numbers take the smallest form that holds them: integers of 1 to 8 bytes, decimals of up to 38 digits, doubles.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.features.variant import binary
from deltalite.features.variant.binary import FALSE, MAX_DEPTH, NULL_VALUE, TRUE, header
from deltalite.model.arrow import VARIANT, array

_INTEGERS = ((binary.INT8, 8), (binary.INT16, 16), (binary.INT32, 32), (binary.INT64, 64))
_DECIMALS = ((binary.DECIMAL4, 9, 4), (binary.DECIMAL8, 18, 8), (binary.DECIMAL16, 38, 16))
_EPOCH, _EPOCH_UTC = dt.datetime(1970, 1, 1), dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_MICROSECOND = dt.timedelta(microseconds=1)
_SORTED = 1 << 4


def from_json(texts: Iterable[str | None]) -> pa.StructArray:
    """JSON texts as a column of variants; ``None`` is null, and ``"null"`` a variant that holds null.

    :raises InvalidArgumentError: for text that is no JSON, or an object with a key twice.
    """
    return _column(None if text is None else _encoded_text(text) for text in texts)


def from_values(values: Iterable[Any]) -> pa.StructArray:
    """Python values as a column of variants: dicts, lists, texts, bytes, numbers, booleans, dates, times, UUIDs.

    ``None`` is null. What reading gave, ``{"metadata": bytes, "value": bytes}``, is a variant already.

    :raises InvalidArgumentError: for values that no variant holds.
    """
    return _column(None if value is None else _already(value) or _encoded(value) for value in values)


def _column(pairs: Iterable[tuple[bytes, bytes] | None]) -> pa.StructArray:
    found = list(pairs)
    parts = [array([b"" if pair is None else pair[i] for pair in found], pa.binary()) for i in (0, 1)]
    valid = array([pair is None for pair in found], pa.bool_())
    return pa.StructArray.from_arrays(parts, fields=list(VARIANT), mask=valid)


def _already(value: Any) -> tuple[bytes, bytes] | None:
    if isinstance(value, Mapping) and value.keys() == {"metadata", "value"}:
        metadata, content = value["metadata"], value["value"]
        if isinstance(metadata, bytes) and isinstance(content, bytes):
            return metadata, content
    return None


# -- JSON --------------------------------------------------------------------------------------------------------------


def _encoded_text(text: str) -> tuple[bytes, bytes]:
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise InvalidArgumentError(f"no JSON: {shown!r}: {error}", hint="a text is in quotes: '\"text\"'") from error
    return _encoded(value)


def _fraction(text: str) -> Any:
    """A number with a point: exact where it has 38 digits at most and no exponent."""
    if "e" not in text and "E" not in text:
        number = decimal.Decimal(text)
        if len(number.as_tuple().digits) <= 38 and -number.as_tuple().exponent <= 38:  # type: ignore[operator]
            return number
    return float(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


_DECODER = json.JSONDecoder(parse_float=_fraction, parse_constant=_no_constant, object_pairs_hook=_object)


# -- values ------------------------------------------------------------------------------------------------------------


def _encoded(value: Any) -> tuple[bytes, bytes]:
    names = sorted(set(_names(value, 0)), key=str.encode)
    ids = {name: i for i, name in enumerate(names)}
    return _metadata(names), _value(value, ids)


def _names(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, Mapping):
        for name, part in value.items():
            if not isinstance(name, str):
                raise InvalidArgumentError(f"the keys of a variant are texts, not {name!r}")
            yield name
            yield from _names(part, depth + 1)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _names(part, depth + 1)


def _metadata(names: Sequence[str]) -> bytes:
    """Version 1, with the names in order."""
    texts = [_utf8(name) for name in names]
    size = binary.size_for(max(len(texts), sum(map(len, texts))))
    head = bytes([1 | _SORTED | (size - 1) << 6]) + len(texts).to_bytes(size, "little")
    return head + binary.offsets(texts, size) + b"".join(texts)


def _value(value: Any, ids: Mapping[str, int]) -> bytes:
    if isinstance(value, Mapping):
        fields = sorted(value.items(), key=lambda item: ids[item[0]])
        return binary.encode_object([(ids[name], _value(part, ids)) for name, part in fields])
    if isinstance(value, (list, tuple)):
        return binary.encode_array([_value(part, ids) for part in value])
    return _scalar(value)


def _scalar(value: Any) -> bytes:
    if value is None:
        return NULL_VALUE
    if isinstance(value, bool):
        return header(TRUE if value else FALSE)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return header(binary.DOUBLE) + struct.pack("<d", value)
    if isinstance(value, str):
        return binary.string(_utf8(value))
    if isinstance(value, (bytes, bytearray)):
        return header(binary.BINARY) + struct.pack("<I", len(value)) + bytes(value)
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, dt.datetime):
        kind, since = (binary.TIMESTAMP_NTZ, _EPOCH) if value.tzinfo is None else (binary.TIMESTAMP, _EPOCH_UTC)
        return header(kind) + struct.pack("<q", (value - since) // _MICROSECOND)
    if isinstance(value, dt.date):
        return header(binary.DATE) + struct.pack("<i", (value - _EPOCH.date()).days)
    if isinstance(value, uuid.UUID):
        return header(binary.UUID) + value.bytes
    raise InvalidArgumentError(
        f"a variant holds no {type(value).__name__}: {value!r}",
        hint="dicts, lists, texts, bytes, numbers, booleans, dates, datetimes and UUIDs",
    )


def _integer(value: int) -> bytes:
    for kind, bits in _INTEGERS:
        if -(1 << bits - 1) <= value < 1 << bits - 1:
            return header(kind) + value.to_bytes(bits // 8, "little", signed=True)
    return _scaled(value, 0) or header(binary.DOUBLE) + struct.pack("<d", _as_double(value))


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidArgumentError("a number is too large for a variant", value=str(value)[:40]) from error


def _decimal(value: decimal.Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise InvalidArgumentError(f"a variant holds no decimal {value}", hint="float('nan') and float('inf') it holds")
    unscaled = int("".join(map(str, digits)) or "0") * (-1 if sign else 1) * 10 ** max(0, exponent)
    found = _scaled(unscaled, max(0, -exponent))
    if found is None:
        raise InvalidArgumentError(f"a variant's decimals have 38 digits at most: {value}")
    return found


def _scaled(unscaled: int, scale: int) -> bytes | None:
    digits = max(len(str(abs(unscaled))), scale)
    for kind, most, size in _DECIMALS:
        if digits <= most:
            return header(kind) + bytes([scale]) + unscaled.to_bytes(size, "little", signed=True)
    return None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"no text of Unicode: {text!r}") from error


def _too_deep() -> InvalidArgumentError:
    return InvalidArgumentError(f"a variant nests {MAX_DEPTH} levels deep at most")
