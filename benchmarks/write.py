"""What does it cost to write many rows at once?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.core import Contestant, Run, Target, Workload, lakes
from benchmarks.fingerprint import fingerprint
from benchmarks.inputs import lineitem

__all__ = ["WORKLOADS"]

_ROW_GROUP = 240_000  # rows; what the floor writes at once


def _delta_table(run: Run) -> Any:
    """Streamed from a mapped Arrow file into a new table of zstd-compressed files."""
    write, table = run.lake.write_deltalake, run.scratch / "table"
    options = {}
    if run.engine == "deltalake":
        options["writer_properties"] = run.lake.WriterProperties(compression="ZSTD", compression_level=1)
    with run.clock:
        write(str(table), _batches(run.input), **options)
    return _written(run, table)


def _parquet_file(run: Run) -> Any:
    table = run.scratch / "table"
    table.mkdir()
    with run.clock:
        reader = _batches(run.input)
        with pq.ParquetWriter(table / "part.parquet", reader.schema, compression="zstd") as writer:
            for rows in _groups(reader):
                writer.write_table(rows, row_group_size=_ROW_GROUP)
    return _written(run, table)


def _batches(source: Path) -> pa.RecordBatchReader:
    file = pa.ipc.open_file(pa.memory_map(str(source)))
    batches = (file.get_batch(number) for number in range(file.num_record_batches))
    return pa.RecordBatchReader.from_batches(file.schema, batches)


def _groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    batches: list[pa.RecordBatch] = []
    for batch in reader:
        batches.append(batch)
        if sum(map(len, batches)) >= _ROW_GROUP:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _written(run: Run, table: Path) -> Any:
    files = sorted(table.glob("**/*.parquet"))
    run.facts["files"] = len(files)
    run.facts["written_mb"] = round(sum(file.stat().st_size for file in files) / 1e6, 1)
    if not run.check:
        return None
    parts = [fingerprint(pq.ParquetFile(file).read()) for file in files]
    return {name: sum(int(part[name]) for part in parts) for name in parts[0]}


WORKLOADS = (
    Workload(
        "bulk-write",
        "a new table from a stream of {rows} rows of 16 columns",
        lineitem.arrow_file,
        (*lakes(_delta_table), Contestant("pyarrow", _parquet_file, "pyarrow")),
        (
            Target("cpu", 1.10, ("pyarrow",)),
            Target("wall", 1.10, ("pyarrow",)),
            Target("cpu", 0.95, ("deltalake",)),
            Target("wall", 0.95, ("deltalake",)),
            Target("memory", 200e6),
        ),
    ),
)
