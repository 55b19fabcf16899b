"""SQL texts of a table's metadata, bound to its schema once instead of on every write."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TYPE_CHECKING

from deltalite._lazy import LazyModule
from deltalite.features.base import RowCheck
from deltalite.model.config import parse_schema
from deltalite.model.expr import Expr
from deltalite.model.types import StructType

if TYPE_CHECKING:
    from deltalite.expr import bind
else:
    bind = LazyModule("deltalite.expr.bind")

_SOME_TIMES = (dt.datetime(2001, 2, 3, 4, 5, 6, 7, dt.timezone.utc), dt.datetime(2012, 3, 4, tzinfo=dt.timezone.utc))


def row_check(name: str, text: str, schema_string: str) -> RowCheck:
    """The check of a condition over the columns of a schema. The current time is that of the call.

    :raises ExpressionError: when the text is malformed, names what the schema lacks, or is no condition.
    """
    check, changes = _row_check(name, text, schema_string)
    return RowCheck(name, text, bind.bind_predicate(text, parse_schema(schema_string))) if changes else check


@lru_cache(maxsize=256)
def _row_check(name: str, text: str, schema_string: str) -> tuple[RowCheck, bool]:
    schema = parse_schema(schema_string)
    return RowCheck(name, text, bind.bind_predicate(text, schema)), tells_time(text, schema)


def tells_time(expr: Expr | str, schema: StructType) -> bool:
    """Whether the expression means something else at another time."""
    first, second = (bind.bind(expr, schema, now=moment).expr for moment in _SOME_TIMES)
    return first != second
