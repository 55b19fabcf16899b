"""Checkpoints: a snapshot as the tables that a checkpoint's files hold (PROTOCOL.md, "Checkpoints"). Pure.

One row an action, one column a kind, all but one of them null (trap 48). Files come in tables of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.log import parsed
from deltalite.log.indexed import stats_paths
from deltalite.model.actions import Action, CheckpointMetadata, DomainMetadata, Protocol, SetTransaction, Sidecar
from deltalite.model.arrow import array
from deltalite.model.codec import encode_commit, encode_value
from deltalite.model.config import TableConfig
from deltalite.model.file_actions import ADD_SCHEMA, REMOVE_SCHEMA, TEXT_MAP, column_of
from deltalite.model.properties import DELETED_FILE_RETENTION, STATS_AS_JSON, STATS_AS_STRUCT, TXN_RETENTION
from deltalite.model.snapshot import Snapshot
from deltalite.model.stats import parse_stats, stats_type

ROWS_PER_TABLE = 100_000
ACTIONS_PER_SIDECAR = 400_000

_TEXT, _LONG, _INT = pa.string(), pa.int64(), pa.int32()
_TEXTS = pa.list_(pa.field("element", _TEXT))


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, kind) for name, kind in fields.items()])


_OTHERS = {
    "txn": _struct(appId=_TEXT, version=_LONG, lastUpdated=_LONG),
    "metaData": _struct(
        id=_TEXT,
        name=_TEXT,
        description=_TEXT,
        format=_struct(provider=_TEXT, options=TEXT_MAP),
        schemaString=_TEXT,
        partitionColumns=_TEXTS,
        configuration=TEXT_MAP,
        createdTime=_LONG,
    ),
    "protocol": _struct(minReaderVersion=_INT, minWriterVersion=_INT, readerFeatures=_TEXTS, writerFeatures=_TEXTS),
    "domainMetadata": _struct(domain=_TEXT, configuration=_TEXT, removed=pa.bool_()),
}
_REMOVE = pa.struct(list(REMOVE_SCHEMA))


def classic(snapshot: Snapshot, now_ms: int) -> Iterator[pa.Table]:
    """The tables of a classic checkpoint's one file, all of one schema.

    :param now_ms: the time by which tombstones and transactions have expired or not.
    """
    kinds = {**_OTHERS, "add": _add_type(snapshot.config), "remove": _REMOVE}
    yield _other_rows(other_actions(snapshot, now_ms), kinds)
    for table in files(snapshot, now_ms):
        yield _widened(table, kinds)


def files(snapshot: Snapshot, now_ms: int) -> Iterator[pa.Table]:
    """The file actions of a snapshot in tables of ``add`` and ``remove``: the content of sidecars."""
    kinds = {"add": _add_type(snapshot.config), "remove": _REMOVE}
    tombstones = _unexpired(snapshot, now_ms)
    for name, table in (("add", _add_columns(snapshot, kinds["add"])), ("remove", tombstones)):
        for start in range(0, table.num_rows, ROWS_PER_TABLE):
            (batch,) = table.slice(start, ROWS_PER_TABLE).combine_chunks().to_batches()
            rows = pa.StructArray.from_arrays(batch.columns, fields=list(kinds[name]))
            yield _widened(pa.table({name: rows}), kinds)


def manifest(snapshot: Snapshot, now_ms: int, sidecars: Sequence[Sidecar]) -> bytes:
    """The main file of a V2 checkpoint, as JSON; its file actions are in the sidecars."""
    mark = CheckpointMetadata(snapshot.version)
    return encode_commit([mark, *other_actions(snapshot, now_ms), *sidecars])


def other_actions(snapshot: Snapshot, now_ms: int) -> list[Action]:
    """The actions of a checkpoint that are not about files; expired transactions are left out (trap 23)."""
    retention = snapshot.config.get(TXN_RETENTION)
    transactions = [
        t
        for t in snapshot.transactions.values()
        if retention is None or t.last_updated is None or t.last_updated + retention > now_ms
    ]
    return [snapshot.config.protocol, snapshot.config.metadata, *transactions, *snapshot.domains.values()]


# -- file actions ------------------------------------------------------------------------------------------------


def _add_type(config: TableConfig) -> pa.StructType:
    """The columns of ``add`` that the table's properties ask for (trap 49)."""
    fields = [f for f in ADD_SCHEMA if f.name != "stats" or config.get(STATS_AS_JSON)]
    if config.get(STATS_AS_STRUCT):
        physical = features.physical_schema(config)
        fields.append(pa.field("stats_parsed", stats_type(physical, stats_paths(config, physical))))
        if config.partition_columns:
            keys = features.partition_keys(config)
            kinds = [(key, f.type) for key, f in zip(keys, config.partition_fields, strict=True)]
            fields.append(pa.field("partitionValues_parsed", parsed.partition_type(kinds)))
    return pa.struct(fields)


