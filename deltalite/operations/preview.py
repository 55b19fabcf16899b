"""What a row-changing operation would do."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from deltalite.engine.arrow import ArrowEngine
from deltalite.expr.bind import conjunction
from deltalite.model.arrow import array
from deltalite.model.change import RowChanges
from deltalite.model.result import ChangePreview
from deltalite.model.snapshot import Snapshot
from deltalite.operations.file_changes import FileChange, decide
from deltalite.operations.row_metrics import row_metrics
from deltalite.scan import plan as planning

PER_SOURCE_ROW = 40
"""Bytes that matching holds for each row of the source: its key, its place, whether it matched."""

VECTOR_BYTES_PER_ROW = 2


def preview(base: Snapshot, change: RowChanges, engine: ArrowEngine) -> ChangePreview:
    """Finds the rows and decides about their files; writes nothing.

    :raises MultipleMatchesError: as the operation itself would.
    """
    try:
        edits = engine.find(change)
        files = decide(engine, base, change, edits)
        metrics = row_metrics(change, edits, files, (), ())
        inserted = sum(len(rows) for _, rows in edits.inserted)
        held = change.source.nbytes + PER_SOURCE_ROW * change.source.num_rows if change.source is not None else 0
    finally:
        if change.source is not None:
            change.source.close()
    written = sum(_bytes_written(f, change) for f in files)
    rows = sum(f.num_records for f in files)
    if inserted:
        sample = sum(f.add.size for f in files) / rows if rows else PER_SOURCE_ROW
        written += int(inserted * sample)
    largest = max((f.add.size for f in files if f.way == "rewrite"), default=0)
    memory = min(held, engine.budget.limit) + min(4 * largest, 128 << 20) + (48 << 20)
    known = {name: value for name, value in metrics.items() if "Bytes" not in name and "Added" not in name}
    return ChangePreview(change.operation, base.version, known, _files(base, change, files), written, int(memory))


def _bytes_written(file: FileChange, change: RowChanges) -> int:
    share = file.add.size / max(1, file.num_records)
    updating = np.array([clause.action == "update" for clause in change.clauses])
    updated = 0 if file.edits.positions is None else int(updating[file.edits.clauses].sum())
    vector = VECTOR_BYTES_PER_ROW * (file.changed + file.gone_before) if file.way == "mark" else 0
    return vector + int(share * (file.copied + updated))


def _files(base: Snapshot, change: RowChanges, files: list[FileChange]) -> pa.Table:
    predicates = list(change.reads.predicates)
    found = planning.explain(base, conjunction(predicates) if predicates else None)
    by_path = {f.add.path: f for f in files}
    touched = [by_path.get(path) for path in found.column("path").to_pylist()]
    return (
        found.append_column("way", array([f.way if f else "keep" for f in touched], pa.string()))
        .append_column("rows_changed", array([f.changed if f else 0 for f in touched], pa.int64()))
        .append_column("rows_copied", array([f.copied if f else 0 for f in touched], pa.int64()))
    )
