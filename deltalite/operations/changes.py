"""What changed between versions, row by row: the recorded feed, and the same computed from the log where none was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa

from deltalite.exceptions import InvalidArgumentError
from deltalite.features import partition_keys
from deltalite.features.change_data_feed import (
    CHANGE_TYPE,
    COMMIT_TIMESTAMP,
    COMMIT_VERSION,
    DELETE,
    INSERT,
    ChangedFiles,
    plan_changes,
    records_changes,
)
from deltalite.log import read
from deltalite.model.snapshot import Snapshot
from deltalite.operations.changed_rows import Part, Reader, View
from deltalite.operations.comparing import Comparison, Side, has_same_row_ids
from deltalite.operations.reading import Reading
from deltalite.operations.version_range import Version, Versions, check_readable, resolve, too_new, walk
from deltalite.scan.paths import PathResolver
from deltalite.storage import Store, open_store

EXACT, NOTES = "deltalite.exact", "notes"


@dataclass(frozen=True)
class ChangesRequest:
    """A range of versions, both ends included, and what to show of its changes.

    :param columns: of the last version of the range, and those of the feed; ``None`` is all of them.
    :param predicate: over the same columns.
    """

    first: int = 0
    last: int | None = None
    from_time: Any = None
    to_time: Any = None
    columns: Sequence[str] | None = None
    predicate: Any = None
    allow_out_of_range: bool = False


def recorded(table: Reading, request: ChangesRequest) -> pa.RecordBatchReader:
    """The change feed that the table's writers recorded, up to its newest version by default.

    :raises InvalidArgumentError: when the feed was off in a version, naming those in which it was on.
    """
    latest = read.update(table.store, table.snapshot)
    versions = _versions(table.store, latest, request)
    view = _view(table.store, latest, versions, request)
    found, off = [], []
    for version in walk(table.store, versions) if versions else ():
        if records_changes(version.config):
            found.append(_Changes(() if off else _parts(view, version, _changed_files(table.store, version))))
        else:
            off.append(version.number)
    if versions and off:
        raise _not_recorded(versions, off)
    return _stream(table, view, found)


def computed(table: Reading, request: ChangesRequest) -> pa.RecordBatchReader:
    """The changes of any versions: as recorded where the feed was on, else from the rows that left and came.

    Without a last version they end with the one of the table's handle.

    The schema's metadata say under ``deltalite.exact`` (``true`` or ``false``) whether all could be told, and under
    ``notes`` what could not.

    :raises VersionNotFoundError: for versions that are not there yet.
    """
    latest = table.snapshot
    if max(request.first, request.last or 0) > latest.version:
        latest = read.update(table.store, latest)
    if request.last is not None and request.last > latest.version:
        raise too_new(request.last, latest.version)
    versions = _versions(table.store, latest, request)
    view = _view(table.store, latest, versions, request)
    found = [_changes(table.store, view, version) for version in (walk(table.store, versions) if versions else ())]
    guessed = [changes.version for changes in found if changes.comparison and not changes.comparison.by_row_id]
    return _stream(table, view, found, {EXACT: "false" if guessed else "true", NOTES: _notes(guessed)})


def reader_of(table: Reading) -> Reader:
    resolve_path = PathResolver(table.store, table.external, open_store)
    return Reader(table.store, resolve_path, min(8, pa.cpu_count()))


# -- which versions --------------------------------------------------------------------------------------------------


def _versions(store: Store, latest: Snapshot, request: ChangesRequest) -> Versions | None:
    return resolve(
        store, latest, request.first, request.last, request.from_time, request.to_time, request.allow_out_of_range
    )


def _view(store: Store, latest: Snapshot, versions: Versions | None, request: ChangesRequest) -> View:
    """Changes are shown in the schema of the last version; without any, in that of the newest."""
    last = latest.version if versions is None else versions.last
    config = latest.config if last == latest.version else read.read_snapshot(store, last).config
    return View.of(config, request.columns, request.predicate)


def _not_recorded(versions: Versions, off: Sequence[int]) -> InvalidArgumentError:
    """Names the runs of versions that could be asked for."""
    on = sorted(set(range(versions.first, versions.last + 1)) - set(off))
    runs = [[v for _, v in run] for _, run in groupby(enumerate(on), lambda pair: pair[1] - pair[0])]
    available = [(run[0], run[-1]) for run in runs]
    shown = " and ".join(f"{first} to {last}" if last > first else str(first) for first, last in available)
    return InvalidArgumentError(
        f"the change data feed was off in {len(off)} of the versions {versions.first} to {versions.last}, "
        f"first in version {off[0]}",
        hint=(f"it can be read for the versions {shown}; " if shown else "")
        + "DeltaTable.changes(first, last) computes changes without it",
        available=available,
        version=off[0],
    )


# -- one version -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Changes:
    """What one version contributes: rows as they are, or those that a comparison leaves."""

    parts: Sequence[Part] = ()
    comparison: Comparison | None = None
    version: int = -1


def _changes(store: Store, view: View, version: Version) -> _Changes:
    """Where rows both left and came and nobody recorded which, they are compared."""
    if records_changes(version.config):
        return _Changes(_parts(view, version, _changed_files(store, version)))
    ids = has_same_row_ids(version.config, version.former, view.config)
    changed = _changed_files(store, version, ids)
    kinds = {files.change_type for files in changed}
    if len(kinds) < 2:
        return _Changes(_parts(view, version, changed))
    _check(view, version)
    constants = _constants(version, None)
    before, after = (
        Side([(files, _keys(version, files)) for files in changed if files.change_type == kind], constants)
        for kind in (DELETE, INSERT)
    )
    by_row_id = ids and not any(files.files.column("baseRowId").null_count for files in changed)
    comparison = Comparison(view, before, after, tuple(view.config.schema.fields), by_row_id=by_row_id)
    return _Changes(comparison=comparison, version=version.number)


def _changed_files(store: Store, version: Version, with_row_ids: bool = False) -> list[ChangedFiles]:
    def former() -> pa.Table:
        return read.read_snapshot(store, version.number - 1).files.table()

    keys, former_keys = partition_keys(version.config), partition_keys(version.former)
    return plan_changes(version.commit, keys, former_keys, former, with_row_ids)


def _parts(view: View, version: Version, changed: Sequence[ChangedFiles]) -> list[Part]:
    if changed:
        _check(view, version)
    return [view.part(files, _keys(version, files), _constants(version, files.change_type)) for files in changed]


def _check(view: View, version: Version) -> None:
    check_readable(version.config, view.config, version.number)
    check_readable(version.former, view.config, version.number - 1)


def _keys(version: Version, files: ChangedFiles) -> tuple[str, ...]:
    return partition_keys(version.former if files.removed else version.config)


def _constants(version: Version, change_type: str | None) -> dict[str, Any]:
    constants = {} if change_type is None else {CHANGE_TYPE: change_type}
    return {**constants, COMMIT_VERSION: version.number, COMMIT_TIMESTAMP: version.timestamp}


def _notes(guessed: Sequence[int]) -> str:
    if not guessed:
        return ""
    shown = ", ".join(map(str, guessed[:20])) + (f" and {len(guessed) - 20} more" if len(guessed) > 20 else "")
    return (
        f"In the versions {shown} rows were rewritten and carry no ids: an updated row appears as a delete and an "
        "insert, and a row that was written again unchanged does not appear."
    )


# -- the stream ------------------------------------------------------------------------------------------------------


def _stream(
    table: Reading, view: View, found: Sequence[_Changes], notes: Mapping[str, str] | None = None
) -> pa.RecordBatchReader:
    schema = view.schema.with_metadata(notes)
    reader = reader_of(table)

    def batches() -> Iterator[pa.RecordBatch]:
        """Versions in order; files are read ahead across versions that need no comparison."""
        for plain, run in groupby(found, lambda changes: changes.comparison is None):
            if plain:
                yield from reader.batches(part for changes in run for part in changes.parts)
                continue
            for changes in run:
                assert changes.comparison is not None
                yield from changes.comparison.batches(reader)

    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) if notes else batch for batch in batches()))
