"""ALTER TABLE, operation by operation: metadata only, readable right after, and what each of them refuses."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import deltalake
import pyarrow as pa
import pytest
from alter_tables import MAPPED, NESTED, WIDENING, altered, log, metadata, nested_table, rows, table_of

from deltalite import ArrayType, DeltaTable, Field, MapType, PrimitiveType, Schema, StructType
from deltalite.exceptions import (
    ConstraintViolation,
    InvalidArgumentError,
    MetadataChangedError,
    SchemaMismatchError,
)
from deltalite.operations.references import with_stats_columns

NUMBERS = pa.table({"a": pa.array([1, 2, 3], pa.int32()), "b": ["x", "y", None]})
BOTH = [{}, MAPPED]


def deltalake_rows(table: DeltaTable) -> list:
    return deltalake.DeltaTable(table.table_uri).to_pyarrow_table().to_pylist()


def names(table: DeltaTable) -> list[str]:
    return [f.name for f in table.schema().fields]


# -- add ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("properties", BOTH)
def test_added_columns_are_null_in_old_rows_and_full_in_new_ones(tmp_path, properties):
    table = table_of(tmp_path, NUMBERS, **properties)
    actions = altered(table, lambda: table.alter.add_columns([Field("c", "long"), Field("d", "string")], after="a"))
    assert names(table) == ["a", "c", "d", "b"]
    assert rows(table)[0] == {"a": 1, "c": None, "d": None, "b": "x"}
    assert next(a["commitInfo"] for a in actions if "commitInfo" in a)["operation"] == "ADD COLUMNS"
    table.append(pa.table({"a": pa.array([4], pa.int32()), "c": [9], "d": ["w"], "b": ["z"]}))
    assert table.count("c = 9") == 1 and table.count("c is null") == 3
    if not properties:
        assert sorted(deltalake_rows(table), key=lambda row: row["a"]) == sorted(rows(table), key=lambda r: r["a"])


@pytest.mark.parametrize(
    "given",
    ["c bigint", Field("c", "long"), [Field("c", "long")], Schema([Field("c", "long")]), pa.schema({"c": pa.int64()})],
)
def test_columns_are_added_from_whatever_describes_them(tmp_path, given):
    table = table_of(tmp_path, NUMBERS)
    altered(table, lambda: table.alter.add_columns(given, first=True))
    assert table.schema().fields[0] == Field("c", "long")


@pytest.mark.parametrize("properties", BOTH)
def test_fields_are_added_at_every_level(tmp_path, properties):
    table = nested_table(tmp_path, **properties)
    for into in ("s", "l.element", "m.value"):
        altered(table, lambda: table.alter.add_columns(Field("new", "long"), into=into, first=True))
    first = rows(table)[0]
    assert first["s"] == {"new": None, "x": 1, "y": "a"}
    assert first["l"] == [{"new": None, "v": 1}] and first["m"] == [("k", {"new": None, "w": 1})]
    assert rows(table)[1]["s"] is None


def test_what_cannot_be_added_is_refused_by_name(tmp_path):
    table = table_of(tmp_path, NUMBERS)
    add = table.alter.add_columns
    for wrong, words in [
        (Field("c", "long", nullable=False), "NOT NULL"),
        (Field("A", "long"), "there already"),
        (Field("c", "long", metadata={"CURRENT_DEFAULT": "1"}), "default"),
        (Field("c", "long", metadata={"delta.generationExpression": "a"}), "default or an expression"),
        ([Field("c", "long"), Field("C", "long")], "differ only by case"),
        (Field("two words", "long"), "one of the characters"),
        (Field("", "long"), "not empty"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words):
            add(wrong)
    with pytest.raises(InvalidArgumentError, match="no struct"):
        add("c int", into="a")
    with pytest.raises(InvalidArgumentError, match="no column 'q'"):
        add("c int", after="q")
    assert table.version() == 1


@pytest.mark.trap(59)
def test_trap_59_marks_of_another_table_do_not_come_along(tmp_path):
    table = nested_table(tmp_path, **MAPPED)
    foreign = Field("new", StructType([Field("x", "long", metadata={"delta.columnMapping.id": 1})]),
                    metadata={"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "stolen"})  # fmt: skip
    altered(table, lambda: table.alter.add_columns(foreign))
    ids = [m["delta.columnMapping.id"] for m in _field_metadata(json.loads(table.schema().to_json()))]
    assert len(ids) == len(set(ids)) and max(ids) == int(table.properties()["delta.columnMapping.maxColumnId"])


def _field_metadata(struct):
    for f in struct["fields"]:
        yield f["metadata"]
        kind = f["type"]
        while isinstance(kind, dict) and kind["type"] != "struct":
            kind = kind.get("elementType") or kind["valueType"]
        if isinstance(kind, dict):
            yield from _field_metadata(kind)


# -- drop and rename ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["drop_columns", "rename_column"])
def test_without_column_mapping_nothing_is_dropped_or_renamed(tmp_path, verb):
    table = table_of(tmp_path, NUMBERS)
    with pytest.raises(InvalidArgumentError, match="other names") as error:
        getattr(table.alter, verb)(*(["b"], "c")[: 1 + (verb == "rename_column")])
    assert "delta.columnMapping.mode" in error.value.hint
    altered(table, lambda: table.alter.set_table_properties(MAPPED))
    getattr(table.alter, verb)(*("b", "c")[: 1 + (verb == "rename_column")])
    assert names(table) == ["a"] if verb == "drop_columns" else ["a", "c"]


@pytest.mark.trap(61)
@pytest.mark.parametrize("mode", ["created", "turned on"])
@pytest.mark.parametrize("path", ["b", "s.y", "l.element.v2", "m.value.w2"])
def test_trap_61_what_was_dropped_does_not_come_back_under_its_name(tmp_path, mode, path):
    data = pa.table(
        {
            "b": ["secret"],
            "s": [{"x": 1, "y": "secret"}],
            "l": [[{"v": 1, "v2": "secret"}]],
            "m": pa.array([[("k", {"w": 1, "w2": "secret"})]],
                          pa.map_(pa.string(), pa.struct([("w", pa.int64()), ("w2", pa.string())]))),
        }
    )  # fmt: skip
    table = table_of(tmp_path, data, **(MAPPED if mode == "created" else {}))
    if mode == "turned on":
        table.alter.set_table_properties(MAPPED)
    altered(table, lambda: table.alter.drop_columns([path]))
    *parent, name = path.split(".")
    altered(table, lambda: table.alter.add_columns(Field(name, "string"), into=parent))
    again = rows(table)[0]
    for part in parent:
        again = again[part] if part in again else again[0] if part == "element" else again[0][1]
    assert again[name] is None
    assert "secret" in str(rows(DeltaTable(tmp_path, version=1)))
    assert str(rows(table)).count("secret") == 3


def test_the_last_field_and_what_is_used_cannot_be_dropped(tmp_path):
    table = nested_table(tmp_path, **MAPPED)
    with pytest.raises(InvalidArgumentError, match="only field"):
        table.alter.drop_columns("l.element.v")
    with pytest.raises(InvalidArgumentError, match="partitions the table"):
        table.alter.drop_columns(["p"])
    with pytest.raises(InvalidArgumentError, match="did you mean 'id'|no column 'idd'"):
        table.alter.drop_columns(["idd"])
    with pytest.raises(InvalidArgumentError, match="no field of a struct"):
        table.alter.drop_columns("l.element")
    with pytest.raises(InvalidArgumentError, match="no column 'y'"):
        table.alter.drop_columns(["s.y", "s.y"])
    table.alter.add_constraint({"positive": "s.x is null or s.x > 0"})
    for column in ("s", "s.x"):
        with pytest.raises(InvalidArgumentError, match="the CHECK constraint 'positive'"):
            table.alter.drop_columns(column)
        with pytest.raises(InvalidArgumentError, match="the CHECK constraint 'positive'"):
            table.alter.rename_column(column, "other")
    altered(table, lambda: table.alter.drop_columns("s.y"))


def test_generated_columns_hold_their_sources(tmp_path):
    schema = Schema([Field("a", "long"), Field("g", "long", metadata={"delta.generationExpression": "a * 2"}),
                     Field("z", "long")])  # fmt: skip
    table = DeltaTable.create(tmp_path, schema, configuration=MAPPED)
    table.append({"a": [1], "z": [5]})
    for change in (lambda: table.alter.drop_columns("a"), lambda: table.alter.rename_column("a", "b")):
        with pytest.raises(InvalidArgumentError, match="generated column 'g'"):
            change()
    altered(table, lambda: table.alter.drop_columns("g"))
    altered(table, lambda: table.alter.rename_column("a", "b"))
    assert rows(table) == [{"b": 1, "z": 5}]


def test_identity_columns_keep_counting_under_another_name(tmp_path):
    marks = {"delta.identity.start": 1, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": False}
    schema = Schema([Field("n", "long", metadata=marks), Field("a", "long")])
    table = DeltaTable.create(tmp_path, schema, configuration=MAPPED)
    table.append({"a": [1, 2]})
    altered(table, lambda: table.alter.rename_column("n", "number"))
    table.append({"a": [3]})
    assert sorted(row["number"] for row in rows(table)) == [1, 2, 3]
    with pytest.raises(InvalidArgumentError, match="computed"):
        table.alter.set_column_default("number", "3")
    altered(table, lambda: table.alter.drop_columns("number"))


@pytest.mark.trap(61)
def test_trap_61_a_partition_column_is_renamed_and_its_values_stay(tmp_path):
    table = nested_table(tmp_path, **MAPPED)
    altered(table, lambda: table.alter.rename_column("p", "part"))
    assert table.metadata().partition_columns == ["part"]
    assert metadata(tmp_path, table.version())["partitionColumns"] == ["part"]
    assert sorted(row["part"] for row in rows(table)) == ["a", "b"]
    assert table.count("part = 'a'") == 1
    table.append(NESTED.rename_columns(["id", "s", "l", "m", "part", "f"]))
    assert table.count("part = 'a'") == 2
    assert {json.dumps(p, sort_keys=True) for p in table.partitions()} == {'{"part": "a"}', '{"part": "b"}'}
    table.delete("part = 'a'")
    assert table.count() == 2


def test_names_can_swap(tmp_path):
    table = table_of(tmp_path, pa.table({"a": [1], "b": [2]}), **MAPPED)
    for old, new in (("a", "t"), ("b", "a"), ("t", "b")):
        altered(table, lambda: table.alter.rename_column(old, new))
    assert rows(table) == [{"b": 1, "a": 2}]
    assert table.count("b = 1 and a = 2") == 1
    with pytest.raises(InvalidArgumentError, match="already"):
        table.alter.rename_column("a", "B")
    altered(table, lambda: table.alter.rename_column("a", "A"))
    altered(table, lambda: table.alter.rename_column("b", "with space, and (more)"))
    assert table.count("`with space, and (more)` = 1") == 1


def test_statistics_follow_a_renamed_column(tmp_path):
    table = table_of(tmp_path, NUMBERS, **MAPPED)
    table.append(pa.table({"a": pa.array([100], pa.int32()), "b": ["z"]}))
    altered(table, lambda: table.alter.rename_column("a", "n"))
    assert table.explain("n > 50").column("kept").to_pylist().count(True) == 1
    assert table.count("n > 50") == 1


@pytest.mark.parametrize(
    "listed, path, new, expected",
    [
        ("a,b", ("a",), "c", "c,b"),
        ("a, `b.c` ,s.x", ("s",), "t", "a,`b.c`,t.x"),
        ("S.X", ("s", "x"), "y z", "S.`y z`"),
        ("a,s.x,s.y", ("s",), None, "a"),
        ("a", ("a",), None, None),
        (None, ("a",), "b", None),
    ],
)
def test_the_list_of_columns_with_statistics_follows(listed, path, new, expected):
    name = "delta.dataSkippingStatsColumns"
    found = with_stats_columns({"k": "v"} if listed is None else {"k": "v", name: listed}, path, new)
    assert found == ({"k": "v"} if expected is None else {"k": "v", name: expected})


def test_statistics_are_still_written_for_a_listed_column_that_was_renamed(tmp_path):
    table = table_of(tmp_path, NUMBERS, **MAPPED, **{"delta.dataSkippingStatsColumns": "a"})
    altered(table, lambda: table.alter.rename_column("a", "n"))
    assert table.properties()["delta.dataSkippingStatsColumns"] == "n"
    table.append(pa.table({"n": pa.array([7], pa.int32()), "b": ["q"]}))
    stats = json.loads(next(a["add"]["stats"] for a in log(tmp_path, table.version()) if "add" in a))
    physical = table.schema().fields[0].metadata["delta.columnMapping.physicalName"]
    assert stats["minValues"] == {physical: 7}


@pytest.mark.trap(61)
def test_trap_61_clustering_follows_a_rename_and_forbids_a_drop(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, cluster_by=["a"], configuration=MAPPED)
    table.append(NUMBERS)
    with pytest.raises(InvalidArgumentError, match="clustering"):
        table.alter.drop_columns("a")
    altered(table, lambda: table.alter.rename_column("a", "n"))
    altered(table, lambda: table.alter.drop_columns("b"))
    table.optimize.cluster(full=True)
    assert sorted(row["n"] for row in rows(table)) == [1, 2, 3]


# -- order, types, nulls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("properties", BOTH)
def test_columns_and_fields_move(tmp_path, properties):
    table = nested_table(tmp_path, **properties)
    altered(table, lambda: table.alter.move_column("f", first=True))
    altered(table, lambda: table.alter.move_column("s.y", first=True))
    altered(table, lambda: table.alter.move_column("id", after="m"))
    assert names(table) == ["f", "s", "l", "m", "id", "p"]
    assert rows(table)[0]["s"] == {"y": "a", "x": 1}
    assert list(rows(table)[0]["s"]) == ["y", "x"]
    for wrong in ({}, {"first": True, "after": "id"}, {"after": "f"}, {"after": "nobody"}):
        with pytest.raises(InvalidArgumentError):
            table.alter.move_column("f", **wrong)
    if not properties:
        assert deltalake_rows(table) == rows(table)


CHANGES = [
    ("byte", -128, "short"), ("byte", 127, "integer"), ("byte", 5, "long"), ("byte", 5, "double"),
    ("byte", 5, "decimal(10,0)"), ("byte", -5, "decimal(12,2)"), ("short", 300, "integer"), ("short", 300, "long"),
    ("short", 300, "double"), ("short", 300, "decimal(10,0)"), ("integer", 2**31 - 1, "long"),
    ("integer", -(2**31), "double"), ("integer", 2**31 - 1, "decimal(10,0)"), ("integer", 7, "decimal(15,5)"),
    ("long", 2**63 - 1, "decimal(20,0)"), ("long", 7, "decimal(38,18)"), ("float", 1.5, "double"),
    ("decimal(5,2)", decimal.Decimal("1.25"), "decimal(6,2)"),
    ("decimal(5,2)", decimal.Decimal("1.25"), "decimal(7,4)"), ("date", dt.date(2020, 2, 29), "timestamp_ntz"),
]  # fmt: skip
REFUSED = [
    ("long", "integer"), ("long", "double"), ("integer", "decimal(9,0)"), ("integer", "decimal(11,2)"),
    ("long", "decimal(19,0)"), ("float", "integer"), ("double", "float"), ("integer", "float"), ("integer", "string"),
    ("decimal(5,2)", "decimal(5,3)"), ("decimal(5,2)", "decimal(4,2)"), ("decimal(5,2)", "double"),
    ("date", "timestamp"), ("timestamp", "timestamp_ntz"), ("string", "binary"), ("boolean", "integer"),
]  # fmt: skip


@pytest.mark.trap(62)
@pytest.mark.parametrize("old, value, new", CHANGES)
def test_trap_62_every_widening_of_the_protocol(tmp_path, old, value, new):
    schema = Schema([Field("k", "long"), Field("c", old)])
    table = DeltaTable.create(tmp_path, schema, configuration={**WIDENING, "delta.enableDeletionVectors": "true"})
    table.append(pa.table({"k": [1, 2], "c": [value, None]}, schema=schema.to_arrow()))
    altered(table, lambda: table.alter.set_column_type("c", new))
    found = table.to_pyarrow_table()
    assert found.schema.field("c").type == PrimitiveType(new).to_arrow()
    expected = pa.array([value, None], PrimitiveType(old).to_arrow()).cast(PrimitiveType(new).to_arrow())
    if new == "timestamp_ntz":
        assert found.column("c").to_pylist() == [dt.datetime(2020, 2, 29), None]
    else:
        assert found.column("c").combine_chunks() == expected
    change = json.loads(metadata(tmp_path, 2)["schemaString"])["fields"][1]["metadata"]["delta.typeChanges"]
    assert change == [{"fromType": old, "toType": new}]
    wide = table.to_pyarrow_table().column("c")[0].as_py()
    assert table.count(DeltaTable(tmp_path).to_pyarrow_table().schema.field("c").name + " is not null") == 1
    table.append(pa.table({"k": [3], "c": [wide]}, schema=table.schema().to_arrow()))
    assert table.count("c is null") == 1
    table.delete("k = 1")
    assert [row["c"] for row in rows(table) if row["k"] == 3] == [wide]
    table.update({"k": "k + 1"})
    assert sorted(row["k"] for row in rows(table)) == [3, 4]


@pytest.mark.trap(62)
@pytest.mark.parametrize("old, new", REFUSED)
def test_trap_62_no_other_change_of_type(tmp_path, old, new):
    table = DeltaTable.create(tmp_path, Schema([Field("c", old)]), configuration=WIDENING)
    with pytest.raises(InvalidArgumentError, match="cannot change"):
        table.alter.set_column_type("c", new)


def test_types_stay_where_widening_is_off(tmp_path):
    table = table_of(tmp_path, NUMBERS)
    with pytest.raises(InvalidArgumentError, match="does not allow it") as error:
        table.alter.set_column_type("a", "bigint")
    assert "delta.enableTypeWidening" in error.value.hint
    altered(table, lambda: table.alter.set_table_properties(WIDENING))
    altered(table, lambda: table.alter.set_column_type("a", "bigint"))
    assert table.alter.set_column_type("a", "bigint").skipped


@pytest.mark.trap(62)
def test_trap_62_changes_inside_of_arrays_and_maps_have_a_path(tmp_path):
    schema = Schema([Field("a", ArrayType("integer")), Field("m", MapType("integer", ArrayType("float")))])
    table = DeltaTable.create(tmp_path, schema, configuration=WIDENING)
    table.append(pa.table({"a": [[1]], "m": [[(1, [1.5])]]}, schema=schema.to_arrow()))
    for path, new in (("a.element", "long"), ("m.key", "long"), ("m.value.element", "double")):
        altered(table, lambda: table.alter.set_column_type(path, new))
    fields = {f.name: f.metadata["delta.typeChanges"] for f in table.schema().fields}
    assert fields == {
        "a": [{"fromType": "integer", "toType": "long", "fieldPath": "element"}],
        "m": [
            {"fromType": "integer", "toType": "long", "fieldPath": "key"},
            {"fromType": "float", "toType": "double", "fieldPath": "value.element"},
        ],
    }
    assert rows(table) == [{"a": [1], "m": [(1, [1.5])]}]


@pytest.mark.trap(62)
def test_trap_62_statistics_of_files_with_the_older_type_still_prune(tmp_path):
    schema = Schema([Field("i", "integer"), Field("f", "float"), Field("d", "date"), Field("x", "decimal(5,1)")])
    table = DeltaTable.create(tmp_path, schema, configuration=WIDENING)
    for n in (0, 1000):
        day = dt.date(2020, 1, 1) + dt.timedelta(n)
        data = {"i": [n], "f": [n + 0.1], "d": [day], "x": [decimal.Decimal(n)]}
        table.append(pa.table(data, schema=schema.to_arrow()))
    for column, new in (("i", "decimal(12,2)"), ("f", "double"), ("d", "timestamp_ntz"), ("x", "decimal(8,3)")):
        altered(table, lambda: table.alter.set_column_type(column, new))
    table.create_checkpoint()
    for handle in (table, DeltaTable(tmp_path)):
        for predicate in ("i > 999.5", "d > timestamp_ntz '2022-01-01 00:00:00'", "x > 999.999"):
            assert handle.explain(predicate).column("kept").to_pylist().count(True) == 1, predicate
            assert handle.count(predicate) == 1, predicate
    assert table.count("f > 0.1") == 2, "0.1 as a float is more than 0.1"


@pytest.mark.trap(62)
def test_a_partition_column_grows(tmp_path):
    schema = Schema([Field("k", "long"), Field("p", "integer"), Field("d", "date")])
    table = DeltaTable.create(tmp_path, schema, partition_by=["p", "d"], configuration=WIDENING)
    table.append(pa.table({"k": [1], "p": [7], "d": [dt.date(2020, 1, 2)]}, schema=schema.to_arrow()))
    altered(table, lambda: table.alter.set_column_type("p", "long"))
    altered(table, lambda: table.alter.set_column_type("d", "timestamp_ntz"))
    table.append({"k": [2], "p": [2**40], "d": [dt.datetime(2020, 1, 2, 3)]})
    assert table.count("p = 7") == table.count("p > 100") == table.count("d > timestamp_ntz '2020-01-02'") == 1


def test_columns_that_expressions_use_keep_their_type(tmp_path):
    table = table_of(tmp_path, NUMBERS, **WIDENING)
    table.alter.add_constraint({"positive": "a > 0"})
    with pytest.raises(InvalidArgumentError, match="the CHECK constraint 'positive'"):
        table.alter.set_column_type("a", "long")


def test_not_null_is_set_after_a_look_at_the_rows(tmp_path):
    table = nested_table(tmp_path)
    altered(table, lambda: table.alter.set_column_not_null("id"))
    assert not table.schema().fields[0].nullable
    with pytest.raises(ConstraintViolation, match="1 rows") as error:
        table.alter.set_column_not_null("f")
    assert error.value.context["count"] == 1
    altered(table, lambda: table.alter.set_column_not_null("s.x"))
    with pytest.raises(ConstraintViolation):
        table.alter.set_column_not_null("s")
    with pytest.raises(InvalidArgumentError, match="inside an array"):
        table.alter.set_column_not_null("l.element.v")
    with pytest.raises(ConstraintViolation, match="NOT NULL"):
        table.append(NESTED.set_column(0, "id", pa.array([None, 1], pa.int32())))
    altered(table, lambda: table.alter.drop_column_not_null("id"))
    table.append(NESTED.set_column(0, "id", pa.array([None, 1], pa.int32())))
    assert table.alter.drop_column_not_null("id").skipped
    altered(table, lambda: table.alter.drop_column_not_null("s.x"))
    assert len(deltalake_rows(table)) == 4


# -- metadata of columns -----------------------------------------------------------------------------------------------


def test_comments_and_other_metadata(tmp_path):
    table = nested_table(tmp_path)
    altered(table, lambda: table.alter.set_column_comment("s.x", "deep"))
    altered(table, lambda: table.alter.set_column_metadata("id", {"unit": "m", "n": 3}))
    fields = {f.name: f for f in table.schema().fields}
    assert fields["id"].metadata == {"unit": "m", "n": 3}
    assert fields["s"].type.fields[0].metadata == {"comment": "deep"}
    theirs = {f.name: f for f in deltalake.DeltaTable(tmp_path).schema().fields}
    assert theirs["id"].metadata["unit"] == "m"
    altered(table, lambda: table.alter.set_column_metadata("id", {"unit": None}))
    assert table.schema().fields[0].metadata == {"n": 3}
    altered(table, lambda: table.alter.set_column_comment("s.x", None))
    for key in ("delta.columnMapping.id", "delta.typeChanges", "CURRENT_DEFAULT"):
        with pytest.raises(InvalidArgumentError, match="keeps the entries"):
            table.alter.set_column_metadata("id", {key: 1})


@pytest.mark.trap(66)
def test_trap_66_a_default_is_for_rows_to_come_that_lack_the_column(tmp_path):
    table = table_of(tmp_path, NUMBERS)
    altered(table, lambda: table.alter.set_column_default("b", "'none'"))
    assert [row["b"] for row in rows(table)] == ["x", "y", None]
    assert "allowColumnDefaults" in table.protocol().writer_features
    table.append({"a": [4]})
    table.append(pa.table({"a": pa.array([5], pa.int32()), "b": pa.array([None], pa.string())}))
    assert {row["a"]: row["b"] for row in rows(table)} == {1: "x", 2: "y", 3: None, 4: "none", 5: None}
    assert rows(table) and len(deltalake_rows(table)) == 5
    altered(table, lambda: table.alter.set_column_default("b", "'other'"))
    altered(table, lambda: table.alter.set_column_default("b", None))
    table.append({"a": [6]})
    assert table.count("a = 6 and b is null") == 1
    with pytest.raises(InvalidArgumentError, match="constant"):
        table.alter.set_column_default("b", "a")


# -- constraints -------------------------------------------------------------------------------------------------------


@pytest.mark.trap(64)
def test_trap_64_a_constraint_is_held_against_all_rows_nulls_included(tmp_path):
    table = table_of(tmp_path, NUMBERS)
    with pytest.raises(ConstraintViolation, match="1 rows break it") as error:
        table.alter.add_constraint({"short": "length(b) < 5"})
    assert error.value.context["rows"] == [{"b": None}]
    actions = altered(table, lambda: table.alter.add_constraint({"Positive": "a > 0"}))
    assert next(a["metaData"] for a in actions if "metaData" in a)["configuration"] == {
        "delta.constraints.positive": "a > 0"
    }
    with pytest.raises(ConstraintViolation, match="positive"):
        table.append({"a": [0], "b": ["x"]})
    with pytest.raises(InvalidArgumentError, match="already"):
        table.alter.add_constraint({"POSITIVE": "a > 5"})
    altered(table, lambda: table.alter.drop_constraint("POSITIVE"))
    table.append({"a": [0], "b": ["x"]})
    with pytest.raises(InvalidArgumentError, match="no constraint"):
        table.alter.drop_constraint("positive")
    assert table.alter.drop_constraint("positive", raise_if_not_exists=False).skipped
    with pytest.raises(InvalidArgumentError, match="looked at"):
        table.alter.set_table_properties({"delta.constraints.x": "a > 0"})
    with pytest.raises(InvalidArgumentError, match="looked at"):
        table.alter.unset_table_properties(["delta.constraints.x"])
    with pytest.raises(InvalidArgumentError):
        table.alter.add_constraint({})


def test_constraints_of_deltalake_and_ours_are_one(tmp_path):
    deltalake.write_deltalake(tmp_path, NUMBERS)
    deltalake.DeltaTable(tmp_path).alter.add_constraint({"theirs": "a > 0"})
    table = DeltaTable(tmp_path)
    table.alter.add_constraint({"ours": "a < 100"})
    for wrong in (0, 100):
        data = pa.table({"a": pa.array([wrong], pa.int32()), "b": ["x"]})
        with pytest.raises(ConstraintViolation):
            DeltaTable(tmp_path).append(data)
        with pytest.raises(Exception):
            deltalake.write_deltalake(tmp_path, data, mode="append")
    table.refresh()
    altered(table, lambda: table.alter.drop_constraint("theirs"))


# -- everything else stays ---------------------------------------------------------------------------------------------


@pytest.mark.trap(25)
def test_trap_25_what_is_not_altered_is_carried_over(tmp_path):
    deltalake.write_deltalake(tmp_path, NUMBERS, name="n", description="d", configuration={"delta.appendOnly": "false"})
    first = metadata(tmp_path, 0)
    foreign = json.loads(first["schemaString"])
    foreign["fields"][0]["metadata"] = {"unknown": {"nested": [1, 2.5, None]}, "comment": "c"}
    text = (tmp_path / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    lines = [json.loads(line) for line in text]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["schemaString"] = json.dumps(foreign)
            line["metaData"]["configuration"]["someone.else"] = "keeps this"
            line["metaData"]["configuration"]["delta.ofTheFuture"] = "and this"
    (tmp_path / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, lines)) + "\n")
    table = DeltaTable(tmp_path)
    for change in (
        lambda: table.alter.add_columns("z int"),
        lambda: table.alter.move_column("z", first=True),
        lambda: table.alter.set_column_comment("b", "x"),
        lambda: table.alter.add_constraint({"c": "a > 0"}),
        lambda: table.alter.set_table_properties({"k": "v"}),
        lambda: table.alter.set_table_properties(MAPPED),
        lambda: table.alter.rename_column("b", "bb"),
    ):
        altered(table, change)
        now = metadata(tmp_path, table.version())
        for key in ("id", "name", "description", "createdTime", "format"):
            assert now.get(key) == first.get(key), key
        assert now["configuration"]["someone.else"] == "keeps this"
        assert now["configuration"]["delta.ofTheFuture"] == "and this"
        (a,) = [f for f in json.loads(now["schemaString"])["fields"] if f["name"] == "a"]
        assert a["metadata"]["unknown"] == {"nested": [1, 2.5, None]} and a["metadata"]["comment"] == "c"


@pytest.mark.trap(60)
def test_trap_60_stray_marks_without_a_mode_are_ignored(tmp_path):
    marks = {"delta.columnMapping.id": 7, "delta.columnMapping.physicalName": "elsewhere"}
    schema = Schema([Field("a", "integer", metadata=marks), Field("b", "string")])
    table = DeltaTable.create(tmp_path, schema)
    table.append(NUMBERS)
    assert [row["a"] for row in rows(table)] == [1, 2, 3]
    altered(table, lambda: table.alter.set_table_properties(MAPPED))
    assert [row["a"] for row in rows(table)] == [1, 2, 3], "the files know it as 'a'"
    altered(table, lambda: table.alter.rename_column("a", "n"))
    assert [row["n"] for row in rows(table)] == [1, 2, 3]


@pytest.mark.trap(68)
def test_trap_68_void_columns_come_and_go(tmp_path):
    table = table_of(tmp_path, NUMBERS, **MAPPED)
    altered(table, lambda: table.alter.add_columns(Field("v", "void")))
    assert rows(table)[0] == {"a": 1, "b": "x", "v": None}
    table.append({"a": [4], "b": ["z"]})
    altered(table, lambda: table.alter.rename_column("v", "w"))
    altered(table, lambda: table.alter.drop_columns("w"))
    altered(table, lambda: table.alter.add_columns(Field("l", ArrayType("void"))))
    assert table.count() == 4
    with pytest.raises(Exception, match="void"):
        table.append({"a": [4], "b": ["z"]})
    altered(table, lambda: table.alter.drop_columns("l"))
    table.append({"a": [5], "b": ["z"]})


# -- other writers -----------------------------------------------------------------------------------------------------


def test_an_append_planned_for_the_old_schema_is_refused(tmp_path):
    table_of(tmp_path, NUMBERS, **MAPPED)
    mine, other = DeltaTable(tmp_path), DeltaTable(tmp_path)
    other.alter.rename_column("b", "c")
    with pytest.raises((MetadataChangedError, SchemaMismatchError)):
        mine.append(NUMBERS)


def test_an_alteration_goes_on_top_of_an_append(tmp_path):
    table_of(tmp_path, NUMBERS, **MAPPED)
    mine, other = DeltaTable(tmp_path), DeltaTable(tmp_path)
    other.append(NUMBERS)
    mine.alter.drop_columns("b")
    assert mine.version() == 3 and len(rows(mine)) == 6 and names(mine) == ["a"]


@pytest.mark.parametrize(
    "change", [lambda t: t.alter.add_constraint({"c": "a < 50"}), lambda t: t.alter.set_column_not_null("b")]
)
def test_rows_that_came_meanwhile_are_looked_at_too(tmp_path, change):
    table_of(tmp_path, NUMBERS.slice(0, 2))
    mine, other = DeltaTable(tmp_path), DeltaTable(tmp_path)
    other.append(pa.table({"a": pa.array([99], pa.int32()), "b": pa.array([None], pa.string())}))
    with pytest.raises(Exception) as error:
        change(mine)
    assert type(error.value).__name__ in ("ConcurrentAppendError", "ConstraintViolation")
    assert DeltaTable(tmp_path).version() == 2


def test_two_alterations_at_once_are_one_too_many(tmp_path):
    table_of(tmp_path, NUMBERS, **MAPPED)
    mine, other = DeltaTable(tmp_path), DeltaTable(tmp_path)
    other.alter.add_columns("z int")
    with pytest.raises(MetadataChangedError):
        mine.alter.add_columns("y int")


def test_a_column_that_became_a_clustering_column_meanwhile_is_not_dropped(tmp_path):
    table = DeltaTable.create(tmp_path, NUMBERS.schema, cluster_by=["a"], configuration=MAPPED)
    table.append(NUMBERS)
    mine, other = DeltaTable(tmp_path), DeltaTable(tmp_path)
    other.alter.cluster_by(["b"])
    with pytest.raises(InvalidArgumentError, match="clustered by the column"):
        mine.alter.drop_columns("b")
    assert names(DeltaTable(tmp_path)) == ["a", "b"]


# -- properties --------------------------------------------------------------------------------------------------------


def test_the_tables_own_notes_are_no_properties_to_set(tmp_path):
    table = table_of(tmp_path, NUMBERS, **MAPPED)
    for name in ("delta.columnMapping.maxColumnId", "delta.rowTracking.materializedRowIdColumnName",
                 "delta.inCommitTimestampEnablementVersion"):  # fmt: skip
        with pytest.raises(InvalidArgumentError, match="the table itself keeps"):
            table.alter.set_table_properties({name: "1"})
        with pytest.raises(InvalidArgumentError, match="the table itself keeps"):
            table.alter.unset_table_properties([name], if_exists=True)
    with pytest.raises(InvalidArgumentError, match="cannot change from 'name' to 'none'"):
        table.alter.unset_table_properties(["delta.columnMapping.mode"])
    with pytest.raises(InvalidArgumentError, match="cannot go down"):
        table.alter.set_table_properties({"delta.minWriterVersion": "2"})
    with pytest.raises(InvalidArgumentError, match="did you mean|unknown table feature") as error:
        table.alter.set_table_properties({"delta.feature.deletionVector": "supported"})
    assert "deletionVectors" in error.value.hint
