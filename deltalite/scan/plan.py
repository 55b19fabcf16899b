"""From a snapshot and a request to a ScanPlan. Pure: nothing is read but the log that the snapshot stands on."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.features import partition_keys, physical_schema
from deltalite.features.reading import by_field_id, virtual_columns
from deltalite.model.config import TableConfig
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import (
    FILE_COLUMNS,
    FILE_NAME,
    NUM_RECORDS,
    PLAN_FILES,
    ROW_INDEX,
    ScanPlan,
    ScanReport,
    VirtualColumn,
)
from deltalite.model.types import Field, PrimitiveType, StructType

if TYPE_CHECKING:
    from deltalite.model.expr import BoundExpr

LONG = PrimitiveType("long")
_BUILT_IN = {
    FILE_NAME: VirtualColumn(PrimitiveType("string"), constant="path"),
    ROW_INDEX: VirtualColumn(LONG, add_position=True),
}


def plan(
    snapshot: Snapshot,
    *,
    predicate: BoundExpr | None = None,
    columns: Sequence[str] | None = None,
    virtual: Sequence[str] = (),
    limit: int | None = None,
) -> ScanPlan:
    """What to read for the rows of a snapshot that satisfy a predicate.

    :param predicate: bound against the table's schema (and virtual columns); ``None`` for all rows.
    :param columns: names of the result's columns in order, ignoring case; ``None`` for all of the table.
    :param virtual: virtual columns to append: ``_file`` (the path as the log spells it), ``_row_index`` (position in
        the file, from 0) and those that the table's features add.
    :param limit: number of rows to stop after.
    :raises InvalidArgumentError: a column that does not exist, or one asked for twice.
    """
    request = _Request.of(snapshot.config, columns, virtual, predicate)
    files = snapshot.files.table(FILE_COLUMNS)
    report = ScanReport(files.num_rows, files.num_rows)
    files = files.append_column(NUM_RECORDS, pa.nulls(files.num_rows, pa.int64()))
    config = snapshot.config
    return ScanPlan(
        version=snapshot.version,
        output=request.output,
        logical=request.logical,
        physical=request.physical,
        partition_columns=config.partition_columns,
        partition_keys=partition_keys(config),
        partition_types=tuple(f.type for f in config.partition_fields),
        virtual=request.virtual,
        by_field_id=by_field_id(config),
        predicate=predicate,
        limit=limit,
        files=files.select(PLAN_FILES.names),
        report=report,
    )


@dataclass(frozen=True)
class _Request:
    """The columns that a scan needs, by kind."""

    output: StructType
    logical: StructType
    physical: StructType
    virtual: dict[str, VirtualColumn]

    @classmethod
    def of(
        cls, config: TableConfig, columns: Sequence[str] | None, virtual: Sequence[str], predicate: BoundExpr | None
    ) -> _Request:
        available = _available_virtual(config)
        names = config.schema.names if columns is None else list(columns)
        output = [_output_field(config, available, name) for name in (*names, *virtual)]
        chosen = [f.name for f in output]
        if twice := sorted({name for name in chosen if chosen.count(name) > 1}):
            raise InvalidArgumentError(f"columns {twice} are asked for twice", columns=twice)
        paths = [(name,) for name in chosen] + sorted(predicate.columns if predicate else ())
        stored = set(config.data_schema.names)
        pairs = [
            (_narrowed(logical, physical, paths))
            for logical, physical in zip(config.schema.fields, physical_schema(config).fields, strict=True)
            if logical.name in stored and any(path[0] == logical.name for path in paths)
        ]
        used = {path[0] for path in paths} - set(config.schema.names)
        return cls(
            StructType(output),
            StructType([logical for logical, _ in pairs]),
            StructType([physical for _, physical in pairs]),
            {name: available[name] for name in sorted(used)},
        )


def _available_virtual(config: TableConfig) -> dict[str, VirtualColumn]:
    own = set(config.schema.names)
    return {n: c for n, c in {**_BUILT_IN, **virtual_columns(config)}.items() if n not in own}


def _output_field(config: TableConfig, available: dict[str, VirtualColumn], name: str) -> Field:
    if (found := config.schema.get(name)) is not None:
        return found
    if name in available:
        return Field(name, available[name].type)
    near = difflib.get_close_matches(name, [*config.schema.names, *available], 1)
    raise InvalidArgumentError(
        f"there is no column {name!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(config.schema.names)}",
        column=name,
    )


def _narrowed(logical: Field, physical: Field, paths: Sequence[tuple[str, ...]]) -> tuple[Field, Field]:
    """A field with only those struct members that some path leads to."""
    mine = [path[1:] for path in paths if path[0] == logical.name]
    logical_type, physical_type = logical.type, physical.type
    if () in mine or not (isinstance(logical_type, StructType) and isinstance(physical_type, StructType)):
        return logical, physical
    pairs = [
        _narrowed(member, stored, mine)
        for member, stored in zip(logical_type.fields, physical_type.fields, strict=True)
        if any(path[0] == member.name for path in mine)
    ]
    return (
        logical.with_(type=StructType([member for member, _ in pairs])),
        physical.with_(type=StructType([stored for _, stored in pairs])),
    )
