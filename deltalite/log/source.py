"""Checkpoints, read leaf by leaf: only the columns of the file actions that somebody asks for are decoded.

PROTOCOL.md, "Checkpoints": classic ones in one or several Parquet files, V2 ones (Parquet or JSON) whose file actions
may lie in sidecars. The form is told by content, not by name (trap 50).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deltalite.exceptions import InvalidTableError, StorageError
from deltalite.log import parsed
from deltalite.log.segment import Checkpoint
from deltalite.model.actions import Action, AddFile, CheckpointMetadata, Metadata, Protocol, RemoveFile, Sidecar
from deltalite.model.arrow import mask_array
from deltalite.model.codec import ACTIONS, decode_commit, decode_value
from deltalite.model.files import ADD_SCHEMA, REMOVE_SCHEMA, add_table, remove_table
from deltalite.model.paths import SIDECARS
from deltalite.storage.base import Store

_PARALLEL_FILES = 8
_FEW_RUNS = 32


class UnreadableCheckpoint(Exception):
    """A checkpoint that is corrupt or incomplete; another base may serve instead."""


class CheckpointSource:
    """One checkpoint as the base of a file set. What was decoded once is kept.

    :raises UnreadableCheckpoint: from every method.
    """

    def __init__(self, store: Store, checkpoint: Checkpoint) -> None:
        self.version = checkpoint.version
        self._store = store
        self._name = checkpoint.files[0].path
        self._main = [_open(store, file.path, file.size) for file in checkpoint.files]
        self._columns: dict[str, list[pa.ChunkedArray]] = {}

    # -- actions other than files --------------------------------------------------------------------------------

    def actions(self, *kinds: str) -> list[Action]:
        """All actions of some kinds other than file actions (wire names)."""
        return [action for part in self._main for action in part.actions(kinds)]

    def config(self) -> tuple[Protocol, Metadata]:
        found = {type(action): action for action in self.actions("protocol", "metaData")}
        if len(found) < 2:
            missing = "protocol" if Protocol not in found else "metadata"
            raise UnreadableCheckpoint(f"{self._name} holds no {missing}")
        return found[Protocol], found[Metadata]  # type: ignore[return-value]

    # -- file actions --------------------------------------------------------------------------------------------

    def adds(self, columns: Sequence[str]) -> pa.Table:
        missing = [name for name in columns if name not in self._columns]
        if missing:
            for name, parts in self._read(missing).items():
                self._columns[name] = parts
        arrays = [_joined(self._columns[name], self._type(name)) for name in columns]
        return pa.Table.from_arrays(arrays, names=list(columns))

    def tombstones(self) -> pa.Table:
        return pa.concat_tables(self._each(lambda part: part.removes()))

    @cached_property
    def parsed_columns(self) -> frozenset[str]:
        """What every part that holds adds has as columns, of one and the same type."""
        parts = self._parts_with_adds()
        if not parts:
            return frozenset()
        kinds = [{part.add_type(name) for part in parts} for name in parsed.COLUMNS]
        return frozenset(n for n, k in zip(parsed.COLUMNS, kinds, strict=True) if len(k) == 1 and None not in k)

    def parse(self, column: str, adds: pa.Table) -> pa.ChunkedArray:
        kind = self._type(column)
        if column == "stats_parsed":
            return parsed.parse_stats(adds.column("stats"), kind)
        return parsed.parse_partition_values(adds.column("partitionValues"), kind)

    def leaf(self, column: str, path: Sequence[str]) -> pa.ChunkedArray | None:
        """One leaf of a parsed column, decoded alone; ``None`` where there is no such leaf."""
        raise NotImplementedError

    def _type(self, name: str) -> pa.DataType:
        if name in ADD_SCHEMA.names:
            return ADD_SCHEMA.field(name).type
        if name not in self.parsed_columns:
            raise KeyError(name)
        return self._parts_with_adds()[0].add_type(name)

    def _parts_with_adds(self) -> list[Any]:
        rows = [len(part) for part in self._columns["path"]] if "path" in self._columns else self._count()
        return [part for part, n in zip(self._parts, rows, strict=True) if n]

    def _count(self) -> list[int]:
        self.adds(["path"])
        return [len(part) for part in self._columns["path"]]

    def _read(self, columns: Sequence[str]) -> dict[str, list[pa.ChunkedArray]]:
        tables = self._each(lambda part: part.adds(columns))
        return {name: [table.column(name) for table in tables] for name in columns}

    @cached_property
    def _parts(self) -> list[Any]:
        """The files that hold file actions: the checkpoint's own, then its sidecars."""
        marks = self.actions("checkpointMetadata", "sidecar")
        for mark in marks:
            if isinstance(mark, CheckpointMetadata) and mark.version != self.version:
                raise UnreadableCheckpoint(f"{self._name} says that it is of version {mark.version}")
        sidecars = [mark for mark in marks if isinstance(mark, Sidecar)]
        return [*self._main, *_in_parallel(self._open_sidecar, sidecars)]

    def _open_sidecar(self, sidecar: Sidecar) -> Any:
        name = unquote(sidecar.path)
        path = SIDECARS + name if "/" not in name else name.rpartition("_delta_log/")[1] + name.rpartition("_delta_log/")[2]
        return _open(self._store, path, sidecar.size_in_bytes)

    def _each(self, read: Callable[[Any], pa.Table]) -> list[pa.Table]:
        return list(_in_parallel(read, self._parts))
