"""Columns by name: top-level ones, and fields of structs by dotted names, ignoring case."""

from __future__ import annotations

import difflib
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.types import DataType, StructType

Path = tuple[str, ...]


def find_column(schema: StructType, name: str) -> tuple[Path, DataType]:
    """The path of a column in the schema's spelling, and its type. A column whose name holds dots is found first.

    :raises InvalidArgumentError: when there is none, with the name that was probably meant.
    """
    kind: Any = schema
    path: list[str] = []
    for part in [name] if schema.get(name) is not None else name.split("."):
        f = kind.get(part) if isinstance(kind, StructType) else None
        if f is None:
            known = [f.name for f in kind.fields] if isinstance(kind, StructType) else []
            near = difflib.get_close_matches(part, known, 1)
            raise InvalidArgumentError(
                f"there is no column {name!r}",
                hint=f"did you mean {'.'.join([*path, near[0]])!r}?" if near else f"the columns are {schema.names}",
                column=name,
            )
        path.append(f.name)
        kind = f.type
    return tuple(path), kind
