"""Iceberg compatibility, partition columns in data files, and protected checkpoints: the rules on writing."""

from __future__ import annotations

import datetime as dt
import json
import urllib.parse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite import ArrayType, DeltaTable, Field, MapType, PrimitiveType, Schema, StructType
from deltalite.exceptions import InvalidArgumentError, UnsupportedFeatureError

V1, V2, V3 = ("delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2", "delta.enableIcebergCompatV3")
MATERIALIZED = {"delta.feature.materializePartitionColumns": "supported"}
NUMBERS = pa.table({"a": pa.array([1, 2], pa.int32()), "p": ["x", "y"], "b": pa.array([5, 6], pa.int64())})
NESTED = Schema(
    [
        Field("col1", ArrayType(ArrayType("integer"))),
        Field("col2", MapType("integer", ArrayType("integer"))),
        Field("col3", MapType("integer", StructType([Field("subcol1", ArrayType("integer"))]))),
    ]
)


def live(table: DeltaTable) -> list[dict]:
    found: dict[str, dict] = {}
    for log in sorted((Path(table.table_uri) / "_delta_log").glob("0*.json")):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                found.pop(action["remove"]["path"], None)
        found.update({action["add"]["path"]: action["add"] for action in actions if "add" in action})
    return list(found.values())


def footers(table: DeltaTable) -> list[pq.FileMetaData]:
    root = Path(table.table_uri)
    return [pq.ParquetFile(root / urllib.parse.unquote(f["path"])) for f in live(table)]


def physical(table: DeltaTable, name: str) -> str:
    return next(f for f in table.schema().fields if f.name == name).metadata["delta.columnMapping.physicalName"]


def field_ids(schema: pa.Schema) -> dict[str, int | None]:
    found: dict[str, int | None] = {}

    def visit(f: pa.Field, path: str) -> None:
        raw = (f.metadata or {}).get(b"PARQUET:field_id")
        found[path] = None if raw is None else int(raw)
        for i in range(f.type.num_fields):
            child = f.type.field(i)
            if pa.types.is_map(f.type):  # its entries are no field of the table
                visit(f.type.key_field, f"{path}.key")
                visit(f.type.item_field, f"{path}.value")
                break
            visit(child, f"{path}.element" if pa.types.is_list(f.type) else f"{path}.{child.name}")

    for f in schema:
        visit(f, f.name)
    return found


def change_everything(table: DeltaTable) -> list[dict]:
    table.append(NUMBERS)
    table.append(pa.table({"a": pa.array([3], pa.int32()), "p": pa.array([None], pa.string()), "b": [7]}))
    table.delete("a = 1")
    table.update({"b": "b + 10"}, predicate="a = 2")
    source = pa.table({"a": pa.array([3, 4], pa.int32()), "p": ["x", "z"], "b": [70, 80]})
    table.merge(source, "t.a = s.a", "s", "t").when_matched_update_all().when_not_matched_insert_all().execute()
    table.optimize.compact()
    expected = [{"a": 2, "p": "y", "b": 16}, {"a": 3, "p": "x", "b": 70}, {"a": 4, "p": "z", "b": 80}]
    found = DeltaTable(table.table_uri).to_pyarrow_table().to_pylist()
    assert sorted(found, key=lambda row: row["a"]) == expected
    return expected


# -- partition columns in files ----------------------------------------------------------------------------------------


@pytest.mark.trap(8)
@pytest.mark.parametrize("properties", [MATERIALIZED, {"delta.writePartitionColumnsToParquet": "true"}])
@pytest.mark.parametrize("more", [{}, {"delta.columnMapping.mode": "name", "delta.enableRowTracking": "true",
                                       "delta.enableChangeDataFeed": "true"}])  # fmt: skip
