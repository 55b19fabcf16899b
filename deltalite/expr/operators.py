"""Expressions in Python: ``col("price") * 2 > 10``, ``col("name").is_null() | (col("id") == 7)``.

The nodes of ``model.expr`` are values: ``==`` compares them. What users build is an :class:`Operand` around such a
node, whose operators build larger ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.model import expr as nodes
from deltalite.model.expr import Call, Cast, Expr
from deltalite.model.types import PrimitiveType


class Operand:
    """An expression, with operators. Combine conditions with ``&``, ``|`` and ``~``, each side in parentheses."""

    __slots__ = ("expr",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    def __repr__(self) -> str:
        return f"Operand({self.expr!r})"

    def __bool__(self) -> bool:
        raise InvalidArgumentError(
            "an expression is neither true nor false before it sees rows",
            hint="write & for and, | for or, ~ for not; a < b < c is (a < b) & (b < c)",
        )

    # comparisons ------------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> Operand:  # type: ignore[override]
        return _call("=", self, other)

    def __ne__(self, other: object) -> Operand:  # type: ignore[override]
        return _call("!=", self, other)

    def __lt__(self, other: Any) -> Operand:
        return _call("<", self, other)

    def __le__(self, other: Any) -> Operand:
        return _call("<=", self, other)

    def __gt__(self, other: Any) -> Operand:
        return _call(">", self, other)

    def __ge__(self, other: Any) -> Operand:
        return _call(">=", self, other)

    def same_as(self, other: Any) -> Operand:
        """``<=>``: equal, where null equals null."""
        return _call("<=>", self, other)

    def is_null(self) -> Operand:
        return _call("is_null", self)

    def is_not_null(self) -> Operand:
        return ~self.is_null()

    def is_in(self, values: Iterable[Any]) -> Operand:
        """One of some values."""
        return _call("in", self, *values)

    def between(self, low: Any, high: Any) -> Operand:
        """From ``low`` to ``high``, both included."""
        return (self >= low) & (self <= high)

    def like(self, pattern: str) -> Operand:
        """SQL's LIKE: ``%`` is any text, ``_`` any character."""
        return _call("like", self, pattern)

    # logic ------------------------------------------------------------------------------------------------------------

    def __and__(self, other: Any) -> Operand:
        return Operand(nodes.and_(self.expr, to_node(other)))

    def __rand__(self, other: Any) -> Operand:
        return Operand(nodes.and_(to_node(other), self.expr))

    def __or__(self, other: Any) -> Operand:
        return Operand(nodes.or_(self.expr, to_node(other)))

    def __ror__(self, other: Any) -> Operand:
        return Operand(nodes.or_(to_node(other), self.expr))

    def __invert__(self) -> Operand:
        return Operand(nodes.not_(self.expr))

    # arithmetic -------------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Operand:
        return _call("+", self, other)

    def __radd__(self, other: Any) -> Operand:
        return _call("+", other, self)

    def __sub__(self, other: Any) -> Operand:
        return _call("-", self, other)

    def __rsub__(self, other: Any) -> Operand:
        return _call("-", other, self)

    def __mul__(self, other: Any) -> Operand:
        return _call("*", self, other)

    def __rmul__(self, other: Any) -> Operand:
        return _call("*", other, self)

    def __truediv__(self, other: Any) -> Operand:
        return _call("/", self, other)

    def __rtruediv__(self, other: Any) -> Operand:
        return _call("/", other, self)

    def __mod__(self, other: Any) -> Operand:
        return _call("%", self, other)

    def __neg__(self) -> Operand:
        return _call("negative", self)

    def cast(self, data_type: str | Any) -> Operand:
        """The value as another type, ``"bigint"`` for example; an error where it cannot be."""
        wanted = PrimitiveType(data_type) if isinstance(data_type, str) else data_type
        return Operand(Cast(self.expr, wanted))


def to_node(value: Any) -> Expr:
    """The expression of an operand, an expression or a Python value."""
    return value.expr if isinstance(value, Operand) else nodes.lit(value)


def _call(function: str, *args: Any) -> Operand:
    return Operand(Call(function, tuple(map(to_node, args))))


def col(*path: str) -> Operand:
    """A column: ``col("a")``, ``col("a.b")`` for a field, ``col("a", "b")`` for names that are taken as they are."""
    return Operand(nodes.col(*path))


def lit(value: Any) -> Operand:
    """The constant of a Python value.

    :raises InvalidArgumentError: when no type of an expression holds the value.
    """
    return Operand(nodes.lit(value))


def call(function: str, *args: Any) -> Operand:
    """A function of SQL by name, over operands or Python values: ``call("upper", col("name"))``."""
    return _call(function.lower(), *args)
