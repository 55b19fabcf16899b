"""What every command shares: the common options, help with examples, and completion of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import click

from deltalite.cli.completion import complete_columns, complete_tables
from deltalite.cli.output import FORMATS
from deltalite.cli.output.shapes import Shape
from deltalite.cli.settings import Settings, pair

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Pair(click.ParamType):
    """``KEY=VALUE``."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        try:
            return value if isinstance(value, tuple) else pair(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Columns(click.ParamType):
    """Column names separated by commas; a name that holds one stands in backticks."""

    name = "COLUMNS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        names = split_columns(value)
        if not names or not all(names):
            self.fail(f"{value!r} names no columns", param, ctx)
        return names


def split_columns(text: str) -> list[str]:
    """``a,`b,c`,d`` as ``["a", "b,c", "d"]``; a doubled backtick is one of the name."""
    names, current, quoted = [], "", False
    for part in text.replace("``", "\0").split("`"):
        if quoted:
            current += part
        else:
            first, *others = part.split(",")
            current += first
            for other in others:
                names.append(current)
                current = other
        quoted = not quoted
    return [name.replace("\0", "`").strip() for name in [*names, current]]


class Command(click.Command):
    """A command whose help ends with examples and sets the common options apart.

    :param examples: command lines, shown as they are.
    :param output: the keys of the records it prints, for the reference; ``None`` where rows of a table are printed.
    """

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        output: Shape | None = None,
        python: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.output = output
        self.python = python

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None:
                (common if parameter.name in COMMON or "--help" in parameter.opts else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def command(
    name: str,
    *,
    examples: Sequence[str],
    output: Shape | None = None,
    python: str | None = None,
) -> Callable[[Callable[..., None]], Command]:
    """Make a command of a function that takes :class:`Settings` first; its docstring is the help.

    :param python: the same in Python, for the reference.
    """

    def decorate(function: Callable[..., None]) -> Command:
        def run(*args: Any, **kwargs: Any) -> None:
            ctx = click.get_current_context()
            settings = ctx.ensure_object(Settings)
            settings.long_options = frozenset(name for parameter in ctx.command.params for name in parameter.opts)
            if settings.threads is not None:
                _limit_threads(settings.threads)
            from deltalite.cli.messages import messages_on_stderr

            with messages_on_stderr(settings):
                function(settings, *args, **kwargs)

        wrapped = common_options(update_wrapper(run, function))
        return click.command(name, cls=Command, examples=examples, output=output, python=python)(wrapped)

    return decorate


def _limit_threads(number: int) -> None:
    import pyarrow as pa

    pa.set_cpu_count(number)
    pa.set_io_thread_count(number)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a common option in the settings; one that was not given leaves what stood before it on the line."""
    settings = ctx.ensure_object(Settings)
    name = param.name or ""
    if name == "storage_option":
        settings.storage_option.update(value)
    elif name == "allow_external":
        settings.allow_external += value
    elif name == "verbose":
        settings.verbose += value
    elif value is not None and ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
        setattr(settings, name, value)


def _common(*names: str, **attributes: Any) -> Decorator:
    return click.option(*names, expose_value=False, callback=_store, **attributes)


_COMMON_OPTIONS = (
    _common("-o", "--output", type=click.Choice(FORMATS), help="Format; a table on a terminal, plain text elsewhere."),
    _common(
        "-c", "--columns", type=Columns(), shell_complete=complete_columns,
        help="Only these columns of the output, separated by commas.",
    ),
    _common("--header/--no-header", default=True, help="Titles in tables, plain text, csv and tsv."),
    _common("--no-color", is_flag=True, help="No colours; NO_COLOR and FORCE_COLOR are respected too."),
    _common(
        "--storage-option", type=Pair(), multiple=True, metavar="KEY=VALUE",
        help="Setting of the storage, repeatable; also in DELTALITE_STORAGE_OPTIONS.",
    ),
    _common(
        "--allow-external", multiple=True, metavar="PREFIX",
        help="Read files below this path or URL too, outside the table (shallow clones); repeatable.",
    ),
    _common("--profile", metavar="NAME", help="Storage options of this name in the configuration file."),
    _common("--threads", type=click.IntRange(1), metavar="N", help="Threads to use."),
    _common("-q", "--quiet", is_flag=True, help="No notes, warnings or progress on stderr."),
    _common("-v", "--verbose", count=True, help="Say what is done, on stderr; twice for all of it."),
    _common("--debug", is_flag=True, help="Show the Python traceback of an error."),
)  # fmt: skip
COMMON = (
    "output", "columns", "header", "no_color", "storage_option", "allow_external", "profile", "threads",
    "quiet", "verbose", "debug",
)  # fmt: skip


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has."""
    for option in reversed(_COMMON_OPTIONS):
        function = option(function)
    return function


def table_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """``TABLE[@VERSION]``."""
    return click.argument("table", metavar="TABLE[@VERSION]", shell_complete=complete_tables)(function)


def writable_table_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """``TABLE``, at its newest version."""
    return click.argument("table", metavar="TABLE", shell_complete=complete_tables)(function)


def columns_option(name: str, help: str) -> Decorator:
    """An option that takes columns of the table."""
    return click.option(name, type=Columns(), help=help, shell_complete=complete_columns)


def where_option(help: str) -> Decorator:
    return click.option("--where", metavar="PREDICATE", help=help)


def message_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--message", metavar="TEXT", help="Kept in the history as userMetadata.")(function)


def dry_run_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(function)
