"""Rows that left a table against rows that came: what of them is a change, read in two passes.

The first pass reads what tells rows apart (row ids, keys, or all columns) and keeps 16 bytes of each row or less; the
second reads what is shown and keeps the rows that the first one marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.expr.arrow import true_mask
from deltalite.expr.bind import conjunction, conjuncts
from deltalite.features.change_data_feed import (
    CHANGE_TYPE,
    COMMIT_TIMESTAMP,
    COMMIT_VERSION,
    DELETE,
    FEED_FIELDS,
    INSERT,
    UPDATE_POSTIMAGE,
    UPDATE_PREIMAGE,
    ChangedFiles,
)
from deltalite.features.reading import virtual_columns
from deltalite.features.row_tracking import ROW_COMMIT_VERSION, ROW_ID
from deltalite.model.arrow import array, mask_array, to_numpy
from deltalite.model.config import TableConfig
from deltalite.model.expr import BoundExpr
from deltalite.model.types import Field
from deltalite.operations.changed_rows import Part, Reader, View
from deltalite.operations.differences import CHANGED, Labels, by_key, by_row_id, by_rows
from deltalite.operations.fingerprints import Fingerprints, fingerprints, joined

_LEFT, _RIGHT = (DELETE, UPDATE_PREIMAGE), (INSERT, UPDATE_POSTIMAGE)


@dataclass(frozen=True)
class Side:
    """The rows of one side: files, the keys of their ``partitionValues``, and what the feed says of all of them."""

    files: Sequence[tuple[ChangedFiles, Sequence[str]]]
    constants: Mapping[str, Any]

    def parts(self, view: View) -> list[Part]:
        return [view.part(changed, keys, self.constants) for changed, keys in self.files]


@dataclass(frozen=True)
class Comparison:
    """Rows that were there before and rows that are there after.

    :param view: what to show.
    :param compared: the columns that must be equal for a row to be the same.
    :param keys: columns that tell which rows belong together; without any, rows are equal or unrelated.
    :param by_row_id: tell it by row ids instead.
    """

    view: View
    before: Side
    after: Side
    compared: tuple[Field, ...]
    keys: tuple[Field, ...] = ()
    by_row_id: bool = False

    def labels(self, reader: Reader) -> Labels:
        """First pass: what became of each row."""
        if self.by_row_id:
            ids = [_FIELDS[name] for name in (ROW_ID, ROW_COMMIT_VERSION)]
            left, right = (_numbers(self._rows(reader, side, ids)) for side in (self.before, self.after))
            return by_row_id(*left, *right)
        left, right = (self._fingerprints(reader, side) for side in (self.before, self.after))
        return by_key(left[0], left[1], right[0], right[1]) if self.keys else by_rows(left[1], right[1])

    def batches(self, reader: Reader, labels: Labels | None = None) -> Iterator[pa.RecordBatch]:
        """Second pass: the rows that are not the same, those of before first."""
        found = labels or self.labels(reader)
        yield from self._shown(reader, self.before, found.left, _LEFT)
        yield from self._shown(reader, self.after, found.right, _RIGHT)

    def _rows(self, reader: Reader, side: Side, fields: Sequence[Field]) -> Iterator[pa.RecordBatch]:
        """The rows in the same order on every call, whatever the fields."""
        return reader.batches(side.parts(self.view.showing(fields, self._pushed)))

    @property
    def _pushed(self) -> BoundExpr | None:
        """What of the predicate may be judged before rows are compared: what equal rows agree on."""
        predicate = self.view.predicate
        own = {COMMIT_VERSION, COMMIT_TIMESTAMP} if self.by_row_id or self.keys else None
        parts = [
            part
            for part in (conjuncts(predicate) if predicate else ())
            if all(path[0] != CHANGE_TYPE and (own is None or path[0] in own) for path in part.columns)
        ]
        return conjunction(parts) if parts else None

    def _fingerprints(self, reader: Reader, side: Side) -> tuple[Fingerprints, Fingerprints]:
        """Of the keys, and of the whole rows."""
        fields = list(dict.fromkeys((*(f.name for f in self.keys), *(f.name for f in self.compared))))
        by_name = {f.name: f for f in (*self.keys, *self.compared)}
        keys, rows = [], []
        for batch in self._rows(reader, side, [by_name[name] for name in fields]):
            rows.append(fingerprints(batch))
            if self.keys:
                keys.append(fingerprints(batch.select([f.name for f in self.keys])))
        return joined(keys), joined(rows)

    def _shown(
        self, reader: Reader, side: Side, labels: np.ndarray, names: tuple[str, str]
    ) -> Iterator[pa.RecordBatch]:
        if not labels.any():
            return
        predicate = self.view.predicate
        wanted = [f.name for f in self.view.output.fields]
        needed = dict.fromkeys([*wanted, *sorted(path[0] for path in (predicate.columns if predicate else ()))])
        needed.pop(CHANGE_TYPE, None)
        schema = {f.name: f.with_(nullable=True) for f in (*self.view.config.schema.fields, *FEED_FIELDS)}
        words, at = array(names, pa.string()), 0
        for batch in self._rows(reader, side, [schema[name] for name in needed]):
            here = labels[at : at + batch.num_rows]
            at += batch.num_rows
            hit = here > 0
            if not hit.any():
                continue
            change = words.take(_indices((here[hit] == CHANGED).astype(np.int64)))
            rows = batch.filter(mask_array(hit)).append_column(CHANGE_TYPE, change)
            if predicate is not None:
                rows = rows.filter(true_mask(predicate, rows))
            if rows.num_rows:
                yield rows.select(wanted)


def has_same_row_ids(*configs: TableConfig) -> bool:
    """Whether rows have ids in all of these versions, found in the same way."""
    known = [virtual_columns(config) for config in configs]
    return all(ROW_ID in columns and columns[ROW_ID] == known[0][ROW_ID] for columns in known) and not any(
        config.schema.get(name) for config in configs for name in (ROW_ID, ROW_COMMIT_VERSION)
    )


def _numbers(batches: Iterator[pa.RecordBatch]) -> list[np.ndarray]:
    found = [[to_numpy(column) for column in batch.columns] for batch in batches]
    return [
        np.concatenate([np.zeros(0, np.int64), *columns]) for columns in ([f[0] for f in found], [f[1] for f in found])
    ]


def _indices(positions: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(positions), [None, pa.py_buffer(positions)])


_FIELDS = {name: Field(name, "long") for name in (ROW_ID, ROW_COMMIT_VERSION)}
