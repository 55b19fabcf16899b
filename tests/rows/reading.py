"""A second reader of tables on a local disk: the log by ``json``, files by pyarrow, vectors by pyroaring; nothing of
deltalite's. It knows what the tables of these tests need, and keeps files that it has read (they never change)."""

from __future__ import annotations

import json
import struct
import urllib.parse
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyroaring import BitMap64

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
Action = dict[str, Any]


@dataclass
class State:
    """What the log says of a version, told from the first commit on.

    :param live: add actions by path.
    """

    version: int = -1
    protocol: Action = field(default_factory=dict)
    metadata: Action = field(default_factory=dict)
    live: dict[str, Action] = field(default_factory=dict)
    domains: dict[str, Action] = field(default_factory=dict)
    transactions: dict[str, int] = field(default_factory=dict)

    def after(self, version: int, actions: Iterable[Action]) -> State:
        """The next version. Removes come before adds, whatever their order in the file."""
        actions = list(actions)
        found = State(
            version, self.protocol, self.metadata, dict(self.live), dict(self.domains), dict(self.transactions)
        )
        for action in actions:
            if "remove" in action:
                found.live.pop(action["remove"]["path"], None)
            elif "protocol" in action:
                found.protocol = action["protocol"]
            elif "metaData" in action:
                found.metadata = action["metaData"]
            elif "domainMetadata" in action:
                domain = action["domainMetadata"]
                found.domains[domain["domain"]] = domain
            elif "txn" in action:
                found.transactions[action["txn"]["appId"]] = action["txn"]["version"]
        for action in actions:
            if "add" in action:
                found.live[action["add"]["path"]] = action["add"]
        found.domains = {name: d for name, d in found.domains.items() if not d.get("removed")}
        return found

    @property
    def configuration(self) -> Mapping[str, str]:
        return self.metadata.get("configuration") or {}

    def enabled(self, name: str) -> bool:
        return self.configuration.get(name) == "true"

    @property
    def fields(self) -> list[Action]:
        return json.loads(self.metadata["schemaString"])["fields"]

    @property
    def physical(self) -> dict[str, str]:
        """Names in files by names of columns."""
        return {f["name"]: f["metadata"].get("delta.columnMapping.physicalName", f["name"]) for f in self.fields}


def commits(root: Path) -> Iterator[tuple[int, list[Action]]]:
    """All commits, which must be there from the first on."""
    names = sorted(p.name for p in (root / "_delta_log").glob("*.json") if p.stem.isdigit())
    assert names == [f"{version:020}.json" for version in range(len(names))], names
    for version, name in enumerate(names):
        text = (root / "_delta_log" / name).read_text()
        assert text.endswith("\n")
        yield version, [json.loads(line) for line in text.splitlines()]


def states(root: Path) -> list[tuple[State, list[Action]]]:
    """Every version with the actions that made it."""
    found, state = [], State()
    for version, actions in commits(root):
        state = state.after(version, actions)
        found.append((state, actions))
    return found


# -- vectors -----------------------------------------------------------------------------------------------------------


def vector_id(action: Action) -> str | None:
    dv = action.get("deletionVector")
    if dv is None:
        return None
    offset = dv.get("offset")
    return dv["storageType"] + dv["pathOrInlineDv"] + ("" if offset is None else f"@{offset}")


def z85(text: str) -> bytes:
    found = b""
    for start in range(0, len(text), 5):
        number = 0
        for character in text[start : start + 5]:
            number = number * 85 + Z85.index(character)
        found += struct.pack(">I", number)
    return found


def vector(root: Path, action: Action) -> BitMap64:
    """The positions that a file's vector marks; sizes and checksums are checked."""
    dv = action.get("deletionVector")
    if dv is None:
        return BitMap64()
    return _vector(root, dv["storageType"], dv["pathOrInlineDv"], dv.get("offset"), dv["sizeInBytes"])


@lru_cache(4096)
def _vector(root: Path, kind: str, text: str, offset: int | None, size: int) -> BitMap64:
    if kind == "i":
        data = z85(text)[:size]
        assert offset is None
        assert 0 <= len(z85(text)) - size < 4
    else:
        assert kind == "u", kind
        prefix, name = text[:-20], uuid.UUID(bytes=z85(text[-20:]))
        content = (root / prefix / f"deletion_vector_{name}.bin").read_bytes()
        assert content[0] == 1
        assert offset is not None
        assert struct.unpack_from(">i", content, offset) == (size,)
        data = content[offset + 4 : offset + 4 + size]
        assert struct.unpack_from(">I", content, offset + 4 + size) == (zlib.crc32(data),)
    assert struct.unpack_from("<I", data) == (1681511377,)
    return BitMap64.deserialize(data[4:])


# -- rows --------------------------------------------------------------------------------------------------------------


def place(root: Path, action: Action) -> Path:
    found = root / urllib.parse.unquote(action["path"])
    assert found.resolve().is_relative_to(root.resolve())
    return found


@lru_cache(4096)
def stored(path: Path) -> tuple[Action, ...]:
    """The rows of a data file as it has them."""
    return tuple(pq.ParquetFile(path).read().to_pylist())


def typed(text: str | None, kind: Any) -> Any:
    """A partition value."""
    if text is None or text == "":
        return None
    return int(text) if kind in ("long", "integer") else text


def rows_of(root: Path, state: State, add: Action, *, all_rows: bool = False) -> list[Action]:
    """The rows of a live file, with ``_row_id`` and ``_row_commit_version`` where the table tracks rows.

    :param all_rows: those too that the vector marks.
    """
    physical, gone = state.physical, BitMap64() if all_rows else vector(root, add)
    partition = {
        f["name"]: typed(add["partitionValues"][physical[f["name"]]], f["type"])
        for f in state.fields
        if f["name"] in state.metadata["partitionColumns"]
    }
    tracked = state.enabled("delta.enableRowTracking")
    found = []
    for position, row in enumerate(stored(place(root, add))):
        if position in gone:
            continue
        new = {f["name"]: _logical(row.get(physical[f["name"]]), f["type"]) for f in state.fields} | partition
        if tracked:
            key = state.configuration
            row_id = row.get(key["delta.rowTracking.materializedRowIdColumnName"])
            version = row.get(key["delta.rowTracking.materializedRowCommitVersionColumnName"])
            new["_row_id"] = add["baseRowId"] + position if row_id is None else row_id
            new["_row_commit_version"] = add["defaultRowCommitVersion"] if version is None else version
        found.append(new)
    return found


def _logical(value: Any, kind: Any) -> Any:
    """A value under the logical names of its fields."""
    if value is None or not isinstance(kind, dict):
        return value
    if kind["type"] == "struct":
        names = {f["name"]: f["metadata"].get("delta.columnMapping.physicalName", f["name"]) for f in kind["fields"]}
        return {f["name"]: _logical(value.get(names[f["name"]]), f["type"]) for f in kind["fields"]}
    if kind["type"] == "array":
        return [_logical(v, kind["elementType"]) for v in value]
    return value


def table_rows(root: Path, state: State) -> list[Action]:
    return [row for add in state.live.values() for row in rows_of(root, state, add)]
