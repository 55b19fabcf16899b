"""Table features are dropped.

A feature is dropped in steps, each of which leaves a good table: its property goes, so that nobody makes new traces of
it; files that bear traces are rewritten; then the protocol no longer asks for it. Older versions may still bear traces
that engines which know nothing of the feature would misread. Either the checkpoints before the drop are protected
(PROTOCOL.md, "Checkpoint Protection"), so that nobody reads new versions through old commits, or the old versions are
truncated. Whoever repeats the operation goes on where it stopped.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.exceptions import InvalidArgumentError
from deltalite.features import leaving
from deltalite.features.base import Feature
from deltalite.features.clustering import clustering_columns, clustering_domain
from deltalite.features.plain import CHECKPOINT_PROTECTION, PROTECTED_BEFORE
from deltalite.log import cleanup, read
from deltalite.model.actions import Action, AddFile, DomainMetadata, Metadata, RemoveFile
from deltalite.model.change import FileGroup, LogOnly, Rewrite
from deltalite.model.config import TableConfig
from deltalite.model.pending import ReadSet
from deltalite.model.properties import LOG_RETENTION, TRUNCATED_RETENTION
from deltalite.model.snapshot import Snapshot
from deltalite.operations.create import check_schema
from deltalite.operations.delete import row_spec
from deltalite.operations.execute import Outcome
from deltalite.operations.layout import LayoutRequest, LiveLayout, rewrite_of
from deltalite.operations.logged import in_threads
from deltalite.operations.options import Committing
from deltalite.operations.retrying import persistently
from deltalite.scan.parquet import DataFile
from deltalite.storage import Store
from deltalite.txn import after

WHOLE_TABLE = ReadSet(whole_table=True)


@dataclass(frozen=True)
class Dropping:
    """One feature on its way out of one table."""

    store: Store
    engine: ArrowEngine
    committing: Committing
    truncate: bool = False
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000

    def drop(self, base: Snapshot, name: str) -> Outcome:
        """
        :raises InvalidArgumentError: when the table does not have the feature, needs it, or has to wait until older
            versions with its traces may go.
        """
        feature = leaving.leaving(base.config, name)
        files = 0
        base = self._switch_off(base, feature)
        while len(rows := self._bearing(base, feature)) or _has_marks(base, feature):
            outcome = persistently(self.store, base, self._plan_rewrite(base, feature, rows), self._quiet, self.engine)
            files, base = files + outcome.result.metrics.get("numRemovedFiles", 0), outcome.snapshot
        protect = self._settle_history(base, feature)
        outcome = persistently(
            self.store, base, lambda snapshot, _: _plan_drop(snapshot, feature, protect), self.committing
        )
        if protect:
            after.checkpoint(self.store, outcome.snapshot, self.now_ms())
        result = replace(outcome.result, metrics={**outcome.result.metrics, "numFilesRewritten": files})
        return replace(outcome, result=result)

    @property
    def _quiet(self) -> Committing:
        return replace(self.committing, transactions=())

    def _switch_off(self, base: Snapshot, feature: Feature) -> Snapshot:
        if feature is CHECKPOINT_PROTECTION or feature.stripped_with_files:
            return base
        return persistently(self.store, base, lambda s, _: _plan_off(s, feature), self._quiet).snapshot

    # -- files

    def _bearing(self, base: Snapshot, feature: Feature) -> np.ndarray:
        """Which live files bear traces that only rewriting removes, as rows of the snapshot's files."""
        bears, config = feature.bears, base.config
        if bears is None:
            return np.zeros(0, np.int64)

        def one(add: Any) -> bool:
            def schema() -> pa.Schema:
                store, path = self.engine.resolve(add.path)
                with DataFile(store, path, add.size, by_field_id=False) as file:
                    return file.arrow_schema

            return bears(config, add, schema)

        return np.flatnonzero(in_threads(one, base.files.add_files(), "footers"))

    def _plan_rewrite(self, seen: Snapshot, feature: Feature, rows: np.ndarray) -> Callable[[Snapshot, str], Rewrite]:
        def plan(base: Snapshot, txn_id: str) -> Rewrite:
            chosen = rows if base.version == seen.version else self._bearing(base, feature)
            return _plan_rewrite(base, feature, chosen, txn_id)

        return plan

    # -- history

    def _settle_history(self, base: Snapshot, feature: Feature) -> bool:
        """Whether older checkpoints have to be protected, after truncating history where that was asked for.

        :raises InvalidArgumentError: when it is too early for that.
        """
        if feature is CHECKPOINT_PROTECTION:
            clean = int(base.config.configuration.get(PROTECTED_BEFORE, "0"))
            if not self.truncate and read.version_range(self.store)[0] < clean:
                raise _needs_truncation(feature, clean)
        elif feature.kind == "writer" or not feature.traced:
            return False
        else:
            clean = _first_clean(self.store, feature)
        if read.version_range(self.store)[0] >= clean:
            return False
        if not self.truncate:
            after.checkpoint(self.store, base, self.now_ms())  # whoever reads on from here meets no trace
            return True
        self._truncate(base, feature, clean)
        return False

    def _truncate(self, base: Snapshot, feature: Feature, clean: int) -> None:
        retention = base.config.get(TRUNCATED_RETENTION)
        after.checkpoint(self.store, base, self.now_ms())
        short = {**base.config.configuration, LOG_RETENTION.name: f"interval {retention} milliseconds"}
        short.pop(PROTECTED_BEFORE, None)
        metadata = replace(base.config.metadata, configuration=short)
        after.clean_up(self.store, replace(base, config=replace(base.config, metadata=metadata)), self.now_ms())
        earliest = read.version_range(self.store)[0]
        if earliest < clean:
            raise _too_early(feature, earliest, clean, self.now_ms() + retention)


