"""The nouns of the harness: workloads, contestants, targets, and a run as its process sees it."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Literal

__all__ = ["SCALES", "Clock", "Contestant", "Run", "Scale", "Target", "Workload", "anonymous_bytes", "lakes"]

Metric = Literal["wall", "cpu", "memory", "growth", "failed"]
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Scale:
    """How large the inputs are."""

    name: str
    rows: int  # of lineitem
    files: int  # that hold them
    appends: int
    versions: tuple[int, int, int]  # at which one more append is measured
    commits: int  # of 10 files each, no checkpoint
    listed: int  # files in one checkpoint
    processes: int
    process_appends: int
    updates: int  # rows of lineitem that a MERGE finds
    inserts: int  # and that it brings
    events: int  # narrow rows
    upserts: int  # rows of a large source, nine of ten known


SCALES = {
    scale.name: scale
    for scale in (
        Scale("tiny", 20_000, 10, 12, (10, 20, 40), 20, 2_000, 2, 3, 200, 40, 40_000, 4_000),
        Scale("small", 600_000, 100, 60, (10, 200, 1_000), 500, 100_000, 4, 10, 6_000, 1_200, 2_000_000, 200_000),
        Scale(
            "full",
            6_000_000,
            100,
            200,
            (10, 1_000, 5_000),
            5_000,
            1_000_000,
            8,
            25,
            60_000,
            12_000,
            20_000_000,
            2_000_000,
        ),
    )
}


class Clock:
    """Measures what happens inside ``with clock:``; every entry is one lap (one append, one lookup, one scan).

    CPU seconds are user and system time of this process and of the children it has waited for. The marks go to the
    parent, which samples this process' memory between a ``+`` and a ``-``.
    """

    def __init__(self, marks: Callable[[bytes], Any]) -> None:
        self.laps: list[float] = []
        self.cpu = 0.0
        self.read_bytes = 0
        self.base_memory = -1
        self.peak_memory = 0
        self._mark = marks

    def __enter__(self) -> None:
        if self.base_memory < 0:
            self.base_memory = anonymous_bytes("self")
        self._mark(b"+")
        self._bytes = _bytes_read()
        self._cpu = _cpu_seconds()
        self._start = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.laps.append(time.perf_counter() - self._start)
        self.cpu += _cpu_seconds() - self._cpu
        self.read_bytes += _bytes_read() - self._bytes
        self._mark(b"-")
        self.peak_memory = max(self.peak_memory, anonymous_bytes("self"))


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def anonymous_bytes(process: int | str) -> int:
    """Resident memory of a process that no file backs (Linux; 0 elsewhere, and of a process that is gone)."""
    try:
        with open(f"/proc/{process}/statm", "rb") as statm:
            _, resident, shared, *_ = statm.read().split()
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _bytes_read() -> int:
    """Bytes this process asked of the system by read calls (Linux; 0 elsewhere)."""
    if not sys.platform.startswith("linux"):
        return 0
    handle = os.open("/proc/self/io", os.O_RDONLY)
    try:
        return int(os.read(handle, 64).split()[1])
    finally:
        os.close(handle)


@dataclass
class Run:
    """One run of one contestant, in a process of its own."""

    engine: str
    options: Mapping[str, Any]
    input: Path  # read only, shared by all runs
    scratch: Path  # empty, removed afterwards
    scale: Scale
    clock: Clock
    check: bool = True  # compute the result that must be equal across contestants
    facts: dict[str, float] = field(default_factory=dict)

    @cached_property
    def lake(self) -> ModuleType:
        """The engine's package, imported outside the clock with what its calls import lazily."""
        if self.engine == "deltalake":
            importlib.import_module("pyarrow.dataset")
        package = importlib.import_module(self.engine)
        _ = package.DeltaTable, package.write_deltalake
        return package


@dataclass(frozen=True)
class Contestant:
    """An engine doing a workload: ``function(run)`` measures with ``run.clock`` and returns the result to compare.

    ``data_limit``: bytes that the system lets the process have for its data, from its start.
    """

    name: str
    function: Callable[[Run], Any]
    engine: str
    options: Mapping[str, Any] = field(default_factory=dict)
    data_limit: int | None = None


@dataclass(frozen=True)
class Target:
    """``contestant``'s metric is at most ``at_most`` times that of ``against``, or at most ``at_most`` itself.

    ``against`` names contestants (the best of them counts); with ``workload``, those of another workload.
    """

    metric: Metric
    at_most: float
    against: tuple[str, ...] = ()
    contestant: str = "deltalite"
    workload: str | None = None


@dataclass(frozen=True)
class Workload:
    """One question, asked of several contestants over the same input; it may name fields of the scale in braces."""

    name: str
    question: str
    input: Callable[[Path, Scale], Path]
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...] = ()


def lakes(function: Callable[[Run], Any], **options: Any) -> tuple[Contestant, ...]:
    """deltalite and deltalake, by the names that they share."""
    return tuple(Contestant(engine, function, engine, options) for engine in ("deltalite", "deltalake"))
