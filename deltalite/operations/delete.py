"""DELETE: rows leave the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.expr.sql import to_sql
from deltalite.features.base import WriteStep
from deltalite.model.actions import FileKey
from deltalite.model.change import Clause, RowChanges
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.files import deletion_vector
from deltalite.model.pending import ReadSet
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import ScanPlan
from deltalite.model.write_spec import WriteSpec
from deltalite.scan import plan as planning
from deltalite.scan.matching import MATCH_COLUMNS, rows_matched
from deltalite.write.options import WriterProperties
from deltalite.write.spec import spec_of


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """Which rows leave.

    :param predicate: any form that a scan takes; ``None`` for all rows.
    :param time_zone: in which its timestamps without a zone are meant.
    """

    predicate: Any = None
    writer_properties: WriterProperties | None = None
    time_zone: str = "UTC"


def plan(request: DeleteRequest, base: Snapshot, txn_id: str) -> RowChanges:
    """
    :raises ExpressionError: for a predicate that does not fit the table.
    """
    predicate, parameters = bound_predicate(base.config, request.predicate, request.time_zone)
    files = planning.plan(base, predicate=predicate, columns=())
    return RowChanges(
        config=base.config,
        plan=files,
        clauses=(Clause("not_matched_by_source", "delete"),),
        spec=row_spec(base.config, txn_id, request.writer_properties),
        operation="DELETE",
        parameters=parameters,
        covered=covered_files(base, files, predicate),
        reads=reads_of(files, predicate),
    )


def bound_predicate(config: TableConfig, predicate: Any, time_zone: str) -> tuple[BoundExpr | None, Mapping[str, Any]]:
    """A condition on rows, and how ``commitInfo`` shows it."""
    if predicate is None:
        return None, {"predicate": "[]"}
    bound = bind_predicate(to_expr(predicate, config.schema), config.schema, time_zone=time_zone)
    return bound, {"predicate": [to_sql(bound.expr)]}


def row_spec(
    config: TableConfig,
    txn_id: str,
    writer_properties: WriterProperties | None = None,
    steps: tuple[WriteStep, ...] | None = None,
) -> WriteSpec:
    """How rows that change are written: as new ones, with the columns that follow a row from file to file."""
    return spec_of(
        config,
        steps=features.write_steps(config) if steps is None else steps,
        txn_id=txn_id,
        writer_properties=writer_properties,
        carried=features.carried(config, "copied"),
    )


def covered_files(base: Snapshot, plan: ScanPlan, predicate: BoundExpr | None) -> np.ndarray:
    """Per file of a plan, whether all its rows are known to satisfy a condition."""
    if predicate is None or plan.predicate is None:
        return np.ones(plan.files.num_rows, bool)
    files = base.files.table(MATCH_COLUMNS)
    chosen = files.filter(pc.is_in(files.column("path"), value_set=_flat(plan.files.column("path"))))
    _, every = rows_matched(base.config, chosen, predicate)
    return every


def reads_of(plan: ScanPlan, predicate: BoundExpr | None) -> ReadSet:
    """What looking at a plan's files means for conflicts: what it found, and what it would have found.

    :param predicate: a condition that every row looked at satisfies, over the table's columns; ``None``: all rows.
    """
    paths = plan.files.column("path").to_pylist()
    vectors = plan.files.column("deletionVector").to_pylist()
    ids = [found.unique_id if (found := deletion_vector(v)) else None for v in vectors]
    keys = frozenset(map(FileKey, paths, ids))
    return ReadSet(() if predicate is None else (predicate,), keys, whole_table=predicate is None)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
