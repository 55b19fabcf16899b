"""What users write for a table's place, brought into one spelling."""

# ruff: noqa: PTH100, PTH111  (pathlib changes the spelling, and resolves links)

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple
from urllib.parse import unquote

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage.redact import redact

__all__ = ["Location", "normalise_url", "split_url"]

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<rest>.*)", re.S)  # one letter is a Windows drive
_CHAINED = re.compile(r"[a-z][a-z0-9+.-]+::", re.I)
_ONE_SLASH = re.compile(r"(?P<scheme>s3a?|gs|gcs|abfss?|az|https?|hdfs|dbfs|memory|sftp|ftp):/(?!/)", re.I)
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "local": "file"}


class Location(NamedTuple):
    """Where a table is: ``scheme`` is ``file`` for local paths, and ``path`` then is absolute.

    Elsewhere ``path`` is what follows ``://``, taken literally: object keys are not percent-decoded, as in Spark and
    fsspec.
    """

    scheme: str
    path: str

    @property
    def url(self) -> str:
        """The one spelling: an absolute path, or ``scheme://path`` without a trailing slash."""
        return self.path if self.scheme == "file" else f"{self.scheme}://{self.path}"


def split_url(url: str | os.PathLike[str]) -> Location:
    """Read a path (relative, with ``~``, with a drive letter) or URL. ``file:`` URLs are percent-decoded, paths not.

    :raises InvalidArgumentError: the text is empty or holds a NUL.
    :raises StorageError: a ``file:`` URL that names another host.
    """
    text = os.fspath(url)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InvalidArgumentError(f"{text!r} is not a table location", hint="give a path or a URL")
    match = _SCHEME.fullmatch(text)
    if match is None:
        if text.lower().startswith("file:/"):  # the short form that Java writes
            return Location("file", _from_file_url(text[5:]))
        _refuse_near_urls(text)
        return Location("file", os.path.abspath(os.path.expanduser(text)))
    scheme = match["scheme"].lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme == "file":
        return Location("file", _from_file_url(match["rest"]))
    return Location(scheme, match["rest"].rstrip("/"))


def normalise_url(url: str | os.PathLike[str]) -> str:
    """The one spelling of a table's place, with credentials masked; touches no storage. See :class:`Location`."""
    location = split_url(url)
    return location.path if location.scheme == "file" else redact(location.url)


def _refuse_near_urls(text: str) -> None:
    """What looks like a URL must not become a directory of that name."""
    if _CHAINED.match(text):
        raise StorageError(
            f"{redact(text)!r} chains file systems; a table needs the last one itself",
            hint="open that file system and pass it as filesystem=",
            transient=False,
        )
    if near := _ONE_SLASH.match(text):
        raise StorageError(
            f"{redact(text)!r} is neither a URL nor a plausible path",
            hint=f"write {near['scheme']}://, or ./{text} for a directory of that name",
            transient=False,
        )


def _from_file_url(rest: str) -> str:
    if rest.lower().startswith("localhost/"):
        rest = rest[len("localhost") :]
    path = unquote(rest, errors="surrogateescape")
    if sys.platform == "win32" and re.match(r"/+[A-Za-z]:", path):
        path = path.lstrip("/")
    elif not path.startswith("/"):
        raise StorageError(
            f"the URL file://{rest} names another host",
            hint=f"three slashes make it local: file:///{rest}",
            transient=False,
        )
    return os.path.abspath(path)
