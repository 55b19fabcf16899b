"""WriteSpec: what a worker needs to turn rows into data files, as one picklable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from deltalite.model.types import Field, StructType

if TYPE_CHECKING:
    from deltalite.features.base import WriteStep

MIB = 1024 * 1024
DEFAULT_TARGET_FILE_SIZE = 128 * MIB
DEFAULT_ROW_GROUP_ROWS = 1024 * 1024
DEFAULT_MEMORY_BUDGET = 48 * MIB


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """How data files are encoded.

    :param compression: a codec of pyarrow, in lower case, or ``none``.
    :param row_group_rows: rows of a row group at most.
    :param statistics_off: leaf columns whose Parquet statistics are left out; the log's are written all the same.
    :param dictionary: whether a leaf column is dictionary-encoded; for those not named, a sample of the data decides.
    :param encodings: encodings of leaf columns (by their dotted physical path) instead of plain or dictionary.
    :param writer: further keyword arguments of ``pyarrow.parquet.ParquetWriter``.
    """

    compression: str = "zstd"
    row_group_rows: int = DEFAULT_ROW_GROUP_ROWS
    statistics_off: tuple[str, ...] = ()
    dictionary: Mapping[str, bool] = field(default_factory=dict)
    encodings: Mapping[str, str] = field(default_factory=dict)
    writer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether everything is left to the defaults but the codec and the size of row groups."""
        return not (self.statistics_off or self.dictionary or self.encodings or self.writer)


@dataclass(frozen=True)
class WriteSpec:
    """How new rows become data files.

    :param schema: the table's logical schema, partition columns included, then the virtual columns that rows keep.
    :param physical: the same fields in parallel, under the names and with the field ids (``parquet.field.id``) that
        data files and the log use.
    :param partition_columns: logical names, in the order of partitioning.
    :param stores_partitions: whether data files have the partition columns too, behind all others.
    :param steps: what the active features ask of new rows, in order.
    :param stats_columns: physical paths of the leaf columns that get minimum, maximum and null count.
    :param stats_prefix: characters kept of a text in minimum and maximum.
    :param target_file_size: bytes after which a file is finished and the next one begun.
    :param memory_budget: bytes of rows that may wait for their row group; beyond, they go to a temporary file.
    :param unsafe_cast: convert values to the table's types even where that loses something.
    :param txn_id: the transaction that the files are for; part of their names.
    :param task: (index, count) of the worker among those that write for one commit.
    :param directory: where the files go, relative to the table, before the directories of partitions.
    """

    schema: StructType
    physical: StructType
    partition_columns: tuple[str, ...] = ()
    stores_partitions: bool = False
    steps: tuple[WriteStep, ...] = ()
    stats_columns: tuple[tuple[str, ...], ...] = ()
    stats_prefix: int = 32
    target_file_size: int = DEFAULT_TARGET_FILE_SIZE
    parquet: ParquetOptions = field(default_factory=ParquetOptions)
    memory_budget: int = DEFAULT_MEMORY_BUDGET
    unsafe_cast: bool = False
    txn_id: str = ""
    task: tuple[int, int] = (0, 1)
    directory: str = ""
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What the writer derives from the spec, kept for the next call; not part of the value."""

    @cached_property
    def partition_keys(self) -> tuple[str, ...]:
        """The keys of ``partitionValues``: physical names, in parallel to ``partition_columns``."""
        physical = {f.name: p.name for f, p in zip(self.schema.fields, self.physical.fields, strict=True)}
        return tuple(physical[name] for name in self.partition_columns)

    @cached_property
    def data_fields(self) -> tuple[tuple[Field, Field], ...]:
        """Pairs of logical and physical field for the columns that lie in data files; ``void`` ones do not."""
        pairs = zip(self.schema.fields, self.physical.fields, strict=True)
        return tuple((f, p) for f, p in pairs if f.name not in self.partition_columns and f.type.type != "void")

    @cached_property
    def file_fields(self) -> tuple[tuple[Field, Field], ...]:
        """Pairs of logical and physical field for all columns of the data files, in their order."""
        if not self.stores_partitions:
            return self.data_fields
        pairs = {f.name: (f, p) for f, p in zip(self.schema.fields, self.physical.fields, strict=True)}
        return (*self.data_fields, *(pairs[name] for name in self.partition_columns))

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__ if name != "derived"} | {"derived": {}}
