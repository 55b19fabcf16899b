"""What does it cost to change rows: MERGE, DELETE and UPDATE, with deletion vectors and by copying files?"""

from __future__ import annotations

import importlib
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from benchmarks import ducklake
from benchmarks.core import Contestant, Run, Target, Workload
from benchmarks.fingerprint import fingerprint
from benchmarks.inputs import changes

__all__ = ["WORKLOADS"]

_LINE = ("l_orderkey", "l_linenumber")
_EVENT = ("id",)
_SCATTERED = "l_partkey % 100 = 7"
_CAP = 512 << 20
_CAPPED_BUDGET = 256 << 20


# -- the lakes -----------------------------------------------------------------------------------------------------


def _changed(run: Run, change: Callable[[Any], Any]) -> Any:
    """A new handle on a table of its own, and one change of rows."""
    options = run.options
    files = options.get("files", changes.FILES)
    table = changes.lay(run.input, run.scratch / "table", vectors=options.get("vectors", False), files=files)
    handle_of = run.lake.DeltaTable
    if run.engine == "deltalite":
        importlib.import_module("deltalite.operations.row_changes")  # what changing rows imports on first use
    before = {file.name for file in changes.data_files(table)}
    with run.clock:
        change(handle_of(str(table)))
    written = [file for file in table.glob("**/*") if file.suffix in (".parquet", ".bin") and file.name not in before]
    run.facts["written_mb"] = round(sum(file.stat().st_size for file in written) / 1e6, 1)
    if not run.check:
        return None
    resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))  # judging may take more
    return fingerprint(handle_of(str(table)).to_pyarrow_table())


def _merge(run: Run) -> Any:
    """``when_matched_update_all`` unless ``insert_only``, and ``when_not_matched_insert_all``."""
    options, rows = run.options, changes.source(run.input, run.options["source"])
    where = " AND ".join(f"t.{key} = s.{key}" for key in options["keys"])

    def change(handle: Any) -> None:
        merger = handle.merge(rows, where, source_alias="s", target_alias="t", **options.get("arguments", {}))
        if not options.get("insert_only"):
            merger = merger.when_matched_update_all()
        merger.when_not_matched_insert_all().execute()

    return _changed(run, change)


def _delete(run: Run) -> Any:
    return _changed(run, lambda handle: handle.delete(_SCATTERED))


def _update(run: Run) -> Any:
    new = {"l_quantity": "l_quantity + 1", "l_comment": "'corrected'"}
    return _changed(run, lambda handle: handle.update(updates=new, predicate=_SCATTERED))


# -- DuckLake ------------------------------------------------------------------------------------------------------


def _in_ducklake(statement: Callable[[Run], str], run: Run) -> Any:
    connection = ducklake.connect(run.scratch, changes.data_files(run.input))
    if "memory" in run.options:
        connection.execute(f"SET memory_limit = '{run.options['memory']}'")
    text = statement(run)
    if "source" in run.options:
        connection.register("s", changes.source(run.input, run.options["source"]))
    with run.clock:
        connection.execute(text)
    written = (file.stat().st_size for file in (run.scratch / "data").glob("**/*.parquet"))
    run.facts["written_mb"] = round(sum(written) / 1e6, 1)
    return fingerprint(connection.execute("SELECT * FROM lake.t").to_arrow_table()) if run.check else None


def _merge_statement(run: Run) -> str:
    keys = " AND ".join(f"t.{key} = s.{key}" for key in run.options["keys"])
    names = changes.source(run.input, run.options["source"]).column_names
    update = "" if run.options.get("insert_only") else "WHEN MATCHED THEN UPDATE SET "
    update += ", ".join(f"{name} = s.{name}" for name in names) if update else ""
    insert = f"WHEN NOT MATCHED THEN INSERT VALUES ({', '.join(f's.{name}' for name in names)})"
    return f"MERGE INTO lake.t AS t USING s ON {keys} {update} {insert}"


def _delete_statement(run: Run) -> str:
    return f"DELETE FROM lake.t WHERE {_SCATTERED}"


def _update_statement(run: Run) -> str:
    return f"UPDATE lake.t SET l_quantity = l_quantity + 1, l_comment = 'corrected' WHERE {_SCATTERED}"


# -- reading through vectors ---------------------------------------------------------------------------------------


def _scan(run: Run) -> Any:
    """All rows, of a table in which one of a hundred is marked, or all live."""
    table = changes.lay(run.input, run.scratch / "table", vectors=True)
    handle_of = run.lake.DeltaTable
    if run.options["marked"]:
        handle_of(str(table)).delete(_SCATTERED)
    with run.clock:
        rows = handle_of(str(table)).to_pyarrow_table()
    return _live(rows) if run.check else None


def _live(rows: pa.Table) -> Any:
    """Without the rows that the others have marked."""
    import duckdb

    kept = duckdb.sql(f"SELECT * FROM rows WHERE NOT ({_SCATTERED})")
    return fingerprint(kept.to_arrow_table())


# -- workloads -----------------------------------------------------------------------------------------------------


def _contestants(
    function: Callable[[Run], Any], statement: Callable[[Run], str], **options: Any
) -> tuple[Contestant, ...]:
    """With vectors and by copying; deltalake copies, DuckLake writes delete files."""
    return (
        Contestant("deltalite", function, "deltalite", {**options, "vectors": True}),
        Contestant("deltalite copy-on-write", function, "deltalite", options),
        Contestant("deltalake", function, "deltalake", options),
        Contestant("ducklake", partial(_in_ducklake, statement), "ducklake", options),
    )


