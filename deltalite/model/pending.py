"""PendingCommit: everything a commit needs before it is finalised, and the ReadSet that conflict rules ask about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from deltalite.model.actions import Action, FileKey, SetTransaction
from deltalite.model.snapshot import Snapshot

if TYPE_CHECKING:
    from deltalite.model.expr import BoundExpr


class IsolationLevel(str, Enum):
    """What a transaction may not notice (reliability of the table, not of the storage).

    ``SERIALIZABLE``: the log order is a serial order of reads and writes. ``WRITE_SERIALIZABLE``: some serial order of
    the writes explains the table. ``SNAPSHOT``: for commits that change no data.
    """

    SERIALIZABLE = "Serializable"
    WRITE_SERIALIZABLE = "WriteSerializable"
    SNAPSHOT = "SnapshotIsolation"


@dataclass(frozen=True, slots=True)
class ReadSet:
    """What an operation read.

    A read that matched no row is still a read: ``predicates`` and ``whole_table`` hold whatever the outcome.
    """

    predicates: tuple[BoundExpr, ...] = ()
    files: frozenset[FileKey] = frozenset()
    whole_table: bool = False
    app_ids: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not (self.predicates or self.files or self.whole_table)


@dataclass(frozen=True, slots=True)
class PendingCommit:
    """A commit that no other writer knows of yet.

    ``base`` is the snapshot that was read; ``None`` creates the table. ``operation``, ``parameters`` and ``metrics``
    describe it in ``commitInfo``; ``custom`` is merged into it. ``txn_id`` is fresh per operation and kept over
    retries: by it a commit is recognised after a lost reply. ``written`` are the files that exist for its sake alone,
    relative to the table; they go again when the commit is refused.
    """

    base: Snapshot | None
    operation: str
    actions: tuple[Action, ...]
    txn_id: str
    reads: ReadSet = field(default_factory=ReadSet)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    transactions: tuple[SetTransaction, ...] = ()
    written: tuple[str, ...] = ()
