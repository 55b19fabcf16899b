"""MERGE, UPDATE, DELETE and INSERT as text: what is read, how the rest is refused."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite.exceptions import DeltaError, ExpressionError
from deltalite.expr.assignments import DEFAULT, Default
from deltalite.expr.parse import parse_expression
from deltalite.expr.sql import to_sql
from deltalite.expr.statements import (
    Delete,
    Insert,
    Merge,
    Statement,
    TableName,
    Update,
    WhenClause,
    changes_rows,
    parse_statement,
)
from deltalite.expr.tokens import next_token
from deltalite.model.expr import Expr, call, col, lit, quote_name
from tests.unit.expr.strategies import conditions

QUIET = [*HealthCheck]
ON = "merge into t using s on t.id = s.id "


def test_a_merge_with_everything() -> None:
    found = parse_statement("""
        -- late corrections
        Merge With Schema Evolution Into delta.`s3://lake/flights` As f Using `late rows` u
        On f.id = u.id /* the key */ And u.day > '2024'
        When Matched And u.op = 'D' Then Delete
        When Matched Then Update Set f.x = u.x, addr.`the city` = Default, y = default(x)
        When Not Matched By Target And u.y Is Not Null Then Insert (id, `f`.`x y`) Values (u.id, DEFAULT)
        When Not Matched Then Insert * Except (a, `b c`)
        When Not Matched By Source And f.old Then Delete
        When Not Matched By Source Then Update Set seen = false;
    """)
    assert found == Merge(
        TableName("s3://lake/flights", is_path=True, quoted=True, alias="f"),
        TableName("late rows", quoted=True, alias="u"),
        call("and", call("=", col("f.id"), col("u.id")), call(">", col("u.day"), "2024")),
        (
            WhenClause("matched", "delete", call("=", col("u.op"), "D")),
            WhenClause(
                "matched",
                "update",
                None,
                (
                    (("f", "x"), col("u.x")),
                    (("addr", "the city"), DEFAULT),
                    (("y",), call("default", col("x"))),
                ),
            ),
            WhenClause(
                "not_matched",
                "insert",
                call("not", call("is_null", col("u.y"))),
                ((("id",), col("u.id")), (("f", "x y"), DEFAULT)),
            ),
            WhenClause("not_matched", "insert", star=True, except_columns=("a", "b c")),
            WhenClause("not_matched_by_source", "delete", col("f.old")),
            WhenClause("not_matched_by_source", "update", None, ((("seen",), lit(False)),)),
        ),
        schema_evolution=True,
    )


T, S = TableName("t"), TableName("s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delete from t", Delete(T)),
        ("DELETE FROM t AS x WHERE x.a = 1;", Delete(replace(T, alias="x"), call("=", col("x.a"), 1))),
        ("delete from 's3://a/b' where true", Delete(TableName("s3://a/b", quoted=True), lit(True))),
        ('delete from "a b"', Delete(TableName("a b", quoted=True))),
        ("delete from deltalite.`/x`", Delete(TableName("/x", is_path=True, quoted=True))),
        ("delete from cat.db.t version", Delete(TableName("cat.db.t", alias="version"))),
        ("update t set a = b, c.d = default where e", Update(T, ((("a",), col("b")), (("c", "d"), DEFAULT)), col("e"))),
        ("update t x set x.a = 1 = 2", Update(replace(T, alias="x"), ((("x", "a"), call("=", 1, 2)),))),
        ("update t set a = default.b", Update(T, ((("a",), col("default.b")),))),
        ("insert into t values (1, default), (2, 'x')", Insert(T, None, ((lit(1), DEFAULT), (lit(2), lit("x"))))),
        ("insert into table t (a, `b c`) values (1, 2)", Insert(T, ("a", "b c"), ((lit(1), lit(2)),))),
        ("insert overwrite t table s", Insert(T, source=S, overwrite=True)),
        ("insert overwrite table t select * from s;", Insert(T, source=S, overwrite=True)),
        ("insert into t by name select * from '/s'", Insert(T, source=TableName("/s", quoted=True), by_name=True)),
        ("insert into t (b, a) table s", Insert(T, ("b", "a"), source=S)),
        (
            "insert into t replace where day > '2' table s",
            Insert(T, source=S, replace_where=call(">", col("day"), "2")),
        ),
        (
            "merge into t using s on true when matched then update set *",
            Merge(T, S, lit(True), (WhenClause("matched", "update", star=True),)),
        ),
    ],
)
def test_text_to_statements(text: str, expected: Statement) -> None:
    assert parse_statement(text) == expected


def test_what_stands_before_a_column() -> None:
    assert [TableName("db.t").qualifier, TableName("db.t", alias="x").qualifier] == ["t", "x"]
    assert TableName("late rows", quoted=True).qualifier == "late rows"
    assert TableName("/a/b", quoted=True).qualifier is TableName("c", is_path=True).qualifier is None


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 0, "expected MERGE, UPDATE, DELETE or INSERT"),
        ("optimize t", 0, "found 'optimize'"),
        ("delete t", 7, "expected FROM"),
        ("delete from t; delete from t", 15, "only one statement"),
        ("delete from t where a = (select 1)", 25, "a subquery is not part of an expression"),
        ("delete from t where a in (select b from c)", 26, "subquery"),
        ("delete from t version as of 3", 14, "DeltaTable(path, version=...)"),
        ("delete from read('x')", 12, "a function such as read() is no table"),
        ("update t where x", 9, "expected SET or an alias"),
        ("update t set", 12, "expected a name"),
        ("update t set a[1] = 2", 14, "expected '=' or '.'"),
        ("update t set a = 1 b = 2", 19, "expected an operator or the end"),
        ("update t set * where true", 13, "expected a name"),
        ("insert t values (1)", 7, "expected INTO or OVERWRITE"),
        ("insert into t", 13, "expected VALUES, TABLE or SELECT * FROM"),
        ("insert into t (a, b) values (1)", 28, "2 columns get 1 values"),
        ("insert into t (a) values (1), (1, 2)", 30, "1 columns get 2 values"),
        ("insert into t select a from s", 14, "of queries only SELECT * FROM a table"),
        ("insert into t select * from s where a", 14, "sql('SELECT ...')"),
        ("insert into t (select a from s)", 14, "a subquery is not supported"),
        ("insert into t by name values (1)", 29, "VALUES have no names"),
        ("insert into t partition (a = 1) values (1)", 14, "PARTITION"),
        ("merge t using s on true when matched then delete", 6, "expected INTO or WITH SCHEMA EVOLUTION"),
        ("merge into t using (select 1) s on true when matched then delete", 19, "a subquery is not supported"),
        ("merge into t using s when matched then delete", 21, "expected ON or an alias"),
        ("merge into t using s on a = b", 29, "expected an operator, WHEN MATCHED or WHEN NOT MATCHED"),
        (ON + "when matched update set *", len(ON) + 13, "expected THEN or AND"),
        (ON + "when matched and a then insert *", len(ON) + 24, "expected UPDATE or DELETE"),
        (ON + "when not matched then delete", len(ON) + 22, "expected INSERT"),
        (ON + "when not matched by then insert *", len(ON) + 20, "expected TARGET or SOURCE"),
        (ON + "when not matched by source then update set *", len(ON) + 43, "NOT MATCHED BY SOURCE has none"),
        (ON + "when not matched by source then insert *", len(ON) + 32, "expected UPDATE or DELETE"),
        (ON + "when not matched then insert values (1)", len(ON) + 29, "INSERT lists its columns"),
        (ON + "when not matched then insert (a, b) values (1)", len(ON) + 43, "2 columns get 1 values"),
        (ON + "when matched then delete when matched then update set *", len(ON) + 25, "this clause never applies"),
        (ON + "when matched then update set * except", len(ON) + 37, "expected '('"),
    ],
)
def test_errors_point_into_the_text(text: str, at: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_statement(text)
    assert words in str(caught.value)
    assert caught.value.position == at
    assert f"\n  {' ' * at}^" in caught.value.message or at > 70


def test_which_texts_change_rows() -> None:
    assert all(changes_rows(t) for t in ("merge", " /* x */ Delete from t", "-- a\nINSERT", "update"))
    assert not any(
        changes_rows(t) for t in ("select 1", "(select 1)", "", "with x as (select 1) from x", "'merge'", "?")
    )


# there and back -----------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "T", "x y", "when", "set", "a.b", "`", "matched", "é", "values", "delta", "1a"])
EXPRESSIONS: Any = conditions(1).map(lambda e: parse_expression(to_sql(e)))
VALUES = EXPRESSIONS | st.just(DEFAULT)
PATHS = st.lists(NAMES, min_size=1, max_size=2).map(tuple)
TABLES = st.builds(
    TableName,
    st.sampled_from(["t", "flights", "/data/it's", "s3://a/b", "x y"]),
    is_path=st.booleans(),
    quoted=st.just(True),
    alias=st.none() | NAMES,
) | st.builds(TableName, st.sampled_from(["t", "db.flights", "late"]), alias=st.none() | NAMES)
NO_ALIAS = TABLES.map(lambda t: replace(t, alias=None))
ASSIGNED = st.lists(st.tuples(PATHS, VALUES), min_size=1, max_size=3).map(tuple)
CONDITIONS = st.none() | EXPRESSIONS
EXCEPT = st.just(()) | st.lists(NAMES, min_size=1, max_size=2).map(tuple)


@st.composite
def clauses(draw: Any) -> tuple[WhenClause, ...]:
    kinds = {"matched": ["update", "delete", "star"], "not_matched": ["insert", "star"],
             "not_matched_by_source": ["update", "delete"]}  # fmt: skip
    found: list[WhenClause] = []
    closed: set[str] = set()
    for when in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4)):
        if when in closed:
            continue
        what, condition = draw(st.sampled_from(kinds[when])), draw(CONDITIONS)
        action = ("insert" if when == "not_matched" else "update") if what == "star" else what
        clause = WhenClause(when, action, condition)
        if what == "star":
            clause = replace(clause, star=True, except_columns=draw(EXCEPT))
        elif what != "delete":
            clause = replace(clause, values=draw(ASSIGNED))
        found.append(clause)
        if condition is None:
            closed.add(when)
    return tuple(found)


ROWS = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(VALUES, min_size=n, max_size=n).map(tuple), min_size=1, max_size=3).map(tuple)
)


@st.composite
def inserts(draw: Any) -> Insert:
    target, how = draw(NO_ALIAS), draw(st.sampled_from(["into", "overwrite", "replace"]))
    found = Insert(target, overwrite=how == "overwrite", replace_where=draw(EXPRESSIONS) if how == "replace" else None)
    if draw(st.booleans()):
        found = replace(found, rows=draw(ROWS))
        assert found.rows is not None
        return (
            replace(found, columns=tuple(f"c{i}" for i in range(len(found.rows[0])))) if draw(st.booleans()) else found
        )
    found = replace(found, source=draw(NO_ALIAS))
    if draw(st.booleans()):
        return replace(found, by_name=True)
    return replace(found, columns=draw(st.none() | st.lists(NAMES, min_size=1, max_size=2).map(tuple)))


STATEMENTS: Any = st.one_of(
    st.builds(Merge, TABLES, TABLES, EXPRESSIONS, clauses(), st.booleans()),
    st.builds(Delete, TABLES, CONDITIONS),
    st.builds(Update, TABLES, ASSIGNED, CONDITIONS),
    inserts(),
)


def name(text: str) -> str:
    """In backticks whenever the statement's own words might take it for one of them."""
    words = {"when", "set", "matched", "values", "merge", "using", "on", "delta"}
    return f"`{text}`" if text.lower() in words else quote_name(text)


