"""Random rows, files, statistics and predicates; and a row-by-row model of evaluation without any vectors."""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from deltalite.expr.prune import ColumnStats
from deltalite.model.arrow import array
from deltalite.model.expr import Call, Case, Cast, Column, Literal, call, lit
from deltalite.model.types import Field, PrimitiveType, Schema

UTC = dt.timezone.utc
NAN = float("nan")
SCHEMA = Schema(
    [
        Field("i", "integer"),
        Field("l", "long"),
        Field("f", "double"),
        Field("g", "float"),
        Field("s", "string"),
        Field("b", "boolean"),
        Field("d", "date"),
        Field("t", "timestamp"),
        Field("n", "timestamp_ntz"),
        Field("x", "decimal(6,2)"),
        Field("p", "integer"),
        Field("q", "string"),
        Field("r", "double"),
        Field("u", "date"),
    ]
)
PARTITIONS = ("p", "q", "r", "u")

_FLOATS = st.sampled_from([NAN, 0.0, -0.0, 1.0, -1.5, 2.5, math.inf, -math.inf, 100.0])
_DATES = st.dates(dt.date(2019, 12, 28), dt.date(2020, 3, 5)) | st.sampled_from(
    [dt.date(1, 1, 2), dt.date(9999, 12, 30)]
)
_MOMENTS = st.datetimes(dt.datetime(2020, 2, 27), dt.datetime(2020, 3, 2)) | st.sampled_from(
    [dt.datetime(2020, 3, 29, 1, 59, 59, 999999), dt.datetime(2020, 10, 25, 0, 30), dt.datetime(2020, 10, 25, 1, 30),
     dt.datetime(2020, 10, 25, 23, 59, 0, 456789), dt.datetime(1850, 1, 1), dt.datetime(2020, 11, 1, 0, 30)]
)  # fmt: skip
_STRINGS = st.text("ab\u00e9\U0001f600Z%_\\", max_size=5) | st.sampled_from(["", "ab", "abc", "b" * 40, "a\n"])
_VALUES: dict[str, Any] = {
    "integer": st.integers(-4, 4) | st.sampled_from([2**31 - 1, -(2**31)]),
    "long": st.integers(-4, 4) | st.sampled_from([2**63 - 1, -(2**63), 2**31]),
    "double": _FLOATS,
    "float": _FLOATS,
    "string": _STRINGS,
    "boolean": st.booleans(),
    "date": _DATES,
    "timestamp": _MOMENTS.map(lambda v: v.replace(tzinfo=UTC)),
    "timestamp_ntz": _MOMENTS,
    "decimal(6,2)": st.integers(-500, 500).map(lambda v: Decimal(v).scaleb(-2)),
}


def values(name: str, nulls: bool = True) -> Any:
    plain = _VALUES[SCHEMA.get(name).type.type]  # type: ignore[union-attr]
    return st.none() | plain if nulls else plain


def batch_of(rows: list[dict[str, Any]], schema: Schema = SCHEMA) -> pa.RecordBatch:
    arrow = schema.to_arrow()
    return pa.RecordBatch.from_arrays([array([r[f.name] for r in rows], f.type) for f in arrow], schema=arrow)


# predicates ---------------------------------------------------------------------------------------------------------

_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=", "<=>")
_SAME_KIND = (
    ("i", "l"),
    ("i", "p"),
    ("f", "g"),
    ("f", "r"),
    ("s", "q"),
    ("d", "u"),
    ("i", "x"),
    ("l", "f"),
    ("d", "t"),
    ("d", "n"),
)


@st.composite
def conditions(draw: Any, depth: int = 3) -> Any:
    """A predicate over the columns of SCHEMA."""
    if depth and draw(st.booleans()):
        kind = draw(st.sampled_from(["and", "or", "not", "case", "is_true", "is_null", "if"]))
        parts = [draw(conditions(depth - 1)) for _ in range(2)]
        if kind in ("and", "or"):
            return Call(kind, tuple(parts))
        if kind == "case":
            return Case(((parts[0], parts[1]),), draw(conditions(depth - 1)))
        if kind == "if":
            return Call("if", (parts[0], parts[1], lit(draw(st.sampled_from([True, False, None])))))
        return Call(kind, (parts[0],))
    return draw(leaves())


