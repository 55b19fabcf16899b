"""Tags and registered shallow clones: what asks a table to keep versions that it would forget.

They are ours alone: small JSON files below ``_delta_log/_deltalite``, where no other engine looks for anything.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.model.paths import LOG

TAGS = f"{LOG}_deltalite/tags/"
CLONES = f"{LOG}_deltalite/clones/"
LONGEST_NAME = 200

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_KEYS = {
    "table_id": "tableId",
    "txn_id": "txnId",
    "created_ms": "createdTime",
    "timestamp": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a version.

    :param timestamp: the version's time, in milliseconds since 1970.
    :param table_id: the id in the metadata of that version.
    :param txn_id: the transaction that made it, where its commit says so.
    :param message: what its author noted.
    :param created_ms: when the tag was made, in milliseconds since 1970.
    """

    name: str
    version: int
    timestamp: int
    table_id: str
    txn_id: str | None = None
    message: str | None = None
    created_ms: int = 0

    @property
    def time(self) -> dt.datetime:
        """When the version was made, in UTC."""
        return _EPOCH + dt.timedelta(milliseconds=self.timestamp)


@dataclass(frozen=True, slots=True)
class Clone:
    """A shallow clone that reads data files of the table it is registered with.

    :param location: path or URL of the clone.
    :param table_id: the clone's own id.
    :param version: the version of this table that it was made of.
    :param created_ms: when it was registered, in milliseconds since 1970.
    """

    location: str
    table_id: str
    version: int
    created_ms: int = 0


def check_name(name: str) -> str:
    """The name itself.

    :raises InvalidArgumentError: it is empty, too long, begins or ends with a space, or holds control characters.
    """
    if not isinstance(name, str) or not name or name != name.strip():
        raise InvalidArgumentError(f"{name!r} is no name for a tag", hint="a name begins and ends with no space")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        raise InvalidArgumentError(f"the tag name {name!r} holds control characters or half a character")
    if len(_encoded(name)) > LONGEST_NAME:
        raise InvalidArgumentError(
            f"the tag name {name[:40]!r}... is too long",
            hint=f"at most {LONGEST_NAME} characters, of which one outside ASCII counts for several",
        )
    return name


def tag_file(name: str) -> str:
    """Where a tag lies."""
    return f"{TAGS}{_encoded(name)}.json"


def clone_file(table_id: str) -> str:
    """Where the registration of a clone lies."""
    return f"{CLONES}{_encoded(table_id)}.json"


def _encoded(name: str) -> str:
    """A name as a plain file name. Engines that list the log recursively must not take it for one of its files, so it
    begins with a letter or ``%``, never with a digit."""
    first, rest = name[0], name[1:]
    start = first if first.isascii() and first.isalpha() else "".join(f"%{byte:02X}" for byte in first.encode())
    return start + quote(rest, safe="")


def encode_pin(pin: Tag | Clone) -> bytes:
    """The bytes of its file."""
    values = {_KEYS.get(key, key): value for key, value in asdict(pin).items() if value is not None}
    return json.dumps(values, ensure_ascii=False, indent=1).encode() + b"\n"


def decode_tag(data: bytes, path: str) -> Tag:
    """:raises InvalidTableError: when the file is not one."""
    return Tag(**_fields(data, path, {**_TAG, "message": str, "txn_id": str}, tuple(_TAG)))


def decode_clone(data: bytes, path: str) -> Clone:
    """:raises InvalidTableError: when the file is not one."""
    return Clone(**_fields(data, path, _CLONE, tuple(_CLONE)))


_TAG = {"name": str, "version": int, "timestamp": int, "table_id": str, "created_ms": int}
_CLONE = {"location": str, "table_id": str, "version": int, "created_ms": int}


def _fields(data: bytes, path: str, kinds: Mapping[str, type], required: tuple[str, ...]) -> dict[str, Any]:
    try:
        values = json.loads(data)
        found = {key: values[wire] for key in kinds if (wire := _KEYS.get(key, key)) in values}
        whole = all(type(value) is kinds[key] for key, value in found.items()) and all(key in found for key in required)
    except (ValueError, TypeError, RecursionError):
        whole, found = False, {}
    if not whole or found["version"] < 0:
        raise InvalidTableError(
            f"{path} is damaged: what it keeps is unknown",
            hint="if nobody needs it any more, delete the file (or the tag by its name)",
            path=path,
        )
    return found
