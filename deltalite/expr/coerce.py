"""Which types meet in which type: the implicit conversions of Spark's ANSI mode.

Source: "ANSI Compliance" in Spark's SQL reference, sections "Type Conversion" and "Type Promotion and Precedence".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deltalite.model.expr import (
    DAY,
    DAY_TIME,
    DOUBLE,
    LONG,
    STRING,
    VOID,
    Cast,
    Expr,
    ExprType,
    IntervalType,
    Literal,
)
from deltalite.model.types import ArrayType, Field, MapType, PrimitiveType, StructType

INTEGRAL = ("byte", "short", "integer", "long")
_INTEGRAL_DIGITS = {"byte": 3, "short": 5, "integer": 10, "long": 20}
_RANK = {name: i for i, name in enumerate((*INTEGRAL, "float", "double"))}
_DATETIME_RANK = {"date": 0, "timestamp_ntz": 1, "timestamp": 2}


def name_of(t: ExprType | None) -> str:
    """``integer``, ``decimal``, ``array``, ``interval day``, ...: a type without its parameters."""
    if t is None:
        return "unbound"
    if isinstance(t, PrimitiveType) and t.is_decimal:
        return "decimal"
    return t.type


def is_integral(t: ExprType | None) -> bool:
    return name_of(t) in _INTEGRAL_DIGITS


def is_fractional(t: ExprType | None) -> bool:
    return name_of(t) in ("float", "double", "decimal")


def is_numeric(t: ExprType | None) -> bool:
    return is_integral(t) or is_fractional(t)


def is_decimal(t: ExprType | None) -> bool:
    return isinstance(t, PrimitiveType) and t.is_decimal


def is_atomic(t: ExprType | None) -> bool:
    return isinstance(t, PrimitiveType) and t.type not in ("void", "variant")


def decimal_for(t: ExprType) -> PrimitiveType:
    """The decimal that holds every value of an integral type, or the type itself when it is a decimal."""
    if is_decimal(t):
        return t  # type: ignore[return-value]
    return PrimitiveType(f"decimal({_INTEGRAL_DIGITS[name_of(t)]},0)")


def decimal(precision: int, scale: int) -> PrimitiveType:
    """A decimal type, cut to 38 digits as Spark does for results of arithmetic: whole digits win, but up to six
    digits behind the point are kept."""
    if precision > 38:
        whole = precision - scale
        scale = max(38 - whole, min(scale, 6))
        precision = 38
    return PrimitiveType(f"decimal({precision},{scale})")


def wider_decimal(a: ExprType, b: ExprType) -> PrimitiveType:
    """The decimal that holds the values of both, up to 38 digits."""
    x, y = decimal_for(a), decimal_for(b)
    scale = max(x.scale, y.scale)
    precision = max(x.precision - x.scale, y.precision - y.scale) + scale
    return PrimitiveType(f"decimal({min(precision, 38)},{min(scale, 38)})")


def tightest_type(a: ExprType, b: ExprType) -> ExprType | None:
    """The type both widen to without a string changing its kind; ``None`` when there is none."""
    if a == b:
        return a
    if a == VOID or b == VOID:
        return b if a == VOID else a
    left, right = name_of(a), name_of(b)
    if left in _RANK and right in _RANK:
        wider = max(left, right, key=lambda name: _RANK[name])
        return DOUBLE if wider == "float" else PrimitiveType(wider)
    if "decimal" in (left, right) and is_numeric(a) and is_numeric(b):
        return DOUBLE if {"float", "double"} & {left, right} else wider_decimal(a, b)
    if left in _DATETIME_RANK and right in _DATETIME_RANK:
        return PrimitiveType(max(left, right, key=lambda name: _DATETIME_RANK[name]))
    if {a, b} == {DAY, DAY_TIME}:
        return DAY_TIME
    return _nested(a, b, tightest_type)


def common_type(a: ExprType, b: ExprType) -> ExprType | None:
    """The type in which two values are compared or become branches of one CASE; ``None`` when there is none."""
    tightest = tightest_type(a, b)
    if tightest is not None:
        return tightest
    if a == STRING or b == STRING:
        other = b if a == STRING else a
        if is_integral(other):
            return LONG
        if is_fractional(other):
            return DOUBLE
        return other if is_atomic(other) else None
    return _nested(a, b, common_type)


def common_of(types: list[ExprType]) -> ExprType | None:
    """The common type of several values."""
    found: ExprType | None = VOID
    for t in types:
        if found is None:
            return None
        found = common_type(found, t)
    return found


def _nested(a: ExprType, b: ExprType, meet: Callable[[Any, Any], Any]) -> ExprType | None:
    if isinstance(a, ArrayType) and isinstance(b, ArrayType):
        element = meet(a.element_type, b.element_type)
        return None if element is None else ArrayType(element, a.contains_null or b.contains_null)
    if isinstance(a, MapType) and isinstance(b, MapType):
        key, value = meet(a.key_type, b.key_type), meet(a.value_type, b.value_type)
        return None if key is None or value is None else MapType(key, value)
    if isinstance(a, StructType) and isinstance(b, StructType) and len(a.fields) == len(b.fields):
        fields = []
        for x, y in zip(a.fields, b.fields, strict=True):
            t = meet(x.type, y.type)
            if t is None or x.name.lower() != y.name.lower():
                return None
            fields.append(Field(x.name, t, x.nullable or y.nullable))
        return StructType(fields)
    return None


def converted(expr: Expr, t: ExprType) -> Expr:
    """The typed expression as a value of the type, with a cast where they differ."""
    here = expr.type  # type: ignore[attr-defined]
    if here == t or (isinstance(here, ArrayType) and isinstance(t, ArrayType) and here.element_type == t.element_type):
        return expr
    if isinstance(expr, Literal):
        if expr.value is None:
            return Literal(None, t)
        if is_integral(here) and (t == DOUBLE or (is_integral(t) and _RANK[name_of(here)] < _RANK[name_of(t)])):
            return Literal(float(expr.value) if t == DOUBLE else expr.value, t)  # IN lists have many of these
    return Cast(expr, t)


def implicit_type(given: ExprType, wanted: str) -> ExprType | None:
    """The type to which an argument is converted where a function wants ``wanted``; ``None`` when it must not be.

    ``wanted`` is the name of a type or one of ``any``, ``numeric``, ``integral``, ``decimal``, ``array``, ``map``.
    """
    name = name_of(given)
    if wanted == "any" or name == wanted:
        return given
    if wanted == "numeric":
        return given if is_numeric(given) else DOUBLE if given in (STRING, VOID) else None
    if wanted == "integral":
        return given if is_integral(given) else LONG if given in (STRING, VOID) else None
    if wanted == "decimal":
        return decimal_for(given) if is_integral(given) else None
    if wanted in ("array", "map", "struct", "interval"):
        return given if wanted == "interval" and isinstance(given, IntervalType) else None
    target = PrimitiveType(wanted)
    if given == VOID:
        return target
    if given == STRING or wanted == "string":
        return target if is_atomic(given) and is_atomic(target) else None
    if is_numeric(given) and is_numeric(target):
        return None if is_fractional(given) and is_integral(target) else target
    if name in _DATETIME_RANK and wanted in _DATETIME_RANK:
        return target
    return None


def orderable(t: ExprType) -> bool:
    """Whether values of the type can be compared: everything but maps, variants and what holds them."""
    if isinstance(t, ArrayType):
        return orderable(t.element_type)
    if isinstance(t, StructType):
        return all(orderable(f.type) for f in t.fields)
    return not isinstance(t, MapType) and name_of(t) != "variant"
