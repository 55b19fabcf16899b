"""Options that travel with a commit, under the names of deltalake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.actions import SetTransaction
from deltalite.txn.commit import CommitOptions


@dataclass(frozen=True, slots=True)
class Transaction:
    """How far an application has come: rows of ``version`` and below are in the table.

    A write that carries one whose version the table has already seen is skipped.
    """

    app_id: str
    version: int
    last_updated: int | None = None

    def __str__(self) -> str:
        return f"Transaction(app_id={self.app_id}, version={self.version}, last_updated={self.last_updated})"


@dataclass(frozen=True, slots=True)
class CommitProperties:
    """What a commit carries besides its rows.

    :param custom_metadata: entries of ``commitInfo``; ``userMetadata`` is the one that other engines show.
    :param max_commit_retries: versions that may be lost to other writers; ``None`` is 1,000.
    :param app_transactions: application transactions recorded (and skipped when seen before).
    """

    custom_metadata: Mapping[str, Any] | None = None
    max_commit_retries: int | None = None
    app_transactions: Sequence[Transaction] | None = None


@dataclass(frozen=True, slots=True)
class PostCommitHookProperties:
    """What happens after a commit.

    :param create_checkpoint: write a checkpoint when one is due.
    :param cleanup_expired_logs: remove expired log files then; ``None`` asks ``delta.enableExpiredLogCleanup``.
    """

    create_checkpoint: bool = True
    cleanup_expired_logs: bool | None = None


@dataclass(frozen=True, slots=True)
class Committing:
    """All of the above, checked, as the operations take it."""

    custom: Mapping[str, Any] = field(default_factory=dict)
    transactions: tuple[SetTransaction, ...] = ()
    options: CommitOptions = field(default_factory=CommitOptions)

    @classmethod
    def of(
        cls,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        txn: tuple[str, int] | None = None,
    ) -> Committing:
        """
        :raises InvalidArgumentError: when one application id occurs twice, or a version is no number.
        """
        given = commit_properties or CommitProperties()
        hooks = post_commithook_properties or PostCommitHookProperties()
        transactions = [SetTransaction(t.app_id, t.version, t.last_updated) for t in given.app_transactions or ()]
        if txn is not None:
            app_id, version = txn
            transactions.append(SetTransaction(str(app_id), version))
        ids = [t.app_id for t in transactions]
        if len(set(ids)) != len(ids):
            raise InvalidArgumentError(f"one commit records an application once, not {sorted(ids)}")
        if any(not isinstance(t.version, int) for t in transactions):
            raise InvalidArgumentError("the version of an application transaction is a whole number")
        retries = 1000 if given.max_commit_retries is None else given.max_commit_retries
        options = CommitOptions(
            max_retries=retries, checkpoint=hooks.create_checkpoint, cleanup=hooks.cleanup_expired_logs
        )
        return cls(dict(given.custom_metadata or {}), tuple(transactions), options)
