"""What VACUUM has to know before it deletes: the log, who else needs files, what is there, and what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deltalite import features
from deltalite.exceptions import DeltaError, InvalidTableError, StorageError, UnsafePathError
from deltalite.log import pins, read
from deltalite.log.commits import fetch
from deltalite.log.history import timestamp_of
from deltalite.log.segment import sort_out
from deltalite.model.actions import AddCDCFile
from deltalite.model.arrow import mask_array
from deltalite.model.commit import Commit
from deltalite.model.file_actions import parse_file_actions
from deltalite.model.paths import LOG, is_absolute
from deltalite.model.pins import Clone, clone_file
from deltalite.model.properties import DELETED_FILE_RETENTION
from deltalite.model.snapshot import Snapshot
from deltalite.operations import travel
from deltalite.operations.file_references import COLUMNS, TableRoot, paths_of, uris_of
from deltalite.operations.vacuum_plan import (
    LIVE,
    HiddenNames,
    Removed,
    VacuumPlan,
    VacuumRequest,
    choose,
    in_partitions,
    needed_since,
)
from deltalite.storage.base import FileMeta, Store, temporary_name
from deltalite.storage.tree import find_files

if TYPE_CHECKING:
    import pyarrow as pa

OpenStore = Callable[[str], Store]
SKEW_MS = 5 * 60_000
_COMMITS_AT_ONCE = 256
_HEADS_AT_ONCE = 32


def local_now() -> int:
    """Milliseconds since 1970 by the clock of this machine."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Planned:
    """What there is to delete by the newest version, and the pins that were respected."""

    snapshot: Snapshot
    plan: VacuumPlan
    pins: frozenset[object]


def make_plan(
    store: Store, request: VacuumRequest, open_store: OpenStore, dry_run: bool, clock: Callable[[], int]
) -> Planned:
    """Find out what there is to delete. Nothing is changed; a file is written for its time when it is no dry run.

    :param open_store: opens the store of a registered shallow clone.
    :param clock: this machine's time, in milliseconds since 1970.
    """
    snapshot = read.read_snapshot(store)  # never a handle's, which may be stale (T-53)
    features.ensure_writable(snapshot.config)
    retention = request.retention_ms(snapshot.config)
    cutoff = _now(store, snapshot, request.full, dry_run, clock) - retention
    root = TableRoot(store)
    removed = removed_files(store, snapshot, root)
    needed, pinned = pinned_files(store, root, request.keep_versions, open_store)
    needed.update(needed_since(removed, cutoff))
    needed.update(live_files(root, snapshot))
    within = in_partitions(snapshot.config, request.partitions, removed)
    if request.full:
        files, untouchable = store.list_all(), []
    else:
        there, untouchable = files_at(store, [path for path in removed if path not in needed])
        files = [*there, *(FileMeta(path, 0, 0) for path in removed if path in needed)]
    plan = choose(files, needed, removed, cutoff, HiddenNames(snapshot.config), within)
    return Planned(snapshot, replace(plan, skipped=(*plan.skipped, *untouchable)), pinned)


# -- the log -----------------------------------------------------------------------------------------------------


def removed_files(store: Store, snapshot: Snapshot, root: TableRoot) -> dict[str, Removed]:
    """Everything that left the table as far as the log still tells, and all recorded changes.

    A tombstone without a time counts as old (protocol trap 19), but none is older than the commit that holds it: a
    writer's clock may be wrong.
    """
    found: dict[str, Removed] = {}
    keys = features.partition_keys(snapshot.config)
    _add_removed(found, root, snapshot.files.tombstones(), lambda row: 0)
    files = sort_out(store.list_from(LOG)).commits
    for commits in _in_groups(store, sorted((v, f) for v, f in files.items() if v <= snapshot.version)):
        times = {commit.version: max(timestamp_of(commit), commit.modified_ms) for commit in commits}
        _, removes, order = parse_file_actions([commit for commit in commits if b'"remove"' in commit.data], keys)
        versions = order[len(order) - removes.num_rows :].tolist()
        _add_removed(found, root, removes, lambda row, at=versions, of=times: of[at[row]])
        for commit in commits:
            for action in commit.of_kind("cdc"):
                assert isinstance(action, AddCDCFile)
                entry = Removed(times[commit.version], action.partition_values, changes=True)
                _add(found, root, action.path, entry)
    return found


def _in_groups(store: Store, files: list[tuple[int, FileMeta]]) -> Iterator[list[Commit]]:
    """Commits in order; those that a clean-up deletes meanwhile are passed over."""
    for start in range(0, len(files), _COMMITS_AT_ONCE):
        group = files[start : start + _COMMITS_AT_ONCE]
        try:
            yield list(fetch(store, group))
        except InvalidTableError:
            left = [(v, file) for v, file in group if store.head(file.path) is not None]
            if len(left) == len(group):
                raise
            yield list(fetch(store, left))


def _add_removed(
    found: dict[str, Removed], root: TableRoot, removes: pa.Table, commit_time: Callable[[int], int]
) -> None:
    times = removes.column("deletionTimestamp").to_pylist()
    values = removes.column("partitionValues").to_pylist()
    for row, uris in enumerate(uris_of(removes.select(COLUMNS))):
        entry = Removed(max(times[row] or 0, commit_time(row)), None if values[row] is None else dict(values[row]))
        for uri in uris:
            _add(found, root, uri, entry)


def _add(found: dict[str, Removed], root: TableRoot, uri: str, entry: Removed) -> None:
    """Places outside are none of our business, and a path that climbs is nothing to delete by."""
    try:
        path = root.path_of(uri)
    except UnsafePathError:
        return
    known = found.get(path) if path is not None else None
    if path is not None and (known is None or known.time_ms < entry.time_ms):
        found[path] = entry


