"""Upsert: rows of a source replace the table's rows with their keys, or come anew. One call, a MERGE underneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from deltalite import features
from deltalite.engine import dedupe
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.spill import Budget, Source
from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.expr.coerce import orderable
from deltalite.expr.convert import to_expr
from deltalite.expr.scope import Scope, rewritten
from deltalite.interop.input import to_reader
from deltalite.model.change import TARGET, Match, RowChanges
from deltalite.model.expr import BoundExpr, Call, Column, Expr, Literal, and_, lit, not_, type_name
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import ArrayType, MapType, Schema, StructType
from deltalite.operations import merge
from deltalite.operations.merge import ClauseRequest, MergeRequest
from deltalite.write.options import WriterProperties

Predicate = Expr | str


@dataclass(frozen=True, slots=True)
class UpsertRequest:
    """Rows, the columns by which they are known, and what becomes of known and of new ones.

    :param data: anything that ``interop.input.to_reader`` takes; read once.
    :param on: columns that both sides have; null equals null.
    :param update: for known keys, ``None``: every column gets the source's value; ``False``: nothing; columns that get
        it; or values by column.
    :param insert: whether rows with new keys come in; a condition on them.
    :param delete_when: over both sides: rows of the table that are known and for which it is true leave, and rows of
        the source for which it is true do not come in. For these the table's columns are null.
    :param update_when: over both sides: only rows for which it is true are updated.
    :param order_by: columns of the source, or expressions, by which ``dedupe`` tells first and last.
    :param dedupe: what becomes of several rows with one key: ``error`` refuses them, ``first`` and ``last`` keep one.
    """

    data: Any
    on: Sequence[str]
    update: bool | Sequence[str] | Mapping[str, Any] | None = None
    insert: bool | Predicate = True
    delete_when: Predicate | None = None
    update_when: Predicate | None = None
    order_by: Sequence[Predicate] = ()
    dedupe: dedupe.Keep = "error"
    source_alias: str | None = None
    target_alias: str | None = None
    merge_schema: bool = False
    writer_properties: WriterProperties | None = None
    time_zone: str = "UTC"


def plan(request: UpsertRequest, base: Snapshot, txn_id: str, engine: ArrowEngine) -> RowChanges:
    """Evaluates the source, once; reads nothing of the table but its log.

    :raises InvalidArgumentError: when nothing could ever happen, for unknown columns, and for keys that are nested.
    :raises SchemaMismatchError: when the source lacks columns of the table and the request does not allow for it.
    :raises MultipleMatchesError: when a key repeats in the source and ``dedupe`` is ``error``.
    """
    _check(request)
    reader = to_reader(request.data, schema=base.config.schema)
    source = Schema.from_arrow(reader.schema)
    asked = _Asked(request, base.config.schema, source)
    _check_columns(request, base, source)
    merging = MergeRequest(
        reader, asked.condition(), tuple(asked.clauses()), *asked.aliases, request.merge_schema,
        writer_properties=request.writer_properties, time_zone=request.time_zone,
    )  # fmt: skip
    select = partial(_one_row_per_key, keep=request.dedupe, order_by=asked.order(), budget=engine.budget)
    return merge.plan(merging, base, txn_id, engine, select)


def _one_row_per_key(
    source: Source, match: Match, *, keep: dedupe.Keep, order_by: Sequence[BoundExpr], budget: Budget
) -> Source:
    if match.residual is not None:
        raise InvalidArgumentError(
            "the columns of on have types that are not compared by value in the table and in the source",
            hint="give the source the table's types, or use merge()",
        )
    return dedupe.unique(source, match, keep, order_by, budget)


def _check(request: UpsertRequest) -> None:
    if not request.on:
        raise InvalidArgumentError("no column says which rows are the same", hint="on='id', or on=['id', 'day']")
    if request.dedupe not in get_args(dedupe.Keep):
        raise InvalidArgumentError(
            f"dedupe is one of {', '.join(get_args(dedupe.Keep))}, not {request.dedupe!r}", dedupe=request.dedupe
        )
    if request.order_by and request.dedupe == "error":
        raise InvalidArgumentError(
            "order_by says which of several rows is kept, and dedupe='error' keeps none",
            hint="pass dedupe='last', which keeps the greatest, or dedupe='first'",
        )
    if request.update is True:
        raise InvalidArgumentError(
            "update=True says nothing", hint="leave it out to update all columns, or list the columns"
        )
    if request.update is False and request.update_when is not None:
        raise InvalidArgumentError("update_when is a condition for updates, and update=False asks for none")
    if request.update is not None and request.update is not False and not request.update:
        raise InvalidArgumentError("update names no columns", hint="update=False leaves known rows as they are")
    if request.update is False and request.insert is False and request.delete_when is None:
        raise InvalidArgumentError("without updates, inserts and deletes there is nothing to do")


def _check_columns(request: UpsertRequest, base: Snapshot, source: StructType) -> None:
    """
    :raises SchemaMismatchError: when columns would silently keep their values, or become null in new rows.
    """
    if request.merge_schema or not isinstance(request.update, (bool, type(None))):
        return
    steps = features.write_steps(base.config)
    computed = {rule.column for step in steps for rule in (*step.sequences, *step.assignments)}
    missing = [n for n in base.config.schema.names if source.get(n) is None and n not in computed]
    if missing:
        raise SchemaMismatchError(
            f"the source lacks the columns {missing} of the table",
            hint="update=[...] lists the columns to set, and merge_schema=True sets those that the source has; the "
            "others keep their values, and get their default in new rows",
            columns=missing,
        )


class _Asked:
    """What a request asks of two schemas, in the terms of a MERGE.

    :ivar aliases: the names of source and table in conditions.
    """

    def __init__(self, request: UpsertRequest, table: StructType, source: StructType) -> None:
        self._request, self._table, self._source = request, table, source
        self.aliases = request.source_alias or "source", request.target_alias or "target"
        self._scope = Scope.of(table, self.aliases[1], source, self.aliases[0])
        self._keys = [self._key(name) for name in request.on]

    def condition(self) -> Expr:
        """Equality of all keys, null included."""
        source, target = self.aliases
        return and_(*(Call("<=>", (Column((target, ours)), Column((source, theirs)))) for ours, theirs in self._keys))

    def order(self) -> list[BoundExpr]:
        """``order_by`` over the source."""
        scope = self._scope.only("source")
        found = []
        for given in self._request.order_by:
            column = self._source.get(given) if isinstance(given, str) else None
            named = self._expr(given) if column is None else Column((self.aliases[0], column.name))
            bound = scope.bind(named, time_zone=self._request.time_zone)
            if isinstance(bound.type, (ArrayType, StructType)) or not orderable(bound.type):
                raise InvalidArgumentError(
                    f"order_by has {given!r}, of type {type_name(bound.type)}, which is not ordered here",
                    hint="name one of its parts",
                )
            found.append(bound)
        return found

    def clauses(self) -> list[ClauseRequest]:
        request, found = self._request, []
        if request.delete_when is not None:
            found.append(ClauseRequest("matched", "delete", request.delete_when))
        if request.update is not False:
            found.append(self._update())
        if request.insert is not False:
            found.append(ClauseRequest("not_matched", "insert", self._insert_condition(), None, self._not_inserted()))
        return found

    def _update(self) -> ClauseRequest:
        update, when = self._request.update, self._request.update_when
        if isinstance(update, Mapping):
            return ClauseRequest("matched", "update", when, dict(update))
        if update is None:
            return ClauseRequest("matched", "update", when)
        assert not isinstance(update, bool)
        wanted = {name.lower() for name in update}
        known = {name.lower() for side in (self._table, self._source) for name in side.names}
        if unknown := [name for name in update if name.lower() not in known]:
            raise InvalidArgumentError(
                f"update names {unknown[0]!r}, which is no column", hint=f"columns: {', '.join(self._table.names)}",
                columns=unknown,
            )  # fmt: skip
        others = dict.fromkeys(n for side in (self._table, self._source) for n in side.names if n.lower() not in wanted)
        return ClauseRequest("matched", "update", when, None, tuple(others))

    def _not_inserted(self) -> tuple[str, ...]:
        """The table's columns that new rows leave to defaults, where the caller chose the columns to update."""
        if self._request.update is None or self._request.update is False:
            return ()
        return tuple(name for name in self._table.names if self._source.get(name) is None)

    def _insert_condition(self) -> Predicate | None:
        """New rows are inserted where that is asked for and ``delete_when`` is not true."""
        insert, delete = self._request.insert, self._request.delete_when
        if delete is None:
            return None if isinstance(insert, bool) else insert
        self._scope.bind_predicate(self._expr(delete), time_zone=self._request.time_zone)
        alone = rewritten(self._scope.resolve(self._expr(delete)), self._without_target)
        kept = not_(Call("is_true", (alone,)))
        return kept if isinstance(insert, bool) else and_(self._expr(insert), kept)

    def _without_target(self, node: Expr) -> Expr:
        """A name of the joined row as the caller would write it, the table's replaced by null."""
        if not isinstance(node, Column):
            return node
        name, *rest = node.path
        if not name.startswith(TARGET):
            return Column((self.aliases[0], name.partition(".")[2], *rest))
        column = self._table.get(name.removeprefix(TARGET))
        return lit(None) if column is None or rest else Literal(None, column.type)

    def _expr(self, given: Any) -> Expr:
        return to_expr(given, self._source)

    def _key(self, name: str) -> tuple[str, str]:
        """A column of ``on`` as the table and as the source spell it."""
        ours, theirs = self._table.get(name), self._source.get(name)
        for side, column in (("table", ours), ("source", theirs)):
            if column is None:
                schema = self._table if side == "table" else self._source
                raise InvalidArgumentError(
                    f"on names {name!r}, which the {side} lacks", hint=f"it has {', '.join(schema.names)}", name=name
                )
            if isinstance(column.type, (ArrayType, MapType, StructType)) or not orderable(column.type):
                raise InvalidArgumentError(
                    f"on names {name!r}, of type {type_name(column.type)}, and keys are plain values",
                    hint="use merge() with a condition on its parts",
                    name=name,
                )
        assert ours is not None and theirs is not None
        return ours.name, theirs.name
