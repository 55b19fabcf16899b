"""Snapshot: an immutable view of one version of a table."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from deltalite.exceptions import InvalidTableError
from deltalite.model.actions import DomainMetadata, Metadata, Protocol, SetTransaction
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import EmptySource, FileSet


@dataclass(frozen=True, slots=True)
class Totals:
    """Number and bytes of the live data files, where they are known without listing them."""

    num_files: int
    size_in_bytes: int


@dataclass(frozen=True, slots=True)
class CommitMark:
    """What a commit file is recognised by later: size in bytes, and modification time or CRC-32 where it is known."""

    size: int
    modified_ms: int | None = None
    crc32: int | None = None


class LazyMapping(Mapping):  # type: ignore[type-arg]
    """A mapping whose content is read on first use."""

    def __init__(self, load: Callable[[], Mapping]) -> None:  # type: ignore[type-arg]
        self._load = load
        self._found: Mapping | None = None  # type: ignore[type-arg]

    @property
    def is_loaded(self) -> bool:
        """Whether looking something up costs nothing."""
        return self._found is not None

    def _content(self) -> Mapping:  # type: ignore[type-arg]
        if self._found is None:
            self._found = self._load()
        return self._found

    def __getitem__(self, key: str):
        return self._content()[key]

    def __iter__(self):
        return iter(self._content())

    def __len__(self) -> int:
        return len(self._content())


@dataclass(frozen=True)
class Snapshot:
    """One version.

    ``transactions`` maps application ids to their newest ``SetTransaction``, ``domains`` names to live
    ``DomainMetadata``. ``timestamp`` is the version's time in milliseconds since 1970 (in-commit where the table has
    it, else the file's). ``totals`` is ``None`` where counting would mean loading the file list.
    ``checkpoint_version`` is the newest checkpoint known below, or ``None``. ``mark`` recognises the version's commit
    file, so that a table dropped and created anew under the same path is noticed.
    """

    version: int
    config: TableConfig
    files: FileSet
    transactions: Mapping[str, SetTransaction]
    domains: Mapping[str, DomainMetadata]
    timestamp: int
    totals: Totals | None = None
    checkpoint_version: int | None = None
    mark: CommitMark | None = None

    def advance(self, commit: Commit, partition_keys: Callable[[TableConfig], Sequence[str]]) -> Snapshot:
        """The next version, from its commit.

        :param partition_keys: gives the keys of ``partitionValues`` of a configuration (physical names).
        """
        protocol, metadata = self.config.protocol, self.config.metadata
        transactions: dict[str, SetTransaction] = {}
        domains: dict[str, DomainMetadata] = {}
        for action in commit.of_kind("protocol", "metaData", "txn", "domainMetadata"):
            if isinstance(action, Protocol):
                protocol = action
            elif isinstance(action, Metadata):
                metadata = action
            elif isinstance(action, SetTransaction):
                transactions[action.app_id] = action
            elif isinstance(action, DomainMetadata):
                domains[action.domain] = action
        live = _merged(self.domains, domains) if domains else self.domains
        same = protocol is self.config.protocol and metadata is self.config.metadata and not domains
        config = self.config if same else TableConfig(protocol, metadata, live)
        in_commit = commit.info.in_commit_timestamp if commit.info else None
        return replace(
            self,
            version=commit.version,
            config=config,
            files=self.files.advance(commit, partition_keys(config)),
            transactions={**self.transactions, **transactions} if transactions else self.transactions,
            domains=live,
            timestamp=in_commit if in_commit is not None else commit.modified_ms,
            totals=None,
            mark=CommitMark(len(commit.data), None, zlib.crc32(commit.data)),
        )

    def checkpointed(self) -> Snapshot:
        """The same version, known to have a checkpoint."""
        return replace(self, checkpoint_version=self.version)

    @classmethod
    def first(cls, commit: Commit, partition_keys: Callable[[TableConfig], Sequence[str]]) -> Snapshot:
        """The version that a table's first commit makes.

        :raises InvalidTableError: when the commit lacks protocol or metadata.
        """
        found = {type(action): action for action in commit.of_kind("protocol", "metaData")}
        if len(found) != 2:
            raise InvalidTableError(
                "the first commit of a table holds its protocol and its metadata", version=commit.version
            )
        config = TableConfig(found[Protocol], found[Metadata])  # type: ignore[arg-type]
        nothing = FileSet(lambda: (EmptySource(), ()), partition_keys(config))
        before = cls(commit.version - 1, config, nothing, {}, {}, 0)
        return before.advance(commit, partition_keys)

    def __repr__(self) -> str:
        return f"Snapshot(version={self.version}, {len(self.config.schema.fields)} columns)"


def _merged(old: Mapping[str, DomainMetadata], new: Mapping[str, DomainMetadata]) -> dict[str, DomainMetadata]:
    return {name: domain for name, domain in {**old, **new}.items() if not domain.removed}
