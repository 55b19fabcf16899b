"""FileSet: the live files of one version as Arrow columns, read on first use.

A file set is a base (a checkpoint's file actions) and a tail of commits. The newest action of a key decides
(PROTOCOL.md, "Action Reconciliation"): an ``add`` makes the logical file live, a ``remove`` a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidTableError
from deltalite.model.actions import AddFile
from deltalite.model.arrow import array, mask_array, to_numpy
from deltalite.model.commit import Commit
from deltalite.model.file_actions import (
    ADD_SCHEMA,
    REMOVE_SCHEMA,
    add_files,
    add_table,
    deletion_vector,
    parse_file_actions,
    remove_of,
    remove_table,
    struct_leaf,
)
from deltalite.model.file_keys import KEY_COLUMNS, chained, file_keys

__all__ = [
    "ADD_SCHEMA",
    "REMOVE_SCHEMA",
    "EmptySource",
    "FileSet",
    "FileSource",
    "add_files",
    "add_table",
    "deletion_vector",
    "file_keys",
    "remove_of",
    "remove_table",
    "struct_leaf",
]

_MAX_CHUNKS = 32


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

    def minus(self, other: FileSet) -> list[AddFile]:
        """The files that another version lacks; a file under another deletion vector is another file."""
        columns = ["path", "deletionVector"]
        theirs = file_keys(other.table(columns))
        lacking = pc.invert(pc.is_in(file_keys(self.table(columns)), value_set=_combined(theirs)))
        return self.add_files(lacking)

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

    def __init__(self, base: FileSource, tail: _Tail, live: pa.ChunkedArray | None = None) -> None:
        self.base = base
        self._tail = tail
        self._live = live
        self._parsed_tail: dict[str, pa.ChunkedArray] = {}
        self._checked = False

    def followed_by(self, later: _Tail) -> _State:
        if not len(later.keys):
            return self
        live = None
        if self._live is not None:
            live = pc.and_(self._live, later.spares(self._base_keys()))
        return _State(self.base, self._tail.followed_by(later), live)

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

    def tombstones(self) -> pa.Table:
        old = self.base.tombstones()
        if len(self._tail.keys):
            old = old.filter(self._tail.spares(file_keys(old)))
        return pa.concat_tables([old, self._tail.removes])

    def _joined(self, below: pa.ChunkedArray, above: pa.ChunkedArray | None) -> pa.ChunkedArray:
        live = self._base_live()
        if live is not None and len(below):  # older pyarrows abort when they filter a map column without chunks
            below = below.filter(live)
        return below if above is None else pa.chunked_array([*below.chunks, *above.chunks], below.type)

    def _parsed(self, column: str) -> pa.ChunkedArray:
        if column not in self._parsed_tail:
            self._parsed_tail[column] = self.base.parse(column, self._tail.adds)
        return self._parsed_tail[column]

    def _base_live(self) -> pa.ChunkedArray | None:
        """``None`` for all of them."""
        if not len(self._tail.keys):
            return None
        if self._live is None:
            self._live = self._tail.spares(self._base_keys())
        if not self._checked:
            self._refuse_twice(self._live)
            self._checked = True
        return self._live

    def _base_keys(self) -> pa.ChunkedArray:
        return file_keys(self.base.adds(KEY_COLUMNS))

    def _refuse_twice(self, live: pa.ChunkedArray) -> None:
        """A path that an add made live under one deletion vector may not stay live under another (trap 16)."""
        below, above = self.base.adds(KEY_COLUMNS), self._tail.adds
        if not above.num_rows or all(
            v.null_count == len(v) for v in (below.column("deletionVector"), above.column("deletionVector"))
        ):
            return
        again = pc.is_in(below.column("path"), value_set=above.column("path").combine_chunks())
        twice = below.column("path").filter(pc.and_(again, live))
        if len(twice):
            raise _live_twice(twice[0].as_py())


class _Tail:
    """The file actions of commits, reconciled among themselves; ``keys`` are all the files that they speak of."""

    def __init__(self, adds: pa.Table, removes: pa.Table, keys: pa.ChunkedArray) -> None:
        self.adds = adds
        self.removes = removes
        self.keys = keys

    @classmethod
    def of(cls, commits: Sequence[Commit], partition_keys: Sequence[str]) -> _Tail:
        adds, removes, order = parse_file_actions(commits, partition_keys)
        keys = chained(file_keys(adds), file_keys(removes))
        newest = _newest(keys, order)
        if not newest.all():
            n = adds.num_rows
            adds, removes = adds.filter(mask_array(newest[:n])), removes.filter(mask_array(newest[n:]))
        _refuse_twice(adds)
        return cls(adds, removes, keys)

    def followed_by(self, later: _Tail) -> _Tail:
        adds = _concat(self.adds.filter(later.spares(file_keys(self.adds))), later.adds)
        removes = _concat(self.removes.filter(later.spares(file_keys(self.removes))), later.removes)
        _refuse_twice(adds)
        keys = pc.unique(chained(self.keys, later.keys))
        return _Tail(adds, removes, pa.chunked_array([keys]))

    def spares(self, keys: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which files, of those that were there before these commits, no action replaces."""
        return pc.invert(pc.is_in(keys, value_set=self.keys.combine_chunks()))


def _newest(keys: pa.ChunkedArray, order: np.ndarray) -> np.ndarray:
    """Which actions are the newest of their key."""
    if not len(keys):  # pyarrow imports pandas to combine no chunks
        return np.zeros(0, dtype=bool)
    codes = to_numpy(keys.combine_chunks().dictionary_encode().indices)
    by_age = np.lexsort((order, codes))
    found = np.ones(len(codes), dtype=bool)
    found[by_age[:-1]] = codes[by_age[1:]] != codes[by_age[:-1]]
    return found


def _concat(old: pa.Table, new: pa.Table) -> pa.Table:
    found = pa.concat_tables([old, new])
    return found.combine_chunks() if found.column("path").num_chunks > _MAX_CHUNKS else found


def _refuse_twice(adds: pa.Table) -> None:
    paths, vectors = adds.column("path"), adds.column("deletionVector")
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


def _combined(keys: pa.ChunkedArray) -> pa.Array:
    return keys.chunk(0) if keys.num_chunks == 1 else keys.combine_chunks()
