"""Values to text, as Spark (on Java 19 or newer) writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.decimals import plain_text, unscaled
from deltalite.expr.time_zones import DAY, SECOND, to_local
from deltalite.expr.vectors import numpy_values, valid_mask
from deltalite.model.arrow import array


def plain(value: pa.Scalar) -> str:
    """One value as text, for messages."""
    t = value.type
    one = pa.nulls(0, t) if not value.is_valid else pa.repeat(value, 1)
    kind = next((kind for test, kind in _KINDS if test(t)), None)
    if kind is None or not value.is_valid:
        return str(value)
    return TEXT[kind](one, "UTC")[0].as_py()


def java_double(value: float, single: bool = False) -> str:
    """``Double.toString``: plain between 0.001 and 10 million, ``1.0E7`` beyond; the shortest digits that read back."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    sign, digits, exponent = Decimal(str(np.float32(value)) if single else repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + int(exponent) - 1  # of the first digit
    minus = "-" if sign else ""
    if text == "0":
        return f"{minus}0.0"
    if -3 <= power < 7:
        if power < 0:
            return f"{minus}0.{'0' * (-power - 1)}{text}"
        text = text.ljust(power + 1, "0")
        return f"{minus}{text[: power + 1]}.{text[power + 1 :] or '0'}"
    return f"{minus}{text[0]}.{text[1:] or '0'}E{power}"


def _floats(values: pa.Array, time_zone: str) -> pa.Array:
    single = pa.types.is_float32(values.type)
    distinct = pc.unique(values.drop_null())
    texts = array([java_double(v, single) for v in numpy_values(distinct).tolist()], pa.string())
    return texts.take(pc.index_in(values, distinct))


def _decimals(values: pa.Array, time_zone: str) -> pa.Array:
    scale, valid = values.type.scale, valid_mask(values)
    numbers = unscaled(values, 38)
    return array([plain_text(v, scale) if ok else None for v, ok in zip(numbers, valid, strict=True)], pa.string())


def date_texts(days: np.ndarray) -> np.ndarray:
    """``2026-01-31``; years beyond 9999 with a plus sign."""
    texts = np.datetime_as_string(days.astype("datetime64[D]")).astype(object)
    return np.where(days > 2932896, "+" + texts, texts)


def _dates(values: pa.Array, time_zone: str) -> pa.Array:
    return _texts(date_texts(numpy_values(values).astype(np.int64)), values)


def _timestamps(values: pa.Array, time_zone: str) -> pa.Array:
    return _wall_times(to_local(numpy_values(values), time_zone), values)


def _wall_times(micros: np.ndarray, values: pa.Array) -> pa.Array:
    """``2026-01-31 12:30:00.5``: zeros at the end of the fraction are left out."""
    days, rest = micros // DAY, micros % DAY
    texts = date_texts(days) + " " + _clock(rest // SECOND)
    fraction = rest % SECOND
    if fraction.any():
        tail = np.char.rstrip(np.char.zfill(fraction.astype(str), 6), "0").astype(object)
        texts = np.where(fraction > 0, texts + "." + tail, texts)
    return _texts(texts, values)


def _clock(seconds: np.ndarray) -> np.ndarray:
    return np.array([s[11:19] for s in np.datetime_as_string(seconds.astype("datetime64[s]"))], dtype=object)


def _texts(texts: np.ndarray, values: pa.Array) -> pa.Array:
    if not values.null_count:
        return array(texts.tolist(), pa.string())
    return array([t if ok else None for t, ok in zip(texts.tolist(), valid_mask(values), strict=True)], pa.string())


def _plain_cast(values: pa.Array, time_zone: str) -> pa.Array:
    return pc.cast(values, pa.string())


TEXT: dict[str, Callable[[Any, str], pa.Array]] = {
    **dict.fromkeys(("boolean", "byte", "short", "integer", "long", "binary", "string"), _plain_cast),
    "float": _floats,
    "double": _floats,
    "decimal": _decimals,
    "date": _dates,
    "timestamp": _timestamps,
    "timestamp_ntz": lambda values, time_zone: _wall_times(numpy_values(values), values),
}
_KINDS: list[tuple[Any, str]] = [
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_floating, "double"),
    (pa.types.is_integer, "long"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_boolean, "boolean"),
]
