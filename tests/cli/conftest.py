"""Command lines run inside this process (``run``) or as a process of their own (``shell``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click.testing
import pytest
from click.testing import CliRunner, Result

from deltalite.cli.app import app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration and no colours of whoever runs the tests."""
    for name in ("NO_COLOR", "FORCE_COLOR", "DELTALITE_STORAGE_OPTIONS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DELTALITE_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def run():
    """``run("count", path)`` -> a click ``Result`` with exit_code, stdout and stderr."""

    def call(*arguments: object, input: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return call


@pytest.fixture
def ok(run):
    """``ok("count", path)`` -> stdout of a run that must succeed."""

    def call(*arguments: object, input: str | bytes | None = None) -> str:
        result = run(*arguments, input=input)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return call


def process_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def shell():
    """``shell("history", path)`` -> a finished process."""

    def call(*arguments: object, input: bytes | None = None, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "deltalite", *map(str, arguments)],
            input=input, capture_output=True, env={**process_environment(), **environment}, timeout=120,
        )  # fmt: skip

    return call


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """Let the streams of ``run`` pass for a terminal of 80 columns."""
    monkeypatch.setattr(click.testing._NamedTextIOWrapper, "isatty", lambda self: True)
    monkeypatch.setenv("COLUMNS", "80")


CSV = (
    "id,day,v,name\n"
    "1,2026-11-01,1.5,ann\n"
    "2,2026-11-01,,bob\n"
    '3,2026-11-02,3.25,"x, ""y"""\n'
    "4,2026-11-03,4.5,\x1b[31mred\n"
)


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "new.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def events(tmp_path: Path, csv_file: Path, ok) -> Path:
    """A table of two versions: created, and four rows in three partitions."""
    table = tmp_path / "events"
    ddl = "id bigint NOT NULL COMMENT 'the key', day date, v double, name string"
    ok("create", table, "--schema", ddl, "--partition-by", "day", "--description", "Things that happened")
    ok("append", table, csv_file, "--message", "first load")
    return table
