"""Arithmetic, casts and rounding against Python's exact numbers; local time against zoneinfo; patterns against re."""

from __future__ import annotations

import datetime as dt
import math
import re
import zoneinfo
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import evaluate
from deltalite.expr.bind import bind
from deltalite.expr.java_regex import translate
from deltalite.expr.text_of import java_double
from deltalite.expr.time_zones import to_local, to_utc
from deltalite.model.arrow import array
from deltalite.model.expr import call, col
from deltalite.model.types import Field, PrimitiveType, Schema

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
EPOCH = dt.datetime(1970, 1, 1)
READABLE = "yyyyMMdd HHmmssSSSSSS"
UTC = dt.timezone.utc


def run(expr: Any, types: dict[str, str], row: dict[str, Any], zone: str = "UTC") -> Any:
    schema = Schema([Field(n, t) for n, t in types.items()])
    arrow = schema.to_arrow()
    batch = pa.RecordBatch.from_arrays([array([row[f.name], None], f.type) for f in arrow], schema=arrow)
    bound = bind(expr, schema, time_zone=zone)
    found = evaluate(bound, batch)
    assert not found[1].is_valid
    return found[0].as_py(), bound.type


# decimals -----------------------------------------------------------------------------------------------------------


@st.composite
def decimals(draw: Any) -> tuple[str, Decimal]:
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    whole = draw(
        st.integers(-(10**precision) + 1, 10**precision - 1)
        | st.integers(-20, 20).filter(lambda v: abs(v) < 10**precision)
    )
    return f"decimal({precision},{scale})", exact(whole, scale)


def exact(whole: int, scale: int) -> Decimal:
    with localcontext() as context:
        context.prec = 100
        return Decimal(whole).scaleb(-scale)


def rounded(value: Fraction, scale: int) -> Decimal:
    """Half up, away from zero."""
    scaled = abs(value) * 10**scale
    whole = scaled.numerator // scaled.denominator
    whole += 2 * (scaled - whole) >= 1
    return exact(-whole if value < 0 else whole, scale)


def fits(value: Decimal, t: Any) -> bool:
    return abs(Fraction(value)) < 10 ** (t.precision - t.scale)


