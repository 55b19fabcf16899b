"""inCommitTimestamp: a commit's time lies in the commit and always grows (PROTOCOL.md, "In-Commit Timestamps")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from deltalite.features.base import Feature
from deltalite.model.actions import Action, CommitInfo, Metadata
from deltalite.model.config import TableConfig
from deltalite.model.properties import IN_COMMIT_TIMESTAMPS

if TYPE_CHECKING:
    from deltalite.model.snapshot import Snapshot

ENABLEMENT_VERSION = "delta.inCommitTimestampEnablementVersion"
ENABLEMENT_TIMESTAMP = "delta.inCommitTimestampEnablementTimestamp"
_MARKS = (ENABLEMENT_VERSION, ENABLEMENT_TIMESTAMP)


def _stamp(actions: list[Action], base: Snapshot | None, config: TableConfig, now: int) -> list[Action]:
    if not config.get(IN_COMMIT_TIMESTAMPS):
        return actions
    time = now if base is None else max(now, base.timestamp + 1)
    enabling = base is not None and not base.config.get(IN_COMMIT_TIMESTAMPS)
    return [_stamped(action, time, base.version + 1 if enabling and base else None) for action in actions]


def _stamped(action: Action, time: int, enabled_at: int | None) -> Action:
    if isinstance(action, CommitInfo):
        return CommitInfo({"inCommitTimestamp": time, **action.values})
    if isinstance(action, Metadata) and enabled_at is not None:
        marks = {ENABLEMENT_VERSION: str(enabled_at), ENABLEMENT_TIMESTAMP: str(time)}
        return replace(action, configuration={**action.configuration, **marks})
    return action


def _restored(old: TableConfig, metadata: Metadata) -> Metadata:
    """Since when all commits have times is a fact of the log, whatever an earlier version says."""
    if not old.get(IN_COMMIT_TIMESTAMPS) or not IN_COMMIT_TIMESTAMPS.of(metadata.configuration):
        return metadata
    marks = {key: old.configuration[key] for key in _MARKS if key in old.configuration}
    kept = {key: value for key, value in metadata.configuration.items() if key not in _MARKS}
    return replace(metadata, configuration={**kept, **marks})


FEATURE = Feature(
    "inCommitTimestamp", property=IN_COMMIT_TIMESTAMPS.name, off=_MARKS, restored=_restored, finalize=_stamp
)
