"""Column mapping: data files and the log know columns by physical names or field ids that never change.

PROTOCOL.md, "Column Mapping". Everything above data files and log speaks logical names; :func:`physical` is the only
translation. Protocol traps 59 to 61.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.base import Feature
from deltalite.model.actions import Metadata
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.properties import COLUMN_MAPPING_MODE
from deltalite.model.types import Field, Schema, StructType, map_fields, walk

ID = "delta.columnMapping.id"
PHYSICAL_NAME = "delta.columnMapping.physicalName"
NESTED_IDS = "delta.columnMapping.nested.ids"
MAX_ID = "delta.columnMapping.maxColumnId"
FIELD_ID = "parquet.field.id"
_NAMESPACE = uuid.UUID("5f0c7c5e-58a4-5a0b-9a4c-6c1b9f3d2e10")

Path = tuple[str, ...]


def physical(config: TableConfig) -> StructType | None:
    """The schema under physical names, with field ids in the metadata key ``parquet.field.id``; ``None`` in mode none.

    Mapping metadata that a schema carries without being mapped is ignored (trap 60).

    :raises InvalidTableError: when a field lacks its id or physical name.
    """
    if config.get(COLUMN_MAPPING_MODE) == "none":
        return None
    return map_fields(config.schema, _physical_field)


def _physical_field(field: Field, path: Path) -> Field:
    name, number = field.metadata.get(PHYSICAL_NAME), field.metadata.get(ID)
    if not isinstance(name, str) or not name or type(number) is not int:
        raise InvalidTableError(
            f"column {'.'.join(path)} has no {PHYSICAL_NAME if not name else ID}, though the table maps its columns",
            hint="the schema in the log is broken; restore an older version of the table",
            column=".".join(path),
        )
    kept = {key: value for key, value in field.metadata.items() if not key.startswith("delta.columnMapping.")}
    if NESTED_IDS in field.metadata:
        kept["parquet.field.nested.ids"] = field.metadata[NESTED_IDS]
    return field.with_(name=name, metadata={**kept, FIELD_ID: number})


def by_field_id(config: TableConfig) -> bool:
    return config.get(COLUMN_MAPPING_MODE) == "id"


def check(config: TableConfig) -> None:
    """Refuse a mapped table whose ids or physical names are not one per field.

    :raises InvalidTableError: naming the fields.
    """
    mapped = physical(config)
    if mapped is None:
        return
    numbers = {".".join(path): f.metadata[FIELD_ID] for path, f in walk(mapped)}
    if len(numbers) < sum(1 for _ in walk(mapped)):
        raise InvalidTableError("physical column names are used twice")
    shared = {number for number, count in Counter(numbers.values()).items() if count > 1}
    if twice := [path for path, number in numbers.items() if number in shared]:
        raise InvalidTableError(f"columns {twice} share a column mapping id", columns=twice)
    highest = max(numbers.values(), default=0)
    if highest > int(config.configuration.get(MAX_ID, highest)):
        raise InvalidTableError(f"{MAX_ID} is below the column mapping id {highest}")


def evolve(old: TableConfig | None, metadata: Metadata, version: int) -> Metadata:
    """The metadata with an id and a physical name for every field, and the highest id ever given.

    A field keeps what it has: by its id, or where the new schema does not say, by its path. When mapping is turned on,
    the columns keep their names as physical ones, so that files need no rewrite. Other new fields get
    ``col-<uuid>``, a name that no dropped column ever had.

    :raises InvalidArgumentError: for a change of mode that the protocol does not allow.
    """
    before = COLUMN_MAPPING_MODE.of(old.configuration) if old else "none"
    after = COLUMN_MAPPING_MODE.of(metadata.configuration)
    _check_modes(before, after, old is not None)
    if after == "none":
        return metadata
    schema = parse_schema(metadata.schema_string)
    known = _known_fields(old, before)
    by_id: dict[Any, tuple[int, str]] = {pair[0]: pair for pair in known.values()} if before == after else {}
    kept = {known[p][0] for p, f in walk(schema) if p in known and f.metadata.get(ID) in (None, known[p][0])}
    cloned = old is None and MAX_ID in metadata.configuration  # its files exist and have the names in the schema
    given = max(_highest_of(schema), _number(metadata.configuration)) if cloned else 0
    ids = _Ids(metadata.id, max(_highest(old), given, *by_id, *(pair[0] for pair in known.values()), 0))

    def assign(field: Field, path: Path) -> Field:
        number, name = field.metadata.get(ID), field.metadata.get(PHYSICAL_NAME)
        renamed = by_id.get(number) if number not in kept else None
        if renamed and (path not in known or known[path][0] not in kept):
            number, name = renamed
        elif path in known:
            number, name = known[path]
        elif not cloned or number is None or name is None:
            number, name = ids.fresh()
        return field.with_(metadata={**field.metadata, ID: number, PHYSICAL_NAME: name})

    mapped = Schema(map_fields(schema, assign).fields)
    configuration = {**metadata.configuration, MAX_ID: str(ids.highest)}
    return replace(metadata, schema_string=mapped.to_json(), configuration=configuration)


def _restored(old: TableConfig, metadata: Metadata) -> Metadata:
    """Ids of columns that came since and are dropped by going back are not given again (trap 59)."""
    highest = max(_number(old.configuration), _number(metadata.configuration))
    if not highest:
        return metadata
    return replace(metadata, configuration={**metadata.configuration, MAX_ID: str(highest)})


class _Ids:
    """Ids in rising order, and names that follow from them: the same change gives the same names when tried again."""

    def __init__(self, table_id: str, highest: int) -> None:
        self._table_id = table_id
        self.highest = highest

    def fresh(self) -> tuple[int, str]:
        self.highest += 1
        return self.highest, f"col-{uuid.uuid5(_NAMESPACE, f'{self._table_id}/{self.highest}')}"


def _check_modes(before: str, after: str, exists: bool) -> None:
    if before == after or (before, after) == ("none", "name") or not exists:
        return
    raise InvalidArgumentError(
        f"{COLUMN_MAPPING_MODE.name} cannot change from {before!r} to {after!r}",
        hint="an existing table can only go from 'none' to 'name'; write a new table for any other change",
        property=COLUMN_MAPPING_MODE.name,
    )


def _known_fields(old: TableConfig | None, before: str) -> dict[Path, tuple[int, str]]:
    """Id and physical name of every field of the table before, by logical path."""
    if old is None:
        return {}
    if before == "none":
        return {path: (number, path[-1]) for number, (path, _) in enumerate(walk(old.schema), _highest(old) + 1)}
    return {path: (f.metadata[ID], f.metadata[PHYSICAL_NAME]) for path, f in _mapped(old.schema)}


def _mapped(schema: StructType) -> Iterator[tuple[Path, Field]]:
    return ((path, f) for path, f in walk(schema) if ID in f.metadata and PHYSICAL_NAME in f.metadata)


def _highest(old: TableConfig | None) -> int:
    """The highest id that the table ever gave out; ids of dropped columns count (trap 59)."""
    if old is None:
        return 0
    return max(_highest_of(old.schema), _number(old.configuration), 0)


def _highest_of(schema: StructType) -> int:
    return max((f.metadata[ID] for _, f in _mapped(schema) if type(f.metadata[ID]) is int), default=0)


def _number(configuration: Mapping[str, Any]) -> int:
    try:
        return int(configuration.get(MAX_ID, 0))
    except ValueError:
        raise InvalidTableError(f"{MAX_ID} is no number: {configuration[MAX_ID]!r}") from None


def _stripped(metadata: Metadata) -> Metadata:
    """The metadata of a table whose files know the columns by their own names."""

    def plain(f: Field, _: Path) -> Field:
        return f.with_(metadata={k: v for k, v in f.metadata.items() if not k.startswith("delta.columnMapping.")})

    schema = Schema(map_fields(parse_schema(metadata.schema_string), plain).fields)
    kept = {k: v for k, v in metadata.configuration.items() if k not in (MAX_ID, COLUMN_MAPPING_MODE.name)}
    return replace(metadata, schema_string=schema.to_json(), configuration=kept)


def _bears(config: TableConfig, *_: Any) -> bool:
    return config.get(COLUMN_MAPPING_MODE) != "none"


FEATURE = Feature(
    "columnMapping",
    "reader-writer",
    legacy=(2, 5),
    property=COLUMN_MAPPING_MODE.name,
    evolve=evolve,
    restored=_restored,
    check=check,
    physical=physical,
    by_field_id=by_field_id,
    stripped=_stripped,
    stripped_with_files=True,
    bears=_bears,
)
