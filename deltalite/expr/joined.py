"""Predicates over joined rows, taken apart: what decides alone, and what holds the two sides together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.bind import conjunction, conjuncts
from deltalite.expr.coerce import converted, decimal_for, is_decimal, wider_decimal
from deltalite.expr.scope import rewritten
from deltalite.model.change import SOURCE, TARGET, KeyPair, Match
from deltalite.model.expr import VOID, BoundExpr, Call, Column, Expr, ExprType, columns_of
from deltalite.model.types import PrimitiveType


def split_match(predicate: BoundExpr) -> Match:
    """The match condition of a MERGE, bound to a joined row, in the parts that an engine handles apart.

    A pair of rows matches when all parts are true, so a part that is null is as good as false. Conditions on no column
    at all go with those of the source. A key may be an expression that fails for some rows: evaluate keys only where
    the conditions of their side hold, and the residual only where the keys are equal.
    """
    keys: list[KeyPair] = []
    parts: dict[str, list[BoundExpr]] = {TARGET: [], SOURCE: [], "both": []}
    for part in conjuncts(predicate):
        pair = _key_pair(part)
        if pair is not None:
            keys.append(pair)
        else:
            sides = sides_of(part)
            parts["both" if len(sides) > 1 else next(iter(sides), SOURCE)].append(part)
    zone = predicate.time_zone
    target, source, both = (conjunction(found, zone) if found else None for found in parts.values())
    return Match(tuple(keys), target, source, both)


def sides_of(bound: BoundExpr) -> set[str]:
    """Which of ``TARGET`` and ``SOURCE`` an expression over joined rows reads."""
    return {TARGET if path[0].startswith(TARGET) else SOURCE for path in bound.columns}


def _key_pair(part: BoundExpr) -> KeyPair | None:
    expr = part.expr
    if not isinstance(expr, Call) or expr.function not in ("=", "<=>"):
        return None
    left, right = (bound_like(part, side) for side in expr.args)
    sides = [sides_of(left), sides_of(right)]
    if sides == [{SOURCE}, {TARGET}]:
        left, right = right, left
    elif sides != [{TARGET}, {SOURCE}]:
        return None
    t = _key_type(left.type, right.type)
    if t is None:
        return None
    same = (bound_like(part, converted(side.expr, t)) for side in (left, right))
    return KeyPair(*same, null_safe=expr.function == "<=>")


def _key_type(a: ExprType, b: ExprType) -> ExprType | None:
    """The type of both sides; ``None`` for nested values, and for decimals that no common decimal holds exactly."""
    if is_decimal(a) and is_decimal(b) and a != b:
        x, y = decimal_for(a), decimal_for(b)
        digits = max(x.precision - x.scale, y.precision - y.scale) + max(x.scale, y.scale)
        return wider_decimal(a, b) if digits <= 38 else None
    return a if a == b and isinstance(a, PrimitiveType) and a != VOID else None


def bound_like(bound: BoundExpr, expr: Expr) -> BoundExpr:
    """A typed tree as an expression of its own, in the time zone of another one."""
    return BoundExpr(expr, expr.type, bound.time_zone, frozenset(columns_of(expr)))  # type: ignore[attr-defined]


def target_only(bound: BoundExpr) -> BoundExpr:
    """An expression over joined rows that reads only the table's columns, as one over rows of the table.

    :raises InvalidArgumentError: when it reads the source.
    """
    if sides_of(bound) - {TARGET}:
        raise InvalidArgumentError("the expression reads columns of the source", columns=sorted(bound.columns))
    return _moved(bound, lambda name: name.removeprefix(TARGET))


def source_only(bound: BoundExpr) -> BoundExpr:
    """An expression over joined rows that reads only the source's columns, as one over rows of the source.

    :raises InvalidArgumentError: when it reads the table.
    """
    if sides_of(bound) - {SOURCE}:
        raise InvalidArgumentError("the expression reads columns of the table", columns=sorted(bound.columns))
    return _moved(bound, lambda name: name.removeprefix(SOURCE))


def to_joined(bound: BoundExpr, prefix: str = TARGET) -> BoundExpr:
    """An expression over rows of the table (or of the source, by its prefix), as one over joined rows."""
    return _moved(bound, lambda name: prefix + name)


def _moved(bound: BoundExpr, name: Callable[[str], str]) -> BoundExpr:
    def moved(node: Expr) -> Expr:
        return replace(node, path=(name(node.path[0]), *node.path[1:])) if isinstance(node, Column) else node

    return bound_like(bound, rewritten(bound.expr, moved))
