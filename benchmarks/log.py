"""What does it cost to open a table, list its files, all or those of a predicate, and count its rows?"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from benchmarks.core import Contestant, Run, Scale, Target, Workload, lakes
from benchmarks.fingerprint import of_names
from benchmarks.inputs import lineitem, logs
from benchmarks.scan import long_scalar

__all__ = ["WORKLOADS"]

_FILES_FOUND = 5


def _commits(cache: Path, scale: Scale) -> Path:
    return logs.commit_log(cache, scale.commits, 10, checkpoint=False)


def _json_statistics(cache: Path, scale: Scale) -> Path:
    return logs.checkpoint_log(cache, scale, struct_statistics=False)


def _struct_statistics(cache: Path, scale: Scale) -> Path:
    return logs.checkpoint_log(cache, scale, struct_statistics=True)


# -- all files ---------------------------------------------------------------------------------------------------


def _names(run: Run) -> Any:
    """Every file's name, as a list of str."""
    table = run.lake.DeltaTable
    with run.clock:
        names = table(str(run.input)).file_uris()
    return of_names(names) if run.check else None


def _columns(run: Run) -> Any:
    """Every file with its size and statistics, as Arrow columns."""
    table = run.lake.DeltaTable
    with run.clock:
        handle = table(str(run.input))
        files = pa.table(handle.files() if run.engine == "deltalite" else handle.get_add_actions())
    return of_names(files["path"].to_pylist()) if run.check else None


def _parsed_commits(run: Run) -> Any:
    """The floor: every commit read and its adds' paths parsed, nothing reconciled."""
    add = pa.struct([("path", pa.string()), ("size", pa.int64()), ("stats", pa.string())])
    with run.clock:
        commits = sorted((run.input / "_delta_log").glob("*.json"))
        text = b"".join(commit.read_bytes() for commit in commits)
        schema = pa.schema([("add", add)])
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        adds = pj.read_json(io.BytesIO(text), parse_options=options).column("add")
        paths = pa.chunked_array([chunk.field("path").filter(chunk.is_valid()) for chunk in adds.chunks])
        names = paths.to_pylist()
    return of_names(names) if run.check else None


def _decoded_paths(run: Run) -> Any:
    """The floor: the leaf of the paths decoded."""
    (checkpoint,) = (run.input / "_delta_log").glob("*.checkpoint.parquet")
    with run.clock:
        adds = pq.ParquetFile(checkpoint).read(columns=["add.path"]).column("add")
        paths = pa.chunked_array([chunk.field("path").filter(chunk.is_valid()) for chunk in adds.chunks])
        names = paths.to_pylist()
    return of_names(names) if run.check else None


# -- files of a predicate ----------------------------------------------------------------------------------------


def _predicate(run: Run) -> tuple[str, int, int]:
    """A day, and a range of ids that touches a few of that day's files."""
    files = run.scale.listed
    first = files // 2 + files // 250
    return (
        logs.day_of(first, files).isoformat(),
        first * logs.FILE_ROWS + 1,
        (first + _FILES_FOUND - 1) * logs.FILE_ROWS + 1,
    )


def _names_of_predicate(run: Run) -> Any:
    day, low, high = _predicate(run)
    predicate = f"day = '{day}' AND id >= {low} AND id <= {high}"
    table = run.lake.DeltaTable
    with run.clock:
        names = table(str(run.input)).file_uris(file_pruning_predicate=predicate)
    return of_names(names)


def _masked_statistics(run: Run) -> Any:
    """The floor: bounds that are columns already, compared."""
    _, low, high = _predicate(run)
    (checkpoint,) = (run.input / "_delta_log").glob("*.checkpoint.parquet")
    leaves = ["add.path", "add.stats_parsed.minValues.id", "add.stats_parsed.maxValues.id"]
    with run.clock:
        adds = pq.ParquetFile(checkpoint).read(columns=leaves).column("add").combine_chunks()
        bounds = adds.field("stats_parsed")
        lowest, highest = (bounds.field(side).field("id") for side in ("minValues", "maxValues"))
        kept = pc.and_(pc.less_equal(lowest, long_scalar(high)), pc.greater_equal(highest, long_scalar(low)))
        names = adds.field("path").filter(kept).to_pylist()
    return of_names(names)


# -- rows --------------------------------------------------------------------------------------------------------


def _count(run: Run) -> Any:
    table = run.lake.DeltaTable
    with run.clock:
        return table(str(run.input)).count()


def _count_warm(run: Run) -> Any:
    handle = run.lake.DeltaTable(str(run.input))
    count = handle.count()
    for _ in range(20):
        with run.clock:
            count = handle.count()
    return count


def _count_footers(run: Run) -> Any:
    """What a reader without a log has to do."""
    with run.clock:
        return sum(pq.read_metadata(file).num_rows for file in run.input.glob("*.parquet"))


_SAME_TIME = (Target("cpu", 1.0, ("deltalake",)), Target("wall", 1.0, ("deltalake",)))


def _within(factor: float) -> tuple[Target, ...]:
    return Target("cpu", factor, ("deltalake",)), Target("wall", factor, ("deltalake",))


WORKLOADS = (
    Workload(
        "open-commits",
        "open a table of {commits} commits of 10 files without a checkpoint, list its files",
        _commits,
        (*lakes(_names), Contestant("pyarrow", _parsed_commits, "pyarrow")),
        _within(0.25),
    ),
    Workload(
        "open-checkpoint",
        "open a table of {listed} files in one checkpoint, list them",
        _json_statistics,
        (*lakes(_names), Contestant("pyarrow", _decoded_paths, "pyarrow")),
        (*_within(0.15), Target("memory", 0.4, ("deltalake",))),
    ),
    Workload(
        "open-columns",
        "the same, files with sizes and statistics as Arrow columns",
        _json_statistics,
        lakes(_columns),
        _SAME_TIME,
    ),
    Workload(
        "prune-json",
        "open it, find a few files by partition and id, statistics as JSON",
        _json_statistics,
        lakes(_names_of_predicate),
        _within(0.25),
    ),
    Workload(
        "prune-struct",
        "the same, statistics as columns of the checkpoint",
        _struct_statistics,
        (*lakes(_names_of_predicate), Contestant("pyarrow", _masked_statistics, "pyarrow")),
        _within(0.1),
    ),
    Workload(
        "count",
        "open a table, count its rows",
        lineitem.table,
        (*lakes(_count), Contestant("pyarrow", _count_footers, "pyarrow")),
        _SAME_TIME,
    ),
    Workload("count-warm", "count the rows of an open table", lineitem.table, lakes(_count_warm), _SAME_TIME),
)
