"""CONVERT: folders of Parquet files of many writers become tables that everybody reads with the same rows."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite import DeltaTable, Schema, convert_to_deltalake
from deltalite.exceptions import (
    InvalidArgumentError,
    InvalidTableError,
    SchemaMismatchError,
    TableExistsError,
    TableNotFoundError,
    UnsupportedTypeError,
)


def put(root: Path, path: str, data: pa.Table | dict[str, Any], **options: Any) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data if isinstance(data, pa.Table) else pa.table(data), root / path, **options)


def log(root: Path, kind: str) -> list[dict[str, Any]]:
    lines = (root / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    return [json.loads(line)[kind] for line in lines if kind in json.loads(line)]


def rows(table: Any) -> list[str]:
    return sorted(map(repr, table.to_pyarrow_table().to_pylist()))


def test_a_flat_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", {"n": [1, 2, None], "s": ["x", None, "z"]})
    put(tmp_path, "b/c.parquet", {"n": [9]})
    put(tmp_path, "_hidden/x.parquet", {"other": [1]})
    put(tmp_path, ".hidden.parquet", {"other": [1]})
    put(tmp_path, "_SUCCESS.parquet", {"other": [1]})
    (tmp_path / "notes.txt").write_text("no data")
    seen: list[tuple[int, int]] = []
    result = convert_to_deltalake(tmp_path, name="n", description="d", progress=lambda *at: seen.append(at))
    assert (result.version, result.operation, result["numConvertedFiles"]) == (0, "CONVERT", 2)
    assert seen == [(2, 2)]
    table = DeltaTable(tmp_path)
    assert rows(table) == rows(deltalake.DeltaTable(tmp_path)) and table.count() == 4
    assert table.metadata().name == "n" and table.metadata().description == "d"
    (stats,) = [json.loads(add["stats"]) for add in log(tmp_path, "add") if add["path"] == "a.parquet"]
    assert stats == {
        "numRecords": 3, "minValues": {"n": 1, "s": "x"}, "maxValues": {"n": 2, "s": "z"},
        "nullCount": {"n": 1, "s": 1}, "tightBounds": True,
    }


def test_modes(tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError):
        convert_to_deltalake(tmp_path)
    put(tmp_path, "a.parquet", {"n": [1]})
    convert_to_deltalake(tmp_path)
    with pytest.raises(TableExistsError):
        convert_to_deltalake(tmp_path)
    assert convert_to_deltalake(tmp_path, mode="ignore").skipped == "the table exists"
    with pytest.raises(InvalidArgumentError):
        convert_to_deltalake(tmp_path, mode="append")


@pytest.mark.parametrize("partition_by", [None, ["y", "d", "k"], "y int, d string, k string", Schema.from_arrow(
    pa.schema([("k", pa.string()), ("y", pa.int32()), ("d", pa.date32())]))], ids=["found", "names", "ddl", "schema"])
def test_hive_partitions(tmp_path: Path, partition_by: Any) -> None:
    odd = "a%2Fb c%25"
    put(tmp_path, f"y=7/d=2026-11-20/k={odd}/a.parquet", {"n": [1]})
    put(tmp_path, "y=-12/d=2020-02-29/k=__HIVE_DEFAULT_PARTITION__/b.parquet", {"n": [2]})
    convert_to_deltalake(tmp_path, partition_by=partition_by)
    table = DeltaTable(tmp_path)
    y, d = table.schema().get("y"), table.schema().get("d")
    assert y is not None and d is not None
    kinds = ("integer", "string") if isinstance(partition_by, str) else ("integer", "date") if isinstance(partition_by, Schema) else ("long", "date")
    assert (y.type.type, d.type.type) == kinds
    found = {r["n"]: r for r in table.to_pyarrow_table().to_pylist()}
    assert (found[1]["k"], found[2]["k"], found[1]["y"], found[2]["y"]) == ("a/b c%", None, 7, -12)
    assert found[2]["d"] == ("2020-02-29" if isinstance(partition_by, str) else dt.date(2020, 2, 29))
    assert table.metadata().partition_columns == ["y", "d", "k"]
    assert rows(deltalake.DeltaTable(tmp_path)) == rows(table)
    table.append(pa.table({"n": [3], "y": [8], "d": ["2020-01-01"], "k": ["q"]}), cast="unsafe")
    assert DeltaTable(tmp_path).count("k = 'q'") == 1


def test_values_that_a_number_would_change_stay_text(tmp_path: Path) -> None:
    for text in ("007", "1"):
        put(tmp_path, f"zip={text}/day=2026-1-5/big=123456789012345678901/a.parquet", {"n": [1]})
    convert_to_deltalake(tmp_path)
    assert {f.name: f.type.type for f in DeltaTable(tmp_path).schema().fields} == {
        "n": "long", "zip": "string", "day": "string", "big": "string"}
    assert DeltaTable(tmp_path).count("zip = '007'") == 1


def test_directories_without_names(tmp_path: Path) -> None:
    put(tmp_path, "2026/x/a.parquet", {"n": [1]})
    put(tmp_path, "2027/y/b.parquet", {"n": [2]})
    with pytest.raises(InvalidArgumentError):
        convert_to_deltalake(tmp_path, partition_strategy="directory")
    with pytest.raises(InvalidArgumentError, match="2 directories deep"):
        convert_to_deltalake(tmp_path, partition_by=["y"], partition_strategy="directory")
    convert_to_deltalake(tmp_path, partition_by=["y", "k"], partition_strategy="directory")
    assert DeltaTable(tmp_path).count("y = 2026 and k = 'x'") == 1


@pytest.mark.parametrize("paths, words", [
    (["a=1/x.parquet", "b=1/y.parquet"], "is partitioned by"),
    (["a=1/x.parquet", "y.parquet"], "is partitioned by"),
    (["a=1/z/x.parquet"], "no partition of the form"),
    (["a=1/A=2/x.parquet"], "twice"),
])
def test_directories_that_contradict(tmp_path: Path, paths: list[str], words: str) -> None:
    for path in paths:
        put(tmp_path, path, {"n": [1]})
    with pytest.raises(InvalidArgumentError, match=words):
        convert_to_deltalake(tmp_path)
    assert not (tmp_path / "_delta_log").exists()


def test_values_that_are_not_of_the_declared_type(tmp_path: Path) -> None:
    put(tmp_path, "a=x/x.parquet", {"n": [1]})
    with pytest.raises(InvalidArgumentError, match="a=x/x.parquet"):
        convert_to_deltalake(tmp_path, partition_by="a bigint")
    with pytest.raises(InvalidArgumentError, match="partition_by names"):
        convert_to_deltalake(tmp_path, partition_by=["b"])


def test_schemas_are_merged(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", {"n": [1], "s": [{"x": 1}]})
    put(tmp_path, "b.parquet", pa.table({"s": [{"y": "q", "x": 2}], "m": [[1.5]], "v": pa.nulls(1)}))
    put(tmp_path, "c.parquet", {"v": ["now a text"]})
    convert_to_deltalake(tmp_path)
    table = DeltaTable(tmp_path)
    assert table.schema().names == ["n", "s", "m", "v"]
    assert rows(table) == sorted(map(repr, [
        {"n": 1, "s": {"x": 1, "y": None}, "m": None, "v": None},
        {"n": None, "s": {"x": 2, "y": "q"}, "m": [1.5], "v": None},
        {"n": None, "s": None, "m": None, "v": "now a text"},
    ]))


@pytest.mark.parametrize("other", [pa.table({"n": pa.array([1], pa.int32())}), pa.table({"n": ["x"]}), pa.table({"N": [1]})])
def test_two_files_that_contradict_are_named(tmp_path: Path, other: pa.Table) -> None:
    put(tmp_path, "a.parquet", {"n": [1]})
    put(tmp_path, "z.parquet", other)
    with pytest.raises(SchemaMismatchError, match=r"a\.parquet.*z\.parquet"):
        convert_to_deltalake(tmp_path)
    assert not (tmp_path / "_delta_log").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", {"n": [1]})
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(InvalidTableError, match=r"b\.parquet"):
        convert_to_deltalake(tmp_path)
    put(tmp_path, "b.parquet", {"t": pa.array([1], pa.time64("us"))})
    with pytest.raises(UnsupportedTypeError, match=r"b\.parquet"):
        convert_to_deltalake(tmp_path)


@pytest.mark.trap(1)
def test_trap_01_paths_are_encoded_once(tmp_path: Path) -> None:
    for name in ("a b%20c#d.parquet", "k=x%2Fy%25/ü.parquet"[:0] or "e+f.parquet"):
        put(tmp_path, name, {"n": [1]})
    convert_to_deltalake(tmp_path)
    assert sorted(add["path"] for add in log(tmp_path, "add")) == ["a%20b%2520c%23d.parquet", "e+f.parquet"]
    assert DeltaTable(tmp_path).to_pyarrow_table().num_rows == 2
    assert deltalake.DeltaTable(tmp_path).to_pyarrow_table().num_rows == 2


def test_partition_columns_in_files_too_give_way(tmp_path: Path) -> None:
    put(tmp_path, "p=1/a.parquet", {"p": ["wrong"], "n": [1]})
    convert_to_deltalake(tmp_path)
    assert DeltaTable(tmp_path).to_pyarrow_table().to_pylist() == [{"n": 1, "p": 1}]


def test_int96_are_instants(tmp_path: Path) -> None:
    when = dt.datetime(2026, 11, 20, 1, 2, 3)
    put(tmp_path, "a.parquet", {"t": pa.array([when], pa.timestamp("ns")), "l": [[when]]}, use_deprecated_int96_timestamps=True)
    convert_to_deltalake(tmp_path)
    table = DeltaTable(tmp_path)
    t = table.schema().get("t")
    assert t is not None and t.type.type == "timestamp"
    assert table.to_pyarrow_table().to_pylist()[0]["t"] == when.replace(tzinfo=dt.timezone.utc)
    assert "minValues\":{}" in log(tmp_path, "add")[0]["stats"]


def test_column_mapping_keeps_the_names_of_the_files(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", {"odd, name": [1], "s": [{"x y": 2}]})
    with pytest.raises(InvalidArgumentError, match="columnMapping"):
        convert_to_deltalake(tmp_path)
    convert_to_deltalake(tmp_path, configuration={"delta.columnMapping.mode": "name"})
    table = DeltaTable(tmp_path)
    assert rows(table) == [repr({"odd, name": 1, "s": {"x y": 2}})]
    table.alter.rename_column("odd, name", "n")
    table.append(pa.table({"n": [5], "s": [{"x y": 6}]}))
    assert DeltaTable(tmp_path).count("n = 1") == 1 and DeltaTable(tmp_path).count() == 2


def test_properties_that_need_rows_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "a.parquet", {"n": [1]})
    with pytest.raises(InvalidArgumentError, match="reads no rows"):
        convert_to_deltalake(tmp_path, configuration={"delta.constraints.c": "n > 5"})
    convert_to_deltalake(tmp_path, configuration={"delta.enableRowTracking": "true"}, collect_stats=False)
    assert DeltaTable(tmp_path).scan(["_row_id"]).read_all().to_pylist() == [{"_row_id": 0}]


MOMENTS = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30))
COLUMNS = {
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "byte": (pa.int8(), st.integers(-128, 127)),
    "unsigned": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "double": (pa.float64(), st.floats()),
    "text": (pa.string(), st.text(st.characters(codec="utf-8"), max_size=50)),
    "day": (pa.date32(), st.dates()),
    "moment": (pa.timestamp("us", "UTC"), MOMENTS.map(lambda m: m.replace(tzinfo=dt.timezone.utc))),
    "local": (pa.timestamp("ms"), MOMENTS.map(lambda m: m.replace(microsecond=0))),
    "money": (pa.decimal128(20, 2), st.decimals(-(10**17), 10**17, places=2)),
    "small": (pa.decimal128(5, 1), st.decimals(-999, 999, places=1)),
    "flag": (pa.bool_(), st.booleans()),
}


@pytest.mark.trap(42)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.sampled_from(sorted(COLUMNS)), st.booleans())
def test_footers_never_make_a_scan_miss_a_row(data: st.DataObject, name: str, old: bool) -> None:
    """Bounds of the log contain every value (NaN above all), and predicates on each value find it."""
    kind, values = COLUMNS[name]
    column = data.draw(st.lists(st.none() | values, min_size=1, max_size=8))
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        put(root, "a.parquet", pa.table({"c": pa.array(column, kind)}), row_group_size=3, version="1.0" if old else "2.6")
        convert_to_deltalake(root, storage_options={"durability": "relaxed"})
        table = DeltaTable(root)
        stats = json.loads(log(root, "add")[0]["stats"], parse_float=decimal.Decimal)
        if "c" in stats["nullCount"]:
            assert stats["nullCount"]["c"] == column.count(None)
        if name in ("double",) and any(v is not None and math.isnan(v) for v in column):
            assert "c" not in stats["maxValues"]
        there = table.to_pyarrow_table().column("c")
        assert there.null_count == column.count(None)
        seen = table.explain("c is null").column("kept").to_pylist()
        assert seen == [None in column] or seen == [True]
        if name in ("long", "byte", "money", "small", "day", "text", "double"):
            for value in {v for v in column if v is not None}:
                from deltalite import col

                assert table.count(col("c") == value) >= 1, value


def test_deltalake_converts_to_the_same_rows(tmp_path: Path) -> None:
    for place in ("ours", "theirs"):
        for year in (1, 2):
            put(tmp_path / place, f"year={year}/a.parquet", {"n": [year], "s": ["x"]})
    convert_to_deltalake(tmp_path / "ours")
    deltalake.convert_to_deltalake(
        tmp_path / "theirs", partition_by=deltalake.Schema([deltalake.Field("year", "long")]), partition_strategy="hive"
    )
    assert rows(DeltaTable(tmp_path / "ours")) == rows(DeltaTable(tmp_path / "theirs")) == rows(deltalake.DeltaTable(tmp_path / "ours"))
