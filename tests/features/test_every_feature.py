"""A table with any stable feature of the protocol but catalogManaged is created, changed in every way, and read back
equal to a model; and so are the tables of other engines, where a folder of them is given by ``DELTALITE_GOLDEN``."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite import DeltaTable, Field, PrimitiveType, Schema, features, variants
from deltalite.exceptions import DeltaError

SUPPORTED = "supported"
PLAIN = [Field("k", "long"), Field("v", "string"), Field("n", "integer")]
TABLES: dict[str, tuple[list[Field], dict[str, str], dict[str, Any]]] = {
    "columnMapping": (PLAIN, {"delta.columnMapping.mode": "name"}, {}),
    "deletionVectors": (PLAIN, {"delta.enableDeletionVectors": "true"}, {}),
    "typeWidening": (PLAIN, {"delta.enableTypeWidening": "true"}, {}),
    "variantType": ([*PLAIN, Field("x", PrimitiveType("variant"))], {}, {}),
    "variantShredding": ([*PLAIN, Field("x", PrimitiveType("variant"))], {"delta.enableVariantShredding": "true"}, {}),
    "timestampNtz": ([*PLAIN, Field("x", "timestamp_ntz")], {}, {}),
    "allowColumnDefaults": ([*PLAIN, Field("x", "long", metadata={"CURRENT_DEFAULT": "7"})], {}, {"x": lambda row: 7}),
    "generatedColumns": (
        [*PLAIN, Field("x", "long", metadata={"delta.generationExpression": "k * 2"})],
        {},
        {"x": lambda row: row["k"] * 2},
    ),
    "invariants": (
        [*PLAIN, Field("x", "long", metadata={"delta.invariants": '{"expression":{"expression":"k > 0"}}'})],
        {},
        {},
    ),
    "checkConstraints": (PLAIN, {"delta.constraints.positive": "k > 0"}, {}),
    "rowTracking": (PLAIN, {"delta.enableRowTracking": "true"}, {}),
    "identityColumns": (
        [*PLAIN, Field("x", "long", metadata={"delta.identity.start": 1, "delta.identity.step": 2,
                                              "delta.identity.allowExplicitInsert": False})],
        {},
        {},
    ),
    "changeDataFeed": (PLAIN, {"delta.enableChangeDataFeed": "true"}, {}),
    "clustering": (PLAIN, {}, {}),
    "domainMetadata": (PLAIN, {"delta.feature.domainMetadata": SUPPORTED}, {}),
    "v2Checkpoint": (PLAIN, {"delta.checkpointPolicy": "v2", "delta.checkpointInterval": "2"}, {}),
    "vacuumProtocolCheck": (PLAIN, {"delta.feature.vacuumProtocolCheck": SUPPORTED}, {}),
    "checkpointProtection": (PLAIN, {"delta.feature.checkpointProtection": SUPPORTED}, {}),
    "materializePartitionColumns": (PLAIN, {"delta.feature.materializePartitionColumns": SUPPORTED}, {}),
    "icebergCompatV1": (PLAIN, {"delta.enableIcebergCompatV1": "true"}, {}),
    "icebergCompatV2": (PLAIN, {"delta.enableIcebergCompatV2": "true"}, {}),
    "icebergCompatV3": (PLAIN, {"delta.enableIcebergCompatV3": "true"}, {}),
    "appendOnly": (PLAIN, {"delta.feature.appendOnly": SUPPORTED}, {}),
    "inCommitTimestamp": (PLAIN, {"delta.enableInCommitTimestamps": "true"}, {}),
}  # fmt: skip


def test_no_feature_is_forgotten():
    assert set(TABLES) == {f.name for f in features.FEATURES} - {"catalogManaged"}
    assert [f.name for f in features.FEATURES if f.refuse_write] in ([], ["rowTracking"])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("also", [{}, {"delta.enableDeletionVectors": "true", "delta.enableChangeDataFeed": "true"}])
def test_a_table_with_the_feature_takes_every_change(tmp_path, name, also):
    fields, properties, computed = TABLES[name]
    if name in ("icebergCompatV1", "icebergCompatV2"):
        also = {key: value for key, value in also.items() if key != "delta.enableDeletionVectors"}
    layout: dict[str, Any] = {"cluster_by": ["k"]} if name == "clustering" else {"partition_by": ["v"]}
    table = DeltaTable.create(tmp_path, Schema(fields), configuration={**properties, **also}, **layout)
    assert name in {f.name for f in features.supported(table._snapshot.config.protocol)}
    model: dict[int, dict[str, Any]] = {}

    def put(*new: dict[str, Any]) -> None:
        for row in new:
            model[row["k"]] = {**row, **{column: rule(row) for column, rule in computed.items()}}

    first = [{"k": k, "v": "ab"[k % 2], "n": k * 10} for k in range(1, 7)]
    table.append([dict(row) for row in first])
    put(*first)
    check(table, model)
    table.delete("k = 2 or n = 50")
    del model[2], model[5]
    check(table, model)
    table.update({"n": "n + 1"}, predicate="k > 3")
    for row in model.values():
        row["n"] += row["k"] > 3
    check(table, model)
    source = [{"k": 3, "v": "c", "n": -3}, {"k": 9, "v": "d", "n": -9}]
    merger = table.merge(pa.Table.from_pylist(source, schema=pa.schema([("k", pa.int64()), ("v", pa.string()), ("n", pa.int32())])),
                         "t.k = s.k", "s", "t")  # fmt: skip
    names = ("k", "v", "n")
    merger.when_matched_update({c: f"s.{c}" for c in names if c != "k"})
    merger.when_not_matched_insert({c: f"s.{c}" for c in names}).execute()
    kept = {column: model[3][column] for column in computed}
    put(*source)
    model[3].update(kept)
    check(table, model)
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    check(table, model)
    table.alter.add_columns("later int")
    table.restore(table.version() - 1)
    check(table, model)


def check(table: DeltaTable, model: dict[int, dict[str, Any]]) -> None:
    found = DeltaTable(table.table_uri).to_pyarrow_table().to_pylist()
    shown = sorted(({k: v for k, v in row.items() if k in model[row["k"]]} for row in found), key=lambda row: row["k"])
    assert shown == sorted(model.values(), key=lambda row: row["k"])


# -- tables of other engines -------------------------------------------------------------------------------------------

FOLDER = os.environ.get("DELTALITE_GOLDEN")
GOLDEN = sorted(Path(FOLDER).glob("tables/*/*")) if FOLDER else []


@pytest.mark.slow
@pytest.mark.parametrize("place", GOLDEN, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_tables_of_other_engines_take_every_change(tmp_path, place):
    root = tmp_path / "t"
    shutil.copytree(place / "delta", root)
    try:
        table = DeltaTable(root)
        rows = multiset(table)
    except (DeltaError, OSError) as error:
        pytest.skip(f"is not read: {type(error).__name__}")
    config = table._snapshot.config
    try:
        features.ensure_writable(config)
    except DeltaError as error:
        pytest.skip(f"is not written: {error}")
    if table.properties().get("delta.appendOnly") == "true":
        table.alter.set_table_properties({"delta.appendOnly": "false"})
    again = DeltaTable(root).to_pyarrow_table().slice(0, 50)
    if any("delta.identity.start" in f.metadata for f in table.schema().fields) or not again.num_rows:
        pytest.skip("numbers its rows, or has none")
    table.append(again)
    expected = rows + as_multiset(again)
    assert multiset(DeltaTable(root)) == expected
    column = next((f.name for f in table.schema().fields if f.type.type in ("integer", "long", "string", "date")), None)
    if column is None:
        return
    quoted = f"`{column}`"
    table.update({column: quoted}, predicate=f"{quoted} is not null")
    assert multiset(DeltaTable(root)) == expected, "an update that changes nothing"
    value = again.column(column)[0].as_py()
    predicate = f"{quoted} is null" if value is None else f"{quoted} = {literal(value)}"
    gone = table.count(predicate)
    table.delete(predicate)
    assert table.count(predicate) == 0 and sum(multiset(DeltaTable(root)).values()) == expected.total() - gone
    table.optimize.compact()
    table.create_checkpoint()
    assert multiset(DeltaTable(root)).total() == expected.total() - gone


def literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'" if isinstance(value, str) else f"date '{value}'"


def multiset(table: DeltaTable) -> Counter:
    return as_multiset(table.to_pyarrow_table())


def as_multiset(data: pa.Table) -> Counter:
    for i, column in enumerate(data.columns):
        if pa.types.is_struct(column.type) and {f.name for f in column.type} == {"metadata", "value"}:
            data = data.set_column(i, data.column_names[i], variants.to_json(column))
    return Counter(json.dumps(row, default=str, sort_keys=True) for row in data.to_pylist())
