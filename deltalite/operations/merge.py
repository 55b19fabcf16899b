"""MERGE: rows of a source update, delete and join the rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.spill import Source
from deltalite.exceptions import ExpressionError, InvalidArgumentError, SchemaMismatchError
from deltalite.expr.assignments import assignments, insertions
from deltalite.expr.convert import to_expr, to_value
from deltalite.expr.functions.registry import build
from deltalite.expr.joined import bound_like, split_match, target_only
from deltalite.expr.parse import parse_expression
from deltalite.expr.scope import Scope
from deltalite.expr.simplify import simplified
from deltalite.interop.input import to_reader
from deltalite.model.actions import Action
from deltalite.model.change import SOURCE, Clause, ClauseAction, KeyPair, Match, RowChanges, When
from deltalite.model.config import TableConfig
from deltalite.model.expr import BOOLEAN, STRING, BoundExpr, Call, Case, Column, Expr, Literal, and_, or_
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import DataType, Field, Schema, StructType
from deltalite.operations.delete import reads_of, row_spec
from deltalite.operations.evolution import evolved_schema
from deltalite.operations.update import lenient, new_row, old_value
from deltalite.scan import plan as planning
from deltalite.write.conform import conform
from deltalite.write.options import WriterProperties

KEYS_LISTED = 64
"""Distinct key values of the source up to which files are pruned by each of them, not by their range only."""

_FLOATS = ("float", "double")


@dataclass(frozen=True, slots=True)
class ClauseRequest:
    """One clause as the user gave it.

    :param updates: values by column; ``None``: every column of the source gives its namesake the value.
    :param except_cols: with ``updates=None``, columns left out.
    """

    when: When
    action: ClauseAction
    predicate: Expr | str | None = None
    updates: Mapping[str, Expr | str] | None = None
    except_cols: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """A source, when its rows match the table's, and what then happens.

    :param source: anything that ``interop.input.to_reader`` takes; read once.
    :param predicate: the match condition.
    :param merge_schema: add columns of the source that the table lacks and that a clause assigns.
    :param error_on_type_mismatch: when false, a value that its column's type cannot hold becomes null.
    """

    source: Any
    predicate: Expr | str
    clauses: tuple[ClauseRequest, ...]
    source_alias: str | None = None
    target_alias: str | None = None
    merge_schema: bool = False
    error_on_type_mismatch: bool = True
    writer_properties: WriterProperties | None = None
    time_zone: str = "UTC"


def plan(
    request: MergeRequest,
    base: Snapshot,
    txn_id: str,
    engine: ArrowEngine,
    select: Callable[[Source, Match], Source] | None = None,
) -> RowChanges:
    """Evaluates the source, once; reads nothing of the table but its log.

    :param select: leaves some rows of the source out, which are then no part of it.
    :raises InvalidArgumentError: without clauses, or with one that can never be reached.
    :raises ExpressionError: for names and types that do not fit.
    """
    _check_clauses(request.clauses)
    reader = to_reader(request.source, schema=base.config.schema)
    schema = Schema.from_arrow(reader.schema)
    binder = _Binder(request, base, schema)
    source = engine.source(_canonical(reader, schema))
    try:
        if select is not None:
            source = select(source, binder.match)
        return _planned(request, base, txn_id, binder, source)
    except BaseException:
        source.close()
        raise


def _planned(request: MergeRequest, base: Snapshot, txn_id: str, binder: _Binder, source: Source) -> RowChanges:
    match = binder.match
    keeps_all = any(c.when == "not_matched_by_source" for c in request.clauses)
    predicate = None if keeps_all else _pruning(match, source)
    files = planning.plan(base, predicate=predicate, columns=())
    reads = reads_of(files, predicate)
    if not keeps_all:
        files = replace(files, predicate=None if match.target is None else target_only(match.target))
        match = replace(match, target=None)
    return RowChanges(
        config=base.config,
        plan=files,
        clauses=tuple(binder.clauses),
        spec=row_spec(binder.config, txn_id, request.writer_properties, binder.steps),
        operation="MERGE",
        parameters=binder.parameters(),
        source=source,
        match=match,
        reads=reads,
        actions=binder.actions,
        readable=binder.readable,
    )


def _canonical(reader: pa.RecordBatchReader, schema: Schema) -> pa.RecordBatchReader:
    """The rows in the types that a table would give them, whatever views, dictionaries or units they came in."""
    plan = conform(reader.schema, schema)
    return pa.RecordBatchReader.from_batches(plan.schema, map(plan.apply, reader))


def _check_clauses(clauses: Sequence[ClauseRequest]) -> None:
    if not clauses:
        raise InvalidArgumentError(
            "a merge without clauses does nothing", hint="add when_matched_update_all(), when_not_matched_insert_all()"
        )
    last: dict[str, ClauseRequest] = {}
    for clause in clauses:
        before = last.get(clause.when)
        if before is not None and before.predicate is None:
            raise InvalidArgumentError(
                f"a clause {clause.when.replace('_', ' ')} ({clause.action}) follows one without a condition, "
                "so that it could never apply",
                hint="give the earlier clause a predicate, or swap them",
            )
        last[clause.when] = clause


# -- which files ---------------------------------------------------------------------------------------------------


def _pruning(match: Match, source: Source) -> BoundExpr | None:
    """What every row of the table that the source matches satisfies, over the table's columns."""
    parts = [] if match.target is None else [target_only(match.target)]
    parts += [found for key in match.keys if (found := _key_range(key, source)) is not None]
    return bound_like(parts[0], and_(*(p.expr for p in parts))) if parts else None


