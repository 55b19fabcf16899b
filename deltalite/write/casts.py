"""Which types may be stored in a column of another type, and the conversion that loses nothing.

The pairs are those of Spark's ANSI store assignment (``Cast.canANSIStoreAssign``). Where Spark would round or drop
digits, the conversion is refused for the values that would change.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.functions.casts import cast as sql_cast
from deltalite.model.arrow import FALSE, type_to_arrow
from deltalite.model.types import PrimitiveType

Convert = Callable[[Any], Any]

INTEGER_DIGITS = {"byte": 3, "short": 5, "integer": 10, "long": 19}
_FLOATS = ("float", "double")
_AS_TEXT = ("byte", "short", "integer", "long", "boolean", "date", "binary", "string")
_MAX_DECIMAL128 = 38


class Rule(Enum):
    """How values get from one type to another."""

    SAFE = "pyarrow's checked cast is exact or fails"
    ROUND_TRIP = "cast, and cast back to see that nothing was lost"
    TEXT = "Spark's text of the value"


class Lossy(Exception):
    """Some values do not survive the conversion. ``mask`` tells which, where that is known."""

    def __init__(self, mask: Any = None) -> None:
        super().__init__("values would change")
        self.mask = mask


def store_rule(source: PrimitiveType, target: PrimitiveType) -> Rule | None:
    """How values of one type are stored in a column of another; ``None`` when Spark's store assignment forbids it."""
    a, b = source.type, target.type
    if a == b or a == "void":
        return Rule.SAFE
    if b == "string":
        return None if a == "variant" else Rule.TEXT
    if is_numeric(source) and is_numeric(target):
        return _number_rule(source, target)
    if a == "date" and b in ("timestamp", "timestamp_ntz"):
        return Rule.SAFE
    if b == "date" and a in ("timestamp", "timestamp_ntz"):
        return Rule.ROUND_TRIP
    return None


def _number_rule(source: PrimitiveType, target: PrimitiveType) -> Rule | None:
    if source.type in _FLOATS:
        if target.type in INTEGER_DIGITS:
            return None  # Spark truncates here; nobody means that
        return Rule.SAFE if (source.type, target.type) == ("float", "double") else Rule.ROUND_TRIP
    if target.type in _FLOATS and source.is_decimal:
        return Rule.ROUND_TRIP
    return Rule.SAFE


def is_numeric(data_type: PrimitiveType) -> bool:
    return data_type.is_decimal or data_type.type in INTEGER_DIGITS or data_type.type in _FLOATS


def converter(rule: Rule, source: PrimitiveType, target: PrimitiveType) -> Convert:
    """The conversion of an Arrow array of ``source`` (in its canonical Arrow type) to ``target``.

    It raises :class:`Lossy`, or pyarrow's ``ArrowInvalid``, when a value would change.
    """
    wanted, had = type_to_arrow(target), type_to_arrow(source)
    if rule is Rule.TEXT and source.type not in _AS_TEXT:
        return lambda array: sql_cast(array, source, target, "UTC")
    if rule is Rule.ROUND_TRIP:
        return lambda array: _round_trip(array, had, wanted)
    if target.is_decimal and source.type in INTEGER_DIGITS:
        return _integer_to_decimal(source, target)
    return lambda array: pc.cast(array, wanted)


def _integer_to_decimal(source: PrimitiveType, target: PrimitiveType) -> Convert:
    """By way of a decimal wide enough for every integer, because pyarrow asks for room for all of them at once."""
    digits = INTEGER_DIGITS[source.type] + target.scale
    make = pa.decimal128 if digits <= _MAX_DECIMAL128 else pa.decimal256
    between, wanted = make(digits, target.scale), type_to_arrow(target)
    return lambda array: pc.cast(pc.cast(array, between), wanted)


def _round_trip(array: Any, had: pa.DataType, wanted: pa.DataType) -> Any:
    there = pc.cast(array, wanted, safe=False)
    back = pc.cast(there, had, safe=False)
    same = pc.equal(back, array)
    if pa.types.is_floating(had):
        same = pc.or_(same, pc.and_(pc.is_nan(back), pc.is_nan(array)))
    changed = pc.fill_null(pc.invert(same), FALSE)
    if pc.any(changed).as_py():
        raise Lossy(changed)
    return there


def unsafe_converter(source: PrimitiveType, target: PrimitiveType) -> Convert | None:
    """What ``cast="unsafe"`` does: pyarrow's unchecked cast, ``None`` where it has none."""
    wanted = type_to_arrow(target)
    if target.is_decimal and source.type in INTEGER_DIGITS:
        return _integer_to_decimal(source, target)
    try:
        pc.cast(pa.nulls(0, type_to_arrow(source)), wanted, safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return None
    return lambda array: pc.cast(array, wanted, safe=False)
