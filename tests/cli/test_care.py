"""The commands that care for files and versions: optimize, zorder, cluster, analyze, vacuum, restore, tag."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from test_process import on_terminal

from deltalite.cli.commands import clean, layout, tags
from deltalite.table import DeltaTable


def names(shape) -> list[str]:
    return [f.name for f in shape]


@pytest.fixture
def asked(ok):
    """``asked(shape, "vacuum", table)`` -> its record, whose keys are those of the shape."""

    def call(shape, *arguments: object) -> dict:
        record = json.loads(ok(*arguments, "-o", "json"))
        assert list(record) == names(shape)
        return record

    return call


@pytest.fixture
def pieces(tmp_path: Path, ok) -> Path:
    """Ten rows in five files, of which one has a deletion vector."""
    table = tmp_path / "pieces"
    ok("create", table, "--schema", "id bigint, grp bigint", "--property", "delta.enableDeletionVectors=true")
    for part in range(5):
        (tmp_path / "part.csv").write_text(f"id,grp\n{2 * part},{part}\n{2 * part + 1},{9 - part}\n")
        ok("append", table, tmp_path / "part.csv")
    ok("delete", table, "--where", "id = 3", "--yes")
    return table


def ids(place: object) -> list[int]:
    return sorted(DeltaTable(place).to_pyarrow_table(columns=["id"]).column("id").to_pylist())


LEFT = [0, 1, 2, 4, 5, 6, 7, 8, 9]


def everything(table: Path) -> list[str]:
    return sorted(str(p.relative_to(table)) for p in table.rglob("*"))


# -- layout ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("optimize",), ("zorder", "--by", "id,grp"), ("cluster", "--by", "grp"), ("optimize", "--purge")],
    ids=" ".join,
)
def test_a_dry_run_writes_nothing_and_the_run_keeps_every_row(asked, ok, pieces, arguments):
    command, *options = arguments
    before = everything(pieces)
    tried = asked(layout.LAYOUT, command, pieces, *options, "--dry-run")
    assert tried["dry_run"] and tried["version"] is None and everything(pieces) == before
    assert "would rewrite" in ok(command, pieces, *options, "-n", "-o", "table")
    assert everything(pieces) == before
    done = asked(layout.LAYOUT, command, pieces, *options, "--message", "nightly")
    assert done["removed_files"] == tried["removed_files"] == (1 if "--purge" in options else 5)
    assert done["removed_bytes"] == tried["removed_bytes"] and done["files_now"] in (5, 1)
    assert ids(pieces) == LEFT
    assert DeltaTable(pieces).history(1)[0]["userMetadata"] == "nightly"
    again = asked(
        layout.LAYOUT, command, pieces, *(o for o in options if o not in ("--by", "grp") or command != "cluster")
    )
    assert again["skipped"] and again["txn_id"] is None and again["version"] == done["version"]
    assert "nothing to do" in ok(command, pieces, *options, "-n", "-o", "table")


def test_optimize_heeds_its_options(asked, run, pieces):
    assert asked(layout.LAYOUT, "optimize", pieces, "--where", "id >= 4", "-n")["removed_files"] == 3
    assert asked(layout.LAYOUT, "optimize", pieces, "--min-file-size", "1B", "-n")["removed_files"] == 1
    assert run("optimize", pieces, "--purge", "--target-size", "1MB").exit_code == 2
    assert run("zorder", pieces).exit_code == 2 and "--by" in run("zorder", pieces).stderr
    unknown = run("zorder", pieces, "--by", "idd")
    assert unknown.exit_code == 2 and "idd" in unknown.stderr
    assert run("cluster", pieces).exit_code == 2
    assert run("optimize", f"{pieces}@2").exit_code == 2 and run("optimize", pieces / "none").exit_code == 3


def test_a_preview_tells_of_lookups_and_warns(asked, run, pieces):
    tried = asked(layout.LAYOUT, "zorder", pieces, "--by", "grp", "--target-size", "1kB", "-n")
    assert set(tried["lookups"]["grp"]) == {"now", "after"}
    assert "lookup by" in run("zorder", pieces, "--by", "grp", "-n", "-o", "table").stdout


def test_cluster_by_is_kept_and_used(asked, ok, pieces, csv_file):
    asked(layout.LAYOUT, "cluster", pieces, "--by", "grp")
    assert "clustering" in DeltaTable(pieces).detail()["table_features"]
    assert [e["operation"] for e in DeltaTable(pieces).history(2)] == ["OPTIMIZE", "CLUSTER BY"]
    csv_file.write_text("id,grp\n77,7\n")
    ok("append", pieces, csv_file)
    assert asked(layout.LAYOUT, "cluster", pieces, "--full")["removed_files"] == 2


def test_analyze(asked, ok, run, pieces):
    found = asked(layout.ANALYSIS, "analyze", pieces, "--by", "grp,id")
    assert [c["column"] for c in found["columns"]] == ["grp", "id"]
    assert (found["files"], found["small_files"], found["worn_files"]) == (5, 5, 1)
    assert found == {**asked(layout.ANALYSIS, "analyze", f"{pieces}@6", "--by", "grp,id")}
    assert "5 small" in ok("analyze", pieces, "-o", "table")
    assert run("analyze", pieces, "--by", "nothing").exit_code == 2


def test_progress_is_shown_on_a_terminal_and_taken_away(monkeypatch, capsys):
    from deltalite.cli import progress
    from deltalite.cli.settings import Settings

    monkeypatch.setattr(progress, "EVERY_S", 0)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.Share(Settings(), "rewritten") as share:
        share(1, 3)
    with progress.Share(Settings(quiet=True), "rewritten") as share:
        share(1, 3)
    assert capsys.readouterr().err == "\r33 % rewritten\r\x1b[K"


# -- vacuum ------------------------------------------------------------------------------------------------------------

NOW = ("--retention", "0h", "--short-retention")


@pytest.fixture
def compacted(pieces, ok) -> Path:
    ok("optimize", pieces)
    time.sleep(0.01)
    return pieces


def test_vacuum_plans_asks_and_deletes(asked, run, compacted):
    before = everything(compacted)
    plan = asked(clean.VACUUM, "vacuum", compacted, *NOW, "-n")
    assert plan["dry_run"] and plan["files"] == len(plan["paths"]) >= 5 and everything(compacted) == before
    refused = run("vacuum", compacted, *NOW)
    assert refused.exit_code == 2 and "--yes" in refused.stderr and refused.stdout == ""
    assert everything(compacted) == before
    done = asked(clean.VACUUM, "vacuum", compacted, *NOW, "--yes", "-q")
    assert sorted(done["paths"]) == sorted(plan["paths"]) and done["bytes"] == plan["bytes"] and not done["dry_run"]
    assert not any((compacted / path).exists() for path in done["paths"]) and ids(compacted) == LEFT
    assert asked(clean.VACUUM, "vacuum", compacted, *NOW, "-y")["files"] == 0


def test_vacuum_keeps_tags_and_versions(asked, ok, compacted):
    ok("tag", "create", f"{compacted}@2", "two")
    plan = asked(clean.VACUUM, "vacuum", compacted, *NOW, "--keep", "3", "-n")
    done = asked(clean.VACUUM, "vacuum", compacted, *NOW, "--keep", "3", "--yes")
    assert sorted(plan["paths"]) == sorted(done["paths"]) and done["paths"] and done["kept"]
    assert ids(compacted) == LEFT
    assert ok("count", f"{compacted}@two") == "4\n" and ok("count", f"{compacted}@3", "--where", "id > 0") == "5\n"


def test_vacuum_refuses_what_is_dangerous(run, compacted, tmp_path):
    short = run("vacuum", compacted, "--retention", "1h", "--yes")
    assert short.exit_code == 2 and "--short-retention" in short.stderr
    for number in range(30):
        (compacted / f"stray-{number}.parquet").write_bytes(b"stray")
    time.sleep(0.01)
    strange = run("vacuum", compacted, *NOW, "--full", "--yes")
    assert strange.exit_code == 2 and "--force" in strange.stderr and (compacted / "stray-1.parquet").exists()
    looked = run("vacuum", compacted, *NOW, "--full", "-n", "-o", "table")
    assert looked.exit_code == 0 and "would be refused" in looked.stdout and "... and" in looked.stdout
    assert run("vacuum", compacted, *NOW, "--full", "--force", "--yes").exit_code == 0
    assert not (compacted / "stray-1.parquet").exists() and ids(compacted) == LEFT
    assert run("vacuum", compacted, "--retention", "soon").exit_code == 2
    assert run("vacuum", f"{compacted}@1", "-n").exit_code == 2


def test_vacuum_at_a_terminal(run, compacted, terminal):
    asked = run("vacuum", compacted, *NOW, input="n\n")
    assert asked.exit_code == 2 and "Go on? [y/N]" in asked.stderr and ".parquet" in asked.stderr
    assert "nothing was done" in asked.stderr
    shown, code = on_terminal("vacuum", compacted, *NOW, typed=b"y\n", columns=200)
    assert code == 0 and "deleted 6 files" in shown or "deleted 5 files" in shown
    shown, code = on_terminal("vacuum", compacted, *NOW, columns=200)
    assert code == 0 and "nothing to delete" in shown and "Go on?" not in shown


# -- restore -----------------------------------------------------------------------------------------------------------


def test_restore_by_version_time_and_tag(asked, ok, run, pieces):
    before = everything(pieces)
    tried = asked(clean.RESTORE, "restore", pieces, "--to", "2", "-n")
    assert tried["dry_run"] and tried["version"] is None and (tried["files"], tried["removed_files"]) == (1, 4)
    refused = run("restore", pieces, "--to", "2")
    assert refused.exit_code == 2 and "--yes" in refused.stderr and everything(pieces) == before
    done = asked(clean.RESTORE, "restore", pieces, "--to", "2", "--yes", "-q")
    assert (done["version"], done["files"], done["removed_files"]) == (7, 1, 4) and ids(pieces) == [0, 1, 2, 3]
    ok("tag", "create", f"{pieces}@6", "six")
    asked(clean.RESTORE, "restore", pieces, "--to", "@six", "-y")
    assert ids(pieces) == LEFT
    times = {r["version"]: r["timestamp"] for r in json.loads(ok("history", pieces, "-o", "json"))}
    asked(clean.RESTORE, "restore", pieces, "--to", times[1], "-y")
    assert ids(pieces) == [0, 1]
    nothing = asked(clean.RESTORE, "restore", pieces, "--to", "1", "-y")
    assert nothing["skipped"] and ids(pieces) == [0, 1]
    assert run("restore", pieces, "--to", "99", "-y").exit_code == 3
    assert run("restore", pieces, "--to", "seven", "-y").exit_code == 3
    assert run("restore", pieces, "--to", "7d", "-y").exit_code == 3
    assert run("restore", pieces, "--to", "@", "-y").exit_code == 2


def test_restore_at_a_terminal(run, pieces, terminal):
    asked = run("restore", pieces, "--to", "2", input="n\n")
    assert asked.exit_code == 2 and "would go" in asked.stderr and ids(pieces) == LEFT


# -- tags --------------------------------------------------------------------------------------------------------------


def test_tags(asked, ok, run, pieces):
    before = everything(pieces)
    assert asked(tags.CHANGED, "tag", "create", f"{pieces}@2", "release-2", "-n")["dry_run"]
    assert everything(pieces) == before
    assert asked(tags.CHANGED, "tag", "create", f"{pieces}@2", "release-2", "--message", "the second")["version"] == 2
    assert asked(tags.CHANGED, "tag", "create", pieces, "now")["version"] == 6
    assert run("tag", "create", pieces, "now").exit_code == 2
    found = json.loads(ok("tag", "list", pieces, "-o", "json"))
    assert [list(f) for f in found] == [names(tags.TAG)] * 2
    assert [(f["tag"], f["version"], f["message"]) for f in found] == [("now", 6, None), ("release-2", 2, "the second")]
    assert ok("tag", "list", pieces).splitlines()[1].startswith("now\t6\t")
    asked(tags.CHANGED, "tag", "create", f"{pieces}@3", "now", "--replace")
    assert ok("count", f"{pieces}@now") == "6\n"
    asked(tags.CHANGED, "tag", "delete", pieces, "now", "--dry-run")
    asked(tags.CHANGED, "tag", "delete", pieces, "now")
    gone = run("count", f"{pieces}@now")
    assert gone.exit_code == 3 and "'release-2'" in gone.stderr
    assert run("tag", "delete", pieces, "now").exit_code == 3
    assert run("tag", "create", pieces, "2026-11-20").exit_code == 2


def test_a_tag_stands_wherever_a_version_does(ok, run, pieces):
    ok("tag", "create", f"{pieces}@2", "two")
    for command in ("show", "history", "schema", "detail", "files", "head", "count", "log", "analyze"):
        assert ok(command, f"{pieces}@two", "-o", "json") == ok(command, f"{pieces}@2", "-o", "json"), command
    diff = json.loads(ok("diff", f"{pieces}@two", f"{pieces}@4", "-o", "json"))
    assert (diff["from_version"], diff["to_version"], diff["rows_added"]) == (2, 4, 4)
    assert run("append", f"{pieces}@two", "x.csv").exit_code == 2
    assert ok("query", "select count(*) as n from t", "--table", f"t={pieces}@two", "-o", "csv") == "n\n4\n"


def test_tags_are_completed(ok, pieces):
    import click

    from deltalite.cli.commands.look import show
    from deltalite.cli.completion import complete_tables

    ok("tag", "create", pieces, "release-3")
    ok("tag", "create", f"{pieces}@2", "two")
    found = complete_tables(click.Context(show), show.params[0], f"{pieces}@r")
    assert [item.value for item in found] == [f"{pieces}@release-3"]
    assert complete_tables(click.Context(show), show.params[0], f"{pieces}-none@r") == []
