"""Reading ahead keeps order, bounds its buffers, closes what it opened and passes errors on."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_tables import add_file, make_config, make_snapshot, memory_store

from deltalite.model.types import Schema
from deltalite.scan import parquet
from deltalite.scan.ahead import ordered
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan


def threads_alive() -> int:
    return sum(t.name == "deltalite-scan" for t in threading.enumerate())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6), st.integers(1, 4), st.integers(0, 12))
def test_items_come_in_order(parts, threads, budget):
    found = list(ordered([lambda p=p: iter(p) for p in parts], threads, lambda item: item, budget))
    assert found == [item for part in parts for item in part]
    assert threads_alive() == 0


def test_nothing_starts_before_the_first_item_is_asked_for():
    started = []
    ahead = ordered([lambda: iter(started.append(1) or [1])] * 3, 2, lambda _: 1, 1)
    time.sleep(0.02)
    assert not started and threads_alive() == 0
    ahead.close()


def test_buffers_are_bounded_and_only_a_window_is_open():
    made: dict[int, int] = {}

    def source(index):
        for item in range(100):
            made[index] = item + 1
            yield item

    ahead = ordered([lambda i=i: source(i) for i in range(6)], 2, lambda _: 1, 3)
    assert next(ahead) == 0
    time.sleep(0.05)
    assert set(made) <= {0, 1} and all(count <= 6 for count in made.values())
    ahead.close()
    assert threads_alive() == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_stopping_early_closes_the_sources(threads):
    closed = []

    def source(index):
        try:
            yield from range(1000)
        finally:
            closed.append(index)

    ahead = ordered([lambda i=i: source(i) for i in range(3)], threads, lambda _: 1, 2)
    next(ahead)
    ahead.close()
    assert 0 in closed and threads_alive() == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_in_its_turn(threads):
    def bad():
        yield 3
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match="broken"):
        for item in ordered([lambda: iter([1, 2]), bad, lambda: iter([9])], threads, lambda _: 1, 9):
            found.append(item)
    assert found == [1, 2, 3] and threads_alive() == 0


def test_a_reader_that_is_dropped_closes_its_files(monkeypatch):
    store = memory_store()
    data = pa.table({"a": range(1000)})
    files = [add_file(store, f"{i}.parquet", data) for i in range(4)]
    snapshot = make_snapshot(make_config(Schema.from_arrow(data.schema)), files)
    opened, closed = [], []
    real_init, real_exit = parquet.DataFile.__init__, parquet.DataFile.__exit__
    monkeypatch.setattr(parquet.DataFile, "__init__", lambda self, *a: (opened.append(1), real_init(self, *a))[1])
    monkeypatch.setattr(parquet.DataFile, "__exit__", lambda self, *a: (closed.append(1), real_exit(self, *a))[1])
    reader = read_plan(store, plan(snapshot), threads=2, batch_size=10)
    reader.read_next_batch()
    del reader
    assert len(opened) == len(closed) >= 1 and threads_alive() == 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_sources_are_taken_as_needed_and_their_errors_come_in_turn(threads):
    taken = []

    def sources():
        for index in range(50):
            taken.append(index)
            if index == 20:
                raise ValueError("no such source")
            yield lambda i=index: iter([i])

    ahead = ordered(sources(), threads, lambda _: 1, 1)
    assert next(ahead) == 0
    time.sleep(0.02)
    assert len(taken) <= threads + 1
    with pytest.raises(ValueError, match="no such source"):
        list(ahead)
    assert threads_alive() == 0


def test_no_sources():
    assert list(ordered([], 3, lambda _: 1, 1)) == []
