"""Actions to and from the JSON lines of the log, by one codec that the dataclasses drive.

The decoder is strict about what it knows (types, 64-bit integers, duplicate keys, NaN) and lenient about what it does
not (unknown actions and fields are ignored, PROTOCOL.md "Requirements for Readers").
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from deltalite.exceptions import InvalidTableError
from deltalite.model import actions as a

ACTIONS: dict[str, type] = {
    "protocol": a.Protocol,
    "metaData": a.Metadata,
    "add": a.AddFile,
    "remove": a.RemoveFile,
    "cdc": a.AddCDCFile,
    "txn": a.SetTransaction,
    "domainMetadata": a.DomainMetadata,
    "commitInfo": a.CommitInfo,
    "checkpointMetadata": a.CheckpointMetadata,
    "sidecar": a.Sidecar,
}
_NAMES = {cls: name for name, cls in ACTIONS.items()}
_INT64 = 2**63


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


@dataclasses.dataclass(frozen=True)
class _Slot:
    attribute: str
    key: str
    kind: Any
    required: bool
    optional: bool


def _slots(cls: type) -> list[_Slot]:
    hints = get_type_hints(cls)
    found = []
    for f in dataclasses.fields(cls):
        kind, optional = hints[f.name], False
        if type(None) in get_args(kind):
            optional = True
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        found.append(_Slot(f.name, _camel(f.name), kind, required and not optional, optional))
    return found


_SLOTS = {cls: _slots(cls) for cls in (*ACTIONS.values(), a.Format, a.DeletionVector) if cls is not a.CommitInfo}


def encode_value(action: Any) -> dict[str, Any]:
    """The JSON object of an action (or of a part of one); absent values are left out."""
    if isinstance(action, a.CommitInfo):
        return dict(action.values)
    found: dict[str, Any] = {}
    for slot in _SLOTS[type(action)]:
        value = getattr(action, slot.attribute)
        if value is None:
            continue
        if dataclasses.is_dataclass(value):
            value = encode_value(value)
        elif isinstance(value, tuple):
            value = list(value)
        elif isinstance(value, Mapping):
            value = dict(value)
        found[slot.key] = value
    return found


def encode(action: Any) -> str:
    """One line of a commit, without its newline."""
    value = {_NAMES[type(action)]: encode_value(action)}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def encode_commit(actions: Iterable[Any]) -> bytes:
    """The bytes of a commit file."""
    return "".join(encode(action) + "\n" for action in actions).encode("utf-8", "surrogatepass")


def decode_line(line: bytes | str, where: str = "") -> a.Action | None:
    """The action of one line, or ``None`` for a kind that this library does not know.

    :raises InvalidTableError: when the line is not one JSON object, or an action lacks or misspells a value.
    """
    try:
        value = parse_json(line)
    except RecursionError as error:
        raise InvalidTableError(f"{where}: an action nests too deeply") from error
    except ValueError as error:
        text = line[:80]
        raise InvalidTableError(
            f"{where}: not a line of JSON: {text!r}",
            hint="the commit is torn or was edited; deltalite refuses to guess what it meant",
            path=where,
        ) from error
    if not isinstance(value, dict):
        raise InvalidTableError(f"{where}: an action is a JSON object, not {str(value)[:80]!r}", path=where)
    for name, cls in ACTIONS.items():
        if (body := value.get(name)) is not None:
            return decode_value(cls, body, f"{where}: {name}" if where else name)
    return None


def parse_json(text: bytes | str) -> Any:
    """Strict JSON: duplicate keys, NaN and infinities raise ``ValueError``."""
    return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_constant)


def decode_commit(data: bytes, where: str = "") -> Iterator[a.Action]:
    """The known actions of a commit file, in order."""
    for line in data.split(b"\n"):
        if line.strip() and (action := decode_line(line, where)) is not None:
            yield action


def decode_value(cls: type, body: Any, where: str = "") -> Any:
    """An action from its JSON object."""
    if not isinstance(body, dict):
        raise InvalidTableError(f"{where} is not a JSON object: {str(body)[:80]}")
    if cls is a.CommitInfo:
        return a.CommitInfo(body)
    found = {}
    for slot in _SLOTS[cls]:
        value = body.get(slot.key)
        if value is None:
            if slot.required:
                raise InvalidTableError(f"{where} lacks {slot.key!r}", path=where)
            continue
        found[slot.attribute] = _typed(value, slot.kind, f"{where}.{slot.key}")
    return cls(**found) if len(found) == len(_SLOTS[cls]) else _construct(cls, found)


def _construct(cls: type, found: dict[str, Any]) -> Any:
    for slot in _SLOTS[cls]:
        if slot.attribute not in found and slot.optional:
            found[slot.attribute] = None
    return cls(**found)


def _typed(value: Any, kind: Any, where: str) -> Any:
    origin = get_origin(kind)
    if kind is int and type(value) is int and -_INT64 <= value < _INT64:
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is bool and isinstance(value, bool):
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return decode_value(kind, value, where)  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if origin is not None and isinstance(value, dict):
        return value
    raise InvalidTableError(f"{where} has the wrong type: {str(value)[:80]!r}", path=where)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate keys")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
