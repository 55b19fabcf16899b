"""Which store holds a file that the log names (protocol trap 2, and no file outside the table unless allowed)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from deltalite.exceptions import UnsafePathError
from deltalite.model.paths import is_absolute, relative_path
from deltalite.storage import Store
from deltalite.storage.urls import Location, split_url

Resolve = Callable[[str], tuple[Store, str]]
_CLIMBS = re.compile(r"(?:\A|[/\\])\.\.(?:[/\\]|\Z)|\0")


class PathResolver:
    """Turns the URI of an action into a store and a path in it.

    Relative URIs, and absolute ones below the table's root, lead to the table's own store. Other absolute URIs are
    refused, unless they lie below one of the allowed places.

    :param store: the table's store.
    :param allowed: places (paths or URLs) outside the table whose files may be read, as shallow clones need it.
    :param open_store: opens the store of such a place.
    """

    def __init__(
        self, store: Store, allowed: Sequence[str] = (), open_store: Callable[[str], Store] | None = None
    ) -> None:
        self._store = store
        self._root = split_url(store.root)
        self._allowed = tuple(split_url(place) for place in allowed)
        self._open_store = open_store
        self._opened: dict[Location, Store] = {}

    def __call__(self, uri: str) -> tuple[Store, str]:
        """The store and the path of a file.

        :raises UnsafePathError: the URI climbs out of the table, or leads to a place that nobody allowed.
        """
        decoded = unquote(uri)
        if uri.startswith("//") or _CLIMBS.search(decoded):
            raise UnsafePathError(f"the log names a file by an unsafe path: {uri!r}", path=uri)
        if not is_absolute(uri):
            return self._store, relative_path(uri)
        place = split_url(uri if uri.lower().startswith("file:") else decoded)
        if (inside := _below(place, self._root)) is not None:
            return self._store, inside
        for allowed in self._allowed:
            if self._open_store is not None and (inside := _below(place, allowed)) is not None:
                if allowed not in self._opened:
                    self._opened[allowed] = self._open_store(allowed.url)
                return self._opened[allowed], inside
        raise UnsafePathError(
            f"the log names a file outside the table: {uri!r}",
            hint=f"if this is a shallow clone you trust, open it with allow_external_paths=[{_root_of(place)!r}]",
            path=uri,
        )


def _root_of(place: Location) -> str:
    """The table that a file probably belongs to: what precedes its name and the directories of partitions."""
    parts = place.url.split("/")[:-1]
    first = next((i for i, part in enumerate(parts) if "=" in part), len(parts))
    return "/".join(parts[:first])


def _below(place: Location, root: Location) -> str | None:
    """The path of a place relative to a root, or ``None`` if it is not below it."""
    prefix = root.path.rstrip("/\\") + "/"
    if place.scheme != root.scheme or not place.path.startswith(prefix):
        return None
    return place.path[len(prefix) :] or None
