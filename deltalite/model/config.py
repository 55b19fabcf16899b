"""TableConfig: protocol, metadata, schema and properties of one version, checked together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

from deltalite.exceptions import InvalidTableError
from deltalite.model.actions import DomainMetadata, Metadata, Protocol
from deltalite.model.properties import Property
from deltalite.model.types import Field, Schema, StructType, type_from_json

T = TypeVar("T")


@dataclass(frozen=True)
class TableConfig:
    """What a table is at one version, apart from its files. Having one means it was checked.

    ``domains`` are the live metadata domains, for the features that keep their configuration in one.
    """

    protocol: Protocol
    metadata: Metadata
    domains: Mapping[str, DomainMetadata] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        names = {f.name.lower() for f in self.schema.fields}
        missing = [c for c in self.metadata.partition_columns if c.lower() not in names]
        if missing:
            raise InvalidTableError(f"partition columns {missing} are not in the schema {self.schema.names}")

    @cached_property
    def schema(self) -> Schema:
        """The logical schema, partition columns included."""
        return parse_schema(self.metadata.schema_string)

    @property
    def configuration(self) -> Mapping[str, str]:
        return self.metadata.configuration

    def get(self, item: Property[T]) -> T:
        """The value of a table property, or its default."""
        return item.of(self.metadata.configuration)

    @cached_property
    def partition_fields(self) -> tuple[Field, ...]:
        """The partition columns, in the order of partitioning, in the schema's spelling."""
        found = (self.schema.get(name) for name in self.metadata.partition_columns)
        return tuple(f for f in found if f is not None)

    @cached_property
    def partition_columns(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.partition_fields)

    @cached_property
    def data_schema(self) -> StructType:
        """The columns that lie in data files."""
        partitions = set(self.partition_columns)
        return StructType([f for f in self.schema.fields if f.name not in partitions])


@lru_cache(maxsize=64)
def parse_schema(text: str) -> Schema:
    """The schema in a ``schemaString``.

    :raises InvalidTableError: when it is not the JSON of a struct, or two columns differ only by case.
    """
    try:
        found = type_from_json(json.loads(text))
    except ValueError as error:
        raise InvalidTableError(f"the schema of the table is not JSON: {text[:80]!r}") from error
    except RecursionError as error:
        raise InvalidTableError("the schema of the table nests too deeply") from error
    if not isinstance(found, StructType):
        raise InvalidTableError(f"the schema of the table is no struct: {text[:80]!r}")
    folded = [f.name.lower() for f in found.fields]
    if len(set(folded)) != len(folded):
        twice = sorted({name for name in folded if folded.count(name) > 1})
        raise InvalidTableError(f"column names {twice} occur twice, ignoring case")
    return Schema(found.fields)
