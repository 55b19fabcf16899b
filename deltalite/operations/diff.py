"""Two versions of a table side by side: columns, properties and, net, the rows that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidArgumentError
from deltalite.features import partition_keys
from deltalite.features.change_data_feed import (
    CHANGE_TYPE,
    CHANGED_FILES,
    DELETE,
    INSERT,
    file_changes,
)
from deltalite.features.column_mapping import ID
from deltalite.model.config import TableConfig
from deltalite.model.expr import type_name
from deltalite.model.files import file_keys
from deltalite.model.properties import COLUMN_MAPPING_MODE
from deltalite.model.snapshot import Snapshot
from deltalite.model.types import Field, map_fields
from deltalite.operations.changed_rows import Reader, View
from deltalite.operations.comparing import Comparison, Side
from deltalite.operations.differences import ALONE, CHANGED
from deltalite.operations.version_range import check_readable

_FILE_COLUMNS = [name for name in CHANGED_FILES.names if name != "within"]


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """A column before and after; ``None`` where it was not there yet, or is no more."""

    before: Field | None
    after: Field | None

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return _column(self.after or self.before)
        return f"{_column(self.before)} -> {_column(self.after)}"


@dataclass(frozen=True)
class TableDiff:
    """What differs between two versions of a table.

    :param columns: the top-level columns that differ in name, type, nullability or metadata. A renamed column is
        known as such where the table maps columns; elsewhere it is dropped and added.
    :param properties: table properties that differ, each with the value before and after; ``None`` is unset.
    :param keys: the columns by which rows were matched.
    :param rows_added: rows that only the second version has; ``rows_removed`` those that only the first has.
    :param rows_changed: rows that have the same key and other values; ``None`` without keys.
    """

    from_version: int
    to_version: int
    columns: tuple[ColumnChange, ...]
    properties: Mapping[str, tuple[str | None, str | None]]
    keys: tuple[str, ...]
    rows_added: int
    rows_removed: int
    rows_changed: int | None
    _read: Callable[[], pa.RecordBatchReader] = field(repr=False, compare=False)

    def rows(self) -> pa.RecordBatchReader:
        """The rows that differ, with ``_change_type``: ``insert`` and ``delete`` for added and removed ones,
        ``update_preimage`` and ``update_postimage`` for changed ones. Files are read anew on each call."""
        return self._read()

    @property
    def columns_added(self) -> tuple[ColumnChange, ...]:
        return tuple(change for change in self.columns if change.before is None)

    @property
    def columns_dropped(self) -> tuple[ColumnChange, ...]:
        return tuple(change for change in self.columns if change.after is None)

    @property
    def columns_changed(self) -> tuple[ColumnChange, ...]:
        return tuple(change for change in self.columns if change.before and change.after)

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, neither rows nor columns nor properties."""
        return not (self.columns or self.properties or self.rows_added or self.rows_removed or self.rows_changed)

    def __repr__(self) -> str:
        lines = [f"TableDiff of version {self.from_version} and version {self.to_version}"]
        for name, found in (("added", self.columns_added), ("dropped", self.columns_dropped)):
            lines += [f"  column {name}: {change}" for change in found]
        lines += [f"  column changed: {change}" for change in self.columns_changed]
        for key, (before, after) in self.properties.items():
            lines.append(f"  property {key}: {_set(before)} -> {_set(after)}")
        changed = "" if self.rows_changed is None else f", {self.rows_changed:,} changed"
        how = f" (by {', '.join(self.keys)})" if self.keys else " (whole rows)"
        lines.append(f"  rows: {self.rows_added:,} added, {self.rows_removed:,} removed{changed}{how}")
        return "\n".join(lines)


