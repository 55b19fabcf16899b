"""The benchmark harness at tiny scale: it runs, its engines agree, its figures mean what their names say."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("resource", reason="the harness measures by POSIX resource usage")
pytest.importorskip("deltalake")

from benchmarks.__main__ import main
from benchmarks.core import SCALES, Clock, Target, Workload
from benchmarks.fingerprint import fingerprint
from benchmarks.inputs import lineitem, logs
from benchmarks.process import Sample
from benchmarks.report import Result, table, targets
from benchmarks.workloads import WORKLOADS

TINY = SCALES["tiny"]


def run(tmp_path: Path, *arguments: str) -> tuple[int, dict]:
    place = tmp_path / "results.json"
    common = ["--scale", "tiny", "--runs", "1", "--data", str(tmp_path), "--json", str(place)]
    status = main([*common, *arguments])
    return status, json.loads(place.read_text())


def sample(laps: list[float], cpu: float = 0.0, memory: int = 0, **facts: float) -> Sample:
    return Sample(laps, cpu, memory, 0, cpu, 0, facts, None)


def test_engines_agree_and_every_run_is_written_down(tmp_path, capsys):
    status, told = run(tmp_path, "--only", "prune-struct", "--only", "append-open", "--engines", "deltalite,deltalake")
    assert status == 0, told
    assert set(told["workloads"]) == {"prune-struct", "append-open"}
    assert set(told["workloads"]["append-open"]) == {"deltalite", "deltalite relaxed", "deltalake"}
    for found in told["workloads"].values():
        for result in found.values():
            assert result["failure"] is None and not result["differs"]
            assert len(result["runs"]) == 1 and result["wall"] > 0
    assert "| deltalite relaxed |" in capsys.readouterr().out
    assert not list(tmp_path.glob("*/scratch-*"))


@pytest.mark.slow
def test_every_workload_runs_and_gives_the_same_result_on_every_engine(tmp_path):
    status, told = run(tmp_path)
    broken = {(w, e): r["failure"] for w, es in told["workloads"].items() for e, r in es.items() if r["failure"]}
    assert status == 0, broken


def test_workload_names_are_prefixes_to_choose_by(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(WORKLOADS)
    assert not any("{" in line for line in listed)
    assert main(["--only", "no such workload"]) == 2


def test_the_clock_counts_only_what_is_inside():
    marks: list[bytes] = []
    clock = Clock(marks.append)
    for _ in range(2):
        with clock:
            time.sleep(0.02)
        sum(range(2_000_000))
    assert len(clock.laps) == 2 and all(0.02 <= lap < 0.5 for lap in clock.laps)
    assert clock.cpu < 0.02
    assert marks == [b"+", b"-"] * 2


def test_equal_rows_have_equal_fingerprints_in_any_layout():
    names, numbers = ["a", "bb", None, "dddd"], [1, 2, 3, 4]
    plain = pa.table({"s": names, "n": numbers})
    others = [
        pa.table({"n": pa.array(numbers, pa.int32()), "s": pa.array(names).dictionary_encode()}),
        pa.table({"s": pa.array(names, pa.large_string()), "n": numbers}).take([3, 1, 0, 2]),
        pa.table({"s": pa.array(names, pa.string_view()), "n": numbers}),
        pa.concat_tables([plain.slice(0, 1), plain.slice(1)]),
    ]
    assert all(fingerprint(other) == fingerprint(plain) for other in others)
    assert fingerprint(plain.slice(1)) != fingerprint(plain)


def test_inputs_are_the_same_on_every_machine_and_kept(tmp_path):
    first, second = (lineitem.arrow_file(tmp_path / name, TINY) for name in ("a", "b") if not (tmp_path / name).mkdir())
    assert first.read_bytes() == second.read_bytes()
    changed = first.stat().st_mtime_ns
    assert lineitem.arrow_file(tmp_path / "a", TINY).stat().st_mtime_ns == changed
    with pa.OSFile(str(first)) as source:
        rows = pa.ipc.open_file(source).read_all()
    assert rows.num_rows == TINY.rows and rows.schema == lineitem.SCHEMA


@pytest.mark.parametrize("struct_statistics", [False, True])
def test_deltalake_reads_the_generated_checkpoint(tmp_path, struct_statistics):
    from deltalake import DeltaTable

    handle = DeltaTable(str(logs.checkpoint_log(tmp_path, TINY, struct_statistics)))
    assert handle.version() == 10 and len(handle.file_uris()) == TINY.listed
    few = handle.file_uris(file_pruning_predicate=f"id >= {5 * logs.FILE_ROWS} AND id < {7 * logs.FILE_ROWS}")
    assert len(few) == 2


def test_deltalake_reads_the_generated_commits(tmp_path):
    from deltalake import DeltaTable

    for checkpoint in (False, True):
        handle = DeltaTable(str(logs.commit_log(tmp_path, 20, 3, checkpoint)))
        assert handle.version() == 20 and len(handle.file_uris()) == 60


def test_targets_compare_with_the_best_of_the_others():
    workload = Workload(
        "scan",
        "?",
        lineitem.table,
        (),
        (
            Target("wall", 1.0, ("pyarrow", "polars")),
            Target("growth", 1.5),
            Target("memory", 200e6),
            Target("failed", 0),
        ),
    )
    slow_end = [0.1] * 30 + [0.2] * 10
    results = {
        "deltalite": Result([sample(slow_end, memory=10**8, failed=0)]),
        "pyarrow": Result([sample([0.2])]),
        "polars": Result([sample([0.05])]),
    }
    told = targets([workload], {"scan": results}).splitlines()[2:]
    assert told == [
        "| scan | deltalite | wall <= 1 x pyarrow or polars | 2.00 x | **missed** |",
        "| scan | deltalite | growth <= 1.50 x | 2.00 x | **missed** |",
        "| scan | deltalite | memory <= 200 MB | 100 MB | met |",
        "| scan | deltalite | failed <= 0 | 0 | met |",
    ]


def test_the_table_gives_ratios_to_deltalake_and_says_what_failed():
    workload = Workload("scan", "{rows} rows", lineitem.table, ())
    results = {
        "deltalite": Result([sample([0.5], cpu=1.0), sample([0.7], cpu=1.4)]),
        "deltalake": Result([sample([1.2], cpu=2.4)], differs=True),
        "polars": Result(failure="exit 1: no such module"),
    }
    lines = table(workload, results, TINY).splitlines()
    assert lines[0] == "### scan: 20000 rows"
    assert lines[4] == "| deltalite | 600 ms | 0.50 | 1.20 s | 0.50 | 0 kB | 0 kB |  |"
    assert lines[5].endswith("| **RESULT DIFFERS** |") and lines[6].endswith("| exit 1: no such module |")
