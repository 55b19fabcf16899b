"""What a worker needs to read: ScanPlan, the part that all files share, and FileTask, one data file.

Both are values: picklable, without a store, a clock or a snapshot behind them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from deltalite.model import partition
from deltalite.model.actions import DeletionVector
from deltalite.model.arrow import schema_to_arrow
from deltalite.model.files import ADD_SCHEMA, deletion_vector
from deltalite.model.types import DataType, StructType

if TYPE_CHECKING:
    from deltalite.model.expr import BoundExpr

FILE_COLUMNS = ("path", "partitionValues", "size", "deletionVector", "baseRowId", "defaultRowCommitVersion")
NUM_RECORDS = "numRecords"
PLAN_FILES = pa.schema([*(ADD_SCHEMA.field(name) for name in FILE_COLUMNS), pa.field(NUM_RECORDS, pa.int64())])

FILE_NAME = "_file"
ROW_INDEX = "_row_index"
_TASKS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class VirtualColumn:
    """A column that no schema has.

    Its values come from the data file's own column ``stored_as`` where that holds one, else from the attribute
    ``constant`` of the :class:`FileTask`, plus the row's position in the file if ``add_position``; with neither, from
    the file alone. ``field_id`` is the Parquet field id of ``stored_as``, where it has one.
    """

    type: DataType
    constant: str | None = None
    add_position: bool = False
    stored_as: str | None = None
    field_id: int | None = None


@dataclass(frozen=True, slots=True)
class FileTask:
    """One data file to read.

    :param path: the URI of the log, as written there.
    :param partition: the values of the partition columns by logical name, as :func:`deltalite.model.partition.parse`
        gives them (timestamps in microseconds).
    :param size: bytes of the file, as the log says.
    :param num_records: rows in the file before deletion, where the plan came to know it.
    :param within: read only rows that this vector marks, less those that ``deletion_vector`` does; the difference of
        two vectors of one file, as change feeds need it.
    """

    path: str
    partition: Mapping[str, Any]
    size: int | None = None
    deletion_vector: DeletionVector | None = None
    num_records: int | None = None
    base_row_id: int | None = None
    default_row_commit_version: int | None = None
    within: DeletionVector | None = None


@dataclass(frozen=True, slots=True)
class ScanReport:
    """How many files a plan reads and why the others are left out.

    :param files: live files of the version.
    :param by_partition: files left out because of their partition values.
    :param by_statistics: files left out because of their statistics.
    :param without_statistics: files kept that have no statistics to judge by; 0 when nothing asked for any.
    """

    files: int
    kept: int
    by_partition: int = 0
    by_statistics: int = 0
    without_statistics: int = 0

    @property
    def skipped(self) -> int:
        return self.files - self.kept


@dataclass(frozen=True)
class ScanPlan:
    """What to read of one version.

    :param version: the version of the table.
    :param output: the columns of the result in order, virtual ones included, under their logical names.
    :param logical: the table's columns that the result or the predicate needs, each with the struct fields it needs.
    :param physical: the same columns and fields, in parallel, under the names (and ids, ``parquet.field.id``) that
        data files use.
    :param partition_columns: the partition columns of the table, in the schema's spelling.
    :param partition_keys: their keys in ``partitionValues``, in parallel.
    :param partition_types: their types, in parallel.
    :param virtual: the virtual columns that the result or the predicate needs.
    :param by_field_id: whether data files are matched by field id instead of by name.
    :param predicate: the residual condition on rows; ``None`` keeps all.
    :param limit: how many rows the result has at most.
    :param files: the data files, as ``PLAN_FILES``.
    """

    version: int
    output: StructType
    logical: StructType
    physical: StructType
    partition_columns: tuple[str, ...] = ()
    partition_keys: tuple[str, ...] = ()
    partition_types: tuple[DataType, ...] = ()
    virtual: Mapping[str, VirtualColumn] = field(default_factory=dict)
    by_field_id: bool = False
    predicate: BoundExpr | None = None
    limit: int | None = None
    files: pa.Table = field(default_factory=lambda: pa.Table.from_batches([], PLAN_FILES), compare=False, repr=False)
    report: ScanReport = field(default_factory=lambda: ScanReport(0, 0))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the result."""
        return schema_to_arrow(self.output)

    def shared(self) -> ScanPlan:
        """The plan without its files: what to send along with single tasks."""
        return replace(self, files=self.files.slice(0, 0))

    def tasks(self) -> list[FileTask]:
        """One task per file, in the order of the log."""
        return list(self.iter_tasks())

    def iter_tasks(self) -> Iterator[FileTask]:
        """The tasks one after the other, made as they are asked for."""
        for start in range(0, self.files.num_rows, _TASKS_AT_ONCE):
            for row in self.files.slice(start, _TASKS_AT_ONCE).to_pylist():
                yield self._task(row)

    def _task(self, row: Mapping[str, Any]) -> FileTask:
        return FileTask(
            path=row["path"],
            partition=self.partition_of(dict(row["partitionValues"] or ())),
            size=row["size"],
            deletion_vector=deletion_vector(row["deletionVector"]),
            num_records=row[NUM_RECORDS],
            base_row_id=row["baseRowId"],
            default_row_commit_version=row["defaultRowCommitVersion"],
        )

    def partition_of(self, values: Mapping[str, str | None]) -> dict[str, Any]:
        """The typed partition values by logical name, from the strings of an action."""
        columns = zip(self.partition_columns, self.partition_keys, self.partition_types, strict=True)
        return {name: partition.parse(values.get(key), kind) for name, key, kind in columns}
