"""maintain: the steps, their order, and the policy."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from deltalite.cli.commands.maintain import STEPS
from deltalite.cli.policy import Policy, load_policy
from deltalite.exceptions import InvalidArgumentError
from deltalite.table import DeltaTable


@pytest.fixture
def pieces(tmp_path: Path, ok) -> Path:
    """Four rows in four files; a file that a DELETE removed can go at once."""
    table = tmp_path / "pieces"
    retention = "delta.deletedFileRetentionDuration=interval 0 hours"
    ok("create", table, "--schema", "id bigint", "--property", retention)
    for number in range(5):
        (tmp_path / "part.csv").write_text(f"id\n{number}\n")
        ok("append", table, tmp_path / "part.csv")
    ok("delete", table, "--where", "id = 4", "--yes")
    time.sleep(0.01)
    return table


@pytest.fixture
def steps(ok):
    def call(*arguments: object) -> list[dict]:
        found = json.loads(ok("maintain", *arguments, "-q", "-o", "json"))
        assert all(list(step) == [f.name for f in STEPS] for step in found)
        return found

    return call


def test_a_night_and_the_night_after(steps, run, ok, pieces):
    before = sorted(p.name for p in pieces.rglob("*"))
    planned = steps(pieces, "--dry-run")
    assert [(s["step"], s["status"]) for s in planned] == [
        ("compact", "planned"), ("checkpoint", "planned"), ("clean_log", "planned"), ("vacuum", "planned"),
    ]  # fmt: skip
    assert (planned[0]["removed_files"], planned[3]["removed_files"]) == (4, 1)
    refused = run("maintain", pieces)
    assert refused.exit_code == 2 and "--yes" in refused.stderr and refused.stdout == ""
    assert sorted(p.name for p in pieces.rglob("*")) == before
    done = steps(pieces, "--yes")
    assert [s["status"] for s in done] == ["done"] * 4 and done[0]["files"] == 1 and done[3]["removed_files"] == 5
    assert DeltaTable(pieces).count() == 4 and len(list(pieces.glob("*.parquet"))) == 1
    again = steps(pieces, "--yes")
    assert [s["status"] for s in again] == ["skipped", "done", "done", "skipped"]
    assert "no file has expired" in ok("maintain", pieces, "-n", "-o", "table")


def test_a_policy_says_what_is_done(steps, ok, tmp_path, pieces):
    (tmp_path / "care.json").write_text(
        '{"layout": "zorder", "zorder_by": ["id"], "clean_log": false, "vacuum": false}'
    )
    assert [s["step"] for s in steps(pieces, "--policy", tmp_path / "care.json")] == ["zorder", "checkpoint"]
    (tmp_path / "care.json").write_text(
        '{"layout": "none", "checkpoint": false, "retention": "0h", "keep_versions": [3]}'
    )
    done = steps(pieces, "--policy", tmp_path / "care.json", "--yes")
    assert [s["step"] for s in done] == ["clean_log", "vacuum"] and done[1]["removed_files"] == 2
    assert ok("count", f"{pieces}@3", "--where", "id >= 0") == "3\n"
    ok("cluster", pieces, "--by", "id")
    (tmp_path / "care.json").write_text("{}")
    assert steps(pieces, "--policy", tmp_path / "care.json", "-n")[0]["step"] == "cluster"


def test_a_step_that_fails_stops_no_other(run, tmp_path, pieces):
    (tmp_path / "care.json").write_text('{"layout": "zorder", "zorder_by": ["nothing"]}')
    done = run("maintain", pieces, "--policy", tmp_path / "care.json", "--yes", "-o", "json")
    assert done.exit_code == 2 and "nothing" in done.stderr
    assert [s["status"] for s in json.loads(done.stdout)] == ["failed", "done", "done", "done"]


def test_policies(tmp_path):
    assert load_policy(None) == Policy()
    (tmp_path / "a.toml").write_text('target_size = "64MB"\nretention = "14d"\nvacuum_full = true\n')
    assert load_policy(str(tmp_path / "a.toml")) == Policy(target_size=64 << 20, retention_hours=336, vacuum_full=True)
    for text in (
        "[]", "{", '{"layuot": "auto"}', '{"layout": "best"}', '{"layout": "zorder"}', '{"vacuum": 1}',
        '{"zorder_by": "id"}', '{"keep_versions": ["1"]}', '{"retention": "soon"}', '{"target_size": "big"}',
    ):  # fmt: skip
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InvalidArgumentError, match=r"a\.json"):
            load_policy(str(tmp_path / "a.json"))
