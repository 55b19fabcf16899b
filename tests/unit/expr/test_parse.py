"""The parser: what it reads, how it refuses, and that its text comes back."""

from __future__ import annotations

import datetime as dt
import math
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltalite.exceptions import DeltaError, ExpressionError
from deltalite.expr.bind import bind, bind_predicate
from deltalite.expr.parse import parse_data_type, parse_expression, parse_schema
from deltalite.expr.sql import to_sql
from deltalite.model.expr import (
    BOOLEAN,
    BYTE,
    DAY,
    DAY_TIME,
    FLOAT,
    LONG,
    SHORT,
    VOID,
    YEAR_MONTH,
    Call,
    Case,
    Cast,
    Column,
    DoubleQuoted,
    Expr,
    Literal,
    and_,
    call,
    col,
    columns_of,
    lit,
    not_,
    or_,
)
from deltalite.model.types import ArrayType, Field, MapType, PrimitiveType, Schema, StructType

QUIET = [*HealthCheck]
a, b, c = col("a"), col("b"), col("c")
UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", a),
        ("`a b`.`c``d`", col("a b", "c`d")),
        ("A.b . c", col("A", "b", "c")),
        ('"a"', DoubleQuoted("a")),
        ('"a"."b"', col("a", "b")),
        ("a = 1", call("=", a, 1)),
        ("a == 1", call("=", a, 1)),
        ("a <> 1", call("!=", a, 1)),
        ("a<=>null", call("<=>", a, None)),
        ("a and b and c", and_(a, b, c)),
        ("a and (b and c)", and_(a, b, c)),
        ("a or b and c", or_(a, and_(b, c))),
        ("not a = b", not_(call("=", a, b))),
        ("not a and b", and_(not_(a), b)),
        ("!a", not_(a)),
        ("a + b * c", call("+", a, call("*", b, c))),
        ("a - b - c", call("-", call("-", a, b), c)),
        ("a || b + c", call("+", call("||", a, b), c)),
        ("a & b | c ^ a", call("|", call("&", a, b), call("^", c, a))),
        ("-a * b", call("*", call("negative", a), b)),
        ("- -1", call("negative", -1)),
        ("a -1", call("-", a, 1)),
        ("a div b % c", call("%", call("div", a, b), c)),
        ("a is not null", not_(call("is_null", a))),
        ("a is distinct from b", not_(call("<=>", a, b))),
        ("a is not distinct from b", call("<=>", a, b)),
        ("a is not true", not_(call("is_true", a))),
        ("a = b is null", call("is_null", call("=", a, b))),
        ("a in (1, b)", call("in", a, 1, b)),
        ("a not in ('x')", not_(call("in", a, "x"))),
        ("a between 1 and 2 and b", and_(call("between", a, 1, 2), b)),
        ("a not between 1 + 1 and 3", not_(call("between", a, call("+", 1, 1), 3))),
        ("a like 'x%' escape '/'", call("like", a, "x%", "/")),
        ("a not ilike b", not_(call("ilike", a, b))),
        ("a rlike 'x'", call("rlike", a, "x")),
        ("a regexp r'\\d'", call("rlike", a, "\\d")),
        ("cast(a as decimal(10, 2))", Cast(a, PrimitiveType("decimal(10,2)"))),
        ("try_cast(a as array<string>)", Cast(a, ArrayType("string"), True)),
        ("a::int::string", Cast(Cast(a, PrimitiveType("integer")), PrimitiveType("string"))),
        ("-1::string", Cast(lit(-1), PrimitiveType("string"))),
        ("case when a then 1 else 2 end", Case(((a, lit(1)),), lit(2))),
        (
            "case a when 1 then 'x' when 2 then 'y' end",
            Case(((call("=", a, 1), lit("x")), (call("=", a, 2), lit("y")))),
        ),
        ("a[0]['k'].b", Call(".", (call("[]", call("[]", a, 0), "k"), lit("b")))),
        ("f(a, 1).x", Call(".", (call("f", a, 1), lit("x")))),
        ("F()", Call("f", ())),
        ("extract(YEAR from a)", call("date_part", "year", a)),
        ("substring(a from 1 for 2)", call("substring", a, 1, 2)),
        ("position('x' in a)", call("position", "x", a)),
        ("trim(leading 'x' from a)", call("ltrim", "x", a)),
        ("timestampadd(HOUR, 1, a)", call("timestampadd", "hour", 1, a)),
        ("date_add(day, 1)", call("date_add", col("day"), 1)),
        ("datediff(d, day)", call("datediff", col("d"), col("day"))),
        ("date '2020-01-02'", lit(dt.date(2020, 1, 2))),
        ("timestamp '2020-01-02 03:04:05+01:00'", lit(dt.datetime(2020, 1, 2, 2, 4, 5, tzinfo=UTC))),
        ("timestamp '2020-01-02'", Cast(lit("2020-01-02"), PrimitiveType("timestamp"))),
        ("timestamp_ntz '2020-01-02 03:04:05.5'", lit(dt.datetime(2020, 1, 2, 3, 4, 5, 500000))),
        ("x'0aFF'", lit(b"\x0a\xff")),
        ("interval 3 days", Literal(3 * 86_400_000_000, DAY)),
        ("interval '2' hours", Literal(7_200_000_000, DAY_TIME)),
        ("interval -1 month", Literal(-1, YEAR_MONTH)),
        ("interval 1 day 2 hours", Literal(93_600_000_000, DAY_TIME)),
        ("interval '1 day -2 hours'", Literal(79_200_000_000, DAY_TIME)),
        ("interval '2-3' year to month", Literal(27, YEAR_MONTH)),
        ("interval '1 02:03:04.000005' day to second", Literal(93_784_000_005, DAY_TIME)),
        ("interval '1.5' second", Literal(1_500_000, DAY_TIME)),
        ("1", lit(1)),
        ("2147483648", Literal(2**31, LONG)),
        ("-2147483648", lit(-(2**31))),
        ("9223372036854775808", lit(2**63)),
        ("1.50", lit(Decimal("1.50"))),
        ("1e2", lit(100.0)),
        ("1Y", Literal(1, BYTE)),
        ("1s", Literal(1, SHORT)),
        ("1.5f", Literal(1.5, FLOAT)),
        ("1BD", lit(Decimal(1))),
        ("'a\\tb\\'c\\\\d\\u0041\\101\\%'", lit("a\tb'c\\dAA\\%")),
        ("'it''s' ' two'", lit("it's two")),
        ("a -- a comment\n = /* another */ 1", call("=", a, 1)),
        ("date = interval", call("=", col("date"), col("interval"))),
        (
            "end > start and year = month",
            and_(call(">", col("end"), col("start")), call("=", col("year"), col("month"))),
        ),
        ("名前 = 'x'", call("=", col("名前"), "x")),
        ("null", Literal(None, VOID)),
        ("TRUE", Literal(True, BOOLEAN)),
    ],
)
def test_text_to_nodes(text, expected):
    assert parse_expression(text) == expected


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("", 0, "expected an expression, but the text ends"),
        ("a = ", 4, "expected an expression"),
        ("a b", 2, "found 'b'"),
        ("(a", 2, "expected ')'"),
        ("a in 1", 5, "expected '('"),
        ("a in ()", 6, "expected an expression"),
        ("a = 'x", 4, "string is not closed"),
        ("`a", 0, "quoted name is not closed"),
        ("a /* x", 2, "comment is not closed"),
        ("a # b", 2, "unexpected character '#'"),
        ("1a = 2", 0, "may not begin with a digit"),
        ("a between 1", 11, "expected AND"),
        ("a is 5", 5, "expected NULL, TRUE, FALSE or DISTINCT FROM"),
        ("case a end", 7, "expected WHEN"),
        ("case when a then 1", 18, "expected END"),
        ("cast(a as foo)", 10, "unknown type 'foo'"),
        ("cast(a as varchar(5))", 10, "varchar with a length is not supported"),
        ("cast(a as decimal(40,2))", 17, "out of range"),
        ("cast(a int)", 7, "expected AS"),
        ("a not 5", 6, "expected IN, BETWEEN"),
        ("date '2020-13-01'", 0, "is not a date"),
        ("timestamp 'x'", 0, "is not a timestamp"),
        ("timestamp '2020-01-01 00:00:00 Mars/Base'", 0, "unknown time zone"),
        ("interval '1 month 1 day'", 9, "may not mix"),
        ("interval '25:00' hour to minute x", 32, "found 'x'"),
        ("x'0g'", 0, "is not a X literal"),
        ("300Y", 0, "does not fit into 8 bits"),
        ("1" * 50, 0, "not a number"),
        ("(select 1)", 1, "a subquery is not part of an expression"),
        ("a in (select 1)", 6, "a subquery"),
        ("exists (select 1)", 8, "a subquery"),
        ("exists(a)", 7, "neither is supported"),
        ("count(*)", 6, "aggregates rows"),
        ("f(distinct a)", 2, "aggregates rows"),
        ("transform(a, x -> x)", 16, "expected an expression"),
        ("a.1", 1, "found '.1'"),
        ("a..b", 1, "found '.'"),
        ("a.*", 1, "found '.'"),
        ("* ", 0, "found '*'"),
        ("?", 0, "unexpected character"),
        (":p", 0, "found ':'"),
        ("a; drop table x", 1, "found ';'"),
        ("read_csv('/etc/passwd')", None, "no function read_csv"),
        ("a\n  = \n  = b", 9, "found '='"),
    ],
)
def test_errors_point_into_the_text(text, position, words):
    with pytest.raises(ExpressionError) as caught:
        bind(text, Schema([Field("a", "long")]))
    assert words in str(caught.value)
    if position is not None:
        assert caught.value.context["position"] == position
        line, mark = str(caught.value.message).split("\n")[1:3]
        assert mark.index("^") == min(position - (text.rfind("\n", 0, position) + 1), 70) + 2
        assert line.strip() in text.replace("\n", " \n") or "..." in line


