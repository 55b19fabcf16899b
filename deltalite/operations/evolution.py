"""Schema evolution by writes: new columns, and types that grow where the table allows it."""

from __future__ import annotations

from deltalite import features
from deltalite.features.type_widening import widens_by_itself
from deltalite.model.config import TableConfig
from deltalite.model.properties import TYPE_WIDENING
from deltalite.model.types import DataType, Schema, StructType
from deltalite.operations.create import check_schema
from deltalite.operations.references import overlaps, references
from deltalite.write.schema import Path, merge_schema


def evolved_schema(config: TableConfig, data: StructType) -> Schema:
    """The table's schema with the columns that only the data has, and with ``delta.enableTypeWidening`` the data's type
    where the table's can grow into it.

    Columns that a constraint or a generated column uses keep their type.

    :raises SchemaMismatchError: when types contradict each other.
    """
    used = {path for _, path in references(config)} if config.get(TYPE_WIDENING) else set()

    def widens(path: Path, old: DataType, new: DataType) -> bool:
        return widens_by_itself(config, old, new) and not any(overlaps(path, other) for other in used)

    merged = Schema(merge_schema(config.schema, data, widens).fields)
    if merged != config.schema:
        check_schema(merged, mapped=features.physical_schema(config) is not config.schema)
    return merged
