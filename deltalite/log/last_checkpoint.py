"""``_last_checkpoint``: the hint where a listing may begin (PROTOCOL.md, "Last Checkpoint File"). Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote


def encode(version: int, size: int, size_in_bytes: int, num_of_add_files: int) -> bytes:
    """The hint at a checkpoint.

    :param size: how many actions it holds.
    :param size_in_bytes: of all its files.
    """
    found: dict[str, Any] = {
        "version": version,
        "size": size,
        "sizeInBytes": size_in_bytes,
        "numOfAddFiles": num_of_add_files,
    }
    found["checksum"] = checksum(found)
    return json.dumps(found, separators=(",", ":")).encode()


def parse(data: bytes) -> int | None:
    """The version that a hint points at, ``None`` when it is no hint at all.

    Its checksum is not looked at: whoever follows a hint sees from the listing whether it leads anywhere (trap 51).
    """
    try:
        version = json.loads(data)["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if type(version) is int and 0 <= version < 10**20 else None


def checksum(value: dict[str, Any]) -> str:
    """The MD5 digest of the canonical form of a JSON object, its own ``checksum`` left out (trap 52)."""
    return hashlib.md5(canonical(value).encode(), usedforsecurity=False).hexdigest()


def canonical(value: dict[str, Any]) -> str:
    """The canonical form: every leaf with its path, sorted by the bytes of the paths."""
    leaves = [leaf for key, item in value.items() if key != "checksum" for leaf in _leaves(_quoted(key), item)]
    return ",".join(f"{path}={leaf}" for path, leaf in sorted(leaves, key=lambda pair: pair[0].encode()))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{path}+{_quoted(key)}", item)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _leaves(f"{path}+{at}", item)
    else:
        yield path, _quoted(value) if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    return f'"{quote(text, safe="-._~")}"'
