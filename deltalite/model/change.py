"""Change: what an operation wants done, before any file is written. The executor turns it into a PendingCommit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.model.actions import Action
from deltalite.model.pending import ReadSet

if TYPE_CHECKING:
    from deltalite.model.write_spec import WriteSpec


@dataclass(frozen=True, slots=True)
class Append:
    """New rows, possibly in place of whole files.

    :param data: the rows, read once.
    :param spec: how they are written.
    :param replaced: live files (``ADD_SCHEMA``) that leave with the same commit.
    :param replace_partitions: replace every live file of a partition that gets new rows, whatever ``replaced`` says.
    :param actions: changes of the table itself (protocol, metadata) in the same commit.
    """

    data: pa.RecordBatchReader
    spec: WriteSpec
    operation: str
    parameters: Mapping[str, Any]
    reads: ReadSet = field(default_factory=ReadSet)
    replaced: pa.Table | None = None
    replace_partitions: bool = False
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class LogOnly:
    """Actions that no new file backs: metadata, protocol, domains."""

    actions: tuple[Action, ...]
    operation: str
    parameters: Mapping[str, Any]
    reads: ReadSet = field(default_factory=ReadSet)


Change = Append | LogOnly
