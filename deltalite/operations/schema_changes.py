"""Edits of a schema, pure: fields of the struct at a path are added, dropped, renamed, moved, or given other types.

A path names a column, or with more parts something inside of it; arrays and maps have the parts ``element``, ``key``
and ``value``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.types import ArrayType, DataType, Field, MapType, Schema, StructType
from deltalite.write.spec import parse_path

Path = tuple[str, ...]
Fields = list[Field]


def located(schema: StructType, column: str | Sequence[str]) -> Path:
    """The path of a column, in the schema's spelling.

    :param column: dotted text (names with dots in backticks), or its parts.
    :raises InvalidArgumentError: when there is no such column, with names that resemble it.
    """
    if isinstance(column, str):
        if (whole := schema.get(column)) is not None:
            return (whole.name,)
        column = parse_path(column)
    found: list[str] = []
    here: Any = schema
    for part in column:
        step = _step(here, part)
        if step is None:
            raise _unknown(here, part, found)
        name, here = step
        found.append(name)
    return tuple(found)


def _step(data_type: DataType, part: str) -> tuple[str, DataType] | None:
    folded = part.lower()
    if isinstance(data_type, StructType):
        field = data_type.get(part)
        return None if field is None else (field.name, field.type)
    if isinstance(data_type, ArrayType) and folded == "element":
        return folded, data_type.element_type
    if isinstance(data_type, MapType) and folded in ("key", "value"):
        return folded, data_type.key_type if folded == "key" else data_type.value_type
    return None


def _unknown(here: Any, part: str, found: Sequence[str]) -> InvalidArgumentError:
    names = here.names if isinstance(here, StructType) else []
    near = difflib.get_close_matches(part, names, 1)
    where = f" in {'.'.join(found)!r}" if found else ""
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'no fields'}"
    return InvalidArgumentError(f"there is no column {part!r}{where}", hint=hint, column=".".join((*found, part)))


def type_at(schema: StructType, path: Path) -> DataType:
    """The type at a path that :func:`located` found."""
    here: DataType = schema
    for part in path:
        step = _step(here, part)
        assert step is not None
        here = step[1]
    return here


def field_at(schema: StructType, path: Path) -> Field:
    """The field at a path.

    :raises InvalidArgumentError: for the element of an array or a key or value of a map, which are no fields.
    """
    parent = type_at(schema, path[:-1])
    field = parent.get(path[-1]) if isinstance(parent, StructType) else None
    if field is None:
        raise InvalidArgumentError(
            f"{'.'.join(path)!r} is no field of a struct, so that only its type can change", column=".".join(path)
        )
    return field


# -- edits -------------------------------------------------------------------------------------------------------------


def added(
    schema: Schema, parent: Path, fields: Sequence[Field], first: bool = False, after: str | None = None
) -> Schema:
    """New fields in the struct at ``parent`` (the table's columns for the empty path): last, first, or behind one."""

    def change(old: Fields) -> Fields:
        at = 0 if first else len(old) if after is None else _index(old, after) + 1
        return [*old[:at], *fields, *old[at:]]

    return _edited(schema, parent, change)


def dropped(schema: Schema, path: Path) -> Schema:
    """Without the field.

    :raises InvalidArgumentError: when nothing of its struct would be left.
    """
    field_at(schema, path)

    def change(old: Fields) -> Fields:
        if len(old) == 1:
            raise InvalidArgumentError(
                f"{'.'.join(path)!r} is the only field of its struct",
                hint="drop the struct" if len(path) > 1 else "a table has at least one column",
                column=".".join(path),
            )
        return [f for f in old if f.name != path[-1]]

    return _edited(schema, path[:-1], change)


def changed(schema: Schema, path: Path, change: Callable[[Field], Field]) -> Schema:
    """With one field replaced."""
    field_at(schema, path)
    return _edited(schema, path[:-1], lambda old: [change(f) if f.name == path[-1] else f for f in old])


def moved(schema: Schema, path: Path, first: bool = False, after: str | None = None) -> Schema:
    """With the field first in its struct, or behind another one."""
    field = field_at(schema, path)
    if first == (after is not None):
        raise InvalidArgumentError("say where the column goes", hint="first=True, or after='another column'")

    def change(old: Fields) -> Fields:
        rest = [f for f in old if f is not field]
        at = 0 if after is None else _index(rest, after) + 1
        return [*rest[:at], field, *rest[at:]]

    return _edited(schema, path[:-1], change)


def retyped(schema: Schema, path: Path, wanted: DataType) -> Schema:
    """With another type at a path, which may lead into arrays and maps."""

    def change(here: Any, rest: Path) -> Any:
        if not rest:
            return wanted
        part = rest[0]
        if isinstance(here, StructType):
            fields = [f.with_(type=change(f.type, rest[1:])) if f.name == part else f for f in here.fields]
            return type(here)(fields)
        if isinstance(here, ArrayType):
            return ArrayType(change(here.element_type, rest[1:]), here.contains_null)
        key = change(here.key_type, rest[1:]) if part == "key" else here.key_type
        value = change(here.value_type, rest[1:]) if part == "value" else here.value_type
        return MapType(key, value, here.value_contains_null)

    return change(schema, path)


def _edited(schema: Schema, parent: Path, change: Callable[[Fields], Fields]) -> Schema:
    struct = type_at(schema, parent)
    if not isinstance(struct, StructType):
        raise InvalidArgumentError(
            f"{'.'.join(parent)!r} is no struct", hint="fields are added to structs only", column=".".join(parent)
        )
    return retyped(schema, parent, type(struct)(change(list(struct.fields))))


def _index(fields: Fields, name: str) -> int:
    for index, field in enumerate(fields):
        if field.name.lower() == name.lower():
            return index
    raise InvalidArgumentError(
        f"there is no column {name!r} beside it", hint=f"there are {', '.join(f.name for f in fields)}", column=name
    )
