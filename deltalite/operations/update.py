"""UPDATE: rows get new values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.assignments import assignments
from deltalite.expr.convert import to_value
from deltalite.expr.joined import bound_like
from deltalite.expr.scope import Scope
from deltalite.features.base import WriteStep
from deltalite.model.change import TARGET, Clause, RowChanges
from deltalite.model.expr import BoundExpr, Cast, Column, Expr, lit
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import StructType
from deltalite.operations.delete import bound_predicate, reads_of, row_spec
from deltalite.scan import plan as planning
from deltalite.write.options import WriterProperties


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Which columns of which rows get which values.

    :param updates: SQL text or an expression by column, or by a field inside of a struct (``addr.city``).
    :param new_values: Python values by column.
    :param predicate: any form that a scan takes; ``None`` for all rows.
    :param error_on_type_mismatch: when false, a value that its column's type cannot hold becomes null.
    """

    updates: Mapping[str, Expr | str] | None = None
    new_values: Mapping[str, Any] | None = None
    predicate: Any = None
    writer_properties: WriterProperties | None = None
    error_on_type_mismatch: bool = True
    time_zone: str = "UTC"
    alias: str | None = field(default=None)


def plan(request: UpdateRequest, base: Snapshot, txn_id: str) -> RowChanges:
    """
    :raises InvalidArgumentError: when nothing is assigned, or one column twice.
    :raises ExpressionError: for an unknown column or a value that does not fit.
    """
    config = base.config
    given = {name: to_value(value, config.schema) for name, value in (request.updates or {}).items()}
    if not given and not request.new_values:
        raise InvalidArgumentError("an update without new values", hint="updates={'column': 'SQL expression'}")
    for name, value in (request.new_values or {}).items():
        if name in given:
            raise InvalidArgumentError(f"column {name!r} is in updates and in new_values", column=name)
        given[name] = lit(value)
    scope = Scope.of(config.schema, request.alias)
    assigned = assignments(given, config.schema, scope, time_zone=request.time_zone)
    features.ensure_assignable(config, assigned, "update")
    if not request.error_on_type_mismatch:
        assigned = lenient(assigned, config.schema)
    steps = features.write_steps(config)
    predicate, parameters = bound_predicate(config, request.predicate, request.time_zone)
    files = planning.plan(base, predicate=predicate, columns=())
    return RowChanges(
        config=config,
        plan=files,
        clauses=(Clause("not_matched_by_source", "update", None, new_row(config.schema, assigned, steps)),),
        spec=row_spec(config, txn_id, request.writer_properties, steps),
        operation="UPDATE",
        parameters=parameters,
        reads=reads_of(files, predicate),
        readable=scope.readable,
    )


def new_row(schema: StructType, assigned: Mapping[str, BoundExpr], steps: Iterable[WriteStep]) -> dict[str, BoundExpr]:
    """The values of an updated row: what is assigned, and the old ones; generated columns are computed anew.

    :param schema: the columns that the old row has.
    """
    generated = {a.column for step in steps for a in step.assignments if a.verify}
    kept = {f.name: old_value(f.name, f.type) for f in schema.fields if f.name not in generated}
    return {**kept, **assigned}


def old_value(name: str, data_type: Any) -> BoundExpr:
    """A column of the table's row, over joined rows."""
    column = Column((TARGET + name,), data_type)
    return BoundExpr(column, data_type, "UTC", frozenset((column.path,)))


def lenient(values: Mapping[str, BoundExpr], schema: StructType) -> dict[str, BoundExpr]:
    """The values cast to the types of their columns, null where one does not fit."""
    found = {}
    for name, bound in values.items():
        wanted = schema.get(name)
        if wanted is not None and bound.type != wanted.type:
            bound = bound_like(bound, Cast(bound.expr, wanted.type, True))
        found[name] = bound
    return found
