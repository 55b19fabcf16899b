"""Any dataframe in: every kind of input is the same table, and streams stay streams."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_tables import struct

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.interop.input import to_reader
from deltalite.model.types import ArrayType, MapType, StructType
from deltalite.write.conform import conform

TABLE = struct(("id", "long"), ("s", "string"), ("x", "double"))
DATA = pa.table({"id": [1, 2, 3], "s": ["a", None, "c"], "x": [0.5, 1.5, None]})
ROWS = DATA.to_pylist()
COLUMNS = DATA.to_pydict()


class OnlyStream:
    def __arrow_c_stream__(self, requested_schema=None):
        return DATA.__arrow_c_stream__(requested_schema)


class OnlyArray:
    def __arrow_c_array__(self, requested_schema=None):
        return DATA.to_batches()[0].__arrow_c_array__(requested_schema)


class SparkFrame:
    def toArrow(self):
        return DATA


SparkFrame.__module__ = "pyspark.sql.dataframe"

KINDS = {
    "table": lambda: DATA,
    "batch": lambda: DATA.to_batches()[0],
    "reader": DATA.to_reader,
    "dataset": lambda: ds.dataset(DATA),
    "scanner": lambda: ds.dataset(DATA).scanner(),
    "capsule stream": OnlyStream,
    "capsule array": OnlyArray,
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas of objects": lambda: pd.DataFrame(COLUMNS, dtype=object),
    "pandas on arrow": lambda: pl.from_arrow(DATA).to_pandas(use_pyarrow_extension_array=True),
    "polars": lambda: pl.from_arrow(DATA),
    "polars lazy": lambda: pl.from_arrow(DATA).lazy(),
    "duckdb": lambda: duckdb.sql("SELECT * FROM VALUES (1, 'a', 0.5e0), (2, NULL, 1.5e0), (3, 'c', NULL) t(id, s, x)"),
    "spark": SparkFrame,
    "list of batches": lambda: DATA.to_batches(max_chunksize=1),
    "generator of batches": lambda: iter(DATA.to_batches(max_chunksize=2)),
    "list of tables": lambda: [DATA.slice(0, 1), DATA.slice(1)],
    "generator of polars": lambda: iter(pl.from_arrow(DATA).iter_slices(2)),
    "dict of lists": lambda: COLUMNS,
    "dict of arrays": lambda: {"id": np.array([1, 2, 3]), "s": pa.array(COLUMNS["s"]), "x": pl.Series(COLUMNS["x"])},
    "dict of ranges": lambda: {"id": range(1, 4), "s": ("a", None, "c"), "x": pd.Series([0.5, 1.5, None])},
    "list of dicts": lambda: ROWS,
    "generator of dicts": lambda: (row for row in ROWS),
    "dicts that lack keys": lambda: [{"id": 1, "s": "a", "x": 0.5}, {"id": 2, "x": 1.5}, {"s": "c", "id": 3}],
}  # fmt: skip


def fitted(data, table=TABLE) -> list[dict]:
    reader = to_reader(data, schema=table)
    assert isinstance(reader, pa.RecordBatchReader)
    plan = conform(reader.schema, table)
    return [row for batch in reader for row in plan.apply(batch).to_pylist()]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_is_the_same_table(kind: str) -> None:
    assert fitted(KINDS[kind]()) == ROWS
    assert to_reader(KINDS[kind]()).schema.names == ["id", "s", "x"]


@pytest.mark.parametrize(
    "name", ["t.parquet", "t.csv", "t.tsv", "t.json", "t.ndjson", "t.arrow", "t.feather", "t.arrows"]
)
def test_files_are_read_by_their_ending(tmp_path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(DATA, path)
    elif name.endswith(("csv", "tsv")):
        separator = "," if name.endswith("csv") else "\t"
        path.write_text("\n".join(separator.join(row) for row in (["id", "s", "x"], ["1", "a", "0.5"], ["2", "", "1.5"],
                                                                  ["3", "c", ""])))  # fmt: skip
    elif name.endswith("json"):
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif name == "t.arrows":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, DATA.schema) as writer:
            writer.write_table(DATA)
    else:
        pyarrow.feather.write_feather(DATA, path, compression="uncompressed")
    assert fitted(path) == ROWS
    assert fitted(str(path)) == ROWS


def test_the_tables_types_are_for_text_files(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("ID,d,t\n1,1.50,2020-01-01T00:00:00Z\n007,2,\n")
    table = struct(("id", "string"), ("d", "decimal(10,2)"), ("t", "timestamp"))
    rows = fitted(tmp_path / "t.csv", table)
    assert [(r["id"], r["d"]) for r in rows] == [("1", Decimal("1.50")), ("007", Decimal("2.00"))]
    (tmp_path / "t.json").write_text('{"d": "1.50"}\n{"d": null}\n')
    assert [r["d"] for r in fitted(tmp_path / "t.json", table)] == [Decimal("1.50"), None]
    with_default = struct(("d", "decimal(10,2)"), ("t", "timestamp"))
    with_default = StructType([f.with_(metadata={"CURRENT_DEFAULT": "now()"}) if f.name == "t" else f for f in with_default.fields])
    names = to_reader(tmp_path / "t.json", schema=with_default).schema.names
    assert names == ["d"], "columns that a file lacks stay absent, for their defaults"


def test_text_of_a_csv_is_the_text_that_is_there(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("s,n\nNA,1\nnull,2\nNaN,3\n,4\n")
    rows = fitted(tmp_path / "t.csv", struct(("s", "string"), ("n", "long")))
    assert [r["s"] for r in rows][:3] == ["NA", "null", "NaN"]
    (tmp_path / "hex.csv").write_text("n\n0x1f\n")
    with pytest.raises(SchemaMismatchError, match="0x1f"):
        fitted(tmp_path / "hex.csv", struct(("n", "long")))


def test_a_text_file_that_breaks_later_says_where(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("id\n" + "1\n" * 400_000 + "x\n")
    with pytest.raises(SchemaMismatchError, match=r"t\.csv.*'x'"):
        fitted(tmp_path / "t.csv", struct(("id", "long")))


@pytest.mark.parametrize(
    "data", [None, 5, b"bytes", "no-such-kind", "missing.csv", [1, 2], {"id": 5}, {"id": "text"}, pa.array([1])]
)
def test_anything_else_is_refused_with_what_is_accepted(data) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        to_reader(data)
    assert caught.value.hint


def test_streams_are_not_collected() -> None:
    pulled = []

    def batches():
        for i in range(1000):
            pulled.append(i)
            yield pa.record_batch([pa.array([i])], names=["id"])

    reader = to_reader(batches())
    assert len(pulled) == 1, "one, to learn the columns"
    reader.read_next_batch()
    assert len(pulled) <= 2
    rows = ({"id": i} for i in itertools_count(pulled))
    pulled.clear()
    to_reader(rows).read_next_batch()
    assert len(pulled) < 50_000


def itertools_count(pulled: list):
    for i in range(200_000):
        pulled.append(i)
        yield i


def test_an_error_of_the_source_passes_through() -> None:
    def batches():
        yield DATA.to_batches()[0]
        raise ZeroDivisionError("of the source")

    with pytest.raises(ZeroDivisionError, match="of the source"):
        to_reader(batches()).read_all()


def test_parts_with_different_columns_are_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="part 2"):
        to_reader([DATA, DATA.select(["id"])]).read_all()
    with pytest.raises(SchemaMismatchError, match="key 'new'"):
        to_reader([{"id": i} for i in range(20_000)] + [{"new": 1}]).read_all()


# -- pandas ------------------------------------------------------------------------------------------------------------


def test_a_pandas_index_is_kept_only_where_the_table_has_its_name() -> None:
    frame = pd.DataFrame({"s": ["a", "b"]}, index=[7, 8])
    assert to_reader(frame, schema=TABLE).schema.names == ["s"]
    frame.index.name = "id"
    assert fitted(frame) == [{"id": 7, "s": "a", "x": None}, {"id": 8, "s": "b", "x": None}]
    assert to_reader(frame).schema.names == ["s"], "a new table has no such column"
    two = frame.set_index(pd.MultiIndex.from_tuples([(7, "u"), (8, "v")], names=["id", "other"]))
    assert to_reader(two, schema=TABLE).schema.names == ["id", "s"]


def test_pandas_values_become_what_they_are() -> None:
    frame = pd.DataFrame(
        {
            "category": pd.Categorical(["a", None, "a"]),
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "nan": [1.0, float("nan"), 3.0],
            "when": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "decimal": [Decimal("1.5"), None, Decimal("2.25")],
            3: [True, False, True],
        }
    )
    found = to_reader(frame).read_all().to_pylist()
    assert found[1] == {"category": None, "nullable": None, "nan": None, "when": None, "decimal": None, "3": False}
    assert found[2]["category"] == "a" and found[2]["nullable"] == 3 and found[2]["decimal"] == Decimal("2.25")


def test_a_large_frame_is_converted_in_slices() -> None:
    frame = pd.DataFrame({"id": range(50_000), "o": pd.Series([Decimal(i) for i in range(50_000)], dtype=object)})
    reader = to_reader(frame)
    sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 50_000 and len(sizes) > 2


# -- Python values -----------------------------------------------------------------------------------------------------

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.text(max_size=3))


@settings(deadline=None, max_examples=200)
@given(
    st.lists(VALUES, min_size=1, max_size=6),
    st.sampled_from(["long", "byte", "double", "string", "decimal(5,1)", "boolean"]),
)
def test_values_are_stored_as_they_are_or_refused(values: list, kind: str) -> None:
    """Never 4.7 as 4 or True as 1, in whatever way the rows are given."""
    for data in ({"v": values}, [{"v": v} for v in values], pd.DataFrame({"v": pd.Series(values, dtype=object)})):
        try:
            found = [row["v"] for row in fitted(data, struct(("v", kind)))]
        except SchemaMismatchError:
            continue
        for given_value, stored in zip(values, found, strict=True):
            if given_value is None or stored is None:
                assert given_value is stored
            elif kind == "string":
                assert stored == given_value or not isinstance(given_value, str)
            else:
                assert float(stored) == given_value and isinstance(given_value, bool) == (kind == "boolean")


def test_the_table_tells_maps_from_structs() -> None:
    table = struct(("m", MapType("string", "long")), ("l", ArrayType(MapType("string", "long"))))
    rows = [{"m": {"a": 1, "b": None}, "l": [{"x": 1}, None, {}]}, {"m": None, "l": None}, {"m": {}, "l": []}]
    expected = [
        {"m": [("a", 1), ("b", None)], "l": [[("x", 1)], None, []]}, {"m": None, "l": None}, {"m": [], "l": []}
    ]  # fmt: skip
    assert fitted(rows, table) == expected
    assert fitted({"m": [r["m"] for r in rows], "l": [r["l"] for r in rows]}, table) == expected
    with pytest.raises(SchemaMismatchError):
        fitted([{"m": {"a": 4.7}}], table)


def test_times_without_a_zone_are_not_taken_for_utc() -> None:
    table = struct(("t", "timestamp"), ("n", "timestamp_ntz"))
    with pytest.raises(SchemaMismatchError, match="time zone|timestamp"):
        fitted([{"t": dt.datetime(2020, 1, 1)}], table)
    aware = dt.datetime(2020, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    (row,) = fitted([{"t": aware, "n": dt.datetime(2020, 1, 1)}], table)
    assert row["t"] == aware and row["n"] == dt.datetime(2020, 1, 1)


def test_later_rows_may_be_wider_only_where_the_table_is() -> None:
    rows = [{"v": 1}] * 16_384 + [{"v": 1.5}]
    assert fitted(rows, struct(("v", "double")))[-1] == {"v": 1.5}
    with pytest.raises(SchemaMismatchError, match="'v'"):
        fitted(rows, struct(("v", "long")))
    nothing_first = [{"v": None}] * 16_384 + [{"v": "x"}]
    assert fitted(nothing_first, struct(("v", "string")))[-1] == {"v": "x"}


def test_arrow_input_imports_neither_pandas_nor_dataset() -> None:
    code = """
