"""One Parquet file, opened and matched to the table's columns. What is damaged raises and names the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deltalite.exceptions import InvalidTableError, StorageError
from deltalite.model.arrow import mask_array
from deltalite.scan.columns import Columns, Leaf, MatchedColumn, Matcher, file_nodes
from deltalite.storage import Store

_BATCH_BYTES = 64 << 20
_DICTIONARY_BYTES = 4  # encoded bytes per value, below which a column repeats itself


class RowGroup(NamedTuple):
    """A row group: its number, the position of its first row in the file, and its rows."""

    index: int
    start: int
    num_rows: int


class DataFile:
    """An open data file. Use as a context manager: it closes the file."""

    def __init__(self, store: Store, path: str, size: int | None, by_field_id: bool) -> None:
        self.path = path
        with reading(path):
            self._parquet = _open(store, path, size)
            self.metadata = self._parquet.metadata
            self.schema = self._parquet.schema
            self.arrow_schema: pa.Schema = self._parquet.schema_arrow
        self._nodes = file_nodes(self.arrow_schema)
        self._matcher = Matcher(by_field_id, path)
        if self._nodes and self._nodes[-1].end != self.metadata.num_columns:
            raise InvalidTableError(f"{path}: its Parquet columns and its Arrow schema disagree", path=path)

    def __enter__(self) -> DataFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._parquet.close(force=True)

    @property
    def num_rows(self) -> int:
        return self.metadata.num_rows

    def match(self, columns: Columns) -> list[MatchedColumn]:
        """Where the file has the given columns; see :meth:`deltalite.scan.columns.Matcher.match`."""
        return self._matcher.match(self._nodes, columns)

    def leaf(self, columns: Columns, path: tuple[str, ...]) -> Leaf | None:
        """The Parquet leaf of a column; see :meth:`deltalite.scan.columns.Matcher.leaf`."""
        return self._matcher.leaf(self._nodes, columns, path)

    def row_groups(self) -> list[RowGroup]:
        found, start = [], 0
        for index in range(self.metadata.num_row_groups):
            rows = self.metadata.row_group(index).num_rows
            found.append(RowGroup(index, start, rows))
            start += rows
        return found

    def batches(
        self, columns: Sequence[MatchedColumn], groups: Sequence[RowGroup], batch_size: int, use_threads: bool = False
    ) -> Iterator[FileBatch]:
        """The columns of some row groups, batch by batch.

        :param batch_size: rows of a batch at most; fewer where rows are wide.
        :raises InvalidTableError: the bytes are damaged, or hold fewer rows than the footer says.
        """
        leaves = sorted({leaf for column in columns if column.source for leaf in column.source.leaves})
        expected, found = sum(group.num_rows for group in groups), 0
        with reading(self.path):
            for batch in self._parquet.reader.iter_batches(
                self._batch_rows(groups, leaves, batch_size),
                row_groups=[group.index for group in groups],
                column_indices=leaves,
                use_threads=use_threads,
            ):
                found += batch.num_rows
                yield FileBatch(self.path, columns, batch)
        if found != expected:
            raise InvalidTableError(f"{self.path} holds {found} rows where its footer says {expected}", path=self.path)

    def _batch_rows(self, groups: Sequence[RowGroup], leaves: Sequence[int], batch_size: int) -> int:
        chunks = [self.metadata.row_group(group.index) for group in groups]
        size = sum(chunk.column(leaf).total_uncompressed_size for chunk in chunks for leaf in leaves)
        rows = sum(group.num_rows for group in groups)
        return max(1, min(batch_size, rows, _BATCH_BYTES * rows // max(size, 1)))


class FileBatch:
    """Some rows as the file holds them."""

    def __init__(self, path: str, columns: Sequence[MatchedColumn], batch: pa.RecordBatch) -> None:
        self._path = path
        self._columns = columns
        self._batch = batch
        self.num_rows: int = batch.num_rows

    def values(self, mask: np.ndarray | None = None, encoded: bool = False) -> dict[str, Any]:
        """The columns by name, in the table's types.

        :param mask: the rows wanted; ``None`` for all. What is not wanted is neither unpacked nor converted.
        :param encoded: columns whose values only need to be unpacked stay dictionaries.
        """
        batch = self._batch
        rows = batch.num_rows if mask is None else int(np.count_nonzero(mask))
        tops = sorted({column.field.first for column in self._columns if column.field})
        with reading(self._path):
            if rows < batch.num_rows and batch.num_columns:
                batch = batch.filter(mask_array(mask))
            found = {}
            for column in self._columns:
                if column.source is None or column.field is None:
                    found[column.name] = pa.nulls(rows, column.type)
                else:
                    values = batch.column(tops.index(column.field.first))
                    convert = column.source.convert
                    kept = convert is None or (encoded and _is_encoded(values.type, column.type))
                    found[column.name] = values if kept or convert is None else convert(values)
        return found


def _is_encoded(found: pa.DataType, wanted: pa.DataType) -> bool:
    return pa.types.is_dictionary(found) and found.value_type == wanted


def _open(store: Store, path: str, size: int | None) -> pq.ParquetFile:
    options: dict[str, Any] = {
        "coerce_int96_timestamp_unit": "us",
        "page_checksum_verification": True,
        "pre_buffer": not store.is_local,
    }
    try:
        source = store.open_input(path, size=size)
        file = pq.ParquetFile(source, **options)
    except (pa.ArrowException, OSError) as error:
        if store.is_local or size is None or isinstance(error, FileNotFoundError):
            raise
        source = store.open_input(path)  # not every writer logs the size faithfully
        file = pq.ParquetFile(source, **options)
    names = _repetitive(file)
    return pq.ParquetFile(source, metadata=file.metadata, read_dictionary=names, **options) if names else file


def _repetitive(file: pq.ParquetFile) -> list[str]:
    """Text columns of few distinct values: to decode their dictionary afterwards is cheaper than value by value."""
    metadata, found = file.metadata, []
    groups = [metadata.row_group(index) for index in range(min(metadata.num_row_groups, 2))]
    rows = sum(group.num_rows for group in groups)
    for leaf in range(metadata.num_columns):
        if file.schema.column(leaf).physical_type == "BYTE_ARRAY" and groups:
            chunks = [group.column(leaf) for group in groups]
            size = sum(chunk.total_uncompressed_size for chunk in chunks)
            if size < _DICTIONARY_BYTES * rows and all(chunk.has_dictionary_page for chunk in chunks):
                found.append(chunks[0].path_in_schema)
    return found


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Errors of Parquet and of the storage as errors about the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise InvalidTableError(
            f"the data file {path} is missing, though the log says it is part of this version",
            hint="VACUUM or somebody else deleted it; a newer version of the table may not need it",
            path=path,
        ) from error
    except StorageError:
        raise
    except (pa.ArrowException, OSError, EOFError) as error:
        raise InvalidTableError(
            f"the data file {path} cannot be read: {error}",
            hint="its bytes are damaged, or it is no Parquet file that pyarrow understands",
            path=path,
        ) from error
