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
    a, b = _codes(left, right)
    groups = int(max(a.max(initial=-1), b.max(initial=-1))) + 1
    here, there = np.bincount(a, minlength=groups), np.bincount(b, minlength=groups)
    return Labels((_rank(a) >= there[a]).astype(np.int8), (_rank(b) >= here[b]).astype(np.int8))


def by_key(left_keys: Fingerprints, left: Fingerprints, right_keys: Fingerprints, right: Fingerprints) -> Labels:
    """Rows by key: equal ones are the same, others of one key have changed, the rest stands alone.

    :raises InvalidArgumentError: when several rows of one side that are not the same on both share a key.
    """
    labels = by_rows(left, right)
    a, b = np.flatnonzero(labels.left), np.flatnonzero(labels.right)
    keys_a, keys_b = _codes(left_keys[:, a], right_keys[:, b])
    for keys in (keys_a, keys_b):
        repeated = len(keys) - len(np.unique(keys))
        if repeated:
            raise InvalidArgumentError(
                f"the columns given as keys do not tell rows apart: {repeated} of the rows that differ repeat a key",
                hint="add columns to on=, or leave it out to compare whole rows",
                count=repeated,
            )
    _, at_a, at_b = np.intersect1d(keys_a, keys_b, assume_unique=True, return_indices=True)
    labels.left[a[at_a]] = CHANGED
    labels.right[b[at_b]] = CHANGED
    return labels


def by_row_id(
    left_ids: np.ndarray, left_versions: np.ndarray, right_ids: np.ndarray, right_versions: np.ndarray
) -> Labels:
    """Rows by their ids: the same where the version that last changed them is.

    :raises InvalidTableError: when an id occurs twice on one side.
    """
    for ids in (left_ids, right_ids):
        if len(np.unique(ids)) < len(ids):
            raise InvalidTableError("row ids occur twice among the rows of one version, so they tell nothing")
    labels = Labels(np.full(len(left_ids), ALONE, np.int8), np.full(len(right_ids), ALONE, np.int8))
    _, a, b = np.intersect1d(left_ids, right_ids, assume_unique=True, return_indices=True)
    label = np.where(left_versions[a] == right_versions[b], SAME, CHANGED)
    labels.left[a] = label
    labels.right[b] = label
    return labels


def _codes(left: Fingerprints, right: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """Small numbers, the same for equal fingerprints of either side."""
    both = np.concatenate([left, right], axis=1)
    order = np.lexsort(both)
    ranked = both[:, order]
    starts = np.ones(both.shape[1], bool)
    starts[1:] = (ranked[:, 1:] != ranked[:, :-1]).any(axis=0)
    codes = np.empty(both.shape[1], np.int64)
    codes[order] = np.cumsum(starts) - 1
    return codes[: left.shape[1]], codes[left.shape[1] :]


def _rank(codes: np.ndarray) -> np.ndarray:
    """How many equal codes stand before each one."""
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    at = np.arange(len(codes))
    first = np.ones(len(codes), bool)
    first[1:] = ranked[1:] != ranked[:-1]
    rank = np.empty(len(codes), np.int64)
    rank[order] = at - np.maximum.accumulate(np.where(first, at, 0))
    return rank
