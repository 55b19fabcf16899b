"""Statements that change rows, run by the methods of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalite.exceptions import ExpressionError, SchemaMismatchError
from deltalite.expr.arrow import Rows, evaluate_rows
from deltalite.expr.assignments import Default, default_of
from deltalite.expr.bind import bind
from deltalite.expr.coerce import common_of, converted
from deltalite.expr.joined import bound_like
from deltalite.expr.scope import Path, Scope, rewritten
from deltalite.expr.statements import Delete, Insert, Merge, Statement, Update, WhenClause
from deltalite.expr.vectors import values_array
from deltalite.interop.input import to_reader
from deltalite.model.change import TARGET
from deltalite.model.expr import VOID, Column, Expr, IntervalType, Literal, quote_name, type_name
from deltalite.model.types import Field, PrimitiveType, StructType

_NO_COLUMNS = StructType([])


def run(statement: Statement, target: Any, source: Any = None, **arguments: Any) -> Any:
    """What the statement says, done to a table.

    :param target: the ``DeltaTable`` that the statement changes.
    :param source: what its source stands for: anything that ``interop.input.to_reader`` takes.
    :param arguments: more arguments of the method of the table (``dry_run``, ``memory_limit``); none for INSERT.
    :return: the ``CommitResult``; with ``dry_run`` the ``ChangePreview``.
    :raises ExpressionError: for names and types that do not fit.
    """
    if isinstance(statement, Merge):
        return _merge(statement, target, source, **arguments)
    if isinstance(statement, Insert):
        return _insert(statement, target, source)
    scope = Scope.of(target.schema(), statement.target.qualifier)
    predicate = None if statement.condition is None else _plain(statement.condition, scope)
    if isinstance(statement, Delete):
        return target.delete(predicate, **arguments)
    assert isinstance(statement, Update)
    values = [(path, _plain(value, scope)) for path, value in statement.values]
    return target.update(_updates(values, scope), predicate=predicate, **arguments)


def _plain(expr: Expr, scope: Scope) -> Expr:
    """The expression with the bare names of the table's columns."""

    def bare(node: Expr) -> Expr:
        if not isinstance(node, Column) or not node.path[0].startswith(TARGET):
            return node
        return Column((node.path[0].removeprefix(TARGET), *node.path[1:]))

    return rewritten(scope.resolve(expr), bare)


def _updates(values: Iterable[tuple[Path, Expr]], scope: Scope) -> dict[str, Expr]:
    """Assignments by the column's name, without the table's."""
    found: dict[str, Expr] = {}
    for path, value in values:
        name = ".".join(map(quote_name, scope.assigned(path)))
        if name in found:
            raise ExpressionError(f"{name} is assigned twice", name=path[-1], column=name)
        found[name] = value
    return found


# -- MERGE -----------------------------------------------------------------------------------------------------------


def _merge(statement: Merge, target: Any, source: Any, dry_run: bool = False, **arguments: Any) -> Any:
    names = statement.target.qualifier, statement.source.qualifier
    merger = target.merge(
        source, statement.condition, target_alias=names[0], source_alias=names[1],
        merge_schema=statement.schema_evolution, **arguments,
    )  # fmt: skip
    scope = Scope.of(target.schema(), names[0], _NO_COLUMNS, names[1])
    for clause in statement.clauses:
        given: dict[str, Any] = {"predicate": clause.condition}
        if clause.star:
            given["except_cols"] = list(clause.except_columns)
        elif clause.values is not None:
            given["updates"] = _updates(clause.values, scope)
        getattr(merger, _method(clause))(**given)
    return merger.execute(dry_run=dry_run)


def _method(clause: WhenClause) -> str:
    return f"when_{clause.when}_{clause.action}{'_all' if clause.star else ''}"


# -- INSERT ----------------------------------------------------------------------------------------------------------


