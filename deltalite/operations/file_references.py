"""Which files inside a table its log refers to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from deltalite import features
from deltalite.exceptions import UnsafePathError
from deltalite.model.actions import AddFile
from deltalite.model.file_actions import deletion_vector
from deltalite.model.files import FileSet
from deltalite.model.paths import is_absolute, relative_path
from deltalite.storage.base import Store
from deltalite.storage.urls import split_url

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("path", "deletionVector")
_CLIMBS = re.compile(r"(?:\A|[/\\])\.\.(?:[/\\]|\Z)|\0")


class TableRoot:
    """Turns URIs of the log into paths in the table's store (protocol traps 1 and 2).

    An absolute URI may name the root otherwise than the user did: by another scheme of the same storage, or through a
    symbolic link.
    """

    def __init__(self, store: Store) -> None:
        self._root = split_url(store.root)
        self._real = os.path.realpath(self._root.path) if store.is_local else None
        self._directories: dict[str, str] = {}

    def path_of(self, uri: str) -> str | None:
        """The path inside the table, ``None`` for a place outside.

        :raises UnsafePathError: for a URI that climbs, so that nobody can tell.
        """
        if not is_absolute(uri):
            return relative_path(uri)
        decoded = unquote(uri)
        if uri.startswith("//") or _CLIMBS.search(decoded):
            raise UnsafePathError(f"the log names a file by an unsafe path: {uri!r}", path=uri)
        place = split_url(uri if uri.lower().startswith("file:") else decoded)
        if place.scheme != self._root.scheme:
            return None
        inside = _below(place.path, self._root.path)
        if inside is None and self._real is not None:
            inside = _below(self._resolved(place.path), self._real)
        return inside

    def _resolved(self, path: str) -> str:
        directory, name = os.path.split(path)
        if directory not in self._directories:
            self._directories[directory] = os.path.realpath(directory)
        return f"{self._directories[directory].rstrip('/')}/{name}"


def _below(path: str, root: str) -> str | None:
    prefix = root.rstrip("/\\") + "/"
    return path[len(prefix) :] or None if path.startswith(prefix) else None


def uris_of(files: pa.Table) -> Iterator[tuple[str, ...]]:
    """For each file action (``COLUMNS``) the URIs that it needs: the data file's, then what features keep beside it."""
    paths = files.column("path").to_pylist()
    if files.column("deletionVector").null_count == len(paths):
        yield from ((path,) for path in paths)
        return
    for path, vector in zip(paths, files.column("deletionVector").to_pylist(), strict=True):
        beside = deletion_vector(vector)
        action = None if beside is None else AddFile(path, {}, 0, 0, True, deletion_vector=beside)
        yield (path,) if action is None else (path, *features.files_of(action))


def paths_of(root: TableRoot, files: FileSet) -> Iterator[str | None]:
    """The paths of all files that a version needs; ``None`` for one outside the table."""
    for uris in uris_of(files.table(COLUMNS)):
        yield from map(root.path_of, uris)
