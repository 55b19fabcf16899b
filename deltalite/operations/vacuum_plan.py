"""What VACUUM deletes and why everything else stays: decided from values alone.

A path is *needed* when a version that somebody may still read refers to it. Of the files that are looked at, those stay
that are needed or younger than the retention.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.features import partition_keys, physical_schema
from deltalite.model.actions import AddFile
from deltalite.model.config import TableConfig
from deltalite.model.files import add_table
from deltalite.model.partition import HIVE_NULL, escape
from deltalite.model.paths import LOG
from deltalite.model.properties import DELETED_FILE_RETENTION
from deltalite.scan.matching import may_match
from deltalite.storage.base import FileMeta, is_temporary

InPartition = Callable[[str], "bool | None"]
LIVE, RECENT, CHANGES, YOUNG = "in the newest version", "removed recently", "recent changes", "written recently"
HIDDEN, OTHER_PARTITION = "hidden by its name", "in another partition"
"""Why files stay; versions kept by name, tags and clones add reasons of their own."""

_SEEN_AMONG_HIDDEN = ("_change_data", "_delta_index")
_ICEBERG = "metadata/"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class VacuumRequest:
    """What the user asks for.

    :param retention_hours: how long removed files stay; ``None`` asks ``delta.deletedFileRetentionDuration``.
    :param enforce_retention: refuse a shorter time than the table's.
    :param full: list the table instead of going by the log alone.
    :param keep_versions: versions that stay readable.
    :param force: delete even if the log does not know most of the files that are there.
    :param partitions: only files of partitions for which this holds; in any form that a scan takes.
    """

    retention_hours: float | None = None
    enforce_retention: bool = True
    full: bool = False
    keep_versions: Sequence[int] = ()
    force: bool = False
    partitions: Any = None

    def retention_ms(self, config: TableConfig) -> int:
        """How long removed files stay, in milliseconds.

        :raises InvalidArgumentError: when that is no duration, or shorter than the table demands.
        """
        promised = config.get(DELETED_FILE_RETENTION)
        if self.retention_hours is None:
            return promised
        if not (isinstance(self.retention_hours, (int, float)) and 0 <= self.retention_hours < math.inf):
            raise InvalidArgumentError(f"a retention is a number of hours, not {self.retention_hours!r}")
        asked = round(self.retention_hours * _HOUR_MS)
        if asked < promised and self.enforce_retention:
            raise InvalidArgumentError(
                f"a retention of {self.retention_hours:g} hours is shorter than the {promised / _HOUR_MS:g} hours of "
                f"{DELETED_FILE_RETENTION.name}: readers and writers at work may still need these files",
                hint="change the property, or pass enforce_retention_duration=False if nobody reads or writes",
                retention_hours=self.retention_hours,
            )
        return asked


@dataclass(frozen=True, slots=True)
class Removed:
    """What the log says of a file that left the table, or of one with recorded changes.

    :param time_ms: since when no version needs it, in milliseconds since 1970: by its tombstone or by the time of the
        commit that holds it, whichever is later.
    :param partition: its partition values, where the log tells.
    :param changes: it holds recorded changes, which its own commit tells of.
    """

    time_ms: int
    partition: Mapping[str, str | None] | None = None
    changes: bool = False


@dataclass(frozen=True, slots=True)
class VacuumPlan:
    """What is to be deleted.

    :param kept: how many files stay, by reason.
    :param skipped: files that cannot be judged or must not be touched, each with the reason.
    :param unknown: how many of the files to delete the log does not mention.
    :param seen: how many data files were looked at.
    """

    delete: tuple[FileMeta, ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    unknown: int = 0
    seen: int = 0

    @property
    def bytes(self) -> int:
        """The size of what is to be deleted."""
        return sum(file.size for file in self.delete)

    @property
    def is_suspicious(self) -> bool:
        """Whether the log does not know most of the files that are there: this may be the wrong folder."""
        return 2 * self.unknown > self.seen


def needed_since(removed: Mapping[str, Removed], cutoff_ms: int) -> Iterator[tuple[str, str]]:
    """The removed files that versions after a time need, with the reason."""
    for path, entry in removed.items():
        if entry.time_ms > cutoff_ms:
            yield path, CHANGES if entry.changes else RECENT


def choose(
    files: Iterable[FileMeta],
    needed: Mapping[str, str],
    removed: Mapping[str, Removed],
    cutoff_ms: int,
    names: HiddenNames,
    in_partition: InPartition = lambda path: True,
) -> VacuumPlan:
    """
    :param files: what is there, in the store's own times.
    :param needed: paths that stay, with the reason.
    :param cutoff_ms: files written later stay.
    :param in_partition: whether a file is among those that VACUUM was limited to; ``None`` where nobody can tell.
    """
    delete: list[FileMeta] = []
    skipped: list[tuple[str, str]] = []
    kept: Counter[str] = Counter()
    unknown = seen = 0
    for file in files:
        if file.path.startswith(LOG):
            continue
        if names.hide(file.path):
            kept[HIDDEN] += 1
            continue
        temporary = is_temporary(file.path)
        seen += not temporary
        if file.path in needed:
            kept[needed[file.path]] += 1
        elif file.modified_ms > cutoff_ms:
            kept[YOUNG] += 1
        elif (within := in_partition(file.path)) is not True:
            if within is None:
                skipped.append((file.path, "nobody can tell its partition"))
            else:
                kept[OTHER_PARTITION] += 1
        else:
            delete.append(file)
            unknown += not temporary and file.path not in removed
    return VacuumPlan(tuple(sorted(delete)), dict(kept), tuple(skipped), unknown, seen)


class HiddenNames:
    """Which names are not the table's (protocol trap 4): those that begin with ``_`` or ``.``, but for change data,
    indexes, and the directories of partition columns that are named so; and the folder that Iceberg keeps."""

    def __init__(self, config: TableConfig) -> None:
        physical = {f.name: p.name for f, p in zip(config.schema.fields, physical_schema(config).fields, strict=True)}
        columns = {name for c in config.partition_columns for name in (c, physical[c])}
        self._seen = (*_SEEN_AMONG_HIDDEN, *{f"{s}=" for name in columns for s in (name, escape(name))})
        self._directories: dict[str, bool] = {"": False}

    def hide(self, path: str) -> bool:
        """Whether VACUUM leaves this path alone. Temporary files of ours are hidden from others, not from it."""
        directory, _, name = path.rpartition("/")
        if directory not in self._directories:
            parts = directory.split("/")
            self._directories[directory] = path.startswith(_ICEBERG) or any(map(self._hides, parts))
        return self._directories[directory] or (self._hides(name) and not is_temporary(path))

    def _hides(self, name: str) -> bool:
        return name.startswith(("_", ".")) and not name.startswith(self._seen)


def in_partitions(config: TableConfig, predicate: Any, removed: Mapping[str, Removed]) -> InPartition:
    """Tells whether a file's partition satisfies a predicate; ``None`` where nobody knows its partition.

    The log's word counts; of files that it does not mention, the Hive-style directory's does.

    :raises InvalidArgumentError: when the predicate is not about partitions alone.
    """
    if predicate is None:
        return lambda path: True
    bound = bind_predicate(to_expr(predicate, config.schema), config.schema)
    others = sorted({path[0] for path in bound.columns} - set(config.partition_columns))
    if others:
        raise InvalidArgumentError(
            f"VACUUM goes by partitions, and {', '.join(others)} is not one",
            hint=f"the table is partitioned by {', '.join(config.partition_columns) or 'nothing'}",
            columns=others,
        )
    keys = partition_keys(config)
    verdicts: dict[tuple[str | None, ...], bool | None] = {}

    def within(path: str) -> bool | None:
        known = removed.get(path)
        values = known.partition if known is not None else None
        if values is None or not all(key in values for key in keys):
            values = directory_values(path, keys)
        if values is None:
            return None
        texts = tuple(values[key] for key in keys)
        if texts not in verdicts:
            try:
                of_partition = add_table([AddFile(path, dict(values), 0, 0, True)])
                verdicts[texts] = bool(may_match(config, of_partition, bound)[0])
            except InvalidTableError:  # a directory that is named like a partition and is none
                verdicts[texts] = None
        return verdicts[texts]

    return within


def directory_values(path: str, keys: Iterable[str]) -> dict[str, str | None] | None:
    """The partition values that a Hive-style path tells; ``None`` unless it tells all of them."""
    found: dict[str, str | None] = {}
    for part in path.split("/")[:-1]:
        name, equals, value = part.partition("=")
        if equals:
            found[unquote(name)] = None if value == HIVE_NULL else unquote(value)
    wanted = list(keys)
    return {key: found[key] for key in wanted} if all(key in found for key in wanted) else None
