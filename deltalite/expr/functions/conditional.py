"""Choices between values, and the handling of null and NaN.

Most of these are spelled out as CASE or COALESCE when they are bound, so that a value that may fail is computed only
for the rows that choose it.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, converted, is_numeric
from deltalite.expr.functions.comparison import comparable, compare
from deltalite.expr.functions.logic import boolean
from deltalite.expr.functions.registry import Function, Settings, add, build, function, once_more, wrong_arguments
from deltalite.expr.vectors import Datum
from deltalite.model.arrow import FALSE
from deltalite.model.expr import BOOLEAN, Call, Case, Expr, Literal, lit, type_name


def choice(condition: Any, value: Any, otherwise: Any) -> Expr:
    """A typed ``CASE WHEN condition THEN value ELSE otherwise END``."""
    t = common_of([value.type, otherwise.type])
    if t is None:
        raise ExpressionError(f"no common type for {type_name(value.type)} and {type_name(otherwise.type)}")
    return Case(((boolean("if", condition), converted(value, t)),), converted(otherwise, t), t)


def _counted(count: int, rule: Any) -> Any:
    def counted(row: Function, args: list[Any]) -> Expr:
        if len(args) != count:
            raise wrong_arguments(row, args, "arguments")
        return rule(*args)

    return counted


def _is_null(value: Any) -> Call:
    return Call("is_null", (value,), BOOLEAN)


def _not_null(value: Any) -> Call:
    return Call("not", (_is_null(value),), BOOLEAN)


def _null_if(value: Any, other: Any) -> Expr:
    value = once_more("nullif", value)
    return Case(((build("=", value, other), Literal(None, value.type)),), value, value.type)


add("if iff", _counted(3, choice), None)
add("nvl ifnull", _counted(2, lambda a, b: build("coalesce", a, b)), None)
add("nvl2", _counted(3, lambda value, then, otherwise: choice(_not_null(value), then, otherwise)), None)
add("nullif", _counted(2, _null_if), None)
add("nullifzero", _counted(1, lambda value: _null_if(value, lit(0))), None)
add("zeroifnull", _counted(1, lambda value: build("coalesce", value, lit(0))), None)
add("isnotnull", _counted(1, _not_null), None)


@function("isnan", "double -> boolean", strict=False, safe=True)
def isnan(settings: Settings, value: Datum) -> Datum:
    return pc.fill_null(pc.is_nan(value), FALSE)


def _nanvl_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2 or not all(is_numeric(a.type) for a in args):
        raise wrong_arguments(row, args, "types")
    t = common_of([a.type for a in args])
    value, other = (converted(a, t) for a in args)  # type: ignore[arg-type]
    return Case(((build("isnan", once_more("nanvl", value)), other),), value, t)


add("nanvl", _nanvl_rule, None)


def _extreme_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) < 2:
        raise wrong_arguments(row, args, "arguments")
    shared = comparable(row.name, args) if len(args) > 2 else None
    t = common_of([a.type for a in args])
    if t is None:
        raise wrong_arguments(row, args, "types")
    values = shared or [converted(a, t) for a in args]
    return Call(row.name, tuple(values), t)


def _extreme(op: str) -> Any:
    """The greatest or least of the values that are not null; NaN is above every number."""

    def evaluate(settings: Settings, first: Datum, *others: Datum) -> Datum:
        found = first
        for other in others:
            better = pc.fill_null(compare(op, other, found), FALSE)
            found = pc.if_else(pc.or_(pc.is_null(found), better), other, found)
        return found

    return evaluate


add("greatest", _extreme_rule, _extreme(">"), strict=False, safe=True)
add("least", _extreme_rule, _extreme("<"), strict=False, safe=True)
