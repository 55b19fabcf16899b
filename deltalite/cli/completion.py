"""Completion of tables, their tags and columns in the shell. Nothing here may fail or talk: a shell is listening."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from deltalite.cli.settings import Settings


def complete_tables(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Short names of the configuration file, tables below this directory, directories on the way to one, and tags."""
    items = _tags(incomplete)
    with contextlib.suppress(Exception):
        items += [
            CompletionItem(name, help=alias.uri)
            for name, alias in Settings().config.tables.items()
            if name.startswith(incomplete)
        ]
    with contextlib.suppress(OSError):
        folder, _, start = incomplete.rpartition("/")
        base = Path(folder or ("/" if incomplete.startswith("/") else "."))
        prefix = incomplete[: len(incomplete) - len(start)]
        for entry in sorted(base.expanduser().iterdir()):
            if entry.name.startswith(start) and entry.is_dir() and not entry.name.startswith(("_", ".")):
                is_table = (entry / "_delta_log").is_dir()
                items.append(
                    CompletionItem(prefix + entry.name + ("" if is_table else "/"), help="table" if is_table else None)
                )
    return items


def _tags(incomplete: str) -> list[CompletionItem]:
    """The tags of a local table, behind its ``@``."""
    place, mark, start = incomplete.rpartition("@")
    items: list[CompletionItem] = []
    if mark and "://" not in place:
        with contextlib.suppress(Exception):
            for tag in Settings().open(place).tags.list():
                if tag.name.startswith(start) and "/" not in tag.name:
                    items.append(CompletionItem(f"{place}@{tag.name}", help=f"version {tag.version}"))
    return items


def complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys that the command prints, or columns of a local table that stands on the line already."""
    done, mark, start = incomplete.rpartition(",")
    names: list[str] = []
    if param.name == "columns" and (shape := getattr(ctx.command, "output", None)):
        names = [f.name for f in shape]
    else:
        with contextlib.suppress(Exception):
            names = _columns_of_table(ctx)
    return [CompletionItem(done + mark + name) for name in names if name.lower().startswith(start.lower())]


def _columns_of_table(ctx: click.Context) -> list[str]:
    # While the value of an option is being typed, click leaves the arguments before it unsorted.
    table = ctx.params.get("table") or next(word for word in ctx.args if not word.startswith("-"))
    return [] if "://" in table else Settings().open(table).schema().names
