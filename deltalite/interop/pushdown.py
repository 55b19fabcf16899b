"""What all exits share: filters of other engines in our terms, schemas, readings that travel to another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.exceptions import DeltaError
from deltalite.expr.bind import bind_predicate, conjunction, conjuncts
from deltalite.expr.convert import to_expr
from deltalite.log import read
from deltalite.model.expr import BoundExpr, columns_of
from deltalite.model.files import EmptySource, FileSet
from deltalite.model.types import StructType

if TYPE_CHECKING:
    from deltalite.operations.reading import Reading


def translated(predicate: Any, schema: StructType) -> BoundExpr | None:
    """A predicate of pyarrow or polars in our terms, true for exactly the same rows.

    :returns: ``None`` where it has no exact counterpart: its own engine must judge the rows then.
    """
    try:
        return None if predicate is None else bind_predicate(to_expr(predicate, schema), schema)
    except DeltaError:
        return None


def all_of(*predicates: BoundExpr | None) -> BoundExpr | None:
    """The condition that holds where all those given hold."""
    parts = [part for predicate in predicates if predicate is not None for part in conjuncts(predicate)]
    return conjunction(parts, parts[0].time_zone) if parts else None


def columns_read(expression: Any, schema: StructType) -> set[str]:
    """The columns that another engine's expression may read: all of them where it cannot be told."""
    try:
        return {path[0] for path in columns_of(to_expr(expression, schema))}
    except DeltaError:
        return set(schema.names)


def schema_of(reading: Reading, columns: Sequence[str] | None) -> pa.Schema:
    """What a scan of these columns gives, told without the list of files.

    :raises InvalidArgumentError: for an unknown column.
    """
    nothing = FileSet(lambda: (EmptySource(), ()))
    return replace(reading, snapshot=replace(reading.snapshot, files=nothing)).plan(columns).schema


def reading_state(reading: Reading) -> tuple[Any, ...]:
    """What :func:`reopened` needs: picklable, without secrets."""
    return type(reading), reading.store, reading.snapshot.version, reading.external


def reopened(kind: type[Reading], store: Any, version: int, external: tuple[str, ...]) -> Reading:
    """The same reading in another process: the snapshot is read again."""
    return kind(store, read.read_snapshot(store, version), external)
