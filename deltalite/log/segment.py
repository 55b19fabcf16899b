"""LogSegment: which files of a log listing make up one version (PROTOCOL.md, "Reading Table State"). Pure.

Listings are taken as they come: in any order, with repetitions and foreign names. Names that the protocol does not know
are ignored; what it does know must be complete, or the version is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from deltalite.exceptions import InvalidTableError
from deltalite.model.paths import LogFile, commit_file, parse_log_name
from deltalite.storage.base import FileMeta


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its one file, or all its parts in order. ``uuid`` marks a V2 name."""

    version: int
    files: tuple[FileMeta, ...]
    uuid: str | None = None


@dataclass(frozen=True, slots=True)
class Compaction:
    """A log compaction file; it stands for the commits ``first`` to ``last``."""

    first: int
    last: int
    file: FileMeta


@dataclass(frozen=True, slots=True)
class LogSegment:
    """The log files that matter for one version; none is of a later version.

    ``checkpoints`` come newest first, and every one can be completed to ``version`` by commits that are there.
    ``checksums`` maps versions to ``.crc`` files. ``complete`` says that the listing began at the log's first name.
    """

    version: int
    checkpoints: tuple[Checkpoint, ...]
    commits: Mapping[int, FileMeta]
    compactions: tuple[Compaction, ...]
    checksums: Mapping[int, FileMeta]
    complete: bool = True

    def tail(self, above: int, compacted: bool = True) -> tuple[tuple[int, FileMeta], ...]:
        """The files that lead from version ``above`` to this one, oldest first, each with the last version it covers.

        :param compacted: take compactions for the commits they cover (for table state, not for history).
        """
        return tuple(_chain(self, above + 1, compacted))


@dataclass(frozen=True, slots=True)
class LogNames:
    """A listing, sorted out by kind; ``latest`` is the newest version that a commit or a whole checkpoint shows."""

    commits: Mapping[int, FileMeta]
    checkpoints: tuple[Checkpoint, ...]
    compactions: tuple[Compaction, ...]
    checksums: Mapping[int, FileMeta]

    @property
    def latest(self) -> int:
        """The newest version, -1 for an empty log."""
        newest_checkpoint = self.checkpoints[0].version if self.checkpoints else -1
        return max(max(self.commits, default=-1), newest_checkpoint)

    @property
    def earliest(self) -> int:
        """The oldest version from which on every version can be reconstructed."""
        lowest = self.latest
        while lowest - 1 in self.commits and lowest in self.commits:
            lowest -= 1
        if lowest == 0:
            return 0
        bases = [c.version for c in self.checkpoints if c.version >= lowest - 1]
        return min(bases, default=self.latest)


_PLAIN = {".json": "commit", ".crc": "crc"}


def sort_out(listing: Iterable[FileMeta]) -> LogNames:
    """The files of a listing by kind: whole checkpoints newest first, incomplete ones left out (trap 51)."""
    commits: dict[int, FileMeta] = {}
    checksums: dict[int, FileMeta] = {}
    compactions: dict[tuple[int, int], Compaction] = {}
    checkpoint_files: dict[str, tuple[LogFile, FileMeta]] = {}
    for file in listing:
        name = file.path.rpartition("/")[2]
        plain = _PLAIN.get(name[20:]) if name[:20].isdigit() and name.isascii() else None  # most names, in a hurry
        if plain is not None:
            (commits if plain == "commit" else checksums)[int(name[:20])] = file
            continue
        found = parse_log_name(name)
        if found is None:
            continue
        if found.kind == "compaction" and found.last is not None and file.size:
            compactions[found.version, found.last] = Compaction(found.version, found.last, file)
        elif found.kind == "checkpoint":
            checkpoint_files[name] = found, file
    checkpoints = _whole_checkpoints(checkpoint_files.values())
    return LogNames(commits, checkpoints, tuple(compactions.values()), checksums)


def _whole_checkpoints(files: Iterable[tuple[LogFile, FileMeta]]) -> tuple[Checkpoint, ...]:
    """Newest first; of one version the V2 ones before the classic one before those in parts, as the reference does."""
    groups: dict[tuple[int, str, int], dict[int, FileMeta]] = {}
    for name, file in files:
        groups.setdefault((name.version, name.uuid or "", name.parts), {})[name.part] = file
    whole = [
        Checkpoint(version, tuple(parts[n] for n in range(1, count + 1)), uuid or None)
        for (version, uuid, count), parts in groups.items()
        if len(parts) == count
    ]
    return tuple(sorted(whole, key=lambda c: (-c.version, c.uuid is None, len(c.files), c.uuid or "")))


def build(names: LogNames, version: int | None = None, complete: bool = True) -> LogSegment | None:
    """The segment of a version (of the newest one by default), or ``None`` when the names do not lead there.

    :param complete: whether the listing began at the log's first name.
    :raises InvalidTableError: when a commit between is missing or empty, naming it.
    """
    target = names.latest if version is None else version
    if target < 0 or target > names.latest:
        return None
    checkpoints = [c for c in names.checkpoints if c.version <= target]
    newest = checkpoints[0].version if checkpoints else -1
    missing = next((v for v in range(newest + 1, target + 1) if v not in names.commits), None)
    if missing is not None:
        if newest < 0 and not any(v < missing for v in names.commits):
            return None
        raise gap(missing)
    commits = {v: file for v, file in names.commits.items() if v <= target}
    segment = LogSegment(
        target,
        (),
        commits,
        tuple(c for c in names.compactions if c.last <= target),
        {v: file for v, file in names.checksums.items() if v <= target},
        complete,
    )
    lowest = target
    while lowest in commits:
        lowest -= 1
    usable = tuple(c for c in checkpoints if c.version >= lowest)
    for v, file in segment.tail(newest, compacted=False):
        if file.size == 0:
            raise empty_commit(file.path, v)
    return LogSegment(target, usable, commits, segment.compactions, segment.checksums, complete)


def gap(version: int) -> InvalidTableError:
    """What a commit that is missing between others is answered with."""
    return InvalidTableError(
        f"the log has a gap: {commit_file(version)} is missing, yet later versions are there",
        hint="restore the file from a backup, or read an older version",
        path=commit_file(version),
        version=version,
    )


def empty_commit(path: str, version: int) -> InvalidTableError:
    """What a commit without an action is answered with."""
    return InvalidTableError(
        f"{path} is empty: a commit holds at least one action",
        hint="the writer's machine probably lost power; remove the file only if nobody was told of its success",
        path=path,
        version=version,
    )


def _chain(segment: LogSegment, first: int, compacted: bool) -> Iterator[tuple[int, FileMeta]]:
    longest: dict[int, Compaction] = {}
    for compaction in segment.compactions if compacted else ():
        if compaction.first not in longest or compaction.last > longest[compaction.first].last:
            longest[compaction.first] = compaction
    version = first
    while version <= segment.version:
        compaction = longest.get(version)
        if compaction is not None and compaction.last > version:
            yield compaction.last, compaction.file
            version = compaction.last + 1
        else:
            yield version, segment.commits[version]
            version += 1
