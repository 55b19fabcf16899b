"""The actions of a commit (PROTOCOL.md, "Actions"), one frozen value each.

Field names are the wire names in snake case; ``codec`` derives the JSON from the dataclasses. ``stats`` stays the JSON
text it is in the log. Times are milliseconds since 1970 (``*_ms`` where the wire name does not already say so).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class FileKey(NamedTuple):
    """What identifies a logical file: its path and the deletion vector it is read through."""

    path: str
    dv_id: str | None


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which readers and writers may touch the table (PROTOCOL.md, "Protocol Evolution")."""

    min_reader_version: int
    min_writer_version: int
    reader_features: tuple[str, ...] | None = None
    writer_features: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """The encoding of the data files; always Parquet."""

    provider: str = "parquet"
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metadata:
    """Schema, partitioning and properties (PROTOCOL.md, "Change Metadata"); replaces the former one wholesale."""

    id: str
    schema_string: str
    partition_columns: tuple[str, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    description: str | None = None
    format: Format = field(default_factory=Format)
    created_time: int | None = None


@dataclass(frozen=True, slots=True)
class DeletionVector:
    """Where the bitmap of a file's deleted rows is (PROTOCOL.md, "Deletion Vector Descriptor Schema").

    ``storage_type`` is ``u`` (file named by a UUID, relative), ``p`` (absolute path) or ``i`` (inline).
    """

    storage_type: str
    path_or_inline_dv: str
    size_in_bytes: int
    cardinality: int
    offset: int | None = None
    max_row_index: int | None = None

    @property
    def unique_id(self) -> str:
        """The part of the logical file's key that the vector contributes."""
        place = self.storage_type + self.path_or_inline_dv
        return place if self.offset is None else f"{place}@{self.offset}"


@dataclass(frozen=True, slots=True)
class AddFile:
    """A file becomes part of the table. ``path`` is the URI of the log, still percent-encoded; ``size`` in bytes."""

    path: str
    partition_values: Mapping[str, str | None]
    size: int
    modification_time: int
    data_change: bool
    stats: str | None = None
    tags: Mapping[str, str | None] | None = None
    deletion_vector: DeletionVector | None = None
    base_row_id: int | None = None
    default_row_commit_version: int | None = None
    clustering_provider: str | None = None

    @property
    def key(self) -> FileKey:
        return FileKey(self.path, self.deletion_vector.unique_id if self.deletion_vector else None)


@dataclass(frozen=True, slots=True)
class RemoveFile:
    """A file leaves the table; a tombstone until ``deletion_timestamp`` plus the retention has passed."""

    path: str
    data_change: bool
    deletion_timestamp: int | None = None
    extended_file_metadata: bool | None = None
    partition_values: Mapping[str, str | None] | None = None
    size: int | None = None
    stats: str | None = None
    tags: Mapping[str, str | None] | None = None
    deletion_vector: DeletionVector | None = None
    base_row_id: int | None = None
    default_row_commit_version: int | None = None

    @property
    def key(self) -> FileKey:
        return FileKey(self.path, self.deletion_vector.unique_id if self.deletion_vector else None)


@dataclass(frozen=True, slots=True)
class AddCDCFile:
    """A file of row changes that the change feed reads instead of adds and removes."""

    path: str
    partition_values: Mapping[str, str | None]
    size: int
    data_change: bool = False
    tags: Mapping[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class SetTransaction:
    """How far an application has come (PROTOCOL.md, "Transaction Identifiers"); the newest one of an id counts."""

    app_id: str
    version: int
    last_updated: int | None = None


@dataclass(frozen=True, slots=True)
class DomainMetadata:
    """Named configuration of a feature or a user (PROTOCOL.md, "Domain Metadata")."""

    domain: str
    configuration: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """Provenance of a commit: any JSON object, kept as it is."""

    values: Mapping[str, Any]

    @property
    def txn_id(self) -> str | None:
        return self.values.get("txnId")

    @property
    def operation(self) -> str | None:
        return self.values.get("operation")

    @property
    def in_commit_timestamp(self) -> int | None:
        return self.values.get("inCommitTimestamp")

    @property
    def is_blind_append(self) -> bool:
        return self.values.get("isBlindAppend") is True


@dataclass(frozen=True, slots=True)
class CheckpointMetadata:
    """Marks a V2 checkpoint and names the version it is of."""

    version: int
    tags: Mapping[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file of a V2 checkpoint that holds file actions. ``path`` is a bare name under ``_delta_log/_sidecars``."""

    path: str
    size_in_bytes: int
    modification_time: int
    tags: Mapping[str, str | None] | None = None


Action = (
    Protocol
    | Metadata
    | AddFile
    | RemoveFile
    | AddCDCFile
    | SetTransaction
    | DomainMetadata
    | CommitInfo
    | CheckpointMetadata
    | Sidecar
)
