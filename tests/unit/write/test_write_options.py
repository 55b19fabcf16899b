"""WriterProperties, the WriteSpec of a table, schema merging, footers."""

from __future__ import annotations

import inspect

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from write_tables import delta, memory_store, open_file, stats, struct, write

from deltalite.exceptions import InvalidArgumentError, SchemaMismatchError
from deltalite.model.actions import Metadata, Protocol
from deltalite.model.config import TableConfig
from deltalite.model.types import ArrayType, Field, MapType, Schema
from deltalite.write import footer
from deltalite.write.options import BloomFilterProperties, ColumnProperties, WriterProperties
from deltalite.write.schema import merge_schema
from deltalite.write.spec import parse_path, spec_of

PAGE_STATISTICS = ColumnProperties(statistics_enabled="PAGE")
DATA = pa.table({"id": range(5000), "s": [f"v{i % 5}" for i in range(5000)], "l": [[i] for i in range(5000)]})


def config(schema=None, partition_by: tuple[str, ...] = (), **properties: str) -> TableConfig:
    fields = (schema or delta(DATA)).fields
    named = {name.replace("__", "."): value for name, value in properties.items()}
    return TableConfig(Protocol(1, 2), Metadata("id", Schema(fields).to_json(), partition_by, named))


def written(properties: WriterProperties, **table_properties: str) -> tuple[pq.ParquetFile, dict]:
    store = memory_store()
    (add,) = write(store, spec_of(config(**table_properties), writer_properties=properties), DATA)
    return open_file(store, add), {"path": add.path, **stats(add)}


def test_names_and_order_of_arguments_are_deltalakes() -> None:
    from deltalake import BloomFilterProperties as Bloom
    from deltalake import ColumnProperties as Column
    from deltalake import WriterProperties as Writer

    for ours, theirs in ((WriterProperties, Writer), (ColumnProperties, Column), (BloomFilterProperties, Bloom)):
        ours_names = list(inspect.signature(ours).parameters)
        assert ours_names == list(inspect.signature(theirs).parameters)


def test_options_reach_the_file() -> None:
    file, _ = written(WriterProperties(compression="SNAPPY", max_row_group_size=1000))
    group = file.metadata.row_group(0)
    assert group.column(0).compression == "SNAPPY"
    columns = {"id": ColumnProperties(dictionary_enabled=True, statistics_enabled="NONE"),
               "l": ColumnProperties(dictionary_enabled=False)}  # fmt: skip
    file, log = written(WriterProperties(column_properties=columns, compression="GZIP", compression_level=9))
    group = file.metadata.row_group(0)
    assert "RLE_DICTIONARY" in group.column(0).encodings and "RLE_DICTIONARY" not in group.column(2).encodings
    assert group.column(0).statistics is None
    assert log["minValues"]["id"] == 0 and log["maxValues"]["id"] == 4999, "the log has its statistics all the same"
    assert log["path"].endswith(".gz.parquet")
    file, _ = written(WriterProperties(column_properties={"id": ColumnProperties(encoding="DELTA_BINARY_PACKED")}))
    assert "DELTA_BINARY_PACKED" in file.metadata.row_group(0).column(0).encodings


def test_dictionaries_are_chosen_by_a_look_at_the_data() -> None:
    file, _ = written(WriterProperties())
    group = file.metadata.row_group(0)
    assert "RLE_DICTIONARY" not in group.column(0).encodings, "distinct values"
    assert "RLE_DICTIONARY" in group.column(1).encodings, "five values"


@pytest.mark.skipif(
    "bloom_filter_options" not in inspect.signature(pq.ParquetWriter.__init__).parameters, reason="an older pyarrow"
)
def test_bloom_filters_survive_several_row_groups() -> None:
    import duckdb

    bloom = ColumnProperties(bloom_filter_properties=BloomFilterProperties(True, fpp=0.01, ndv=1000))
    store = memory_store()
    options = WriterProperties(max_row_group_size=1000, column_properties={"id": bloom})
    write_spec = spec_of(config(), writer_properties=options)
    batches = DATA.to_batches(max_chunksize=500)
    (add,) = write(store, write_spec, batches)
    data = store.get(add.path)
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        file.write(data)
        file.flush()
        excluded = duckdb.execute("SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, 'id', 2500)", [file.name])
        found = [row[0] for row in excluded.fetchall()]
    assert len(found) == 5 and found.count(False) >= 1 and found[2] is False


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WriterProperties(compression="RAR"),  # type: ignore[arg-type]
        lambda: WriterProperties(compression="ZSTD", compression_level=30),
        lambda: WriterProperties(compression="SNAPPY", compression_level=1),
        lambda: WriterProperties(compression_level=1),
        lambda: WriterProperties(max_row_group_size=0),
        lambda: ColumnProperties(dictionary_enabled=True, encoding="PLAIN"),
        lambda: BloomFilterProperties(True, fpp=2),
        lambda: spec_of(config(), writer_properties=WriterProperties(statistics_truncate_length=8)),
        lambda: spec_of(config(), writer_properties=WriterProperties(column_properties={"nope": ColumnProperties()})),
        lambda: spec_of(config(), writer_properties=WriterProperties(default_column_properties=PAGE_STATISTICS)),
    ],
)
def test_what_cannot_be_had_is_refused(wrong) -> None:
    with pytest.raises(InvalidArgumentError):
        wrong()


