"""The commands that change the table itself: columns, constraints, features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltalite.cli.altering import ALTERED
from deltalite.cli.commands import constraints, features
from deltalite.table import DeltaTable

MAPPED = ("--property", "delta.columnMapping.mode=name", "--property", "delta.enableTypeWidening=true")


@pytest.fixture
def people(tmp_path: Path, ok, csv_file: Path) -> Path:
    """The four rows of ``events``, unpartitioned, with column mapping and widening types."""
    table = tmp_path / "people"
    ok("create", table, "--schema", "id int, day date, v double, name string, a struct<x: int>", *MAPPED)
    ok("append", table, csv_file)
    return table


@pytest.fixture
def done(ok):
    def call(*arguments: object) -> dict:
        record = json.loads(ok(*arguments, "-o", "json"))
        assert list(record) == [f.name for f in ALTERED]
        return record

    return call


def columns(table: Path) -> list[str]:
    return [f"{f.name} {f.type.type}" for f in DeltaTable(table).schema().fields]


CHANGES = {
    "add": ("columns add TABLE 'e string, f int' --after id", "ADD COLUMNS"),
    "add into": ("columns add TABLE 'y int' --into a --first", "ADD COLUMNS"),
    "drop": ("columns drop TABLE name a.x --yes", "DROP COLUMNS"),
    "rename": ("columns rename TABLE name title", "RENAME COLUMN"),
    "move": ("columns move TABLE v --first", "CHANGE COLUMN"),
    "type": ("columns type TABLE id bigint", "CHANGE COLUMN"),
    "comment": ("columns comment TABLE id 'the key'", "CHANGE COLUMN"),
    "default": ("columns default TABLE v 1.5", "CHANGE COLUMN"),
    "not-null": ("columns not-null TABLE id", "CHANGE COLUMN"),
    "constraint": ("constraints add TABLE known 'id > 0'", "ADD CONSTRAINT"),
}


@pytest.mark.parametrize("change", [c for c in CHANGES if c != "drop"])
def test_a_trial_changes_nothing_and_the_change_one_version(done, ok, people, change):
    import shlex

    line, operation = CHANGES[change]
    arguments = [str(people) if word == "TABLE" else word for word in shlex.split(line)]
    before = sorted(p.name for p in people.rglob("*"))
    tried = done(*arguments, "--dry-run")
    assert tried["dry_run"] and tried["version"] is None and tried["done"] and tried["skipped"] is None
    assert ok(*arguments, "-n", "-o", "table").startswith("possible: ")
    assert sorted(p.name for p in people.rglob("*")) == before
    record = done(*arguments, "--message", "why")
    assert record["version"] == 2 and record["operation"] == tried["operation"] == operation
    assert DeltaTable(people).history(1)[0]["userMetadata"] == "why"
    assert DeltaTable(people).count() == 4


def test_what_became_of_the_columns(ok, people, run):
    ok("columns", "add", people, "e string, f int", "--after", "id")
    ok("columns", "rename", people, "name", "title")
    ok("columns", "type", people, "id", "bigint")
    ok("columns", "move", people, "v", "--first")
    assert columns(people) == ["v double", "id long", "e string", "f integer", "day date", "title string", "a struct"]
    refused = run("columns", "drop", people, "e", "day")
    assert refused.exit_code == 2 and "--yes" in refused.stderr
    ok("columns", "drop", people, "e", "day", "f", "--yes")
    assert columns(people) == ["v double", "id long", "title string", "a struct"]
    ok("columns", "comment", people, "id", "the key")
    assert DeltaTable(people).schema().get("id").metadata["comment"] == "the key"
    ok("columns", "comment", people, "id", "--remove")
    assert "comment" not in DeltaTable(people).schema().get("id").metadata
    ok("columns", "not-null", people, "id")
    assert not DeltaTable(people).schema().get("id").nullable
    ok("columns", "not-null", people, "id", "--drop")
    ok("columns", "default", people, "title", "'nobody'")
    (people.parent / "one.csv").write_text("id\n9\n")
    ok("append", people, people.parent / "one.csv")
    assert ok("count", people, "--where", "title = 'nobody' and id = 9") == "1\n"
    ok("columns", "default", people, "title", "--remove")
    assert ok("head", f"{people}@1", "-n", "1", "-c", "name") == ok(
        "head", people, "--where", "id = 1", "-c", "title"
    ).replace("title", "name")


@pytest.mark.parametrize(
    "line, code, words",
    [
        ("columns add TABLE 'e string' --first --after id", 2, "contradict"),
        ("columns add TABLE 'id int'", 2, "id"),
        ("columns drop TABLE nothing --yes", 2, "nothing"),
        ("columns move TABLE v", 2, "--first"),
        ("columns type TABLE id string", 2, "string"),
        ("columns comment TABLE id", 2, "--remove"),
        ("columns default TABLE id 1 --remove", 2, "--remove"),
        ("columns not-null TABLE v", 1, "NOT NULL"),
        ("constraints add TABLE small 'id < 3'", 1, "small"),
        ("constraints drop TABLE small", 2, "small"),
        ("columns rename TABLE@1 name title", 2, "newest"),
    ],
)
@pytest.mark.parametrize("trial", [True, False])
def test_what_cannot_be_is_refused_by_the_trial_too(run, people, line, code, words, trial):
    import shlex

    arguments = [word.replace("TABLE", str(people)) for word in shlex.split(line)]
    refused = run(*arguments, *(["--dry-run"] if trial else []))
    assert refused.exit_code == code and words in refused.stderr and DeltaTable(people).version() == 1


def test_constraints(ok, run, done, people):
    ok("constraints", "add", people, "known", "id > 0")
    ok("constraints", "add", people, "early", "day < date'2027-01-01' or day is null")
    found = json.loads(ok("constraints", "list", people, "-o", "json"))
    assert [list(f) for f in found] == [[f.name for f in constraints.CONSTRAINTS]] * 2
    assert [(f["constraint"], f["expression"]) for f in found][1] == ("known", "id > 0")
    (people.parent / "bad.csv").write_text("id\n-1\n")
    assert run("append", people, people.parent / "bad.csv").exit_code == 1
    ok("constraints", "drop", people, "known")
    assert ok("append", people, people.parent / "bad.csv")
    assert done("constraints", "drop", people, "known", "--if-exists")["skipped"]
    assert json.loads(ok("constraints", "list", f"{people}@1", "-o", "json")) == []


def test_features_list(ok, people):
    found = {f["feature"]: f for f in json.loads(ok("features", "list", people, "-o", "json"))}
    assert list(found["columnMapping"]) == [f.name for f in features.FEATURES]
    assert found["columnMapping"]["readers"] and found["columnMapping"]["value"] == "name"
    assert found["typeWidening"]["property"] == "delta.enableTypeWidening" and found["typeWidening"]["known"]
    assert not found["appendOnly"]["readers"] and found["appendOnly"]["value"] is None
    assert ok("features", "list", people).startswith("FEATURE\tREADERS\tKNOWN\t")


def test_properties_are_tried_before_they_are_set(run, ok, people):
    assert run("properties", "set", people, "delta.appendOnly=perhaps", "-n").exit_code == 2
    assert run("properties", "set", people, "delta.apendOnly=true", "-n").exit_code == 2
    ok("properties", "set", people, "delta.appendOnly=true", "--dry-run")
    ok("properties", "set", people, "delta.enableRowTracking=true", "--dry-run")
    assert DeltaTable(people).version() == 1


def test_refusals_speak_of_commands(run, events):
    refused = run("columns", "drop", events, "v", "--yes")
    assert refused.exit_code == 2 and "deltalite properties set TABLE delta.columnMapping.mode=name" in refused.stderr
