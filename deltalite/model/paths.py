"""Names in ``_delta_log`` and paths of data files: parse and format, nothing else.

PROTOCOL.md, "Delta Table Specification: File Types". Names that fit no pattern are not ours and are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from deltalite.exceptions import UnsafePathError

LOG = "_delta_log/"
SIDECARS = "_delta_log/_sidecars/"
LAST_CHECKPOINT = "_delta_log/_last_checkpoint"

_COMMIT = re.compile(r"([0-9]{20})\.json")
_CRC = re.compile(r"([0-9]{20})\.crc")
_CLASSIC = re.compile(r"([0-9]{20})\.checkpoint\.parquet")
_PART = re.compile(r"([0-9]{20})\.checkpoint\.([0-9]{10})\.([0-9]{10})\.parquet")
_UUID = re.compile(r"([0-9]{20})\.checkpoint\.([0-9a-fA-F-]{36})\.(json|parquet)")
_COMPACTED = re.compile(r"([0-9]{20})\.([0-9]{20})\.compacted\.json")


@dataclass(frozen=True, slots=True)
class LogFile:
    """What a name in the log says. ``kind`` is ``commit``, ``crc``, ``checkpoint`` or ``compaction``.

    ``part`` and ``parts`` count a multi-part checkpoint from 1; ``last`` is the last version a compaction covers.
    """

    name: str
    kind: str
    version: int
    part: int = 1
    parts: int = 1
    uuid: str | None = None
    last: int | None = None


def parse_log_name(name: str) -> LogFile | None:
    """What a bare name in ``_delta_log`` denotes, or ``None`` for a name that is not the protocol's."""
    if m := _COMMIT.fullmatch(name):
        return LogFile(name, "commit", int(m[1]))
    if m := _CRC.fullmatch(name):
        return LogFile(name, "crc", int(m[1]))
    if m := _CLASSIC.fullmatch(name):
        return LogFile(name, "checkpoint", int(m[1]))
    if m := _UUID.fullmatch(name):
        return LogFile(name, "checkpoint", int(m[1]), uuid=m[2])
    if m := _PART.fullmatch(name):
        part, parts = int(m[2]), int(m[3])
        return LogFile(name, "checkpoint", int(m[1]), part, parts) if 1 <= part <= parts else None
    if m := _COMPACTED.fullmatch(name):
        first, last = int(m[1]), int(m[2])
        return LogFile(name, "compaction", first, last=last) if last > first else None
    return None


def commit_file(version: int) -> str:
    return f"{LOG}{version:020d}.json"


def crc_file(version: int) -> str:
    return f"{LOG}{version:020d}.crc"


def checkpoint_file(version: int, uuid: str | None = None, suffix: str = "parquet") -> str:
    return f"{LOG}{version:020d}.checkpoint.{uuid + '.' if uuid else ''}{suffix}"


def compaction_file(first: int, last: int) -> str:
    return f"{LOG}{first:020d}.{last:020d}.compacted.json"


def encode_path(path: str) -> str:
    """A file's path as the URI that an action carries."""
    return quote(path, safe="/=:@!$&'()*+,;~-._")


def canonical_path(uri: str) -> str:
    """One spelling for all URIs of a file: percent-decoded once, local absolute paths without their scheme."""
    path = unquote(uri)
    for prefix in ("file:///", "file:/"):
        if path.startswith(prefix):
            return "/" + path[len(prefix) :].lstrip("/")
    return path


def is_absolute(uri: str) -> bool:
    """Whether an action's path is a URL or an absolute path rather than one below the table's root."""
    return uri.startswith("/") or bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", uri))


def relative_path(uri: str) -> str:
    """The path below the table's root that an action's relative URI names.

    :raises UnsafePathError: when it climbs out of the root or hides bytes that no file name has.
    """
    path = unquote(uri)
    parts = path.split("/")
    if "\0" in path or ".." in parts or path.startswith("/") or "\\.." in path or not path:
        raise UnsafePathError(
            f"the log names a file outside the table: {uri!r}",
            hint="an honest writer leaves no such path; inspect the log before trusting this table",
            path=uri,
        )
    return "/".join(part for part in parts if part not in ("", "."))
