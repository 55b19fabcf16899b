"""Evaluation of bound expressions over Arrow batches, with Spark's ANSI semantics.

Kernels compute whole columns, but SQL promises that ``CASE WHEN b <> 0 THEN a / b END`` does not fail where ``b`` is 0.
So AND, OR, CASE and COALESCE compute a part that may fail only for the rows that reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.functions import lookup
from deltalite.expr.functions.casts import cast
from deltalite.expr.functions.registry import Settings
from deltalite.expr.sql import to_sql
from deltalite.expr.vectors import (
    Datum,
    arrow_type,
    bools,
    broadcast,
    from_numpy,
    literal_scalar,
    numpy_bools,
    scalar_null,
    valid_mask,
)
from deltalite.model.arrow import FALSE
from deltalite.model.expr import BoundExpr, Call, Case, Cast, Column, Expr, Literal, walk_expr


def evaluate(bound: BoundExpr, batch: pa.RecordBatch | pa.Table) -> pa.Array:
    """The value of the expression for every row, of exactly the Arrow type of ``bound.type``.

    :param batch: the rows, with the logical names of the schema that the expression is bound to.
    :raises ExpressionError: where SQL says so: division by zero, overflow, a text that is no number, ...
    """
    if isinstance(batch, pa.Table):
        parts = [evaluate(bound, part) for part in batch.to_batches()]
        return pa.concat_arrays(parts) if parts else pa.nulls(0, arrow_type(bound.type))
    return evaluate_rows(bound, Rows(batch, bound.time_zone))


def true_mask(bound: BoundExpr, batch: pa.RecordBatch | pa.Table) -> pa.BooleanArray:
    """Where the condition holds; null counts as false, so the mask has no nulls."""
    found = evaluate(bound, batch)
    return pc.fill_null(found, FALSE) if found.null_count else found


class Rows:
    """The rows of a batch, or some of them, with each column converted and filtered once, when first used."""

    def __init__(self, batch: pa.RecordBatch | None, time_zone: str, length: int | None = None) -> None:
        self.batch = batch
        self.time_zone = time_zone
        self.length = batch.num_rows if batch is not None else length or 0
        self.cache: dict[tuple[str, ...], pa.Array] = {}
        self.parent: Rows | None = None
        self.mask: pa.Array | None = None

    def only(self, chosen: np.ndarray) -> Rows:
        """The chosen rows."""
        rows = Rows(None, self.time_zone, int(np.count_nonzero(chosen)))
        rows.parent, rows.mask = self, bools(chosen)
        return rows

    def column(self, column: Column) -> pa.Array:
        found = self.cache.get(column.path)
        if found is None:
            if self.parent is not None:
                found = self.parent.column(column).filter(self.mask)
            else:
                found = self._read(column)
            self.cache[column.path] = found
        return found

    def _read(self, column: Column) -> pa.Array:
        index = -1 if self.batch is None else self.batch.schema.get_field_index(column.path[0])
        if self.batch is None or index < 0:
            raise ExpressionError(f"the batch has no column {column.path[0]!r}", column=column.path)
        values: Any = self.batch.column(index)
        for name in column.path[1:]:
            values = pc.struct_field(values, [values.type.get_field_index(name)])
        return conform(values, arrow_type(column.type))  # type: ignore[arg-type]


def conform(values: Any, wanted: pa.DataType) -> pa.Array:
    """The same values in the Arrow type that evaluation expects: dictionaries, views and 64-bit offsets unpacked."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if values.type == wanted:
        return values
    try:
        return pc.cast(values, wanted)
    except pa.ArrowException as error:
        raise ExpressionError(
            f"a column of the Arrow type {values.type} cannot be read as {wanted}: {error}"
        ) from error


def evaluate_rows(bound: BoundExpr, rows: Rows) -> pa.Array:
    try:
        found = broadcast(value_of(bound.expr, rows), rows.length)
    except RecursionError:
        raise ExpressionError("the expression nests too deeply") from None
    wanted = arrow_type(bound.type)
    return found if found.type == wanted else pc.cast(found, wanted)


