"""VACUUM: delete the files that no version within the retention needs (PROTOCOL.md, "VACUUM Protocol Check").

*Lite* goes by the log alone: files whose tombstones have expired, without listing anything. *Full* lists the table and
also finds files that no commit ever mentioned. Either way a plan is made first, by the newest version, and nothing is
in it that this version, a recent one, a tag, a kept version or a registered shallow clone needs.
"""

from __future__ import annotations

from collections.abc import Callable

from deltalite.exceptions import ConflictError, InvalidArgumentError
from deltalite.model.result import VacuumResult
from deltalite.model.snapshot import Snapshot
from deltalite.operations.execute import already_applied
from deltalite.operations.options import Committing
from deltalite.operations.vacuum_plan import VacuumPlan, VacuumRequest
from deltalite.operations.vacuum_read import OpenStore, Planned, local_now, make_plan
from deltalite.operations.vacuum_run import Deleted, Progress, Watch, execute, log_start
from deltalite.storage.base import Store

__all__ = ["VacuumRequest", "VacuumResult", "vacuum"]

_ATTEMPTS = 5


def vacuum(
    store: Store,
    request: VacuumRequest,
    committing: Committing,
    *,
    open_store: OpenStore,
    dry_run: bool = False,
    progress: Progress | None = None,
    clock: Callable[[], int] = local_now,
) -> tuple[VacuumResult, Snapshot]:
    """Plan and, unless it is a dry run, delete; the result and the snapshot that is left.

    :param open_store: opens the store of a registered shallow clone.
    :param progress: called with the number of files done, and of all.
    :param clock: this machine's time, in milliseconds since 1970.
    :raises InvalidArgumentError: the retention is too short, or most of the files are unknown to the log.
    :raises UnsupportedFeatureError: VACUUM is a write (protocol trap 30), and this table is not ours to write.
    :raises DeltaError: what a tag, a kept version or a clone needs cannot be read.
    :raises StorageError: with ``full``, when the clocks of this machine and of the storage differ.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        planned = make_plan(store, request, open_store, dry_run, clock)
        suspicion = _suspicion(planned.plan) if request.full and not request.force else None
        seen = already_applied(planned.snapshot, committing)
        if dry_run or seen or not planned.plan.delete:
            return _not_executed(planned, dry_run, seen or suspicion), planned.snapshot
        if suspicion:
            raise InvalidArgumentError(
                f"VACUUM refuses: {suspicion}",
                hint="look at them with dry_run=True; force=True deletes them",
                unknown=planned.plan.unknown,
                seen=planned.plan.seen,
            )
        try:
            start = log_start(store, planned, request, committing)
        except ConflictError:  # the retention, say, is another one now
            if attempt == _ATTEMPTS:
                raise
            continue
        if start.result.skipped:
            return _not_executed(planned, False, start.result.skipped), start.snapshot
        watch = Watch(store, planned.snapshot.version, planned.pins, open_store)
        done, left = execute(store, start.snapshot, planned.plan, watch, committing, progress)
        return _executed(planned.plan, done, left.version), left
    raise AssertionError


def _suspicion(plan: VacuumPlan) -> str | None:
    if not plan.is_suspicious:
        return None
    return f"the log knows nothing of {plan.unknown:,} of the {plan.seen:,} data files that are there"


def _not_executed(planned: Planned, dry_run: bool, why: str | None) -> VacuumResult:
    plan = planned.plan if dry_run else VacuumPlan(kept=planned.plan.kept, skipped=planned.plan.skipped)
    paths = [file.path for file in plan.delete]
    return VacuumResult(
        paths, dry_run=dry_run, version=planned.snapshot.version, size=plan.bytes, kept=plan.kept,
        skipped=plan.skipped, refused=why,
    )  # fmt: skip


def _executed(plan: VacuumPlan, done: Deleted, version: int) -> VacuumResult:
    sizes = {file.path: file.size for file in plan.delete}
    return VacuumResult(
        sorted(done.gone), dry_run=False, version=version, size=sum(sizes[path] for path in done.gone),
        kept=plan.kept, skipped=(*plan.skipped, *done.left), directories=done.directories,
    )  # fmt: skip
