"""FileSet: the live files of one version as Arrow columns, read on first use.

A file set is a base (a checkpoint's file actions, or another file set that is loaded already) and a tail of commits.
The newest action of a key decides (PROTOCOL.md, "Action Reconciliation"): an ``add`` makes the logical file live, a
``remove`` a tombstone. Keys are compared as written; only where a tombstone finds no partner are both sides decoded,
because writers differ in which characters of a path they escape.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.model.actions import AddFile, DeletionVector, RemoveFile
from deltalite.model.arrow import array, mask_array, to_numpy
from deltalite.model.codec import decode_commit, encode_value
from deltalite.model.commit import Commit
from deltalite.model.paths import canonical_path, commit_file

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
KEY_COLUMNS = ("path", "deletionVector")
_SEPARATOR = array(["\0"], pa.string())[0]
_MAX_CHUNKS = 32
_WORTH_BULK = 32_768
_LONGEST_LINE = 1 << 22


class FileSource(Protocol):
    """Where the file actions below the tail come from. Rows come in the same order on every call."""

    def adds(self, columns: Sequence[str]) -> pa.Table:
        """Columns of ``ADD_SCHEMA`` (and those of ``parsed_columns``) of its live files."""
        ...

    def tombstones(self) -> pa.Table:
        """Its tombstones, as ``REMOVE_SCHEMA``."""
        ...

    @property
    def parsed_columns(self) -> frozenset[str]:
        """Which of ``stats_parsed`` and ``partitionValues_parsed`` it can give."""
        ...

    def parse(self, column: str, adds: pa.Table) -> pa.ChunkedArray:
        """One of the parsed columns, of the source's type, made of the text that later adds carry."""
        ...

    def leaf(self, path: tuple[str, ...]) -> pa.ChunkedArray | None:
        """One leaf below a parsed column, ``None`` where there is none."""
        ...


class EmptySource:
    """The base of a table whose log starts with its first commit."""

    parsed_columns: frozenset[str] = frozenset()

    def adds(self, columns: Sequence[str]) -> pa.Table:
        return pa.Table.from_batches([], pa.schema([ADD_SCHEMA.field(name) for name in columns]))

    def tombstones(self) -> pa.Table:
        return pa.Table.from_batches([], REMOVE_SCHEMA)

    def parse(self, column: str, adds: pa.Table) -> pa.ChunkedArray:
        raise KeyError(column)

    def leaf(self, path: tuple[str, ...]) -> pa.ChunkedArray | None:
        return None


Segment = tuple[FileSource, tuple[Commit, ...]]


