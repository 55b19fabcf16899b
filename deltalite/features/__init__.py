"""The table features in one ordered tuple, the folds over them, and the negotiation of protocols.

The tuple's order is the order of every fold. What names columns (column mapping) precedes what computes and checks
values by name; defaults precede generated columns, which may use them; both precede the checks of the result; time
stamps come last, because they are put on the finished commit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from deltalite.exceptions import InvalidArgumentError, UnsupportedFeatureError
from deltalite.features import (
    append_only,
    change_data_feed,
    check_constraints,
    clustering,
    column_defaults,
    column_mapping,
    deletion_vectors,
    generated_columns,
    iceberg_compat,
    identity_columns,
    in_commit_timestamp,
    invariants,
    plain,
    row_tracking,
    type_widening,
    variant,
)
from deltalite.features.base import Feature, Rewritten, Use, WriteStep
from deltalite.model.actions import Action, AddFile, DomainMetadata, Metadata, Protocol, RemoveFile
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.properties import WRITE_PARTITION_COLUMNS
from deltalite.model.types import StructType

if TYPE_CHECKING:
    from deltalite.features.deletion_vectors import RowRemover
    from deltalite.model.snapshot import Snapshot

FEATURES: tuple[Feature, ...] = (
    column_mapping.FEATURE,
    deletion_vectors.FEATURE,
    type_widening.FEATURE,
    *variant.FEATURES,
    plain.TIMESTAMP_NTZ,
    column_defaults.FEATURE,
    generated_columns.FEATURE,
    invariants.FEATURE,
    check_constraints.FEATURE,
    row_tracking.FEATURE,
    identity_columns.FEATURE,
    *iceberg_compat.FEATURES,
    change_data_feed.FEATURE,
    clustering.FEATURE,
    plain.DOMAIN_METADATA,
    plain.V2_CHECKPOINT,
    plain.VACUUM_PROTOCOL_CHECK,
    plain.CHECKPOINT_PROTECTION,
    plain.MATERIALIZED_PARTITIONS,
    plain.CATALOG_MANAGED,
    append_only.FEATURE,
    in_commit_timestamp.FEATURE,
)
BY_NAME: dict[str, Feature] = {name: f for f in FEATURES for name in (f.name, *f.aliases)}
_BY_FOLDED_NAME = {folded: f for name, f in BY_NAME.items() for folded in (name.lower(), name.lower().replace("-", ""))}
TABLE_FEATURES_READER, TABLE_FEATURES_WRITER = 3, 7
_ASKS = "delta.feature."


# -- what a table demands ----------------------------------------------------------------------------------------


def reader_features(protocol: Protocol) -> tuple[str, ...]:
    """The features that a protocol asks of readers, as the table spells them."""
    if protocol.min_reader_version == TABLE_FEATURES_READER:
        return tuple(protocol.reader_features or ())
    return tuple(
        f.name
        for f in FEATURES
        if f.legacy and f.kind == "reader-writer" and f.legacy[0] <= protocol.min_reader_version
    )


def writer_features(protocol: Protocol) -> tuple[str, ...]:
    """The features that a protocol asks of writers, as the table spells them; implied ones included."""
    if protocol.min_writer_version == TABLE_FEATURES_WRITER:
        return tuple(dict.fromkeys((*(protocol.writer_features or ()), *(protocol.reader_features or ()))))
    return tuple(f.name for f in FEATURES if f.legacy and f.legacy[1] <= protocol.min_writer_version)


@lru_cache(maxsize=64)
def supported(protocol: Protocol) -> tuple[Feature, ...]:
    """The features of a table, in the order of the tuple."""
    names = {*reader_features(protocol), *writer_features(protocol)}
    return tuple(f for f in FEATURES if names.intersection((f.name, *f.aliases)))


def ensure_readable(protocol: Protocol) -> None:
    """Refuse what cannot be read faithfully.

    :raises UnsupportedFeatureError: naming every feature that is missing here, and what to do.
    """
    if not 1 <= protocol.min_reader_version <= TABLE_FEATURES_READER:
        raise UnsupportedFeatureError(
            f"the table asks for protocol reader version {protocol.min_reader_version}; deltalite knows 1 to 3",
            hint="a newer release of deltalite may read it",
            features=[f"reader version {protocol.min_reader_version}"],
        )
    names = reader_features(protocol)
    managed = [n for n in names if n in BY_NAME and not BY_NAME[n].readable]
    if managed:
        raise UnsupportedFeatureError(
            f"the table is managed by a catalog ({', '.join(managed)}): its newest commits are not in its folder",
            hint="ask its catalog for it; by path nobody can tell which version is the latest",
            features=managed,
        )
    unknown = [n for n in names if n not in BY_NAME]
    if unknown:
        raise UnsupportedFeatureError(
            f"the table demands reader features that deltalite does not know: {', '.join(unknown)}",
            hint="read it with the engine that wrote it, or drop the features there (ALTER TABLE ... DROP FEATURE)",
            features=unknown,
        )


def ensure_writable(config: TableConfig) -> None:
    """Refuse to write where a promise of the table could not be kept.

    :raises UnsupportedFeatureError: naming every feature that stands in the way, before anything is written.
    """
    protocol = config.protocol
    ensure_readable(protocol)
    if not 1 <= protocol.min_writer_version <= TABLE_FEATURES_WRITER:
        raise UnsupportedFeatureError(
            f"the table asks for protocol writer version {protocol.min_writer_version}; deltalite knows 1 to 7",
            hint="a newer release of deltalite may write it",
            features=[f"writer version {protocol.min_writer_version}"],
        )
    reasons = {}
    for name in writer_features(protocol):
        feature = BY_NAME.get(name)
        if feature is None:
            reasons[name] = "deltalite does not know this feature"
        elif feature.refuse_write and (reason := feature.refuse_write(config)):
            reasons[name] = reason
    if reasons:
        raise UnsupportedFeatureError(
            "the table cannot be written: " + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
            hint="reading works; write it with the engine that enabled these features",
            features=list(reasons),
        )


# -- folds -------------------------------------------------------------------------------------------------------


def _active(config: TableConfig) -> Iterator[Feature]:
    return iter(supported(config.protocol))


def physical_schema(config: TableConfig) -> StructType:
    """The table's schema under the names (and field ids) that data files and the log use."""
    for feature in _active(config):
        if feature.physical and (schema := feature.physical(config)) is not None:
            return schema
    return config.schema


