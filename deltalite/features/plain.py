"""Features that ask little of this library beyond knowing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deltalite.features.base import Feature
from deltalite.model.config import TableConfig
from deltalite.model.properties import CHECKPOINT_POLICY
from deltalite.model.types import ArrayType, DataType, MapType, StructType


def _leaf_types(data_type: DataType) -> Iterator[str]:
    if isinstance(data_type, StructType):
        for f in data_type.fields:
            yield from _leaf_types(f.type)
    elif isinstance(data_type, ArrayType):
        yield from _leaf_types(data_type.element_type)
    elif isinstance(data_type, MapType):
        yield from _leaf_types(data_type.key_type)
        yield from _leaf_types(data_type.value_type)
    else:
        yield data_type.type


def has_type(name: str):
    """A test for schemas that hold a type at any depth."""

    def test(schema: StructType, _: Mapping[str, str]) -> bool:
        return name in _leaf_types(schema)

    return test


def _wants_v2_checkpoints(_: StructType, configuration: Mapping[str, str]) -> bool:
    return CHECKPOINT_POLICY.of(configuration) == "v2"


def columns_of_type(name: str):
    """What keeps a feature of a type in use: the columns that hold it."""

    def in_use(config: TableConfig) -> str | None:
        found = [f.name for f in config.schema.fields if name in _leaf_types(f.type)]
        return f"the columns {found} of type {name}" if found else None

    return in_use


def _live_domains(config: TableConfig) -> str | None:
    found = sorted(name for name, domain in config.domains.items() if not domain.removed)
    return f"the metadata domains {found}" if found else None


TIMESTAMP_NTZ = Feature(
    "timestampNtz",
    "reader-writer",
    aliases=("timestampWithoutTimezone",),
    implied_by=has_type("timestamp_ntz"),
    in_use=columns_of_type("timestamp_ntz"),
)
V2_CHECKPOINT = Feature(
    "v2Checkpoint", "reader-writer", implied_by=_wants_v2_checkpoints, off=(CHECKPOINT_POLICY.name,)
)
VACUUM_PROTOCOL_CHECK = Feature("vacuumProtocolCheck", "reader-writer", traced=False)
DOMAIN_METADATA = Feature("domainMetadata", in_use=_live_domains)
PROTECTED_BEFORE = "delta.requireCheckpointProtectionBeforeVersion"
CHECKPOINT_PROTECTION = Feature("checkpointProtection", off=(PROTECTED_BEFORE,))
MATERIALIZED_PARTITIONS = Feature("materializePartitionColumns", stores_partitions=lambda _: True)
CATALOG_MANAGED = Feature(
    "catalogManaged", "reader-writer", aliases=("catalogOwned", "catalogOwned-preview"), readable=False
)
