"""convert and clone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite.cli.commands.copies import MADE
from deltalite.table import DeltaTable


@pytest.fixture
def made(ok):
    def call(*arguments: object) -> dict:
        record = json.loads(ok(*arguments, "-o", "json"))
        assert list(record) == [f.name for f in MADE]
        return record

    return call


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    for year in (2025, 2026):
        folder = tmp_path / "exports" / f"year={year}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": [year, year + 1]}), folder / "part.parquet")
    return tmp_path / "exports"


def test_convert(made, run, ok, exports):
    tried = made("convert", exports, "--dry-run")
    assert tried["dry_run"] and tried["files"] == 2 and not (exports / "_delta_log").exists()
    record = made("convert", exports, "--partition-by", "year int", "--name", "exports", "--message", "moved in")
    assert (record["version"], record["files"], record["bytes"]) == (0, 2, tried["bytes"])
    table = DeltaTable(exports)
    assert table.metadata().partition_columns == ["year"] and table.schema().get("year").type.type == "integer"
    assert ok("count", exports, "--where", "year = 2026 and id > 2026") == "1\n"
    for again in ((), ("-n",)):
        refused = run("convert", exports, *again)
        assert refused.exit_code == 1 and "--if-not-exists" in refused.stderr
        assert made("convert", exports, "--if-not-exists", *again)["skipped"]
    assert run("convert", exports / "none").exit_code == 3


def test_convert_plain_folders_by_name(made, exports):
    for year in (2025, 2026):
        (exports / f"year={year}").rename(exports / str(year))
    made("convert", exports, "--partition-by", "year", "--strategy", "directory", "--no-stats", "--property", "a=b")
    assert DeltaTable(exports).metadata().partition_columns == ["year"] and DeltaTable(exports).properties()["a"] == "b"


def test_clone_shallow(made, run, ok, tmp_path, events):
    target = tmp_path / "copy"
    assert made("clone", f"{events}@1", target, "-n")["dry_run"] and not target.exists()
    record = made("clone", events, target, "--message", "to try things")
    assert (record["version"], record["files"], record["copied_files"], record["bytes"]) == (0, 3, 0, None)
    assert not list(target.glob("**/*.parquet"))
    closed = run("head", target)
    assert closed.exit_code == 1 and "--allow-external" in closed.stderr
    rows = ok("head", target, "--allow-external", events)
    assert sorted(rows.splitlines()) == sorted(ok("head", events).splitlines())
    ok("delete", target, "--where", "id = 1", "--yes", "--allow-external", events)
    assert ok("count", events) == "4\n" and ok("count", target) == "3\n"


def test_clone_deep_and_again(made, run, ok, tmp_path, events, csv_file):
    target = tmp_path / "backup"
    first = made("clone", events, target, "--deep", "--property", "owner=ada")
    assert first["copied_files"] == first["files"] == 3 and first["bytes"] > 0
    assert sorted(ok("head", target).splitlines()) == sorted(ok("head", events).splitlines())
    ok("append", events, csv_file)
    assert run("clone", events, target, "--deep").exit_code == 1
    refused = run("clone", events, target, "--deep", "--replace")
    assert refused.exit_code == 2 and "--yes" in refused.stderr and ok("count", target) == "4\n"
    again = made("clone", events, target, "--deep", "--replace", "--yes")
    assert (again["version"], again["copied_files"], again["removed_files"]) == (1, 3, 0)
    assert ok("count", target) == "8\n"


def test_switches_of_python_are_shown_as_options():
    from deltalite.cli.errors import describe
    from deltalite.exceptions import InvalidArgumentError

    error = InvalidArgumentError("no", hint="replace=True moves it, mode=True not; allow_external_paths=['/a b']")
    assert describe(error, {"--replace"}).endswith("--replace moves it, mode=True not; --allow-external '/a b'")
