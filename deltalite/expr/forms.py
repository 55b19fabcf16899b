"""Forms with a syntax of their own: typed literals, intervals, and calls such as ``EXTRACT(YEAR FROM x)``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from deltalite.exceptions import ExpressionError
from deltalite.expr import literals
from deltalite.expr.datatypes import parse_type
from deltalite.model.expr import BINARY, DATE, STRING, TIMESTAMP, TIMESTAMP_NTZ, Call, Cast, Column, Expr, Literal

if TYPE_CHECKING:
    from deltalite.expr.grammar import Parser

UNITS = frozenset(
    ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAYOFYEAR", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND")
)


def cast(parser: Parser, try_: bool = False) -> Expr:
    operand = parser.expression()
    parser.expect("AS", "an operator")
    data_type = parse_type(parser)
    parser.expect(")")
    return Cast(operand, data_type, try_)


def extract(parser: Parser) -> Expr:
    if parser.token.kind not in ("word", "string"):
        raise parser.unexpected("a field such as YEAR")
    token = parser.next()
    field = literals.string_value(token.text) if token.kind == "string" else token.text
    parser.expect("FROM")
    source = parser.expression()
    parser.expect(")")
    return Call("date_part", (Literal(field.lower(), STRING), source))


def substring(parser: Parser) -> Expr:
    text = parser.expression()
    if not parser.take("FROM"):
        parser.expect(",", "FROM")
        return Call("substring", (text, *parser.arguments()))
    start = parser.expression()
    length = (parser.expression(),) if parser.take("FOR") else ()
    parser.expect(")")
    return Call("substring", (text, start, *length))


def trim(parser: Parser) -> Expr:
    function = next((f for word, f in _TRIM.items() if parser.take(word)), None)
    if function is None:
        first = parser.expression()
        if not parser.at("FROM"):
            rest = parser.arguments() if parser.take(",") else parser.expect(")") and []
            return Call("trim", (first, *rest))
        function, removed = "trim", (first,)
    else:
        removed = () if parser.at("FROM") else (parser.expression(),)
    parser.expect("FROM")
    text = parser.expression()
    parser.expect(")")
    return Call(function, (*removed, text))


def position(parser: Parser) -> Expr:
    part = parser.value()
    if parser.take("IN"):
        text = parser.expression()
        parser.expect(")")
        return Call("position", (part, text))
    parser.expect(",", "IN")
    return Call("position", (part, *parser.arguments()))


def timestamp_unit(parser: Parser, function: str) -> Expr:
    """``timestampadd(DAY, 1, t)``: of three arguments the first is a unit, a bare word that could also be a name."""
    args = parser.arguments()
    first = args[0]
    if len(args) == 3 and isinstance(first, Column) and len(first.path) == 1 and first.path[0].upper() in UNITS:
        args[0] = Literal(first.path[0].lower(), STRING)
    return Call(function, tuple(args))


def exists(parser: Parser) -> Expr:
    raise parser.error("EXISTS asks a subquery or applies a function to an array: neither is supported here")


def interval(parser: Parser) -> Literal:
    start = parser.token.position
    parts: list[tuple[str, str]] = []
    try:
        if parser.token.kind == "string" and parser.peek().upper not in literals.INTERVAL_UNITS:
            words = literals.string_value(parser.next().text).split()
            if words and words[0].upper() == "INTERVAL":
                words = words[1:]
            if not words or len(words) % 2 or not all(w.upper() in literals.INTERVAL_UNITS for w in words[1::2]):
                raise parser.unexpected("a unit of time")
            return literals.interval(list(zip(words[0::2], words[1::2], strict=True)))
        while _interval_part(parser):
            sign = parser.next().text if parser.token.text in ("-", "+") else ""
            token = parser.next()
            amount = literals.string_value(token.text) if token.kind == "string" else token.text
            unit = parser.next().upper
            if parser.at("TO") and token.kind == "string" and not parts:
                parser.next()
                end = parser.next().upper.removesuffix("S")
                found = literals.interval_range(amount, unit.removesuffix("S"), end)
                return Literal(-found.value, found.type) if sign == "-" else found
            parts.append((sign + amount if sign == "-" else amount, unit))
        return literals.interval(parts)
    except ExpressionError as error:
        if "position" in error.context:
            raise
        raise parser.error(error.message, position=start, hint=error.hint) from None


def _interval_part(parser: Parser) -> bool:
    ahead = 1 if parser.token.text in ("-", "+") else 0
    return parser.peek(ahead).kind in ("number", "string") and parser.peek(ahead + 1).upper in literals.INTERVAL_UNITS


def _timestamp(text: str) -> Expr:
    local, zone = literals.parse_timestamp(text)
    if zone is None:
        return Cast(Literal(text, STRING), TIMESTAMP)  # which instant this is depends on the zone it is bound with
    return Literal(local.replace(tzinfo=literals.zone_info(zone)).astimezone(dt.timezone.utc), TIMESTAMP)


def _timestamp_ntz(text: str) -> Expr:
    return Literal(literals.parse_timestamp(text)[0], TIMESTAMP_NTZ)


def _binary(text: str) -> Expr:
    return Literal(bytes.fromhex(text if len(text) % 2 == 0 else "0" + text), BINARY)


PREFIXED: dict[str, Callable[[str], Expr]] = {
    "DATE": lambda text: Literal(literals.parse_date(text), DATE),
    "TIMESTAMP": _timestamp,
    "TIMESTAMP_LTZ": _timestamp,
    "TIMESTAMP_NTZ": _timestamp_ntz,
    "X": _binary,
}
_TRIM = {"BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}
SPECIAL: dict[str, Callable[[Any], Expr]] = {
    "CAST": cast,
    "TRY_CAST": lambda parser: cast(parser, try_=True),
    "EXTRACT": extract,
    "SUBSTRING": substring,
    "SUBSTR": substring,
    "TRIM": trim,
    "POSITION": position,
    "EXISTS": exists,
    **{name: partial(timestamp_unit, function=name.lower()) for name in (
        "TIMESTAMPADD", "TIMESTAMPDIFF", "DATEADD", "DATEDIFF", "DATE_ADD", "DATE_DIFF",
    )},
}  # fmt: skip
