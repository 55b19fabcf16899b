"""SQL text to expressions, types and schemas.

The dialect is Spark's. Double quotes stand for a column where one of that name exists and for a string otherwise
(:class:`~deltalite.model.expr.DoubleQuoted`), so that predicates written for deltalake mean the same.
"""

from __future__ import annotations

from typing import Any

from deltalite.exceptions import ExpressionError
from deltalite.expr.datatypes import parse_name, parse_text, parse_type
from deltalite.expr.grammar import Parser
from deltalite.expr.tokens import TokenStream
from deltalite.model.expr import Expr
from deltalite.model.types import DataType, Field, Schema


def parse_expression(text: str) -> Expr:
    """The expression that a text spells, names not yet looked up.

    :raises ExpressionError: when it is malformed; the message shows the place, ``position`` and ``expected`` tell it
        to programs.
    """
    return _parsed(text, lambda parser: parser.whole())


def parse_data_type(text: str) -> DataType:
    """The type that a text such as ``array<struct<a:int,b:decimal(10,2)>>`` names.

    :raises ExpressionError: when it names none.
    """

    def whole(parser: Parser) -> DataType:
        data_type = parse_type(parser)
        _end(parser, "the end")
        return data_type

    return _parsed(text, whole)


def parse_schema(text: str) -> Schema:
    """The schema that the column list of a ``CREATE TABLE`` spells.

    ``id bigint NOT NULL, name string COMMENT 'x', day date GENERATED ALWAYS AS (cast(ts as date)), n int DEFAULT 3``:
    generation expressions, defaults, comments and identity columns go to the metadata of the field, where the
    protocol keeps them.

    :raises ExpressionError: when it is malformed, or names a column twice.
    """
    return _parsed(text, _columns)


def _parsed(text: str, read: Any) -> Any:
    if not isinstance(text, str):
        raise ExpressionError(f"an expression is text, not {type(text).__name__}")
    try:
        return read(Parser(text))
    except RecursionError:
        raise ExpressionError("the expression nests too deeply", position=0, expected=[]) from None


def _end(stream: TokenStream, *expected: str) -> None:
    if stream.token.kind != "end":
        raise stream.unexpected(*expected)


def _columns(parser: Parser) -> Schema:
    fields: list[Field] = []
    seen: set[str] = set()
    closed = parser.take("(")
    while True:
        position = parser.token.position
        column = _column(parser)
        if column.name.lower() in seen:
            raise parser.error(f"the column {column.name!r} appears twice", position=position)
        seen.add(column.name.lower())
        fields.append(column)
        if not parser.take(","):
            break
    if closed:
        parser.expect(")", ",")
    _end(parser, ",", "the end", "NOT NULL", "DEFAULT", "GENERATED", "COMMENT")
    return Schema(fields)


def _column(parser: Parser) -> Field:
    name = parse_name(parser)
    parser.take(":")
    data_type = parse_type(parser)
    nullable, metadata = True, {}
    while True:
        if parser.take("NOT", "NULL"):
            nullable = False
        elif parser.take("NULL"):
            nullable = True
        elif parser.take("COMMENT"):
            metadata["comment"] = parse_text(parser)
        elif parser.take("DEFAULT"):
            metadata["CURRENT_DEFAULT"] = _expression_text(parser)
        elif parser.take("GENERATED"):
            metadata.update(_generated(parser))
        else:
            return Field(name, data_type, nullable, metadata)


def _generated(parser: Parser) -> dict[str, Any]:
    by_default = parser.take("BY", "DEFAULT")
    if not by_default:
        parser.expect("ALWAYS", "BY DEFAULT")
    parser.expect("AS")
    if by_default or parser.at("IDENTITY"):
        parser.expect("IDENTITY")
        return _identity(parser, by_default)
    parser.expect("(", "IDENTITY")
    text = _expression_text(parser)
    parser.expect(")")
    return {"delta.generationExpression": text}


def _identity(parser: Parser, explicit_allowed: bool) -> dict[str, Any]:
    start, step = 1, 1
    if parser.take("("):
        if parser.take("START", "WITH"):
            start = _whole_number(parser)
            parser.take(",")
        if parser.take("INCREMENT", "BY"):
            step = _whole_number(parser)
        parser.expect(")", "START WITH", "INCREMENT BY")
    if step == 0:
        raise parser.error("the step of an identity column may not be 0")
    return {
        "delta.identity.start": start,
        "delta.identity.step": step,
        "delta.identity.allowExplicitInsert": explicit_allowed,
    }


def _whole_number(parser: Parser) -> int:
    sign = -1 if parser.take("-") else 1
    token = parser.token
    if token.kind != "number" or not token.text.isdigit() or len(token.text) > 19:
        raise parser.unexpected("a whole number")
    parser.next()
    return sign * int(token.text)


def _expression_text(parser: Parser) -> str:
    """The text of the expression that comes next, as it is written; it must parse."""
    start = parser.token.position
    parser.checked(parser.expression())
    return parser.text[start : parser.token.position].strip()
