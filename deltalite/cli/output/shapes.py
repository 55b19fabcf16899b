"""What a command prints, declared: the stable keys of its records, and the columns that people see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from deltalite.cli.output import text

Kind = Literal["integer", "number", "text", "boolean", "time", "json"]


@dataclass(frozen=True)
class Field:
    """A key of a record.

    :param kind: ``time`` values are datetimes or milliseconds since 1970, printed as RFC 3339 in UTC; ``json`` values
        are printed as they are in JSON and as JSON text elsewhere.
    :param doc: one line for the reference.
    """

    name: str
    kind: Kind
    doc: str


Shape = tuple[Field, ...]
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Show:
    """A column that people see, made from a record.

    :param cell: given the record and whether a person reads it (commas, units) or a program (plain numbers).
    :param right: numbers stand to the right.
    :param cut_inside: where there is no room for it, its middle is left out, and not its end: paths.
    """

    title: str
    cell: Callable[[Record, bool], str | None]
    right: bool = False
    cut_inside: bool = False


View = tuple[Show, ...]


def plain_view(shape: Shape) -> View:
    """A column per key, for records that need no arrangement."""
    return tuple(Show(f.name.replace("_", " ").upper(), _cell(f), f.kind in ("integer", "number")) for f in shape)


def _cell(f: Field) -> Callable[[Record, bool], str | None]:
    return lambda record, people: shown(f, record.get(f.name), people)


def shown(f: Field, value: Any, people: bool) -> str | None:
    """A value of a record as text; ``None`` stays ``None``."""
    if value is None:
        return None
    if f.kind == "time":
        return text.clock(value) if people else text.moment(value)
    if f.kind == "boolean":
        return "true" if value else "false"
    if f.kind == "integer" and people:
        return text.count(value)
    if f.kind == "json":
        return compact_json(value)
    return str(value)


def jsonable(f: Field, value: Any) -> Any:
    """A value of a record as JSON has it."""
    return text.moment(value) if f.kind == "time" and value is not None else value


def compact_json(value: Any) -> str:
    """JSON text on one line, with control characters escaped. Values that JSON lacks become text."""
    import json

    return escape_json(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_other))


def _other(value: Any) -> Any:
    return text.moment(value) if hasattr(value, "astimezone") else str(value)


def escape_json(document: str) -> str:
    """Escapes as JSON writes them for the controls that JSON itself leaves alone (C1, direction marks)."""
    return text.UNSAFE_PATTERN.sub(lambda match: f"\\u{ord(match[0]):04x}", document)
