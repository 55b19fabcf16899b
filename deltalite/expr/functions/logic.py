"""AND, OR, NOT and the tests for null, in three-valued logic.

AND and OR have no ``evaluate``: they decide which rows reach their right side, see :mod:`deltalite.expr.arrow`.
"""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, converted
from deltalite.expr.functions.registry import Function, Settings, add, function, wrong_arguments
from deltalite.expr.vectors import Datum
from deltalite.model.arrow import FALSE
from deltalite.model.expr import BOOLEAN, VOID, Call, Expr, type_name


def boolean(name: str, arg: Any) -> Expr:
    """The argument, which must be boolean or null."""
    if arg.type not in (BOOLEAN, VOID):
        raise ExpressionError(
            f"{name} takes conditions, not {type_name(arg.type)}", hint="compare it, e.g. with = or IS NOT NULL"
        )
    return converted(arg, BOOLEAN)


def _boolean_rule(row: Function, args: list[Any]) -> Expr:
    return Call(row.name, tuple(boolean(row.name.upper(), a) for a in args), BOOLEAN)


def _one_boolean(row: Function, args: list[Any]) -> Expr:
    if len(args) != 1:
        raise wrong_arguments(row, args, "arguments")
    return _boolean_rule(row, args)


add("and", _boolean_rule, None, strict=False, safe=True)
add("or", _boolean_rule, None, strict=False, safe=True)


@function("not", _one_boolean, safe=True)
def invert(settings: Settings, value: Datum) -> Datum:
    return pc.invert(value)


@function("is_null isnull", "any -> boolean", strict=False, safe=True)
def is_null(settings: Settings, value: Datum) -> Datum:
    return pc.is_null(value)


@function("is_true", _one_boolean, strict=False, safe=True)
def is_true(settings: Settings, value: Datum) -> Datum:
    return pc.fill_null(value, FALSE)


@function("is_false", _one_boolean, strict=False, safe=True)
def is_false(settings: Settings, value: Datum) -> Datum:
    return pc.fill_null(pc.invert(value), FALSE)


def _coalesce_rule(row: Function, args: list[Any]) -> Expr:
    if not args:
        raise wrong_arguments(row, args, "arguments")
    t = common_of([a.type for a in args])
    if t is None:
        raise wrong_arguments(row, args, "types")
    return Call("coalesce", tuple(converted(a, t) for a in args), t)


add("coalesce", _coalesce_rule, None, strict=False, safe=True)
