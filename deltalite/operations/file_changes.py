"""What becomes of a file in which rows change: it goes, its rows are marked, or it is rewritten."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.model.actions import AddFile
from deltalite.model.arrow import array
from deltalite.model.change import RowChanges
from deltalite.model.edits import Edits, FileEdits
from deltalite.model.snapshot import Snapshot
from deltalite.model.tasks import FileTask
from deltalite.scan.matching import row_counts
from deltalite.scan.parquet import DataFile

Way = Literal["remove", "mark", "rewrite"]


@dataclass(frozen=True)
class FileChange:
    """What becomes of one file.

    :param num_records: rows of the file, gone ones included.
    :param gone_before: rows that its deletion vector marks already.
    """

    edits: FileEdits
    task: FileTask
    add: AddFile
    way: Way
    num_records: int
    gone_before: int

    @property
    def changed(self) -> int:
        """Rows that change or leave."""
        positions = self.edits.positions
        return self.num_records - self.gone_before if positions is None else len(positions)

    @property
    def copied(self) -> int:
        """Rows that are written again as they are."""
        return self.num_records - self.gone_before - self.changed if self.way == "rewrite" else 0


def decide(engine: ArrowEngine, base: Snapshot, changes: RowChanges, edits: Edits) -> list[FileChange]:
    """The way each file with edits goes. Nothing is written."""
    numbers = [e.file for e in edits.files]
    chosen = changes.plan.files.take(array(numbers, pa.int64()))
    adds = {add.path: add for add in adds_of(base, chosen.column("path"))}
    remover = features.remove_rows(changes.config)
    shared = replace(changes.plan, files=chosen)
    found = []
    for e, task in zip(edits.files, shared.iter_tasks(), strict=True):
        add = adds[task.path]
        rows = _num_records(engine, task, add)
        gone = task.deletion_vector.cardinality if task.deletion_vector else 0
        leaving = rows - gone if e.positions is None else len(e.positions)
        way: Way = "rewrite"
        if gone + leaving >= rows:
            way = "remove"
        elif remover is not None and remover.prefers_vector(add.size, rows, gone, gone + leaving):
            way = "mark"
        found.append(FileChange(e, task, add, way, rows, gone))
    return found


def adds_of(base: Snapshot, paths: pa.ChunkedArray) -> list[AddFile]:
    """The live files of some paths."""
    live = base.files.table(["path"]).column("path")
    return base.files.add_files(pc.is_in(live, value_set=paths.combine_chunks().cast(live.type)))


def _num_records(engine: ArrowEngine, task: FileTask, add: AddFile) -> int:
    """Rows of a file: from its statistics, else from its footer (protocol trap 37)."""
    known = row_counts(pa.table({"stats": array([add.stats], pa.string()), "deletionVector": _NO_VECTOR}))
    if known[0] >= 0:
        return int(known[0])
    store, path = engine.resolve(task.path)
    with DataFile(store, path, task.size, False) as file:
        return file.num_rows


_NO_VECTOR = pa.nulls(1, pa.struct([pa.field("cardinality", pa.int64())]))
