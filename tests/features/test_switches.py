"""Properties that turn table features on: what each brings along, what it refuses, and features under older names."""

from __future__ import annotations

import json

import deltalake
import pyarrow as pa
import pytest

from deltalite import DeltaTable, Field, PrimitiveType, Schema, features
from deltalite.exceptions import InvalidArgumentError, UnsupportedFeatureError
from deltalite.model.properties import PROPERTIES

DATA = pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", "y"]})
SWITCHES = {
    "delta.appendOnly": ("true", {"appendOnly"}),
    "delta.checkpointPolicy": ("v2", {"v2Checkpoint"}),
    "delta.enableChangeDataFeed": ("true", {"changeDataFeed"}),
    "delta.enableDeletionVectors": ("true", {"deletionVectors"}),
    "delta.enableRowTracking": ("true", {"rowTracking", "domainMetadata"}),
    "delta.enableTypeWidening": ("true", {"typeWidening"}),
    "delta.enableInCommitTimestamps": ("true", {"inCommitTimestamp"}),
    "delta.columnMapping.mode": ("name", {"columnMapping"}),
    "delta.enableVariantShredding": ("true", {"variantShredding", "variantType"}),
}


def names(table: DeltaTable) -> set[str]:
    return {f.name for f in features.supported(DeltaTable(table.table_uri)._snapshot.config.protocol)}


@pytest.mark.parametrize("when", ["created", "altered"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_brings_its_feature_and_what_that_needs(tmp_path, switch, when):
    value, expected = SWITCHES[switch]
    properties = {switch: value}
    table = DeltaTable.create(tmp_path, DATA.schema, configuration=properties if when == "created" else {})
    if when == "altered":
        table.alter.set_table_properties(properties)
    assert expected <= names(table) and table.properties()[switch] == value
    table.append(DATA)
    protocol = table.protocol()
    assert set(protocol.reader_features or ()) <= set(protocol.writer_features or ())
    assert (protocol.reader_features is not None) == (protocol.min_reader_version == 3)
    assert (protocol.writer_features is not None) == (protocol.min_writer_version == 7)


def test_every_switch_is_tested():
    switches = {f.property for f in features.FEATURES if f.property} | {"delta.checkpointPolicy"}
    assert switches - set(SWITCHES) == {f"delta.enableIcebergCompatV{n}" for n in (1, 2, 3)}


@pytest.mark.trap(28)
def test_trap_28_features_that_older_versions_imply_are_listed_on_the_way_up(tmp_path):
    deltalake.write_deltalake(tmp_path, DATA, configuration={"delta.minWriterVersion": "4"})
    table = DeltaTable(tmp_path)
    before = names(table)
    table.alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    assert before | {"deletionVectors"} == names(table) == set(table.protocol().writer_features)
    assert table.protocol().reader_features == ["deletionVectors"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("delta.enableDeletionVectors", "yes"), ("delta.columnMapping.mode", "position"), ("delta.checkpointPolicy", "v3"),
        ("delta.checkpointInterval", "0"), ("delta.logRetentionDuration", "a while"), ("delta.targetFileSize", "-1"),
        ("delta.isolationLevel", "Chaos"), ("delta.dataSkippingNumIndexedCols", "-2"), ("delta.enableIcebergCompatV2", "on"),
        ("delta.dropFeatureTruncateHistory.retentionDuration", "soon"), ("delta.feature.deletionVectors", "maybe"),
        ("delta.minReaderVersion", "many"), ("delta.writePartitionColumnsToParquet", "1"),
    ],
)  # fmt: skip
def test_values_without_sense_are_refused_before_anything_is_written(tmp_path, name, value):
    table = DeltaTable.create(tmp_path, DATA.schema)
    with pytest.raises(InvalidArgumentError) as error:
        table.alter.set_table_properties({name: value})
    assert name in str(error.value) and table.version() == 0
    with pytest.raises(InvalidArgumentError):
        DeltaTable.create(tmp_path / "new", DATA.schema, configuration={name: value})


@pytest.mark.parametrize(
    "wrong, meant",
    [
        ("delta.enableDeletionVector", "delta.enableDeletionVectors"), ("delta.appendonlyy", "delta.appendOnly"),
        ("delta.columnMappingMode", "delta.columnMapping.mode"), ("delta.logRetention", "delta.logRetentionDuration"),
    ],
)  # fmt: skip
def test_unknown_names_are_refused_with_what_was_meant(tmp_path, wrong, meant):
    table = DeltaTable.create(tmp_path, DATA.schema)
    with pytest.raises(InvalidArgumentError, match="unknown table property") as error:
        table.alter.set_table_properties({wrong: "true"})
    assert meant in error.value.hint
    table.alter.set_table_properties({wrong: "true"}, raise_if_not_exists=False)
    assert table.properties()[wrong] == "true"
    table.alter.set_table_properties({"my.own": 7, "Other": True})
    assert table.properties()["my.own"] == "7" and table.properties()["Other"] == "true"


def test_names_match_ignoring_case_and_are_stored_as_they_are_known(tmp_path):
    table = DeltaTable.create(tmp_path, DATA.schema)
    table.alter.set_table_properties({"DELTA.ENABLEDELETIONVECTORS": True, "delta.feature.rowtracking": "supported"})
    assert table.properties()["delta.enableDeletionVectors"] == "true"
    assert {"deletionVectors", "rowTracking"} <= names(table)
    assert all(p.name == PROPERTIES[p.name.lower()].name for p in PROPERTIES.values())


# -- other names -------------------------------------------------------------------------------------------------------

ALIASES = [(alias, f.name) for f in features.FEATURES for alias in f.aliases if f.readable]


def as_alias(root, name: str, alias: str) -> DeltaTable:
    log = root / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace(f'"{name}"', f'"{alias}"'))
    log.with_suffix(".crc").unlink(missing_ok=True)
    return DeltaTable(root)