def test_trap_8_partition_columns_lie_behind_the_data(tmp_path, properties, more):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, partition_by=["p"], configuration={**properties, **more})
    change_everything(table)
    for file, parquet in zip(live(table), footers(table), strict=True):
        own = [physical(table, name) if more else name for name in "abp"]
        names = parquet.schema_arrow.names
        assert names[:2] == own[:2] and own[2] in names[2:]
        stored = set(parquet.read(columns=[own[2]]).column(0).to_pylist())
        assert stored == {file["partitionValues"][own[2]]}
        stats = json.loads(file["stats"])
        assert own[2] not in stats["minValues"], "the log has the value already"


def test_values_of_the_log_win_over_those_in_files(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, partition_by=["p"], configuration=MATERIALIZED)
    table.append(NUMBERS)
    log = tmp_path / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace('"partitionValues":{"p":"x"}', '"partitionValues":{"p":"moved"}'))
    found = DeltaTable(tmp_path).to_pyarrow_table().to_pylist()
    assert sorted(row["p"] for row in found) == ["moved", "y"]


def test_without_the_feature_files_have_no_partition_columns(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, partition_by=["p"])
    table.append(NUMBERS)
    assert all(parquet.schema_arrow.names == ["a", "b"] for parquet in footers(table))
    table.alter.set_table_properties(MATERIALIZED)
    table.append(NUMBERS)
    assert sorted(len(parquet.schema_arrow.names) for parquet in footers(table)) == [2, 2, 3, 3]
    assert len(DeltaTable(tmp_path).to_pyarrow_table()) == 4


# -- iceberg -----------------------------------------------------------------------------------------------------------


@pytest.mark.trap(69)
@pytest.mark.parametrize("switch", [V1, V2, V3])
def test_trap_69_a_new_table_gets_what_it_needs_and_takes_all_changes(tmp_path, switch):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, partition_by=["p"], configuration={switch: "true"})
    properties, features = table.properties(), table.protocol().writer_features
    assert properties["delta.columnMapping.mode"] == "name" and "columnMapping" in features
    assert f"icebergCompat{switch[-2:]}" in features
    assert (properties.get("delta.enableRowTracking") == "true") == (switch == V3) == ("rowTracking" in features)
    change_everything(table)
    for parquet, file in zip(footers(table), live(table), strict=True):
        assert physical(table, "p") in parquet.schema_arrow.names
        assert json.loads(file["stats"])["numRecords"] == parquet.metadata.num_rows
        ids = field_ids(parquet.schema_arrow)
        assert None not in ids.values() and len(set(ids.values())) == len(ids)


def test_v3_stores_row_ids_under_reserved_field_ids(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, configuration={V3: "true"})
    table.append(NUMBERS)
    table.update({"b": "b + 1"})
    table.optimize.compact()
    properties = table.properties()
    found = [field_ids(parquet.schema_arrow) for parquet in footers(table)]
    stored = properties["delta.rowTracking.materializedRowIdColumnName"]
    version = properties["delta.rowTracking.materializedRowCommitVersionColumnName"]
    assert any(ids.get(stored) == 2147483540 for ids in found)
    assert all(ids.get(version, 2147483539) == 2147483539 for ids in found)


@pytest.mark.trap(69)
@pytest.mark.parametrize("switch", [V2, V3])
def test_trap_69_elements_keys_and_values_have_ids_in_the_schema_and_in_files(tmp_path, switch):
    table = DeltaTable.create(tmp_path, NESTED, configuration={switch: "true"})
    data = pa.table(
        {"col1": [[[1]]], "col2": [[(1, [2])]], "col3": [[(1, {"subcol1": [3]})]]}, schema=NESTED.to_arrow()
    )
    table.append(data)
    assert DeltaTable(tmp_path).to_pyarrow_table().to_pylist() == data.to_pylist()
    assert_ids(table)
    before = nested_ids(table)
    table.alter.add_columns(Field("new", ArrayType(MapType("string", "long"))))
    table.alter.rename_column("col1", "other")
    after = nested_ids(table)
    assert {key: after[key] for key in before} == before and len(after) == len(before) + 3
    table.alter.drop_columns("other")
    table.alter.add_columns(Field("other", ArrayType("long")))
    highest = int(table.properties()["delta.columnMapping.maxColumnId"])
    assert max(nested_ids(table).values()) <= highest and highest > max(after.values())
    table.append({"new": [[{"k": 1}]]})
    assert_ids(table)
    assert len(DeltaTable(tmp_path).to_pyarrow_table()) == 2


