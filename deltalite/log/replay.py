"""Replay: what the actions of commits make of protocol, metadata, transactions and domains (PROTOCOL.md, "Action
Reconciliation"). Pure; file actions are reconciled by ``model.files``.
"""

from __future__ import annotations

from collections.abc import Iterable

from deltalite.model.actions import Action, DomainMetadata, Metadata, Protocol, SetTransaction
from deltalite.model.commit import Commit


def newest_config(commits: Iterable[Commit]) -> tuple[Protocol | None, Metadata | None]:
    """Protocol and metadata after commits that come newest first; reads on until both are found."""
    protocol: Protocol | None = None
    metadata: Metadata | None = None
    for commit in commits:
        for action in commit.of_kind("protocol", "metaData"):
            if isinstance(action, Protocol) and protocol is None:
                protocol = action
            elif isinstance(action, Metadata) and metadata is None:
                metadata = action
        if protocol is not None and metadata is not None:
            break
    return protocol, metadata


def transactions(base: Iterable[Action], commits: Iterable[Commit]) -> dict[str, SetTransaction]:
    """The newest action of every application, whatever its number (trap 23). Commits come oldest first."""
    found = {action.app_id: action for action in base if isinstance(action, SetTransaction)}
    for commit in commits:
        for action in commit.of_kind("txn"):
            if isinstance(action, SetTransaction):
                found[action.app_id] = action
    return found


def domains(base: Iterable[Action], commits: Iterable[Commit]) -> dict[str, DomainMetadata]:
    """The live domains: of each the newest action, unless that removes it (trap 24). Commits come oldest first."""
    found = {action.domain: action for action in base if isinstance(action, DomainMetadata)}
    for commit in commits:
        for action in commit.of_kind("domainMetadata"):
            if isinstance(action, DomainMetadata):
                found[action.domain] = action
    return {name: action for name, action in found.items() if not action.removed}
