"""The commits: whether all are there, can be read, follow in time, and keep to the features of their table."""

from __future__ import annotations

from collections.abc import Iterator

from deltalite import features
from deltalite.exceptions import DeltaError
from deltalite.features import BY_NAME
from deltalite.features.in_commit_timestamp import ENABLEMENT_VERSION
from deltalite.log.commits import check_last_line, fetch_one
from deltalite.log.segment import LogNames
from deltalite.model.actions import Action, AddCDCFile, AddFile, DomainMetadata, Metadata, Protocol, RemoveFile
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.paths import commit_file
from deltalite.model.properties import IN_COMMIT_TIMESTAMPS
from deltalite.operations.doctor.findings import Finding
from deltalite.storage.base import Store


def check_continuity(names: LogNames) -> Iterator[Finding]:
    """Commits missing between others."""
    base = max((c.version for c in names.checkpoints), default=-1)
    if not names.commits:
        return
    for version in range(min(names.commits), names.latest):
        if version in names.commits:
            continue
        needed = version > base
        yield Finding(
            "log-gap",
            "error" if needed else "warning",
            f"version {version} is missing in the log" + ("" if needed else "; a later checkpoint makes up for it"),
            commit_file(version),
            version,
        )


def check_commits(store: Store, names: LogNames) -> Iterator[Finding]:
    """Every commit that is there: whole, its actions ones that the table may have, its time after the one before."""
    protocol: Protocol | None = None
    metadata: Metadata | None = None
    last: int | None = None
    for version in sorted(names.commits):
        try:
            commit = check_last_line(fetch_one(store, version, names.commits[version]))
            actions = commit.actions
        except FileNotFoundError:
            continue
        except (DeltaError, OSError) as error:
            hint = "; it is the newest one: its writer was cut off" if version == names.latest else ""
            needed = all(c.version < version for c in names.checkpoints)
            severity = "error" if needed else "warning"
            yield Finding("commit-unreadable", severity, f"{_text(error)}{hint}", commit_file(version), version)
            continue
        protocol = next((a for a in actions if isinstance(a, Protocol)), protocol)
        metadata = next((a for a in actions if isinstance(a, Metadata)), metadata)
        yield from _twice(version, actions)
        if protocol is None or metadata is None:
            continue
        yield from _without_feature(version, actions, protocol)
        try:
            late, last = _time(commit, TableConfig(protocol, metadata), last)
        except DeltaError as error:
            late = Finding("config-wrong", "error", _text(error), commit_file(version), version)
        if late:
            yield late


def _text(error: Exception) -> str:
    return getattr(error, "message", str(error))


def _twice(version: int, actions: tuple[Action, ...]) -> Iterator[Finding]:
    for kind in (AddFile, RemoveFile):
        keys = [action.key for action in actions if isinstance(action, kind)]
        if len(set(keys)) < len(keys):
            path = next(key.path for key in keys if keys.count(key) > 1)
            yield Finding("file-twice", "error", f"version {version} names {path} twice", path, version)


def _without_feature(version: int, actions: tuple[Action, ...], protocol: Protocol) -> Iterator[Finding]:
    names = {name for f in features.supported(protocol) for name in (f.name, *f.aliases)}
    used: dict[str, str] = {}
    for action in actions:
        if isinstance(action, AddFile) and action.deletion_vector is not None:
            used.setdefault("deletionVectors", action.path)
        if isinstance(action, AddFile) and action.base_row_id is not None:
            used.setdefault("rowTracking", action.path)
        if isinstance(action, AddFile) and action.clustering_provider is not None:
            used.setdefault("clustering", action.path)
        if isinstance(action, DomainMetadata):
            used.setdefault("domainMetadata", action.domain)
        if isinstance(action, AddCDCFile):
            used.setdefault("changeDataFeed", action.path)
    for name, example in used.items():
        if name in BY_NAME and name not in names:
            what = f"version {version} uses {name} ({example}), which the protocol of the table does not list"
            yield Finding("feature-missing", "error", what, commit_file(version), version)


def _time(commit: Commit, config: TableConfig, last: int | None) -> tuple[Finding | None, int | None]:
    """In-commit times grow from the version on that turned them on."""
    if not config.get(IN_COMMIT_TIMESTAMPS):
        return None, None
    if commit.version < int(config.configuration.get(ENABLEMENT_VERSION, 0)):
        return None, None
    now = commit.info.in_commit_timestamp if commit.info else None
    place = commit_file(commit.version)
    if now is None:
        what = f"version {commit.version} has no in-commit timestamp, though the table promises them"
        return Finding("clock-missing", "error", what, place, commit.version), last
    if last is not None and now <= last:
        what = f"version {commit.version} is not younger than the one before"
        return Finding("clock-order", "error", what, place, commit.version), last
    return None, now
