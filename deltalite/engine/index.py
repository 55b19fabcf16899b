"""An index over the codes of a source's keys.

The distinct codes lie sorted, with a table of where each range of codes begins that has more entries than there are
codes: a look-up is one step into the table, and mostly one comparison. Keys that lie close together in the table of the
lake are then close together in memory too. Where codes crowd into few ranges, they are scrambled first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

BYTES_PER_ROW = 40
"""What an index takes while it is built, per row."""
SMALL_TABLE = 1 << 20
"""Up to so many entries the processor's caches hold the table, and it may be sparser."""
_CROWDED = 32
_STEP = 1 << 16
_SCRAMBLE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Hits:
    """Rows with a known key.

    :param rows: their numbers, ascending.
    :param groups: in parallel, the group of source rows with the same code.
    """

    rows: np.ndarray
    groups: np.ndarray


class KeyIndex:
    """Groups of source rows with one code.

    :param entries: codes of source rows (uint64) and the numbers of these rows (int64), in as many steps as liked.
    :param size: the number of entries at most.
    """

    def __init__(self, entries: Iterable[tuple[np.ndarray, np.ndarray]], size: int) -> None:
        codes, rows = _gathered(entries, size)
        codes, rows = _sorted(codes, rows)
        self._factor = np.uint64(1)
        self._group(codes, rows)
        if self._tabulate() > _CROWDED:
            self._factor = _SCRAMBLE
            self._group(*_sorted(codes * _SCRAMBLE, rows))
            self._tabulate()

    def _group(self, codes: np.ndarray, rows: np.ndarray) -> None:
        """
        :param codes: sorted.
        """
        different = codes[1:] != codes[:-1]
        self.unique = bool(different.all())
        self.rows = rows
        """The source rows, group by group; rows of a group keep their order."""
        if self.unique:
            self._codes, self._firsts = codes, None
        else:
            self._firsts = np.flatnonzero(np.concatenate([[True], different, [True]]))
            self._codes = codes[self._firsts[:-1]]

    def _tabulate(self) -> int:
        """Make the table. Returns the most groups that an entry has."""
        count = len(self._codes)
        self._low = self._codes[0] if count else np.uint64(0)
        self._span = self._codes[-1] - self._low if count else np.uint64(0)
        bits = max((2 * count).bit_length(), min((16 * count).bit_length(), SMALL_TABLE.bit_length() - 1))
        self._shift = np.uint64(max(0, int(self._span).bit_length() - bits))
        entries = (int(self._span) >> int(self._shift)) + 1
        starts = np.zeros(entries + 1, np.uint32 if count < 1 << 32 else np.int64)
        self._taken = np.zeros(entries, bool)
        most = 0
        for start in range(0, count, _STEP):
            places = ((self._codes[start : start + _STEP] - self._low) >> self._shift).view(np.int64)
            self._taken[places] = True
            starts[places + 1] = np.arange(start + 1, start + len(places) + 1)  # of equal places, the last one counts
            ends = np.flatnonzero(np.concatenate([[True], places[1:] != places[:-1], [True]]))
            most = max(most, int(np.diff(ends).max()))
        self._starts = np.maximum.accumulate(starts, out=starts)
        return most

    @property
    def groups(self) -> int:
        return len(self._codes)

    def firsts(self, groups: np.ndarray) -> np.ndarray:
        """The first row of each of these groups."""
        return self.rows[groups if self._firsts is None else self._firsts[groups]].astype(np.int64)

    def sizes(self, groups: np.ndarray) -> np.ndarray:
        """The number of rows in each of these groups."""
        if self._firsts is None:
            return np.ones(len(groups), np.int64)
        return self._firsts[groups + 1] - self._firsts[groups]

    def find(self, codes: np.ndarray) -> Hits:
        """The codes that are in the index."""
        distance = codes * self._factor - self._low if self._factor != 1 else codes - self._low
        inside = distance <= self._span
        asked = None if inside.all() else np.flatnonzero(inside)
        if asked is not None:
            distance = distance[asked]
        place = (distance >> self._shift).view(np.int64)
        candidates = np.flatnonzero(self._taken[place]) if self.groups else np.zeros(0, np.int64)
        place, wanted = place[candidates], distance[candidates] + self._low
        groups = np.full(len(candidates), -1, np.int64)
        group, end = self._starts[place].astype(np.int64), self._starts[place + 1]
        waiting = np.arange(len(candidates))
        while len(waiting):
            same = self._codes[group] == wanted
            groups[waiting[same]] = group[same]
            further = np.flatnonzero(~same & (group + 1 < end))
            waiting, wanted, end, group = waiting[further], wanted[further], end[further], group[further] + 1
        found = groups >= 0
        rows = candidates[found] if asked is None else asked[candidates[found]]
        return Hits(rows, groups[found])

    def pairs(self, hits: Hits, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every pair of a found row and a source row of its group, in order, so many at a time at most."""
        if self._firsts is None:
            for start in range(0, len(hits.rows), limit):
                yield hits.rows[start : start + limit], self.firsts(hits.groups[start : start + limit])
            return
        sizes = self.sizes(hits.groups)
        ends = np.cumsum(sizes)
        before = self._firsts[hits.groups] - (ends - sizes)
        for start in range(0, int(ends[-1]) if len(ends) else 0, limit):
            numbers = np.arange(start, min(start + limit, int(ends[-1])))
            which = np.searchsorted(ends, numbers, "right")
            yield hits.rows[which], self.rows[before[which] + numbers].astype(np.int64)

    def repeated(self, limit: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The rows that are not the first of their group, and the first row of each one's group."""
        if self._firsts is not None:
            later = np.ones(len(self.rows), bool)
            later[self._firsts[:-1]] = False
            places = np.flatnonzero(later)
            for start in range(0, len(places), limit):
                some = places[start : start + limit]
                groups = np.searchsorted(self._firsts, some, "right") - 1
                yield self.rows[some].astype(np.int64), self.firsts(groups)

    def rows_of(self, groups: np.ndarray) -> np.ndarray:
        """The rows of all groups that a mask over the groups chooses."""
        return self.rows[groups if self._firsts is None else np.repeat(groups, np.diff(self._firsts))]


def _gathered(entries: Iterable[tuple[np.ndarray, np.ndarray]], size: int) -> tuple[np.ndarray, np.ndarray]:
    codes, rows = np.empty(size, np.uint64), np.empty(size, np.uint32)
    end = 0
    for some_codes, some_rows in entries:
        if len(some_rows) and some_rows.max() >= 1 << 32 and rows.dtype == np.uint32:
            rows = rows.astype(np.int64)
        start, end = end, end + len(some_rows)
        codes[start:end], rows[start:end] = some_codes, some_rows
    return codes[:end], rows[:end]


def _sorted(codes: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in the order of the codes; rows of one code keep theirs."""
    if np.all(codes[1:] >= codes[:-1]):
        return codes, rows
    low, row_bits = codes.min(), np.uint64(int(rows.max()).bit_length())
    if int(codes.max() - low).bit_length() + int(row_bits) <= 64:  # both in one number: sorting values is cheapest
        both = ((codes - low) << row_bits) | rows.astype(np.uint64)
        both.sort()
        return (both >> row_bits) + low, (both & ((np.uint64(1) << row_bits) - np.uint64(1))).astype(rows.dtype)
    order = np.argsort(codes)
    ordered = codes[order]
    if np.any(ordered[1:] == ordered[:-1]):
        order = np.argsort(codes, kind="stable")
    return ordered, rows[order]
