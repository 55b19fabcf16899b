"""One run of one contestant; started by ``benchmarks.process``, never by hand."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.core import SCALES, Clock, Run
from benchmarks.workloads import WORKLOADS


def main(workload: str, contestant: str, scale: str, source: str, scratch: str, check: str) -> None:
    chosen = next(c for c in WORKLOADS[workload].contestants if c.name == contestant)
    marks = os.dup(1)
    os.dup2(2, 1)  # what engines print must not look like marks
    clock = Clock(partial(os.write, marks))
    place = Path(scratch)
    run = Run(chosen.engine, chosen.options, Path(source), place, SCALES[scale], clock, check == "1")
    result = chosen.function(run)
    outcome = {
        "laps": clock.laps,
        "cpu": clock.cpu,
        "base_memory": clock.base_memory,
        "peak_memory": clock.peak_memory,
        "read_bytes": clock.read_bytes,
        "facts": run.facts,
        "result": result,
    }
    (place / "outcome.json").write_text(json.dumps(outcome, default=str))
    os._exit(0)  # an engine's own threads may crash an interpreter that takes itself apart


if __name__ == "__main__":
    main(*sys.argv[1:])
