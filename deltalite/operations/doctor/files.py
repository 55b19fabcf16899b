"""The live files: whether they are there as the log says, with the rows, vectors and statistics that it claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite import features
from deltalite.exceptions import DeltaError, InvalidTableError, UnsafePathError
from deltalite.features.deletion_vectors import load
from deltalite.model.actions import AddFile
from deltalite.model.files import add_files, add_table
from deltalite.model.partition import parse
from deltalite.operations.doctor.findings import DROP_FILE, WRITE_STATISTICS, Finding, Patient
from deltalite.operations.logged import in_threads
from deltalite.operations.selections import fetch_from
from deltalite.scan.columns import Columns
from deltalite.scan.footer import FooterStats
from deltalite.scan.parquet import DataFile
from deltalite.scan.stats import LogStats, TableFiles, leaf_columns

_AT_ONCE = 256
_WHOLE_TEXT = 32  # bytes; longer bounds of texts may have been cut by the writer of the footer


def check_files(patient: Patient) -> Iterator[Finding]:
    """All live files, some at a time."""
    table = patient.snapshot.files.table()
    for start in range(0, table.num_rows, _AT_ONCE):
        some = table.slice(start, _AT_ONCE)
        for found in in_threads(lambda add: list(_check(patient, add)), add_files(some), "doctor"):
            yield from found
        if patient.progress is not None:
            patient.progress(min(start + _AT_ONCE, table.num_rows), table.num_rows)


def _check(patient: Patient, add: AddFile) -> Iterator[Finding]:
    try:
        store, path = patient.resolve(add.path)
    except UnsafePathError as error:
        yield Finding("path-outside", "error", error.message, add.path)
        return
    yield from _partition_values(patient, add)
    there = store.head(path)
    if there is None:
        yield Finding("file-missing", "error", f"{add.path} is gone", add.path, None, DROP_FILE)
        return
    if there.size != add.size:
        yield Finding("file-size", "error", f"{add.path} has {there.size} bytes, the log says {add.size}", add.path)
    rows = None
    try:
        with DataFile(store, path, there.size, by_field_id=False) as file:
            rows = file.num_rows
            yield from _statistics(patient, add, file)
    except DeltaError as error:
        yield Finding("file-unreadable", "error", error.message, add.path)
    yield from _vector(patient, add, rows)


def _partition_values(patient: Patient, add: AddFile) -> Iterator[Finding]:
    config = patient.snapshot.config
    for key, field in zip(features.partition_keys(config), config.partition_fields, strict=True):
        if key not in add.partition_values:
            yield Finding("partition-value", "error", f"{add.path} has no value of {field.name!r}", add.path)
            continue
        try:
            parse(add.partition_values[key], field.type)
        except InvalidTableError as error:
            yield Finding("partition-value", "error", f"{add.path}: {error.message}", add.path)


def _vector(patient: Patient, add: AddFile, rows: int | None) -> Iterator[Finding]:
    if add.deletion_vector is None:
        return
    try:
        for uri in features.files_of(add):
            store, path = patient.resolve(uri)
            if store.head(path) is None:
                what = f"{path}, the deletion vector of {add.path}, is gone: nobody can tell which rows are deleted"
                yield Finding("vector-missing", "error", what, add.path)
                return
        positions = load(add.deletion_vector, fetch_from(patient.resolve))
    except (DeltaError, OSError) as error:
        yield Finding("vector-damaged", "error", getattr(error, "message", str(error)), add.path)
        return
    if rows is not None and positions.last >= rows:
        what = f"the deletion vector of {add.path} marks row {positions.last} of {rows}"
        yield Finding("vector-damaged", "error", what, add.path)


# -- statistics ----------------------------------------------------------------------------------------------------


def _statistics(patient: Patient, add: AddFile, file: DataFile) -> Iterator[Finding]:
    """What the log claims, against the footer. Bounds may be wider than the rows, never narrower."""
    config = patient.snapshot.config
    physical = features.physical_schema(config)
    columns = Columns(config.schema, physical).without(config.partition_columns)
    leaves = [path for path, _ in leaf_columns(columns.logical)]
    log = LogStats(config, TableFiles(add_table([add])), leaves)
    claimed = log.num_records[0].as_py() if log.num_records is not None else None
    if claimed is None:
        if add.deletion_vector is not None:
            what = f"{add.path} has a deletion vector, and its statistics lack the number of rows"
            yield Finding("rows-unknown", "warning", what, add.path, None, WRITE_STATISTICS)
        return
    if claimed != file.num_rows:
        what = f"{add.path} has {file.num_rows} rows, the log says {claimed}"
        yield Finding("file-rows", "error", what, add.path, None, WRITE_STATISTICS)
    footer = FooterStats(file, file.row_groups(), columns, {})
    for path in leaves:
        said, known = log.column(path), footer.column(path)
        if said is None or known is None:
            continue
        if _narrower(said.min, known.min, pc.min, pc.greater) or _narrower(said.max, known.max, pc.max, pc.less):
            what = f"the bounds of {'.'.join(path)!r} in the log leave out rows of {add.path}"
            yield Finding("statistics-wrong", "error", what, add.path, None, WRITE_STATISTICS)


def _narrower(said: Any, known: Any, most: Any, beyond: Any) -> bool:
    """Whether the log's bound lies inside of the footer's."""
    if said is None or known is None or not len(known) or said.type != known.type:
        return False
    bound, truth = said[0], most(known)
    if not bound.is_valid or not truth.is_valid:
        return False
    if pa.types.is_string(known.type) and len(truth.as_py().encode()) >= _WHOLE_TEXT:
        return False
    return bool(beyond(bound, truth).as_py())
