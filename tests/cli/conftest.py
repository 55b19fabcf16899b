"""Command lines run inside this process (``run``) or as a process of their own (``shell``)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
