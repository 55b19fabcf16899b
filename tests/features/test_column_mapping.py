"""Column mapping: files and log know columns by names and ids that never change."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from feature_tables import read_file, scan_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features import partition_keys, physical_schema
from deltalite.features.column_mapping import FEATURE, FIELD_ID, ID, MAX_ID, PHYSICAL_NAME, check, evolve
from deltalite.model.actions import Metadata
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.types import ArrayType, Field, MapType, Schema, StructType, map_fields, walk

MODE = "delta.columnMapping.mode"
NESTED = Schema(
    [
        Field("id", "long"),
        Field("s", StructType([Field("x", "long"), Field("y", "string")])),
        Field("l", ArrayType(StructType([Field("x", "long")]))),
        Field("m", MapType("string", StructType([Field("v", "long")]))),
    ]
)


def metadata(schema: Schema, mode: str | None = "name", **configuration: str) -> Metadata:
    return Metadata("table-1", schema.to_json(), (), {**({MODE: mode} if mode else {}), **configuration})


def config(meta: Metadata) -> TableConfig:
    return TableConfig(scan_tables.MODERN, meta)


def evolved(old: TableConfig | None, meta: Metadata, version: int = 1) -> TableConfig:
    found = config(evolve(old, meta, version))
    check(found)
    return found


def change(old: TableConfig, schema: Schema, **configuration: str) -> TableConfig:
    return evolved(
        old, replace(old.metadata, schema_string=schema.to_json(), configuration={**old.configuration, **configuration})
    )


def pairs(found: TableConfig) -> dict[tuple[str, ...], tuple[int, str]]:
    return {path: (f.metadata[ID], f.metadata[PHYSICAL_NAME]) for path, f in walk(found.schema)}


def plain(schema: StructType) -> Schema:
    """The schema without mapping metadata, as a user would give it."""
    strip = lambda f, _: f.with_(metadata={k: v for k, v in f.metadata.items() if "columnMapping" not in k})
    return Schema(map_fields(schema, strip).fields)


# -- ids and names -------------------------------------------------------------------------------------------------


@pytest.mark.trap(59)
@pytest.mark.parametrize("mode", ["name", "id"])
def test_trap_59_every_level_of_a_new_table_gets_an_id_and_a_fresh_name(mode):
    found = evolved(None, metadata(NESTED, mode))
    numbers = [number for number, _ in pairs(found).values()]
    assert sorted(numbers) == list(range(1, 9)) and found.configuration[MAX_ID] == "8"
    assert all(name.startswith("col-") for _, name in pairs(found).values())
    assert evolve(None, metadata(NESTED, mode), 1) == found.metadata, "the same change gives the same names again"


@pytest.mark.trap(59)
def test_trap_59_turning_it_on_keeps_names_so_that_files_stay():
    old = config(metadata(NESTED, None))
    found = change(old, Schema([*NESTED.fields, Field("new", "long")]), **{MODE: "name"})
    for path, (_, name) in pairs(found).items():
        assert name == path[-1] if path != ("new",) else name.startswith("col-")


@pytest.mark.parametrize(
    "before, after", [("name", "id"), ("id", "name"), ("name", "none"), ("none", "id"), ("id", "none")]
)
def test_trap_59_other_changes_of_mode_are_refused(before, after):
    old = config(metadata(NESTED, None)) if before == "none" else evolved(None, metadata(NESTED, before))
    with pytest.raises(InvalidArgumentError, match="cannot change"):
        change(old, NESTED, **{MODE: after})


@pytest.mark.trap(61)
def test_trap_61_a_column_dropped_and_added_again_is_another_one():
    first = evolved(None, metadata(NESTED))
    without = change(first, Schema([f for f in first.schema.fields if f.name != "s"]))
    again = change(without, Schema([*without.schema.fields, *[f for f in plain(NESTED).fields if f.name == "s"]]))
    assert not {pairs(first)["s",], pairs(first)["s", "x"]} & set(pairs(again).values())
    stale = change(without, Schema([*without.schema.fields, *[f for f in first.schema.fields if f.name == "s"]]))
    assert not {pairs(first)["s",]} & set(pairs(stale).values()), "old metadata does not bring old data back"
    assert int(again.configuration[MAX_ID]) == 11


def test_rename_keeps_id_and_name_even_when_names_swap():
    first = evolved(None, metadata(Schema([Field("a", "long"), Field("b", "long")])))
    a, b = first.schema.fields
    swapped = change(first, Schema([a.with_(name="b"), b.with_(name="a")]))
    assert pairs(swapped) == {("b",): pairs(first)["a",], ("a",): pairs(first)["b",]}
    moved = change(first, Schema([a.with_(name="b"), Field("c", "long")]))
    assert pairs(moved)["b",] == pairs(first)["a",] and pairs(moved)["c",][0] == 3


def test_a_schema_that_does_not_speak_of_mapping_keeps_it():
    first = evolved(None, metadata(NESTED))
    assert pairs(change(first, plain(NESTED))) == pairs(first)
    foreign = map_fields(NESTED, lambda f, _: f.with_(metadata={ID: 1, PHYSICAL_NAME: "stolen"}))
    assert pairs(change(first, Schema(foreign.fields))) == pairs(first)


def test_a_clone_keeps_the_names_of_its_files():
    first = evolved(None, metadata(NESTED))
    clone = evolved(None, Metadata("table-2", first.metadata.schema_string, (), first.configuration))
    assert pairs(clone) == pairs(first)
    copied = evolved(None, metadata(Schema(first.schema.fields)))
    assert set(pairs(copied)) == set(pairs(first))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["add", "drop", "rename"]), max_size=8), st.data())
def test_ids_only_rise_and_nothing_is_ever_reused(steps, data):
    current = evolved(None, metadata(Schema([Field("c0", "long"), Field("s", StructType([Field("c1", "long")]))])))
    ever = set(pairs(current).values())
    for number, step in enumerate(steps):
        fields = list(current.schema.fields)
        chosen = data.draw(st.integers(0, len(fields) - 1))
        known = set(pairs(current).values())
        if step == "add":
            fields.append(Field(f"c{data.draw(st.integers(0, 3))}_{number}", "long"))
        elif step == "drop" and len(fields) > 1:
            fields.pop(chosen)
        else:
            fields[chosen] = fields[chosen].with_(name=f"r{number}")
        before = int(current.configuration[MAX_ID])
        current = change(current, Schema(fields))
        assert int(current.configuration[MAX_ID]) >= before
        fresh = set(pairs(current).values()) - known
        assert not fresh & ever
        ever |= fresh


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.trap(60)
def test_trap_60_stray_metadata_without_a_mode_is_ignored():
    stray = Schema([Field("a", "long", metadata={ID: 1, PHYSICAL_NAME: "col-1"})])
    assert physical_schema(config(metadata(stray, None))) == stray
    assert read_file(pa.table({"a": [1]}), schema=stray).column("a").to_pylist() == [1]


@pytest.mark.parametrize(
    "broken", [{}, {ID: 1}, {PHYSICAL_NAME: "x"}, {ID: "1", PHYSICAL_NAME: "x"}, {ID: 1, PHYSICAL_NAME: ""}]
)
def test_a_mapped_field_without_id_or_name_is_refused(broken):
    with pytest.raises(InvalidTableError, match="has no delta.columnMapping"):
        physical_schema(config(metadata(Schema([Field("a", "long", metadata=broken)]))))


def test_shared_ids_and_names_are_refused():
    def two(first, second, **configuration):
        fields = [
            Field(n, "long", metadata={ID: i, PHYSICAL_NAME: p})
            for n, (i, p) in zip("ab", (first, second), strict=True)
        ]
        return config(metadata(Schema(fields), **configuration))

    with pytest.raises(InvalidTableError, match="share"):
        check(two((1, "x"), (1, "y")))
    with pytest.raises(InvalidTableError, match="twice"):
        check(two((1, "x"), (2, "x")))
    with pytest.raises(InvalidTableError, match="below"):
        check(two((1, "x"), (5, "y"), **{MAX_ID: "4"}))
    check(two((1, "x"), (5, "y"), **{MAX_ID: "5"}))


# -- reading -------------------------------------------------------------------------------------------------------


def stored_type(data_type, ids: bool):
    """The Arrow type under which a writer stores a physical type."""
    if isinstance(data_type, StructType):
        return pa.struct([stored_field(f, ids) for f in data_type.fields])
    if isinstance(data_type, ArrayType):
        return pa.list_(stored_type(data_type.element_type, ids))
    if isinstance(data_type, MapType):
        return pa.map_(stored_type(data_type.key_type, ids), stored_type(data_type.value_type, ids))
    return data_type.to_arrow()


def stored_field(field: Field, ids: bool) -> pa.Field:
    name = "renamed-" + field.name if ids else field.name
    return pa.field(name, stored_type(field.type, ids), True, {"PARQUET:field_id": str(field.metadata[FIELD_ID])})


@pytest.mark.parametrize("mode", ["name", "id"])
def test_nested_columns_are_found_by_name_or_by_id(mode):
    found = evolved(None, metadata(NESTED, mode))
    schema = pa.schema([stored_field(f, mode == "id") for f in physical_schema(found).fields])
    ids = mode == "id"
    names = {path: n for path, (_, n) in pairs(found).items()}
    key = lambda *path: ("renamed-" if ids else "") + names[path]
    row = {
        key("id"): 1,
        key("s"): {key("s", "x"): 2, key("s", "y"): "t"},
        key("l"): [{key("l", "element", "x"): 3}],
        key("m"): [("k", {key("m", "value", "v"): 4})],
    }
    data = pa.Table.from_pylist([row], schema=schema)
    rows = read_file(data, schema=found.schema, configuration=found.configuration, virtual=(), predicate="s.x = 2")
    assert rows.to_pylist() == [{"id": 1, "s": {"x": 2, "y": "t"}, "l": [{"x": 3}], "m": [("k", {"v": 4})]}]


def test_id_mode_takes_no_column_by_its_name():
    found = evolved(None, metadata(Schema([Field("a", "long"), Field("b", "long")]), "id"))
    physical = physical_schema(found)
    one = pa.schema([pa.field(physical.fields[0].name, pa.int64(), metadata={"PARQUET:field_id": "2"})])
    rows = read_file(pa.table([[5]], schema=one), schema=found.schema, configuration=found.configuration, virtual=())
    assert rows.to_pylist() == [{"a": None, "b": 5}]
    with pytest.raises(InvalidTableError, match="no field ids"):
        read_file(pa.table({physical.fields[0].name: [5]}), schema=found.schema, configuration=found.configuration)


def test_partition_keys_are_physical_names():
    meta = replace(metadata(Schema([Field("a", "long"), Field("p", "long")])), partition_columns=("p",))
    found = evolved(None, meta)
    assert partition_keys(found) == (pairs(found)["p",][1],)
    assert FEATURE.by_field_id and not FEATURE.by_field_id(found)
    assert parse_schema(found.metadata.schema_string) == found.schema
