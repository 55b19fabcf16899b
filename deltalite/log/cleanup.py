"""Which log files have expired (PROTOCOL.md, "Metadata Cleanup"). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deltalite.log import segment
from deltalite.log.segment import Checkpoint
from deltalite.model.paths import SIDECARS, parse_log_name
from deltalite.storage.base import FileMeta

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Expired:
    """What may go, and the checkpoint that every version of the retention period rests on.

    ``commits`` are in order of version: deleted in that order, and before ``others`` (trap 33), they leave a log whose
    every version from some point on can be read, wherever the deleting stops. ``pinned`` are older checkpoints, which
    the versions to keep besides rest on.
    """

    anchor: Checkpoint
    commits: tuple[str, ...]
    others: tuple[str, ...]
    pinned: tuple[Checkpoint, ...] = ()


def expired(
    listing: Sequence[FileMeta],
    now_ms: int,
    retention_ms: int,
    protected_before: int | None = None,
    keep: Iterable[int] = (),
) -> Expired | None:
    """The log files that no version of the retention period needs; ``None`` when nothing may go.

    Times are those of the commit files, made to grow. The cutoff is midnight UTC of the day that lies the retention
    back, so that cleaning happens once a day at most (trap 53).

    Commits go from the oldest on only, because a log with a gap is none: versions to keep hold all commits after them,
    while of the checkpoints in between only those stay that they rest on.

    :param protected_before: the version below which history goes as a whole or not at all (trap 33).
    :param keep: versions that must remain readable, however old.
    """
    names = segment.sort_out(listing)
    cutoff = cutoff_ms(now_ms, retention_ms)
    kept_from = max((v for v, time in growing_times(names.commits.values()) if time <= cutoff), default=None)
    if kept_from is None:
        return None
    anchor = _below(names, kept_from)
    older = [_below(names, version) for version in keep if version < kept_from and _is_whole(names, version)]
    pinned = tuple(dict.fromkeys(found for found in older if found is not None and found != anchor))
    first = min(0 if found is None else found.version for found in (anchor, *older))
    if anchor is None or (protected_before is not None and first < protected_before):
        return None
    stay = {file.path for found in pinned for file in found.files}
    commits = sorted(file.path for version, file in names.commits.items() if version < first)
    others = sorted(f.path for f in listing if _precedes(f, anchor.version) and f.path not in stay)
    return Expired(anchor, tuple(commits), tuple(others), pinned) if commits or others else None


def _below(names: segment.LogNames, version: int) -> Checkpoint | None:
    """The checkpoint that a version is read from; ``None`` where it is read from the first commit on."""
    return next((c for c in names.checkpoints if c.version <= version), None)


def _is_whole(names: segment.LogNames, version: int) -> bool:
    """Whether a version can be read at all."""
    base = _below(names, version)
    return all(v in names.commits for v in range(0 if base is None else base.version + 1, version + 1))


def cutoff_ms(now_ms: int, retention_ms: int) -> int:
    """The time up to which commits have expired."""
    return (now_ms - retention_ms) // DAY_MS * DAY_MS


def oldest_commit(listing: Iterable[FileMeta]) -> FileMeta | None:
    """The first commit of a listing in order, of which no more is consumed than that takes."""
    for file in listing:
        found = parse_log_name(file.path.rpartition("/")[2])
        if found is not None and found.kind == "commit":
            return file
    return None


def _precedes(file: FileMeta, version: int) -> bool:
    found = parse_log_name(file.path.rpartition("/")[2])
    if found is None or found.kind == "commit":
        return False
    return found.version <= version if found.kind == "compaction" else found.version < version


def growing_times(commits: Iterable[FileMeta]) -> list[tuple[int, int]]:
    """Versions and their file times, each at least a millisecond after the one before (trap 22)."""
    found: list[tuple[int, int]] = []
    for file in sorted(commits):
        time = max(file.modified_ms, found[-1][1] + 1) if found else file.modified_ms
        found.append((int(file.path.rpartition("/")[2][:20]), time))
    return found


def expired_sidecars(listing: Iterable[FileMeta], referenced: Iterable[str], now_ms: int) -> tuple[str, ...]:
    """The sidecars that no checkpoint refers to, unless a checkpoint in the making may.

    :param referenced: bare names.
    """
    kept = {SIDECARS + name for name in referenced}
    yesterday = now_ms // DAY_MS * DAY_MS - DAY_MS
    return tuple(f.path for f in listing if f.path not in kept and f.modified_ms < yesterday)
