"""icebergCompatV1, V2 and V3: tables that can be shown as Apache Iceberg's (PROTOCOL.md, "Iceberg Compatibility V1",
"V2"; protocol_rfcs/iceberg-compat-v3.md).

The features ask for column mapping, partition columns in the data files, the number of rows of every file, and types
and changes of types that Iceberg knows too; V2 and V3 for ids of what is inside arrays and maps, V3 for row tracking.
Which files were written under these rules nobody can tell, so that they are turned on while a table has no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from deltalite._lazy import LazyModule
from deltalite.exceptions import ExpressionError, InvalidArgumentError
from deltalite.features.base import Feature
from deltalite.features.column_mapping import ID, MAX_ID, NESTED_IDS, PHYSICAL_NAME
from deltalite.model.actions import Action, AddFile, Metadata, RemoveFile
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.expr import is_literal
from deltalite.model.properties import (
    COLUMN_MAPPING_MODE,
    DELETION_VECTORS,
    ICEBERG_COMPAT,
    ROW_TRACKING,
    Property,
)
from deltalite.model.types import (
    ArrayType,
    DataType,
    Field,
    MapType,
    PrimitiveType,
    Schema,
    StructType,
    map_fields,
    walk,
)

if TYPE_CHECKING:
    from deltalite.expr import parse
    from deltalite.model.snapshot import Snapshot
else:
    parse = LazyModule("deltalite.expr.parse")

_INTEGERS = ("byte", "short", "integer", "long")
_PLAIN = (*_INTEGERS, "float", "double", "decimal", "string", "binary", "boolean", "date", "timestamp", "timestamp_ntz")
_NESTED = ("struct", "array", "map")


@dataclass(frozen=True, slots=True)
class _Rules:
    """What one version of the compatibility asks for."""

    version: int
    types: tuple[str, ...]
    vectors: str  # "allowed", not "enabled", or not even "supported"
    nested_ids: bool
    row_tracking: bool

    @property
    def name(self) -> str:
        return f"icebergCompatV{self.version}"

    @property
    def switch(self) -> Property[bool]:
        return ICEBERG_COMPAT[self.version - 1]


_VERSIONS = (
    _Rules(1, (*_PLAIN, "struct"), "supported", nested_ids=False, row_tracking=False),
    _Rules(2, (*_PLAIN, *_NESTED), "enabled", nested_ids=True, row_tracking=False),
    _Rules(3, (*_PLAIN, *_NESTED, "variant"), "allowed", nested_ids=True, row_tracking=True),
)


# -- the table ---------------------------------------------------------------------------------------------------------


def _along(rules: _Rules, configuration: Mapping[str, str]) -> Mapping[str, str]:
    if not rules.switch.of(configuration):
        return {}
    return {COLUMN_MAPPING_MODE.name: "name", **({ROW_TRACKING.name: "true"} if rules.row_tracking else {})}


def _check(rules: _Rules, config: TableConfig) -> None:
    if config.get(rules.switch):
        for problem in _problems(rules, config):
            raise InvalidArgumentError(
                f"{rules.name} is enabled, but {problem}",
                hint=f"change that, or set {rules.switch.name} to false",
                property=rules.switch.name,
            )


def _problems(rules: _Rules, config: TableConfig) -> Iterator[str]:
    if config.get(COLUMN_MAPPING_MODE) == "none":
        yield f"columns are not mapped: {COLUMN_MAPPING_MODE.name} must be 'name' or 'id'"
    if others := [p.name for p in ICEBERG_COMPAT if p is not rules.switch and config.get(p)]:
        yield f"so is {others[0]}, and a table has one of them"
    if rules.row_tracking and not config.get(ROW_TRACKING):
        yield f"rows are not tracked: {ROW_TRACKING.name} must be true"
    if rules.vectors == "supported" and "deletionVectors" in (config.protocol.writer_features or ()):
        yield "the table supports deletion vectors"
    if rules.vectors != "allowed" and config.get(DELETION_VECTORS):
        yield f"{DELETION_VECTORS.name} is true"
    yield from _type_problems(rules, config)


def _type_problems(rules: _Rules, config: TableConfig) -> Iterator[str]:
    for path, f in walk(config.schema):
        name = ".".join(path)
        if unknown := [kind for kind in _kinds(f.type) if kind not in rules.types]:
            yield f"column {name!r} holds the type {unknown[0]}"
        for change in f.metadata.get("delta.typeChanges", ()):
            if not _is_icebergs(str(change.get("fromType")), str(change.get("toType"))):
                yield f"the type of {name!r} has changed from {change.get('fromType')} to {change.get('toType')}"
        default = f.metadata.get("CURRENT_DEFAULT")
        if rules.row_tracking and default is not None and not _is_constant(default):
            yield f"the default of {name!r} is no plain value: {default}"


def _kinds(data_type: DataType) -> Iterator[str]:
    """The kinds of types that a column holds, apart from those of fields of structs."""
    if isinstance(data_type, ArrayType):
        yield "array"
        yield from _kinds(data_type.element_type)
    elif isinstance(data_type, MapType):
        yield "map"
        yield from _kinds(data_type.key_type)
        yield from _kinds(data_type.value_type)
    else:
        yield "decimal" if isinstance(data_type, PrimitiveType) and data_type.is_decimal else data_type.type


def _is_icebergs(old: str, new: str) -> bool:
    """Whether Iceberg's schemas may evolve so."""
    if old in _INTEGERS and new in _INTEGERS:
        return _INTEGERS.index(old) < _INTEGERS.index(new)
    if old.startswith("decimal") and new.startswith("decimal"):
        return PrimitiveType(old).scale == PrimitiveType(new).scale
    return (old, new) == ("float", "double")


