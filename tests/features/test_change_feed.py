"""Reading recorded change feeds: which files tell a version's changes, which versions, and in which schema."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from feed_tables import FEED, ON, START_MS, Log, told

from deltalite.exceptions import ExpressionError, InvalidArgumentError, InvalidTableError, VersionNotFoundError
from deltalite.features.change_data_feed import records_changes
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.types import Field, Schema

INTS = pa.schema([("x", pa.int64())])


def ints(*values: int | None) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def changed(*rows: tuple[int, str]) -> pa.Table:
    return pa.table({"x": [x for x, _ in rows], "_change_type": [kind for _, kind in rows]})


def changes(log: Log, first: int = 0, last: int | None = None) -> list[tuple[int, int, str]]:
    found = log.table.load_cdf(first, last).read_all().to_pylist()
    return sorted((row["_commit_version"], row["x"], row["_change_type"]) for row in found)


# -- which files -----------------------------------------------------------------------------------------------------


@pytest.mark.trap(67)
def test_a_version_with_a_cdc_file_is_told_by_its_cdc_files_alone(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1, 2, 3)))
    log.commit(
        log.remove("a"),
        log.add("b", ints(1, 20, 3)),
        log.cdc("_change_data/c", changed((2, "update_preimage"), (20, "update_postimage"))),
    )
    assert changes(log, 2) == [(2, 2, "update_preimage"), (2, 20, "update_postimage")]
    assert changes(log, 0, 1) == [(1, 1, "insert"), (1, 2, "insert"), (1, 3, "insert")]


@pytest.mark.trap(67)
@pytest.mark.bug("T-64")
def test_without_cdc_files_adds_are_inserts_and_removes_deletes(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1, 2)), log.add("b", ints(3)))
    log.commit(log.remove("a"), log.add("c", ints(4)))
    assert changes(log, 2) == [(2, 1, "delete"), (2, 2, "delete"), (2, 4, "insert")]


@pytest.mark.trap(67)
@pytest.mark.bug("T-65")
def test_rearranged_rows_have_not_changed(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1)), log.add("b", ints(2)))
    log.commit(
        log.remove("a", dataChange=False), log.remove("b", dataChange=False), log.add("c", ints(1, 2), dataChange=False)
    )
    assert changes(log, 2) == []


@pytest.mark.trap(67)
@pytest.mark.trap(31)
def test_another_deletion_vector_is_a_difference_of_bitmaps(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(*range(10))))
    log.commit(log.remove("a"), log.add("a", gone=[1, 9]))
    log.commit(log.remove("a", gone=[1, 9]), log.add("a", gone=[1, 5, 6]))
    log.commit(log.remove("a", gone=[1, 5, 6]), log.add("a"))
    assert changes(log, 2, 2) == [(2, 1, "delete"), (2, 9, "delete")]
    assert changes(log, 3, 3) == [(3, 5, "delete"), (3, 6, "delete"), (3, 9, "insert")]
    assert changes(log, 4) == [(4, 1, "insert"), (4, 5, "insert"), (4, 6, "insert")]


@pytest.mark.trap(67)
def test_files_with_a_vector_come_and_go_with_their_live_rows(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(0, 1, 2), gone=[0]))
    log.commit(log.remove("a", gone=[0]))
    assert changes(log) == [(1, 1, "insert"), (1, 2, "insert"), (2, 1, "delete"), (2, 2, "delete")]


@pytest.mark.trap(1)
def test_a_file_is_the_same_however_its_path_is_escaped(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a%3Db%20c", ints(1, 2)))
    log.commit(log.remove("a=b%20c"), log.add("a%3Db%20c", gone=[0]))
    assert changes(log, 2) == [(2, 1, "delete")]


def test_an_add_that_repeats_a_file_changes_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1, 2)))
    log.commit(log.remove("a"), log.add("a", stats='{"numRecords":2}'))
    assert changes(log, 2) == []


@pytest.mark.trap(1)
def test_paths_of_cdc_files_are_decoded_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int64()), ("p", pa.string())]), ["p"])
    log.commit(log.cdc("_change_data/p=a%2520b/c%20d", changed((1, "insert")), {"p": "a b"}))
    assert log.table.load_cdf(1).read_all().select(["x", "p", "_change_type"]).to_pylist() == [
        {"x": 1, "p": "a b", "_change_type": "insert"}
    ]


@pytest.mark.trap(8)
@pytest.mark.trap(12)
def test_partition_values_are_those_of_the_action(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int64()), ("d", pa.date32()), ("n", pa.int32())])
    log = Log(tmp_path / "t", schema, ["d", "n"])
    log.commit(log.add("a", ints(1), {"d": "2026-01-02", "n": None}))
    log.commit(
        log.cdc("c", changed((1, "delete")), {"d": "2026-01-02", "n": ""}),
        log.remove("a", {"d": "2026-01-02", "n": None}),
    )
    found = log.table.load_cdf(1).read_all().to_pylist()
    assert [(r["d"], r["n"], r["_change_type"]) for r in found] == [
        (dt.date(2026, 1, 2), None, "insert"), (dt.date(2026, 1, 2), None, "delete"),
    ]  # fmt: skip


@pytest.mark.trap(67)
def test_a_column_of_that_name_in_data_files_is_hidden(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", changed((1, "something else"))))
    assert changes(log) == [(1, 1, "insert")]
    assert log.table.to_pyarrow_table().column_names == ["x"]


@pytest.mark.trap(19)
def test_a_bare_remove_takes_its_partition_from_the_version_before(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int64()), ("p", pa.string())]), ["p"])
    log.commit(log.add("a", ints(1, 2), {"p": "left"}), log.add("b", ints(3), {"p": "right"}))
    log.commit(log.remove("b"), log.remove("a", {"p": "left"}))
    rows = log.table.load_cdf(2, columns=["x", "p"]).read_all().to_pylist()
    assert sorted((r["x"], r["p"]) for r in rows) == [(1, "left"), (2, "left"), (3, "right")]
    log.commit(log.add("c", ints(9), {"p": "left"}))
    log.commit(log.remove("b"))
    with pytest.raises(InvalidTableError, match="version 4 removes b"):
        log.table.load_cdf(4)


# -- which versions --------------------------------------------------------------------------------------------------


def numbered(tmp_path: Path, versions: int = 5) -> Log:
    log = Log(tmp_path / "t", INTS, protocol={"minReaderVersion": 1, "minWriterVersion": 4})
    for n in range(1, versions):
        log.commit(log.add(f"f{n}", ints(n)))
    return log


def versions_of(feed: pa.RecordBatchReader) -> list[int]:
    return sorted(set(feed.read_all().column("_commit_version").to_pylist()))


def at(version: int, plus_ms: int = 0) -> dt.datetime:
    return dt.datetime.fromtimestamp((START_MS + 1000 * version + plus_ms) / 1000, dt.timezone.utc)


def test_both_ends_are_included_and_the_end_is_clamped(tmp_path: Path) -> None:
    table = numbered(tmp_path).table
    assert versions_of(table.load_cdf(1, 3)) == [1, 2, 3]
    assert versions_of(table.load_cdf(3, 99)) == [3, 4]
    assert versions_of(table.load_cdf()) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (at(2), None, [2, 3, 4]),
        (at(2, 1), None, [3, 4]),
        (at(1, -1), at(2), [1, 2]),
        (None, at(2, 999), [1, 2]),
        (at(2, 1), at(2, 2), []),
        (None, at(0, -1), []),
        (at(0, -5000), at(99), [1, 2, 3, 4]),
        ("2023-11-14T22:13:22", "2023-11-14T22:13:23+00:00", [2, 3]),
    ],
)
def test_times_bound_the_versions(tmp_path: Path, since: object, until: object, expected: list[int]) -> None:
    table = numbered(tmp_path).table
    assert versions_of(table.load_cdf(starting_timestamp=since, ending_timestamp=until)) == expected  # type: ignore[arg-type]


def test_versions_and_times_hold_together(tmp_path: Path) -> None:
    table = numbered(tmp_path).table
    assert versions_of(table.load_cdf(3, starting_timestamp=at(1))) == [3, 4]
    assert versions_of(table.load_cdf(0, 3, starting_timestamp=at(2))) == [2, 3]


def test_out_of_range_is_an_error_or_empty(tmp_path: Path) -> None:
    table = numbered(tmp_path).table
    with pytest.raises(VersionNotFoundError, match="version 9"):
        table.load_cdf(9)
    with pytest.raises(VersionNotFoundError):
        table.load_cdf(starting_timestamp=at(99))
    with pytest.raises(InvalidArgumentError, match="ends before"):
        table.load_cdf(3, 2)
    for feed in (
        table.load_cdf(9, allow_out_of_range=True),
        table.load_cdf(3, 2, allow_out_of_range=True),
        table.load_cdf(starting_timestamp=at(99), allow_out_of_range=True),
    ):
        assert feed.schema.names == ["x", *FEED]
        assert feed.read_all().num_rows == 0
    with pytest.raises(InvalidArgumentError, match="negative"):
        table.load_cdf(-1)


def test_the_newest_version_is_the_tables_not_the_handles(tmp_path: Path) -> None:
    log = numbered(tmp_path)
    old = log.table.at(2)
    assert versions_of(old.load_cdf(1)) == [1, 2, 3, 4]
    assert versions_of(old.changes(1)) == [1, 2]
    assert versions_of(old.changes(1, 3)) == [1, 2, 3]
    with pytest.raises(VersionNotFoundError, match="version 9"):
        old.changes(1, 9)


def test_versions_without_the_feed_are_refused_and_the_others_named(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1)))
    log.commit(log.metadata(INTS, ON))
    log.commit(log.add("b", ints(2)))
    log.commit(log.metadata(INTS, {"delta.enableChangeDataFeed": "false"}))
    log.commit(log.metadata(INTS, ON), log.add("c", ints(3)))
    with pytest.raises(InvalidArgumentError) as caught:
        log.table.load_cdf()
    assert caught.value.available == [(2, 3), (5, 5)]
    assert "2 to 3 and 5" in str(caught.value) and "changes(" in str(caught.value)
    assert changes(log, 2, 3) == [(3, 2, "insert")]
    assert changes(log, 5) == [(5, 3, "insert")]


@pytest.mark.trap(28)
def test_the_property_counts_only_where_the_feature_is_supported() -> None:
    metadata = Metadata("id", Schema([Field("x", "long")]).to_json(), (), ON)
    off = Metadata("id", metadata.schema_string, (), {})
    assert records_changes(TableConfig(Protocol(1, 4), metadata))
    assert not records_changes(TableConfig(Protocol(1, 3), metadata))
    assert not records_changes(TableConfig(Protocol(1, 7, None, ("appendOnly",)), metadata))
    assert records_changes(TableConfig(Protocol(1, 7, None, ("changeDataFeed",)), metadata))
    assert not records_changes(TableConfig(Protocol(1, 7, None, ("changeDataFeed",)), off))


def test_commits_that_were_cleaned_up_are_missed(tmp_path: Path) -> None:
    log = numbered(tmp_path)
    log.table.at(3).create_checkpoint()
    for version in (0, 1):
        (log.path / "_delta_log" / f"{version:020d}.json").unlink()
    assert versions_of(log.table.load_cdf(4)) == [4]
    with pytest.raises(VersionNotFoundError):
        log.table.load_cdf()
    with pytest.raises(VersionNotFoundError):
        log.table.load_cdf(starting_timestamp=at(0))
    assert versions_of(log.table.load_cdf(4, starting_timestamp=at(0))) == [4]
    for version in (2, 3, 4):
        (log.path / "_delta_log" / f"{version:020d}.json").unlink()
    with pytest.raises(VersionNotFoundError):
        log.table.load_cdf(3).read_all()


def test_files_that_were_vacuumed_are_missed_by_version(tmp_path: Path) -> None:
    log = numbered(tmp_path)
    (log.path / "f2").unlink()
    with pytest.raises(VersionNotFoundError, match="version 2 can no longer be read: f2 is gone"):
        log.table.load_cdf(1).read_all()
    assert versions_of(log.table.load_cdf(3)) == [3, 4]


# -- times -----------------------------------------------------------------------------------------------------------


def test_times_are_those_of_the_commit_file_or_in_the_commit(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1)))
    log.commit({"commitInfo": {"timestamp": 5, "inCommitTimestamp": START_MS + 7}}, log.add("b", ints(2)))
    feed = log.table.load_cdf().read_all().sort_by("x")
    assert feed.schema.field("_commit_timestamp").type == pa.timestamp("us", "UTC")
    assert feed.column("_commit_timestamp").cast(pa.int64()).to_pylist() == [
        (START_MS + 1000) * 1000,
        (START_MS + 7) * 1000,
    ]
    assert [entry["timestamp"] for entry in log.table.history()][:2] == [START_MS + 7, START_MS + 1000]


# -- columns and predicate -------------------------------------------------------------------------------------------


def test_columns_are_chosen_in_order_with_those_of_the_feed(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int64()), ("Name", pa.string())]))
    log.commit(log.add("a", pa.table({"x": [1], "Name": ["n"]})))
    log.commit(log.cdc("c", pa.table({"x": [1], "Name": ["n"], "_change_type": ["delete"]})))
    load = log.table.load_cdf
    assert load().schema.names == ["x", "Name", *FEED]
    assert load(columns=["_commit_version", "name"]).read_all().to_pylist() == [
        {"_commit_version": 1, "Name": "n"}, {"_commit_version": 2, "Name": "n"},
    ]  # fmt: skip
    assert load(columns=["_change_type"]).read_all().column(0).to_pylist() == ["insert", "delete"]
    assert load(columns=[]).read_all().num_rows == 2
    with pytest.raises(InvalidArgumentError, match="nme"):
        load(columns=["nme"])
    with pytest.raises(InvalidArgumentError, match="twice"):
        load(columns=["x", "X"])


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("_change_type = 'delete'", {(2, "delete"), (30, "delete")}),
        ("_change_type <> 'insert' and x < 10", {(2, "delete"), (3, "update_preimage")}),
        ("_commit_version = 1", {(1, "insert"), (2, "insert"), (3, "insert")}),
        ("_commit_timestamp >= timestamp '2023-11-14 22:13:23Z'", {(30, "delete")}),
        ("x = 3 or _commit_version = 3", {(3, "insert"), (3, "update_preimage"), (30, "delete")}),
        (
            [("x", ">", 2), ("_commit_version", "<", 3)],
            {(3, "insert"), (3, "update_preimage"), (30, "update_postimage")},
        ),
    ],
)
def test_predicates_see_the_columns_of_the_feed(tmp_path: Path, predicate: object, expected: set) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1, 2, 3)))
    kinds = changed((2, "delete"), (3, "update_preimage"), (30, "update_postimage"))
    log.commit(log.cdc("c", kinds), log.remove("a"), log.add("b", ints(1, 30)))
    log.commit(log.remove("b"), log.add("b", gone=[1]))
    found = log.table.load_cdf(predicate=predicate, columns=["x", "_change_type"]).read_all().to_pylist()
    assert {(r["x"], r["_change_type"]) for r in found} == expected


def test_predicates_keep_files_closed(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int64()), ("p", pa.string())]), ["p"])
    stats = '{"numRecords":1,"minValues":{"x":%d},"maxValues":{"x":%d},"nullCount":{"x":0}}'
    log.commit(
        log.add("a", ints(1), {"p": "a"}, stats=stats % (1, 1)), log.add("b", ints(5), {"p": "b"}, stats=stats % (5, 5))
    )
    log.commit(log.remove("a", {"p": "a"}))
    for name in ("a",):
        (log.path / name).unlink()
    assert log.table.load_cdf(predicate="p = 'b'").read_all().num_rows == 1
    assert log.table.load_cdf(predicate="x > 4 and _commit_version = 1").read_all().num_rows == 1
    assert log.table.load_cdf(predicate="_commit_version = 1 and _change_type = 'delete'").read_all().num_rows == 0
    with pytest.raises(VersionNotFoundError):
        log.table.load_cdf(predicate="x < 4").read_all()


def test_a_wrong_predicate_is_refused_at_once(tmp_path: Path) -> None:
    table = numbered(tmp_path).table
    with pytest.raises(ExpressionError, match="_chang_type"):
        table.load_cdf(predicate="_chang_type = 'insert'")
    with pytest.raises(ExpressionError, match="boolean"):
        table.load_cdf(predicate="_commit_version")


# -- schemas ---------------------------------------------------------------------------------------------------------


def test_rows_of_older_versions_are_shown_in_the_schema_at_the_end(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1)))
    wider = Schema([Field("x", "long"), Field("y", "string", nullable=False)])
    log.commit(log.metadata(wider, ON))
    log.commit(log.add("b", pa.table({"x": [2], "y": ["new"]})), log.remove("a"))
    feed = log.table.load_cdf().read_all()
    assert told(feed, "x", "y", "_change_type") == {
        ("1", "None", "'insert'"): 1, ("2", "'new'", "'insert'"): 1, ("1", "None", "'delete'"): 1,
    }  # fmt: skip
    feed.validate(full=True)
    assert log.table.load_cdf(0, 1).read_all().column_names == ["x", *FEED]


@pytest.mark.trap(62)
def test_widened_columns_are_shown_wide(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int32())]))
    log.commit(log.add("a", pa.table({"x": pa.array([1], pa.int32())})))
    log.commit(log.metadata(INTS, ON))
    log.commit(log.add("b", ints(2**40)), log.cdc("c", changed((2**40, "insert"))))
    assert changes(log) == [(1, 1, "insert"), (3, 2**40, "insert")]


def test_renamed_and_dropped_columns_follow_their_physical_names(tmp_path: Path) -> None:
    def field(name: str, number: int) -> Field:
        return Field(
            name, "long", metadata={"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"p{number}"}
        )

    mapped = {**ON, "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "3"}
    log = Log(tmp_path / "t", Schema([field("a", 1), field("b", 2)]), ["b"], mapped)
    log.commit(log.add("f", pa.table({"p1": [10]}), {"p2": "7"}))
    log.partition_by = ["B"]
    log.commit(log.metadata(Schema([field("A", 1), field("B", 2), field("a2", 3)]), mapped))
    kinds = pa.table({"p1": [10], "p3": [30], "_change_type": ["update_postimage"]})
    log.commit(log.cdc("c", kinds, {"p2": "8"}))
    found = log.table.load_cdf(columns=["A", "B", "a2"], predicate="B > 0").read_all().to_pylist()
    assert found == [{"A": 10, "B": 7, "a2": None}, {"A": 10, "B": 8, "a2": 30}]


def test_a_change_of_type_within_the_range_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1)))
    log.commit(
        log.metadata(pa.schema([("x", pa.string())]), ON), log.remove("a"), log.add("b", pa.table({"x": ["one"]}))
    )
    log.commit(log.add("c", pa.table({"x": ["two"]})))
    with pytest.raises(InvalidTableError, match="column x had another type in version 1"):
        log.table.load_cdf()
    assert versions_of(log.table.load_cdf(0, 1)) == [1]
    assert versions_of(log.table.load_cdf(3)) == [3]


def test_other_partitioning_within_the_range(tmp_path: Path) -> None:
    both = pa.schema([("x", pa.int64()), ("p", pa.int64())])
    log = Log(tmp_path / "t", both, ["p"])
    log.commit(log.add("a", ints(1), {"p": "5"}))
    log.partition_by = ["x"]
    log.commit(log.metadata(both, ON), log.remove("a", {"p": "5"}), log.add("b", pa.table({"p": [6]}), {"x": "2"}))
    found = log.table.load_cdf(predicate="p > 0 and x > 0").read_all().to_pylist()
    assert sorted((r["_commit_version"], r["_change_type"], r["x"], r["p"]) for r in found) == [
        (1, "insert", 1, 5), (2, "delete", 1, 5), (2, "insert", 2, 6),
    ]  # fmt: skip


def test_columns_under_the_feeds_names_are_refused(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("_Commit_Version", pa.int64())]))
    with pytest.raises(InvalidArgumentError, match="_Commit_Version"):
        log.table.load_cdf()


# -- memory and start-up -----------------------------------------------------------------------------------------------

LIGHT = """
import sys
from deltalite import DeltaTable
table = DeltaTable(sys.argv[1])
assert table.load_cdf(predicate="x > 0 and _commit_version < 9").read_all().num_rows
assert table.changes(0).read_all().num_rows
assert repr(table.diff(1, on="x")) and table.diff(1, on="x").rows().read_all().num_rows
heavy = [m for m in ("pandas", "pyarrow.dataset", "pyarrow.acero") if m in sys.modules]
assert not heavy, heavy
"""


def test_feeds_stay_light(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS)
    log.commit(log.add("a", ints(1, 2)))
    log.commit(log.remove("a"), log.add("a", gone=[1]), log.cdc("c", changed((2, "delete"))))
    log.commit(log.remove("a", gone=[1]), log.add("b", ints(3)))
    log.commit(log.metadata(INTS, {}))
    log.commit(log.remove("b"), log.add("d", ints(3, 4)))
    subprocess.run(
        [sys.executable, "-c", LIGHT.replace("load_cdf(", "load_cdf(0, 3, "), str(log.path)], check=True, timeout=60
    )


def test_nothing_is_read_before_the_first_batch(tmp_path: Path) -> None:
    log = numbered(tmp_path)
    feed = log.table.load_cdf()
    for n in range(1, 5):
        (log.path / f"f{n}").unlink()
    with pytest.raises(VersionNotFoundError):
        feed.read_all()