def test_an_error_tells_programs_what_was_expected():
    with pytest.raises(ExpressionError) as caught:
        parse_expression("a in (1")
    assert caught.value.context["expected"] == [")", ",", "an operator"]


# nesting, length, garbage -------------------------------------------------------------------------------------------


@pytest.mark.bug("S-15")
@pytest.mark.parametrize(
    "text",
    ["(" * 50_000, "-" * 49_999, "- " * 50_000 + "1", "not " * 50_000 + "a", "case " * 50_000, "a[" * 50_000,
     "f(" * 50_000,
     "1+" * 50_000 + "1",
     "a" + "::int" * 20_000, "a." * 50_000 + "a", "'" * 50_001, "/*" * 50_000, "`" * 50_001, '"' * 50_001,
     "a" * 100_000,
     "''" * 50_000, "\\" * 50_000,
     "cast(a as " + "array<" * 50_000, "interval " * 20_000, "a = 1 and " * 10_000 + "a = 1",
     "a in (" + "1," * 50_000 + "1)",
     " " * 100_000 + "a",
     "1e" * 50_000, "." * 50_000, "between " * 20_000, "case when a then " * 20_000, "9" * 100_000,
     "x'" + "0" * 100_000 + "'"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_long_and_deep_texts_are_read_or_refused_in_linear_time(text):
    start = time.process_time()
    try:
        bind_predicate(text, Schema([Field("a", "boolean")]))
    except ExpressionError:
        pass
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "text",
    [
        "a + 1" * 1,
        "(" * 90 + "a" + ")" * 90,
        "+".join(["a"] * 150),
        " and ".join(["a = 1"] * 5000),
        " || ".join(["s"] * 150),
    ],
)
def test_texts_that_people_write_are_not_refused(text):
    schema = Schema([Field("a", "long"), Field("s", "string")])
    bound = bind(text, schema)
    assert parse_expression(to_sql(bound)) is not None


@pytest.mark.parametrize(
    "pattern",
    ["({}) between true and false", "case ({}) when 1 then 2 when 2 then 3 end", "nullif({}, 1)", "nanvl({}, 1)"],
)
def test_an_operand_that_is_repeated_does_not_explode(pattern):
    text = "a > 1" if "between" in pattern else "a"
    for _ in range(30):
        text = pattern.format(text)
        try:
            bind(text, Schema([Field(n, "long") for n in "abc"]))
        except ExpressionError:
            return
    raise AssertionError("grew without an end")


TOKENS = st.sampled_from(
    "a b c 1 2.5 1e3 'x' \"a\" `a b` ( ) [ ] , . = <> <=> < + - * / % || & | ^ ~ ! :: and or not in is null "
    "true like between case when then else end cast ( as int ) try_cast date '2020-01-01' timestamp interval day month "
    "escape distinct from select if coalesce substring extract trim x'00' 1L 5Y array < > map struct decimal "
    "decimal(3,1) r'x' # ? ; \\ \n -- /* */".split(" ")
)


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(st.lists(TOKENS, max_size=25).map(" ".join) | st.text(max_size=40))
def test_no_text_does_worse_than_an_expression_error(text):
    schema = Schema([Field("a", "long"), Field("b", "boolean"), Field("c", ArrayType("string"))])
    for read in (parse_expression, parse_data_type, parse_schema, lambda t: bind(t, schema)):
        try:
            read(text)
        except ExpressionError:
            continue


# and back to text ---------------------------------------------------------------------------------------------------

NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(
    [
        "a",
        "A b",
        "select",
        "`",
        "``x`",
        "a.b",
        "and",
        "date",
        "interval",
        "1a",
        "end",
        ";--",
        "{}",
        "'",
        '"',
        "\n",
        "x",
        "é",
    ]
)
TYPES: Any = st.recursive(
    st.sampled_from(["integer", "long", "string", "decimal(10,2)", "timestamp_ntz", "boolean", "binary"]).map(
        PrimitiveType
    ),
    lambda inner: (
        st.builds(ArrayType, inner)
        | st.builds(MapType, inner, inner)
        | st.lists(st.builds(Field, NAMES, inner), min_size=1, max_size=2).map(StructType)
    ),
    max_leaves=4,
)
LITERALS = st.one_of(
    st.integers(-(10**37), 10**37).map(lit),
    st.integers(-128, 127).map(lambda v: Literal(v, BYTE)),
    st.integers(-(2**15), 2**15 - 1).map(lambda v: Literal(v, SHORT)),
    st.integers(-(2**63), 2**63 - 1).map(lambda v: Literal(v, LONG)),
    st.floats(allow_nan=False, allow_infinity=False).map(lit),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda v: Literal(v, FLOAT)),
    st.decimals(-(10**10), 10**10, places=5).map(lit),
    st.text().map(lit),
    st.binary(max_size=8).map(lit),
    st.sampled_from([True, False, None]).map(lit),
    st.dates().map(lit),
    st.datetimes().map(lit),
    st.datetimes(timezones=st.just(UTC)).map(lit),
    st.integers(-(2**31), 2**31 - 1).map(lambda v: Literal(v, YEAR_MONTH)),
    st.integers(-(10**15), 10**15).map(lambda v: Literal(v, DAY_TIME)),
    st.integers(-9999, 9999).map(lambda v: Literal(v * 86_400_000_000, DAY)),
)


