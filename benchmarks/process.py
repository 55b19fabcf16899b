"""Runs contestants in fresh processes, one after another, and samples the memory of each."""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.core import Contestant, Scale, Workload, anonymous_bytes

__all__ = ["Failure", "Sample", "alternate", "limited"]

_SAMPLE_SECONDS = 0.004
_LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Sample:
    """What one run measured: seconds and bytes."""

    laps: list[float]
    cpu: float
    memory: int  # peak growth of anonymous memory inside the clock; 0 where the system does not tell
    max_rss: int  # of the whole process, interpreter and imports included
    process_cpu: float  # of the whole process tree, interpreter and imports included
    read_bytes: int
    facts: dict[str, float]
    result: Any


@dataclass(frozen=True)
class Failure:
    """A run that raised; the last line of what it said."""

    message: str


def alternate(
    workload: Workload, contestants: tuple[Contestant, ...], data: Path, scale: Scale, runs: int
) -> Iterator[tuple[Contestant, bool, Sample | Failure]]:
    """A warm-up of every contestant, whose results are compared, then ``runs`` rounds of all of them.

    The order changes from round to round: who follows a process that filled the memory pays for getting it back.
    Yields the contestant, whether it was the warm-up, and what came of it. Who fails once is not run again.
    """
    source = workload.input(data, scale)
    failed: set[str] = set()
    shuffled = random.Random(len(contestants))
    for turn in range(runs + 1):
        for contestant in contestants if turn == 0 else shuffled.sample(contestants, len(contestants)):
            if contestant.name not in failed:
                outcome = _run(workload, contestant, source, data, scale, check=turn == 0)
                if isinstance(outcome, Failure):
                    failed.add(contestant.name)
                yield contestant, turn == 0, outcome


def _run(
    workload: Workload, contestant: Contestant, source: Path, data: Path, scale: Scale, check: bool
) -> Sample | Failure:
    scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=data))
    try:
        arguments = [workload.name, contestant.name, scale.name, str(source), str(scratch), str(int(check))]
        with open(scratch / "stderr", "wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.child", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=Path(__file__).parent.parent,
                env=_environment(data, contestant.data_limit),
                preexec_fn=partial(limited, contestant.data_limit),
            )
            peak = _watch(child)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said = (scratch / "stderr").read_text(errors="replace").strip().splitlines() or ["no message"]
            return Failure(f"exit {child.returncode}: {said[-1][:300]}")
        told = json.loads((scratch / "outcome.json").read_text())
        base = told.pop("base_memory")
        return Sample(
            memory=max(0, max(peak, told.pop("peak_memory")) - base),
            max_rss=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            process_cpu=usage.ru_utime + usage.ru_stime,
            **told,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _environment(data: Path, data_limit: int | None) -> dict[str, str]:
    """This process' own, with compiled modules kept where the warm-up may write them, as in an installed package."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if data_limit is not None:
        kept["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the others reserve a gigabyte of addresses, which counts
    return {**kept, "PYTHONPYCACHEPREFIX": str(data / "pycache")}


def limited(data_limit: int | None) -> None:
    """Let the system give this process no more memory for data."""
    if data_limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (data_limit, resource.RLIM_INFINITY))


def _watch(child: subprocess.Popen[bytes]) -> int:
    """The peak of the child's anonymous memory between its marks, sampled until it closes its output."""
    assert child.stdout is not None
    marks = child.stdout.fileno()
    running, peak, waited = False, 0, 0.0
    with child.stdout:
        while waited < _LIMIT_SECONDS:
            ready, _, _ = select.select([marks], [], [], _SAMPLE_SECONDS)
            if ready:
                said = os.read(marks, 4096)
                if not said:
                    return peak
                running = said.endswith(b"+")
            else:
                waited += _SAMPLE_SECONDS
                if running:
                    peak = max(peak, anonymous_bytes(child.pid))
    child.kill()
    return peak
