"""A table against a plain list of rows under random operations, with stale second handles (reliability: law I-18)."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import ConflictError

PARTS = st.sampled_from(["a", "b", "ü/ %", None])
ROW = st.tuples(PARTS, st.one_of(st.none(), st.integers(-5, 5)))
ROWS = st.lists(ROW, max_size=6)
SCHEMA = pa.schema([pa.field("part", pa.string()), pa.field("x", pa.int64())])


def frame(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.table({"part": pa.array([r[0] for r in rows], pa.string()), "x": pa.array([r[1] for r in rows], pa.int64())})


class TableMachine(RuleBasedStateMachine):
    """``versions[v]`` is the multiset of rows that version ``v`` must show for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "t"
        self.versions: list[Counter[tuple[Any, ...]]] = []

    def teardown(self) -> None:
        for version, expected in enumerate(self.versions):
            assert self.rows(DeltaTable(self.path, version=version)) == expected
        shutil.rmtree(self.folder)

    @staticmethod
    def rows(table: DeltaTable) -> Counter[tuple[Any, ...]]:
        data = table.to_pyarrow_table(columns=["part", "x"])
        return Counter(zip(data["part"].to_pylist(), data["x"].to_pylist(), strict=True))

    @initialize(partitioned=st.booleans(), interval=st.sampled_from(["2", "3", "10"]))
    def create(self, partitioned: bool, interval: str) -> None:
        configuration = {"delta.checkpointInterval": interval}
        self.partitioned = partitioned
        self.table = DeltaTable.create(
            self.path, SCHEMA, partition_by="part" if partitioned else None, configuration=configuration,
            storage_options={"durability": "relaxed"},
        )  # fmt: skip
        self.stale = DeltaTable(self.path)
        self.versions.append(Counter())

    def landed(self, version: int, rows: Counter[tuple[Any, ...]]) -> None:
        assert version == len(self.versions)
        self.versions.append(rows)

    @rule(rows=ROWS)
    def append(self, rows: list[tuple[Any, ...]]) -> None:
        result = self.table.refresh().append(frame(rows))
        self.landed(result.version, self.versions[-1] + Counter(rows))

    @rule(rows=ROWS)
    def append_by_uri(self, rows: list[tuple[Any, ...]]) -> None:
        result = write_deltalake(self.path, frame(rows), mode="append")
        self.landed(result.version, self.versions[-1] + Counter(rows))

    @rule(rows=ROWS)
    def append_through_a_stale_handle(self, rows: list[tuple[Any, ...]]) -> None:
        result = self.stale.append(frame(rows))
        self.landed(result.version, self.versions[-1] + Counter(rows))

    @rule(rows=ROWS)
    def overwrite(self, rows: list[tuple[Any, ...]]) -> None:
        result = self.table.refresh().overwrite(frame(rows))
        self.landed(result.version, Counter(rows))

    @rule(rows=ROWS)
    def overwrite_through_a_stale_handle(self, rows: list[tuple[Any, ...]]) -> None:
        behind = self.stale.version() < len(self.versions) - 1
        try:
            result = self.stale.overwrite(frame(rows))
        except ConflictError:
            assert behind
            self.stale.refresh()
        else:
            # WriteSerializable lets blind appends pass; they then stand after the overwrite.
            seen = self.rows(DeltaTable(self.path, version=result.version))
            assert not Counter(rows) - seen
            self.landed(result.version, seen)

    @precondition(lambda self: self.partitioned)
    @rule(rows=ROWS, part=PARTS)
    def replace_where(self, rows: list[tuple[Any, ...]], part: str | None) -> None:
        rows = [(part, x) for _, x in rows]
        predicate = "part IS NULL" if part is None else f"part = '{part}'"
        result = self.table.refresh().overwrite(frame(rows), predicate=predicate)
        kept = Counter({row: n for row, n in self.versions[-1].items() if row[0] != part})
        self.landed(result.version, kept + Counter(rows))

    @precondition(lambda self: self.partitioned)
    @rule(rows=ROWS)
    def dynamic_overwrite(self, rows: list[tuple[Any, ...]]) -> None:
        result = self.table.refresh().overwrite(frame(rows), partition_overwrite="dynamic")
        touched = {row[0] for row in rows}
        kept = Counter({row: n for row, n in self.versions[-1].items() if row[0] not in touched})
        self.landed(result.version, kept + Counter(rows))

    @rule()
    def checkpoint(self) -> None:
        self.table.refresh().create_checkpoint()

    @rule()
    def reopen(self) -> None:
        self.table = DeltaTable(self.path)

    @rule(value=st.sampled_from(["a", "b"]))
    def set_property(self, value: str) -> None:
        result = self.table.refresh().alter.set_table_properties({"owner": value})
        self.landed(result.version, self.versions[-1])
        self.stale = DeltaTable(self.path)

    @rule(part=PARTS, x=st.integers(-6, 6))
    def filtered(self, part: str | None, x: int) -> None:
        table = DeltaTable(self.path)
        predicate = f"x >= {x} AND part {'IS NULL' if part is None else '= ' + repr(part)}"
        expected = sum(n for (p, v), n in self.versions[-1].items() if p == part and v is not None and v >= x)
        assert table.to_pyarrow_table(filters=predicate).num_rows == expected
        assert table.count(predicate) == expected

    @invariant()
    def newest_is_right(self) -> None:
        if self.versions:
            fresh = DeltaTable(self.path)
            assert fresh.version() == len(self.versions) - 1
            assert self.rows(fresh) == self.versions[-1]
            assert fresh.count() == sum(self.versions[-1].values())
            assert self.rows(self.table) == self.versions[self.table.version()]


TableMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestTable = TableMachine.TestCase


class LongTableMachine(TableMachine):
    """The same law over longer lives."""


LongTableMachine.TestCase.settings = settings(TableMachine.TestCase.settings, max_examples=60, stateful_step_count=40)
TestTableAtLength = pytest.mark.slow(LongTableMachine.TestCase)