def _has_marks(base: Snapshot, feature: Feature) -> bool:
    """Whether the metadata has to change together with the files."""
    metadata = base.config.metadata
    return feature.stripped_with_files and leaving.stripped(metadata, feature) != metadata


def _plan_off(base: Snapshot, feature: Feature) -> LogOnly:
    metadata = leaving.switched_off(base.config.metadata, feature)
    changed: tuple[Action, ...] = () if metadata is base.config.metadata else (metadata,)
    domain = base.domains.get(feature.own_domain) if feature.own_domain else None
    if domain is not None:
        changed = (*changed, DomainMetadata(domain.domain, domain.configuration, removed=True))
    features.check(TableConfig(base.config.protocol, metadata))
    return LogOnly(changed, "DROP FEATURE", {"featureName": feature.name, "step": "switch off"}, WHOLE_TABLE)


def _plan_rewrite(base: Snapshot, feature: Feature, rows: np.ndarray, txn_id: str) -> Rewrite:
    """The files written anew; with the metadata under which they are read, where that changes with them."""
    config, actions = base.config, ()
    if feature.stripped_with_files:
        config, actions = _without_marks(base, feature)
    live = LiveLayout(base)
    mask = np.zeros(live.count, bool)
    mask[rows] = True
    groups = [FileGroup(*_kept_of(live, key, found)) for key, found in live.groups(mask)]
    parameters = {"featureName": feature.name, "step": "rewrite"}
    change = rewrite_of(live, groups, row_spec(config, txn_id), LayoutRequest(), parameters, operation="DROP FEATURE")
    return replace(change, actions=actions, reads=WHOLE_TABLE) if actions else change


def _kept_of(live: LiveLayout, key: tuple[Any, ...], rows: np.ndarray) -> tuple[Any, ...]:
    cube = live.cubes[1][key[-1]]
    return rows, cube.tags if cube else None, cube.provider if cube else None


def _without_marks(base: Snapshot, feature: Feature) -> tuple[TableConfig, tuple[Action, ...]]:
    old = base.config
    metadata = leaving.stripped(old.metadata, feature)
    config = TableConfig(old.protocol, metadata, old.domains)
    check_schema(config.schema, mapped=False)
    actions: tuple[Action, ...] = (metadata,)
    if columns := clustering_columns(old):
        plain = TableConfig(old.protocol, metadata)
        domain = clustering_domain(plain, [".".join(path) for path in columns])
        actions, config = (
            (*actions, domain),
            TableConfig(old.protocol, metadata, {**old.domains, domain.domain: domain}),
        )
    features.check(config)
    return config, actions


def _plan_drop(base: Snapshot, feature: Feature, protect: bool) -> LogOnly:
    config = base.config
    leaving.leaving(config, feature.name)
    metadata: Metadata = leaving.stripped(config.metadata, feature)
    if protect:
        metadata = leaving.protected(metadata, base.version + 1)
    protocol = leaving.protocol_without(config.protocol, feature, protect)
    after_drop = TableConfig(protocol, metadata, config.domains)
    features.check(after_drop)
    if features.negotiate(protocol, after_drop.schema, metadata.configuration) != protocol:
        raise InvalidArgumentError(
            f"{feature.name} cannot be dropped: the schema or the properties of the table ask for it",
            feature=feature.name,
        )
    changed = () if metadata == config.metadata else (metadata,)
    return LogOnly((protocol, *changed), "DROP FEATURE", {"featureName": feature.name}, WHOLE_TABLE)


# -- what older versions hold --------------------------------------------------------------------------------------


def _first_clean(store: Store, feature: Feature) -> int:
    """The first version from which on neither a commit nor a version of the table bears traces of a feature."""
    earliest, latest = read.version_range(store)
    oldest = read.read_snapshot(store, earliest)
    in_metadata = leaving.bears_traces(feature, oldest.config.metadata)
    files = oldest.files.add_files() if feature.traces else []
    live = {add.path for add in files if leaving.bears_traces(feature, add)}
    clean = earliest + 1 if in_metadata or live else earliest
    for commit in read.read_commits(store, earliest + 1):
        traced = False
        for action in commit.actions:
            bears = leaving.bears_traces(feature, action)
            traced |= bears
            if isinstance(action, Metadata):
                in_metadata = bears
        live -= {a.path for a in commit.actions if isinstance(a, RemoveFile)}
        live |= {a.path for a in commit.actions if isinstance(a, AddFile) and leaving.bears_traces(feature, a)}
        if traced or in_metadata or live:
            clean = commit.version + 1
    return min(clean, latest + 1)


def _needs_truncation(feature: Feature, clean: int) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{feature.name} protects the versions before {clean}, which are still there",
        hint="truncate_history=True removes them, as soon as they are older than a day",
        feature=feature.name,
    )


def _too_early(feature: Feature, earliest: int, clean: int, when_ms: int) -> InvalidArgumentError:
    day = dt.datetime.fromtimestamp((when_ms // cleanup.DAY_MS + 1) * cleanup.DAY_MS / 1000, dt.timezone.utc)
    return InvalidArgumentError(
        f"{feature.name} cannot be dropped yet: the versions {earliest} to {clean - 1} may hold traces of it, and they "
        f"are too young to go or tagged",
        hint=f"the table makes no more traces of it; repeat this from {day:%Y-%m-%d} UTC on, or leave truncate_history "
        f"out, which protects these versions instead ({TRUNCATED_RETENTION.name} says how much history stays)",
        feature=feature.name,
        earliest=earliest,
    )
