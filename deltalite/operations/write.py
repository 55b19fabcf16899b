"""Append and overwrite: new rows, in an existing table or as a new one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from deltalite import features
from deltalite.exceptions import InvalidArgumentError, TableExistsError
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.expr.sql import to_sql
from deltalite.features.base import RowCheck, WriteStep
from deltalite.features.clustering import clustering_columns
from deltalite.features.identity_columns import without_identity
from deltalite.interop.input import to_reader
from deltalite.model.actions import Action
from deltalite.model.arrow import mask_array
from deltalite.model.change import Append, Clause, RowChanges
from deltalite.model.config import TableConfig
from deltalite.model.pending import ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Schema
from deltalite.model.write_spec import WriteSpec
from deltalite.operations.create import CreateRequest, clustering, metadata_of, with_domains
from deltalite.operations.delete import covered_files, reads_of, row_spec
from deltalite.operations.evolution import evolved_schema
from deltalite.scan import plan as planning
from deltalite.scan.matching import rows_matched
from deltalite.write.options import WriterProperties
from deltalite.write.spec import spec_of

MODES = ("error", "append", "overwrite", "ignore")


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """What is to be written, and over what.

    :param data: anything that ``interop.input.to_reader`` takes.
    :param mode: ``error``, ``append``, ``overwrite`` or ``ignore`` when the table exists.
    :param schema_mode: ``merge`` adds new columns; ``overwrite`` (with mode overwrite) takes the schema of the data.
    :param predicate: with mode overwrite, replace only the rows it selects; new rows must satisfy it.
    :param partition_overwrite: ``static``, or ``dynamic`` to replace just the partitions that get rows.
    :param cast: ``safe``, or ``unsafe`` to allow casts that lose digits or range.
    :param target_file_size: bytes a data file should have; ``None`` asks the table.
    :param cluster_by: columns by which a new table is clustered.
    """

    data: Any
    mode: str = "error"
    partition_by: Sequence[str] | None = None
    schema_mode: str | None = None
    predicate: Any = None
    partition_overwrite: str = "static"
    name: str | None = None
    description: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    target_file_size: int | None = None
    writer_properties: WriterProperties | None = None
    cast: str = "safe"
    table_id: str = ""
    now_ms: int = 0
    cluster_by: Sequence[str] | None = None


def validate(request: WriteRequest) -> None:
    """
    :raises InvalidArgumentError: for arguments that make no sense, alone or together.
    """
    _one_of("mode", request.mode, MODES)
    _one_of("schema_mode", request.schema_mode, (None, "merge", "overwrite"))
    _one_of("partition_overwrite", request.partition_overwrite, ("static", "dynamic"))
    _one_of("cast", request.cast, ("safe", "unsafe"))
    if request.schema_mode == "overwrite" and request.mode != "overwrite":
        raise InvalidArgumentError("schema_mode='overwrite' goes with mode='overwrite' only")
    if request.predicate is not None and request.mode != "overwrite":
        raise InvalidArgumentError("a predicate says what to overwrite", hint="pass mode='overwrite' with it")
    if request.predicate is not None and request.schema_mode == "overwrite":
        raise InvalidArgumentError("the schema cannot be overwritten where a predicate keeps old rows")
    if request.partition_overwrite == "dynamic":
        if request.mode != "overwrite":
            raise InvalidArgumentError("partition_overwrite='dynamic' goes with mode='overwrite' only")
        if request.predicate is not None or request.schema_mode == "overwrite":
            raise InvalidArgumentError("dynamic partition overwrite takes neither a predicate nor a new schema")


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        raise InvalidArgumentError(f"{name} is one of {', '.join(map(repr, allowed))}, not {value!r}")


def refuse_existing(request: WriteRequest, root: str) -> None:
    """
    :raises TableExistsError: when the table exists and the mode is ``error``.
    """
    if request.mode == "error":
        raise TableExistsError(
            f"there is a Delta table at {root} already",
            hint="pass mode='append' or mode='overwrite', or mode='ignore' to leave it alone",
        )


def plan(request: WriteRequest, base: Snapshot | None, txn_id: str) -> Append | RowChanges:
    """What to write and what to replace; consumes nothing of the data."""
    reader = to_reader(request.data, schema=base.config.schema if base else None)
    config, actions = _configuration(request, base, reader)
    features.ensure_assignable(config, reader.schema.names, "insert")
    steps = features.write_steps(config)
    operation = "WRITE" if base is not None else "CREATE TABLE AS SELECT"
    parameters = {
        "mode": {"error": "ErrorIfExists"}.get(request.mode, request.mode.capitalize()),
        "partitionBy": json.dumps(list(config.partition_columns)),
    }
    if base is not None and request.predicate is not None:
        return _replace_where(request, base, txn_id, reader, config, actions, parameters)
    spec = _spec(request, config, steps, txn_id)
    replaced, reads, dynamic = None, ReadSet(), False
    if base is not None and request.mode == "overwrite":
        if request.partition_overwrite == "dynamic" and config.partition_columns:
            dynamic = True
            parameters["partitionOverwriteMode"] = "dynamic"
        else:
            replaced, reads = base.files.table(), ReadSet(whole_table=True)
    return Append(reader, spec, operation, parameters, reads, replaced, dynamic, actions)


def _spec(request: WriteRequest, config: TableConfig, steps: tuple[WriteStep, ...], txn_id: str) -> WriteSpec:
    return spec_of(
        config,
        steps=steps,
        txn_id=txn_id,
        target_file_size=request.target_file_size,
        writer_properties=request.writer_properties,
        cast=request.cast,
    )


def _replace_where(
    request: WriteRequest,
    base: Snapshot,
    txn_id: str,
    reader: pa.RecordBatchReader,
    config: TableConfig,
    actions: tuple[Action, ...],
    parameters: dict[str, str],
) -> Append | RowChanges:
    """The rows that a predicate selects leave, and those that come satisfy it; whole files where that is enough."""
    old = base.config
    predicate = bind_predicate(to_expr(request.predicate, old.schema), old.schema)
    text = to_sql(predicate.expr)
    parameters = {**parameters, "predicate": text}
    check = WriteStep(checks=(RowCheck("predicate", text, predicate),))
    steps = (*features.write_steps(config), check)
    files = base.files.table()
    some, every = rows_matched(old, files, predicate)
    if not (some & ~every).any():
        spec = _spec(request, config, steps, txn_id)
        replaced = files.filter(mask_array(every))
        return Append(reader, spec, "WRITE", parameters, ReadSet(predicates=(predicate,)), replaced, False, actions)
    plan = planning.plan(base, predicate=predicate, columns=())
    spec = replace(
        row_spec(config, txn_id, request.writer_properties, steps),
        target_file_size=_spec(request, config, steps, txn_id).target_file_size,
        unsafe_cast=request.cast == "unsafe",
    )
    return RowChanges(
        config=old,
        plan=plan,
        clauses=(Clause("not_matched_by_source", "delete"),),
        spec=spec,
        operation="WRITE",
        parameters=parameters,
        covered=covered_files(base, plan, predicate),
        appended=reader,
        reads=reads_of(plan, predicate),
        actions=actions,
    )


def _configuration(
    request: WriteRequest, base: Snapshot | None, reader: pa.RecordBatchReader
) -> tuple[TableConfig, tuple[Action, ...]]:
    """The table's configuration for this write, and the actions that make it so."""
    if base is None:
        schema = _of_data(reader.schema)
        created = CreateRequest(
            schema, request.partition_by or (), request.table_id, request.now_ms, request.name, request.description,
            request.configuration, cluster_by=request.cluster_by or (),
        )  # fmt: skip
        protocol, metadata, config = features.configure(None, metadata_of(created), 0)
        domains = clustering(created, config)
        return with_domains(config, domains), (protocol, metadata, *domains)
    _warn_ignored(request, base)
    old = base.config
    _same_clustering(request, old)
    metadata = old.metadata
    if request.schema_mode == "overwrite":
        schema = _of_data(reader.schema)
        columns = old.partition_columns if request.partition_by is None else request.partition_by
        created = CreateRequest(schema, columns, metadata.id, request.now_ms, configuration=metadata.configuration,
                                check_property_names=False)  # fmt: skip
        fresh = metadata_of(created, base)
        metadata = replace(metadata, schema_string=fresh.schema_string, partition_columns=fresh.partition_columns)
    else:
        _same_partitioning(request, old)
        if request.schema_mode == "merge":
            merged = evolved_schema(old, Schema.from_arrow(reader.schema))
            if merged != old.schema:
                metadata = replace(metadata, schema_string=merged.to_json())
    if metadata == old.metadata:
        return old, ()
    protocol, metadata, config = features.configure(old, metadata, base.version + 1)
    return config, (metadata,) if protocol == old.protocol else (protocol, metadata)


