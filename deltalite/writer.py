"""deltalake's ``deltalake.writer``: writing in one call, and the properties of Parquet files."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from deltalite._lazy import LazyModule
from deltalite.model.result import CommitResult
from deltalite.operations import write
from deltalite.operations.execute import perform
from deltalite.operations.opening import names_of, newest, store_of
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.table import DeltaTable
from deltalite.write.options import BloomFilterProperties, ColumnProperties, WriterProperties

if TYPE_CHECKING:
    from deltalite.operations import changing
else:
    changing = LazyModule("deltalite.operations.changing")

__all__ = ["BloomFilterProperties", "ColumnProperties", "WriterProperties", "write_deltalake"]


def write_deltalake(
    table_or_uri: str | PathLike[str] | DeltaTable,
    data: Any,
    *,
    partition_by: Sequence[str] | str | None = None,
    mode: str = "error",
    name: str | None = None,
    description: str | None = None,
    configuration: Mapping[str, Any] | None = None,
    schema_mode: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    predicate: Any = None,
    target_file_size: int | None = None,
    writer_properties: WriterProperties | None = None,
    commit_properties: CommitProperties | None = None,
    post_commithook_properties: PostCommitHookProperties | None = None,
    partition_overwrite: str = "static",
    cast: str = "safe",
    txn: tuple[str, int] | None = None,
    filesystem: Any = None,
    cluster_by: Sequence[str] | str | None = None,
) -> CommitResult:
    """Write rows to a table, creating it when there is none.

    Arguments are deltalake's, and those of :meth:`DeltaTable.append` and :meth:`DeltaTable.overwrite`.

    :param cluster_by: columns by which a new table is clustered: ``optimize.cluster()`` lays its rows out by them.
    :param mode: when the table exists: ``error``, ``append``, ``overwrite`` or ``ignore``.
    :returns: the version that the table now has, with counts; ``skipped`` says why nothing was written.
    :raises TableExistsError: when the table exists and the mode is ``error``.
    """
    start = time.perf_counter()
    request = write.WriteRequest(
        data, mode, names_of(partition_by), schema_mode, predicate, partition_overwrite, name, description,
        dict(configuration or {}), target_file_size, writer_properties, cast, str(uuid.uuid4()),
        time.time_ns() // 1_000_000, names_of(cluster_by),
    )  # fmt: skip
    write.validate(request)
    committing = Committing.of(commit_properties, post_commithook_properties, txn)
    if isinstance(table_or_uri, DeltaTable):
        store, base = table_or_uri._store, table_or_uri._snapshot
    else:
        store = store_of(table_or_uri, storage_options, filesystem)
        base = newest(store)
    if base is not None:
        write.refuse_existing(request, store.root)
        if mode == "ignore":
            return CommitResult(base.version, "WRITE", {}, time.perf_counter() - start, None, "the table exists")
    engine = None
    if predicate is not None:
        engine = changing.engine_of(store, table_or_uri._external if isinstance(table_or_uri, DeltaTable) else ())
    run = table_or_uri._perform if isinstance(table_or_uri, DeltaTable) else perform
    outcome = run(store, base, lambda base, txn_id: write.plan(request, base, txn_id), committing, start, engine)
    if isinstance(table_or_uri, DeltaTable):
        table_or_uri._moved(outcome)
    return outcome.result