def path(parts: tuple[str, ...]) -> str:
    return ".".join(map(name, parts))


def table(t: TableName) -> str:
    if t.is_path:
        text = "delta." + "`" + t.name.replace("`", "``") + "`"
    elif t.quoted:
        text = "'" + t.name.replace("'", "\\'") + "'"
    else:
        text = path(tuple(t.name.split(".")))
    return text if t.alias is None else f"{text} AS {name(t.alias)}"


def value(e: Expr) -> str:
    return "DEFAULT" if isinstance(e, Default) else to_sql(e)


def listed(items: Any, show: Any) -> str:
    return ", ".join(map(show, items))


def sets(values: Any) -> str:
    return listed(values, lambda pair: f"{path(pair[0])} = {value(pair[1])}")


def where(condition: Expr | None, word: str = " WHERE") -> str:
    return "" if condition is None else f"{word} {to_sql(condition)}"


def clause_text(c: WhenClause) -> str:
    when = {"matched": "MATCHED", "not_matched": "NOT MATCHED", "not_matched_by_source": "NOT MATCHED BY SOURCE"}
    excepted = f" EXCEPT ({listed(c.except_columns, name)})" if c.except_columns else ""
    if c.action == "delete":
        then = "DELETE"
    elif c.star:
        then = ("INSERT *" if c.action == "insert" else "UPDATE SET *") + excepted
    elif c.action == "insert":
        assert c.values is not None
        then = f"INSERT ({listed(c.values, lambda p: path(p[0]))}) VALUES ({listed(c.values, lambda p: value(p[1]))})"
    else:
        then = f"UPDATE SET {sets(c.values)}"
    condition = "" if c.condition is None else f" AND {to_sql(c.condition)}"
    return f"WHEN {when[c.when]}{condition} THEN {then}"


