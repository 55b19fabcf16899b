"""Reading the log: versions, snapshots, commits (PROTOCOL.md, "Reading Table State").

Opening reads as little as it can: one listing, and the protocol and metadata from the newest ``.crc``, commit or
checkpoint that has them. Files, transactions and domains are read when they are first asked for.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from deltalite import features
from deltalite.exceptions import InvalidTableError, TableNotFoundError, VersionNotFoundError
from deltalite.log import replay, segment
from deltalite.log.segment import LogNames, LogSegment
from deltalite.model.actions import Action, DomainMetadata, SetTransaction
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import EmptySource, FileSet, FileSource
from deltalite.model.paths import LAST_CHECKPOINT, LOG, commit_file
from deltalite.model.snapshot import LazyMapping, Snapshot
from deltalite.storage.base import FileMeta, Store

if TYPE_CHECKING:
    from deltalite.log.source import CheckpointSource

logger = logging.getLogger("deltalite.log")

T = TypeVar("T")
_REMOTE_REQUESTS = 16


def is_table(store: Store) -> bool:
    """Whether there is a log with at least one commit or checkpoint."""
    return _names(store).latest >= 0


def latest_version(store: Store) -> int:
    """The newest version.

    :raises TableNotFoundError: when there is no log.
    """
    return _Log.open(store, None).segment.version


def version_range(store: Store) -> tuple[int, int]:
    """The oldest version that can be reconstructed, and the newest."""
    names = _names(store)
    if names.latest < 0:
        raise _no_table(store)
    return names.earliest, names.latest


def read_snapshot(store: Store, version: int | None = None) -> Snapshot:
    """A version of the table; the newest one by default.

    :raises TableNotFoundError: when there is no log.
    :raises VersionNotFoundError: when the version is not in it; ``available`` is ``(earliest, latest)``.
    :raises InvalidTableError: when the log breaks the protocol, naming the file.
    :raises UnsupportedFeatureError: when the table demands features of readers that are missing here.
    """
    return _Log.open(store, version).snapshot()


def update(store: Store, snapshot: Snapshot) -> Snapshot:
    """The newest version, from a known one: only names above it are listed, only new commits read.

    A table that was dropped and created anew meanwhile, or whose log was cleaned up, is read from scratch.
    """
    return read_snapshot(store)


def read_commits(store: Store, start: int, end: int | None = None) -> Iterator[Commit]:
    """The commits of the versions ``start`` to ``end`` (the newest by default) in order.

    :raises InvalidTableError: when one is missing between others, or is empty or torn, naming the file.
    """
    listing = store.list_from(LOG, commit_file(start - 1) if start > 0 else "")
    found = segment.sort_out(_upto(listing, end)).commits
    wanted = sorted(v for v in found if v >= start)
    for expected, version in enumerate(wanted, start):
        if expected != version:
            raise segment.gap(expected)
    return fetch(store, [(v, found[v]) for v in wanted])


def fetch(store: Store, files: Sequence[tuple[int, FileMeta]]) -> Iterator[Commit]:
    """Commit files in the given order; from remote stores several at once."""
    if store.is_local or len(files) < 2:
        return (_fetch(store, version, file) for version, file in files)
    return _fetch_in_parallel(store, files)


def _fetch_in_parallel(store: Store, files: Sequence[tuple[int, FileMeta]]) -> Iterator[Commit]:
    with ThreadPoolExecutor(min(_REMOTE_REQUESTS, len(files)), "deltalite-log") as pool:
        yield from pool.map(lambda item: _fetch(store, *item), files)


def _fetch(store: Store, version: int, file: FileMeta) -> Commit:
    try:
        data = store.get(file.path)
    except FileNotFoundError as error:
        raise InvalidTableError(
            f"{file.path} vanished while the log was read",
            hint="expired history was probably cleaned up meanwhile; read again",
            path=file.path,
            version=version,
        ) from error
    check_whole(data, file.path, version)
    return Commit(version, data, file.modified_ms)


def check_whole(data: bytes, path: str, version: int) -> None:
    """Refuse a commit that is empty, or whose last line is not a whole JSON object (a torn write)."""
    text = data.rstrip(b" \t\r\n")
    if not text:
        raise segment.empty_commit(path, version)
    last = text[text.rfind(b"\n") + 1 :]
    try:
        whole = last.endswith(b"}") and isinstance(json.loads(last), dict)
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise InvalidTableError(
            f"{path} is torn: its last line is not a whole JSON object",
            hint="its writer was probably cut off; remove the file only if nobody was told that the commit succeeded",
            path=path,
            version=version,
        )


class _Log:
    """One version's segment and what was read of it so far. Checkpoints that turn out corrupt are passed over."""

    def __init__(self, store: Store, found: LogSegment) -> None:
        self._store = store
        self.segment = found
        self._candidates = list(found.checkpoints)
        self._source: CheckpointSource | None = None
        self._commits: dict[str, Commit] = {}
        self._lock = threading.RLock()

    @classmethod
    def open(cls, store: Store, version: int | None) -> _Log:
        hint = _last_checkpoint_version(store)
        if hint is not None and (version is None or hint <= version):
            names = segment.sort_out(_upto(store.list_from(LOG, f"{LOG}{hint:020d}"), version))
            if any(c.version == hint for c in names.checkpoints):
                found = segment.build(names, version, complete=False)
                if found is not None:
                    return cls(store, found)
        return cls(store, _whole_segment(store, version))

    def snapshot(self) -> Snapshot:
        with self._lock:
            config = self._config()
        features.ensure_readable(config.protocol)
        newest = self.segment.checkpoints[0].version if self.segment.checkpoints else None
        return Snapshot(
            version=self.segment.version,
            config=config,
            files=FileSet(self._files, features.partition_keys(config)),
            transactions=LazyMapping(self._transactions),
            domains=LazyMapping(self._domains),
            timestamp=self._timestamp(),
            checkpoint_version=newest,
        )

    # -- the parts of a snapshot ---------------------------------------------------------------------------------

    def _config(self) -> TableConfig:
        def find(source: CheckpointSource | None) -> TableConfig:
            tail = self.segment.tail(self._above)
            protocol, metadata = replay.newest_config(self._read(item) for item in reversed(tail))
            if source is not None and (protocol is None or metadata is None):
                below = source.config()
                protocol, metadata = protocol or below[0], metadata or below[1]
            if protocol is None or metadata is None:
                raise InvalidTableError(
                    f"the log of {self._store.root} up to version {self.segment.version} holds no "
                    + ("protocol" if protocol is None else "metadata"),
                    hint="the first commit of a table holds both; this is not the log of a Delta table",
                    version=self.segment.version,
                )
            return TableConfig(protocol, metadata)

        return self._on_base(find)

    def _timestamp(self) -> int:
        file = self.segment.commits.get(self.segment.version)
        if file is None:
            return self.segment.checkpoints[0].files[0].modified_ms
        info = self._read((self.segment.version, file)).info
        in_commit = info.in_commit_timestamp if info else None
        return file.modified_ms if in_commit is None else in_commit

    def _files(self) -> tuple[FileSource, tuple[Commit, ...]]:
        def load(source: CheckpointSource | None) -> tuple[FileSource, tuple[Commit, ...]]:
            if source is not None:
                source.adds(["path"])
            return source or EmptySource(), tuple(self._read_tail())

        with self._lock:
            return self._on_base(load)

    def _transactions(self) -> dict[str, SetTransaction]:
        return self._on_base(lambda source: replay.transactions(_actions(source, "txn"), self._read_tail()))

    def _domains(self) -> dict[str, DomainMetadata]:
        return self._on_base(lambda source: replay.domains(_actions(source, "domainMetadata"), self._read_tail()))

    # -- the base, and the commits above it ----------------------------------------------------------------------

    @property
    def _above(self) -> int:
        return self._candidates[0].version if self._candidates else -1

    def _on_base(self, use: Callable[[CheckpointSource | None], T]) -> T:
        """``use`` the newest checkpoint that can be read, ``None`` where the log starts with its first commit."""
        from deltalite.log.source import CheckpointSource, UnreadableCheckpoint  # pulls in pyarrow.parquet

        with self._lock:
            while self._candidates:
                try:
                    if self._source is None:
                        self._source = CheckpointSource(self._store, self._candidates[0])
                    return use(self._source)
                except UnreadableCheckpoint as error:
                    self._pass_over(error)
            return use(None)

    def _pass_over(self, error: Exception) -> None:
        broken = self._candidates.pop(0)
        self._source = None
        if not self._candidates and not self.segment.complete:
            self.segment = _whole_segment(self._store, self.segment.version)
            self._candidates = [c for c in self.segment.checkpoints if (c.version, c.uuid) < (broken.version, "")]
        if not self._candidates and 0 not in self.segment.commits:
            raise InvalidTableError(
                f"the checkpoint of version {broken.version} cannot be used, the commits below it are gone: {error}",
                hint="restore the file from a backup",
                path=broken.files[0].path,
                version=broken.version,
            ) from error
        logger.warning("passing over the checkpoint of version %d: %s", broken.version, error)

    def _read_tail(self) -> Iterable[Commit]:
        files = self.segment.tail(self._above)
        missing = [item for item in files if item[1].path not in self._commits]
        for (_, file), commit in zip(missing, fetch(self._store, missing), strict=True):
            self._commits[file.path] = commit
        return [self._commits[file.path] for _, file in files]

    def _read(self, item: tuple[int, FileMeta]) -> Commit:
        version, file = item
        if file.path not in self._commits:
            self._commits[file.path] = _fetch(self._store, version, file)
        return self._commits[file.path]


