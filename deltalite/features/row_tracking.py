"""Row tracking: every row has an id that survives rewriting (PROTOCOL.md, "Row Tracking"); the reading side.

A row's id is what its file stores for it, else the file's base row id plus the row's position; deleted rows count
(protocol trap 63). The commit version likewise is stored, or the one of the commit that added the file.
"""

from __future__ import annotations

from deltalite.features.base import Feature
from deltalite.model.config import TableConfig
from deltalite.model.properties import ROW_TRACKING
from deltalite.model.tasks import VirtualColumn
from deltalite.model.types import PrimitiveType

ROW_ID = "_row_id"
ROW_COMMIT_VERSION = "_row_commit_version"
STORED_ROW_ID = "delta.rowTracking.materializedRowIdColumnName"
STORED_COMMIT_VERSION = "delta.rowTracking.materializedRowCommitVersionColumnName"
_LONG = PrimitiveType("long")


def _virtual(config: TableConfig) -> dict[str, VirtualColumn]:
    """Only an enabled table promises ids for all of its rows; a table that merely supports them has gaps."""
    if not config.get(ROW_TRACKING):
        return {}
    stored = config.configuration
    return {
        ROW_ID: VirtualColumn(_LONG, "base_row_id", add_position=True, stored_as=stored.get(STORED_ROW_ID)),
        ROW_COMMIT_VERSION: VirtualColumn(
            _LONG, "default_row_commit_version", stored_as=stored.get(STORED_COMMIT_VERSION)
        ),
    }


def _refuse_write(_: TableConfig) -> str:
    return "deltalite reads such tables and does not write them yet"


FEATURE = Feature(
    "rowTracking",
    requires=("domainMetadata",),
    property=ROW_TRACKING.name,
    virtual=_virtual,
    refuse_write=_refuse_write,
)
