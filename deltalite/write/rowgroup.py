"""One row group: batches in, encoded bytes and statistics out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deltalite.exceptions import InvalidArgumentError
from deltalite.model.write_spec import ParquetOptions
from deltalite.write.footer import footer_start
from deltalite.write.layout import Layout
from deltalite.write.leaves import Leaf
from deltalite.write.stats import LeafStats, column_of, of_row_group

SAMPLE_ROWS = 32_768
FEW_ROWS = 1000


class RowGroup(NamedTuple):
    """An encoded row group, as a Parquet file of its own.

    :param data: the file's bytes.
    :param footer_at: where in ``data`` the footer begins.
    """

    data: memoryview
    footer_at: int
    rows: int
    stats: list[LeafStats]

    @property
    def footer(self) -> bytes:
        """The Thrift footer alone."""
        return bytes(self.data[self.footer_at : -8])


def encode(layout: Layout, batches: Sequence[pa.RecordBatch]) -> RowGroup:
    """Encode the rows of one row group.

    :raises InvalidArgumentError: when the writer's options do not go with the columns.
    """
    rows = _together(batches, layout.file_schema)
    sink = pa.BufferOutputStream()
    footers: list[Any] = []
    try:
        _write(rows, sink, footers, writer_options(layout, batches))
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if layout.spec.parquet.is_plain:
            raise
        raise InvalidArgumentError(
            f"pyarrow {pa.__version__} cannot write Parquet with these writer_properties: {error}",
            hint="leave out what the message names; the defaults fit every table",
        ) from error
    data = memoryview(sink.getvalue())
    stats = of_row_group(layout.stats, batches, footers[0].row_group(0), layout.footer_off)
    return RowGroup(data, footer_start(data), rows.num_rows, stats)


def _together(batches: Sequence[pa.RecordBatch], plain: pa.Schema) -> pa.Table:
    """The rows of all batches; where one has a dictionary, all share it."""
    columns = []
    for i, f in enumerate(plain):
        parts = [batch.column(i) for batch in batches]
        if any(pa.types.is_dictionary(part.type) for part in parts):
            parts = [part if pa.types.is_dictionary(part.type) else part.dictionary_encode() for part in parts]
            columns.append(pa.chunked_array(parts).unify_dictionaries())
        else:
            columns.append(pa.chunked_array(parts, f.type))
    fields = [f.with_type(column.type) for f, column in zip(plain, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _write(rows: pa.Table, sink: Any, footers: list[Any], options: dict[str, Any]) -> None:
    writer = pq.ParquetWriter(sink, rows.schema, metadata_collector=footers, **options)
    try:
        writer.write_table(rows, row_group_size=rows.num_rows)
    except BaseException:
        writer.is_open = False  # or its destructor would close it, and fail again
        raise
    writer.close()


def writer_options(layout: Layout, batches: Sequence[pa.RecordBatch]) -> dict[str, Any]:
    """Arguments for ``ParquetWriter``."""
    chosen = layout.spec.parquet
    dictionary = [name for leaf in layout.leaves for name in _dictionary_encoded(leaf, chosen, batches[0])]
    options: dict[str, Any] = {
        "compression": chosen.compression,
        "use_dictionary": dictionary or False,
        "write_statistics": layout.footer_statistics,
        "store_schema": False,
        "store_decimal_as_integer": True,
        "write_page_checksum": True,
        **chosen.writer,
    }
    if chosen.encodings:
        options["column_encoding"] = dict(chosen.encodings)
    return options


def _dictionary_encoded(leaf: Leaf, chosen: ParquetOptions, sample: pa.RecordBatch) -> list[str]:
    """Those of a leaf's Parquet columns that are encoded by dictionary: as told, or as a look at the data suggests."""
    asked = [chosen.dictionary.get(name, name not in chosen.encodings and None) for name in leaf.parquet]
    if None in asked:
        pays = _dictionary_pays(leaf, sample)
        asked = [pays if wanted is None else wanted for wanted in asked]
    return [name for name, wanted in zip(leaf.parquet, asked, strict=True) if wanted]


def _dictionary_pays(leaf: Leaf, sample: pa.RecordBatch) -> bool:
    """A column of mostly distinct values is smaller, and faster to write, without a dictionary."""
    if not leaf.is_plain or sample.num_rows < FEW_ROWS:
        return True
    column = column_of(sample, leaf).slice(0, SAMPLE_ROWS)
    if pa.types.is_dictionary(column.type):
        return 2 * len(column.dictionary) <= sample.num_rows
    return 2 * pc.count_distinct(column).as_py() <= len(column)