def _is_constant(text: str) -> bool:
    try:
        return is_literal(parse.parse_expression(text.strip().removeprefix("-")))
    except ExpressionError:
        return False


# -- ids inside of arrays and maps -------------------------------------------------------------------------------------


def _evolve(rules: _Rules, old: TableConfig | None, new: Metadata, _: int) -> Metadata:
    if not rules.switch.of(new.configuration):
        return new
    if old is not None and old.get(rules.switch):
        _refuse_other_partitions(rules, old, new)
    return _with_nested_ids(new) if rules.nested_ids and MAX_ID in new.configuration else new


def _with_nested_ids(new: Metadata) -> Metadata:
    """The metadata with an id for every element, key and value; ids once given stay."""
    highest = int(new.configuration[MAX_ID])

    def assign(f: Field, _: tuple[str, ...]) -> Field:
        nonlocal highest
        known = f.metadata.get(NESTED_IDS) or {}
        found: dict[str, Any] = {}
        for path in _inside(f.type, f.metadata.get(PHYSICAL_NAME, f.name)):
            if path not in known:
                highest += 1
            found[path] = known.get(path, highest)
        kept = {key: value for key, value in f.metadata.items() if key != NESTED_IDS}
        return f.with_(metadata={**kept, NESTED_IDS: found} if found else kept)

    schema = Schema(map_fields(parse_schema(new.schema_string), assign).fields)
    configuration = {**new.configuration, MAX_ID: str(highest)}
    return replace(new, schema_string=schema.to_json(), configuration=configuration)


def _inside(data_type: DataType, path: str) -> Iterator[str]:
    parts: dict[str, DataType] = {}
    if isinstance(data_type, ArrayType):
        parts = {"element": data_type.element_type}
    elif isinstance(data_type, MapType):
        parts = {"key": data_type.key_type, "value": data_type.value_type}
    for name, kind in parts.items():
        yield f"{path}.{name}"
        yield from _inside(kind, f"{path}.{name}")


def _refuse_other_partitions(rules: _Rules, old: TableConfig, new: Metadata) -> None:
    """Iceberg has no table whose partitioning goes by other columns all of a sudden; a rename is none."""
    before = [_column_id(old.schema, name) for name in old.partition_columns]
    schema = parse_schema(new.schema_string)
    after = [_column_id(schema, name) for name in new.partition_columns]
    if before and before != after:
        raise InvalidArgumentError(
            f"{rules.name} does not let a table be partitioned by other columns: {list(old.partition_columns)} before, "
            f"{list(new.partition_columns)} afterwards",
            hint="write a new table",
        )


def _column_id(schema: StructType, name: str) -> Any:
    f = schema.get(name)
    return None if f is None else f.metadata.get(ID, f.name)


# -- commits -----------------------------------------------------------------------------------------------------------


def _finalize(rules: _Rules, actions: list[Action], base: Snapshot | None, config: TableConfig, _: int) -> list[Action]:
    if not config.get(rules.switch):
        return actions
    for action in actions:
        if isinstance(action, AddFile) and "numRecords" not in json.loads(action.stats or "{}"):
            raise InvalidArgumentError(f"{rules.name} wants the number of rows of {action.path}", path=action.path)
    if base is not None and not base.config.get(rules.switch):
        removed = {action.path for action in actions if isinstance(action, RemoveFile)}
        left = [path for path in base.files.table(["path"]).column("path").to_pylist() if path not in removed]
        if left:
            raise InvalidArgumentError(
                f"{rules.name} cannot be enabled: {len(left)} files of the table were written without its rules",
                hint="create the table anew with this property, with DeltaTable.create(..., mode='overwrite')",
                property=rules.switch.name,
                files=len(left),
            )
    return actions


def _feature(rules: _Rules) -> Feature:
    tracking = ("rowTracking", "domainMetadata") if rules.row_tracking else ()
    return Feature(
        rules.name,
        requires=("columnMapping", *tracking),
        property=rules.switch.name,
        along=partial(_along, rules),
        evolve=partial(_evolve, rules),
        check=partial(_check, rules),
        stores_partitions=lambda config: config.get(rules.switch),
        finalize=partial(_finalize, rules),
    )


FEATURES = tuple(map(_feature, _VERSIONS))
