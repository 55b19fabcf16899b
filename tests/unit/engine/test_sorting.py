"""The Hilbert curve, ranks that never contradict an order, and the sort by distribution, beside plain Python."""

from __future__ import annotations

import decimal
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.engine import sorting, vocabulary
from deltalite.engine.curve import Curve, hilbert_numbers
from deltalite.engine.spill import Budget


@pytest.mark.parametrize(("dimensions", "bits"), [(2, 1), (2, 5), (2, 10), (3, 4), (4, 3), (5, 2)])
def test_the_curve_visits_every_cell_once_and_goes_to_neighbours(dimensions: int, bits: int) -> None:
    numbers = hilbert_numbers(dimensions, bits)
    assert np.array_equal(np.sort(numbers), np.arange(1 << (dimensions * bits)))
    cells = np.argsort(numbers)
    axes = [(cells >> (bits * (dimensions - 1 - i))) & ((1 << bits) - 1) for i in range(dimensions)]
    steps = sum(np.abs(np.diff(axis.astype(np.int64))) for axis in axes)
    assert (steps == 1).all()


def spark_order(value: Any) -> tuple[Any, ...]:
    """Null, then numbers, then NaN."""
    if value is None:
        return (0,)
    if isinstance(value, float) and value != value:
        return (2,)
    return (1, value.encode() if isinstance(value, str) else value)


VALUES: dict[str, tuple[pa.DataType, Callable[[random.Random], Any]]] = {
    "tinyint": (pa.int8(), lambda r: r.randrange(-128, 128)),
    "bigint": (pa.int64(), lambda r: r.choice([-(2**63), 2**63 - 1, r.randrange(-(2**62), 2**62), r.randrange(9)])),
    "double": (pa.float64(), lambda r: r.choice([float("nan"), 0.0, -0.0, float("inf"), -1e300, r.gauss(0, 1)])),
    "decimal": (pa.decimal128(18, 2), lambda r: decimal.Decimal(r.randrange(-(10**17), 10**17)) / 100),
    "long decimal": (pa.decimal128(38, 0), lambda r: decimal.Decimal(r.randrange(-(10**37), 10**37))),
    "text": (pa.string(), lambda r: "x" * r.choice([0, 8, 9, 30]) + str(r.randrange(10 ** r.randrange(1, 9)))),
    "odd text": (
        pa.string(),
        lambda r: "".join(r.choice(["a", "é", "\U0001f600", "z"]) for _ in range(r.randrange(20))),
    ),
    "binary": (pa.binary(), lambda r: bytes(r.randrange(256) for _ in range(r.randrange(12)))),
    "boolean": (pa.bool_(), lambda r: r.random() < 0.3),
    "null": (pa.int32(), lambda r: None),
}


@pytest.mark.parametrize("kind", VALUES)
def test_places_never_contradict_the_order_of_the_values(kind: str) -> None:
    data_type, make = VALUES[kind]
    chance = random.Random(kind)
    values = [None if chance.random() < 0.1 else make(chance) for _ in range(3000)]
    whole = pa.array(values, data_type)
    curve = Curve([whole.take(pa.array(chance.sample(range(3000), 700)))])
    for array in (whole, whole.slice(7, 1000)):
        places = curve.places([array]).astype(np.int64)
        order = sorted(range(len(array)), key=lambda i: spark_order(array[i].as_py()))
        assert (np.diff(places[order]) >= 0).all()
    if kind not in ("boolean", "null", "tinyint"):
        assert len(set(places.tolist())) > 100 or kind in ("double", "bigint")


def test_ranks_follow_the_rows_not_the_values() -> None:
    """Of skewed values half have places in the lower half all the same."""
    values = pa.array(np.exp(np.random.default_rng(0).normal(0, 5, 20_000)))
    places = Curve([values.slice(0, 5000), values.slice(0, 5000)])._ranks[0].of(values)
    assert 0.48 < (places < 512).mean() < 0.52


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 200), min_size=1, max_size=8),
    limit=st.sampled_from([1, 1 << 30]),
    words=st.sampled_from([2, 5000]),
    spread=st.sampled_from([1, 50, 1 << 20]),
    seed=st.integers(0, 5),
)
def test_rows_come_in_order_and_none_is_lost(sizes: list[int], limit: int, words: int, spread: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    batches, rows = [], []
    for size in sizes:
        places = chance.integers(0, spread, size).astype(np.uint32)
        texts = pa.array([None if w % 7 == 3 else f"w{w}" for w in chance.integers(0, words, size)], pa.string())
        column = texts.dictionary_encode() if chance.random() < 0.8 else texts
        batches.append(pa.RecordBatch.from_arrays([pa.array(places), column], ["place", "text"]))
        rows += list(zip(places.tolist(), texts.to_pylist(), strict=True))
    sample = np.array([place for place, _ in rows][::3], np.uint32)
    patched = pytest.MonkeyPatch()
    patched.setattr(sorting, "PIECE_BYTES", 1 << 10)
    patched.setattr(vocabulary, "MOST_WORDS", 60)
    try:
        found = sorting.sorted_rows(
            iter(batches), lambda b: b.column("place").to_numpy(), sample, len(rows), Budget(limit)
        )
        got = [tuple(row.values()) for batch in found for row in batch.to_pylist()]
    finally:
        patched.undo()
    assert (
        got == sorted(rows, key=lambda row: row[0])
        if spread < 1 << 16
        else sorted(got, key=repr) == sorted(rows, key=repr)
    )
