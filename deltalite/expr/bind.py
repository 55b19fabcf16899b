"""Names and types of an expression against a schema, by Spark's ANSI rules.

Binding goes from the leaves to the root, without recursion. At each node the function's type rule inserts the casts,
and what has become constant is computed at once.
"""

from __future__ import annotations

import datetime as dt
import difflib
import re
from dataclasses import replace
from typing import Any

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, converted
from deltalite.expr.functions import lookup
from deltalite.expr.functions.casts import cast_node
from deltalite.expr.functions.logic import boolean
from deltalite.expr.functions.registry import build
from deltalite.expr.literals import zone_info
from deltalite.expr.parse import parse_expression
from deltalite.expr.simplify import CLOCKS, Settled
from deltalite.expr.tokens import caret, next_token
from deltalite.model.expr import (
    BOOLEAN,
    STRING,
    VOID,
    BoundExpr,
    Call,
    Case,
    Cast,
    Column,
    DoubleQuoted,
    Expr,
    Literal,
    and_,
    children,
    columns_of,
    not_,
    type_name,
)
from deltalite.model.types import StructType


def bind(expr: Expr | str, schema: StructType, *, time_zone: str = "UTC", now: dt.datetime | None = None) -> BoundExpr:
    """The expression with names, types and conversions settled.

    Names are looked up ignoring case, and the schema's spelling wins. Constants are folded.

    :param expr: an expression, or its SQL text.
    :param time_zone: the zone in which timestamps are read from text and become dates, hours and text.
    :param now: what ``current_timestamp()`` and ``current_date()`` mean, with a zone; the time of binding by default.
    :raises ExpressionError: for a name that the schema lacks (with names that resemble it), a function that does not
        exist, or types that do not go together; the message points into the text where one was given.
    """
    text = expr if isinstance(expr, str) else None
    zone_info(time_zone)
    try:
        tree = parse_expression(expr) if isinstance(expr, str) else expr
        typed: Any = _Binder(schema, time_zone, now).bound(tree)
    except ExpressionError as error:
        raise pointing(error, text) from None
    except RecursionError:
        raise ExpressionError("the expression nests too deeply") from None
    return _bound(typed, time_zone)


def bind_predicate(
    expr: Expr | str, schema: StructType, *, time_zone: str = "UTC", now: dt.datetime | None = None
) -> BoundExpr:
    """:func:`bind` for a condition.

    :raises ExpressionError: when the expression is not boolean.
    """
    bound = bind(expr, schema, time_zone=time_zone, now=now)
    if bound.type == VOID:
        return _bound(Literal(None, BOOLEAN), time_zone)
    if bound.type != BOOLEAN:
        raise ExpressionError(
            f"a predicate is boolean, but this expression is {type_name(bound.type)}",
            hint="compare it with something, as in a = 1",
        )
    return bound


def conjuncts(bound: BoundExpr) -> list[BoundExpr]:
    """The parts that must all hold for the predicate to hold; none for the constant true."""
    expr = bound.expr
    if expr == Literal(True, BOOLEAN):
        return []
    parts = expr.args if isinstance(expr, Call) and expr.function == "and" else (expr,)
    return [_bound(part, bound.time_zone) for part in parts]


def conjunction(parts: list[BoundExpr], time_zone: str = "UTC") -> BoundExpr:
    """The predicate that holds where all the parts hold."""
    return _bound(and_(*(p.expr for p in parts)), parts[0].time_zone if parts else time_zone)


def negate(bound: BoundExpr) -> BoundExpr:
    """The predicate's NOT: true where it is false, null where it is null."""
    expr = bound.expr
    if isinstance(expr, Call) and expr.function == "not":
        return _bound(expr.args[0], bound.time_zone)
    return _bound(replace(not_(expr), type=BOOLEAN), bound.time_zone)


def _bound(typed: Any, time_zone: str) -> BoundExpr:
    return BoundExpr(typed, typed.type, time_zone, frozenset(columns_of(typed)))


