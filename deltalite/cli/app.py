"""The command line as a whole: its commands, and what becomes of errors."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from deltalite._version import __version__
from deltalite.cli import errors
from deltalite.cli.command import common_options
from deltalite.cli.output.text import escape
from deltalite.cli.settings import Settings

NAME = "deltalite"
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Look": ("look", "files", "data", "compare", "log"),
    "Write": ("write", "change", "copies"),
    "Maintain": ("layout", "clean", "maintain", "doctor"),
    "Table": ("columns", "constraints", "properties", "features", "tags"),
    "Other": ("other",),
}
"""Titles of the help, and the modules of ``commands`` under each; a module lists its commands in ``COMMANDS``."""


class App(click.Group):
    """The ``deltalite`` group. It loads the modules of its commands when they are asked for."""

    def sections(self) -> dict[str, list[click.Command]]:
        """The commands under each title of the help."""
        found: dict[str, list[click.Command]] = {}
        for title, modules in SECTIONS.items():
            loaded = (import_module(f"deltalite.cli.commands.{module}") for module in modules)
            found[title] = [command for module in loaded for command in module.COMMANDS]
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command.name or "" for commands in self.sections().values() for command in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return next((c for commands in self.sections().values() for c in commands if c.name == cmd_name), None)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        records = [record for p in self.get_params(ctx) if (record := p.get_help_record(ctx)) is not None]
        with formatter.section("Common options, before or behind the command"):
            formatter.write_dl(records)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in self.sections().items():
            with formatter.section(title):
                formatter.write_dl([(c.name or "", c.get_short_help_str(80)) for c in commands])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run and exit; of the arguments of ``click`` only the first matters here."""
        _prepare_streams()
        self._main_shell_completion({}, NAME, None)
        sys.exit(self._run(sys.argv[1:] if args is None else list(args)))

    def _run(self, arguments: list[str]) -> int:
        """Run one command line; returns the exit code."""
        settings = Settings()
        try:
            try:
                with self.make_context(NAME, arguments, obj=settings) as ctx:
                    self.invoke(ctx)
            except click.exceptions.Exit as exit:
                _flush()
                return exit.exit_code
            _flush()
            return errors.OK
        except click.exceptions.Abort:
            return _interrupted()
        except KeyboardInterrupt:
            return _interrupted()
        except click.ClickException as error:
            return _wrong_call(error)
        except BrokenPipeError:
            _drop_stdout()
            return errors.OK
        except Exception as error:
            return _report(error, settings)


@click.group(
    cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, no_args_is_help=True
)
@common_options
@click.version_option(__version__, "-V", "--version", message="deltalite %(version)s")
def app() -> None:
    """Look into, write and keep Delta Lake tables.

    TABLE is a path, a URL, or a short name from the configuration file; TABLE@12, TABLE@2026-11-01T10:00 and TABLE@TAG
    are the table as it was then. Data goes to stdout, everything else to stderr. COMMAND --help tells more, with
    examples.
    """


def _report(error: Exception, settings: Settings) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    secrets = dict(settings.storage_option)
    with contextlib.suppress(Exception):
        secrets = settings.storage_options() or secrets
    with contextlib.suppress(BrokenPipeError):
        _flush()
    if settings.debug:
        import traceback

        print(errors.mask("".join(traceback.format_exception(error)), secrets), file=sys.stderr, end="")
    print(errors.describe(error, settings.long_options, secrets), file=sys.stderr)
    return errors.exit_code(error)


def _wrong_call(error: click.ClickException) -> int:
    """Say what is wrong with the command line; without any command its help is shown instead."""
    ctx = getattr(error, "ctx", None)
    if ctx is None or type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        print(escape(f"error[usage]: {error.format_message()}"), file=sys.stderr)
        print(f"hint: {ctx.command_path} --help", file=sys.stderr)
    return error.exit_code


def _interrupted() -> int:
    print("interrupted", file=sys.stderr)
    return errors.INTERRUPTED


def _prepare_streams() -> None:
    """UTF-8 and ``\\n`` whatever the system, wherever a program listens; no failure for a character nobody can show."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")


def _flush() -> None:
    sys.stdout.flush()


def _drop_stdout() -> None:
    """The reader has gone: let nothing more be written, not even by the interpreter on its way out."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
