"""The match of a MERGE: which rows of the table meet which row of the source, and what is to happen to them.

Only the columns that keys and conditions name take part. The keys of the source lie in an index; the table's rows
stream past it, batch by batch. A source whose index would exceed the budget is divided by its keys' codes, the table's
rows alongside, and matched part by part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from deltalite.engine.clauses import EXAMPLES, Decision, Refusals, example_keys
from deltalite.engine.found import Found
from deltalite.engine.index import BYTES_PER_ROW, Hits
from deltalite.engine.parts import divide_source, entries, partitions, parts_needed
from deltalite.engine.sides import Keys, Lookup, pair_rows, spread
from deltalite.engine.spill import Budget, Source, names_of
from deltalite.engine.temporary import Partitions
from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.arrow import true_mask
from deltalite.expr.vectors import from_numpy, numpy_bools
from deltalite.model.arrow import to_numpy
from deltalite.model.change import SOURCE, TARGET, Clause, Match
from deltalite.model.edits import Edits
from deltalite.model.expr import BoundExpr
from deltalite.model.tasks import ROW_INDEX

PAIRS_AT_ONCE = 1 << 18
MOST_PAIRS = 10**9
"""Pairs that a match without keys may look at."""
ENOUGH_PAIRS = 10**8
"""After so many pairs, a match that is ambiguous is refused without a look at the rest."""
_FILE = "_file"


def target_columns(match: Match, clauses: Sequence[Clause]) -> list[str]:
    """The table's columns that the match reads: those of keys and conditions, not those of values."""
    return names_of(TARGET, _conditions(match, clauses))


def source_columns(match: Match, clauses: Sequence[Clause]) -> list[str]:
    """The source's columns that the match reads."""
    return names_of(SOURCE, _conditions(match, clauses))


def _conditions(match: Match, clauses: Sequence[Clause]) -> list[BoundExpr | None]:
    keys = [side for pair in match.keys for side in (pair.target, pair.source)]
    return [*keys, match.target, match.source, match.residual, *(clause.condition for clause in clauses)]


def find(
    targets: Iterator[tuple[int, pa.RecordBatch]],
    source: Source,
    match: Match,
    clauses: Sequence[Clause],
    budget: Budget,
) -> Edits:
    """What a MERGE does to which rows, by SQL's three-valued logic. Nothing is written.

    :param targets: batches of the table's rows with the number of their file, in the order of the files: the
        :func:`target_columns` under the names of the joined row (``target.x``), and ``_row_index``. Rows of a file that
        cannot match may be missing unless a clause is for rows not matched by the source.
    :param clauses: 127 at most.
    :raises MultipleMatchesError: several source rows would change one row of the table (``count``, ``keys``,
        ``source_rows``); they may when the only clause for matched rows deletes them without a condition.
    :raises MergeRefusedError: a ``fail`` clause applies to a row.
    :raises InvalidArgumentError: without keys, there are more pairs of rows than can be looked at.
    """
    if len(clauses) > np.iinfo(np.int8).max:
        raise InvalidArgumentError(f"a MERGE has at most 127 clauses, not {len(clauses)}", clauses=len(clauses))
    return _Matching(source, match, clauses, budget).run(targets)