def text_of(s: Statement) -> str:
    if isinstance(s, Delete):
        return f"DELETE FROM {table(s.target)}{where(s.condition)}"
    if isinstance(s, Update):
        return f"UPDATE {table(s.target)} SET {sets(s.values)}{where(s.condition)}"
    if isinstance(s, Merge):
        evolve = " WITH SCHEMA EVOLUTION" if s.schema_evolution else ""
        head = f"MERGE{evolve} INTO {table(s.target)} USING {table(s.source)} ON {to_sql(s.condition)}"
        return " ".join([head, *map(clause_text, s.clauses)])
    text = f"INSERT {'OVERWRITE' if s.overwrite else 'INTO'} {table(s.target)}{' BY NAME' if s.by_name else ''}"
    text += "" if s.columns is None else f" ({listed(s.columns, name)})"
    text += where(s.replace_where, " REPLACE WHERE")
    if s.rows is None:
        assert s.source is not None
        return f"{text} TABLE {table(s.source)}"
    return f"{text} VALUES {listed(s.rows, lambda row: f'({listed(row, value)})')}"


def disguised(text: str, seed: int) -> str:
    """The same tokens in another case, among other white space and comments."""
    chance, found, token = random.Random(seed), [], next_token(text, 0)
    while token.kind != "end":
        shown = token.text
        if token.kind == "word" and token.upper in KEYWORDS:
            shown = chance.choice([shown.lower(), shown.title(), shown])
        found.append(shown)
        following = next_token(text, token.end)
        gap = following.position > token.end
        found.append(chance.choice([" ", "\n", " -- when\n", "\t/* ; */ "]) if gap else "")
        token = following
    return "".join(found) + chance.choice(["", ";", " ;\n"])