class FileSet:
    """The live files of one version.

    :param load: gives the base and the commits above it; called on first use.
    :param partition_keys: the keys of ``partitionValues`` in this version (physical column names).
    :param extra: commits above what ``load`` gives.
    """

    def __init__(
        self, load: Callable[[], Segment], partition_keys: Sequence[str] = (), extra: tuple[Commit, ...] = ()
    ) -> None:
        self._load = load
        self._partition_keys = tuple(partition_keys)
        self._extra = extra
        self._former: _State | None = None
        self._state: _State | None = None
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._leaves: dict[tuple[str, ...], pa.ChunkedArray | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a FileSet belongs to its process; send the table's handle or a scan plan instead")

    # -- what users of the snapshot ask --------------------------------------------------------------------------

    def table(self, columns: Iterable[str] = tuple(ADD_SCHEMA.names)) -> pa.Table:
        """The named columns of all live files, one row a file, in the same order on every call."""
        wanted = list(dict.fromkeys(columns))
        missing = [name for name in wanted if name not in self._columns]
        if missing:
            self._columns.update(self._resolved().columns(missing))
        return pa.table({name: self._columns[name] for name in wanted}) if wanted else pa.table({})

    @property
    def count(self) -> int:
        """How many files are live."""
        return self.table(["path"]).num_rows

    @property
    def parsed_columns(self) -> frozenset[str]:
        """Which of ``stats_parsed`` and ``partitionValues_parsed`` :meth:`table` has."""
        return self._resolved().base.parsed_columns

    def leaf(self, *path: str) -> pa.ChunkedArray | None:
        """One leaf of a parsed column, such as ``("stats_parsed", "minValues", "a")``, decoded without its neighbours.

        ``None`` where the log does not have it as a column; rows are those of :meth:`table`.
        """
        if path not in self._leaves:
            self._leaves[path] = self._resolved().leaf(path)
        return self._leaves[path]

    def tombstones(self) -> pa.Table:
        """Every tombstone that the log still holds, as ``REMOVE_SCHEMA``; expired ones too."""
        return self._resolved().tombstones()

    def add_files(self, mask: Any = None) -> list[AddFile]:
        """The files (where ``mask`` is true) as action objects; for few files, never on a hot path."""
        table = self.table()
        return add_files(table if mask is None else table.filter(mask))

    def advance(self, commit: Commit, partition_keys: Sequence[str] | None = None) -> FileSet:
        """The files of the next version; what is loaded already is not read again."""
        keys = self._partition_keys if partition_keys is None else tuple(partition_keys)
        load, former = self._load, self._former  # before the state: another thread may be about to resolve it
        if self._state is None:
            found = FileSet(load, keys, (*self._extra, commit))
            found._former = former
        else:
            found = FileSet(_resolved_already, keys, (commit,))
            found._former = self._state
        return found

    def _resolved(self) -> _State:
        load, former = self._load, self._former
        if self._state is None:
            if former is not None:
                self._state = former.followed_by(_Tail.of(self._extra, self._partition_keys))
            else:
                base, commits = load()
                self._state = _State(base, _Tail.of((*commits, *self._extra), self._partition_keys))
            self._load, self._former = _resolved_already, None
        return self._state


def _resolved_already() -> Segment:
    raise AssertionError("a file set that has its state needs no load")


class _State:
    """A base and the reconciled tail above it; ``live`` marks the files of the base that the tail leaves alone."""

    def __init__(self, base: FileSource, tail: _Tail, live: np.ndarray | None = None) -> None:
        self.base = base
        self._tail = tail
        self._live = live
        self._parsed_tail: dict[str, pa.ChunkedArray] = {}

    def followed_by(self, later: _Tail) -> _State:
        if later.keys is None:
            return self
        live = None if self._live is None else self._live & later.spares(self.base)
        found = _State(self.base, self._tail.followed_by(later), live)
        if live is not None:
            found._refuse_twice(live)
        return found

    def columns(self, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        below, above = self.base.adds(names), self._tail.adds
        found = {}
        for name in names:
            added = None
            if above.num_rows:
                added = above.column(name) if name in ADD_SCHEMA.names else self._parsed(name)
            found[name] = self._joined(below.column(name), added)
        return found

    def leaf(self, path: tuple[str, ...]) -> pa.ChunkedArray | None:
        below = self.base.leaf(path)
        if below is None:
            return None
        added = struct_leaf(self._parsed(path[0]), path[1:]) if self._tail.adds.num_rows else None
        return self._joined(below, added)

    def _joined(self, below: pa.ChunkedArray, above: pa.ChunkedArray | None) -> pa.ChunkedArray:
        live = self._base_live()
        if live is not None and not live.all():
            below = below.filter(mask_array(live))
        return below if above is None else pa.chunked_array([*below.chunks, *above.chunks], below.type)

    def _parsed(self, column: str) -> pa.ChunkedArray:
        if column not in self._parsed_tail:
            self._parsed_tail[column] = self.base.parse(column, self._tail.adds)
        return self._parsed_tail[column]

    def tombstones(self) -> pa.Table:
        old = self.base.tombstones()
        if old.num_rows and self._tail.keys is not None:
            old = old.filter(pc.invert(_is_in(file_keys(old), self._tail.keys)))
        return pa.concat_tables([old.cast(REMOVE_SCHEMA), self._tail.removes])

    def _base_live(self) -> np.ndarray | None:
        if self._live is None and self._tail.keys is not None:
            live = self._tail.spares(self.base)
            self._refuse_twice(live)
            self._live = live
        return self._live

    def _refuse_twice(self, live: np.ndarray) -> None:
        """A path that an add made live under one deletion vector may not stay live under another (trap 16)."""
        if not len(live) or not self._tail.adds.num_rows:
            return
        below = self.base.adds(KEY_COLUMNS)
        vectors = [t.column("deletionVector") for t in (below, self._tail.adds)]
        if all(v.null_count == len(v) for v in vectors):
            return
        again = to_numpy(_is_in(below.column("path"), self._tail.adds.column("path"))) & live
        if again.any():
            raise _live_twice(below.column("path")[int(np.flatnonzero(again)[0])].as_py())


class _Tail:
    """The file actions of commits, reconciled among themselves. ``order`` holds the versions, adds before removes."""

    def __init__(self, adds: pa.Table, removes: pa.Table, order: np.ndarray) -> None:
        n_adds = adds.num_rows
        self.keys: pa.Array | None = None
        self.adds, self.removes, self._order = adds, removes, order
        if not n_adds and not removes.num_rows:
            return
        add_keys, remove_keys = file_keys(adds), file_keys(removes)
        keys = pa.chunked_array([*add_keys.chunks, *remove_keys.chunks], pa.string())
        kept = _newest(keys, order)
        if removes.num_rows:
            kept[:n_adds] &= ~_removed_under_another_spelling(add_keys, remove_keys, order, n_adds)
        self.keys = pc.unique(keys)
        self._removed = remove_keys.filter(pc.invert(_is_in(remove_keys, add_keys)))
        if not kept.all():
            self.adds, self.removes = adds.filter(mask_array(kept[:n_adds])), removes.filter(mask_array(kept[n_adds:]))
            self._order = order[kept]
        _refuse_twice(self.adds)

    @classmethod
    def of(cls, commits: Sequence[Commit], partition_keys: Sequence[str]) -> _Tail:
        return cls(*parse_file_actions(commits, partition_keys))

    def followed_by(self, later: _Tail) -> _Tail:
        if self.keys is None:
            return later
        n, m = self.adds.num_rows, later.adds.num_rows
        order = np.concatenate([self._order[:n], later._order[:m], self._order[n:], later._order[m:]])
        adds, removes = pa.concat_tables([self.adds, later.adds]), pa.concat_tables([self.removes, later.removes])
        if adds.column("path").num_chunks > _MAX_CHUNKS or removes.column("path").num_chunks > _MAX_CHUNKS:
            adds, removes = adds.combine_chunks(), removes.combine_chunks()
        return _Tail(adds, removes, order)

    def spares(self, base: FileSource) -> np.ndarray:
        """Which files of a base no action of this tail replaces."""
        keys = file_keys(base.adds(KEY_COLUMNS))
        if self.keys is None or not len(keys):
            return np.ones(len(keys), dtype=bool)
        replaced = to_numpy(_is_in(keys, self.keys))
        if len(self._removed):
            orphans = self._removed.filter(pc.invert(_is_in(self._removed, keys.filter(mask_array(replaced)))))
            if len(orphans):
                replaced |= _spelled_otherwise(keys, orphans)
        return ~replaced


def _spelled_otherwise(keys: pa.ChunkedArray, orphans: pa.ChunkedArray) -> np.ndarray:
    """Which keys denote a file that a tombstone names in another spelling."""
    wanted = _canonical(orphans)
    found = to_numpy(_is_in(keys, wanted))
    encoded = to_numpy(_is_encoded(keys))
    if encoded.any():
        found[encoded] |= to_numpy(_is_in(_canonical(keys.filter(mask_array(encoded))), wanted))
    return found


def _is_encoded(keys: pa.ChunkedArray) -> Any:
    """Whether a path may have another spelling: it holds a percent sign or a scheme."""
    return pc.match_substring_regex(keys, "%|^[A-Za-z]+:")


def _removed_under_another_spelling(
    add_keys: pa.ChunkedArray, remove_keys: pa.ChunkedArray, order: np.ndarray, n_adds: int
) -> np.ndarray:
    lone = pc.invert(_is_in(remove_keys, add_keys))
    lone_keys = remove_keys.filter(lone)
    none = np.zeros(n_adds, dtype=bool)
    if not len(lone_keys) or not (_any(_is_encoded(lone_keys)) or _any(_is_encoded(add_keys))):
        return none
    last: dict[str, int] = {}
    for key, at in zip(_canonical(lone_keys).to_pylist(), order[n_adds:][to_numpy(lone)], strict=True):
        last[key] = max(int(at), last.get(key, -1))
    names = _canonical(add_keys).to_pylist()
    return np.fromiter((last.get(k, -1) > at for k, at in zip(names, order[:n_adds], strict=True)), bool, n_adds)


def _newest(keys: pa.ChunkedArray, order: np.ndarray) -> np.ndarray:
    """Which rows are the newest of their key."""
    codes = to_numpy(keys.combine_chunks().dictionary_encode().indices)
    by_age = np.argsort(order, kind="stable")
    last = np.empty(len(codes) + 1, dtype=np.int64)
    last[codes[by_age]] = by_age
    found = np.zeros(len(codes), dtype=bool)
    found[last[np.unique(codes)]] = True
    return found


def _refuse_twice(adds: pa.Table) -> None:
    paths = adds.column("path")
    vectors = adds.column("deletionVector")
    if vectors.null_count < len(vectors) and len(pc.unique(paths)) != adds.num_rows:
        counts = pc.value_counts(paths)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), array([1], pa.int64())[0]))
        raise _live_twice(twice[0].as_py())