def _insert(statement: Insert, target: Any, source: Any) -> Any:
    schema: StructType = target.schema()
    fields = _fields(statement.columns, schema)
    if statement.rows is not None:
        data: Any = _values(statement.rows, fields)
    else:
        data = to_reader(source, schema=schema)
        if not statement.by_name:
            data = _by_place(data, fields, explicit=statement.columns is not None)
    if statement.replace_where is not None:
        scope = Scope.of(schema, statement.target.qualifier)
        return target.overwrite(data, predicate=_plain(statement.replace_where, scope))
    return target.overwrite(data) if statement.overwrite else target.append(data)


def _fields(columns: Sequence[str] | None, schema: StructType) -> list[Field]:
    """The table's columns that get values, in the order of the values."""
    if columns is None:
        return list(schema.fields)
    keys = Scope.of(schema)
    found: dict[str, Field] = {}
    for name in columns:
        field = schema.get(name)
        if field is None:
            raise keys.unknown((name,))
        if field.name in found:
            raise ExpressionError(f"the column {field.name!r} is listed twice", name=name)
        found[field.name] = field
    return list(found.values())


def _by_place(reader: pa.RecordBatchReader, fields: Sequence[Field], explicit: bool) -> pa.RecordBatchReader:
    """The rows under the table's names, which they get by their places, as in SQL.

    :param explicit: the statement lists the columns.
    :raises SchemaMismatchError: when there are more or fewer columns, or they stand in other places than their names.
    """
    names = [f.name for f in fields]
    if len(names) != len(reader.schema.names):
        raise SchemaMismatchError(
            f"{len(names)} columns ({', '.join(names)}) get {len(reader.schema.names)} "
            f"({', '.join(reader.schema.names)})",
            hint="INSERT INTO t BY NAME matches columns by their names",
        )
    folded = [name.lower() for name in names]
    moved = [had for had, at in zip(reader.schema.names, folded, strict=True) if had.lower() in {*folded} - {at}]
    if moved and not explicit:
        raise SchemaMismatchError(
            f"INSERT goes by the places of columns, and {', '.join(moved)} would become columns of other names",
            hint="write INSERT INTO t BY NAME ... to go by names, or list the columns: INSERT INTO t (a, b) ...",
            columns=moved,
        )
    schema = pa.schema([f.with_name(name) for f, name in zip(reader.schema, names, strict=True)])
    return pa.RecordBatchReader.from_batches(
        schema, (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
    )


def _values(rows: Sequence[Sequence[Expr]], fields: Sequence[Field]) -> pa.Table:
    """The rows of VALUES. A column whose every value is DEFAULT is left out, for the table to fill."""
    for number, row in enumerate(rows, start=1):
        if len(row) != len(fields):
            raise ExpressionError(
                f"row {number} has {len(row)} values for {len(fields)} columns",
                hint="list the columns that get values: INSERT INTO t (a, b) VALUES ...",
            )
    columns: Mapping[str, pa.Array] = {
        field.name: _column(field, [row[at] for row in rows])
        for at, field in enumerate(fields)
        if not all(isinstance(row[at], Default) for row in rows)
    }
    if not columns:
        raise ExpressionError("every value is DEFAULT", hint="give at least one column a value, if only NULL")
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _column(field: Field, values: Sequence[Expr]) -> pa.Array:
    bound = [default_of((field.name,), field) if isinstance(v, Default) else bind(v, _NO_COLUMNS) for v in values]
    kind = common_of([b.type for b in bound])
    if kind is None or isinstance(kind, IntervalType):
        shown = ", ".join(sorted({type_name(b.type) for b in bound}))
        raise ExpressionError(f"the values of column {field.name!r} have no type in common that a table holds: {shown}")
    alike = [bound_like(b, converted(b.expr, field.type if kind == VOID else kind)) for b in bound]
    literals = [b.expr for b in alike if isinstance(b.expr, Literal)]
    if len(literals) == len(alike) and isinstance(literals[0].type, PrimitiveType):
        return values_array([literal.value for literal in literals], literals[0].type)
    return pa.concat_arrays([evaluate_rows(b, Rows(None, b.time_zone, 1)) for b in alike])
