"""The local engine: finds the rows that change on a few columns, with threads over files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from deltalite.engine import match
from deltalite.engine.spill import Budget, Source
from deltalite.model.arrow import to_numpy
from deltalite.model.change import TARGET, RowChanges
from deltalite.model.edits import Edits, FileEdits
from deltalite.model.tasks import ROW_INDEX, FileTask, ScanPlan
from deltalite.scan import plan as planning
from deltalite.scan.ahead import ordered
from deltalite.scan.paths import Resolve
from deltalite.scan.read import AHEAD_BYTES, read_task
from deltalite.storage import Store

T = TypeVar("T")
MAX_THREADS = 8


@dataclass(frozen=True)
class ArrowEngine:
    """pyarrow and numpy on this machine.

    :param resolve: finds the store of a file that the log names.
    :param budget: the memory that whatever holds rows draws on.
    """

    store: Store
    resolve: Resolve
    budget: Budget

    def source(self, reader: pa.RecordBatchReader) -> Source:
        """Rows of a stream, kept to be read as often as needed."""
        return Source.of(reader, self.budget)

    def find(self, changes: RowChanges) -> Edits:
        """Which rows change. Nothing is written.

        :raises MultipleMatchesError: when several rows of the source would change one row of the table.
        """
        if changes.source is None:
            return Edits(tuple(self._selected(changes)))
        assert changes.match is not None
        return match.find(self._targets(changes), changes.source, changes.match, changes.clauses, self.budget)

    def read(
        self, plan: ScanPlan, task: FileTask, only: Any = None, *, use_threads: bool = False, encoded: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one file, or those at some positions of it. See :func:`deltalite.scan.read.read_task`."""
        return read_task(
            self.store, plan, task, resolve=self.resolve, only=only, use_threads=use_threads, encoded=encoded
        )

    def over_files(
        self, sources: Iterator[Callable[[], Iterator[T]]], count: int, size_of: Callable[[T], int]
    ) -> Iterator[T]:
        """Items made per file by threads, in the order of the files."""
        ahead = min(AHEAD_BYTES, self.budget.limit // 16)
        return ordered(sources, min(MAX_THREADS, pa.cpu_count(), max(1, count)), size_of, ahead)

    def _selected(self, changes: RowChanges) -> Iterator[FileEdits]:
        """The rows that satisfy the plan's condition, each for the only clause."""
        plan = planning.reading(changes.plan, changes.config, (), (ROW_INDEX,), changes.plan.predicate)
        covered = np.zeros(plan.files.num_rows, bool) if changes.covered is None else changes.covered
        shared = plan.shared()

        def one(file: int, task: FileTask) -> Iterator[FileEdits]:
            if covered[file]:
                yield FileEdits(file, None, np.zeros(1, np.int8))
                return
            found = [to_numpy(batch.column(0)) for batch in self.read(shared, task)]
            if found:
                positions = np.concatenate(found)
                yield FileEdits(file, positions, np.zeros(len(positions), np.int8))

        sources = (partial(one, file, task) for file, task in enumerate(plan.iter_tasks()))
        return self.over_files(sources, plan.files.num_rows, lambda e: 0 if e.positions is None else e.positions.nbytes)

    def _targets(self, changes: RowChanges) -> Iterator[tuple[int, pa.RecordBatch]]:
        """What the match needs of the table, by number of the file."""
        assert changes.match is not None
        names = match.target_columns(changes.match, changes.clauses)
        plan = planning.reading(changes.plan, changes.config, names, (ROW_INDEX,), changes.plan.predicate)
        renamed = [*(TARGET + name for name in names), ROW_INDEX]
        shared = plan.shared()

        def one(file: int, task: FileTask) -> Iterator[tuple[int, pa.RecordBatch]]:
            for batch in self.read(shared, task):
                yield file, batch.rename_columns(renamed)

        sources = (partial(one, file, task) for file, task in enumerate(plan.iter_tasks()))
        return self.over_files(sources, plan.files.num_rows, lambda found: found[1].nbytes)