def _live_twice(path: str) -> InvalidTableError:
    return InvalidTableError(
        f"the log holds {path!r} as live under two deletion vectors",
        hint="a writer forgot to remove the file under its former deletion vector",
        path=path,
    )


def file_keys(table: pa.Table) -> pa.ChunkedArray:
    """The key of every row's logical file: its path, and the deletion vector's id behind a zero byte if it has one."""
    paths, vectors = table.column("path"), table.column("deletionVector")
    if vectors.null_count == len(vectors):
        return paths
    return pa.chunked_array([_file_keys(p, v) for p, v in zip(paths.chunks, vectors.chunks, strict=True)], pa.string())


def _file_keys(paths: pa.Array, vectors: pa.StructArray) -> pa.Array:
    storage, place, offset = (vectors.field(name) for name in ("storageType", "pathOrInlineDv", "offset"))
    at = pc.binary_join_element_wise(_EMPTY, offset.cast(pa.string()), _AT)
    suffix = pc.binary_join_element_wise(storage, place, _EMPTY)
    suffix = pc.binary_join_element_wise(suffix, pc.fill_null(at, _EMPTY), _EMPTY)
    keyed = pc.binary_join_element_wise(paths, suffix, _SEPARATOR)
    present = pc.and_(vectors.is_valid(), storage.is_valid())
    return pc.if_else(present, keyed, paths)


_EMPTY = array([""], pa.string())[0]
_AT = array(["@"], pa.string())[0]


def _canonical(keys: Any) -> pa.ChunkedArray:
    return pa.chunked_array([array([_canonical_key(key) for key in keys.to_pylist()], pa.string())])


def _canonical_key(key: str) -> str:
    path, zero, vector = key.partition("\0")
    return canonical_path(path) + zero + vector


def _is_in(values: Any, among: Any) -> Any:
    return pc.is_in(values, value_set=among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among)


def _any(mask: Any) -> bool:
    return bool(pc.any(mask).as_py())


def struct_leaf(structs: pa.ChunkedArray, path: Sequence[str]) -> pa.ChunkedArray:
    """A leaf of a column of structs, null wherever one of the structs around it is."""
    kind = structs.type
    at = []
    for name in path:
        at.append(kind.get_field_index(name))
        kind = kind.field(at[-1]).type
    return pa.chunked_array([pc.struct_field(chunk, at) for chunk in structs.chunks], kind)


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
    if b'"tags":{"' in data or not _is_utf8(data):
        return None
    lines = [_count_lines(commit.data) for commit in commits]
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
    if table.num_rows != sum(lines):
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