def compare(
    reader: Reader,
    before: Snapshot,
    after: Snapshot,
    on: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> TableDiff:
    """The difference of two versions, seen in the schema of the second; only files that differ are read.

    :param on: columns that tell rows apart; null matches null. Without them whole rows are compared, as a multiset.
    :param columns: compare and show only these (and the keys).
    :raises InvalidArgumentError: for unknown columns, or when keys repeat among the rows that differ.
    :raises InvalidTableError: when a column has a type in which the first version's values cannot be shown.
    :raises VersionNotFoundError: when files of the first version are gone.
    """
    check_readable(before.config, after.config, before.version)
    shown = _shown(after.config, on, columns)
    comparison = _comparison(after.config, shown, len(on or ()), _changed_files(before, after))
    labels = comparison.labels(reader)
    (removed, added), (changed, _) = labels.count(ALONE), labels.count(CHANGED)

    def read() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(comparison.view.schema, comparison.batches(reader, labels))

    names = tuple(f.name for f in shown[: len(on or ())])
    return TableDiff(
        from_version=before.version,
        to_version=after.version,
        columns=tuple(_column_changes(before.config, after.config)),
        properties=_property_changes(before.config.configuration, after.config.configuration),
        keys=names,
        rows_added=added,
        rows_removed=removed,
        rows_changed=changed if names else None,
        _read=read,
    )


# -- rows ------------------------------------------------------------------------------------------------------------


def _shown(config: TableConfig, on: Sequence[str] | None, columns: Sequence[str] | None) -> list[Field]:
    """The keys, then the other columns."""
    keys, others = (View.of(config, names).output.fields for names in (on or (), columns or config.schema.names))
    if own := [f.name for f in (*keys, *others) if config.schema.get(f.name) is None]:
        raise InvalidArgumentError(f"{own} are columns of the change feed, not of the table", columns=own)
    return [*keys, *(f for f in others if f not in keys)]


def _comparison(config: TableConfig, shown: list[Field], keys: int, files: Mapping[str, list[tuple]]) -> Comparison:
    in_order = [f.name for f in config.schema.fields if f.name in {g.name for g in shown}]
    view = View.of(config, [*in_order, CHANGE_TYPE])
    before, after = (Side(files[kind], {CHANGE_TYPE: kind}) for kind in (DELETE, INSERT))
    return Comparison(view, before, after, tuple(shown), tuple(shown[:keys]))


def _changed_files(before: Snapshot, after: Snapshot) -> dict[str, list[tuple]]:
    """The files that only one of the versions has, or has under another deletion vector, and their partition keys."""
    left, right = (snapshot.files.table(_FILE_COLUMNS) for snapshot in (before, after))
    left_keys, right_keys = file_keys(left), file_keys(right)
    gone, come = _without(left, left_keys, right_keys), _without(right, right_keys, left_keys)
    found: dict[str, list[tuple]] = {DELETE: [], INSERT: []}
    for changed in file_changes(gone, come):
        owner = before if changed.removed else after
        found[str(changed.change_type)].append((changed, partition_keys(owner.config)))
    return found


def _without(files: pa.Table, keys: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.Table:
    """The files whose key is not among the others'."""
    if not files.num_rows or not len(others):
        return files
    known = pc.is_in(keys, value_set=others.combine_chunks())
    return files.slice(0, 0) if pc.all(known).as_py() else files.filter(pc.invert(known))


# -- columns and properties ------------------------------------------------------------------------------------------


def _column_changes(before: TableConfig, after: TableConfig) -> Iterator[ColumnChange]:
    """By column mapping id where both versions map columns, else by name."""
    mapped = all(config.get(COLUMN_MAPPING_MODE) != "none" for config in (before, after))
    old, new = (
        {str(column.metadata.get(ID) if mapped else column.name): plain for column, plain in _columns(config)}
        for config in (before, after)
    )
    yield from (ColumnChange(None, column) for key, column in new.items() if key not in old)
    yield from (ColumnChange(column, None) for key, column in old.items() if key not in new)
    yield from (ColumnChange(old[key], new[key]) for key in new if key in old and old[key] != new[key])


def _columns(config: TableConfig) -> Iterator[tuple[Field, Field]]:
    """The columns, as they are and without what column mapping notes on them."""
    plain = map_fields(
        config.schema,
        lambda f, _: f.with_(
            metadata={k: v for k, v in f.metadata.items() if not k.startswith("delta.columnMapping.")}
        ),
    )
    return zip(config.schema.fields, plain.fields, strict=True)


def _property_changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, tuple[str | None, str | None]]:
    names = sorted({*before, *after})
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _column(column: Field | None) -> str:
    if column is None:
        return ""
    return f"{column.name} {type_name(column.type)}{'' if column.nullable else ' NOT NULL'}"


def _set(value: str | None) -> str:
    return "unset" if value is None else repr(value)
