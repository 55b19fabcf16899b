"""Real processes: pipes that break, terminals, interrupts, stdin."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from conftest import process_environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals and signals of POSIX")

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def on_terminal(*arguments: object, columns: int = 80, typed: bytes = b"", out: int | None = None, **environment: str):
    """Run on a pseudo-terminal; returns what it showed, and the exit code.

    :param out: where stdout goes instead of the terminal.
    """
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "deltalite", *map(str, arguments)],
        stdin=theirs, stdout=theirs if out is None else out, stderr=theirs, close_fds=True,
        env={**process_environment(), "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    if typed:
        os.write(ours, typed)
    shown = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1)[0]:
            continue
        try:
            block = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    return shown.decode().replace("\r\n", "\n"), process.wait(30)


def test_the_module_and_the_console_script_are_the_same(shell, events):
    import deltalite.__main__

    assert callable(deltalite.__main__.main)
    assert shell("count", events).stdout == b"4\n"


def test_a_table_on_a_terminal_fits_it_and_is_plain_in_a_pipe(shell, events):
    shown, code = on_terminal("files", events, columns=60)
    assert code == 0 and "\x1b[1m" in shown
    lines = ESCAPES.sub("", shown).splitlines()
    assert all(len(line) <= 60 for line in lines) and "…" in shown and lines[0].split()[0] == "PATH"
    piped = shell("files", events).stdout.decode()
    assert "…" not in piped and "\x1b" not in piped
    assert all(len(line.split("\t")) == 4 and ".parquet\t" in line for line in piped.splitlines()[1:])


def test_columns_that_do_not_fit_are_named(tmp_path, run, terminal):
    names = [f"column_{i:02}" for i in range(30)]
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + ",".join(["12345678"] * 30) + "\n")
    assert run("append", tmp_path / "t", tmp_path / "wide.csv", "--create").exit_code == 0
    done = run("head", tmp_path / "t", "--no-color")
    assert "columns did not fit: " in done.stderr and "column_29" in done.stdout.splitlines()[0]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_many_rows_stream_through_a_table(tmp_path, run, terminal):
    (tmp_path / "many.csv").write_text("id,s\n" + "".join(f"{i},{'long' * (i // 1000)}\n" for i in range(2500)))
    assert run("append", tmp_path / "t", tmp_path / "many.csv", "--create").exit_code == 0
    lines = run("head", tmp_path / "t", "-n", "2500", "--no-color").stdout.splitlines()
    assert len(lines) == 2501 and sum("id" in line for line in lines) == 1


def test_no_colours_where_they_are_unwanted(run, events, terminal, monkeypatch):
    assert "\x1b[1m" in run("history", events).stdout
    assert "\x1b" not in run("history", events, "--no-color").stdout
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in run("history", events).stdout
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run("history", events).stdout


def test_colours_where_they_are_forced(run, events, monkeypatch):
    assert "\x1b" not in run("history", events, "-o", "table").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1m" in run("history", events, "-o", "table").stdout


@pytest.mark.bug("S-19")
@pytest.mark.parametrize("format", ["table", "plain", "csv", "tsv", "json"])
def test_what_a_table_says_cannot_steer_the_terminal(run, events, terminal, format):
    shown = run("head", events, "-o", format, "--no-color").stdout
    assert "\x1b" not in shown and "[31mred" in shown


def test_binary_output_is_refused_on_a_terminal(run, events, terminal):
    for command in ("head", "history"):
        done = run(command, events, "-o", "parquet")
        assert done.exit_code == 2 and "redirect it" in done.stderr


def test_csv_in_a_pipe_is_the_data_as_it_is(shell, events):
    assert b"\x1b[31mred" in shell("head", events, "-o", "csv").stdout


def test_overwrite_asks_on_a_terminal(events, csv_file, run, terminal):
    asked = run("overwrite", events, csv_file, input="n\n")
    assert asked.exit_code == 2 and "this replaces all of" in asked.stderr and "Go on? [y/N]" in asked.stderr
    assert run("history", events, "-o", "plain", "--no-header").stdout.count("\n") == 2
    shown, code = on_terminal("overwrite", events, csv_file, typed=b"y\n", columns=200)
    assert code == 0 and "4 rows written in 3 files" in shown and "version 2" in shown


def test_progress_is_shown_to_those_who_watch(tmp_path, run, terminal, monkeypatch):
    (tmp_path / "many.csv").write_text("id\n" + "".join(f"{i}\n" for i in range(10_000)))
    arguments = ("append", tmp_path / "t", tmp_path / "many.csv", "--create", "--batch-rows", "2000", "--dry-run")
    monkeypatch.setattr("deltalite.cli.progress.EVERY_S", 0)
    done = run(*arguments)
    assert "\r8,000 rows read" in done.stderr and done.stderr.endswith("\r\x1b[K")
    assert done.stdout == "10,000 rows would be appended; nothing was written\n"
    assert run(*arguments, "-q").stderr == ""
    monkeypatch.undo()
    assert run(*arguments).stderr == ""


def test_a_reader_that_leaves_is_no_error(tmp_path, shell):
    (tmp_path / "many.csv").write_text("id,s\n" + "".join(f"{i},some text to fill the pipe\n" for i in range(60_000)))
    assert shell("append", tmp_path / "t", tmp_path / "many.csv", "--create").returncode == 0
    for format in ("ndjson", "parquet"):
        process = subprocess.Popen(
            [sys.executable, "-m", "deltalite", "head", str(tmp_path / "t"), "-n", "60000", "-o", format],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=process_environment(),
        )  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b"", format
        process.stderr.close()
        assert process.wait(60) == 0, format


def test_ctrl_c_stops_a_load_and_nothing_is_visible(tmp_path, shell):
    assert shell("create", tmp_path / "t", "--schema", "id bigint").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "deltalite", "append", str(tmp_path / "t"), "-", "--format", "ndjson"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=process_environment(),
    )  # fmt: skip
    assert process.stdin is not None and process.stderr is not None
    process.stdin.write(b'{"id": 1}\n')
    process.stdin.flush()
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == b"interrupted\n" and out == b""
    assert json.loads(shell("history", tmp_path / "t", "-o", "json").stdout)[0]["version"] == 0


def test_a_full_disk_is_an_error(events):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "deltalite", "head", str(events)],
            stdout=full,
            stderr=subprocess.PIPE,
            env=process_environment(),
        )
    assert done.returncode == 1 and done.stderr.startswith(b"error[os-error]: No space left")


def test_output_is_utf8_whatever_the_locale(shell, tmp_path):
    (tmp_path / "x.csv").write_text("s\nżółw 🐢\n", encoding="utf-8")
    assert shell("append", tmp_path / "t", tmp_path / "x.csv", "--create").returncode == 0
    done = shell("head", tmp_path / "t", "--no-header", LC_ALL="C", PYTHONIOENCODING="latin-1")
    assert done.stdout.decode("utf-8") == "żółw 🐢\n"


def test_no_stdout_at_all(events):
    done = subprocess.run(
        f'"{sys.executable}" -m deltalite count "{events}" >&-',
        shell=True,
        stderr=subprocess.PIPE,
        env=process_environment(),
    )
    assert b"Traceback" not in done.stderr
