"""allowColumnDefaults: values for columns that the rows lack (PROTOCOL.md, "Default Columns").

A default never replaces an explicit null, and old files know nothing of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.expr.bind import bind
from deltalite.expr.parse import parse_expression
from deltalite.features.base import Assignment, Feature, WriteStep
from deltalite.model.config import TableConfig
from deltalite.model.expr import (
    DATE,
    TIMESTAMP,
    BoundExpr,
    Call,
    Cast,
    Column,
    Expr,
    Literal,
    children,
    columns_of,
    with_children,
)
from deltalite.model.types import Field, StructType

KEY = "CURRENT_DEFAULT"
_NOW = ("current_timestamp", "now")
_TODAY = ("current_date", "curdate")
_NO_COLUMNS = StructType([])


def _write(config: TableConfig) -> WriteStep | None:
    fields = [f for f in config.schema.fields if KEY in f.metadata]
    return WriteStep(assignments=tuple(Assignment(f.name, _bound(f)) for f in fields)) if fields else None


def _bound(f: Field) -> BoundExpr:
    parsed = Cast(_at_this_moment(parse_expression(f.metadata[KEY])), f.type)
    try:
        return bind(parsed, _NO_COLUMNS)
    except ExpressionError:
        # Spark may know functions that we do not. Evaluating the unbound tree says so, and only rows that lack the
        # column come to that.
        return BoundExpr(parsed, f.type, "UTC", frozenset())


def _at_this_moment(expr: Expr) -> Expr:
    """The expression with the current time, which Spark allows in defaults, as a constant."""
    name = expr.function if isinstance(expr, Call) and not expr.args else None
    if isinstance(expr, Column) and len(expr.path) == 1:
        name = expr.path[0].lower()
    if name in _NOW:
        return Literal(dt.datetime.now(dt.timezone.utc), TIMESTAMP)
    if name in _TODAY:
        return Literal(dt.datetime.now(dt.timezone.utc).date(), DATE)
    return with_children(expr, [_at_this_moment(part) for part in children(expr)])


def _check(config: TableConfig) -> None:
    for f in config.schema.fields:
        if KEY not in f.metadata:
            continue
        parsed = _at_this_moment(parse_expression(f.metadata[KEY]))
        if named := columns_of(parsed):
            names = ", ".join(".".join(path) for path in sorted(named))
            raise InvalidArgumentError(f"the default of column {f.name!r} is a constant, but it names {names}")
        if f.type.type == "variant" and getattr(parsed, "value", 0) is not None:
            raise InvalidArgumentError(f"the default of the variant column {f.name!r} can only be NULL")
        bind(Cast(parsed, f.type), _NO_COLUMNS)


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(KEY in f.metadata for f in schema.fields)


FEATURE = Feature("allowColumnDefaults", implied_by=_implied, check=_check, write=_write)
