"""Two writers, real operations: a loser plans on a stale handle, the winner commits, the loser commits.

What must happen is computed from the written rules alone: each operation says which rows it asked for, which files it
read, removed and added, as seen by somebody who knows the two files of the table; ``verdict`` compares these facts. It
never looks at the code under test.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import (
    ConcurrentAppendError,
    ConcurrentDeleteDeleteError,
    ConcurrentDeleteReadError,
    ConflictError,
    MetadataChangedError,
)
from deltalite.storage.memory import MemoryStore

from .concurrency import Rows, copy_of, empty_store, names, orphans, rows_of

KINDS = {
    "CA": ConcurrentAppendError,
    "DR": ConcurrentDeleteReadError,
    "DD": ConcurrentDeleteDeleteError,
    "MC": MetadataChangedError,
}
LEVELS = ("Serializable", "WriteSerializable")
WINNER, LOSER = 0, 1

Row = tuple[str, int, int]

# -- the table: a file of part "1" with the ids 0..9 and one of part "2" with 10..19; the first id of each is deleted ----


def first_id(part: str) -> int:
    return 10 * (int(part) - 1)


def frame(rows: Iterable[Row]) -> pa.Table:
    rows = list(rows)
    return pa.table(
        {
            "part": pa.array([r[0] for r in rows], pa.string()),
            "id": pa.array([r[1] for r in rows], pa.int64()),
            "x": pa.array([r[2] for r in rows], pa.int64()),
        }
    )


BASE_ROWS: list[Row] = [(part, id, 0) for part in "12" for id in range(first_id(part) + 1, first_id(part) + 10)]


@functools.cache
def base(isolation: str, partitioned: bool) -> MemoryStore:
    store = empty_store()
    options = {"delta.enableDeletionVectors": "true", "delta.isolationLevel": isolation}
    columns = "part" if partitioned else None
    DeltaTable.create(store, frame([]).schema, partition_by=columns, configuration=options)
    for part in "12":
        write_deltalake(store, frame((part, first_id(part) + n, 0) for n in range(10)), mode="append")
    DeltaTable(store).delete("id IN (0, 10)")
    assert rows_of(DeltaTable(store)) == Rows(BASE_ROWS)
    return store


# -- the operations, and what an onlooker knows of them -------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """The rows that an operation asked for. ``ids``: these keys only; ``until``: ids up to this one only."""

    part: str | None = None
    ids: tuple[int, ...] | None = None
    until: int | None = None

    def may_be_in(self, file: Added) -> bool:
        if self.part is not None and file.part != self.part:
            return False
        if self.until is not None and file.low > self.until:
            return False
        return self.ids is None or any(file.low <= id <= file.high for id in self.ids)


@dataclass(frozen=True)
class Added:
    part: str
    low: int
    high: int

    @classmethod
    def of(cls, part: str, ids: Iterable[int]) -> Added:
        return cls(part, min(ids := list(ids)), max(ids))


@dataclass(frozen=True)
class Facts:
    """What an operation did; files are named by their part. ``asked=None`` and ``whole=False``: it read nothing."""

    asked: Asked | None = None
    whole: bool = False
    removes: frozenset[str] = frozenset()
    adds: tuple[Added, ...] = ()
    metadata: bool = False
    rearranges: bool = False

    @property
    def reads(self) -> frozenset[str]:
        files = {part: Added(part, first_id(part), first_id(part) + 9) for part in "12"}
        if self.whole:
            return frozenset(files)
        return frozenset(part for part, file in files.items() if self.asked and self.asked.may_be_in(file))

    @property
    def is_blind(self) -> bool:
        return bool(self.adds) and not self.removes and not self.whole and self.asked is None


@dataclass(frozen=True)
class Operation:
    """``run`` and ``model`` get the part and an id that only this writer inserts."""

    run: Callable[[DeltaTable, str, int], Any]
    facts: Callable[[str, int, bool], Facts]
    model: Callable[[list[Row], str, int], list[Row]]


def upsert(table: DeltaTable, rows: list[Row], part: str, *, update: bool = True) -> None:
    """The key is one by whose values files are not pruned, so that the part alone says what is read."""
    condition = f"t.part = '{part}' AND CAST(t.id AS DOUBLE) = CAST(s.id AS DOUBLE)"
    merger = table.merge(frame(rows), condition, source_alias="s", target_alias="t")
    merger = merger.when_not_matched_insert_all()
    (merger.when_matched_update_all() if update else merger).execute()


def everything(part: str) -> list[int]:
    return list(range(first_id(part), first_id(part) + 10))


def add_x(by: int) -> Callable[[list[Row], str, Callable[[int], bool]], list[Row]]:
    return lambda rows, part, hit: [(p, id, x + by) if p == part and hit(id) else (p, id, x) for p, id, x in rows]


def merged(rows: list[Row], source: list[Row], update: bool) -> list[Row]:
    by_key = {(p, id): x for p, id, x in source}
    kept = [(p, id, by_key.get((p, id), x) if update else x) for p, id, x in rows]
    keys = {(p, id) for p, id, _ in rows}
    return [*kept, *(row for row in source if row[:2] not in keys)]


def in_two_steps(table: DeltaTable, part: str, new: int) -> None:
    with table.transaction() as t:
        t.delete(f"part = '{part}' AND id = {first_id(part) + 6}")
        t.append(frame([(part, new, 1)]))


def inserting(part: str, new: int) -> list[Row]:
    return [(part, first_id(part) + 1, 7), (part, new, 7)]


def upserting(part: str, new: int) -> list[Row]:
    return [(part, first_id(part) + 2, 8), (part, new, 8)]


def rewriting(part: str, new: int) -> list[Row]:
    return [*((part, id, 9) for id in everything(part)[2:9]), (part, new, 9)]


def low(part: str) -> int:
    return first_id(part) + 3


OPERATIONS = {
    "blind append": Operation(
        lambda t, p, new: t.append(frame([(p, new, 1)])),
        lambda p, new, _: Facts(adds=(Added(p, new, new),)),
        lambda rows, p, new: [*rows, (p, new, 1)],
    ),
    "insert-only merge": Operation(
        lambda t, p, new: upsert(t, inserting(p, new), p, update=False),
        lambda p, new, _: Facts(Asked(p), adds=(Added(p, new, new),)),
        lambda rows, p, new: merged(rows, inserting(p, new), False),
    ),
    "delete by vector": Operation(
        lambda t, p, _: t.delete(f"part = '{p}' AND id = {first_id(p) + 4}"),
        lambda p, *_: Facts(Asked(p, (first_id(p) + 4,)), False, frozenset(p), (Added.of(p, everything(p)),)),
        lambda rows, p, _: [r for r in rows if r[:2] != (p, first_id(p) + 4)],
    ),
    "delete by rewrite": Operation(
        lambda t, p, _: t.delete(f"part = '{p}' AND id < {first_id(p) + 8}"),
        lambda p, *_: Facts(
            Asked(p, until=first_id(p) + 7), False, frozenset(p), (Added.of(p, everything(p)[8:]),)
        ),
        lambda rows, p, _: [r for r in rows if r[0] != p or r[1] >= first_id(p) + 8],
    ),
    "update by vector": Operation(
        lambda t, p, _: t.update({"x": "x + 1"}, predicate=f"part = '{p}' AND id = {first_id(p) + 5}"),
        lambda p, *_: Facts(
            Asked(p, (first_id(p) + 5,)), False, frozenset(p),
            (Added.of(p, everything(p)), Added.of(p, [first_id(p) + 5])),
        ),
        lambda rows, p, _: add_x(1)(rows, p, lambda key: key == first_id(p) + 5),
    ),
    "update by rewrite": Operation(
        lambda t, p, _: t.update({"x": "x + 10"}, predicate=f"part = '{p}'"),
        lambda p, *_: Facts(Asked(p), False, frozenset(p), (Added.of(p, everything(p)[1:]),)),
        lambda rows, p, _: add_x(10)(rows, p, lambda _: True),
    ),
    "merge by vector": Operation(
        lambda t, p, new: upsert(t, upserting(p, new), p),
        lambda p, new, _: Facts(
            Asked(p), False, frozenset(p),
            (Added.of(p, everything(p)), Added.of(p, [first_id(p) + 2, new])),
        ),
        lambda rows, p, new: merged(rows, upserting(p, new), True),
    ),
    "merge by rewrite": Operation(
        lambda t, p, new: upsert(t, rewriting(p, new), p),
        lambda p, new, _: Facts(
            Asked(p), False, frozenset(p), (Added.of(p, [*everything(p)[1:], new]),)
        ),
        lambda rows, p, new: merged(rows, rewriting(p, new), True),
    ),
    "delete whole files": Operation(
        lambda t, p, _: t.delete(f"part = '{p}'"),
        lambda p, *_: Facts(Asked(p), False, frozenset(p)),
        lambda rows, p, _: [r for r in rows if r[0] != p],
    ),
    "purge": Operation(
        lambda t, p, _: t.optimize.purge(f"part = '{p}'"),
        lambda p, *_: Facts(
            Asked(p), False, frozenset(p), (Added.of(p, everything(p)[1:]),), rearranges=True
        ),
        lambda rows, *_: rows,
    ),
    "overwrite": Operation(
        lambda t, p, new: t.overwrite(frame([(p, new, 2)])),
        lambda p, new, _: Facts(None, True, frozenset("12"), (Added(p, new, new),)),
        lambda rows, p, new: [(p, new, 2)],
    ),
    "replace where, whole files": Operation(
        lambda t, p, new: t.overwrite(frame([(p, new, 3)]), predicate=f"part = '{p}'"),
        lambda p, new, _: Facts(Asked(p), False, frozenset(p), (Added(p, new, new),)),
        lambda rows, p, new: [*(r for r in rows if r[0] != p), (p, new, 3)],
    ),
    "replace where, rows": Operation(
        lambda t, p, _: t.overwrite(frame([(p, low(p), 4)]), predicate=f"part = '{p}' AND id <= {low(p)}"),
        lambda p, *_: Facts(
            Asked(p, until=low(p)), False, frozenset(p), (Added.of(p, everything(p)), Added(p, low(p), low(p)))
        ),
        lambda rows, p, _: [*(r for r in rows if r[0] != p or r[1] > low(p)), (p, low(p), 4)],
    ),
    "dynamic overwrite": Operation(
        lambda t, p, new: t.overwrite(frame([(p, new, 5)]), partition_overwrite="dynamic"),
        lambda p, new, partitioned: Facts(
            Asked(p) if partitioned else None, not partitioned, frozenset(p if partitioned else "12"),
            (Added(p, new, new),),
        ),
        lambda rows, p, new: [(p, new, 5)],  # of an unpartitioned table
    ),
    "set properties": Operation(
        lambda t, p, new: t.alter.set_table_properties({"owner": str(new)}),
        lambda *_: Facts(metadata=True),
        lambda rows, *_: rows,
    ),
    "transaction": Operation(
        in_two_steps,
        lambda p, new, _: Facts(
            Asked(p, (first_id(p) + 6,)), False, frozenset(p), (Added.of(p, everything(p)), Added(p, new, new))
        ),
        lambda rows, p, new: [*(r for r in rows if r[:2] != (p, first_id(p) + 6)), (p, new, 1)],
    ),
}  # fmt: skip


def verdict(mine: Facts, theirs: Facts, isolation: str) -> str | None:
    """The first conflict of the rules of the reference implementation, statistics being allowed to disprove one."""
    if theirs.metadata:
        return "MC"
    if not mine.is_blind and not mine.rearranges and not (isolation == "WriteSerializable" and theirs.is_blind):
        if mine.whole and theirs.adds:
            return "CA"
        if mine.asked is not None and any(mine.asked.may_be_in(file) for file in theirs.adds):
            return "CA"
    if theirs.removes and (mine.whole or mine.reads & theirs.removes):
        return "DR"
    if mine.removes & theirs.removes:
        return "DD"
    return None


def model(name: str, rows: list[Row], part: str, new: int, partitioned: bool) -> list[Row]:
    if name == "dynamic overwrite" and partitioned:
        return [*(r for r in rows if r[0] != part), (part, new, 5)]
    return OPERATIONS[name].model(rows, part, new)


NEW_IDS = {WINNER: 100, LOSER: 200}


@functools.cache
def won(name: str, isolation: str, partitioned: bool, part: str) -> MemoryStore:
    """The table after a winner; a copy is made for each loser."""
    store = copy_of(base(isolation, partitioned))
    before = DeltaTable(store).version()
    OPERATIONS[name].run(DeltaTable(store), part, NEW_IDS[WINNER])
    table = DeltaTable(store)
    assert table.version() == before + 1
    assert rows_of(table) == Rows(model(name, BASE_ROWS, part, NEW_IDS[WINNER], partitioned))
    return store


def contested(loser: str, winner: str, isolation: str, partitioned: bool, overlap: bool) -> None:
    there = "1" if overlap else "2"
    store = copy_of(won(winner, isolation, partitioned, there))
    after_winner, files = DeltaTable(store), names(store)
    version = after_winner.version()
    stale = DeltaTable(store, version=version - 1)
    want = verdict(
        OPERATIONS[loser].facts("1", NEW_IDS[LOSER], partitioned),
        OPERATIONS[winner].facts(there, NEW_IDS[WINNER], partitioned),
        isolation,
    )
    try:
        OPERATIONS[loser].run(stale, "1", NEW_IDS[LOSER])
    except ConflictError as error:
        assert want is not None, error
        assert type(error) is KINDS[want], (want, error)
        assert_tells_who_won(error, after_winner)
        assert stale.version() == version - 1
        newest = DeltaTable(store)
        assert newest.version() == version
        assert rows_of(newest) == rows_of(after_winner)
        assert names(store) == files, "the loser left files behind"
    else:
        assert want is None, f"expected {want}"
        found = DeltaTable(store)
        assert found.version() == stale.version() == version + 1

        def serial(*order: int) -> Rows:
            rows = BASE_ROWS
            for who in order:
                name, part = (winner, there) if who == WINNER else (loser, "1")
                rows = model(name, rows, part, NEW_IDS[who], partitioned)
            return Rows(rows)

        allowed = [serial(WINNER, LOSER)]
        if isolation == "WriteSerializable":
            allowed.append(serial(LOSER, WINNER))
        assert rows_of(found) in allowed
        assert not orphans(store)
    store.clear()


def assert_tells_who_won(error: ConflictError, winner: DeltaTable) -> None:
    [last] = winner.history(1)
    assert error.winner_version == winner.version()
    assert error.winner_txn_id == last["txnId"]
    assert error.winner_operation == last["operation"]
    assert error.retryable and error.hint
    assert str(winner.version()) in str(error) and last["operation"] in str(error)
    if not isinstance(error, MetadataChangedError):
        assert error.path and error.path in {
            a.path for a in list(winner.commits(winner.version()))[0].actions if hasattr(a, "path")
        }


SETTINGS = list(itertools.product(LEVELS, (True, False), (True, False)))
"""Isolation, partitioned or not, same part or another one."""


def contest(loser: str, winner: str, setting: tuple[str, bool, bool]) -> None:
    try:
        contested(loser, winner, *setting)
    except BaseException as error:
        error.args = (f"{loser} after {winner}, {setting}: {error}", *error.args[1:])
        raise


@pytest.mark.parametrize("loser", OPERATIONS)
def test_matrix(loser: str) -> None:
    """Every pair, in two settings that differ in all three respects; which two goes round."""
    for number, winner in enumerate(OPERATIONS, list(OPERATIONS).index(loser)):
        for setting in (SETTINGS[number % 4], SETTINGS[7 - number % 4]):
            contest(loser, winner, setting)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("loser", OPERATIONS)
def test_whole_matrix(loser: str, setting: tuple[str, bool, bool]) -> None:
    for winner in OPERATIONS:
        contest(loser, winner, setting)


# -- two writers of one thing -----------------------------------------------------------------------------------------

MERGING = {
    "merge": lambda t, rows: upsert_by_key(t, rows),
    "insert only": lambda t, rows: upsert_by_key(t, rows, update=False),
}


def upsert_by_key(table: DeltaTable, rows: list[Row], *, update: bool = True) -> None:
    merger = table.merge(frame(rows), "t.id = s.id", source_alias="s", target_alias="t").when_not_matched_insert_all()
    (merger.when_matched_update_all() if update else merger).execute()


def table_of(*files: list[Row], vectors: bool = True, **properties: str) -> DeltaTable:
    store = empty_store()
    options = {"delta.enableDeletionVectors": str(vectors).lower(), **properties}
    table = DeltaTable.create(store, frame([]).schema, configuration=options)
    for rows in files:
        table.append(frame(rows))
    return DeltaTable(store)


@pytest.mark.bug("T-13")
@pytest.mark.bug("T-14")
@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("files", [[], [[("1", 1, 0)]]], ids=["empty", "disjoint"])
@pytest.mark.parametrize("name", MERGING)
def test_of_two_merges_of_one_new_key_one_lands(name: str, files: list[list[Row]], isolation: str) -> None:
    first = table_of(*files, **{"delta.isolationLevel": isolation})
    second = DeltaTable(first._store)
    MERGING[name](first, [("1", 7, 1)])
    with pytest.raises(ConcurrentAppendError):
        MERGING[name](second, [("1", 7, 2)])
    MERGING[name](second.refresh(), [("1", 7, 2)])
    assert [row for row in rows_of(second) if row[1] == 7] == [("1", 7, 2 if name == "merge" else 1)]
    assert rows_of(second).total() == len(files) + 1


def test_statistics_show_that_two_merges_of_different_keys_agree() -> None:
    first = table_of([("1", 1, 0)])
    second = DeltaTable(first._store)
    upsert_by_key(first, [("1", 7, 1)])
    upsert_by_key(second, [("1", 8, 2)])
    assert rows_of(DeltaTable(first._store)) == Rows([("1", 1, 0), ("1", 7, 1), ("1", 8, 2)])


@pytest.mark.bug("T-13")
@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("partitions", ["static", "dynamic"])
def test_of_two_overwrites_of_an_empty_table_one_lands(isolation: str, partitions: str) -> None:
    first = table_of(**{"delta.isolationLevel": isolation})
    second = DeltaTable(first._store)
    first.overwrite(frame([("1", 1, 1)]), partition_overwrite=partitions)
    with pytest.raises(ConcurrentAppendError):
        second.overwrite(frame([("1", 2, 2)]), partition_overwrite=partitions)
    assert rows_of(DeltaTable(first._store)) == Rows([("1", 1, 1)])


def test_a_delete_that_found_nothing_commits_nothing_and_cannot_conflict() -> None:
    first = table_of([("1", 1, 0)])
    second = DeltaTable(first._store)
    first.append(frame([("1", 5, 0)]))
    result = second.delete("id = 5")
    assert result.skipped and result.version == 1
    assert DeltaTable(first._store).version() == 2


@pytest.mark.bug("T-13")
@pytest.mark.parametrize("isolation", LEVELS)
def test_a_read_of_no_rows_within_a_transaction_is_a_read(isolation: str) -> None:
    """A step that deletes what is not there yet, and another that adds: the first one counts."""
    first = table_of([("1", 1, 0)], **{"delta.isolationLevel": isolation})
    second = DeltaTable(first._store)
    upsert_by_key(first, [("1", 5, 0)])
    with pytest.raises(ConcurrentAppendError), second.transaction() as t:
        t.delete("id = 5")
        t.append(frame([("1", 6, 0)]))
    assert rows_of(DeltaTable(first._store)) == Rows([("1", 1, 0), ("1", 5, 0)])
    assert not orphans(first._store)


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_two_deletes_of_different_rows_of_one_file_conflict_and_the_loser_may_repeat(vectors: bool) -> None:
    rows = [("1", n, 0) for n in range(10)]
    first = table_of(rows, vectors=vectors)
    second = DeltaTable(first._store)
    first.delete("id = 3")
    before = names(first._store)
    with pytest.raises(ConflictError, match=r"version 2 \(DELETE\) came first: it (marked rows of|added)") as caught:
        second.delete("id = 7")
    assert caught.value.retryable and "repeat the operation" in caught.value.hint
    assert names(first._store) == before
    second.refresh().delete("id = 7")
    left = DeltaTable(first._store)
    assert rows_of(left) == Rows(row for row in rows if row[1] not in (3, 7))
    assert left.files().num_rows == 1


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_deletes_of_different_files_both_land(vectors: bool) -> None:
    one, two = [("1", n, 0) for n in range(10)], [("2", n, 0) for n in range(10, 20)]
    first = table_of(one, two, vectors=vectors)
    second = DeltaTable(first._store)
    first.delete("id = 3")
    assert second.delete("id = 13").version == 4
    assert rows_of(second) == Rows(row for row in [*one, *two] if row[1] not in (3, 13))


def test_the_vector_that_is_there_is_part_of_what_was_read() -> None:
    """A purge between reading and deleting: positions would mean other rows of another file."""
    first = table_of([("1", n, 0) for n in range(10)])
    first.delete("id = 0")
    second = DeltaTable(first._store)
    first.optimize.purge()
    with pytest.raises(ConcurrentDeleteReadError):
        # an optimised file is no new row at any level, but the file that was read is gone
        DeltaTable(first._store, version=2).optimize.purge()
    with pytest.raises(ConcurrentAppendError):
        second.delete("id = 1")
    second.refresh().delete("id = 1")
    assert rows_of(second) == Rows(("1", n, 0) for n in range(2, 10))


@pytest.mark.parametrize("isolation", LEVELS)
def test_a_conflict_is_found_behind_commits_that_do_not_conflict(isolation: str) -> None:
    """Every winner is judged, not the first one alone; the error names the one that was in the way."""
    first = table_of([("1", n, 0) for n in range(10)], **{"delta.isolationLevel": isolation})
    second = DeltaTable(first._store)
    first.append(frame([("2", 100, 0)]))
    first.append(frame([("2", 101, 0)]))
    first.update({"x": "1"}, predicate="id = 4")
    with pytest.raises(ConcurrentAppendError) as caught:
        second.delete("id = 5")
    assert caught.value.winner_version == 4 and caught.value.winner_operation == "UPDATE"
    assert not orphans(first._store)


def test_the_columns_of_a_schema_that_grew_inside_of_the_transaction_can_be_judged() -> None:
    """The winner's files know nothing of a column that the loser's first step added and its second one asked for."""
    first = table_of([("1", 1, 0)])
    second = DeltaTable(first._store)
    upsert_by_key(first, [("2", 2, 0)])
    wide = frame([("1", 3, 0)]).append_column("y", pa.array([5], pa.int64()))
    with pytest.raises(ConcurrentAppendError), second.transaction() as t:
        t.append(wide, schema_mode="merge")
        t.delete("y IS NULL")
    assert rows_of(DeltaTable(first._store)) == Rows([("1", 1, 0), ("2", 2, 0)])
    assert not orphans(first._store)