def _bigger(inner: Any) -> Any:
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.builds(
            lambda op, args: Call(op, args), st.sampled_from("= != <=> < <= > >= + - * / % div || & | ^".split()), pair
        ),
        st.builds(lambda args: and_(*args), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda args: or_(*args), st.lists(inner, min_size=2, max_size=3)),
        inner.map(not_),
        st.builds(
            lambda op, e: Call(op, (e,)),
            st.sampled_from(["is_null", "is_true", "is_false", "negative", "positive", "~"]),
            inner,
        ),
        st.builds(lambda e, items: Call("in", (e, *items)), inner, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda e, low, high: Call("between", (e, low, high)), inner, inner, inner),
        st.builds(
            lambda op, e, p, escape: Call(op, (e, p, *escape)),
            st.sampled_from(["like", "ilike"]),
            inner,
            inner,
            st.lists(inner, max_size=1),
        ),
        st.builds(lambda args: Call("rlike", args), pair),
        st.builds(Cast, inner, TYPES, st.booleans()),
        st.builds(
            lambda branches, other: Case(tuple(branches), other),
            st.lists(pair, min_size=1, max_size=2),
            st.none() | inner,
        ),
        st.builds(lambda args: Call("[]", args), pair),
        st.builds(lambda args: Call("coalesce", args), pair),
        st.builds(lambda e, name: Call(".", (Call("f", (e,)), lit(name))), inner, NAMES),
    )


