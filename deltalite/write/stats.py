"""The statistics of a data file (PROTOCOL.md, "Per-file Statistics").

Minimum, maximum and null count come from the Parquet footer, where they are exact and free. What a footer does not tell
is taken from the rows: NaN, null counts of arrays and maps, and bounds of texts too long for a footer.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.model.types import DataType, PrimitiveType
from deltalite.write.leaves import Leaf, Path

_EPOCH = dt.datetime(1970, 1, 1)
_LAST_CHARACTER = "\U0010ffff"

Bounds = tuple[Any, Any]


class LeafStats(NamedTuple):
    """What is known of one leaf in some rows. ``bounds`` are raw; with ``unbounded`` there are some, but unknown."""

    nulls: int
    bounds: Bounds | None
    has_nan: bool = False
    unbounded: bool = False


def of_row_group(
    columns: Sequence[Leaf], batches: Sequence[pa.RecordBatch], group: Any, footer_off: frozenset[int] = frozenset()
) -> list[LeafStats]:
    """The statistics of each leaf in one row group.

    :param batches: the rows of the group.
    :param group: the ``pyarrow.parquet.RowGroupMetaData`` of the group.
    :param footer_off: positions of leaves whose Parquet statistics are switched off.
    """
    return [
        _from_rows(leaf, batches)
        if not leaf.has_bounds or leaf.position in footer_off
        else _from_footer(leaf, batches, group.column(leaf.position).statistics)
        for leaf in columns
    ]


def _from_footer(leaf: Leaf, batches: Sequence[pa.RecordBatch], found: Any) -> LeafStats:
    if not found.has_min_max and found.num_values and leaf.type.type == "string":
        return _from_rows(leaf, batches)  # longer than a footer takes
    has_nan = leaf.is_float and any(_has_nan(column_of(batch, leaf)) for batch in batches)
    if not found.has_min_max:
        return LeafStats(found.null_count, None, has_nan, unbounded=bool(found.num_values) and not has_nan)
    return LeafStats(found.null_count, (_plain(found.min_raw, leaf.type), _plain(found.max_raw, leaf.type)), has_nan)


def _from_rows(leaf: Leaf, batches: Sequence[pa.RecordBatch]) -> LeafStats:
    nulls, bounds, has_nan = 0, None, False
    for batch in batches:
        array = column_of(batch, leaf)
        nulls += array.null_count
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        if leaf.has_bounds:
            bounds = _merge(bounds, _bounds_of(array))
            has_nan = has_nan or (leaf.is_float and _has_nan(array))
    return LeafStats(nulls, bounds, has_nan)


def merged(a: Sequence[LeafStats], b: Sequence[LeafStats]) -> list[LeafStats]:
    """The statistics of two groups of rows together."""
    return [
        LeafStats(x.nulls + y.nulls, _merge(x.bounds, y.bounds), x.has_nan or y.has_nan, x.unbounded or y.unbounded)
        for x, y in zip(a, b, strict=True)
    ]


def to_json(columns: Sequence[Leaf], stats: Sequence[LeafStats], rows: int, prefix: int) -> str:
    """The text for the log. Texts are cut to ``prefix`` characters."""
    minima: dict[str, Any] = {}
    maxima: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    for leaf, found in zip(columns, stats, strict=True):
        _put(nulls, leaf.path, str(found.nulls))
        if found.bounds is None or found.unbounded:
            continue
        low, high = render(found.bounds, leaf.type, prefix)
        if low is not None:
            _put(minima, leaf.path, low)
        if high is not None and not found.has_nan:  # Spark sorts NaN above every number
            _put(maxima, leaf.path, high)
    parts = (f'"minValues":{_object(minima)}', f'"maxValues":{_object(maxima)}', f'"nullCount":{_object(nulls)}')
    return f'{{"numRecords":{rows},{",".join(parts)},"tightBounds":true}}'


def _has_nan(array: Any) -> bool:
    return bool(pc.any(pc.is_nan(array)).as_py())


def column_of(batch: pa.RecordBatch, leaf: Leaf) -> Any:
    """The values of a leaf, with the nulls that structs above it pass down."""
    array = batch.column(leaf.place[0])
    for index in leaf.place[1:]:
        array = pc.struct_field(array, [index])
    return array


def _bounds_of(array: Any) -> Bounds | None:
    """Minimum and maximum as numbers (days, microseconds, unscaled decimals) or bytes."""
    if pa.types.is_date(array.type):
        array = array.view(pa.int32())
    elif pa.types.is_timestamp(array.type):
        array = array.view(pa.int64())
    found = pc.min_max(array)
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is None or low != low:
        return None
    if isinstance(low, str):
        return low.encode(), high.encode()
    if isinstance(low, Decimal):
        return _unscaled(low, array.type.scale), _unscaled(high, array.type.scale)
    return low, high


def _unscaled(value: Decimal, scale: int) -> int:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits))) * 10 ** (exponent + scale)
    return -number if sign else number


def _plain(raw: Any, data_type: DataType) -> Any:
    """A footer's value in the form of :func:`_bounds_of`: decimals beyond 18 digits are big-endian bytes there."""
    if isinstance(raw, bytes) and data_type.type != "string":
        return int.from_bytes(raw, "big", signed=True)
    return raw


