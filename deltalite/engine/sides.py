"""The two sides of a match: keys of source and table as codes, and pairs of rows side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.engine.index import Hits, KeyIndex
from deltalite.engine.keys import Coding, KeyColumn, Ranges, equal_keys, key_columns
from deltalite.engine.spill import Source, names_of
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.expr.bind import conjunction
from deltalite.expr.coerce import converted, is_decimal
from deltalite.expr.vectors import bools, from_numpy, numpy_bools
from deltalite.model.change import SOURCE, TARGET, KeyPair, Match
from deltalite.model.expr import BOOLEAN, BoundExpr, Call
from deltalite.model.types import ArrayType, MapType, PrimitiveType, StructType, VariantType

VERIFY_ROWS = 1 << 16
MOST_DIGITS = 38
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Keys:
    """The keys of a match.

    :ivar pairs: those that are matched by code.
    :ivar residual: the rest of the condition over the joined row; equalities that have no codes are part of it.
    """

    def __init__(self, match: Match, source: Source) -> None:
        pairs = [_aligned(pair) for pair in match.keys]
        self.pairs = [pair for pair in pairs if _has_codes(pair)]
        residual = [_equality(pair) for pair in pairs if not _has_codes(pair)]
        residual += [match.residual] if match.residual is not None else []
        self.residual = conjunction(residual) if residual else None
        self.target_sides = [pair.target for pair in match.keys]
        self.source_sides = [pair.source for pair in match.keys]
        self._match, self._source = match, source
        self._coding = self._fitted()

    # codes ----------------------------------------------------------------------------------------------------------

    def target(self, batch: pa.RecordBatch) -> tuple[np.ndarray | None, np.ndarray]:
        """The rows of a batch of the table that may match (``None``: all), and their codes."""
        return self.coded_target(batch, self._coding)

    def source_codes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The codes and the numbers of source rows that may match."""
        for start, rows, columns, able, count in self._source_keys():
            chosen, codes = _coded(self._coding, rows, columns, able, count)
            yield codes, start + (np.arange(count) if chosen is None else chosen)

    def _fitted(self) -> Coding:
        ranges = Ranges()
        columns: list[KeyColumn] = []
        for _, _, columns, able, _ in self._source_keys():
            ranges.add(columns, able)
        return ranges.coding([column.null_is_value for column in columns])

    def _source_keys(self) -> Iterator[tuple[int, np.ndarray | None, list[KeyColumn], np.ndarray | None, int]]:
        start = 0
        sides = [pair.source for pair in self.pairs]
        for batch in self._source.joined_batches(names_of(SOURCE, [*sides, self._match.source])):
            count = batch.num_rows
            rows, batch = _satisfying(self._match.source, batch)
            columns, able = key_columns((evaluate(p.source, batch), p.null_safe) for p in self.pairs)
            yield start, rows, columns, able, batch.num_rows
            start += count

    # matches --------------------------------------------------------------------------------------------------------

    def lookup(self, entries: Iterable[tuple[np.ndarray, np.ndarray]], size: int) -> Lookup:
        """An index of source rows in which rows of one group have equal keys.

        :param entries: codes and numbers of source rows.
        :param size: how many there are at most.
        """
        coding = self._coding
        index = KeyIndex(entries, size)
        while not (coding.exact or index.unique or self._groups_hold(index)):
            coding = replace(coding, seed=coding.seed + 1)
            rows = np.sort(index.rows)
            index = KeyIndex(self._recoded(rows, coding), len(rows))
        return Lookup(self, index, coding)

    def _groups_hold(self, index: KeyIndex) -> bool:
        """Whether rows with one hash have one key."""
        for rows, firsts in index.repeated(VERIFY_ROWS):
            if not equal_keys(self._columns_of(rows), self._columns_of(firsts)).all():
                return False
        return True

    def _columns_of(self, rows: np.ndarray) -> list[KeyColumn]:
        sides = [pair.source for pair in self.pairs]
        batch = self._source.take_joined(rows, names_of(SOURCE, sides))
        return key_columns((evaluate(p.source, batch), p.null_safe) for p in self.pairs)[0]

    def _recoded(self, rows: np.ndarray, coding: Coding) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(rows), VERIFY_ROWS):
            part = rows[start : start + VERIFY_ROWS].astype(np.int64)
            yield coding.codes(self._columns_of(part), len(part))[0], part

    def coded_target(self, batch: pa.RecordBatch, coding: Coding) -> tuple[np.ndarray | None, np.ndarray]:
        """The rows of a batch of the table that may match (``None``: all), and their codes."""
        rows, batch = _satisfying(self._match.target, batch)
        columns, able = key_columns((evaluate(p.target, batch), p.null_safe) for p in self.pairs)
        return _coded(coding, rows, columns, able, batch.num_rows)

    def equal(self, batch: pa.RecordBatch, rows: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Where the keys of rows of the table and of source rows are the same."""
        sides = [side for pair in self.pairs for side in (pair.target, pair.source)]
        pairs = pair_rows(batch, rows, self._source, sources, sides)
        ours, _ = key_columns((evaluate(p.target, pairs), p.null_safe) for p in self.pairs)
        theirs, _ = key_columns((evaluate(p.source, pairs), p.null_safe) for p in self.pairs)
        return equal_keys(ours, theirs)


@dataclass(frozen=True)
class Lookup:
    """Source rows by their keys."""

    keys: Keys
    index: KeyIndex
    coding: Coding

    def hits(self, batch: pa.RecordBatch) -> Hits:
        """The rows of a batch of the table whose key is in the index."""
        if not self.index.groups:
            return Hits(np.zeros(0, np.int64), np.zeros(0, np.int64))
        rows, codes = self.keys.coded_target(batch, self.coding)
        hits = self.index.find(codes)
        if rows is not None:
            hits = Hits(rows[hits.rows], hits.groups)
        if self.coding.exact or not len(hits.rows):
            return hits
        same = self.keys.equal(batch, hits.rows, self.index.firsts(hits.groups))
        return hits if same.all() else Hits(hits.rows[same], hits.groups[same])


def spread(codes: np.ndarray, parts: int) -> np.ndarray:
    """The part of each code, of so many (65,536 at most)."""
    return (((codes ^ (codes >> np.uint64(32))) * _SPREAD) >> np.uint64(48)) % np.uint64(parts)


def pair_rows(
    batch: pa.RecordBatch, rows: np.ndarray, source: Source, sources: np.ndarray, bounds: Sequence[BoundExpr]
) -> pa.RecordBatch:
    """Rows of the table beside source rows, with the columns that expressions read."""
    ours = batch.select([TARGET + name for name in names_of(TARGET, bounds)])
    names = names_of(SOURCE, bounds)
    columns = dict(zip(ours.schema.names, ours.take(from_numpy(rows, pa.int64())).columns, strict=True))
    if names:
        theirs = source.take(sources, names)
        columns.update(zip([SOURCE + name for name in names], theirs.columns, strict=True))
    if not columns:
        return batch.select([]).take(from_numpy(np.zeros(len(rows), np.int64), pa.int64()))
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _coded(
    coding: Coding, rows: np.ndarray | None, columns: list[KeyColumn], able: np.ndarray | None, count: int
) -> tuple[np.ndarray | None, np.ndarray]:
    """The rows that have a code, of those that are looked at, and their codes."""
    codes, inside = coding.codes(columns, count)
    able = inside if able is None else able if inside is None else able & inside
    if able is None or able.all():
        return rows, codes
    chosen = np.flatnonzero(able)
    return chosen if rows is None else rows[chosen], codes[chosen]


def _satisfying(condition: BoundExpr | None, batch: pa.RecordBatch) -> tuple[np.ndarray | None, pa.RecordBatch]:
    """The rows for which a condition is true (``None``: all), and a batch of them."""
    if condition is None:
        return None, batch
    holds = numpy_bools(true_mask(condition, batch))
    if holds.all():
        return None, batch
    return np.flatnonzero(holds), batch.filter(bools(holds))


def _aligned(pair: KeyPair) -> KeyPair:
    """The pair with decimals of one type, where one holds the digits of both."""
    ours: Any = pair.target.type
    theirs: Any = pair.source.type
    if ours == theirs or not (is_decimal(ours) and is_decimal(theirs)):
        return pair
    scale = max(ours.scale, theirs.scale)
    digits = max(ours.precision - ours.scale, theirs.precision - theirs.scale) + scale
    if digits > MOST_DIGITS:
        return pair
    common = PrimitiveType(f"decimal({digits},{scale})")
    target, source = (
        BoundExpr(converted(side.expr, common), common, side.time_zone, side.columns)
        for side in (pair.target, pair.source)
    )
    return KeyPair(target, source, pair.null_safe)


def _has_codes(pair: KeyPair) -> bool:
    return _comparable_by_code(pair.target.type, pair.source.type)


def _comparable_by_code(a: Any, b: Any) -> bool:
    """Whether two types hold the same plain values, or structs of such, whatever the names of their fields."""
    if isinstance(a, StructType) and isinstance(b, StructType):
        fields = list(zip(a.fields, b.fields, strict=False))
        return len(a.fields) == len(b.fields) and all(_comparable_by_code(x.type, y.type) for x, y in fields)
    return a == b and not isinstance(a, (ArrayType, MapType, VariantType))


def _equality(pair: KeyPair) -> BoundExpr:
    expr = Call("<=>" if pair.null_safe else "=", (pair.target.expr, pair.source.expr), BOOLEAN)
    return BoundExpr(expr, BOOLEAN, pair.target.time_zone, pair.target.columns | pair.source.columns)