def partition_keys(config: TableConfig) -> tuple[str, ...]:
    """The keys of ``partitionValues``: the physical names of the partition columns."""
    if not config.partition_columns:
        return ()
    physical = {f.name: p.name for f, p in zip(config.schema.fields, physical_schema(config).fields, strict=True)}
    return tuple(physical[name] for name in config.partition_columns)


def ensure_assignable(config: TableConfig, columns: Iterable[str], use: Use) -> None:
    """Refuse values for columns that only the table gives values.

    :param columns: top-level columns that somebody's rows (``insert``) or assignments (``update``) name.
    :raises InvalidArgumentError: naming the column.
    """
    names = tuple(columns)
    for feature in _active(config):
        if feature.assignable:
            feature.assignable(config, names, use)


def write_steps(config: TableConfig) -> tuple[WriteStep, ...]:
    """What the features ask of new rows."""
    steps = (feature.write(config) for feature in _active(config) if feature.write)
    return tuple(step for step in steps if step is not None)


def remove_rows(config: TableConfig) -> RowRemover | None:
    """How rows leave a file without rewriting it; ``None`` where the table does not want that."""
    removers = (feature.remove_rows(config) for feature in _active(config) if feature.remove_rows)
    return next((remover for remover in removers if remover is not None), None)


def carried(config: TableConfig, kind: Rewritten) -> tuple[str, ...]:
    """The virtual columns that a row keeps when it is written into another file."""
    return tuple(name for f in _active(config) if f.carries for name in f.carries(config, kind))


def stats_columns(config: TableConfig) -> tuple[tuple[str, ...], ...]:
    """Logical column paths that must have statistics, whatever their position."""
    return tuple(path for f in _active(config) if f.stats_columns for path in f.stats_columns(config))


def stores_partitions(config: TableConfig) -> bool:
    """Whether data files have the partition columns too."""
    asked = config.get(WRITE_PARTITION_COLUMNS)
    return asked or any(f.stores_partitions(config) for f in _active(config) if f.stores_partitions)


