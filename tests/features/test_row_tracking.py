"""Row ids and commit versions: virtual columns for readers, bases and carried columns for writers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from committed_tables import append, create, delete, land, memory_store, rows, set_properties, written
from feature_tables import read_file
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable, features, write_deltalake
from deltalite.exceptions import InvalidArgumentError, InvalidTableError, UnsupportedFeatureError
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.file import inline
from deltalite.features.row_tracking import STORED_COMMIT_VERSION, STORED_ROW_ID, high_water_mark
from deltalite.log.read import read_commits, read_snapshot
from deltalite.model.actions import DomainMetadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.files import remove_of
from deltalite.model.paths import commit_file
from deltalite.model.pending import PendingCommit
from deltalite.model.types import Field, Schema
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan
from deltalite.storage.open import open_store
from deltalite.txn.commit import CommitOptions, commit
from deltalite.txn.finalize import finalize

ENABLED = {
    "delta.enableRowTracking": "true",
    "delta.rowTracking.materializedRowIdColumnName": "_row-id-col-1",
    "delta.rowTracking.materializedRowCommitVersionColumnName": "_row-commit-version-col-1",
}
SCHEMA = Schema([Field("a", "long")])
IDS = ("_row_id", "_row_commit_version")


def read(data, configuration=ENABLED, virtual=IDS, **kwargs):
    found = read_file(data, schema=SCHEMA, configuration=configuration, virtual=virtual, **kwargs)
    return {name: found.column(name).to_pylist() for name in found.column_names}


@pytest.mark.trap(63)
def test_trap_63_ids_are_base_plus_position_and_deleted_rows_count():
    data = pa.table({"a": [10, 11, 12, 13]})
    vector = inline(RowPositions.of([1]))
    for group in (1, 2, 10):
        found = read(
            data,
            base_row_id=100,
            default_row_commit_version=7,
            deletion_vector=vector,
            parquet={"row_group_size": group},
        )
        assert found == {"a": [10, 12, 13], "_row_id": [100, 102, 103], "_row_commit_version": [7, 7, 7]}
    found = read(data, base_row_id=100, default_row_commit_version=7, predicate="a > 11", parquet={"row_group_size": 1})
    assert found["_row_id"] == [102, 103]


@pytest.mark.trap(63)
def test_trap_63_what_the_file_stores_wins():
    data = pa.table(
        {
            "a": [1, 2, 3],
            "_row-id-col-1": [5, None, 9],
            "_row-commit-version-col-1": pa.array([None, 3, None], pa.int64()),
        }
    )
    found = read(data, base_row_id=100, default_row_commit_version=7)
    assert found == {"a": [1, 2, 3], "_row_id": [5, 101, 9], "_row_commit_version": [7, 3, 7]}
    assert read(data, base_row_id=100, default_row_commit_version=7, columns=[])["_row_id"] == [5, 101, 9]


def test_whole_columns_need_no_base():
    data = pa.table({"a": [1], "_row-id-col-1": [5], "_row-commit-version-col-1": [3]})
    assert read(data) == {"a": [1], "_row_id": [5], "_row_commit_version": [3]}


def test_a_missing_base_is_an_error_not_a_null():
    with pytest.raises(InvalidTableError, match="_row_id"):
        read(pa.table({"a": [1]}))


@pytest.mark.parametrize("configuration", [{}, {"delta.enableRowTracking": "false"}])
def test_tables_that_do_not_promise_ids_have_no_such_column(configuration):
    with pytest.raises(InvalidArgumentError, match="no column '_row_id'"):
        read(pa.table({"a": [1]}), configuration, base_row_id=5)


def test_a_column_of_the_table_by_that_name_wins():
    found = read_file(
        pa.table({"_row_id": [1]}), schema=Schema([Field("_row_id", "long")]), configuration=ENABLED, virtual=()
    )
    assert found.to_pylist() == [{"_row_id": 1}]


# -- writing: ids of new rows ----------------------------------------------------------------------------------------

TRACKED = {"delta.enableRowTracking": "true"}
SUPPORTED = {"delta.feature.rowTracking": "supported"}


def numbers(*values) -> pa.Table:
    return pa.table({"a": pa.array(values, pa.int64())})


def tracked(store, **more):
    return create(store, Field("a", "long"), properties={**TRACKED, **more})


def ids(store, version=None) -> dict:
    """a -> (row id, commit version)"""
    return {row["a"]: (row["_row_id"], row["_row_commit_version"]) for row in rows(store, *IDS, version=version)}


@pytest.mark.trap(63)
def test_trap_63_eight_rows_leave_the_mark_at_seven():
    store = memory_store()
    base = append(store, tracked(store), numbers(*range(8)))
    assert high_water_mark(base) == 7
    assert json.loads(base.domains["delta.rowTracking"].configuration) == {"rowIdHighWaterMark": 7}
    assert ids(store) == {i: (i, 1) for i in range(8)}


@pytest.mark.trap(57)
@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), min_size=1, max_size=8))
def test_trap_57_writers_who_race_never_give_an_id_twice(writers):
    """I-15. Every writer knows a version some commits old; all land, one after the other."""
    store = memory_store()
    known = [tracked(store)]
    total = 0
    for behind, count in writers:
        stale = known[max(0, len(known) - 1 - behind)]
        known.append(append(store, stale, numbers(*range(total, total + count))))
        total += count
    found = ids(store)
    assert len(found) == total == len({row_id for row_id, _ in found.values()})
    assert high_water_mark(read_snapshot(store)) == max(row_id for row_id, _ in found.values()) == total - 1
    version = {a: v for a, (_, v) in found.items()}
    for number, commits in enumerate(read_commits(store, 1), start=1):
        assert commits.version == number and number in version.values()


def test_ids_are_given_wherever_the_feature_is_supported_and_read_only_where_it_is_enabled():
    store = memory_store()
    base = append(store, create(store, Field("a", "long"), properties=SUPPORTED), numbers(1, 2))
    (add,) = base.files.add_files()
    assert (add.base_row_id, add.default_row_commit_version) == (0, 1)
    assert features.carried(base.config, "copied") == ()
    with pytest.raises(InvalidArgumentError, match="_row_id"):
        ids(store)
    set_properties(store, base, TRACKED)
    assert ids(store) == {1: (0, 1), 2: (1, 1)}


def test_nothing_is_given_while_tracking_is_suspended():
    store = memory_store()
    base = create(store, Field("a", "long"), properties={**SUPPORTED, "delta.rowTrackingSuspended": "true"})
    (add,) = append(store, base, numbers(1)).files.add_files()
    assert (add.base_row_id, add.default_row_commit_version) == (None, None)
    with pytest.raises(InvalidArgumentError, match="rowTrackingSuspended"):
        tracked(memory_store(), **{"delta.rowTrackingSuspended": "true"})


def test_a_table_with_files_that_lack_ids_cannot_be_enabled_and_an_empty_one_can():
    store = memory_store()
    base = create(store, Field("a", "long"))
    base = append(store, base, numbers(1))
    with pytest.raises(InvalidArgumentError, match="1 files"):
        set_properties(store, base, TRACKED)
    base = land(store, base, [remove_of(f, 1) for f in base.files.add_files()]).snapshot
    base = append(store, set_properties(store, base, TRACKED), numbers(2))
    assert ids(store) == {2: (0, base.version)}


def test_a_file_without_ids_that_comes_first_stops_the_enabling():
    store = memory_store()
    base = create(store, Field("a", "long"))
    late = features.configure(base.config, replace(base.config.metadata, configuration=TRACKED), 1)
    append(store, base, numbers(1))
    with pytest.raises(InvalidArgumentError, match="1 files"):
        land(store, base, late[:2])


def test_rows_that_nobody_counted_get_no_ids():
    store = memory_store()
    base = tracked(store)
    for stats in (None, "", "{}", '{"numRecords":"3"}', "[]"):
        adds = [replace(a, stats=stats) for a in written(store, base, numbers(1))]
        with pytest.raises(InvalidTableError, match="numRecords"):
            land(store, base, adds)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rowIdHighWaterMark":"7"}', '{"rowIdHighWaterMark":-2}'])
def test_a_mark_that_makes_no_sense_stops_the_write(text):
    base = replace(tracked(memory_store()), domains={"delta.rowTracking": DomainMetadata("delta.rowTracking", text)})
    with pytest.raises(InvalidTableError, match="delta.rowTracking"):
        finalize(PendingCommit(base, "WRITE", (), "t"), base, 0)


def test_readding_a_file_keeps_its_ids_and_needs_no_new_mark():
    store = memory_store()
    base = append(store, tracked(store, **{"delta.enableDeletionVectors": "true"}), numbers(1, 2, 3))
    base = append(store, base, numbers(4))
    before = ids(store)
    base = delete(store, base, lambda add: [0])
    assert ids(store) == {a: found for a, found in before.items() if a in (2, 3)} | {}
    (last,) = read_commits(store, base.version)
    assert not any(isinstance(action, DomainMetadata) for action in last.actions)
    for add in base.files.add_files():
        assert remove_of(add, 1).base_row_id == add.base_row_id is not None


def test_every_commit_says_that_it_preserved_the_ids():
    store = memory_store()
    base = append(store, tracked(store), numbers(1))
    (last,) = read_commits(store, base.version)
    assert last.info.values["tags"] == {"delta.rowTracking.preserved": "true"}


def test_users_do_not_write_the_domains_of_features():
    store = memory_store()
    base = tracked(store)
    with pytest.raises(InvalidArgumentError, match="belongs to a table feature"):
        land(store, base, [DomainMetadata("delta.rowTracking", '{"rowIdHighWaterMark":-1}')])


# -- writing: ids that rows keep -------------------------------------------------------------------------------------


def rewritten(store, base, update=lambda a: None):
    """All rows in one new file: updated ones get another value, the others are copied."""
    old = base.files.add_files()
    data = read_plan(store, plan(base, virtual=IDS)).read_all()
    copied = pa.Table.from_pylist([r for r in data.to_pylist() if update(r["a"]) is None], data.schema)
    changed = [{"a": update(r["a"]), "_row_id": r["_row_id"]} for r in data.to_pylist() if update(r["a"]) is not None]
    carried = features.carried(base.config, "copied")
    actions = [remove_of(f, 1) for f in old]
    if copied.num_rows:
        actions += written(store, base, copied, copied=True, carried=carried)
    if changed:
        schema = pa.schema([("a", pa.int64()), ("_row_id", pa.int64())])
        actions += written(store, base, pa.Table.from_pylist(changed, schema), carried=carried)
    return land(store, base, actions).snapshot


def test_what_copied_and_updated_rows_keep():
    base = tracked(memory_store())
    assert features.carried(base.config, "copied") == ("_row_id", "_row_commit_version")
    assert features.carried(base.config, "updated") == ("_row_id",)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.one_of(st.integers(1, 4), st.tuples(st.integers(2, 4), st.integers(0, 3))), min_size=1, max_size=7))
def test_a_row_keeps_its_id_and_a_copied_one_its_version(steps):
    """A number appends rows; a pair (modulus, remainder) updates the rows of that remainder and copies the others."""
    store = memory_store()
    base = tracked(store)
    model: dict[int, tuple[int, int]] = {}  # row id -> (value, version)
    value = 0
    for step in steps:
        if isinstance(step, int):
            fresh = list(range(value, value + step))
            value += step
            base = append(store, base, numbers(*fresh))
            new = [row for row in rows(store, *IDS) if row["a"] in fresh]
            assert not model.keys() & {row["_row_id"] for row in new} and len(new) == step
            model |= {row["_row_id"]: (row["a"], base.version) for row in new}
        elif model:
            changes = {a: 1000 * base.version + a for a, _ in model.values() if a % step[0] == step[1]}
            base = rewritten(store, base, changes.get)
            model = {i: (changes[a], base.version) if a in changes else (a, v) for i, (a, v) in model.items()}
        assert {r["_row_id"]: (r["a"], r["_row_commit_version"]) for r in rows(store, *IDS)} == model
        assert high_water_mark(read_snapshot(store)) >= max(model, default=-1)


@pytest.mark.parametrize("mode", ["none", "name", "id"])
def test_carried_columns_lie_under_their_own_names_and_have_no_statistics(mode):
    store = memory_store()
    base = append(store, tracked(store, **{"delta.columnMapping.mode": mode}), numbers(1, 2))
    before = ids(store)
    base = rewritten(store, append(store, base, numbers(3)))
    assert ids(store) == before | {3: (2, 2)}
    (add,) = base.files.add_files()
    stored = [base.config.configuration[key] for key in (STORED_ROW_ID, STORED_COMMIT_VERSION)]
    names = pq.ParquetFile(store.open_input(add.path)).schema_arrow.names
    assert names[1:] == stored and (names[0] == "a") == (mode == "none")
    assert "row-" not in add.stats and json.loads(add.stats)["numRecords"] == 3
    assert "_row" not in base.config.metadata.schema_string


def test_rows_without_an_id_of_their_own_take_that_of_their_place():
    store = memory_store()
    base = append(store, tracked(store), numbers(1))
    carried = features.carried(base.config, "copied")
    half = pa.table({"a": [7, 8], "_row_id": pa.array([100, None], pa.int64())})
    base = land(store, base, written(store, base, half, carried=carried)).snapshot
    base = land(store, base, written(store, base, numbers(9), carried=carried)).snapshot
    assert ids(store) == {1: (0, 1), 7: (100, 2), 8: (2, 2), 9: (3, 3)}


def test_carried_columns_in_a_partitioned_table():
    store = memory_store()
    base = create(store, Field("a", "long"), Field("p", "string"), properties=TRACKED, partition_by=("p",))
    base = append(store, base, pa.table({"a": [1, 2, 3], "p": ["x", "y", "x"]}))
    before = ids(store)
    data = read_plan(store, plan(base, virtual=IDS)).read_all()
    adds = written(store, base, data, copied=True, carried=IDS)
    land(store, base, [*(remove_of(f, 1) for f in base.files.add_files()), *adds])
    assert ids(store) == before and len(before) == 3


# -- writing: the table ----------------------------------------------------------------------------------------------


def test_names_of_stored_columns_are_the_tables_own_and_stay():
    store = memory_store()
    base = tracked(store)
    names = [base.config.configuration[key] for key in (STORED_ROW_ID, STORED_COMMIT_VERSION)]
    assert names[0].startswith("_row-id-col-") and names[1].startswith("_row-commit-version-col-")
    base = set_properties(store, base, {"delta.enableRowTracking": "false"})
    base = set_properties(store, base, TRACKED)
    assert names == [base.config.configuration[key] for key in (STORED_ROW_ID, STORED_COMMIT_VERSION)]
    other = tracked(memory_store())
    assert other.config.configuration[STORED_ROW_ID] != names[0]
    assert base.config.protocol.writer_features is not None
    assert {"rowTracking", "domainMetadata"} <= set(base.config.protocol.writer_features)


@pytest.mark.parametrize("name", ["_row_id", "_ROW_COMMIT_VERSION", "mine"])
def test_a_table_whose_columns_bear_its_names_cannot_be_tracked(name):
    with pytest.raises(InvalidArgumentError, match=name.lower()):
        create(memory_store(), Field(name, "long"), properties={**TRACKED, STORED_ROW_ID: "mine"})
    metadata = features.configure(None, tracked(memory_store()).config.metadata, 0)[1]
    nameless = replace(metadata, configuration=TRACKED)
    protocol = Protocol(1, 7, None, ("rowTracking", "domainMetadata"))
    with pytest.raises(UnsupportedFeatureError, match="no columns"):
        features.ensure_writable(TableConfig(protocol, nameless))


@pytest.mark.trap(47)
def test_trap_47_checkpoints_keep_ids_and_the_mark():
    store = memory_store()
    base = tracked(store, **{"delta.checkpointInterval": "2"})
    for values in ((1, 2), (3,), (4,), (5, 6)):
        adds = written(store, base, numbers(*values))
        pending = PendingCommit(base, "WRITE", tuple(adds), str(values))
        base = commit(store, pending, CommitOptions(checkpoint=True)).snapshot
    before = ids(store)
    assert base.checkpoint_version == 4
    store.delete_many([commit_file(v) for v in range(4)])
    assert ids(store) == before and len(before) == 6
    assert high_water_mark(read_snapshot(store)) == 5
    append(store, read_snapshot(store), numbers(7))
    assert ids(store)[7] == (6, 5)


def test_deltalake_reads_the_rows(tmp_path: Path):
    deltalake = pytest.importorskip("deltalake")
    store = open_store(str(tmp_path))
    base = append(store, tracked(store), numbers(1, 2, 3))
    rewritten(store, base, lambda a: 20 if a == 2 else None)
    found = pa.table(deltalake.DeltaTable(tmp_path).to_pyarrow_dataset().to_table())
    assert found.column_names == ["a"] and sorted(found.column("a").to_pylist()) == [1, 3, 20]
    assert ids(store) == {1: (0, 1), 3: (2, 1), 20: (1, 2)}


# -- writing: operations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_ids_survive_delete_update_and_merge(tmp_path: Path, vectors: str):
    """A row keeps its id while its key lives; its version is that of the commit that last changed it."""
    write_deltalake(tmp_path, numbers(*range(40)), configuration={**TRACKED, "delta.enableDeletionVectors": vectors})
    store, table = open_store(str(tmp_path)), DeltaTable(tmp_path)
    model = ids(store)
    assert model == {a: (a, 0) for a in range(40)}
    table.delete("a % 4 = 0")
    model = {a: found for a, found in model.items() if a % 4}
    assert ids(store) == model
    table.update(updates={"a": "a + 1000"}, predicate="a % 4 = 1")
    model = {a + 1000 if a % 4 == 1 else a: (i, 2 if a % 4 == 1 else v) for a, (i, v) in model.items()}
    assert ids(store) == model
    source = pa.table({"a": pa.array([2, 3, 5000, 5001], pa.int64())})
    merger = table.merge(source, "target.a = source.a", "source", "target")
    merger.when_matched_update({"a": "source.a + 2000"}).when_not_matched_insert({"a": "source.a"}).execute()
    model = {a + 2000 if a in (2, 3) else a: (i, 3 if a in (2, 3) else v) for a, (i, v) in model.items()}
    found = ids(store)
    new = {a: found.pop(a) for a in (5000, 5001)}
    assert found == model
    assert {v for _, v in new.values()} == {3} and not {i for i, _ in new.values()} & {i for i, _ in model.values()}
    assert high_water_mark(read_snapshot(store)) >= max(i for i, _ in new.values())
