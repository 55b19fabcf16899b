"""Which rows of two sets differ, told by fingerprints, by keys or by row ids. Pure: arrays in, labels out.

The left set is what was there before, the right one what is there after; a label says for each row of a set whether it
stands alone, has changed, or is the same on both sides.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.operations.fingerprints import Fingerprints

SAME, ALONE, CHANGED = 0, 1, 2


class Labels(NamedTuple):
    """One of ``SAME``, ``ALONE`` (removed on the left, added on the right) and ``CHANGED`` per row, as int8."""

    left: np.ndarray
    right: np.ndarray

    def count(self, label: int) -> tuple[int, int]:
        return int(np.count_nonzero(self.left == label)), int(np.count_nonzero(self.right == label))


def by_rows(left: Fingerprints, right: Fingerprints) -> Labels:
    """Rows as a multiset: of a row that is there twice on one side and once on the other, one stands alone."""
    order, first = _grouped(np.concatenate([left, right], axis=1))
    on_right = order >= left.shape[1]
    group = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    alone = np.zeros(len(order), np.int8)
    for side in (on_right, ~on_right):
        earlier = np.cumsum(side) - side
        rank = earlier - earlier[starts][group]
        others = np.bincount(group[~side], minlength=len(starts))
        alone[order[side & (rank >= others[group])]] = ALONE
    return Labels(alone[: left.shape[1]], alone[left.shape[1] :])


def by_key(left_keys: Fingerprints, left: Fingerprints, right_keys: Fingerprints, right: Fingerprints) -> Labels:
    """Rows by key: equal ones are the same, others of one key have changed, the rest stands alone.

    :raises InvalidArgumentError: when several rows of one side that are not the same on both share a key.
    """
    labels = by_rows(left, right)
    a, b = np.flatnonzero(labels.left), np.flatnonzero(labels.right)
    order, first = _grouped(np.concatenate([left_keys[:, a], right_keys[:, b]], axis=1))
    codes = np.empty(len(order), np.int64)
    codes[order] = np.cumsum(first) - 1
    here, there = codes[: len(a)], codes[len(a) :]
    counts = [np.bincount(side, minlength=int(first.sum())) for side in (here, there)]
    repeated = sum(int((count[count > 1] - 1).sum()) for count in counts)
    if repeated:
        raise InvalidArgumentError(
            f"the columns given as keys do not tell rows apart: {repeated} of the rows that differ repeat a key",
            hint="add columns to on=, or leave it out to compare whole rows",
            count=repeated,
        )
    paired = (counts[0] > 0) & (counts[1] > 0)
    labels.left[a[paired[here]]] = CHANGED
    labels.right[b[paired[there]]] = CHANGED
    return labels


def by_row_id(
    left_ids: np.ndarray, left_versions: np.ndarray, right_ids: np.ndarray, right_versions: np.ndarray
) -> Labels:
    """Rows by their ids: the same where the version that last changed them is.

    :raises InvalidTableError: when an id occurs twice on one side.
    """
    order = np.argsort(left_ids)
    ranked = left_ids[order]
    for ids in (ranked, np.sort(right_ids)):
        if (ids[1:] == ids[:-1]).any():
            raise InvalidTableError("row ids occur twice among the rows of one version, so they tell nothing")
    labels = Labels(np.full(len(left_ids), ALONE, np.int8), np.full(len(right_ids), ALONE, np.int8))
    if not len(ranked):
        return labels
    at = np.searchsorted(ranked, right_ids).clip(max=len(ranked) - 1)
    b = np.flatnonzero(ranked[at] == right_ids)
    a = order[at[b]]
    label = np.where(left_versions[a] == right_versions[b], SAME, CHANGED)
    labels.left[a] = label
    labels.right[b] = label
    return labels


def _grouped(rows: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """An order in which equal fingerprints are neighbours, and where in it each group of equal ones begins."""
    order = np.argsort(rows[0])
    low, high = rows[0][order], rows[1][order]
    first = np.ones(len(order), bool)
    first[1:] = low[1:] != low[:-1]
    if (~first[1:] & (high[1:] != high[:-1])).any():  # one half is equal by chance
        order = np.lexsort(rows)
        ranked = rows[:, order]
        first[1:] = (ranked[:, 1:] != ranked[:, :-1]).any(axis=0)
    return order, first
