"""What an operation returns."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The outcome of one operation.

    :param version: the version it made, or the one that stood when there was nothing to do.
    :param operation: its name as ``history`` shows it.
    :param metrics: counts and sizes (rows, files, bytes), under the names of ``operationMetrics``.
    :param duration_s: wall time in seconds.
    :param txn_id: the id by which the commit is found in the log; ``None`` when nothing was committed.
    :param skipped: why nothing was committed, or ``None``.
    """

    version: int
    operation: str
    metrics: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    txn_id: str | None = None
    skipped: str | None = None

    def __getitem__(self, name: str) -> Any:
        """A metric, under its name in the log (``numDeletedRows``) or deltalake's (``num_deleted_rows``)."""
        if name in self.metrics:
            return self.metrics[name]
        return self.metrics[_camel(name)]

    def __contains__(self, name: str) -> bool:
        return name in self.metrics or _camel(name) in self.metrics

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.metrics)

    def keys(self) -> list[str]:
        """The metrics' names as deltalake spells them, so that ``dict(result)`` is what deltalake returns."""
        return [_snake(name) for name in self.metrics]

    def values(self) -> list[Any]:
        return list(self.metrics.values())

    def items(self) -> list[tuple[str, Any]]:
        return list(zip(self.keys(), self.values(), strict=True))

    def get(self, name: str, default: Any = None) -> Any:
        """A metric under either of its names, or ``default``."""
        return self.metrics.get(name, self.metrics.get(_camel(name), default))

    def __bool__(self) -> bool:
        return True

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "operation": self.operation,
            "metrics": dict(self.metrics),
            "duration_s": round(self.duration_s, 4),
            "txn_id": self.txn_id,
            "skipped": self.skipped,
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>"
            for k, v in {"version": self.version, "operation": self.operation, **self.metrics}.items()
        )
        return f"<table>{rows}</table>"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda m: "_" + m[1].lower(), name)


@dataclass(frozen=True)
class ChangePreview:
    """What a row-changing operation would do; nothing was written.

    :param version: the version that was looked at.
    :param metrics: rows and files as the commit would count them, without what is only known once it is written.
    :param files: every live file: ``path``, ``kept`` (it is looked into) and ``reason``, ``way`` (``keep``, ``remove``,
        ``mark`` with a deletion vector, ``rewrite``), ``rows_changed``, ``rows_copied``.
    :param bytes_to_write: an estimate, from the sizes of the files and of the source.
    :param memory_bytes: an estimate of the most that is held at a time.
    """

    operation: str
    version: int
    metrics: Mapping[str, Any]
    files: pa.Table
    bytes_to_write: int
    memory_bytes: int

    def __getitem__(self, name: str) -> Any:
        return self.metrics[name] if name in self.metrics else self.metrics[_camel(name)]

    def __repr__(self) -> str:
        ways = self.files.column("way").to_pylist()
        kept = sum(self.files.column("kept").to_pylist())
        todo = ", ".join(f"{ways.count(way)} {word}" for way, word in _WAYS.items() if way in ways)
        rows = ", ".join(f"{self.metrics[name]:,} {word}" for name, word in _ROWS.items() if self.metrics.get(name))
        return "\n".join(
            (
                f"{self.operation} on version {self.version}, not executed",
                f"  files   {len(ways):,}: {kept:,} looked into, {len(ways) - kept:,} skipped"
                + (f"; {todo}" if todo else ""),
                f"  rows    {rows or 'none change'}",
                f"  writes  about {_size(self.bytes_to_write)}; memory about {_size(self.memory_bytes)}",
            )
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "operation": self.operation,
            "version": self.version,
            "metrics": dict(self.metrics),
            "files": self.files.to_pylist(),
            "bytes_to_write": self.bytes_to_write,
            "memory_bytes": self.memory_bytes,
        }


_SHOWN = 10
_WAYS = {"remove": "removed", "mark": "marked with a deletion vector", "rewrite": "rewritten"}
_ROWS = {
    "numTargetRowsInserted": "inserted", "numTargetRowsUpdated": "updated", "numTargetRowsDeleted": "deleted",
    "numTargetRowsCopied": "copied", "numUpdatedRows": "updated", "numDeletedRows": "deleted",
    "numCopiedRows": "copied",
}  # fmt: skip


class VacuumResult(list[str]):
    """The paths that are gone, relative to the table; in a dry run those that would be.

    :ivar dry_run: nothing was deleted.
    :ivar version: the version that it was planned for; with something deleted, the one that records it.
    :ivar bytes: the size of these files.
    :ivar kept: how many files stay, by reason.
    :ivar skipped: files that cannot be judged or could not be deleted, each with the reason.
    :ivar directories: how many empty directories were removed.
    :ivar refused: why nothing is deleted, or in a dry run would not be.
    """

    def __init__(
        self,
        paths: Iterable[str],
        *,
        dry_run: bool,
        version: int,
        size: int = 0,
        kept: Mapping[str, int] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
        directories: int = 0,
        refused: str | None = None,
    ) -> None:
        super().__init__(paths)
        self.dry_run = dry_run
        self.version = version
        self.bytes = size
        self.kept = dict(kept or {})
        self.skipped = list(skipped)
        self.directories = directories
        self.refused = refused

    def __repr__(self) -> str:
        verb = "DRY RUN: would delete" if self.dry_run else "deleted"
        lines = [f"{verb} {len(self):,} file{'s' * (len(self) != 1)} ({_size(self.bytes)})"]
        lines += [f"  {path}" for path in self[:_SHOWN]] + ["  ..."] * (len(self) > _SHOWN)
        if self.kept:
            lines.append("kept " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.kept.items())))
        lines += [f"skipped {path}: {why}" for path, why in self.skipped[:_SHOWN]]
        lines += ["..."] * (len(self.skipped) > _SHOWN)
        if self.refused:
            lines.append(f"refused: {self.refused}")
        return "\n".join(lines)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