KEYWORDS = frozenset(
    "MERGE WITH SCHEMA EVOLUTION INTO USING ON WHEN NOT MATCHED BY SOURCE THEN UPDATE SET DELETE INSERT EXCEPT VALUES "
    "FROM WHERE OVERWRITE REPLACE NAME TABLE AS AND DEFAULT".split()
)


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(STATEMENTS, st.integers(0, 99))
def test_a_statement_is_read_back_as_it_was(statement: Statement, seed: int) -> None:
    text = text_of(statement)
    assert parse_statement(text) == statement, text
    assert parse_statement(disguised(text, seed)) == statement, disguised(text, seed)
    assert changes_rows(text)


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(STATEMENTS, st.integers(0, 10**6))
def test_a_text_with_a_token_too_few_or_too_many_is_read_or_refused_properly(statement: Statement, at: int) -> None:
    text = text_of(statement)
    spans, token = [], next_token(text, 0)
    while token.kind != "end":
        spans.append((token.position, token.end))
        token = next_token(text, token.end)
    start, end = spans[at % len(spans)]
    for changed in (text[:start] + text[end:], text[:end] + " " + text[start:end] + text[end:], text[:start]):
        try:
            parse_statement(changed)
        except DeltaError as error:
            assert isinstance(error, ExpressionError)
            assert 0 <= error.position <= len(changed)


