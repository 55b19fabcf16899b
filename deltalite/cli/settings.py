"""What the common options say: how to open tables, what to print where, how much to say."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from deltalite.cli.config import Config, load_config
from deltalite.cli.output.text import escape
from deltalite.cli.target import Target, parse_target
from deltalite.exceptions import InvalidArgumentError

if TYPE_CHECKING:
    from deltalite.table import DeltaTable

OPTIONS_VARIABLE = "DELTALITE_STORAGE_OPTIONS"


@dataclass
class Settings:
    """The common options of one run.

    :param output: the format asked for; ``None`` is a table on a terminal and plain text elsewhere.
    :param columns: the only columns to print, in this order; ``None`` prints all.
    :param verbose: 0 shows warnings, 1 what is done, 2 everything.
    :param allow_external: prefixes outside a table that its files may lie under.
    :param threads: threads that pyarrow may use; ``None`` leaves it to pyarrow.
    :param long_options: how the options of the running command are spelled, for its error messages.
    """

    output: str | None = None
    columns: list[str] | None = None
    header: bool = True
    no_color: bool = False
    quiet: bool = False
    verbose: int = 0
    debug: bool = False
    storage_option: dict[str, str] = field(default_factory=dict)
    allow_external: tuple[str, ...] = ()
    profile: str | None = None
    threads: int | None = None
    long_options: frozenset[str] = frozenset()

    # -- where tables are --------------------------------------------------------------------------------------------

    @cached_property
    def config(self) -> Config:
        return load_config()

    def storage_options(self, profile: str | None = None) -> dict[str, str] | None:
        """Options for a table: of the profile, then of the environment, then of the command line; later ones win."""
        name = self.profile or profile
        merged = {
            **(self.config.profile(name) if name else {}),
            **_options_of_environment(os.environ),
            **self.storage_option,
        }
        return merged or None

    def locate(self, text: str) -> tuple[Target, dict[str, str] | None]:
        """The place a TABLE argument means, aliases looked up, and the storage options for it."""
        target = parse_target(text)
        if _may_be_alias(target.uri) and (alias := self.config.tables.get(target.uri)):
            return replace(target, uri=alias.uri), self.storage_options(alias.profile)
        return target, self.storage_options()

    def open(self, text: str) -> DeltaTable:
        """The table that a TABLE argument names, at the version it names."""
        from deltalite.table import DeltaTable

        target, options = self.locate(text)
        return DeltaTable(
            target.uri, target.version, options, timestamp=target.timestamp, tag=target.tag,
            allow_external_paths=self.allow_external,
        )  # fmt: skip

    def locate_writable(self, text: str) -> tuple[str, dict[str, str] | None]:
        """Place and options of a table that will be changed.

        :raises InvalidArgumentError: when the argument pins a version.
        """
        target, options = self.locate(text)
        if target.pinned:
            raise InvalidArgumentError(
                f"{text!r} names one version, and only the newest one can be changed", hint=f"write {target.uri}"
            )
        return target.uri, options

    def open_writable(self, text: str) -> DeltaTable:
        """The newest version of a table that will be changed."""
        from deltalite.table import DeltaTable

        uri, options = self.locate_writable(text)
        return DeltaTable(uri, storage_options=options, allow_external_paths=self.allow_external)

    # -- what is printed -----------------------------------------------------------------------------------------------

    @property
    def format(self) -> str:
        """The output format, by what stdout is unless it was asked for."""
        return self.output or ("table" if sys.stdout.isatty() else "plain")

    @property
    def colour(self) -> bool:
        """Whether a table may carry colours: ``--no-color``, ``NO_COLOR``, ``FORCE_COLOR``, ``TERM``, in this order."""
        if self.no_color or os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
            return True
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def chatty(self) -> bool:
        """Whether progress may be shown: somebody is looking at stderr."""
        return not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def note(self, text: str) -> None:
        """A line on stderr about what was done; ``-q`` silences it."""
        if not self.quiet:
            print(escape(text), file=sys.stderr)

    def warn(self, text: str) -> None:
        """A line on stderr about something odd; ``-q`` silences it."""
        self.note(f"warning: {text}")


def _may_be_alias(uri: str) -> bool:
    """A bare word that is nothing on disk may be a short name; a path that exists is the path."""
    return not any(mark in uri for mark in "/\\") and uri not in ("", ".", "..") and not Path(uri).exists()


def _options_of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``DELTALITE_STORAGE_OPTIONS``: a JSON object, or ``KEY=VALUE`` words quoted as in a shell."""
    text = environment.get(OPTIONS_VARIABLE, "").strip()
    if not text:
        return {}
    try:
        if text.startswith("{"):
            return {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in json.loads(text).items()}
        return dict(pair(word) for word in shlex.split(text))
    except ValueError as error:
        raise InvalidArgumentError(
            f"{OPTIONS_VARIABLE} is malformed", hint="it holds a JSON object, or KEY=VALUE words"
        ) from error


def pair(text: str) -> tuple[str, str]:
    """``KEY=VALUE`` as a pair.

    :raises ValueError: when there is no ``=``, or nothing before it.
    """
    key, mark, value = text.partition("=")
    if not mark or not key.strip():
        raise ValueError(f"{text!r} is not KEY=VALUE")
    return key.strip(), value
