"""TableOptimizer: what ``DeltaTable.optimize`` offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deltalite.expr.bind import bind_predicate
from deltalite.expr.convert import to_expr
from deltalite.expr.sql import to_sql
from deltalite.model.arrow import mask_array, to_numpy
from deltalite.model.change import Rewrite
from deltalite.model.pending import ReadSet
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.delete import reads_of, row_spec
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.scan import plan as planning

Run = Callable[[Callable[[Snapshot, str], Rewrite], Committing], CommitResult]


class TableOptimizer:
    """The ``optimize`` of a handle."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def purge(
        self,
        predicate: Any = None,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Rewrite the files with deletion vectors, so that deleted rows are physically gone.

        No row changes; row ids stay. The old files remain until VACUUM removes them.

        :param predicate: only files that may hold a matching row.
        :return: with ``skipped`` saying so when no file has a deletion vector.
        """
        committing = Committing.of(commit_properties, post_commithook_properties)
        return self._run(lambda base, txn_id: plan_purge(base, txn_id, predicate), committing)


def plan_purge(base: Snapshot, txn_id: str, predicate: Any = None) -> Rewrite:
    """The files with deletion vectors, of those that may hold a matching row."""
    config = base.config
    marked = to_numpy(base.files.table(["deletionVector"]).column("deletionVector").is_valid())
    parameters: dict[str, Any] = {"applyPurge": True, "predicate": []}
    if predicate is not None:
        bound = bind_predicate(to_expr(predicate, config.schema), config.schema)
        marked = marked & to_numpy(planning.kept_files(base, bound))
        parameters["predicate"] = [to_sql(bound.expr)]
    plan = planning.plan(base, columns=(), keep=mask_array(np.ascontiguousarray(marked)))
    reads = ReadSet(files=reads_of(plan, None).files)
    return Rewrite(config, plan, row_spec(config, txn_id), "REORG", parameters, reads)
