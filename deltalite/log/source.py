"""A checkpoint as the base of a file set, decoded column by column as somebody asks.

PROTOCOL.md, "Checkpoints": classic ones in one or several Parquet files, V2 ones (Parquet or JSON) whose file actions
may lie in sidecars. The form is told by content, not by name (trap 50).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa

from deltalite.log import parsed
from deltalite.log.parts import Part, UnreadableCheckpoint, open_part
from deltalite.log.segment import Checkpoint
from deltalite.model.actions import Action, CheckpointMetadata, Metadata, Protocol, Sidecar
from deltalite.model.file_actions import ADD_SCHEMA
from deltalite.model.paths import SIDECARS
from deltalite.model.stats import parse_stats
from deltalite.storage.base import Store

__all__ = ["CheckpointSource", "UnreadableCheckpoint"]

T = TypeVar("T")
_PARALLEL_FILES = 8


class CheckpointSource:
    """One checkpoint. What was decoded once is kept, so that descendants of a snapshot share it.

    Every method raises :class:`UnreadableCheckpoint` when a file is missing or corrupt.
    """

    def __init__(self, store: Store, checkpoint: Checkpoint) -> None:
        self.version = checkpoint.version
        self._store = store
        self._name = checkpoint.files[0].path
        self._main = _in_parallel(lambda file: open_part(store, file.path, file.size), checkpoint.files)
        self._columns: dict[str, pa.ChunkedArray] = {}

    def actions(self, *kinds: str) -> list[Action]:
        """All actions of some kinds (wire names) other than file actions."""
        return [action for part in self._main for action in part.actions(kinds)]

    def config(self) -> tuple[Protocol, Metadata]:
        """Protocol and metadata."""
        found = {type(action): action for action in self.actions("protocol", "metaData")}
        if len(found) < 2:
            missing = "metadata" if Protocol in found else "protocol"
            raise UnreadableCheckpoint(f"{self._name} holds no {missing}", self._name)
        return found[Protocol], found[Metadata]  # type: ignore[return-value]

    @cached_property
    def sidecars(self) -> tuple[Sidecar, ...]:
        """The sidecars it refers to.

        :raises UnreadableCheckpoint: when it claims to be of another version.
        """
        marks = self.actions("checkpointMetadata", "sidecar")
        for mark in marks:
            if isinstance(mark, CheckpointMetadata) and mark.version != self.version:
                raise UnreadableCheckpoint(f"{self._name} says that it is of version {mark.version}", self._name)
        return tuple(mark for mark in marks if isinstance(mark, Sidecar))

    @property
    def sidecar_names(self) -> list[str]:
        """The bare names of its sidecars in ``_delta_log/_sidecars``."""
        return [unquote(sidecar.path.rpartition("/")[2]) for sidecar in self.sidecars]

    # -- file actions: what model.files.FileSource asks for ------------------------------------------------------

    def adds(self, columns: Sequence[str]) -> pa.Table:
        missing = [name for name in columns if name not in self._columns and name != "path"]
        if missing:
            found = _in_parallel(lambda part: part.adds(missing), self._parts_with_adds)
            for name in missing:
                self._columns[name] = _joined([part[name] for part in found], self._type(name))
        if "path" in columns:
            self._columns["path"] = _joined(self._paths, pa.string())
        return pa.table({name: self._columns[name] for name in columns})

    def tombstones(self) -> pa.Table:
        return pa.concat_tables(_in_parallel(lambda part: part.removes(), self._parts))

    @property
    def parsed_columns(self) -> frozenset[str]:
        return self._parsed_columns

    @cached_property
    def _parsed_columns(self) -> frozenset[str]:
        found = set()
        for name in parsed.COLUMNS:
            kinds = {part.parsed_type(name) for part in self._parts_with_adds}
            if len(kinds) == 1 and None not in kinds:
                found.add(name)
        return frozenset(found)

    def parse(self, column: str, adds: pa.Table) -> pa.ChunkedArray:
        kind = self._type(column)
        if column == "stats_parsed":
            return parse_stats(adds.column("stats"), kind)
        return parsed.parse_partition_values(adds.column("partitionValues"), kind)

    def leaf(self, path: tuple[str, ...]) -> pa.ChunkedArray | None:
        if path[0] not in self.parsed_columns:
            return None
        found = [leaf for leaf in _in_parallel(lambda part: part.leaf(path), self._parts_with_adds) if leaf is not None]
        return _joined(found, found[0].type) if found else None  # all parts have the same type, so all or none

    def _type(self, column: str) -> Any:
        if column in ADD_SCHEMA.names:
            return ADD_SCHEMA.field(column).type
        if column not in self.parsed_columns:
            raise KeyError(column)
        return self._parts_with_adds[0].parsed_type(column)

    @cached_property
    def _parts(self) -> list[Part]:
        sizes = [sidecar.size_in_bytes for sidecar in self.sidecars]
        files = list(zip(self.sidecar_names, sizes, strict=True))
        return [*self._main, *_in_parallel(lambda file: open_part(self._store, SIDECARS + file[0], file[1]), files)]

    @cached_property
    def _all_paths(self) -> list[pa.ChunkedArray]:
        return _in_parallel(lambda part: part.adds(["path"])["path"], self._parts)

    @property
    def _paths(self) -> list[pa.ChunkedArray]:
        return [paths for paths in self._all_paths if len(paths)]

    @cached_property
    def _parts_with_adds(self) -> list[Part]:
        return [part for part, paths in zip(self._parts, self._all_paths, strict=True) if len(paths)]


def _joined(parts: Sequence[pa.ChunkedArray], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], kind)


def _in_parallel(work: Callable[[Any], T], items: Iterable[Any]) -> list[T]:
    items = list(items)
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(_PARALLEL_FILES, len(items)), "deltalite-log") as pool:
        return list(pool.map(work, items))