def expected(op: str, a: Fraction, b: Fraction, scale: int) -> Decimal:
    """Spark multiplies to 38 digits and divides to 39 places before it rounds to the scale of the result."""
    if op in "+-":
        return rounded(a + b if op == "+" else a - b, scale)
    if op == "*":
        product = a * b
        digits = len(str(abs(product.numerator) // product.denominator)) if abs(product) >= 1 else 0
        places = max(0, 38 - digits)
        whole = abs(product.numerator * 10**places // product.denominator)
        if digits == 0 and product:
            places += len(str(10**places)) - 1 - len(str(whole))
            return rounded(product, scale)
        return rounded(Fraction(rounded(product, places)), scale)
    if op == "/":
        return rounded(Fraction(rounded(a / b, 39)), scale)
    quotient = abs(a / b)
    whole = quotient.numerator // quotient.denominator
    return rounded(a - b * (whole if a * b >= 0 else -whole), scale)


@QUIET
@given(st.sampled_from("+-*/%"), decimals(), decimals())
def test_decimal_arithmetic_is_exact_and_rounds_half_up(op, left, right):
    (left_type, a), (right_type, b) = left, right
    assume(op not in "/%" or b != 0)
    types, row = {"a": left_type, "b": right_type}, {"a": a, "b": b}
    t: Any = bind(call(op, col("a"), col("b")), Schema([Field("a", left_type), Field("b", right_type)])).type
    want = expected(op, Fraction(a), Fraction(b), t.scale)
    if not fits(want, t):
        with pytest.raises(ExpressionError, match="does not fit"):
            run(call(op, col("a"), col("b")), types, row)
        return
    assert run(call(op, col("a"), col("b")), types, row)[0] == want


@QUIET
@given(decimals(), decimals())
def test_decimals_of_any_scale_compare_exactly(left, right):
    (left_type, a), (right_type, b) = left, right
    for op, want in (("=", a == b), ("<", a < b), (">=", a >= b), ("<=>", a == b)):
        schema = Schema([Field("a", left_type), Field("b", right_type)])
        batch = pa.RecordBatch.from_arrays(
            [array([v], f.type) for v, f in zip((a, b), schema.to_arrow())], schema=schema.to_arrow()
        )
        assert evaluate(bind(call(op, col("a"), col("b")), schema), batch)[0].as_py() is want


@QUIET
@given(decimals(), st.integers(1, 38), st.integers(0, 38))
def test_a_decimal_is_cast_by_rounding_half_up(value, precision, scale):
    assume(scale <= precision)
    data_type, number = value
    target: Any = PrimitiveType(f"decimal({precision},{scale})")
    want = rounded(Fraction(number), scale)
    found = run(f"try_cast(a as decimal({precision},{scale}))", {"a": data_type}, {"a": number})[0]
    assert found == (want if fits(want, target) else None)


@QUIET
@given(decimals())
def test_a_decimal_as_double_text_and_integer(value):
    data_type, number = value
    one = {"a": number}
    assert run("cast(a as double)", {"a": data_type}, one)[0] == float(Fraction(number))
    text = run("cast(a as string)", {"a": data_type}, one)[0]
    assert text == f"{number:f}".replace("-0", "-0") if number else set(text) <= set("0.")
    assert run(f"cast('{number:f}' as {data_type}) = a", {"a": data_type}, one)[0] is True
    whole = math.trunc(number)
    assert run("try_cast(a as bigint)", {"a": data_type}, one)[0] == (whole if -(2**63) <= whole < 2**63 else None)


@QUIET
@given(decimals(), st.integers(-5, 10))
def test_decimals_are_rounded_to_places(value, places):
    data_type, number = value
    for function, mode in (("round", ROUND_HALF_UP), ("bround", ROUND_HALF_EVEN)):
        with localcontext() as context:
            context.prec = 100
            want = number.quantize(Decimal(1).scaleb(-min(places, PrimitiveType(data_type).scale)), rounding=mode)
        try:
            assert run(f"{function}(a, {places})", {"a": data_type}, {"a": number})[0] == want
        except ExpressionError:
            assert len(want.as_tuple().digits) + max(int(want.as_tuple().exponent), 0) > 37


# floats and text ----------------------------------------------------------------------------------------------------


@QUIET
@given(st.floats())
def test_the_text_of_a_double_reads_back(value):
    text = java_double(value)
    assert re.fullmatch(r"-?(\d+\.\d+(E-?\d+)?|Infinity)|NaN", text)
    found = run("cast(cast(f as string) as double)", {"f": "double"}, {"f": value})[0]
    assert found == value or math.isnan(value) and math.isnan(found)
    if "E" in text:
        assert not 1e-3 <= abs(value) < 1e7
        assert 1 <= abs(float(text.split("E")[0])) < 10


@QUIET
@given(
    st.floats()
    | st.integers(-(10**7), 10**7).map(lambda v: v / 1000)
    | st.integers(-(10**6), 10**6).map(lambda v: v / 8),
    st.integers(-4, 12),
)
def test_a_double_is_rounded_by_the_digits_it_prints(value, places):
    for function, mode in (("round", ROUND_HALF_UP), ("bround", ROUND_HALF_EVEN)):
        found = run(f"{function}(f, {places})", {"f": "double"}, {"f": value})[0]
        if not math.isfinite(value):
            assert str(found) == str(value)
            continue
        with localcontext() as context:
            context.prec = 800
            want = float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), rounding=mode))
        assert found == want


@QUIET
@given(st.lists(st.none() | st.floats(width=32) | st.floats(0.001, 1e8), min_size=1), st.booleans())
def test_the_text_of_many_doubles_is_the_text_of_each(values, single):
    t = pa.float32() if single else pa.float64()
    column = array([None if v is None else np.float32(v) if single else v for v in values], t)
    schema = Schema([Field("f", "float" if single else "double")])
    found = evaluate(bind("cast(f as string)", schema), pa.RecordBatch.from_arrays([column], schema=schema.to_arrow()))
    assert found.to_pylist() == [None if v is None else java_double(v, single) for v in column.to_pylist()]


@QUIET
@given(st.lists(st.none() | st.datetimes() | st.datetimes().map(lambda v: v.replace(microsecond=0)), min_size=1))
def test_the_text_of_times_leaves_out_closing_zeros(values):
    schema = Schema([Field("t", "timestamp_ntz")])
    column = array(values, schema.to_arrow().field(0).type)
    found = evaluate(bind("cast(t as string)", schema), pa.RecordBatch.from_arrays([column], schema=schema.to_arrow()))
    assert found.to_pylist() == [
        v
        if v is None
        else v.isoformat(" ", "microseconds").rstrip("0").rstrip(".")
        if v.microsecond
        else v.isoformat(" ", "seconds")
        for v in values
    ]


@QUIET
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 6))
def test_a_double_becomes_a_decimal_by_the_digits_it_prints(value, scale):
    want = rounded(Fraction(Decimal(repr(value))), scale)
    found = run(f"try_cast(f as decimal(38,{scale}))", {"f": "double"}, {"f": value})[0]
    assert found == (want if abs(Fraction(want)) < 10 ** (38 - scale) else None)