class _Binder:
    """Binds the nodes of one expression."""

    def __init__(self, schema: StructType, time_zone: str, now: dt.datetime | None) -> None:
        self.schema = schema
        self.settled = Settled(time_zone, now)

    def bound(self, root: Expr) -> Expr:
        """The typed tree: a walk in post-order with a stack of its own."""
        done: list[Expr] = []
        todo: list[tuple[Expr, bool]] = [(root, False)]
        while todo:
            node, ready = todo.pop()
            parts = children(node)
            if not ready and parts:
                todo.append((node, True))
                todo.extend((part, False) for part in reversed(parts))
                continue
            kids = done[len(done) - len(parts) :] if parts else []
            del done[len(done) - len(kids) :]
            done.append(self.settled.settle(self.typed(node, kids), kids))
        return done[0]

    def typed(self, node: Expr, kids: list[Any]) -> Expr:
        if isinstance(node, Literal):
            return node
        if isinstance(node, Column):
            return self.column(node.path)
        if isinstance(node, DoubleQuoted):
            found = self.schema.get(node.text)
            return Literal(node.text, STRING) if found is None else Column((found.name,), found.type)
        if isinstance(node, Cast):
            return cast_node(kids[0], node.type, node.try_)
        if isinstance(node, Case):
            return _case(node, kids)
        if isinstance(node, Call):
            if node.function in CLOCKS and not kids:
                return self.settled.clock(CLOCKS[node.function])
            row = lookup(node.function)
            return row.rule(row, kids)
        raise ExpressionError(f"{type(node).__name__} is not part of an expression")

    def column(self, path: tuple[str, ...]) -> Expr:
        field = self.schema.get(path[0])
        if field is None and len(path) == 1 and path[0].lower() in CLOCKS:
            return self.settled.clock(CLOCKS[path[0].lower()])
        if field is None:
            raise self.unknown(path)
        expr: Expr = Column((field.name,), field.type)
        for name in path[1:]:
            expr = build(".", expr, Literal(name, STRING))
        return expr

    def unknown(self, path: tuple[str, ...]) -> ExpressionError:
        """Names a column that may have been meant: one like it, one whose name holds the dots, or a struct's field."""
        first, name, hint = "".join(path[:1]), ".".join(path), ""
        close: list[str] = []
        known = {f.name.lower(): f.name for f in self.schema.fields}
        if name.lower() in known and len(path) > 1:
            close.append(known[name.lower()])
            hint = f"the name of this column holds a dot: write `{known[name.lower()]}`"
        else:
            close = [known[n] for n in difflib.get_close_matches(first.lower(), list(known), n=3)]
            listed = ", ".join(self.schema.names[:30]) + (", ..." if len(self.schema.names) > 30 else "")
            hint = (f"did you mean {' or '.join(close)}? " if close else "") + f"the columns are: {listed}"
        return ExpressionError(f"there is no column {name!r}", hint=hint, name=first, column=name, suggestions=close)


def _case(node: Case, kids: list[Any]) -> Expr:
    n = 2 * len(node.branches)
    values = [*kids[1:n:2], *kids[n:]]
    t = common_of([v.type for v in values])
    if t is None:
        shown = ", ".join(sorted({type_name(v.type) for v in values}))
        raise ExpressionError(f"the branches of CASE have no common type: {shown}", hint="cast them to one type")
    conditions = [boolean("WHEN", c) for c in kids[0:n:2]]
    branches = tuple((c, converted(v, t)) for c, v in zip(conditions, kids[1:n:2], strict=True))
    return Case(branches, converted(kids[n], t) if len(kids) > n else None, t)


def pointing(error: ExpressionError, text: str | None) -> ExpressionError:
    """The error with the place of its name in the text, when there is a text and the place is not known yet."""
    name = error.context.get("name")
    if text is None or name is None or "position" in error.context:
        return error
    pattern = re.compile(rf"[`\"]?{re.escape(name)}[`\"]?", re.IGNORECASE)
    place, token = None, next_token(text, 0)
    while place is None and token.kind != "end":
        place = token.position if pattern.fullmatch(token.text) else None
        token = next_token(text, token.end)
    if place is None:
        return error
    context = {**error.context, "position": place}
    return ExpressionError(f"{error.message}\n{caret(text, place)}", hint=error.hint, **context)
