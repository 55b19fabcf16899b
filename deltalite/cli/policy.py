"""The policy of ``maintain``: a small file, in TOML or JSON, that says what care a table gets."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import click

from deltalite.cli.loading import Size
from deltalite.cli.target import parse_hours
from deltalite.exceptions import InvalidArgumentError

LAYOUTS = ("auto", "compact", "cluster", "zorder", "none")


@dataclass(frozen=True)
class Policy:
    """What is done; every key may be left out.

    :param layout: ``auto`` clusters a table that has clustering columns, and compacts any other one.
    :param zorder_by: the columns for ``zorder``.
    :param target_size: bytes that files should have; the table's own size by default.
    :param max_bytes: bytes to rewrite at most.
    :param retention_hours: how long removed files stay; the table's own retention by default.
    :param vacuum_full: list the table and delete what no commit mentions too.
    :param keep_versions: versions that stay readable, besides tagged ones.
    """

    layout: Literal["auto", "compact", "cluster", "zorder", "none"] = "auto"
    zorder_by: list[str] = field(default_factory=list)
    target_size: int | None = None
    max_bytes: int | None = None
    checkpoint: bool = True
    clean_log: bool = True
    vacuum: bool = True
    retention_hours: float | None = None
    vacuum_full: bool = False
    keep_versions: list[int] = field(default_factory=list)

    @property
    def deletes(self) -> bool:
        """Whether files go for good, and versions with them."""
        return self.vacuum or self.clean_log


def load_policy(path: str | None) -> Policy:
    """Read a policy; without a file it is the default one.

    :raises InvalidArgumentError: when the file is malformed, or says what no policy has.
    """
    if path is None:
        return Policy()
    given = _parse(Path(path))
    if "retention" in given:
        given["retention_hours"] = _duration(path, given.pop("retention"))
    for name in ("target_size", "max_bytes"):
        if name in given:
            given[name] = _size(path, name, given[name])
    _check(path, given)
    policy = Policy(**given)
    if policy.layout == "zorder" and not policy.zorder_by:
        raise InvalidArgumentError(f"{path} asks for zorder but names no columns", hint='add zorder_by = ["column"]')
    return policy


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            found = json.loads(text)
        elif sys.version_info < (3, 11):
            raise InvalidArgumentError(f"reading {path} needs Python 3.11 or newer", hint="write the policy as JSON")
        else:
            import tomllib

            found = tomllib.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{path} is not valid: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"{path} holds no policy", hint="a policy is one object of keys and values")
    return found


_KINDS: dict[str, Any] = {
    "layout": str, "zorder_by": (list, str), "target_size": int, "max_bytes": int, "checkpoint": bool,
    "clean_log": bool, "vacuum": bool, "retention_hours": float, "vacuum_full": bool, "keep_versions": (list, int),
}  # fmt: skip


def _check(path: str, given: dict[str, Any]) -> None:
    known = {f.name for f in fields(Policy)} - {"retention_hours"} | {"retention"}
    for name, value in given.items():
        if name not in _KINDS:
            raise InvalidArgumentError(f"{path}: there is no {name!r}", hint=f"a policy has {', '.join(sorted(known))}")
        kind = _KINDS[name]
        fits = (
            isinstance(value, list) and all(type(item) is kind[1] for item in value)
            if isinstance(kind, tuple)
            else type(value) is kind
        )
        if not fits or (name == "layout" and value not in LAYOUTS):
            choices = (
                f"one of {', '.join(LAYOUTS)}" if name == "layout" else "true or false" if kind is bool else "a list"
            )
            raise InvalidArgumentError(f"{path}: {name} is {choices}, not {value!r}")


def _duration(path: str, value: Any) -> float:
    try:
        return parse_hours(str(value))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{path}: retention {error.message}", hint=error.hint) from error


def _size(path: str, name: str, value: Any) -> int:
    try:
        return Size().convert(value, None, None)
    except click.ClickException as error:
        raise InvalidArgumentError(f"{path}: {name}: {error.message}") from error
