"""What does it cost to add a few rows: often, late in a long log, from several processes at once?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.core import Contestant, Run, Scale, Target, Workload
from benchmarks.inputs import logs

__all__ = ["WORKLOADS"]

_ROWS = 100
_AT_VERSION = 6  # appends measured in a long log; the first of them is not counted
_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("value", pa.float64()),
        ("kind", pa.string()),
        ("day", pa.date32()),
    ]
)


def _rows(number: int) -> pa.Table:
    random = np.random.default_rng(number)
    columns = [
        pa.array(np.arange(_ROWS) + number * _ROWS),
        pa.array(1_790_000_000_000_000 + np.arange(_ROWS) * 1_000_000).cast(pa.timestamp("us")).cast(_SCHEMA.types[1]),
        pa.array(random.random(_ROWS)),
        pa.array(random.choice(["click", "open", "view"], _ROWS).tolist(), pa.string()),
        pa.array(np.full(_ROWS, 20_500, np.int32)).cast(pa.date32()),
    ]
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _nothing(cache: Path, scale: Scale) -> Path:
    return cache


# -- many small appends ------------------------------------------------------------------------------------------


def _appends(run: Run) -> Any:
    """One append a lap, on a new handle each or on one that stays open."""
    table, write, options = str(run.scratch / "table"), run.lake.write_deltalake, _storage_options(run)
    batches = [_rows(number) for number in range(run.scale.appends + 1)]
    write(table, batches[0], **options)
    handle = run.lake.DeltaTable(table, **options) if run.options["open"] else None
    for batch in batches[1:]:
        with run.clock:
            if handle is None:
                write(table, batch, mode="append", **options)
            else:
                write(handle, batch, mode="append")
    return _rows_in(run, table)


def _storage_options(run: Run) -> dict[str, Any]:
    return {"storage_options": {"durability": "relaxed"}} if run.options.get("relaxed") else {}


def _rows_in(run: Run, table: str) -> Any:
    """Counted by deltalake, whoever wrote them."""
    import deltalake

    return deltalake.DeltaTable(table).count() if run.check else None


def _raw_appends(run: Run) -> Any:
    """The floor: a Parquet file and a JSON file each, with the four fsyncs of a durable append or none."""
    table = run.scratch / "table"
    (table / "_delta_log").mkdir(parents=True)
    batches = [_rows(number) for number in range(run.scale.appends + 1)]
    for number, batch in enumerate(batches[1:]):
        with run.clock:
            _raw_append(table, number, batch, run.options["fsync"])
    return sum(batch.num_rows for batch in batches) if run.check else None


def _raw_append(table: Path, version: int, batch: pa.Table, fsync: bool) -> None:
    sync: Callable[[int], None] = os.fsync if fsync else lambda _: None
    sink = pa.BufferOutputStream()
    pq.write_table(batch, sink, compression="zstd")
    data, name = sink.getvalue(), f"part-{uuid.uuid4()}.parquet"
    action = logs.add(name, {}, data.size, json.dumps({"numRecords": batch.num_rows}))
    _publish(table, name, data, sync)
    _publish(table / "_delta_log", f"{version:020d}.json", json.dumps(action).encode(), sync)


def _publish(directory: Path, name: str, data: Any, sync: Callable[[int], None]) -> None:
    hidden = directory / f".{name}"
    with open(hidden, "wb") as file:
        file.write(data)
        file.flush()
        sync(file.fileno())
    os.rename(hidden, directory / name)
    handle = os.open(directory, os.O_RDONLY)
    sync(handle)
    os.close(handle)


# -- one append in a long log ------------------------------------------------------------------------------------


def _long_log(cache: Path, scale: Scale, *, at: int, checkpoint: bool) -> Path:
    return logs.commit_log(cache, scale.versions[at], 1, checkpoint)


def _late_appends(run: Run) -> Any:
    table, write, options = run.scratch / "table", run.lake.write_deltalake, _storage_options(run)
    shutil.copytree(run.input, table, copy_function=os.link)
    (table / "_delta_log" / "_last_checkpoint").unlink(missing_ok=True)
    if (hint := run.input / "_delta_log" / "_last_checkpoint").exists():
        shutil.copy(hint, table / "_delta_log")
    handle = run.lake.DeltaTable(str(table), **options) if run.options["open"] else None
    batches = [_rows(number) for number in range(_AT_VERSION)]
    for number, batch in enumerate(batches):
        append = partial(write, str(table) if handle is None else handle, batch, mode="append")
        if number == 0:  # a process' first write also loads the encoders
            append(**({} if handle is not None else options))
            continue
        with run.clock:
            append(**({} if handle is not None else options))
    return run.lake.DeltaTable(str(table)).version()


# -- several processes -------------------------------------------------------------------------------------------


def _concurrent_appends(run: Run) -> Any:
    """All processes wait for a file to appear, then append; the clock runs from there to the last one's end.

    The imports of the processes are outside the clock's seconds and inside its CPU seconds.
    """
    table, write = str(run.scratch / "table"), run.lake.write_deltalake
    write(table, _rows(0), **_storage_options(run))
    arguments = [run.engine, table, str(run.scale.process_appends), json.dumps(_storage_options(run))]
    command = [sys.executable, "-m", "benchmarks.append", *arguments]
    processes = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(run.scale.processes)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it has imported its engine
    with run.clock:
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        answers = [json.loads(process.stdout.read()) for process in processes if process.stdout is not None]
        for process in processes:
            process.wait()
    failed = sum(answer["failed"] for answer in answers)
    run.clock.cpu = sum(answer["cpu"] for answer in answers)
    run.facts["failed"] = failed
    expected = (run.scale.processes * run.scale.process_appends + 1 - failed) * _ROWS
    if _rows_in(run, table) not in (None, expected):
        raise AssertionError("rows were lost or doubled")
    return None


def _worker(engine: str, table: str, appends: str, options: str, number: str) -> None:
    import importlib
    import time

    write = importlib.import_module(engine).write_deltalake
    batches = [_rows(int(number) * int(appends) + k) for k in range(int(appends))]
    print("ready", flush=True)
    sys.stdin.read()
    failed, cpu = 0, time.process_time()
    for batch in batches:
        try:
            write(table, batch, mode="append", **json.loads(options))
        except Exception as error:  # what may not happen is counted
            print(repr(error)[:200], file=sys.stderr)
            failed += 1
    print(json.dumps({"failed": failed, "cpu": time.process_time() - cpu}))


_DURABLE_FLOOR, _FLOOR = ("pyarrow durable",), ("pyarrow",)


def _small(function: Callable[[Run], Any], **options: Any) -> tuple[Contestant, ...]:
    return (
        Contestant("deltalite", function, "deltalite", options),
        Contestant("deltalite relaxed", function, "deltalite", {**options, "relaxed": True}),
        Contestant("deltalake", function, "deltalake", options),
    )


_RAW = (
    Contestant("pyarrow durable", _raw_appends, "pyarrow", {"fsync": True}),
    Contestant("pyarrow", _raw_appends, "pyarrow", {"fsync": False}),
)
_SMALL_TARGETS = (
    Target("wall", 0.003, (), "deltalite relaxed"),
    Target("wall", 0.10, ("deltalake",), "deltalite relaxed"),
    Target("cpu", 0.10, ("deltalake",), "deltalite relaxed"),
    Target("wall", 1.3, _DURABLE_FLOOR),
    Target("growth", 1.5),
    Target("growth", 1.5, (), "deltalite relaxed"),
)


def _late(at: int, checkpoint: bool, open_handle: bool) -> Workload:
    where = ("early", "later", "late")[at]
    log = "checkpoint" if checkpoint else "commits"
    handle = "open" if open_handle else "new"
    early = f"append-early-{log}-{handle}"
    within = tuple(Target("wall", 2.0, (name,), name, early) for name in ("deltalite", "deltalite relaxed"))
    return Workload(
        f"append-{where}-{log}-{handle}",
        f"one append at version {{versions[{at}]}}, {'a' if checkpoint else 'no'} checkpoint, {handle} handle",
        partial(_long_log, at=at, checkpoint=checkpoint),
        _small(_late_appends, open=open_handle),
        within if at else (),
    )


WORKLOADS = (
    Workload(
        "append-new",
        f"{{appends}} appends of {_ROWS} rows, a new handle each",
        _nothing,
        (*_small(_appends, open=False), *_RAW),
        _SMALL_TARGETS,
    ),
    Workload(
        "append-open",
        f"{{appends}} appends of {_ROWS} rows on one open handle",
        _nothing,
        (*_small(_appends, open=True), *_RAW),
        _SMALL_TARGETS,
    ),
    *(_late(at, checkpoint, handle) for checkpoint in (False, True) for handle in (False, True) for at in range(3)),
    Workload(
        "append-processes",
        f"{{process_appends}} appends of {_ROWS} rows by each of {{processes}} processes at once",
        _nothing,
        _small(_concurrent_appends),
        (
            Target("failed", 0),
            Target("failed", 0, (), "deltalite relaxed"),
            Target("wall", 0.7, ("deltalake",)),
            Target("wall", 0.7, ("deltalake",), "deltalite relaxed"),
        ),
    ),
)


if __name__ == "__main__":
    _worker(*sys.argv[1:])
