"""What a typed node becomes when its parts are constant: folding, and a few rewrites that help pruning."""

from __future__ import annotations

import datetime as dt
import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import Rows, value_of
from deltalite.expr.coerce import is_decimal, is_integral, name_of
from deltalite.expr.functions import lookup
from deltalite.expr.functions.comparison import FLIPPED
from deltalite.expr.vectors import python_value
from deltalite.model.expr import (
    BOOLEAN,
    DATE,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    Call,
    Case,
    Cast,
    Expr,
    ExprType,
    Literal,
    and_,
    children,
    is_literal,
    or_,
    with_children,
)
from deltalite.model.types import ArrayType, PrimitiveType

_INTEGER_BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
CLOCKS = {
    "current_timestamp": TIMESTAMP, "now": TIMESTAMP, "current_date": DATE, "curdate": DATE,
    "localtimestamp": TIMESTAMP_NTZ,
}  # fmt: skip
"""Functions of the time of binding, which is one and the same throughout an expression."""


class Settled:
    """Folds and simplifies nodes whose children are settled already."""

    def __init__(self, time_zone: str, now: dt.datetime | None) -> None:
        self.no_rows = Rows(None, time_zone, 1)
        self.now = now

    def clock(self, t: ExprType) -> Expr:
        if self.now is None:
            self.now = dt.datetime.now(dt.timezone.utc)
        instant = Literal(self.now.astimezone(dt.timezone.utc), TIMESTAMP)
        return instant if t == TIMESTAMP else self.folded(Cast(instant, t))

    def settle(self, node: Expr, known: Sequence[Expr]) -> Expr:
        """The node in its simplest form. ``known`` are the parts that need no more looking at."""
        return self._settle(node, {id(k) for k in known})

    def _settle(self, node: Expr, known: set[int]) -> Expr:
        if id(node) in known:
            return node
        parts = children(node)
        fresh = [self._settle(part, known) for part in parts]
        if any(new is not old for new, old in zip(fresh, parts, strict=True)):
            node = with_children(node, fresh)
        return self.folded(simplified(node))

    def folded(self, node: Any) -> Expr:
        """The constant that the node computes, if it computes one; an error is left for the rows that meet it."""
        if not isinstance(node, (Call, Cast)) or not all(isinstance(c, Literal) for c in children(node)):
            return node
        try:
            value, t = value_of(node, self.no_rows), node.type
            scalar = value[0] if isinstance(value, pa.Array) else value
            return node if t is None else Literal(python_value(scalar, t), t)
        except ExpressionError:
            return node


def simplified(node: Expr) -> Expr:
    if isinstance(node, Case):
        return _case(node)
    if not isinstance(node, Call):
        return node
    if node.function in ("and", "or"):
        return _logic(node)
    if node.function == "not" and isinstance(node.args[0], Call) and node.args[0].function == "not":
        return node.args[0].args[0]
    if node.function == "in":
        return _in(node)
    if node.function in FLIPPED and len(node.args) == 2:
        return _comparison(node)
    return node


def _logic(node: Call) -> Expr:
    """``true AND x`` is x, ``false AND x`` is false, and the reverse for OR."""
    neutral = node.function == "and"
    if any(is_literal(a, not neutral) for a in node.args):
        return Literal(not neutral, BOOLEAN)
    kept = [a for a in node.args if not is_literal(a, neutral)]
    return and_(*kept) if neutral else or_(*kept)


def _case(node: Case) -> Expr:
    """Branches that cannot be reached go; a first branch that is always taken is all that stays."""
    kept: list[tuple[Expr, Expr]] = []
    otherwise = node.otherwise
    for condition, value in node.branches:
        if is_literal(condition, False) or is_literal(condition, None):
            continue
        if is_literal(condition, True):
            otherwise = value
            break
        kept.append((condition, value))
    if kept:
        return Case(tuple(kept), otherwise, node.type)
    return Literal(None, node.type) if otherwise is None else otherwise  # type: ignore[arg-type]


def _in(node: Call) -> Expr:
    """A list of constants becomes one array literal, which is looked up by hash; one constant is an equality."""
    value, *items = node.args
    if not all(isinstance(i, Literal) and isinstance(i.type, PrimitiveType) for i in items):
        return node
    narrow = [_unwrapped("=", value, i) for i in items]
    if narrow and all(n is not None for n in narrow):
        value, items = narrow[0].args[0], [n.args[1] for n in narrow]  # type: ignore[union-attr]
    t = items[0].type  # type: ignore[attr-defined]
    constants = tuple(dict.fromkeys(i.value for i in items))  # type: ignore[attr-defined]
    if len(constants) == 1:
        return Call("=", (value, items[0]), BOOLEAN)
    return Call("in", (value, Literal(constants, ArrayType(t))), BOOLEAN)


def _comparison(node: Call) -> Expr:
    """A constant goes to the right side and, where nothing is lost, into the type of the column."""
    left, right = node.args
    op = node.function
    if isinstance(left, Literal) and not isinstance(right, Literal):
        left, right, op = right, left, FLIPPED[op]
    return _unwrapped(op, left, right) or Call(op, (left, right), BOOLEAN)


def _unwrapped(op: str, left: Any, right: Any) -> Call | None:
    """``cast(x AS wider) op constant`` as ``x op constant`` where the narrow type holds the same constant."""
    if not isinstance(right, Literal) or not isinstance(left, Cast) or left.try_:
        return None
    operand: Any = left.operand
    if not widens(operand.type, left.type):
        return None
    if right.value is None:
        return Call(op, (operand, Literal(None, operand.type)), BOOLEAN)
    value = _exactly(right.value, operand.type)
    return None if value is None else Call(op, (operand, Literal(value, operand.type)), BOOLEAN)


def widens(source: ExprType, target: ExprType) -> bool:
    """Whether the cast keeps every value, and so the order of values, exactly."""
    a, b = name_of(source), name_of(target)
    if a in _INTEGER_BITS and b in _INTEGER_BITS:
        return _INTEGER_BITS[a] <= _INTEGER_BITS[b]
    if isinstance(target, PrimitiveType) and is_decimal(target):
        if is_integral(source):
            return target.precision - target.scale >= {"byte": 3, "short": 5, "integer": 10, "long": 19}[a]
        if isinstance(source, PrimitiveType) and is_decimal(source):
            return target.scale >= source.scale and target.precision - target.scale >= source.precision - source.scale
    return (a, b) in {("float", "double"), ("byte", "double"), ("short", "double"), ("integer", "double")}


def _exactly(value: Any, t: PrimitiveType) -> Any:
    """The constant in the narrow type, or ``None`` when it is not one of its values."""
    if isinstance(value, float) and not math.isfinite(value):
        return value if t.type == "float" else None
    if t.type in _INTEGER_BITS:
        bits = _INTEGER_BITS[t.type]
        return int(value) if value == int(value) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else None
    if t.is_decimal:
        exact = Decimal(value)
        exponent = exact.as_tuple().exponent
        fits = (
            isinstance(exponent, int) and -exponent <= t.scale and abs(exact) < Decimal(10) ** (t.precision - t.scale)
        )
        return exact if fits else None
    if t.type == "float":
        try:
            return value if struct.unpack("f", struct.pack("f", value))[0] == value else None
        except OverflowError:
            return None
    return None


def strict(expr: Expr) -> bool:
    """Whether the value is null exactly when an operand is."""
    return (isinstance(expr, Call) and lookup(expr.function).strict) or (isinstance(expr, Cast) and not expr.try_)
