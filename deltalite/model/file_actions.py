"""File actions as Arrow columns: from the lines of commits, and to the objects that operations handle one by one."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.model.actions import AddFile, DeletionVector, RemoveFile
from deltalite.model.arrow import array, to_numpy
from deltalite.model.codec import decode_commit, encode_value
from deltalite.model.commit import Commit
from deltalite.model.paths import commit_file

TEXT_MAP = pa.map_(pa.string(), pa.string())
DV_TYPE = pa.struct(
    [
        pa.field("storageType", pa.string()),
        pa.field("pathOrInlineDv", pa.string()),
        pa.field("offset", pa.int32()),
        pa.field("sizeInBytes", pa.int32()),
        pa.field("cardinality", pa.int64()),
        pa.field("maxRowIndex", pa.int64()),
    ]
)
ADD_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("partitionValues", TEXT_MAP),
        pa.field("size", pa.int64()),
        pa.field("modificationTime", pa.int64()),
        pa.field("dataChange", pa.bool_()),
        pa.field("stats", pa.string()),
        pa.field("tags", TEXT_MAP),
        pa.field("deletionVector", DV_TYPE),
        pa.field("baseRowId", pa.int64()),
        pa.field("defaultRowCommitVersion", pa.int64()),
        pa.field("clusteringProvider", pa.string()),
    ]
)
REMOVE_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string()),
        pa.field("deletionTimestamp", pa.int64()),
        pa.field("dataChange", pa.bool_()),
        pa.field("extendedFileMetadata", pa.bool_()),
        pa.field("partitionValues", TEXT_MAP),
        pa.field("size", pa.int64()),
        pa.field("deletionVector", DV_TYPE),
        pa.field("baseRowId", pa.int64()),
        pa.field("defaultRowCommitVersion", pa.int64()),
    ]
)
_TAGS = re.compile(rb'"tags"\s*:\s*\{\s*"')
_WORTH_BULK = 32_768
_LONGEST_LINE = 1 << 22


# -- commits to columns ------------------------------------------------------------------------------------------


def parse_file_actions(
    commits: Sequence[Commit], partition_keys: Sequence[str]
) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """The adds and the removes of commits as tables, and the version of each row (adds first, then removes)."""
    parts = [part for group in _groups(commits) for part in _parse_commits(group, partition_keys)]
    adds = pa.concat_tables([p[0] for p in parts] or [pa.Table.from_batches([], ADD_SCHEMA)])
    removes = pa.concat_tables([p[1] for p in parts] or [pa.Table.from_batches([], REMOVE_SCHEMA)])
    order = np.concatenate([p[2] for p in parts] + [p[3] for p in parts]) if parts else np.zeros(0, np.int64)
    return adds, removes, order


def _groups(commits: Sequence[Commit], limit: int = 64 << 20) -> Iterable[list[Commit]]:
    group: list[Commit] = []
    size = 0
    for commit in commits:
        if b'"add"' not in commit.data and b'"remove"' not in commit.data:
            continue
        if group and size + len(commit.data) > limit:
            yield group
            group, size = [], 0
        group.append(commit)
        size += len(commit.data)
    if group:
        yield group


_Parsed = tuple[pa.Table, pa.Table, np.ndarray, np.ndarray]


def _parse_commits(commits: list[Commit], partition_keys: Sequence[str]) -> list[_Parsed]:
    """In bulk as far as possible; a commit with odd but legal lines is singled out and decoded line by line."""
    if sum(len(commit.data) for commit in commits) > _WORTH_BULK:
        parsed = _parse_bulk(commits, partition_keys)
        if parsed is not None:
            return [parsed]
        if len(commits) > 1:
            half = len(commits) // 2
            return _parse_commits(commits[:half], partition_keys) + _parse_commits(commits[half:], partition_keys)
    return [_parse_one_by_one(commits)]


def _parse_bulk(commits: list[Commit], partition_keys: Sequence[str]) -> _Parsed | None:
    """By pyarrow's JSON reader, ten times as fast as the standard library; ``None`` where it gives up."""
    import pyarrow.json as pj

    data = b"\n".join(commit.data for commit in commits)
    if _TAGS.search(data) or not _is_utf8(data):  # tags have any keys, so they fit no schema
        return None
    lines = [_count_lines(commit.data) for commit in commits]
    objects = data.startswith(b"{") + data.count(b"\n{")
    if objects != sum(lines) or b"\r" in data:  # pyarrow's reader crashes on a block that begins with null
        return None
    values = pa.struct([pa.field(key, pa.string()) for key in partition_keys])
    kinds = {}
    for name, schema in (("add", ADD_SCHEMA), ("remove", REMOVE_SCHEMA)):
        fields = [
            pa.field(f.name, values) if f.name == "partitionValues" else f
            for f in schema
            if f.name != "tags" and (f.name != "partitionValues" or partition_keys)
        ]
        kinds[name] = pa.struct(fields)
    explicit = pa.schema([pa.field(name, kind) for name, kind in kinds.items()])
    options = pj.ParseOptions(explicit_schema=explicit, newlines_in_values=False, unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(io.BytesIO(data), pj.ReadOptions(block_size=_LONGEST_LINE), options)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != sum(lines) or not all(_mentioned(key, data, table) for key in partition_keys):
        return None
    versions = np.repeat(np.array([c.version for c in commits], np.int64), lines)
    found = []
    for name, schema in (("add", ADD_SCHEMA), ("remove", REMOVE_SCHEMA)):
        column = table.column(name)
        valid = column.is_valid()
        rows = pa.chunked_array([chunk.filter(chunk.is_valid()) for chunk in column.chunks], kinds[name])
        found.append((_from_structs(rows, schema, partition_keys), versions[to_numpy(valid)]))
    (adds, add_order), (removes, remove_order) = found
    if adds.column("path").null_count or adds.column("size").null_count or removes.column("path").null_count:
        return None
    return adds, removes, add_order, remove_order


def _mentioned(key: str, data: bytes, table: pa.Table) -> bool:
    """Whether every file action seems to have a partition value of this name; none is not null (trap 9)."""
    actions = [table.column(name) for name in ("add", "remove")]
    with_values = sum(len(a) - pc.struct_field(a, "partitionValues").null_count for a in actions)
    return data.count(f'"{key}"'.encode()) >= with_values


def _is_utf8(data: bytes) -> bool:
    """pyarrow takes the bytes of strings unseen."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _count_lines(data: bytes) -> int:
    """How many lines hold something."""
    text = data.strip()
    if b"\n\n" in text or b"\n\r" in text or b"\n " in text:
        return sum(1 for line in text.split(b"\n") if line.strip())
    return text.count(b"\n") + 1 if text else 0


def _from_structs(rows: pa.ChunkedArray, schema: pa.Schema, partition_keys: Sequence[str]) -> pa.Table:
    chunks = [_from_struct(chunk, schema, partition_keys) for chunk in rows.chunks if len(chunk)]
    return pa.Table.from_batches(chunks, schema)


def _from_struct(rows: pa.StructArray, schema: pa.Schema, partition_keys: Sequence[str]) -> pa.RecordBatch:
    columns = []
    for f in schema:
        if f.name == "partitionValues":
            values = rows.field("partitionValues") if partition_keys else None
            columns.append(struct_to_map(values, partition_keys, len(rows)))
        elif f.name == "tags":
            columns.append(pa.nulls(len(rows), f.type))
        else:
            columns.append(rows.field(f.name))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def struct_to_map(values: pa.StructArray | None, keys: Sequence[str], length: int) -> pa.MapArray:
    """A struct of strings as a map with one entry per field."""
    width = len(keys)
    offsets = pa.Array.from_buffers(
        pa.int32(),
        length + 1,
        [
            None,
            pa.py_buffer(
                np.arange(0, (length + 1) * width, width or 1, dtype=np.int32)[: length + 1].tobytes()
                if width
                else bytes(4 * (length + 1))
            ),
        ],
    )
    if not width or values is None:
        return pa.MapArray.from_arrays(offsets, pa.nulls(0, pa.string()), pa.nulls(0, pa.string()))
    names = array(list(keys), pa.string())
    tiled = names.take(_indices(np.tile(np.arange(width, dtype=np.int64), length)))
    joined = pa.concat_arrays([values.field(key) for key in keys])
    interleaved = joined.take(_indices(np.arange(width * length, dtype=np.int64).reshape(width, length).T.ravel()))
    return pa.MapArray.from_arrays(offsets, tiled, interleaved)


def _indices(values: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def _parse_one_by_one(commits: list[Commit]) -> _Parsed:
    adds: list[AddFile] = []
    removes: list[RemoveFile] = []
    add_order, remove_order = [], []
    for commit in commits:
        for action in decode_commit(commit.data, commit_file(commit.version)):
            if isinstance(action, AddFile):
                adds.append(action)
                add_order.append(commit.version)
            elif isinstance(action, RemoveFile):
                removes.append(action)
                remove_order.append(commit.version)
    orders = np.array(add_order, np.int64), np.array(remove_order, np.int64)
    try:
        return add_table(adds), remove_table(removes), *orders
    except UnicodeEncodeError as error:
        versions = f"{commits[0].version} to {commits[-1].version}"
        raise InvalidTableError(f"a file action of versions {versions} holds text that is not Unicode") from error


def add_table(files: Sequence[AddFile]) -> pa.Table:
    return _action_table(files, ADD_SCHEMA)


def remove_table(files: Sequence[RemoveFile]) -> pa.Table:
    return _action_table(files, REMOVE_SCHEMA)


def _action_table(files: Sequence[Any], schema: pa.Schema) -> pa.Table:
    bodies = [encode_value(f) for f in files]
    columns = [column_of([body.get(f.name) for body in bodies], f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def column_of(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """JSON values as an Arrow array of any type that occurs in actions."""
    if pa.types.is_map(kind):
        return map_array(values)
    if pa.types.is_struct(kind):
        children = [column_of([None if v is None else v.get(f.name) for v in values], f.type) for f in kind]
        missing = array([v is None for v in values], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=missing)
    if pa.types.is_list(kind):
        offsets = np.cumsum([0, *(len(v or ()) for v in values)], dtype=np.int32)
        items = array([item for v in values for item in v or ()], kind.value_type)
        bounds = pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets.tobytes())])
        missing = array([v is None for v in values], pa.bool_())
        return pa.ListArray.from_arrays(bounds, items, type=kind, mask=missing)
    return array(values, kind)


def map_array(maps: Sequence[Mapping[str, str | None] | None]) -> pa.MapArray:
    """Python mappings as an Arrow map column."""
    sizes = np.fromiter((0 if m is None else len(m) for m in maps), np.int32, len(maps))
    offsets = np.zeros(len(maps) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    keys = array([k for m in maps if m for k in m], pa.string())
    items = array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for m in maps if m for v in m.values()], pa.string()
    )
    plain = pa.MapArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(offsets), [None, pa.py_buffer(offsets.tobytes())]), keys, items
    )
    if not any(m is None for m in maps):
        return plain
    valid = np.fromiter((m is not None for m in maps), bool, len(maps))
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    entries = pa.StructArray.from_arrays(
        [keys, items], fields=[pa.field("key", pa.string(), False), pa.field("value", pa.string())]
    )
    return pa.MapArray.from_buffers(TEXT_MAP, len(maps), [bitmap, plain.buffers()[1]], children=[entries])


# -- columns to actions ------------------------------------------------------------------------------------------


def add_files(table: pa.Table) -> list[AddFile]:
    """Rows of ``ADD_SCHEMA`` as action objects."""
    return [
        AddFile(
            path=row["path"],
            partition_values=dict(row["partitionValues"] or ()),
            size=row["size"],
            modification_time=row["modificationTime"],
            data_change=bool(row["dataChange"]) if row["dataChange"] is not None else True,
            stats=row["stats"],
            tags=None if row["tags"] is None else dict(row["tags"]),
            deletion_vector=deletion_vector(row["deletionVector"]),
            base_row_id=row["baseRowId"],
            default_row_commit_version=row["defaultRowCommitVersion"],
            clustering_provider=row["clusteringProvider"],
        )
        for row in table.to_pylist()
    ]


def deletion_vector(value: Mapping[str, Any] | None) -> DeletionVector | None:
    """The descriptor in a row of ``DV_TYPE``; an empty struct, as some writers leave, is none."""
    if value is None or value.get("storageType") is None:
        return None
    return DeletionVector(
        value["storageType"],
        value["pathOrInlineDv"],
        value["sizeInBytes"],
        value["cardinality"],
        value["offset"],
        value.get("maxRowIndex"),
    )


def remove_of(add: AddFile, deletion_timestamp: int, data_change: bool = True) -> RemoveFile:
    """The tombstone of a live file, under the very path and deletion vector that made it live."""
    return RemoveFile(
        path=add.path,
        data_change=data_change,
        deletion_timestamp=deletion_timestamp,
        extended_file_metadata=True,
        partition_values=add.partition_values,
        size=add.size,
        tags=add.tags,
        deletion_vector=add.deletion_vector,
        base_row_id=add.base_row_id,
        default_row_commit_version=add.default_row_commit_version,
    )


# -- columns of structs and maps ---------------------------------------------------------------------------------------


def struct_leaf(structs: pa.ChunkedArray, path: Sequence[str]) -> pa.ChunkedArray:
    """A leaf of a column of structs, null wherever one of the structs around it is."""
    kind = structs.type
    at = []
    for name in path:
        at.append(kind.get_field_index(name))
        kind = kind.field(at[-1]).type
    return pa.chunked_array([pc.struct_field(chunk, at) for chunk in structs.chunks], kind)
