"""Partition values: the strings of the log, their typed scalars, and the directory names made of them.

PROTOCOL.md, "Partition Value Serialization". Null and the empty string are both written as null; an empty string in
the log reads as null except in a column of strings, where it is the empty string that its writer meant.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.model.arrow import array, type_to_arrow
from deltalite.model.types import DataType, PrimitiveType

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
_ESCAPED = frozenset(chr(c) for c in range(0x20)) | frozenset("\"#%'*/:=?\\\x7f{[]^")
_TIMESTAMP = re.compile(
    r"([+-]?\d{4,6})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?"
    r"\s*(Z|UTC|[+-]\d{2}:?\d{2}(?::?\d{2})?)?"
)
_ESCAPED_BYTE = re.compile(r"\\u00([0-9a-fA-F]{2})")
_INTEGERS = {"byte": 8, "short": 16, "integer": 32, "long": 64}


def serialize(value: Any, data_type: DataType) -> str | None:
    """The log's text for a Python value of a partition column; ``None`` for null and for the empty string.

    Dates are ``datetime.date``, timestamps microseconds since 1970 (UTC) or ``datetime``, decimals ``Decimal``.
    """
    if value is None:
        return None
    name = data_type.type
    if name == "boolean":
        return "true" if value else "false"
    if name == "date":
        return _date_text(value)
    if name in ("timestamp", "timestamp_ntz"):
        return _timestamp_text(value, utc=name == "timestamp")
    if name == "binary":
        return bytes(value).decode("latin-1") or None
    if name in ("float", "double"):
        return _float_text(float(value))
    if isinstance(data_type, PrimitiveType) and data_type.is_decimal:
        return f"{decimal.Decimal(value).quantize(decimal.Decimal(1).scaleb(-data_type.scale), context=_WIDE):f}"
    return str(value) or None


_WIDE = decimal.Context(prec=76)


def parse(text: str | None, data_type: DataType) -> Any:
    """The Python value that a partition string denotes; timestamps come as microseconds since 1970.

    :raises InvalidTableError: when the text is no value of the type.
    """
    name = data_type.type
    if text is None or (text == "" and name != "string") or (text == HIVE_NULL):
        return None
    try:
        return _PARSERS.get(name, _decimal)(text, data_type)
    except (ValueError, ArithmeticError, OverflowError) as error:
        raise InvalidTableError(f"{text!r} is not a partition value of type {name}") from error


def parse_column(texts: pa.Array | pa.ChunkedArray, data_type: DataType) -> pa.Array:
    """A column of partition strings as a typed Arrow array."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    arrow_type = type_to_arrow(data_type)
    if arrow_type == pa.string():
        hidden = pc.equal(texts, _HIVE_NULL_SCALAR)
        return pc.if_else(pc.fill_null(hidden, _FALSE), _NULL_STRING, texts.cast(pa.string()))
    encoded = texts.dictionary_encode()
    distinct = [parse(text, data_type) for text in encoded.dictionary.to_pylist()]
    return array(distinct, arrow_type).take(encoded.indices)


_HIVE_NULL_SCALAR = array([HIVE_NULL], pa.string())[0]
_NULL_STRING = array([None], pa.string())[0]
_FALSE = array([False], pa.bool_())[0]


def directory(names: Sequence[str], values: Mapping[str, str | None]) -> str:
    """The Hive-style directory of a partition, as Spark names it: ``day=2026-01-01/kind=a%2Fb``; no percent-coding
    of the URI yet. ``values`` are the log's strings."""
    return "/".join(f"{escape(name)}={escape(values[name]) if values[name] else HIVE_NULL}" for name in names)


def escape(text: str | None) -> str:
    """A name or value as part of a directory name, with Spark's set of escaped characters."""
    return "".join(f"%{ord(c):02X}" if c in _ESCAPED else c for c in text or "")


def _date_text(value: Any) -> str:
    if isinstance(value, int):
        value = dt.date.fromordinal(value + 719163)
    return f"{value.year:04d}-{value.month:02d}-{value.day:02d}"


def _timestamp_text(value: Any, utc: bool) -> str:
    if isinstance(value, int):
        value = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=value)
    elif value.tzinfo is not None:
        value = value.astimezone(dt.timezone.utc).replace(tzinfo=None)
    day = f"{value.year:04d}-{value.month:02d}-{value.day:02d}"
    clock = f"{value.hour:02d}:{value.minute:02d}:{value.second:02d}"
    if utc:
        return f"{day}T{clock}.{value.microsecond:06d}Z"
    return f"{day} {clock}" + (f".{value.microsecond:06d}" if value.microsecond else "")


def _float_text(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def _float(text: str, _: DataType) -> float:
    return float(text.rstrip("dDfF") if text[-1:] in "dDfF" and text.lower() not in ("inf", "-inf") else text)


def _integer(text: str, data_type: DataType) -> int:
    value, bits = int(text), _INTEGERS[data_type.type]
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise OverflowError(text)
    return value


def _boolean(text: str, _: DataType) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _date(text: str, _: DataType) -> int:
    return _micros(text) // 86_400_000_000


def _timestamp(text: str, _: DataType) -> int:
    return _micros(text)


def _micros(text: str) -> int:
    match = _TIMESTAMP.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    days = dt.date(int(year), int(month), int(day)).toordinal() - 719163
    seconds = days * 86400 + int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    if zone and zone not in ("Z", "UTC"):
        digits = zone[1:].replace(":", "")
        offset = int(digits[:2]) * 3600 + int(digits[2:4]) * 60 + int(digits[4:6] or 0)
        seconds -= offset if zone[0] == "+" else -offset
    return seconds * 1_000_000 + int((fraction or "0").ljust(6, "0")[:6])


def _decimal(text: str, data_type: DataType) -> decimal.Decimal:
    value = decimal.Decimal(text)
    rounded = value.quantize(decimal.Decimal(1).scaleb(-data_type.scale), context=_WIDE)  # type: ignore[union-attr]
    if rounded != value:
        raise ValueError(text)
    return rounded


def _binary(text: str, _: DataType) -> bytes:
    unescaped = _ESCAPED_BYTE.sub(lambda m: chr(int(m[1], 16)), text)
    try:
        return unescaped.encode("latin-1")
    except UnicodeEncodeError:
        return unescaped.encode()


_PARSERS: dict[str, Callable[[str, DataType], Any]] = {
    "string": lambda text, _: text,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
    "timestamp_ntz": _timestamp,
    "float": _float,
    "double": _float,
    "binary": _binary,
    "byte": _integer,
    "short": _integer,
    "integer": _integer,
    "long": _integer,
}
