"""to_duckdb, sql() and QueryBuilder: answers of DuckDB over our scan."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from exits_tables import MIXED, numbers, python_rows, rows, watched, write_parts

import deltalite
from deltalite.exceptions import DeltaError, ExpressionError, InvalidArgumentError, StorageError
from deltalite.query import QueryBuilder, sql
from deltalite.testing.faults import FaultyStore


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parts(tmp_path_factory.mktemp("mixed") / "t", MIXED, 4, partition_by=["p"])


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbers(tmp_path_factory.mktemp("counted") / "t")


CONDITIONS = [
    "id > 3",
    "not (id > 3)",
    "id in (1, 3, 77)",
    "id not in (1, 3)",
    "id in (3) or s is null",
    "id = 1 or x < 0.5",
    "i between 3 and 7",
    "x < 5",
    "x <= 5",
    "x = 6",
    "x = 0",
    "not (x < 5)",
    "x is null",
    "s is null",
    "s is not null and s <> 'a'",
    "s >= 'b'",
    "s like 'a%'",
    "s is distinct from 'a'",
    "o",
    "not o",
    "o is null",
    "d >= date '2026-01-06'",
    "t.at < timestamptz '2026-01-01 04:30:00.123456+00'",
    "t.at >= timestamptz '2026-01-01 04:30:00.123456+00'",
    "m = 1.50",
    "m > 1.999",
    "st.a > 1",
    "st is null",
    "l[1] = 'p'",
    "p = 'u'",
    "p = 'x/y z'",
    "p <> 'u'",
    "p is null",
    "id + 1 = 4",
    "i = id",
    "upper(s) = 'A'",
    "id = (select max(id) from t)",
    "false",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_mean_what_duckdb_means(mixed: Path, condition: str) -> None:
    truth = duckdb.connect()
    truth.register("source", MIXED)
    truth.execute("create table t as from source")
    query = f"select id, x, s, d, m, p, st, l from t where {condition}"
    found = sql(query, t=deltalite.DeltaTable(mixed)).read_all()
    assert rows(found) == rows(truth.sql(query).to_arrow_table())


@pytest.mark.parametrize("condition", ["x > 5", "x >= 5", "x <> 6", "x = 'nan'::double", "not (x <= 5)"])
def test_nan_is_above_every_number(mixed: Path, condition: str) -> None:
    test_conditions_mean_what_duckdb_means(mixed, condition)


def test_a_relation_of_its_own(mixed: Path) -> None:
    relation = deltalite.DeltaTable(mixed).to_duckdb()
    gc.collect()
    assert relation.aggregate("count(*), count(s)").fetchall() == [(9, 8)]
    assert (
        relation.filter("id > 3 and id < 6").project("s").fetchall()
        == relation.filter("id in (4, 5)").project("s").fetchall()
    )
    derived = deltalite.DeltaTable(mixed).to_duckdb(name="mine").filter("mine.id = 2").project("s")
    gc.collect()
    assert derived.fetchall() == [("b",)]


def test_a_view_in_a_connection(mixed: Path, counted: Path) -> None:
    connection = duckdb.connect()
    relation = deltalite.DeltaTable(mixed).to_duckdb(connection, "mixed")
    deltalite.DeltaTable(counted).to_duckdb(connection, "Counted")
    assert relation.aggregate("count(*)").fetchall() == [(9,)]
    found = connection.execute("select count(*) from mixed join COUNTED using (id)").fetchall()
    assert found == [(8,)]
    assert deltalite.DeltaTable(counted).to_duckdb(connection).limit(3).fetchall() == [
        (0, 0.0, "row 0"),
        (1, None, "row 1"),
        (2, 1.0, "row 2"),
    ]


def test_dropped_streams_leave_nothing_hanging(counted: Path) -> None:
    table = deltalite.DeltaTable(counted)
    for _ in range(10):
        reader = sql("select * from t", t=table)
        reader.read_next_batch()
        del reader
        assert table.to_duckdb().limit(1).fetchall()


@pytest.mark.parametrize(
    "condition",
    ["id = 3456", "id > 3998", "text = 'row 3999' and id > 1000", "id in (3001, 3002)", "id + 1 = 3457 and id > 3000"],
)
def test_a_condition_reads_one_file_of_four(counted: Path, condition: str) -> None:
    table, store = watched(counted)
    assert sql(f"select count(*) as n from t where {condition}", t=table).read_all().column("n")[0].as_py() > 0
    assert len(store.data_files()) == 1


def test_nothing_is_read_for_a_plan(counted: Path) -> None:
    table, store = watched(counted)
    table.to_duckdb().filter("id > 3").project("text")
    sql("explain select * from t", t=table).read_all()
    assert not store.data_files()


def test_types_come_through(mixed: Path) -> None:
    found = sql("from t", {"T": deltalite.DeltaTable(mixed)}).read_all()
    plain = ["id", "i", "x", "s", "o", "d", "at", "m", "p"]
    assert [f.type for f in found.select(plain).schema] == [f.type for f in MIXED.select(plain).schema]
    assert rows(found) == rows(MIXED)


# -- sql() -----------------------------------------------------------------------------------------------------------


def test_names_ignore_case(mixed: Path) -> None:
    table = deltalite.DeltaTable(mixed)
    for name in ("t", "T", '"T"', '"t"'):
        assert sql(f"select count(*) as n from {name}", T=table).read_all().to_pylist() == [{"n": 9}]
    with pytest.raises(InvalidArgumentError, match="two tables"):
        sql("from t", {"T": table}, t=table)


def test_tables_by_path_handle_and_frame(mixed: Path, counted: Path) -> None:
    small = pa.table({"id": [3, 4], "label": ["three", "four"]})
    query = "select label, text, s from small join c using (id) join m using (id) order by id"
    found = sql(query, {"m": str(mixed), "c": counted}, small=small).read_all()
    assert found.to_pylist() == [
        {"label": "three", "text": "row 3", "s": None},
        {"label": "four", "text": "row 4", "s": "ab"},
    ]


def test_quoted_places_are_tables(counted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count(place: str) -> int:
        return sql(f"select count(*) as n from {place}").read_all().column("n")[0].as_py()

    assert count(f"'{counted}'") == 4000
    assert [count(f"'{counted}@v{version}'") for version in range(4)] == [1000, 2000, 3000, 4000]
    assert count(f"'{counted}@1' where id < 5") == 5
    assert count(f"(select * from \"{counted}@v0\") a join '{counted}@v2' b using (id)") == 1000
    monkeypatch.chdir(counted.parent)
    assert count("'t@v0'") == 1000
    with pytest.raises(ExpressionError, match="not exist|No files"):
        count("'nowhere/at/all'")
    with pytest.raises(ExpressionError, match="does not exist"):
        count("t")


def test_variables_of_the_program_are_no_tables(mixed: Path) -> None:
    query = tables = small = pa.table({"a": [1]})  # noqa: F841
    for name in ("query", "tables", "small", "named"):
        with pytest.raises(ExpressionError, match="does not exist"):
            sql(f"select * from {name}")


def test_errors_are_ours(mixed: Path) -> None:
    table = deltalite.DeltaTable(mixed)
    for query, reason in [
        ("selec 1", "syntax error"),
        ("select nope from t", "nope"),
        ("select cast(s as int) from t where s = 'a'", "Could not convert"),
        ("select * from read_parquet('/nowhere/x.parquet')", "No files"),
    ]:
        with pytest.raises(ExpressionError, match=reason):
            sql(query, t=table).read_all()


def test_an_error_of_the_scan_is_raised_as_itself(counted: Path) -> None:
    table = deltalite.DeltaTable(counted)
    table.to_pyarrow_dataset()
    table._store = FaultyStore(table._store, at=1, counts="any", matching=lambda call: call.path.endswith(".parquet"))
    with pytest.raises(DeltaError) as found:
        sql("select sum(id) from t", t=table).read_all()
    assert isinstance(found.value, StorageError) or "injected fault" in str(found.value.__cause__)


def test_statements_without_rows(tmp_path: Path, counted: Path) -> None:
    target = tmp_path / "out.parquet"
    sql(f"copy (select * from t where id < 3) to '{target}'", t=deltalite.DeltaTable(counted)).read_all()
    assert duckdb.sql(f"select count(*) from '{target}'").fetchall() == [(3,)]
    assert sql("create table a as select 1").read_all().num_columns in (0, 1)


def test_the_stream_is_lazy_and_batched(counted: Path) -> None:
    reader = (
        QueryBuilder({"datafusion.execution.batch_size": "500"})
        .register("t", deltalite.DeltaTable(counted))
        .execute("from t")
    )
    assert isinstance(reader, pa.RecordBatchReader)
    assert max(batch.num_rows for batch in reader) <= 2048


def test_query_builder_as_deltalake_has_it(mixed: Path, counted: Path) -> None:
    builder = (
        QueryBuilder().register("Mixed", deltalite.DeltaTable(mixed)).register("counted", deltalite.DeltaTable(counted))
    )
    for _ in range(2):
        found = builder.execute(
            "select m.id, text from mixed m join counted c on m.id = c.id where m.id > 6 order by 1"
        )
        assert found.read_all().to_pylist() == [{"id": 7, "text": "row 7"}, {"id": 8, "text": "row 8"}]
    assert (
        QueryBuilder({"datafusion.optimizer.max_passes": "1", "threads": "1"})
        .execute("select 1 as a")
        .read_all()
        .num_rows
        == 1
    )


def test_without_duckdb_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from deltalite.exceptions import InvalidArgumentError\n"
        "from deltalite.query import sql\n"
        "try: sql('select 1')\n"
        "except InvalidArgumentError as error: print(error)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'deltalite[sql]'" in found


def test_duckdb_scans_a_dataset_variable(counted: Path) -> None:
    dataset = deltalite.DeltaTable(counted).to_pyarrow_dataset()  # noqa: F841
    assert duckdb.connect().sql("select sum(id) from dataset where id in (3, 4) or text = 'row 9'").fetchall() == [
        (16,)
    ]
    assert python_rows(
        duckdb.connect().sql("select id from dataset where half is null and id < 4").fetchall()
    ) == python_rows([(1,), (3,)])
