"""What is told of the layout of a table's files: how many of them a lookup touches, and what OPTIMIZE would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Lookups:
    """How many files a lookup of one value (``column = value``) reads, as far as the log's statistics tell.

    :param average: over the values that the rows have, about.
    :param worst: for the unluckiest value.
    :param without_statistics: files that are always read, for want of bounds.
    """

    column: str
    average: float
    worst: int
    without_statistics: int = 0


@dataclass(frozen=True, slots=True)
class LayoutAnalysis:
    """The layout of one version.

    :param small_files: files of less than half the size that files should have.
    :param worn_files: files of which more than 5 % of the rows are deleted.
    """

    version: int
    files: int
    bytes: int
    small_files: int
    worn_files: int
    columns: tuple[Lookups, ...]

    def __getitem__(self, column: str) -> Lookups:
        return next(found for found in self.columns if found.column == column)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __repr__(self) -> str:
        lines = [
            f"version {self.version}: {self.files:,} files of {size_text(self.bytes)}, "
            f"{self.small_files:,} small, {self.worn_files:,} with many deleted rows",
            f"  {'lookup by':<24}{'files on average':>18}{'at worst':>12}{'no statistics':>16}",
        ]
        lines += [f"  {c.column:<24}{c.average:>18,.1f}{c.worst:>12,}{c.without_statistics:>16,}" for c in self.columns]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class LayoutPreview:
    """What an operation on the layout would do; nothing was written.

    :param version: the version that was looked at.
    :param groups: what is written together: ``partition`` (values as the log spells them), ``files`` and ``bytes``.
    :param files_after: live files afterwards, about.
    :param memory_bytes: an estimate of the most that is held at a time.
    :param lookups: by column, the files that a lookup touches ``now`` and ``after``, on average; the latter estimated.
    :param warnings: what becomes worse by it.
    """

    operation: str
    version: int
    groups: tuple[Mapping[str, Any], ...]
    files: int
    files_after: int
    files_to_rewrite: int
    bytes_to_rewrite: int
    memory_bytes: int
    lookups: Mapping[str, Mapping[str, float]]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "groups": [dict(g) for g in self.groups]}

    def __repr__(self) -> str:
        lines = [
            f"{self.operation} on version {self.version}, not executed",
            f"  rewrites  {self.files_to_rewrite:,} of {self.files:,} files, {size_text(self.bytes_to_rewrite)} "
            f"in {len(self.groups):,} groups; memory about {size_text(self.memory_bytes)}",
            f"  leaves    about {self.files_after:,} files",
        ]
        if self.lookups:
            lines.append(f"  {'lookup by':<24}{'files now':>12}{'after, about':>14}")
            lines += [f"  {c:<24}{v['now']:>12,.1f}{v['after']:>14,.1f}" for c, v in self.lookups.items()]
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def size_text(count: float) -> str:
    """Bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
