"""From what users pass to the store and the snapshot that operations work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deltalite.exceptions import TableNotFoundError
from deltalite.log import read
from deltalite.model.snapshot import Snapshot
from deltalite.storage import Store, open_store

_OWN_OPTIONS = ("durability", "single_writer")


def store_of(
    table_uri: Any,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
    credentials: Callable[[], Mapping[str, Any]] | None = None,
) -> Store:
    """The store of a table's root; a store is taken as it is.

    ``durability`` and ``single_writer`` among the options are ours, the others the storage's.
    """
    if hasattr(table_uri, "put_if_absent"):
        return table_uri
    options = dict(storage_options or {})
    own = {key: options.pop(key) for key in _OWN_OPTIONS if key in options}
    single = str(own.get("single_writer", "false")).lower() == "true"
    return open_store(
        table_uri,
        options or None,
        filesystem=filesystem,
        credentials=credentials,
        durability=own.get("durability", "full"),
        single_writer=single,
    )


def newest(store: Store) -> Snapshot | None:
    """The newest version, or ``None`` where there is no table."""
    try:
        return read.read_snapshot(store)
    except TableNotFoundError:
        return None


def names_of(columns: Sequence[str] | str | None) -> list[str] | None:
    """One name or several, as a list."""
    if columns is None:
        return None
    return [columns] if isinstance(columns, str) else list(columns)
