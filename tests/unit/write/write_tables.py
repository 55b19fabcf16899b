"""Writing into a store of this process and reading back with nothing but pyarrow."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deltalite.model import partition
from deltalite.model.actions import AddFile
from deltalite.model.arrow import type_to_arrow
from deltalite.model.paths import relative_path
from deltalite.model.types import Field, Schema, StructType
from deltalite.model.write_spec import ParquetOptions, WriteSpec
from deltalite.storage.memory import MemoryStore
from deltalite.write.files import write_files
from deltalite.write.leaves import leaves

_NAMES = itertools.count()


def memory_store() -> MemoryStore:
    return MemoryStore(f"memory://write-{next(_NAMES)}")


def struct(*fields: tuple[str, Any] | Field) -> StructType:
    """``struct(("a", "long"), ("b", "string"))``."""
    return StructType([f if isinstance(f, Field) else Field(*f) for f in fields])


def spec(
    schema: StructType, partition_by: Sequence[str] = (), physical: StructType | None = None, **changes: Any
) -> WriteSpec:
    plain = WriteSpec(schema, physical or schema, tuple(partition_by))
    paths = [leaf.path for leaf in leaves([p for _, p in plain.data_fields])]
    found = replace(plain, stats_columns=tuple(paths))
    return replace(found, **changes)


def small_groups(rows: int) -> ParquetOptions:
    return ParquetOptions(row_group_rows=rows)


def reader(data: pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch], schema: pa.Schema | None = None) -> Any:
    if isinstance(data, pa.Table):
        return data.to_reader()
    batches = [data] if isinstance(data, pa.RecordBatch) else data
    if schema is None:
        batches = list(batches)
        schema = batches[0].schema
    return pa.RecordBatchReader.from_batches(schema, batches)


def write(store: Any, write_spec: WriteSpec, data: Any) -> list[AddFile]:
    return write_files(store, write_spec, reader(data))


def open_file(store: Any, add: AddFile) -> pq.ParquetFile:
    return pq.ParquetFile(store.open_input(relative_path(add.path)), page_checksum_verification=True)


def rows_of(store: Any, write_spec: WriteSpec, adds: Iterable[AddFile]) -> list[dict[str, Any]]:
    """The rows of the files with logical names, partition values put back."""
    logical = {p.name: f for f, p in zip(write_spec.schema.fields, write_spec.physical.fields, strict=True)}
    names = {p: f.name for p, f in logical.items()}
    found = []
    for add in adds:
        constants = {names[k]: _python(partition.parse(v, logical[k].type), logical[k]) for k, v in
                     add.partition_values.items()}  # fmt: skip
        for row in open_file(store, add).read().to_pylist():
            found.append({**{names[k]: v for k, v in row.items()}, **constants})
    return found


def _python(value: Any, f: Field) -> Any:
    arrow = type_to_arrow(f.type)
    if value is None or isinstance(value, (Decimal, bytes, str, bool, float)):
        return value
    return pa.array([value], pa.int64()).cast(arrow).to_pylist()[0] if not pa.types.is_date(arrow) else pa.array(
        [value], pa.int32()).cast(arrow).to_pylist()[0]  # fmt: skip


def stats(add: AddFile) -> dict[str, Any]:
    """The statistics with decimals kept exact."""
    assert add.stats is not None
    return json.loads(add.stats, parse_float=Decimal)


def files_in(store: Any) -> list[str]:
    return sorted(meta.path for meta in store.list_all())


def delta(table: pa.Table) -> StructType:
    return StructType(Schema.from_arrow(table.schema).fields)
