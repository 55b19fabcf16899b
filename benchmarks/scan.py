"""What does it cost to read rows: all, some columns, some files, one key?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.core import Contestant, Run, Target, Workload, lakes
from benchmarks.fingerprint import fingerprint
from benchmarks.inputs import lineitem

__all__ = ["WORKLOADS", "long_scalar"]

_THREE = ["l_orderkey", "l_extendedprice", "l_shipmode"]
_LOOKUPS = 20
_Range = tuple[int, int]


def _compared(run: Run, table: pa.Table) -> Any:
    return fingerprint(table) if run.check else table.num_rows


# -- whole tables ------------------------------------------------------------------------------------------------


def _to_table(run: Run) -> Any:
    handle_of = run.lake.DeltaTable
    with run.clock:
        table = handle_of(str(run.input)).to_pyarrow_table(columns=run.options["columns"])
    return _compared(run, table)


def _scan(run: Run) -> Any:
    """The lazy exit, drained; string layouts as the engine gives them."""
    handle_of = run.lake.DeltaTable
    with run.clock:
        reader = pa.RecordBatchReader.from_stream(handle_of(str(run.input)).scan(columns=run.options["columns"]))
        table = reader.read_all()
    return _compared(run, table)


def _parquet_files(run: Run) -> Any:
    """The floor: every file read whole, threads over files."""

    def read(file: Path) -> pa.Table:
        return pq.ParquetFile(file).read(columns=run.options["columns"], use_threads=False)

    with run.clock, ThreadPoolExecutor(os.cpu_count()) as threads:
        table = pa.concat_tables(threads.map(read, _files(run)))
    return _compared(run, table)


def _polars(run: Run) -> Any:
    import polars

    with run.clock:
        frame = polars.scan_parquet(_files(run))
        columns = run.options["columns"]
        table = (frame.select(columns) if columns else frame).collect().to_arrow()
    return _compared(run, table)


def _duckdb(run: Run) -> Any:
    import duckdb

    columns = ", ".join(run.options["columns"] or ["*"])
    names = [str(file) for file in _files(run)]
    with run.clock:
        table = duckdb.sql(f"SELECT {columns} FROM read_parquet({names!r})").to_arrow_table()
    return _compared(run, table)


def _files(run: Run) -> list[Path]:
    return sorted(run.input.glob("*.parquet"))


# -- some rows ---------------------------------------------------------------------------------------------------


def _select_table(run: Run) -> Any:
    """``to_pyarrow_table(filters=...)``."""

    def read(handle: Any, keys: _Range) -> pa.Table:
        return handle.to_pyarrow_table(filters=[("l_orderkey", ">=", keys[0]), ("l_orderkey", "<=", keys[1])])

    return _select(run, lambda: run.lake.DeltaTable(str(run.input)), read)


def _select_scan(run: Run) -> Any:
    """``scan(predicate=...)``."""

    def read(handle: Any, keys: _Range) -> pa.Table:
        stream = handle.scan(predicate=f"l_orderkey >= {keys[0]} AND l_orderkey <= {keys[1]}")
        return pa.RecordBatchReader.from_stream(stream).read_all()

    return _select(run, lambda: run.lake.DeltaTable(str(run.input)), read)


def _select_file(run: Run) -> Any:
    """The floor: the file is known, its rows are read and masked."""
    rows = lineitem.chunk_rows(run.scale)

    def read(files: list[Path], keys: _Range) -> pa.Table:
        table = pq.ParquetFile(files[keys[0] // rows]).read(use_threads=False)
        key, low, high = table.column("l_orderkey"), long_scalar(keys[0]), long_scalar(keys[1])
        return table.filter(pc.and_(pc.greater_equal(key, low), pc.less_equal(key, high)))

    return _select(run, lambda: _files(run), read)


def long_scalar(value: int) -> pa.Scalar:
    """``pa.scalar(value, pa.int64())`` without the import of pandas that this brings."""
    return pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(value.to_bytes(8, "little", signed=True))])[0]


def _select_polars(run: Run) -> Any:
    import polars

    def read(frame: Any, keys: _Range) -> pa.Table:
        return frame.filter(polars.col("l_orderkey").is_between(*keys)).collect().to_arrow()

    return _select(run, lambda: polars.scan_parquet(_files(run)), read)


def _select_duckdb(run: Run) -> Any:
    import duckdb

    def read(source: str, keys: _Range) -> pa.Table:
        return duckdb.sql(f"SELECT * FROM {source} WHERE l_orderkey BETWEEN {keys[0]} AND {keys[1]}").to_arrow_table()

    return _select(run, lambda: f"read_parquet({[str(file) for file in _files(run)]!r})", read)


def _select(run: Run, opened: Callable[[], Any], read: Callable[[Any, _Range], pa.Table]) -> Any:
    """Cold: opening the table and the first read of the process. Warm: further reads on the same handle."""
    first, *others = run.options["keys"](run)
    if not run.options["warm"]:
        _ = run.lake if run.engine in ("deltalite", "deltalake") else None
        with run.clock:
            table = read(opened(), first)
        return _compared(run, table)
    handle = opened()
    found = [read(handle, first)]
    for keys in others:
        with run.clock:
            found.append(read(handle, keys))
    return [_compared(run, table) for table in found]


def _keys_of_one_file(run: Run) -> list[_Range]:
    rows = lineitem.chunk_rows(run.scale)
    start = run.scale.files * 2 // 3 * rows
    return [(start + rows // 100, start + rows // 100 + rows // 10)]


def _single_keys(run: Run) -> list[_Range]:
    rows, files = lineitem.chunk_rows(run.scale), run.scale.files
    keys = (number * 37 % files * rows + rows // 8 for number in range(1, _LOOKUPS + 2))
    return [(key, key) for key in keys]


def _readers(columns: Iterable[str] | None) -> tuple[Contestant, ...]:
    options = {"columns": columns}
    return (
        *lakes(_to_table, **options),
        Contestant("deltalite scan()", _scan, "deltalite", options),
        Contestant("deltalake scan()", _scan, "deltalake", options),
        Contestant("pyarrow", _parquet_files, "pyarrow", options),
        Contestant("polars", _polars, "polars", options),
        Contestant("duckdb", _duckdb, "duckdb", options),
    )


def _selectors(keys: Callable[[Run], list[_Range]], warm: bool) -> tuple[Contestant, ...]:
    options = {"keys": keys, "warm": warm}
    return (
        *lakes(_select_table, **options),
        Contestant("deltalite scan()", _select_scan, "deltalite", options),
        Contestant("deltalake scan()", _select_scan, "deltalake", options),
        Contestant("pyarrow", _select_file, "pyarrow", options),
        Contestant("polars", _select_polars, "polars", options),
        Contestant("duckdb", _select_duckdb, "duckdb", options),
    )


_RAW = ("pyarrow", "polars", "duckdb")
_FULL = (
    Target("cpu", 0.5, ("deltalake",)),
    Target("wall", 0.5, ("deltalake",)),
    Target("cpu", 1.0, _RAW),
    Target("wall", 1.0, _RAW),
    Target("cpu", 1.25, ("deltalake scan()",), "deltalite scan()"),
)
_SELECTIVE = (
    Target("cpu", 1.0, ("deltalake scan()",), "deltalite scan()"),
    Target("wall", 1.0, ("deltalake scan()",), "deltalite scan()"),
    Target("cpu", 1.0, ("deltalake",)),
)

WORKLOADS = (
    Workload(
        "scan-full",
        "every row and column of {rows} rows in {files} files into Arrow",
        lineitem.table,
        _readers(None),
        _FULL,
    ),
    Workload("scan-columns", "three columns of every row", lineitem.table, _readers(_THREE), _FULL),
    Workload(
        "scan-filter",
        "open, and the rows of a key range that one file of all holds",
        lineitem.table,
        _selectors(_keys_of_one_file, warm=False),
        _SELECTIVE,
    ),
    Workload(
        "lookup-cold", "open, and the rows of one key", lineitem.table, _selectors(_single_keys, False), _SELECTIVE
    ),
    Workload(
        "lookup-warm",
        "the rows of one key of an open table",
        lineitem.table,
        _selectors(_single_keys, True),
        _SELECTIVE,
    ),
)