def value_of(expr: Expr, rows: Rows) -> Datum:
    """The value of a node: an array with one element per row, or a scalar for all of them."""
    if isinstance(expr, Literal):
        return literal_scalar(expr)
    if isinstance(expr, Column):
        return rows.column(expr)
    if isinstance(expr, Case):
        return _case(expr, rows)
    if isinstance(expr, Call) and expr.function in _LAZY:
        return _LAZY[expr.function](expr, rows)
    try:
        if isinstance(expr, Cast):
            source: Any = expr.operand
            return cast(value_of(expr.operand, rows), source.type, expr.type, rows.time_zone, expr.try_)
        if isinstance(expr, Call) and expr.type is not None:
            compute = lookup(expr.function).evaluate
            if compute is not None:
                args = [value_of(arg, rows) for arg in expr.args]
                return compute(Settings(expr.type, rows.time_zone, rows.length), *args)
    except pa.ArrowException as error:
        raise _failure(expr, error) from error
    raise ExpressionError(f"{to_sql(expr)} is not bound to a schema", hint="bind() it first")


def _failure(expr: Expr, error: Exception) -> ExpressionError:
    text = str(error)
    reason = {"overflow": "the result overflows", "divide by zero": "division by zero"}.get(text, text)
    return ExpressionError(f"{reason} in {to_sql(expr)}", reason=text)


def may_fail(expr: Expr) -> bool:
    """Whether some values of its columns make the expression raise."""
    return any(isinstance(n, Cast) or (isinstance(n, Call) and not lookup(n.function).safe) for n in walk_expr(expr))


def _logic(stops_at: bool, kernel: Callable[[Datum, Datum], Datum]) -> Callable[[Any, Rows], Datum]:
    """AND and OR: a part that may fail sees only rows that the parts before it have not decided."""

    def compute(expr: Call, rows: Rows) -> Datum:
        found = value_of(expr.args[0], rows)
        for arg in expr.args[1:]:
            if not may_fail(arg):
                found = kernel(found, value_of(arg, rows))
                continue
            known = broadcast(found, rows.length)
            decided = valid_mask(known) & (numpy_bools(known) == stops_at)
            found = kernel(known, spread(arg, rows, ~decided, pa.bool_()))
        return found

    return compute


def spread(expr: Expr, rows: Rows, chosen: np.ndarray, t: pa.DataType) -> Datum:
    """The value of a node for the chosen rows, null for the others, computed for the chosen ones only."""
    if chosen.all():
        return value_of(expr, rows)
    if not chosen.any():
        return pa.nulls(rows.length, t)
    part = rows.only(chosen)
    values = broadcast(value_of(expr, part), part.length)
    return values.take(from_numpy(np.cumsum(chosen) - 1, pa.int64(), chosen))


def _case(expr: Case, rows: Rows) -> Datum:
    t = arrow_type(expr.type)  # type: ignore[arg-type]
    if not may_fail(expr):
        return _eager_case(expr, rows, t)
    waiting = np.ones(rows.length, dtype=bool)
    found: Datum = pa.nulls(rows.length, t)
    for condition, value in expr.branches:
        holds = numpy_bools(broadcast(spread(condition, rows, waiting, pa.bool_()), rows.length)) & waiting
        found = pc.if_else(bools(holds), spread(value, rows, holds, t), found)
        waiting &= ~holds
        if not waiting.any():
            return found
    if expr.otherwise is not None:
        found = pc.if_else(bools(waiting), spread(expr.otherwise, rows, waiting, t), found)
    return found


def _eager_case(expr: Case, rows: Rows, t: pa.DataType) -> Datum:
    found = scalar_null(t) if expr.otherwise is None else value_of(expr.otherwise, rows)
    for condition, value in reversed(expr.branches):
        found = pc.if_else(pc.fill_null(value_of(condition, rows), FALSE), value_of(value, rows), found)
    return found


def _coalesce(expr: Call, rows: Rows) -> Datum:
    t = arrow_type(expr.type)  # type: ignore[arg-type]
    found: pa.Array = broadcast(value_of(expr.args[0], rows), rows.length)
    for arg in expr.args[1:]:
        if not found.null_count:
            break
        missing = ~valid_mask(found)
        found = pc.if_else(bools(missing), spread(arg, rows, missing, t), found)
    return found


_LAZY: dict[str, Callable[[Any, Rows], Datum]] = {
    "and": _logic(False, pc.and_kleene),
    "or": _logic(True, pc.or_kleene),
    "coalesce": _coalesce,
}