EXPRESSIONS: Any = st.recursive(
    st.one_of(
        st.lists(NAMES, min_size=1, max_size=3).map(lambda p: Column(tuple(p))), LITERALS, NAMES.map(DoubleQuoted)
    ),
    _bigger,
    max_leaves=12,
)


@pytest.mark.bug("S-09")
@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(EXPRESSIONS)
def test_the_text_of_an_expression_parses_to_the_expression(expr):
    assert parse_expression(to_sql(expr)) == expr


@pytest.mark.slow
@pytest.mark.bug("S-09")
@settings(max_examples=20_000, deadline=None, suppress_health_check=QUIET)
@given(EXPRESSIONS)
def test_the_text_of_an_expression_parses_to_the_expression_at_length(expr):
    assert parse_expression(to_sql(expr)) == expr


@pytest.mark.bug("S-09")
@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(NAMES, st.text())
def test_names_and_values_never_leave_their_quotes(name, value):
    expr = call("=", Column((name,)), value)
    bound = bind(to_sql(expr), Schema([Field(name, "string")]))
    assert bound.expr == expr
    assert bound.columns == {(name,)}


def test_nan_and_infinity_have_a_text_too():
    for value in (math.nan, math.inf, -math.inf):
        bound = bind(to_sql(lit(value)), Schema([]))
        assert str(bound.expr.value) == str(value)  # type: ignore[attr-defined]


