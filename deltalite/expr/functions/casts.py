"""CAST."""

from __future__ import annotations

import pyarrow.compute as pc

from deltalite.expr.vectors import Datum, arrow_type
from deltalite.model.expr import ExprType


def cast(value: Datum, source: ExprType, target: ExprType, time_zone: str, try_: bool = False) -> Datum:
    return pc.cast(value, arrow_type(target))


def check_cast(source: ExprType, target: ExprType, try_: bool = False) -> None:
    """Refuse a cast that Spark's ANSI mode does not know."""