@QUIET
@given(st.floats(), st.sampled_from(["tinyint", "smallint", "int", "bigint"]))
def test_a_double_becomes_an_integer_by_cutting(value, name):
    bits = {"tinyint": 7, "smallint": 15, "int": 31, "bigint": 63}[name]
    found = run(f"try_cast(f as {name})", {"f": "double"}, {"f": value})[0]
    if not math.isfinite(value) or math.floor(value) > 2**bits - (bits != 63) or math.ceil(value) < -(2**bits):
        assert found is None
    else:
        assert found == min(math.trunc(value), 2**bits - 1)


@QUIET
@given(st.from_regex(r"\A\s{0,2}[+-]?\d{1,22}(\.\d{0,3})?([eE][+-]?\d)?\s?\Z"), st.sampled_from(["int", "bigint"]))
def test_text_becomes_an_integer_only_if_it_is_one(text, name):
    bits = 31 if name == "int" else 63
    found = run(f"try_cast(s as {name})", {"s": "string"}, {"s": text})[0]
    stripped = text.strip("".join(map(chr, range(0x21))))
    if re.fullmatch(r"[+-]?[0-9]+", stripped) and -(2**bits) <= int(stripped) < 2**bits:
        assert found == int(stripped)
    else:
        assert found is None


@QUIET
@given(st.floats(), st.floats())
def test_arithmetic_of_doubles_is_that_of_the_machine_and_warns_of_nothing(a, b):
    row, types = {"a": a, "b": b}, {"a": "double", "b": "double"}
    with np.errstate(all="ignore"):
        wanted = {
            "a + b": np.float64(a) + b,
            "a - b": np.float64(a) - b,
            "a * b": np.float64(a) * b,
            "-a": -a,
            "abs(a)": abs(a),
        }
        if b != 0:
            wanted |= {"a / b": np.float64(a) / b, "a % b": np.fmod(a, b)}
    for text, want in wanted.items():
        found = run(text, types, row)[0]
        assert found == want or (math.isnan(found) and math.isnan(want)), text
    for text in (
        "exp(a)", "power(a, b)", "sqrt(a)", "ln(a)", "sin(a)", "hypot(a, b)", "try_cast(a as int)", "cast(a as float)",
        "hash(a, b)", "ceil(a)", "round(a, 2)", "pmod(a, if(b = 0, 1, b))", "greatest(a, b)", "a in (b, 0)",
        "try_cast(a as timestamp)",
    ):  # fmt: skip
        schema = Schema([Field("a", "double"), Field("b", "double")])
        evaluate(
            bind(text, schema),
            pa.RecordBatch.from_arrays([array([a], pa.float64()), array([b], pa.float64())], names=["a", "b"]),
        )


# time ---------------------------------------------------------------------------------------------------------------

ZONES = st.sampled_from(
    [
        "Europe/Berlin",
        "America/St_Johns",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Asia/Kolkata",
        "UTC",
    ]
)
MICROS = st.datetimes(dt.datetime(1840, 1, 1), dt.datetime(2110, 1, 1)).map(
    lambda v: (v - EPOCH) // dt.timedelta(microseconds=1)
)


@QUIET
@given(st.lists(MICROS, min_size=1, max_size=5), ZONES)
def test_local_time_is_that_of_zoneinfo_and_of_java_in_gaps_and_overlaps(micros, zone):
    info = zoneinfo.ZoneInfo(zone)
    numbers = np.array(micros, dtype=np.int64)
    for number, local, utc in zip(micros, to_local(numbers, zone), to_utc(numbers, zone), strict=True):
        moment = EPOCH + dt.timedelta(microseconds=number)
        shown = moment.replace(tzinfo=UTC).astimezone(info).replace(tzinfo=None)
        assert EPOCH + dt.timedelta(microseconds=int(local)) == shown
        offset = moment.replace(tzinfo=info).utcoffset()  # the first of two times, and the offset before a gap
        assert EPOCH + dt.timedelta(microseconds=int(utc)) == moment - offset  # type: ignore[operator]


@pytest.mark.parametrize("micros", [-(10**17) * 2, 10**17 * 3, -62167219200000001])
def test_years_beyond_python_keep_their_offset(micros):
    local = to_local(np.array([micros]), "Europe/Berlin")
    assert abs(int(local[0]) - micros) in (3208000000, 3600000000, 7200000000)
    assert to_utc(local, "Europe/Berlin")[0] == micros


