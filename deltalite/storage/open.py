"""Choosing the store for a place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from deltalite.exceptions import InvalidArgumentError
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
    credentials: Callable[[], Any] | None = None,
    durability: Durability = "full",
    single_writer: bool = False,
    pickle_secrets: bool = False,
) -> Store:
    """Open the store of a table root. Nothing is read or created yet.

    :param url: a path (relative, with ``~`` or a drive letter), ``file://``, ``memory://``, ``s3://``, ``s3a://``,
        ``gs://``, ``abfss://`` or any URL that fsspec knows.
    :param storage_options: the keys of deltalake and polars (``AWS_REGION``, ``endpoint_url``, ...), else the arguments
        of the fsspec file system. Local tables take ``follow_symlinks``. Unknown keys are warned about.
    :param filesystem: an fsspec or ``pyarrow.fs`` file system to use; ``url`` is then a path or URL of it.
    :param credentials: called for fresh options when the present ones expire; S3 only. See
        :class:`deltalite.storage.credentials.CredentialSource`.
    :param durability: ``"full"``: acknowledged commits on local disks survive a power loss. ``"relaxed"``: no fsync.
    :param single_writer: the caller's promise that nobody else writes, for backends without atomic creation.
    :param pickle_secrets: keep credentials in pickles of the store; by default they are left out, and the process that
        unpickles finds its own (environment, profiles, roles).
    :raises InvalidArgumentError: an empty location, or an unknown ``durability``.
    :raises StorageError: an unknown scheme, or a client library that is not installed.
    """
    if durability not in ("full", "relaxed"):
        raise InvalidArgumentError(f"durability {durability!r} is unknown", hint='it is "full" or "relaxed"')
    options = dict(storage_options or {})
    if filesystem is not None:
        from deltalite.storage.filesystems import store_on  # as below: local tables start without the rest

        return store_on(filesystem, url, options, durability, single_writer, pickle_secrets)
    location = split_url(url)
    if location.scheme == "file":
        return LocalStore(location.path, durability=durability, follow_symlinks=_follow_symlinks(options))
    if location.scheme == "memory":
        return MemoryStore(location.url)
    if location.scheme == "s3":
        from deltalite.storage.object_store import S3Store

        return S3Store(
            location.url, options, credentials=credentials, single_writer=single_writer, pickle_secrets=pickle_secrets
        )
    from deltalite.storage.filesystems import store_by_url

    return store_by_url(location, options, credentials, single_writer, pickle_secrets)


def _follow_symlinks(options: Mapping[str, Any]) -> bool:
    if not options:
        return False
    from deltalite.storage.options import local_options

    return local_options(options).flag("follow_symlinks")
