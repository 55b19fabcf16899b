"""The folds over the features that reading data files needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from deltalite import features
from deltalite.exceptions import UnsupportedFeatureError
from deltalite.features.base import Fetch
from deltalite.model.actions import DeletionVector
from deltalite.model.config import TableConfig
from deltalite.model.tasks import VirtualColumn
from deltalite.model.types import DataType


def by_field_id(config: TableConfig) -> bool:
    """Whether data files are matched to the schema by Parquet field ids."""
    return any(f.by_field_id(config) for f in features.supported(config.protocol) if f.by_field_id)


def virtual_columns(config: TableConfig) -> dict[str, VirtualColumn]:
    """The columns that features add to those of the schema, for who asks for them."""
    found: dict[str, VirtualColumn] = {}
    for feature in features.supported(config.protocol):
        if feature.virtual:
            found.update(feature.virtual(config))
    return found


def converted(stored: pa.DataType, wanted: DataType) -> Callable[[Any], pa.Array] | None:
    """How a column stored as one type becomes the table's type, or ``None`` if no feature leads there."""
    conversions = (f.convert(stored, wanted) for f in features.FEATURES if f.convert)
    return next((c for c in conversions if c is not None), None)


def deleted_rows(vector: DeletionVector, fetch: Fetch) -> Any:
    """The positions of a file's deleted rows, ascending.

    Honoured whatever the table's properties say: a vector in the log deletes rows.
    """
    for feature in features.FEATURES:
        if feature.deleted_rows:
            return feature.deleted_rows(vector, fetch)
    raise UnsupportedFeatureError("the log marks rows as deleted in a way that is unknown here")
