"""The single files of a checkpoint: Parquet, of which only the wanted leaves are decoded, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deltalite.exceptions import InvalidTableError, StorageError
from deltalite.log import parsed
from deltalite.model.actions import Action, AddFile, RemoveFile
from deltalite.model.arrow import mask_array, to_numpy
from deltalite.model.codec import ACTIONS, decode_commit, decode_value
from deltalite.model.file_actions import ADD_SCHEMA, REMOVE_SCHEMA, add_table, remove_table, struct_leaf
from deltalite.storage.base import Store

T = TypeVar("T")
_FEW_RUNS = 32
_REQUIRED = {
    "add": "path",
    "remove": "path",
    "txn": "appId",
    "metaData": "id",
    "protocol": "minReaderVersion",
    "domainMetadata": "domain",
    "checkpointMetadata": "version",
    "sidecar": "path",
}
"""Of each kind of action a leaf that no action of the kind lacks."""


class UnreadableCheckpoint(InvalidTableError):
    """A checkpoint that is corrupt or incomplete; another base may serve instead."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, hint="if its commits are still in the log, remove the file and read again", path=path)


class Part(Protocol):
    """One file of a checkpoint."""

    def actions(self, kinds: Sequence[str]) -> list[Action]:
        """Its actions of some kinds (wire names) other than ``add`` and ``remove``."""
        ...

    def adds(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Columns of its adds: of ``ADD_SCHEMA``, or parsed ones that it has."""
        ...

    def removes(self) -> pa.Table:
        """Its tombstones, as ``REMOVE_SCHEMA``."""
        ...

    def parsed_type(self, column: str) -> pa.DataType | None:
        """The type of a parsed column, ``None`` where it has none."""
        ...

    def leaf(self, path: Sequence[str]) -> pa.ChunkedArray | None:
        """One leaf of a parsed column; ``None`` where there is no such leaf."""
        ...


def open_part(store: Store, path: str, size: int) -> Part:
    """Open a file of a checkpoint.

    :raises UnreadableCheckpoint: when it is missing or not what its name says; so do the part's methods.
    """
    if path.endswith(".json"):
        return guarded(path, lambda: _JsonPart(path, store.get(path)))

    def read() -> Part:
        source = store.open_input(path, size=size)
        file = pq.ParquetFile(source, coerce_int96_timestamp_unit="us", page_checksum_verification=True)
        return _ParquetPart(path, file)

    return guarded(path, read)


def guarded(name: str, read: Callable[[], T]) -> T:
    """Run a reader of the file ``name``; what its bytes make go wrong is an :class:`UnreadableCheckpoint`."""
    try:
        return read()
    except FileNotFoundError as error:
        raise UnreadableCheckpoint(f"{name} is missing", name) from error
    except UnreadableCheckpoint:
        raise
    except (pa.ArrowException, OSError, ValueError, InvalidTableError) as error:
        if isinstance(error, StorageError) or getattr(error, "errno", None) is not None:
            raise
        raise UnreadableCheckpoint(f"{name} cannot be read: {error}", name) from error


class _JsonPart:
    def __init__(self, name: str, data: bytes) -> None:
        self._actions = list(decode_commit(data, name))
        if not self._actions:
            raise UnreadableCheckpoint(f"{name} holds no action", name)
        self._adds = add_table([a for a in self._actions if isinstance(a, AddFile)])
        self._removes = remove_table([a for a in self._actions if isinstance(a, RemoveFile)])

    def actions(self, kinds: Sequence[str]) -> list[Action]:
        wanted = tuple(ACTIONS[kind] for kind in kinds)
        return [action for action in self._actions if isinstance(action, wanted)]

    def adds(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        return {name: self._adds.column(name) for name in columns}

    def removes(self) -> pa.Table:
        return self._removes

    def parsed_type(self, column: str) -> pa.DataType | None:
        return None

    def leaf(self, path: Sequence[str]) -> pa.ChunkedArray | None:
        return None


class _ParquetPart:
    def __init__(self, name: str, file: pq.ParquetFile) -> None:
        self._name = name
        self._file = file
        self._schema = file.schema_arrow
        self._kinds = {kind: f.type for kind in ("add", "remove") if (f := _field(self._schema, kind)) is not None}

    def actions(self, kinds: Sequence[str]) -> list[Action]:
        present = [kind for kind in kinds if kind in self._schema.names]
        return guarded(self._name, lambda: self._actions(present)) if present else []

    def _actions(self, kinds: Sequence[str]) -> list[Action]:
        found = []
        for kind in kinds:
            column = self._read(kind, [kind])
            for body in column.filter(column.is_valid()).to_pylist():
                found.append(decode_value(ACTIONS[kind], _plain(body, column.type), f"{self._name}: {kind}"))
        return found

    def adds(self, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        found = guarded(self._name, lambda: self._rows("add", columns))
        if "stats" in columns and found["stats"].null_count and self.parsed_type("stats_parsed") is not None:
            found["stats"] = guarded(self._name, lambda: self._with_stats_text(found["stats"]))
        return found

    def removes(self) -> pa.Table:
        return guarded(self._name, lambda: pa.table(self._rows("remove", REMOVE_SCHEMA.names), schema=REMOVE_SCHEMA))

    def parsed_type(self, column: str) -> pa.DataType | None:
        found = _field(self._kinds.get("add"), column)
        return found.type if found is not None and pa.types.is_struct(found.type) else None

    def leaf(self, path: Sequence[str]) -> pa.ChunkedArray | None:
        kind: Any = self._kinds.get("add")
        for name in path:
            found = _field(kind, name)
            if found is None:
                return None
            kind = found.type
        return guarded(self._name, lambda: self._leaf(path))

    def _read(self, kind: str, leaves: Sequence[str]) -> pa.ChunkedArray:
        """The column of a kind of action with some of its leaves, without row groups that hold no such action."""
        return self._file.read_row_groups(self._groups(kind), columns=leaves, use_threads=False).column(kind)

    def _groups(self, kind: str) -> list[int]:
        metadata, schema = self._file.metadata, self._file.schema
        required = f"{kind}.{_REQUIRED[kind]}"
        leaf = next((i for i in range(len(schema)) if schema.column(i).path == required), None)
        groups = range(metadata.num_row_groups)
        return [g for g in groups if leaf is None or not _is_null(metadata.row_group(g).column(leaf))]

    def _leaf(self, path: Sequence[str]) -> pa.ChunkedArray:
        rows = self._read("add", [".".join(("add", *path))])
        return struct_leaf(pa.chunked_array(list(_present(rows)), rows.type), path)

    def _with_stats_text(self, stats: pa.ChunkedArray) -> pa.ChunkedArray:
        """The statistics of files that have them as columns only, as text."""
        structs = self._rows("add", ["stats_parsed"])["stats_parsed"]
        return pc.coalesce(stats, parsed.stats_text(structs))

    def _rows(self, action: str, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Columns of the rows that hold an action; what the file lacks is null."""
        schema = ADD_SCHEMA if action == "add" else REMOVE_SCHEMA
        struct = self._kinds.get(action)
        if struct is None:
            return {name: pa.chunked_array([], _type(schema, name)) for name in columns}
        present = [name for name in columns if _field(struct, name) is not None]
        leaves = [f"{action}.{name}" for name in present or ["path"]]
        chunks = list(_present(self._read(action, leaves)))
        found = {}
        for name in columns:
            if name in present:
                own = _field(struct, name).type  # type: ignore[union-attr]
                column = pa.chunked_array([chunk.field(name) for chunk in chunks], own)
                wanted = _type(schema, name, own)
                found[name] = column if own == wanted else column.cast(wanted)
            else:
                kind = _type(schema, name)
                found[name] = pa.chunked_array([pa.nulls(len(chunk), kind) for chunk in chunks], kind)
        return found


def _is_null(chunk: Any) -> bool:
    """Whether statistics prove that a leaf is null throughout a row group."""
    return chunk.is_stats_set and chunk.statistics.has_null_count and chunk.statistics.null_count == chunk.num_values


def _field(kind: Any, name: str) -> pa.Field | None:
    """A field of a schema or struct type, by name."""
    if kind is None or not (isinstance(kind, pa.Schema) or pa.types.is_struct(kind)):
        return None
    at = kind.get_field_index(name)
    return kind.field(at) if at >= 0 else None


def _type(schema: pa.Schema, name: str, own: pa.DataType | None = None) -> pa.DataType:
    known = _field(schema, name)
    if known is not None:
        return known.type
    return own if own is not None else pa.null()


def _present(rows: pa.ChunkedArray) -> Iterator[pa.StructArray]:
    """The rows that are not null: as slices where they lie together, which copies nothing."""
    for chunk in rows.chunks:
        if chunk.null_count == 0:
            yield chunk
            continue
        valid = to_numpy(chunk.is_valid())
        edges = np.flatnonzero(np.diff(np.concatenate(([False], valid, [False])).astype(np.int8)))
        runs = edges.reshape(-1, 2)
        if len(runs) > _FEW_RUNS:
            yield chunk.filter(mask_array(valid))
        else:
            yield from (chunk.slice(start, stop - start) for start, stop in runs.tolist())


def _plain(value: Any, kind: pa.DataType) -> Any:
    """A row of Arrow structs and maps as the JSON object that a commit would hold."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _plain(value[f.name], f.type) for f in kind if value[f.name] is not None}
    return dict(value) if pa.types.is_map(kind) else value
