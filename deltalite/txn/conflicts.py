"""Whether a commit still holds after another writer won a version (pure).

The rules ask what was read against what was written, never which operations met. They are those of the reference
implementation's conflict checker, with two refinements: statistics may disprove that an added file would have been
read, and a read that matched nothing is still a read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from deltalite import features
from deltalite.exceptions import (
    ConcurrentAppendError,
    ConcurrentDeleteDeleteError,
    ConcurrentDeleteReadError,
    ConcurrentTransactionError,
    ConflictError,
    MetadataChangedError,
    ProtocolChangedError,
)
from deltalite.model.actions import Action, AddFile, DomainMetadata, Metadata, Protocol, RemoveFile, SetTransaction
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.files import add_table
from deltalite.model.pending import IsolationLevel, PendingCommit
from deltalite.scan.matching import may_match
from deltalite.txn.finalize import is_blind_append

RETRY = "read the table again and repeat the operation"


@dataclass(frozen=True)
class Contest:
    """A pending commit and one commit that came before it.

    :param config: the table's configuration that the pending commit read.
    """

    pending: PendingCommit
    winner: Commit
    config: TableConfig
    isolation: IsolationLevel

    @cached_property
    def won(self) -> tuple[Action, ...]:
        return self.winner.actions

    def of(self, kind: type) -> list[Any]:
        return [action for action in self.won if isinstance(action, kind)]

    def mine(self, kind: type) -> list[Any]:
        return [action for action in self.pending.actions if isinstance(action, kind)]

    def error(self, cls: type[ConflictError], what: str, **facts: Any) -> ConflictError:
        info = self.winner.info
        operation = info.operation if info else None
        return cls(
            f"version {self.winner.version} ({operation or 'unknown operation'}) came first: {what}",
            hint=RETRY,
            winner_version=self.winner.version,
            winner_txn_id=info.txn_id if info else None,
            winner_operation=operation,
            **facts,
        )


def protocol_changed(c: Contest) -> ConflictError | None:
    """The protocol was changed by both, or by the winner so that features went away."""
    theirs = c.of(Protocol)
    if not theirs:
        return None
    if c.mine(Protocol):
        return c.error(ProtocolChangedError, "it changed the protocol, and so does this commit")
    had = {*(c.config.protocol.writer_features or ()), *(c.config.protocol.reader_features or ())}
    has = {*(theirs[0].writer_features or ()), *(theirs[0].reader_features or ())}
    if had - has:
        return c.error(ProtocolChangedError, f"it dropped the features {sorted(had - has)}")
    return None


def metadata_changed(c: Contest) -> ConflictError | None:
    """The schema, partitioning or properties are no longer what this commit was planned for.

    What features merely count in the metadata matters only to those who write metadata too.
    """
    theirs = c.of(Metadata)
    if theirs and (c.mine(Metadata) or not features.only_counts(c.config, theirs[0])):
        return c.error(MetadataChangedError, "it changed the schema or the properties of the table")
    return None


def same_domain(c: Contest) -> ConflictError | None:
    """Both wrote one metadata domain, and it is none that is rebased."""
    shared = {d.domain for d in c.of(DomainMetadata)} & {d.domain for d in c.mine(DomainMetadata)}
    shared -= features.rebased_domains(c.config)
    if shared:
        return c.error(ConcurrentTransactionError, f"it wrote the metadata domains {sorted(shared)} too")
    return None


def same_application(c: Contest) -> ConflictError | None:
    """The winner moved an application transaction that this operation looked up."""
    shared = {t.app_id for t in c.of(SetTransaction)} & c.pending.reads.app_ids
    if shared:
        return c.error(ConcurrentTransactionError, f"it wrote the application transactions {sorted(shared)} too")
    return None


def appended_to_what_was_read(c: Contest) -> ConflictError | None:
    """The winner added a file that this operation would have read."""
    reads = c.pending.reads
    if c.isolation is IsolationLevel.SNAPSHOT or is_blind_append(c.pending) or reads.is_empty:
        return None
    blind = c.winner.info is not None and c.winner.info.is_blind_append
    if c.isolation is IsolationLevel.WRITE_SERIALIZABLE and blind and not c.mine(Metadata):
        return None
    added: list[AddFile] = c.of(AddFile)
    if not added:
        return None
    if reads.whole_table:
        return c.error(
            ConcurrentAppendError, "it added files to a table that this commit read whole", path=added[0].path
        )
    stayed = {file.path for file in c.of(RemoveFile)}
    for predicate in reads.predicates:
        for file, hit in zip(added, may_match(c.config, add_table(added), predicate).tolist(), strict=True):
            if hit:
                what = "marked rows of" if file.path in stayed else "added"
                where = ", ".join(f"{k}={v}" for k, v in file.partition_values.items())
                return c.error(
                    ConcurrentAppendError,
                    f"it {what} {file.path!r}, which this commit would have read" + (f" ({where})" if where else ""),
                    path=file.path,
                    partition=dict(file.partition_values),
                )
    return None


def removed_what_was_read(c: Contest) -> ConflictError | None:
    """The winner removed a file that this operation read."""
    removed: list[RemoveFile] = c.of(RemoveFile)
    if not removed:
        return None
    if c.pending.reads.whole_table:
        return c.error(
            ConcurrentDeleteReadError, "it removed files of a table that this commit read whole", path=removed[0].path
        )
    read = {key.path for key in c.pending.reads.files}
    for file in removed:
        if file.path in read:
            return c.error(
                ConcurrentDeleteReadError, f"it removed {file.path!r}, which this commit read", path=file.path
            )
    return None


def removed_what_is_removed(c: Contest) -> ConflictError | None:
    """Both remove (or rewrite, or mark rows of) one file."""
    mine = {file.path for file in c.mine(RemoveFile)}
    for file in c.of(RemoveFile):
        if file.path in mine:
            return c.error(ConcurrentDeleteDeleteError, f"it removed {file.path!r} too", path=file.path)
    return None


RULES: tuple[Callable[[Contest], ConflictError | None], ...] = (
    protocol_changed,
    metadata_changed,
    same_domain,
    same_application,
    appended_to_what_was_read,
    removed_what_was_read,
    removed_what_is_removed,
)


def check(contest: Contest) -> None:
    """Raise the first rule's conflict, if any.

    :raises ConflictError: one of its six kinds.
    """
    for rule in RULES:
        if (error := rule(contest)) is not None:
            raise error