def test_encodings_that_a_column_cannot_have_are_refused_without_a_trace() -> None:
    store = memory_store()
    options = WriterProperties(column_properties={"s": ColumnProperties(encoding="DELTA_BINARY_PACKED")})
    with pytest.raises(InvalidArgumentError, match="DELTA_BINARY_PACKED"):
        write(store, spec_of(config(), writer_properties=options), DATA)
    assert list(store.list_all()) == []


# -- the spec of a table -----------------------------------------------------------------------------------------------

WIDE = struct(
    ("p", "long"), ("a", "long"), ("s", struct(("x", "long"), ("y.z", "string"))), ("l", ArrayType("long")),
    ("v", "void"), *((f"c{i}", "long") for i in range(40)),
)  # fmt: skip


@pytest.mark.trap(43)
def test_trap_43_the_first_32_leaves_without_partition_columns() -> None:
    found = spec_of(config(WIDE, ("p",))).stats_columns
    assert found[:4] == (("a",), ("s", "x"), ("s", "y.z"), ("l",))
    assert len(found) == 32 and found[-1] == ("c27",)
    assert spec_of(config(WIDE, delta__dataSkippingNumIndexedCols="0")).stats_columns == ()
    assert len(spec_of(config(WIDE, delta__dataSkippingNumIndexedCols="-1")).stats_columns) == 45


@pytest.mark.trap(43)
def test_trap_43_named_columns_override_the_number() -> None:
    named = config(WIDE, delta__dataSkippingStatsColumns="S, `c39`, s.`y.z`", delta__dataSkippingNumIndexedCols="1")
    assert spec_of(named).stats_columns == (("s", "x"), ("s", "y.z"), ("c39",))
    assert parse_path("a.`b.c`.`d``e`") == ("a", "b.c", "d`e")


def test_properties_and_arguments_decide() -> None:
    table = config(delta__targetFileSize="10mb", delta__parquet__compression__codec="snappy",
                   delta__dataSkippingStringPrefixLength="5")  # fmt: skip
    found = spec_of(table)
    assert (found.target_file_size, found.parquet.compression, found.stats_prefix) == (10 << 20, "snappy", 5)
    assert spec_of(table, target_file_size=7).target_file_size == 7
    assert spec_of(table, writer_properties=WriterProperties(compression="ZSTD")).parquet.compression == "zstd"
    assert spec_of(config()).parquet.compression == "zstd"
    assert spec_of(table).derived is spec_of(table, txn_id="x").derived, "what is derived is shared between writes"


# -- schema merging ----------------------------------------------------------------------------------------------------


def test_new_columns_and_fields_are_appended_nullable() -> None:
    inner = Field("s", struct(Field("a", "long", False)))
    table = Schema([Field("id", "long", False), inner, Field("l", ArrayType(struct(("a", "long"))))])
    data = struct(
        Field("new", "string", False, {"comment": "kept", "delta.columnMapping.id": 7}),
        ("S", struct(("b", struct(Field("c", "date", False))), ("A", "integer"))),
        ("L", ArrayType(struct(("b", "string")))),
        ("ID", "short"),
    )
    merged = merge_schema(table, data)
    assert merged == Schema(
        [
            Field("id", "long", False),
            Field("s", struct(Field("a", "long", False), ("b", struct(("c", "date"))))),
            Field("l", ArrayType(struct(("a", "long"), ("b", "string")))),
            Field("new", "string", True, {"comment": "kept"}),
        ]
    )
    assert isinstance(merged, Schema)
    assert merge_schema(merged, data) == merged, "nothing is new the second time"


def test_types_that_contradict_each_other_are_listed() -> None:
    table = struct(("a", "long"), ("s", struct(("x", "date"))), ("m", MapType("string", "long")), ("ok", "double"))
    data = struct(("a", "string"), ("s", struct(("x", "long"))), ("m", ArrayType("long")), ("ok", "void"))
    with pytest.raises(SchemaMismatchError) as caught:
        merge_schema(table, data)
    assert caught.value.columns == ["a", "s.x", "m"]


# -- footers -----------------------------------------------------------------------------------------------------------


def parquet_bytes(table: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


@given(st.integers(1, 40), st.sampled_from(["zstd", "none"]), st.booleans())
def test_a_footer_is_written_as_it_was_read(columns: int, compression: str, checksum: bool) -> None:
    data = parquet_bytes(
        pa.table({f"column {i}": pa.array([i, None, i]) for i in range(columns)}),
        compression=compression, write_page_checksum=checksum,
    )  # fmt: skip
    view = memoryview(data)
    raw = bytes(view[footer.footer_start(view) : -8])
    out = bytearray()
    footer._write_struct(out, footer._Reader(raw).struct())
    assert bytes(out) == raw
    assert footer.file_end([raw], [4]) == data[footer.footer_start(view) :]


def test_merged_footers_keep_every_row_group_readable() -> None:
    parts = [pa.table({"a": range(n, n + 10), "s": [f"x{n}"] * 10}) for n in range(0, 400, 10)]
    blobs = [memoryview(parquet_bytes(part, store_schema=False)) for part in parts]
    body, starts = bytearray(b"PAR1"), []
    for blob in blobs:
        starts.append(len(body))
        body += blob[4 : footer.footer_start(blob)]
    body += footer.file_end([bytes(b[footer.footer_start(b) : -8]) for b in blobs], starts)
    file = pq.ParquetFile(pa.BufferReader(bytes(body)))
    assert file.metadata.num_row_groups == 40 and file.metadata.num_rows == 400
    assert file.read().equals(pa.concat_tables(parts).combine_chunks())
    assert file.read_row_group(33).equals(parts[33])
