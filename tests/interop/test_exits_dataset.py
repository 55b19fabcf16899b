"""DeltaDataset: what pyarrow, DuckDB, polars and DataFusion see of a table."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import deltalake
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from exits_tables import MIXED, UTC, data_paths, numbers, rows, watched, write_parts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import deltalite
from deltalite.exceptions import InvalidArgumentError
from deltalite.interop.dataset import DeltaDataset

F = pc.field


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("mixed") / "t", MIXED, 4, partition_by=["p"])


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers(tmp_path_factory.mktemp("counted") / "t")


@pytest.fixture
def dataset(mixed: Path) -> DeltaDataset:
    return deltalite.DeltaTable(mixed).to_pyarrow_dataset()  # type: ignore[return-value]


FILTERS = [
    F("id") > 3,
    F("id") == 99,
    ~(F("id") > 3),
    (F("id") > 2) & (F("x") < 6.0),
    (F("i") < 0) | F("s").is_null(),
    ~((F("i") < 0) | F("s").is_null()),
    F("x") > 5.0,
    F("x") <= 5.0,
    ~(F("x") > 5.0),
    ~(F("x") <= 5.0),
    F("x") != 6.0,
    ~(F("x") == 6.0),
    F("x") == math.nan,
    F("x") != math.nan,
    ~(F("x") == math.nan),
    F("x") != F("x"),
    F("x") == 0.0,
    F("x").is_nan(),
    F("x").is_null(nan_is_null=True),
    ~F("x").is_null(nan_is_null=True),
    F("x").isin([6.0, math.nan]),
    ~F("x").isin([6.0]),
    F("id").isin([1, 3, 77]),
    ~F("id").isin([1, 3, 77]),
    F("id").isin([3]),
    ~F("id").isin([3]),
    F("id").isin([1, None]),
    ~F("id").isin([1, None]),
    F("id").isin([]),
    F("s").isin(["a", "zz"]),
    F("s") >= "b",
    F("s") == "",
    pc.starts_with(F("s"), "a"),
    ~pc.starts_with(F("s"), "a"),
    pc.match_like(F("s"), "_b%"),
    pc.equal(pc.utf8_upper(F("s")), "A"),
    F("o"),
    ~F("o"),
    F("o") & (F("id") > 1),
    F("o").is_null(),
    F("o").is_valid(),
    F("d") >= dt.date(2026, 1, 6),
    F("d") == dt.date(2026, 1, 2),
    F("at") < dt.datetime(2026, 1, 1, 4, 30, 0, 123456, UTC),
    F("at") >= dt.datetime(2026, 1, 1, 4, 30, 0, 123456, UTC),
    F("m") == decimal.Decimal("1.50"),
    F("m") > decimal.Decimal("1.99"),
    F("st", "a") > 1,
    F("st").is_null(),
    F("l").is_valid(),
    F("p") == "u",
    F("p") == "x/y z",
    F("p") != "u",
    F("p").is_null(),
    ~F("p").isin(["u", "v"]),
    (F("p") == "u") & (F("id") < 2),
    F("id") + 1 == 4,
    F("id") / 2 == 1,
    F("i") == F("id"),
    F("i").cast(pa.string()) == "7",
    pc.if_else(F("id").is_valid(), F("id").isin([1, 2]), None),
    ~pc.if_else(F("id").is_valid(), F("id").isin([1, 2]), None),
    pc.coalesce(F("id"), -1) < 2,
    pc.scalar(True),
    pc.scalar(False),
    pc.scalar(None).cast(pa.bool_()),
]


@pytest.mark.parametrize("condition", FILTERS, ids=lambda e: str(e).replace("\n", "")[:70])
def test_filters_mean_what_pyarrow_means(dataset: DeltaDataset, condition: pc.Expression) -> None:
    truth = ds.InMemoryDataset(MIXED).to_table(filter=condition)
    assert rows(dataset.to_table(columns=MIXED.column_names, filter=condition)) == rows(truth)
    assert dataset.count_rows(filter=condition) == truth.num_rows
    assert dataset.filter(condition).count_rows() == truth.num_rows
    by_fragment = [
        f.to_table(dataset.schema, columns=["id", "s"], filter=condition) for f in dataset.get_fragments(condition)
    ]
    assert rows(pa.concat_tables([dataset.schema.empty_table().select(["id", "s"]), *by_fragment])) == rows(
        truth.select(["id", "s"])
    )


COLUMNS = st.sampled_from(["id", "x", "s"])
VALUES: dict[str, Any] = {
    "id": st.sampled_from([0, 1, 3, 5, 8, 9]),
    "x": st.sampled_from([-1.0, 0.0, -0.0, 2.0, 6.0, math.inf, math.nan]),
    "s": st.sampled_from(["", "a", "ab", "b", "zz", "zzz"]),
}


@st.composite
def comparisons_of_one_column(draw: Any) -> pc.Expression:
    name = draw(COLUMNS)
    kind = draw(st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "null", "valid", "in"]))
    if kind in ("null", "valid"):
        return F(name).is_null() if kind == "null" else F(name).is_valid()
    if kind == "in":
        return F(name).isin(draw(st.lists(VALUES[name], min_size=1, max_size=3)))
    value = draw(VALUES[name])
    return {
        "<": F(name) < value,
        "<=": F(name) <= value,
        ">": F(name) > value,
        ">=": F(name) >= value,
        "==": F(name) == value,
        "!=": F(name) != value,
    }[kind]


CONDITIONS = st.recursive(
    comparisons_of_one_column(),
    lambda parts: st.one_of(
        parts.map(lambda e: ~e),
        st.tuples(parts, parts).map(lambda p: p[0] & p[1]),
        st.tuples(parts, parts).map(lambda p: p[0] | p[1]),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(condition=CONDITIONS)
def test_any_filter_means_what_pyarrow_means(dataset: DeltaDataset, condition: pc.Expression) -> None:
    truth = ds.InMemoryDataset(MIXED).to_table(filter=condition)
    assert rows(dataset.to_table(columns=MIXED.column_names, filter=condition)) == rows(truth)


def test_it_is_a_dataset_of_the_table_schema(dataset: DeltaDataset, mixed: Path) -> None:
    assert isinstance(dataset, ds.Dataset)
    assert dataset.schema == deltalite.DeltaTable(mixed).schema().to_arrow()
    assert rows(dataset.to_table()) == rows(deltalake.DeltaTable(mixed).to_pyarrow_dataset().to_table())
    assert dataset.to_table().schema == dataset.schema
    assert "version=2" in repr(dataset)


@pytest.mark.parametrize("columns", [["s"], ["s", "id"], ["p", "x"], ["id", "id"], []])
def test_columns_come_in_the_order_asked_for(dataset: DeltaDataset, columns: list[str]) -> None:
    expected = ds.InMemoryDataset(MIXED).to_table(columns=columns, filter=F("i") > 0)
    found = dataset.to_table(columns=columns, filter=F("i") > 0)
    assert (found.num_rows, found.column_names) == (expected.num_rows, expected.column_names)
    if len(set(columns)) == len(columns):
        assert rows(found) == rows(expected)


def test_columns_may_be_expressions(dataset: DeltaDataset) -> None:
    columns = {
        "next": F("id") + 1,
        "part": F("p"),
        "upper": pc.utf8_upper(F("s")),
        "a": F("st", "a"),
        "one": pc.scalar(1),
    }
    expected = ds.InMemoryDataset(MIXED).to_table(columns=columns, filter=F("i") > 0)
    assert rows(dataset.to_table(columns=columns, filter=F("i") > 0)) == rows(expected)


def test_unknown_columns_are_refused(dataset: DeltaDataset) -> None:
    with pytest.raises(InvalidArgumentError, match="there is no column 'nope'"):
        dataset.scanner(columns=["nope"])
    with pytest.raises(InvalidArgumentError, match="no columns"):
        dataset.replace_schema(pa.schema([("nope", pa.int64())]))


def test_virtual_columns_can_be_read(dataset: DeltaDataset) -> None:
    found = dataset.to_table(columns=["_file", "_row_index", "id"])
    assert set(found.column("_file").to_pylist()) == {f.path for f in dataset.get_fragments()}
    assert found.column("_row_index").null_count == 0


def test_large_types_as_deltalake_has_them(mixed: Path) -> None:
    ours = deltalite.DeltaTable(mixed).to_pyarrow_dataset(as_large_types=True)
    theirs = deltalake.DeltaTable(mixed).to_pyarrow_dataset(as_large_types=True)
    assert [f.type for f in ours.schema] == [f.type for f in theirs.schema]
    assert rows(ours.to_table(filter=F("s") >= "b")) == rows(theirs.to_table(filter=F("s") >= "b"))
    assert ours.to_table().schema == ours.schema


def test_a_schema_chooses_columns_and_types(mixed: Path) -> None:
    schema = pa.schema([("s", pa.large_string()), ("i", pa.int64()), ("at", pa.timestamp("ns", "UTC"))])
    found = deltalite.DeltaTable(mixed).to_pyarrow_dataset(schema=schema)
    expected = MIXED.select(["s", "i", "at"]).cast(schema)
    assert found.schema == schema
    for condition in (None, F("i") > 4, F("s") == "zz"):
        truth = ds.InMemoryDataset(expected).to_table(filter=condition)
        assert rows(found.to_table(filter=condition)) == rows(truth)
    assert found.replace_schema(schema.remove(0)).to_table().schema == schema.remove(0)


def test_pruning_leaves_out_files_only(counted: Path) -> None:
    pruned = DeltaDataset(deltalite.DeltaTable(counted)._reading, pruning="id >= 3500")
    theirs = deltalake.DeltaTable(counted).to_pyarrow_dataset(file_pruning_predicate="id >= 3500")
    assert len(list(pruned.get_fragments())) == 1
    assert pruned.count_rows() == theirs.count_rows() == 1000
    assert rows(pruned.to_table(filter=F("id") < 3002)) == rows(theirs.to_table(filter=F("id") < 3002))


def test_partitions_choose_rows(mixed: Path) -> None:
    chosen = deltalite.DeltaTable(mixed).to_pyarrow_dataset(partitions=[("p", "=", "u")])
    assert rows(chosen.to_table(columns=["id"])) == rows(
        ds.InMemoryDataset(MIXED).to_table(["id"], filter=F("p") == "u")
    )
    assert chosen.count_rows() == chosen.to_table().num_rows


# -- the rest of the Dataset interface: no call may reach the C++ object that is not there ---------------------------


def test_head_take_and_batches(dataset: DeltaDataset) -> None:
    everything = dataset.to_table(columns=["id", "s"])
    assert dataset.head(4, columns=["id", "s"]) == everything.slice(0, 4)
    assert dataset.head(0).num_rows == 0
    assert dataset.head(99).num_rows == 9
    assert dataset.head(2, columns=["s"], filter=F("id") > 3).num_rows == 2
    assert dataset.take([0, 3]).num_rows == 2
    assert sum(batch.num_rows for batch in dataset.to_batches(batch_size=2)) == 9
    assert max(batch.num_rows for batch in dataset.to_batches(batch_size=2)) <= 2


def test_scanners_know_their_schema_and_read_later(counted: Path) -> None:
    table, store = watched(counted)
    scanner = table.to_pyarrow_dataset().scanner(columns=["text"], filter=F("id") == 7)
    assert scanner.projected_schema.names == ["text"]
    assert not store.data_files()
    assert scanner.to_reader().read_all().to_pylist() == [{"text": "row 7"}]


def test_sorting_joining_and_writing(dataset: DeltaDataset, tmp_path: Path) -> None:
    assert dataset.sort_by([("i", "descending")]).head(1).column("i").to_pylist() == [9]
    names = ds.InMemoryDataset(pa.table({"id": [1, 2], "name": ["one", "two"]}))
    flat = dataset.replace_schema(pa.schema([("id", pa.int64()), ("s", pa.string())]))
    assert flat.join(names, "id", join_type="inner").to_table().num_rows == 2
    assert flat.join(flat, "id", join_type="inner", right_suffix="_r").to_table().num_rows == 8
    timed = pa.table({"id": pa.array([1, 2], pa.int64()), "k": pa.array([1, 1], pa.int64())})
    asof = flat.replace_schema(pa.schema([("id", pa.int64())])).filter(F("id") < 3).sort_by("id")
    assert ds.InMemoryDataset(timed).join_asof(asof, on="id", by=[], tolerance=0).to_table().num_rows == 2
    ds.write_dataset(dataset, tmp_path / "copy", format="parquet")
    assert ds.dataset(tmp_path / "copy").count_rows() == 9


def test_code_that_asks_the_cpp_dataset_gets_an_error(dataset: DeltaDataset) -> None:
    """No crash of the process, and no empty table."""
    other = ds.InMemoryDataset(pa.table({"id": pa.array([1, 2], pa.int64())}))
    flat = dataset.replace_schema(other.schema)
    for use in (
        lambda: ds.dataset([flat, other]).to_table(),
        lambda: other.join(flat, "id").to_table(),
        lambda: ds.Scanner.from_dataset(flat).count_rows(),
    ):
        with pytest.raises(FileNotFoundError, match="pass its to_table"):
            use()
    assert ds.dataset([ds.InMemoryDataset(flat.to_table()), other]).count_rows() == 11


ABANDONED = """
import sys
import pyarrow.compute as pc
import deltalite
from deltalite.query import sql
table = deltalite.DeltaTable(sys.argv[1])
kept = [table.to_pyarrow_dataset().scanner().to_reader(), table.scan(), sql("from t", t=table)]
kept += [table.to_pyarrow_dataset().scanner(filter=pc.field("id") / 2 > 1).to_reader()]
for reader in kept:
    reader.read_next_batch()
