"""Several operations, one commit: what steps see, what others see, what the log says of it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalite.exceptions import (
    ConcurrentAppendError,
    ConcurrentTransactionError,
    ConflictError,
    ConstraintViolation,
    InvalidArgumentError,
    MetadataChangedError,
)
from deltalite.model.actions import AddCDCFile, AddFile, CommitInfo, Metadata, Protocol, RemoveFile
from deltalite.model.files import add_files
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import FaultyStore

from .concurrency import Rows, copy_of, empty_store, missing, names, orphans, rows_of

PARTS = ["a", "ü/ %"]


def frame(ids: Any, x: int = 0, part: str = "a") -> pa.Table:
    ids = list(ids)
    columns = [pa.repeat(part, len(ids)), pa.array(ids, pa.int64()), pa.repeat(x, len(ids))]
    return pa.table(columns, names=["part", "id", "x"])


def two_parts(ids: range, x: int = 0, parts: Sequence[str] = PARTS) -> pa.Table:
    return pa.concat_tables([frame(ids[0::2], x, parts[0]), frame(ids[1::2], x, parts[1])])


def create(
    vectors: bool = True, feed: bool = False, tracking: bool = False, partitioned: bool = True, **properties: str
) -> DeltaTable:
    switches = {"enableDeletionVectors": vectors, "enableChangeDataFeed": feed, "enableRowTracking": tracking}
    options = {f"delta.{name}": "true" for name, on in switches.items() if on} | properties
    store = empty_store()
    columns = "part" if partitioned else None
    return DeltaTable.create(store, frame([]).schema, partition_by=columns, configuration=options)


def filled(**options: Any) -> DeltaTable:
    """Version 1: ids 0..39 in two parts."""
    table = create(**options)
    table.append(two_parts(range(40)))
    return table


def upsert(table: DeltaTable, source: pa.Table) -> Any:
    merger = table.merge(source, "t.part = s.part AND t.id = s.id", source_alias="s", target_alias="t")
    return merger.when_matched_update_all().when_not_matched_insert_all().execute()


def store_of(table: DeltaTable) -> MemoryStore:
    return table._store  # type: ignore[return-value]


def last_actions(table: DeltaTable) -> list[Any]:
    return list(next(iter(DeltaTable(store_of(table)).commits(table.version()))).actions)


def keyed(table: DeltaTable, *columns: str) -> dict[int, tuple[Any, ...]]:
    data = table.to_pyarrow_table(columns=["id", *columns])
    found = dict(zip(data["id"].to_pylist(), zip(*(data[c].to_pylist() for c in columns), strict=True), strict=True))
    assert len(found) == data.num_rows
    return found


def assert_well_formed(table: DeltaTable) -> None:
    """What holds for every commit, whatever its steps were."""
    actions = last_actions(table)
    of = lambda *kinds: [a for a in actions if isinstance(a, kinds)]
    assert isinstance(actions[0], CommitInfo)
    assert len(of(CommitInfo)) == 1 and len(of(Metadata)) <= 1 and len(of(Protocol)) <= 1
    for kind in (AddFile, RemoveFile):
        assert all(n == 1 for n in Counter(a.path for a in of(kind)).values())
    assert not {a.key for a in of(AddFile)} & {a.key for a in of(RemoveFile)}
    live_before = table.at(table.version() - 1)._snapshot.files
    assert {a.key for a in of(RemoveFile)} <= {f.key for f in add_files(live_before.table())}, "I-04"
    store = store_of(table)
    assert not orphans(store) and not missing(store)


def assert_feed_replays(table: DeltaTable) -> None:
    """The rows before, with the changes of the version applied, are the rows after (law I-11)."""
    version = table.version()
    feed = table.load_cdf(version, version).read_all()
    change: Counter[Any] = Counter()
    for row in feed.to_pylist():
        sign = 1 if row["_change_type"] in ("insert", "update_postimage") else -1
        assert row["_commit_version"] == version
        change[tuple(row[name] for name in table.schema().names)] += sign
    before = table.at(version - 1)
    lacking = [name for name in table.schema().names if name not in before.schema().names]
    data = before.to_pyarrow_table()
    for name in lacking:
        data = data.append_column(name, pa.nulls(data.num_rows, table.schema().to_arrow().field(name).type))
    after = Counter(zip(*(data[name].to_pylist() for name in table.schema().names), strict=True))
    after.update(change)
    assert all(n >= 0 for n in after.values()), "a row was deleted that was not there"
    assert +after == rows_of(table)


# -- the law: a transaction is its steps, one after the other ----------------------------------------------------------

PREDICATES = st.one_of(
    st.builds("id % {} = {}".format, st.integers(2, 4), st.integers(0, 3)),
    st.builds("id < {}".format, st.integers(-1, 60)),
    st.builds("part = '{}'".format, st.sampled_from(PARTS)),
    st.just(None),
)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("delete"), PREDICATES),
    st.tuples(st.just("update"), PREDICATES),
    st.tuples(st.just("merge"), st.integers(0, 50)),
    st.tuples(st.just("overwrite"), st.integers(0, 4)),
    st.tuples(st.just("replace where"), st.integers(0, 30)),
    st.tuples(st.just("dynamic"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["purge", "compact"]), st.none()),
    st.tuples(st.just("set"), st.sampled_from(["one", "two"])),
)


def apply_step(table: DeltaTable, step: tuple[str, Any], number: int) -> None:
    kind, value = step
    new = range(1000 * (number + 1), 1000 * (number + 1) + (value if isinstance(value, int) else 0))
    if kind == "append":
        table.append(two_parts(new, number))
    elif kind == "delete":
        table.delete(value)
    elif kind == "update":
        table.update({"x": f"x + {number + 1}"}, predicate=value)
    elif kind == "merge":
        upsert(table, pa.concat_tables([two_parts(range(value, value + 6), number), two_parts(new[:2], number)]))
    elif kind == "overwrite":
        table.overwrite(two_parts(new, number))
    elif kind == "replace where":
        table.overwrite(frame([value + 1], number, PARTS[0]), predicate=f"id > {value} AND id <= {value + 5}")
    elif kind == "dynamic":
        table.overwrite(frame(new, number, PARTS[0]), partition_overwrite="dynamic")
    elif kind == "purge":
        table.optimize.purge()
    elif kind == "compact":
        table.optimize.compact()
    elif kind == "set":
        table.alter.set_table_properties({"owner": value})


def unique_ids(table: DeltaTable) -> bool:
    ids = table.to_pyarrow_table(columns=["id"])["id"].to_pylist()
    return len(set(ids)) == len(ids)


MODES = list(itertools.product([True, False], [True, False]))


@pytest.mark.parametrize(("vectors", "feed"), MODES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=5), partitioned=st.booleans())
def test_a_transaction_is_its_steps_one_after_the_other(
    vectors: bool, feed: bool, steps: list[tuple[str, Any]], partitioned: bool
) -> None:
    table = filled(vectors=vectors, feed=feed, tracking=True, partitioned=partitioned)
    table.delete("id % 7 = 0")
    alone = DeltaTable(copy_of(store_of(table)))
    before = table.version()
    old = keyed(table, "part", "x", "_row_id", "_row_commit_version")
    for number, step in enumerate(steps):
        apply_step(alone, step, number)
    with table.transaction() as t:
        for number, step in enumerate(steps):
            apply_step(t, step, number)
        inside = rows_of(t)
    assert rows_of(table) == rows_of(alone) == inside
    assert table.version() <= before + 1
    if table.version() == before:
        assert rows_of(alone) == rows_of(alone.at(before))
        return
    assert_well_formed(table)
    assert rows_of(table.at(before)) == rows_of(alone.at(before))
    if feed:
        assert_feed_replays(table)
    assert_row_ids(table, alone, old)


def assert_row_ids(table: DeltaTable, alone: DeltaTable, old: dict[int, tuple[Any, ...]]) -> None:
    """Ids are kept as the steps alone keep them, none is given twice, none provisional."""
    ids = table.to_pyarrow_table(columns=["_row_id"])["_row_id"].to_pylist()
    assert None not in ids and len(set(ids)) == len(ids)
    assert max(ids, default=0) <= high_water_mark(table)
    if not (unique_ids(table) and unique_ids(alone)):
        return
    ours, theirs = keyed(table, "part", "x", "_row_id", "_row_commit_version"), keyed(alone, "_row_id")
    taken = {found[2] for found in old.values()}
    for key, (part, x, row_id, version) in ours.items():
        if row_id in taken:
            assert theirs[key] == (row_id,)
            assert old[key][2] == row_id
            if old[key][:2] == (part, x):
                assert version in (old[key][3], table.version())
            else:
                assert version == table.version()
        else:
            assert theirs[key][0] not in taken
            assert row_id > max(taken) and version == table.version()


def high_water_mark(table: DeltaTable) -> int:
    return json.loads(table._snapshot.domains["delta.rowTracking"].configuration)["rowIdHighWaterMark"]


@pytest.mark.nightly
@pytest.mark.parametrize(("vectors", "feed"), MODES)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=8), partitioned=st.booleans())
def test_longer_transactions_are_their_steps(
    vectors: bool, feed: bool, steps: list[tuple[str, Any]], partitioned: bool
) -> None:
    law = test_a_transaction_is_its_steps_one_after_the_other.hypothesis.inner_test  # type: ignore[attr-defined]
    law(vectors, feed, steps, partitioned)


# -- what steps see ---------------------------------------------------------------------------------------------------


def test_steps_see_one_another_and_nobody_else_does() -> None:
    table = filled()
    with table.transaction() as t:
        t.delete("id < 10")
        assert t.count() == 30
        t.append(frame(range(100, 103), 1))
        assert t.count() == 33 and t.count("id >= 100") == 3
        upsert(t, frame([100, 200], 9))
        assert keyed(t, "x")[100] == (9,)
        assert table.count() == DeltaTable(store_of(table)).count() == 40
        assert DeltaTable(store_of(table)).version() == 1
    assert table.version() == 2 and table.count() == 34
    assert keyed(DeltaTable(store_of(table)), "x")[200] == (9,)
    assert [entry["operation"] for entry in table.history()] == ["TRANSACTION", "WRITE", "CREATE TABLE"]
    assert_well_formed(table)


def test_a_column_added_by_one_step_is_used_by_the_next() -> None:
    table = filled(feed=True)
    wide = frame([100, 101], 1).append_column("y", pa.array([5, 6], pa.int64()))
    with table.transaction() as t:
        t.append(wide, schema_mode="merge")
        t.update({"y": "x + 40"}, predicate="y IS NULL AND id < 5")
        t.delete("y = 6")
    assert keyed(table, "y")[100] == (5,) and keyed(table, "y")[3] == (40,)
    assert 101 not in keyed(table, "y")
    assert_well_formed(table)
    assert_feed_replays(table)
    assert sum(isinstance(a, Metadata) for a in last_actions(table)) == 1


def test_several_changes_of_metadata_are_one_action() -> None:
    table = filled(partitioned=False)
    with table.transaction() as t:
        t.alter.set_table_properties({"owner": "one"})
        t.append(frame([50]).append_column("y", pa.array(["y"])), schema_mode="merge")
        t.append(frame([51]).append_column("z", pa.array(["z"])), schema_mode="merge")
        t.alter.set_table_properties({"owner": "two", "delta.enableChangeDataFeed": "true"})
    metadata = [a for a in last_actions(table) if isinstance(a, Metadata)]
    assert len(metadata) == 1 and metadata[0].configuration["owner"] == "two"
    assert table.schema().names == ["part", "id", "x", "y", "z"]
    assert_well_formed(table)


def test_a_property_that_is_set_and_taken_back_is_no_change() -> None:
    table = filled()
    with (tx := table.transaction()) as t:
        t.alter.set_table_properties({"owner": "one"})
        t.alter.unset_table_properties(["owner"])
    assert table.version() == 1 and tx.result is not None and "change nothing" in tx.result.skipped


@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
def test_overwrite_then_append(feed: bool) -> None:
    table = filled(feed=feed)
    with table.transaction() as t:
        t.overwrite(frame([1, 2], 7))
        t.append(frame([3], 8))
    assert keyed(table, "x") == {1: (7,), 2: (7,), 3: (8,)}
    assert_well_formed(table)
    if feed:
        assert_feed_replays(table)


@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_what_is_appended_and_deleted_again_is_nowhere(vectors: bool, feed: bool) -> None:
    table = filled(vectors=vectors, feed=feed)
    before = names(store_of(table))
    with table.transaction() as t:
        t.append(frame(range(100, 110)))
        t.delete("id >= 100 AND id % 3 = 0")
        t.delete("id >= 100")
        t.alter.set_table_properties({"owner": "me"})
    assert table.version() == 2 and table.count() == 40
    added = names(store_of(table)) - before
    changes = {name for name in added if name.startswith("_change_data/")}
    assert added - changes == {"_delta_log/00000000000000000002.json"}
    assert not any(isinstance(a, (AddFile, RemoveFile)) for a in last_actions(table))
    assert_well_formed(table)
    if feed:
        assert_feed_replays(table)


def test_nothing_left_of_the_steps_is_no_commit() -> None:
    table = filled()
    before = names(store_of(table))
    with (tx := table.transaction()) as t:
        t.append(frame(range(100, 110)))
        t.delete("id >= 100")
    assert table.version() == 1 and names(store_of(table)) == before
    assert tx.result is not None and tx.result.skipped


def test_an_empty_transaction_is_no_commit() -> None:
    table = filled()
    with (tx := table.transaction()) as t:
        t.delete("id = 77777")
    assert table.version() == 1 and tx.result is not None and tx.result.skipped


@pytest.mark.parametrize("count", [40, 4000], ids=["inline", "file"])
def test_a_file_loses_rows_twice_and_appears_once(count: int) -> None:
    table = create(partitioned=False)
    table.append(frame(range(count)))
    table.delete("id % 20 = 0")
    with table.transaction() as t:
        t.delete("id % 20 = 1")
        t.delete("id % 5 = 2")
    [add] = [a for a in last_actions(table) if isinstance(a, AddFile)]
    [remove] = [a for a in last_actions(table) if isinstance(a, RemoveFile)]
    assert add.path == remove.path and add.key != remove.key
    assert add.deletion_vector is not None and add.deletion_vector.cardinality == count // 20 * 6
    assert set(keyed(table, "x")) == {n for n in range(count) if n % 20 not in (0, 1) and n % 5 != 2}
    assert_well_formed(table)


def test_a_vector_file_that_one_of_two_files_still_needs_stays() -> None:
    """Two files share a file of vectors; a later step gives one of them another vector."""
    table = create(partitioned=True)
    table.append(two_parts(range(8000)))
    with table.transaction() as t:
        t.delete("id % 5 < 2")
        t.delete("part = 'a' AND id % 7 = 3")
    assert_well_formed(table)
    vectors = [f.deletion_vector for f in add_files(table._snapshot.files.table()) if f.deletion_vector]
    assert len(vectors) == 2 and all(v.storage_type == "u" for v in vectors), "vectors that lie in files"
    want = {n for n in range(8000) if n % 5 >= 2 and not (n % 2 == 0 and n % 7 == 3)}
    assert set(keyed(table, "x")) == want


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_merge_onto_rows_of_the_same_transaction(vectors: bool) -> None:
    table = filled(vectors=vectors, feed=True, tracking=True)
    with table.transaction() as t:
        t.append(two_parts(range(100, 120), 1))
        upsert(t, two_parts(range(110, 130), 2))
        t.delete("id >= 125")
    found = keyed(table, "x")
    assert {n: found[n] for n in range(100, 125)} == {n: (1,) if n < 110 else (2,) for n in range(100, 125)}
    assert_well_formed(table)
    assert_feed_replays(table)
    ids = table.to_pyarrow_table(columns=["_row_id"])["_row_id"].to_pylist()
    assert None not in ids and len(set(ids)) == 65


# -- files that are only rearranged -----------------------------------------------------------------------------------


def test_a_transaction_that_only_purges_changes_no_data() -> None:
    table = filled(feed=True)
    table.delete("id % 4 = 0")
    with table.transaction() as t:
        t.optimize.purge()
    files = [a for a in last_actions(table) if isinstance(a, (AddFile, RemoveFile))]
    assert files and not any(a.data_change for a in files)
    assert table.load_cdf(table.version(), table.version()).read_all().num_rows == 0
    assert_well_formed(table)


def test_purging_and_changing_in_one_transaction_tells_the_changes_only() -> None:
    table = filled(feed=True)
    table.delete("id % 4 = 0")
    with table.transaction() as t:
        t.optimize.purge()
        t.append(frame([100]))
        t.delete("id = 1")
    feed = table.load_cdf(table.version(), table.version()).read_all()
    told = sorted(zip(feed["_change_type"].to_pylist(), feed["id"].to_pylist(), strict=True))
    assert told == [("delete", 1), ("insert", 100)]
    assert_feed_replays(table)
    assert_well_formed(table)


def test_compaction_is_a_step_too() -> None:
    """It counts sums and distributions; those that can be added up are."""
    table = filled(partitioned=False)
    table.append(frame(range(100, 104), part="b"))
    with table.transaction() as t:
        t.append(frame(range(200, 204)))
        t.optimize.compact()
        t.delete("id = 201")
    assert table.files().num_rows == 1 and table.count() == 47
    assert_well_formed(table)
    metrics = table.history(1)[0]["operationMetrics"]
    assert metrics["numDeletedRows"] == "1" and metrics["numOutputRows"] == "4"
    with (tx := table.transaction()) as t:
        t.append(frame([300]))
    assert tx.result is not None and tx.result.operation == "WRITE" and tx.result.metrics["numOutputRows"] == 1


@pytest.mark.parametrize("tracking", [False, True])
def test_purging_what_the_same_transaction_marked(tracking: bool) -> None:
    table = filled(tracking=tracking)
    with table.transaction() as t:
        t.append(frame(range(100, 120)))
        t.delete("id % 10 = 1")
        t.optimize.purge()
    assert table.count() == 54
    assert not any(f.deletion_vector for f in add_files(table._snapshot.files.table()))
    assert_well_formed(table)


# -- the end ----------------------------------------------------------------------------------------------------------


class Mishap(Exception):
    pass


@pytest.mark.parametrize("error", [Mishap, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
def test_an_exception_leaves_the_table_untouched_and_no_files(error: type[BaseException], feed: bool) -> None:
    table = filled(feed=feed, tracking=True)
    before = {meta.path for meta in store_of(table).list_all()}
    with pytest.raises(error), table.transaction() as t:
        t.append(two_parts(range(1000, 5000)))
        t.delete("id % 3 = 0")
        t.update({"x": "1"}, predicate="id < 2000")
        raise error
    assert {meta.path for meta in store_of(table).list_all()} == before
    assert table.refresh().version() == 1 and table.count() == 40


@pytest.mark.parametrize("call", ["publish", "open_input", "put"])
def test_an_interrupt_inside_of_a_step_leaves_no_files(call: str) -> None:
    table = filled(feed=True)
    inner = store_of(table)
    before = names(inner)
    for at in range(1, 40):
        matching = lambda found: found.op == call and not found.path.startswith("_delta_log/")
        store = FaultyStore(inner, at=at, counts="any", matching=matching, error=KeyboardInterrupt)
        with pytest.raises((KeyboardInterrupt, Mishap)), DeltaTable(store).transaction() as t:
            t.append(two_parts(range(1000, 5000)))
            t.delete("id % 3 = 0")
            t.update({"x": "1"}, predicate="id % 3 = 1")
            raise Mishap
        assert names(inner) == before, at
        if store.hit is None:
            break


def test_a_step_that_fails_can_be_caught_and_leaves_nothing() -> None:
    table = create(partitioned=False, **{"delta.constraints.small": "x < 10"})
    with table.transaction() as t:
        t.append(frame([1], 1))
        with pytest.raises(ConstraintViolation):
            t.append(frame([2], 20))
        with pytest.raises(ConstraintViolation):
            t.update({"x": "50"})
        t.append(frame([3], 3))
    assert keyed(table, "x") == {1: (1,), 3: (3,)}
    assert_well_formed(table)


def test_after_the_end_nothing_can_be_done() -> None:
    table = filled()
    with (tx := table.transaction()) as t:
        t.append(frame([100]))
    before = names(store_of(table))
    for use in (
        lambda: t.append(frame([101])),
        lambda: t.delete("id = 1"),
        lambda: t.update({"x": "1"}),
        lambda: upsert(t, frame([5])),
        lambda: t.overwrite(frame([1])),
        lambda: t.optimize.purge(),
        lambda: t.alter.set_table_properties({"owner": "me"}),
        lambda: tx.__enter__(),
    ):
        with pytest.raises(InvalidArgumentError):
            use()
    with pytest.raises(Mishap), (other := table.transaction()) as t:
        raise Mishap
    with pytest.raises(InvalidArgumentError):
        t.append(frame([101]))
    with pytest.raises(InvalidArgumentError):
        other.__enter__()
    assert names(store_of(table)) == before and DeltaTable(store_of(table)).version() == 2


def test_no_transaction_inside_of_another_one() -> None:
    table = filled()
    with table.transaction() as t:
        with pytest.raises(InvalidArgumentError, match="transaction"):
            t.transaction()
        with pytest.raises(InvalidArgumentError):
            t.refresh()
        with pytest.raises(InvalidArgumentError):
            t.create_checkpoint()
        t.append(frame([100]))
    assert table.version() == 2


# -- conflicts --------------------------------------------------------------------------------------------------------


def test_conflicts_are_judged_on_the_whole() -> None:
    """The first step alone would conflict; the last one alone would not."""
    table = filled(feed=True)
    for steps, key in ((("delete", "append"), 6), (("append", "delete"), 8)):
        other = DeltaTable(store_of(table))
        with pytest.raises(ConcurrentAppendError) as caught, table.transaction() as t:
            for step in steps:
                t.delete("part = 'a' AND id = 4") if step == "delete" else t.append(frame([100]))
            other.update({"x": "x + 1"}, predicate=f"part = 'a' AND id = {key}")
        assert caught.value.winner_operation == "UPDATE"
        table.refresh()
        assert not orphans(store_of(table)) and table.count() == 40


def test_only_what_was_read_of_the_base_conflicts() -> None:
    """Steps read the rows of earlier steps, which no other writer can have touched."""
    table = filled()
    other = DeltaTable(store_of(table))
    with table.transaction() as t:
        t.append(frame(range(1000, 1010), 1, "new"))
        t.delete("part = 'new' AND id = 1001")
        t.update({"x": "2"}, predicate="part = 'new' AND id = 1002")
        other.delete("part = 'a' AND id = 6")
        other.append(frame([5000]))
    assert table.version() == 4 and table.count() == 40 - 1 + 1 + 9


def test_appends_pass_other_appends_and_stay_blind() -> None:
    table = filled(**{"delta.isolationLevel": "Serializable"})
    other = DeltaTable(store_of(table))
    with table.transaction() as t:
        t.append(frame([100]))
        other.append(frame([200]))
        t.append(frame([101]))
    assert table.version() == 3
    assert blind(table)


def blind(table: DeltaTable) -> bool:
    return next(a for a in last_actions(table) if isinstance(a, CommitInfo)).is_blind_append


@pytest.mark.parametrize(
    ("steps", "want"),
    [
        ([("append", None), ("append", None)], True),
        ([("append", None), ("delete", "id = 1")], False),
        ([("delete", "id = 77777"), ("append", None)], False),
        ([("append", None), ("merge", None)], False),
        ([("overwrite", None), ("append", None)], False),
    ],
)
def test_what_counts_as_a_blind_append(steps: list[tuple[str, Any]], want: bool) -> None:
    table = filled()
    run: dict[str, Callable[[DeltaTable, Any], Any]] = {
        "append": lambda t, _: t.append(frame([100])),
        "delete": lambda t, predicate: t.delete(predicate),
        "merge": lambda t, _: upsert(t, frame([300])),
        "overwrite": lambda t, _: t.overwrite(frame([1])),
    }
    with table.transaction() as t:
        for kind, value in steps:
            run[kind](t, value)
    assert blind(table) is want


def test_a_change_of_the_schema_by_another_writer_is_a_conflict() -> None:
    table = filled()
    other = DeltaTable(store_of(table))
    with pytest.raises(MetadataChangedError), table.transaction() as t:
        t.append(frame([100]))
        other.append(frame([200]).append_column("y", pa.array([1], pa.int64())), schema_mode="merge")
    assert not orphans(store_of(table))


def test_a_transaction_that_lost_can_be_repeated() -> None:
    table = filled()
    other = DeltaTable(store_of(table))

    def work(handle: DeltaTable) -> None:
        with handle.transaction() as t:
            t.delete("part = 'a' AND id = 4")
            if handle.version() == 1:
                other.delete("part = 'a' AND id = 6")
            t.append(frame([100]))

    with pytest.raises(ConflictError):
        work(table)
    assert table.version() == 1
    work(table.refresh())
    assert set(keyed(table, "x")) == {*range(40), 100} - {4, 6}
    assert_well_formed(table)


# -- application transactions -----------------------------------------------------------------------------------------


@pytest.mark.bug("T-68")
def test_an_application_transaction_is_committed_once() -> None:
    table = filled()

    def work(handle: DeltaTable) -> Any:
        with (tx := handle.transaction(txn=("app", 7))) as t:
            t.append(frame([100]))
            t.delete("id = 1")
        return tx.result

    assert work(table).skipped is None and table.version() == 2
    before = names(store_of(table))
    assert work(table).skipped and table.version() == 2
    stale = DeltaTable(store_of(table), version=1)
    assert work(stale).skipped, "a stale handle finds out when it loses the race"
    assert names(store_of(table)) == before
    assert DeltaTable(store_of(table)).transaction_version("app") == 7


@pytest.mark.bug("T-68")
def test_the_application_transaction_of_a_step_is_applied_once() -> None:
    table = filled()
    table.append(frame([100]), txn=("app", 7))
    with table.transaction() as t:
        assert t.append(frame([100]), txn=("app", 7)).skipped
        assert t.append(frame([101]), txn=("app", 8)).skipped is None
        assert t.append(frame([101]), txn=("app", 8)).skipped, "within one transaction too"
        assert t.delete("id = 5", txn=("other", 1)).skipped is None
    assert set(keyed(table, "x")) == {*range(40), 100, 101} - {5}
    assert table.transaction_version("app") == 8 and table.transaction_version("other") == 1
    other = DeltaTable(store_of(table))
    with pytest.raises(ConcurrentTransactionError), table.transaction() as t:
        assert t.append(frame([102]), txn=("app", 8)).skipped
        t.append(frame([103]))
        other.append(frame([104]), txn=("app", 9))


# -- features ---------------------------------------------------------------------------------------------------------


def test_a_feed_without_change_files_is_complete() -> None:
    """Appended rows and marked ones: adds, removes and vectors say it all."""
    table = filled(feed=True)
    with table.transaction() as t:
        t.append(two_parts(range(100, 110), 1))
        t.delete("id % 10 = 3")
    assert not any(isinstance(a, AddCDCFile) for a in last_actions(table))
    assert_feed_replays(table)
    feed = table.load_cdf(table.version(), table.version()).read_all()
    assert Counter(feed["_change_type"].to_pylist()) == {"insert": 9, "delete": 4}


def test_a_feed_with_change_files_tells_every_step() -> None:
    table = filled(feed=True)
    with table.transaction() as t:
        t.append(two_parts(range(100, 110), 1))
        t.delete("id % 10 = 3")
        t.update({"x": "9"}, predicate="id = 4")
        t.append(two_parts(range(200, 202), 1))
    assert any(isinstance(a, AddCDCFile) for a in last_actions(table))
    feed = table.load_cdf(table.version(), table.version()).read_all()
    # the row with id 103 came and went
    assert Counter(feed["_change_type"].to_pylist()) == {
        "insert": 12, "delete": 5, "update_preimage": 1, "update_postimage": 1,
    }  # fmt: skip
    assert_feed_replays(table)


def test_a_feed_that_begins_within_the_transaction() -> None:
    table = filled(feed=False)
    with table.transaction() as t:
        t.update({"x": "1"}, predicate="id < 4")
        t.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
        t.update({"x": "2"}, predicate="id < 2")
        t.append(frame([100]))
    assert_feed_replays(table)
    assert_well_formed(table)


def test_a_feed_that_ends_within_the_transaction_tells_nothing() -> None:
    table = filled(feed=True)
    with table.transaction() as t:
        t.update({"x": "1"}, predicate="id < 4")
        t.alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    assert not any(isinstance(a, AddCDCFile) for a in last_actions(table))
    assert_well_formed(table)


def test_a_feed_over_a_schema_that_is_replaced() -> None:
    table = filled(feed=True, partitioned=False)
    with table.transaction() as t:
        t.update({"x": "1"}, predicate="id < 4")
        t.overwrite(pa.table({"name": ["new"]}), schema_mode="overwrite")
        t.append(pa.table({"name": ["newer"]}))
    assert table.schema().names == ["name"]
    assert sorted(table.to_pyarrow_table()["name"].to_pylist()) == ["new", "newer"]
    feed = table.load_cdf(table.version(), table.version()).read_all()
    kept = Counter(feed.filter(pc.is_valid(feed["name"]))["_change_type"].to_pylist())
    assert kept == {"insert": 2}
    assert_well_formed(table)


IDENTITY = {"delta.identity.start": 1, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": False}


def with_identity(**properties: str) -> DeltaTable:
    schema = Schema([Field("n", "long", metadata=IDENTITY), Field("name", "string")])
    return DeltaTable.create(empty_store(), schema, configuration=properties)


def test_identity_numbers_go_on_from_step_to_step() -> None:
    table = with_identity(**{"delta.enableDeletionVectors": "true"})
    table.append(pa.table({"name": ["a", "b"]}))
    with table.transaction() as t:
        t.append(pa.table({"name": ["c", "d"]}))
        t.delete("name = 'c'")
        t.append(pa.table({"name": ["e"]}))
        source = pa.table({"name": ["a", "f"]})
        t.merge(source, "t.name = s.name", source_alias="s", target_alias="t").when_not_matched_insert(
            {"name": "s.name"}
        ).execute()
    data = table.to_pyarrow_table()
    found = dict(zip(data["name"].to_pylist(), data["n"].to_pylist(), strict=True))
    assert found == {"a": 1, "b": 2, "d": 4, "e": 5, "f": 6}
    assert sum(isinstance(a, Metadata) for a in last_actions(table)) == 1
    table.append(pa.table({"name": ["g"]}))
    assert table.to_pyarrow_table(filters="name = 'g'")["n"].to_pylist() == [7]


def test_two_writers_of_identity_numbers_do_not_share_one() -> None:
    table = with_identity()
    other = DeltaTable(store_of(table))
    with pytest.raises(MetadataChangedError), table.transaction() as t:
        t.append(pa.table({"name": ["a"]}))
        other.append(pa.table({"name": ["b"]}))
    assert not orphans(store_of(table))


def test_row_ids_are_rebased_on_those_of_a_winner() -> None:
    table = filled(tracking=True)
    other = DeltaTable(store_of(table))
    with table.transaction() as t:
        t.append(frame(range(100, 105)))
        t.delete("part = 'a' AND id = 102")
        t.update({"x": "3"}, predicate="part = 'a' AND id = 4")
        other.append(frame(range(200, 220), part="other"))
    assert table.version() == 3
    ids = keyed(table, "_row_id", "_row_commit_version")
    assert len({row_id for row_id, _ in ids.values()}) == len(ids) == 40 + 20 + 4
    assert all(ids[n][1] == 3 for n in (4, 100, 104)) and ids[200][1] == 2 and ids[6][1] == 1
    assert max(row_id for row_id, _ in ids.values()) <= high_water_mark(table)


def test_in_commit_timestamps_enabled_within_a_transaction_name_its_version() -> None:
    table = filled()
    with table.transaction() as t:
        t.append(frame([100]))
        t.alter.set_table_properties({"delta.enableInCommitTimestamps": "true"})
        t.append(frame([101]))
    assert table.properties()["delta.inCommitTimestampEnablementVersion"] == "2"
    info = next(a for a in last_actions(table) if isinstance(a, CommitInfo))
    assert str(info.values["inCommitTimestamp"]) == table.properties()["delta.inCommitTimestampEnablementTimestamp"]
    assert table.append(frame([102])).version == 3


def test_append_only_tables_refuse_the_whole() -> None:
    table = create(**{"delta.appendOnly": "true"})
    table.append(frame([1]))
    before = names(store_of(table))
    with pytest.raises(InvalidArgumentError), table.transaction() as t:
        t.append(frame([2]))
        t.delete("id = 1")
    assert names(store_of(table)) == before and DeltaTable(store_of(table)).version() == 1


# -- afterwards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", [True, False], ids=["vectors", "rewrite"])
def test_checkpoints_and_time_travel_after_transactions(vectors: bool) -> None:
    table = filled(vectors=vectors, tracking=True, **{"delta.checkpointInterval": "2"})
    history: list[Rows] = [Rows(), rows_of(table)]
    for n in range(4):
        with table.transaction() as t:
            t.append(two_parts(range(100 * (n + 1), 100 * (n + 1) + 6), n))
            t.delete(f"id % 9 = {n}")
            upsert(t, two_parts(range(10 * n, 10 * n + 4), 50 + n))
        history.append(rows_of(table))
    store = store_of(table)
    assert any("checkpoint" in meta.path for meta in store.list_all("_delta_log"))
    for version, rows in enumerate(history):
        assert rows_of(DeltaTable(store, version=version)) == rows
    bare = copy_of(store)
    bare.delete_many([m.path for m in bare.list_all("_delta_log") if not m.path.endswith(".json")])
    bare.delete_many(["_delta_log/_last_checkpoint"])
    assert rows_of(DeltaTable(bare)) == history[-1]
    assert not missing(store)


@pytest.mark.parametrize("feed", [True, False], ids=["feed", "no feed"])
def test_deltalake_reads_what_a_transaction_wrote(tmp_path: Any, feed: bool) -> None:
    parts = ["a", "b"]  # it looks for change files under encoded names
    options = {"delta.enableChangeDataFeed": str(feed).lower()}
    write_deltalake(tmp_path, two_parts(range(40), 0, parts), partition_by="part", configuration=options)
    table = DeltaTable(tmp_path)
    with table.transaction() as t:
        t.append(two_parts(range(100, 110), 1, parts))
        t.delete("id % 10 = 3")
        upsert(t, two_parts(range(30, 50), 2, parts))
        t.overwrite(frame([5000], 3), predicate="part = 'a' AND id > 45")
    theirs = deltalake.DeltaTable(str(tmp_path))
    assert theirs.version() == table.version() == 1
    columns = table.schema().names
    tell = lambda found, names: Counter(zip(*(found[c].to_pylist() for c in names), strict=True))
    assert tell(theirs.to_pyarrow_table(), columns) == rows_of(table)
    if feed:
        changes = [*columns, "_change_type", "_commit_version"]
        theirs_feed = pa.table(theirs.load_cdf(1, 1).read_all())
        assert tell(theirs_feed, changes) == tell(table.load_cdf(1, 1).read_all(), changes)


def test_a_transaction_belongs_to_the_version_that_its_handle_had() -> None:
    """The base is taken on entering; what the outer handle commits meanwhile is somebody else's."""
    table = filled()
    with table.transaction() as t:
        table.append(frame([200]))
        assert t.count("id = 200") == 0
        t.append(frame([100]))
    assert table.version() == 3 and table.count() == 42
    with pytest.raises(ConflictError), table.transaction() as t:
        table.delete("id = 1")
        t.delete("id = 1")