# -- who needs files ---------------------------------------------------------------------------------------------


def live_files(root: TableRoot, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """The files of the newest version.

    :raises UnsafePathError: for a path that climbs: nobody can tell which file it is.
    """
    return ((path, LIVE) for path in paths_of(root, snapshot.files) if path is not None)


def added_files(store: Store, root: TableRoot, after: int) -> Iterator[tuple[int, set[str]]]:
    """The versions after one, and the paths that their commits add."""
    for commit in read.read_commits(store, after + 1):
        adds, _, _ = parse_file_actions([commit], ())
        paths = {root.path_of(uri) for uris in uris_of(adds) for uri in uris}
        yield commit.version, {path for path in paths if path is not None}


def pinned_files(
    store: Store,
    root: TableRoot,
    versions: Iterable[int],
    open_store: OpenStore,
    known: frozenset[object] = frozenset(),
) -> tuple[dict[str, str], frozenset[object]]:
    """The files of versions that are kept by number, by tag, or for a shallow clone, with the reason; and those pins.

    :param known: pins that are not looked at again.
    :raises DeltaError: when one of them cannot be read, so that nobody can tell what it needs.
    """
    tags, clones = pins.read_tags(store), pins.read_clones(store)
    found: dict[str, str] = {}
    for version in versions:
        _name(found, root, travel.at(store, version), f"in version {version}")
    for tag in tags:
        if tag not in known:
            _name(found, root, travel.tagged(store, tag), f"in tag {tag.name}")
    for clone in clones:
        if clone not in known:
            found.update((path, f"in the clone {clone.location}") for path in _read_by(clone, root, open_store))
    return found, frozenset((*tags, *clones))


def _name(found: dict[str, str], root: TableRoot, snapshot: Snapshot, reason: str) -> None:
    found.update((path, reason) for path in paths_of(root, snapshot.files) if path is not None)


def _read_by(clone: Clone, root: TableRoot, open_store: OpenStore) -> Iterator[str]:
    """The files of ours that a clone refers to, in its newest version or by tombstones that it still keeps."""
    try:
        snapshot = read.read_snapshot(open_store(clone.location))
        replaced = snapshot.config.metadata.id != clone.table_id
        tables = () if replaced else (snapshot.files.table(COLUMNS), _unexpired(snapshot))
    except (DeltaError, OSError) as error:
        raise _unreadable(clone, getattr(error, "message", str(error))) from error
    if replaced:
        raise _unreadable(clone, "another table is there now")
    for table in tables:
        for uris in uris_of(table):
            for uri in uris:
                if is_absolute(uri) and (path := root.path_of(uri)) is not None:
                    yield path


def _unexpired(snapshot: Snapshot) -> pa.Table:
    table = snapshot.files.tombstones()
    cutoff = local_now() - snapshot.config.get(DELETED_FILE_RETENTION)
    recent = [since is None or since > cutoff for since in table.column("deletionTimestamp").to_pylist()]
    return table.select(COLUMNS).filter(mask_array(np.array(recent, dtype=bool)))


def _unreadable(clone: Clone, why: str) -> InvalidTableError:
    return InvalidTableError(
        f"the shallow clone at {clone.location} cannot be read, so nobody can tell which files it needs: {why}",
        hint=f"make it readable; if it is gone for good, delete its registration {clone_file(clone.table_id)}",
        location=clone.location,
    )


# -- what is there -----------------------------------------------------------------------------------------------


def files_at(store: Store, paths: Sequence[str]) -> tuple[list[FileMeta], list[tuple[str, str]]]:
    """Which of these files are there, and which paths must not be touched, with the reason."""
    if store.is_local:
        return find_files(store.root.rstrip("/") + "/", paths)
    with ThreadPoolExecutor(_HEADS_AT_ONCE, "deltalite-vacuum") as pool:
        return [file for file in pool.map(store.head, paths) if file is not None], []


# -- time --------------------------------------------------------------------------------------------------------


def _now(store: Store, snapshot: Snapshot, full: bool, dry_run: bool, clock: Callable[[], int]) -> int:
    """What time the ages of files are measured from."""
    if full and not dry_run:
        return store_now(store, clock)
    now = clock()
    if full and snapshot.mark is not None:  # a commit from the future tells as much, if not all
        ensure_same_time(max(now, snapshot.mark.modified_ms or 0), now, now)
    return now


def store_now(store: Store, clock: Callable[[], int] = local_now) -> int:
    """The earlier of this machine's time and the storage's, found by writing a file.

    :raises StorageError: when they differ by more than five minutes: ages of files would mean nothing.
    """
    path = temporary_name("vacuum")
    before = clock()
    store.put(path, b"what time is it?\n", durable=False)
    try:
        found = store.head(path)
    finally:
        store.delete_many([path])
    after = clock()
    there = found.modified_ms if found is not None else before
    ensure_same_time(there, before, after)
    return min(before, there)


def ensure_same_time(there: int, before: int, after: int) -> None:
    """
    :param there: a time of the storage between two of this machine.
    :raises StorageError: when they contradict one another by more than five minutes.
    """
    apart = max(before - there, there - after, 0)
    if apart > SKEW_MS:
        raise StorageError(
            f"the clocks of this machine and the storage are {apart // 1000:,} s apart: no file has an age",
            hint="set this machine's clock; VACUUM without full=True goes by the log alone",
            skew_ms=apart,
            transient=False,
        )
