"""A table against a plain list of rows under random operations, with stale second handles (reliability: law I-18)."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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

Rows = Counter[tuple[Any, ...]]


def frame(rows: list[tuple[Any, ...]]) -> pa.Table:
    return pa.table(
        {"part": pa.array([r[0] for r in rows], pa.string()), "x": pa.array([r[1] for r in rows], pa.int64())}
    )


# -- operations: what they do to a table, and what to a multiset of rows -------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """``run`` works on a handle, whole table or inside of a transaction; ``model`` on rows."""

    name: str
    run: Callable[[DeltaTable], Any]
    model: Callable[[Rows], Rows]

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Condition:
    sql: str | None
    holds: Callable[[tuple[Any, ...]], bool]

    def __repr__(self) -> str:
        return repr(self.sql)


def _part_is(part: str | None) -> Condition:
    return Condition("part IS NULL" if part is None else f"part = '{part}'", lambda row: row[0] == part)


CONDITIONS = st.one_of(
    st.builds(_part_is, PARTS),
    st.builds(lambda k: Condition(f"x >= {k}", lambda row: row[1] is not None and row[1] >= k), st.integers(-6, 7)),
    st.just(Condition("x IS NULL", lambda row: row[1] is None)),
    st.just(
        Condition("part = 'a' AND x % 2 = 0", lambda row: row[0] == "a" and row[1] is not None and row[1] % 2 == 0)
    ),
    st.just(Condition(None, lambda row: True)),
)


def mapped(rows: Rows, change: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]) -> Rows:
    found: Rows = Counter()
    for row, n in rows.items():
        new = change(row)
        if new is not None:
            found[new] += n
    return found


def appending(rows: list[tuple[Any, ...]]) -> Operation:
    return Operation(f"append {rows}", lambda t: t.append(frame(rows)), lambda old: old + Counter(rows))


def overwriting(rows: list[tuple[Any, ...]]) -> Operation:
    return Operation(f"overwrite {rows}", lambda t: t.overwrite(frame(rows)), lambda _: Counter(rows))


def deleting(where: Condition) -> Operation:
    keep = lambda row: None if where.holds(row) else row
    return Operation(f"delete {where}", lambda t: t.delete(where.sql), lambda old: mapped(old, keep))


def up(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[0], None if row[1] is None else row[1] + 1


def updating(where: Condition, moves: bool) -> Operation:
    new = (lambda row: ("b", row[1])) if moves else up
    values = {"part": "'b'"} if moves else {"x": "x + 1"}
    return Operation(
        f"update {values} where {where}",
        lambda t: t.update(values, predicate=where.sql),
        lambda old: mapped(old, lambda row: new(row) if where.holds(row) else row),
    )


def merging(rows: list[tuple[Any, ...]], deletes: bool, inserts: bool) -> Operation:
    """Rows of the table that the source has are deleted or counted up; what it lacks is inserted."""
    rows = list(dict.fromkeys(rows))
    keys = {row for row in rows if None not in row}

    def run(table: DeltaTable) -> Any:
        merger = table.merge(frame(rows), "t.part = s.part AND t.x = s.x", source_alias="s", target_alias="t")
        merger = merger.when_matched_delete() if deletes else merger.when_matched_update({"x": "t.x + 1"})
        return (merger.when_not_matched_insert_all() if inserts else merger).execute()

    def model(old: Rows) -> Rows:
        changed = mapped(old, lambda row: row if row not in keys else None if deletes else up(row))
        return changed + Counter(row for row in rows if inserts and row not in old) if inserts else changed

    # a source row with a null key matches nothing and is inserted, even if the table has one like it
    def exact(old: Rows) -> Rows:
        unmatched = [row for row in rows if None in row and row in old] if inserts else []
        return model(old) + Counter(unmatched)

    return Operation(f"merge {rows} deletes={deletes} inserts={inserts}", run, exact)


STEPS = st.one_of(
    st.builds(appending, ROWS),
    st.builds(deleting, CONDITIONS),
    st.builds(updating, CONDITIONS, st.booleans()),
    st.builds(merging, ROWS, st.booleans(), st.booleans()),
)


def transaction(steps: list[Operation]) -> Operation:
    def run(table: DeltaTable) -> Any:
        with (tx := table.transaction()) as t:
            for step in steps:
                step.run(t)
        return tx.result

    def model(rows: Rows) -> Rows:
        for step in steps:
            rows = step.model(rows)
        return rows

    return Operation(f"transaction {steps}", run, model)


CHANGES = st.one_of(
    STEPS, st.builds(overwriting, ROWS), st.builds(transaction, st.lists(STEPS, min_size=2, max_size=3))
)


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
            if version and self.feed:
                self.replay(version)
        shutil.rmtree(self.folder)

    @staticmethod
    def rows(table: DeltaTable) -> Counter[tuple[Any, ...]]:
        data = table.to_pyarrow_table(columns=["part", "x"])
        return Counter(zip(data["part"].to_pylist(), data["x"].to_pylist(), strict=True))

    def replay(self, version: int) -> None:
        """The feed of a version leads from the rows before it to its own (law I-11)."""
        found = Counter(self.versions[version - 1])
        told = DeltaTable(self.path).load_cdf(version, version, columns=["part", "x", "_change_type"]).read_all()
        for part, x, kind in zip(*(column.to_pylist() for column in told.columns), strict=True):
            found[(part, x)] += 1 if kind in ("insert", "update_postimage") else -1
        assert min(found.values(), default=0) >= 0
        assert +found == self.versions[version]

    @initialize(
        partitioned=st.booleans(),
        interval=st.sampled_from(["2", "3", "10"]),
        isolation=st.sampled_from(["Serializable", "WriteSerializable"]),
        switches=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    )
    def create(self, partitioned: bool, interval: str, isolation: str, switches: tuple[bool, bool, bool]) -> None:
        configuration = {"delta.checkpointInterval": interval, "delta.isolationLevel": isolation}
        vectors, self.feed, self.tracking = switches
        names = ("enableDeletionVectors", "enableChangeDataFeed", "enableRowTracking")
        configuration |= {f"delta.{name}": "true" for name, on in zip(names, switches, strict=True) if on}
        self.partitioned, self.isolation, self.vectors = partitioned, isolation, vectors
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
    def append_by_uri(self, rows: list[tuple[Any, ...]]) -> None:
        result = write_deltalake(self.path, frame(rows), mode="append")
        self.landed(result.version, self.versions[-1] + Counter(rows))

    @rule(operation=CHANGES)
    def change(self, operation: Operation) -> None:
        result = operation.run(self.table.refresh())
        rows = operation.model(self.versions[-1])
        if result.skipped:
            assert result.version == len(self.versions) - 1
            assert rows == self.versions[-1]
        else:
            self.landed(result.version, rows)

    @rule(operation=CHANGES)
    def change_through_a_stale_handle(self, operation: Operation) -> None:
        """It conflicts, or what it did to the rows that it saw happens to the newest ones; at the stricter level this
        is what it would have done to those."""
        seen, newest = self.versions[self.stale.version()], self.versions[-1]
        behind = self.stale.version() < len(self.versions) - 1
        try:
            result = operation.run(self.stale)
        except ConflictError as error:
            assert behind and error.winner_version <= len(self.versions) - 1
            self.stale.refresh()
            return
        after = operation.model(seen)
        if result.skipped:
            assert after == seen
            return
        rows = Counter(newest)
        rows.subtract(seen)
        rows.update(after)
        assert min(rows.values(), default=0) >= 0
        if self.isolation == "Serializable":
            assert +rows == operation.model(newest)
        self.landed(result.version, +rows)

    @rule(winner=CHANGES, loser=CHANGES)
    def race(self, winner: Operation, loser: Operation) -> None:
        self.stale = DeltaTable(self.path)
        self.change(winner)
        self.change_through_a_stale_handle(loser)

    @rule(stale=st.booleans(), kind=st.sampled_from(["purge", "compact"]))
    def rearrange(self, stale: bool, kind: str) -> None:
        table = self.stale if stale else self.table.refresh()
        try:
            result = getattr(table.optimize, kind)()
        except ConflictError:
            assert stale
            self.stale.refresh()
            return
        if not result.skipped:
            self.landed(result.version, self.versions[-1])

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
    def checkpoint_and_reopen(self) -> None:
        self.table.refresh().create_checkpoint()
        self.table = DeltaTable(self.path)

    @rule(vectors=st.booleans())
    def alter(self, vectors: bool) -> None:
        name = "delta.enableDeletionVectors"
        result = self.table.refresh().alter.set_table_properties({name: str(vectors).lower()})
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
            if self.tracking:
                ids = fresh.to_pyarrow_table(columns=["_row_id"])["_row_id"].to_pylist()
                assert None not in ids and len(set(ids)) == len(ids), "I-15"


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
TestTableAtLength = pytest.mark.nightly(LongTableMachine.TestCase)
