"""Reading the log: versions, snapshots, commits (PROTOCOL.md, "Reading Table State").

Opening reads as little as it can: one listing (after the checkpoint that ``_last_checkpoint`` hints at, where it leads
somewhere), then protocol and metadata from the newest ``.crc``, commit or checkpoint that has them. Files, transactions
and domains are read when they are first asked for.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import takewhile

from deltalite import features
from deltalite.exceptions import InvalidTableError, TableNotFoundError, VersionNotFoundError
from deltalite.log import checksum, last_checkpoint, segment
from deltalite.log.commits import check_last_line, fetch, fetch_one
from deltalite.log.segment import LogNames, LogSegment
from deltalite.log.state import LogState
from deltalite.model.commit import Commit
from deltalite.model.files import FileSet
from deltalite.model.paths import LAST_CHECKPOINT, LOG, checkpoint_file, commit_file, crc_file, parse_log_name
from deltalite.model.snapshot import CommitMark, LazyMapping, Snapshot, Totals
from deltalite.storage.base import FileMeta, Store

logger = logging.getLogger("deltalite.log")

_FAR_BEHIND = 50
"""From how many new commits on a newer checkpoint is the cheaper way to the newest version."""
_BEYOND_A_GAP = (1, 2, 3, 4, 8, 16, 32, 64)


def is_table(store: Store) -> bool:
    """Whether there is a log with at least one commit or checkpoint."""
    for file in store.list_from(LOG):
        found = parse_log_name(file.path.rpartition("/")[2])
        if found is not None and found.kind == "commit":
            return True
    return _all_names(store).latest >= 0


def latest_version(store: Store) -> int:
    """The newest version.

    :raises TableNotFoundError: when there is no log.
    """
    latest = _newest_names(store).latest
    if latest < 0:
        raise _no_table(store)
    return latest


def version_range(store: Store) -> tuple[int, int]:
    """The oldest version that can be reconstructed, and the newest.

    :raises TableNotFoundError: when there is no log.
    """
    names = _all_names(store)
    if names.latest < 0:
        raise _no_table(store)
    return names.earliest, names.latest


def read_snapshot(store: Store, version: int | None = None) -> Snapshot:
    """A version of the table; the newest one by default.

    :raises TableNotFoundError: when there is no log.
    :raises VersionNotFoundError: when the version is not in it; ``available`` is ``(earliest, latest)``.
    :raises InvalidTableError: when the log breaks the protocol, naming the file.
    :raises UnsupportedFeatureError: when the table demands features of readers that are missing here.
    """
    found = _segment(store, version)
    state = LogState(store, found, lambda: _whole_segment(store, found.version))
    domains = LazyMapping(state.domains)
    config = replace(state.config(), domains=domains)
    features.ensure_readable(config.protocol)
    file = found.commits.get(found.version)
    return Snapshot(
        version=found.version,
        config=config,
        files=FileSet(state.files, features.partition_keys(config)),
        transactions=LazyMapping(state.transactions),
        domains=domains,
        timestamp=state.timestamp(config),
        totals=state.totals(),
        checkpoint_version=found.checkpoints[0].version if found.checkpoints else None,
        mark=CommitMark(file.size, file.modified_ms) if file is not None else None,
    )


def update(store: Store, snapshot: Snapshot) -> Snapshot:
    """The newest version, from a known one: only names from that one on are listed, only new commits read.

    A table that was dropped and created anew meanwhile, or whose log no longer reaches back to the known version, is
    read from scratch (T-50, T-51).

    :raises: as :func:`read_snapshot`.
    """
    names = _names_from(store, snapshot.version)
    mark = _recognise(store, snapshot, names)
    newer = sorted(v for v in names.commits if v > snapshot.version)
    gap = newer != list(range(snapshot.version + 1, snapshot.version + 1 + len(newer)))
    newest_checkpoint = max((c.version for c in names.checkpoints), default=-1)
    far = len(newer) > _FAR_BEHIND and newest_checkpoint > snapshot.version
    if mark is None or gap or far or newest_checkpoint > snapshot.version + len(newer):
        found = read_snapshot(store)
        if found.config.metadata.id != snapshot.config.metadata.id:
            logger.warning("the table at %s is another one than before: it was dropped and created anew", store.root)
        return found
    snapshot = snapshot if mark == snapshot.mark else replace(snapshot, mark=mark)
    for commit in fetch(store, [(v, names.commits[v]) for v in newer]):
        before = snapshot.config
        snapshot = snapshot.advance(check_last_line(commit), features.partition_keys)
        if snapshot.config is not before:
            features.ensure_readable(snapshot.config.protocol)
        file = names.commits[commit.version]
        snapshot = replace(snapshot, mark=CommitMark(file.size, file.modified_ms))
    if newer:
        snapshot = replace(snapshot, totals=_totals(store, names, snapshot.version))
    if newest_checkpoint > (snapshot.checkpoint_version or -1):
        snapshot = replace(snapshot, checkpoint_version=newest_checkpoint)
    return snapshot


def read_commits(store: Store, start: int, end: int | None = None) -> Iterator[Commit]:
    """The commits of the versions ``start`` to ``end`` (the newest by default) in order.

    :raises InvalidTableError: when one is missing between others, or is empty or torn, naming the file.
    """
    listing = store.list_from(LOG, commit_file(start - 1) if start > 0 else "")
    found = segment.sort_out(_upto(listing, end)).commits
    wanted = sorted(v for v in found if v >= start)
    for expected, version in enumerate(wanted, start):
        if expected != version:
            raise segment.gap(expected)
    return map(check_last_line, fetch(store, [(v, found[v]) for v in wanted]))


def _recognise(store: Store, snapshot: Snapshot, names: LogNames) -> CommitMark | None:
    """The mark of the snapshot's commit file if it is still the same file, else ``None``."""
    file, mark = names.commits.get(snapshot.version), snapshot.mark
    if file is None or mark is None or file.size != mark.size:
        return None
    if mark.modified_ms is None:
        data = fetch_one(store, snapshot.version, file).data
        return CommitMark(file.size, file.modified_ms) if zlib.crc32(data) == mark.crc32 else None
    return mark if mark.modified_ms == file.modified_ms else None


