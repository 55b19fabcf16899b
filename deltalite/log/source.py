"""Checkpoints, read leaf by leaf: only the columns of the file actions that somebody asks for are decoded.

PROTOCOL.md, "Checkpoints": classic ones in one or several Parquet files, V2 ones (Parquet or JSON) whose file actions
may lie in sidecars. The form is told by content, not by name (trap 50).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deltalite.exceptions import DeltaError, InvalidTableError
from deltalite.log.segment import Checkpoint
from deltalite.model.actions import Action, Metadata, Protocol
from deltalite.model.arrow import mask_array
from deltalite.model.codec import ACTIONS, decode_value
from deltalite.model.files import ADD_SCHEMA, REMOVE_SCHEMA
from deltalite.storage.base import Store


class UnreadableCheckpoint(Exception):
    """A checkpoint that is corrupt or incomplete; another base may serve instead."""


class CheckpointSource:
    """One checkpoint as the base of a file set. Opens its files when first needed."""

    def __init__(self, store: Store, checkpoint: Checkpoint) -> None:
        self.version = checkpoint.version
        self._store = store
        self._names = [file.path for file in checkpoint.files]
        self._main = [_open(store, file.path, file.size) for file in checkpoint.files]

    def actions(self, *kinds: str) -> list[Action]:
        """All actions of some non-file kinds (wire names)."""
        return [action for part in self._main for action in _reading(part.name, part.actions, kinds)]

    def config(self) -> tuple[Protocol, Metadata]:
        found = {type(action): action for action in self.actions("protocol", "metaData")}
        if len(found) < 2:
            missing = "protocol" if Protocol not in found else "metadata"
            raise UnreadableCheckpoint(f"{self._names[0]} holds no {missing}")
        return found[Protocol], found[Metadata]  # type: ignore[return-value]

    @property
    def parsed_columns(self) -> frozenset[str]:
        return frozenset()

    def adds(self, columns: Sequence[str]) -> pa.Table:
        parts = self._each(lambda part: _rows(part, "add", columns, ADD_SCHEMA))
        return pa.concat_tables(parts)

    def tombstones(self) -> pa.Table:
        parts = self._each(lambda part: _rows(part, "remove", REMOVE_SCHEMA.names, REMOVE_SCHEMA))
        return pa.concat_tables(parts)

    def _each(self, read: Callable[[_ParquetPart], pa.Table]) -> list[pa.Table]:
        return [_reading(part.name, read, part) for part in self._main]


class _ParquetPart:
    def __init__(self, name: str, file: pq.ParquetFile) -> None:
        self.name = name
        self.file = file
        self.schema = file.schema_arrow

    def actions(self, kinds: Sequence[str]) -> list[Action]:
        present = [kind for kind in kinds if kind in self.schema.names]
        if not present:
            return []
        table = self.file.read(columns=present, use_threads=False)
        found = []
        for kind in present:
            column = table.column(kind)
            for body in column.filter(column.is_valid()).to_pylist():
                found.append(decode_value(ACTIONS[kind], _plain(body, column.type), f"{self.name}: {kind}"))
        return found


def _open(store: Store, name: str, size: int) -> _ParquetPart:
    return _reading(name, lambda: _ParquetPart(name, pq.ParquetFile(store.open_input(name, size=size))))


def _reading(name: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """Run a reader of the file ``name``; whatever its bytes make go wrong is an :class:`UnreadableCheckpoint`."""
    try:
        return read(*arguments)
    except FileNotFoundError as error:
        raise UnreadableCheckpoint(f"{name} is missing") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, InvalidTableError) as error:
        if isinstance(error, DeltaError) and not isinstance(error, InvalidTableError):
            raise
        raise UnreadableCheckpoint(f"{name} cannot be read: {error}") from error


def _rows(part: _ParquetPart, kind: str, columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Columns of the rows that hold an action of a kind; what the file lacks is null."""
    if kind not in part.schema.names:
        return pa.schema([schema.field(name) for name in columns]).empty_table()
    struct = part.schema.field(kind).type
    present = [name for name in columns if struct.get_field_index(name) >= 0]
    leaves = [f"{kind}.{name}" for name in present] or [f"{kind}.path"]
    rows = part.file.read(columns=leaves, use_threads=False).column(kind)
    chunks = [piece for chunk in rows.chunks for piece in _valid_rows(chunk)]
    found = []
    for name in columns:
        wanted = schema.field(name).type
        if name in present:
            pieces = [chunk.field(name) for chunk in chunks]
            column = pa.chunked_array(pieces, struct.field(name).type)
            found.append(column if column.type == wanted else column.cast(wanted))
        else:
            found.append(pa.chunked_array([pa.nulls(len(chunk), wanted) for chunk in chunks], wanted))
    return pa.table(found, schema=pa.schema([schema.field(name) for name in columns]))


def _valid_rows(chunk: pa.StructArray) -> Iterable[pa.StructArray]:
    """The rows that are not null: as slices where they lie together, which copies nothing."""
    if chunk.null_count == 0:
        return [chunk] if len(chunk) else []
    valid = np.asarray(chunk.is_valid().to_numpy(zero_copy_only=False))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], valid, [False])).astype(np.int8)))
    runs = edges.reshape(-1, 2)
    if len(runs) > 32:
        return [chunk.filter(mask_array(valid))]
    return [chunk.slice(start, stop - start) for start, stop in runs.tolist()]


def _plain(value: Any, kind: pa.DataType) -> Any:
    """A row of Arrow structs and maps as the JSON object that a commit would hold."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {f.name: _plain(value[f.name], f.type) for f in kind if value[f.name] is not None}
    return dict(value) if pa.types.is_map(kind) else value
