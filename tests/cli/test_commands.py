"""Every command on real tables, held against pyarrow, DuckDB and the real deltalake."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite.cli.app import app
from deltalite.cli.commands import clean, log, look, properties
from deltalite.cli.output.shapes import Shape
from deltalite.cli.results import RESULT
from deltalite.exceptions import ConcurrentAppendError
from deltalite.table import DeltaTable

ROWS = [
    {"id": 1, "day": "2026-11-01", "v": 1.5, "name": "ann"},
    {"id": 2, "day": "2026-11-01", "v": None, "name": "bob"},
    {"id": 3, "day": "2026-11-02", "v": 3.25, "name": 'x, "y"'},
    {"id": 4, "day": "2026-11-03", "v": 4.5, "name": "\x1b[31mred"},
]


def names(shape: Shape) -> list[str]:
    return [f.name for f in shape]


def theirs_at(place: str):
    """The table as the real deltalake opens it."""
    return pytest.importorskip("deltalake").DeltaTable(place)


def by_id(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda r: r["id"])


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_go_in_and_come_out(ok, events):
    assert by_id(json.loads(ok("head", events, "-o", "json"))) == ROWS
    assert ok("count", events) == "4\n"
    assert ok("count", events, "--where", "v > 2") == "2\n"
    assert json.loads(ok("count", events, "-o", "json")) == {"count": 4}
    assert theirs_at(str(events)).to_pyarrow_table().num_rows == 4


def test_head_takes_columns_rows_and_a_predicate(ok, events):
    found = json.loads(ok("head", events, "-n", "1", "-c", "name,id", "--where", "id = 3", "-o", "json"))
    assert found == [{"name": 'x, "y"', "id": 3}] and list(found[0]) == ["name", "id"]
    assert ok("head", events, "-n", "0", "-o", "json") == "[]\n"


def test_any_output_can_be_narrowed_to_columns(ok, run, events):
    assert ok("history", events, "-c", "operation,version", "--no-header") == "WRITE\t1\nCREATE TABLE\t0\n"
    assert json.loads(ok("detail", events, "-c", "num_files", "-o", "json")) == {"num_files": 3}
    assert ok("detail", events, "-c", "num_files") == "num_files\t3\n"
    assert ok("files", events, "-c", "num_records,partition.day", "-o", "csv").startswith("num_records,partition.day\n")
    assert run("history", events, "-c", "nope").exit_code == 2 and run("files", events, "-c", "nope").exit_code == 2


def test_csv_output_reads_back(ok, events):
    found = list(csv.DictReader(io.StringIO(ok("head", events, "-o", "csv"), newline="")))
    assert sorted(r["name"] for r in found) == sorted(r["name"] for r in ROWS)
    assert sorted(r["v"] for r in found) == ["", "1.5", "3.25", "4.5"]


@pytest.mark.bug("S-19")
def test_plain_text_shows_control_characters(ok, events):
    out = ok("head", events)
    assert "\x1b" not in out and "\\x1b[31mred" in out
    assert out.splitlines()[0] == "id\tday\tv\tname" and len(out.splitlines()) == 5
    assert "id\t" not in ok("head", events, "--no-header")


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_binary_output_reads_back(shell, events, format):
    done = shell("head", events, "-o", format)
    source = io.BytesIO(done.stdout)
    table = pq.read_table(source) if format == "parquet" else pa.ipc.open_stream(source).read_all()
    assert sorted(table["id"].to_pylist()) == [1, 2, 3, 4] and table.schema.field("day").type == pa.date32()


def test_a_version_and_a_time_of_the_table(ok, run, events):
    assert ok("count", f"{events}@0") == "0\n" and ok("count", f"{events}@v1") == "4\n"
    history = json.loads(ok("history", events, "-o", "json"))
    created = history[-1]["timestamp"]
    assert ok("count", f"{events}@{created}") == "0\n"
    assert run("count", f"{events}@2000-01-01").exit_code == 3
    assert run("append", f"{events}@1", "x.csv").exit_code == 2


def test_query_agrees_with_duckdb(ok, events, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    sql = f"select day, count(*) as n, sum(v) as s from '{events}' group by day order by day"
    table = theirs_at(str(events)).to_pyarrow_table()
    expected = duckdb.sql(
        "select day, count(*) as n, sum(v) as s from tbl group by day order by day", connection=_with(table)
    )
    rows = [{"day": d.isoformat(), "n": n, "s": s} for d, n, s in expected.fetchall()]
    assert json.loads(ok("query", sql, "-o", "json")) == rows
    (tmp_path / "q.sql").write_text(sql)
    assert json.loads(ok("query", "-f", tmp_path / "q.sql", "-o", "json")) == rows
    assert json.loads(ok("query", "-f", "-", "-o", "json", input=sql)) == rows


def _with(table: pa.Table):
    connection = pytest.importorskip("duckdb").connect()
    connection.register("tbl", table)
    return connection


@pytest.mark.skipif(sys.version_info < (3, 11), reason="short names need Python 3.11")
def test_query_takes_names_and_versions(ok, run, events, tmp_path, monkeypatch):
    pytest.importorskip("duckdb")
    assert ok("query", "--table", f"e={events}@0", "select count(*) from e", "--no-header") == "0\n"
    config = tmp_path / "config.toml"
    config.write_text(f'[tables]\nthings = "{events.as_posix()}"\nother = "nowhere"\n')
    monkeypatch.setenv("DELTALITE_CONFIG", str(config))
    assert ok("query", "select count(*) from things", "--no-header") == "4\n"
    assert ok("count", "things@0") == "0\n"
    assert run("query").exit_code == 2 and run("query", "select 1", "-f", "x").exit_code == 2
    assert run("query", "select * frm x").exit_code == 1


# -- metadata ----------------------------------------------------------------------------------------------------------


def test_history_agrees_with_deltalake(ok, events, csv_file):
    ok("append", events, csv_file)
    ours = json.loads(ok("history", events, "-o", "json"))
    theirs = theirs_at(str(events)).history()
    assert [r["version"] for r in ours] == [r["version"] for r in theirs] == [2, 1, 0]
    assert [r["operation"] for r in ours] == [r["operation"] for r in theirs]
    for record, other in zip(ours, theirs, strict=True):
        moment = dt.datetime.fromisoformat(record["timestamp"].replace("Z", "+00:00"))
        assert abs(moment.timestamp() * 1000 - other["timestamp"]) < 2000  # theirs is the writer's clock
    assert ours[1]["userMetadata"] == "first load" and ours[1]["operationMetrics"]["numOutputRows"] in (4, "4")


def test_history_can_be_narrowed(ok, run, events, csv_file):
    for _ in range(3):
        ok("append", events, csv_file)

    def versions(*arguments: str) -> list[int]:
        return [json.loads(line)["version"] for line in ok("history", events, *arguments, "-o", "ndjson").splitlines()]

    assert versions() == [4, 3, 2, 1, 0] and versions("-n", "2") == [4, 3]
    assert versions("--op", "create table") == [0] and versions("--op", "write", "-n", "1") == [4]
    assert versions("--since", "1h") == [4, 3, 2, 1, 0] and versions("--since", "2999-01-01") == []
    note = run("history", events, "-n", "2")
    assert "--all" in note.stderr and run("history", events, "-n", "2", "-q").stderr == ""
    assert run("history", events, "--since", "soon").exit_code == 2


def test_history_for_people_tells_rows_files_and_bytes(ok, events):
    out = ok("history", events, "-o", "table")
    header, newest, _ = out.splitlines()
    assert header.split()[:2] == ["VERSION", "TIME"] and "first load" in newest
    assert "+4" in newest and "+3" in newest and "kB" in newest


def test_show_detail_and_their_numbers(ok, events):
    shown = json.loads(ok("show", events, "-o", "json"))
    detail = json.loads(ok("detail", events, "-o", "json"))
    files = theirs_at(str(events)).get_add_actions(flatten=True)
    sizes = pa.table(files)["size_bytes"].to_pylist()
    assert detail["size_in_bytes"] == shown["size_in_bytes"] == sum(sizes)
    assert (shown["num_files"], shown["num_records"], shown["num_partitions"]) == (3, 4, 3)
    assert shown["operation"] == "WRITE" and shown["num_small_files"] == 3 and len(shown["recent"]) == 2
    card = ok("show", events, "-o", "table")
    assert card.startswith("events  v1  ") and "rows 4" in card and "partitions 3 (day)" in card
    assert "Things that happened" in card
    plain = dict(line.split("\t") for line in ok("detail", events).splitlines())
    assert plain["num_files"] == "3" and plain["partition_columns"] == '["day"]'


def test_many_small_files_are_pointed_out(ok, tmp_path):
    (tmp_path / "x.csv").write_text("id\n1\n")
    for _ in range(21):
        ok("append", tmp_path / "t", tmp_path / "x.csv", "--create")
    assert "21 of 21 files are under 16.0 MB (100 %)" in ok("show", tmp_path / "t", "-o", "table")


def test_files_agree_with_deltalake(ok, events):
    found = json.loads(ok("files", events, "-o", "json"))
    theirs = pa.table(theirs_at(str(events)).get_add_actions(flatten=True)).to_pylist()
    assert all(r["modification_time"].endswith("Z") for r in found)
    pick = ("path", "size_bytes", "num_records", "min.id", "max.id", "null_count.v")
    assert sorted(tuple(r[k] for k in pick) for r in found) == sorted(tuple(r[k] for k in pick) for r in theirs)
    assert sorted(r["partition.day"] for r in found) == ["2026-11-01", "2026-11-02", "2026-11-03"]


def test_pruning_is_explained(ok, run, events):
    done = run("files", events, "--where", "id = 3", "--explain-pruning", "-o", "json")
    verdicts = {r["partition.day"]: r["kept"] for r in json.loads(done.stdout)}
    assert verdicts == {"2026-11-01": False, "2026-11-02": True, "2026-11-03": False}
    assert "1 of 3 files may match (66.7 % skipped: 2 by min/max)" in done.stderr
    kept = json.loads(ok("files", events, "--where", "id = 3", "-o", "json"))
    assert [r["partition.day"] for r in kept] == ["2026-11-02"]
    text = ok("files", events, "--where", "day = date'2026-11-02' and id = 3", "--explain-pruning")
    assert text.splitlines()[0].split("\t")[:3] == ["PATH", "KEPT", "REASON"] and "id MIN" in text
    assert run("files", events, "--explain-pruning").exit_code == 2


def test_files_are_sorted_and_show_statistics(ok, run, events):
    found = json.loads(ok("files", events, "--sort", "rows", "-o", "json"))
    assert [r["num_records"] for r in found] == [2, 1, 1]
    paths = [r["path"] for r in json.loads(ok("files", events, "--sort", "path", "-o", "json"))]
    assert paths == sorted(paths)
    assert "v MAX" in ok("files", events, "--stats", "v")
    assert (
        run("files", events, "--stats", "nope").exit_code == 2 and run("files", events, "--sort", "nope").exit_code == 2
    )


def test_log_is_what_lies_in_the_log(ok, run, events):
    found = [json.loads(line) for line in ok("log", events, "..", "-o", "ndjson").splitlines()]
    stored = [
        (version, *next(iter(json.loads(line).items())))
        for version in (0, 1)
        for line in (events / "_delta_log" / f"{version:020}.json").read_text().splitlines()
    ]
    assert [(r["version"], r["action"], r["value"]) for r in found] == stored
    only = [json.loads(line) for line in ok("log", events, "0..1", "--action", "add", "-o", "ndjson").splitlines()]
    assert len(only) == 3 and {r["action"] for r in only} == {"add"}
    assert {r["version"] for r in json.loads(ok("log", events, "-o", "json"))} == {1}
    for people in ("table", "plain"):
        assert "commitInfo" in ok("log", events, "0", "-o", people)
    assert run("log", events, "1..0").exit_code == 2 and run("log", events, "x").exit_code == 2
    for versions in ("7", "0..7", "2.."):
        assert run("log", events, versions).exit_code == 3


def test_checkpoint(ok, events):
    assert json.loads(ok("checkpoint", events, "-n", "-o", "json"))["dry_run"] is True
    assert not (events / "_delta_log" / "_last_checkpoint").exists()
    record = json.loads(ok("checkpoint", events, "-o", "json"))
    assert list(record) == names(clean.CHECKPOINT) and record["version"] == 1
    assert json.loads((events / "_delta_log" / "_last_checkpoint").read_text())["version"] == 1
    assert theirs_at(str(events)).version() == 1


def test_properties(ok, run, events):
    record = json.loads(
        ok("properties", "set", events, "delta.appendOnly=true", "owner=ada=b", "--message", "m", "-o", "json")
    )
    assert list(record) == names(properties.CHANGED)
    assert record["version"] == 2 and record["properties"] == {"delta.appendOnly": "true", "owner": "ada=b"}
    assert theirs_at(str(events)).metadata().configuration == record["properties"]
    assert ok("properties", "get", events, "DELTA.appendonly") == "true\n"
    assert json.loads(ok("properties", "get", events, "-o", "json")) == [
        {"property": "delta.appendOnly", "value": "true"},
        {"property": "owner", "value": "ada=b"},
    ]
    assert json.loads(ok("properties", "unset", events, "owner", "-n", "-o", "json"))["dry_run"] is True
    assert ok("properties", "get", events, "owner") == "ada=b\n"
    ok("properties", "unset", events, "owner")
    missing = run("properties", "get", events, "delta.appendOnyl")
    assert missing.exit_code == 2 and "did you mean 'delta.appendOnly'" in missing.stderr
    unknown = run("properties", "set", events, "delta.apendOnly=true")
    assert unknown.exit_code == 2 and "did you mean" in unknown.stderr
    assert run("properties", "set", events, "novalue").exit_code == 2


# -- writing -----------------------------------------------------------------------------------------------------------


def test_results_have_one_shape(ok, tmp_path, csv_file):
    table = tmp_path / "t"
    created = json.loads(ok("create", table, "--schema", "id bigint, day date, v double, name string", "-o", "json"))
    appended = json.loads(ok("append", table, csv_file, "-o", "json"))
    replaced = json.loads(ok("overwrite", table, csv_file, "--yes", "-o", "json"))
    tried = json.loads(ok("append", table, csv_file, "--dry-run", "-o", "json"))
    assert list(created) == list(appended) == list(replaced) == list(tried) == names(RESULT)
    assert (appended["version"], appended["rows"], appended["files"]) == (1, 4, 1)
    assert appended["bytes"] == replaced["removed_bytes"] and replaced["removed_files"] == 1
    assert (tried["version"], tried["rows"], tried["dry_run"]) == (None, 4, True)
    assert ok("count", table) == "4\n"


def test_create_and_what_it_refuses(ok, run, tmp_path):
    table = tmp_path / "t"
    arguments = ("create", table, "--schema", "id bigint", "--property", "owner=ada", "--name", "n")
    assert json.loads(ok(*arguments, "--dry-run", "-o", "json"))["dry_run"] is True and not table.exists()
    ok(*arguments)
    again = run(*arguments)
    assert again.exit_code == 1 and "table-exists" in again.stderr
    assert json.loads(ok(*arguments, "--if-not-exists", "-o", "json"))["skipped"] == "the table exists"
    assert ok("properties", "get", table, "owner") == "ada\n"
    assert run("create", tmp_path / "u", "--schema", "id bigintt").exit_code == 1
    assert run("create", tmp_path / "u", "--schema", "id bigint, d int", "--partition-by", "x").exit_code == 2


def test_create_from_data(ok, run, tmp_path, csv_file):
    ok("append", tmp_path / "a", csv_file, "--create", "--partition-by", "day", "--property", "owner=ada")
    assert ok("history", tmp_path / "a", "-n", "9", "--no-header").count("\n") == 1
    detail = json.loads(ok("detail", tmp_path / "a", "-o", "json"))
    assert detail["partition_columns"] == ["day"] and detail["properties"] == {"owner": "ada"}
    ddl = "day date, id bigint NOT NULL COMMENT 'key', name string, v decimal(10,2), extra int"
    ok("append", tmp_path / "b", csv_file, "--create", "--schema", ddl)
    records = json.loads(ok("schema", tmp_path / "b", "-o", "json"))
    assert [(r["column"], r["type"], r["nullable"], r["comment"]) for r in records] == [
        ("day", "date", True, None),
        ("id", "long", False, "key"),
        ("name", "string", True, None),
        ("v", "decimal(10,2)", True, None),
        ("extra", "integer", True, None),
    ]
    assert "not used" in run("append", tmp_path / "b", csv_file, "--create", "--partition-by", "day").stderr
    assert run("append", tmp_path / "c", csv_file).exit_code == 3


def test_a_bad_value_leaves_the_table_alone(ok, run, events, tmp_path):
    (tmp_path / "bad.csv").write_text("id,v\n5,1\n6,abc\n")
    before = sorted(p.name for p in events.rglob("*"))
    done = run("append", events, tmp_path / "bad.csv")
    assert done.exit_code == 1 and done.stdout == ""
    assert done.stderr.startswith("error[schema-mismatch]: ") and "row 3" in done.stderr and "'abc'" in done.stderr
    assert sorted(p.name for p in events.rglob("*")) == before
    absent = run("append", tmp_path / "none", tmp_path / "bad.csv", "--create", "--schema", "id bigint, v double")
    assert absent.exit_code == 1 and not (tmp_path / "none" / "_delta_log").exists()


def test_new_columns_need_to_be_asked_for(ok, run, events, tmp_path):
    (tmp_path / "more.csv").write_text("id,extra\n9,x\n")
    refused = run("append", events, tmp_path / "more.csv")
    assert refused.exit_code == 1 and "--schema-mode merge" in refused.stderr and "schema_mode=" not in refused.stderr
    ok("append", events, tmp_path / "more.csv", "--schema-mode", "merge")
    assert json.loads(ok("head", events, "--where", "id = 9", "-o", "json")) == [
        {"id": 9, "day": None, "v": None, "name": None, "extra": "x"}
    ]


def test_a_repeated_load_is_skipped(ok, events, csv_file):
    assert json.loads(ok("append", events, csv_file, "--txn", "app:x:7", "-o", "json"))["skipped"] is None
    again = json.loads(ok("append", events, csv_file, "--txn", "app:x:7", "-o", "json"))
    assert again["skipped"] and again["version"] == 2 and ok("count", events) == "8\n"
    assert theirs_at(str(events)).transaction_version("app:x") == 7


def test_stdin_and_several_files(ok, run, events, csv_file, tmp_path):
    ok("append", events, "-", "--format", "ndjson", input='{"id": 5}\n{"id": 6}\n')
    ok("append", events, csv_file, csv_file)
    assert ok("count", events) == "14\n"
    assert run("append", events, "-").exit_code == 2
    assert run("append", events, "-", csv_file, "--format", "csv").exit_code == 2
    assert run("append", events, tmp_path / "absent.csv").exit_code == 2


def test_overwrite_asks_first(ok, run, events, csv_file, tmp_path):
    refused = run("overwrite", events, csv_file)
    assert refused.exit_code == 2 and "4 rows, 3 files" in refused.stderr and "--yes" in refused.stderr
    tried = run("overwrite", events, csv_file, "--dry-run")
    assert tried.exit_code == 0 and "this replaces all" in tried.stderr
    assert theirs_at(str(events)).version() == 1
    (tmp_path / "day.csv").write_text("id,day\n7,2026-11-01\n")
    ok("overwrite", events, tmp_path / "day.csv", "--where", "day = date'2026-11-01'", "--yes")
    assert sorted(r["id"] for r in json.loads(ok("head", events, "-o", "json"))) == [3, 4, 7]
    (tmp_path / "late.csv").write_text("id,day\n8,2026-11-02\n")
    ok("overwrite", events, tmp_path / "late.csv", "--dynamic", "--yes")
    assert sorted(r["id"] for r in json.loads(ok("head", events, "-o", "json"))) == [4, 7, 8]
    ok("overwrite", events, tmp_path / "late.csv", "-y")
    assert ok("count", events) == "1\n"
    assert run("overwrite", events, tmp_path / "late.csv", "--where", "id = 1", "--dynamic").exit_code == 2


def test_a_lost_race_exits_with_4(run, events, csv_file, monkeypatch):
    def lose(*_, **__):
        raise ConcurrentAppendError("somebody was faster", hint="try again")

    monkeypatch.setattr(DeltaTable, "append", lose)
    done = run("append", events, csv_file)
    assert done.exit_code == 4 and "error[concurrent-append]: somebody was faster" in done.stderr


# -- schemas in other notations ----------------------------------------------------------------------------------------

DDL = (
    "id BIGINT NOT NULL COMMENT 'it''s the \\\\key', day DATE GENERATED ALWAYS AS (cast(ts AS DATE)), ts TIMESTAMP, "
    "s STRUCT<a: ARRAY<DECIMAL(10,2)>, `odd name`: MAP<STRING, STRUCT<x: INT>>>, n TIMESTAMP_NTZ, d INT DEFAULT 3"
)
PROPERTIES = (
    "--property",
    "delta.columnMapping.mode=name",
    "--property",
    "delta.feature.allowColumnDefaults=supported",
)


def test_ddl_makes_the_same_table_again(ok, tmp_path):
    ok("create", tmp_path / "a", "--schema", DDL, *PROPERTIES)
    ok("create", tmp_path / "b", "--schema", ok("schema", tmp_path / "a", "--format", "ddl"), *PROPERTIES)

    def shape(name: str) -> list:
        fields = json.loads(ok("schema", tmp_path / name, "--format", "json"))["fields"]
        return json.loads(json.dumps(fields), object_hook=_without_ids)

    assert shape("a") == shape("b")
    tree = ok("schema", tmp_path / "a", "-o", "table")
    assert "  odd name" in tree and "not null" in tree


def _without_ids(value: dict) -> dict:
    return {k: v for k, v in value.items() if not k.startswith(("delta.columnMapping", "parquet.field"))}


def test_arrow_spark_and_pydantic_notations(ok, tmp_path):
    ok("create", tmp_path / "a", "--schema", DDL, *PROPERTIES)
    assert "ts: timestamp[us, tz=UTC]" in ok("schema", tmp_path / "a", "--format", "arrow")

    def made(name: str):
        return lambda *arguments: (name, arguments)

    kinds = (
        "StructType StructField ArrayType MapType DecimalType LongType DateType TimestampType TimestampNTZType "
        "StringType IntegerType"
    )
    name, (fields,) = eval(ok("schema", tmp_path / "a", "--format", "spark"), {k: made(k) for k in kinds.split()})
    assert name == "StructType" and fields[0] == ("StructField", ("id", ("LongType", ()), False))
    source = ok("schema", tmp_path / "a", "--format", "pydantic").replace("from pydantic import BaseModel, Field", "")
    scope = {"BaseModel": object, "Field": lambda **k: k}
    exec(compile(source, "pydantic", "exec"), scope)
    assert (
        scope["Row"].__annotations__["id"] == "int" and scope["S"].__annotations__["a"] == "list[Decimal | None] | None"
    )
    assert ok("schema", tmp_path / "a", "--at", "0") == ok("schema", f"{tmp_path / 'a'}@0")


def test_schema_records(ok, events):
    records = json.loads(ok("schema", events, "-o", "json"))
    assert all(list(r) == names(look.SCHEMA) for r in records)
    assert [(r["column"], r["nullable"], r["partition"]) for r in records][:2] == [
        ("id", False, False),
        ("day", True, True),
    ]


# -- every command, every format ---------------------------------------------------------------------------------------

READERS = {
    "show": (), "detail": (), "history": (), "schema": (), "files": (), "log": (), "head": (), "count": (),
    "properties get": (),
}  # fmt: skip


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("format", ["table", "plain", "json", "ndjson", "csv", "tsv", "parquet", "arrow"])
def test_every_reading_command_prints_every_format(run, events, command, format):
    done = run(*command.split(), events, "-o", format)
    assert done.exit_code == 0, done.stderr
    if format == "json":
        json.loads(done.stdout)
    if format == "ndjson":
        assert all(json.loads(line) is not None for line in done.stdout.splitlines())
    if format == "csv":
        widths = {len(row) for row in csv.reader(io.StringIO(done.stdout, newline=""))}
        assert len(widths) <= 1
    if format == "parquet":
        pq.read_table(io.BytesIO(done.stdout_bytes))
    if format == "arrow":
        pa.ipc.open_stream(io.BytesIO(done.stdout_bytes)).read_all()


@pytest.mark.parametrize(
    "command, shape",
    [
        ("show", look.SHOW),
        ("detail", look.DETAIL),
        ("history", look.HISTORY),
        ("schema", look.SCHEMA),
        ("log", log.LOG),
        ("properties get", properties.PROPERTIES),
    ],
)
def test_json_has_the_documented_keys(ok, events, command, shape):
    found = json.loads(ok(*command.split(), events, "-o", "json"))
    for record in found if isinstance(found, list) else [found]:
        assert list(record) == names(shape)
    times = [f.name for f in shape if f.kind == "time"]
    first = found[0] if isinstance(found, list) and found else found
    for key in times:
        assert first[key].endswith("Z") and dt.datetime.fromisoformat(first[key].replace("Z", "+00:00"))


def test_info_and_completion(ok, run):
    info = json.loads(ok("info", "-o", "json"))
    assert info["packages"]["pyarrow"] == pa.__version__ and info["stores"]["file"] is True
    assert "deltalite" in ok("info", "-o", "table")
    for shell in ("zsh", "fish"):
        assert "_DELTALITE_COMPLETE" in ok("completion", shell)
    assert run("completion", "tcsh").exit_code == 2


def test_completion_finds_tables_and_columns(events, monkeypatch):
    import click
    from click.shell_completion import ShellComplete

    monkeypatch.chdir(events.parent)
    (events.parent / "folder").mkdir()

    def complete(arguments: list[str], incomplete: str) -> list[str]:
        found = ShellComplete(app, {}, "deltalite", "_DELTALITE_COMPLETE").get_completions(arguments, incomplete)
        return [item.value for item in found]

    assert complete(["history"], "e") == ["events"] and complete(["history"], "f") == ["folder/"]
    assert complete(["head", "events", "-c"], "id,n") == ["id,name"]
    assert complete(["history", "events", "-c"], "version,op") == [
        "version,operation",
        "version,operationParameters",
        "version,operationMetrics",
    ]
    assert complete([], "hi") == ["history"] and click is not None
