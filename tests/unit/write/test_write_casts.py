"""Which type is stored in which: Spark's ANSI store assignment, minus what loses digits."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from write_tables import struct

from deltalite.exceptions import SchemaMismatchError, UnsupportedTypeError
from deltalite.model.types import PrimitiveType
from deltalite.write.casts import store_rule
from deltalite.write.conform import conform

TYPES = [
    "byte", "short", "integer", "long", "float", "double", "decimal(10,2)", "string", "binary", "boolean", "date",
    "timestamp", "timestamp_ntz", "void",
]  # fmt: skip
NUMBERS = {"byte", "short", "integer", "long", "float", "double", "decimal(10,2)"}
INTEGERS = {"byte", "short", "integer", "long"}


def spark_allows(source: str, target: str) -> bool:
    """``Cast.canANSIStoreAssign``, with fractions to integers left out (Spark truncates them), and the two kinds of
    timestamps kept apart."""
    if source in (target, "void"):
        return True
    if source in NUMBERS and target in NUMBERS:
        return not (source in ("float", "double") and target in INTEGERS)
    if target == "string":
        return True
    return (source == "date" and target in ("timestamp", "timestamp_ntz")) or (
        target == "date" and source in ("timestamp", "timestamp_ntz")
    )


@pytest.mark.parametrize("source", TYPES)
def test_store_assignment_table(source: str) -> None:
    allowed = {t for t in TYPES if store_rule(PrimitiveType(source), PrimitiveType(t)) is not None}
    assert allowed == {t for t in TYPES if spark_allows(source, t)}


D = Decimal
UTC = dt.timezone.utc
KEPT = [  # values, their Arrow type, the column's type, what it holds afterwards
    ([1, None], pa.int8(), "long", [1, None]),
    ([127, -128], pa.int64(), "byte", [127, -128]),
    ([200], pa.uint8(), "short", [200]),
    ([40_000], pa.uint16(), "integer", [40_000]),
    ([3_000_000_000], pa.uint32(), "long", [3_000_000_000]),
    ([2**64 - 1], pa.uint64(), "decimal(20,0)", [D(2**64 - 1)]),
    ([7], pa.uint64(), "long", [7]),
    ([7, None], pa.int64(), "decimal(5,2)", [D("7.00"), None]),
    ([-(2**63)], pa.int64(), "decimal(38,19)", [D(-(2**63))]),
    ([2**53], pa.int64(), "double", [float(2**53)]),
    ([1.5, float("inf"), None], pa.float32(), "double", [1.5, float("inf"), None]),
    ([1.5, -0.0], pa.float64(), "float", [1.5, -0.0]),
    ([1.1, 0.1], pa.float64(), "decimal(10,2)", [D("1.10"), D("0.10")]),
    ([D("1.10")], pa.decimal128(5, 2), "double", [1.1]),
    ([D("3.00")], pa.decimal128(5, 2), "integer", [3]),
    ([D("3.10")], pa.decimal128(5, 2), "decimal(10,1)", [D("3.1")]),
    ([D("3.10")], pa.decimal256(30, 2), "decimal(30,2)", [D("3.10")]),
    ([1, None], pa.int32(), "string", ["1", None]),
    ([True], pa.bool_(), "string", ["true"]),
    ([1.0, 1e7], pa.float64(), "string", ["1.0", "1.0E7"]),
    ([D("1.50")], pa.decimal128(5, 2), "string", ["1.50"]),
    ([b"ab"], pa.binary(), "string", ["ab"]),
    ([b"abcd"], pa.binary(4), "binary", [b"abcd"]),
    ([dt.date(2020, 1, 2)], pa.date32(), "string", ["2020-01-02"]),
    ([dt.date(2020, 1, 2)], pa.date64(), "date", [dt.date(2020, 1, 2)]),
    ([dt.date(2020, 1, 2)], pa.date32(), "timestamp", [dt.datetime(2020, 1, 2, tzinfo=UTC)]),
    ([dt.date(2020, 1, 2)], pa.date32(), "timestamp_ntz", [dt.datetime(2020, 1, 2)]),
    ([dt.datetime(2020, 1, 2)], pa.timestamp("us"), "date", [dt.date(2020, 1, 2)]),
    ([1_577_923_200_000], pa.timestamp("ms", "UTC"), "timestamp", [dt.datetime(2020, 1, 2, tzinfo=UTC)]),
    ([1_577_923_200], pa.timestamp("s", "+02:00"), "timestamp", [dt.datetime(2020, 1, 2, tzinfo=UTC)]),
    ([1_577_923_200_000_001_000], pa.timestamp("ns"), "timestamp_ntz", [dt.datetime(2020, 1, 2, 0, 0, 0, 1)]),
    ([None, None], pa.null(), "date", [None, None]),
    (["x"], pa.large_string(), "string", ["x"]),
    (["x", None], pa.string_view(), "string", ["x", None]),
]  # fmt: skip


def stored(values: list, arrow: pa.DataType, column: str) -> pa.Array:
    batch = pa.record_batch([pa.array(values, arrow)], names=["x"])
    return conform(batch.schema, struct(("x", column))).apply(batch).column(0)


@pytest.mark.parametrize(("values", "arrow", "column", "expected"), KEPT)
def test_values_that_are_kept(values: list, arrow: pa.DataType, column: str, expected: list) -> None:
    assert stored(values, arrow, column).to_pylist() == expected


LOST = [  # allowed types, but values that would change
    ([128], pa.int64(), "byte", "128"),
    ([2**63], pa.uint64(), "long", str(2**63)),
    ([2**53 + 1], pa.int64(), "double", str(2**53 + 1)),
    ([1000], pa.int64(), "decimal(5,2)", "1000"),
    ([0.1], pa.float64(), "float", "0.1"),
    ([1.005], pa.float64(), "decimal(10,2)", "1.005"),
    ([float("nan")], pa.float64(), "decimal(10,2)", "nan"),
    ([1e300], pa.float64(), "decimal(10,2)", "1e+300"),
    ([1e300], pa.float64(), "float", "1e+300"),
    ([D("1.25")], pa.decimal128(5, 2), "decimal(10,1)", "1.25"),
    ([D("1.50")], pa.decimal128(5, 2), "integer", "1.50"),
    ([D("12345678901234567.25")], pa.decimal128(20, 2), "double", "12345678901234567.25"),
    ([1001], pa.timestamp("ns"), "timestamp_ntz", "1970-01-01 00:00:00.000001001"),
    ([dt.datetime(2020, 1, 2, 3)], pa.timestamp("us"), "date", "2020-01-02 03:00:00"),
    ([b"\xff"], pa.binary(), "string", ""),
]  # fmt: skip


@pytest.mark.parametrize(("values", "arrow", "column", "shown"), LOST)
def test_values_that_would_change_are_refused_and_shown(values: list, arrow: pa.DataType, column: str, shown) -> None:
    good = stored([None], arrow, column)
    assert good.null_count == 1
    with pytest.raises(SchemaMismatchError, match="do not fit") as caught:
        stored([None, *values, None], arrow, column)
    assert caught.value.columns == ["x"]
    assert "'x'" in str(caught.value)
    assert shown in str(caught.value)


REFUSED = [
    ([4.7], pa.float64(), "long"),
    ([4.0], pa.float32(), "integer"),
    (["4"], pa.string(), "long"),
    (["2020-01-01"], pa.string(), "date"),
    (["x"], pa.string(), "binary"),
    ([True], pa.bool_(), "integer"),
    ([1], pa.int64(), "boolean"),
    ([1], pa.int64(), "timestamp"),
    ([dt.datetime(2020, 1, 1)], pa.timestamp("us"), "timestamp"),
    ([0], pa.timestamp("us", "UTC"), "timestamp_ntz"),
    ([[1]], pa.list_(pa.int64()), "string"),
]


@pytest.mark.parametrize(("values", "arrow", "column"), REFUSED)
def test_types_that_are_refused_show_column_types_and_values(values: list, arrow: pa.DataType, column: str) -> None:
    batch = pa.record_batch([pa.array(values, arrow)], names=["x"])
    with pytest.raises(SchemaMismatchError, match="column 'x'.* cannot be stored as") as caught:
        conform(batch.schema, struct(("x", column)), sample=batch)
    assert caught.value.hint
    if not pa.types.is_nested(arrow):
        assert "for example" in str(caught.value)


@pytest.mark.bug("deltalake stores 4.7 as 4 and '4' as 4")
def test_cast_unsafe_is_asked_for() -> None:
    batch = pa.record_batch([pa.array([4.7]), pa.array(["5"])], names=["x", "y"])
    table = struct(("x", "long"), ("y", "long"))
    with pytest.raises(SchemaMismatchError):
        conform(batch.schema, table)
    assert conform(batch.schema, table, unsafe=True).apply(batch).to_pylist() == [{"x": 4, "y": 5}]


@pytest.mark.parametrize(
    ("arrow", "cast"),
    [(pa.time64("us"), "int64"), (pa.duration("us"), "int64"), (pa.decimal256(60, 2), "decimal128")],
)
def test_types_without_a_counterpart_name_the_cast(arrow: pa.DataType, cast: str) -> None:
    with pytest.raises(UnsupportedTypeError, match="'x'") as caught:
        conform(pa.schema([("x", arrow)]), struct(("x", "long")))
    assert cast in caught.value.hint