dropped = table.to_pyarrow_dataset().to_batches()
next(dropped)
del dropped
assert table.to_duckdb().limit(1).fetchall()
assert table.to_polars().head(1).collect().height == 1
assert table.to_pyarrow_dataset().head(1, filter=pc.field("id") / 2 > 1).num_rows == 1
print("done")
"""


def test_a_process_ends_with_streams_half_read(counted: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ABANDONED, str(counted)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_filters_add_up_and_survive_pickling(dataset: DeltaDataset) -> None:
    narrowed = dataset.filter(F("id") > 2).filter(F("id") < 6)
    again = pickle.loads(pickle.dumps(narrowed))
    assert sorted(again.to_table(columns=["id"]).column("id").to_pylist()) == [3, 4, 5]
    assert again.schema == dataset.schema
    fragment = pickle.loads(pickle.dumps(next(iter(dataset.get_fragments()))))
    assert fragment.count_rows() == fragment.to_table().num_rows == fragment.head(99).num_rows


# -- files and row groups that a filter spares -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [F("id") == 3456, (F("id") > 3000) & F("half").is_valid(), F("text").isin(["row 3999"]) & (F("id") > 1000)],
)
def test_a_filter_reads_one_file_of_four(counted: Path, condition: pc.Expression) -> None:
    table, store = watched(counted)
    found = table.to_pyarrow_dataset().to_table(filter=condition)
    assert rows(found) == rows(ds.dataset(data_paths(counted)).to_table(filter=condition))
    assert len(store.data_files()) == 1


def test_a_filter_spares_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "t"
    table = pa.table({"id": list(range(40_000)), "text": [f"text {i}" for i in range(40_000)]})
    properties = deltalake.WriterProperties(max_row_group_size=10_000, compression="UNCOMPRESSED")
    deltalake.write_deltalake(path, table, writer_properties=properties)
    (file,) = data_paths(path)
    footer = pq.ParquetFile(file).metadata
    assert footer.num_row_groups == 4
    with open(file, "r+b") as raw:
        for group in (0, 1, 3):
            for column in range(2):
                chunk = footer.row_group(group).column(column)
                raw.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
                raw.write(b"\xff" * chunk.total_compressed_size)
    dataset = deltalite.DeltaTable(path).to_pyarrow_dataset()
    condition = (F("id") >= 25_000) & (F("id") < 25_003)
    assert dataset.to_table(filter=condition).column("id").to_pylist() == [25_000, 25_001, 25_002]
    with pytest.raises(Exception):  # noqa: B017
        dataset.to_table()


def test_head_reads_one_file(counted: Path) -> None:
    table, store = watched(counted)
    assert table.to_pyarrow_dataset().head(5).num_rows == 5
    assert len(store.data_files()) == 1


def test_counting_reads_no_file(counted: Path) -> None:
    table, store = watched(counted)
    assert table.to_pyarrow_dataset().count_rows() == 4000
    assert not store.data_files()


# -- engines ---------------------------------------------------------------------------------------------------------


def test_polars_scans_it(counted: Path) -> None:
    table, store = watched(counted)
    frame = pl.scan_pyarrow_dataset(table.to_pyarrow_dataset()).filter(pl.col("id") == 3003).select("text").collect()
    assert frame.rows() == [("row 3003",)]
    assert len(store.data_files()) == 1


def as_datafusion_reads(
    dataset: ds.Dataset, columns: list[str], filter: pc.Expression | None
) -> Iterator[pa.RecordBatch]:
    """``register_dataset``: the scanner gives the schema, the fragments give the rows."""
    schema = dataset.scanner(columns=columns, filter=filter).projected_schema
    for fragment in dataset.get_fragments(filter):
        for batch in fragment.scanner(dataset.schema, columns=columns, filter=filter, batch_size=8192).to_batches():
            assert batch.schema.equals(schema)
            yield batch


def test_fragments_give_every_row_once(dataset: DeltaDataset) -> None:
    for condition in (None, F("id") > 3, F("p") == "u"):
        found = pa.Table.from_batches(as_datafusion_reads(dataset, ["id", "p"], condition))
        assert rows(found) == rows(ds.InMemoryDataset(MIXED).to_table(["id", "p"], filter=condition))


def test_datafusion_reads_it(counted: Path, mixed: Path) -> None:
    datafusion = pytest.importorskip("datafusion")
    table, store = watched(counted)
    context = datafusion.SessionContext()
    context.register_dataset("t", table.to_pyarrow_dataset())
    found = pa.table(context.sql("select sum(id) as s, count(half) as h from t where id >= 3000"))
    assert found.to_pylist() == [{"s": sum(range(3000, 4000)), "h": 500}]
    assert len(store.data_files()) == 1
    context.register_dataset("m", deltalite.DeltaTable(mixed).to_pyarrow_dataset())
    counts = pa.table(context.sql("select count(*) as n, count(s) as s, min(at) as a from m"))
    assert counts.to_pylist()[0]["n"] == 9
    assert counts.to_pylist()[0]["s"] == 8
