"""Rows that are copied may come with dictionaries: the files are those of plain rows, statistics included."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from write_tables import memory_store, rows_of, small_groups, spec, stats, struct

from deltalite.write import waiting
from deltalite.write.files import FileWriter

SCHEMA = struct(("id", "long"), ("kind", "string"), ("note", "string"), ("part", "string"))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ä", "ab", "z" * 40, "y" * 6000]))


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[bool, pa.RecordBatch]]:
    """Batches of rows, plain ones and such with dictionaries of their own, with values that no row has."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        size = draw(st.integers(1, 12))
        columns = [pa.array(range(number * 100, number * 100 + size))]
        encoded = draw(st.booleans())
        for _ in range(3):
            array = pa.array(draw(st.lists(TEXTS, min_size=size, max_size=size)), pa.string())
            if encoded and draw(st.booleans()):
                unused = pa.array(["0 before all", "~ behind all"])
                array = pa.concat_arrays([unused, array]).dictionary_encode().slice(2)
            columns.append(array)
        found.append((encoded, pa.RecordBatch.from_arrays(columns, names=SCHEMA.names)))
    return found


def written(rows: list[tuple[bool, pa.RecordBatch]], plain: bool, **options) -> tuple[list, list]:
    store = memory_store()
    asked = spec(SCHEMA, **options)
    writer = FileWriter(store, asked)
    for copied, batch in rows:
        columns = [c.dictionary_decode() if plain and pa.types.is_dictionary(c.type) else c for c in batch.columns]
        writer.add(pa.RecordBatch.from_arrays(columns, names=batch.schema.names), copied=copied)
    adds = writer.finish()
    return rows_of(store, asked, adds), [(add.partition_values, stats(add)) for add in adds]


@pytest.mark.parametrize("options", [{}, {"partition_by": ("part",)}, {"parquet": small_groups(5)}])
@settings(max_examples=30, deadline=None)
@given(rows=batches())
def test_dictionaries_change_neither_rows_nor_statistics(options, rows):
    assert written(rows, False, **options) == written(rows, True, **options)


def test_rows_that_wait_on_disk_are_the_same(monkeypatch):
    few = pa.array(["x", "y", None] * 50).dictionary_encode()
    rows = [
        (True, pa.RecordBatch.from_arrays([pa.array(range(n, n + 150)), few, few, few], names=SCHEMA.names))
        for n in range(0, 3000, 150)
    ]
    told = written(rows, True)
    monkeypatch.setattr(waiting, "SMALL_PART_ROWS", 0)
    assert written(rows, False, memory_budget=1) == told
