"""Every function against values: from Spark's documentation, and from Spark's ANSI rules where that is silent.

``values.txt`` holds lines of ``expression  =>  value : type``, or ``expression  =>  ! words of the error``.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import evaluate
from deltalite.expr.bind import bind
from deltalite.expr.functions import FUNCTIONS, lookup
from deltalite.expr.parse import parse_expression
from deltalite.model.arrow import array
from deltalite.model.expr import Call, type_name, walk_expr
from deltalite.model.types import Field, Schema, StructType

LINES = [line for line in (Path(__file__).parent / "values.txt").read_text("utf-8").splitlines() if "  =>  " in line]
ONE_ROW = pa.RecordBatch.from_arrays([array([1], pa.int64())], names=["_"])


def show(value: Any) -> str:
    """A value as values.txt writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    return repr(value) if isinstance(value, (str, bytes)) else str(value)


def value_of(text: str) -> tuple[str, str]:
    bound = bind(text, StructType([]))
    found = evaluate(bound, ONE_ROW)[0]
    try:
        value = found.as_py()
    except (ValueError, OverflowError):
        value = evaluate(bind(f"cast({text} as string)", StructType([])), ONE_ROW)[0].as_py()  # beyond Python's years
    return show(value), type_name(bound.type)


@pytest.mark.parametrize("line", LINES)
def test_value(line):
    text, expected = line.split("  =>  ")
    if expected.startswith("! "):
        with pytest.raises(ExpressionError) as caught:
            value_of(text)
        assert expected[2:].strip() in str(caught.value)
    else:
        assert " : ".join(value_of(text)) == expected


def test_every_function_has_a_value_here():
    used: set[str] = set()
    for line in LINES:
        try:
            used |= {
                node.function for node in walk_expr(parse_expression(line.split("  =>  ")[0])) if isinstance(node, Call)
            }
        except ExpressionError:
            continue
    internal = {"extract", "substr"}
    missing = set(FUNCTIONS) - used - internal
    assert not missing


# values that need rows, zones, or text that does not fit a line -----------------------------------------------------


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("cast(timestamp '2020-07-01 23:00:00Z' as date)", "Europe/Berlin", "2020-07-02"),
        ("cast(timestamp '2020-07-01 23:00:00Z' as string)", "America/New_York", "'2020-07-01 19:00:00'"),
        ("hour(timestamp '2020-07-01 23:00:00Z')", "Asia/Kolkata", "4"),
        ("timestamp '2020-03-29 02:30:00'", "Europe/Berlin", "2020-03-29 01:30:00+00:00"),
        ("timestamp '2020-10-25 02:30:00'", "Europe/Berlin", "2020-10-25 00:30:00+00:00"),
        ("cast(date '2020-07-01' as timestamp)", "Europe/Berlin", "2020-06-30 22:00:00+00:00"),
        ("timestamp_ntz '2020-07-01 00:00:00' = timestamp '2020-06-30 22:00:00Z'", "Europe/Berlin", "true"),
        ("date_trunc('day', timestamp '2020-07-01 23:00:00Z')", "Europe/Berlin", "2020-07-01 22:00:00+00:00"),
        ("timestamp '2020-03-28 12:00:00Z' + interval 1 day", "Europe/Berlin", "2020-03-29 11:00:00+00:00"),
        ("timestamp '2020-03-28 12:00:00Z' + interval 24 hours", "Europe/Berlin", "2020-03-29 11:00:00+00:00"),
        ("timestamp '2020-02-29 12:00:00Z' + interval 1 month", "Europe/Berlin", "2020-03-29 11:00:00+00:00"),
        ("timestamp '2020-03-29 12:00:00' - timestamp '2020-03-28 12:00:00'", "Europe/Berlin", "1 day, 0:00:00"),
        ("cast('2020-07-01' as timestamp)", "+05:30", "2020-06-30 18:30:00+00:00"),
        ("cast(timestamp '2050-07-01 00:00:00Z' as string)", "Europe/Berlin", "'2050-07-01 02:00:00'"),
        ("cast(timestamp '1850-01-01 00:00:00Z' as string)", "Europe/Berlin", "'1850-01-01 00:53:28'"),
        ("from_unixtime(0)", "Europe/Berlin", "'1970-01-01 01:00:00'"),
        ("unix_timestamp('1970-01-01 01:00:00')", "Europe/Berlin", "0"),
        ("to_timestamp('1970-01-01', 'yyyy-MM-dd')", "Europe/Berlin", "1969-12-31 23:00:00+00:00"),
    ],
)
def test_the_bound_time_zone_decides(text, zone, expected):
    found = evaluate(bind(text, StructType([]), time_zone=zone), ONE_ROW)[0].as_py()
    assert show(found) == expected