@pytest.mark.trap(32)
@pytest.mark.parametrize("alias, name", ALIASES)
def test_trap_32_a_feature_under_another_name_is_read_written_and_dropped(tmp_path, alias, name):
    fields = [Field("a", "integer"), Field("b", "string")]
    if name == "timestampNtz":
        fields.append(Field("t", "timestamp_ntz"))
    if name == "variantType":
        fields.append(Field("v", PrimitiveType("variant")))
    requires = {"variantShredding": "variantType"}.get(name, name)
    configuration = {f"delta.feature.{n}": "supported" for n in (name, requires, "columnMapping")}
    configuration["delta.columnMapping.mode"] = "name"
    if name == "typeWidening":
        configuration["delta.enableTypeWidening"] = "true"
    layout = {"cluster_by": ["a"]} if name == "clustering" else {}
    DeltaTable.create(tmp_path, Schema(fields), configuration=configuration, **layout)
    table = as_alias(tmp_path, name, alias)
    assert alias in table.protocol().writer_features and name not in table.protocol().writer_features
    table.append(DATA)
    table.delete("a = 1")
    table.alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    if name == "typeWidening":
        table.alter.set_column_type("a", "long")
    again = DeltaTable(tmp_path)
    assert again.count() == 1 and alias in again.protocol().writer_features
    assert name not in again.protocol().writer_features, "never under both names"
    if name == "clustering":
        table.alter.cluster_by(None)
    for column in fields[2:]:
        table.alter.drop_columns(column.name)
    table.alter.drop_feature(alias)
    assert name not in names(table)


@pytest.mark.trap(32)
def test_trap_32_a_domain_of_liquid_clustering_is_left_alone(tmp_path):
    DeltaTable.create(tmp_path, DATA.schema, configuration={"delta.feature.clustering": "supported"})
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    domain = {"domainMetadata": {"domain": "delta.liquid", "removed": False,
                                 "configuration": json.dumps({"clusteringColumns": [["a"]], "domainName": "delta.liquid"})}}  # fmt: skip
    log.write_text(log.read_text() + json.dumps(domain) + "\n")
    table = as_alias(tmp_path, "clustering", "liquid")
    table.append(DATA)
    table.create_checkpoint()
    again = DeltaTable(tmp_path)
    assert again.count() == 2 and "delta.liquid" in again._snapshot.domains


@pytest.mark.trap(32)
@pytest.mark.parametrize("alias", ["catalogManaged", "catalogOwned-preview"])
def test_trap_32_tables_of_a_catalog_are_left_to_it(tmp_path, alias):
    DeltaTable.create(tmp_path, DATA.schema, configuration={"delta.feature.vacuumProtocolCheck": "supported"})
    with pytest.raises(UnsupportedFeatureError, match="catalog"):
        as_alias(tmp_path, "vacuumProtocolCheck", alias)