@st.composite
def leaves(draw: Any) -> Any:
    name = draw(st.sampled_from(SCHEMA.names))
    column = Column((name,))
    kind = draw(
        st.sampled_from(["compare", "compare", "compare", "columns", "in", "between", "null", "like", "mapped", "flag"])
    )
    if kind == "compare":
        value = lit(draw(values(name)))
        op = draw(st.sampled_from(_COMPARISONS))
        return Call(op, (column, value) if draw(st.booleans()) else (value, column))
    if kind == "columns":
        left, right = draw(st.sampled_from(_SAME_KIND))
        return Call(draw(st.sampled_from(_COMPARISONS)), (Column((left,)), Column((right,))))
    if kind == "in":
        items = draw(st.lists(values(name), min_size=1, max_size=4))
        return Call("in", (column, *(lit(v) for v in items)))
    if kind == "between":
        return Call("between", (column, lit(draw(values(name))), lit(draw(values(name)))))
    if kind == "null":
        return Call(draw(st.sampled_from(["is_null", "isnotnull"])), (column,))
    if kind == "like":
        pattern = draw(st.sampled_from(["a%", "ab%", "%b", "ab", "_b%", "a_%", "%", "b" * 35 + "%", "a\\%%"]))
        return Call("like", (Column((draw(st.sampled_from("sq")),)), lit(pattern)))
    if kind == "flag":
        return Column(("b",))
    return draw(mapped())


@st.composite
def mapped(draw: Any) -> Any:
    """A comparison of a function of a column with a constant."""
    op = draw(st.sampled_from(_COMPARISONS))
    left, value = draw(
        st.sampled_from(
            [
                (Cast(Column(("t",)), PrimitiveType("date")), dt.date(2020, 2, 28)),
                (Cast(Column(("n",)), PrimitiveType("date")), dt.date(2020, 10, 25)),
                (Cast(Column(("t",)), PrimitiveType("timestamp_ntz")), dt.datetime(2020, 2, 28, 1)),
                (Cast(Column(("d",)), PrimitiveType("timestamp")), dt.datetime(2020, 2, 28, 1, tzinfo=UTC)),
                (call("year", Column(("t",))), 2020),
                (call("year", Column(("d",))), 2020),
                (call("month", Column(("t",))), 2),
                (call("date_trunc", "MONTH", Column(("t",))), dt.datetime(2020, 2, 1, tzinfo=UTC)),
                (call("date_trunc", "hour", Column(("t",))), dt.datetime(2020, 10, 25, 1, tzinfo=UTC)),
                (call("trunc", Column(("d",)), "MM"), dt.date(2020, 2, 1)),
                (call("date_add", Column(("d",)), 1), dt.date(2020, 2, 29)),
                (call("last_day", Column(("d",))), dt.date(2020, 2, 29)),
                (call("+", Column(("i",)), 1), 3),
                (call("-", Column(("l",)), 2), 0),
                (call("-", 2, Column(("l",))), 0),
                (call("negative", Column(("i",))), 1),
                (call("+", Column(("x",)), Decimal("0.5")), Decimal("1.00")),
                (call("left", Column(("s",)), 2), "ab"),
                (call("upper", Column(("s",))), "AB"),
                (call("length", Column(("q",))), 2),
                (call("coalesce", Column(("i",)), 3), 3),
                (call("floor", Column(("x",))), 1),
                (call("unix_date", Column(("d",))), 18320),
                (call("+", Cast(Column(("i",)), PrimitiveType("double")), NAN), NAN),
                (call("+", 2, Column(("i",))), 3),
                (call("+", Column(("f",)), 1.5), 2.5),
                (call("+", Column(("f",)), math.inf), NAN),
                (call("+", Column(("t",)), dt.timedelta(hours=3)), dt.datetime(2020, 10, 25, 2, tzinfo=UTC)),
                (call("-", Column(("d",)), dt.date(2020, 1, 1)), dt.timedelta(days=58)),
                (call("timestampadd", "day", 1, Column(("t",))), dt.datetime(2020, 10, 25, 2, tzinfo=UTC)),
                (Cast(Column(("i",)), PrimitiveType("string")), "2"),
                (Cast(Column(("p",)), PrimitiveType("string")), "2"),
                (Cast(Column(("i",)), PrimitiveType("double")), 1.5),
                (Cast(Column(("g",)), PrimitiveType("double")), 1.5),
                (Cast(Column(("s",)), PrimitiveType("integer"), True), 2),
                (call("isnan", Column(("f",))), True),
                (call("+", Column(("d",)), dt.timedelta(days=3)), dt.date(2020, 3, 1)),
            ]
        )
    )
    return Call(op, (left, lit(value)))