def test_the_text_has_no_needless_parentheses():
    for text in ("a + b * c > 1 AND NOT d", "a IS NOT NULL OR b NOT IN (1, 2)", "(a + b) * c", "a - (b - c)",
                 "NOT (a AND b)", "a LIKE 'x%' AND b BETWEEN 1 AND 2", "CASE WHEN a THEN 1 ELSE 2 END",
                 "CAST(a AS decimal(10,2)) = 1.50"):  # fmt: skip
        assert to_sql(parse_expression(text)) == text


@pytest.mark.parametrize(
    "text",
    ["a + b * c - d", "a or b and not c = d", "a * (b + c) / d", "a = b or c < d and e >= f", "not a and not b or c",
     "a - b + c - d * -e", "a % b * c + d / e", "(a or b) and (c or d)",
     "a < b and b < c or not (c = d)", "a + b = c * d and e <> f - g"],
)  # fmt: skip
def test_precedence_is_that_of_sqlglot(text):
    sqlglot = pytest.importorskip("sqlglot")
    theirs = sqlglot.parse_one(text, dialect="spark")
    assert shape_of(parse_expression(text)) == sqlglot_shape(theirs, sqlglot.exp)


def shape_of(expr: Expr) -> Any:
    if isinstance(expr, Column):
        return expr.path[-1]
    assert isinstance(expr, Call)
    if expr.function in ("and", "or"):
        found = shape_of(expr.args[0])
        for arg in expr.args[1:]:
            found = (expr.function, found, shape_of(arg))
        return found
    return (expr.function, *map(shape_of, expr.args))


