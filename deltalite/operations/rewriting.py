"""Files written again with the rows that they still have: no row changes, and no reader of changes takes notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.engine import curve
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.sorting import sorted_rows
from deltalite.engine.temporary import pieces
from deltalite.expr.vectors import from_numpy
from deltalite.model.actions import AddFile
from deltalite.model.arrow import concat_batches, to_numpy
from deltalite.model.change import FileGroup, Rewrite
from deltalite.model.files import remove_of
from deltalite.model.paths import relative_path
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import FileTask, ScanPlan
from deltalite.operations.file_changes import adds_of
from deltalite.operations.row_changes import Written, only_stored
from deltalite.scan import plan as planning
from deltalite.scan.ahead import ordered
from deltalite.storage.base import Store
from deltalite.write.files import FileWriter

MAX_THREADS = 8
AHEAD_BYTES = 32 << 20
SMALLEST_PIECE = 1 << 13
"""Bytes that are written at a time at least; a file ends where a piece does."""
_BYTES_PER_ROW = 16


def rewrite_files(store: Store, engine: ArrowEngine, base: Snapshot, change: Rewrite, now_ms: int) -> Written:
    """Write the live rows of the plan's files into new ones, row ids and commit versions kept.

    When anything fails, what was written is deleted again.
    """
    if not change.groups and change.metrics:
        return Written((), dict(change.metrics), ())
    work = _Rewriting(store, engine, change)
    try:
        done, added = work.run()
    except BaseException:
        work.delete()
        raise
    gone = adds_of(base, done.column("path")) if done.num_rows else []
    actions = [remove_of(add, now_ms, data_change=False) for add in gone]
    metrics = rewrite_metrics(change, work.groups_done, work.batches, gone, added)
    return Written((*actions, *added), metrics, tuple(relative_path(add.path) for add in added))


class _Rewriting:
    """The groups of one change, one after the other."""

    def __init__(self, store: Store, engine: ArrowEngine, change: Rewrite) -> None:
        self._store = store
        self._engine = engine
        self._change = change
        self._sizes = _numbers(change.plan.files.column("size"))
        self._total = int(sum(self._sizes[group.files].sum() for group in change.groups))
        self._bytes_done = 0
        self._added: list[AddFile] = []
        self.groups_done = 0
        self.batches = 0

    def run(self) -> tuple[pa.Table, list[AddFile]]:
        """The files that were read, of the plan, and those that were written."""
        change, started = self._change, time.monotonic()
        for group in change.groups:
            late = change.seconds is not None and time.monotonic() - started >= change.seconds
            if self.groups_done and late:
                break
            added = self._write(group)
            tags, provider = group.tags or None, group.clustering_provider
            self._added += [replace(a, data_change=False, tags=tags, clustering_provider=provider) for a in added]
            self.groups_done += 1
        done = [group.files for group in change.groups[: self.groups_done]]
        rows = np.sort(np.concatenate(done)) if done else np.zeros(0, np.int64)
        return change.plan.files.take(from_numpy(rows, pa.int64())), self._added

    def delete(self) -> None:
        """Delete the files of the groups that were finished."""
        if self._added:
            self._store.delete_many([relative_path(add.path) for add in self._added])

    def _write(self, group: FileGroup) -> list[AddFile]:
        writer = FileWriter(self._store, self._change.spec)
        try:
            for batch in self._rows(group):
                self.batches += 1
                for piece in pieces(batch, max(SMALLEST_PIECE, self._change.spec.target_file_size // 8)):
                    writer.add(piece, copied=True)
            return writer.finish()
        except BaseException:
            writer.abort()
            raise

    def _rows(self, group: FileGroup) -> Iterator[pa.RecordBatch]:
        change = self._change
        plan = replace(change.plan, files=change.plan.files.take(from_numpy(group.files, pa.int64())))
        carried = features.carried(change.config, "copied")
        names = change.config.schema.names
        whole = self._read(planning.reading(plan, change.config, names, carried), self._report, encoded=True)
        return self._in_order(plan, whole) if change.order else whole

    def _in_order(self, plan: ScanPlan, whole: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Along a curve through a sample of the rows."""
        order = self._change.order
        rows = _row_count(plan)
        sample = self._sample(plan, rows)
        if sample is None:
            return iter(())
        through = curve.Curve([_column(sample, path) for path in order])

        def places(batch: pa.RecordBatch) -> np.ndarray:
            return through.places([_column(batch, path) for path in order])

        return sorted_rows(whole, places, places(sample), rows, self._engine.budget)

    def _sample(self, plan: ScanPlan, rows: int) -> pa.RecordBatch | None:
        """Rows drawn at random, with the columns of the order alone; ``None`` where there are no rows."""
        names = tuple(dict.fromkeys(path[0] for path in self._change.order))
        narrow = planning.reading(plan, self._change.config, names)
        share, chance = min(1.0, curve.SAMPLE_ROWS / max(1, rows)), np.random.default_rng(0)
        found = []
        for batch in self._read(narrow, lambda _: None):
            if share < 1:
                drawn = np.sort(chance.permutation(batch.num_rows)[: max(1, round(share * batch.num_rows))])
                batch = batch.take(from_numpy(drawn, pa.int64()))
            found.append(batch)
        return concat_batches(found) if found else None

    def _read(self, plan: ScanPlan, done: Callable[[int], None], *, encoded: bool = False) -> Iterator[pa.RecordBatch]:
        shared, count = plan.shared(), plan.files.num_rows
        staged = only_stored(shared)  # a file that a transaction has only just written has no ids yet
        threads = min(self._change.threads or MAX_THREADS, pa.cpu_count(), max(1, count))
        ahead = min(AHEAD_BYTES, self._engine.budget.limit // 16) // threads

        def one(task: FileTask) -> Iterator[pa.RecordBatch]:
            yield from self._engine.read(shared if task.base_row_id is not None else staged, task, encoded=encoded)
            done(task.size or 0)

        return ordered((partial(one, task) for task in plan.iter_tasks()), threads, lambda b: b.nbytes, ahead)

    def _report(self, size: int) -> None:
        self._bytes_done += size
        if self._change.progress is not None:
            self._change.progress(self._bytes_done, self._total)


def rewrite_metrics(
    change: Rewrite, groups: int, batches: int, gone: list[AddFile], added: list[AddFile]
) -> dict[str, Any]:
    """Counts under the names of Delta Spark and of deltalake."""
    return {
        "numAddedFiles": len(added),
        "numRemovedFiles": len(gone),
        "numAddedBytes": sum(add.size for add in added),
        "numRemovedBytes": sum(add.size for add in gone),
        "numDeletionVectorsRemoved": sum(add.deletion_vector is not None for add in gone),
        "numFilesAdded": len(added),
        "numFilesRemoved": len(gone),
        "filesAdded": sizes_summary([add.size for add in added]),
        "filesRemoved": sizes_summary([add.size for add in gone]),
        "partitionsOptimized": groups,
        "numBatches": batches,
        "totalConsideredFiles": change.considered,
        "totalFilesSkipped": change.considered - len(gone),
        "preserveInsertionOrder": not change.order,
    }


def sizes_summary(sizes: list[int]) -> dict[str, Any]:
    return {
        "min": min(sizes, default=0),
        "max": max(sizes, default=0),
        "avg": sum(sizes) / len(sizes) if sizes else 0.0,
        "totalFiles": len(sizes),
        "totalSize": sum(sizes),
    }


def _row_count(plan: ScanPlan) -> int:
    """Rows of a plan's files, guessed from their sizes where the log does not tell."""
    counts, sizes = plan.files.column("numRecords"), _numbers(plan.files.column("size"))
    known = _numbers(pc.fill_null(counts, _NONE))
    return int(np.where(known >= 0, known, sizes // _BYTES_PER_ROW).sum())


_NONE = from_numpy(np.array([-1]), pa.int64())[0]


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    return to_numpy(values).astype(np.int64)


def _column(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    """The values at a path of struct fields, null where a struct around them is."""
    found = batch.column(path[0])
    for name in path[1:]:
        found = pc.struct_field(found, name)
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found
