"""The user's configuration file: short names for tables, and profiles of storage options.

::

    [tables]
    events = "s3://lake/events"
    trips = { uri = "s3://lake/trips", profile = "minio" }

    [profiles.minio]
    AWS_ENDPOINT_URL = "http://localhost:9000"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalite.exceptions import InvalidArgumentError


@dataclass(frozen=True)
class Alias:
    """A short name for a table, and the profile whose storage options open it."""

    uri: str
    profile: str | None = None


@dataclass(frozen=True)
class Config:
    """What the file says; empty where there is none."""

    path: Path
    tables: Mapping[str, Alias] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def profile(self, name: str) -> Mapping[str, str]:
        """The storage options of a profile.

        :raises InvalidArgumentError: when there is no such profile.
        """
        if name not in self.profiles:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise InvalidArgumentError(f"no profile {name!r} in {self.path}", hint=f"profiles there: {known}")
        return self.profiles[name]


def config_path() -> Path:
    """``$DELTALITE_CONFIG``, or ``deltalite/config.toml`` under ``$XDG_CONFIG_HOME`` (``~/.config``)."""
    if given := os.environ.get("DELTALITE_CONFIG"):
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "deltalite" / "config.toml"


def load_config() -> Config:
    """Read the configuration file.

    :raises InvalidArgumentError: when the file is malformed, or on Python 3.10, whose library cannot read TOML.
    """
    path = config_path()
    if not path.is_file():
        return Config(path)
    if sys.version_info < (3, 11):
        raise InvalidArgumentError(
            f"reading {path} needs Python 3.11 or newer; this is {sys.version.split()[0]}",
            hint="give the table's path or URL, and its options with --storage-option or DELTALITE_STORAGE_OPTIONS",
        )
    import tomllib

    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} is not valid TOML: {error}") from error
    tables = {name: _alias(path, name, value) for name, value in _section(path, content, "tables").items()}
    profiles = {name: _options(path, name, value) for name, value in _section(path, content, "profiles").items()}
    return Config(path, tables, profiles)


def _section(path: Path, content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = content.get(name, {})
    if not isinstance(section, dict):
        raise InvalidArgumentError(f"[{name}] in {path} is a table of names and values, not {section!r}")
    return section


def _alias(path: Path, name: str, value: Any) -> Alias:
    if isinstance(value, str):
        return Alias(value)
    if isinstance(value, dict) and isinstance(value.get("uri"), str) and set(value) <= {"uri", "profile"}:
        return Alias(value["uri"], value.get("profile"))
    raise InvalidArgumentError(
        f"table {name!r} in {path} is neither a path nor a URL",
        hint='write it as text, or as { uri = "...", profile = "..." }',
    )


def _options(path: Path, name: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or any(isinstance(v, (dict, list)) for v in value.values()):
        raise InvalidArgumentError(f"profile {name!r} in {path} holds storage options, a value per key")
    return {key: str(v).lower() if isinstance(v, bool) else str(v) for key, v in value.items()}