import sys, pyarrow as pa
from deltalite.interop.input import to_reader
from deltalite.model.arrow import array
from deltalite.model.types import Field, StructType
from deltalite.model.write_spec import WriteSpec
from deltalite.storage.memory import MemoryStore
from deltalite.write.files import write_files
fields = [Field("id", "long"), Field("t", "timestamp"), Field("d", "decimal(5,2)"), Field("f", "double"),
          Field("p", "date"), Field("s", "string")]
schema = StructType(fields)
columns = [array([1, 2, None], pa.int32()), array([0, 1, 2], pa.timestamp("ms", "Europe/Paris")),
           array([5, 6, 7], pa.int64()), array([1.5, None, 2.5], pa.float32()), array([1, 2, 3], pa.date32()),
           array(["a", "b" * 9000, None], pa.large_string())]
batch = pa.RecordBatch.from_arrays(columns, names=[f.name for f in fields])
spec = WriteSpec(schema, schema, ("p",), stats_columns=tuple((f.name,) for f in fields if f.name != "p"))
assert len(write_files(MemoryStore("memory://x"), spec, to_reader(batch, schema=schema))) == 3
print([m for m in ("pandas", "pyarrow.dataset", "polars", "duckdb") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("text", ["null\n", 'null\n{"a": 1}\n', '{"a": 1}\n\n  null\n'])
def test_a_null_line_of_json_ends_in_an_error_and_not_in_a_crash(tmp_path, text):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises((InvalidArgumentError, SchemaMismatchError, pa.ArrowInvalid)):
        to_reader(path).read_all()
