"""The doctor: what of a table is not as its log, the protocol or its files say, and the repairs that are safe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from deltalite import features
from deltalite.exceptions import DeltaError, TableNotFoundError
from deltalite.log import pins
from deltalite.log.segment import LogNames, sort_out
from deltalite.model.actions import AddFile
from deltalite.model.paths import LOG
from deltalite.model.pins import TAGS
from deltalite.operations import travel
from deltalite.operations.changing import engine_of
from deltalite.operations.doctor import repairs
from deltalite.operations.doctor.files import check_files
from deltalite.operations.doctor.findings import DROP_FILE, WRITE_STATISTICS, Finding, Patient, Progress
from deltalite.operations.doctor.history import check_commits, check_continuity
from deltalite.operations.doctor.shortcuts import check_checkpoints, check_checksums, check_hint, replayed
from deltalite.operations.statistics_repair import RepairRequest
from deltalite.operations.statistics_repair import plan as plan_statistics
from deltalite.scan.paths import PathResolver
from deltalite.storage import Store, open_store

__all__ = ["Finding", "fsck"]


def fsck(
    store: Store,
    external: Sequence[str] = (),
    *,
    deep: bool = False,
    repair: bool = False,
    progress: Progress | None = None,
) -> list[Finding]:
    """Examine the newest version and the log; nothing is changed unless it is asked for.

    A table that cannot be opened can be examined.

    :param external: prefixes outside the table that files may lie under.
    :param deep: all checkpoints and checksums, and statistics against the rows.
    :param repair: do what is safe: see :mod:`deltalite.operations.doctor.repairs`.
    :param progress: called with the number of files looked at, and of all.
    :raises TableNotFoundError: when there is no log.
    """
    names = sort_out(store.list_from(LOG))
    if names.latest < 0:
        raise TableNotFoundError(f"there is no Delta table at {store.root}: no commit in _delta_log")
    findings = [*check_continuity(names), *check_commits(store, names), *_check_tags(store)]
    patient, unreadable = _patient(store, names, tuple(external), deep, progress)
    findings += unreadable
    if patient is None:
        return findings
    for check in (check_checkpoints, check_checksums, check_hint, _check_config, check_files, _check_rows):
        findings += check(patient)
    findings = _not_the_whole_table(patient, findings)
    return repairs.repair(patient, findings) if repair else findings


def _not_the_whole_table(patient: Patient, findings: list[Finding]) -> list[Finding]:
    """Where most files are gone, the place is probably the wrong one, and nothing is dropped from the log."""
    gone = sum(finding.repair == DROP_FILE for finding in findings)
    if 2 * gone <= patient.snapshot.files.count:
        return findings
    return [replace(finding, repair=None) if finding.repair == DROP_FILE else finding for finding in findings]


def _patient(
    store: Store, names: LogNames, external: tuple[str, ...], deep: bool, progress: Progress | None
) -> tuple[Patient | None, list[Finding]]:
    """The newest version, by the commits alone where they are all there."""
    whole = all(version in names.commits for version in range(names.latest + 1))
    try:
        snapshot = replayed(store, names, names.latest, () if whole else names.checkpoints)
        assert snapshot is not None
        features.ensure_readable(snapshot.config.protocol)
        _ = snapshot.files.count, len(snapshot.domains), len(snapshot.transactions)
    except DeltaError as error:
        finding = Finding("table-unreadable", "error", error.message, error.context.get("path"), names.latest)
        return None, [finding]
    return Patient(store, names, snapshot, PathResolver(store, external, open_store), external, deep, progress), []


def _check_tags(store: Store) -> Iterator[Finding]:
    for file in list(store.list_from(TAGS)):
        if not file.path.endswith(".json"):
            continue
        try:
            tag = pins.decode_tag(store.get(file.path), file.path)
            travel.tagged(store, tag)
        except (DeltaError, OSError) as error:
            yield Finding("tag-broken", "warning", getattr(error, "message", str(error)), file.path)


def _check_config(patient: Patient) -> Iterator[Finding]:
    """Whether protocol, schema and properties go together: ids of mapped columns, marks, expressions."""
    try:
        features.check(patient.snapshot.config)
    except DeltaError as error:
        yield Finding("config-wrong", "error", error.message, None, patient.snapshot.version)


def _check_rows(patient: Patient) -> Iterator[Finding]:
    """Statistics against the rows themselves."""
    if not patient.deep:
        return
    engine = engine_of(patient.store, patient.external)
    try:
        found = plan_statistics(RepairRequest(deep=True), patient.snapshot, "", engine)
    except DeltaError as error:
        yield Finding("rows-unreadable", "error", error.message, error.context.get("path"))
        return
    paths = [action.path for action in found.actions if isinstance(action, AddFile)]
    with_statistics = {a.path for a in patient.snapshot.files.add_files() if a.stats}
    for path in paths:
        if path in with_statistics:
            what = f"the statistics of {path} are not those of its rows"
            yield Finding("statistics-differ", "warning", what, path, None, WRITE_STATISTICS)
