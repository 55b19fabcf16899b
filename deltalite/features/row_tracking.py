"""Row tracking: every row has an id that survives rewriting (PROTOCOL.md, "Row Tracking").

A row's id is what its file stores for it, else the file's base row id plus the row's position; deleted rows count
(protocol trap 63). The commit version likewise is stored, or the one of the commit that added the file. New files get
both bases in ``finalize``, the ids above the high-water mark of the very base of the attempt, so that two writers who
race never give one id twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.base import Feature, Rewritten
from deltalite.model.actions import Action, AddFile, CommitInfo, DomainMetadata, Metadata, RemoveFile
from deltalite.model.config import TableConfig
from deltalite.model.properties import ICEBERG_COMPAT, ROW_TRACKING
from deltalite.model.properties import ROW_TRACKING_SUSPENDED as SUSPENDED
from deltalite.model.stats import ROWS
from deltalite.model.tasks import VirtualColumn
from deltalite.model.types import PrimitiveType

if TYPE_CHECKING:
    from deltalite.model.snapshot import Snapshot

ROW_ID = "_row_id"
ROW_COMMIT_VERSION = "_row_commit_version"
STORED_ROW_ID = "delta.rowTracking.materializedRowIdColumnName"
STORED_COMMIT_VERSION = "delta.rowTracking.materializedRowCommitVersionColumnName"
DOMAIN, HIGH_WATER_MARK = "delta.rowTracking", "rowIdHighWaterMark"
PRESERVED = "delta.rowTracking.preserved"
_STORED_NAMES = {STORED_ROW_ID: "_row-id-col-", STORED_COMMIT_VERSION: "_row-commit-version-col-"}
_RESERVED_IDS = (2147483540, 2147483539)
"""Field ids of the stored ids and versions that Iceberg reserves for them."""
_LONG = PrimitiveType("long")


def _virtual(config: TableConfig) -> dict[str, VirtualColumn]:
    """Only an enabled table promises ids for all of its rows; a table that merely supports them has gaps."""
    if not config.get(ROW_TRACKING):
        return {}
    stored = config.configuration
    ids = _RESERVED_IDS if config.get(ICEBERG_COMPAT[2]) else (None, None)
    return {
        ROW_ID: VirtualColumn(_LONG, "base_row_id", True, stored.get(STORED_ROW_ID), ids[0]),
        ROW_COMMIT_VERSION: VirtualColumn(
            _LONG, "default_row_commit_version", False, stored.get(STORED_COMMIT_VERSION), ids[1]
        ),
    }


def _carries(config: TableConfig, kind: Rewritten) -> tuple[str, ...]:
    if not config.get(ROW_TRACKING):
        return ()
    return (ROW_ID, ROW_COMMIT_VERSION) if kind == "copied" else (ROW_ID,)


# -- the table -----------------------------------------------------------------------------------------------------


def _evolve(_: TableConfig | None, new: Metadata, __: int) -> Metadata:
    """An enabled table names the columns in which files store ids; names once given stay."""
    if not ROW_TRACKING.of(new.configuration):
        return new
    given = {key: f"{prefix}{uuid.uuid5(uuid.NAMESPACE_OID, key + new.id)}" for key, prefix in _STORED_NAMES.items()}
    return replace(new, configuration={**given, **new.configuration})


def _restored(old: TableConfig, metadata: Metadata) -> Metadata:
    """Names once given stay, also those that the earlier version had not got yet."""
    given = {key: old.configuration[key] for key in _STORED_NAMES if key in old.configuration}
    return replace(metadata, configuration={**given, **metadata.configuration}) if given else metadata


def _check(config: TableConfig) -> None:
    if not config.get(ROW_TRACKING):
        return
    if config.get(SUSPENDED):
        raise InvalidArgumentError(
            f"{ROW_TRACKING.name} and {SUSPENDED.name} contradict each other",
            hint=f"unset {SUSPENDED.name}",
            property=SUSPENDED.name,
        )
    if reason := _refuse_write(config):
        raise InvalidArgumentError(f"row tracking cannot be enabled: {reason}", property=ROW_TRACKING.name)


def _refuse_write(config: TableConfig) -> str | None:
    if not config.get(ROW_TRACKING):
        return None
    stored = [config.configuration.get(key) for key in _STORED_NAMES]
    if None in stored:
        return "its properties name no columns in which files keep ids"
    columns = {f.name.lower() for f in config.schema.fields}
    taken = [name for name in (ROW_ID, ROW_COMMIT_VERSION, *stored) if name and name.lower() in columns]
    return f"columns of the table bear the names {taken}, which it needs itself" if taken else None


# -- commits -------------------------------------------------------------------------------------------------------


def _finalize(actions: list[Action], base: Snapshot | None, config: TableConfig, _: int) -> list[Action]:
    if config.get(SUSPENDED):
        return actions
    is_enabled = config.get(ROW_TRACKING)
    if is_enabled and base is not None and not base.config.get(ROW_TRACKING):
        _refuse_files_without_ids(actions, base)
    version = base.version + 1 if base is not None else 0
    before = high_water_mark(base)
    mark = max([before, *_last_ids(actions)])
    found: list[Action] = []
    for action in actions:
        if isinstance(action, AddFile):
            if action.base_row_id is None:
                action = replace(action, base_row_id=mark + 1)
                mark += _num_records(action)
            if action.default_row_commit_version is None:
                action = replace(action, default_row_commit_version=version)
        elif isinstance(action, CommitInfo) and is_enabled:
            tags = {**(action.values.get("tags") or {}), PRESERVED: "true"}
            action = CommitInfo({**action.values, "tags": tags})
        found.append(action)
    if mark > before:
        found.append(DomainMetadata(DOMAIN, json.dumps({HIGH_WATER_MARK: mark}, separators=(",", ":"))))
    return found


def high_water_mark(base: Snapshot | None) -> int:
    """The greatest row id that a table has given; -1 for none.

    :raises InvalidTableError: when the table says it in no known way.
    """
    domain = base.domains.get(DOMAIN) if base is not None else None
    if domain is None:
        return -1
    try:
        mark = json.loads(domain.configuration)[HIGH_WATER_MARK]
    except (ValueError, KeyError, TypeError):
        mark = None
    if not isinstance(mark, int) or isinstance(mark, bool) or mark < -1:
        raise InvalidTableError(
            f"the metadata domain {DOMAIN} does not tell the greatest row id: {domain.configuration}"
        )
    return mark


def _last_ids(actions: Sequence[Action]) -> Iterator[int]:
    """The last ids of files that bring theirs along, as those of a clone do."""
    for action in actions:
        if isinstance(action, AddFile) and action.base_row_id is not None and (count := _known_count(action)):
            yield action.base_row_id + count - 1


def _known_count(add: AddFile) -> int | None:
    try:
        count = json.loads(add.stats or "{}").get(ROWS)
    except (ValueError, AttributeError):
        return None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _num_records(add: AddFile) -> int:
    count = _known_count(add)
    if count is None:
        raise InvalidTableError(
            f"the rows of {add.path} cannot be given ids: its statistics lack {ROWS}",
            hint="row tracking needs the number of rows of every file that is added",
            path=add.path,
        )
    return count


def _refuse_files_without_ids(actions: Sequence[Action], base: Snapshot) -> None:
    """All rows of an enabled table have ids, so that those there before need them first."""
    touched = {action.path for action in actions if isinstance(action, (AddFile, RemoveFile))}
    files = base.files.table().select(["path", "baseRowId", "defaultRowCommitVersion"])
    lacking = files.column("baseRowId").null_count or files.column("defaultRowCommitVersion").null_count
    if not lacking:
        return
    left = [
        row["path"]
        for row in files.to_pylist()
        if (row["baseRowId"] is None or row["defaultRowCommitVersion"] is None) and row["path"] not in touched
    ]
    if left:
        raise InvalidArgumentError(
            f"row tracking cannot be enabled: {len(left)} files of the table were written without row ids",
            hint="alter.set_table_properties({'delta.enableRowTracking': 'true'}) gives them ids first",
            property=ROW_TRACKING.name,
            files=len(left),
        )


FEATURE = Feature(
    "rowTracking",
    requires=("domainMetadata",),
    property=ROW_TRACKING.name,
    off=(SUSPENDED.name, *_STORED_NAMES),
    virtual=_virtual,
    refuse_write=_refuse_write,
    rebased_domain=DOMAIN,
    evolve=_evolve,
    restored=_restored,
    check=_check,
    carries=_carries,
    finalize=_finalize,
)
