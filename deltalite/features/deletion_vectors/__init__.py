"""Deletion vectors: rows that a file still holds but that are gone (PROTOCOL.md, "Deletion Vectors").

``bitmap`` knows the set of positions and its bytes, ``file`` where those bytes lie, ``removal`` how rows leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deltalite.features.base import Feature
from deltalite.features.deletion_vectors.bitmap import RowPositions
from deltalite.features.deletion_vectors.file import load, uri_of
from deltalite.features.deletion_vectors.removal import RowRemover, marked, remover
from deltalite.model.actions import Action, AddFile, RemoveFile
from deltalite.model.config import TableConfig
from deltalite.model.properties import DELETION_VECTORS

__all__ = ["FEATURE", "RowPositions", "RowRemover", "load", "marked"]


def _files_of(action: AddFile | RemoveFile) -> Iterator[str]:
    """The vector's file, spelled like the path of an action; an absolute path stays absolute."""
    if action.deletion_vector is not None and (uri := uri_of(action.deletion_vector)) is not None:
        yield uri


def _bears(_: TableConfig, add: AddFile, __: Any) -> bool:
    return add.deletion_vector is not None


def _traces(action: Action) -> bool:
    return isinstance(action, AddFile) and action.deletion_vector is not None


FEATURE = Feature(
    "deletionVectors",
    "reader-writer",
    property=DELETION_VECTORS.name,
    deleted_rows=load,
    remove_rows=remover,
    files_of=_files_of,
    bears=_bears,
    traces=_traces,
)
