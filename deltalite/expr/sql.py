"""Expressions to Spark SQL text, such that parsing the text gives the expression back."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

from deltalite.exceptions import ExpressionError
from deltalite.expr.grammar import AND, BINARY_OPERATORS, COMPARISON, MAX_DEPTH, NOT, OR, UNARY
from deltalite.model.expr import (
    DAY,
    YEAR_MONTH,
    BoundExpr,
    Call,
    Case,
    Cast,
    Column,
    DoubleQuoted,
    Expr,
    IntervalType,
    Literal,
    quote_name,
    type_name,
)
from deltalite.model.types import ArrayType, PrimitiveType

_PRIMARY = UNARY + 1
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\u0000", "\x1a": "\\u001a"})
_PREDICATES = {
    "is_null": "IS NULL", "is_true": "IS TRUE", "is_false": "IS FALSE", "like": "LIKE", "ilike": "ILIKE",
    "rlike": "RLIKE",    "in": "IN", "between": "BETWEEN",
}  # fmt: skip
_UNARY = {"negative": "-", "positive": "+", "~": "~"}


def to_sql(expr: Expr | BoundExpr) -> str:
    """The text of an expression in Spark's dialect, with as few parentheses as its reading needs.

    :raises ExpressionError: when it nests too deeply.
    """
    try:
        return _text(expr.expr if isinstance(expr, BoundExpr) else expr, 0)
    except RecursionError:
        raise ExpressionError(f"the expression nests deeper than {2 * MAX_DEPTH} levels") from None


def _text(expr: Expr, power: int) -> str:
    """The text of a node, in parentheses when it binds no tighter than ``power``."""
    text, binding = _written(expr)
    return text if binding > power else f"({text})"


def _written(expr: Expr) -> tuple[str, int]:
    if isinstance(expr, Column):
        return ".".join(map(quote_name, expr.path)), _PRIMARY
    if isinstance(expr, DoubleQuoted):
        return '"' + expr.text.translate(_ESCAPES).replace('"', '\\"') + '"', _PRIMARY
    if isinstance(expr, Literal):
        return literal_sql(expr), _PRIMARY
    if isinstance(expr, Cast) and isinstance(expr.type, IntervalType):
        return _written(expr.operand)  # implicit, and back again when the text is bound
    if isinstance(expr, Cast):
        function = "TRY_CAST" if expr.try_ else "CAST"
        return f"{function}({_text(expr.operand, 0)} AS {type_name(expr.type)})", _PRIMARY
    if isinstance(expr, Case):
        return _case(expr), _PRIMARY
    if isinstance(expr, Call):
        return _call(expr)
    raise ExpressionError(f"{type(expr).__name__} is not part of an expression")


def _call(expr: Call) -> tuple[str, int]:
    name, args = expr.function, expr.args
    if name in ("and", "or") and len(args) > 1:
        power = AND if name == "and" else OR
        return f" {name.upper()} ".join(_text(a, power) for a in args), power
    if name == "not" and len(args) == 1:
        return _not(args[0])
    if name in _PREDICATES and args:
        text = _predicate(expr, "")
        if text is not None:
            return text, COMPARISON
    operator = name.upper() if name == "div" else name
    if operator in BINARY_OPERATORS and len(args) == 2:
        power = BINARY_OPERATORS[operator]
        return f"{_text(args[0], power - 1)} {operator} {_text(args[1], power)}", power
    if name in _UNARY and len(args) == 1:
        inner = _text(args[0], UNARY - 1)
        if inner[0] in ".0123456789":
            inner = f"({inner})"  # a sign before digits is part of the number
        return f"{_UNARY[name]}{'' if inner[0].isalpha() else ' '}{inner}", UNARY
    if name == "[]" and len(args) == 2:
        return f"{_text(args[0], UNARY)}[{_text(args[1], 0)}]", _PRIMARY
    if name == "." and len(args) == 2 and isinstance(args[1], Literal):
        return f"{_text(args[0], UNARY)}.{quote_name(str(args[1].value))}", _PRIMARY
    if name in ("timestampadd", "timestampdiff") and args and isinstance(args[0], Literal):
        return f"{name}({', '.join([str(args[0].value).upper(), *(_text(a, 0) for a in args[1:])])})", _PRIMARY
    return f"{name}({', '.join(_text(a, 0) for a in args)})", _PRIMARY


def _not(arg: Expr) -> tuple[str, int]:
    if isinstance(arg, Call) and arg.args and arg.function in _PREDICATES:
        text = _predicate(arg, "NOT ")
        if text is not None:
            return text, COMPARISON
    return f"NOT {_text(arg, NOT - 1)}", NOT


def _predicate(expr: Call, negation: str) -> str | None:
    """``x [NOT] IN (...)`` and its like; ``None`` when the number of arguments fits no such form."""
    word, (left, *rest) = _PREDICATES[expr.function], expr.args
    subject = _text(left, COMPARISON - 1)
    if word.startswith("IS"):
        return f"{subject} IS {negation}{word[3:]}" if not rest else None
    if word == "IN":
        if len(rest) == 1 and isinstance(rest[0], Literal) and isinstance(rest[0].type, ArrayType):
            rest = [Literal(v, rest[0].type.element_type) for v in rest[0].value]
        return f"{subject} {negation}IN ({', '.join(_text(a, 0) for a in rest)})" if rest else None
    if word == "BETWEEN":
        if len(rest) != 2:
            return None
        return f"{subject} {negation}BETWEEN {_text(rest[0], COMPARISON)} AND {_text(rest[1], COMPARISON)}"
    if len(rest) not in ((1,) if word == "RLIKE" else (1, 2)):
        return None
    escape = f" ESCAPE {_text(rest[1], COMPARISON)}" if len(rest) == 2 else ""
    return f"{subject} {negation}{word} {_text(rest[0], COMPARISON)}{escape}"


def _case(expr: Case) -> str:
    parts = [f"WHEN {_text(condition, 0)} THEN {_text(value, 0)}" for condition, value in expr.branches]
    if expr.otherwise is not None:
        parts.append(f"ELSE {_text(expr.otherwise, 0)}")
    return f"CASE {' '.join(parts)} END"


def literal_sql(literal: Literal) -> str:
    """The text of a constant."""
    value, t = literal.value, literal.type
    if value is None:
        return "NULL" if t == PrimitiveType("void") else f"CAST(NULL AS {type_name(t)})"
    if isinstance(t, IntervalType):
        return _interval(value, t)
    if isinstance(t, ArrayType):
        return f"array({', '.join(literal_sql(Literal(v, t.element_type)) for v in value)})"
    writer = _WRITERS.get(t.type)
    if writer is not None:
        return writer(value)
    if isinstance(value, Decimal):
        return _decimal(value, t)
    raise ExpressionError(f"a value of {type_name(t)} has no literal")


def string_sql(value: str) -> str:
    return f"'{value.translate(_ESCAPES)}'"


def _double(value: float, suffix: str, name: str) -> str:
    if math.isnan(value) or math.isinf(value):
        text = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f"CAST('{text}' AS {name})"
    return f"{value!r}{suffix}"


def _decimal(value: Decimal, t: Any) -> str:
    text = f"{value:f}"
    if "." in text:
        return text
    return f"{text}BD"


def _timestamp(value: dt.datetime) -> str:
    if value.tzinfo is None:
        return f"TIMESTAMP_NTZ '{value.isoformat(sep=' ')}'"
    return f"TIMESTAMP '{value.astimezone(dt.timezone.utc).replace(tzinfo=None).isoformat(sep=' ')}Z'"


def _interval(value: int, t: IntervalType) -> str:
    sign, value = ("-" if value < 0 else ""), abs(value)
    if t == YEAR_MONTH:
        return f"INTERVAL '{sign}{value // 12}-{value % 12}' YEAR TO MONTH"
    days, micros = divmod(value, 86_400_000_000)
    if t == DAY:
        return f"INTERVAL '{sign}{days}' DAY"
    seconds, micros = divmod(micros, 1_000_000)
    text = f"{days} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micros:06}"
    return f"INTERVAL '{sign}{text}' DAY TO SECOND"


_WRITERS: dict[str, Any] = {
    "boolean": lambda v: "true" if v else "false",
    "integer": str,
    "long": lambda v: f"{v}L",
    "short": lambda v: f"{v}S",
    "byte": lambda v: f"{v}Y",
    "float": lambda v: _double(v, "F", "float"),
    "double": lambda v: _double(v, "D", "double"),
    "string": string_sql,
    "binary": lambda v: f"X'{v.hex().upper()}'",
    "date": lambda v: f"DATE '{v.isoformat()}'",
    "timestamp": _timestamp,
    "timestamp_ntz": _timestamp,
}
