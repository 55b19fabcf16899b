"""The benchmark harness at tiny scale: it runs, its engines agree, its figures mean what their names say."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("resource", reason="the harness measures by POSIX resource usage")
pytest.importorskip("deltalake")

from benchmarks import ducklake
from benchmarks.__main__ import main
from benchmarks.core import SCALES, Clock, Target, Workload
from benchmarks.fingerprint import fingerprint
from benchmarks.inputs import changes, lineitem, logs
from benchmarks.process import Sample, limited
from benchmarks.report import Result, summary, table, targets
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


# -- rows that change ----------------------------------------------------------------------------------------------


def keys_of(rows: pa.Table, *names: str) -> set[tuple]:
    return set(zip(*(rows.column(name).to_pylist() for name in names), strict=True))


@pytest.mark.parametrize("vectors", [False, True])
def test_both_engines_read_the_tables_whose_rows_change(tmp_path, vectors):
    import deltalake

    import deltalite

    place = changes.lay(changes.lines(tmp_path, TINY), tmp_path / "table", vectors=vectors)
    for engine in (deltalake, deltalite):
        handle = engine.DeltaTable(str(place))
        rows = pa.RecordBatchReader.from_stream(handle.scan()).read_all()
        assert rows.num_rows == TINY.rows and len(handle.file_uris()) == changes.FILES


def test_sources_hold_as_many_known_and_new_keys_as_they_say(tmp_path):
    from deltalake import DeltaTable

    place = changes.lines(tmp_path, TINY)
    names = "l_orderkey", "l_linenumber"
    known = keys_of(DeltaTable(str(changes.lay(place, tmp_path / "t", vectors=False))).to_pyarrow_table(), *names)
    assert len(known) == TINY.rows
    for source, updates, inserts in (("random", TINY.updates, TINY.inserts), ("few", 180, 20), ("local", 200, 40)):
        rows = changes.source(place, source)
        found = keys_of(rows, *names)
        assert (len(found), len(found & known)) == (rows.num_rows, updates) and rows.num_rows == updates + inserts
    orders = [key for key, _ in keys_of(changes.source(place, "local"), *names)]
    assert max(orders) - min(orders) < TINY.rows // changes.FILES

    place = changes.events(tmp_path, TINY)
    ids = [id for (id,) in keys_of(changes.source(place, "large"), "id")]
    assert len(ids) == TINY.upserts and sum(id % 2 for id in ids) == TINY.upserts // 10
    assert max(ids) < 2 * TINY.events


def test_a_merge_gives_the_same_rows_everywhere(tmp_path):
    status, told = run(tmp_path, "--only", "merge-few")
    assert status == 0, told
    assert {"deltalite", "deltalite copy-on-write", "deltalake"} <= set(told["workloads"]["merge-few"])


def test_ducklake_stays_away_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(ducklake, "PACKAGE", "no_such_package")
    status, told = run(tmp_path, "--only", "delete", "--engines", "deltalite,ducklake")
    assert status == 0 and set(told["workloads"]["delete"]) == {"deltalite", "deltalite copy-on-write"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not count data alone")
def test_a_limited_process_gets_no_more_memory():
    for size, fails in ((64 << 20, False), (1 << 30, True)):
        code = f"bytearray({size})"
        done = subprocess.run([sys.executable, "-c", code], preexec_fn=partial(limited, 512 << 20), capture_output=True)
        assert (b"MemoryError" in done.stderr) == fails


def test_the_summary_sets_each_way_beside_all_others():
    workload = Workload("merge", "{rows} rows", lineitem.table, ())
    results = {name: Result([sample([1.0], cpu=cpu)]) for name, cpu in
               (("deltalite", 1.0), ("deltalite slow", 3.0), ("deltalake", 4.0), ("ducklake", 2.0))}  # fmt: skip
    lines = summary([workload], {"merge": results}, TINY).splitlines()[2:]
    assert [line.split("|")[5:9] for line in lines] == [
        [" 0.25 ", "  ", "  ", " 0.50 "], [" 0.75 ", "  ", "  ", " 1.50 "],
    ]  # fmt: skip


def test_results_of_several_runs_are_shown_together(tmp_path, capsys):
    for number, name in enumerate(("count-warm", "append-open")):
        assert main(["--scale", "tiny", "--runs", "1", "--engines", "deltalite", "--only", name, "--data", str(tmp_path),
                     "--json", str(tmp_path / f"{number}.json")]) == 0  # fmt: skip
    capsys.readouterr()
    assert main(["--show", str(tmp_path / "0.json"), "--show", str(tmp_path / "1.json")]) == 0
    shown = capsys.readouterr().out
    assert "### count-warm" in shown and "### append-open" in shown
