"""The grammar of type names: ``bigint``, ``decimal(10,2)``, ``array<struct<a:int>>``."""

from __future__ import annotations

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.literals import string_value
from deltalite.expr.tokens import TokenStream
from deltalite.model.types import MAX_DEPTH, ArrayType, DataType, Field, MapType, PrimitiveType, StructType, VariantType

_PRIMITIVES = {
    "BOOLEAN": "boolean", "BYTE": "byte", "TINYINT": "byte", "SHORT": "short", "SMALLINT": "short", "INT": "integer",
    "INTEGER": "integer", "BIGINT": "long", "LONG": "long", "FLOAT": "float", "REAL": "float", "DOUBLE": "double",
    "STRING": "string", "BINARY": "binary", "DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP_LTZ": "timestamp",
    "TIMESTAMP_NTZ": "timestamp_ntz", "VOID": "void", "NULL": "void",
}  # fmt: skip


def parse_type(stream: TokenStream, depth: int = 0) -> DataType:
    """The type whose name comes next.

    :raises ExpressionError: for a name that is no type, or one that Delta cannot store.
    """
    if depth > MAX_DEPTH:
        raise stream.error(f"the type nests deeper than {MAX_DEPTH} levels")
    token = stream.token
    if token.kind != "word":
        raise stream.unexpected("a type")
    stream.next()
    if token.upper in _PRIMITIVES:
        return PrimitiveType(_PRIMITIVES[token.upper])
    if token.upper in ("DECIMAL", "DEC", "NUMERIC"):
        return _decimal(stream)
    if token.upper == "VARIANT":
        return VariantType()
    if token.upper == "ARRAY":
        stream.expect("<")
        element = parse_type(stream, depth + 1)
        stream.expect(">")
        return ArrayType(element)
    if token.upper == "MAP":
        stream.expect("<")
        key = parse_type(stream, depth + 1)
        stream.expect(",")
        value = parse_type(stream, depth + 1)
        stream.expect(">")
        return MapType(key, value)
    if token.upper == "STRUCT":
        return _struct(stream, depth)
    if token.upper in ("CHAR", "VARCHAR", "CHARACTER"):
        raise stream.error(
            f"{token.text} with a length is not supported", position=token.position,
            hint="use string, with a CHECK constraint such as length(c) <= 10",
        )  # fmt: skip
    raise stream.error(f"unknown type {token.text!r}", position=token.position, expected=["a type"])


def _decimal(stream: TokenStream) -> DataType:
    start = stream.token.position
    precision, scale = 10, 0
    if stream.take("("):
        precision = _whole(stream)
        if stream.take(","):
            scale = _whole(stream)
        stream.expect(")", ",")
    try:
        return PrimitiveType(f"decimal({precision},{scale})")
    except InvalidArgumentError as error:
        raise stream.error(str(error.message), position=start) from None


def _whole(stream: TokenStream) -> int:
    token = stream.token
    if token.kind != "number" or not token.text.isdigit() or len(token.text) > 9:
        raise stream.unexpected("a number")
    return int(stream.next().text)


def _struct(stream: TokenStream, depth: int) -> StructType:
    if stream.take("<>"):
        return StructType([])
    stream.expect("<")
    fields: list[Field] = []
    while not stream.take(">"):
        if fields:
            stream.expect(",", ">")
        fields.append(_struct_field(stream, depth))
    return StructType(fields)


def _struct_field(stream: TokenStream, depth: int) -> Field:
    name = parse_name(stream)
    stream.take(":")
    data_type = parse_type(stream, depth + 1)
    nullable = not stream.take("NOT", "NULL")
    metadata = {"comment": parse_text(stream)} if stream.take("COMMENT") else None
    return Field(name, data_type, nullable, metadata)


def parse_name(stream: TokenStream) -> str:
    """A name: a word, or anything in backticks or double quotes."""
    token = stream.token
    if token.kind == "word":
        return stream.next().text
    if token.kind == "quoted" and len(token.text) > 2:
        return stream.next().text[1:-1].replace("``", "`")
    if token.kind == "double" and len(token.text) > 2:
        return string_value(stream.next().text)
    raise stream.unexpected("a name")


def parse_text(stream: TokenStream) -> str:
    """A string literal."""
    if stream.token.kind not in ("string", "double", "raw"):
        raise stream.unexpected("a string")
    return string_value(stream.next().text)