def sqlglot_shape(node: Any, exp: Any) -> Any:
    names = {"and": "and", "or": "or", "not": "not", "eq": "=", "neq": "!=", "lt": "<", "lte": "<=", "gt": ">",
             "gte": ">=", "add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "%", "neg": "negative"}  # fmt: skip
    if isinstance(node, exp.Paren):
        return sqlglot_shape(node.this, exp)
    if isinstance(node, exp.Column):
        return node.name
    parts = [node.this] + ([node.expression] if node.args.get("expression") is not None else [])
    return (names[node.key], *(sqlglot_shape(p, exp) for p in parts))


# types and schemas --------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, suppress_health_check=QUIET)
@given(TYPES)
def test_the_text_of_a_type_parses_to_the_type(data_type):
    text = to_sql(Cast(a, data_type))
    assert parse_data_type(text[len("CAST(a AS ") : -1]) == data_type


def test_a_schema_as_in_create_table():
    found = parse_schema(
        "id bigint NOT NULL, name string COMMENT 'it''s', day date GENERATED ALWAYS AS (cast(ts as date)),"
        " `x y` int DEFAULT 3, k long generated by default as identity (start with 5 increment by -2),"
        " s struct<a:int not null,b:array<string>>"
    )
    assert found == Schema(
        [
            Field("id", "long", False),
            Field("name", "string", True, {"comment": "it's"}),
            Field("day", "date", True, {"delta.generationExpression": "cast(ts as date)"}),
            Field("x y", "integer", True, {"CURRENT_DEFAULT": "3"}),
            Field(
                "k",
                "long",
                True,
                {"delta.identity.start": 5, "delta.identity.step": -2, "delta.identity.allowExplicitInsert": True},
            ),
            Field("s", StructType([Field("a", "integer", False), Field("b", ArrayType("string"))])),
        ]
    )
    assert isinstance(found, Schema)
    assert parse_schema("(a int, b string)") == parse_schema("a int, b string")


def test_types_by_all_their_names():
    assert parse_data_type("array<struct<a:int,b:decimal(10,2)>>") == ArrayType(
        StructType([Field("a", "integer"), Field("b", "decimal(10,2)")])
    )
    for name, expected in {"TinyInt": "byte", "BYTE": "byte", "smallint": "short", "real": "float",
                           "numeric(5)": "decimal(5,0)", "dec": "decimal(10,0)",
                           "timestamp_ltz": "timestamp", "void": "void"}.items():  # fmt: skip
        assert parse_data_type(name) == PrimitiveType(expected)
    assert parse_data_type("variant").type == "variant"  # type: ignore[union-attr]
    assert parse_data_type("map<string, array<int>>") == MapType("string", ArrayType("integer"))


@pytest.mark.parametrize(
    "text",
    ["", "a", "a int,", "a int b", "a int, A string", "a int NOT", "a foo", "a int DEFAULT",
     "a int GENERATED ALWAYS AS cast(b as int)",
     "a int GENERATED ALWAYS AS (1", "a int COMMENT x", "a bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 0)",
     "a array<int", "(a int"],
)  # fmt: skip
def test_a_malformed_schema_is_an_error(text):
    with pytest.raises(ExpressionError):
        parse_schema(text)


def test_what_is_no_text_is_an_error_too():
    with pytest.raises(DeltaError):
        parse_expression(5)  # type: ignore[arg-type]


def test_columns_of_an_expression():
    assert columns_of(parse_expression("a.b + c > f(d) and e in (1, a)")) == {
        ("a", "b"),
        ("c",),
        ("d",),
        ("e",),
        ("a",),
    }
