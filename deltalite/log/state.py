"""LogState: what the files of a segment say, each read at most once and only when asked for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from deltalite.exceptions import InvalidTableError
from deltalite.log import checksum, replay
from deltalite.log.checksum import Checksum
from deltalite.log.commits import check_last_line, fetch, fetch_one
from deltalite.log.segment import LogSegment
from deltalite.model.actions import Action, DomainMetadata, SetTransaction
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import EmptySource, FileSource
from deltalite.model.properties import IN_COMMIT_TIMESTAMPS
from deltalite.model.snapshot import Totals
from deltalite.storage.base import FileMeta, Store

if TYPE_CHECKING:
    from deltalite.log.source import CheckpointSource

logger = logging.getLogger("deltalite.log")

T = TypeVar("T")
_PEEK = 16
_OF_INTEREST = (b'"txn"', b'"domainMetadata"')


class LogState:
    """The state that a segment describes. Checkpoints that turn out corrupt are passed over, with a warning.

    :param whole_segment: gives the segment of the same version from a listing of the whole log.
    """

    def __init__(self, store: Store, segment: LogSegment, whole_segment: Callable[[], LogSegment]) -> None:
        self._store = store
        self._segment = segment
        self._whole_segment = whole_segment
        self._candidates = list(segment.checkpoints)
        self._broken: set[str] = set()
        self._source: CheckpointSource | None = None
        self._commits: dict[str, Commit] = {}
        self._uninteresting: set[str] = set()
        self._lock, self._process = threading.RLock(), os.getpid()

    # -- the parts of a snapshot ---------------------------------------------------------------------------------

    def config(self) -> TableConfig:
        """Protocol and metadata.

        :raises InvalidTableError: when the log lacks one of them.
        """
        known = self._checksum
        if known is not None:
            protocol, metadata = replay.newest_config(self._newest_first(self._tail(known[0])))
            return TableConfig(protocol or known[1].protocol, metadata or known[1].metadata)
        return self._on_base(self._config_above)

    def _config_above(self, source: CheckpointSource | None) -> TableConfig:
        protocol, metadata = replay.newest_config(self._newest_first(self._tail(self._above)))
        if source is not None and (protocol is None or metadata is None):
            below = source.config()
            protocol, metadata = protocol or below[0], metadata or below[1]
        if protocol is None or metadata is None:
            raise InvalidTableError(
                f"the log of {self._store.root} up to version {self._segment.version} holds no "
                + ("protocol" if protocol is None else "metadata"),
                hint="the first commit of a table holds both; this is not the log of a Delta table",
                version=self._segment.version,
            )
        return TableConfig(protocol, metadata)

    def timestamp(self, config: TableConfig) -> int:
        """The version's time: in-commit where the table has that, else the file's."""
        file = self._segment.commits.get(self._segment.version)
        if config.get(IN_COMMIT_TIMESTAMPS):
            known = self._checksum
            if known is not None and known[0] == self._segment.version and known[1].in_commit_timestamp is not None:
                return known[1].in_commit_timestamp
            info = self._one((self._segment.version, file)).info if file is not None else None
            if info is not None and info.in_commit_timestamp is not None:
                return info.in_commit_timestamp
        return file.modified_ms if file is not None else self._segment.checkpoints[0].files[0].modified_ms

    def totals(self) -> Totals | None:
        """Number and bytes of the live files, where the version's checksum tells."""
        known = self._checksum
        return known[1].totals if known is not None and known[0] == self._segment.version else None

    def files(self) -> tuple[FileSource, tuple[Commit, ...]]:
        """The base of the file set and the commits above it."""

        def load(source: CheckpointSource | None) -> tuple[FileSource, tuple[Commit, ...]]:
            if source is not None:
                source.adds(["path"])
            commits = tuple(self._many(self._tail(self._above)))
            for path, commit in list(self._commits.items()):
                if not any(mark in commit.data for mark in _OF_INTEREST):
                    del self._commits[path]
                    self._uninteresting.add(path)
            return source or EmptySource(), commits

        return self._on_base(load)

    def transactions(self) -> dict[str, SetTransaction]:
        """The newest action of every application."""
        known = self._checksum
        if known is not None and known[1].transactions is not None:
            return replay.transactions(known[1].transactions.values(), self._interesting(known[0]))
        return self._on_base(
            lambda source: replay.transactions(_actions(source, "txn"), self._interesting(self._above))
        )

    def domains(self) -> dict[str, DomainMetadata]:
        """The domains that are not removed."""
        known = self._checksum
        if known is not None and known[1].domains is not None:
            return replay.domains(known[1].domains.values(), self._interesting(known[0]))
        return self._on_base(
            lambda source: replay.domains(_actions(source, "domainMetadata"), self._interesting(self._above))
        )

    # -- the newest checksum -------------------------------------------------------------------------------------

    @cached_property
    def _checksum(self) -> tuple[int, Checksum] | None:
        """The newest checksum and its version, if it is not older than the newest checkpoint."""
        newest = max(self._segment.checksums, default=-1)
        if newest < self._above or newest < 0:
            return None
        try:
            found = checksum.parse(self._store.get(self._segment.checksums[newest].path))
        except FileNotFoundError:
            return None
        if found is None:
            logger.info("passing over the malformed checksum of version %d", newest)
        return None if found is None else (newest, found)

    # -- the base, and the commits above it ----------------------------------------------------------------------

    @property
    def _above(self) -> int:
        return self._candidates[0].version if self._candidates else -1

    def _on_base(self, use: Callable[[CheckpointSource | None], T]) -> T:
        """``use`` the newest checkpoint that can be read, or ``None`` where the log starts with its first commit."""
        with self._alone():
            while self._candidates:
                from deltalite.log.source import CheckpointSource, UnreadableCheckpoint  # pulls in pyarrow.parquet

                try:
                    if self._source is None:
                        self._source = CheckpointSource(self._store, self._candidates[0])
                    return use(self._source)
                except UnreadableCheckpoint as error:
                    self._pass_over(error)
            return use(None)

    def _alone(self) -> threading.RLock:  # type: ignore[valid-type]
        """The lock under which files are read; a new one after a fork, which may have copied it locked."""
        if self._process != os.getpid():
            self._lock, self._process = threading.RLock(), os.getpid()
        return self._lock

    def _pass_over(self, error: InvalidTableError) -> None:
        broken = self._candidates.pop(0)
        self._broken.add(broken.files[0].path)
        self._source = None
        if not self._candidates and not self._segment.complete:
            self._segment = self._whole_segment()
            self._candidates = [c for c in self._segment.checkpoints if c.files[0].path not in self._broken]
        if not self._candidates and any(v not in self._segment.commits for v in range(self._segment.version + 1)):
            raise InvalidTableError(
                f"the checkpoint of version {broken.version} is of no use, and the commits below it are gone: "
                + error.message,
                hint="restore the file from a backup",
                path=broken.files[0].path,
                version=broken.version,
            ) from error
        logger.warning("passing over the checkpoint of version %d: %s", broken.version, error.message)

    def _tail(self, above: int) -> tuple[tuple[int, FileMeta], ...]:
        """What lies above a version; compactions that cannot be read give way to the commits they stand for."""
        while True:
            found = self._segment.tail(above)
            compactions = {c.file.path: c for c in self._segment.compactions}
            try:
                for item in found:
                    if item[1].path in compactions:
                        check_last_line(self._one(item))
                return found
            except InvalidTableError as error:
                broken = compactions[item[1].path]
                logger.warning("passing over a log compaction: %s", error.message)
                self._commits.pop(broken.file.path, None)
                rest = tuple(c for c in self._segment.compactions if c is not broken)
                self._segment = replace(self._segment, compactions=rest)

    def _interesting(self, above: int) -> list[Commit]:
        """The commits above a version that may hold transactions or domains."""
        with self._alone():
            return self._many(item for item in self._tail(above) if item[1].path not in self._uninteresting)

    def _newest_first(self, files: Sequence[tuple[int, FileMeta]]) -> Iterator[Commit]:
        """Commits from the newest down; from a remote store some at once, since most tails are short."""
        at_once = 1 if self._store.is_local else _PEEK
        for end in range(len(files), 0, -at_once):
            commits = self._many(files[max(0, end - at_once) : end])
            if end == len(files):
                check_last_line(commits[-1])
            yield from reversed(commits)

    def _many(self, files: Sequence[tuple[int, FileMeta]] | Iterator[tuple[int, FileMeta]]) -> list[Commit]:
        files = list(files)
        missing = [item for item in files if item[1].path not in self._commits]
        for (_, file), commit in zip(missing, fetch(self._store, missing), strict=True):
            self._commits[file.path] = commit
        return [self._commits[file.path] for _, file in files]

    def _one(self, item: tuple[int, FileMeta]) -> Commit:
        if item[1].path not in self._commits:
            self._commits[item[1].path] = fetch_one(self._store, *item)
        return self._commits[item[1].path]


def _actions(source: CheckpointSource | None, kind: str) -> list[Action]:
    return source.actions(kind) if source is not None else []
