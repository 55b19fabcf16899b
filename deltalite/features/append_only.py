"""appendOnly: no commit may delete or change rows (PROTOCOL.md, "Append-only Tables")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalite.exceptions import InvalidArgumentError
from deltalite.features.base import Feature
from deltalite.model.actions import Action, RemoveFile
from deltalite.model.config import TableConfig
from deltalite.model.properties import APPEND_ONLY

if TYPE_CHECKING:
    from deltalite.model.snapshot import Snapshot


def _refuse_removes(actions: list[Action], base: Snapshot | None, config: TableConfig, now: int) -> list[Action]:
    if config.get(APPEND_ONLY) and any(isinstance(a, RemoveFile) and a.data_change for a in actions):
        raise InvalidArgumentError(
            "the table only takes appends: its property delta.appendOnly is true",
            hint="append instead, or set delta.appendOnly to false first",
        )
    return actions


FEATURE = Feature("appendOnly", legacy=(1, 2), property=APPEND_ONLY.name, finalize=_refuse_removes)
