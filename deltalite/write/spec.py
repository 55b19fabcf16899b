"""From a table's configuration to the WriteSpec of one write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from deltalite import features
from deltalite.features.reading import virtual_columns
from deltalite.model.actions import Protocol
from deltalite.model.config import TableConfig
from deltalite.model.properties import COMPRESSION, STATS_COLUMNS, STATS_NUM_COLUMNS, STATS_PREFIX, TARGET_FILE_SIZE
from deltalite.model.types import Field, StructType
from deltalite.model.write_spec import DEFAULT_TARGET_FILE_SIZE, ParquetOptions, WriteSpec
from deltalite.write.leaves import Path, leaves
from deltalite.write.options import WriterProperties, parquet_options

DEFAULT_CODEC = "zstd"
_PATH_PART = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")


def spec_of(
    config: TableConfig,
    *,
    steps: tuple[features.WriteStep, ...] = (),
    txn_id: str = "",
    target_file_size: int | None = None,
    writer_properties: WriterProperties | None = None,
    cast: str = "safe",
    task: tuple[int, int] = (0, 1),
    carried: tuple[str, ...] = (),
) -> WriteSpec:
    """How rows are written into a table.

    :param steps: what the active features ask of new rows (``features.write_steps(config)``), in order.
    :param txn_id: the transaction that the files are for; it becomes part of their names.
    :param target_file_size: bytes a data file should have; ``None`` asks the property ``delta.targetFileSize``.
    :param cast: ``safe``, or ``unsafe`` to allow casts that change values.
    :param task: (index, count) of the worker among those that write for one commit.
    :param carried: virtual columns that rows keep (``features.carried``); where rows lack one, the file stores null.
    :raises InvalidArgumentError: when ``writer_properties`` ask for what cannot be had or name unknown columns.
    """
    metadata = config.metadata
    properties = tuple(sorted(metadata.configuration.items()))
    partitioning = tuple(metadata.partition_columns)
    indexed = features.stats_columns(config)
    plain = TableConfig(config.protocol, metadata)  # what is kept of it must not keep a version's domains
    base = _base(_Key(config.protocol, metadata.schema_string, partitioning, properties, carried, indexed, plain))
    parquet = base.parquet
    if writer_properties is not None:
        parquet = parquet_options(writer_properties, parquet.compression, base)
    spec = replace(
        base,
        steps=steps,
        txn_id=txn_id,
        target_file_size=target_file_size or base.target_file_size,
        parquet=parquet,
        unsafe_cast=cast == "unsafe",
        task=task,
    )
    if parquet is base.parquet:
        object.__setattr__(spec, "derived", base.derived)
    return spec


@dataclass(frozen=True)
class _Key:
    """A configuration, comparable and hashable by what the spec depends on."""

    protocol: Protocol
    schema_string: str
    partition_columns: tuple[str, ...]
    properties: tuple[tuple[str, str], ...]
    carried: tuple[str, ...]
    indexed: tuple[Path, ...]
    config: TableConfig = field(compare=False, repr=False)


@lru_cache(maxsize=32)
def _base(key: _Key) -> WriteSpec:
    config = key.config
    plain = WriteSpec(
        schema=config.schema,
        physical=features.physical_schema(config),
        partition_columns=config.partition_columns,
        stores_partitions=features.stores_partitions(config),
        stats_prefix=config.get(STATS_PREFIX),
        target_file_size=config.get(TARGET_FILE_SIZE) or DEFAULT_TARGET_FILE_SIZE,
        parquet=ParquetOptions(compression=(config.get(COMPRESSION) or DEFAULT_CODEC).replace("uncompressed", "none")),
    )
    spec = replace(plain, stats_columns=stats_columns(config, plain.data_fields, key.indexed))
    return _carrying(spec, config, key.carried) if key.carried else spec


def _carrying(spec: WriteSpec, config: TableConfig, names: tuple[str, ...]) -> WriteSpec:
    """The spec with virtual columns at the end, stored under the names that the table has for them."""
    columns = virtual_columns(config)
    logical = [Field(name, columns[name].type) for name in names]
    physical = [
        Field(str(column.stored_as), column.type, metadata=_field_id(column.field_id))
        for column in (columns[name] for name in names)
    ]
    return replace(
        spec,
        schema=StructType([*spec.schema.fields, *logical]),
        physical=StructType([*spec.physical.fields, *physical]),
    )


def _field_id(number: int | None) -> dict[str, int]:
    return {} if number is None else {"parquet.field.id": number}


def stats_columns(
    config: TableConfig, pairs: Sequence[tuple[Field, Field]], indexed: Iterable[Path] | None = None
) -> tuple[Path, ...]:
    """The physical paths of the leaves that get statistics.

    The columns that ``delta.dataSkippingStatsColumns`` names, or the first ``delta.dataSkippingNumIndexedCols``
    leaves; and those that features cannot do without.

    :param pairs: the logical and physical fields of the data columns.
    :param indexed: the columns that features cannot do without; by default the configuration tells.
    """
    logical = [leaf.path for leaf in leaves([f for f, _ in pairs])]
    physical = [leaf.path for leaf in leaves([p for _, p in pairs])]
    wanted = config.get(STATS_COLUMNS)
    count = config.get(STATS_NUM_COLUMNS)
    if wanted:
        chosen = _below([parse_path(text) for text in wanted], logical)
    else:
        chosen = set(logical if count < 0 else logical[:count])
    chosen |= _below(features.stats_columns(config) if indexed is None else indexed, logical)
    return tuple(p for path, p in zip(logical, physical, strict=True) if path in chosen)


def _below(roots: Iterable[Path], paths: Iterable[Path]) -> set[Path]:
    """The paths that are, or lie below, one of the roots; names match ignoring case."""
    folded = [tuple(part.lower() for part in root) for root in roots]
    return {p for p in paths if any(tuple(part.lower() for part in p[: len(r)]) == r for r in folded)}


def parse_path(text: str) -> Path:
    """A dotted column path with names in backticks where they hold dots."""
    return tuple((m[1].replace("``", "`") if m[1] is not None else m[2].strip()) for m in _PATH_PART.finditer(text))
