"""A commit as it lies in the log: a version and its bytes, decoded when asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from deltalite.model.actions import Action, CommitInfo
from deltalite.model.codec import ACTIONS, decode_commit, decode_line
from deltalite.model.paths import commit_file


class Commit:
    """One version's JSON file.

    :param version: its number.
    :param data: the bytes of the file.
    :param modified_ms: the file's modification time, milliseconds since 1970.
    """

    def __init__(self, version: int, data: bytes, modified_ms: int = 0) -> None:
        self.version = version
        self.data = data
        self.modified_ms = modified_ms

    @cached_property
    def actions(self) -> tuple[Action, ...]:
        """All known actions, file actions included; prefer :meth:`of_kind` where few are wanted."""
        return tuple(decode_commit(self.data, commit_file(self.version)))

    def of_kind(self, *names: str) -> Iterator[Action]:
        """The actions of some kinds (wire names), decoding only lines that may hold them."""
        marks = [f'"{name}"'.encode() for name in names]
        if not any(mark in self.data for mark in marks):
            return
        for line in self.data.split(b"\n"):
            if any(mark in line for mark in marks):
                action = decode_line(line, commit_file(self.version))
                if action is not None and type(action) in _classes(names):
                    yield action

    @cached_property
    def info(self) -> CommitInfo | None:
        """The commit's provenance, if the writer left any."""
        return next((action for action in self.of_kind("commitInfo") if isinstance(action, CommitInfo)), None)

    @property
    def txn_id(self) -> str | None:
        return self.info.txn_id if self.info else None

    def __repr__(self) -> str:
        return f"Commit(version={self.version}, {len(self.data)} bytes)"


def _classes(names: tuple[str, ...]) -> tuple[type, ...]:
    return tuple(ACTIONS[name] for name in names)