def _add_columns(snapshot: Snapshot, kind: pa.StructType) -> pa.Table:
    names = [f.name for f in kind if f.name in ADD_SCHEMA.names]
    found = snapshot.files.table(names)
    columns = {name: found.column(name) for name in names}
    columns["dataChange"] = pa.chunked_array([array([False] * found.num_rows, pa.bool_())])
    for name in parsed.COLUMNS:
        at = kind.get_field_index(name)
        if at >= 0:
            columns[name] = _parsed(snapshot, name, kind.field(at).type)
    return pa.table(columns, schema=pa.schema(list(kind)))


def _parsed(snapshot: Snapshot, name: str, kind: pa.StructType) -> pa.ChunkedArray:
    """A parsed column: as the last checkpoint has it, if it fits today's schema, else from the text."""
    if name in snapshot.files.parsed_columns:
        column = snapshot.files.table([name]).column(name)
        if column.type == kind and not column.null_count:
            return column
    if name == "stats_parsed":
        return parse_stats(snapshot.files.table(["stats"]).column("stats"), kind)
    return parsed.parse_partition_values(snapshot.files.table(["partitionValues"]).column("partitionValues"), kind)


def _unexpired(snapshot: Snapshot, now_ms: int) -> pa.Table:
    """The tombstones that vacuum still has to know; one without a time is expired (traps 19, 47)."""
    found = snapshot.files.tombstones()
    oldest = array([now_ms - snapshot.config.get(DELETED_FILE_RETENTION)], _LONG)[0]
    times = pc.fill_null(found.column("deletionTimestamp"), array([0], _LONG)[0])
    found = found.filter(pc.greater_equal(times, oldest))
    unchanged = pa.chunked_array([array([False] * found.num_rows, pa.bool_())])
    return found.set_column(REMOVE_SCHEMA.get_field_index("dataChange"), REMOVE_SCHEMA.field("dataChange"), unchanged)


# -- rows --------------------------------------------------------------------------------------------------------


def _other_rows(actions: Sequence[Action], kinds: dict[str, pa.DataType]) -> pa.Table:
    names = [_name(action) for action in actions]
    bodies = [_body(action) for action in actions]
    columns = {
        name: column_of([body if n == name else None for n, body in zip(names, bodies, strict=True)], kind)
        for name, kind in _OTHERS.items()
    }
    return _widened(pa.table(columns), kinds)


def _name(action: Action) -> str:
    if isinstance(action, SetTransaction):
        return "txn"
    if isinstance(action, DomainMetadata):
        return "domainMetadata"
    return "protocol" if isinstance(action, Protocol) else "metaData"


def _body(action: Action) -> dict[str, Any]:
    body = encode_value(action)
    if isinstance(action, Protocol):  # what version 3 and 7 ask for may be empty, never absent (trap 29)
        if action.min_reader_version == features.TABLE_FEATURES_READER:
            body.setdefault("readerFeatures", [])
        if action.min_writer_version == features.TABLE_FEATURES_WRITER:
            body.setdefault("writerFeatures", [])
    return body


def _widened(table: pa.Table, kinds: dict[str, pa.DataType]) -> pa.Table:
    """The table with a null column for every kind that it lacks, in the order of ``kinds``."""
    columns = [
        table.column(name) if name in table.column_names else pa.nulls(table.num_rows, kind)
        for name, kind in kinds.items()
    ]
    return pa.table(columns, schema=pa.schema([pa.field(name, kind) for name, kind in kinds.items()]))


def count(tables: Iterable[pa.Table], name: str) -> int:
    """How many rows of some tables hold an action of a kind."""
    return sum(table.num_rows - table.column(name).null_count for table in tables)
