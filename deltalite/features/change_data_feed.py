"""The change data feed: which rows a version inserted, updated and deleted (PROTOCOL.md, "Change Data Files")."""

from __future__ import annotations

from deltalite.features.base import Feature
from deltalite.model.config import TableConfig
from deltalite.model.properties import CHANGE_DATA_FEED

CHANGE_TYPE = "_change_type"
INSERT, DELETE, UPDATE_PREIMAGE, UPDATE_POSTIMAGE = "insert", "delete", "update_preimage", "update_postimage"
CHANGE_DIR = "_change_data"

FEATURE = Feature("changeDataFeed", legacy=(1, 4), property=CHANGE_DATA_FEED.name)
_TABLE_FEATURES, _LEGACY = 7, 4


def records_changes(config: TableConfig) -> bool:
    """Whether commits of a table must tell which rows they change: the feature is supported and turned on."""
    protocol = config.protocol
    if protocol.min_writer_version == _TABLE_FEATURES:
        supported = FEATURE.name in (protocol.writer_features or ())
    else:
        supported = protocol.min_writer_version >= _LEGACY
    return supported and config.get(CHANGE_DATA_FEED)
