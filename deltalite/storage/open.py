"""Choosing the store for a place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage.base import Store
from deltalite.storage.credentials import CredentialSource, secret_values
from deltalite.storage.fsspec import ATOMIC_PROTOCOLS, FsspecStore
from deltalite.storage.local import Durability, LocalStore
from deltalite.storage.memory import MemoryStore
from deltalite.storage.options import azure_options, gcs_options, local_options, public_options
from deltalite.storage.redact import redact
from deltalite.storage.urls import Location, split_url

__all__ = ["open_store"]

_EXTRAS = {"s3": "s3", "gs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure", "azure": "azure"}


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
        return _on_filesystem(url, filesystem, options, durability, single_writer, pickle_secrets)
    location = split_url(url)
    if location.scheme == "file":
        follow = local_options(options).flag("follow_symlinks")
        return LocalStore(location.path, durability=durability, follow_symlinks=follow)
    if location.scheme == "memory":
        return MemoryStore(location.url)
    if location.scheme == "s3":
        return _s3(location.url, options, credentials, single_writer, pickle_secrets)
    return _fsspec(location, options, credentials, single_writer, pickle_secrets)


def _s3(
    url: str,
    options: Mapping[str, Any],
    credentials: Callable[[], Any] | None,
    single_writer: bool,
    pickle_secrets: bool,
) -> Store:
    from deltalite.storage.object_store import S3Store  # keeps the S3 modules out of local starts

    return S3Store(url, options, credentials=credentials, single_writer=single_writer, pickle_secrets=pickle_secrets)


def _fsspec(
    location: Location,
    options: dict[str, Any],
    credentials: Callable[[], Any] | None,
    single_writer: bool,
    pickle_secrets: bool,
) -> Store:
    source = CredentialSource(options, credentials)
    source.renew()
    arguments = source.options()
    if location.scheme == "gs":
        arguments = gcs_options(arguments)
    elif _EXTRAS.get(location.scheme) == "azure":
        arguments = azure_options(arguments)
    secrets = [*secret_values(arguments), *secret_values(source.options())]
    fs, path = _make_filesystem(location, arguments, secrets)
    keep = options if pickle_secrets else public_options(options)
    display = redact(location.url, secrets)
    url = location.url if pickle_secrets else display
    return FsspecStore(
        fs,
        path,
        display,
        atomic=location.scheme in ATOMIC_PROTOCOLS,
        single_writer=single_writer,
        reopen=(_reopen, (url, keep, credentials if pickle_secrets else None, single_writer, pickle_secrets)),
        secrets=secrets,
    )


def _make_filesystem(location: Location, arguments: dict[str, Any], secrets: list[str]) -> tuple[Any, str]:
    from fsspec.registry import get_filesystem_class  # 30 ms that local tables need not pay

    shown = redact(f"{location.scheme}://", secrets)
    try:
        kind = get_filesystem_class(location.scheme)
    except ValueError:
        raise StorageError(
            f"no storage is known for {shown}",
            hint=f"built in: paths, file://, memory://, s3://, gs://, abfss://{_installed()}",
            transient=False,
        ) from None
    except ImportError as error:
        extra = _EXTRAS.get(location.scheme)
        what = f"pip install 'deltalite[{extra}]'" if extra else str(error)
        raise StorageError(f"the library for {shown} is not installed", hint=what, transient=False) from None
    try:
        from_url = kind._get_kwargs_from_urls(location.url)
        own = {"use_listings_cache": False, "skip_instance_cache": True}
        return kind(**{**from_url, **arguments, **own}), kind._strip_protocol(location.url)
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {error}", secrets)
    raise StorageError(f"cannot open {shown}: {reason}", transient=False)


def _installed() -> str:
    from fsspec.registry import available_protocols

    others = sorted(set(available_protocols()) - {"file", "local", "memory", "s3", "s3a", "gs", "gcs", "abfs", "az"})
    return f"; by fsspec, with their libraries: {', '.join(others)}"


def _reopen(
    url: str, options: dict[str, Any], credentials: Callable[[], Any] | None, single_writer: bool, keep: bool
) -> Store:
    return open_store(url, options, credentials=credentials, single_writer=single_writer, pickle_secrets=keep)


# --- file systems given as objects ------------------------------------------------------------------------------------


def _on_filesystem(
    url: str | os.PathLike[str],
    fs: Any,
    options: dict[str, Any],
    durability: Durability,
    single_writer: bool,
    pickle_secrets: bool,
) -> Store:
    if type(fs).__module__.startswith("pyarrow."):
        if fs.type_name == "local":
            return open_store(url, options, durability=durability)
        from fsspec.implementations.arrow import ArrowFSWrapper  # has no conditional put whatever the backend can

        fs = ArrowFSWrapper(fs)
    if not hasattr(fs, "_strip_protocol"):
        raise InvalidArgumentError(
            f"filesystem= takes an fsspec or pyarrow file system, not {type(fs).__name__}",
            hint="or give a URL and storage_options",
        )
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    text = os.fspath(url)
    if "file" in protocols:
        return open_store(text, options, durability=durability)
    path = fs._strip_protocol(text)
    arguments = {**getattr(fs, "storage_options", {}), **options}
    if "s3" in protocols and hasattr(fs, "call_s3"):  # a client of our own: theirs may cache and repeat
        return _s3(f"s3://{path}", arguments, None, single_writer, pickle_secrets)
    display = text if "://" in text else f"{protocols[0]}://{path}"
    return FsspecStore(
        fs,
        path,
        redact(display),
        atomic=bool(ATOMIC_PROTOCOLS.intersection(protocols)),
        single_writer=single_writer,
        reopen=(_reopen_on_filesystem, (text, fs, single_writer)) if pickle_secrets else None,
        secrets=secret_values(arguments),
    )


def _reopen_on_filesystem(url: str, fs: Any, single_writer: bool) -> Store:
    return open_store(url, filesystem=fs, single_writer=single_writer, pickle_secrets=True)
