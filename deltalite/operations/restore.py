"""RESTORE: the files and the metadata of an earlier version become those of a new one.

Files that are in both versions stay; those under another deletion vector are other files. Ids and marks of the table
never turn back, whatever the earlier version says, and its protocol only does when that is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from deltalite import features
from deltalite.exceptions import InvalidArgumentError, VersionNotFoundError
from deltalite.features import plain
from deltalite.log import read
from deltalite.model.actions import Action, AddFile, DomainMetadata, Metadata, Protocol
from deltalite.model.change import LogOnly
from deltalite.model.config import TableConfig
from deltalite.model.files import remove_of
from deltalite.model.pending import ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.operations import travel
from deltalite.operations.execute import Outcome
from deltalite.operations.logged import commit_actions, in_threads
from deltalite.operations.options import Committing
from deltalite.scan.paths import PathResolver, Resolve
from deltalite.storage import Store, open_store

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """Where to go back to.

    :param target: a version, or a time in any form that time travel takes.
    :param tag: the version that was given this name, in place of a target.
    :param ignore_missing_files: restore what is still there when VACUUM removed some files.
    :param protocol_downgrade_allowed: take the protocol of that version too, where it asks less of readers and writers.
    """

    target: Any = None
    tag: str | None = None
    ignore_missing_files: bool = False
    protocol_downgrade_allowed: bool = False


def restore(
    store: Store,
    request: RestoreRequest,
    committing: Committing,
    external: Sequence[str] = (),
    *,
    dry_run: bool = False,
) -> Outcome:
    """Make the newest version one like an earlier one.

    :param external: prefixes outside the table that files may lie under.
    :raises VersionNotFoundError: there is no such version, or files of it are gone; nothing is changed.
    """
    start = time.perf_counter()
    if (request.target is None) == (request.tag is None):
        raise InvalidArgumentError(
            "say where to go back to", hint="restore(12), restore('2026-11-20') or restore(tag=)"
        )
    base = read.read_snapshot(store)
    features.ensure_writable(base.config)
    target = travel.at(store, request.target, tag=request.tag)
    change, metrics = plan(request, base, target, PathResolver(store, tuple(external), open_store))
    return commit_actions(store, base, change, committing, metrics, start=start, dry_run=dry_run)


def plan(request: RestoreRequest, base: Snapshot, target: Snapshot, resolve: Resolve) -> tuple[LogOnly, dict[str, int]]:
    """The change, and what it does in numbers: under the names of Delta Spark, and deltalake's two."""
    now_ms = time.time_ns() // 1_000_000
    gone, come = base.files.minus(target.files), target.files.minus(base.files)
    present = in_threads(lambda add: _exists(add, resolve), come, "restore")
    missing = [add for add, there in zip(come, present, strict=True) if not there]
    if missing and not request.ignore_missing_files:
        raise _incomplete(target, missing)
    come = [add for add, there in zip(come, present, strict=True) if there]
    actions: list[Action] = [*_table_actions(request, base, target)]
    actions += [remove_of(add, now_ms) for add in gone]
    actions += [replace(add, data_change=True) for add in come]
    metrics = {
        "numRestoredFile": len(come),
        "numRemovedFile": len(gone),
        "numRestoredFiles": len(come),
        "numRemovedFiles": len(gone),
        "restoredFilesSize": sum(add.size for add in come),
        "removedFilesSize": sum(add.size for add in gone),
        "numOfFilesAfterRestore": target.files.count - len(missing),
        "tableSizeAfterRestore": _size(target) - sum(add.size for add in missing),
        "numMissingFiles": len(missing),
    }
    return LogOnly(tuple(actions), "RESTORE", _parameters(request), ReadSet(whole_table=True)), metrics


def _parameters(request: RestoreRequest) -> dict[str, Any]:
    if request.tag is not None:
        return {"version": None, "timestamp": None, "tag": request.tag}
    asked = request.target
    is_version = isinstance(asked, int) or (isinstance(asked, str) and travel.meaning(asked) == "version")
    version = int(str(asked).strip().lstrip("v")) if is_version else None
    return {"version": version, "timestamp": None if is_version else str(asked)}


def _size(snapshot: Snapshot) -> int:
    return sum(snapshot.files.table(["size"]).column("size").to_pylist())


def _table_actions(request: RestoreRequest, base: Snapshot, target: Snapshot) -> list[Action]:
    """Protocol, metadata and the domains of features, as far as they differ."""
    old, then = base.config, target.config
    metadata = features.restored(old, then.metadata)
    protocol = _protocol(request, old, then)
    domains = _domains(old, then) if plain.DOMAIN_METADATA in features.supported(protocol) else []
    config = TableConfig(protocol, metadata, {**old.domains, **{d.domain: d for d in domains}})
    features.check(config)
    features.ensure_writable(config)
    found: list[Action] = [*domains]
    if protocol != old.protocol:
        found.append(protocol)
    if _differs(metadata, old.metadata):
        found.append(metadata)
    return found


def _protocol(request: RestoreRequest, old: TableConfig, then: TableConfig) -> Protocol:
    """What the files of the earlier version need, and unless the user gives it up, all that the table has now."""
    if request.protocol_downgrade_allowed:
        return then.protocol
    needed = {f"delta.feature.{feature.name}": "supported" for feature in features.supported(then.protocol)}
    missing = {*features.supported(then.protocol)} - {*features.supported(old.protocol)}
    if not missing:
        return old.protocol
    return features.negotiate(old.protocol, then.schema, {**then.configuration, **needed})


def _domains(old: TableConfig, then: TableConfig) -> list[DomainMetadata]:
    """Domains in which features keep their configuration go back; those of users are the users' own."""
    found = []
    for name in sorted(features.own_domains(old) | features.own_domains(then)):
        now, before = old.domains.get(name), then.domains.get(name)
        if before is not None and before != now:
            found.append(before)
        elif before is None and now is not None:
            found.append(replace(now, removed=True))
    return found


def _differs(metadata: Metadata, old: Metadata) -> bool:
    return replace(metadata, created_time=None) != replace(old, created_time=None)


def _exists(add: AddFile, resolve: Resolve) -> bool:
    """Whether a file and what it needs besides are still there."""
    for uri in (add.path, *features.files_of(add)):
        store, path = resolve(uri)
        if store.head(path) is None:
            return False
    return True


def _incomplete(target: Snapshot, missing: Sequence[AddFile]) -> VersionNotFoundError:
    shown = ", ".join(add.path for add in missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
    return VersionNotFoundError(
        f"version {target.version} cannot be restored: {len(missing)} of its files are gone ({shown})",
        hint="VACUUM removed them; choose a later version, or pass ignore_missing_files=True to do without their rows",
        version=target.version,
    )
