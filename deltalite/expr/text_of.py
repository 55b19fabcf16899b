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
from deltalite.expr.vectors import from_numpy, numpy_values, valid_mask
from deltalite.model.arrow import array, scalar

_EMPTY, _POINT, _PLUS = (scalar(text, pa.string()) for text in ("", ".0", "+"))
_LAST_PLAIN_DAY = 2_932_896  # 9999-12-31


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
    """Arrow writes the same digits; where it writes them plainly too, only a ``.0`` may be missing."""
    size = np.abs(numpy_values(values))
    plain = (size >= 1e-3) & (size < 1e7)
    texts = pc.cast(values, pa.string())
    texts = pc.if_else(pc.match_substring(texts, "."), texts, pc.binary_join_element_wise(texts, _POINT, _EMPTY))
    if plain.all():
        return texts
    single = pa.types.is_float32(values.type)
    odd = values.filter(from_numpy(~plain, pa.bool_()))
    distinct = pc.unique(odd.drop_null())
    written = array([java_double(v, single) for v in numpy_values(distinct).tolist()], pa.string())
    return pc.replace_with_mask(texts, from_numpy(~plain, pa.bool_()), written.take(pc.index_in(odd, distinct)))


def _decimals(values: pa.Array, time_zone: str) -> pa.Array:
    scale, valid = values.type.scale, valid_mask(values)
    numbers = unscaled(values, 38)
    return array([plain_text(v, scale) if ok else None for v, ok in zip(numbers, valid, strict=True)], pa.string())


def _dates(values: pa.Array, time_zone: str) -> pa.Array:
    """``2026-01-31``; years beyond 9999 carry a plus sign."""
    return _signed(pc.cast(values, pa.string()), numpy_values(values).astype(np.int64), values)


def _timestamps(values: pa.Array, time_zone: str) -> pa.Array:
    return _wall_times(to_local(numpy_values(values), time_zone), values)


def _wall_times(micros: np.ndarray, values: pa.Array) -> pa.Array:
    """``2026-01-31 12:30:00.5``: zeros at the end of the fraction are left out."""
    valid = valid_mask(values)
    texts = pc.cast(from_numpy(micros, pa.timestamp("us"), valid), pa.string())
    texts = pc.replace_substring_regex(texts, r"\.000000$", "") if not (micros[valid] % SECOND).any() else _short(texts)
    return _signed(texts, micros // DAY, values)


def _short(texts: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(texts, r"(?:\.0*|(\.\d*[1-9])0*)$", r"\1")


def _signed(texts: pa.Array, days: np.ndarray, values: pa.Array) -> pa.Array:
    far = (days > _LAST_PLAIN_DAY) & valid_mask(values)
    if not far.any():
        return texts
    return pc.if_else(from_numpy(far, pa.bool_()), pc.binary_join_element_wise(_PLUS, texts, _EMPTY), texts)


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
