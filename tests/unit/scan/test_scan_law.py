"""The law of scanning: a scan with a predicate returns the rows that a plain evaluation finds among all rows.

Files differ in everything that engines differ in: columns they lack, narrower types, tiny row groups, deletion vectors,
statistics that are missing, cut, or blind to NaN, and partition values of all kinds.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scan_tables import add_file, make_config, make_snapshot, memory_store, put_parquet

from deltalite.expr.bind import bind_predicate
from deltalite.expr.prune import keep_mask
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.file import inline
from deltalite.model.expr import Expr, call, col, lit, not_
from deltalite.model.types import Field, Schema, StructType
from deltalite.scan import plan as planning
from deltalite.scan.columns import Columns
from deltalite.scan.footer import FooterStats
from deltalite.scan.matching import may_match
from deltalite.scan.parquet import DataFile
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan

UTC = dt.timezone.utc
SCHEMA = Schema(
    [
        Field("i", "long"),
        Field("d", "double", metadata={"delta.typeChanges": [{"fromType": "float", "toType": "double"}]}),
        Field("s", "string"),
        Field("t", "timestamp"),
        Field("x", "decimal(12,4)"),
        Field("b", "boolean"),
        Field("n", StructType([Field("a", "long"), Field("s", "string")])),
        Field("p", "integer"),
        Field("q", "string"),
    ]
)
PATHS = [("i",), ("d",), ("s",), ("t",), ("x",), ("b",), ("n", "a"), ("n", "s"), ("p",), ("q",)]
LONG_TEXT = "x" * 31
MICROS = [
    dt.datetime(y, 1, 2, 3, 4, 5, us, UTC) for y in (1850, 1969, 2024) for us in (0, 456000, 456500, 456999, 457000)
]
VALUES: dict[str, list[Any]] = {
    "i": [None, -5, 0, 3, 7, 2**31, -(2**40)],
    "d": [None, float("nan"), -1.5, -0.1, 0.1, float(np.float32(0.1)), -0.0, 0.0, 2.0, float("inf"), float("-inf")],
    "s": [None, "", "a", "b", "ab", LONG_TEXT + "a", LONG_TEXT + "b", LONG_TEXT + "ab", LONG_TEXT + "\U0001f600z", "é"],
    "t": [None, *MICROS],
    "x": [None, Decimal("-1.5000"), Decimal("0.0000"), Decimal("2.2500"), Decimal("99.9900")],
    "b": [None, True, False],
    "a": [None, -1, 0, 4],
    "p": [None, 1, 2, 3],
    "q": [None, "", "a b", "c"],
}


def leaf(path: tuple[str, ...]) -> list[Any]:
    return VALUES["s" if path == ("n", "s") else path[-1]]


@st.composite
def rows_of_file(draw: st.DrawFn) -> dict[str, Any]:
    """One file: its rows as the table sees them, and how it is stored."""
    count = draw(st.integers(1, 8))
    missing = draw(st.sets(st.sampled_from(["d", "s", "t", "x", "n", "n.a", "b"]), max_size=2))
    narrow = draw(st.sets(st.sampled_from(["i", "d", "x"])))

    def value(name: str, path: tuple[str, ...]) -> Any:
        if ".".join(path) in missing or path[0] in missing:
            return None
        choices = leaf(path)
        if name == "i" and "i" in narrow:
            choices = [v for v in choices if v is None or -(2**31) <= v < 2**31]
        found = draw(st.sampled_from(choices))
        return float(np.float32(found)) if name == "d" and "d" in narrow and found is not None else found

    rows = []
    partition = {"p": draw(st.sampled_from(VALUES["p"])), "q": draw(st.sampled_from(VALUES["q"]))}
    for _ in range(count):
        row = {path[0]: value(path[0], path) for path in PATHS if len(path) == 1 and path[0] not in "pq"}
        nothing = "n" in missing or draw(st.booleans()) and draw(st.booleans())
        row["n"] = None if nothing else {"a": value("n", ("n", "a")), "s": value("n", ("n", "s"))}
        rows.append({**row, **partition})
    return {
        "rows": rows,
        "missing": missing,
        "narrow": narrow,
        "partition": partition,
        "deleted": draw(st.sets(st.integers(0, count - 1))),
        "stats": draw(st.sampled_from(["spark", "arrow", "some", "bare", "none"])),
        "row_group": draw(st.integers(1, 9)),
        "footer": draw(st.booleans()),
    }


def stored_table(file: dict[str, Any]) -> pa.Table:
    narrow, missing = file["narrow"], file["missing"]
    inner = [("s", pa.string())] + ([] if "n.a" in missing else [("a", pa.int64())])
    types = {
        "i": pa.int32() if "i" in narrow else pa.int64(),
        "d": pa.float32() if "d" in narrow else pa.float64(),
        "s": pa.large_string(),
        "t": pa.timestamp("us", "UTC"),
        "x": pa.decimal128(6, 2) if "x" in narrow else pa.decimal128(12, 4),
        "b": pa.bool_(),
        "n": pa.struct(inner),
    }
    rows = file["rows"]
    return pa.table({n: pa.array([r[n] for r in rows], t) for n, t in types.items() if n not in missing})


def written_stats(file: dict[str, Any]) -> dict[str, Any] | None:
    """Statistics as some writer leaves them: ``arrow`` knows nothing of NaN, ``bare`` cuts text without a mark."""
    kind, rows = file["stats"], file["rows"]
    if kind == "none":
        return None
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, Any] = {}
    for path in PATHS:
        if path[0] in ("p", "q") or (kind == "some" and path[-1] in ("i", "s")):
            continue
        if path[0] in file["missing"] or ".".join(path) in file["missing"]:
            continue
        values = [pick(row, path) for row in rows]
        present = [v for v in values if v is not None]
        put(nulls, path, len(values) - len(present))
        numbers = [v for v in present if not isinstance(v, float) or math.isfinite(v)]
        if any(isinstance(v, float) and math.isinf(v) for v in present) or not numbers or path == ("b",):
            continue
        put(low, path, as_json(min(numbers), file, path))
        if len(numbers) == len(present) or kind == "arrow":
            put(high, path, as_json(max(numbers), file, path, maximum=True))
    return {"numRecords": len(rows), "minValues": low, "maxValues": high, "nullCount": nulls}


def as_json(value: Any, file: dict[str, Any], path: tuple[str, ...], maximum: bool = False) -> Any:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03d}Z".rjust(24, "0")
    if isinstance(value, Decimal):
        return float(value)
    if path == ("d",) and "d" in file["narrow"]:
        return float(f"{value:.6g}")
    if isinstance(value, str) and len(value) > 32:
        prefix = value[:32]
        return prefix + ("\U0010ffff" if maximum and file["stats"] != "bare" else "")
    return value


def put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def pick(row: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        row = None if row is None else row[name]
    return row


# -- predicates, twice: as an expression and as a plain function ---------------------------------------------------


@st.composite
def predicates(draw: st.DrawFn, depth: int = 2) -> tuple[Expr, Any]:
    kind = draw(st.sampled_from(["cmp", "cmp", "cmp", "null", "in", *(["and", "or", "not"] if depth else [])]))
    if kind in ("and", "or"):
        left, right = draw(predicates(depth=depth - 1)), draw(predicates(depth=depth - 1))
        return call(kind, left[0], right[0]), lambda row: LOGIC[kind](left[1](row), right[1](row))
    if kind == "not":
        inner = draw(predicates(depth=depth - 1))
        return not_(inner[0]), lambda row: None if inner[1](row) is None else not inner[1](row)
    path = draw(st.sampled_from(PATHS))
    column = col(*path) if len(path) > 1 else col(path[0])
    if kind == "null":
        return call("is_null", column), lambda row: pick(row, path) is None
    constants = [v for v in leaf(path) if v is not None]
    if kind == "in":
        among = draw(st.lists(st.sampled_from(constants), min_size=1, max_size=3))
        return call("in", column, *among), lambda row: member(pick(row, path), among)
    constant = draw(st.sampled_from(constants))
    op = draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "<=>"]))
    return call(op, column, lit(constant)), lambda row: COMPARE(op, pick(row, path), constant)


def and3(a: Any, b: Any) -> Any:
    return False if a is False or b is False else None if a is None or b is None else True


def or3(a: Any, b: Any) -> Any:
    return True if a is True or b is True else None if a is None or b is None else False


LOGIC = {"and": and3, "or": or3}


def order(a: Any, b: Any) -> int:
    """Spark's order: NaN equals itself and is above everything."""
    nan_a, nan_b = isinstance(a, float) and a != a, isinstance(b, float) and b != b
    if nan_a or nan_b:
        return nan_a - nan_b
    a, b = (v.encode() if isinstance(v, str) else v for v in (a, b))
    return (a > b) - (a < b)