@QUIET
@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)))
def test_fields_and_truncation_are_those_of_datetime(moment):
    row, types = {"t": moment}, {"t": "timestamp_ntz"}
    iso = moment.isocalendar()
    for text, want in {
        "year(t)": moment.year,
        "month(t)": moment.month,
        "day(t)": moment.day,
        "hour(t)": moment.hour,
        "minute(t)": moment.minute,
        "second(t)": moment.second,
        "quarter(t)": (moment.month + 2) // 3,
        "weekday(t)": moment.weekday(),
        "dayofweek(t)": iso[2] % 7 + 1,
        "dayofyear(t)": moment.timetuple().tm_yday,
        "weekofyear(t)": iso[1],
        "extract(yearofweek from t)": iso[0],
        "cast(t as date)": moment.date(),
        "cast(cast(t as string) as timestamp_ntz)": moment,
        "date_format(t, 'yyyy-MM-dd HH:mm:ss.SSSSSS')": moment.isoformat(" ", "microseconds"),
        f"cast(to_timestamp(date_format(t, '{READABLE}'), '{READABLE}') as timestamp_ntz)": moment,
    }.items():
        assert run(text, types, row)[0] == want, text


@QUIET
@given(st.dates(dt.date(1, 2, 1), dt.date(9990, 1, 1)), st.integers(-11, 30))
def test_months_are_added_to_the_last_day_at_most(day, months):
    found = run(f"add_months(d, {months})", {"d": "date"}, {"d": day})[0]
    total = day.year * 12 + day.month - 1 + months
    year, month = divmod(total, 12)
    assert (found.year, found.month) == (year, month + 1)
    assert found.day == day.day or (found.day < day.day and (found + dt.timedelta(days=1)).day == 1)


# patterns -----------------------------------------------------------------------------------------------------------

ATOMS = st.sampled_from(
    ["a", "b", ".", "\\d", "\\w", "[ab]", "[^a]", "\\.", "(a|b)", "(?:ab)", "[a-c]", "\\p{Alpha}", "\\Q.*\\E", "^", "é"]
)
PATTERNS = st.lists(st.tuples(ATOMS, st.sampled_from(["", "", "*", "+", "?", "{1,2}", "*?"])), max_size=5).map(
    lambda parts: "".join(atom + (times if atom != "^" else "") for atom, times in parts)
)


@QUIET
@given(PATTERNS, st.text("ab.1é*", max_size=8))
def test_regular_expressions_mean_what_pythons_do_where_both_know_them(pattern, text):
    theirs = pattern.replace("\\p{Alpha}", "[A-Za-z]").replace("\\Q.*\\E", "\\.\\*")
    theirs = theirs.replace("\\w", "[A-Za-z0-9_]").replace("\\d", "[0-9]")
    quoted = pattern.replace("'", "''").replace("\\", "\\\\")
    assert run(f"s rlike '{quoted}'", {"s": "string"}, {"s": text})[0] == (re.search(theirs, text) is not None)
    match = re.search(theirs, text)
    assert run(f"regexp_extract(s, '{quoted}', 0)", {"s": "string"}, {"s": text})[0] == (match.group() if match else "")


@pytest.mark.parametrize(
    "pattern",
    ["a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b", "(?>a)", "a*+", "a++", "a?+", "a{1}+", "(a)\\1",
     "(?<n>a)\\k<n>", "\\h", "\\R", "\\X", "\\Z", "\\G", "[a&&b]", "[a[b]]", "(?m)^a$", "(?x)a", "(?i:a)", "a(?i)b",
     "a$b", "\\p{IsLatin}", "\\p{javaLowerCase}", "a{1,2000}", "\\0", "\\ca"],
)  # fmt: skip
def test_what_re2_cannot_do_is_refused_by_name(pattern):
    with pytest.raises(ExpressionError, match="uses"):
        translate(pattern)


def test_a_text_for_which_re2_would_differ_is_refused():
    for pattern, text in (("(?i)k", "\u212a"), ("(?i)s", "\u017f")):
        with pytest.raises(ExpressionError, match="cannot be evaluated exactly"):
            run(f"s rlike '{pattern}'", {"s": "string"}, {"s": text})
    assert run("s rlike 'a$'", {"s": "string"}, {"s": "a\r\n"})[0] is True
    with pytest.raises(ExpressionError, match="cannot be evaluated exactly"):
        run("regexp_replace(s, 'a$', '')", {"s": "string"}, {"s": "a\n"})


@QUIET
@given(st.text("ab%_\\", max_size=6), st.text("ab%_\\\n", max_size=6))
def test_like_means_its_wildcards(pattern, text):
    out, i = "", 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            i += 1
            assume(i < len(pattern) and pattern[i] in "_%\\")
            out += re.escape(pattern[i])
        else:
            out += {"%": ".*", "_": "."}.get(c) or re.escape(c)
        i += 1
    want = re.fullmatch(out, text, re.DOTALL) is not None
    assert run(call("like", col("s"), pattern), {"s": "string"}, {"s": text})[0] is want
    assert run(call("like", col("s"), col("p")), {"s": "string", "p": "string"}, {"s": text, "p": pattern})[0] is want
