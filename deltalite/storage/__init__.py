"""Bytes: one :class:`~deltalite.storage.base.Store` per table root, opened by :func:`open_store`."""

from __future__ import annotations

from deltalite.storage.base import AmbiguousPut, FileMeta, NotDurable, OutputFile, Store, is_temporary
from deltalite.storage.open import open_store
from deltalite.storage.redact import redact
from deltalite.storage.urls import normalise_url

__all__ = [
    "AmbiguousPut",
    "FileMeta",
    "NotDurable",
    "OutputFile",
    "Store",
    "is_temporary",
    "normalise_url",
    "open_store",
    "redact",
]
