"""Puts into the log. Commits and checksums are never overwritten; checkpoints and the hint may be.

Imported by ``txn`` only: whoever else wants to change a table makes a pending commit.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq

from deltalite import features
from deltalite.features import plain
from deltalite.log import checkpoint, checksum, cleanup, last_checkpoint, read
from deltalite.log.parts import UnreadableCheckpoint
from deltalite.log.pins import read_tags
from deltalite.log.segment import sort_out
from deltalite.log.source import CheckpointSource
from deltalite.model.actions import Sidecar
from deltalite.model.arrow import to_numpy
from deltalite.model.config import TableConfig
from deltalite.model.paths import LAST_CHECKPOINT, LOG, SIDECARS, checkpoint_file, commit_file, crc_file
from deltalite.model.properties import CHECKPOINT_POLICY, LOG_RETENTION
from deltalite.model.snapshot import Snapshot, Totals
from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.log")

_PROTECTED_BEFORE = "delta.requireCheckpointProtectionBeforeVersion"


def put_commit(store: Store, version: int, data: bytes) -> None:
    """Make ``data`` the commit of a version, durably.

    :raises FileExistsError: when that version is taken, possibly by this very call's lost first try.
    :raises AmbiguousPut: when nobody can tell.
    """
    store.put_if_absent(commit_file(version), data, durable=True)


def put_checksum(store: Store, snapshot: Snapshot, txn_id: str | None = None) -> bool:
    """Write the version's checksum, unless its totals are unknown or another writer was first; whether it did."""
    data = checksum.encode(snapshot, txn_id)
    if data is None:
        return False
    try:
        store.put_if_absent(crc_file(snapshot.version), data, durable=False)
    except FileExistsError:
        return False
    return True


# -- checkpoints -------------------------------------------------------------------------------------------------


def put_checkpoint(store: Store, snapshot: Snapshot, now_ms: int) -> None:
    """Write a checkpoint of the kind that the table asks for, then the hint at it.

    Where no checksum could be written for want of totals, there is one now that all files are loaded.

    :raises UnsupportedFeatureError: when the table's protocol at that version is not fully understood here (trap 33).
    """
    features.ensure_writable(snapshot.config)
    if _wants_v2(snapshot.config):
        size, actions, adds = _put_v2(store, snapshot, now_ms)
    else:
        path = checkpoint_file(snapshot.version)
        size, actions, adds = _put_table(store, path, checkpoint.classic(snapshot, now_ms))
    store.sync()
    put_last_checkpoint(store, snapshot.version, last_checkpoint.encode(snapshot.version, actions, size, adds))
    if snapshot.totals is None:
        put_checksum(store, replace(snapshot, totals=_counted(snapshot)))


def _counted(snapshot: Snapshot) -> Totals:
    sizes = snapshot.files.table(["size"]).column("size")
    return Totals(len(sizes), int(to_numpy(sizes).sum()))


def put_last_checkpoint(store: Store, version: int, hint: bytes) -> None:
    """Write the hint at a checkpoint, unless it already points at a newer one."""
    try:
        known = last_checkpoint.parse(store.get(LAST_CHECKPOINT))
    except FileNotFoundError:
        known = None
    if known is None or known <= version or version >= read.latest_version(store):
        store.put(LAST_CHECKPOINT, hint, durable=False)


def _wants_v2(config: TableConfig) -> bool:
    return config.get(CHECKPOINT_POLICY) == "v2" and plain.V2_CHECKPOINT in features.supported(config.protocol)


def _put_v2(store: Store, snapshot: Snapshot, now_ms: int) -> tuple[int, int, int]:
    sidecars: list[Sidecar] = []
    size = actions = adds = 0
    for tables in _in_groups(checkpoint.files(snapshot, now_ms), checkpoint.ACTIONS_PER_SIDECAR):
        name = f"{uuid.uuid4()}.parquet"
        file_size, rows, added = _put_table(store, SIDECARS + name, tables)
        sidecars.append(Sidecar(name, file_size, now_ms))
        size, actions, adds = size + file_size, actions + rows, adds + added
    manifest = checkpoint.manifest(snapshot, now_ms, sidecars)
    store.sync()
    store.put(checkpoint_file(snapshot.version, str(uuid.uuid4()), "json"), manifest)
    return size + len(manifest), actions + manifest.count(b"\n"), adds


