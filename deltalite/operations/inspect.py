"""What a table is, as values for people and programs; reads metadata only."""

from __future__ import annotations

import datetime as dt
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.model.arrow import scalar
from deltalite.model.expr import BoundExpr
from deltalite.model.files import ADD_SCHEMA
from deltalite.model.paths import is_absolute, relative_path
from deltalite.model.snapshot import Snapshot
from deltalite.scan import matching
from deltalite.scan import plan as planning


@dataclass(frozen=True, slots=True)
class Metadata:
    """A table's metadata under deltalake's names. ``created_time`` is in milliseconds since 1970."""

    id: str
    name: str | None
    description: str | None
    partition_columns: list[str]
    created_time: int | None
    configuration: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProtocolVersions:
    """A table's protocol under deltalake's names; the lists are ``None`` below versions 3 and 7."""

    min_reader_version: int
    min_writer_version: int
    writer_features: list[str] | None
    reader_features: list[str] | None


class DeltaTableConfig(NamedTuple):
    """The constructor's options of a handle, as deltalake's ``table_config`` reports them; they have no effect here."""

    without_files: bool = False
    log_buffer_size: int = 8
    skip_stats: bool = False


def utc(millis: int) -> dt.datetime:
    """Milliseconds since 1970 as a time in UTC."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(milliseconds=millis)


def metadata(snapshot: Snapshot) -> Metadata:
    m = snapshot.config.metadata
    columns = list(snapshot.config.partition_columns)
    return Metadata(m.id, m.name, m.description, columns, m.created_time, dict(m.configuration))


def protocol(snapshot: Snapshot) -> ProtocolVersions:
    p = snapshot.config.protocol
    listed = [None if names is None else list(names) for names in (p.writer_features, p.reader_features)]
    return ProtocolVersions(p.min_reader_version, p.min_writer_version, *listed)


def totals(snapshot: Snapshot) -> tuple[int, int]:
    """Number and bytes of the live files; from the checksum where there is one."""
    if snapshot.totals is not None:
        return snapshot.totals.num_files, snapshot.totals.size_in_bytes
    sizes = snapshot.files.table(["size"]).column("size")
    return len(sizes), sum(int(np.sum(chunk.to_numpy(zero_copy_only=False))) for chunk in sizes.chunks)


def num_records(snapshot: Snapshot) -> int | None:
    """Live rows, or ``None`` when a file lacks the statistics to tell."""
    counts = matching.row_counts(snapshot.files.table(matching.COUNT_COLUMNS))
    return int(counts.sum()) if (counts >= 0).all() else None


def detail(snapshot: Snapshot, root: str) -> dict[str, Any]:
    config = snapshot.config
    count, size = totals(snapshot)
    names = features.supported(config.protocol)
    created = config.metadata.created_time
    return {
        "format": "delta",
        "id": config.metadata.id,
        "name": config.metadata.name,
        "description": config.metadata.description,
        "location": root,
        "created_at": None if created is None else utc(created),
        "last_modified": utc(snapshot.timestamp),
        "version": snapshot.version,
        "partition_columns": list(config.partition_columns),
        "num_files": count,
        "size_in_bytes": size,
        "num_records": num_records(snapshot),
        "properties": dict(config.configuration),
        "min_reader_version": config.protocol.min_reader_version,
        "min_writer_version": config.protocol.min_writer_version,
        "table_features": sorted({f.name for f in names} | set(features.writer_features(config.protocol))),
        "checkpoint_version": snapshot.checkpoint_version,
    }


def _bound(snapshot: Snapshot, predicate: Any) -> BoundExpr | None:
    if predicate is None or isinstance(predicate, BoundExpr):
        return predicate
    schema = snapshot.config.schema
    return bind_predicate(to_expr(predicate, schema), schema)


def _kept(snapshot: Snapshot, predicate: Any, columns: Sequence[str] = tuple(ADD_SCHEMA.names)) -> pa.Table:
    bound = _bound(snapshot, predicate)
    mask = None if bound is None else planning.kept_files(snapshot, bound)
    table = snapshot.files.table(columns)
    return table if mask is None else table.filter(mask)


def explain(snapshot: Snapshot, predicate: Any) -> pa.Table:
    """``path``, ``kept`` and ``reason`` of every live file for a scan with this predicate."""
    return planning.explain(snapshot, _bound(snapshot, predicate))


def files(snapshot: Snapshot, predicate: Any = None) -> pa.Table:
    """The live files with partition values (``partition.x``), ``null_count.x``, ``min.x`` and ``max.x``."""
    return _add_actions(snapshot, True, _kept(snapshot, predicate))


def add_actions(snapshot: Snapshot, flatten: bool) -> pa.Table:
    """The live files as deltalake's ``get_add_actions`` shows them."""
    return _add_actions(snapshot, flatten, snapshot.files.table())


