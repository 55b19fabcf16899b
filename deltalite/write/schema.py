"""Schema evolution on write: ``schema_mode="merge"``."""

from __future__ import annotations

from collections.abc import Callable

from deltalite.exceptions import SchemaMismatchError
from deltalite.features.type_widening import recorded
from deltalite.model.expr import type_name
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, StructType, map_fields
from deltalite.write.casts import store_rule

Path = tuple[str, ...]
Widens = Callable[[Path, DataType, DataType], bool]
_TABLE_OWNED = ("delta.", "parquet.")  # metadata that a table gives its columns; it does not travel with data


def _never(*_: object) -> bool:
    return False


def merge_schema(table: StructType, data: StructType, widens: Widens = _never) -> StructType:
    """The table's schema with the columns and nested fields that only the data has, appended and nullable.

    Columns that both have keep the table's type, as long as the data's can be stored in it.

    :param widens: whether the column at a path gets the data's type instead of the table's.
    :raises SchemaMismatchError: listing the columns whose types contradict each other.
    """
    merging = _Merging(widens)
    found = type(table)(merging.fields(table, data, ()))
    if merging.problems:
        raise SchemaMismatchError(
            "the schema of the data contradicts the table's:"
            + "".join(f"\n  - {text}" for text in merging.problems.values()),
            hint="cast these columns of the data; a write changes a column's type only where the table has "
            "delta.enableTypeWidening and no value would change",
            columns=list(merging.problems),
        )
    return found


class _Merging:
    """Two schemas put together, and what does not fit."""

    def __init__(self, widens: Widens) -> None:
        self._widens = widens
        self.problems: dict[str, str] = {}

    def fields(self, old: StructType, new: StructType, above: Path) -> list[Field]:
        fields = [self._field(f, new.get(f.name), (*above, f.name)) for f in old.fields]
        return fields + [_new_field(f) for f in new.fields if old.get(f.name) is None]

    def _field(self, f: Field, found: Field | None, path: Path) -> Field:
        if found is None:
            return f
        changes: list[tuple[Path, DataType, DataType]] = []
        kind = self._type(f.type, found.type, path, len(path), changes)
        merged = f if kind is f.type else f.with_(type=kind)
        for inside, old, new in changes:
            merged = recorded(merged, inside, old, new)
        return merged

    def _type(self, old: DataType, new: DataType, path: Path, depth: int, changes: list) -> DataType:
        """The merged type at a path. ``changes`` are those below the field whose path has ``depth`` parts."""
        if isinstance(old, StructType) and isinstance(new, StructType):
            return type(old)(self.fields(old, new, path))
        if isinstance(old, ArrayType) and isinstance(new, ArrayType):
            element = self._type(old.element_type, new.element_type, (*path, "element"), depth, changes)
            return ArrayType(element, old.contains_null)
        if isinstance(old, MapType) and isinstance(new, MapType):
            key = self._type(old.key_type, new.key_type, (*path, "key"), depth, changes)
            value = self._type(old.value_type, new.value_type, (*path, "value"), depth, changes)
            return MapType(key, value, old.value_contains_null)
        if self._widens(path, old, new):
            changes.append((path[depth:], old, new))
            return new
        if new.type == "void" or _storable(new, old):
            return old
        name = ".".join(path)
        self.problems[name] = f"column {name!r} is {type_name(old)} in the table and {type_name(new)} in the data"
        return old


def _storable(new: DataType, old: DataType) -> bool:
    if isinstance(new, PrimitiveType) and isinstance(old, PrimitiveType):
        return store_rule(new, old) is not None
    return False


def _new_field(f: Field) -> Field:
    def plain(inner: Field, _: tuple[str, ...]) -> Field:
        kept = {k: v for k, v in inner.metadata.items() if not k.startswith(_TABLE_OWNED)}
        return inner.with_(nullable=True, metadata=kept)

    return plain(f.with_(type=map_fields(f.type, plain)), ())
