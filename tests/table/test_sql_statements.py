"""deltalite.sql() with statements that change rows: by DuckDB's own MERGE, UPDATE, DELETE, and by the methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import deltalite
from deltalite import DeltaTable, sql
from deltalite.exceptions import (
    ConstraintViolation,
    DeltaError,
    InvalidArgumentError,
    MultipleMatchesError,
    SchemaMismatchError,
    TableNotFoundError,
)

ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, None, 6], pa.int64()),
        "k": pa.array(["a", None, "b", "a", "a", None]),
        "v": pa.array([10, 20, None, 40, 50, 60], pa.int32()),
    }
)
SOURCE = pa.table(
    {
        "id": pa.array([1, 3, None, 7, 8], pa.int64()),
        "k": pa.array(["a", None, "a", "z", None]),
        "v": pa.array([-1, -3, -5, None, -8], pa.int32()),
        "op": pa.array(["u", "d", "u", None, "u"]),
    }
)


@pytest.fixture
def table(tmp_path: Path) -> DeltaTable:
    deltalite.write_deltalake(tmp_path / "t", ROWS.slice(0, 3))
    deltalite.write_deltalake(tmp_path / "t", ROWS.slice(3), mode="append")
    return DeltaTable(tmp_path / "t")


def rows(data: Any) -> list[tuple[Any, ...]]:
    """The rows in an order of their own, nulls first."""
    found = data if isinstance(data, list) else list(zip(*pa.table(data).to_pydict().values(), strict=True))
    return sorted(found, key=lambda row: [(v is not None, v) for v in row])


def message(text: str, **tables: Any) -> str:
    with pytest.raises(DeltaError) as caught:
        sql(text, **tables)
    return str(caught.value)


# the same text, another engine ------------------------------------------------------------------------------------------

MERGE = "MERGE INTO t USING s ON "


STATEMENTS = [
    "DELETE FROM t WHERE v > 15",
    "DELETE FROM t WHERE NOT v > 15",
    "DELETE FROM t WHERE k = 'a' OR v = 20",
    "DELETE FROM t WHERE v NOT IN (10, NULL)",
    "DELETE FROM t WHERE k IS DISTINCT FROM 'a'",
    "DELETE FROM t AS x WHERE x.v BETWEEN 15 AND 45 AND x.k = 'a'",
    "DELETE FROM t",
    "DELETE FROM t WHERE NULL",
    "UPDATE t SET v = v + 1",
    "UPDATE t SET v = NULL, k = coalesce(k, 'none') WHERE v >= 20",
    "UPDATE t SET v = id, id = v",
    "UPDATE t AS x SET v = -x.v WHERE x.k <> 'b'",
    "INSERT INTO t VALUES (9, 'q', 1), (NULL, NULL, NULL)",
    "INSERT INTO t (v, id) VALUES (1 + 1, 2), (3, NULL)",
    "INSERT INTO t (id, k) SELECT * FROM two",
    MERGE + "t.id = s.id WHEN MATCHED THEN UPDATE SET v = s.v",
    MERGE + "t.id = s.id WHEN MATCHED THEN DELETE",
    MERGE + "t.id = s.id WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (s.id, s.k, s.v)",
    MERGE + "t.id = s.id WHEN NOT MATCHED AND s.v > -6 THEN INSERT (v, id) VALUES (s.v * 2, s.id)",
    MERGE + "t.id = s.id WHEN MATCHED AND s.op = 'd' THEN DELETE WHEN MATCHED THEN UPDATE SET k = s.op, v = t.v + s.v",
    MERGE
    + "t.id = s.id WHEN MATCHED AND t.v > 5 THEN UPDATE SET v = 0 WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
    MERGE + "t.id IS NOT DISTINCT FROM s.id WHEN MATCHED THEN UPDATE SET v = s.v",
    MERGE
    + "t.id = s.id AND t.k = s.k WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)",
    MERGE + "t.id = s.id AND t.v > 15 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 0)",
    MERGE + "t.id = s.id AND s.v < -2 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 0)",
    MERGE + "t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    MERGE + "t.id = s.id WHEN NOT MATCHED BY SOURCE AND v > 30 THEN UPDATE SET k = 'old', v = t.v - 1",
    MERGE
    + "t.id = s.id WHEN NOT MATCHED BY SOURCE AND k = 'a' THEN DELETE WHEN NOT MATCHED BY SOURCE THEN UPDATE SET v = 1 "
    "WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT (id, k, v) VALUES (s.id, 'new', s.v)",
    MERGE + "FALSE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)",
    MERGE + "t.id + 0 = s.id * 1 WHEN MATCHED THEN UPDATE SET v = 7",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_does_what_it_does_in_duckdb(table: DeltaTable, text: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    two = SOURCE.select(["id", "k"])
    connection = duckdb.connect()
    connection.register("given_t", ROWS)
    connection.register("given_s", SOURCE)
    connection.register("two", two)
    connection.execute("create table t as from given_t")
    connection.execute("create table s as from given_s")
    connection.execute(text)
    result = sql(text, t=table, s=SOURCE, two=two)
    assert rows(table.scan()) == rows(connection.sql("from t").fetchall())
    assert result.version == table.version()
    assert rows(DeltaTable(table.table_uri).scan()) == rows(table.scan())


# the same thing, as calls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (
            "merge into t using s as u on t.id <=> u.id when matched then update set * when not matched then insert * ",
            lambda t, s: (
                t.merge(s, "t.id <=> u.id", "u", "t").when_matched_update_all().when_not_matched_insert_all().execute()
            ),
        ),
        (
            "merge into t as x using s as y on x.id = y.id when matched and y.v < 0 then update set * except (k, `id`) "
            "when not matched and y.k is null then insert * except (v) when not matched by source then update set x.v = 0",
            lambda t, s: (
                t.merge(s, "x.id = y.id", target_alias="x", source_alias="y")
                .when_matched_update_all("y.v < 0", except_cols=["k", "id"])
                .when_not_matched_insert_all("y.k is null", except_cols=["v"])
                .when_not_matched_by_source_update({"v": "0"})
                .execute()
            ),
        ),
        (
            "insert overwrite t table s",
            lambda t, s: t.overwrite(s),
        ),
        (
            "insert into t by name select * from s",
            lambda t, s: t.append(s),
        ),
    ],
)
def test_text_and_calls_are_the_same(tmp_path: Path, text: str, calls: Any) -> None:
    source = SOURCE.drop_columns("op")
    tables = []
    for name in ("a", "b"):
        deltalite.write_deltalake(tmp_path / name, ROWS)
        tables.append(DeltaTable(tmp_path / name))
    by_text, by_call = sql(text, t=tables[0], s=source), calls(tables[1], source)
    assert rows(tables[0].scan()) == rows(tables[1].scan())
    timeless = [{k: v for k, v in r.metrics.items() if "Time" not in k and "ytes" not in k} for r in (by_text, by_call)]
    assert timeless[0] == timeless[1] and by_text.operation == by_call.operation
    shown = [t.history(1)[0].get("operationParameters") for t in tables]
    assert shown[0] == shown[1]


def test_insert_replaces_what_a_condition_selects(tmp_path: Path) -> None:
    data = pa.table({"p": pa.array(["a", "b", "b"]), "v": pa.array([1, 2, 3], pa.int64())})
    deltalite.write_deltalake(tmp_path, data, partition_by=["p"])
    table = DeltaTable(tmp_path)
    sql("insert into t replace where t.p = 'b' values ('b', 4)", t=table)
    assert rows(table.scan()) == [("a", 1), ("b", 4)]
    with pytest.raises(ConstraintViolation):
        sql("insert into t replace where p = 'b' values ('a', 4)", t=table)
    sql("insert overwrite t values ('c', 5)", t=table)
    assert rows(table.scan()) == [("c", 5)]


def test_schema_evolution(table: DeltaTable) -> None:
    with pytest.raises(DeltaError):
        sql("merge into t using s on t.id = s.id when matched then update set op = s.op", t=table, s=SOURCE)
    sql(
        "merge with schema evolution into t using s on t.id = s.id when matched then update set t.op = s.op",
        t=table, s=SOURCE,
    )  # fmt: skip
    assert table.schema().names == ["id", "k", "v", "op"]
    assert rows(table.scan(["id", "op"], "op is not null")) == [(1, "u"), (3, "d")]


# values -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rich(tmp_path: Path) -> DeltaTable:
    return DeltaTable.create(
        tmp_path / "rich",
        "id bigint, d decimal(10,2), at timestamp, a array<int>, s struct<x:int,y:string>, n int default 7, g bigint "
        "generated always as (id + 1)",
        configuration={"delta.feature.allowColumnDefaults": "supported"},
    )


def test_values_of_every_kind(rich: DeltaTable) -> None:
    sql(
        "insert into t (id, d, at, a, s, n) values "
        "(1, 1.5, timestamp '2024-01-01 00:00:00', array(1, 2), named_struct('x', 1, 'y', 'q'), default), "
        "(1 + 1, 3, null, null, null, 5), (null, null, null, array(), null, null)",
        t=rich,
    )
    found = rich.scan(["id", "a", "s", "n", "g"]).read_all().sort_by("id").to_pylist()
    assert found == [
        {"id": 1, "a": [1, 2], "s": {"x": 1, "y": "q"}, "n": 7, "g": 2},
        {"id": 2, "a": None, "s": None, "n": 5, "g": 3},
        {"id": None, "a": [], "s": None, "n": None, "g": None},
    ]
    assert rich.count("d = 1.50 and at = '2024-01-01'") == 1 and rich.count("d = 3") == 1


def test_defaults(rich: DeltaTable) -> None:
    sql("insert into t (id, n) values (1, default), (2, default)", t=rich)
    sql("insert into t (id, n) values (3, 4), (4, default)", t=rich)
    assert rows(rich.scan(["id", "n"])) == [(1, 7), (2, 7), (3, 4), (4, 7)]
    sql("update t set n = default where n = 4", t=rich)
    sql("update t set n = 1, s.y = 'new' where id = 1", t=rich)
    assert rows(rich.scan(["id", "n"])) == [(1, 1), (2, 7), (3, 7), (4, 7)]
    assert rich.scan(["s"], "id = 1").read_all().to_pylist() == [{"s": {"x": None, "y": "new"}}]
    sql(
        "merge into t using s on false when not matched then insert (id, n) values (s.id, default)",
        t=rich, s=pa.table({"id": [9]}),
    )  # fmt: skip
    assert rich.scan(["n", "g"], "id = 9").read_all().to_pylist() == [{"n": 7, "g": 10}]
    assert "it is computed" in message("update t set g = default", t=rich)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("insert into t values (1, 'a')", "row 1 has 2 values for 3 columns"),
        ("insert into t (id, ID) values (1, 2)", "listed twice"),
        ("insert into t (idd) values (1)", "did you mean id?"),
        ("insert into t (id) values (x)", "there is no column 'x'"),
        ("insert into t (id) values (default)", "every value is DEFAULT"),
        ("insert into t (k) values (date '2024-01-01'), (true)", "no type in common"),
        ("insert into t (v) values (interval 1 day)", "no type in common that a table holds"),
        ("insert into t (id, k, v) table s", "3 columns (id, k, v) get 4 (id, k, v, op)"),
        ("insert into t table swapped", "k, id would become"),
        ("update t set v = 1, V = 2", "v is assigned twice"),
        ("update t set v = 1, t.v = 2", "v is assigned twice"),
        ("update t set s.v = 1", "there is no column"),
    ],
)
def test_what_is_refused(table: DeltaTable, text: str, words: str) -> None:
    swapped = ROWS.select(["k", "id", "v"])
    assert words in message(text, t=table, s=SOURCE, swapped=swapped)
    assert table.version() == DeltaTable(table.table_uri).version() == 1


def test_columns_go_by_place_only_where_nobody_can_be_misled(table: DeltaTable) -> None:
    swapped = ROWS.select(["k", "id", "v"])
    with pytest.raises(SchemaMismatchError, match="k, id would become columns of other names"):
        sql("insert into t select * from swapped", t=table, swapped=swapped)
    sql("insert into t by name select * from swapped", t=table, swapped=swapped)
    sql("insert into t (k, id, v) select * from swapped", t=table, swapped=swapped)
    sql("insert into t select * from other", t=table, other=ROWS.rename_columns(["x", "y", "z"]))
    assert rows(table.scan()) == rows(rows(ROWS) * 4)


# names and places ---------------------------------------------------------------------------------------------------------


def test_errors_point_into_the_statement(table: DeltaTable) -> None:
    text = "merge into t using s on t.id = s.id\nwhen matched then update set v = s.w"
    assert "\n  when matched then update set v = s.w\n                                     ^" in message(
        text, t=table, s=SOURCE
    )
    found = message("delete from t where idd = 1", t=table)
    assert "\n  delete from t where idd = 1\n                      ^" in found and "did you mean" in found
    assert "write t.id or s.id" in message("merge into t using s on id = 1 when matched then delete", t=table, s=SOURCE)


def test_tables_by_name_and_path(table: DeltaTable, tmp_path: Path) -> None:
    place = table.table_uri
    path = str(tmp_path / "t")
    sql(f"delete from '{path}' where id = 1")
    sql(f"delete from delta.`{path}` where id = 2")
    sql(f'update "{path}" set v = 0 where id = 3')
    sql("delete from T where id = 4", t=path)
    sql("delete from lake.T where id = 6", {"Lake.t": tmp_path / "t"})
    assert rows(DeltaTable(place).scan(["id", "v"])) == [(None, 50), (3, 0)]
    sql(f"insert into t select * from '{path}@v1'", t=table)
    assert table.refresh().count() == 8
    pq.write_table(ROWS, tmp_path / "rows.parquet")
    sql(f"insert overwrite t select * from '{tmp_path / 'rows.parquet'}'", t=table)
    sql("merge into t using `the rows` as s on t.id = s.id when matched then delete", {"the rows": SOURCE}, t=table)
    assert rows(table.scan(["id"])) == [(None,), (2,), (4,), (6,)]
    sql("merge into t using t as old on t.id = old.id when matched then update set v = old.v + 1", t=table)
    assert rows(table.scan(["id", "v"])) == [(None, 50), (2, 21), (4, 41), (6, 61)]


def test_tables_that_are_not_there(table: DeltaTable, tmp_path: Path) -> None:
    assert "there is no table 'tt'" in message("delete from tt", t=table)
    assert "did you mean t?" in message("delete from tt", t=table)
    assert "sql(text, flights=table)" in message("delete from main.flights")
    with pytest.raises(TableNotFoundError):
        sql(f"delete from '{tmp_path / 'none'}'")
    with pytest.raises(InvalidArgumentError, match="is a Table, and rows of a DeltaTable only can be changed"):
        sql("delete from s", s=SOURCE)
    with pytest.raises(InvalidArgumentError, match="two tables are called"):
        sql("delete from t", {"T": table}, t=table)
    assert "both called 't'" in message("merge into t using t on true when matched then delete", t=table)


def test_several_matches_are_refused(table: DeltaTable) -> None:
    with pytest.raises(MultipleMatchesError):
        sql(
            "merge into t using s on t.k = s.k when matched then update set v = 0",
            t=table, s=pa.table({"k": ["a", "a"]}),
        )  # fmt: skip
    assert table.version() == 1


def test_queries_still_go_to_duckdb(table: DeltaTable) -> None:
    pytest.importorskip("duckdb")
    assert sql("-- delete from\nselect count(*) as n from t", t=table).read_all().to_pylist() == [{"n": 6}]
    assert sql("with x as (from t) select count(*) as n from x", t=table).read_all().to_pylist() == [{"n": 6}]


def test_the_query_command_only_reads(table: DeltaTable) -> None:
    click_testing = pytest.importorskip("click.testing")
    from deltalite.cli.app import app

    result = click_testing.CliRunner().invoke(app, ["query", f"delete from '{table.table_uri}'"])
    assert result.exit_code != 0 and "query only reads" in result.output
    assert DeltaTable(table.table_uri).count() == 6