def _key_range(key: KeyPair, source: Source) -> BoundExpr | None:
    """The keys that the source has, as a condition on the table's."""
    target, kind = target_only(key.target), key.source.type
    if getattr(kind, "type", None) in _FLOATS:  # NaN and the two zeros
        return None
    values = source.distinct(key.source, KEYS_LISTED)
    low, high, nulls = source.bounds(key.source)
    if values is not None:
        known = Call("in", (target.expr, *(Literal(v, kind) for v in values)), BOOLEAN)
        tests: list[Expr] = [simplified(known)] if values else []
    elif low is not None:
        ends = (
            Call(">=", (target.expr, Literal(low, kind)), BOOLEAN),
            Call("<=", (target.expr, Literal(high, kind)), BOOLEAN),
        )
        tests = [and_(*ends)]
    else:
        return None
    if key.null_safe and nulls:
        tests.append(Call("is_null", (target.expr,), BOOLEAN))
    return bound_like(target, or_(*tests))


# -- what happens --------------------------------------------------------------------------------------------------


class _Binder:
    """The clauses of a merge against the two schemas, and the table's configuration after it."""

    def __init__(self, request: MergeRequest, base: Snapshot, source: StructType) -> None:
        self._request = request
        self._table = base.config.schema
        self._source = source
        self._scope = Scope.of(self._table, request.target_alias, source, request.source_alias)
        self._on = self._scope.bind_predicate(self._expr(request.predicate), time_zone=request.time_zone)
        self.match = split_match(self._on)
        self.config, self.actions = self._evolved(base)
        self.steps = features.write_steps(self.config)
        self._generated = {rule.column for step in self.steps for rule in (*step.sequences, *step.assignments)}
        self.clauses = [self._clause(c) for c in request.clauses]

    def readable(self, error: ExpressionError) -> ExpressionError:
        """An error of evaluation in the user's names."""
        return self._scope.readable(error)

    def _expr(self, given: Any) -> Any:
        return given if isinstance(given, str) else to_expr(given, self._table)

    def parameters(self) -> dict[str, Any]:
        """How ``commitInfo`` shows it, as the reference implementation does."""
        shown: dict[str, list[dict[str, str]]] = {
            "matchedPredicates": [], "notMatchedPredicates": [], "notMatchedBySourcePredicates": [],
        }  # fmt: skip
        names = {"matched": "matchedPredicates", "not_matched": "notMatchedPredicates",
                 "not_matched_by_source": "notMatchedBySourcePredicates"}  # fmt: skip
        for clause in self.clauses:
            entry = {"actionType": clause.action}
            if clause.condition is not None:
                entry["predicate"] = self._scope.to_sql(clause.condition)
            shown[names[clause.when]].append(entry)
        return {"predicate": [self._scope.to_sql(self._on)], **shown}

    def _clause(self, given: ClauseRequest) -> Clause:
        request = self._request
        scope = {"matched": lambda: self._scope, "not_matched": lambda: self._scope.only("source"),
                 "not_matched_by_source": lambda: self._scope.only("target")}[given.when]()  # fmt: skip
        condition = None
        if given.predicate is not None:
            condition = scope.bind_predicate(self._expr(given.predicate), time_zone=request.time_zone)
        if given.action not in ("update", "insert"):
            return Clause(given.when, given.action, condition)
        schema = self.config.schema
        if given.updates is None:
            values = self._all(given)
        elif given.action == "update":
            values = assignments(self._values(given.updates), schema, scope, time_zone=request.time_zone)
        else:
            values = insertions(self._values(given.updates), schema, self._scope, time_zone=request.time_zone)
        explicit = values if given.updates is not None else set(values) - self._unassignable(values, given.action)
        use: Any = given.action
        features.ensure_assignable(self.config, explicit, use)
        values = {name: value for name, value in values.items() if name in explicit}
        if not request.error_on_type_mismatch:
            values = lenient(values, schema)
        if given.action == "update":
            values = new_row(self._table, values, self.steps)
        return Clause(given.when, given.action, condition, values)

    def _values(self, updates: Mapping[str, Any]) -> dict[str, Any]:
        return {name: to_value(value, self._table) for name, value in updates.items()}

    def _unassignable(self, names: Any, action: Any) -> set[str]:
        """Columns that ``*`` leaves alone because the table computes them."""
        found = set()
        for name in names:
            try:
                features.ensure_assignable(self.config, [name], action)
            except InvalidArgumentError:
                found.add(name)
        return found

    def _all(self, given: ClauseRequest) -> dict[str, BoundExpr]:
        """``UPDATE SET *`` and ``INSERT *``."""
        excluded = self._excluded(given)
        values: dict[str, BoundExpr] = {}
        missing = []
        for f in self.config.schema.fields:
            if f.name.lower() in excluded:
                continue
            found = self._source.get(f.name)
            if found is not None:
                values[f.name] = self._from_source(found, f, given.action)
            elif f.name not in self._generated and not self._request.merge_schema:
                missing.append(f.name)
        if missing:
            raise SchemaMismatchError(
                f"the source lacks the columns {missing}, which {given.action}_all would set",
                hint=f"name them in except_cols, list the columns with when_{given.when}_{given.action}(...), "
                "or pass merge_schema=True to leave them as they are",
                columns=missing,
            )
        return values

    def _excluded(self, given: ClauseRequest) -> set[str]:
        names = {name.lower() for name in given.except_cols}
        for name in given.except_cols:
            if self._table.get(name) is None and self._source.get(name) is None:
                raise ExpressionError(f"except_cols names {name!r}, which neither side has", name=name)
        return names

    def _from_source(self, source: Field, column: Field, action: str) -> BoundExpr:
        """A source's column as the value of its namesake; fields of structs that it lacks keep their old values."""
        here = Column((SOURCE + source.name,), source.type)
        bound = BoundExpr(here, source.type, self._request.time_zone, frozenset((here.path,)))
        old = None
        before = self._table.get(column.name)
        if action == "update" and before is not None:
            old = old_value(before.name, before.type).expr
        return bound_like(bound, _adapted(here, source.type, column.type, old))

    def _assigned(self, key: Any) -> str:
        """The column that a key of an assignment names, in lower case."""
        path = (key,) if isinstance(key, str) else tuple(key)
        if isinstance(key, str):
            try:
                tree = parse_expression(key)
            except ExpressionError:
                tree = None
            if isinstance(tree, Column):
                path = tree.path
        return self._scope.assigned(path)[0].lower()

    # -- schema evolution --------------------------------------------------------------------------------------------

    def _evolved(self, base: Snapshot) -> tuple[TableConfig, tuple[Action, ...]]:
        config = base.config
        if not self._request.merge_schema:
            return config, ()
        assigned: dict[str, Field] = {}
        for clause in self._request.clauses:
            if clause.action not in ("update", "insert"):
                continue
            excluded = {name.lower() for name in clause.except_cols}
            named = None if clause.updates is None else {self._assigned(key) for key in clause.updates}
            for f in self._source.fields:
                key = f.name.lower()
                if key in excluded or (named is not None and key not in named):
                    continue
                assigned.setdefault(key, f)
        merged = evolved_schema(config, StructType(list(assigned.values())))
        if merged == self._table:
            return config, ()
        metadata = replace(config.metadata, schema_string=merged.to_json())
        protocol, metadata, evolved = features.configure(config, metadata, base.version + 1)
        return evolved, (metadata,) if protocol == config.protocol else (protocol, metadata)


def _adapted(value: Any, given: DataType, wanted: DataType, old: Any) -> Expr:
    """A struct value with the fields of another struct type, in its order; what is missing stays as it was."""
    if not (isinstance(given, StructType) and isinstance(wanted, StructType)) or given.names == wanted.names:
        return value
    args: list[Expr] = []
    for f in wanted.fields:
        found = given.get(f.name)
        before = _field(old, f.name)
        if found is not None:
            part: Any = Column((*value.path, found.name), found.type)
            args += [Literal(f.name, STRING), _adapted(part, found.type, f.type, before)]
        else:
            args += [Literal(f.name, STRING), before if before is not None else Literal(None, f.type)]
    built = build("named_struct", *args)
    kind: Any = built.type  # type: ignore[attr-defined]
    return Case(((Call("is_null", (value,), BOOLEAN), Literal(None, kind)),), built, kind)


def _field(old: Any, name: str) -> Any:
    if not isinstance(old, Column) or not isinstance(old.type, StructType):
        return None
    found = old.type.get(name)
    return None if found is None else Column((*old.path, found.name), found.type)
