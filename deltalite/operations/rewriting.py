"""Files written again with the rows that they still have: no row changes, and no reader of changes takes notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pyarrow as pa

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.model.actions import Action
from deltalite.model.change import Rewrite
from deltalite.model.files import remove_of
from deltalite.model.paths import relative_path
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import FileTask, ScanPlan
from deltalite.operations.file_changes import adds_of
from deltalite.operations.row_changes import Written
from deltalite.scan import plan as planning
from deltalite.storage.base import Store
from deltalite.write.files import FileWriter


def rewrite_files(store: Store, engine: ArrowEngine, base: Snapshot, change: Rewrite, now_ms: int) -> Written:
    """Write the live rows of the plan's files into new ones, row ids and commit versions kept.

    When anything fails, what was written is deleted again.
    """
    carried = features.carried(change.config, "copied")
    plan = planning.reading(change.plan, change.config, change.config.schema.names, carried)
    writer = FileWriter(store, change.spec)
    try:
        for batch in engine.over_files(_sources(engine, plan), plan.files.num_rows, lambda b: b.nbytes):
            writer.add(batch, copied=True)
        added = writer.finish()
    except BaseException:
        writer.abort()
        raise
    gone = adds_of(base, plan.files.column("path")) if plan.files.num_rows else []
    actions: list[Action] = [remove_of(add, now_ms, data_change=False) for add in gone]
    actions += [replace(add, data_change=False) for add in added]
    metrics = {
        "numAddedFiles": len(added),
        "numRemovedFiles": len(gone),
        "numAddedBytes": sum(add.size for add in added),
        "numRemovedBytes": sum(add.size for add in gone),
        "numDeletionVectorsRemoved": sum(add.deletion_vector is not None for add in gone),
    }
    return Written(tuple(actions), metrics, tuple(relative_path(add.path) for add in added))


def _sources(engine: ArrowEngine, plan: ScanPlan) -> Iterator[partial[Iterator[pa.RecordBatch]]]:
    shared = plan.shared()

    def one(task: FileTask) -> Iterator[pa.RecordBatch]:
        return engine.read(shared, task)

    return (partial(one, task) for task in plan.iter_tasks())
