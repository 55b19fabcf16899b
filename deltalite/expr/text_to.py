"""Text to values, as Spark's casts read it: white space around is ignored, anything else odd is an error."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.decimals import from_unscaled
from deltalite.expr.literals import DATE_TEXT, TIME_TEXT, ZONE_TEXT, parse_offset, zone_info
from deltalite.expr.time_zones import DAY, SECOND, to_utc
from deltalite.expr.vectors import from_numpy, numpy_bools, numpy_type, numpy_values, valid_mask
from deltalite.model.arrow import array, scalar

_SPACE = "".join(map(chr, (*range(0x21), 0x7F)))
_FLOAT = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[dDfF]?)$"
_SPECIAL_FLOATS = {
    "nan": float("nan"), "inf": float("inf"), "+inf": float("inf"), "-inf": float("-inf"),
    "infinity": float("inf"), "+infinity": float("inf"), "-infinity": float("-inf"),
}  # fmt: skip
_TRUE = ("t", "true", "y", "yes", "1")
_FALSE = ("f", "false", "n", "no", "0")
_EMPTY = scalar("", pa.string())


def trimmed(values: pa.Array) -> pa.Array:
    return pc.utf8_trim(values, characters=_SPACE)


def integers(values: pa.Array, target: Any) -> pa.Array:
    """Digits with an optional sign; no fraction, no exponent."""
    text = pc.replace_substring_regex(trimmed(values), r"^(?:\+|(-))?0*(\d+)$", r"\1\2")
    good = numpy_bools(pc.match_substring_regex(text, r"^-?\d{1,19}$"))
    size = pc.utf8_trim(text, characters="-")
    limit = pc.if_else(pc.starts_with(text, "-"), scalar(str(2**63), pa.string()), scalar(str(2**63 - 1), pa.string()))
    long = numpy_bools(pc.equal(pc.utf8_length(size), scalar(19, pa.int32())))
    good &= ~(long & numpy_bools(pc.greater(size, limit)))
    whole = numpy_values(pc.cast(_only(good, text), pa.int64()))
    info = np.iinfo(numpy_type(target.arrow_type))
    good &= (whole >= info.min) & (whole <= info.max)
    result = from_numpy(np.where(good, whole, 0), target.arrow_type, valid_mask(values))
    return target.checked(result, good, values)


def _only(good: np.ndarray, text: pa.Array) -> pa.Array:
    """The texts that are numbers, and zeros for the others."""
    return text if good.all() else pc.if_else(from_numpy(good, pa.bool_()), text, scalar("0", pa.string()))


def floats(values: pa.Array, target: Any) -> pa.Array:
    """What Java's ``parseDouble`` reads, ``NaN`` and infinities in any case."""
    text = trimmed(values)
    good = numpy_bools(pc.match_substring_regex(text, _FLOAT))
    numbers = numpy_values(
        pc.cast(_only(good, pc.replace_substring_regex(text, "^[+]|[dDfF]$", "")), target.arrow_type)
    )
    if not good.all():
        numbers, lower = numbers.copy(), pc.utf8_lower(text)
        for name, value in _SPECIAL_FLOATS.items():
            found = numpy_bools(pc.equal(lower, scalar(name, pa.string())))
            numbers[found] = value
            good |= found
    return target.checked(from_numpy(numbers, target.arrow_type, valid_mask(values)), good, values)


def decimals(texts: Sequence[str | None], values: pa.Array, target: Any) -> pa.Array:
    """Numbers in plain or exponent form, rounded half up to the scale of the target."""
    precision, scale = target.type.precision, target.type.scale
    numbers = [_unscaled(text, precision, scale) for text in texts]
    good = np.array([n is not None for n in numbers], dtype=bool)
    filled = np.array([n or 0 for n in numbers], dtype=object)
    return target.checked(from_unscaled(filled, target.arrow_type, valid_mask(values)), good, values)


def _unscaled(text: str | None, precision: int, scale: int) -> int | None:
    try:
        value = Decimal(text or "x")
    except InvalidOperation:
        return None
    if not value.is_finite() or "_" in (text or ""):
        return None
    sign, digits, exponent = value.as_tuple()
    shift = int(exponent) + scale
    if not any(digits):
        return 0
    if len(digits) + shift > precision + 1:
        return None
    whole = int("".join(map(str, digits)))
    if shift >= 0:
        whole *= 10**shift
    elif -shift > len(digits):
        whole = 0
    else:
        whole, rest = divmod(whole, 10**-shift)
        whole += 2 * rest >= 10**-shift
    return None if whole >= 10**precision else -whole if sign else whole


