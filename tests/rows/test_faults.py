"""Row changes on a storage that fails: the n-th call, its reply, or the process, for every n."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from deltalite import CommitProperties, DeltaTable, Transaction
from deltalite.exceptions import CommitOutcomeUnknown, DeltaError, StorageError
from deltalite.model.actions import AddFile
from deltalite.model.codec import encode_commit
from deltalite.model.paths import commit_file, relative_path
from deltalite.model.properties import PROPERTIES
from deltalite.storage.base import AmbiguousPut
from deltalite.storage.memory import MemoryStore
from deltalite.testing.faults import Call, FaultyStore, SimulatedCrash
from deltalite.txn import commit as commit_module

from .concurrency import Rows, copy_of, empty_store, missing, names, orphans, rows_of, txn_ids

PARTS = ("a", "ü/ %")
ROWS = 900
"""Of each part: enough for deletion vectors that lie in files of their own."""
TXN = ("app", 7)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**9))
    world = dataclasses.replace(commit_module.WORLD, sleep=lambda _: None, monotonic=lambda: float(next(clock)))
    monkeypatch.setattr(commit_module, "WORLD", world)


def frame(part: str, ids: range, x: int) -> pa.Table:
    columns = [pa.repeat(part, len(ids)), pa.array(ids, pa.int64()), pa.repeat(x, len(ids))]
    return pa.table(columns, names=["part", "id", "x"])


class Scenario(NamedTuple):
    """``run`` may be repeated: it carries an application transaction, or finds nothing to do."""

    run: Callable[[DeltaTable], Any]
    vectors: bool = True
    feed: bool = False


SOME = "id % 3 = 1"
"""Rows of every file, less than half of each: these are marked."""
MOST = "id % 3 <> 1"


def merge(table: DeltaTable, **options: Any) -> Any:
    source = pa.concat_tables([frame("a", range(0, 850, 7), 5), frame("new", range(9000, 9003), 5)])
    return (
        table.merge(source, "t.part = s.part AND t.id = s.id", source_alias="s", target_alias="t", **options)
        .when_matched_update_all("s.id % 2 = 0")
        .when_matched_delete()
        .when_not_matched_insert_all()
        .execute()
    )


def replace_where(table: DeltaTable) -> Any:
    return table.overwrite(frame("a", range(5), 6), predicate="part = 'a' AND id < 400", txn=TXN)


def three_steps(table: DeltaTable) -> None:
    with table.transaction(txn=TXN) as t:
        t.append(frame("new", range(8000, 8900), 1))
        t.delete(SOME)
        merge(t)


def born_and_gone(table: DeltaTable) -> None:
    """Files that the steps write for one another and that are not committed."""
    with table.transaction(txn=TXN) as t:
        t.append(frame("gone", range(8000, 8900), 1))
        t.delete("part = 'gone' AND id % 3 = 0")
        t.update({"x": "7"}, predicate="id < 500")
        t.delete("part = 'gone'")


def delete(table: DeltaTable, predicate: str = SOME) -> Any:
    return table.delete(predicate, txn=TXN)


def update(table: DeltaTable, predicate: str = SOME) -> Any:
    return table.update({"x": "x + 1"}, predicate=predicate, txn=TXN)


def merge_once(table: DeltaTable) -> Any:
    return merge(table, commit_properties=CommitProperties(app_transactions=[Transaction(*TXN)]))


SCENARIOS = {
    "delete, vectors": Scenario(delete),
    "delete, vectors, feed": Scenario(delete, feed=True),
    "delete, rewritten by choice, feed": Scenario(lambda t: delete(t, MOST), feed=True),
    "delete, rewritten, feed": Scenario(delete, False, True),
    "update, vectors": Scenario(update),
    "update, vectors, feed": Scenario(update, feed=True),
    "update, rewritten": Scenario(update, False),
    "update, rewritten, feed": Scenario(update, False, True),
    "merge, vectors, feed": Scenario(merge_once, feed=True),
    "merge, rewritten, feed": Scenario(merge_once, False, True),
    "replace where, vectors, feed": Scenario(replace_where, feed=True),
    "replace where, rewritten": Scenario(replace_where, False),
    "overwrite, feed": Scenario(lambda t: t.overwrite(frame("a", range(7), 3), txn=TXN), feed=True),
    "dynamic overwrite": Scenario(
        lambda t: t.overwrite(frame("a", range(7), 3), partition_overwrite="dynamic", txn=TXN)
    ),
    "purge": Scenario(lambda t: t.optimize.purge()),
    "transaction, vectors, feed": Scenario(three_steps, feed=True),
    "transaction, rewritten": Scenario(three_steps, False),
    "born and gone, vectors, feed": Scenario(born_and_gone, feed=True),
}


@functools.cache
def prepared(vectors: bool, feed: bool) -> MemoryStore:
    store = empty_store()
    options = {
        "delta.enableDeletionVectors": "true",
        "delta.enableChangeDataFeed": str(feed).lower(),
        "delta.checkpointInterval": "4",
    }
    table = DeltaTable.create(store, frame("a", range(0), 0).schema, partition_by="part", configuration=options)
    table.append(pa.concat_tables([frame(part, range(ROWS), 0) for part in PARTS]))
    table.delete("id % 10 = 0")  # a first vector, which the scenario replaces
    if not vectors:
        table.alter.set_table_properties({"delta.enableDeletionVectors": "false"})
    return store


@functools.cache
def new_rows(name: str) -> Rows:
    scenario = SCENARIOS[name]
    store = copy_of(prepared(scenario.vectors, scenario.feed))
    before = DeltaTable(store).version()
    scenario.run(DeltaTable(store))
    assert DeltaTable(store).version() == before + 1
    assert not orphans(store)
    return rows_of(DeltaTable(store))


def attempt(scenario: Scenario, store: FaultyStore) -> str:
    try:
        scenario.run(DeltaTable(store))
        return "committed"
    except SimulatedCrash:
        return "crashed"
    except KeyboardInterrupt:
        return "interrupted"
    except CommitOutcomeUnknown:
        return "unknown"
    except (DeltaError, OSError):
        return "aborted"


def check(name: str, at: int, old: Rows, inner: MemoryStore, store: FaultyStore, outcome: str) -> None:
    where = (name, at, store.hit, outcome)
    before, new = DeltaTable(prepared(*SCENARIOS[name][1:])).version(), new_rows(name)
    found = DeltaTable(inner)
    rows = rows_of(found)
    assert (found.version(), rows) in ((before, old), (before + 1, new)), where
    if outcome == "committed":
        assert found.version() == before + 1, where
    if outcome == "aborted":
        assert found.version() == before, where
    assert len(set(txn_ids(inner))) == found.version() + 1, where
    assert not missing(inner), where
    cleaning = store.hit is not None and store.hit.op == "delete_many"
    if outcome in ("committed", "aborted") and not cleaning:
        assert not orphans(inner), where
    if outcome == "interrupted" and found.version() == before and not is_commit(store.hit):
        assert not orphans(inner), where  # later, with the commit under way or done, they are left to VACUUM
    if outcome == "unknown":
        assert not store.count("delete_many"), where
    SCENARIOS[name].run(DeltaTable(inner))
    assert rows_of(DeltaTable(inner)) == new, ("repeated", *where)
    assert DeltaTable(inner).version() == before + 1, ("repeated", *where)
    assert not missing(inner), ("repeated", *where)


def is_commit(call: Call | None) -> bool:
    return call is not None and call.op == "put_if_absent" and call.path.endswith(".json")


FAULTS: dict[str, dict[str, Any]] = {
    "fails": {"mode": "before"},
    "reply lost": {"mode": "after"},
    "dies before": {"mode": "crash_before"},
    "dies after": {"mode": "crash_after"},
    "interrupted": {"mode": "before", "error": KeyboardInterrupt},
    "fails, reads too": {"mode": "before", "counts": "any"},
}


PAIRS = [
    pytest.param(name, fault, marks=() if j < 5 and (i + j) % 5 == 0 else pytest.mark.slow)
    for i, name in enumerate(SCENARIOS)
    for j, fault in enumerate(FAULTS)
]
"""Each scenario with one fault by default, each fault of a writing call with some three scenarios."""


@pytest.mark.bug("T-02")
@pytest.mark.bug("T-37")
@pytest.mark.bug("T-68")
@pytest.mark.parametrize(("name", "fault"), PAIRS)
def test_old_or_new(name: str, fault: str) -> None:
    scenario = SCENARIOS[name]
    start = prepared(scenario.vectors, scenario.feed)
    old = rows_of(DeltaTable(start))
    for at in range(1, 300):
        inner = copy_of(start)
        store = FaultyStore(inner, at=at, **FAULTS[fault])
        outcome = attempt(scenario, store)
        check(name, at, old, inner, store, outcome)
        inner.clear()
        if store.hit is None:
            return
    pytest.fail("the operation never ended unharmed")


# -- particular faults ------------------------------------------------------------------------------------------------


def is_vector(call: Call) -> bool:
    return "deletion_vector" in call.path


def is_change_file(call: Call) -> bool:
    return call.path.startswith("_change_data/")


@pytest.mark.bug("T-02")
@pytest.mark.bug("T-03")
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_lost_reply_of_the_commit_is_recognised_and_deletes_nothing(name: str) -> None:
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    version, files = DeltaTable(inner).version(), names(inner)
    store = FaultyStore(inner, at=1, mode="after", matching=is_commit)
    scenario.run(DeltaTable(store))
    assert store.hit is not None
    assert DeltaTable(inner).version() == version + 1
    assert rows_of(DeltaTable(inner)) == new_rows(name)
    assert files <= names(inner), "a file of an earlier version is gone"
    assert not missing(inner)
    if not name.startswith(("transaction", "born")):
        assert not store.count("delete_many")


@pytest.mark.bug("T-06")
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_answer_at_all_is_unknown_and_deletes_nothing(name: str) -> None:
    """The commit may still arrive, so that everything it names must stay."""
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    waiting: list[Callable[[], Any]] = []

    class Mute(FaultyStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if is_commit(call):
                waiting.append(effect)
                raise AmbiguousPut("no answer")
            return super().around(call, effect, data)

    store = Mute(inner)
    with pytest.raises(CommitOutcomeUnknown) as caught:
        scenario.run(DeltaTable(store))
    assert not store.count("delete_many")
    assert DeltaTable(inner).resolve(caught.value.txn_id) is None
    waiting[0]()  # at last
    assert DeltaTable(inner).resolve(caught.value.txn_id) == caught.value.version
    assert rows_of(DeltaTable(inner)) == new_rows(name)
    assert not missing(inner)


@pytest.mark.bug("T-37")
@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("delete, vectors", is_vector),
        ("update, vectors, feed", is_vector),
        ("update, vectors, feed", is_change_file),
        ("merge, vectors, feed", is_vector),
        ("merge, rewritten, feed", is_change_file),
        ("transaction, vectors, feed", is_vector),
        ("transaction, vectors, feed", is_change_file),
    ],
)
def test_what_a_commit_needs_and_cannot_write_prevents_it(name: str, needed: Callable[[Call], bool]) -> None:
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    files = names(inner)
    writes = lambda call: needed(call) and call.op in ("put", "publish", "open_output")
    store = FaultyStore(inner, at=1, mode="before", counts="any", matching=writes, error=StorageError("disk full"))
    with pytest.raises(StorageError, match="disk full"):
        scenario.run(DeltaTable(store))
    assert store.hit is not None
    assert names(inner) == files
    assert not [call for call in store.calls if is_commit(call)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_refused_commit_leaves_no_files_and_all_that_were_there(name: str) -> None:
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    files = {meta.path for meta in inner.list_all()}
    store = FaultyStore(inner, at=1, mode="before", matching=is_commit, error=StorageError("access denied"))
    with pytest.raises(StorageError, match="access denied"):
        scenario.run(DeltaTable(store))
    assert {meta.path for meta in inner.list_all()} == files


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name.startswith(("delete", "update", "merge"))])
def test_the_data_file_that_gets_a_vector_is_never_deleted(name: str) -> None:
    """Whatever is deleted in any run was written by that run."""
    scenario = SCENARIOS[name]
    start = prepared(scenario.vectors, scenario.feed)
    mine = names(start)
    for at in range(1, 100):
        store = FaultyStore(copy_of(start), at=at, mode="after")
        attempt(scenario, store)
        gone = {path for call in store.calls if call.op == "delete_many" for path in call.path.split(" ")}
        assert not gone & mine, (at, store.hit)
        if store.hit is None:
            return


def test_every_file_of_a_commit_is_there_before_the_commit() -> None:
    for name, scenario in SCENARIOS.items():
        inner = copy_of(prepared(scenario.vectors, scenario.feed))
        before = names(inner)
        store = FaultyStore(inner)
        scenario.run(DeltaTable(store))
        at = next(i for i, call in enumerate(store.calls) if is_commit(call))
        published = {call.path for call in store.calls[:at] if call.op in ("publish", "put")}
        last = list(DeltaTable(inner).commits())[-1]
        needed = {relative_path(a.path) for a in last.actions if isinstance(a, AddFile)}
        assert needed - before <= published, name
        assert names(inner) - before - published == {call.path for call in store.calls[at : at + 1]}, name


@pytest.mark.parametrize("name", ["delete, vectors", "merge, rewritten, feed", "transaction, vectors, feed"])
def test_clean_up_that_fails_hides_no_error(name: str) -> None:
    """Two faults: the commit is refused, and nothing can be deleted. The first one is told."""
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    version = DeltaTable(inner).version()

    class Broken(FaultyStore):
        def around(self, call: Call, effect: Any, data: bytes | None = None) -> Any:
            if call.op == "delete_many":
                raise StorageError("cannot delete")
            return super().around(call, effect, data)

    store = Broken(inner, at=1, mode="before", matching=is_commit, error=StorageError("access denied"))
    with pytest.raises(StorageError, match="access denied"):
        scenario.run(DeltaTable(store))
    assert DeltaTable(inner).version() == version
    assert not missing(inner)


# -- what fails after the commit --------------------------------------------------------------------------------------


@pytest.mark.bug("T-10")
@pytest.mark.parametrize("name", [p.name for p in PROPERTIES.values()])
def test_a_property_that_makes_no_sense_never_deletes_what_is_committed(name: str) -> None:
    """Another engine let it pass; here it is refused before the commit, or has no say after it."""
    inner = copy_of(prepared(True, True))
    metadata = DeltaTable(inner)._snapshot.config.metadata
    metadata = dataclasses.replace(metadata, configuration={**metadata.configuration, name: "nonsense!"})
    version = DeltaTable(inner).version() + 1
    inner.put_if_absent(commit_file(version), encode_commit([metadata]))
    operations: list[Callable[[DeltaTable], Any]] = [
        lambda t: t.append(frame("a", range(3), 1)),
        lambda t: t.delete("id = 1"),
        merge,
    ]
    for operation in operations:
        before = names(inner)
        try:
            operation(DeltaTable(inner))
        except DeltaError:
            assert names(inner) == before, "an error, and yet it is committed, or has left or deleted something"
        else:
            assert before <= names(inner)
            assert not missing(inner)


@pytest.mark.parametrize("name", ["delete, vectors", "merge, rewritten, feed", "transaction, vectors, feed"])
def test_an_error_behind_the_commit_deletes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIOS[name]
    inner = copy_of(prepared(scenario.vectors, scenario.feed))
    version = DeltaTable(inner).version()

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of paper")

    with monkeypatch.context() as patched:
        patched.setattr(commit_module, "_advanced", broken)
        with pytest.raises(CommitOutcomeUnknown, match="is committed.*out of paper") as caught:
            scenario.run(DeltaTable(inner))
    assert caught.value.version == version + 1
    assert rows_of(DeltaTable(inner)) == new_rows(name)
    assert not missing(inner)
