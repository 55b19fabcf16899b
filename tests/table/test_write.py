"""Creating, appending and overwriting through the facade: modes, schemas, partitions, features."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalite.exceptions import (
    ConcurrentAppendError,
    ConcurrentDeleteReadError,
    ConstraintViolation,
    InvalidArgumentError,
    MetadataChangedError,
    SchemaMismatchError,
    TableExistsError,
)

ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64()), "p": ["a", "b", "b"]})


def rows(table: DeltaTable, *columns: str) -> list[tuple[Any, ...]]:
    data = table.to_pyarrow_table(columns=list(columns) or None)
    return sorted((tuple(r.values()) for r in data.to_pylist()), key=repr)


@pytest.mark.parametrize(
    "schema",
    [
        "id bigint, p string",
        Schema([Field("id", "long"), Field("p", "string")]),
        pa.schema([("id", pa.int64()), ("p", pa.string())]),
        [Field("id", "long"), Field("p", "string")],
        Schema([Field("id", "long"), Field("p", "string")]).to_json(),
    ],
    ids=["ddl", "schema", "arrow", "fields", "json"],
)
def test_create_takes_any_schema(tmp_path: Path, schema: Any) -> None:
    table = DeltaTable.create(tmp_path / "t", schema, partition_by=["P"], name="n")
    assert [f.name for f in table.schema().fields] == ["id", "p"]
    assert table.metadata().partition_columns == ["p"]
    assert table.append(ROWS).version == 1


@pytest.mark.parametrize(
    ("schema", "arguments", "words"),
    [
        ("a int, b int", {"partition_by": ["a", "b"]}, "all of its columns"),
        ("a int, b int", {"partition_by": ["c"]}, "not among"),
        ("a int, b int", {"partition_by": ["a", "a"]}, "twice"),
        ("a array<int>, b int", {"partition_by": "a"}, "cannot partition"),
        ("a int, A int", {}, "(?i)differ only by case|twice"),
        ("`a b` int", {}, "columnMapping"),
        ("a int", {"configuration": {"delta.appendOnyl": "true"}}, "delta.appendOnly"),
        ("a int", {"configuration": {"delta.appendOnly": "maybe"}}, "true or false"),
        ("a int", {"configuration": {"delta.constraints.c": "b > 0"}}, "b"),
        ("a int", {"configuration": {"delta.feature.magic": "supported"}}, "magic"),
        ("a int", {"mode": "upsert"}, "mode is one of"),
    ],
)
def test_what_cannot_be_created_is_refused_and_leaves_nothing(
    tmp_path: Path, schema: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        DeltaTable.create(tmp_path / "t", schema, **arguments)
    assert not DeltaTable.is_deltatable(tmp_path / "t")


def test_modes_of_create(tmp_path: Path) -> None:
    DeltaTable.create(tmp_path / "t", "a int").append(pa.table({"a": pa.array([1], pa.int32())}))
    with pytest.raises(TableExistsError):
        DeltaTable.create(tmp_path / "t", "b string")
    assert DeltaTable.create(tmp_path / "t", "b string", mode="ignore").version() == 1
    replaced = DeltaTable.create(tmp_path / "t", "b string", mode="overwrite")
    assert replaced.version() == 2 and replaced.count() == 0 and replaced.schema().names == ["b"]
    assert replaced.at(1).count() == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "replace"},
        {"schema_mode": "evolve"},
        {"schema_mode": "overwrite", "mode": "append"},
        {"predicate": "id = 1", "mode": "append"},
        {"partition_overwrite": "dynamic", "mode": "append"},
        {"partition_overwrite": "dynamic", "mode": "overwrite", "predicate": "p = 'a'"},
        {"cast": "lossy"},
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        write_deltalake(tmp_path / "t", ROWS, **arguments)
    assert not (tmp_path / "t").exists() or not os.listdir(tmp_path / "t")


def test_merge_adds_columns_and_old_rows_have_none(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS)
    more = pa.table({"ID": pa.array([4], pa.int32()), "extra": [{"x": 1, "y": "q"}]})
    table = DeltaTable(tmp_path / "t")
    with pytest.raises(SchemaMismatchError, match="extra"):
        table.append(more)
    table.append(more, schema_mode="merge")
    assert table.schema().names == ["id", "p", "extra"]
    assert rows(table, "id", "extra") == [(1, None), (2, None), (3, None), (4, {"x": 1, "y": "q"})]
    table.append(pa.table({"id": [5], "extra": [{"z": 2.5}]}), schema_mode="merge")
    assert rows(table, "id", "extra")[-1] == (5, {"x": None, "y": None, "z": 2.5})
    assert table.at(0).schema().names == ["id", "p"]


def test_overwrite_schema_and_partitioning(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS, partition_by="p")
    table = DeltaTable(tmp_path / "t")
    with pytest.raises(InvalidArgumentError, match="partitioned by"):
        write_deltalake(table, ROWS, mode="append", partition_by="id")
    new = pa.table({"day": [dt.date(2026, 1, 1)], "v": [1.5]})
    table.overwrite(new, schema_mode="overwrite", partition_by="day")
    assert table.schema().names == ["day", "v"] and table.metadata().partition_columns == ["day"]
    assert rows(table) == [(dt.date(2026, 1, 1), 1.5)]
    assert rows(table.at(0)) == [(1, "a"), (2, "b"), (3, "b")]


def test_replace_where(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS, partition_by="p")
    table = DeltaTable(tmp_path / "t")
    table.overwrite(pa.table({"id": [9], "p": ["b"]}), predicate="p = 'b'")
    assert rows(table) == [(1, "a"), (9, "b")]
    with pytest.raises(ConstraintViolation, match="p = 'b'"):
        table.overwrite(pa.table({"id": [9], "p": ["a"]}), predicate="p = 'b'")
    table.overwrite(pa.table({"id": [9], "p": ["b"]}), predicate=[("p", "=", "b"), ("id", ">", 5)])
    assert rows(table) == [(1, "a"), (9, "b")]
    with pytest.raises(ConcurrentDeleteReadError):
        DeltaTable(tmp_path / "t", version=0).overwrite(pa.table({"id": [2], "p": ["b"]}), predicate="id = 2")
    assert rows(table.refresh()) == [(1, "a"), (9, "b")]
    table.overwrite(ROWS.slice(0, 0), predicate="p = 'a'")
    assert rows(table) == [(9, "b")]


@pytest.mark.parametrize("vectors", ["true", "false"])
def test_replace_where_on_data_columns(tmp_path: Path, vectors: str) -> None:
    data = pa.table({"id": list(range(100)), "p": ["x"] * 100})
    write_deltalake(tmp_path / "t", data, configuration={"delta.enableDeletionVectors": vectors})
    table = DeltaTable(tmp_path / "t")
    result = table.overwrite(pa.table({"id": [3, 5], "p": ["new", "new"]}), predicate="id < 10")
    assert (result["num_deleted_rows"], result["num_output_rows"]) == (10, 2)
    assert sorted(rows(table)) == [(3, "new"), (5, "new"), *((i, "x") for i in range(10, 100))]
    with pytest.raises(ConstraintViolation, match="id < 10"):
        table.overwrite(pa.table({"id": [50], "p": ["new"]}), predicate="id < 10")
    assert table.refresh().version() == 1


def test_replace_where_on_an_empty_match_still_conflicts(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS, partition_by="p", configuration={"delta.isolationLevel": "Serializable"})
    one, two = DeltaTable(tmp_path / "t"), DeltaTable(tmp_path / "t")
    new = pa.table({"id": [9], "p": ["new"]})
    one.overwrite(new, predicate="p = 'new'")
    with pytest.raises(ConcurrentAppendError):
        two.overwrite(new, predicate="p = 'new'")
    assert DeltaTable(tmp_path / "t").count("p = 'new'") == 1


def test_a_changed_schema_conflicts_and_leaves_no_files(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS)
    stale = DeltaTable(tmp_path / "t")
    DeltaTable(tmp_path / "t").append(ROWS.append_column("x", pa.array([1, 2, 3])), schema_mode="merge")
    files = sorted(os.listdir(tmp_path / "t"))
    with pytest.raises(MetadataChangedError) as caught:
        stale.append(ROWS)
    assert caught.value.winner_version == 1 and caught.value.retryable
    assert sorted(os.listdir(tmp_path / "t")) == files
    assert stale.refresh().append(ROWS).version == 2


def test_nothing_is_cast_silently(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS)
    table = DeltaTable(tmp_path / "t")
    for bad in ([4.7], ["4"], [2**63]):
        with pytest.raises(SchemaMismatchError, match="id"):
            table.append(pa.table({"id": pa.array(bad, pa.uint64() if bad == [2**63] else None), "p": ["x"]}))
    assert table.refresh().version() == 0
    table.append(pa.table({"id": [4.7], "p": ["x"]}), cast="unsafe")
    assert rows(table)[-1] == (4, "x")


def test_generated_defaults_and_not_null(tmp_path: Path) -> None:
    table = DeltaTable.create(
        tmp_path / "t",
        "id bigint NOT NULL, at timestamp, day date GENERATED ALWAYS AS (cast(at AS date)), s string DEFAULT 'new'",
        partition_by="day",
    )
    at = dt.datetime(2026, 11, 1, 23, tzinfo=dt.timezone.utc)
    table.append(pa.table({"id": [1], "at": [at]}))
    assert rows(table, "id", "day", "s") == [(1, dt.date(2026, 11, 1), "new")]
    with pytest.raises(ConstraintViolation, match="day"):
        table.append(pa.table({"id": [1], "at": [at], "day": [dt.date(2026, 11, 2)]}))
    with pytest.raises((ConstraintViolation, SchemaMismatchError), match="id"):
        table.append(pa.table({"id": pa.array([None], pa.int64()), "at": [at]}))
    assert "allowColumnDefaults" in (table.protocol().writer_features or [])


@pytest.mark.parametrize("mode", ["name", "id"])
def test_column_mapping_is_written(tmp_path: Path, mode: str) -> None:
    deltalake = pytest.importorskip("deltalake")
    data = pa.table({"a b": [1, 2], "nested": [{"x y": 1}, {"x y": None}], "p,q": ["u", "v"]})
    place = tmp_path / "t"
    write_deltalake(place, data, partition_by="p,q", configuration={"delta.columnMapping.mode": mode})
    table = DeltaTable(place)
    table.append(data.append_column("new one", pa.array([True, False])), schema_mode="merge")
    assert table.count("`a b` = 2 AND `p,q` = 'v'") == 2
    assert table.explain("`a b` > 5")["kept"].to_pylist() == [False] * 4
    theirs = pa.table(deltalake.QueryBuilder().register("t", deltalake.DeltaTable(place)).execute('select "a b" from t'))
    assert sorted(theirs.column("a b").to_pylist()) == [1, 1, 2, 2]


def test_commit_properties(tmp_path: Path) -> None:
    properties = CommitProperties(custom_metadata={"userMetadata": "why", "run": 7}, app_transactions=[Transaction("app", 3)])
    write_deltalake(tmp_path / "t", ROWS, commit_properties=properties)
    table = DeltaTable(tmp_path / "t")
    entry = table.history(1)[0]
    assert entry["userMetadata"] == "why" and entry["run"] == 7
    assert table.transaction_version("app") == 3 and table.transaction_version("other") is None
    assert table.append(ROWS, commit_properties=properties).skipped


@pytest.mark.parametrize("switch", ["delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2"])
def test_a_property_that_needs_another_is_refused_by_name(tmp_path: Path, switch: str) -> None:
    write_deltalake(tmp_path / "t", ROWS)
    with pytest.raises(InvalidArgumentError, match="columnMapping"):
        DeltaTable(tmp_path / "t").alter.set_table_properties({switch: "true"})
    assert DeltaTable(tmp_path / "t").version() == 0


def test_properties_of_an_existing_table_are_not_changed_by_a_write(tmp_path: Path) -> None:
    write_deltalake(tmp_path / "t", ROWS, configuration={"owner": "me"})
    write_deltalake(tmp_path / "t", ROWS, mode="append", configuration={"owner": "me"})
    with pytest.warns(UserWarning, match="owner"):
        write_deltalake(tmp_path / "t", ROWS, mode="append", configuration={"owner": "you"})
    assert DeltaTable(tmp_path / "t").properties() == {"owner": "me"}


def test_a_checkpoint_comes_by_itself_and_the_log_still_reads(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS, configuration={"delta.checkpointInterval": "3"})
    for _ in range(7):
        write_deltalake(place, ROWS, mode="append")
    assert DeltaTable(place).detail()["checkpoint_version"] == 6
    for version in range(6):
        (place / "_delta_log" / f"{version:020d}.json").unlink()
    assert DeltaTable(place).count() == 24 and len(DeltaTable(place).to_pyarrow_table()) == 24


def test_v2_checkpoints(tmp_path: Path) -> None:
    place = tmp_path / "t"
    write_deltalake(place, ROWS, configuration={"delta.checkpointPolicy": "v2", "delta.checkpointInterval": "2"})
    for _ in range(2):
        write_deltalake(place, ROWS, mode="append")
    assert "v2Checkpoint" in (DeltaTable(place).protocol().reader_features or [])
    assert list((place / "_delta_log" / "_sidecars").iterdir())
    assert DeltaTable(place).count() == 9