def _merges(source: str, keys: tuple[str, ...], **options: Any) -> tuple[Contestant, ...]:
    return _contestants(_merge, _merge_statement, source=source, keys=keys, **options)


def _targets(vectors: float, *more: Target) -> tuple[Target, ...]:
    against = ("deltalake",)
    return Target("cpu", vectors, against), Target("wall", vectors, against), *more


_COPIES = Target("cpu", 0.6, ("deltalake",), "deltalite copy-on-write")
_BESIDE_DUCKLAKE = Target("cpu", 1.0, ("ducklake",))
_MEMORY = Target("memory", 150e6)


def _scaling() -> tuple[Contestant, ...]:
    """The same number of source rows against ever more files, their keys anywhere or all in the first file."""
    found = []
    for files in (1, 2, 5, 10, 20):
        for source, how in ((f"spread-{files}", "anywhere"), ("local", "in one file")):
            options = {"source": source, "keys": _EVENT, "vectors": True, "files": files}
            found.append(Contestant(f"deltalite {how}, {files} of 20 files", _merged_rows, "deltalite", options))
    options = {"source": "spread-20", "keys": _EVENT}
    found.append(Contestant("deltalake anywhere, 20 of 20 files", _merged_rows, "deltalake", options))
    return tuple(found)


def _merged_rows(run: Run) -> Any:
    """Rows that came, which must be the same whatever the table's size."""
    found = _merge(run)
    if found is None:
        return None
    return found["rows"] - run.options.get("files", changes.FILES) * changes.event_rows(run.scale)


def _capped_merges() -> tuple[Contestant, ...]:
    options: dict[str, Any] = {"source": "large", "keys": _EVENT}
    ours = {**options, "arguments": {"memory_limit": _CAPPED_BUDGET}}
    theirs = {**options, "arguments": {"max_spill_size": _CAPPED_BUDGET}}
    return (
        Contestant("deltalite", _merge, "deltalite", {**ours, "vectors": True}, _CAP),
        Contestant("deltalite copy-on-write", _merge, "deltalite", ours, _CAP),
        Contestant("deltalake", _merge, "deltalake", theirs),
    )


WORKLOADS = (
    Workload(
        "merge-random",
        "MERGE of {updates} known and {inserts} new rows into {rows} in 20 files, keys anywhere",
        changes.lines,
        _merges("random", _LINE),
        _targets(0.1, _BESIDE_DUCKLAKE, _MEMORY, _COPIES),
    ),
    Workload(
        "merge-local",
        "the same, all keys in one file",
        changes.lines,
        (
            *_merges("local", _LINE),
            Contestant(
                "deltalake not streamed",
                _merge,
                "deltalake",
                {"source": "local", "keys": _LINE, "arguments": {"streamed_exec": False}},
            ),
        ),
        _targets(0.15, _BESIDE_DUCKLAKE),
    ),
    Workload(
        "merge-insert",
        "MERGE that only inserts: {inserts} of the rows are new",
        changes.lines,
        _merges("random", _LINE, insert_only=True),
        _targets(0.15, _BESIDE_DUCKLAKE),
    ),
    Workload(
        "merge-few",
        "MERGE of at most 1000 rows, keys anywhere",
        changes.lines,
        _merges("few", _LINE),
        _targets(0.1, _BESIDE_DUCKLAKE, _COPIES),
    ),
    Workload(
        "merge-large",
        "MERGE of {upserts} rows into {events} narrow ones",
        changes.events,
        _merges("large", _EVENT),
        _targets(0.15, _BESIDE_DUCKLAKE, _COPIES),
    ),
    Workload(
        "merge-large-capped",
        "the same with 256 MB to work with, in a process that gets 512 MB for data (deltalake: spill limit 256 MB)",
        changes.events,
        _capped_merges(),
        (Target("memory", float(_CAP)),),
    ),
    Workload(
        "merge-scaling",
        "MERGE of {updates} known and {inserts} new rows into up to {events}",
        changes.events,
        _scaling(),
        tuple(
            Target(metric, 1.3, ("deltalite in one file, 1 of 20 files",), "deltalite in one file, 20 of 20 files")
            for metric in ("cpu", "wall")
        ),
    ),
    Workload(
        "delete",
        "DELETE of one row of a hundred, scattered",
        changes.lines,
        _contestants(_delete, _delete_statement),
        _targets(0.08, _BESIDE_DUCKLAKE),
    ),
    Workload(
        "update",
        "UPDATE of one row of a hundred, scattered",
        changes.lines,
        _contestants(_update, _update_statement),
        _targets(0.3, _BESIDE_DUCKLAKE),
    ),
    Workload(
        "scan-vectors",
        "every row of a table in which one of a hundred is marked",
        changes.lines,
        (
            Contestant("deltalite", _scan, "deltalite", {"marked": True}),
            Contestant("deltalite all rows live", _scan, "deltalite", {"marked": False}),
        ),
        (
            Target("cpu", 1.15, ("deltalite all rows live",)),
            Target("wall", 1.15, ("deltalite all rows live",)),
        ),
    ),
)