def _in_groups(tables: Iterator[pa.Table], limit: int) -> Iterator[Iterator[pa.Table]]:
    """Tables in runs of about ``limit`` rows; each run is to be used up before the next."""

    def run(first: pa.Table) -> Iterator[pa.Table]:
        rows = first.num_rows
        yield first
        while rows < limit and (following := next(tables, None)) is not None:
            rows += following.num_rows
            yield following

    while (first := next(tables, None)) is not None:
        yield run(first)


def _put_table(store: Store, path: str, tables: Iterator[pa.Table]) -> tuple[int, int, int]:
    """Write tables of one schema as one Parquet file; its size in bytes, its rows, and how many of them are adds."""
    first = next(tables)
    rows = adds = 0
    with store.open_output(path) as sink:
        with pq.ParquetWriter(
            sink,
            first.schema,
            compression="snappy",
            use_dictionary=_REPETITIVE,
            store_schema=False,
            write_page_checksum=True,
        ) as writer:
            for table in chain([first], tables):
                rows, adds = rows + table.num_rows, adds + checkpoint.count([table], "add")
                writer.write_table(table)
        size = sink.tell()
    return size, rows, adds


_REPETITIVE = [
    f"{kind}.{leaf}"
    for kind in ("add", "remove")
    for leaf in ("partitionValues.key_value.key", "partitionValues.key_value.value", "clusteringProvider")
]


# -- expired files -----------------------------------------------------------------------------------------------


def clean_up(store: Store, snapshot: Snapshot, now_ms: int) -> int:
    """Delete the log files that the table's retention no longer asks for; how many.

    Tagged versions stay. Nothing goes before the checkpoints that the kept versions rest on have been read.
    """
    retention = snapshot.config.get(LOG_RETENTION)
    oldest = cleanup.oldest_commit(store.list_from(LOG))
    if oldest is None or oldest.modified_ms > cleanup.cutoff_ms(now_ms, retention):
        return 0
    listing = list(store.list_from(LOG))
    protected = snapshot.config.configuration.get(_PROTECTED_BEFORE)
    if protected is not None and plain.CHECKPOINT_PROTECTION not in features.supported(snapshot.config.protocol):
        protected = None
    tagged = [tag.version for tag in read_tags(store)]
    found = cleanup.expired(listing, now_ms, retention, None if protected is None else int(protected), tagged)
    if found is None:
        return 0
    try:
        for needed in (found.anchor, *found.pinned):
            source = CheckpointSource(store, needed)
            source.config()
            source.adds(["path"])
    except UnreadableCheckpoint as error:
        logger.warning("no clean-up of the log: the checkpoint that it would rest on cannot be read: %s", error.message)
        return 0
    gone = delete_log_files(store, found.commits) + delete_log_files(store, found.others)
    return gone + _clean_up_sidecars(store, now_ms)


def delete_log_files(store: Store, paths: Iterable[str]) -> int:
    """Delete files in the given order; how many are gone."""
    return len(store.delete_many(paths))


def _clean_up_sidecars(store: Store, now_ms: int) -> int:
    sidecars = list(store.list_from(SIDECARS))
    if not sidecars:
        return 0
    referenced = set()
    for kept in sort_out(store.list_from(LOG)).checkpoints:
        try:
            referenced.update(CheckpointSource(store, kept).sidecar_names)
        except UnreadableCheckpoint as error:
            logger.warning("no clean-up of sidecars: %s", error.message)
            return 0
    return delete_log_files(store, cleanup.expired_sidecars(sidecars, referenced, now_ms))
