"""Names in joined rows, predicates taken apart, and what a SET does to a row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deltalite.exceptions import DeltaError, ExpressionError, InvalidArgumentError
from deltalite.expr.arrow import evaluate, true_mask
from deltalite.expr.assignments import DEFAULT, assignments, insertions
from deltalite.expr.bind import bind, conjuncts
from deltalite.expr.joined import sides_of, source_only, split_match, target_only, to_joined
from deltalite.expr.parse import parse_expression
from deltalite.expr.scope import Scope, rewritten
from deltalite.model.change import SOURCE, TARGET
from deltalite.model.expr import BOOLEAN, STRING, Call, Column, DoubleQuoted, Expr, Literal, and_, call, col, quote_name
from deltalite.model.types import ArrayType, Field, MapType, PrimitiveType, Schema, StructType
from tests.unit.expr.strategies import SCHEMA, batch_of, conditions, values

QUIET = [*HealthCheck]
GEO = StructType([Field("lat", "double"), Field("lon", "double")])
ADDRESS = StructType([Field("city", "string"), Field("geo", GEO)])
TABLE = StructType(
    [
        Field("id", "long"),
        Field("x", "integer"),
        Field("addr", ADDRESS),
        Field("tags", ArrayType("string")),
        Field("kv", MapType("string", "integer")),
        Field("a.b", "string"),
        Field("n", "integer", metadata={"CURRENT_DEFAULT": "6 + 1"}),
        Field("g", "long", metadata={"delta.generationExpression": "id + 1"}),
    ]
)
ROWS = StructType([Field("ID", "integer"), Field("y", "integer"), Field("addr", ADDRESS)])
SCOPE = Scope.of(TABLE, None, ROWS, None)


def message(function: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(DeltaError) as caught:
        function(*args, **kwargs)
    return str(caught.value)


# names --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", Column(("target.x",))),
        ("X", Column(("target.x",))),
        ("y", Column(("source.y",))),
        ("t.id", Column(("target.id",))),
        ("TARGET.Id", Column(("target.id",))),
        ("s.id", Column(("source.ID",))),
        ("source.`id`", Column(("source.ID",))),
        ("t.addr.CITY", Column(("target.addr", "city"))),
        ("s.addr.geo.lat", Column(("source.addr", "geo", "lat"))),
        ("kv.some", Column(("target.kv", "some"))),
        ("`a.b`", Column(("target.a.b",))),
        ("t.`A.B`", Column(("target.a.b",))),
        ('"x"', Column(("target.x",))),
        ('"no column"', Literal("no column", STRING)),
        ('t."x"', Column(("target.x",))),
        ("current_date", col("current_date")),
    ],
)
def test_names(text: str, expected: Expr) -> None:
    assert SCOPE.resolve(parse_expression(text)) == expected


def test_a_given_alias_takes_a_default_name_over() -> None:
    scope = Scope.of(TABLE, "s", ROWS, "u")
    assert scope.resolve(col("s.x")) == Column(("target.x",))
    assert scope.resolve(col("U.y")) == Column(("source.y",))
    assert scope.resolve(col("source.y")) == Column(("source.y",))
    assert scope.resolve(col("t.x")) == Column(("target.x",))


def test_an_alias_wins_over_a_column_of_its_name_only_where_a_column_follows() -> None:
    table = StructType([Field("t", StructType([Field("id", "long"), Field("z", "long")])), Field("id", "long")])
    given = Scope.of(table, "t")
    assert given.resolve(col("t.id")) == Column(("target.id",))
    assert given.resolve(col("t.z")) == Column(("target.t", "z"))
    assert given.resolve(col("t.t.z")) == Column(("target.t", "z"))
    assert given.resolve(col("t")) == Column(("target.t",))
    by_default = Scope.of(table)
    assert by_default.resolve(col("t.id")) == Column(("target.t", "id"))
    assert by_default.resolve(col("target.id")) == Column(("target.id",))


def test_a_default_name_stands_for_the_side_where_the_column_of_that_name_leads_nowhere() -> None:
    table = StructType([Field("t", "long"), Field("id", "long")])
    assert Scope.of(table).resolve(col("t.id")) == Column(("target.id",))
    both = Scope.of(table, None, StructType([Field("t", "long"), Field("id", "long")]))
    assert both.resolve(col("t.id")) == Column(("target.id",))


def test_a_name_of_both_sides_is_ambiguous_and_the_error_says_how_to_write_it() -> None:
    scope = Scope.of(TABLE, "flights", ROWS, "new rows")
    error = message(scope.bind_predicate, "y = 1 AND id = 2")
    assert "both the table and the source have a column 'id'" in error
    assert "flights.id or `new rows`.id" in error
    assert "\n  y = 1 AND id = 2\n            ^" in error
    assert "target.addr or source.addr" in message(SCOPE.bind, "addr.city")
    assert "ambiguous" not in error
    with pytest.raises(ExpressionError):
        SCOPE.resolve(DoubleQuoted("id"))


def test_an_unknown_name_suggests_names_of_both_sides() -> None:
    assert "did you mean target.id or source.ID?" in message(SCOPE.bind, "idd")
    assert "did you mean t.x?" in message(Scope.of(TABLE, "t", ROWS, "s").bind, "t.xx")
    assert "there is no column 't.y' in the table" in message(SCOPE.bind, "t.y")
    assert "target.`a.b`" in message(SCOPE.bind, "a.b")
    assert "did you mean id?" in message(Scope.of(TABLE).bind, "idd")
    assert "its fields are: city, geo" in message(SCOPE.bind, "t.addr.town")


def test_one_alias_for_both_sides_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="both called"):
        Scope.of(TABLE, "X", ROWS, "x")


def test_a_clause_sees_its_side_only() -> None:
    inserting, orphaned = SCOPE.only("source"), SCOPE.only("target")
    assert inserting.resolve(col("id")) == Column(("source.ID",))
    assert orphaned.resolve(col("id")) == Column(("target.id",))
    assert "x is a column of the table, but WHEN NOT MATCHED is for rows" in message(inserting.bind, "x")
    assert "t.x is a column of the table" in message(inserting.bind, "t.x + 1")
    assert "y is a column of the source, but WHEN NOT MATCHED BY SOURCE" in message(orphaned.bind, "y")
    assert inserting.schema == SCOPE.schema


def test_messages_speak_of_the_users_names() -> None:
    scope = Scope.of(TABLE, "f", ROWS, "u")
    assert scope.to_sql(scope.bind("f.x + u.y")) == "f.x + u.y"
    assert scope.to_sql(SCOPE.bind("`a.b`")) == "f.`a.b`"
    assert Scope.of(TABLE).to_sql(SCOPE.bind("t.x")) == "x"
    assert SCOPE.to_sql(SCOPE.bind("x = y")) == "target.x = source.y"
    bound = scope.bind("f.x * u.y")
    numbers = [pa.array([2**30], pa.int32())] * 2
    rows = pa.RecordBatch.from_arrays(numbers, ["target.x", "source.y"])
    with pytest.raises(ExpressionError) as caught:
        evaluate(bound, rows)
    assert "`target." in str(caught.value)
    assert str(scope.readable(caught.value)) == "the result overflows in f.x * u.y"


def test_a_deep_expression_is_an_error_of_ours() -> None:
    deep = col("x")
    for _ in range(100_000):
        deep = Call("not", (deep,))
    with pytest.raises(ExpressionError, match="too deeply"):
        SCOPE.resolve(deep)


NAMES = st.sampled_from(["a", "b", "c", "t", "s", "target", "source", "A.b", "x y"])
TYPES = st.sampled_from([PrimitiveType("long"), StructType([Field("a", "long"), Field("t", "long")])])
SCHEMAS = st.lists(st.builds(Field, NAMES, TYPES), unique_by=lambda f: f.name.lower(), max_size=5).map(StructType)
ALIASES = st.none() | st.sampled_from(["t", "s", "a", "u", "TARGET", "source"])


def model(path: tuple[str, ...], sides: dict[str, StructType], aliases: dict[str, str | None]) -> Any:
    """What a path means, by trying every meaning: a column, ``None``, or the set of sides that both have it."""
    defaults = {TARGET: {"target", "t"}, SOURCE: {"source", "s"}}
    given = {a.lower() for a in aliases.values() if a}

    def lookup(prefix: str, rest: tuple[str, ...]) -> Any:
        here: Any = sides[prefix]
        found: list[str] = []
        for name in rest:
            if not isinstance(here, StructType) or here.get(name) is None:
                return None
            found.append(here.get(name).name)  # type: ignore[union-attr]
            here = here.get(name).type  # type: ignore[union-attr]
        return Column((prefix + found[0], *found[1:])) if found else None

    first = path[0].lower()
    strong = [lookup(p, path[1:]) for p in sides if (aliases[p] or "").lower() == first]
    bare = [lookup(p, path) for p in sides]
    weak = [lookup(p, path[1:]) for p in sides if first in defaults[p] - given]
    for rank in (strong, bare, weak):
        rank = [c for c in rank if c is not None]
        if rank:
            return rank[0] if len(rank) == 1 else "ambiguous"
    return None


@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
@given(SCHEMAS, SCHEMAS, ALIASES, ALIASES, st.lists(NAMES | NAMES.map(str.upper), min_size=1, max_size=3).map(tuple))
def test_names_mean_what_a_model_says(
    table: StructType, source: StructType, a: str | None, b: str | None, path: tuple[str, ...]
) -> None:
    assume(not (a and b and a.lower() == b.lower()))
    scope = Scope.of(table, a, source, b)
    wanted = model(path, {TARGET: table, SOURCE: source}, {TARGET: a, SOURCE: b})
    if isinstance(wanted, Column):
        assert scope.resolve(Column(path)) == wanted
        assert bind(scope.resolve(Column(path)), scope.schema).columns == {wanted.path}
        # what is shown to the user means the same when it is written with enough names
        shown = scope.to_sql(scope.bind(Column(path)))
        assert shown.startswith(tuple(quote_name(n) for n in (a, b, "t", "s", "target", "source") if n))
    else:
        with pytest.raises(ExpressionError):
            scope.bind(Column(path))


@settings(max_examples=200, deadline=None, suppress_health_check=QUIET)
@given(SCHEMAS, SCHEMAS, st.lists(NAMES, min_size=1, max_size=3).map(tuple))
def test_a_hidden_side_is_never_seen(table: StructType, source: StructType, path: tuple[str, ...]) -> None:
    for side, prefix in (("source", SOURCE), ("target", TARGET)):
        try:
            found = Scope.of(table, None, source, None).only(side).resolve(Column(path))  # type: ignore[arg-type]
        except ExpressionError:
            continue
        assert found.path[0].startswith(prefix)  # type: ignore[attr-defined]


# predicates taken apart -----------------------------------------------------------------------------------------------


def test_the_parts_of_a_match() -> None:
    match = split_match(SCOPE.bind_predicate("t.id = s.id AND x > 3 AND y <=> x AND y + 1 < 2 AND x + y = 3"))
    shown = [(SCOPE.to_sql(k.target), SCOPE.to_sql(k.source), k.null_safe) for k in match.keys]
    assert shown == [("target.id", "CAST(source.ID AS bigint)", False), ("target.x", "source.y", True)]
    assert match.keys[0].target.type == match.keys[0].source.type == PrimitiveType("long")
    assert [SCOPE.to_sql(p) for p in (match.target, match.source, match.residual) if p] == [
        "target.x > 3",
        "source.y + 1 < 2",
        "target.x + source.y = 3",
    ]


def test_a_key_is_written_either_way_round() -> None:
    assert split_match(SCOPE.bind_predicate("s.y = t.x")) == split_match(SCOPE.bind_predicate("t.x = s.y"))


def test_both_sides_of_a_key_have_one_type() -> None:
    table = StructType([Field("p", "decimal(10,2)"), Field("q", "decimal(38,2)"), Field("i", "integer")])
    source = StructType([Field("r", "decimal(12,6)")])
    scope = Scope.of(table, None, source)
    for text in ("p = r", "i <=> r"):
        (key,) = split_match(scope.bind_predicate(text)).keys
        assert key.target.type == key.source.type
    assert split_match(scope.bind_predicate("q = r")).keys == ()  # no decimal of 38 digits holds both exactly
    assert split_match(scope.bind_predicate("q = r")).residual is not None


def test_nested_values_are_no_keys() -> None:
    match = split_match(SCOPE.bind_predicate("t.addr = s.addr"))
    assert match.keys == () and match.residual is not None


def test_a_constant_condition_is_the_sources() -> None:
    never = split_match(SCOPE.bind_predicate("1 = 2"))
    assert never.source is not None and never.source.expr == Literal(False, BOOLEAN)
    always = split_match(SCOPE.bind_predicate("true"))
    assert (always.keys, always.target, always.source, always.residual) == ((), None, None, None)
    unknown = split_match(SCOPE.bind_predicate("null"))
    assert unknown.source is not None and unknown.source.expr == Literal(None, BOOLEAN)


def test_to_rows_of_the_table_and_back() -> None:
    plain = bind("x > 3 AND addr.city = 'B'", TABLE)
    assert target_only(SCOPE.bind("t.x > 3 AND t.addr.city = 'B'")) == plain
    assert target_only(to_joined(plain)) == plain
    assert source_only(SCOPE.bind("y")) == bind("y", ROWS)
    assert to_joined(bind("y", ROWS), SOURCE) == SCOPE.bind("y")
    for function in (target_only, source_only):
        with pytest.raises(InvalidArgumentError):
            function(SCOPE.bind("x + y"))


JOINED = Scope.of(SCHEMA, None, SCHEMA, None)
PAIRS = st.lists(
    st.tuples(*(st.fixed_dictionaries({n: values(n) for n in SCHEMA.names}) for _ in range(2))), min_size=1, max_size=6
)


@st.composite
def sided(draw: Any) -> Expr:
    """A predicate whose columns are of either side."""
    parts: list[Expr] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            name = draw(st.sampled_from(SCHEMA.names))
            sides = (Column(("t", name)), Column(("s", name)))
            parts.append(Call(draw(st.sampled_from(["=", "<=>"])), sides if draw(st.booleans()) else sides[::-1]))
            continue
        one = draw(st.sampled_from(["t", "s", "either"]))

        def placed(node: Expr, one: str = one) -> Expr:
            side = draw(st.sampled_from("ts")) if one == "either" else one
            return Column((side, *node.path)) if isinstance(node, Column) else node

        parts.append(rewritten(draw(conditions(2)), placed))
    return and_(*parts)


@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
@given(sided(), PAIRS)
def test_rows_match_where_every_part_is_true(predicate: Expr, pairs: Any) -> None:
    bound = JOINED.bind_predicate(predicate)
    match = split_match(bound)
    sides = [batch_of([p[i] for p in pairs]) for i in (0, 1)]
    joined = pa.RecordBatch.from_arrays(
        [c for side in sides for c in side.columns], [p + n for p in (TARGET, SOURCE) for n in SCHEMA.names]
    )
    try:
        whole = true_mask(bound, joined).to_pylist()
        found = [True] * len(pairs)
        for part in [p for p in (match.target, match.source, match.residual) if p is not None]:
            found = [a and b for a, b in zip(found, true_mask(part, joined).to_pylist(), strict=True)]
        if match.target is not None:
            assert true_mask(target_only(match.target), sides[0]) == true_mask(match.target, joined)
        if match.source is not None:
            assert true_mask(source_only(match.source), sides[1]) == true_mask(match.source, joined)
        for key in match.keys:
            assert sides_of(key.target) == {TARGET} and sides_of(key.source) == {SOURCE}
            left, right = (pa.table({"v": evaluate(k, joined)}) for k in (key.target, key.source))
            assert left.schema == right.schema
            same = call("<=>" if key.null_safe else "=", Column(("l",)), Column(("r",)))
            schema = StructType([Field("l", key.target.type), Field("r", key.source.type)])  # type: ignore[arg-type]
            rows = pa.RecordBatch.from_arrays([left["v"].chunk(0), right["v"].chunk(0)], ["l", "r"])
            found = [a and b for a, b in zip(found, true_mask(bind(same, schema), rows).to_pylist(), strict=True)]
    except ExpressionError:
        assume(False)  # an overflow, which AND may or may not come to
        return
    assert found == whole
    count = len(match.keys) + sum(len(conjuncts(p)) for p in (match.target, match.source, match.residual) if p)
    assert count == len(conjuncts(bound))


# assignments ----------------------------------------------------------------------------------------------------------


def assigned(updates: Any, scope: Scope = SCOPE) -> dict[str, str]:
    return {name: scope.to_sql(bound) for name, bound in assignments(updates, TABLE, scope).items()}


def test_assignments() -> None:
    assert assigned({"X": "y + 1", "t.id": col("s.id"), "`a.b`": "'v'"}) == {
        "x": "source.y + 1",
        "id": "source.ID",
        "a.b": "'v'",
    }
    assert assigned({("a.b",): "'v'"}) == assigned({"a.b": "'v'"}) == {"a.b": "'v'"}
    assert assigned({"addr.city": "'B'"}) == {"addr": "named_struct('city', 'B', 'geo', target.addr.geo)"}
    assert assigned({"addr.geo.lat": "1", "target.addr.city": "null"}) == {
        "addr": "named_struct('city', CAST(NULL AS string), 'geo', named_struct('lat', 1, 'lon', target.addr.geo.lon))"
    }
    assert assigned({"n": DEFAULT, "x": DEFAULT}) == {"n": "7", "x": "CAST(NULL AS int)"}


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        ({"x": "1", "X": "2"}, "x is assigned twice"),
        ({"x": "1", "t.x": "2"}, "x is assigned twice"),
        ([(("x",), "1"), (("x",), "2")], "x is assigned twice"),
        ({"addr": "s.addr", "addr.city": "'x'"}, "both addr and its field addr.city"),
        ({"addr.geo.lat": "1", "addr.geo": "null"}, "both addr.geo and its field addr.geo.lat"),
        ({"kv.a": "1"}, "kv is a map: nothing inside of it can be assigned"),
        ({"tags.element": "'a'"}, "tags is an array"),
        ({"x.y": "1"}, "x is no struct"),
        ({"addr.town": "1"}, "the struct addr has no field 'town'"),
        ({"addr.citi": "1"}, "did you mean city?"),
        ({"idd": "1"}, "did you mean target.id"),
        ({"y": "1"}, "y is a column of the source, but only columns of the table can be assigned"),
        ({"s.id": "1"}, "s.id is a column of the source, but"),
        ({"x": "interval 1 day"}, "x cannot hold an interval"),
        ({"x": "id"}, "both the table and the source"),
        ({"addr.city": DEFAULT}, "a field of a struct has no default"),
        ({"g": DEFAULT}, "it is computed"),
    ],
)
def test_assignments_that_are_refused(updates: Any, words: str) -> None:
    assert words in message(assignments, updates, TABLE, SCOPE)


def test_insertions() -> None:
    found = insertions({"id": "id", "t.x": "y", "n": DEFAULT}, TABLE, SCOPE)
    assert {name: SCOPE.to_sql(bound) for name, bound in found.items()} == {"id": "source.ID", "x": "source.y"}
    assert "a field of a struct" in message(insertions, {"addr.city": "'x'"}, TABLE, SCOPE)
    assert "WHEN NOT MATCHED is for rows of the source" in message(insertions, {"id": "x"}, TABLE, SCOPE)
    assert "twice" in message(insertions, [(("n",), DEFAULT), (("N",), "1")], TABLE, SCOPE)


STRUCTS = st.none() | st.fixed_dictionaries(
    {
        "city": st.none() | st.text(max_size=3),
        "geo": st.none() | st.fixed_dictionaries({"lat": st.none() | st.floats(0, 9), "lon": st.floats(0, 9)}),
    }
)
LEAVES = {"city": "'new'", "geo.lat": "double(-1)", "geo.lon": "null"}


@settings(max_examples=100, deadline=None)
@given(st.lists(STRUCTS, min_size=1, max_size=5), st.sets(st.sampled_from(["city", "geo.lat", "geo.lon"]), min_size=1))
def test_fields_of_a_struct_are_replaced_one_by_one(rows: list[Any], fields: set[str]) -> None:
    """A null struct becomes one with the assigned fields, as in Spark."""
    table = Schema([Field("addr", ADDRESS)])
    scope = Scope.of(table)
    found = assignments({f"addr.{name}": LEAVES[name] for name in fields}, table, scope)
    batch = pa.RecordBatch.from_arrays([pa.array(rows, table.to_arrow().field("addr").type)], ["target.addr"])
    got = evaluate(found["addr"], batch).to_pylist()

    def expected(row: Any) -> Any:
        old = row or {"city": None, "geo": None}
        new = {"city": "new" if "city" in fields else old["city"], "geo": old["geo"]}
        if {"geo.lat", "geo.lon"} & fields:
            geo = dict(old["geo"] or {"lat": None, "lon": None})
            geo.update({"lat": -1.0} if "geo.lat" in fields else {})
            geo.update({"lon": None} if "geo.lon" in fields else {})
            new["geo"] = geo
        return new

    assert got == [expected(row) for row in rows]
