"""Schema evolution on write: ``schema_mode="merge"``."""

from __future__ import annotations

from deltalite.exceptions import SchemaMismatchError
from deltalite.model.expr import type_name
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, StructType, map_fields
from deltalite.write.casts import store_rule

_TABLE_OWNED = ("delta.", "parquet.")  # metadata that a table gives its columns; it does not travel with data


def merge_schema(table: StructType, data: StructType) -> StructType:
    """The table's schema with the columns and nested fields that only the data has, appended and nullable.

    Columns that both have keep the table's type, as long as the data's can be stored in it.

    :raises SchemaMismatchError: listing the columns whose types contradict each other.
    """
    problems: list[str] = []
    columns: list[str] = []

    def merged_type(old: DataType, new: DataType, path: str) -> DataType:
        if isinstance(old, StructType) and isinstance(new, StructType):
            return type(old)(merged_fields(old, new, f"{path}."))
        if isinstance(old, ArrayType) and isinstance(new, ArrayType):
            return ArrayType(merged_type(old.element_type, new.element_type, f"{path}.element"), old.contains_null)
        if isinstance(old, MapType) and isinstance(new, MapType):
            key = merged_type(old.key_type, new.key_type, f"{path}.key")
            value = merged_type(old.value_type, new.value_type, f"{path}.value")
            return MapType(key, value, old.value_contains_null)
        if new.type == "void" or _storable(new, old):
            return old
        columns.append(path)
        problems.append(f"column {path!r} is {type_name(old)} in the table and {type_name(new)} in the data")
        return old

    def merged_fields(old: StructType, new: StructType, prefix: str) -> list[Field]:
        fields = []
        for f in old.fields:
            found = new.get(f.name)
            kind = f.type if found is None else merged_type(f.type, found.type, prefix + f.name)
            fields.append(f if kind is f.type else f.with_(type=kind))
        return fields + [_new_field(f) for f in new.fields if old.get(f.name) is None]

    found = type(table)(merged_fields(table, data, ""))
    if problems:
        raise SchemaMismatchError(
            "the schema of the data contradicts the table's:" + "".join(f"\n  - {text}" for text in problems),
            hint="cast these columns of the data; a column's type is not changed by a write",
            columns=columns,
        )
    return found


def _storable(new: DataType, old: DataType) -> bool:
    if isinstance(new, PrimitiveType) and isinstance(old, PrimitiveType):
        return store_rule(new, old) is not None
    return False


def _new_field(f: Field) -> Field:
    def plain(inner: Field, _: tuple[str, ...]) -> Field:
        kept = {k: v for k, v in inner.metadata.items() if not k.startswith(_TABLE_OWNED)}
        return inner.with_(nullable=True, metadata=kept)

    return plain(f.with_(type=map_fields(f.type, plain)), ())
