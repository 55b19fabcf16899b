"""Choosing the store for a place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage.base import Store
from deltalite.storage.local import Durability, LocalStore
from deltalite.storage.memory import MemoryStore
from deltalite.storage.urls import split_url

__all__ = ["open_store"]


def open_store(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    filesystem: Any = None,
    credentials: Callable[[], Mapping[str, Any]] | None = None,
    durability: Durability = "full",
    single_writer: bool = False,
    pickle_secrets: bool = False,
) -> Store:
    """Open the store of a table root."""
    if durability not in ("full", "relaxed"):
        raise InvalidArgumentError(f"durability {durability!r} is unknown", hint='it is "full" or "relaxed"')
    location = split_url(url)
    if location.scheme == "file":
        return LocalStore(location.path, durability=durability)
    if location.scheme == "memory":
        return MemoryStore(location.url)
    raise StorageError(f"no storage for {location.scheme}://", transient=False)
