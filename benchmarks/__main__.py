"""``python -m benchmarks``: run workloads, print a table each, write everything as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import ducklake
from benchmarks.core import SCALES, Contestant, Scale, Workload
from benchmarks.process import alternate
from benchmarks.report import Result, Results, environment, from_json, summary, table, targets, to_json
from benchmarks.workloads import WORKLOADS

__all__ = ["main"]

_DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
_INPUTS_VERSION = 1  # raised when an input's bytes change


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 when a contestant failed or gave another result than the others."""
    asked = _arguments().parse_args(arguments)
    chosen = [workload for name, workload in WORKLOADS.items() if _wanted(name, asked.only)]
    if asked.list or not chosen:
        scale = asdict(SCALES[asked.scale])
        print("\n".join(f"{name:32} {workload.question.format_map(scale)}" for name, workload in WORKLOADS.items()))
        return 0 if asked.list else 2
    if asked.show:
        return _show(chosen, [json.loads(place.read_text()) for place in asked.show], asked.document)
    scale = SCALES[asked.scale]
    data = (asked.data or Path(tempfile.gettempdir()) / "deltalite-benchmarks") / f"{scale.name}-{_INPUTS_VERSION}"
    data.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, Result]] = {}
    for workload in chosen:
        results[workload.name] = _measure(workload, asked.engines, data, scale, asked.runs)
        print(table(workload, results[workload.name], scale), flush=True, end="\n\n")
    _print(chosen, results, scale, tables=False)
    _save(asked.json, json.dumps(to_json(environment(scale.name, asked.runs), results), indent=1))
    everything = [result for found in results.values() for result in found.values()]
    return int(any(result.failure or result.differs for result in everything))


def _show(chosen: Sequence[Workload], told: Sequence[Mapping[str, Any]], document: bool) -> int:
    """The tables of runs of one scale; a later run of a workload stands for an earlier one."""
    if len({run["environment"]["scale"] for run in told}) > 1:
        sys.exit("these runs are of different scales; show them one by one")
    results = {name: found for run in told for name, found in from_json(run).items()}
    scale = SCALES[told[-1]["environment"]["scale"]]
    _print(chosen, results, scale)
    if document:
        _document(chosen, results, scale, "\n\n".join(map(_described, told)))
    return 0


def _print(chosen: Sequence[Workload], results: Results, scale: Scale, tables: bool = True) -> None:
    for workload in chosen if tables else ():
        if workload.name in results:
            print(table(workload, results[workload.name], scale), end="\n\n")
    print(summary(chosen, results, scale), end="\n\n")
    print(targets(chosen, results))


def _document(chosen: Sequence[Workload], results: Results, scale: Scale, runs: str) -> None:
    """Put the results into ``docs/performance.md``, between its two marks."""
    before, begin, rest = _DOCUMENT.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    parts = [runs, summary(chosen, results, scale), targets(chosen, results)]
    _DOCUMENT.write_text(before + begin + "\n" + "\n\n".join(parts) + "\n\n" + end + after)


def _described(told: Mapping[str, Any]) -> str:
    """What was run, and with what."""
    surroundings, names = told["environment"], ", ".join(f"`{name}`" for name in told["workloads"])
    packages = ", ".join(f"{name} {version}" for name, version in surroundings["packages"].items() if version)
    how = f"scale `{surroundings['scale']}`, {surroundings['runs']} runs each"
    return f"{names}: {how}; {packages}; Python {surroundings['python']}."


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="small", help="size of the inputs (default: small)")
    parser.add_argument("--only", action="append", metavar="NAME", help="workloads whose name starts so; repeatable")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="counted runs after the warm-up (default: 3)")
    parser.add_argument("--engines", metavar="A,B", help="only these engines, such as deltalite,deltalake")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where inputs are kept (default: the temporary directory)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="results (default: benchmarks/results/<time>.json)")
    parser.add_argument(
        "--show",
        type=Path,
        metavar="FILE",
        action="append",
        help="print the tables of results written before, and stop; repeatable",
    )
    parser.add_argument("--document", action="store_true", help="with --show: also write them into docs/performance.md")
    parser.add_argument("--list", action="store_true", help="name the workloads and stop")
    return parser


def _wanted(name: str, prefixes: Sequence[str] | None) -> bool:
    return not prefixes or any(name.startswith(prefix) for prefix in prefixes)


def _measure(workload: Workload, engines: str | None, data: Path, scale: Scale, runs: int) -> dict[str, Result]:
    contestants = tuple(c for c in workload.contestants if _takes_part(c, engines))
    results = {contestant.name: Result() for contestant in contestants}
    for contestant, warm_up, outcome in alternate(workload, contestants, data, scale, runs):
        results[contestant.name].take(outcome, warm_up)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    told = [result for result in results.values() if result.result is not None]
    for result in told:
        result.differs = result.result != told[0].result
    return results


def _takes_part(contestant: Contestant, engines: str | None) -> bool:
    """Whether an engine was asked for; DuckLake stays away where its extension is not installed."""
    if contestant.engine == "ducklake" and not ducklake.is_there():
        return False
    return not engines or contestant.engine in engines.split(",")


def _save(place: Path | None, text: str) -> None:
    if place is None:
        directory = Path(__file__).parent / "results"
        directory.mkdir(exist_ok=True)
        place = directory / f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}.json"
    place.write_text(text)
    print(f"\nresults: {place}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
