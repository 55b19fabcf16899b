"""Table features added by name, and dropped: what goes with them, what stands in the way, and what older versions keep."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deltalite import DeltaTable, Field, PrimitiveType, Schema, TableFeatures, features
from deltalite.exceptions import InvalidArgumentError, UnsupportedFeatureError

DATA = pa.table({"a": pa.array([1, 2, 3], pa.int32()), "b": ["x", "y", "z"]})
VECTORS = {"delta.enableDeletionVectors": "true"}
DAY_S = 86_400


def supported(table: DeltaTable) -> set[str]:
    return {f.name for f in features.supported(DeltaTable(table.table_uri)._snapshot.config.protocol)}


def rows(root, version=None) -> list:
    found = DeltaTable(root, version=version).to_pyarrow_table().to_pylist()
    return sorted(found, key=lambda row: str(row))


def table_of(root, **configuration) -> DeltaTable:
    table = DeltaTable.create(root, DATA.schema, configuration=configuration)
    table.append(DATA)
    return table


def grow_old(root: Path, days: float) -> None:
    """As if everything in the log had been there for so long."""
    then = time.time() - days * DAY_S
    for file in (Path(root) / "_delta_log").iterdir():
        if file.is_file():
            os.utime(file, (then, then))


# -- adding ------------------------------------------------------------------------------------------------------------


def test_features_are_added_by_any_of_their_names(tmp_path):
    table = table_of(tmp_path)
    table.alter.add_feature(TableFeatures.CheckConstraints, allow_protocol_versions_increase=True)
    assert (table.protocol().min_reader_version, table.protocol().min_writer_version) == (1, 3)
    table.alter.add_feature(["deletionVectors", deltalake.TableFeatures.V2Checkpoint], True)
    assert {"deletionVectors", "v2Checkpoint", "checkConstraints", "appendOnly"} <= supported(table)
    assert "delta.enableDeletionVectors" not in table.properties()
    table.alter.add_feature("RowTracking")
    assert {"rowTracking", "domainMetadata"} <= supported(table), "along with what it needs"
    assert table.alter.add_feature("rowTracking").skipped
    assert rows(tmp_path) == rows(tmp_path, 1)
    with pytest.raises(InvalidArgumentError, match="unknown table feature"):
        table.alter.add_feature("rowTraking")
    with pytest.raises(UnsupportedFeatureError):
        table.alter.add_feature("catalogManaged")


def test_versions_grow_only_when_somebody_allows_it(tmp_path):
    table = table_of(tmp_path)
    with pytest.raises(InvalidArgumentError, match="allow_protocol_versions_increase|asks for reader version 3"):
        table.alter.add_feature(TableFeatures.DeletionVectors)
    assert table.version() == 1


def test_deltalakes_features_all_have_a_name_here():
    from deltalite.operations.protocol import feature_name

    unknown = []
    for name in (n for n in dir(deltalake.TableFeatures) if n[0].isupper()):
        try:
            feature_name(getattr(deltalake.TableFeatures, name))
        except InvalidArgumentError:
            unknown.append(name)
    assert unknown == ["TimestampNanos"]
    assert {f.value for f in TableFeatures} == {f.name for f in features.FEATURES} - {"catalogManaged"}


# -- dropping ----------------------------------------------------------------------------------------------------------


def test_deletion_vectors_go_with_their_files(tmp_path):
    table = table_of(tmp_path, **VECTORS)
    table.append(DATA)
    table.delete("a = 2")
    before = rows(tmp_path)
    result = table.alter.drop_feature("deletionVectors")
    assert result["numFilesRewritten"] == 2
    assert rows(tmp_path) == before and "deletionVectors" not in supported(table)
    assert "checkpointProtection" in supported(table) and "delta.enableDeletionVectors" not in table.properties()
    protected = int(table.properties()["delta.requireCheckpointProtectionBeforeVersion"])
    assert protected == table.version()
    protocol = table.protocol()
    assert protocol.min_reader_version == 1 and protocol.reader_features is None
    assert sorted(deltalake.DeltaTable(tmp_path).to_pyarrow_table().to_pylist(), key=str) == before
    assert rows(tmp_path, 3) == before, "older versions can still be read"
    assert (tmp_path / "_delta_log" / f"{table.version():020}.checkpoint.parquet").exists()
    assert (tmp_path / "_delta_log" / f"{table.version() - 1:020}.checkpoint.parquet").exists(), "the barrier"
    table.delete("a = 1")
    assert all(add.deletion_vector is None for add in table._snapshot.files.add_files())


def test_a_feature_that_left_no_traces_needs_no_protection(tmp_path):
    table = table_of(tmp_path, **{"delta.feature.deletionVectors": "supported"})
    table.alter.drop_feature(TableFeatures.DeletionVectors)
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert protocol.writer_features is None or supported(table) == {"appendOnly", "invariants"}


def test_dropped_and_added_again(tmp_path):
    table = table_of(tmp_path, **VECTORS)
    table.delete("a = 1")
    table.alter.drop_feature("deletionVectors")
    table.alter.set_table_properties(VECTORS)
    table.delete("a = 2")
    assert rows(tmp_path) == [{"a": 3, "b": "z"}]
    first = int(table.properties()["delta.requireCheckpointProtectionBeforeVersion"])
    table.alter.drop_feature("deletionVectors")
    assert int(table.properties()["delta.requireCheckpointProtectionBeforeVersion"]) > first
    table.restore(2)
    assert "deletionVectors" in supported(table), "a version with vectors brings the feature back"
    assert rows(tmp_path) == [{"a": 2, "b": "y"}, {"a": 3, "b": "z"}]


def test_truncated_history(tmp_path):
    table = table_of(tmp_path, **VECTORS)
    table.delete("a = 2")
    with pytest.raises(InvalidArgumentError, match="cannot be dropped yet") as error:
        table.alter.drop_feature("deletionVectors", truncate_history=True)
    assert "UTC" in error.value.hint and "deletionVectors" in supported(table)
    table = DeltaTable(tmp_path)
    assert "delta.enableDeletionVectors" not in table.properties(), "no more vectors meanwhile"
    before = rows(tmp_path)
    grow_old(tmp_path, 3)
    table.alter.drop_feature("deletionVectors", truncate_history=True)
    assert supported(table) == {"appendOnly", "invariants"} and rows(tmp_path) == before
    assert not (tmp_path / "_delta_log" / f"{0:020}.json").exists()
    deltalake.write_deltalake(tmp_path, DATA, mode="append")
    assert len(rows(tmp_path)) == 5


def test_protection_is_dropped_with_the_history_it_protects(tmp_path):
    table = table_of(tmp_path, **VECTORS)
    table.delete("a = 2")
    table.alter.drop_feature("deletionVectors")
    with pytest.raises(InvalidArgumentError, match="protects the versions before"):
        table.alter.drop_feature("checkpointProtection")
    with pytest.raises(InvalidArgumentError, match="cannot be dropped yet"):
        table.alter.drop_feature("checkpointProtection", truncate_history=True)
    grow_old(tmp_path, 3)
    table = DeltaTable(tmp_path)
    table.alter.drop_feature("checkpointProtection", truncate_history=True)
    assert supported(table) == {"appendOnly", "invariants"}
    assert "delta.requireCheckpointProtectionBeforeVersion" not in table.properties()
    assert len(rows(tmp_path)) == 2


@pytest.mark.trap(33)
def test_trap_33_history_goes_as_a_whole_or_not_at_all(tmp_path):
    table = table_of(tmp_path, **VECTORS, **{"delta.logRetentionDuration": "interval 1 days"})
    table.delete("a = 2")
    table.create_checkpoint()
    grow_old(tmp_path, 9)
    table.alter.drop_feature("deletionVectors")
    table.cleanup_metadata()
    assert (tmp_path / "_delta_log" / f"{0:020}.json").exists(), "a part of the protected versions stays together"
    grow_old(tmp_path, 9)
    table.append(DATA)
    table.create_checkpoint()
    table.cleanup_metadata()
    assert not (tmp_path / "_delta_log" / f"{0:020}.json").exists()
    assert len(rows(tmp_path)) == 5


@pytest.mark.parametrize("mode", ["name", "id", "turned on"])
def test_column_mapping_goes_with_the_names_in_files(tmp_path, mode):
    mapped = {"delta.columnMapping.mode": "name" if mode == "turned on" else mode}
    schema = pa.schema(
        [("a", pa.int64()), ("p", pa.string()), ("s", pa.struct([("x", pa.int64())])), ("gone", pa.int64())]
    )
    data = pa.table({"a": [1, 2], "p": ["u", "v"], "s": [{"x": 1}, None], "gone": [8, 9]}, schema=schema)
    tracked = {"delta.enableRowTracking": "true"}
    table = DeltaTable.create(
        tmp_path, schema, partition_by=["p"], configuration={**tracked, **({} if mode == "turned on" else mapped)}
    )
    table.append(data)
    if mode == "turned on":
        table.alter.set_table_properties(mapped)
    table.alter.rename_column("a", "n")
    table.alter.rename_column("p", "part")
    table.alter.drop_columns("gone")
    ids = DeltaTable(tmp_path).to_pyarrow_table(columns=["n", "_row_id"]).to_pylist()
    before = rows(tmp_path)
    result = table.alter.drop_feature(TableFeatures.ColumnMapping)
    assert result["numFilesRewritten"] == 2 and rows(tmp_path) == before
    assert "columnMapping" not in supported(table)
    assert not any(key.startswith("delta.columnMapping") for key in table.properties())
    assert all(not f.metadata for f in table.schema().fields)
    for add in table._snapshot.files.add_files():
        names = pq.ParquetFile(tmp_path / add.path).schema_arrow.names
        assert names[:2] == ["n", "s"] and list(add.partition_values) == ["part"]
        assert "n" in json.loads(add.stats)["minValues"]
    assert sorted(deltalake.DeltaTable(tmp_path).to_pyarrow_table().to_pylist(), key=str) == before
    again = DeltaTable(tmp_path).to_pyarrow_table(columns=["n", "_row_id"]).to_pylist()
    assert sorted(again, key=str) == sorted(ids, key=str), "rows keep their ids"
    assert rows(tmp_path, 1)[0]["a"] == 1
    table.append(pa.table({"n": [3], "part": ["w"]}))
    assert table.count("n = 3") == 1


def test_names_that_need_mapping_keep_it(tmp_path):
    table = table_of(tmp_path, **{"delta.columnMapping.mode": "name"})
    table.alter.rename_column("a", "with space")
    version = table.version()
    with pytest.raises(InvalidArgumentError, match="holds one of the characters"):
        table.alter.drop_feature("columnMapping")
    assert DeltaTable(tmp_path).version() == version


def test_clustering_columns_follow_the_files(tmp_path):
    table = DeltaTable.create(
        tmp_path, DATA.schema, cluster_by=["a"], configuration={"delta.columnMapping.mode": "name"}
    )
    table.append(DATA)
    table.alter.drop_feature("columnMapping")
    assert json.loads(DeltaTable(tmp_path)._snapshot.domains["delta.clustering"].configuration) == {
        "clusteringColumns": [["a"]]
    }
    table.optimize.cluster(full=True)
    with pytest.raises(InvalidArgumentError, match="by which it is clustered"):
        table.alter.drop_feature("clustering")
    table.alter.cluster_by(None)
    table.alter.drop_feature("clustering")
    table.alter.drop_feature("domainMetadata")
    assert "domainMetadata" not in supported(table) and len(rows(tmp_path)) == 3


@pytest.mark.trap(62)
def test_wider_types_go_into_the_files(tmp_path):
    table = table_of(tmp_path, **{"delta.enableTypeWidening": "true"})
    table.alter.set_column_type("a", "long")
    table.append(pa.table({"a": [2**40], "b": ["w"]}))
    before = rows(tmp_path)
    assert table.alter.drop_feature("typeWidening")["numFilesRewritten"] == 1
    assert rows(tmp_path) == before and "typeWidening" not in supported(table)
    assert all("delta.typeChanges" not in f.metadata for f in table.schema().fields)
    assert sorted(deltalake.DeltaTable(tmp_path).to_pyarrow_table().to_pylist(), key=str) == before


def test_v2_checkpoints_become_classic_ones(tmp_path):
    table = table_of(tmp_path, **{"delta.checkpointPolicy": "v2"})
    table.create_checkpoint()
    assert list((tmp_path / "_delta_log").glob("*.checkpoint.*.json"))
    table.alter.drop_feature("v2Checkpoint")
    assert "v2Checkpoint" not in supported(table) and "delta.checkpointPolicy" not in table.properties()
    hint = json.loads((tmp_path / "_delta_log" / "_last_checkpoint").read_text())
    assert hint["version"] == table.version()
    assert (tmp_path / "_delta_log" / f"{table.version():020}.checkpoint.parquet").exists()
    assert len(deltalake.DeltaTable(tmp_path).to_pyarrow_table()) == 3


@pytest.mark.parametrize(
    "name, properties",
    [
        ("appendOnly", {"delta.appendOnly": "true"}),
        ("changeDataFeed", {"delta.enableChangeDataFeed": "true"}),
        ("rowTracking", {"delta.enableRowTracking": "true"}),
        ("inCommitTimestamp", {"delta.enableInCommitTimestamps": "true"}),
        ("icebergCompatV2", {"delta.enableIcebergCompatV2": "true"}),
        ("materializePartitionColumns", {"delta.feature.materializePartitionColumns": "supported"}),
        ("vacuumProtocolCheck", {"delta.feature.vacuumProtocolCheck": "supported"}),
        ("variantShredding", {"delta.enableVariantShredding": "true"}),
    ],
)
def test_features_that_are_only_switched_off(tmp_path, name, properties):
    table = table_of(tmp_path, **properties)
    before = rows(tmp_path)
    table.alter.drop_feature(name)
    assert name not in supported(table) and rows(tmp_path) == before
    assert not {key for key in properties if not key.startswith("delta.feature")} & set(table.properties())
    assert not any("Timestamp" in key or "materialized" in key for key in table.properties())
    table.append(DATA)
    table.delete("a = 1")
    assert len(rows(tmp_path)) == 4
    if name == "variantShredding":
        table.alter.drop_feature("variantType")


@pytest.mark.parametrize(
    "name, schema, words",
    [
        ("generatedColumns", [Field("a", "long"), Field("g", "long", metadata={"delta.generationExpression": "a"})], "generated columns \\['g'\\]"),
        ("allowColumnDefaults", [Field("a", "long", metadata={"CURRENT_DEFAULT": "1"})], "defaults of \\['a'\\]"),
        ("identityColumns", [Field("b", "long"), Field("a", "long", metadata={"delta.identity.start": 1, "delta.identity.step": 1})], "identity columns"),
        ("timestampNtz", [Field("a", "timestamp_ntz")], "of type timestamp_ntz"),
        ("variantType", [Field("b", "long"), Field("a", PrimitiveType("variant"))], "of type variant"),
        ("invariants", [Field("a", "long", metadata={"delta.invariants": '{"expression":{"expression":"a > 0"}}'})], "invariants of"),
    ],
)  # fmt: skip
def test_features_in_use_stay(tmp_path, name, schema, words):
    table = DeltaTable.create(
        tmp_path, Schema([*schema, Field("z", "long")]), configuration={"delta.columnMapping.mode": "name"}
    )
    with pytest.raises(InvalidArgumentError, match=words):
        table.alter.drop_feature(name)
    assert table.version() == 0
    if name == "allowColumnDefaults":
        table.alter.set_column_default("a", None)
    elif name != "invariants":
        table.alter.drop_columns([schema[-1].name])
    else:
        return
    table.alter.drop_feature(name)
    assert name not in supported(table)


def test_constraints_hold_their_feature(tmp_path):
    table = table_of(tmp_path)
    table.alter.add_constraint({"c": "a > 0"})
    with pytest.raises(InvalidArgumentError, match="the constraints \\['c'\\]"):
        table.alter.drop_feature("checkConstraints")
    table.alter.drop_constraint("c")
    table.alter.drop_feature("checkConstraints")
    protocol = table.protocol()
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)


def test_what_cannot_be_dropped_says_why(tmp_path):
    table = table_of(tmp_path, **{"delta.enableRowTracking": "true"})
    with pytest.raises(InvalidArgumentError, match="rowTracking needs it"):
        table.alter.drop_feature("domainMetadata")
    with pytest.raises(InvalidArgumentError, match="does not have the feature"):
        table.alter.drop_feature("deletionVectors")
    with pytest.raises(InvalidArgumentError, match="unknown table feature"):
        table.alter.drop_feature("nonsense")
    table.alter.drop_feature("rowTracking")
    with pytest.raises(InvalidArgumentError, match="metadata domains \\['delta.rowTracking'\\]"):
        table.alter.drop_feature("domainMetadata")
    with pytest.raises(InvalidArgumentError, match="commits of its own"), table.transaction() as staged:
        staged.alter.drop_feature("appendOnly")


def test_a_writer_in_between(tmp_path, monkeypatch):
    """Vectors that another writer makes before the property goes are purged too."""
    from deltalite.operations import dropping

    table = table_of(tmp_path, **VECTORS)
    table.delete("a = 1")
    plan_off, done = dropping._plan_off, []

    def slow(*args):
        if not done:
            done.append(DeltaTable(tmp_path).delete("a = 2"))
        return plan_off(*args)

    monkeypatch.setattr(dropping, "_plan_off", slow)
    table.alter.drop_feature("deletionVectors")
    assert rows(tmp_path) == [{"a": 3, "b": "z"}]
    assert all(add.deletion_vector is None for add in table._snapshot.files.add_files())
