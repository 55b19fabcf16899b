"""Fields of structs, elements of arrays and maps."""

from __future__ import annotations

from typing import Any

import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.functions.registry import Function, Settings, constant, function
from deltalite.expr.vectors import Datum
from deltalite.model.expr import Call, Column, Expr, Literal, STRING, type_name
from deltalite.model.types import StructType


def _field_rule(row: Function, args: list[Any]) -> Expr:
    """``value.name``: a path of names stays a column, so that nested statistics serve it."""
    value = args[0]
    name = constant(row, args, 1, "field")
    if not isinstance(value.type, StructType):
        raise ExpressionError(f"{type_name(value.type)} has no field {name!r}", name=name)
    field = value.type.get(name)
    if field is None:
        raise ExpressionError(
            f"the struct has no field {name!r}", hint=f"its fields are: {', '.join(value.type.names)}", name=name
        )
    if isinstance(value, Column):
        return Column((*value.path, field.name), field.type)
    return Call(".", (value, Literal(field.name, STRING)), field.type)


@function(".", _field_rule, strict=False, safe=True)
def get_field(settings: Settings, value: Datum, name: Datum) -> Datum:
    return pc.struct_field(value, [value.type.get_field_index(name.as_py())])
