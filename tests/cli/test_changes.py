"""The commands that change rows, and those that show changes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_process import on_terminal

from deltalite.cli.changing import EXPLAINED
from deltalite.cli.clauses import merge_statement
from deltalite.cli.commands import compare
from deltalite.cli.results import ROW_CHANGES
from deltalite.exceptions import InvalidArgumentError
from deltalite.table import DeltaTable

FEED = [
    {"id": 2, "day": "2026-11-01", "v": 9.5, "name": "BOB", "op": "U"},
    {"id": 7, "day": "2026-11-05", "v": 1.0, "name": "new", "op": "U"},
    {"id": 1, "op": "D"},
]


def names(shape) -> list[str]:
    return [f.name for f in shape]


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    path = tmp_path / "feed.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in FEED))
    return path


@pytest.fixture
def people(tmp_path: Path, ok, csv_file: Path) -> Path:
    """The four rows of ``events``, unpartitioned, with deletion vectors and a change feed."""
    table = tmp_path / "people"
    ok("create", table, "--schema", "id bigint, day date, v double, name string", *PROPERTIES)
    ok("append", table, csv_file)
    return table


PROPERTIES = (
    "--property", "delta.enableDeletionVectors=true", "--property", "delta.enableChangeDataFeed=true",
)  # fmt: skip


@pytest.fixture
def rows(ok):
    """``rows(table)``: name by id."""

    def read(table: object) -> dict[int, str]:
        found = json.loads(ok("head", table, "-n", "100", "-o", "json"))
        return {r["id"]: r["name"] for r in found}

    return read


@pytest.fixture
def done(ok):
    """The record of a command that is told not to ask."""

    def call(*arguments: object, input: str | None = None) -> dict:
        record = json.loads(ok(*arguments, "--yes", "-o", "json", input=input))
        assert list(record) == names(ROW_CHANGES)
        return record

    return call


ALL = {1: "ann", 2: "bob", 3: 'x, "y"', 4: "\x1b[31mred"}
UPSERTED = {2: "BOB", 3: 'x, "y"', 4: "\x1b[31mred", 7: "new"}


# -- upsert ------------------------------------------------------------------------------------------------------------


def test_upsert_updates_inserts_and_deletes(done, rows, people, feed):
    record = done("upsert", people, feed, "--on", "id", "--delete-when", "op = 'D'", "--message", "late")
    assert [record[f"rows_{k}"] for k in ("inserted", "updated", "deleted")] == [1, 1, 1]
    assert (record["version"], record["operation"], record["dry_run"]) == (2, "MERGE", False)
    assert rows(people) == UPSERTED
    again = done("upsert", people, feed, "--on", "id", "--delete-when", "op = 'D'")
    assert (again["rows_updated"], again["rows_deleted"]) == (2, 0) and rows(people) == UPSERTED


def test_upsert_takes_every_kind_of_source(done, ok, rows, tmp_path, people, feed):
    pq.write_table(pa.table({"id": [3], "day": [None], "v": [None], "name": ["parquet"]}), tmp_path / "x.parquet")
    done("upsert", people, tmp_path / "x.parquet", "--on", "id")
    line = '{"id": 4, "day": null, "v": null, "name": "stdin"}\n'
    done("upsert", people, "-", "--format", "ndjson", "--on", "ID", input=line)
    ok("create", tmp_path / "other", "--schema", "id bigint, day date, v double, name string")
    (tmp_path / "other.csv").write_text("id,day,v,name\n1,,,table\n")
    ok("append", tmp_path / "other", tmp_path / "other.csv")
    done("upsert", people, f"{tmp_path / 'other'}@1", "--on", "id")
    assert rows(people) == {1: "table", 2: "bob", 3: "parquet", 4: "stdin"}


def test_upsert_conditions_and_choices(done, ok, rows, people, feed):
    done("upsert", people, feed, "--on", "id", "--no-insert", "--update", "v")
    assert rows(people) == ALL
    done("upsert", people, feed, "--on", "id", "--update-when", "s.v > 100", "--insert-when", "s.v > 100")
    assert rows(people) == ALL
    record = json.loads(ok("upsert", people, feed, "--on", "id", "--no-update", "--insert-when", "op = 'U'", "-o", "json"))
    assert record["rows_inserted"] == 1, "inserting alone asks nobody"
    assert rows(people) == {**ALL, 7: "new"}


def test_a_column_that_json_lacks_keeps_its_values(run, done, rows, tmp_path, people):
    (tmp_path / "short.ndjson").write_text('{"id": 1, "v": 5}\n')
    refused = run("upsert", people, tmp_path / "short.ndjson", "--on", "id", "--yes")
    assert refused.exit_code == 1 and "lacks the columns ['day', 'name']" in refused.stderr
    done("upsert", people, tmp_path / "short.ndjson", "--on", "id", "--update", "v")
    assert rows(people) == ALL


def test_upsert_refuses_repeated_keys_and_dedupes(run, done, rows, tmp_path, people):
    (tmp_path / "twice.csv").write_text("id,day,v,name\n9,,2,second\n9,,3,third\n9,,1,first\n")
    refused = run("upsert", people, tmp_path / "twice.csv", "--on", "id", "--yes")
    assert refused.exit_code == 1 and "id = 9" in refused.stderr and "--dedupe last" in refused.stderr
    done("upsert", people, tmp_path / "twice.csv", "--on", "id", "--dedupe", "last", "--order-by", "v")
    assert rows(people)[9] == "third"
    done("upsert", people, tmp_path / "twice.csv", "--on", "id", "--dedupe", "last")
    assert rows(people)[9] == "first"


def test_upsert_may_add_columns(done, people, feed):
    done("upsert", people, feed, "--on", "id", "--merge-schema")
    assert DeltaTable(people).schema().names[-1] == "op"


# -- merge -------------------------------------------------------------------------------------------------------------


def test_merge_by_clauses(done, rows, people, feed):
    record = done(
        "merge", people, feed, "--on", "t.id = s.id", "--when-matched", "s.op = 'D' delete",
        "--when-matched", "update set name = lower(s.name), v = t.v", "--when-not-matched", "s.v > 0 insert *",
        "--when-not-matched-by-source", "t.id = 4 delete",
        "--when-not-matched-by-source", "update set name = 'nobody'",
    )  # fmt: skip
    assert [record[f"rows_{k}"] for k in ("inserted", "updated", "deleted")] == [1, 2, 2]
    assert rows(people) == {2: "bob", 3: "nobody", 7: "new"}


def test_merge_by_a_statement(done, ok, rows, people, feed):
    merge = f"MERGE INTO '{people}' AS p USING '{feed}' AS f ON p.id = f.id WHEN MATCHED AND f.op = 'D' THEN DELETE"
    assert done("merge", "--sql", merge)["rows_deleted"] == 1
    merge = "merge into anything using whatever on anything.id = whatever.id when not matched then insert *"
    assert json.loads(ok("merge", people, feed, "--sql", merge, "-o", "json"))["rows_inserted"] == 2
    assert rows(people).keys() == {1, 2, 3, 4, 7}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--on", "t.id = s.id"), "--when-matched"),
        (("--when-matched", "delete"), "--on"),
        (("--on", "t.id = s.id", "--when-matched", "s.op = 'D'"), "has no action"),
        (("--on", "t.id = s.id", "--when-not-matched", "delete"), "has no action"),
        (("--on", "t.id = s.id", "--sql", "x"), "whole statement"),
        (("--sql", "delete from t"), "MERGE statement"),
    ],
)
def test_merge_refuses(run, people, feed, arguments, words):
    refused = run("merge", people, feed, *arguments, "--yes")
    assert refused.exit_code == 2 and words in refused.stderr
    assert DeltaTable(people).version() == 1


def test_mistakes_in_clauses_are_pointed_at(run, people, feed):
    refused = run("merge", people, feed, "--on", "t.id = s.id", "--when-matched", "s.opp = 'D' delete", "--yes")
    assert refused.exit_code == 1 and "^" in refused.stderr and "source.op" in refused.stderr


def test_clauses_become_one_statement():
    clauses = {
        "--when-matched": ["s.update = 'delete' and (a in (1, delete)) DELETE", "update *", "update set a = s.a -- done"],
        "--when-not-matched": ["s.x -- no\n insert *"],
        "--when-not-matched-by-source": ["delete"],
    }
    assert merge_statement("t.id = s.id -- key", clauses, True).split("\n") == [
        "MERGE WITH SCHEMA EVOLUTION INTO target USING source",
        "ON t.id = s.id -- key",
        "WHEN MATCHED", "  AND s.update = 'delete' and (a in (1, delete))", "  THEN DELETE",
        "WHEN MATCHED", "  THEN UPDATE SET *",
        "WHEN MATCHED", "  THEN update set a = s.a -- done",
        "WHEN NOT MATCHED", "  AND s.x -- no", "  THEN insert *",
        "WHEN NOT MATCHED BY SOURCE", "  THEN delete",
    ]  # fmt: skip
    with pytest.raises(InvalidArgumentError):
        merge_statement("true", {"--when-matched": []})


# -- delete, update ----------------------------------------------------------------------------------------------------


def test_delete(run, done, rows, people):
    assert run("delete", people).exit_code == 2 and run("delete", people, "--all", "--where", "true").exit_code == 2
    assert done("delete", people, "--where", "id = 1")["rows_deleted"] == 1 and 1 not in rows(people)
    nothing = done("delete", people, "--where", "id = 1")
    assert nothing["skipped"] and nothing["txn_id"] is None
    assert done("delete", people, "--all")["rows_deleted"] == 3 and rows(people) == {}
    assert run("delete", f"{people}@1", "--all", "--yes").exit_code == 2
    assert run("delete", people / "none", "--all", "--yes").exit_code == 3


def test_update(run, done, rows, people):
    record = done("update", people, "--set", "name = upper(name)", "--set", "v = v + 1", "--where", "id < 3")
    assert record["rows_updated"] == 2 and rows(people) == {**ALL, 1: "ANN", 2: "BOB"}
    assert done("update", people, "--set", "name = null, v = DEFAULT")["rows_updated"] == 4
    assert set(rows(people).values()) == {None}
    for bad in ("name", "name = 1 where id = 1"):
        assert run("update", people, "--set", bad, "--yes").exit_code in (1, 2)
    wrong = run("update", people, "--set", "nme = 1", "--yes")
    assert wrong.exit_code == 1 and "did you mean name?" in wrong.stderr
    assert DeltaTable(people).version() == 3


# -- looking before, and being asked -----------------------------------------------------------------------------------

CHANGES = {
    "upsert": ("FEED", "--on", "id", "--delete-when", "op = 'D'"),
    "merge": ("FEED", "--on", "t.id = s.id", "--when-matched", "delete", "--when-not-matched", "insert *"),
    "delete": ("--where", "id < 3"),
    "update": ("--set", "name = 'x'", "--where", "id < 3"),
}


@pytest.mark.parametrize("command", CHANGES)
def test_a_dry_run_tells_what_the_run_then_does(run, ok, done, people, feed, command):
    arguments = [feed if a == "FEED" else a for a in CHANGES[command]]
    before = sorted(p.name for p in people.rglob("*"))
    tried = json.loads(ok(command, people, *arguments, "-n", "-o", "json"))
    explained = json.loads(ok(command, people, *arguments, "--explain", "-o", "json"))
    assert list(tried) == names(ROW_CHANGES) and list(explained) == names(EXPLAINED)
    assert tried["dry_run"] is True and [f["kept"] for f in explained["files"]] == [True]
    shown = ok(command, people, *arguments, "--explain", "-o", "table")
    assert "not executed" in shown and ".parquet" in shown
    assert "nothing was written" in ok(command, people, *arguments, "--dry-run", "-o", "table")
    refused = run(command, people, *arguments)
    assert refused.exit_code == 2 and "--yes" in refused.stderr and refused.stdout == ""
    assert sorted(p.name for p in people.rglob("*")) == before
    record = done(command, people, *arguments)
    counts = [n for n in names(ROW_CHANGES) if n.startswith("rows_")]
    assert [tried[n] for n in counts] == [record[n] for n in counts] == [explained[n] for n in counts]


def test_pruned_files_are_explained(ok, events):
    out = ok("delete", events, "--where", "day = date'2026-11-02'", "--explain", "-o", "table")
    assert "2 skipped, 1 changed" in out and "remove " in out


@pytest.mark.parametrize("command", CHANGES)
def test_somebody_at_a_terminal_is_asked(people, feed, rows, run, terminal, command):
    arguments = [feed if a == "FEED" else a for a in CHANGES[command]]
    asked = run(command, people, *arguments, input="n\n")
    assert asked.exit_code == 2 and "Go on? [y/N]" in asked.stderr and "in 1 of 1 file" in asked.stderr
    assert DeltaTable(people).version() == 1
    shown, code = on_terminal(command, people, *arguments, typed=b"y\n", columns=200)
    assert code == 0 and "version 2" in shown


def test_a_delivery_is_done_once_and_memory_is_bounded(done, people, feed):
    arguments = ("upsert", people, feed, "--on", "id", "--txn", "feed:7", "--memory-limit", "64MB")
    assert done(*arguments)["skipped"] is None and done(*arguments)["skipped"]


# -- changes -----------------------------------------------------------------------------------------------------------


def test_changes_by_version_and_time(ok, run, done, people, feed):
    done("upsert", people, feed, "--on", "id", "--delete-when", "op = 'D'")
    done("delete", people, "--where", "id = 3")
    found = json.loads(ok("changes", people, "--from", "2", "-o", "json"))
    assert sorted((r["_commit_version"], r["_change_type"], r["id"]) for r in found) == [
        (2, "delete", 1), (2, "insert", 7), (2, "update_postimage", 2), (2, "update_preimage", 2), (3, "delete", 3),
    ]  # fmt: skip
    times = {r["version"]: r["timestamp"] for r in json.loads(ok("history", people, "-o", "json"))}

    def versions(*arguments: str) -> set[int]:
        out = ok("changes", people, *arguments, "-c", "_commit_version", "-o", "ndjson")
        return {json.loads(line)["_commit_version"] for line in out.splitlines()}

    assert versions("--from", times[2]) == {2, 3} and versions("--from", "2000-01-01") == {1, 2, 3}
    assert versions("--from", times[1], "--to", times[2]) == {1, 2} and versions("--from", "v1", "--to", "v1") == {1}
    assert versions("--from", "0", "--to", "2999-01-01", "--where", "id = 3 and _change_type = 'delete'") == {3}
    late = run("changes", people, "--from", "2999-01-01")
    assert late.exit_code == 3 and "timestamp-out-of-range" in late.stderr
    assert run("changes", people, "--from", "9").exit_code == 3 and run("changes", people, "--from", "x").exit_code == 2


def test_changes_without_a_feed_say_what_they_could_not_tell(run, ok, events):
    ok("update", events, "--set", "name = 'x'", "--where", "id = 1", "--yes")
    done = run("changes", events, "--from", "2", "-o", "json")
    assert sorted((r["_change_type"], r["name"]) for r in json.loads(done.stdout)) == [("delete", "ann"), ("insert", "x")]
    assert "note: " in done.stderr and "rewritten" in done.stderr


# -- diff --------------------------------------------------------------------------------------------------------------


def test_diff_in_all_its_forms(ok, people, feed, done):
    done("upsert", people, feed, "--on", "id", "--delete-when", "op = 'D'", "--merge-schema")
    forms = [(f"{people}@1", f"{people}@2"), (people, "1", "2"), (people, "1..2"), (f"{people}@1",), (people, "1..")]
    records = [json.loads(ok("diff", *form, "--on", "id", "-o", "json")) for form in forms]
    assert all(record == records[0] for record in records) and list(records[0]) == names(compare.DIFF)
    record = records[0]
    assert [record[f"rows_{k}"] for k in ("added", "removed", "changed")] == [1, 1, 1] and record["keys"] == ["id"]
    assert record["columns"] == [{"before": None, "after": {"name": "op", "type": "string", "nullable": True}}]
    card = ok("diff", people, "1..2", "--on", "id", "-o", "table")
    assert "1 added, 1 removed, 1 changed  (by id)" in card and "+ op string" in card
    whole = json.loads(ok("diff", people, "1", "2", "-o", "json"))
    assert (whole["rows_added"], whole["rows_removed"], whole["rows_changed"]) == (2, 2, None)


def test_diff_shows_rows_and_properties(ok, people, done):
    ok("properties", "set", people, "owner=ada")
    done("update", people, "--set", "v = 0", "--where", "id = 2")
    found = json.loads(ok("diff", people, "1..3", "--on", "id", "--rows", "-o", "json"))
    assert [(r["_change_type"], r["id"], r["v"]) for r in found] == [
        ("update_preimage", 2, None),
        ("update_postimage", 2, 0.0),
    ]
    record = json.loads(ok("diff", people, "1", "2", "-o", "json"))
    assert record["properties"] == {"owner": {"before": None, "after": "ada"}} and record["rows_added"] == 0
    assert "owner: unset -> ada" in ok("diff", people, "1", "2", "-o", "table")


def test_diff_as_a_check(run, people, done):
    done("delete", people, "--where", "id = 2")
    assert run("diff", people, "1..2", "--exit-code").exit_code == 5
    assert run("diff", people, "2..2", "--exit-code").exit_code == 0
    assert run("diff", people, "1..2").exit_code == 0


def test_diff_refuses(run, people, events):
    for arguments in ((people,), (people, "1", "2", "3"), (f"{people}@1", "1", "2"), (f"{people}@1", f"{events}@1")):
        assert run("diff", *arguments).exit_code == 2, arguments
    assert run("diff", people, "1..99").exit_code == 3 and run("diff", people / "none", "0").exit_code == 3


@pytest.mark.parametrize("format", ["table", "plain", "json", "ndjson", "csv", "tsv", "parquet", "arrow"])
@pytest.mark.parametrize("command", ["changes", "diff", "diff --rows"])
def test_every_format(run, people, command, format):
    name, *options = command.split()
    where = ("--from", "0") if name == "changes" else ("0", "1")
    done = run(name, people, *where, *options, "-o", format)
    assert done.exit_code == 0, done.stderr
    if format == "parquet":
        assert pq.read_table(io.BytesIO(done.stdout_bytes)).num_rows in (1, 4)