def after_rows(config: TableConfig, given: Mapping[str, int]) -> Metadata | None:
    """The metadata that goes with rows which got numbers from sequences; ``None`` if it stays as it is.

    :param config: the table's after the commit, as far as it is known.
    :param given: the last number that each column got; columns that got none are left out.
    """
    found = (feature.after_rows(config, given) for feature in _active(config) if feature.after_rows)
    return next((metadata for metadata in found if metadata is not None), None)


def only_counts(config: TableConfig, metadata: Metadata) -> bool:
    """Whether metadata differs from a table's, and in nothing but what features count in it."""
    old, new = config.metadata, metadata
    for feature in _active(config):
        if feature.uncounted:
            old, new = feature.uncounted(old), feature.uncounted(new)
    return metadata != config.metadata and old == new


def rebased_domains(config: TableConfig) -> frozenset[str]:
    """The metadata domains that are written anew on the base of every attempt."""
    return frozenset(f.rebased_domain for f in _active(config) if f.rebased_domain)


def own_domains(config: TableConfig) -> frozenset[str]:
    """The metadata domains of features that operations may write."""
    return frozenset(f.own_domain for f in _active(config) if f.own_domain)


def finalize(actions: list[Action], base: Snapshot | None, config: TableConfig, now: int) -> list[Action]:
    """The actions with what no file contains. ``config`` is the table's after this commit."""
    for feature in _active(config):
        if feature.finalize:
            actions = feature.finalize(actions, base, config, now)
    return actions


def files_of(action: AddFile | RemoveFile) -> tuple[str, ...]:
    """The files besides the data file that an action needs, relative to the table."""
    return tuple(path for f in FEATURES if f.files_of for path in f.files_of(action))


# -- changes of the table itself ---------------------------------------------------------------------------------


def evolve(old: TableConfig | None, metadata: Metadata, protocol: Protocol, version: int) -> Metadata:
    """Metadata as a commit carries it: with the ids and histories that features keep in it."""
    for feature in supported(protocol):
        if feature.evolve:
            metadata = feature.evolve(old, metadata, version)
    return metadata


def restored(old: TableConfig, metadata: Metadata) -> Metadata:
    """The metadata of an earlier version as it becomes the table's again: ids and marks never turn back.

    :param old: the table's present configuration.
    """
    for feature in FEATURES:
        if feature.restored:
            metadata = feature.restored(old, metadata)
    return metadata


def check(config: TableConfig) -> None:
    """Refuse a table that its own features contradict."""
    for feature in _active(config):
        if feature.check:
            feature.check(config)


def negotiate(current: Protocol | None, schema: StructType, configuration: Mapping[str, str]) -> Protocol:
    """The lowest protocol that holds what a table has and what its schema and properties now ask for.

    :raises InvalidArgumentError: for ``delta.feature.X`` of an unknown feature or with an unknown value.
    """
    wanted = _with_requirements({*asked_by(schema, configuration), *_asked_by_name(configuration)})
    wanted_versions = _asked_versions(configuration)
    has = {f.name for f in supported(current)} if current else set()
    base = current or Protocol(1, 2)
    missing = {BY_NAME[name].name for name in wanted} - has
    if current is not None and not missing and wanted_versions <= (base.min_reader_version, base.min_writer_version):
        return current
    by_name = any(BY_NAME[name].legacy is None for name in missing)
    if base.min_writer_version < TABLE_FEATURES_WRITER and not by_name and wanted_versions[1] < TABLE_FEATURES_WRITER:
        legacy = [BY_NAME[name].legacy for name in missing]
        versions = [pair for pair in legacy if pair is not None]
        return Protocol(
            max([base.min_reader_version, wanted_versions[0], *(r for r, _ in versions)]),
            max([base.min_writer_version, wanted_versions[1], *(w for _, w in versions)]),
        )
    names = _spelled_out(current, missing)
    readers = tuple(n for n in names if _for_readers(n, current))
    needs_reader = base.min_reader_version == TABLE_FEATURES_READER or any(
        BY_NAME[n].legacy is None for n in readers if n in BY_NAME
    )
    reader = TABLE_FEATURES_READER if needs_reader else max(base.min_reader_version, 2 if readers else 1)
    reader = max(reader, wanted_versions[0])
    return Protocol(reader, TABLE_FEATURES_WRITER, readers if reader == TABLE_FEATURES_READER else None, names)


