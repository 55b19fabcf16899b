"""Results as a table, targets met or missed, and JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.core import Metric, Scale, Target, Workload
from benchmarks.process import Failure, Sample

__all__ = ["Result", "environment", "from_json", "summary", "table", "targets", "to_json"]

_BASIS, _FLOOR, _DUCKLAKE = "deltalake", "pyarrow", "ducklake"
_PACKAGES = (
    "deltalite", "deltalake", "pyarrow", "numpy", "polars", "duckdb", "duckdb-extension-ducklake", "pandas",
)  # fmt: skip
_ENDS = 10  # laps compared for growth
Results = Mapping[str, Mapping[str, "Result"]]


@dataclass
class Result:
    """All runs of one contestant of one workload."""

    samples: list[Sample] = field(default_factory=list)
    failure: str | None = None
    result: Any = None
    differs: bool = False

    def take(self, outcome: Sample | Failure, warm_up: bool) -> None:
        if isinstance(outcome, Failure):
            self.failure = outcome.message
        elif warm_up:
            self.result = outcome.result
        else:
            self.samples.append(outcome)

    def metric(self, name: Metric) -> float | None:
        """Medians over the runs: seconds a lap, bytes, last laps over first laps, or the facts that a run gave."""
        of: dict[Metric, Callable[[Sample], float | None]] = {
            "wall": lambda sample: statistics.median(sample.laps),
            "cpu": lambda sample: sample.cpu / len(sample.laps),
            "memory": lambda sample: sample.memory,
            "growth": _growth,
            "failed": lambda sample: sample.facts.get("failed"),
        }
        found = [value for value in map(of[name], self.samples) if value is not None]
        return (max if name == "failed" else statistics.median)(found) if found else None

    def fact(self, name: str) -> float:
        return statistics.median(sample.facts[name] for sample in self.samples)


def _growth(sample: Sample) -> float | None:
    if len(sample.laps) < 4 * _ENDS:
        return None
    return statistics.median(sample.laps[-_ENDS:]) / statistics.median(sample.laps[:_ENDS])


# -- the table ---------------------------------------------------------------------------------------------------


def table(workload: Workload, results: Mapping[str, Result], scale: Scale) -> str:
    """A Markdown table of one workload; ratios are to deltalake in the same run."""
    basis = results.get(_BASIS)
    lines = [
        f"### {workload.name}: {workload.question.format_map(asdict(scale))}",
        "",
        "| engine | wall | x | CPU | x | memory | read | |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for name, result in results.items():
        cells = [name, *_cells(result, basis)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(result: Result, basis: Result | None) -> list[str]:
    if result.failure or not result.samples:
        return [""] * 6 + [result.failure or "not run"]
    read = statistics.median(sample.read_bytes / len(sample.laps) for sample in result.samples)
    notes = [f"{key} {result.fact(key):g}" for key in result.samples[0].facts]
    if (growth := result.metric("growth")) is not None:
        notes.append(f"last/first {growth:.2f}")
    if result.differs:
        notes.append("**RESULT DIFFERS**")
    cells = []
    for metric in ("wall", "cpu"):
        cells += [_seconds(result.metric(metric)), _ratio(result.metric(metric), basis and basis.metric(metric))]
    return [*cells, _megabytes(result.metric("memory")), _megabytes(read), ", ".join(notes)]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.02 else f"{value * 1000:.2f} ms"


def _megabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:.0f} MB" if value >= 1e6 else f"{value / 1e3:.0f} kB"


def _ratio(value: float | None, basis: float | None) -> str:
    return f"{value / basis:.2f}" if value is not None and basis else ""


def summary(workloads: Iterable[Workload], results: Results, scale: Scale) -> str:
    """A Markdown table with a line for each way in which deltalite did a workload, beside the others and the floor."""
    lines = [
        "| workload | deltalite | deltalake | wall x | CPU x | memory x | floor CPU x | DuckLake CPU x |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for workload in workloads:
        found = results.get(workload.name, {})
        for name in (name for name in found if name.startswith("deltalite")):
            other = found.get(name.replace("deltalite", _BASIS)) or found.get(_BASIS) or Result()
            others = [found.get(name) or Result() for name in (_FLOOR, _DUCKLAKE)]
            how = name.removeprefix("deltalite").strip()
            asked = f"{workload.question.format_map(asdict(scale))}{f' ({how})' if how else ''}"
            cells = [f"`{workload.name}`: {asked}", _short(found[name]), _short(other)]
            cells += [_ratio(found[name].metric(m), other.metric(m)) for m in ("wall", "cpu", "memory")]
            cells += [_ratio(found[name].metric("cpu"), other.metric("cpu")) for other in others]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _short(result: Result) -> str:
    wall, cpu, memory = (result.metric(metric) for metric in ("wall", "cpu", "memory"))
    return f"{_seconds(wall)}, {_seconds(cpu)}, {_megabytes(memory)}" if wall is not None else ""


# -- targets -----------------------------------------------------------------------------------------------------


def targets(workloads: Iterable[Workload], results: Results) -> str:
    """A Markdown table of every target that the run can judge."""
    lines = ["| workload | engine | target | reached | |", "|---|---|---|--:|---|"]
    for workload in workloads:
        for target in workload.targets:
            reached = _reached(workload.name, target, results)
            if reached is not None:
                met = "met" if reached <= target.at_most else "**missed**"
                wanted, shown = _wanted(target), _shown(target, reached)
                lines.append(f"| {workload.name} | {target.contestant} | {wanted} | {shown} | {met} |")
    return "\n".join(lines)


def _reached(workload: str, target: Target, results: Results) -> float | None:
    ours = results.get(workload, {}).get(target.contestant)
    value = ours.metric(target.metric) if ours else None
    if value is None or not target.against:
        return value
    others = results.get(target.workload or workload, {})
    found = [others[name].metric(target.metric) for name in target.against if name in others]
    known = [other for other in found if other]
    return value / min(known) if known else None


def _wanted(target: Target) -> str:
    if not target.against:
        return f"{target.metric} <= {_shown(target, target.at_most)}"
    against = target.workload or " or ".join(target.against)
    return f"{target.metric} <= {target.at_most:g} x {against}"


def _shown(target: Target, value: float) -> str:
    if target.against or target.metric == "growth":
        return f"{value:.2f} x"
    return {"memory": _megabytes, "failed": "{:.0f}".format}.get(target.metric, _seconds)(value)


# -- JSON --------------------------------------------------------------------------------------------------------


def environment(scale: str, runs: int) -> dict[str, Any]:
    """What a figure depends on; nothing that names a machine."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "scale": scale,
        "runs": runs,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": packages,
    }


def to_json(surroundings: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Everything that was measured, run by run."""
    return {
        "environment": surroundings,
        "workloads": {
            workload: {
                name: {
                    "failure": result.failure,
                    "differs": result.differs,
                    "wall": result.metric("wall"),
                    "cpu": result.metric("cpu"),
                    "memory": result.metric("memory"),
                    "growth": result.metric("growth"),
                    "runs": [asdict(sample) for sample in result.samples],
                }
                for name, result in found.items()
            }
            for workload, found in results.items()
        },
    }


def from_json(told: Mapping[str, Any]) -> dict[str, dict[str, Result]]:
    """The results that :func:`to_json` wrote."""
    return {
        workload: {
            name: Result([Sample(**run) for run in result["runs"]], result["failure"], None, result["differs"])
            for name, result in found.items()
        }
        for workload, found in told["workloads"].items()
    }
