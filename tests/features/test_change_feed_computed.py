"""Changes of versions whose feed nobody recorded, and the difference of two versions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from feed_tables import ON, Log, told

import deltalite
from deltalite.exceptions import InvalidArgumentError, InvalidTableError, VersionNotFoundError
from deltalite.model.types import Field, Schema

INTS = pa.schema([("x", pa.int64())])
TRACKED = {
    "delta.enableRowTracking": "true",
    "delta.rowTracking.materializedRowIdColumnName": "_rid",
    "delta.rowTracking.materializedRowCommitVersionColumnName": "_rcv",
}


def ints(*values: int | None) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def changes(log: Log, first: int = 0, last: int | None = None, **options: object) -> list[tuple[int, int, str]]:
    found = log.table.changes(first, last, **options).read_all().to_pylist()
    return sorted((row["_commit_version"], row["x"], row["_change_type"]) for row in found)


def facts(log: Log, first: int) -> tuple[bool, str]:
    metadata = log.table.changes(first).schema.metadata
    return metadata[b"deltalite.exact"] == b"true", metadata[b"notes"].decode()


def test_files_that_come_or_go_are_exact(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1, 2, 3)))
    log.commit(log.remove("a"), log.add("a", gone=[0]))
    log.commit(log.remove("a", gone=[0]))
    assert changes(log) == [
        (1, 1, "insert"),
        (1, 2, "insert"),
        (1, 3, "insert"),
        (2, 1, "delete"),
        (3, 2, "delete"),
        (3, 3, "delete"),
    ]
    assert facts(log, 0) == (True, "")


@pytest.mark.bug("T-65")
def test_rows_that_were_only_copied_cancel_out(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1, 2, 2, 3, None)))
    log.commit(log.remove("a"), log.add("b", ints(3, 2, 30, None)))
    assert changes(log, 2, predicate="x is not null") == [(2, 1, "delete"), (2, 2, "delete"), (2, 30, "insert")]
    exact, notes = facts(log, 2)
    assert not exact and "versions 2" in notes and "update" in notes


def test_rows_with_ids_are_followed(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties=TRACKED)
    log.commit(log.add("a", ints(1, 2, 3, 4), baseRowId=0, defaultRowCommitVersion=1))
    kept = pa.table({"x": [1, 20, 4, 4], "_rid": [0, 1, 3, None], "_rcv": [1, None, 1, None]})
    log.commit(
        log.remove("a", baseRowId=0, defaultRowCommitVersion=1),
        log.add("b", kept, baseRowId=4, defaultRowCommitVersion=2),
    )
    assert changes(log, 2) == [
        (2, 2, "update_preimage"), (2, 3, "delete"), (2, 4, "insert"), (2, 20, "update_postimage"),
    ]  # fmt: skip
    assert facts(log, 2) == (True, "")
    assert changes(log, 2, predicate="_change_type like 'update%' and x > 2") == [(2, 20, "update_postimage")]
    assert log.table.changes(2, columns=["_change_type"]).read_all().num_rows == 4


def test_rows_marked_and_written_anew_are_followed_too(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties=TRACKED)
    log.commit(log.add("a", ints(1, 2, 3), baseRowId=0, defaultRowCommitVersion=1))
    ids = {"baseRowId": 0, "defaultRowCommitVersion": 1}
    updated = pa.table({"x": [20], "_rid": [1]})
    log.commit(
        log.remove("a", **ids),
        log.add("a", gone=[0, 1], **ids),
        log.add("b", updated, baseRowId=3, defaultRowCommitVersion=2),
    )
    assert changes(log, 2) == [(2, 1, "delete"), (2, 2, "update_preimage"), (2, 20, "update_postimage")]


@pytest.mark.trap(19)
def test_a_remove_without_row_ids_takes_them_from_the_version_before(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties=TRACKED)
    log.commit(log.add("a", ints(1, 2), baseRowId=0, defaultRowCommitVersion=1))
    log.commit(
        log.remove("a"),
        log.add("b", pa.table({"x": [1], "_rid": [0], "_rcv": [1]}), baseRowId=2, defaultRowCommitVersion=2),
    )
    assert changes(log, 2) == [(2, 2, "delete")]
    assert facts(log, 2)[0]


def test_row_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties=TRACKED)
    log.commit(log.add("a", ints(1, 2), baseRowId=0, defaultRowCommitVersion=1))
    twice = pa.table({"x": [1, 1], "_rid": [0, 0]})
    log.commit(log.remove("a", baseRowId=0), log.add("b", twice, baseRowId=2, defaultRowCommitVersion=2))
    with pytest.raises(InvalidTableError, match="twice"):
        log.table.changes(2).read_all()


def test_recorded_versions_are_read_as_recorded(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1, 2)))
    log.commit(log.metadata(INTS, ON))
    kinds = pa.table({"x": [2, 3], "_change_type": ["update_preimage", "update_postimage"]})
    log.commit(log.remove("a"), log.add("b", ints(1, 3)), log.cdc("c", kinds))
    log.commit(log.metadata(INTS, {}))
    log.commit(log.remove("b"), log.add("d", ints(1, 4)))
    assert changes(log) == [
        (1, 1, "insert"), (1, 2, "insert"), (3, 2, "update_preimage"), (3, 3, "update_postimage"),
        (5, 3, "delete"), (5, 4, "insert"),
    ]  # fmt: skip
    assert "versions 5 " in facts(log, 0)[1]


def test_partitions_cancel_out_by_value(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("x", pa.int64()), ("p", pa.string())]), ["p"], {})
    log.commit(log.add("a", ints(1, 2), {"p": "a"}))
    log.commit(log.remove("a", {"p": "a"}), log.add("b", ints(1), {"p": "a"}), log.add("c", ints(2), {"p": "b"}))
    found = log.table.changes(2, columns=["x", "p", "_change_type"]).read_all()
    assert told(found, "x", "p", "_change_type") == {("2", "'a'", "'delete'"): 1, ("2", "'b'", "'insert'"): 1}


def test_missing_files_are_named(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1, 2)))
    log.commit(log.remove("a"), log.add("b", ints(1)))
    (log.path / "a").unlink()
    with pytest.raises(VersionNotFoundError, match="version 2 can no longer be read"):
        log.table.changes(2).read_all()
    with pytest.raises(VersionNotFoundError, match="rows that changed"):
        log.table.diff(1)


# -- diff ------------------------------------------------------------------------------------------------------------

PEOPLE = [
    {"id": 1, "name": "Ada", "age": 36},
    {"id": 2, "name": "Bob", "age": 40},
    {"id": 3, "name": "Cid", "age": None},
]


def people(tmp_path: Path) -> deltalite.DeltaTable:
    deltalite.write_deltalake(tmp_path / "t", PEOPLE)
    later = [{**PEOPLE[0], "age": 37}, PEOPLE[1], {"id": 4, "name": "Dee", "age": 5}]
    deltalite.write_deltalake(tmp_path / "t", later, mode="overwrite")
    return deltalite.DeltaTable(tmp_path / "t")


def rows(found: pa.RecordBatchReader) -> list[tuple]:
    return sorted((r["_change_type"], r["id"], r.get("age")) for r in found.read_all().to_pylist())


def test_rows_by_key(tmp_path: Path) -> None:
    found = people(tmp_path).diff(0, 1, on="id")
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 1, 1)
    assert rows(found.rows()) == [
        ("delete", 3, None),
        ("insert", 4, 5),
        ("update_postimage", 1, 37),
        ("update_preimage", 1, 36),
    ]
    assert rows(found.rows()) == rows(found.rows())
    assert repr(found).splitlines() == [
        "TableDiff of version 0 and version 1", "  rows: 1 added, 1 removed, 1 changed (by id)",
    ]  # fmt: skip


def test_rows_as_wholes_and_backwards(tmp_path: Path) -> None:
    table = people(tmp_path)
    found = table.diff(1, 0)
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (2, 2, None)
    assert rows(found.rows()) == [("delete", 1, 37), ("delete", 4, 5), ("insert", 1, 36), ("insert", 3, None)]
    assert table.diff(1).is_empty and not found.is_empty


def test_chosen_columns_decide(tmp_path: Path) -> None:
    found = people(tmp_path).diff(0, on=["id"], columns=["name"])
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 1, 0)
    assert found.rows().schema.names == ["id", "name", "_change_type"]
    with pytest.raises(InvalidArgumentError, match="nme"):
        people_table = deltalite.DeltaTable(tmp_path / "t")
        people_table.diff(0, columns=["nme"])
    with pytest.raises(InvalidArgumentError, match="_change_type"):
        people_table.diff(0, on="_change_type")


def test_keys_that_repeat_among_differing_rows_are_refused(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", pa.schema([("k", pa.int64()), ("x", pa.int64())]), properties={})
    log.commit(log.add("a", pa.table({"k": [1, 1, 2], "x": [1, 2, 3]})))
    log.commit(log.remove("a"), log.add("b", pa.table({"k": [1, 1, 2], "x": [1, 2, 4]})))
    log.commit(log.remove("b"), log.add("c", pa.table({"k": [1, 1, 2], "x": [3, 4, 4]})))
    assert log.table.diff(1, 2, on="k").rows_changed == 1
    with pytest.raises(InvalidArgumentError, match="do not tell rows apart"):
        log.table.diff(2, 3, on="k")


def test_only_files_that_differ_are_read(tmp_path: Path) -> None:
    log = Log(tmp_path / "t", INTS, properties={})
    log.commit(log.add("a", ints(1, 2)), log.add("b", ints(3, 4, 5)))
    log.commit(log.remove("b"), log.add("b", gone=[1]), log.add("c", ints(6)))
    (log.path / "a").unlink()
    found = log.table.diff(1)
    assert [(r["_change_type"], r["x"]) for r in found.rows().read_all().to_pylist()] == [("delete", 4), ("insert", 6)]


def test_columns_and_properties(tmp_path: Path) -> None:
    log = Log(
        tmp_path / "t",
        Schema([Field("x", "integer"), Field("old", "long"), Field("n", "long", nullable=False)]),
        properties={"a": "1"},
    )
    log.commit(log.add("a", pa.table({"x": pa.array([1], pa.int32()), "old": [1], "n": [1]})))
    log.commit(log.metadata(Schema([Field("x", "long"), Field("n", "long"), Field("new", "string")]), {**ON, "a": "2"}))
    found = log.table.diff(1)
    assert [str(c) for c in found.columns_added] == ["new string"]
    assert [str(c) for c in found.columns_dropped] == ["old bigint"]
    assert [str(c) for c in found.columns_changed] == ["x int -> x bigint", "n bigint NOT NULL -> n bigint"]
    assert found.properties == {"a": ("1", "2"), "delta.enableChangeDataFeed": (None, "true")}
    assert found.rows_added == found.rows_removed == 0
    assert "  column changed: x int -> x bigint" in repr(found) and "unset -> 'true'" in repr(found)


def test_renamed_columns_are_known_by_their_ids(tmp_path: Path) -> None:
    def schema(name: str) -> Schema:
        mapping = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "p1"}
        return Schema([Field(name, "long", metadata=mapping)])

    mapped = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"}
    log = Log(tmp_path / "t", schema("a"), properties=mapped)
    log.commit(log.metadata(schema("b"), mapped))
    found = log.table.diff(0)
    assert [str(c) for c in found.columns] == ["a bigint -> b bigint"]
