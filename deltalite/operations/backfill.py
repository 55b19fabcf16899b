"""Row tracking for a table with files: every file gets a base row id before ids are promised for every row.

PROTOCOL.md, "Writer Requirements for Row Tracking". First the protocol asks every writer for ids, then the files that
are there are added again, with nothing changed but that, then the property is set. Each commit leaves a good table;
whoever repeats the operation goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow.compute as pc

from deltalite import features
from deltalite.features.row_tracking import FEATURE
from deltalite.model.actions import AddFile
from deltalite.model.change import LogOnly
from deltalite.model.pending import ReadSet
from deltalite.model.properties import ROW_TRACKING
from deltalite.model.snapshot import Snapshot
from deltalite.model.stats import ROWS
from deltalite.operations.execute import Outcome
from deltalite.operations.footers import row_count
from deltalite.operations.logged import in_threads
from deltalite.operations.options import Committing
from deltalite.operations.retrying import persistently
from deltalite.scan.paths import PathResolver
from deltalite.storage import Store, open_store

FILES_PER_COMMIT = 20_000


def is_needed(base: Snapshot, configuration: dict[str, str]) -> bool:
    """Whether files of the table lack the ids that its properties, as they will be, promise."""
    if base.config.get(ROW_TRACKING) or not ROW_TRACKING.of(configuration):
        return False
    return _without_ids(base).num_rows > 0


def with_row_ids(
    store: Store,
    base: Snapshot,
    enable: Callable[[Snapshot], LogOnly],
    committing: Committing,
    external: Sequence[str] = (),
) -> Outcome:
    """Give every file its ids, and enable row tracking.

    :param enable: the last commit, which sets the property.
    :raises ConflictError: when others change the table again and again meanwhile; what is done stays.
    """
    enable(base)  # what stands in the way is said before anything is committed
    quiet = replace(committing, transactions=())
    resolve = PathResolver(store, tuple(external), open_store)
    base = persistently(store, base, _plan_protocol, quiet).snapshot
    files = 0
    while (lacking := _without_ids(base)).num_rows:
        outcome = persistently(store, base, lambda snapshot, _: _plan_batch(snapshot, resolve), quiet)
        files += min(lacking.num_rows, FILES_PER_COMMIT)
        base = outcome.snapshot
    outcome = persistently(store, base, lambda snapshot, _: enable(snapshot), committing)
    result = replace(outcome.result, metrics={**outcome.result.metrics, "numFilesBackfilled": files})
    return replace(outcome, result=result)


def _plan_protocol(base: Snapshot, _: str) -> LogOnly:
    asked = {**base.config.configuration, f"delta.feature.{FEATURE.name}": "supported"}
    protocol = features.negotiate(base.config.protocol, base.config.schema, asked)
    actions = () if protocol == base.config.protocol else (protocol,)
    return LogOnly(actions, "ADD FEATURE", {"name": json.dumps([FEATURE.name])})


def _plan_batch(base: Snapshot, resolve: PathResolver) -> LogOnly:
    paths = _without_ids(base).column("path").slice(0, FILES_PER_COMMIT).combine_chunks()
    live = base.files.table(["path"]).column("path")
    adds = base.files.add_files(pc.is_in(live, value_set=paths))
    counts = in_threads(lambda add: row_count(add, resolve), adds, "rows")
    again = [_counted(add, count) for add, count in zip(adds, counts, strict=True)]
    reads = ReadSet(files=frozenset(add.key for add in adds))
    return LogOnly(tuple(again), "ROW TRACKING BACKFILL", {"numFiles": len(again)}, reads)


def _counted(add: AddFile, rows: int) -> AddFile:
    """The file again, as one that changes nothing; ``finalize`` gives it its ids."""
    stats = json.loads(add.stats or "{}")
    text = add.stats if stats.get(ROWS) == rows else json.dumps({**stats, ROWS: rows})
    return replace(add, data_change=False, stats=text)


def _without_ids(base: Snapshot):
    files = base.files.table(["path", "baseRowId", "defaultRowCommitVersion"])
    known = pc.and_(files.column("baseRowId").is_valid(), files.column("defaultRowCommitVersion").is_valid())
    return files.filter(pc.invert(known))
