"""What the doctor finds, and what every check gets to see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deltalite.log.segment import LogNames
from deltalite.model.snapshot import Snapshot
from deltalite.scan.paths import Resolve
from deltalite.storage.base import Store

Severity = Literal["error", "warning"]
Progress = Callable[[int, int], None]

DROP_FILE, WRITE_CHECKSUM, WRITE_CHECKPOINT, WRITE_STATISTICS = (
    "remove the file from the log",
    "write the checksum again",
    "write a checkpoint",
    "compute the statistics again",
)
"""The repairs that lose nothing which is not lost already."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as the log, the protocol or the files say.

    :param code: the kind of it, such as ``file-missing``.
    :param severity: ``error`` where rows cannot be read, or not rightly; ``warning`` for what costs time or history.
    :param message: what it is.
    :param path: the file.
    :param version: the version.
    :param repair: what ``repair=True`` does about it; ``None`` where nothing safe can be done.
    :param repaired: whether that was done.
    """

    code: str
    severity: Severity
    message: str
    path: str | None = None
    version: int | None = None
    repair: str | None = None
    repaired: bool = False

    def __str__(self) -> str:
        where = f" ({self.path})" if self.path and self.path not in self.message else ""
        done = " - repaired" if self.repaired else f" - can be repaired: {self.repair}" if self.repair else ""
        return f"{self.severity} {self.code}: {self.message}{where}{done}"


@dataclass(frozen=True)
class Patient:
    """A table under examination.

    :param snapshot: its newest version, by the log alone: no checksum was looked at.
    :param deep: look into data files too.
    """

    store: Store
    names: LogNames
    snapshot: Snapshot
    resolve: Resolve
    external: tuple[str, ...] = ()
    deep: bool = False
    progress: Progress | None = None
