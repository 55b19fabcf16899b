"""The nodes of an expression: what a predicate, a CHECK constraint or a generated column says.

The same few nodes serve twice. As parsed, ``type`` of a :class:`Column`, :class:`Call` or :class:`Case` is ``None`` and
names are spelled as the user spelled them. Inside a :class:`BoundExpr` every node has its type, every conversion is an
explicit :class:`Cast` and names are the schema's own. ``type`` takes no part in equality: two expressions are equal
when they say the same.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.model.types import ArrayType, DataType, MapType, PrimitiveType, StructType


@dataclass(frozen=True, slots=True)
class IntervalType:
    """The type of a span of time. It exists in expressions only: no Delta table stores it."""

    type: str

    def __str__(self) -> str:
        return self.type

    __repr__ = __str__


YEAR_MONTH = IntervalType("interval year to month")  # values: int, months
DAY = IntervalType("interval day")  # values: int, microseconds of whole days; a date plus this stays a date
DAY_TIME = IntervalType("interval day to second")  # values: int, microseconds

ExprType: TypeAlias = DataType | IntervalType

BOOLEAN = PrimitiveType("boolean")
BYTE = PrimitiveType("byte")
SHORT = PrimitiveType("short")
INTEGER = PrimitiveType("integer")
LONG = PrimitiveType("long")
FLOAT = PrimitiveType("float")
DOUBLE = PrimitiveType("double")
STRING = PrimitiveType("string")
BINARY = PrimitiveType("binary")
DATE = PrimitiveType("date")
TIMESTAMP = PrimitiveType("timestamp")
TIMESTAMP_NTZ = PrimitiveType("timestamp_ntz")
VOID = PrimitiveType("void")


@dataclass(frozen=True, slots=True)
class Expr:
    """A node. Nodes are values: compare, hash and pickle them freely."""


@dataclass(frozen=True, slots=True)
class Column(Expr):
    """A column, or with a longer path a field of a struct. One part may itself hold dots."""

    path: tuple[str, ...]
    type: ExprType | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DoubleQuoted(Expr):
    """``"text"``: a column where one of this name exists, otherwise a string literal. Binding decides.

    Spark reads double quotes as a string, deltalake (and the SQL standard) as a name; both kinds of users write them.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Literal(Expr):
    """A constant: ``None``, bool, int, float, Decimal, str, bytes, date or datetime (aware for ``timestamp``,
    naive for ``timestamp_ntz``); an int of months or microseconds for the interval types."""

    value: Any
    type: ExprType


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function or an operator applied to arguments. Names are lower case; operators are called by their sign
    (``=``, ``<=>``, ``+``, ``||``, ``[]``, ``.``) or their word (``and``, ``not``, ``in``, ``is_null``, ``like``)."""

    function: str
    args: tuple[Expr, ...]
    type: ExprType | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Case(Expr):
    """``CASE WHEN condition THEN value ... ELSE otherwise END``; no ``otherwise`` means null."""

    branches: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr | None = None
    type: ExprType | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """``CAST(operand AS type)``; with ``try_`` a value that cannot be converted becomes null instead of an error."""

    operand: Expr
    type: ExprType
    try_: bool = False


@dataclass(frozen=True, slots=True)
class BoundExpr:
    """An expression whose names and types are settled against a schema.

    :param expr: the typed tree.
    :param type: the type of its value.
    :param time_zone: the zone in which timestamps become dates, hours and text.
    :param columns: the columns it reads, in the schema's spelling.
    """

    expr: Expr
    type: ExprType
    time_zone: str
    columns: frozenset[tuple[str, ...]]


def col(*path: str) -> Column:
    """A column: ``col("a")``, ``col("a.b")`` for a field, ``col("a", "b")`` for names that are taken as they are."""
    if len(path) == 1:
        return Column(tuple(path[0].split(".")))
    return Column(path)


def lit(value: Any) -> Expr:
    """The constant of a Python value.

    Integers become ``integer``, ``long`` or decimals by their size, a naive datetime ``timestamp_ntz``, a timedelta a
    day-time interval.

    :raises InvalidArgumentError: when no type of an expression holds the value.
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, (list, tuple)):
        return Call("array", tuple(lit(v) for v in value))
    if hasattr(value, "item") and not isinstance(value, (bytes, str)):
        value = value.item()
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return Literal(value, TIMESTAMP_NTZ)
        return Literal(value.astimezone(dt.timezone.utc), TIMESTAMP)
    if isinstance(value, dt.timedelta):
        return Literal(value // dt.timedelta(microseconds=1), DAY_TIME)
    if isinstance(value, int) and not isinstance(value, bool):
        return Literal(value, integer_type(value)) if integer_type(value) in (INTEGER, LONG) else lit(Decimal(value))
    if isinstance(value, Decimal):
        return Literal(value, decimal_type(value))
    for kind, data_type in _LITERAL_TYPES:
        if isinstance(value, kind):
            return Literal(value, data_type)
    raise InvalidArgumentError(f"{type(value).__name__} has no literal in an expression", value=repr(value)[:100])


_LITERAL_TYPES = (
    (type(None), VOID),
    (bool, BOOLEAN),
    (float, DOUBLE),
    (str, STRING),
    (bytes, BINARY),
    (dt.date, DATE),
)


def integer_type(value: int) -> PrimitiveType:
    """The narrowest of integer, long and decimal that holds the value, as Spark types a number without suffix."""
    if -(2**31) <= value < 2**31:
        return INTEGER
    return LONG if -(2**63) <= value < 2**63 else decimal_type(Decimal(value))


def decimal_type(value: Decimal) -> PrimitiveType:
    """The decimal type with just the digits of the value.

    :raises ExpressionError: beyond 38 digits, or for NaN and infinity.
    """
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise ExpressionError(f"{value} is not a decimal number")
    scale = max(0, -exponent)
    precision = max(len(digits) + max(exponent, 0), scale)
    if precision > 38:
        raise ExpressionError(f"the number {value} has more than 38 digits", hint="write it as a double, as in 1e40")
    return PrimitiveType(f"decimal({precision},{scale})")


def call(function: str, *args: Any) -> Call:
    """A function or operator over expressions or Python values."""
    return Call(function, tuple(lit(a) for a in args))


def and_(*exprs: Expr) -> Expr:
    """All of them; the constant true when there are none. Nested conjunctions are flattened."""
    return _join("and", exprs, True)


def or_(*exprs: Expr) -> Expr:
    """Any of them; the constant false when there are none. Nested disjunctions are flattened."""
    return _join("or", exprs, False)


def not_(expr: Expr) -> Expr:
    return Call("not", (expr,))


def _join(function: str, exprs: Sequence[Expr], empty: bool) -> Expr:
    flat: list[Expr] = []
    for e in exprs:
        flat.extend(e.args if isinstance(e, Call) and e.function == function else (e,))
    if not flat:
        return Literal(empty, BOOLEAN)
    return flat[0] if len(flat) == 1 else Call(function, tuple(flat), BOOLEAN if _typed(flat) else None)


def _typed(exprs: Sequence[Expr]) -> bool:
    return all(getattr(e, "type", None) is not None for e in exprs)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The direct parts of a node, in the order :func:`with_children` takes them."""
    if isinstance(expr, Call):
        return expr.args
    if isinstance(expr, Cast):
        return (expr.operand,)
    if isinstance(expr, Case):
        flat = tuple(part for branch in expr.branches for part in branch)
        return flat if expr.otherwise is None else (*flat, expr.otherwise)
    return ()


def with_children(expr: Expr, parts: Sequence[Expr]) -> Expr:
    """The node with its direct parts replaced."""
    if isinstance(expr, Call):
        return replace(expr, args=tuple(parts))
    if isinstance(expr, Cast):
        return replace(expr, operand=parts[0])
    if isinstance(expr, Case):
        n = 2 * len(expr.branches)
        branches = tuple(zip(parts[0:n:2], parts[1:n:2], strict=True))
        return replace(expr, branches=branches, otherwise=parts[n] if len(parts) > n else None)
    return expr


def walk_expr(expr: Expr) -> Iterator[Expr]:
    """Every node, parents first, without recursion."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def is_small(expr: Expr, limit: int = 1000) -> bool:
    """Whether a tree has at most so many nodes: only then may a rewrite repeat it, or trees would explode."""
    return sum(1 for _ in islice(walk_expr(expr), limit + 1)) <= limit


def columns_of(expr: Expr) -> set[tuple[str, ...]]:
    """The paths of the columns that an expression names. A double-quoted name counts only once it is bound."""
    return {node.path for node in walk_expr(expr) if isinstance(node, Column)}


def is_literal(expr: Expr | None, value: Any = ...) -> bool:
    """Whether the node is a constant, and if ``value`` is given, this one."""
    if not isinstance(expr, Literal):
        return False
    return value is ... or (expr.value is value if value is None or isinstance(value, bool) else expr.value == value)


def same_value(left: Any, right: Any) -> bool:
    """Equality of literal values where NaN equals itself."""
    both_floats = isinstance(left, float) and isinstance(right, float)
    return left == right or (both_floats and math.isnan(left) and math.isnan(right))


def type_name(data_type: ExprType | None) -> str:
    """The type in Spark's SQL spelling, as error messages and ``CAST`` show it."""
    if isinstance(data_type, PrimitiveType):
        return _SQL_NAMES.get(data_type.type, data_type.type)
    if isinstance(data_type, ArrayType):
        return f"array<{type_name(data_type.element_type)}>"
    if isinstance(data_type, MapType):
        return f"map<{type_name(data_type.key_type)},{type_name(data_type.value_type)}>"
    if isinstance(data_type, StructType):
        return f"struct<{','.join(f'{quote_name(f.name)}:{type_name(f.type)}' for f in data_type.fields)}>"
    return str(data_type)


_SQL_NAMES = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint"}


def quote_name(name: str) -> str:
    """A name as SQL text: as it is when it is a plain word, otherwise in backticks."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()
    return name if plain and name.lower() not in RESERVED else "`" + name.replace("`", "``") + "`"


RESERVED = frozenset(
    [
        "and",
        "or",
        "not",
        "case",
        "when",
        "then",
        "else",
        "in",
        "is",
        "between",
        "like",
        "ilike",
        "rlike",
        "regexp",
        "null",
        "true",
        "false",
        "select",
        "exists",
        "interval",
    ]
)
"""Words that mean something where a name may stand: a column of this name is written in backticks."""
