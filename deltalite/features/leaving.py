"""How a feature leaves a table: what stands in the way, and the protocol and the metadata without it (pure)."""

from __future__ import annotations

from dataclasses import replace

from deltalite import features
from deltalite.exceptions import InvalidArgumentError
from deltalite.features.base import Feature
from deltalite.features.plain import CHECKPOINT_PROTECTION, PROTECTED_BEFORE
from deltalite.model.actions import Action, Metadata, Protocol
from deltalite.model.config import TableConfig, parse_schema


def leaving(config: TableConfig, name: str) -> Feature:
    """The feature that is to be dropped.

    :raises InvalidArgumentError: when the table does not have it, or cannot do without it, saying why.
    """
    feature = features.named(name)
    if feature not in features.supported(config.protocol):
        raise InvalidArgumentError(
            f"the table does not have the feature {feature.name}",
            hint=f"it has {', '.join(f.name for f in features.supported(config.protocol)) or 'none'}",
            feature=feature.name,
        )
    dependents = [f.name for f in features.supported(config.protocol) if feature.name in f.requires]
    if dependents:
        raise InvalidArgumentError(
            f"{feature.name} cannot be dropped: {' and '.join(dependents)} needs it",
            hint=f"drop {dependents[0]} first",
            feature=feature.name,
        )
    if feature.in_use and (use := feature.in_use(config)):
        raise InvalidArgumentError(
            f"{feature.name} cannot be dropped, because of {use}", hint="drop these first", feature=feature.name
        )
    return feature


def switched_off(metadata: Metadata, feature: Feature) -> Metadata:
    """The metadata without the properties that turn a feature on or that it keeps."""
    gone = {feature.property, *feature.off}
    kept = {key: value for key, value in metadata.configuration.items() if key not in gone}
    return metadata if len(kept) == len(metadata.configuration) else replace(metadata, configuration=kept)


def stripped(metadata: Metadata, feature: Feature) -> Metadata:
    """The metadata without anything that speaks of a feature."""
    metadata = switched_off(metadata, feature)
    return feature.stripped(metadata) if feature.stripped else metadata


def bears_traces(feature: Feature, action: Action) -> bool:
    """Whether an action can be understood only by who knows the feature."""
    if isinstance(action, Metadata):
        schema = parse_schema(action.schema_string)
        if feature.name in features.asked_by(schema, action.configuration):
            return True
    return feature.traces is not None and feature.traces(action)


def protected(metadata: Metadata, version: int) -> Metadata:
    """The metadata of a table whose checkpoints before a version are to be kept."""
    known = metadata.configuration.get(PROTECTED_BEFORE, "0")
    before = max(version, int(known) if known.isdigit() else 0)
    return replace(metadata, configuration={**metadata.configuration, PROTECTED_BEFORE: str(before)})


def protocol_without(protocol: Protocol, feature: Feature, protect: bool) -> Protocol:
    """The lowest protocol with all features of another one but one.

    :param protect: with the protection of older checkpoints besides.
    """
    gone = {feature.name, *feature.aliases}
    names = [name for name in features.writer_features(protocol) if name not in gone]
    readers = [name for name in features.reader_features(protocol) if name not in gone]
    if protect and CHECKPOINT_PROTECTION.name not in names:
        names.append(CHECKPOINT_PROTECTION.name)
    return _by_versions(names) or Protocol(
        features.TABLE_FEATURES_READER if readers else 1,
        features.TABLE_FEATURES_WRITER,
        tuple(readers) if readers else None,
        tuple(names),
    )


def _by_versions(names: list[str]) -> Protocol | None:
    """The protocol whose versions imply just these features, if there is one."""
    known = {f.name: f for f in features.FEATURES if f.legacy}
    if any(name not in known for name in names):
        return None
    for writer in range(1, features.TABLE_FEATURES_WRITER):
        implied = {f.name for f in known.values() if f.legacy and f.legacy[1] <= writer}
        if implied == set(names):
            readers = [f.legacy[0] for f in known.values() if f.name in implied and f.legacy]
            return Protocol(max([1, *readers]), writer)
    return None
