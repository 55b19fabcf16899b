"""Stores on fsspec file systems, named by a URL or given as objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fsspec.registry import available_protocols, get_filesystem_class

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage.base import Store
from deltalite.storage.credentials import CredentialSource, secret_values
from deltalite.storage.fsspec import ATOMIC_PROTOCOLS, FsspecStore
from deltalite.storage.local import Durability, LocalStore
from deltalite.storage.object_store import S3Store
from deltalite.storage.options import azure_options, gcs_options, local_options, public_options
from deltalite.storage.redact import redact
from deltalite.storage.urls import Location, split_url

__all__ = ["store_by_url", "store_on"]

_EXTRAS = {"s3": "s3", "gs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure", "azure": "azure"}


def store_by_url(
    location: Location,
    options: dict[str, Any],
    credentials: Callable[[], Any] | None,
    single_writer: bool,
    pickle_secrets: bool,
) -> Store:
    """The store of any other URL. The arguments are those of :func:`deltalite.storage.open.open_store`."""
    source = CredentialSource(options, credentials)
    source.renew()
    arguments = source.options()
    if location.scheme == "gs":
        arguments = gcs_options(arguments)
    elif _EXTRAS.get(location.scheme) == "azure":
        arguments = azure_options(arguments)
    secrets = source.secrets()
    kind = _filesystem_class(location.scheme)
    arguments = {**kind._get_kwargs_from_urls(location.url), **arguments}
    secrets += secret_values(arguments)
    fs = _connect(kind, arguments, secrets)
    keep = options if pickle_secrets else public_options(options)
    display = redact(location.url, secrets)
    url = location.url if pickle_secrets else display
    return FsspecStore(
        fs,
        kind._strip_protocol(location.url),
        display,
        atomic=location.scheme in ATOMIC_PROTOCOLS,
        single_writer=single_writer,
        reopen=(_reopen, (url, keep, credentials if pickle_secrets else None, single_writer, pickle_secrets)),
        secrets=secrets,
    )


def _filesystem_class(scheme: str) -> Any:
    try:
        return get_filesystem_class(scheme)
    except ValueError:
        raise StorageError(
            f"no storage is known for {scheme}://",
            hint=f"built in: paths, file://, memory://, s3://, gs://, abfss://{_installed()}",
            transient=False,
        ) from None
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        hint = f"pip install 'deltalite[{extra}]'" if extra else str(error)
        raise StorageError(f"the library for {scheme}:// is not installed", hint=hint, transient=False) from None


def _connect(kind: Any, arguments: dict[str, Any], secrets: list[str]) -> Any:
    try:
        return kind(**arguments, use_listings_cache=False, skip_instance_cache=True)
    except Exception as error:
        reason = redact(f"{type(error).__name__}: {error}", secrets)
    raise StorageError(f"cannot open {kind.__name__}: {reason}", transient=False)  # outside, to carry no context


def _installed() -> str:
    others = sorted(set(available_protocols()) - {"file", "local", "memory", "s3", "s3a", "gs", "gcs", "abfs", "az"})
    return f"; by fsspec, with their libraries: {', '.join(others)}"


def _reopen(
    url: str, options: dict[str, Any], credentials: Callable[[], Any] | None, single_writer: bool, keep: bool
) -> Store:
    return store_by_url(split_url(url), options, credentials, single_writer, keep)


# --- file systems given as objects ------------------------------------------------------------------------------------


def store_on(
    fs: Any,
    url: str | os.PathLike[str],
    options: dict[str, Any],
    durability: Durability,
    single_writer: bool,
    pickle_secrets: bool,
) -> Store:
    """The store on a file system that the caller opened."""
    if type(fs).__module__.startswith("pyarrow."):
        if fs.type_name == "local":
            return _local(os.fspath(url), options, durability)
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
        return _local(text, options, durability)
    path = fs._strip_protocol(text)
    arguments = {**getattr(fs, "storage_options", {}), **options}
    if "s3" in protocols and hasattr(fs, "call_s3"):  # a client of our own: theirs may cache and repeat
        return S3Store(f"s3://{path}", arguments, single_writer=single_writer, pickle_secrets=pickle_secrets)
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
    return store_on(fs, url, {}, "full", single_writer, True)


def _local(path: str, options: dict[str, Any], durability: Durability) -> Store:
    follow = local_options(options).flag("follow_symlinks")
    return LocalStore(split_url(path).path, durability=durability, follow_symlinks=follow)