def _spelled_out(current: Protocol | None, missing: Iterable[str]) -> tuple[str, ...]:
    old = writer_features(current or Protocol(1, 2))
    return tuple(dict.fromkeys((*old, *(f.name for f in FEATURES if f.name in set(missing)))))


def _for_readers(name: str, current: Protocol | None) -> bool:
    listed = current is not None and name in (current.reader_features or ())
    return listed or (name in BY_NAME and BY_NAME[name].kind == "reader-writer")


def asked_by(schema: StructType, configuration: Mapping[str, str]) -> Iterator[str]:
    for feature in FEATURES:
        value = configuration.get(feature.property, "false") if feature.property else "false"
        if value.lower() not in ("false", "none") or feature.implied_by(schema, configuration):
            yield feature.name


def _asked_by_name(configuration: Mapping[str, str]) -> Iterator[str]:
    for key, value in configuration.items():
        if not key.lower().startswith(_ASKS):
            continue
        if value.lower() not in ("supported", "enabled"):
            raise InvalidArgumentError(f"property {key} is 'supported', not {value!r}")
        yield named(key[len(_ASKS) :]).name


def named(name: str) -> Feature:
    """The feature of a name or an alias, ignoring case.

    :raises InvalidArgumentError: for a name that no feature has.
    """
    found = _BY_FOLDED_NAME.get(name.lower())
    if found is None:
        near = difflib.get_close_matches(name.lower(), _BY_FOLDED_NAME, 1)
        others = ", ".join(f.name for f in FEATURES)
        raise InvalidArgumentError(
            f"unknown table feature {name!r}",
            hint=f"did you mean {_BY_FOLDED_NAME[near[0]].name!r}?" if near else f"the features are {others}",
            feature=name,
        )
    return found


def _asked_versions(configuration: Mapping[str, str]) -> tuple[int, int]:
    try:
        return int(configuration.get("delta.minReaderVersion", 1)), int(configuration.get("delta.minWriterVersion", 1))
    except ValueError as error:
        raise InvalidArgumentError("delta.minReaderVersion and delta.minWriterVersion are numbers") from error


def _with_requirements(names: set[str]) -> set[str]:
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(BY_NAME[name].requires)
    return found


_TRANSIENT = ("delta.minreaderversion", "delta.minwriterversion")


def stored_configuration(configuration: Mapping[str, str]) -> dict[str, str]:
    """The properties that stay in the metadata; those that only steer the protocol do not."""
    return {
        key: value
        for key, value in configuration.items()
        if key.lower() not in _TRANSIENT and not key.lower().startswith(_ASKS)
    }


def _completed(configuration: Mapping[str, str]) -> dict[str, str]:
    """The properties of a new table, with those that its features cannot do without."""
    found = dict(configuration)
    for feature in FEATURES:
        if feature.along:
            found = {**feature.along(found), **found}
    return found


def configure(
    old: TableConfig | None, metadata: Metadata, version: int, domains: Mapping[str, DomainMetadata] | None = None
) -> tuple[Protocol, Metadata, TableConfig]:
    """Protocol, metadata and configuration after a change of metadata: negotiated, evolved, checked.

    :param old: the table before, or ``None`` for a new one.
    :param domains: the metadata domains afterwards; by default those of before.
    :param metadata: as the user wants it, steering properties included.
    :param version: the version that the change becomes.
    """
    if old is None:
        metadata = replace(metadata, configuration=_completed(metadata.configuration))
    schema = parse_schema(metadata.schema_string)
    protocol = negotiate(old.protocol if old else None, schema, metadata.configuration)
    metadata = replace(metadata, configuration=stored_configuration(metadata.configuration))
    metadata = evolve(old, metadata, protocol, version)
    config = TableConfig(protocol, metadata, (old.domains if old else {}) if domains is None else domains)
    check(config)
    ensure_writable(config)
    return protocol, metadata, config
