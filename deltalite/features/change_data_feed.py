"""The change data feed: which rows a version inserted, updated and deleted (PROTOCOL.md, "Change Data Files").

A version with ``cdc`` actions tells its changes by their files alone. In any other, rows of added files are inserted
and rows of removed files deleted, unless only the deletion vector of a file changed: then the difference of the two
vectors tells which rows went and which came back (protocol trap 67).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.base import Feature
from deltalite.model.actions import AddCDCFile
from deltalite.model.arrow import mask_array, scalar, to_numpy
from deltalite.model.commit import Commit
from deltalite.model.config import TableConfig
from deltalite.model.file_actions import ADD_SCHEMA, DV_TYPE, column_of, parse_file_actions, struct_leaf
from deltalite.model.file_keys import file_keys
from deltalite.model.properties import CHANGE_DATA_FEED
from deltalite.model.types import Field

CHANGE_TYPE = "_change_type"
COMMIT_VERSION = "_commit_version"
COMMIT_TIMESTAMP = "_commit_timestamp"
INSERT, DELETE, UPDATE_PREIMAGE, UPDATE_POSTIMAGE = "insert", "delete", "update_preimage", "update_postimage"
CHANGE_DIR = "_change_data"
FEED_FIELDS = (Field(CHANGE_TYPE, "string"), Field(COMMIT_VERSION, "long"), Field(COMMIT_TIMESTAMP, "timestamp"))
"""The columns that the feed adds to those of the table."""

_TABLE_FEATURES, _LEGACY = 7, 4
_COLUMNS = ("path", "partitionValues", "size", "deletionVector", "baseRowId", "defaultRowCommitVersion")
CHANGED_FILES = pa.schema([*(ADD_SCHEMA.field(c) for c in _COLUMNS), ADD_SCHEMA.field("stats"), ("within", DV_TYPE)])


def records_changes(config: TableConfig) -> bool:
    """Whether commits of a table must tell which rows they change: the feature is supported and turned on."""
    protocol = config.protocol
    if protocol.min_writer_version == _TABLE_FEATURES:
        supported = FEATURE.name in (protocol.writer_features or ())
    else:
        supported = protocol.min_writer_version >= _LEGACY
    return supported and config.get(CHANGE_DATA_FEED)


def reserved_columns(config: TableConfig) -> list[str]:
    """The columns of a table whose names the feed needs for itself."""
    taken = {f.name for f in FEED_FIELDS}
    return [f.name for f in config.schema.fields if f.name.lower() in taken]


def _check(config: TableConfig) -> None:
    if records_changes(config) and (names := reserved_columns(config)):
        raise InvalidArgumentError(
            f"the change data feed uses the column names {names} for itself",
            hint=f"rename these columns, or leave {CHANGE_DATA_FEED.name} off",
            columns=names,
        )


FEATURE = Feature("changeDataFeed", legacy=(1, 4), property=CHANGE_DATA_FEED.name, check=_check)


# -- reading -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangedFiles:
    """Files that hold rows changed in one way.

    :param change_type: what happened to their rows; ``None`` where each row says it in a column ``_change_type``.
    :param files: as ``CHANGED_FILES``. The rows meant are the live ones; where ``within`` is set, those that it marks,
        less those that ``deletionVector`` does.
    :param removed: the files were part of the version before: its partition columns are theirs.
    """

    change_type: str | None
    files: pa.Table
    removed: bool = False


LiveFiles = Callable[[], pa.Table]
"""Gives the live files of a version, as ``ADD_SCHEMA``."""


def plan_changes(
    commit: Commit, keys: Sequence[str], former_keys: Sequence[str], former: LiveFiles, with_row_ids: bool = False
) -> list[ChangedFiles]:
    """The files that tell which rows a commit changed.

    :param keys: the keys of ``partitionValues`` in the commit's version.
    :param former_keys: those of the version before.
    :param former: the files of the version before; asked for what a ``remove`` may leave out.
    :param with_row_ids: removed files need their base row ids too.
    :raises InvalidTableError: when neither a ``remove`` nor the version before tells the partition of its file.
    """
    recorded = [action for action in commit.of_kind("cdc") if isinstance(action, AddCDCFile)]
    if recorded:
        return [ChangedFiles(None, _recorded_files(recorded))]
    adds, removes, _ = parse_file_actions([commit], tuple(dict.fromkeys((*keys, *former_keys))))
    adds, removes = _changing(adds), _changing(removes)
    needed = ["partitionValues"] if former_keys else []
    if with_row_ids:
        needed += ["baseRowId", "defaultRowCommitVersion"]
    return list(file_changes(_completed(removes, needed, former, commit.version), adds))


def file_changes(removed: pa.Table, added: pa.Table) -> Iterator[ChangedFiles]:
    """What it means for rows that some files leave a table and others come, without regard to who wrote them.

    :param removed: files under the deletion vectors that they had, columns like those of ``CHANGED_FILES``.
    :param added: files under the deletion vectors that they get.
    """
    stays_at = _partners(added, removed)
    stays = stays_at >= 0
    leaves = np.ones(removed.num_rows, bool)
    leaves[stays_at[stays]] = False
    old = removed.take(_indices(stays_at[stays])).column("deletionVector") if stays.any() else None
    groups = [(DELETE, _files(_kept(removed, leaves)), True)]
    if old is not None:
        both = _files(_kept(added, stays))
        new = both.column("deletionVector")
        differ = _other_vector(both, old)
        groups.append((DELETE, _between(both, new, old, differ), False))
        groups.append((INSERT, _between(both, old, new, differ), False))
    groups.append((INSERT, _files(_kept(added, ~stays)), False))
    for change_type, files, is_removed in groups:
        if files.num_rows:
            yield ChangedFiles(change_type, files, is_removed)


def _changing(files: pa.Table) -> pa.Table:
    """Without those that only rearrange rows (trap 20)."""
    return _kept(files, to_numpy(pc.fill_null(files.column("dataChange"), scalar(True, pa.bool_()))))


def _recorded_files(actions: Sequence[AddCDCFile]) -> pa.Table:
    values = {
        "path": [action.path for action in actions],
        "partitionValues": [action.partition_values for action in actions],
        "size": [action.size for action in actions],
    }
    return _files(pa.table({name: column_of(values[name], CHANGED_FILES.field(name).type) for name in values}))


def _files(table: pa.Table) -> pa.Table:
    """The columns of ``CHANGED_FILES``; those that the table lacks are null."""
    columns = [
        table.column(f.name) if f.name in table.column_names else pa.nulls(table.num_rows, f.type)
        for f in CHANGED_FILES
    ]
    return pa.Table.from_arrays(columns, schema=CHANGED_FILES)


def _kept(table: pa.Table, mask: np.ndarray) -> pa.Table:
    if mask.all():
        return table
    return table.filter(mask_array(mask)) if mask.any() else table.slice(0, 0)


def _indices(positions: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(positions), [None, pa.py_buffer(np.ascontiguousarray(positions))])


def _paths(files: pa.Table) -> pa.Array:
    """The paths in one spelling (trap 1)."""
    without = pa.table({"path": files.column("path"), "deletionVector": pa.nulls(files.num_rows, DV_TYPE)})
    return _one(file_keys(without))


def _one(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks or [pa.nulls(0, values.type)])


def _partners(files: pa.Table, among: pa.Table) -> np.ndarray:
    """For each file, where the other table has the same path; -1 where it has not."""
    if not files.num_rows or not among.num_rows:
        return np.full(files.num_rows, -1, np.int64)
    found = pc.index_in(_paths(files), value_set=_paths(among))
    return to_numpy(pc.fill_null(found, scalar(-1, pa.int32()))).astype(np.int64)


def _other_vector(files: pa.Table, vectors: pa.ChunkedArray) -> np.ndarray:
    """Where a file has another deletion vector than the given one."""
    former = pa.table({"path": files.column("path"), "deletionVector": vectors})
    return to_numpy(pc.not_equal(_one(file_keys(files)), _one(file_keys(former))))


def _between(files: pa.Table, marked: pa.ChunkedArray, but: pa.ChunkedArray, differ: np.ndarray) -> pa.Table:
    """The rows that one vector marks and another does not."""
    found = files.set_column(files.column_names.index("deletionVector"), "deletionVector", but)
    found = found.set_column(found.column_names.index("within"), "within", marked)
    return _kept(found, differ & to_numpy(struct_leaf(marked, ("storageType",)).is_valid()))


def _completed(removes: pa.Table, needed: Sequence[str], former: LiveFiles, version: int) -> pa.Table:
    """Removes with what old writers leave out (trap 19), from the files of the version before."""
    missing = np.zeros(removes.num_rows, bool)
    for name in needed:
        missing |= to_numpy(removes.column(name).is_null())
    if not missing.any():
        return removes
    bare, live = _kept(removes, missing), former()
    at = _partners(bare, live)
    if (unknown := at < 0).any():
        path = bare.column("path")[int(unknown.argmax())].as_py()
        raise InvalidTableError(
            f"version {version} removes {path} without saying what it held, and the version before does not have it",
            hint="an old writer left that out of the log; start at a later version",
            path=path,
            version=version,
        )
    for name in needed:
        bare = bare.set_column(bare.column_names.index(name), name, live.column(name).take(_indices(at)))
    return pa.concat_tables([_kept(removes, ~missing), bare])
