"""The log's statistics as what they prove: bounds that no value of a file lies outside of.

Writers cut text to a prefix and times to milliseconds, some leave the cut maximum bare, zones with seconds in their
offset lose them, and a file keeps the statistics of the type that its column had when it was written. Every such loss
is made good by widening (protocol traps 39 to 46), so that pruning by these bounds never loses a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.prune import ColumnStats
from deltalite.features import partition_keys, physical_schema
from deltalite.model import partition
from deltalite.model.arrow import array, scalar, to_numpy, type_to_arrow
from deltalite.model.config import TableConfig
from deltalite.model.files import FileSet, struct_leaf
from deltalite.model.properties import STATS_PREFIX
from deltalite.model.stats import MAX, MIN, NULLS, ROWS, has_bounds, parse_stats, stats_type
from deltalite.model.tasks import FILE_NAME
from deltalite.model.types import DataType, Field, StructType

Path = tuple[str, ...]
_PARSED_FAITHFULLY = ("byte", "short", "integer", "long", "boolean", "date")


class LogFiles(Protocol):
    """Rows of the log: some live files, a column at a time."""

    @property
    def length(self) -> int: ...

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of ``ADD_SCHEMA``."""
        ...

    def leaf(self, path: Path) -> pa.ChunkedArray | None:
        """A leaf below ``stats_parsed`` or ``partitionValues_parsed``, where the log has it."""
        ...


class TableFiles:
    """The files in a table with columns of ``ADD_SCHEMA``."""

    def __init__(self, files: pa.Table) -> None:
        self._files = files
        self.length = files.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        return self._files.column(name)

    def leaf(self, path: Path) -> pa.ChunkedArray | None:
        return None


