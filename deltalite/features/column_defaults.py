"""allowColumnDefaults: values for columns that the rows lack (PROTOCOL.md, "Default Columns").

A default never replaces an explicit null, and old files know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deltalite._lazy import LazyModule
from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.features.base import Assignment, Feature, WriteStep
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr, Cast, columns_of, is_literal
from deltalite.model.types import Field, StructType

if TYPE_CHECKING:
    from deltalite.expr import bind, parse
else:
    bind, parse = LazyModule("deltalite.expr.bind"), LazyModule("deltalite.expr.parse")

KEY = "CURRENT_DEFAULT"
_NO_COLUMNS = StructType([])


def _write(config: TableConfig) -> WriteStep | None:
    fields = [f for f in config.schema.fields if KEY in f.metadata]
    return WriteStep(assignments=tuple(Assignment(f.name, _bound(f)) for f in fields)) if fields else None


def _bound(f: Field) -> BoundExpr:
    parsed = Cast(parse.parse_expression(f.metadata[KEY]), f.type)
    try:
        return bind.bind(parsed, _NO_COLUMNS)
    except ExpressionError:
        # Spark may know functions that we do not. Evaluating the unbound tree says so, and only rows that lack the
        # column come to that.
        return BoundExpr(parsed, f.type, "UTC", frozenset())


def _check(config: TableConfig) -> None:
    for f in config.schema.fields:
        if KEY not in f.metadata:
            continue
        parsed = parse.parse_expression(f.metadata[KEY])
        if f.type.type == "variant" and not is_literal(parsed, None):
            raise InvalidArgumentError(f"the default of the variant column {f.name!r} can only be NULL", column=f.name)
        try:
            bind.bind(Cast(parsed, f.type), _NO_COLUMNS)
        except ExpressionError as error:
            if not columns_of(parsed):
                raise
            names = ", ".join(".".join(path) for path in sorted(columns_of(parsed)))
            raise InvalidArgumentError(
                f"the default of column {f.name!r} is a constant, but it names {names}", column=f.name
            ) from error


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(KEY in f.metadata for f in schema.fields)


def _in_use(config: TableConfig) -> str | None:
    found = [f.name for f in config.schema.fields if KEY in f.metadata]
    return f"the defaults of {found}" if found else None


FEATURE = Feature("allowColumnDefaults", implied_by=_implied, check=_check, write=_write, in_use=_in_use)
