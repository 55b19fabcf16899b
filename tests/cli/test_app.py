"""The command line as a whole: help, exit codes, what errors say, what start-up imports."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import warnings

import click
import pytest
from conftest import process_environment

from deltalite import exceptions
from deltalite.cli import errors
from deltalite.cli.app import app
from deltalite.cli.command import Command, split_columns
from deltalite.cli.errors import describe, exit_code
from deltalite.cli.settings import Settings
from deltalite.table import DeltaTable


def commands() -> list[tuple[str, Command]]:
    found = []

    def walk(group: click.Group, path: str) -> None:
        ctx = click.Context(group)
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            if isinstance(command, click.Group):
                walk(command, f"{path}{name} ")
            else:
                assert isinstance(command, Command)
                found.append((path + name, command))

    walk(app, "")
    return found


@pytest.mark.parametrize("path, command", commands(), ids=[path for path, _ in commands()])
def test_every_command_has_help_with_an_example(ok, path, command):
    out = ok(*path.split(), "--help")
    assert command.examples and all(
        f"deltalite {path}" in e or "|" in e or "eval" in e or "$(" in e for e in command.examples
    )
    assert "Examples:" in out and command.examples[0] in out and "Common options:" in out
    assert (command.help or "").strip().endswith(".") and not command.get_short_help_str(80).endswith("...")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_lists_every_command_once(ok):
    out = ok("--help")
    names = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    for command in app.list_commands(click.Context(app)):
        assert names.count(command) == 1
    assert ok("-h") == out


def test_version(ok):
    from deltalite import __version__

    assert ok("--version") == f"deltalite {__version__}\n"


def test_wrong_calls_exit_with_2_on_stderr(run):
    for arguments in ((), ("histroy", "x"), ("history",), ("head", "x", "-n", "-1"), ("head", "x", "-o", "xml")):
        done = run(*arguments)
        assert done.exit_code == 2 and done.stdout == "", arguments
    done = run("histroy", "x")
    assert done.stderr == "error[usage]: No such command 'histroy'. Did you mean 'history'?\nhint: deltalite --help\n"
    assert run("head").stderr.endswith("hint: deltalite head --help\n")


def test_common_options_may_stand_before_the_command_too(run, events):
    assert run("-o", "json", "count", events).stdout == '{"count":4}\n'
    assert run("-o", "json", "count", events, "-o", "plain").stdout == "4\n"
    assert run("-q", "history", events, "-n", "1").stderr == ""


# -- errors ------------------------------------------------------------------------------------------------------------

CODES = {
    exceptions.TableNotFoundError: 3,
    exceptions.VersionNotFoundError: 3,
    exceptions.TimestampOutOfRangeError: 3,
    exceptions.ConcurrentAppendError: 4,
    exceptions.MetadataChangedError: 4,
    exceptions.InvalidArgumentError: 2,
    exceptions.CommitOutcomeUnknown: 1,
    exceptions.SchemaMismatchError: 1,
    exceptions.StorageError: 1,
}


@pytest.mark.parametrize("kind", [getattr(exceptions, name) for name in exceptions.__all__])
def test_every_error_has_a_code_a_message_and_an_exit_code(kind):
    text = describe(kind("what happened", hint="do this"))
    first, second = text.split("\n")
    assert first == f"error[{kind.code}]: what happened" and second.startswith("hint: ")
    assert exit_code(kind("x")) == CODES.get(kind, exit_code(kind("x"))) and exit_code(kind("x")) in (1, 2, 3, 4)


def test_a_missing_table_says_where_and_what_to_do(run, tmp_path):
    done = run("show", tmp_path / "nope")
    assert done.exit_code == 3 and done.stdout == ""
    assert done.stderr.startswith("error[table-not-found]: ") and "deltalite create" in done.stderr


def test_a_missing_version_says_what_there_is(run, events):
    done = run("show", f"{events}@99")
    assert done.exit_code == 3 and "0 to 1" in done.stderr


def test_a_bad_predicate_points_into_it(run, events):
    done = run("count", events, "--where", "id = = 3")
    assert done.exit_code == 1 and "error[expression-error]" in done.stderr and "^" in done.stderr


def test_a_fault_of_ours_is_called_one(run, events, monkeypatch):
    monkeypatch.setattr(DeltaTable, "count", lambda *_: 1 // 0)
    done = run("count", events)
    assert done.exit_code == 1
    assert "error[internal]: ZeroDivisionError" in done.stderr and "--debug" in done.stderr
    assert "Traceback" not in done.stderr and "Traceback" in run("count", events, "--debug").stderr


def test_python_arguments_become_options_where_there_are_such():
    error = exceptions.SchemaMismatchError("x", hint="pass schema_mode='merge' or cast=\"unsafe\"")
    assert 'pass --schema-mode merge or cast="unsafe"' in describe(error, {"--schema-mode"})


@pytest.mark.bug("S-19")
def test_messages_carry_no_control_characters():
    text = describe(exceptions.ExpressionError("bad \x1b[31mname\x07\nat ^ here\u202e"))
    assert text == "error[expression-error]: bad \\x1b[31mname\\x07\nat ^ here\\u202e"


def test_credentials_never_show(run, events, monkeypatch):
    secret = "wJalrXUtnFEMI-canary"

    def fail(self, *_):
        raise OSError(f"denied for {secret} at https://host/x?sig={secret}")

    monkeypatch.setattr(DeltaTable, "count", fail)
    for extra in ((), ("--debug",)):
        done = run("count", events, "--storage-option", f"aws_secret_access_key={secret}", "-q", *extra)
        assert done.exit_code == 1 and secret not in done.stderr
    monkeypatch.setenv("DELTALITE_STORAGE_OPTIONS", f"aws_secret_access_key={secret}")
    assert secret not in run("count", events, "-q").stderr


def test_interruption_exits_with_130(run, events, monkeypatch):
    def interrupt(self, *_):
        raise KeyboardInterrupt

    monkeypatch.setattr(DeltaTable, "count", interrupt)
    done = run("count", events)
    assert done.exit_code == errors.INTERRUPTED and done.stderr == "interrupted\n"


def test_warnings_and_log_records_go_to_stderr(run, events, monkeypatch):
    def talk(self, *_):
        warnings.warn("odd \x1bthing", stacklevel=2)
        logging.getLogger("deltalite.log").info("looked")
        return 4

    monkeypatch.setattr(DeltaTable, "count", talk)
    done = run("count", events)
    assert done.stdout == "4\n" and done.stderr == "warning: odd \\x1bthing\n"
    assert "info: looked" in run("count", events, "-v").stderr
    assert run("count", events, "-q").stderr == ""


def test_logging_and_warnings_are_left_as_they_were(run, events):
    logger = logging.getLogger("deltalite")
    before = (list(logger.handlers), logger.level, logger.propagate, warnings.showwarning, list(warnings.filters))
    run("count", events, "-v")
    assert (
        list(logger.handlers),
        logger.level,
        logger.propagate,
        warnings.showwarning,
        list(warnings.filters),
    ) == before


def test_threads_reach_pyarrow(run, events):
    import pyarrow as pa

    before = pa.cpu_count(), pa.io_thread_count()
    try:
        assert run("count", events, "--threads", "3").exit_code == 0
        assert (pa.cpu_count(), pa.io_thread_count()) == (3, 3)
    finally:
        pa.set_cpu_count(before[0])
        pa.set_io_thread_count(before[1])
    assert run("count", events, "--threads", "0").exit_code == 2


@pytest.mark.parametrize(
    "text, names",
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("`a,b`,c", ["a,b", "c"]),
        ("`a``b`", ["a`b"]),
        ("a,", ["a", ""]),
    ],
)
def test_lists_of_columns(text, names):
    assert split_columns(text) == names


@pytest.mark.parametrize(
    "environment, terminal, expected",
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "0"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours(monkeypatch, environment, terminal, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", _Stream(terminal))
    assert Settings().colour is expected
    assert Settings(no_color=True).colour is False
    assert Settings().format == ("table" if terminal else "plain")


class _Stream:
    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


# -- what is imported --------------------------------------------------------------------------------------------------


def imported(*command_lines: list[str]) -> set[str]:
    """The modules that a process has loaded after running some command lines."""
    code = (
        "import json, sys\nfrom deltalite.cli.app import app\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    try: app.main(line)\n"
        "    except SystemExit as e: assert not e.code, (line, e.code)\n"
        "print('modules: ' + ' '.join(sys.modules), file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", code, json.dumps(command_lines)]
    done = subprocess.run(command, capture_output=True, env=process_environment(), text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.partition("modules: ")[2].split())


HEAVY = {"pandas", "polars", "duckdb", "pyarrow.dataset", "pyarrow.acero", "sqlglot", "s3fs", "deltalake"}


def test_help_loads_next_to_nothing():
    loaded = imported(["--help"], ["history", "--help"], ["append", "--help"], ["--version"])
    unwanted = {"pyarrow", "numpy", "rich", "fsspec", "deltalite.table", "importlib.metadata", "logging", "difflib"}
    assert not loaded & {*unwanted, *HEAVY}


def test_reading_loads_nothing_heavy(events):
    reading = ("history", "show", "schema", "detail", "log", "files", "properties get", "count", "head")
    loaded = imported(*([*command.split(), str(events)] for command in reading))
    assert not loaded & {*HEAVY, "rich", "pyarrow.csv"}


def test_loading_loads_nothing_heavy(events, csv_file):
    assert not imported(["append", str(events), str(csv_file)]) & {*HEAVY, "rich"}


def test_rich_is_loaded_for_tables_only(events):
    assert "rich" not in imported(["show", str(events), "-o", "table"])
    assert "rich" in imported(["history", str(events), "-o", "table"])


def test_formats_named_without_pyarrow_are_those_there_are():
    from deltalite.cli import loading, output
    from deltalite.interop.rows_from import sources

    assert loading.FORMATS == sources.FORMATS
    assert output.FORMATS[:2] == ("table", "plain") and set(sources.FORMATS) <= set(output.FORMATS)
