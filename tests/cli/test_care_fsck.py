"""fsck."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deltalite.cli.commands.doctor import FINDINGS
from deltalite.table import DeltaTable


@pytest.fixture
def broken(events: Path) -> tuple[Path, str]:
    """A table with a file missing."""
    gone = DeltaTable(events).files("id = 1").column("path").to_pylist()[0]
    (events / gone).unlink()
    return events, gone


def test_a_healthy_table(run, events):
    for options in ((), ("--deep",), ("--repair", "--yes")):
        done = run("fsck", events, *options, "-o", "json")
        assert (done.exit_code, done.stdout) == (0, "[]\n") and "all is well" in done.stderr
    assert run("fsck", events / "none").exit_code == 3


def test_what_is_missing_is_found_and_repaired(run, ok, broken):
    table, gone = broken
    done = run("fsck", table, "-o", "json")
    found = json.loads(done.stdout)
    assert done.exit_code == 5 and [list(f) for f in found] == [[f.name for f in FINDINGS]]
    assert found[0]["severity"] == "error" and gone in (found[0]["path"] or found[0]["message"]) and found[0]["repair"]
    assert "error" in run("fsck", table, "-o", "table").stdout
    refused = run("fsck", table, "--repair")
    assert refused.exit_code == 2 and "--yes" in refused.stderr and DeltaTable(table).version() == 1
    repaired = run("fsck", table, "--repair", "--yes", "-o", "json")
    assert repaired.exit_code == 0 and json.loads(repaired.stdout)[0]["repaired"]
    assert run("fsck", table).exit_code == 0 and ok("count", table) == "2\n"


def test_somebody_at_a_terminal_is_asked(run, broken, terminal):
    table, gone = broken
    asked = run("fsck", table, "--repair", input="n\n")
    assert asked.exit_code == 2 and gone.rpartition("/")[2] in asked.stderr and DeltaTable(table).version() == 1


def test_a_table_that_cannot_be_opened_is_examined(run, events):
    log = events / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text()[:40])
    done = run("fsck", events, "-o", "json")
    assert done.exit_code == 5 and json.loads(done.stdout)