def booleans(values: pa.Array, target: Any) -> pa.Array:
    text = pc.utf8_lower(trimmed(values))
    true = numpy_bools(pc.is_in(text, value_set=array(_TRUE, pa.string())))
    false = numpy_bools(pc.is_in(text, value_set=array(_FALSE, pa.string())))
    return target.checked(from_numpy(true, pa.bool_(), valid_mask(values)), true | false, values)


def dates(values: pa.Array, target: Any) -> pa.Array:
    """``yyyy``, ``yyyy-m`` or ``yyyy-m-d``; what follows a ``T`` or a space is ignored."""
    parts = _Parts(values, rf"^{DATE_TEXT}(?:[T ].*)?$")
    days, good = parts.days()
    good &= np.abs(days) < 2**31
    result = from_numpy(np.where(good, days, 0), pa.date32(), valid_mask(values))
    return target.checked(result, good, values)


def timestamps(values: pa.Array, target: Any) -> pa.Array:
    """A date, or a date and a time with an optional fraction and zone."""
    parts = _Parts(values, rf"^{DATE_TEXT}(?:[ T](?:{TIME_TEXT}(?: ?{ZONE_TEXT})?)?)?$")
    days, good = parts.days()
    hour, minute, second = parts.number("hour"), parts.number("minute"), parts.number("second")
    good &= (hour < 24) & (minute < 60) & (second < 60) & (np.abs(days) < 106_751_990)
    micros = np.where(good, days, 0) * DAY + (hour * 3600 + minute * 60 + second) * SECOND + parts.fraction()
    if target.name == "timestamp":
        micros, good = _zoned(micros, good, parts.text("zone"), target.time_zone)
    return target.checked(from_numpy(micros, target.arrow_type, valid_mask(values)), good, values)


def _zoned(micros: np.ndarray, good: np.ndarray, zones: pa.Array, default: str) -> tuple[np.ndarray, np.ndarray]:
    """Wall times to instants, each by the zone in its text or by the default."""
    result, good = micros.copy(), good.copy()
    for zone in pc.unique(zones).to_pylist():
        chosen = numpy_bools(pc.equal(zones, scalar(zone, pa.string())))
        if not known_zone(zone):
            good &= ~chosen
            continue
        result[chosen] = to_utc(micros[chosen], zone or default)
    return result, good


def known_zone(zone: str) -> bool:
    if zone == "" or parse_offset(zone) is not None:
        return True
    try:
        zone_info(zone)
    except ExpressionError:
        return False
    return True


class _Parts:
    """The named groups of a pattern matched against every text."""

    def __init__(self, values: pa.Array, pattern: str) -> None:
        found = pc.extract_regex(trimmed(values), pattern)
        self.matched = valid_mask(found)
        self.groups = found

    def text(self, name: str) -> pa.Array:
        return pc.fill_null(pc.struct_field(self.groups, [self.groups.type.get_field_index(name)]), _EMPTY)

    def number(self, name: str, default: int = 0) -> np.ndarray:
        text = self.text(name)
        text = pc.if_else(pc.equal(text, _EMPTY), scalar(str(default), pa.string()), text)
        return numpy_values(pc.cast(pc.replace_substring_regex(text, r"^\+", ""), pa.int64()))

    def fraction(self) -> np.ndarray:
        """Microseconds; further digits are cut off."""
        text = pc.utf8_slice_codeunits(pc.utf8_rpad(self.text("fraction"), 6, padding="0"), 0, 6)
        return numpy_values(pc.cast(text, pa.int64()))

    def days(self) -> tuple[np.ndarray, np.ndarray]:
        """Days since 1970 and where they are a day of the calendar."""
        return days_from(self.number("year", 1970), self.number("month", 1), self.number("day", 1), self.matched)


def days_from(year: np.ndarray, month: np.ndarray, day: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Year, month and day to days since 1970 in the proleptic Gregorian calendar, and where they name a day."""
    good = good & (month >= 1) & (month <= 12) & (day >= 1)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    first = first_of_month(months)
    good = good & (day <= first_of_month(months + 1) - first)
    return np.where(good, first + day - 1, 0), good


def first_of_month(months: np.ndarray) -> np.ndarray:
    """Months since January 1970 to days since 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
