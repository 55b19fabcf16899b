"""CONVERT TO DELTA: a folder of Parquet files becomes a table; no file is touched.

Everything is learnt from names and footers, some files at a time.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any

from deltalite import features
from deltalite.exceptions import (
    InvalidArgumentError,
    SchemaMismatchError,
    TableExistsError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from deltalite.features.column_mapping import ID, MAX_ID, PHYSICAL_NAME
from deltalite.model.actions import AddFile, Metadata
from deltalite.model.change import LogOnly
from deltalite.model.expr import type_name
from deltalite.model.paths import encode_path
from deltalite.model.properties import COLUMN_MAPPING_MODE, normalise
from deltalite.model.result import CommitResult
from deltalite.model.types import ArrayType, DataType, Field, MapType, Schema, StructType, map_fields
from deltalite.operations.create import CreateRequest, metadata_of, schema_of
from deltalite.operations.footers import FooterReader
from deltalite.operations.footers import schema_of as schema_of_file
from deltalite.operations.hive import Partitioning, is_hidden, partitioning
from deltalite.operations.logged import commit_actions, in_threads
from deltalite.operations.opening import newest, store_of
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.scan.parquet import DataFile
from deltalite.storage.base import FileMeta, Store

_AT_ONCE = 512
_SUFFIXES = (".parquet", ".parq", ".pq")


@dataclass(frozen=True, slots=True)
class ConvertRequest:
    """What the table is to be.

    :param partition_by: partition columns with their types, or their names; ``None`` takes what directories say.
    :param strategy: how directories tell partitions, see :func:`deltalite.operations.hive.partitioning`.
    :param collect_stats: whether footers are asked for more than the number of rows.
    """

    partition_by: StructType | Sequence[str] | None = None
    strategy: str | None = None
    name: str | None = None
    description: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    collect_stats: bool = True


def convert_to_deltalake(
    uri: str | PathLike[str],
    mode: str = "error",
    partition_by: Any = None,
    partition_strategy: str | None = None,
    name: str | None = None,
    description: str | None = None,
    configuration: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    collect_stats: bool = True,
    commit_properties: CommitProperties | None = None,
    post_commithook_properties: PostCommitHookProperties | None = None,
    filesystem: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> CommitResult:
    """Make a table of the Parquet files below a folder, without copying or reading their rows.

    Files and folders whose names begin with ``_`` or ``.`` are left alone, and so is everything but ``*.parquet``.

    :param mode: when there is a table already: ``error`` or ``ignore``.
    :param partition_by: a schema of the partition columns, or their names. By default directories ``column=value``
        tell, with values of type ``long``, ``date`` or ``string``.
    :param partition_strategy: ``hive`` for ``year=2026/part-0.parquet``; ``directory`` for ``2026/part-0.parquet``, the
        columns of ``partition_by`` in order.
    :param configuration: properties of the table.
    :param collect_stats: minimum, maximum and null count from the footers; without, only the number of rows.
    :param progress: called with the number of files done, and of all.
    :raises TableExistsError: there is a table, and the mode is ``error``.
    :raises TableNotFoundError: there is no Parquet file.
    :raises SchemaMismatchError: two files contradict one another, naming both.
    :raises InvalidArgumentError: directories that make no sense.
    """
    start = time.perf_counter()
    if mode not in ("error", "ignore"):
        raise InvalidArgumentError(f"mode is 'error' or 'ignore', not {mode!r}")
    store = store_of(uri, storage_options, filesystem)
    if (base := newest(store)) is not None:
        if mode == "error":
            raise TableExistsError(f"there is a table at {store.root} already", hint="mode='ignore' leaves it")
        return CommitResult(base.version, "CONVERT", {}, time.perf_counter() - start, None, "the table exists")
    request = ConvertRequest(
        _declared(partition_by), partition_strategy, name, description, dict(configuration or {}), collect_stats
    )
    change, metrics = plan(request, store, progress)
    committing = Committing.of(commit_properties, post_commithook_properties)
    return commit_actions(store, None, change, committing, metrics, start=start).result


def _declared(partition_by: Any) -> StructType | list[str] | None:
    if partition_by is None:
        return None
    if isinstance(partition_by, str) and " " not in partition_by.strip():
        return [partition_by]
    if isinstance(partition_by, (list, tuple)) and all(isinstance(name, str) for name in partition_by):
        return list(partition_by)
    return schema_of(partition_by)


def plan(
    request: ConvertRequest, store: Store, progress: Callable[[int, int], None] | None = None
) -> tuple[LogOnly, dict[str, int]]:
    """The first commit of the table, and what it counts."""
    configuration = _checked(request.configuration)
    files = sorted(f for f in store.list_all() if f.path.endswith(_SUFFIXES) and not is_hidden(f.path))
    if not files:
        raise TableNotFoundError(f"there are no Parquet files at {store.root}", hint="check the path")
    partitions = partitioning([f.path for f in files], request.partition_by, request.strategy)
    found = _Files(store, partitions, configuration, request.collect_stats)
    adds: list[AddFile] = []
    for at in range(0, len(files), _AT_ONCE):
        adds += found.adds(files[at : at + _AT_ONCE])
        if progress is not None:
            progress(len(adds), len(files))
    now_ms = time.time_ns() // 1_000_000
    schema = Schema([*found.schema.fields, *partitions.columns])
    names = [f.name for f in partitions.columns]
    create = CreateRequest(schema, names, str(uuid.uuid4()), now_ms, request.name, request.description, configuration)
    protocol, metadata, _ = features.configure(None, _mapped(metadata_of(create)), 0)
    parameters = {"numFiles": len(adds), "partitionedBy": json.dumps(names), "collectStats": request.collect_stats}
    change = LogOnly((protocol, metadata, *adds), "CONVERT", parameters)
    return change, {"numConvertedFiles": len(adds), "numConvertedBytes": sum(add.size for add in adds)}


def _checked(configuration: Mapping[str, Any]) -> dict[str, str]:
    found = normalise(configuration)
    if rules := [key for key in found if key.startswith("delta.constraints.")]:
        raise InvalidArgumentError(
            f"{rules[0]} cannot be set by a conversion, which reads no rows", hint="add the constraint afterwards"
        )
    if COLUMN_MAPPING_MODE.of(found) == "id":
        raise InvalidArgumentError("files without field ids cannot be mapped by id", hint="use the mode 'name'")
    return found


def _mapped(metadata: Metadata) -> Metadata:
    """With column mapping, files that are there already know the columns by their present names."""
    if COLUMN_MAPPING_MODE.of(metadata.configuration) == "none":
        return metadata
    count = 0

    def numbered(f: Field, _: tuple[str, ...]) -> Field:
        nonlocal count
        count += 1
        return f.with_(metadata={**f.metadata, ID: count, PHYSICAL_NAME: f.name})

    schema = Schema(map_fields(Schema.from_json(metadata.schema_string), numbered).fields)
    configuration = {**metadata.configuration, MAX_ID: str(count)}
    return replace(metadata, schema_string=schema.to_json(), configuration=configuration)


class _Files:
    """Files seen one after the other, and the schema that holds them all."""

    def __init__(
        self, store: Store, partitions: Partitioning, configuration: dict[str, str], collect_stats: bool
    ) -> None:
        self.schema = Schema([])
        self._store = store
        self._partitions = partitions
        self._configuration = configuration
        self._collect_stats = collect_stats
        self._readers: dict[str, FooterReader] = {}
        self._hidden = {f.name.lower() for f in partitions.columns}
        self._first: dict[tuple[str, ...], str] = {}

    def adds(self, files: Sequence[FileMeta]) -> list[AddFile]:
        """The actions for some files.

        :raises SchemaMismatchError: when their columns contradict those of an earlier file.
        """
        found = in_threads(self._read, files, "convert", 8)
        for file, (schema, _) in zip(files, found, strict=True):
            if schema.to_json() not in self._readers or not self.schema.fields:
                self._readers.setdefault(schema.to_json(), FooterReader(schema, self._configuration))
                self.schema = Schema(self._merged(self.schema, schema, (), file.path))
        return [self._add(file, stats) for file, (_, stats) in zip(files, found, strict=True)]

    def _read(self, file: FileMeta) -> tuple[Schema, str]:
        with DataFile(self._store, file.path, file.size, by_field_id=False) as data:
            try:
                schema = schema_of_file(data)
            except UnsupportedTypeError as error:
                raise UnsupportedTypeError(f"{file.path}: {error.message}", hint=error.hint, **error.context) from None
            schema = Schema([f for f in schema.fields if f.name.lower() not in self._hidden])
            if not self._collect_stats:
                return schema, f'{{"numRecords":{data.num_rows}}}'
            reader = self._readers.get(schema.to_json()) or FooterReader(schema, self._configuration)
            return schema, reader.stats(data)

    def _add(self, file: FileMeta, stats: str) -> AddFile:
        values = self._partitions.values_of(file.path)
        return AddFile(encode_path(file.path), values, file.size, file.modified_ms, True, stats)

    def _merged(self, known: StructType, new: StructType, at: tuple[str, ...], path: str) -> list[Field]:
        """The fields of both. Types must be the same: nothing else reads a file as another type than it has."""
        fields = {f.name: f for f in known.fields}
        folded = {f.name.lower(): f.name for f in known.fields}
        for f in new.fields:
            here = (*at, f.name)
            spelled = folded.get(f.name.lower())
            if spelled is None:
                fields[f.name] = f
                folded[f.name.lower()] = f.name
                self._first[here] = path
            elif spelled != f.name:
                raise self._contradiction((*at, spelled), path, f"spells it {'.'.join(here)!r}")
            else:
                kind = self._merged_type(fields[f.name].type, f.type, here, path)
                fields[f.name] = f.with_(type=kind)
        return list(fields.values())

    def _merged_type(self, known: DataType, new: DataType, at: tuple[str, ...], path: str) -> DataType:
        if isinstance(known, StructType) and isinstance(new, StructType):
            return StructType(self._merged(known, new, at, path))
        if isinstance(known, ArrayType) and isinstance(new, ArrayType):
            return ArrayType(self._merged_type(known.element_type, new.element_type, at, path), True)
        if isinstance(known, MapType) and isinstance(new, MapType):
            key = self._merged_type(known.key_type, new.key_type, at, path)
            return MapType(key, self._merged_type(known.value_type, new.value_type, at, path), True)
        if known.type == "void":
            return new
        if new.type != "void" and known != new:
            raise self._contradiction(at, path, f"holds it as {type_name(new)}, not {type_name(known)}")
        return known

    def _contradiction(self, at: tuple[str, ...], path: str, what: str) -> SchemaMismatchError:
        first = next(self._first[at[:n]] for n in range(len(at), 0, -1) if at[:n] in self._first)
        return SchemaMismatchError(
            f"two files contradict one another in the column {'.'.join(at)!r}: {first} came first, {path} {what}",
            hint="rewrite one of them",
            columns=[".".join(at)],
            path=path,
        )
