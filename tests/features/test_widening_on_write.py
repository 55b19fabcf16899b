"""Type widening by writes: a schema that may evolve takes the wider type of the data, as Delta Spark does."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pyarrow as pa
import pytest

from deltalite import ArrayType, DeltaTable, Field, MapType, PrimitiveType, Schema, StructType
from deltalite.exceptions import SchemaMismatchError

WIDENING = {"delta.enableTypeWidening": "true"}
DAY, MOMENT = dt.date(2020, 1, 2), dt.datetime(2020, 1, 2, 3, 4)
D = decimal.Decimal
GROWS = [
    ("byte", 1, "short", 300), ("byte", 1, "long", 2**40), ("short", 1, "integer", 70000), ("integer", 1, "long", 2**40),
    ("float", 0.5, "double", 0.1), ("date", DAY, "timestamp_ntz", MOMENT), ("decimal(5,2)", D("1.25"), "decimal(8,3)", D("1.125")),
]  # fmt: skip
STAYS = [
    ("integer", 1, "double", 2.0), ("integer", 1, "decimal(12,2)", D("2.00")), ("long", 1, "decimal(20,0)", D(2)),
    ("long", 1, "integer", 2), ("double", 0.1, "float", 0.5), ("decimal(5,2)", D("1.25"), "decimal(5,3)", D("1.000")),
    ("string", "a", "integer", 1),
]  # fmt: skip


def table_of(root, old: str, value: Any, **properties: str) -> DeltaTable:
    schema = Schema([Field("k", "long"), Field("c", old)])
    table = DeltaTable.create(root, schema, configuration={**WIDENING, **properties})
    table.append(pa.table({"k": [1], "c": [value]}, schema=schema.to_arrow()))
    return table


def data(k: int, kind: str, value: Any) -> pa.Table:
    return pa.table({"k": [k], "c": pa.array([value], PrimitiveType(kind).to_arrow())})


def values(table: DeltaTable) -> dict[int, Any]:
    return {row["k"]: row["c"] for row in DeltaTable(table.table_uri).to_pyarrow_table().to_pylist()}


def kind(table: DeltaTable) -> str:
    return table.schema().fields[1].type.type


def as_wide(value: Any, new: str) -> Any:
    return dt.datetime(2020, 1, 2) if new == "timestamp_ntz" and value == DAY else value


@pytest.mark.trap(62)
@pytest.mark.parametrize("mapping", ["none", "name"])
@pytest.mark.parametrize("old, value, new, wide", GROWS)
def test_an_append_with_a_wider_type_widens_the_column(tmp_path, old, value, new, wide, mapping):
    table = table_of(tmp_path, old, value, **{"delta.columnMapping.mode": mapping})
    with pytest.raises(SchemaMismatchError):
        table.append(data(2, new, wide))
    table.append(data(2, new, wide), schema_mode="merge")
    assert kind(table) == new and values(table) == {1: as_wide(value, new), 2: wide}
    assert table.schema().fields[1].metadata["delta.typeChanges"] == [{"fromType": old, "toType": new}]
    assert DeltaTable(tmp_path, version=1).to_pyarrow_table().column("c").to_pylist() == [value]


@pytest.mark.parametrize("old, value, new, other", STAYS)
def test_other_types_are_stored_in_the_columns_own(tmp_path, old, value, new, other):
    table = table_of(tmp_path, old, value)
    try:
        table.append(data(2, new, other), schema_mode="merge")
    except SchemaMismatchError:
        assert values(table) == {1: value}
    else:
        assert set(values(table)) == {1, 2}
    assert kind(table) == old and "delta.typeChanges" not in table.schema().fields[1].metadata


@pytest.mark.parametrize("old, value, new, wide", GROWS)
def test_nothing_grows_where_the_table_does_not_allow_it(tmp_path, old, value, new, wide):
    table = table_of(tmp_path, old, value, **{"delta.enableTypeWidening": "false"})
    with pytest.raises(SchemaMismatchError):
        table.append(data(2, new, wide), schema_mode="merge")
    assert kind(table) == old


@pytest.mark.parametrize("old, value, new, wide", GROWS)
@pytest.mark.parametrize("vectors", ["true", "false"])
@pytest.mark.parametrize("feed", ["true", "false"])
def test_a_merge_with_a_wider_type_widens_the_column(tmp_path, old, value, new, wide, vectors, feed):
    properties = {"delta.enableDeletionVectors": vectors, "delta.enableChangeDataFeed": feed}
    table = table_of(tmp_path, old, value, **properties)
    more = pa.table({"k": [2, 3], "c": [value, value]}, schema=table.schema().to_arrow())
    table.append(more)
    source = pa.table({"k": [2, 4], "c": pa.array([wide, wide], PrimitiveType(new).to_arrow())})
    merger = table.merge(source, "t.k = s.k", "s", "t", merge_schema=True)
    merger.when_matched_update_all().when_not_matched_insert_all().execute()
    kept = as_wide(value, new)
    assert kind(table) == new and values(table) == {1: kept, 2: wide, 3: kept, 4: wide}
    if feed == "true":
        changes = table.changes(table.version(), table.version()).read_all().to_pylist()
        assert {(c["k"], c["c"], c["_change_type"]) for c in changes} == {
            (2, kept, "update_preimage"), (2, wide, "update_postimage"), (4, wide, "insert"),
        }  # fmt: skip


def test_a_merge_that_assigns_other_columns_leaves_the_type(tmp_path):
    table = table_of(tmp_path, "integer", 1)
    source = pa.table({"k": [1], "c": [2**40], "n": [5]})
    table.merge(source, "t.k = s.k", "s", "t", merge_schema=True).when_matched_update({"n": "s.n"}).execute()
    assert kind(table) == "integer" and table.to_pyarrow_table().to_pylist() == [{"k": 1, "c": 1, "n": 5}]


def test_types_inside_of_values_grow_too(tmp_path):
    def schema(i: str, f: str) -> Schema:
        return Schema(
            [
                Field("k", "long"),
                Field("s", StructType([Field("x", i), Field("l", ArrayType(i))])),
                Field("m", MapType("string", ArrayType(StructType([Field("y", f)])))),
            ]
        )

    def rows(k: int, n: Any, x: Any) -> dict[str, Any]:
        return {"k": [k], "s": [{"x": n, "l": [n]}], "m": [[("a", [{"y": x}])]]}

    narrow, wide = schema("integer", "float"), schema("long", "double")
    table = DeltaTable.create(tmp_path, narrow, configuration=WIDENING)
    table.append(pa.table(rows(1, 1, 0.5), schema=narrow.to_arrow()))
    table.append(pa.table(rows(2, 2**40, 0.1), schema=wide.to_arrow()), schema_mode="merge")
    found = sorted(table.to_pyarrow_table().to_pylist(), key=lambda row: row["k"])
    assert [row["s"]["l"] for row in found] == [[1], [2**40]] and [row["m"][0][1][0]["y"] for row in found] == [
        0.5,
        0.1,
    ]
    fields = json.loads(table.schema().to_json())["fields"]
    (x, inner), y = fields[1]["type"]["fields"], fields[2]["type"]["valueType"]["elementType"]["fields"][0]
    change = {"fromType": "integer", "toType": "long"}
    assert x["metadata"]["delta.typeChanges"] == [change]
    assert inner["metadata"]["delta.typeChanges"] == [{**change, "fieldPath": "element"}]
    assert y["metadata"]["delta.typeChanges"] == [{"fromType": "float", "toType": "double"}]
    assert "metadata" not in fields[1] or not fields[1]["metadata"]


def test_columns_that_expressions_use_keep_their_type_and_say_what_does_not_fit(tmp_path):
    table = table_of(tmp_path, "integer", 1)
    table.alter.add_constraint({"positive": "c > 0"})
    table.append(data(2, "long", 5), schema_mode="merge")
    assert kind(table) == "integer" and values(table) == {1: 1, 2: 5}
    with pytest.raises(SchemaMismatchError, match="do not fit int"):
        table.append(data(3, "long", 2**40), schema_mode="merge")


def test_new_columns_and_wider_types_in_one_write(tmp_path):
    table = table_of(tmp_path, "integer", 1)
    table.append(pa.table({"k": [2], "c": [2**40], "z": ["new"]}), schema_mode="merge")
    assert table.version() == 2 and kind(table) == "long"
    assert {row["k"]: row["z"] for row in table.to_pyarrow_table().to_pylist()} == {1: None, 2: "new"}


def test_an_overwrite_may_widen_as_well(tmp_path):
    table = table_of(tmp_path, "integer", 1)
    table.overwrite(data(2, "long", 2**40), schema_mode="merge")
    assert kind(table) == "long" and values(table) == {2: 2**40}
    table.overwrite(data(3, "long", 3), schema_mode="merge", predicate="k = 2 or k = 3")
    assert values(table) == {3: 3}
