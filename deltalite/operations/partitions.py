"""Predicates that say which partitions a set of files lies in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from deltalite import features
from deltalite.expr.bind import bind_predicate
from deltalite.model.actions import AddFile
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr, Call, Column, Expr, Literal
from deltalite.model.partition import parse
from deltalite.model.types import DataType, PrimitiveType

_EPOCH = dt.datetime(1970, 1, 1)
_BOOLEAN = PrimitiveType("boolean")


def matching_partitions(config: TableConfig, files: Sequence[AddFile]) -> BoundExpr:
    """True for exactly the rows of the partitions that the files lie in; true for all in an unpartitioned table."""
    keys = features.partition_keys(config)
    distinct = list(dict.fromkeys(tuple(f.partition_values.get(key) for key in keys) for f in files))
    expression: Expr = Literal(True, _BOOLEAN)
    if keys:
        expression = _any_of([_all_of(config, values) for values in distinct])
    return bind_predicate(expression, config.schema)


def _all_of(config: TableConfig, values: tuple[str | None, ...]) -> Expr:
    found: Expr | None = None
    for f, text in zip(config.partition_fields, values, strict=True):
        equal = Call("<=>", (Column((f.name,)), Literal(_value(text, f.type), f.type)))
        found = equal if found is None else Call("and", (found, equal))
    assert found is not None
    return found


def _any_of(terms: list[Expr]) -> Expr:
    """A balanced OR, so that thousands of partitions do not nest thousands of levels deep."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return Call("or", (_any_of(terms[:middle]), _any_of(terms[middle:])))


def _value(text: str | None, data_type: DataType) -> Any:
    value = parse(text, data_type)
    if value is None:
        return None
    if data_type.type == "date":
        return dt.date.fromordinal(value + 719163)
    if data_type.type in ("timestamp", "timestamp_ntz"):
        moment = _EPOCH + dt.timedelta(microseconds=value)
        return moment.replace(tzinfo=dt.timezone.utc) if data_type.type == "timestamp" else moment
    return value