def _totals(store: Store, names: LogNames, version: int) -> Totals | None:
    file = names.checksums.get(version)
    try:
        found = checksum.parse(store.get(file.path)) if file is not None else None
    except FileNotFoundError:
        return None
    return found.totals if found is not None else None


# -- listings ----------------------------------------------------------------------------------------------------


def _segment(store: Store, version: int | None) -> LogSegment:
    """The files of a version; older ones are left out where a hint leads to a checkpoint."""
    hint = _hint(store)
    if hint is not None and (version is None or hint <= version):
        names = _names_from(store, hint, version)
        if any(c.version == hint for c in names.checkpoints):
            found = segment.build(names, version, complete=False)
            if found is not None:
                return found
    return _whole_segment(store, version)


def _whole_segment(store: Store, version: int | None) -> LogSegment:
    names = _all_names(store, version)
    found = segment.build(names, version)
    if found is not None:
        return found
    everything = _all_names(store) if version is not None else names
    if everything.latest < 0:
        raise _no_table(store)
    earliest, latest = everything.earliest, everything.latest
    if version is None:
        raise InvalidTableError(
            f"the log of {store.root} starts at version {min(everything.commits)} without a checkpoint",
            hint="its older files are gone; restore them from a backup",
            path=commit_file(0),
        )
    raise VersionNotFoundError(
        f"version {version} is not available; the table has {earliest} to {latest}",
        available=(earliest, latest),
        version=version,
    )


def _newest_names(store: Store) -> LogNames:
    """The names from the hinted checkpoint on, or all of them."""
    hint = _hint(store)
    names = _names_from(store, hint) if hint is not None else None
    return names if names is not None and names.latest >= 0 else _all_names(store)


def _names_from(store: Store, start: int, upto: int | None = None) -> LogNames:
    """The names of the versions ``start`` to ``upto`` (the newest by default)."""
    probed = _probe(store, start) if store.is_local and upto is None else None
    if probed is not None:
        return probed
    return segment.sort_out(_upto(store.list_from(LOG, f"{LOG}{start:020d}"), upto))


def _probe(store: Store, start: int) -> LogNames | None:
    """The same on a disk, without listing a log of thousands of names: a file is looked for version by version.

    ``None`` where only a listing can tell: many versions, a gap, a checkpoint under a name that cannot be guessed.
    """
    files: list[FileMeta] = []
    while (file := store.head(commit_file(start + len(files)))) is not None:
        files.append(file)
        if len(files) > _FAR_BEHIND:
            return None
    missing = start + len(files)
    if not files or any(store.head(commit_file(missing + ahead)) is not None for ahead in _BEYOND_A_GAP):
        return None
    others = (store.head(checkpoint_file(start)), store.head(crc_file(missing - 1)))
    return segment.sort_out([*files, *(file for file in others if file is not None)])


def _all_names(store: Store, version: int | None = None) -> LogNames:
    return segment.sort_out(_upto(store.list_from(LOG), version))


def _upto(listing: Iterable[FileMeta], version: int | None) -> Iterable[FileMeta]:
    if version is None:
        return listing
    first_later = f"{LOG}{version + 1:020d}"
    return takewhile(lambda file: file.path < first_later, listing)


def _hint(store: Store) -> int | None:
    try:
        return last_checkpoint.parse(store.get(LAST_CHECKPOINT))
    except FileNotFoundError:
        return None


def _no_table(store: Store) -> TableNotFoundError:
    try:
        beside = any(file.path.endswith(".parquet") for file in store.list_from(""))
    except OSError:
        beside = False
    hint = "check the path and the storage options, or create a table with DeltaTable.create or write_deltalake"
    if beside:
        hint = "there are Parquet files: convert_to_deltalake makes a table of them without copying"
    return TableNotFoundError(f"there is no Delta table at {store.root}: no commit in _delta_log", hint=hint)
