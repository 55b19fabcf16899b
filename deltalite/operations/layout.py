"""The live files as the operations on their layout see them: size, deleted rows, partition and cube."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.bind import bind_predicate, conjunction
from deltalite.expr.convert import to_expr
from deltalite.expr.sql import to_sql
from deltalite.features.clustering import CUBE_COLUMNS, CUBE_ID, PROVIDER
from deltalite.model.arrow import mask_array, to_numpy
from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.columns import find_column
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.files import struct_leaf
from deltalite.model.pending import ReadSet
from deltalite.model.properties import TARGET_FILE_SIZE, byte_size
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import StructType
from deltalite.model.write_spec import DEFAULT_TARGET_FILE_SIZE, WriteSpec
from deltalite.operations.delete import reads_of
from deltalite.scan import plan as planning
from deltalite.scan.matching import live_rows, partition_column
from deltalite.write.options import WriterProperties

Path = tuple[str, ...]
GroupKey = tuple[Any, ...]
ORDER_ID, ORDER_COLUMNS = "deltalite.zorder.id", "deltalite.zorder.columns"


@dataclass(frozen=True, slots=True)
class LayoutRequest:
    """What OPTIMIZE may touch, and how much of it.

    :param where: only files that may hold a row that satisfies it.
    :param partition_filters: the same in deltalake's form; both must hold.
    :param target_size: bytes that a file should have; ``None`` asks the table (``delta.targetFileSize``, else 128 MiB).
    :param min_file_size: files below are small; ``None`` is half of the target.
    :param max_bytes: bytes of files to rewrite at most.
    :param max_files: files to rewrite at most.
    :param threads: files read at a time.
    :param seconds: begin nothing more in a commit after so long.
    """

    where: Any = None
    partition_filters: Any = None
    target_size: int | str | None = None
    min_file_size: int | str | None = None
    max_bytes: int | str | None = None
    max_files: int | None = None
    threads: int | None = None
    seconds: float | None = None
    writer_properties: WriterProperties | None = None
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Cube:
    """Files that were put into one order together.

    :param columns: dotted names of the columns by which they were.
    :param tags: what marks the files; new ones that take their place need them too.
    :param provider: the clustering implementation, ``None`` for a Z-order that somebody asked for.
    """

    id: str
    columns: tuple[str, ...]
    provider: str | None
    tags: Mapping[str, str] = field(compare=False)


class LiveLayout:
    """The live files of a version, one row each, in the order of the log."""

    def __init__(self, base: Snapshot) -> None:
        self.base = base
        self._files = base.files
        self.count = base.files.count

    @cached_property
    def sizes(self) -> np.ndarray:
        """Bytes of each file."""
        return to_numpy(self._files.table(["size"]).column("size")).astype(np.int64)

    @cached_property
    def deleted_share(self) -> np.ndarray:
        """Share of the rows of each file that its deletion vector marks; 1 where the rows are not known."""
        gone = struct_leaf(self._files.table(["deletionVector"]).column("deletionVector"), ("cardinality",))
        marked = to_numpy(gone.is_valid())
        deleted = np.where(marked, to_numpy(gone), 0)
        left = live_rows(self.base.config, self._files)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(left < 0, 1.0, deleted / np.maximum(1, deleted + left))
        return np.where(deleted > 0, share, 0.0)

    @cached_property
    def partitions(self) -> np.ndarray:
        """A number for the partition of each file."""
        found = np.zeros(self.count, np.int64)
        for name in self.base.config.partition_columns if self.count else ():
            files = self._files.table(["partitionValues"])
            values = partition_column(self.base.config, files, name).combine_chunks()
            encoded = values.dictionary_encode("encode").indices
            codes = to_numpy(encoded).astype(np.int64)
            found = np.unique(np.column_stack([found, codes]), axis=0, return_inverse=True)[1].reshape(-1)
        return found

    @cached_property
    def cubes(self) -> tuple[np.ndarray, list[Cube | None]]:
        """A number for the cube of each file, and the cubes; files of number 0 are in none."""
        numbers = np.zeros(self.count, np.int64)
        table = self._files.table(["tags", "clusteringProvider"])
        told = pc.or_(table.column("tags").is_valid(), table.column("clusteringProvider").is_valid())
        rows = np.flatnonzero(to_numpy(told))
        if not len(rows):
            return numbers, [None]
        cubes: dict[Cube | None, int] = {None: 0}
        for row, entry in zip(rows.tolist(), table.filter(told).to_pylist(), strict=True):
            cube = _cube_of(dict(entry["tags"] or ()), entry["clusteringProvider"])
            numbers[row] = cubes.setdefault(cube, len(cubes))
        return numbers, list(cubes)

    def selected(self, predicate: BoundExpr | None) -> np.ndarray:
        """Which files may hold a row that satisfies a predicate."""
        if predicate is None:
            return np.ones(self.count, bool)
        return to_numpy(planning.kept_files(self.base, predicate)).copy()

    def groups(self, mask: np.ndarray) -> list[tuple[GroupKey, np.ndarray]]:
        """The chosen files by partition and cube; groups and the files of each in the order of the log."""
        rows = np.flatnonzero(mask)
        keys = np.column_stack([self.partitions[rows], self.cubes[0][rows]])
        _, first, codes = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        codes = codes.reshape(-1)
        by_age = np.argsort(first)
        order = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(first)))
        starts = ends - np.bincount(codes, minlength=len(first))
        return [(tuple(keys[first[g]].tolist()), rows[order[starts[g] : ends[g]]]) for g in by_age.tolist()]


def _cube_of(tags: dict[str, str], provider: str | None) -> Cube | None:
    for id_key, columns_key in ((CUBE_ID, CUBE_COLUMNS), (ORDER_ID, ORDER_COLUMNS)):
        if id_key in tags and columns_key in tags:
            try:
                columns = tuple(map(str, json.loads(tags[columns_key])))
            except (ValueError, TypeError):
                continue
            return Cube(tags[id_key], columns, provider, tags)
    return Cube("", (), provider, tags) if provider not in (None, PROVIDER) else None


# -- requests ----------------------------------------------------------------------------------------------------------


def bytes_of(name: str, value: int | str | None) -> int | None:
    """
    :raises InvalidArgumentError: when the value is no positive size.
    """
    if value is None:
        return None
    try:
        size = byte_size(value) if isinstance(value, str) else int(value)
    except ValueError:
        size = 0
    if size <= 0:
        raise InvalidArgumentError(f"{name} is a positive number of bytes, or a size such as '128MB', not {value!r}")
    return size


def target_size(request: LayoutRequest, config: TableConfig) -> int:
    """Bytes that files should have."""
    asked = bytes_of("target_size", request.target_size)
    return asked or config.get(TARGET_FILE_SIZE) or DEFAULT_TARGET_FILE_SIZE


def predicate_of(request: LayoutRequest, config: TableConfig) -> BoundExpr | None:
    """The condition on files.

    :raises ExpressionError: when it does not fit the table.
    """
    given = [part for part in (request.where, request.partition_filters or None) if part is not None]
    bound = [bind_predicate(to_expr(part, config.schema), config.schema) for part in given]
    return None if not bound else bound[0] if len(bound) == 1 else conjunction(bound)


def parameters_of(
    predicate: BoundExpr | None, target: int, order: Sequence[str] = (), cluster: Sequence[str] = ()
) -> dict[str, Any]:
    """How ``commitInfo`` tells of an OPTIMIZE."""
    return {
        "predicate": [] if predicate is None else [to_sql(predicate.expr)],
        "zOrderBy": list(order),
        "clusterBy": list(cluster),
        "auto": False,
        "targetSize": target,
    }


def ordered_columns(schema: StructType, names: Sequence[str]) -> tuple[Path, ...]:
    """Columns to lay rows out by, in the schema's spelling: top-level ones, or fields of structs by dotted names.

    :raises InvalidArgumentError: for unknown, repeated or unordered ones.
    """
    found = []
    for name in names:
        path, kind = find_column(schema, name)
        if isinstance(kind, StructType) or kind.type in ("array", "map", "variant", "void"):
            raise InvalidArgumentError(f"rows cannot be ordered by {name!r} of type {kind.type}", column=name)
        found.append(path)
    if twice := sorted({".".join(path) for path in found if found.count(path) > 1}):
        raise InvalidArgumentError(f"columns {twice} are named twice", columns=twice)
    return tuple(found)


@dataclass
class Allowance:
    """What is left of the budgets of one operation."""

    bytes: int | None
    files: int | None

    @classmethod
    def of(cls, request: LayoutRequest) -> Allowance:
        if request.max_files is not None and request.max_files <= 0:
            raise InvalidArgumentError(f"max_files is a positive number, not {request.max_files}")
        return cls(bytes_of("max_bytes", request.max_bytes), request.max_files)

    def first(self, rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """As many of the files, from the first one on, as may still be rewritten."""
        count = len(rows)
        if self.files is not None:
            count = min(count, self.files)
        if self.bytes is not None:
            count = min(count, int(np.searchsorted(np.cumsum(sizes[rows]), self.bytes, side="right")))
        return rows[:count]

    def take(self, rows: np.ndarray, sizes: np.ndarray) -> None:
        if self.files is not None:
            self.files -= len(rows)
        if self.bytes is not None:
            self.bytes -= int(sizes[rows].sum())


def rewrite_of(
    live: LiveLayout,
    groups: Sequence[FileGroup],
    spec: WriteSpec,
    request: LayoutRequest,
    parameters: Mapping[str, Any],
    *,
    operation: str = "OPTIMIZE",
    order: tuple[Path, ...] = (),
    considered: int | None = None,
) -> Rewrite:
    """The change that rewrites some groups, given by rows of the live files."""
    mask = np.zeros(live.count, bool)
    for group in groups:
        mask[group.files] = True
    plan = planning.plan(live.base, columns=(), keep=mask_array(mask))
    place = np.cumsum(mask) - 1
    return Rewrite(
        config=live.base.config,
        plan=plan,
        spec=spec,
        operation=operation,
        parameters=parameters,
        reads=ReadSet(files=reads_of(plan, None).files),
        groups=tuple(FileGroup(place[g.files], g.tags, g.clustering_provider) for g in groups),
        order=order,
        seconds=request.seconds,
        threads=request.threads,
        considered=live.count if considered is None else considered,
        progress=request.progress,
    )
