"""Clustered tables: the domain, its columns, their statistics, and what a table cannot be clustered by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, write_deltalake
from deltalite.exceptions import ConcurrentTransactionError, InvalidArgumentError, InvalidTableError
from deltalite.features.clustering import DOMAIN, clustering_columns
from deltalite.model.actions import DomainMetadata
from deltalite.model.config import TableConfig

DDL = "id bigint, name string, flag boolean, day date, address struct<city string, zip int>, tags array<string>"
ROWS = pa.table({"id": [1, 2], "name": ["a", None], "extra": [5, 6]})


def actions(root: Path, version: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "_delta_log" / f"{version:020d}.json").read_text().splitlines()]


def domain(root: Path, version: int) -> Any:
    found = [a["domainMetadata"] for a in actions(root, version) if "domainMetadata" in a]
    return json.loads(next(d for d in found if d["domain"] == DOMAIN)["configuration"])


@pytest.mark.trap(61)
def test_trap_61_the_domain_holds_lists_of_names_and_both_features_are_listed(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path, DDL, cluster_by=["ID", "address.city"])
    assert domain(tmp_path, 0) == {"clusteringColumns": [["id"], ["address", "city"]]}
    assert {"clustering", "domainMetadata"} <= set(table.protocol().writer_features)
    assert clustering_columns(DeltaTable(tmp_path)._snapshot.config) == (("id",), ("address", "city"))


@pytest.mark.trap(61)
def test_trap_61_names_are_physical(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path, DDL, cluster_by="address.zip", configuration={"delta.columnMapping.mode": "id"})
    fields = {f.name: f for f in table.schema().fields}
    outer = fields["address"].metadata["delta.columnMapping.physicalName"]
    inner = fields["address"].type.fields[1].metadata["delta.columnMapping.physicalName"]
    assert domain(tmp_path, 0) == {"clusteringColumns": [[outer, inner]]} and outer != "address"


@pytest.mark.trap(61)
@pytest.mark.parametrize("text", ['{"clusteringColumns":["id","name"]}', '{"clusteringColumns":[["id"],["name"]]}'])
def test_trap_61_both_spellings_are_read(tmp_path: Path, text: str) -> None:
    config = DeltaTable.create(tmp_path, DDL, cluster_by="id")._snapshot.config
    other = TableConfig(config.protocol, config.metadata, {DOMAIN: DomainMetadata(DOMAIN, text)})
    assert clustering_columns(other) == (("id",), ("name",))


def test_nonsense_in_the_domain_is_said(tmp_path: Path) -> None:
    config = DeltaTable.create(tmp_path, DDL, cluster_by="id")._snapshot.config
    for text in ("{}", "[]", '{"clusteringColumns":[["nothing"]]}', "no json"):
        with pytest.raises(InvalidTableError):
            clustering_columns(TableConfig(config.protocol, config.metadata, {DOMAIN: DomainMetadata(DOMAIN, text)}))


@pytest.mark.trap(43)
def test_trap_43_clustering_columns_have_statistics_whatever_their_position(tmp_path: Path) -> None:
    narrow = {"delta.dataSkippingNumIndexedCols": "1"}
    write_deltalake(tmp_path, ROWS, cluster_by=["extra"], configuration=narrow)
    write_deltalake(tmp_path, ROWS, mode="append")
    DeltaTable(tmp_path).update({"name": "'b'"}, predicate="id = 1")
    table = DeltaTable(tmp_path)
    for add in table._snapshot.files.add_files():
        assert set(json.loads(add.stats or "")["minValues"]) == {"id", "extra"}
    table.alter.cluster_by(["name"])
    table.append(ROWS)
    stats = json.loads(actions(tmp_path, table.version())[-1]["add"]["stats"])
    assert set(stats["nullCount"]) == {"id", "name"}


def test_alter_changes_the_domain_and_nothing_else(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path, DDL)
    table.alter.cluster_by(["id", "name"])
    kinds = [next(iter(a)) for a in actions(tmp_path, 1)]
    assert kinds == ["commitInfo", "protocol", "domainMetadata"]
    table.alter.cluster_by("day")
    assert [next(iter(a)) for a in actions(tmp_path, 2)] == ["commitInfo", "domainMetadata"]
    assert table.history(1)[0]["operationParameters"] == {
        "oldClusteringColumns": "id,name",
        "newClusteringColumns": "day",
    }
    table.alter.cluster_by(None)
    assert domain(tmp_path, 3) == {"clusteringColumns": []} and clustering_columns(table._snapshot.config) == ()


def test_the_choice_survives_checkpoints(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path, DDL, cluster_by="id")
    table.create_checkpoint()
    (tmp_path / "_delta_log" / f"{0:020d}.crc").unlink(missing_ok=True)
    assert clustering_columns(DeltaTable(tmp_path)._snapshot.config) == (("id",),)


@pytest.mark.parametrize("wrong", [["flag"], ["tags"], ["address"], ["nam"], ["id", "ID"],
                                   ["id", "name", "day", "address.city", "address.zip"]])  # fmt: skip
def test_columns_that_cannot_cluster(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(InvalidArgumentError):
        DeltaTable.create(tmp_path / "new", DDL, cluster_by=wrong)
    table = DeltaTable.create(tmp_path / "old", DDL)
    with pytest.raises(InvalidArgumentError):
        table.alter.cluster_by(wrong)
    assert not (tmp_path / "new").exists() or not DeltaTable.is_deltatable(tmp_path / "new")


def test_partitioned_tables_cannot_be_clustered(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="not both"):
        DeltaTable.create(tmp_path / "new", DDL, partition_by="day", cluster_by="id")
    with pytest.raises(InvalidArgumentError, match="not both"):
        DeltaTable.create(tmp_path / "old", DDL, partition_by="day").alter.cluster_by("id")


def test_writes_name_the_same_columns_or_none(tmp_path: Path) -> None:
    write_deltalake(tmp_path, ROWS, cluster_by=["id"])
    write_deltalake(tmp_path, ROWS, mode="append", cluster_by="ID")
    with pytest.raises(InvalidArgumentError, match="clustered by"):
        write_deltalake(tmp_path, ROWS, mode="append", cluster_by=["extra"])


def test_a_clustering_column_does_not_get_lost_unsaid(tmp_path: Path) -> None:
    write_deltalake(tmp_path, ROWS, cluster_by=["extra"])
    with pytest.raises(InvalidArgumentError, match="extra"):
        write_deltalake(tmp_path, ROWS.drop_columns(["extra"]), mode="overwrite", schema_mode="overwrite")
    replaced = DeltaTable.create(tmp_path, DDL, mode="overwrite")
    assert clustering_columns(replaced._snapshot.config) == ()
    again = DeltaTable.create(tmp_path, DDL, mode="overwrite", cluster_by="name")
    assert clustering_columns(again._snapshot.config) == (("name",),)


def test_two_who_choose_columns_contradict_each_other(tmp_path: Path) -> None:
    first = DeltaTable.create(tmp_path, DDL, cluster_by="id")
    second = DeltaTable(tmp_path)
    first.alter.cluster_by("name")
    with pytest.raises(ConcurrentTransactionError):
        second.alter.cluster_by("day")


def test_transactions_may_choose_columns(tmp_path: Path) -> None:
    table = DeltaTable.create(tmp_path, "id bigint, x bigint")
    with table.transaction() as t:
        t.alter.cluster_by("id")
        t.append(pa.table({"id": [1], "x": [2]}))
    assert clustering_columns(DeltaTable(tmp_path)._snapshot.config) == (("id",),)
