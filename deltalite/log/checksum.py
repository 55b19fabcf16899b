"""The version checksum ``N.crc`` (PROTOCOL.md, "Version Checksum File"): what a version is, in one small file. Pure.

A reader takes protocol, metadata, transactions, domains and totals from it; it may be missing or malformed at any time,
which only costs speed (trap 55).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from deltalite.exceptions import DeltaError
from deltalite.model.actions import DomainMetadata, Metadata, Protocol, SetTransaction
from deltalite.model.arrow import to_numpy
from deltalite.model.codec import decode_value, encode_value, parse_json
from deltalite.model.properties import IN_COMMIT_TIMESTAMPS
from deltalite.model.snapshot import LazyMapping, Snapshot, Totals

T = TypeVar("T")
_MOST_LISTED = 1000
"""Transactions and domains beyond this number are left out, so that a checksum stays cheap to write."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a ``.crc`` says. ``transactions`` and ``domains`` are ``None`` where the writer left them out."""

    protocol: Protocol
    metadata: Metadata
    totals: Totals
    in_commit_timestamp: int | None = None
    transactions: Mapping[str, SetTransaction] | None = None
    domains: Mapping[str, DomainMetadata] | None = None


def encode(snapshot: Snapshot, txn_id: str | None = None) -> bytes | None:
    """The checksum of a snapshot, or ``None`` where its totals are not known without listing the files.

    :param txn_id: of the commit that made the version.
    """
    if snapshot.totals is None:
        return None
    found: dict[str, Any] = {} if txn_id is None else {"txnId": txn_id}
    found["tableSizeBytes"] = snapshot.totals.size_in_bytes
    found["numFiles"] = snapshot.totals.num_files
    found["numMetadata"] = found["numProtocol"] = 1
    if snapshot.config.get(IN_COMMIT_TIMESTAMPS):
        found["inCommitTimestampOpt"] = snapshot.timestamp
    for name, actions in (("setTransactions", snapshot.transactions), ("domainMetadata", snapshot.domains)):
        if not (isinstance(actions, LazyMapping) and not actions.is_loaded) and len(actions) <= _MOST_LISTED:
            found[name] = [encode_value(action) for action in actions.values()]
    found["metadata"] = encode_value(snapshot.config.metadata)
    found["protocol"] = encode_value(snapshot.config.protocol)
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def parse(data: bytes) -> Checksum | None:
    """The checksum in a file's bytes; ``None`` when it is not a whole and sound one."""
    try:
        value = parse_json(data)
        if not isinstance(value, dict) or value.get("numMetadata", 1) != 1 or value.get("numProtocol", 1) != 1:
            return None
        totals = Totals(_count(value["numFiles"]), _count(value["tableSizeBytes"]))
        in_commit = value.get("inCommitTimestampOpt")
        transactions = _listed(value.get("setTransactions"), SetTransaction)
        domains = _listed(value.get("domainMetadata"), DomainMetadata)
        return Checksum(
            decode_value(Protocol, value["protocol"]),
            decode_value(Metadata, value["metadata"]),
            totals,
            None if in_commit is None else _count(in_commit),
            None if transactions is None else {t.app_id: t for t in transactions},
            None if domains is None else {d.domain: d for d in domains if not d.removed},
        )
    except (DeltaError, ValueError, KeyError, RecursionError):
        return None


def differences(checksum: Checksum, snapshot: Snapshot) -> list[str]:
    """In what a snapshot differs from its checksum, as sentences; loads the file list."""
    sizes = snapshot.files.table(["size"]).column("size")
    found = Totals(len(sizes), int(to_numpy(sizes).sum()))
    pairs: list[tuple[str, Any, Any]] = [
        ("number of files", checksum.totals.num_files, found.num_files),
        ("size in bytes", checksum.totals.size_in_bytes, found.size_in_bytes),
        ("protocol", checksum.protocol, snapshot.config.protocol),
        ("metadata", checksum.metadata, snapshot.config.metadata),
    ]
    if checksum.transactions is not None:
        pairs.append(("transactions", dict(checksum.transactions), dict(snapshot.transactions)))
    if checksum.domains is not None:
        pairs.append(("domains", dict(checksum.domains), dict(snapshot.domains)))
    return [f"{what}: the checksum says {said}, the log {is_}" for what, said, is_ in pairs if said != is_]


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _listed(values: Any, cls: type[T]) -> list[T] | None:
    if values is None:
        return None
    if not isinstance(values, list):
        raise ValueError(values)
    return [decode_value(cls, value) for value in values]
