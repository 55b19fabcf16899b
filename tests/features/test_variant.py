"""Variants: the encoding, and shredded files that read like unshredded ones."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from feature_tables import read_file
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.exceptions import InvalidTableError
from deltalite.features.variant import binary, to_json
from deltalite.features.variant.shredding import rebuild
from deltalite.model.arrow import VARIANT
from deltalite.model.types import ArrayType, Field, Schema, StructType

UTC = dt.timezone.utc

# -- a plain encoder, written from the specification ---------------------------------------------------------------


def encode_metadata(names: list[str]) -> bytes:
    body = b"".join(n.encode() for n in names)
    size = max(1, (max(len(body), len(names)).bit_length() + 7) // 8)
    out = bytes([1 | 1 << 4 | (size - 1) << 6]) + len(names).to_bytes(size, "little")
    at = 0
    for name in ["", *names]:
        at += len(name.encode())
        out += at.to_bytes(size, "little")
    return out + body


def width(n: int) -> int:
    return max(1, (n.bit_length() + 7) // 8)


def encode(value: Any, ids: dict[str, int]) -> bytes:
    if value is None:
        return b"\0"
    if isinstance(value, bool):
        return bytes([(1 if value else 2) << 2])
    if isinstance(value, int):
        for kind, size in ((3, 1), (4, 2), (5, 4), (6, 8)):
            if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
                return bytes([kind << 2]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return bytes([7 << 2]) + struct.pack("<d", value)
    if isinstance(value, Decimal):
        scale = -value.as_tuple().exponent
        unscaled = int(value.scaleb(scale))
        kind, size = (8, 4) if abs(unscaled) < 10**9 else (9, 8) if abs(unscaled) < 10**18 else (10, 16)
        return bytes([kind << 2, scale]) + unscaled.to_bytes(size, "little", signed=True)
    if isinstance(value, dt.datetime):
        micros = (value.replace(tzinfo=None) - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
        return bytes([(12 if value.tzinfo else 13) << 2]) + struct.pack("<q", micros)
    if isinstance(value, dt.date):
        return bytes([11 << 2]) + struct.pack("<i", value.toordinal() - 719163)
    if isinstance(value, bytes):
        return bytes([15 << 2]) + struct.pack("<I", len(value)) + value
    if isinstance(value, str):
        raw = value.encode()
        return (bytes([len(raw) << 2 | 1]) if len(raw) < 64 else bytes([16 << 2]) + struct.pack("<I", len(raw))) + raw
    parts = [encode(v, ids) for v in (value.values() if isinstance(value, dict) else value)]
    if isinstance(value, list):
        size, large = width(sum(map(len, parts))), len(parts) > 255
        out = bytes([(large << 2 | size - 1) << 2 | 3]) + len(parts).to_bytes(4 if large else 1, "little")
        return out + offsets(parts, size) + b"".join(parts)
    keys = sorted(value, key=str.encode)
    parts = [encode(value[k], ids) for k in keys]
    size, id_size, large = width(sum(map(len, parts))), width(max([ids[k] for k in keys], default=0)), len(parts) > 255
    out = bytes([(large << 4 | (id_size - 1) << 2 | size - 1) << 2 | 2]) + len(parts).to_bytes(
        4 if large else 1, "little"
    )
    return out + b"".join(ids[k].to_bytes(id_size, "little") for k in keys) + offsets(parts, size) + b"".join(parts)


def offsets(parts: list[bytes], size: int) -> bytes:
    at, out = 0, bytes(size)
    for part in parts:
        at += len(part)
        out += at.to_bytes(size, "little")
    return out


def names_in(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {n for v in value.values() for n in names_in(v)}
    return {n for v in value for n in names_in(v)} if isinstance(value, list) else set()


def variant(value: Any, more: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    names = sorted(names_in(value) | set(more), key=str.encode)
    return encode_metadata(names), encode(value, {n: i for i, n in enumerate(names)})


def column(values: list[Any]) -> pa.StructArray:
    """Python values as variants; ``...`` is SQL null."""
    pairs = [None if v is ... else variant(v) for v in values]
    return pa.array([None if p is None else {"metadata": p[0], "value": p[1]} for p in pairs], VARIANT)


# -- JSON ----------------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=70), st.floats(allow_nan=False, allow_infinity=False)
)  # fmt: skip
keys = st.sampled_from(["a", "b", "c", "é", "zz", "", "a.b"])
documents = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(keys, v, max_size=4), max_leaves=10
)


@settings(max_examples=100, deadline=None)
@given(st.lists(documents, min_size=1, max_size=4))
def test_json_of_a_variant_is_the_json_it_came_from(values):
    found = to_json(column([*values, ...])).to_pylist()
    assert found[-1] is None
    assert [json.loads(text) for text in found[:-1]] == values


@pytest.mark.parametrize(
    "value, text",
    [
        (Decimal("1.50"), "1.5"), (Decimal("-100"), "-100"), (Decimal("0.00"), "0"), (Decimal("12345678901234567890.123"), "12345678901234567890.123"),
        (dt.date(1582, 10, 4), '"1582-10-04"'), (dt.datetime(2024, 1, 2, 3, 4, 5, 600000, UTC), '"2024-01-02 03:04:05.6+00:00"'),
        (dt.datetime(1, 1, 1), '"0001-01-01 00:00:00"'), (b"\xff\x00", '"/wA="'), (math.inf, '"Infinity"'), (math.nan, '"NaN"'),
        ("\"\n\U0001f600", '"\\"\\n\U0001f600"'), ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'), (1e300, "1e+300"),
    ],
)  # fmt: skip
def test_json_of_each_type(value, text):
    assert to_json(column([value])).to_pylist() == [text]


def test_rare_types():
    metadata = encode_metadata([])
    nanos = struct.pack("<q", 1_001)
    cases = {
        bytes([14 << 2]) + struct.pack("<f", 0.1): "0.1",
        bytes([17 << 2]) + struct.pack("<q", 3_661_000_001): '"01:01:01.000001"',
        bytes([18 << 2]) + nanos: '"1970-01-01 00:00:00.000001001+00:00"',
        bytes([19 << 2]) + nanos: '"1970-01-01 00:00:00.000001001"',
        bytes([20 << 2]) + uuid.UUID(int=5).bytes: '"00000000-0000-0000-0000-000000000005"',
    }
    for value, text in cases.items():
        assert binary.to_json(binary.names_of(metadata), value) == text
        assert binary.length_at(value + b"tail", 0) == len(value)


def test_large_objects_and_arrays():
    big = {f"k{i:04d}": i for i in range(300)}
    many = list(range(300)) + ["x" * 70_000]
    assert [json.loads(t) for t in to_json(column([big, many])).to_pylist()] == [big, many]


@settings(max_examples=200, deadline=None)
@given(documents, st.data())
def test_damaged_bytes_are_refused_or_mean_something(value, data):
    metadata, raw = variant(value)
    bad = bytearray(metadata + raw)
    bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        names = binary.names_of(bytes(bad[: len(metadata)]))
        json.loads(binary.to_json(names, bytes(bad[len(metadata) :])[:cut]))
    except InvalidTableError:
        pass


def test_endless_nesting_is_refused():
    loop = bytes([3, 1, 0, 0]) + b"\0"
    nested = b"\0"
    for _ in range(300):
        size = width(len(nested))
        nested = bytes([(size - 1) << 2 | 3, 1]) + bytes(size) + len(nested).to_bytes(size, "little") + nested
    with pytest.raises(InvalidTableError, match="deeper"):
        binary.to_json([], nested)
    assert binary.to_json([], loop[:4] + b"\0") == "[null]"


# -- shredding -----------------------------------------------------------------------------------------------------

TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "long": (pa.int64(), lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "string": (pa.string(), lambda v: isinstance(v, str)),
    "double": (pa.float64(), lambda v: isinstance(v, float)),
    "bool": (pa.bool_(), lambda v: isinstance(v, bool)),
}
shapes = st.recursive(
    st.sampled_from(sorted(TYPES)),
    lambda s: (
        st.tuples(st.just("list"), s) | st.dictionaries(st.sampled_from(["a", "b", "c"]), s, min_size=1, max_size=3)
    ),
    max_leaves=4,
)


def typed_type(shape: Any) -> pa.DataType:
    if isinstance(shape, str):
        return TYPES[shape][0]
    if isinstance(shape, tuple):
        return pa.list_(pa.field("element", group_type(shape[1])))
    return pa.struct([pa.field(name, group_type(inner)) for name, inner in shape.items()])


def group_type(shape: Any) -> pa.DataType:
    return pa.struct([pa.field("value", pa.binary()), pa.field("typed_value", typed_type(shape))])


def shred(value: Any, shape: Any, ids: dict[str, int]) -> dict[str, Any]:
    """The group of ``value`` and ``typed_value`` that the specification prescribes; ``...`` is a missing field."""
    if value is ...:
        return {"value": None, "typed_value": None}
    if isinstance(shape, str) and TYPES[shape][1](value):
        return {"value": None, "typed_value": value}
    if isinstance(shape, tuple) and isinstance(value, list):
        return {"value": None, "typed_value": [shred(v, shape[1], ids) for v in value]}
    if isinstance(shape, dict) and isinstance(value, dict):
        rest = {k: v for k, v in value.items() if k not in shape}
        typed = {k: shred(value.get(k, ...), inner, ids) for k, inner in shape.items()}
        return {"value": encode(rest, ids) if rest else None, "typed_value": typed}
    return {"value": encode(value, ids), "typed_value": None}


def shredded(values: list[Any], shape: Any) -> pa.StructArray:
    rows = []
    for value in values:
        if value is ...:
            rows.append(None)
            continue
        names = sorted(names_in(value) | {"a", "b", "c"}, key=str.encode)
        rows.append({"metadata": encode_metadata(names), **shred(value, shape, {n: i for i, n in enumerate(names)})})
    return pa.array(rows, pa.struct([pa.field("metadata", pa.binary()), *group_type(shape)]))


SCHEMA = Schema([Field("v", "variant")])
small = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("abcd"), v, max_size=4), max_leaves=6
)


@settings(max_examples=120, deadline=None)
@given(st.lists(small | st.just(...), min_size=1, max_size=6), shapes)
def test_a_shredded_column_reads_like_an_unshredded_one(values, shape):
    data = pa.table({"v": shredded(values, shape)})
    found = read_file(data, schema=SCHEMA, virtual=(), parquet={"row_group_size": 2}).column("v")
    assert found.type == VARIANT
    texts = to_json(found).to_pylist()
    assert [... if t is None else json.loads(t) for t in texts] == values
    for group, value in zip(found.combine_chunks().to_pylist(), values, strict=True):
        if value is not ...:
            names = binary.names_of(group["metadata"])
            assert group["value"] == encode(value, {n: i for i, n in enumerate(names)}), (
                "the very bytes of the plain form"
            )


@settings(max_examples=40, deadline=None)
@given(st.lists(small | st.just(...), min_size=1, max_size=5))
def test_an_unshredded_column_comes_back_as_it_is(values):
    data = pa.table({"v": column(values)})
    assert read_file(data, schema=SCHEMA, virtual=()).column("v").to_pylist() == data.column("v").to_pylist()


def test_every_type_that_shreds():
    cases = [
        (pa.int8(), 5), (pa.int16(), 500), (pa.int32(), 70_000), (pa.int64(), 2**40), (pa.float64(), 1.5), (pa.bool_(), False),
        (pa.date32(), dt.date(2024, 1, 2)), (pa.timestamp("us", "UTC"), dt.datetime(2024, 1, 2, tzinfo=UTC)),
        (pa.timestamp("us"), dt.datetime(2024, 1, 2)), (pa.binary(), b"\x00\xff"), (pa.string(), "x" * 100), (pa.large_string(), "é"),
        (pa.decimal128(9, 2), Decimal("1.25")), (pa.decimal128(18, 2), Decimal("12345678901.25")), (pa.decimal128(38, 2), Decimal("-12345678901234567890.25")),
    ]  # fmt: skip
    for kind, value in cases:
        metadata = encode_metadata([])
        group = pa.StructArray.from_arrays(
            [pa.array([metadata] * 2), pa.nulls(2, pa.binary()), pa.array([value, None], kind)],
            ["metadata", "value", "typed_value"],
        )
        assert rebuild(group).to_pylist() == [
            {"metadata": metadata, "value": encode(value, {})},
            {"metadata": metadata, "value": b"\0"},
        ]


def test_contradictions_are_refused():
    def group(value, typed, names=("a",)):
        arrays = [pa.array([encode_metadata(list(names))]), pa.array([value], pa.binary()), typed]
        return pa.StructArray.from_arrays(arrays, ["metadata", "value", "typed_value"])

    field = pa.array([{"a": {"value": None, "typed_value": 1}}], pa.struct([("a", group_type("long"))]))
    with pytest.raises(InvalidTableError, match="no object"):
        rebuild(group(encode("text", {}), field))
    with pytest.raises(InvalidTableError, match="lacks its field"):
        rebuild(group(None, field, names=()))
    with pytest.raises(InvalidTableError, match="no variant can hold"):
        rebuild(group(None, pa.array([1], pa.uint8())))
    with pytest.raises(InvalidTableError, match="no metadata"):
        rebuild(pa.StructArray.from_arrays([pa.array([b"\0"])], ["value"]))


def test_variants_inside_structs_and_lists():
    schema = Schema([Field("s", StructType([Field("v", "variant")])), Field("l", ArrayType("variant"))])
    plain = column([{"a": 1}])
    parts = shredded([{"a": 1}], {"a": "long"})
    offsets_of_one = pa.array([0, 1], pa.int32())
    data = pa.table(
        {"s": pa.StructArray.from_arrays([parts], ["v"]), "l": pa.ListArray.from_arrays(offsets_of_one, plain)}
    )
    found = read_file(data, schema=schema, virtual=()).to_pylist()[0]
    assert to_json(pa.array([found["s"]["v"], found["l"][0]], VARIANT)).to_pylist() == ['{"a":1}'] * 2
