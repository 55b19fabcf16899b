"""identityColumns: columns that number the rows (PROTOCOL.md, "Identity Columns"; protocol trap 65).

The greatest number given so far lies in the column's metadata, hence a commit that gives numbers carries the table's
metadata. The numbers are in files before the commit is tried: a mark that another writer moved meanwhile is a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.base import Feature, NumberSequence, Use, WriteStep
from deltalite.model.actions import Metadata
from deltalite.model.config import TableConfig
from deltalite.model.types import Field, StructType, walk

START, STEP, MARK = "delta.identity.start", "delta.identity.step", "delta.identity.highWaterMark"
EXPLICIT = "delta.identity.allowExplicitInsert"
_OTHER_SOURCES = ("delta.generationExpression", "CURRENT_DEFAULT")


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity column: the numbers ``start + k * step`` with k = 0, 1, ...

    :param mark: the number given last, or ``None``.
    :param explicit: whether rows may bring numbers of their own, which do not move the mark.
    """

    column: str
    start: int
    step: int
    mark: int | None
    explicit: bool

    @classmethod
    def of(cls, f: Field) -> Identity | None:
        """
        :raises InvalidTableError: when the metadata of the column makes no sense.
        """
        if START not in f.metadata and STEP not in f.metadata:
            return None
        start, step, mark = (f.metadata.get(key) for key in (START, STEP, MARK))
        explicit = f.metadata.get(EXPLICIT, False)
        is_marked = mark is None or _is_long(mark)
        if _is_long(start) and _is_long(step) and step and is_marked and isinstance(explicit, bool):
            return cls(f.name, start, step, mark, explicit)
        found = {key: value for key, value in f.metadata.items() if key.startswith("delta.identity.")}
        raise InvalidTableError(
            f"the metadata of the identity column {f.name!r} makes no sense: {found}",
            hint="start, step and mark are whole numbers of 64 bits, and the step is not 0",
            column=f.name,
        )

    @property
    def next(self) -> int:
        """The first number beyond the mark."""
        if self.mark is None:
            return self.start
        return self.start + self.step * max(0, (self.mark - self.start) // self.step + 1)

    def is_beyond(self, number: int, mark: int | None) -> bool:
        """Whether a number comes later than another one."""
        return mark is None or (number > mark if self.step > 0 else number < mark)


def without_identity(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a column that came with rows: its numbers are values there, not a rule for more of them."""
    return {key: value for key, value in metadata.items() if not key.startswith("delta.identity.")}


def _is_long(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63


def _identities(config: TableConfig) -> list[Identity]:
    if "delta.identity." not in config.metadata.schema_string:
        return []
    return [identity for f in config.schema.fields if (identity := Identity.of(f)) is not None]


def _check(config: TableConfig) -> None:
    for path, f in walk(config.schema):
        if START not in f.metadata and STEP not in f.metadata:
            continue
        name = ".".join(path)
        if len(path) > 1:
            raise _refused(name, "only columns at the top level can")
        if f.type.type != "long":
            raise _refused(name, f"its type is {f.type.type}, and only long (bigint) columns can")
        if f.name in config.partition_columns:
            raise _refused(name, "partition columns cannot")
        if any(key in f.metadata for key in _OTHER_SOURCES):
            raise _refused(name, "it has a default or an expression as well")
        if f.metadata.get(STEP) == 0:
            raise _refused(name, "its step is 0")
        Identity.of(f)


def _refused(column: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"column {column!r} cannot be an identity column: {why}", column=column)


def _write(config: TableConfig) -> WriteStep | None:
    found = tuple(NumberSequence(i.column, i.next, i.step) for i in _identities(config))
    return WriteStep(sequences=found) if found else None


def _assignable(config: TableConfig, columns: Iterable[str], use: Use) -> None:
    named = {name.lower() for name in columns}
    for identity in _identities(config):
        if identity.column.lower() not in named:
            continue
        if use == "update":
            raise InvalidArgumentError(
                f"column {identity.column!r} is an identity column: its numbers are never updated",
                hint="leave it out of the assignments",
                column=identity.column,
            )
        if not identity.explicit:
            raise InvalidArgumentError(
                f"column {identity.column!r} is GENERATED ALWAYS AS IDENTITY: the table gives its values",
                hint="leave the column out of the rows",
                column=identity.column,
            )


# -- the mark ------------------------------------------------------------------------------------------------------


def _after_rows(config: TableConfig, given: Mapping[str, int]) -> Metadata | None:
    numbered = [i for i in _identities(config) if i.column in given]
    moved = {i.column: given[i.column] for i in numbered if i.is_beyond(given[i.column], i.mark)}
    return _with_marks(config.metadata, moved) if moved else None


def _evolve(old: TableConfig | None, new: Metadata, _: int) -> Metadata:
    """A definition that stays keeps its mark, whatever metadata somebody brings: no number is given twice."""
    if old is None or "delta.identity." not in new.schema_string:
        return new
    had = {(i.column, i.start, i.step): i for i in _identities(old)}
    kept: dict[str, int] = {}
    for identity in _identities(replace(old, metadata=new)):
        before = had.get((identity.column, identity.start, identity.step))
        if before and before.mark is not None and identity.is_beyond(before.mark, identity.mark):
            kept[identity.column] = before.mark
    return _with_marks(new, kept) if kept else new


def _restored(old: TableConfig, metadata: Metadata) -> Metadata:
    """Numbers given since are not given again, also where the column has another name now."""
    if "delta.identity." not in metadata.schema_string:
        return metadata
    then = replace(old, metadata=metadata)
    now = {_column_id(old, i.column): i for i in _identities(old)}
    kept: dict[str, int | None] = {}
    for identity in _identities(then):
        known = now.get(_column_id(then, identity.column))
        if known is None or known.mark is None or (known.start, known.step) != (identity.start, identity.step):
            continue
        if identity.is_beyond(known.mark, identity.mark):
            kept[identity.column] = known.mark
    return _with_marks(metadata, kept) if kept else metadata


def _column_id(config: TableConfig, column: str) -> object:
    """What a column keeps when it is renamed, else its name."""
    found = config.schema.get(column)
    return column if found is None else found.metadata.get("delta.columnMapping.id", column)


def _with_marks(metadata: Metadata, marks: Mapping[str, int | None]) -> Metadata:
    """The metadata with other marks; ``None`` is none. Everything else of the schema stays, known or not."""
    schema = json.loads(metadata.schema_string)
    for f in schema["fields"]:
        if f["name"] in marks:
            kept = {key: value for key, value in f.get("metadata", {}).items() if key != MARK}
            mark = marks[f["name"]]
            f["metadata"] = kept if mark is None else {**kept, MARK: mark}
    return replace(metadata, schema_string=json.dumps(schema, separators=(",", ":"), ensure_ascii=False))


def _uncounted(metadata: Metadata) -> Metadata:
    if "delta.identity." not in metadata.schema_string:
        return metadata
    names = [f["name"] for f in json.loads(metadata.schema_string)["fields"] if START in f.get("metadata", {})]
    return _with_marks(metadata, dict.fromkeys(names))


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(START in f.metadata or STEP in f.metadata for _, f in walk(schema))


def _in_use(config: TableConfig) -> str | None:
    found = [identity.column for identity in _identities(config)]
    return f"the identity columns {found}" if found else None


FEATURE = Feature(
    "identityColumns",
    legacy=(1, 6),
    implied_by=_implied,
    evolve=_evolve,
    restored=_restored,
    check=_check,
    after_rows=_after_rows,
    uncounted=_uncounted,
    assignable=_assignable,
    write=_write,
    in_use=_in_use,
)
