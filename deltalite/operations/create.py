"""CREATE TABLE: a schema, its partitioning and its properties become version 0, or replace what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.parse import parse_schema as parse_ddl
from deltalite.features.clustering import SUPPORT, clustering_columns, clustering_domain
from deltalite.model.actions import Action, DomainMetadata, Metadata
from deltalite.model.change import LogOnly
from deltalite.model.config import TableConfig
from deltalite.model.files import remove_of
from deltalite.model.pending import ReadSet
from deltalite.model.properties import COLUMN_MAPPING_MODE, check_names, normalise
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import ArrayType, Field, MapType, Schema, StructType, walk

_FORBIDDEN = set(" ,;{}()\n\t=")


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What a new table is to be.

    :param schema: the logical schema.
    :param partition_by: partition columns, in order; names match ignoring case.
    :param configuration: table properties; ``delta.*`` ones are checked, others are the user's own.
    :param table_id: a fresh UUID; kept when a table is replaced.
    :param now_ms: creation time, milliseconds since 1970.
    :param cluster_by: columns to lay rows out by; fields of structs by dotted names.
    """

    schema: StructType
    partition_by: Sequence[str]
    table_id: str
    now_ms: int
    name: str | None = None
    description: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "error"
    check_property_names: bool = True
    cluster_by: Sequence[str] = ()


def plan(request: CreateRequest, base: Snapshot | None) -> LogOnly:
    """The commit that creates the table, or with ``base`` replaces it and its rows."""
    metadata = metadata_of(request, base)
    old = base.config if base else None
    protocol, metadata, config = features.configure(old, metadata, base.version + 1 if base else 0, {})
    removes = [remove_of(f, request.now_ms) for f in base.files.add_files()] if base else []
    keep_protocol = base is not None and protocol == base.config.protocol
    parameters = {
        "mode": {"error": "ErrorIfExists", "ignore": "Ignore", "overwrite": "Overwrite", "append": "Append"}[
            request.mode
        ],
        "partitionBy": json.dumps(list(metadata.partition_columns)),
        "description": request.description or "",
        "properties": json.dumps(dict(metadata.configuration)),
        **({"clusterBy": json.dumps(list(request.cluster_by))} if request.cluster_by else {}),
    }
    return LogOnly(
        actions=(*(() if keep_protocol else (protocol,)), metadata, *clustering(request, config, old), *removes),
        operation="CREATE OR REPLACE TABLE" if base else "CREATE TABLE",
        parameters=parameters,
        reads=ReadSet(whole_table=base is not None),
    )


def clustering(request: CreateRequest, config: TableConfig, old: TableConfig | None = None) -> tuple[Action, ...]:
    """The action that clusters a new table, or ends what clustered the one that it replaces.

    :param config: the new table's.
    """
    if request.cluster_by or (old is not None and clustering_columns(old)):
        return (clustering_domain(config, request.cluster_by),)
    return ()


def with_domains(config: TableConfig, actions: Iterable[Action]) -> TableConfig:
    """The configuration with the metadata domains that come with it."""
    domains = {action.domain: action for action in actions if isinstance(action, DomainMetadata)}
    return replace(config, domains=domains) if domains else config


def metadata_of(request: CreateRequest, base: Snapshot | None = None) -> Metadata:
    """The metadata action for a request, before features put their marks on it.

    :raises InvalidArgumentError: for a schema, partitioning or property that cannot be.
    """
    if request.check_property_names:
        check_names(request.configuration)
    configuration = normalise({**request.configuration, **(SUPPORT if request.cluster_by else {})})
    check_schema(request.schema, mapped=COLUMN_MAPPING_MODE.of(configuration) != "none")
    return Metadata(
        id=base.config.metadata.id if base else request.table_id,
        schema_string=Schema(request.schema.fields).to_json(),
        partition_columns=partitioning(request.schema, request.partition_by),
        configuration=configuration,
        name=request.name,
        description=request.description,
        created_time=base.config.metadata.created_time if base else request.now_ms,
    )


def check_schema(schema: StructType, mapped: bool) -> None:
    """Refuse names that no table can have.

    :param mapped: whether column mapping frees names from Parquet's restrictions.
    """
    if not schema.fields:
        raise InvalidArgumentError("a table has at least one column", hint="pass a schema with columns")
    for path, _ in walk(schema):
        if not path[-1]:
            raise InvalidArgumentError("a column name is not empty", column=".".join(path))
        if not mapped and _FORBIDDEN & set(path[-1]):
            raise InvalidArgumentError(
                f"the column name {path[-1]!r} holds one of the characters ' ,;{{}}()\\n\\t='",
                hint="rename it, or set the property delta.columnMapping.mode to 'name', which allows any name",
                column=path[-1],
            )
    _refuse_twins(schema, ())


def _refuse_twins(struct: StructType, prefix: tuple[str, ...]) -> None:
    seen: dict[str, str] = {}
    for f in struct.fields:
        if (twin := seen.get(f.name.lower())) is not None:
            raise InvalidArgumentError(f"columns {twin!r} and {f.name!r} differ only by case", column=f.name)
        seen[f.name.lower()] = f.name
        inner = f.type
        while isinstance(inner, (ArrayType, MapType)):
            inner = inner.element_type if isinstance(inner, ArrayType) else inner.value_type
        if isinstance(inner, StructType):
            _refuse_twins(inner, (*prefix, f.name))


def partitioning(schema: StructType, partition_by: Sequence[str]) -> tuple[str, ...]:
    """The partition columns in the schema's spelling.

    :raises InvalidArgumentError: for unknown, repeated or nested columns, or when no column is left for the files.
    """
    found: list[Field] = []
    for name in partition_by:
        column = schema.get(name)
        if column is None:
            raise InvalidArgumentError(f"partition column {name!r} is not among {schema.names}", column=name)
        if column in found:
            raise InvalidArgumentError(f"partition column {name!r} is named twice", column=name)
        if isinstance(column.type, (ArrayType, MapType, StructType)) or column.type.type in ("variant", "void"):
            raise InvalidArgumentError(f"a column of type {column.type} cannot partition a table", column=name)
        found.append(column)
    if found and len(found) == len(schema.fields):
        raise InvalidArgumentError(
            "a table cannot be partitioned by all of its columns: nothing would be left for the files",
            hint="leave out at least one column",
        )
    return tuple(f.name for f in found)


def schema_of(value: Any) -> Schema:
    """A Delta schema from what users pass: a ``Schema``, DDL text, fields, or anything with an Arrow schema.

    :raises InvalidArgumentError: for anything else.
    """
    if isinstance(value, StructType):
        return Schema(value.fields)
    if isinstance(value, str):
        if value.lstrip().startswith("{"):
            return Schema(Schema.from_json(value).fields)
        return Schema(parse_ddl(value).fields)
    if isinstance(value, (list, tuple)) and value and all(isinstance(f, Field) for f in value):
        return Schema(value)
    if hasattr(value, "__arrow_c_schema__"):
        return Schema.from_arrow(value)
    raise InvalidArgumentError(
        f"{type(value).__name__} is no schema",
        hint="pass a deltalite.Schema, an Arrow schema, or text such as 'id bigint NOT NULL, day date'",
    )
