"""What does it cost to import an engine?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.core import Contestant, Run, Scale, Target, Workload

__all__ = ["WORKLOADS"]


def _nothing(cache: Path, scale: Scale) -> Path:
    return cache


def _statement(run: Run) -> None:
    with run.clock:
        subprocess.run([sys.executable, "-c", run.options["statement"]], check=True)


def _import(engine: str, statement: str) -> Contestant:
    return Contestant(engine, _statement, engine, {"statement": statement})


_HANDLES = "from {} import DeltaTable, write_deltalake"

WORKLOADS = (
    Workload(
        "import",
        "import of an engine, the interpreter's own start included",
        _nothing,
        (
            _import("python", "pass"),
            _import("deltalite", _HANDLES.format("deltalite")),
            _import("deltalake", _HANDLES.format("deltalake")),
            _import("pyarrow", "import pyarrow, pyarrow.parquet, pyarrow.compute"),
            _import("polars", "import polars"),
            _import("duckdb", "import duckdb"),
        ),
        (Target("cpu", 1.5, ("pyarrow",)),),
    ),
)
