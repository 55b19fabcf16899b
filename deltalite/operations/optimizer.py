"""TableOptimizer: what ``DeltaTable.optimize`` offers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from deltalite import features
from deltalite.engine.arrow import ArrowEngine
from deltalite.engine.spill import memory_limit as memory_of
from deltalite.exceptions import InvalidArgumentError
from deltalite.model.change import Rewrite
from deltalite.model.layout import LayoutPreview
from deltalite.model.result import CommitResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations import analyze, compact, cubes, statistics_repair
from deltalite.operations.layout import LayoutRequest, bytes_of
from deltalite.operations.options import CommitProperties, Committing, PostCommitHookProperties
from deltalite.write.options import WriterProperties

Plan = Callable[[LayoutRequest, Snapshot, str], Rewrite]
MEMORY = 384 << 20
"""What sorting may hold unless somebody says otherwise, if so much is free."""


class Run(Protocol):
    """How an operation takes effect on a handle."""

    def __call__(
        self,
        plan: Callable[[Snapshot, str, ArrowEngine], Rewrite],
        committing: Committing,
        memory_limit: int | str | None = None,
    ) -> CommitResult: ...


class TableOptimizer:
    """The ``optimize`` of a handle.

    No operation here changes a row: row ids stay, readers of changes and streams take no notice, and the old files
    remain until VACUUM removes them. All of them stream; what is held at a time does not grow with the table.

    Arguments that they share:

    * ``partition_filters``: deltalake's filters, as ``[("day", "=", "2026-11-20")]``; ``where``: any predicate. Only
      files that may hold a row for which both are true are rewritten.
    * ``target_size``: bytes that a file should have, or a size such as ``"128MB"``; by default what the property
      ``delta.targetFileSize`` says, else 128 MiB.
    * ``max_bytes``, ``max_files``: rewrite no more than so many bytes of files, so many files.
    * ``max_concurrent_tasks``: files read at a time.
    * ``memory_limit`` (deltalake's ``max_spill_size``): bytes that sorting may hold, or a size; beyond it, temporary
      files are used. 384 MiB by default, or a quarter of what is free. ``max_temp_directory_size`` is accepted for
      deltalake and has no effect.
    * ``min_commit_interval``: seconds (or a ``timedelta``) after which what is done is committed, before the next
      partition is begun; 0 commits every partition. ``None`` makes one commit.
    * ``progress``: called with the bytes of files done with, and of all files.
    * ``dry_run``: return a :class:`LayoutPreview` and write nothing.
    """

    def __init__(self, run: Run, snapshot: Callable[[], Snapshot]) -> None:
        self._run = run
        self._snapshot = snapshot

    def compact(
        self,
        partition_filters: Any = None,
        target_size: int | str | None = None,
        max_concurrent_tasks: int | None = None,
        max_spill_size: int | str | None = None,
        max_temp_directory_size: int | None = None,
        min_commit_interval: float | dt.timedelta | None = None,
        writer_properties: WriterProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        *,
        where: Any = None,
        min_file_size: int | str | None = None,
        max_bytes: int | str | None = None,
        max_files: int | None = None,
        dry_run: bool = False,
        memory_limit: int | str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CommitResult | LayoutPreview:
        """Put small files together, and rewrite those of which more than 5 % of the rows are deleted.

        Rows keep their order within a partition. Doing it again finds nothing to do.

        :param min_file_size: files below are small; half of the target by default.
        :return: metrics under deltalake's names (``result["numFilesAdded"]``); with ``dry_run`` a preview.
        :raises ConflictError: another writer changed rows of the files; run it again. Appends are no conflict.
        """
        request = LayoutRequest(
            where, partition_filters, target_size, min_file_size, max_bytes, max_files, max_concurrent_tasks,
            _seconds(min_commit_interval), writer_properties, progress,
        )  # fmt: skip
        committing = Committing.of(commit_properties, post_commithook_properties)
        return self._layout(compact.plan, request, committing, memory_limit or max_spill_size, dry_run)

    def z_order(
        self,
        columns: Sequence[str] | str,
        partition_filters: Any = None,
        target_size: int | str | None = None,
        max_concurrent_tasks: int | None = None,
        max_spill_size: int | str | None = None,
        max_temp_directory_size: int | None = None,
        min_commit_interval: float | dt.timedelta | None = None,
        writer_properties: WriterProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
        commit_properties: CommitProperties | None = None,
        *,
        where: Any = None,
        full: bool = False,
        max_bytes: int | str | None = None,
        max_files: int | None = None,
        dry_run: bool = False,
        memory_limit: int | str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> CommitResult | LayoutPreview:
        """Lay rows out so that rows alike in some columns share files, within each partition.

        Rows go along a Hilbert curve through the ranks of the columns' values, which have any type that has an order.
        Files that an earlier run laid out by the same columns are left alone while they outweigh what is new.

        :param columns: top-level columns, or fields of structs by dotted names.
        :param full: lay out all files anew, unless they are in this order already.
        :return: metrics as :meth:`compact`; with ``dry_run`` a preview, which warns of orders that this destroys.
        :raises InvalidArgumentError: for unknown columns, partition columns, and tables that are clustered.
        """
        request = LayoutRequest(
            where, partition_filters, target_size, None, max_bytes, max_files, max_concurrent_tasks,
            _seconds(min_commit_interval), writer_properties, progress,
        )  # fmt: skip
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        committing = Committing.of(commit_properties, post_commithook_properties)

        def plan(asked: LayoutRequest, base: Snapshot, txn_id: str) -> Rewrite:
            return cubes.plan_z_order(asked, names, full, base, txn_id)

        return self._layout(plan, request, committing, memory_limit or max_spill_size, dry_run)

    def cluster(
        self,
        full: bool = False,
        *,
        target_size: int | str | None = None,
        max_concurrent_tasks: int | None = None,
        max_bytes: int | str | None = None,
        max_files: int | None = None,
        min_commit_interval: float | dt.timedelta | None = None,
        dry_run: bool = False,
        memory_limit: int | str | None = None,
        progress: Callable[[int, int], None] | None = None,
        writer_properties: WriterProperties | None = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult | LayoutPreview:
        """Lay out the rows of a clustered table (``cluster_by``) that are not laid out yet.

        What Delta Spark clustered counts as clustered here, and the other way round.

        :param full: everything again, files clustered by other columns or by other engines included.
        :return: as :meth:`z_order`.
        :raises InvalidArgumentError: when the table has no clustering columns.
        """
        request = LayoutRequest(
            None, None, target_size, None, max_bytes, max_files, max_concurrent_tasks,
            _seconds(min_commit_interval), writer_properties, progress,
        )  # fmt: skip
        committing = Committing.of(commit_properties, post_commithook_properties)

        def plan(asked: LayoutRequest, base: Snapshot, txn_id: str) -> Rewrite:
            return cubes.plan_cluster(asked, full, base, txn_id)

        return self._layout(plan, request, committing, memory_limit, dry_run)

    def purge(
        self,
        predicate: Any = None,
        *,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Rewrite the files with deletion vectors, so that deleted rows are physically gone.

        :param predicate: only files that may hold a matching row.
        :return: with ``skipped`` saying so when no file has a deletion vector.
        """
        committing = Committing.of(commit_properties, post_commithook_properties)
        request = LayoutRequest(predicate)
        return self._run(lambda base, txn_id, _: compact.plan_purge(request, base, txn_id), committing)

    def repair_statistics(
        self,
        columns: Sequence[str] | str | None = None,
        deep: bool = False,
        *,
        where: Any = None,
        commit_properties: CommitProperties | None = None,
        post_commithook_properties: PostCommitHookProperties | None = None,
    ) -> CommitResult:
        """Compute statistics that files lack, from their rows, and record them. No file is written.

        :param columns: which statistics to look at; by default those that the table asks for.
        :param deep: read all files and correct wrong statistics too.
        :param where: only files that may hold a matching row, as far as the old statistics tell.
        :return: ``numFilesScanned`` and ``numFilesRepaired``; skipped when there is nothing to repair.
        """
        names = (columns,) if isinstance(columns, str) else None if columns is None else tuple(columns)
        request = statistics_repair.RepairRequest(names, deep, where)
        committing = Committing.of(commit_properties, post_commithook_properties)
        return self._run(lambda base, txn_id, e: statistics_repair.plan(request, base, txn_id, e), committing)

    # -- doing it ------------------------------------------------------------------------------------------------------

    def _layout(
        self, plan: Plan, request: LayoutRequest, committing: Committing, memory_limit: int | str | None, dry_run: bool
    ) -> CommitResult | LayoutPreview:
        limit = min(MEMORY, memory_of(None)) if memory_limit is None else memory_of(memory_limit)
        if request.threads is not None and request.threads <= 0:
            raise InvalidArgumentError(f"max_concurrent_tasks is a positive number, not {request.threads}")
        if dry_run:
            base = self._snapshot()
            features.ensure_writable(base.config)
            return analyze.preview(base, plan(request, base, ""), limit)
        if request.seconds is None:
            return self._run(lambda base, txn_id, _: plan(request, base, txn_id), committing, limit)
        return self._in_commits(plan, request, committing, limit)

    def _in_commits(self, plan: Plan, request: LayoutRequest, committing: Committing, limit: int) -> CommitResult:
        """Commit after commit, until every group of the first plan is done or nothing is left to do."""
        left = len(plan(request, self._snapshot(), "").groups)
        total: CommitResult | None = None
        while True:
            done = self._run(lambda base, txn_id, _, r=request: plan(r, base, txn_id), committing, limit)
            total = done if total is None else total if done.skipped else _together(total, done)
            left -= done.metrics.get("partitionsOptimized", 0)
            request = _less(request, done.metrics)
            if done.skipped or left <= 0 or request.max_files == 0 or request.max_bytes == 0:
                return total


def _seconds(interval: float | dt.timedelta | None) -> float | None:
    if interval is None:
        return None
    seconds = interval.total_seconds() if isinstance(interval, dt.timedelta) else float(interval)
    if seconds < 0:
        raise InvalidArgumentError(f"min_commit_interval is a number of seconds, not {interval}")
    return seconds


def _less(request: LayoutRequest, metrics: Mapping[str, Any]) -> LayoutRequest:
    """The request with what is left of its budgets."""
    files, size = request.max_files, bytes_of("max_bytes", request.max_bytes) if request.max_bytes else None
    if files is not None:
        files = max(0, files - metrics.get("numRemovedFiles", 0))
    if size is not None:
        size = max(0, size - metrics.get("numRemovedBytes", 0))
    return replace(request, max_files=files, max_bytes=size)


def _together(a: CommitResult, b: CommitResult) -> CommitResult:
    """Two commits of one operation as one result."""
    merged: dict[str, Any] = {}
    for name, value in b.metrics.items():
        former = a.metrics.get(name)
        if isinstance(value, bool) or former is None:
            merged[name] = value
        elif isinstance(value, Mapping):
            merged[name] = _sizes_together(former, value)
        else:
            merged[name] = former + value
    merged["totalConsideredFiles"] = a.metrics.get("totalConsideredFiles", 0)
    merged["totalFilesSkipped"] = merged["totalConsideredFiles"] - merged.get("numFilesRemoved", 0)
    return replace(b, metrics=merged, duration_s=a.duration_s + b.duration_s)


def _sizes_together(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    files, size = a["totalFiles"] + b["totalFiles"], a["totalSize"] + b["totalSize"]
    least = min((x["min"] for x in (a, b) if x["totalFiles"]), default=0)
    average = size / files if files else 0.0
    return {"min": least, "max": max(a["max"], b["max"]), "avg": average, "totalFiles": files, "totalSize": size}