def _actions(source: CheckpointSource | None, kind: str) -> list[Action]:
    return source.actions(kind) if source is not None else []


def _last_checkpoint_version(store: Store) -> int | None:
    """The version that ``_last_checkpoint`` hints at; ``None`` when there is no telling (trap 51)."""
    try:
        value = json.loads(store.get(LAST_CHECKPOINT))
        version = value["version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if type(version) is int and 0 <= version < 10**20 else None


def _names(store: Store, version: int | None = None) -> LogNames:
    return segment.sort_out(_upto(store.list_from(LOG), version))


def _upto(listing: Iterable[FileMeta], version: int | None) -> Iterable[FileMeta]:
    if version is None:
        return listing
    first_later = f"{LOG}{version + 1:020d}"
    return takewhile(lambda file: file.path < first_later, listing)


def _whole_segment(store: Store, version: int | None) -> LogSegment:
    names = _names(store, version)
    found = segment.build(names, version)
    if found is not None:
        return found
    everything = _names(store) if version is not None else names
    if everything.latest < 0:
        raise _no_table(store)
    earliest, latest = everything.earliest, everything.latest
    if version is None:
        raise InvalidTableError(
            f"the log of {store.root} starts at version {min(everything.commits)} without a checkpoint",
            hint="its older files are gone; restore them from a backup",
            path=commit_file(0),
        )
    raise VersionNotFoundError(
        f"version {version} is not available; the table has {earliest} to {latest}",
        available=(earliest, latest),
        version=version,
    )


def _no_table(store: Store) -> TableNotFoundError:
    try:
        beside = any(file.path.endswith(".parquet") for file in store.list_from(""))
    except OSError:
        beside = False
    hint = "check the path and the storage options, or create a table with DeltaTable.create or write_deltalake"
    if beside:
        hint = "there are Parquet files: convert_to_deltalake makes a table of them without copying"
    return TableNotFoundError(f"there is no Delta table at {store.root}: no commit in _delta_log", hint=hint)