def _merge(a: Bounds | None, b: Bounds | None) -> Bounds | None:
    if a is None or b is None:
        return a or b
    return min(a[0], b[0]), max(a[1], b[1])


def render(bounds: Bounds, data_type: DataType, prefix: int) -> tuple[str | None, str | None]:
    """The bounds as JSON texts; ``None`` for one that JSON cannot hold exactly or, for a text, safely.

    :param bounds: in the form of a footer: days, microseconds, unscaled decimals, UTF-8 bytes.
    """
    low, high = bounds
    name = data_type.type
    if name == "string":
        return _text_bounds(low, high, prefix)
    if isinstance(data_type, PrimitiveType) and data_type.is_decimal:
        return _decimal(low, data_type.scale), _decimal(high, data_type.scale)
    if name in ("float", "double"):
        return _number(-0.0 if low == 0 else low), _number(0.0 if high == 0 else high)
    write = _RENDERERS.get(name, str)
    return write(low), write(high)


def _number(value: float) -> str | None:
    return repr(value) if math.isfinite(value) else None


def _decimal(unscaled: int, scale: int) -> str:
    """The exact numeral with the declared scale: JSON numbers may have any number of digits."""
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[: len(digits) - scale]}.{digits[len(digits) - scale :]}" if scale else sign + digits


def _date(days: int) -> str | None:
    number = days + 719163
    return f'"{dt.date.fromordinal(number).isoformat()}"' if 1 <= number <= dt.date.max.toordinal() else None


def _timestamp(micros: int, suffix: str = "Z") -> str | None:
    """ISO 8601, cut to milliseconds as the reference does; readers allow for it."""
    try:
        value = _EPOCH + dt.timedelta(milliseconds=micros // 1000)
    except OverflowError:
        return None
    return f'"{value.isoformat(timespec="milliseconds")}{suffix}"'


_RENDERERS: dict[str, Callable[[int], str | None]] = {
    "date": _date,
    "timestamp": _timestamp,
    "timestamp_ntz": lambda micros: _timestamp(micros, ""),
}


def _text_bounds(low: bytes, high: bytes, prefix: int) -> tuple[str | None, str | None]:
    try:
        first, last = low.decode(), high.decode()
    except UnicodeDecodeError:
        return None, None
    upper = truncated_maximum(last, prefix)
    return _json_text(first[: _fitting(first, prefix)]), None if upper is None else _json_text(upper)


def truncated_maximum(text: str, prefix: int) -> str | None:
    """A short text that is not below ``text``: its prefix and a character above the first one left out.

    Lengths count UTF-16 units, as Java does. Characters U+10FFFF have none above them; past them the prefix grows to
    twice its length, and then there is no short bound: ``None``.
    """
    kept = _fitting(text, prefix)
    while kept < len(text):
        if text[kept] != _LAST_CHARACTER:
            return text[:kept] + ("\x7f" if text[kept] < "\x7f" else _LAST_CHARACTER)
        kept += 1
        if _units(text[:kept]) > 2 * prefix:
            return None
    return text


def _fitting(text: str, units: int) -> int:
    """How many characters of a text take at most so many UTF-16 units."""
    if len(text) <= units // 2:
        return len(text)
    taken = 0
    for index, character in enumerate(text):
        taken += 2 if character > "\uffff" else 1
        if taken > units:
            return index
    return len(text)


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


_json_text = json.JSONEncoder(ensure_ascii=False).encode


def _put(tree: dict[str, Any], path: Path, value: str) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _object(tree: dict[str, Any]) -> str:
    parts = (f"{_json_text(k)}:{_object(v) if isinstance(v, dict) else v}" for k, v in tree.items())
    return "{" + ",".join(parts) + "}"