def nested_ids(table: DeltaTable) -> dict[str, int]:
    found: dict[str, int] = {}

    def visit(node):
        if isinstance(node, dict):
            found.update(node.get("metadata", {}).get("delta.columnMapping.nested.ids", {}))
            for value in node.values():
                visit(value)
        if isinstance(node, list):
            for value in node:
                visit(value)

    visit(json.loads(table.schema().to_json()))
    return found


def assert_ids(table: DeltaTable) -> None:
    """All ids differ, and the newest file has those of the schema."""
    nested = nested_ids(table)
    direct = [int(n) for n in _direct(json.loads(table.schema().to_json()))]
    numbers = [*nested.values(), *direct]
    assert len(numbers) == len(set(numbers))
    newest = footers(table)[-1].schema_arrow
    inside = {".".join(path.split(".")[-depth(path) :]): n for path, n in field_ids(newest).items()}
    assert {n for n in inside.values() if n is not None} <= set(numbers)
    assert None not in inside.values()


def depth(path: str) -> int:
    return len(path.split("."))


def _direct(node):
    if isinstance(node, dict):
        if "delta.columnMapping.id" in node.get("metadata", {}):
            yield node["metadata"]["delta.columnMapping.id"]
        for value in node.values():
            yield from _direct(value)
    if isinstance(node, list):
        for value in node:
            yield from _direct(value)


@pytest.mark.trap(69)
@pytest.mark.parametrize(
    "properties, schema, words",
    [
        ({V1: "true", "delta.columnMapping.mode": "none"}, "a int", "columns are not mapped"),
        ({V1: "true", V2: "true"}, "a int", "a table has one of them"),
        ({V1: "true", "delta.feature.deletionVectors": "supported"}, "a int", "supports deletion vectors"),
        ({V2: "true", "delta.enableDeletionVectors": "true"}, "a int", "delta.enableDeletionVectors is true"),
        ({V3: "true", "delta.enableRowTracking": "false"}, "a int", "rows are not tracked"),
        ({V1: "true"}, "a array<int>", "holds the type array"),
        ({V1: "true"}, "a struct<m: map<int, int>>", "holds the type map"),
        ({V2: "true"}, Schema([Field("a", "long"), Field("v", "void")]), "holds the type void"),
        ({V2: "true"}, Schema([Field("a", ArrayType(PrimitiveType("variant")))]), "holds the type variant"),
        ({V3: "true"}, Schema([Field("a", "timestamp", metadata={"CURRENT_DEFAULT": "current_timestamp()"})]), "no plain value"),
    ],
)  # fmt: skip
def test_trap_69_what_iceberg_lacks_is_refused(tmp_path, properties, schema, words):
    with pytest.raises(InvalidArgumentError, match=words):
        DeltaTable.create(tmp_path, schema, configuration=properties)
    assert not DeltaTable.is_deltatable(tmp_path)


