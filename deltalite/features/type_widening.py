"""Type widening: a column's type grows, old files keep the old one and are cast as they are read.

PROTOCOL.md, "Type Widening". Only the listed pairs are allowed; every one keeps each value exactly (protocol trap 62).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.features import column_mapping
from deltalite.features.base import Feature
from deltalite.model.actions import Action, AddFile, Metadata
from deltalite.model.arrow import type_to_arrow
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.expr import type_name
from deltalite.model.properties import TYPE_WIDENING
from deltalite.model.types import DataType, Field, PrimitiveType, Schema, map_fields

HISTORY = "delta.typeChanges"
_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_DIGITS = {pa.int8(): 10, pa.int16(): 10, pa.int32(): 10, pa.int64(): 20}


def is_widening(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a value stored as one type may be read as the other."""
    if stored in _INTEGERS and wanted in _INTEGERS:
        return _INTEGERS.index(stored) < _INTEGERS.index(wanted)
    if pa.types.is_decimal(wanted):
        if stored in _DIGITS:
            return wanted.precision - wanted.scale >= _DIGITS[stored]
        return (
            pa.types.is_decimal(stored)
            and wanted.scale >= stored.scale
            and wanted.precision - wanted.scale >= stored.precision - stored.scale
        )
    if wanted == pa.float64():
        return stored == pa.float32() or stored in _INTEGERS[:3]
    return stored == pa.date32() and wanted == pa.timestamp("us")


def _convert(stored: pa.DataType, wanted: DataType) -> Callable[[Any], pa.Array] | None:
    if not isinstance(wanted, PrimitiveType) or wanted.type == "variant":
        return None
    target = type_to_arrow(wanted)
    return (lambda values: values.cast(target)) if is_widening(stored, target) else None


def check_widening(config: TableConfig, path: tuple[str, ...], old: DataType, new: DataType) -> None:
    """Refuse a change of type that is no widening, or in a table that does not have it turned on.

    :raises InvalidArgumentError: saying which of the two.
    """
    name = ".".join(path)
    plain = isinstance(old, PrimitiveType) and isinstance(new, PrimitiveType)
    if not plain or not is_widening(type_to_arrow(old), type_to_arrow(new)):
        raise InvalidArgumentError(
            f"the type of {name!r} cannot change from {type_name(old)} to {type_name(new)}",
            hint="types only grow, so that every value stays exact (PROTOCOL.md, Type Widening); "
            "rewrite the table for any other change",
            column=name,
        )
    if not config.get(TYPE_WIDENING):
        raise InvalidArgumentError(
            f"{name!r} could grow from {type_name(old)} to {type_name(new)}, but the table does not allow it",
            hint=f"set the property {TYPE_WIDENING.name} to true first",
            column=name,
        )


def widens_by_itself(config: TableConfig, old: DataType, new: DataType) -> bool:
    """Whether a write of values of another type changes that of a column, where the schema may evolve.

    As in the reference implementation, integers become wider integers only: that a column of them turns into one of
    fractions is for people to decide.
    """
    if not (isinstance(old, PrimitiveType) and isinstance(new, PrimitiveType)) or not config.get(TYPE_WIDENING):
        return False
    if "variant" in (old.type, new.type):
        return False
    stored, wanted = type_to_arrow(old), type_to_arrow(new)
    return is_widening(stored, wanted) and (stored not in _INTEGERS or wanted in _INTEGERS)


def recorded(field: Field, inside: tuple[str, ...], old: DataType, new: DataType) -> Field:
    """The field with the change in its history.

    :param inside: the way from the field to what changed, through arrays and maps.
    """
    entry = {"fromType": str(old.type), "toType": str(new.type)}
    if inside:
        entry["fieldPath"] = ".".join(inside)
    history = [*field.metadata.get(HISTORY, ()), entry]
    return field.with_(metadata={**field.metadata, HISTORY: history})


# -- leaving -----------------------------------------------------------------------------------------------------------


def _stripped(metadata: Metadata) -> Metadata:
    def plain(f: Field, _: tuple[str, ...]) -> Field:
        return f.with_(metadata={key: value for key, value in f.metadata.items() if key != HISTORY})

    schema = Schema(map_fields(parse_schema(metadata.schema_string), plain).fields)
    return replace(metadata, schema_string=schema.to_json())


def _bears(config: TableConfig, _: AddFile, file: Callable[[], pa.Schema]) -> bool:
    """Whether a file holds a narrower type than the table, at any depth."""
    if HISTORY not in config.metadata.schema_string:
        return False
    wanted = type_to_arrow(column_mapping.physical(config) or config.schema)
    return _is_narrower(pa.struct(list(file())), wanted)


def _is_narrower(stored: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_struct(stored) and pa.types.is_struct(wanted):
        pairs = ((f.type, wanted.field(f.name).type) for f in stored if wanted.get_field_index(f.name) >= 0)
    elif pa.types.is_map(stored) and pa.types.is_map(wanted):
        pairs = ((stored.key_type, wanted.key_type), (stored.item_type, wanted.item_type))
    elif pa.types.is_nested(stored) and pa.types.is_nested(wanted):
        pairs = ((stored.value_type, wanted.value_type),)
    else:
        return stored != wanted and is_widening(stored, wanted)
    return any(_is_narrower(*pair) for pair in pairs)


def _traces(action: Action) -> bool:
    return isinstance(action, Metadata) and HISTORY in action.schema_string


FEATURE = Feature(
    "typeWidening",
    "reader-writer",
    aliases=("typeWidening-preview",),
    property=TYPE_WIDENING.name,
    convert=_convert,
    stripped=_stripped,
    bears=_bears,
    traces=_traces,
)