@pytest.mark.bug("T-39")
def test_local_mean_time_is_exact_to_the_second():
    text = "cast(cast(timestamp '1850-06-01 12:00:00Z' as string) as timestamp) = timestamp '1850-06-01 12:00:00Z'"
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/Monrovia"):
        assert evaluate(bind(text, StructType([]), time_zone=zone), ONE_ROW)[0].as_py() is True


def test_functions_over_rows_with_nulls():
    schema = Schema([Field("s", "string"), Field("k", "long"), Field("d", "date")])
    batch = pa.RecordBatch.from_arrays(
        [
            array(["Zoë", None, "", "ab"], pa.string()),
            array([1, None, -3, 2], pa.int64()),
            array([None, 0, 18321, -1], pa.date32()),
        ],
        schema=schema.to_arrow(),
    )
    for text, expected in {
        "upper(s)": ["ZOË", None, "", "AB"],
        "length(s)": [3, None, 0, 2],
        "substring(s, cast(k as int), 2)": ["Zo", None, "", "b"],
        "substring(s, -2)": ["oë", None, "", "ab"],
        "left(s, cast(k as int))": ["Z", None, "", "ab"],
        "lpad(s, 4, '*')": ["*Zoë", None, "****", "**ab"],
        "concat(s, '-', k)": ["Zoë-1", None, "--3", "ab-2"],
        "concat_ws('-', s, k)": ["Zoë-1", "", "--3", "ab-2"],
        "s like '%' || s": [True, None, True, True],
        "s rlike '^[a-z]*$'": [False, None, True, True],
        "regexp_extract(s, '([a-z]+)', 1)": ["o", None, "", "ab"],
        "split(s, 'b')": [["Zoë"], None, [""], ["a", ""]],
        "instr(s, 'o')": [2, None, 0, 0],
        "hex(s)": ["5A6FC3AB", None, "", "6162"],
        "k / 2": [0.5, None, -1.5, 1.0],
        "k % 2": [1, None, -1, 0],
        "round(k / 3, 2)": [0.33, None, -1.0, 0.67],
        "year(d)": [None, 1970, 2020, 1969],
        "d + interval 1 month": [None, dt.date(1970, 2, 1), dt.date(2020, 3, 29), dt.date(1970, 1, 31)],
        "date_format(d, 'dd.MM.yyyy')": [None, "01.01.1970", "29.02.2020", "31.12.1969"],
        "cast(d as string)": [None, "1970-01-01", "2020-02-29", "1969-12-31"],
        "greatest(k, 0)": [1, 0, 0, 2],
        "coalesce(k, length(s), 7)": [1, 7, -3, 2],
        "nvl2(s, 'y', 'n')": ["y", "n", "y", "y"],
        "hash(abs(k))": [-1712319331, 42, 519220707, -797927272],
        "k in (1, 2)": [True, None, False, True],
        "s <=> null": [False, True, False, False],
        "array(k, 0)[0]": [1, None, -3, 2],
        "case when k > 0 then 'p' when k < 0 then 'n' end": ["p", None, "n", "p"],
    }.items():
        assert evaluate(bind(text, schema), batch).to_pylist() == expected, text


def test_every_function_says_how_it_is_called():
    assert [row.name for name, row in FUNCTIONS.items() if name[0].isalpha() and " -> " not in row.usage
            and name not in ("and", "or", "not", "in", "between")] == []  # fmt: skip
    with pytest.raises(ExpressionError, match=r"usage: lpad\(string, int\[, string\]\) -> string"):
        value_of("lpad('a')")


def test_aliases_are_one_function():
    assert lookup("ucase") is lookup("upper")
    assert lookup("char_length").name == "length"