def test_custom_metadata_and_application_transactions_of_the_whole() -> None:
    table = filled()
    properties = CommitProperties(custom_metadata={"userMetadata": "why"}, app_transactions=[Transaction("app", 3)])
    with (tx := table.transaction(commit_properties=properties)) as t:
        t.append(frame([100]), commit_properties=CommitProperties(custom_metadata={"job": "one"}))
        t.delete("id = 1")
    [info, *_] = table.history(1)
    assert info["userMetadata"] == "why" and info["job"] == "one"
    assert table.transaction_version("app") == 3
    assert tx.result is not None and tx.result.version == 2
    assert json.loads(info["operationParameters"]["operations"]) == ["WRITE", "DELETE"]


def test_rows_read_through_the_handle_are_read(tmp_path: Path) -> None:
    rows = pa.table({"id": [1, 2]})
    write_deltalake(tmp_path / "t", rows, configuration={"delta.isolationLevel": "Serializable"})
    table, other = DeltaTable(tmp_path / "t"), DeltaTable(tmp_path / "t")
    with pytest.raises(ConcurrentAppendError), table.transaction() as t:
        assert t.count("id > 1") == 1
        other.append(pa.table({"id": [5]}))
        t.append(pa.table({"id": [100]}))
    assert DeltaTable(tmp_path / "t").count() == 3
    with table.refresh().transaction() as t:
        assert t.count("id > 1000") == 0
        other.append(pa.table({"id": [6]}))
        t.append(pa.table({"id": [100]}))
    assert DeltaTable(tmp_path / "t").count() == 5