class LiveFiles:
    """The files of a version, or those of them that a mask keeps."""

    def __init__(self, files: FileSet, mask: pa.BooleanArray | None = None) -> None:
        self._files = files
        self._mask = mask
        self.length = files.count if mask is None else mask.true_count

    def column(self, name: str) -> pa.ChunkedArray:
        return self._kept(self._files.table([name]).column(name))

    def leaf(self, path: Path) -> pa.ChunkedArray | None:
        found = self._files.leaf(*path)
        return None if found is None else self._kept(found)

    def _kept(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        return values if self._mask is None else values.filter(self._mask)


class LogStats:
    """The statistics of files in the log, as :class:`deltalite.expr.prune.FileStats`.

    :param wanted: logical paths of the columns that will be asked for; their JSON is parsed together, once.
    :param known: statistics found before, by logical path; filled with what is found now.
    """

    def __init__(
        self,
        config: TableConfig,
        files: LogFiles,
        wanted: Iterable[Path] = (),
        known: dict[Path, ColumnStats | None] | None = None,
    ) -> None:
        self._config = config
        self._files = files
        self._known = {} if known is None else known
        columns = {path: self._stored(path) for path in wanted if path not in self._known}
        self._wanted = {path: stored for path, stored in columns.items() if stored is not None}

    @property
    def length(self) -> int:
        return self._files.length

    @cached_property
    def num_records(self) -> pa.Array:
        """Rows of every file before deletion."""
        if (found := self._known.get(())) is None:
            counts = self._raw((ROWS,), pa.int64())
            found = self._known[()] = ColumnStats(null_count=counts)
        assert found.null_count is not None
        return found.null_count

    def column(self, path: Path) -> ColumnStats | None:
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def knows(self, paths: Iterable[Path]) -> bool:
        """Whether the statistics of all these columns are at hand."""
        return all(path in self._known for path in paths)

    def _find(self, path: Path) -> ColumnStats | None:
        if path[:1] in self._partitions:
            values = partition_values(self._config, self._files, path[0]) if len(path) == 1 else None
            return None if values is None else ColumnStats(values, values, exact=True)
        if path == (FILE_NAME,) and self._config.schema.get(FILE_NAME) is None:
            paths = _one(self._files.column("path"), pa.string())
            return ColumnStats(paths, paths, exact=True)
        stored = self._wanted.get(path) or self._stored(path)
        if stored is None:
            return None
        self._wanted.setdefault(path, stored)
        physical, field = stored
        counts = self._raw((NULLS, *physical), pa.int64())
        if not has_bounds(field.type):
            return ColumnStats(null_count=counts)
        kind = type_to_arrow(field.type)
        low, high = self._raw((MIN, *physical), kind), self._raw((MAX, *physical), kind)
        low, high = widened(low, high, field, self._config.get(STATS_PREFIX))
        return ColumnStats(low, high, counts)

    @cached_property
    def _partitions(self) -> set[Path]:
        return {(name,) for name in self._config.partition_columns}

    def _stored(self, path: Path) -> tuple[Path, Field] | None:
        """The physical path of a leaf column and its logical field; ``None`` for what has no statistics."""
        logical: Any = self._config.schema
        physical: Any = physical_schema(self._config)
        found, field = [], None
        for name in path:
            if not isinstance(logical, StructType) or name not in logical.names:
                return None
            at = logical.names.index(name)
            field = logical.fields[at]
            found.append(physical.fields[at].name)
            logical, physical = field.type, physical.fields[at].type
        return None if field is None or isinstance(field.type, StructType) else (tuple(found), field)

    def _raw(self, path: Path, kind: pa.DataType) -> pa.Array:
        """A leaf of the statistics as it is written: from columns where the log has them, else from JSON."""
        parsed = self._files.leaf(("stats_parsed", *path))
        if parsed is not None and (found := _as_type(parsed, kind)) is not None:
            return found
        struct = self._from_json
        if type_in(struct.type, path) is None:
            return pa.nulls(self.length, kind)
        return _one(struct_leaf(struct, path), kind)

    @cached_property
    def _from_json(self) -> pa.ChunkedArray:
        columns = [physical for physical, _ in self._wanted.values()]
        kind = stats_type(physical_schema(self._config), columns)
        return parse_stats(self._files.column("stats"), kind)


def type_in(kind: pa.DataType, path: Path) -> pa.DataType | None:
    for name in path:
        index = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
        if index < 0:
            return None
        kind = kind.field(index).type
    return kind


def _as_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.Array | None:
    if pa.types.is_timestamp(values.type) and values.type.unit == "ns":
        return None  # made of INT96, whose range it does not have
    try:
        return _one(values if values.type == kind else values.cast(kind), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _one(values: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, kind)


# -- partition values ----------------------------------------------------------------------------------------------


def partition_values(config: TableConfig, files: LogFiles, name: str) -> pa.Array:
    """The typed values of a partition column, one a file.

    Values that a checkpoint has parsed are taken for types of which nobody parses the text in another way than
    :mod:`deltalite.model.partition` does.
    """
    at = config.partition_columns.index(name)
    key, field = partition_keys(config)[at], config.partition_fields[at]
    kind = type_to_arrow(field.type)
    if field.type.type in _PARSED_FAITHFULLY and (parsed := files.leaf(("partitionValues_parsed", key))) is not None:
        found = _as_type(parsed, kind)
        if found is not None:
            return found
    texts = [_looked_up(maps, scalar(key, pa.string())) for maps in files.column("partitionValues").chunks]
    return _one(pa.chunked_array([partition.parse_column(text, field.type) for text in texts], kind), kind)


def _looked_up(maps: pa.MapArray, key: pa.Scalar) -> pa.Array:
    """The value of a key in every map; by position where all maps have the same keys in the same order, as is usual."""
    offsets = np.frombuffer(maps.buffers()[1], np.int32)[maps.offset : maps.offset + len(maps) + 1]
    width = int(offsets[1] - offsets[0]) if len(maps) and not maps.null_count else 0
    if width and (np.diff(offsets) == width).all():
        first, entries = int(offsets[0]), len(maps) * width
        hits = to_numpy(pc.equal(maps.keys.slice(first, entries), key)).reshape(-1, width)
        at = int(hits[0].argmax())
        if hits[:, at].all():
            items = maps.items.slice(first, entries)
            return items if width == 1 else items.take(array(range(at, entries, width), pa.int64()))
    return pc.map_lookup(maps, query_key=key, occurrence="first")


# -- bounds that hold ----------------------------------------------------------------------------------------------

_MS, _OFFSET_SECONDS = 1_000, 59_000_000
_1973 = 94_694_400_000_000
_INT64_MAX, _INT64_MIN = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_LAST_CHARACTER = array(["\U0010ffff"], pa.string())[0]
_EMPTY = array([""], pa.string())[0]
_TIE_BREAKERS = "[\x7f\U0010ffff]\\z"


def widened(low: pa.Array, high: pa.Array, field: Field, prefix: int) -> tuple[pa.Array, pa.Array]:
    """Bounds of a column that hold for every value, from those that a writer left.

    :param prefix: number of characters to which the table's writers cut text.
    """
    name = field.type.type
    if name in ("timestamp", "timestamp_ntz"):
        return _earlier(low), _later(high)
    if name == "string":
        return low, _longer(high, min(prefix, 32))
    if name == "double" and _was_float(field):
        return _next_float(low, -np.inf), _next_float(high, np.inf)
    return low, high


def _earlier(low: pa.Array) -> pa.Array:
    """Some zones had seconds in their offset until 1972, which writers drop; nor do all of them round times down."""
    micros = to_numpy(low)
    old = (micros < _1973) & (micros > _INT64_MIN + _OFFSET_SECONDS)
    return _like(np.where(old, micros - _OFFSET_SECONDS, micros), low)


def _later(high: pa.Array) -> pa.Array:
    micros = to_numpy(high)
    more = np.where(micros < _1973, _OFFSET_SECONDS, _MS)
    return _like(np.where(micros > _INT64_MAX - more, _INT64_MAX, micros + more), high)


def _like(numbers: np.ndarray, nulls: pa.Array) -> pa.Array:
    """Numbers as an array of the type, and with the nulls, of another one."""
    values = pa.Array.from_buffers(nulls.type, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])
    return pc.if_else(nulls.is_valid(), values, pa.nulls(len(values), nulls.type)) if nulls.null_count else values


def _longer(high: pa.Array, prefix: int) -> pa.Array:
    """A maximum that may be a bare prefix, made greater than all texts that begin with it."""
    bare = pc.and_(
        pc.greater_equal(pc.utf8_length(high), array([prefix], pa.int32())[0]),
        pc.invert(pc.match_substring_regex(high, _TIE_BREAKERS)),
    )
    return pc.if_else(bare, pc.binary_join_element_wise(high, _LAST_CHARACTER, _EMPTY), high)


def _was_float(field: Field) -> bool:
    changes = field.metadata.get("delta.typeChanges")
    return isinstance(changes, list) and any(isinstance(c, Mapping) and c.get("fromType") == "float" for c in changes)


def _next_float(values: pa.Array, towards: float) -> pa.Array:
    """0.1 as the text of a float is not quite what the float becomes as a double."""
    with np.errstate(over="ignore"):
        numbers = np.nextafter(to_numpy(values).astype(np.float32), np.float32(towards)).astype(np.float64)
    return _like(numbers, values)


# -- what is known of a version ------------------------------------------------------------------------------------

_KNOWN: WeakKeyDictionary[FileSet, dict[Path, ColumnStats | None]] = WeakKeyDictionary()


def known_stats(files: FileSet) -> dict[Path, ColumnStats | None]:
    """What scans of a version have found of its statistics; kept as long as its file list is."""
    return _KNOWN.setdefault(files, {})


def leaf_columns(schema: StructType, above: Path = ()) -> list[tuple[Path, DataType]]:
    """The columns that may have statistics: struct fields of any depth, nothing inside arrays and maps."""
    found: list[tuple[Path, DataType]] = []
    for field in schema.fields:
        path = (*above, field.name)
        found += leaf_columns(field.type, path) if isinstance(field.type, StructType) else [(path, field.type)]
    return found
