"""What a commit did to rows, files and bytes, from the operation metrics of any engine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_UPDATED = ("numTargetRowsUpdated", "numUpdatedRows")
_DELETED = ("numTargetRowsDeleted", "numDeletedRows")
_INSERTED = ("numTargetRowsInserted", "numAddedRows")
_FILES_IN = ("numTargetFilesAdded", "numAddedFiles", "numFiles", "numFilesAdded", "numRestoredFiles")
_FILES_OUT = ("numTargetFilesRemoved", "numRemovedFiles", "numFilesRemoved")
_BYTES_IN = ("numTargetBytesAdded", "numAddedBytes", "numOutputBytes", "restoredFilesSize")
_BYTES_OUT = ("numTargetBytesRemoved", "numRemovedBytes", "removedFilesSize")
_REWRITES = ("OPTIMIZE", "REORG", "VACUUM")


@dataclass(frozen=True)
class Change:
    """Counts of what came and went; ``None`` is unknown.

    :param same_rows: the operation moves rows without changing any.
    """

    rows_in: int | None = None
    rows_updated: int | None = None
    rows_out: int | None = None
    files_in: int | None = None
    files_out: int | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    same_rows: bool = False

    @property
    def bytes_net(self) -> int | None:
        if self.bytes_in is None and self.bytes_out is None:
            return None
        return (self.bytes_in or 0) - (self.bytes_out or 0)


def change_of(operation: str | None, metrics: Mapping[str, Any] | None) -> Change:
    """The change that the metrics of a commit tell of; names are matched in Spark's spelling and delta-rs's."""
    given = {_camel(name): number for name, value in (metrics or {}).items() if (number := _number(value)) is not None}
    same_rows = (operation or "").upper().startswith(_REWRITES)
    written = given.get("numOutputRows")
    copied = given.get("numCopiedRows", given.get("numTargetRowsCopied", 0))
    updated, inserted = _first(given, _UPDATED), _first(given, _INSERTED)
    if inserted is None and written is not None and updated is None:
        inserted = written - copied
    return Change(
        rows_in=None if same_rows else inserted,
        rows_updated=None if same_rows else updated,
        rows_out=None if same_rows else _first(given, _DELETED),
        files_in=_first(given, _FILES_IN),
        files_out=_first(given, _FILES_OUT),
        bytes_in=_first(given, _BYTES_IN),
        bytes_out=_first(given, _BYTES_OUT),
        same_rows=same_rows,
    )


def _camel(name: str) -> str:
    """``num_added_files`` as ``numAddedFiles``."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _number(value: Any) -> int | None:
    """Metrics are numbers or numbers as text; nested ones (delta-rs's file statistics) are left alone."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _first(given: Mapping[str, int], names: tuple[str, ...]) -> int | None:
    return next((given[name] for name in names if name in given), None)