def _of_data(schema: pa.Schema) -> Schema:
    """The schema of rows; numbers that another table gave them are values here, not a rule."""
    return Schema([f.with_(metadata=without_identity(f.metadata)) for f in Schema.from_arrow(schema).fields])


def _same_partitioning(request: WriteRequest, old: TableConfig) -> None:
    if request.partition_by is None:
        return
    given = [name.lower() for name in request.partition_by]
    if given != [name.lower() for name in old.partition_columns]:
        raise InvalidArgumentError(
            f"the table is partitioned by {list(old.partition_columns)}, not by {list(request.partition_by)}",
            hint="leave partition_by out, or pass mode='overwrite' with schema_mode='overwrite' to change it",
        )


def _same_clustering(request: WriteRequest, old: TableConfig) -> None:
    if request.cluster_by is None:
        return
    current = [".".join(path) for path in clustering_columns(old)]
    if [name.lower() for name in request.cluster_by] != [name.lower() for name in current]:
        raise InvalidArgumentError(
            f"the table is clustered by {current}, not by {list(request.cluster_by)}",
            hint="leave cluster_by out, or choose other columns with alter.cluster_by([...])",
        )


def _warn_ignored(request: WriteRequest, base: Snapshot) -> None:
    current = base.config.configuration
    differing = [k for k, v in request.configuration.items() if v is not None and current.get(k) != str(v)]
    if differing:
        warnings.warn(
            f"the table exists: its properties {differing} stay as they are; set_table_properties changes them",
            stacklevel=4,
        )