def COMPARE(op: str, a: Any, b: Any) -> Any:
    if op == "<=>":
        return (a is None and b is None) if a is None or b is None else order(a, b) == 0
    if a is None:
        return None
    sign = order(a, b)
    return {"=": sign == 0, "!=": sign != 0, "<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[op]


def member(value: Any, among: list[Any]) -> Any:
    return None if value is None else any(order(value, v) == 0 for v in among)


# -- the laws ------------------------------------------------------------------------------------------------------


def build(files: list[dict[str, Any]]) -> tuple[Any, Any, list[tuple[Any, ...]]]:
    """Store, snapshot and the live rows of a table, each with its file and position."""
    store, adds, expected = memory_store(), [], []
    for number, file in enumerate(files):
        path = f"f{number}.parquet"
        values = {
            "p": None if file["partition"]["p"] is None else str(file["partition"]["p"]),
            "q": file["partition"]["q"],
        }
        vector = inline(RowPositions.of(sorted(file["deleted"]))) if file["deleted"] else None
        parquet = {"row_group_size": file["row_group"], "write_statistics": file["footer"]}
        stats = written_stats(file)
        text = None if stats is None else json.dumps(stats, allow_nan=False)
        adds.append(
            add_file(store, path, stored_table(file), values, stats=text, deletion_vector=vector, parquet=parquet)
        )
        expected += [(path, i, row) for i, row in enumerate(file["rows"]) if i not in file["deleted"]]
    return store, make_snapshot(make_config(SCHEMA, ["p", "q"]), adds), expected


def fingerprint(row: dict[str, Any]) -> str:
    return repr({name: 0.0 if row[name] == 0 and name == "d" else row[name] for name in SCHEMA.names})


def read_rows(store: Any, snapshot: Any, **kwargs: Any) -> list[tuple[str, int, str]]:
    threads = kwargs.pop("threads", 1)
    made = plan(snapshot, virtual=["_file", "_row_index"], **kwargs)
    rows = read_plan(store, made, threads=threads, batch_size=3).read_all().to_pylist()
    return [(row["_file"], row["_row_index"], fingerprint(row)) for row in rows]


def as_utc(rows: list[tuple[Any, ...]]) -> list[tuple[str, int, str]]:
    return [(path, at, fingerprint(row)) for path, at, row in rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(rows_of_file(), min_size=1, max_size=4), predicates())
def test_scan_with_a_predicate_is_the_filter_of_all_rows(files, predicate):
    store, snapshot, rows = build(files)
    expression, holds = predicate
    bound = bind_predicate(expression, SCHEMA)
    expected = as_utc([row for row in rows if holds(row[2]) is True])
    found = read_rows(store, snapshot, predicate=bound)
    assert normal(found) == normal(expected)
    made = plan(snapshot, predicate=bound)
    assert made.report.kept + made.report.by_partition + made.report.by_statistics == len(files)
    reasons = planning.explain(snapshot, bound).to_pylist()
    assert sum(r["kept"] for r in reasons) == made.report.kept


@settings(max_examples=20, deadline=None)
@given(st.lists(rows_of_file(), min_size=1, max_size=5), st.integers(2, 4))
def test_full_scan_returns_live_rows_in_order_whatever_the_threads(files, threads):
    store, snapshot, rows = build(files)
    assert normal(read_rows(store, snapshot, threads=threads)) == normal(as_utc(rows))


def normal(rows: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    zone = "zoneinfo.ZoneInfo(key='UTC')"
    return [(path, at, text.replace(zone, "datetime.timezone.utc")) for path, at, text in rows]


@pytest.mark.parametrize("predicate", ["i > 100", "n.a = 77", "p = 9", "false", "q = 'zz' and i > 0"])
def test_a_predicate_that_nothing_satisfies_reads_no_file(predicate):
    file = {"rows": [{"i": 1, "d": 1.0, "s": "a", "t": None, "x": None, "b": None, "n": {"a": 4, "s": None}, "p": 1, "q": "c"}],
            "missing": set(), "narrow": set(), "partition": {"p": 1, "q": "c"}, "deleted": set(), "stats": "spark",
            "row_group": 1, "footer": True}  # fmt: skip
    store, snapshot, _ = build([file])
    made = plan(snapshot, predicate=bind_predicate(predicate, SCHEMA))
    assert made.report.kept == 0 and made.tasks() == []
    assert read_plan(store, made).read_all().num_rows == 0


# -- every pair of values against every constant -------------------------------------------------------------------

OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "<=>"]
WRITERS = ["spark", "arrow", "bare"]


def all_files(path: tuple[str, ...]) -> list[dict[str, Any]]:
    """Files of one or two rows, of all values of a column, by all writers, narrow and wide."""
    found = []
    for first in leaf(path):
        for second in leaf(path):
            for kind in WRITERS:
                for narrow in (set(), {path[0]}) if path[0] == "d" else (set(),):
                    values = [float(np.float32(v)) if narrow and v is not None else v for v in (first, second)]
                    rows = [dict.fromkeys(SCHEMA.names) for _ in values]
                    for row, value in zip(rows, values, strict=True):
                        put(row, path, value) if len(path) == 1 else row.update(
                            n={"a": None, "s": None, path[1]: value}
                        )
                    partition = {name: rows[0][name] for name in ("p", "q")}
                    found.append(
                        {"rows": rows, "missing": set(), "narrow": narrow, "partition": partition, "stats": kind}
                    )
    return found


def all_predicates(path: tuple[str, ...]) -> list[tuple[Expr, Any]]:
    column = col(*path)
    found: list[tuple[Expr, Any]] = [(call("is_null", column), lambda row: pick(row, path) is None)]
    for constant in [v for v in leaf(path) if v is not None]:
        for op in OPERATORS:
            found.append(
                (call(op, column, lit(constant)), lambda row, op=op, c=constant: COMPARE(op, pick(row, path), c))
            )
    negated = [(not_(e), lambda row, h=h: None if h(row) is None else not h(row)) for e, h in found]
    return found + negated


@pytest.mark.trap(41)
@pytest.mark.trap(40)
@pytest.mark.trap(42)
@pytest.mark.trap(44)
@pytest.mark.bug("T-38")
@pytest.mark.parametrize("path", [p for p in PATHS if p[0] not in "pq"], ids=".".join)
def test_statistics_of_the_log_never_lose_a_row(path):
    files = all_files(path)
    texts = [json.dumps(written_stats(f), allow_nan=False) for f in files]
    table = pa.table({"path": [str(i) for i in range(len(files))], "stats": texts})
    config = make_config(SCHEMA)
    skipped = 0
    for expression, holds in all_predicates(path):
        kept = may_match(config, table, bind_predicate(expression, SCHEMA))
        needed = np.array([any(holds(row) is True for row in f["rows"]) for f in files])
        wrong = np.flatnonzero(needed & ~kept)
        assert not len(wrong), (expression, [files[i] for i in wrong[:3]], [texts[i] for i in wrong[:3]])
        skipped += int((~kept).sum())
    assert skipped or path == ("b",)


@pytest.mark.parametrize("path", [p for p in PATHS if p[0] not in "pq"], ids=".".join)
def test_statistics_of_footers_never_lose_a_row(path):
    files = [f for f in all_files(path) if f["stats"] == "spark" and not f["narrow"]]
    rows = [row for f in files for row in f["rows"]]
    store = memory_store()
    whole = {"rows": rows, "missing": set(), "narrow": {"i"} - {path[0]}, "partition": {}}
    put_parquet(store, "a.parquet", stored_table(whole), row_group_size=2)
    columns = Columns(SCHEMA, SCHEMA)
    with DataFile(store, "a.parquet", None, False) as file:
        stats = FooterStats(file, file.row_groups(), columns, {})
        assert stats.length == len(files)
        for expression, holds in all_predicates(path):
            kept = keep_mask(bind_predicate(expression, SCHEMA), stats)
            needed = np.array([any(holds(row) is True for row in f["rows"]) for f in files])
            assert not (needed & ~kept).any(), expression
