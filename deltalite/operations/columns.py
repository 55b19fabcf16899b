"""ALTER TABLE on columns and constraints: what the table's metadata becomes. Rows are read at most, never written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deltalite import features
from deltalite.exceptions import ConstraintViolation, InvalidArgumentError
from deltalite.expr.bind import bind_predicate, negate
from deltalite.features.check_constraints import PREFIX, constraints
from deltalite.features.column_defaults import KEY as DEFAULT
from deltalite.features.type_widening import check_widening, recorded
from deltalite.model.actions import Metadata
from deltalite.model.expr import Column, and_, call, not_, or_
from deltalite.model.pending import ReadSet
from deltalite.model.properties import COLUMN_MAPPING_MODE
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Field, Schema, StructType, map_fields, type_to_json
from deltalite.operations import schema_changes
from deltalite.operations.create import check_schema, schema_of
from deltalite.operations.reading import Reading
from deltalite.operations.references import refuse_clustering, refuse_referenced, with_stats_columns
from deltalite.operations.schema_changes import Path, located

EXAMPLES = 3
WHOLE_TABLE = ReadSet(whole_table=True)
_MARKS = ("delta.columnMapping.", "delta.typeChanges", "parquet.")
_COMPUTED = ("delta.generationExpression", "delta.identity.start", DEFAULT)


@dataclass(frozen=True, slots=True)
class Edit:
    """New metadata, how the log shows the operation, and what was read for it."""

    metadata: Metadata
    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    reads: ReadSet | None = None


def _edit(base: Snapshot, schema: StructType, operation: str, parameters: Mapping[str, Any], **changes: Any) -> Edit:
    check_schema(schema, mapped=features.physical_schema(base.config) is not base.config.schema)
    text = Schema(schema.fields).to_json()
    return Edit(replace(base.config.metadata, schema_string=text, **changes), operation, parameters)


# -- columns -----------------------------------------------------------------------------------------------------------


def new_fields(given: Any) -> list[Field]:
    """Columns to add, from whatever describes some."""
    fields = [given] if isinstance(given, Field) else list(schema_of(given).fields)
    for f in fields:
        if not f.nullable:
            raise InvalidArgumentError(
                f"column {f.name!r} is NOT NULL, but the rows of the table have no value for it",
                hint="add it as nullable, fill it, then set_column_not_null()",
                column=f.name,
            )
        if any(key in f.metadata for key in _COMPUTED):
            raise InvalidArgumentError(
                f"column {f.name!r} has a default or an expression, which an added column cannot have",
                hint="add it without; set_column_default() gives it one for rows to come",
                column=f.name,
            )
    return [_without_marks(f) for f in fields]


def _without_marks(f: Field) -> Field:
    """A field as a user means it: what another table noted in it stays behind."""

    def plain(inner: Field, _: Path) -> Field:
        return inner.with_(metadata={k: v for k, v in inner.metadata.items() if not k.startswith(_MARKS)})

    return plain(f.with_(type=map_fields(f.type, plain)), ())


def add(base: Snapshot, fields: Sequence[Field], into: str | Sequence[str], first: bool, after: str | None) -> Edit:
    schema = base.config.schema
    parent: Path = located(schema, into) if into else ()
    struct = schema_changes.type_at(schema, parent)
    taken = [f.name for f in fields if isinstance(struct, StructType) and struct.get(f.name) is not None]
    if taken:
        raise InvalidArgumentError(f"columns {taken} are there already", columns=taken)
    shown = [{"column": {"name": ".".join((*parent, f.name)), "type": type_to_json(f.type)}} for f in fields]
    edited = schema_changes.added(schema, parent, fields, first, after)
    return _edit(base, edited, "ADD COLUMNS", {"columns": json.dumps(shown)})


def drop(base: Snapshot, names: Sequence[str]) -> Edit:
    _need_mapping(base, "dropped")
    schema, paths = base.config.schema, []
    configuration = dict(base.config.configuration)
    for name in names:
        paths.append(path := located(schema, name))
        _refuse_partition(base, path, "dropped")
        refuse_referenced(base.config, path, "dropped")
        refuse_clustering(base.config, path)
        schema = schema_changes.dropped(schema, path)
        configuration = with_stats_columns(configuration, path, None)
    shown = [".".join(path) for path in paths]
    return _edit(base, schema, "DROP COLUMNS", {"columns": json.dumps(shown)}, configuration=configuration)


def rename(base: Snapshot, name: str, new_name: str) -> Edit:
    _need_mapping(base, "renamed")
    schema, path = base.config.schema, located(base.config.schema, name)
    refuse_referenced(base.config, path, "renamed")
    parent = schema_changes.type_at(schema, path[:-1])
    twin = parent.get(new_name) if isinstance(parent, StructType) else None
    if twin is not None and twin.name != path[-1]:
        raise InvalidArgumentError(f"there is a column {twin.name!r} already", column=new_name)
    edited = schema_changes.changed(schema, path, lambda f: f.with_(name=new_name))
    partitions = tuple(new_name if (c,) == path else c for c in base.config.metadata.partition_columns)
    parameters = {"oldColumnPath": ".".join(path), "newColumnPath": ".".join((*path[:-1], new_name))}
    configuration = with_stats_columns(base.config.configuration, path, new_name)
    return _edit(base, edited, "RENAME COLUMN", parameters, partition_columns=partitions, configuration=configuration)


def move(base: Snapshot, name: str, first: bool, after: str | None) -> Edit:
    path = located(base.config.schema, name)
    edited = schema_changes.moved(base.config.schema, path, first, after)
    return _changed(base, edited, path, position="first" if first else f"after {after}")


def widen(base: Snapshot, name: str, data_type: Any) -> Edit:
    schema, path = base.config.schema, located(base.config.schema, name)
    new = schema_of(f"x {data_type}").fields[0].type if isinstance(data_type, str) else data_type
    old = schema_changes.type_at(schema, path)
    if old == new:
        return Edit(base.config.metadata, "CHANGE COLUMN")
    check_widening(base.config, path, old, new)
    refuse_referenced(base.config, path, "given another type")
    edited = schema_changes.retyped(schema, path, new)
    owner = path
    while not isinstance(schema_changes.type_at(schema, owner[:-1]), StructType):
        owner = owner[:-1]
    inside = path[len(owner) :]
    edited = schema_changes.changed(edited, owner, lambda f: recorded(f, inside, old, new))
    return _changed(base, edited, path, type=str(new))


def allow_null(base: Snapshot, name: str) -> Edit:
    path = located(base.config.schema, name)
    edited = schema_changes.changed(base.config.schema, path, lambda f: f.with_(nullable=True))
    return _changed(base, edited, path, nullable=True)


def forbid_null(base: Snapshot, name: str, reading: Reading) -> Edit:
    path = located(base.config.schema, name)
    if any(not isinstance(schema_changes.type_at(base.config.schema, path[:n]), StructType) for n in range(len(path))):
        raise InvalidArgumentError(
            f"{'.'.join(path)!r} lies inside an array or a map, where the rows that are there cannot be looked through",
            hint="only columns, and fields of structs, can become NOT NULL",
            column=".".join(path),
        )
    parents: list[Any] = [not_(call("is_null", Column(path[:n]))) for n in range(1, len(path))]
    missing = reading.count(and_(*parents, call("is_null", Column(path))))
    if missing:
        raise ConstraintViolation(
            f"column {'.'.join(path)!r} cannot become NOT NULL: {missing} rows have no value in it",
            hint="update or delete these rows first",
            constraint=".".join(path),
            count=missing,
            rows=[],
        )
    edited = schema_changes.changed(base.config.schema, path, lambda f: f.with_(nullable=False))
    return replace(_changed(base, edited, path, nullable=False), reads=WHOLE_TABLE)


def describe(base: Snapshot, name: str, metadata: Mapping[str, Any]) -> Edit:
    owned = [key for key in metadata if key.startswith(("delta.", "parquet.")) or key == DEFAULT]
    if owned:
        raise InvalidArgumentError(
            f"the table itself keeps the entries {owned}", hint="set_column_default() and set_column_type() change them"
        )
    path = located(base.config.schema, name)

    def change(f: Field) -> Field:
        merged = {**f.metadata, **metadata}
        return f.with_(metadata={key: value for key, value in merged.items() if value is not None})

    return _changed(base, schema_changes.changed(base.config.schema, path, change), path, metadata=dict(metadata))


def set_default(base: Snapshot, name: str, expression: str | None) -> Edit:
    path = located(base.config.schema, name)
    if len(path) > 1:
        raise InvalidArgumentError("only columns at the top level have defaults", column=".".join(path))

    def change(f: Field) -> Field:
        if expression is not None and any(key in f.metadata for key in _COMPUTED if key != DEFAULT):
            raise InvalidArgumentError(f"column {f.name!r} is computed, so that it has no default", column=f.name)
        kept = {key: value for key, value in f.metadata.items() if key != DEFAULT}
        return f.with_(metadata=kept if expression is None else {**kept, DEFAULT: expression})

    return _changed(base, schema_changes.changed(base.config.schema, path, change), path, default=expression)


def _changed(base: Snapshot, schema: StructType, path: Path, **shown: Any) -> Edit:
    return _edit(base, schema, "CHANGE COLUMN", {"column": json.dumps({"name": ".".join(path), **shown}, default=str)})


def _need_mapping(base: Snapshot, what: str) -> None:
    if base.config.get(COLUMN_MAPPING_MODE) == "none":
        raise InvalidArgumentError(
            f"columns can be {what} only where files know them by other names",
            hint=f"set_table_properties({{'{COLUMN_MAPPING_MODE.name}': 'name'}}) turns that on, without a rewrite",
            property=COLUMN_MAPPING_MODE.name,
        )


def _refuse_partition(base: Snapshot, path: Path, what: str) -> None:
    if path[0] in base.config.partition_columns:
        raise InvalidArgumentError(
            f"column {path[0]!r} partitions the table and cannot be {what}",
            hint="write the table anew with other partition columns",
            column=path[0],
        )


# -- constraints -------------------------------------------------------------------------------------------------------


def add_constraints(base: Snapshot, given: Mapping[str, str], reading: Reading) -> Edit:
    if not given:
        raise InvalidArgumentError("no constraint is given", hint="add_constraint({'name': 'condition'})")
    known = constraints(base.config.configuration)
    configuration = dict(base.config.configuration)
    for name, text in given.items():
        if name.lower() in known:
            raise InvalidArgumentError(
                f"there is a constraint {name!r} already: {known[name.lower()]}", hint="drop it first", constraint=name
            )
        _check_rows(base, name, text, reading)
        configuration[PREFIX + name.lower()] = text
    parameters = {"name": next(iter(given)), "expr": next(iter(given.values()))}
    if len(given) > 1:
        parameters = {"constraints": json.dumps(dict(given))}
    metadata = replace(base.config.metadata, configuration=configuration)
    return Edit(metadata, "ADD CONSTRAINT", parameters, WHOLE_TABLE)


def _check_rows(base: Snapshot, name: str, text: str, reading: Reading) -> None:
    """Rows for which the condition is false or null break it (protocol trap 64)."""
    condition = bind_predicate(text, base.config.schema)
    broken = negate(condition)
    unknown = replace(broken, expr=or_(broken.expr, replace(call("is_null", condition.expr), type=broken.type)))
    count = reading.count(unknown)
    if count:
        names = sorted({path[0] for path in condition.columns}) or None
        rows = reading.table(names, unknown, limit=EXAMPLES).to_pylist()
        raise ConstraintViolation(
            f"the constraint {name!r} ({text}) does not hold: {count} rows break it, for example "
            + ", ".join(map(str, rows)),
            hint="correct or delete these rows first",
            constraint=name,
            count=count,
            rows=rows,
        )


def drop_constraint(base: Snapshot, name: str, must_exist: bool) -> Edit | None:
    wanted = PREFIX + name.lower()
    kept = {key: value for key, value in base.config.configuration.items() if key.lower() != wanted}
    if len(kept) == len(base.config.configuration):
        if must_exist:
            raise InvalidArgumentError(
                f"there is no constraint {name!r}",
                hint=f"there are {sorted(constraints(base.config.configuration)) or 'none'}",
                constraint=name,
            )
        return None
    metadata = replace(base.config.metadata, configuration=kept)
    return Edit(metadata, "DROP CONSTRAINT", {"name": name, "existed": "true"})
