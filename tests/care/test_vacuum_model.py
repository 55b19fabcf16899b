"""VACUUM against a plain model of what must stay, over random histories."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable

sys.path.insert(0, str(Path(__file__).parent))
from aging import (
    HOUR_MS,
    commits,
    data_files,
    fake_clock,
    memory,
    mentioned,
    must_stay,
    rows,
    time_of,
    vectors_in_files,
)

SCHEMA = pa.schema([pa.field("part", pa.string()), pa.field("x", pa.int64())])
PARTS = st.sampled_from(["a", "b c", "ü%", None])
ROWS = st.lists(st.tuples(PARTS, st.integers(0, 9)), min_size=1, max_size=5)
STEP = st.one_of(
    st.tuples(st.just("append"), ROWS),
    st.tuples(st.just("overwrite"), ROWS),
    st.tuples(st.just("dynamic"), ROWS),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("update"), st.integers(0, 9)),
    st.tuples(st.just("purge"), st.none()),
    st.tuples(st.just("checkpoint"), st.none()),
    st.tuples(st.just("orphan"), st.sampled_from(["o.parquet", "part=a/o", "deletion_vector_x.bin", "_change_data/o"])),
    st.tuples(st.just("tag"), st.integers(0, 20)),
    st.tuples(st.just("untag"), st.none()),
    st.tuples(st.just("vacuum"), st.tuples(st.integers(0, 60), st.booleans())),
    st.tuples(st.just("wait"), st.integers(1, 30)),
)


def frame(data: list[tuple[Any, ...]]) -> pa.Table:
    return pa.table({"part": [r[0] for r in data], "x": [r[1] for r in data]}, schema=SCHEMA)


class History:
    """A table, its versions' rows and changes as they were when they were new, and its tags."""

    def __init__(self, clock: Any, partitioned: bool, feed: bool, vectors: bool) -> None:
        self.clock, self.feed = clock, feed
        self.store = memory()
        configuration = {
            "delta.enableChangeDataFeed": str(feed).lower(),
            "delta.enableDeletionVectors": str(vectors).lower(),
            "delta.checkpointInterval": "4",
            "delta.enableExpiredLogCleanup": "false",
        }
        self.table = DeltaTable.create(
            self.store, SCHEMA, partition_by="part" if partitioned else None, configuration=configuration
        )
        self.rows: dict[int, Counter[Any]] = {}
        self.changes: dict[int, Counter[Any]] = {}
        self.tags: dict[str, int] = {}
        self.readable_from = 0
        self.note()

    def note(self) -> None:
        for version in range(len(self.rows), self.table.refresh().version() + 1):
            self.rows[version] = rows(self.table.at(version))
            if self.feed:
                self.changes[version] = self.changed(version)

    def changed(self, version: int) -> Counter[Any]:
        found = self.table.refresh().load_cdf(version, version).read_all().to_pydict()
        return Counter(zip(found["part"], found["x"], found["_change_type"], strict=True))

    def step(self, kind: str, value: Any) -> None:
        table = self.table
        if kind == "append":
            table.append(frame(value))
        elif kind == "overwrite":
            table.overwrite(frame(value))
        elif kind == "dynamic":
            how = {"partition_overwrite": "dynamic"} if table.metadata().partition_columns else {}
            table.overwrite(frame(value), **how)
        elif kind == "delete":
            table.delete(f"x = {value}")
        elif kind == "update":
            table.update({"x": "x + 1"}, predicate=f"x = {value}")
        elif kind == "purge" and table.files().num_rows:
            table.optimize.purge()
        elif kind == "checkpoint":
            table.create_checkpoint()
        elif kind == "orphan":
            self.store.put(value, b"left behind")
        elif kind == "tag":
            self.tag(value % (table.version() + 1))
        elif kind == "untag" and self.tags:
            table.tags.delete(self.tags.popitem()[0])
        elif kind == "vacuum":
            self.vacuum(*value)
        self.clock.pass_hours(value if kind == "wait" else 1)
        self.note()

    def tag(self, version: int) -> None:
        name = f"tag-{version}"
        if version >= self.readable_from and name not in self.tags:
            self.table.tags.create(name, version)
            self.tags[name] = version

    def plan(self, hours: int, full: bool) -> set[str]:
        """The law: what must stay stays, and what may go goes; told by a dry run."""
        there = {f.path: f.modified_ms for f in self.store.list_all() if not f.path.startswith("_delta_log/")}
        cutoff = self.clock.now_ms - hours * HOUR_MS
        stay = must_stay(self.store, cutoff, set(self.tags.values()))
        young = {path for path, written in there.items() if written > cutoff}
        may_go = set(there) - stay - young
        dry = self.table.vacuum(hours, enforce_retention_duration=False, full=full, force=True)
        assert not set(dry) & stay, "what must stay would go"
        assert set(dry) == (may_go if full else may_go & mentioned(self.store)), "what may go would stay"
        assert len(dry) == len(set(dry)) and data_files(self.store) == set(there)
        return set(dry)

    def vacuum(self, hours: int, full: bool) -> None:
        for other in (0, 2, 5, 10, 20, 40):
            self.plan(other, full)
        planned, before, log = self.plan(hours, full), data_files(self.store), commits(self.store)
        cutoff = self.clock.now_ms - hours * HOUR_MS
        result = self.table.vacuum(hours, False, False, full=full, force=True)
        assert set(result) == planned == before - data_files(self.store) and not result.skipped
        gone = [v for v in log if v + 1 in log and time_of(log[v + 1]) <= cutoff]
        self.readable_from = max([self.readable_from, *(v + 1 for v in gone)])
        self.note()
        self.check()

    def check(self) -> None:
        readable = set(range(self.readable_from, self.table.refresh().version() + 1)) | set(self.tags.values())
        for version in readable:
            assert rows(self.table.at(version)) == self.rows[version], version
        for name, version in self.tags.items():
            assert self.table.at(tag=name).version() == version
        for version, expected in self.changes.items():
            if version > self.readable_from:
                assert self.changed(version) == expected, f"changes of {version}"


@given(
    steps=st.lists(STEP, min_size=6, max_size=16),
    partitioned=st.booleans(),
    feed=st.booleans(),
    vectors=st.booleans(),
    last=st.tuples(st.integers(0, 40), st.booleans()),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_must_stay_stays_and_nothing_else(
    steps: list[tuple[str, Any]], partitioned: bool, feed: bool, vectors: bool, last: tuple[int, bool]
) -> None:
    with fake_clock() as clock, vectors_in_files():
        history = History(clock, partitioned, feed, vectors)
        for kind, value in steps:
            history.step(kind, value)
        history.vacuum(*last)
        history.store.clear()


@pytest.mark.nightly
@given(
    steps=st.lists(STEP, min_size=10, max_size=40), partitioned=st.booleans(), feed=st.booleans(), vectors=st.booleans()
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_long_histories(steps: list[tuple[str, Any]], partitioned: bool, feed: bool, vectors: bool) -> None:
    with fake_clock() as clock, vectors_in_files():
        history = History(clock, partitioned, feed, vectors)
        for kind, value in [*steps, ("vacuum", (0, True))]:
            history.step(kind, value)
        history.store.clear()
