"""One data file: row groups in, an AddFile out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deltalite.model.actions import AddFile
from deltalite.model.paths import encode_path
from deltalite.write.layout import Layout
from deltalite.write.stats import Collector

if TYPE_CHECKING:
    from deltalite.storage.base import OutputFile, Store

SAMPLE_ROWS = 32_768


class _Sink:
    """The output as the Parquet writer sees it. Once dead it swallows the footer that a dropped writer still emits."""

    closed = False

    def __init__(self, output: OutputFile) -> None:
        self.output = output
        self.size = 0
        self.dead = False

    def write(self, data: Any) -> int:
        length = len(data)
        if not self.dead:
            self.output.write(data)
            self.size += length
        return length

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Bytes become visible when the file is finished, not before."""

    def close(self) -> None:
        """The file is closed by :meth:`DataFile.finish`."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class DataFile:
    """A data file being written; nobody sees it before :meth:`finish`.

    :param path: its path below the table's root, not percent-encoded.
    :param partition_values: the log's texts by partition key.
    :param sample: rows to choose encodings by.
    """

    def __init__(
        self,
        store: Store,
        path: str,
        layout: Layout,
        partition_values: Mapping[str, str | None],
        sample: Sequence[pa.RecordBatch],
    ) -> None:
        self.path = path
        self._partition_values = partition_values
        options, footer_off = writer_options(layout, sample)
        self._schema = layout.file_schema
        self._stats = Collector(layout.stats, layout.spec.stats_prefix, footer_off)
        self._footers: list[Any] = []
        self._sink = _Sink(store.open_output(path))
        try:
            self._writer = pq.ParquetWriter(
                self._sink, layout.file_schema, metadata_collector=self._footers, **options
            )
        except BaseException:
            self._sink.output.abort()
            raise

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._sink.size

    def write(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Append one row group."""
        for batch in batches:
            self._stats.observe(batch)
        rows = pa.Table.from_batches(batches, self._schema)
        self._writer.write_table(rows, row_group_size=rows.num_rows)

    def finish(self) -> AddFile:
        """Write the footer, make the file visible and describe it."""
        self._writer.close()
        stats = self._stats.finish(self._footers[0])
        self._sink.output.close()
        return AddFile(
            path=encode_path(self.path),
            partition_values=self._partition_values,
            size=self._sink.size,
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=stats,
        )

    def abort(self) -> None:
        """Throw the file away."""
        self._sink.dead = True
        self._sink.output.abort()
        try:
            self._writer.close()
        except Exception:  # a writer that failed may fail again; its output is gone anyway
            self._writer.is_open = False


def writer_options(layout: Layout, sample: Sequence[pa.RecordBatch]) -> tuple[dict[str, Any], frozenset[int]]:
    """Arguments for ``ParquetWriter``, and the positions of leaves whose footer statistics are off."""
    chosen = layout.spec.parquet
    names = [name for name, _ in layout.leaf_names]
    dictionary = [name for name, place in layout.leaf_names if _use_dictionary(layout, name, place, sample)]
    off = frozenset(i for i, name in enumerate(names) if name in chosen.statistics_off)
    options: dict[str, Any] = {
        "compression": chosen.compression,
        "use_dictionary": dictionary or False,
        "write_statistics": True if not off else [name for i, name in enumerate(names) if i not in off] or False,
        "store_schema": False,
        "store_decimal_as_integer": True,
        "write_page_checksum": True,
        **chosen.writer,
    }
    if chosen.encodings:
        options["column_encoding"] = dict(chosen.encodings)
    return options, off


def _use_dictionary(
    layout: Layout, name: str, place: tuple[int, ...] | None, sample: Sequence[pa.RecordBatch]
) -> bool:
    """Whether a dictionary pays: a column of mostly distinct values is smaller, and faster to write, without one."""
    chosen = layout.spec.parquet
    if name in chosen.encodings:
        return False
    wanted = chosen.dictionary.get(name)
    if wanted is not None:
        return wanted
    if place is None or sample[0].num_rows < 1000:
        return True
    column = sample[0].column(place[0])
    for index in place[1:]:
        column = pc.struct_field(column, [index])
    column = column.slice(0, SAMPLE_ROWS)
    return 2 * pc.count_distinct(column).as_py() <= len(column)