# files and their statistics -----------------------------------------------------------------------------------------


@dataclass
class Files:
    """Files of rows, with what a log would know of them."""

    batches: list[pa.RecordBatch]
    num_records: Any
    columns: dict[str, ColumnStats] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.batches)

    def column(self, path: tuple[str, ...]) -> ColumnStats | None:
        return self.columns.get(path[0]) if len(path) == 1 else None


def _bounds(name: str, present: list[Any]) -> tuple[Any, Any]:
    """Bounds as a log keeps them: without NaN, text cut to 4 characters and widened, times widened to milliseconds."""
    kind = SCHEMA.get(name).type.type  # type: ignore[union-attr]
    found = [v for v in present if not (isinstance(v, float) and math.isnan(v))]
    if not found or kind == "boolean":
        return None, None
    low, high = min(found), max(found)
    if kind == "string":
        high = high if len(high) <= 4 else high[:4] + "\U0010ffff"
        return low[:4], high
    if isinstance(low, dt.datetime):
        low = low.replace(microsecond=low.microsecond // 1000 * 1000)
        high = high.replace(microsecond=high.microsecond // 1000 * 1000) + dt.timedelta(milliseconds=1)
    return low, high


@st.composite
def files(draw: Any, count: int = 3) -> Files:
    """Random files; each statistic may be missing."""
    batches, bounds, counts, records = [], [], [], []
    for _ in range(count):
        shared = {name: draw(values(name)) for name in PARTITIONS}
        free = [n for n in SCHEMA.names if n not in PARTITIONS]
        rows = draw(st.lists(st.fixed_dictionaries({n: values(n) for n in free}), max_size=3))
        rows = [{**r, **shared} for r in rows]
        batches.append(batch_of(rows))
        bounds.append(
            {n: _bounds(n, [r[n] for r in rows if r[n] is not None]) for n in free}
            | {n: (v, v) for n, v in shared.items()}
        )
        counts.append({n: sum(r[n] is None for r in rows) for n in free})
        records.append(len(rows))
    missing = draw(st.sets(st.sampled_from(["records", *SCHEMA.names]), max_size=4))
    holes = draw(st.sets(st.tuples(st.sampled_from(["min", "max", "nulls"]), st.integers(0, count - 1)), max_size=3))
    num_records = None if "records" in missing else array(records, pa.int64())
    found = Files(batches, num_records)
    for name in SCHEMA.names:
        exact = name in PARTITIONS
        if name in missing and not exact:
            continue
        t = SCHEMA.get(name).type.to_arrow()  # type: ignore[union-attr]

        def known(part: str, all_values: list[Any], keep: bool = exact) -> list[Any]:
            return [None if (part, i) in holes and not keep else v for i, v in enumerate(all_values)]

        found.columns[name] = ColumnStats(
            array(known("min", [b[name][0] for b in bounds]), t),
            array(known("max", [b[name][1] for b in bounds]), t),
            None if exact else array(known("nulls", [c[name] for c in counts]), pa.int64()),
            exact,
        )
    return found


# the model ----------------------------------------------------------------------------------------------------------


class ModelError(Exception):
    """Evaluation fails, as ANSI SQL demands."""


def model(expr: Any, row: dict[str, Any]) -> Any:
    """The value of a bound expression for one row, by the plainest means."""
    if isinstance(expr, Literal):
        return expr.value
    if isinstance(expr, Column):
        return row[expr.path[0]]
    if isinstance(expr, Case):
        for condition, value in expr.branches:
            if model(condition, row) is True:
                return model(value, row)
        return None if expr.otherwise is None else model(expr.otherwise, row)
    if isinstance(expr, Cast):
        return _cast(model(expr.operand, row), expr)
    return _CALLS[expr.function](expr, row)


def _order(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float):
        return (1, 0) if math.isnan(value) else (0, Decimal(value) if math.isfinite(value) else value)
    return value


def _compare(op: str) -> Any:
    tests = {"=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
             ">": lambda a, b: a > b, ">=": lambda a, b: a >= b}  # fmt: skip

    def run(expr: Any, row: dict[str, Any]) -> Any:
        left, right = (model(a, row) for a in expr.args)
        return None if left is None or right is None else tests[op](_order(left), _order(right))

    return run


def _and(expr: Any, row: dict[str, Any]) -> Any:
    found: Any = True
    for arg in expr.args:
        value = model(arg, row)
        if value is False:
            return False
        found = None if value is None else found
    return found


def _or(expr: Any, row: dict[str, Any]) -> Any:
    found: Any = False
    for arg in expr.args:
        value = model(arg, row)
        if value is True:
            return True
        found = None if value is None else found
    return found


def _not(expr: Any, row: dict[str, Any]) -> Any:
    value = model(expr.args[0], row)
    return None if value is None else not value


def _null_safe(expr: Any, row: dict[str, Any]) -> bool:
    left, right = (model(a, row) for a in expr.args)
    if left is None or right is None:
        return left is None and right is None
    return _order(left) == _order(right)


def _in(expr: Any, row: dict[str, Any]) -> Any:
    value = model(expr.args[0], row)
    items = expr.args[1].value if isinstance(expr.args[1], Literal) else [model(a, row) for a in expr.args[1:]]
    if value is None:
        return None
    if any(i is not None and _order(i) == _order(value) for i in items):
        return True
    return None if any(i is None for i in items) else False


def _coalesce(expr: Any, row: dict[str, Any]) -> Any:
    for arg in expr.args:
        value = model(arg, row)
        if value is not None:
            return value
    return None


def _strict(compute: Any) -> Any:
    def run(expr: Any, row: dict[str, Any]) -> Any:
        args = [model(a, row) for a in expr.args]
        return None if None in args else compute(expr, *args)

    return run


def _whole(expr: Any, value: Any) -> Any:
    bits = {"byte": 7, "short": 15, "integer": 31, "long": 63}.get(expr.type.type)
    if bits and not -(2**bits) <= value < 2**bits:
        raise ModelError("overflow")
    return value


def _divide(expr: Any, a: Any, b: Any) -> Any:
    if b == 0:
        raise ModelError("division by zero")
    return a / b


def _like(expr: Any, text: str, pattern: str) -> bool:
    out, escaped = "", False
    for c in pattern:
        if escaped:
            out, escaped = out + re.escape(c), False
        elif c == "\\":
            escaped = True
        else:
            out += {"%": ".*", "_": "."}.get(c) or re.escape(c)
    return re.fullmatch(out, text, re.DOTALL) is not None


def _cast(value: Any, expr: Cast) -> Any:
    kind = expr.type.type
    if value is None:
        return None
    if kind in ("integer", "long", "short", "byte"):
        if isinstance(value, str):
            if not re.fullmatch(r"\s*[+-]?\d+\s*", value, re.ASCII):
                if expr.try_:
                    return None
                raise ModelError("not a number")
            value = int(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelError("not finite")
        return _whole(expr, math.trunc(value))
    if kind == "double":
        return float(value)
    if kind == "string" and isinstance(value, int):
        return str(value)
    if kind.startswith("decimal"):
        return Decimal(value)
    raise NotImplementedError(f"cast to {kind}")


_CALLS: dict[str, Any] = {
    **{op: _compare(op) for op in ("=", "!=", "<", "<=", ">", ">=")},
    "<=>": _null_safe,
    "and": _and,
    "or": _or,
    "not": _not,
    "in": _in,
    "is_null": lambda expr, row: model(expr.args[0], row) is None,
    "is_true": lambda expr, row: model(expr.args[0], row) is True,
    "is_false": lambda expr, row: model(expr.args[0], row) is False,
    "coalesce": _coalesce,
    "+": _strict(lambda expr, a, b: _whole(expr, a + b)),
    "-": _strict(lambda expr, a, b: _whole(expr, a - b)),
    "*": _strict(lambda expr, a, b: _whole(expr, a * b)),
    "/": _strict(_divide),
    "negative": _strict(lambda expr, a: _whole(expr, -a)),
    "like": _strict(_like),
    "startswith": _strict(lambda expr, a, b: a.startswith(b)),
    "endswith": _strict(lambda expr, a, b: a.endswith(b)),
    "contains": _strict(lambda expr, a, b: b in a),
    "length": _strict(lambda expr, a: len(a)),
    "concat": _strict(lambda expr, *parts: "".join(parts)),
    "substring": _strict(lambda expr, a, start, size: a[max(start - 1, 0) : max(start - 1, 0) + max(size, 0)]),
}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


def scalar_of(values: pa.Array, index: int) -> Any:
    return values[index].as_py()
