"""Delta logs without data files: many commits, or one checkpoint of many files, written as the protocol says."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.core import Scale
from benchmarks.inputs import cached

__all__ = ["FILE_ROWS", "add", "checkpoint_log", "commit_log", "day_of", "schema_string", "write_commit"]

FILE_ROWS = 1_000  # file n holds the ids from n * FILE_ROWS on
_DAYS = 100
_FIRST_DAY = date(2026, 1, 1)
_TIME_MS = 1_790_000_000_000
_COLUMNS = {"id": "long", "time": "timestamp", "value": "double", "kind": "string", "day": "date"}
_KINDS = ("click", "open", "view")
_SLICE = 100_000


def schema_string(columns: Mapping[str, str]) -> str:
    """The schema of a metaData action, every column nullable."""
    fields = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in columns.items()]
    return json.dumps({"type": "struct", "fields": fields})


def add(path: str, partition: Mapping[str, str], size: int, statistics: str) -> dict[str, Any]:
    """An add action."""
    body = {
        "path": path,
        "partitionValues": partition,
        "size": size,
        "modificationTime": _TIME_MS,
        "dataChange": True,
        "stats": statistics,
    }
    return {"add": body}


def write_commit(table: Path, version: int, actions: Sequence[Mapping[str, Any]]) -> None:
    """The commit file of a version."""
    lines = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
    (table / "_delta_log" / f"{version:020d}.json").write_text(lines)


def day_of(number: int, files: int) -> date:
    """The partition of file ``number`` of ``files``: files are in the order of time."""
    return _FIRST_DAY + timedelta(days=number * _DAYS // files)


def commit_log(cache: Path, commits: int, files_each: int, checkpoint: bool) -> Path:
    """A table at version ``commits``, every commit adding files; a checkpoint at the last version or none at all."""

    def build(place: Path) -> None:
        (place / "_delta_log").mkdir(parents=True)
        write_commit(place, 0, _creation({"delta.checkpointInterval": "1000000"}))
        total = commits * files_each
        for version in range(1, commits + 1):
            numbers = range((version - 1) * files_each, version * files_each)
            write_commit(place, version, [_commit_info(version), *(_add(n, total) for n in numbers)])
        if checkpoint:
            _write_checkpoint(place, commits, total, struct_statistics=False)

    return cached(cache / f"log-{commits}x{files_each}{'-checkpoint' if checkpoint else ''}", build)


def checkpoint_log(cache: Path, scale: Scale, struct_statistics: bool) -> Path:
    """A table of ``scale.listed`` files, all of them in one checkpoint, statistics as JSON or as columns."""

    def build(place: Path) -> None:
        (place / "_delta_log").mkdir(parents=True)
        write_commit(place, 10, [_commit_info(10)])
        _write_checkpoint(place, 10, scale.listed, struct_statistics)

    return cached(cache / f"checkpoint-{'struct' if struct_statistics else 'json'}", build)


def _creation(properties: Mapping[str, str]) -> list[dict[str, Any]]:
    metadata = {
        "id": "0d6f3c57-51e4-4f57-8f0f-5b7a2a3c9a10",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_string(_COLUMNS),
        "partitionColumns": ["day"],
        "configuration": properties,
        "createdTime": _TIME_MS,
    }
    return [{"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}}, {"metaData": metadata}]


def _commit_info(version: int) -> dict[str, Any]:
    info = {"timestamp": _TIME_MS + version, "operation": "WRITE", "operationParameters": {"mode": "Append"}}
    return {"commitInfo": {**info, "isolationLevel": "Serializable", "isBlindAppend": True}}


def _add(number: int, total: int) -> dict[str, Any]:
    day = day_of(number, total).isoformat()
    return add(_path(number, day), {"day": day}, 32_768 + number % 4_096, _statistics(number))


def _path(number: int, day: str) -> str:
    return f"day={day}/part-{number % 32:05d}-{random.Random(number).getrandbits(128):032x}.c000.zstd.parquet"


def _bounds(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number)
    lowest = {"id": number * FILE_ROWS, "time": start, "value": number % 97 / 8, "kind": _KINDS[0]}
    highest = {
        "id": (number + 1) * FILE_ROWS - 1,
        "time": start + timedelta(milliseconds=999),
        "value": 100 + number % 89 / 8,
        "kind": _KINDS[-1],
    }
    return lowest, highest


def _statistics(number: int) -> str:
    lowest, highest = (
        {key: _time_text(value) if key == "time" else value for key, value in side.items()} for side in _bounds(number)
    )
    nulls = dict.fromkeys(lowest, 0)
    counts = {"numRecords": FILE_ROWS, "minValues": lowest, "maxValues": highest, "nullCount": nulls}
    return json.dumps(counts, separators=(",", ":"))


def _time_text(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"


# -- checkpoints -------------------------------------------------------------------------------------------------


_TEXT_MAP = pa.map_(pa.string(), pa.string())
_ADD = [
    pa.field("path", pa.string()),
    pa.field("partitionValues", _TEXT_MAP),
    pa.field("size", pa.int64()),
    pa.field("modificationTime", pa.int64()),
    pa.field("dataChange", pa.bool_()),
    pa.field("tags", _TEXT_MAP),
]
_VALUES = pa.struct(
    [("id", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("value", pa.float64()), ("kind", pa.string())]
)
_STATS_PARSED = pa.struct(
    [
        ("numRecords", pa.int64()),
        ("minValues", _VALUES),
        ("maxValues", _VALUES),
        ("nullCount", pa.struct([(f.name, pa.int64()) for f in _VALUES])),
    ]
)
_PROTOCOL = pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32())])
_METADATA = pa.struct(
    [
        ("id", pa.string()),
        ("name", pa.string()),
        ("description", pa.string()),
        ("format", pa.struct([("provider", pa.string()), ("options", _TEXT_MAP)])),
        ("schemaString", pa.string()),
        ("partitionColumns", pa.list_(pa.string())),
        ("configuration", _TEXT_MAP),
        ("createdTime", pa.int64()),
    ]
)
_REMOVE = pa.struct([("path", pa.string()), ("deletionTimestamp", pa.int64()), ("dataChange", pa.bool_())])


def _write_checkpoint(place: Path, version: int, files: int, struct_statistics: bool) -> None:
    properties = {"delta.checkpointInterval": "1000000"}
    fields = [*_ADD, pa.field("stats", pa.string())]
    if struct_statistics:
        properties |= {"delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpoint.writeStatsAsJson": "false"}
        parsed = pa.struct([("day", pa.date32())])
        fields = [*_ADD, pa.field("partitionValues_parsed", parsed), pa.field("stats_parsed", _STATS_PARSED)]
    kinds = {"protocol": _PROTOCOL, "metaData": _METADATA, "add": pa.struct(fields), "remove": _REMOVE}
    schema = pa.schema(list(kinds.items()))
    path = place / "_delta_log" / f"{version:020d}.checkpoint.parquet"
    with pq.ParquetWriter(path, schema, compression="snappy") as writer:
        head = [_checkpoint_row(action) for action in _creation(properties)]
        writer.write_table(_columns(head, schema))
        for rows in _add_rows(files, struct_statistics):
            writer.write_table(_columns(rows, schema), row_group_size=_SLICE)
    hint = {"version": version, "size": files + 2, "numOfAddFiles": files, "sizeInBytes": path.stat().st_size}
    (place / "_delta_log" / "_last_checkpoint").write_text(json.dumps(hint))


def _checkpoint_row(action: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, body),) = action.items()
    body = dict(body)
    for name in ("configuration", "partitionValues"):
        if name in body:
            body[name] = list(body[name].items())
    if "format" in body:
        body["format"] = {"provider": "parquet", "options": []}
    return {kind: body}


def _add_rows(files: int, struct_statistics: bool) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, files, _SLICE):
        rows = []
        for number in range(start, min(files, start + _SLICE)):
            row = _checkpoint_row(_add(number, files))
            row["add"]["dataChange"] = False
            if struct_statistics:
                del row["add"]["stats"]
                lowest, highest = _bounds(number)
                nulls = dict.fromkeys(lowest, 0)
                row["add"]["partitionValues_parsed"] = {"day": day_of(number, files)}
                counts = {"numRecords": FILE_ROWS, "minValues": lowest, "maxValues": highest, "nullCount": nulls}
                row["add"]["stats_parsed"] = counts
            rows.append(row)
        yield rows


def _columns(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema)
