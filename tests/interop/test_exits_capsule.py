"""The Arrow capsule: whoever takes a stream takes a table, and opening one reads nothing."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from exits_tables import MIXED, WatchedStore, numbers, rows, watched, write_parts
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal

import deltalite
from deltalite.log.read import read_snapshot
from deltalite.storage import open_store


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("mixed") / "t", MIXED, 1)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers(tmp_path_factory.mktemp("counted") / "t")


def test_pyarrow_takes_a_table(mixed: Path) -> None:
    table = deltalite.DeltaTable(mixed)
    assert rows(pa.table(table)) == rows(MIXED)
    assert pa.table(table).schema == pa.schema(table) == table.schema().to_arrow()
    assert rows(pa.RecordBatchReader.from_stream(table)) == rows(MIXED)


def test_polars_takes_a_table(mixed: Path) -> None:
    assert_polars_equal(pl.DataFrame(deltalite.DeltaTable(mixed)), pl.DataFrame(MIXED))


def test_pandas_takes_a_table(mixed: Path) -> None:
    if not hasattr(pd.DataFrame, "from_arrow"):
        pytest.skip("this pandas has no DataFrame.from_arrow")
    assert_frame_equal(pd.DataFrame.from_arrow(deltalite.DeltaTable(mixed)), pd.DataFrame.from_arrow(MIXED))


def test_duckdb_takes_a_table(mixed: Path) -> None:
    dt = deltalite.DeltaTable(mixed)
    assert duckdb.sql("select count(*), sum(id), count(distinct p) from dt").fetchall() == [(9, 36, 4)]
    connection = duckdb.connect()
    connection.register("t", dt)
    for _ in range(1 if duckdb.__version__ < "2" else 2):  # an older one opens a registered stream once
        assert connection.execute("select s from t where id = 2").fetchall() == [("b",)]


def test_opening_a_stream_reads_nothing(counted: Path) -> None:
    table, store = watched(counted)
    table.__arrow_c_schema__()
    reader = pa.RecordBatchReader.from_stream(table)
    assert reader.schema == table.schema().to_arrow()
    scan = table.scan(["text"], "id > 5")
    assert not store.data_files()
    assert reader.read_next_batch().num_rows > 0
    assert scan.read_next_batch().schema.names == ["text"]
    assert store.data_files()


def test_opening_a_stream_asks_the_store_for_nothing(counted: Path) -> None:
    store = WatchedStore(open_store(counted))
    table = deltalite.DeltaTable._of(store, read_snapshot(store), None, ())
    before = len(store.calls)
    table.__arrow_c_schema__()
    stream = pa.RecordBatchReader.from_stream(table)
    assert len(store.calls) == before
    assert stream.read_all().num_rows == 4000


def test_frames_and_datasets_are_made_without_the_list_of_files(counted: Path) -> None:
    table = deltalite.DeltaTable(counted)
    before = table._snapshot.files._state
    dataset = table.to_pyarrow_dataset()
    dataset.scanner(columns=["text"], filter=pc.field("id") > 5)
    table.to_polars().filter(pl.col("id") > 5).collect_schema()
    table.to_duckdb()
    assert before is None
    assert table._snapshot.files._state is None
    assert dataset.count_rows() == 4000


def test_duckdb_reads_only_as_often_as_it_must(counted: Path) -> None:
    dt, store = watched(counted)
    duckdb.sql("select max(id) from dt").fetchall()
    reads = [call for call in store.calls if call.path.endswith(".parquet")]
    assert len(store.data_files()) == 4
    assert len(reads) <= 3 * 4


def test_a_requested_schema_is_kept_where_pyarrow_can(mixed: Path) -> None:
    wanted = pa.schema([(f.name, pa.large_string() if pa.types.is_string(f.type) else f.type) for f in MIXED.schema])
    plain = ["id", "s"]
    table = deltalite.DeltaTable(mixed)
    stream = table.scan(plain)
    found = pa.RecordBatchReader.from_stream(stream, schema=pa.schema([wanted.field(name) for name in plain]))
    assert found.read_all().schema.field("s").type == pa.large_string()