class _Matching:
    """One run of :func:`find`."""

    def __init__(self, source: Source, match: Match, clauses: Sequence[Clause], budget: Budget) -> None:
        self.source, self.budget = source, budget
        self.keys = Keys(match, source)
        self.residual = self.keys.residual
        self.matched = Decision(clauses, "matched")
        self.not_matched = Decision(clauses, "not_matched")
        self.by_source = Decision(clauses, "not_matched_by_source")
        self.refusals = Refusals(clauses)
        self.found = Found()
        self.source_matched = np.zeros(source.num_rows if self.not_matched else 0, bool)
        self.table_rows_paired = self.pairs_seen = 0
        over_pairs = [self.residual, *self.matched.conditions]
        self.alike = self.residual is None and not names_of(SOURCE, over_pairs)
        """Whether all source rows with one key do the same to a row of the table."""

    def run(self, targets: Iterator[tuple[int, pa.RecordBatch]]) -> Edits:
        parts = parts_needed(self.source.num_rows, self.budget) if self.keys.pairs else 1
        if parts > 1:
            self._by_parts(targets, parts)
        else:
            with self._lookup(self.keys.source_codes(), self.source.num_rows) as lookup:
                for file, batch in targets:
                    self._batch(file, batch, lookup)
        inserted = self._inserted()
        self.refusals.check()
        return Edits(self.found.files(), inserted, self.source.num_rows)

    @contextmanager
    def _lookup(self, entries: Iterable[tuple[np.ndarray, np.ndarray]], rows: int) -> Iterator[Lookup]:
        """The source rows by their keys; held while the caller is busy with them."""
        size = BYTES_PER_ROW * rows
        self.budget.hold(size)
        try:
            lookup = self.keys.lookup(entries, rows)
            self.group_matched = np.zeros(lookup.index.groups if self.not_matched and self.alike else 0, bool)
            yield lookup
            if len(self.group_matched):
                self.source_matched[lookup.index.rows_of(self.group_matched)] = True
        finally:
            self.budget.release(size)

    # in parts -------------------------------------------------------------------------------------------------------

    def _by_parts(self, targets: Iterator[tuple[int, pa.RecordBatch]], parts: int) -> None:
        """Both sides go to temporary files, divided by the codes of their keys, and are matched part by part."""
        with partitions(parts, self.budget) as sources, partitions(parts, self.budget) as table:
            divide_source(self.keys, sources, parts)
            for file, batch in targets:
                batch = batch.append_column(_FILE, from_numpy(np.full(batch.num_rows, file), pa.int64()))
                rows, codes = self.keys.target(batch)
                table.add(_taken(batch, rows), spread(codes, parts))
                if self.by_source and rows is not None:
                    self._unmatchable(batch, rows)
            table.finish()
            for part in range(parts):
                self._part(sources, table, part)

    def _part(self, sources: Partitions, table: Partitions, part: int) -> None:
        with self._lookup(entries(sources, part), sources.rows[part]) as lookup:
            for batch in table.read(part):
                self._batch(to_numpy(batch[_FILE]), batch, lookup)

    def _unmatchable(self, batch: pa.RecordBatch, able: np.ndarray) -> None:
        """Rows of the table that no source row can match."""
        unable = np.ones(batch.num_rows, bool)
        unable[able] = False
        rest = _taken(batch, np.flatnonzero(unable))
        decided = np.full(rest.num_rows, -1, np.int8)
        self._not_matched_by_source(rest, np.arange(rest.num_rows), decided)
        self._keep(to_numpy(rest[_FILE]), rest, decided, np.full(rest.num_rows, -1, np.int64))

    # batches of the table -------------------------------------------------------------------------------------------

    def _batch(self, file: int | np.ndarray, batch: pa.RecordBatch, lookup: Lookup) -> None:
        """Match the rows of a batch.

        :param file: its number, or that of each row.
        """
        hits = lookup.hits(batch)
        self._guard(hits, lookup)
        if not self.by_source and 2 * len(hits.rows) < batch.num_rows:  # nothing happens to the others
            file = file if isinstance(file, int) else file[hits.rows]
            batch, hits = _taken(batch, hits.rows), Hits(np.arange(len(hits.rows)), hits.groups)
        count = batch.num_rows
        decided, from_row = np.full(count, -1, np.int8), np.full(count, -1, np.int64)
        times, unmatched = np.zeros(count, np.int64), np.ones(count, bool)
        for rows, sources, each in self._pairs(batch, hits, lookup):
            unmatched[rows] = False
            clauses = self._decide(batch, rows, sources)
            chosen = np.flatnonzero(clauses >= 0)
            if len(chosen) < len(rows):
                rows, sources, clauses = rows[chosen], sources[chosen], clauses[chosen]
            if each is None:
                times += np.bincount(rows, minlength=count)
            else:
                times[rows] += each[chosen]
            first = np.flatnonzero(decided[rows] < 0)[::-1]  # of several for one row, the last assignment stays
            decided[rows[first]] = clauses[first]
            from_row[rows[first]] = sources[first]
            self.pairs_seen += len(rows)
            if self.pairs_seen > ENOUGH_PAIRS and not self.matched.lone_delete and np.any(times > 1):
                self._ambiguous(batch, np.flatnonzero(times > 1), lookup)
                self.refusals.check(complete=False)
        if not self.matched.lone_delete:
            self._ambiguous(batch, np.flatnonzero(times > 1), lookup)
        if self.by_source:
            self._not_matched_by_source(batch, np.flatnonzero(unmatched), decided)
        self._keep(file, batch, decided, from_row)

    def _pairs(
        self, batch: pa.RecordBatch, hits: Hits, lookup: Lookup, every: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Matching pairs of a row of the batch and a source row.

        Where the source rows of one key do the same, one pair stands for them all unless ``every`` is asked for, and
        the third array counts them.
        """
        index = lookup.index
        if self.alike and not every:
            if len(self.group_matched):
                self.group_matched[hits.groups] = True
            yield hits.rows, index.firsts(hits.groups), index.sizes(hits.groups)
            return
        for rows, sources in index.pairs(hits, PAIRS_AT_ONCE):
            if self.residual is not None:
                pairs = pair_rows(batch, rows, self.source, sources, [self.residual])
                holds = np.flatnonzero(numpy_bools(true_mask(self.residual, pairs)))
                rows, sources = rows[holds], sources[holds]
            if self.not_matched:
                self.source_matched[sources] = True
            yield rows, sources, None

    def _decide(self, batch: pa.RecordBatch, rows: np.ndarray, sources: np.ndarray) -> np.ndarray:
        pairs = pair_rows(batch, rows, self.source, sources, self.matched.conditions)
        return self.matched.decide(pairs, len(rows))

    def _not_matched_by_source(self, batch: pa.RecordBatch, rows: np.ndarray, decided: np.ndarray) -> None:
        narrow = batch.select([TARGET + name for name in names_of(TARGET, self.by_source.conditions)])
        decided[rows] = self.by_source.decide(_taken(narrow, rows), len(rows))

    def _keep(self, file: int | np.ndarray, batch: pa.RecordBatch, decided: np.ndarray, from_row: np.ndarray) -> None:
        for clause in (*self.matched.failing, *self.by_source.failing):
            rows = np.flatnonzero(decided == clause)
            if len(rows):
                shown = _taken(batch, rows[:EXAMPLES])
                self.refusals.failed(clause, len(rows), example_keys(self.keys.target_sides, shown))
        self.found.add(file, to_numpy(batch[ROW_INDEX]), decided, from_row)

    def _ambiguous(self, batch: pa.RecordBatch, rows: np.ndarray, lookup: Lookup) -> None:
        """Rows of the batch that several source rows would change."""
        if not len(rows):
            return
        shown = _taken(batch, rows[: self.refusals.wanted])
        source_rows: list[list[int]] = [[] for _ in range(shown.num_rows)]
        for at, sources, _ in self._pairs(shown, lookup.hits(shown), lookup, every=True):
            applies = self._decide(shown, at, sources) >= 0
            for number, found in enumerate(source_rows):
                found.extend(sources[applies & (at == number)][: EXAMPLES - len(found)].tolist())
        self.refusals.ambiguous(len(rows), example_keys(self.keys.target_sides, shown), source_rows)

    def _guard(self, hits: Hits, lookup: Lookup) -> None:
        """
        :raises InvalidArgumentError: without keys, the pairs so far are too many.
        """
        if self.keys.pairs or self.residual is None:
            return
        self.table_rows_paired += len(hits.rows)
        ours, theirs = self.table_rows_paired, len(lookup.index.rows)
        if ours * theirs > MOST_PAIRS:
            raise InvalidArgumentError(
                "the condition of the match has no equality of plain values between the table and the source, so that "
                f"{theirs} rows of the source would each be compared with at least {ours} rows of the table",
                hint="add an equality such as target.id = source.id, or conditions on either side that few rows meet",
                source_rows=theirs,
                target_rows=ours,
            )

    # the source -----------------------------------------------------------------------------------------------------

    def _inserted(self) -> tuple[tuple[int, np.ndarray], ...]:
        """The source rows of each insert clause."""
        chosen: dict[int, list[np.ndarray]] = {number: [] for number, _ in self.not_matched.clauses}
        names = names_of(SOURCE, self.not_matched.conditions)
        start = 0
        for batch in self.source.joined_batches(names) if self.not_matched else ():
            rows = np.flatnonzero(~self.source_matched[start : start + batch.num_rows])
            decided = self.not_matched.decide(_taken(batch, rows), len(rows))
            for clause in chosen:
                chosen[clause].append(rows[decided == clause] + start)
            start += batch.num_rows
        found = {clause: np.concatenate(parts) for clause, parts in chosen.items() if parts}
        for clause in self.not_matched.failing:
            if len(rows := found.pop(clause, np.zeros(0, int))):
                sides = self.keys.source_sides
                shown = self.source.take_joined(rows[:EXAMPLES], names_of(SOURCE, sides))
                self.refusals.failed(clause, len(rows), example_keys(sides, shown))
        return tuple((clause, rows) for clause, rows in found.items() if len(rows))


def _taken(batch: pa.RecordBatch, rows: np.ndarray | None) -> pa.RecordBatch:
    if rows is None or len(rows) == batch.num_rows:
        return batch
    return batch.take(from_numpy(rows, pa.int64()))
