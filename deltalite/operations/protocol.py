"""The names of table features, and how they are added."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.model.actions import Action
from deltalite.model.change import LogOnly
from deltalite.model.snapshot import Snapshot


class TableFeatures(Enum):
    """The names of table features, deltalake's where it has one."""

    AppendOnly = "appendOnly"
    ChangeDataFeed = "changeDataFeed"
    CheckConstraints = "checkConstraints"
    CheckpointProtection = "checkpointProtection"
    Clustering = "clustering"
    ColumnDefaults = "allowColumnDefaults"
    ColumnMapping = "columnMapping"
    DeletionVectors = "deletionVectors"
    DomainMetadata = "domainMetadata"
    GeneratedColumns = "generatedColumns"
    IcebergCompatV1 = "icebergCompatV1"
    IcebergCompatV2 = "icebergCompatV2"
    IcebergCompatV3 = "icebergCompatV3"
    IdentityColumns = "identityColumns"
    InCommitTimestamp = "inCommitTimestamp"
    Invariants = "invariants"
    MaterializePartitionColumns = "materializePartitionColumns"
    RowTracking = "rowTracking"
    TimestampWithoutTimezone = "timestampNtz"
    TypeWidening = "typeWidening"
    V2Checkpoint = "v2Checkpoint"
    VacuumProtocolCheck = "vacuumProtocolCheck"
    VariantShredding = "variantShredding"
    VariantType = "variantType"


def feature_name(given: Any) -> str:
    """The protocol's name of a feature, from a :class:`TableFeatures`, deltalake's, or text."""
    if isinstance(given, TableFeatures):
        return given.value
    return features.named(str(given).rpartition(".")[2]).name


def plan_add(base: Snapshot, names: Sequence[str], may_raise_versions: bool) -> LogOnly:
    """
    :raises InvalidArgumentError: when that takes a protocol of features (reader 3, writer 7) and nobody allowed it.
    """
    config = base.config
    asked = {**config.configuration, **{f"delta.feature.{name}": "supported" for name in names}}
    protocol, metadata, _ = features.configure(config, replace(config.metadata, configuration=asked), base.version + 1)
    old = config.protocol
    raised = (protocol.min_reader_version, protocol.min_writer_version) != (
        old.min_reader_version,
        old.min_writer_version,
    )
    if raised and not may_raise_versions:
        raise InvalidArgumentError(
            f"{', '.join(names)} asks for reader version {protocol.min_reader_version} and writer version "
            f"{protocol.min_writer_version}; the table has {old.min_reader_version} and {old.min_writer_version}",
            hint="allow_protocol_versions_increase=True raises them; older engines cannot use the table then",
        )
    changed: tuple[Action, ...] = () if protocol == old else (protocol,)
    if metadata != config.metadata:
        changed = (*changed, metadata)
    return LogOnly(changed, "ADD FEATURE", {"name": json.dumps(list(names))})
