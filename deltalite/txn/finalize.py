"""From a pending commit to the actions of one attempt, from scratch every time (pure)."""

from __future__ import annotations

import json
from typing import Any

from deltalite import features
from deltalite._version import __version__
from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.model.actions import Action, AddFile, CommitInfo, DomainMetadata, FileKey, Metadata, Protocol, RemoveFile
from deltalite.model.config import TableConfig
from deltalite.model.pending import IsolationLevel, PendingCommit
from deltalite.model.properties import ISOLATION
from deltalite.model.snapshot import Snapshot

ENGINE = f"deltalite/{__version__}"
_ORDER: dict[type, int] = {CommitInfo: 0, Protocol: 1, Metadata: 2}


def config_after(pending: PendingCommit, base: Snapshot | None) -> TableConfig:
    """The configuration of the table once the pending commit has landed on ``base``."""
    protocol = next((a for a in pending.actions if isinstance(a, Protocol)), base.config.protocol if base else None)
    metadata = next((a for a in pending.actions if isinstance(a, Metadata)), base.config.metadata if base else None)
    if protocol is None or metadata is None:
        raise InvalidTableError("the first commit of a table holds its protocol and its metadata")
    domains = {a.domain: a for a in pending.actions if isinstance(a, DomainMetadata)}
    if base is None:
        return TableConfig(protocol, metadata, domains)
    if protocol is base.config.protocol and metadata is base.config.metadata and not domains:
        return base.config
    return TableConfig(protocol, metadata, {**base.domains, **domains} if domains else base.domains)


def finalize(pending: PendingCommit, base: Snapshot | None, now: int) -> list[Action]:
    """The actions of this attempt, in the order of the file.

    :param base: the version they go on top of; ``None`` creates the table.
    :param now: milliseconds since 1970.
    :raises InvalidArgumentError: when the table forbids such a commit (append-only, domains of features).
    """
    config = config_after(pending, base)
    _refuse_contradictions(pending, features.own_domains(config))
    actions: list[Action] = [_commit_info(pending, base, now), *pending.transactions, *pending.actions]
    actions = features.finalize(actions, base, config, now)
    return sorted(actions, key=lambda action: _ORDER.get(type(action), 3))


def is_blind_append(pending: PendingCommit) -> bool:
    """Whether the commit only adds files and depends on nothing that it read."""
    files = [a for a in pending.actions if isinstance(a, (AddFile, RemoveFile))]
    return bool(files) and all(isinstance(a, AddFile) for a in files) and pending.reads.is_empty


def isolation_level(pending: PendingCommit, base: Snapshot | None) -> IsolationLevel:
    """How strictly a commit is checked: snapshot isolation where it changes no data, else the table's level.

    The default is WriteSerializable, as in delta-rs and in the vendor's runtime.
    """
    if pending.actions and all(
        isinstance(action, (AddFile, RemoveFile)) and not action.data_change for action in pending.actions
    ):
        return IsolationLevel.SNAPSHOT
    return IsolationLevel(base.config.get(ISOLATION) or "WriteSerializable") if base else IsolationLevel.SERIALIZABLE


def _commit_info(pending: PendingCommit, base: Snapshot | None, now: int) -> CommitInfo:
    values: dict[str, Any] = {
        "timestamp": now,
        "operation": pending.operation,
        "operationParameters": {key: _text(value) for key, value in pending.parameters.items()},
        "isolationLevel": isolation_level(pending, base).value,
        "isBlindAppend": is_blind_append(pending),
        "operationMetrics": {key: _text(value) for key, value in pending.metrics.items()},
        "engineInfo": ENGINE,
        "clientVersion": ENGINE.replace("/", "."),
        "txnId": pending.txn_id,
    }
    if base is not None:
        values["readVersion"] = pending.base.version if pending.base else base.version
    return CommitInfo({**values, **{k: v for k, v in pending.custom.items() if k not in values}})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def _refuse_contradictions(pending: PendingCommit, own_domains: frozenset[str]) -> None:
    """No file added twice, none removed twice, and none both at once under one key (PROTOCOL.md, "Reconciliation").

    Nor may a domain be written that features keep for themselves (PROTOCOL.md, "Domain Metadata").
    """
    added: set[str] = set()
    removed: set[str] = set()
    keys: set[FileKey] = set()
    for action in pending.actions:
        if isinstance(action, DomainMetadata):
            if not action.domain.startswith("delta.") or action.domain in own_domains:
                continue
            raise InvalidArgumentError(
                f"the metadata domain {action.domain!r} belongs to a table feature, which alone writes it",
                hint="names outside 'delta.' are free for your own use",
                domain=action.domain,
            )
        if not isinstance(action, (AddFile, RemoveFile)):
            continue
        seen = added if isinstance(action, AddFile) else removed
        if action.path in seen or action.key in keys:
            raise InvalidTableError(f"one commit touches the file {action.path!r} twice", path=action.path)
        seen.add(action.path)
        keys.add(action.key)
