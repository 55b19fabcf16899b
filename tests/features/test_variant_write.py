"""Variants, written: the encoding of values and of JSON text, and tables with columns of them under every operation."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalite import (
    ArrayType,
    DeltaTable,
    Field,
    MapType,
    PrimitiveType,
    Schema,
    StructType,
    variants,
    write_deltalake,
)
from deltalite.exceptions import ConstraintViolation, InvalidArgumentError, SchemaMismatchError
from deltalite.features.variant import binary
from deltalite.model.arrow import VARIANT

VARIANTS = Schema([Field("k", "long"), Field("v", PrimitiveType("variant"))])
D = decimal.Decimal
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False)
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


def loaded(column: pa.Array) -> list:
    return [None if text is None else json.loads(text) for text in variants.to_json(column).to_pylist()]


# -- the encoding ------------------------------------------------------------------------------------------------------


@given(st.lists(documents, max_size=5))
def test_json_text_comes_back(values):
    column = variants.from_json([json.dumps(v, ensure_ascii=i % 2 == 0) for i, v in enumerate(values)])
    assert column.type == VARIANT
    for found, value in zip(loaded(column), values, strict=True):
        assert found == value or float_like(found) == float_like(value)


def float_like(value):
    """Doubles that are written like decimals come back as numbers of the same value."""
    if isinstance(value, dict):
        return {key: float_like(part) for key, part in value.items()}
    if isinstance(value, list):
        return [float_like(part) for part in value]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


@given(documents)
def test_values_and_their_json_are_one_variant(value):
    if value is not None and not _has_float(value):
        assert variants.from_values([value]) == variants.from_json([json.dumps(value)])


def _has_float(value) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))
    return any(map(_has_float, value)) if isinstance(value, list) else isinstance(value, float)


@pytest.mark.parametrize(
    "text, value",
    [
        ("null", "00"), ("true", "04"), ("false", "08"), ("1", "0c01"), ("-128", "0c80"), ("128", "108000"),
        ("32768", "1400800000"), ("2147483648", "180000008000000000"), ("1.5", "20010f000000"),
        ("1e2", "1c0000000000005940"), ('"a"', "0561"), ("[]", "030000"), ("{}", "020000"), ("[1,2]", "03020002040c010c02"),
        ('{"b":1,"a":2}', "02020001000204"
            "0c020c01"),
        ("100000000000000000000", "2800" + (10**20).to_bytes(16, "little").hex()),
    ],
)  # fmt: skip
def test_the_bytes_of_some_values(text, value):
    assert variants.from_json([text]).to_pylist()[0]["value"].hex() == value


def test_metadata_lists_every_name_once_in_order():
    (row,) = variants.from_json(['{"b": {"a": 1, "b": 2}, "c": [{"a": 3}]}']).to_pylist()
    assert row["metadata"].hex() == "11" + "03" + "00010203" + b"abc".hex()
    assert binary.names_of(row["metadata"]) == ["a", "b", "c"]
    (row,) = variants.from_json(["1"]).to_pylist()
    assert row["metadata"].hex() == "110000"


def test_many_names_and_long_values():
    value = {f"name {i}": ["x" * 300, i] for i in range(700)}
    assert loaded(variants.from_values([value, list(range(1000))])) == [value, list(range(1000))]


@pytest.mark.parametrize(
    "text", ["", "{", "nul", "NaN", "[1,]", "{'a': 1}", '{"a":1,"a":2}', '"\\ud800"', "1 2", "[" * 300 + "]" * 300, "9" * 400]
)  # fmt: skip
def test_what_is_no_json_is_refused(text):
    with pytest.raises(InvalidArgumentError):
        variants.from_json([text])


def test_values_beyond_json():
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, 678901)
    number = uuid.UUID(int=5)
    values = [moment, moment.replace(tzinfo=dt.timezone.utc), moment.date(), b"\x00\xff", D("1.50"), D("1E+3"), number]
    assert loaded(variants.from_values(values)) == [
        "2020-01-02 03:04:05.678901", "2020-01-02 03:04:05.678901+00:00", "2020-01-02", "AP8=", 1.5, 1000, str(number),
    ]  # fmt: skip
    for wrong in (object(), {1: 2}, D("NaN"), D(10**40), 1j):
        with pytest.raises(InvalidArgumentError):
            variants.from_values([wrong])


# -- tables ------------------------------------------------------------------------------------------------------------


def shown(table: DeltaTable) -> dict[int, object]:
    found = DeltaTable(table.table_uri).scan(variants="json").read_all().to_pylist()
    return {row["k"]: None if row["v"] is None else json.loads(row["v"]) for row in found}


def data(*pairs: tuple[int, object]) -> pa.Table:
    return pa.table({"k": [k for k, _ in pairs], "v": variants.from_values([v for _, v in pairs])})


@pytest.mark.parametrize("vectors", ["true", "false"])
@pytest.mark.parametrize("mapping", ["none", "name"])
def test_every_operation_on_a_table_of_variants(tmp_path, vectors, mapping):
    properties = {"delta.enableDeletionVectors": vectors, "delta.columnMapping.mode": mapping,
                  "delta.enableChangeDataFeed": "true", "delta.checkpointInterval": "3"}  # fmt: skip
    table = DeltaTable.create(tmp_path, VARIANTS, configuration=properties)
    assert "variantType" in table.protocol().reader_features
    table.append(data((1, {"a": [1, "x"]}), (2, None), (3, "text"), (4, 1.5)))
    table.append({"k": [5, 6], "v": [{"python": True}, [1, 2]]})
    table.append([{"k": 7, "v": {"deep": {"er": None}}}, {"k": 8}])
    table.delete("k = 4")
    table.update({"k": "k + 100"}, predicate="k = 5")
    source = data((3, {"merged": 1}), (9, "inserted"))
    table.merge(source, "t.k = s.k", "s", "t").when_matched_update_all().when_not_matched_insert_all().execute()
    expected = {1: {"a": [1, "x"]}, 2: None, 3: {"merged": 1}, 105: {"python": True}, 6: [1, 2],
                7: {"deep": {"er": None}}, 8: None, 9: "inserted"}  # fmt: skip
    assert shown(table) == expected
    table.update({"v": "null"}, predicate="k = 1")
    table.delete("v is null and k < 3")
    table.optimize.compact()
    expected = {key: value for key, value in expected.items() if key > 2}
    assert shown(table) == expected
    changes = table.changes(1).read_all()
    assert changes.schema.field("v").type == VARIANT and changes.num_rows > 10
    copy = write_deltalake(tmp_path / "copy", DeltaTable(tmp_path).to_pyarrow_table())
    assert copy is None or copy.version == 0
    assert shown(DeltaTable(tmp_path / "copy")) == expected
    assert DeltaTable(tmp_path / "copy").schema().fields[1].type.type == "variant"


def test_files_hold_the_two_parts_unshredded(tmp_path):
    table = DeltaTable.create(tmp_path, VARIANTS, configuration={"delta.enableVariantShredding": "true"})
    assert {"variantType", "variantShredding"} <= set(table.protocol().reader_features)
    table.append(data((1, {"a": 1}), (2, None)))
    (file,) = Path(tmp_path).glob("*.parquet")
    schema = pq.ParquetFile(file).schema
    assert [schema.column(i).path for i in range(3)] == ["k", "v.metadata", "v.value"]
    assert [schema.column(i).max_definition_level for i in (1, 2)] == [1, 1], "the parts are required"
    log = (tmp_path / "_delta_log" / f"{1:020}.json").read_text().splitlines()
    stats = json.loads(next(json.loads(line)["add"]["stats"] for line in log if '"add"' in line))
    assert stats["numRecords"] == 2 and "v" not in stats["minValues"] and stats["nullCount"].get("v", 1) == 1


def test_variants_inside_of_other_values(tmp_path):
    variant = PrimitiveType("variant")
    schema = Schema([Field("s", StructType([Field("x", variant)])), Field("l", ArrayType(variant)),
                     Field("m", MapType("string", variant))])  # fmt: skip
    table = DeltaTable.create(tmp_path, schema)
    table.append([{"s": {"x": {"a": 1}}, "l": [1, None, "b"], "m": {"k": [True]}}, {"s": None}])
    found = DeltaTable(tmp_path).to_pyarrow_table()
    assert loaded(pa.concat_arrays([c.field(0) for c in found.column("s").chunks])) == [{"a": 1}, None]
    assert loaded(found.column("l").combine_chunks().flatten()) == [1, None, "b"]
    assert loaded(found.column("m").combine_chunks().items) == [[True]]
    table.append(found)
    assert len(DeltaTable(tmp_path).to_pyarrow_table()) == 4


def test_text_is_json_only_when_somebody_says_so(tmp_path):
    table = DeltaTable.create(tmp_path, VARIANTS)
    texts = pa.array(['{"a": 1}', None])
    with pytest.raises(SchemaMismatchError, match="cannot be stored as variant") as error:
        table.append(pa.table({"k": [1, 2], "v": texts}))
    assert "variants.from_json" in error.value.hint
    table.append(pa.table({"k": [1, 2], "v": variants.from_json(texts)}))
    table.append({"k": [3], "v": ['{"a": 1}']})
    assert shown(table) == {1: {"a": 1}, 2: None, 3: '{"a": 1}'}


def test_other_encodings_of_the_two_parts(tmp_path):
    table = DeltaTable.create(tmp_path, VARIANTS)
    plain = variants.from_values([{"a": 1}, None, [2]])
    swapped = pa.StructArray.from_arrays(
        [plain.field("value").cast(pa.large_binary()), plain.field("metadata").cast(pa.binary_view())],
        names=["value", "metadata"], mask=plain.is_null(),
    )  # fmt: skip
    table.append(pa.table({"k": [1, 2, 3], "v": swapped}))
    table.append({"k": [4], "v": plain.to_pylist()[:1]})
    assert shown(table) == {1: {"a": 1}, 2: None, 3: [2], 4: {"a": 1}}
    broken = pa.StructArray.from_arrays(
        [pa.array([b"\x11\0\0"]), pa.array([None], pa.binary())], names=["metadata", "value"]
    )
    with pytest.raises(SchemaMismatchError, match="without metadata or value"):
        table.append(pa.table({"k": [5], "v": broken}))


def test_variants_are_no_keys_and_have_no_default_but_null(tmp_path):
    with pytest.raises(InvalidArgumentError, match="cannot partition"):
        DeltaTable.create(tmp_path, VARIANTS, partition_by=["v"])
    with pytest.raises(InvalidArgumentError):
        DeltaTable.create(tmp_path, VARIANTS, cluster_by=["v"])
    table = DeltaTable.create(tmp_path, VARIANTS)
    with pytest.raises(InvalidArgumentError, match="only be NULL"):
        table.alter.set_column_default("v", "1")
    table.append({"k": [1], "v": [1]})
    table.alter.set_column_not_null("v")
    with pytest.raises(ConstraintViolation):
        table.append({"k": [2], "v": [None]})
    table.alter.add_columns(Field("w", PrimitiveType("variant")))
    assert table.to_pyarrow_table().column("w").null_count == 1


@pytest.mark.trap(32)
@pytest.mark.parametrize("name", ["variantType-preview", "variantShredding-preview"])
def test_trap_32_previews_are_written_under_their_name(tmp_path, name):
    table = DeltaTable.create(tmp_path, VARIANTS)
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace('"variantType"', f'"variantType-preview","{name}"'))
    log.with_suffix(".crc").unlink()
    table = DeltaTable(tmp_path)
    table.append(data((1, {"a": 1})))
    table.alter.set_table_properties({"delta.enableDeletionVectors": "true"})
    features = DeltaTable(tmp_path).protocol().reader_features
    assert "variantType-preview" in features and name in features and "variantType" not in features
    assert shown(table) == {1: {"a": 1}}