def test_what_is_allowed(tmp_path):
    fields = [Field("a", "integer", metadata={"CURRENT_DEFAULT": "-5"}), Field("v", PrimitiveType("variant")),
              Field("t", "timestamp"), Field("n", "timestamp_ntz")]  # fmt: skip
    configuration = {V3: "true", "delta.enableDeletionVectors": "true", "delta.enableTypeWidening": "true"}
    table = DeltaTable.create(tmp_path, Schema(fields), configuration=configuration)
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, 678901)
    table.append({"t": [moment.replace(tzinfo=dt.timezone.utc)], "n": [moment]})
    table.append({"a": [1]})
    table.delete("a = 1")
    table.alter.set_column_type("a", "bigint")
    assert table.to_pyarrow_table(columns=["a", "n"]).to_pylist() == [{"a": -5, "n": moment}]
    kinds = {c.name: c.physical_type for f in footers(table) for c in map(f.schema.column, range(len(f.schema)))}
    assert {kinds[physical(table, "t")], kinds[physical(table, "n")]} == {"INT64"}


@pytest.mark.trap(62)
@pytest.mark.parametrize("switch", [V2, V3])
def test_types_change_as_icebergs_do(tmp_path, switch):
    schema = Schema([Field("i", "integer"), Field("d", "date"), Field("x", "decimal(5,2)"), Field("f", "float")])
    table = DeltaTable.create(tmp_path, schema, configuration={switch: "true", "delta.enableTypeWidening": "true"})
    for column, new in (("i", "decimal(12,2)"), ("i", "double"), ("d", "timestamp_ntz"), ("x", "decimal(7,3)")):
        with pytest.raises(InvalidArgumentError, match="has changed from"):
            table.alter.set_column_type(column, new)
    for column, new in (("i", "long"), ("x", "decimal(7,2)"), ("f", "double")):
        table.alter.set_column_type(column, new)


def test_partitioning_stays_but_for_names(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, partition_by=["p"], configuration={V2: "true"})
    table.append(NUMBERS)
    with pytest.raises(InvalidArgumentError, match="partitioned by other columns"):
        table.overwrite(NUMBERS, schema_mode="overwrite", partition_by=["a"])
    table.overwrite(NUMBERS, schema_mode="overwrite", partition_by=["p"])
    table.alter.rename_column("p", "part")
    assert sorted(row["part"] for row in table.to_pyarrow_table().to_pylist()) == ["x", "y"]


def test_files_of_before_stand_in_the_way(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, configuration={"delta.columnMapping.mode": "name"})
    table.alter.set_table_properties({V2: "true"})
    table.alter.set_table_properties({V2: "false"})
    table.append(NUMBERS)
    with pytest.raises(InvalidArgumentError, match="1 files of the table were written without"):
        table.alter.set_table_properties({V2: "true"})
    mapped = {"delta.columnMapping.mode": "name", V2: "true"}
    again = DeltaTable.create(tmp_path, NUMBERS.schema, mode="overwrite", configuration=mapped)
    again.append(NUMBERS)
    assert len(again.to_pyarrow_table()) == 2


# -- checkpoint protection ---------------------------------------------------------------------------------------------


@pytest.mark.trap(33)
def test_trap_33_no_checkpoint_of_a_version_that_asks_for_the_unknown(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema)
    table.append(NUMBERS)
    log = tmp_path / "_delta_log" / f"{2:020}.json"
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["ofTheFuture"]}
    log.write_text(json.dumps({"protocol": protocol}) + "\n")
    log = tmp_path / "_delta_log" / f"{3:020}.json"
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["checkpointProtection"]}
    meta = json.loads(next(line for line in (tmp_path / "_delta_log" / f"{0:020}.json").read_text().splitlines()
                           if "metaData" in line))  # fmt: skip
    meta["metaData"]["configuration"] = {"delta.requireCheckpointProtectionBeforeVersion": "3"}
    log.write_text(json.dumps({"protocol": protocol}) + "\n" + json.dumps(meta) + "\n")
    with pytest.raises(UnsupportedFeatureError, match="ofTheFuture"):
        DeltaTable(tmp_path, version=2).create_checkpoint()
    table = DeltaTable(tmp_path)
    table.append(NUMBERS)
    table.create_checkpoint()
    assert len(DeltaTable(tmp_path).to_pyarrow_table()) == 4
    DeltaTable(tmp_path, version=1).create_checkpoint()
