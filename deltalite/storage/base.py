"""What every storage backend promises, and the few helpers that all of them share.

A :class:`Store` is a table root plus ten verbs on bytes. It knows nothing of Delta. Paths are ``/``-separated names
relative to the root, already percent-decoded, and never leave it.

Errors, for every method of every store:

* ``FileNotFoundError``: the object is not there.
* ``FileExistsError``: only from :meth:`Store.put_if_absent`; something is there. It may be our own object, written by
  a request whose reply was lost, so read it back before concluding that somebody else won.
* :class:`AmbiguousPut`: only from :meth:`Store.put_if_absent`; there is no telling whether the object was written,
  or will be.
* :class:`deltalite.exceptions.StorageError`: a definite refusal. ``transient`` says whether asking again may help.
* :class:`deltalite.exceptions.UnsafePathError`: the path leaves the root, by its text or through a symbolic link.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from deltalite.exceptions import StorageError, UnsafePathError
from deltalite.storage.redact import redact

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "AmbiguousPut",
    "FileMeta",
    "NotDurable",
    "OutputFile",
    "Store",
    "check_path",
    "directory_prefix",
    "is_temporary",
    "redact",
    "refusal",
    "temporary_name",
]


class FileMeta(NamedTuple):
    """One stored object: its path relative to the root, its size in bytes, its modification time in ms since 1970."""

    path: str
    size: int
    modified_ms: int


class AmbiguousPut(Exception):
    """A put-if-absent ended without a definite answer: the object may exist, may appear later, or never.

    The only safe reactions are to read the object back and to put the same bytes at the same path again.
    """


class NotDurable(AmbiguousPut):
    """The object is visible, but the disk refused to promise that it survives a power loss.

    Reading it back proves nothing here, and a second fsync would report success without reason.
    """


class OutputFile:
    """A binary file being written. Nothing is visible under its name before :meth:`close`.

    As a context manager it publishes at the end of the block, and aborts when the block raises. An output that is
    neither closed nor aborted is aborted when it is collected, never published.
    """

    closed: bool = False

    def write(self, data: Any) -> int:
        """Append a bytes-like object; returns its length in bytes."""
        raise NotImplementedError

    def tell(self) -> int:
        """The number of bytes written so far."""
        raise NotImplementedError

    def _publish(self) -> None:
        raise NotImplementedError

    def _discard(self) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Nothing: bytes become visible at :meth:`close` only."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        """Publish what was written under the final name. A second call does nothing."""
        if not self.closed:
            self.closed = True
            self._publish()

    def abort(self) -> None:
        """Throw away what was written. Does nothing after :meth:`close`."""
        if not self.closed:
            self.closed = True
            self._discard()

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        try:
            self.abort()
        except Exception:  # a destructor has nobody to tell
            self.closed = True


class Store(Protocol):
    """A table root and the verbs on its bytes. Safe under threads; picklable, without secrets; usable after a fork."""

    root: str
    """For display: an absolute path or a URL, without credentials."""
    atomic_put: bool
    """Whether :meth:`put_if_absent` decides between concurrent writers. If not, only a single writer is safe."""
    accepts_commits: bool
    """Whether tables may be written: puts are atomic, or the caller promised to be the only writer."""
    is_local: bool
    """Whether objects are files of this machine: :meth:`local_path` names them."""

    def local_path(self, path: str) -> str | None:
        """The file system path of an object, or ``None`` when the store is not local."""
        ...

    def get(self, path: str) -> bytes:
        """The whole object."""
        ...

    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from offset ``start``; a shorter answer is a ``StorageError``."""
        ...

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Write the whole object, atomically visible, replacing one that is there.

        :param durable: whether it must survive a power loss after the next :meth:`sync`; hints need not.
        """
        ...

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        """Create the object with these bytes, or raise ``FileExistsError``: of many callers, one succeeds.

        :param durable: survive a power loss from the return on; everything written before through this store too.
        """
        ...

    def sync(self) -> None:
        """Make the names of everything written through this store survive a power loss.

        A durable :meth:`put_if_absent` does this itself before it publishes; other processes that wrote files for the
        same commit call it before they report them.
        """
        ...

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        """The objects directly inside a directory such as ``_delta_log/``, by name (code points), never cached.

        :param start_after: only names greater than this one; a name within the directory, or the full path.
        """
        ...

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        """All objects under a directory, recursively, in no particular order; symbolic links are never followed."""
        ...

    def head(self, path: str) -> FileMeta | None:
        """Size and time of one object, ``None`` when it is missing."""
        ...

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        """Delete objects; returns the paths that are gone afterwards. What could not be deleted is logged."""
        ...

    def open_input(self, path: str, *, size: int | None = None) -> pa.NativeFile:
        """Random access for readers such as Parquet.

        :param size: the object's size in bytes where it is known; it saves a request on remote stores.
        """
        ...

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        """Write an object piece by piece; see :class:`OutputFile`. ``durable`` as in :meth:`put`."""
        ...


# --- paths ------------------------------------------------------------------------------------------------------------

_UNSAFE_PATH = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|\0")  # an empty, `.` or `..` segment; NUL


def check_path(path: str) -> str:
    """The path itself, or ``UnsafePathError`` if it is absolute, climbs, or has empty segments."""
    if _UNSAFE_PATH.search(path) or not (path.isascii() or _encodes(path)):
        raise UnsafePathError(
            f"the path {path!r} is not a plain name inside the table",
            hint="paths are relative to the table's root, without empty, '.' or '..' segments",
            path=path,
        )
    return path


def _encodes(path: str) -> bool:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def directory_prefix(prefix: str) -> str:
    """``"a/b"`` and ``"a/b/"`` as ``"a/b/"``; the root as ``""``."""
    name = prefix.rstrip("/")
    return check_path(name) + "/" if name else ""


_TEMPORARY = re.compile(r"\.[^/]+\.[0-9a-f]{32}\.tmp\Z")


def temporary_name(name: str) -> str:
    """A new name for a file that is written before it is published; its leading dot hides it from every engine."""
    return f".{name[:50]}.{os.urandom(16).hex()}.tmp"


def is_temporary(path: str) -> bool:
    """Whether a path is a leftover of :func:`temporary_name`: never referenced, free to delete once it is old."""
    return _TEMPORARY.match(path.rpartition("/")[2]) is not None


def refusal(action: str, path: str, reason: str, *, hint: str | None = None, **facts: Any) -> StorageError:
    """A ``StorageError`` in the one form that all stores use; ``transient`` is always among its facts."""
    facts.setdefault("transient", False)
    return StorageError(f"cannot {action} {path!r}: {reason}", hint=hint, path=path, **facts)
