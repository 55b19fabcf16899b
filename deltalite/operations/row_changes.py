"""Rows that change: from the edits that an engine found to files, deletion vectors and change files.

Per file the cheapest way is taken: a file without a live row left goes, rows of others are marked where the table
allows it, and what remains is rewritten. Only rows that change are read, and of them only the columns that matter.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import pyarrow as pa

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.spill import Source
from deltalite.expr.arrow import evaluate
from deltalite.features.change_data_feed import (
    CHANGE_DIR,
    CHANGE_TYPE,
    DELETE,
    INSERT,
    UPDATE_POSTIMAGE,
    UPDATE_PREIMAGE,
    records_changes,
)
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.removal import marked
from deltalite.model.actions import Action, AddCDCFile, AddFile
from deltalite.model.arrow import decoded, mask_array, scalar, to_numpy
from deltalite.model.change import SOURCE, TARGET, Clause, RowChanges
from deltalite.model.edits import Edits
from deltalite.model.files import remove_of
from deltalite.model.paths import relative_path
from deltalite.model.tasks import ROW_INDEX, ScanPlan
from deltalite.model.types import Field, PrimitiveType, StructType
from deltalite.model.write_spec import WriteSpec
from deltalite.operations.file_changes import FileChange
from deltalite.operations.gathering import Gathered
from deltalite.operations.row_metrics import row_metrics
from deltalite.scan import plan as planning
from deltalite.scan.rows import marked_rows
from deltalite.storage.base import Store
from deltalite.write.files import FileWriter

NEW_BYTES = 16 << 20
"""Rows of the source that are taken at once, about; more at a time are taken in fewer steps through all its parts."""
LEAST_ROWS, MOST_ROWS = 1 << 10, 1 << 17

logger = logging.getLogger("deltalite.operations")


@dataclass(frozen=True)
class Written:
    """Files that no reader sees yet, and the actions that will show them.

    :param paths: what was written, relative to the table.
    :param numbers: the last number that each numbered column got.
    """

    actions: tuple[Action, ...]
    metrics: dict[str, int]
    paths: tuple[str, ...]
    numbers: Mapping[str, int] = field(default_factory=dict)


# -- doing it ----------------------------------------------------------------------------------------------------------


def write_changes(
    store: Store, engine: ArrowEngine, changes: RowChanges, edits: Edits, files: Sequence[FileChange], now_ms: int
) -> Written:
    """Write new rows, survivors, deletion vectors and change files.

    When anything fails, what was written is deleted again.

    :raises ConstraintViolation: when new rows break a rule of the table.
    :raises SchemaMismatchError: when a new value does not fit its column.
    """
    work = _Work(store, engine, changes, edits, files)
    try:
        return work.run(now_ms)
    except BaseException:
        work.abort()
        raise


class _Work:
    """The writers of one operation and what they are fed."""

    def __init__(
        self, store: Store, engine: ArrowEngine, changes: RowChanges, edits: Edits, files: Sequence[FileChange]
    ) -> None:
        self._store = store
        self._engine = engine
        self._changes = changes
        self._edits = edits
        self._files = files
        self._rewrites = any(f.way == "rewrite" for f in files)
        self._new = FileWriter(store, changes.spec)
        self._hidden = features.carried(changes.config, "copied")
        self._feed = FileWriter(store, feed_spec(changes.spec, self._hidden)) if self._tells_changes else None
        self._vector_paths: list[str] = []
        self._rows_at_once = _rows_at_once(changes.source)
        self._gathered = Gathered(self._rows_at_once)

    @cached_property
    def _tells_changes(self) -> bool:
        """Adds, removes and vectors say which rows came and went, unless rows were updated or copied."""
        if not records_changes(self._changes.config):
            return False
        updating = np.array([c.action == "update" for c in self._changes.clauses])
        return self._rewrites or any(updating[f.edits.clauses].any() for f in self._files)

    def run(self, now_ms: int) -> Written:
        plans = _Plans.of(self._changes, self._feed is not None)
        sources = (partial(self._read, plans, f) for f in self._files)
        for change, part in self._engine.over_files(sources, len(self._files), lambda p: p[1].nbytes):
            self._take(plans, change, part)
        for changed in self._gathered.rest():
            self._change(*changed)
        for number, rows in self._edits.inserted:
            self._insert(number, rows)
        appended = self._append()
        vectors = self._write_vectors()
        added = self._new.finish()
        cdc = [_change_file(f) for f in self._feed.finish()] if self._feed else []
        actions: list[Action] = [remove_of(f.add, now_ms) for f in self._files]
        actions += [*vectors, *added, *cdc]
        paths = [relative_path(a.path) for a in (*added, *cdc)] + self._vector_paths
        metrics = row_metrics(self._changes, self._edits, self._files, added, cdc)
        if self._changes.appended is not None:
            metrics |= {"numFiles": len(added), "numOutputRows": appended, "numOutputBytes": sum(a.size for a in added)}
        return Written(tuple(actions), metrics, tuple(paths), self._new.rules.sequences)

    def abort(self) -> None:
        self._new.abort()
        if self._feed is not None:
            self._feed.abort()
        try:
            if self._vector_paths:
                self._store.delete_many(self._vector_paths)
        except Exception as error:  # the error that led here counts
            logger.warning("deletion vectors of a failed operation are left for vacuum: %s", error)

    # -- rows of files ---------------------------------------------------------------------------------------------

    def _read(self, plans: _Plans, change: FileChange) -> Iterator[tuple[FileChange, pa.RecordBatch]]:
        """The rows that are needed of a file, with their positions."""
        whole, changed = plans.of_file(change)
        if change.way == "rewrite":
            for batch in self._engine.read(whole, change.task, encoded=True):
                yield change, batch
            return
        wanted = self._wanted(plans, change)
        if wanted is None or len(wanted):
            only = None if wanted is None else RowPositions.of(wanted)
            if changed.output.names == [ROW_INDEX] and wanted is not None:
                for start in range(0, len(wanted), self._rows_at_once):
                    part = _int64(wanted[start : start + self._rows_at_once])
                    yield change, pa.RecordBatch.from_arrays([part], names=[ROW_INDEX])
                return
            for batch in self._engine.read(changed, change.task, only):
                yield change, batch

    def _wanted(self, plans: _Plans, change: FileChange) -> np.ndarray | None:
        """The positions to read in a file that is not rewritten; ``None`` for all live ones."""
        e = change.edits
        if self._feed is not None:
            return e.positions
        if e.positions is None:
            return np.zeros(0, np.int64)
        updating = np.array([c.action == "update" for c in self._changes.clauses])
        return e.positions[updating[e.clauses]]

    def _take(self, plans: _Plans, change: FileChange, batch: pa.RecordBatch) -> None:
        """Rows of a file go where they belong: copied, changed, told about."""
        e = change.edits
        at = to_numpy(batch.column(ROW_INDEX))
        if e.positions is None:
            self._gather(batch, int(e.clauses[0]), None)
            return
        place = np.searchsorted(e.positions, at)
        if change.way == "rewrite":
            inside = place < len(e.positions)
            hit = np.zeros(len(at), bool)
            hit[inside] = e.positions[place[inside]] == at[inside]
            if not hit.all():
                self._new.add(_filtered(batch, ~hit).drop_columns([ROW_INDEX]), copied=True)
            if not hit.any():
                return
            batch, place = decoded(_filtered(batch, hit)), place[hit]
        clauses = e.clauses[place]
        for number in np.unique(clauses).tolist():
            mask = clauses == number
            rows = None if e.source_rows is None else e.source_rows[place][mask]
            self._gather(batch if mask.all() else _filtered(batch, mask), number, rows)

    def _gather(self, old: pa.RecordBatch, number: int, source_rows: np.ndarray | None) -> None:
        for changed in self._gathered.add(old, number, source_rows):
            self._change(*changed)

    def _change(self, old: pa.RecordBatch, number: int, source_rows: np.ndarray | None) -> None:
        clause = self._changes.clauses[number]
        is_update = clause.action == "update"
        if self._feed is not None:
            self._tell(old.select(self._changes.config.schema.names), UPDATE_PREIMAGE if is_update else DELETE)
        if is_update:
            joined = [(TARGET + name, old.column(name)) for name in old.schema.names]
            carried = features.carried(self._changes.config, "updated")
            kept = [(name, old.column(name)) for name in carried if name in old.schema.names]
            self._add(clause, joined, source_rows, old.num_rows, kept, UPDATE_POSTIMAGE)

    def _insert(self, number: int, rows: np.ndarray) -> None:
        clause = self._changes.clauses[number]
        for start in range(0, len(rows), self._rows_at_once):
            part = rows[start : start + self._rows_at_once]
            self._add(clause, [], part, len(part), [], INSERT)

    def _append(self) -> int:
        """The rows that come whatever happens to others; how many they are."""
        reader, count = self._changes.appended, 0
        for batch in reader or ():
            count += batch.num_rows
            for stored in self._new.add(batch):
                if self._feed is not None:
                    self._tell(stored, INSERT)
        if reader is not None and not count:
            self._new.check(reader.schema)
        return count

    def _add(
        self,
        clause: Clause,
        joined: list[tuple[str, pa.Array]],
        source_rows: np.ndarray | None,
        count: int,
        kept: list[tuple[str, pa.Array]],
        change_type: str,
    ) -> None:
        """New rows of a clause, from joined rows."""
        wanted = _columns(clause.values.values(), SOURCE)
        if source_rows is not None and wanted and self._changes.source is not None:
            taken = self._changes.source.take(source_rows, wanted)
            joined = [*joined, *((SOURCE + name, taken.column(name)) for name in wanted)]
        rows = _batch(joined, count)
        new = [(name, evaluate(bound, rows)) for name, bound in clause.values.items()]
        for stored in self._new.add(_batch([*new, *kept], count)):
            if self._feed is not None:
                self._tell(stored, change_type)

    def _tell(self, rows: pa.RecordBatch, change_type: str) -> None:
        assert self._feed is not None
        rows = rows.select([name for name in rows.schema.names if name not in self._hidden])
        told = pa.repeat(scalar(change_type, pa.string()), rows.num_rows)
        self._feed.add(rows.append_column(CHANGE_TYPE, told), copied=True)

    # -- the rest ----------------------------------------------------------------------------------------------------

    def _write_vectors(self) -> list[AddFile]:
        marking = [f for f in self._files if f.way == "mark"]
        remover = features.remove_rows(self._changes.config)
        if not marking or remover is None:
            return []
        vectors = []
        for f in marking:
            gone = RowPositions.of(f.edits.positions)
            before = marked_rows(f.task, f.task.deletion_vector, self._engine.resolve)
            vectors.append(gone if before is None else before | gone)

        def put(path: str, data: bytes) -> None:
            self._vector_paths.append(path)
            self._store.put(path, data)

        found = remover.write(vectors, uuid.uuid4(), put)
        return [marked(f.add, v, f.num_records) for f, v in zip(marking, found, strict=True)]


@dataclass(frozen=True)
class _Plans:
    """How files are read, for all their rows or those that change.

    :param carrying: with the columns that follow a row from file to file.
    :param staged: with what the file itself holds of them, for files that a transaction has only just written: the log
        gives these no ids yet.
    """

    carrying: tuple[ScanPlan, ScanPlan]
    staged: tuple[ScanPlan, ScanPlan]

    @classmethod
    def of(cls, changes: RowChanges, tells_changes: bool) -> _Plans:
        config, table = changes.config, changes.config.schema.names
        updates = [c for c in changes.clauses if c.action == "update"]
        needed = _columns((v for c in updates for v in c.values.values()), TARGET)
        columns = table if tells_changes else [name for name in table if name in needed]
        copied = features.carried(config, "copied")
        updated = features.carried(config, "updated") if updates else ()

        def plan(names: Sequence[str], virtual: Sequence[str]) -> ScanPlan:
            return planning.reading(changes.plan, config, names, (*virtual, ROW_INDEX)).shared()

        carrying = plan(table, copied), plan(columns, updated)
        return cls(carrying, (only_stored(carrying[0]), only_stored(carrying[1])))

    def of_file(self, change: FileChange) -> tuple[ScanPlan, ScanPlan]:
        return self.carrying if change.add.base_row_id is not None else self.staged


def only_stored(plan: ScanPlan) -> ScanPlan:
    """The plan with what files themselves hold of the columns that follow a row; the log says nothing of them yet."""
    kept = {n: replace(c, constant=None, add_position=False) if c.stored_as else c for n, c in plan.virtual.items()}
    return replace(plan, virtual=kept)


def feed_spec(spec: WriteSpec, hidden: Sequence[str] = ()) -> WriteSpec:
    """How change files are written: the table's rows and what happened to them, unchecked and without statistics.

    :param hidden: columns that data files have and change files do not.
    """
    own = Field(CHANGE_TYPE, PrimitiveType("string"))
    names = {f.name for f in spec.schema.fields} - set(hidden)
    pairs = [(f, p) for f, p in zip(spec.schema.fields, spec.physical.fields, strict=True) if f.name in names]
    return replace(
        spec,
        schema=StructType([*(f for f, _ in pairs), own]),
        physical=StructType([*(p for _, p in pairs), own]),
        steps=(),
        stats_columns=(),
        directory=CHANGE_DIR,
    )


def _rows_at_once(source: Source | None) -> int:
    if source is None or not source.num_rows:
        return MOST_ROWS
    return max(LEAST_ROWS, min(MOST_ROWS, NEW_BYTES * source.num_rows // max(1, source.nbytes)))


def _change_file(add: AddFile) -> AddCDCFile:
    return AddCDCFile(add.path, add.partition_values, add.size)


def _columns(values: object, prefix: str) -> list[str]:
    """The columns of one side that expressions over joined rows read, without the prefix."""
    found = {path[0] for value in values for path in value.columns}  # type: ignore[attr-defined]
    return sorted(name[len(prefix) :] for name in found if name.startswith(prefix))


def _batch(columns: Sequence[tuple[str, pa.Array]], rows: int) -> pa.RecordBatch:
    if not columns:  # a batch without columns still has rows
        return pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), rows, [None]))
    return pa.RecordBatch.from_arrays([c for _, c in columns], names=[n for n, _ in columns])


def _filtered(batch: pa.RecordBatch, mask: np.ndarray) -> pa.RecordBatch:
    return batch.filter(mask_array(mask))


def _int64(values: Sequence[int] | np.ndarray) -> pa.Array:
    flat = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(flat), [None, pa.py_buffer(flat)])
