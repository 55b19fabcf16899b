"""Asking before something is deleted or replaced."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from deltalite.cli.output.text import escape
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from deltalite.cli.settings import Settings


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(settings: Settings, plan: str, yes: bool, details: Callable[[], str] | None = None) -> None:
    """Say what will be done and ask whether to go on.

    :param plan: a sentence: "this replaces ...".
    :param yes: the user agreed beforehand.
    :param details: finds out more, when somebody is asked.
    :raises InvalidArgumentError: when the user does not agree, or there is no terminal to ask on.
    """
    if yes:
        settings.note(plan)
        return
    if not can_ask():
        raise InvalidArgumentError(
            f"{plan}, and there is no terminal to ask on", hint="pass --yes to do it, or --dry-run to look"
        )
    print(escape(plan), file=sys.stderr)
    if details is not None:
        print(escape(details()), file=sys.stderr)
    if not click.confirm("Go on?", err=True):
        raise InvalidArgumentError("nothing was done")
