"""Predicates in the forms users bring them: SQL text, DNF lists, pyarrow and polars expressions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr.from_polars import from_polars
from deltalite.expr.from_pyarrow import from_pyarrow
from deltalite.expr.operators import Operand
from deltalite.expr.parse import parse_expression
from deltalite.model.expr import STRING, BoundExpr, Call, Cast, Column, Expr, Literal, and_, lit, not_, or_
from deltalite.model.types import PrimitiveType, StructType

_COMPARISONS = {"=": "=", "==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_OPERATORS = (*_COMPARISONS, "in", "not in")


def to_expr(value: Any, schema: StructType) -> Expr:
    """The expression that a value stands for, to be bound to the schema next.

    :param value: an :class:`Operand` or :class:`Expr`, SQL text, a DNF list of ``(column, operator, value)`` tuples
        (all must hold) or of lists of them (one list must hold), a ``pyarrow.compute.Expression`` or a polars ``Expr``.
    :raises ExpressionError: when the value is malformed, or has no exact counterpart here: whoever holds a pyarrow or
        polars expression can then evaluate it by that library.
    :raises InvalidArgumentError: when it is none of these.
    """
    if isinstance(value, BoundExpr):
        return value.expr
    if isinstance(value, Expr):
        return value
    if isinstance(value, Operand):
        return value.expr
    if isinstance(value, str):
        return parse_expression(value)
    if isinstance(value, (list, tuple)):
        return from_dnf(value, schema)
    module = type(value).__module__
    if module.startswith("pyarrow"):
        return from_pyarrow(value, schema)
    if module.startswith("polars"):
        return from_polars(value, schema)
    raise InvalidArgumentError(
        f"{type(value).__name__} is no predicate",
        hint="pass SQL text, a list of (column, operator, value), a pyarrow expression or a polars expression",
    )


def to_value(value: Any, schema: StructType) -> Expr | str:
    """What a column is assigned: SQL text as it is, other forms of expressions, and plain Python values."""
    if isinstance(value, (str, Expr)):
        return value
    of_pyarrow = type(value).__module__.startswith(("pyarrow.compute", "pyarrow._compute"))
    return to_expr(value, schema) if of_pyarrow or isinstance(value, (BoundExpr, Operand)) else lit(value)


def from_dnf(filters: Any, schema: StructType) -> Expr:
    """deltalake's filters: ``[("a", "=", 1), ("b", "in", ["x", "y"])]``, or a list of such lists for OR.

    Text given for a column of another type is read as that type, since partition filters carry text only; empty text
    then means null. ``None`` matches null. As in pyarrow, ``not in`` keeps rows where the column is null.

    :raises ExpressionError: for an unknown column or operator, or a malformed tuple.
    """
    if isinstance(filters, tuple) and len(filters) == 3 and isinstance(filters[0], str):
        filters = [filters]
    if all(isinstance(part, (list, tuple)) and part and isinstance(part[0], (list, tuple)) for part in filters):
        return or_(*(from_dnf(part, schema) for part in filters)) if filters else and_()
    return and_(*(_condition(part, schema) for part in filters))


def _condition(part: Any, schema: StructType) -> Expr:
    if not isinstance(part, (list, tuple)) or len(part) != 3 or not isinstance(part[0], str):
        raise ExpressionError(f"a filter is a tuple (column, operator, value), not {part!r}")
    name, operator, value = part
    column, data_type = _column(name, schema)
    sign = str(operator).strip().lower()
    if sign not in _OPERATORS:
        raise ExpressionError(f"unknown operator {operator!r} in {part!r}", hint=f"operators: {', '.join(_OPERATORS)}")
    if sign in ("in", "not in"):
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise ExpressionError(f"{sign!r} takes a list of values, not {value!r}", column=name)
        found = Call("is_true", (_among(column, [_value(v, data_type) for v in value]),))
        return found if sign == "in" else not_(found)
    constant = _value(value, data_type)
    if constant is None:
        if _COMPARISONS[sign] not in ("=", "!="):
            raise ExpressionError(f"nothing can be {sign} null in {part!r}", column=name)
        test = Call("is_null", (column,))
        return test if _COMPARISONS[sign] == "=" else not_(test)
    return Call(_COMPARISONS[sign], (column, constant))


def _column(name: str, schema: StructType) -> tuple[Column, Any]:
    """A column of exactly this name, or the field of a struct that a dotted name leads to."""
    field = schema.get(name)
    if field is not None:
        return Column((field.name,)), field.type
    path, here = [], schema
    for part in name.split("."):
        field = here.get(part) if isinstance(here, StructType) else None
        if field is None:
            raise ExpressionError(f"there is no column {name!r}", hint=f"the columns are: {', '.join(schema.names)}")
        path.append(field.name)
        here = field.type  # type: ignore[assignment]
    return Column(tuple(path)), here


def _value(value: Any, data_type: Any) -> Expr | None:
    """A constant for a column of a type; ``None`` for null."""
    if value is None:
        return None
    if isinstance(value, str) and data_type != STRING and isinstance(data_type, PrimitiveType):
        return Cast(Literal(value, STRING), data_type) if value else None
    if isinstance(value, dt.datetime) and data_type == PrimitiveType("date"):
        return lit(value)
    return lit(value)


def _among(column: Expr, values: list[Expr | None]) -> Expr:
    present = [v for v in values if v is not None]
    parts: list[Expr] = [Call("in", (column, *present))] if present else []
    if len(present) < len(values):
        parts.append(Call("is_null", (column,)))
    return or_(*parts)
