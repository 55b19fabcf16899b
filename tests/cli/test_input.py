"""csv and JSON as typed rows: what was written comes back, and what does not fit is refused by row and value."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import gzip
import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.expr.parse import parse_schema
from deltalite.interop.rows_from import InputOptions, arranged, csvs, jsonlines, jsons, open_inputs
from deltalite.interop.rows_from.csvs import CsvOptions, read_csv
from deltalite.interop.rows_from.jsons import read_json
from deltalite.interop.rows_from.jsonvalues import exact_batch
from deltalite.interop.rows_from.sources import Prefixed, read_block, source_of
from deltalite.interop.rows_from.typed import Unfit, typed
from deltalite.model.types import PrimitiveType

UTC = dt.timezone.utc
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"), max_size=6)
utc_moments = st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(9999, 12, 31), timezones=st.just(UTC))

DDL = (
    "l bigint, i int, y tinyint, d double, f float, b boolean, s string, day date, ts timestamp, n timestamp_ntz, "
    "m decimal(12,3), x binary"
)
FLAT = parse_schema(DDL)
ROW = {
    "l": st.integers(-(2**63), 2**63 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "y": st.integers(-128, 127),
    "d": st.floats(allow_nan=False, allow_infinity=False),
    "f": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "b": st.booleans(),
    "s": text,
    "day": st.dates(),
    "ts": utc_moments,
    "n": st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(9999, 12, 31)),
    "m": st.decimals(-(10**8), 10**8, places=3),
    "x": st.binary(min_size=1, max_size=5),
}
rows_of = st.lists(st.fixed_dictionaries({k: st.none() | v for k, v in ROW.items()}), max_size=5)


def read(content: bytes, schema=FLAT, **options) -> pa.Table:
    return read_csv(io.BytesIO(content), schema, CsvOptions(**options), "x.csv").read_all()


def read_rows(content: bytes, schema, extend=False, lines=True) -> pa.Table:
    return read_json(io.BytesIO(content), schema, extend, lines, "x.json").read_all()


def written(value):
    """A value as text of csv and JSON."""
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


# -- csv ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(rows_of, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from([",", ";", "\t"]))
def test_csv_comes_back_as_it_was(rows, quoting, delimiter):
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=quoting, delimiter=delimiter)
    writer.writerow([name.upper() for name in ROW])
    for row in rows:
        # The csv module writes null and the empty string alike, so a marker stands for null text.
        writer.writerow(["\\N" if row[k] is None and k == "s" else written(row[k]) for k in ROW])
    found = read(out.getvalue().encode(), null_values=("", "\\N"), delimiter=delimiter).to_pylist()
    if quoting == csv.QUOTE_ALL:
        expected = [{**r, "s": "\\N" if r["s"] is None else r["s"]} for r in rows]
    else:
        expected = [{**r, "s": r["s"] or None} for r in rows]
    assert [{k.lower(): v for k, v in r.items()} for r in found] == expected


@settings(deadline=None)
@given(st.lists(st.integers(-999, 999), min_size=1, max_size=30), st.data())
def test_text_in_a_number_column_is_refused_with_row_and_value(numbers, data):
    bad = data.draw(st.integers(0, len(numbers) - 1))
    value = data.draw(st.sampled_from(["abc", "1.5", "0x1f", "1e3", "--1", "9223372036854775808", "NA", "null", "NaN"]))
    lines = [str(n) for n in numbers]
    lines[bad] = value
    with pytest.raises(SchemaMismatchError) as error:
        read(("l\n" + "\n".join(lines) + "\n").encode())
    assert f"row {bad + 2} " in error.value.message and repr(value) in error.value.message
    assert error.value.columns == ["l"]


@pytest.mark.parametrize(
    "column, value",
    [
        ("d", "1e400"),
        ("f", "1e39"),
        ("m", "1.5555"),
        ("m", "1234567890.1"),
        ("y", "128"),
        ("b", "yes"),
        ("day", "2026-13-01"),
        ("day", "2026-11-01 10:00:00"),
        ("ts", "2026-11-01 10:00:00.1234567"),
        ("n", "2026-11-01 10:00:00Z"),
        ("x", "***"),
    ],
)
def test_nothing_is_rounded_cut_or_turned_into_infinity(column, value):
    with pytest.raises(SchemaMismatchError, match="nothing was written"):
        read(f"{column}\n{value}\n".encode())


def test_a_time_without_a_zone_is_utc():
    found = read(b"ts\n2026-11-01 10:00\n2026-11-01T10:00+02:00\n,\n"[:-3])["ts"].to_pylist()
    assert found == [dt.datetime(2026, 11, 1, 10, tzinfo=UTC), dt.datetime(2026, 11, 1, 8, tzinfo=UTC)]


def test_only_the_named_spelling_is_null():
    found = read(b's,l\nNA,1\nnull,2\n,3\n"",4\n')
    assert found["s"].to_pylist() == ["NA", "null", None, ""]
    assert read(b"s,l\nNA,1\n,\n", null_values=("NA", "")).to_pylist() == [{"s": None, "l": 1}, {"s": None, "l": None}]


def test_infinity_and_nan_may_be_written():
    assert str(read(b"d\ninf\n-inf\nNaN\n")["d"].to_pylist()) == "[inf, -inf, nan]"


def test_nested_columns_are_json():
    schema = parse_schema("a array<int>, m map<string,date>, s struct<x:int,y:array<string>>")
    content = b'a,m,s\n"[1,null]","{""k"":""2026-11-01""}","{""x"":1,""y"":[""z""]}"\n,,\n'
    assert read(content, schema).to_pylist() == [
        {"a": [1, None], "m": [("k", dt.date(2026, 11, 1))], "s": {"x": 1, "y": ["z"]}},
        {"a": None, "m": None, "s": None},
    ]
    with pytest.raises(SchemaMismatchError, match="row 2"):
        read(b"a\n[1\n", schema)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"l,i\n1\n", "1 cells where 2"),
        (b"l,L\n1,2\n", "twice"),
        (b"\xff,a\n1,2\n", "UTF-8"),
        (b"s\n\xff\n", "UTF8"),
    ],
)
def test_malformed_csv_is_refused(content, message):
    with pytest.raises(SchemaMismatchError, match=message):
        read(content)


def test_types_are_guessed_without_losing_anything():
    found = read(
        b"i,code,big,day,ts,zts,empty,time,d\n"
        b"1,007,12345678901234567890,2026-11-01,2026-11-01 10:00:00,2026-11-01 10:00:00+01:00,,10:00,1.5\n",
        None,
    )
    assert [str(t) for t in found.schema.types] == [
        "int64",
        "string",
        "decimal128(38, 0)",
        "date32[day]",
        "timestamp[us, tz=UTC]",
        "timestamp[us, tz=UTC]",
        "string",
        "string",
        "double",
    ]
    assert found["code"].to_pylist() == ["007"] and found["big"].to_pylist() == [Decimal("12345678901234567890")]


def test_a_file_larger_than_the_sample_streams(monkeypatch):
    monkeypatch.setattr(csvs, "SAMPLE", 64)
    monkeypatch.setattr(csvs, "BLOCK", 256)
    lines = [f'{i},"line\n{i}",{i}.5' for i in range(500)]
    content = ("l,s,d\n" + "\n".join(lines) + "\n").encode()
    found = read(content, None)
    assert found["l"].to_pylist() == list(range(500)) and found["s"].to_pylist() == [f"line\n{i}" for i in range(500)]
    with pytest.raises(SchemaMismatchError, match="row 502 .*'x'"):
        read(content + b"x,y,1\n", None)


def test_a_file_without_a_header():
    assert read(b"1,x\n", None, column_names=["id", "n"]).to_pylist() == [{"id": 1, "n": "x"}]
    with pytest.raises(SchemaMismatchError, match="row 1:"):
        read(b"x\n", column_names=["l"])


# -- JSON --------------------------------------------------------------------------------------------------------------

NESTED = parse_schema(DDL + ", a array<struct<k:int,ts:timestamp>>, o struct<u:string,v:array<double>>")
MAPS = parse_schema(DDL + ", p map<string,array<bigint>>")
nested_rows = st.lists(
    st.fixed_dictionaries(
        {k: st.none() | v for k, v in ROW.items()},
        optional={
            "a": st.none()
            | st.lists(
                st.none() | st.fixed_dictionaries({"k": st.none() | ROW["i"], "ts": st.none() | utc_moments}),
                max_size=3,
            ),
            "o": st.none()
            | st.fixed_dictionaries(
                {"u": st.none() | text, "v": st.none() | st.lists(st.none() | ROW["d"], max_size=2)}
            ),
        },
    ),
    min_size=1,
    max_size=5,
)
map_rows = st.lists(
    st.fixed_dictionaries(
        {k: st.none() | v for k, v in ROW.items()},
        optional={
            "p": st.none() | st.dictionaries(text, st.none() | st.lists(st.none() | ROW["l"], max_size=2), max_size=3)
        },
    ),
    min_size=1,
    max_size=4,
)


class _Number(float):
    """A decimal that the json module writes digit by digit."""

    def __new__(cls, value):
        made = super().__new__(cls, value)
        made.digits = str(value)
        return made

    def __repr__(self):
        return self.digits


def dumped(rows, **layout) -> bytes:
    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Decimal) else written(value)

    return json.dumps([plain(r) for r in rows], **layout).encode()


def as_lines(rows) -> bytes:
    return b"".join(dumped([r])[1:-1] + b"\n" for r in rows)


def filled(rows, schema):
    return [{name: r.get(name) for name in schema.names} for r in rows]


@settings(max_examples=120, deadline=None)
@given(nested_rows, st.sampled_from(["lines", "array", "indented", "one after another"]))
def test_json_comes_back_in_every_layout(rows, layout):
    if layout == "lines":
        content = as_lines(rows)
    elif layout == "one after another":
        content = b" ".join(dumped([r], indent=1)[2:-1].strip() for r in rows)
    else:
        content = dumped(rows, indent=2 if layout == "indented" else None)
    found = read_rows(content, NESTED, lines=layout == "lines")
    assert found.to_pylist() == filled(rows, NESTED)


@settings(max_examples=60, deadline=None)
@given(map_rows)
def test_maps_come_back(rows):
    found = read_rows(as_lines(rows), MAPS).to_pylist()
    assert [{**r, "p": None if r["p"] is None else dict(r["p"])} for r in found] == filled(rows, MAPS)


@settings(max_examples=80, deadline=None)
@given(nested_rows)
def test_the_fast_way_and_the_exact_way_agree(rows):
    arrow = NESTED.to_arrow()
    wire = jsons._wire_schema(NESTED.fields)
    fast = jsons._fast_batch(as_lines(rows), NESTED.fields, wire, pa.schema([f.remove_metadata() for f in arrow]))
    exact = exact_batch(as_lines(rows), NESTED.fields, pa.schema([f.remove_metadata() for f in arrow]), "x", 1)
    assert fast is not None and fast.to_pylist() == exact.to_pylist()
    exact.validate(full=True)
    fast.validate(full=True)


@pytest.mark.parametrize(
    "column, value, shown",
    [
        ("l", '"abc"', '"abc"'),
        ("l", "4.7", "4.7"),
        ("l", "4.0", "4.0"),
        ("l", "9223372036854775808", "9223372036854775808"),
        ("y", "128", "128"),
        ("i", "true", "true"),
        ("b", "1", "1"),
        ("s", "5", "5"),
        ("s", "{}", "{}"),
        ("d", "1e400", "1E+400"),
        ("f", "1e39", "1E+39"),
        ("m", "1.5555", "1.5555"),
        ("day", '"2026-13-01"', "2026-13-01"),
        ("ts", "1234", "1234"),
        ("n", '"2026-11-01T00:00:00Z"', "2026-11-01"),
        ("x", '"*"', "*"),
        ("a", '[{"k":1.5}]', "1.5"),
        ("o", '{"w":1}', "w"),
        ("o", "[]", "[]"),
    ],
)
def test_a_json_value_that_does_not_fit_is_refused_with_row_and_value(column, value, shown):
    content = b'{"l": 1}\n' * 5 + f'{{"l": 1, "{column}": {value}}}\n'.encode().replace(b'"l": 1, "l"', b'"l"')
    with pytest.raises(SchemaMismatchError, match="row 6: .*nothing was written") as error:
        read_rows(content, NESTED)
    assert shown in error.value.message and column in error.value.columns


@pytest.mark.parametrize(
    "content, lines",
    [
        (b'{"l":1}\n{"l":\n', True),
        (b"5\n", True),
        (b'{"l":1,"l":2}\n', True),
        (b'{"l":1,"L":2}\n', True),
        (b'{"l":1}\n{"zz":2}\n', True),
        (b"[1,2]", False),
        (b'[{"l":1}', False),
        (b'[{"l":1} {"l":2}]', False),
        (b'[{"l":1},,{"l":2}]', False),
        (b'[{"l":1}] x', False),
        (b'{"l":1}]', False),
        (b'{"l":1}, {"l":2}', False),
        (b'{"l":', False),
        (b'{"s":"\xff"}\n', True),
        (b"[" * 100_000, False),
    ],
)
def test_malformed_json_is_refused(content, lines):
    with pytest.raises(SchemaMismatchError):
        read_rows(content, FLAT, lines=lines)


def test_names_ignore_case_and_absent_keys_are_null():
    assert read_rows(b'{"L":1}\n{"l":2}\n{}\n', parse_schema("l bigint, s string")).to_pylist() == [
        {"L": 1, "s": None},
        {"L": 2, "s": None},
        {"L": None, "s": None},
    ]


def test_a_column_that_the_table_computes_is_left_to_it_unless_it_is_given():
    schema = parse_schema("l bigint, g bigint GENERATED ALWAYS AS (l + 1)")
    assert read_rows(b'{"l":1}\n', schema).schema.names == ["l"]
    assert read_rows(b'{"l":1,"g":2}\n', schema).schema.names == ["l", "g"]


def test_guesses_keep_text_as_text():
    found = read_rows(
        b'{"t":"2026-11-01","n":null,"i":1,"d":1.5,"l":[1],"o":{"x":true},"big":12345678901234567890}\n', None
    )
    assert {f.name: str(f.type) for f in found.schema} == {
        "t": "string", "n": "string", "i": "int64", "d": "double", "l": "list<element: int64>", "o": "struct<x: bool>",
        "big": "decimal128(38, 0)",
    }  # fmt: skip


def test_new_keys_become_columns_only_when_asked():
    with pytest.raises(SchemaMismatchError, match="'zz'"):
        read_rows(b'{"l":1}\n{"zz":2}\n', parse_schema("l bigint"))
    assert read_rows(b'{"l":1}\n{"zz":2}\n', parse_schema("l bigint"), extend=True).schema.names == ["l", "zz"]


@pytest.mark.parametrize("lines", [True, False])
def test_json_longer_than_a_block(monkeypatch, lines):
    monkeypatch.setattr(jsonlines, "BLOCK", 50)
    rows = [{"l": i, "s": ']}\\"[{' * (i % 5)} for i in range(300)]
    content = as_lines(rows) if lines else dumped(rows, indent=1)
    assert read_rows(content, parse_schema("l bigint, s string"), lines=lines).to_pylist() == rows
    with pytest.raises(SchemaMismatchError, match="row 301"):
        read_rows(as_lines(rows) + b'{"l":"x"}\n', parse_schema("l bigint, s string"))


def test_json_does_not_hold_the_whole_file(monkeypatch):
    monkeypatch.setattr(jsonlines, "BLOCK", 1 << 10)
    reader = read_json(
        io.BytesIO(as_lines([{"l": i} for i in range(5000)])), parse_schema("l bigint"), False, True, "x"
    )
    sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == 5000 and max(sizes) < 300


# -- sources -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=50), st.binary(max_size=50), st.lists(st.integers(1, 20), min_size=60, max_size=60))
def test_a_prefixed_stream_is_the_whole_stream(prefix, rest, sizes):
    stream = Prefixed(prefix, io.BytesIO(rest))
    assert b"".join(stream.read(n) for n in sizes) + stream.read() == prefix + rest
    assert read_block(Prefixed(prefix, io.BytesIO(rest)), 30) == (prefix + rest)[:30]


@pytest.mark.parametrize(
    "name, format",
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("a.tsv", "tsv"),
        ("a.b.jsonl", "ndjson"),
        ("a.json.bz2", "json"),
        ("a.pq", "parquet"),
        ("a.feather", "arrow"),
    ],
)
def test_the_name_tells_the_format(tmp_path, name, format):
    path = tmp_path / name
    path.write_bytes(b"")
    assert source_of(str(path)).format == format


def test_what_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"")
    for name in (str(tmp_path / "x.bin"), str(tmp_path / "absent.csv"), str(tmp_path), "s3://b/x.csv", "-"):
        with pytest.raises(InvalidArgumentError):
            source_of(name)
    (tmp_path / "x.parquet").write_bytes(b"PAR0")
    with pytest.raises(SchemaMismatchError, match="no parquet file"):
        open_inputs([source_of(str(tmp_path / "x.parquet"))], InputOptions()).read_all()


def test_every_format_gives_the_same_rows(tmp_path):
    table = pa.table({"l": pa.array(range(20), pa.int64()), "s": [f"n{i}" for i in range(20)]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "a.arrows", table.schema) as writer:
        writer.write_table(table)
    lines = "l,s\n" + "".join(f"{r['l']},{r['s']}\n" for r in table.to_pylist())
    (tmp_path / "a.csv").write_text(lines)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "a.tsv").write_text(lines.replace(",", "\t"))
    (tmp_path / "a.json").write_text(json.dumps(table.to_pylist()))
    (tmp_path / "a.ndjson").write_bytes(as_lines(table.to_pylist()))
    for path in sorted(tmp_path.iterdir()):
        options = InputOptions(schema=parse_schema("l bigint, s string"), batch_rows=7)
        batches = list(open_inputs([source_of(str(path))], options))
        assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist(), path.name
        assert max(b.num_rows for b in batches) <= 7


def test_files_of_one_load_share_their_columns(tmp_path):
    (tmp_path / "a.csv").write_text("l,s\n1,x\n")
    (tmp_path / "b.csv").write_text("d,l\n1.5,2\n")
    (tmp_path / "c.csv").write_text("l\nabc\n")
    sources = [source_of(str(tmp_path / n)) for n in ("a.csv", "b.csv")]
    assert open_inputs(sources, InputOptions()).read_all().to_pylist() == [
        {"l": 1, "s": "x", "d": None},
        {"l": 2, "s": None, "d": 1.5},
    ]
    with pytest.raises(SchemaMismatchError, match=r"int64 in .*a\.csv and string in .*c\.csv"):
        open_inputs([sources[0], source_of(str(tmp_path / "c.csv"))], InputOptions())


def test_rows_are_arranged_as_the_schema_of_a_new_table_says():
    schema = parse_schema("l bigint NOT NULL COMMENT 'key', d double, s string")
    reader = read_csv(io.BytesIO(b"S,l\nx,1\n"), schema, CsvOptions(), "x")
    found = arranged(reader, schema)
    assert found.schema.names == ["l", "d", "s"] and not found.schema.field("l").nullable
    assert found.schema.field("l").metadata == {b"comment": b"key"}
    assert found.read_all().to_pylist() == [{"l": 1, "d": None, "s": "x"}]
    with pytest.raises(InvalidArgumentError, match="create the table first"):
        arranged(pa.table({"other": [1]}).to_reader(), schema)


@settings(deadline=None)
@given(
    st.sampled_from(
        [
            "byte",
            "short",
            "integer",
            "long",
            "float",
            "double",
            "boolean",
            "date",
            "timestamp",
            "timestamp_ntz",
            "decimal(10,2)",
            "binary",
        ]
    ),
    text,
)
def test_typed_text_is_a_value_or_refused(kind, value):
    try:
        found = typed(pa.array([value, None]), PrimitiveType(kind))
    except Unfit:
        return
    assert len(found) == 2 and found[1].as_py() is None and found[0].as_py() is not None