def _add_actions(snapshot: Snapshot, flatten: bool, table: pa.Table) -> pa.Table:
    stats = matching.statistics(snapshot.config, table)
    values = {
        f.name: matching.partition_column(snapshot.config, table, f.name) for f in snapshot.config.partition_fields
    }
    micros = pa.chunked_array([_times(c) for c in table.column("modificationTime").chunks], pa.timestamp("ms"))
    columns: dict[str, Any] = {
        "path": table.column("path"),
        "size_bytes": table.column("size"),
        "modification_time": micros,
        "data_change": table.column("dataChange"),
        "num_records": stats.num_records,
        "num_deleted": pc.fill_null(pc.struct_field(table.column("deletionVector"), ["cardinality"]), _ZERO),
    }
    if flatten:
        columns.update({f"partition.{name}": column for name, column in values.items()})
        for prefix, group in (("null_count", stats.null_count), ("min", stats.minimum), ("max", stats.maximum)):
            columns.update({f"{prefix}.{name}": column for name, column in group.items()})
    else:
        columns["partition"] = _struct(values, table.num_rows)
        for name, group in (("null_count", stats.null_count), ("min", stats.minimum), ("max", stats.maximum)):
            columns[name] = _struct(group, table.num_rows)
    return pa.table({name: column for name, column in columns.items() if column is not None})


_ZERO = scalar(0, pa.int64())


def _times(chunk: pa.Array) -> pa.Array:
    return chunk.view(pa.timestamp("ms"))


def _struct(columns: Mapping[str, Any], length: int) -> pa.StructArray:
    if not columns:
        return pa.nulls(length, pa.struct([]))
    arrays = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns.values()]
    return pa.StructArray.from_arrays(arrays, names=list(columns))


def file_uris(snapshot: Snapshot, root: str, predicate: Any = None) -> list[str]:
    """The place of every live file that may hold a matching row."""
    paths = _kept(snapshot, predicate, ["path"]).column("path")
    base = root.rstrip("/") + "/"
    slices = (paths.slice(start, _AT_ONCE).to_pylist() for start in range(0, len(paths), _AT_ONCE))
    if not pc.any(pc.match_substring_regex(paths, _UNUSUAL)).as_py():
        return [base + path for some in slices for path in some]
    return [path if is_absolute(path) else base + relative_path(path) for some in slices for path in some]


_AT_ONCE = 65_536
_UNUSUAL = r"[%:\\\x00]|^/|/$|//|(^|/)\.\.?(/|$)|^$"
"""What makes a path more than names with slashes between them: escapes, schemes, steps upwards."""


def partitions(snapshot: Snapshot, predicate: Any = None) -> list[dict[str, Any]]:
    """The distinct partitions, as mappings of column to typed value."""
    config = snapshot.config
    table = _kept(snapshot, predicate, ["partitionValues"])
    columns = [matching.partition_column(config, table, f.name).to_pylist() for f in config.partition_fields]
    return [dict(zip(config.partition_columns, row, strict=True)) for row in dict.fromkeys(zip(*columns, strict=True))]


# -- appearance --------------------------------------------------------------------------------------------------


def human_size(size: int) -> str:
    """Bytes for people: ``12 B``, ``1.2 GB``."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def one_line(snapshot: Snapshot, root: str) -> str:
    """The ``repr`` of a table; counts files only where that costs nothing."""
    facts = [f"version={snapshot.version}", f"{len(snapshot.config.schema.fields)} columns"]
    if snapshot.totals is not None:
        facts += [f"{snapshot.totals.num_files} files", human_size(snapshot.totals.size_in_bytes)]
    return f"DeltaTable({root!r}, {', '.join(facts)})"


def html_card(snapshot: Snapshot, root: str) -> str:
    """The table as a notebook shows it: what it is, and its columns."""
    config = snapshot.config
    count, size = totals(snapshot)
    facts = {
        "version": f"{snapshot.version} ({utc(snapshot.timestamp):%Y-%m-%d %H:%M:%S} UTC)",
        "files": f"{count:,} ({human_size(size)})",
        "partitioned by": ", ".join(config.partition_columns) or "nothing",
        "protocol": f"reader {config.protocol.min_reader_version}, writer {config.protocol.min_writer_version}",
    }
    head = "".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items())
    body = "".join(
        f"<tr><td>{html.escape(f.name)}</td><td>{html.escape(_type_text(f.type))}</td>"
        f"<td>{'' if f.nullable else 'not null'}</td><td>{html.escape(str(f.metadata.get('comment', '')))}</td></tr>"
        for f in config.schema.fields
    )
    return (
        f"<div><b>{html.escape(config.metadata.name or root)}</b><table>{head}</table>"
        f"<table><tr><th>column</th><th>type</th><th></th><th></th></tr>{body}</table></div>"
    )


def _type_text(data_type: Any) -> str:
    text = data_type.to_json()
    return json.loads(text) if text.startswith('"') else text