# another reader -----------------------------------------------------------------------------------------------------

ACCEPTED = [
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET *",
    "MERGE INTO t AS a USING s AS b ON a.id = b.id WHEN MATCHED THEN UPDATE SET a.x = b.x, a.y = b.y + 1",
    "MERGE INTO t a USING s b ON a.id <=> b.id WHEN MATCHED AND b.del THEN DELETE WHEN MATCHED THEN UPDATE SET *",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED THEN INSERT *",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY TARGET THEN INSERT (id, x) VALUES (s.id, 1 + 2)",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY SOURCE AND t.x > 5 THEN UPDATE SET t.gone = true",
    "MERGE INTO `my table` USING db.s ON CASE WHEN a THEN b ELSE c END WHEN MATCHED THEN DELETE;",
    "MERGE INTO t USING s ON t.a = s.a AND t.d BETWEEN s.x AND s.y WHEN MATCHED THEN UPDATE SET t.p.q = s.p.q",
    "merge into t using s on false when not matched then insert (a) values (case when s.x then 1 else 2 end)",
    "UPDATE t SET a = 1, b = b + 1 WHERE c IN (1, 2) AND d LIKE 'x%'",
    "UPDATE t AS x SET x.a = NULL",
    "DELETE FROM t WHERE a IS NOT NULL OR NOT b",
    "DELETE FROM t",
    "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    "INSERT INTO t (a, b) VALUES (1, 'a')",
    "INSERT OVERWRITE t SELECT * FROM s",
    "INSERT INTO t SELECT * FROM s",
]  # fmt: skip
REFUSED = [
    "MERGE t USING ON a = b WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s t.id = s.id WHEN MATCHED THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN",
    "MERGE INTO t USING s ON t.id = s.id THEN DELETE",
    "MERGE INTO t USING s ON t.id = s.id WHEN NOT MATCHED BY THEN INSERT *",
    "MERGE INTO t USING s ON (t.id = s.id WHEN MATCHED THEN DELETE",
    "UPDATE SET a = 1",
    "UPDATE t SET a = 1 b = 2",
    "DELETE FROM",
    "DELETE FROM t WHERE",
    "INSERT INTO t (a, b VALUES (1, 2)",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_sqlglot_reads_the_same_merge(text: str) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    tree = sqlglot.parse_one(text, read="databricks")
    found = parse_statement(text)
    assert type(found).__name__ == type(tree).__name__
    if not isinstance(found, Merge):
        return
    assert tree.this.alias == (found.target.alias or "") and tree.args["using"].alias == (found.source.alias or "")
    theirs = [
        (bool(w.args.get("matched")), bool(w.args.get("source")), "condition" in w.args and bool(w.args["condition"]))
        for w in tree.find_all(sqlglot.exp.When)
    ]
    ours = [(c.when == "matched", c.when == "not_matched_by_source", c.condition is not None) for c in found.clauses]
    assert ours == theirs


@pytest.mark.parametrize("text", REFUSED)
def test_sqlglot_refuses_it_too(text: str) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    with pytest.raises(ExpressionError):
        parse_statement(text)
    with pytest.raises(sqlglot.ParseError):
        found = sqlglot.parse_one(text, read="databricks")
        if re.match(r"\w+", type(found).__name__) and isinstance(found, sqlglot.exp.Command):
            raise sqlglot.ParseError("not understood")


def _known_to_sqlglot(statement: Statement) -> bool:
    text = text_of(statement)
    return not any(word in text for word in ("DEFAULT", "EXCEPT", "EVOLUTION", "delta."))


@settings(max_examples=60, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(STATEMENTS.filter(_known_to_sqlglot))
def test_what_is_read_here_is_read_by_sqlglot(statement: Statement) -> None:
    sqlglot = pytest.importorskip("sqlglot")
    text = text_of(statement)
    assert type(sqlglot.parse_one(text, read="databricks")).__name__ == type(statement).__name__, text
