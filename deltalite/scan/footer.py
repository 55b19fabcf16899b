"""The statistics in a Parquet footer, one set for each row group, as the same kind of evidence as those of the log.

Footers are optimistic: floats leave NaN out, INT96 has no order, deprecated statistics of text are wrong, and the units
of times are the file's own. Each bound is rebuilt in the file's physical type and then goes through the very conversion
that the values go through.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from deltalite.expr.prune import ColumnStats
from deltalite.features.reading import converted
from deltalite.model.arrow import array, type_to_arrow
from deltalite.model.stats import has_bounds
from deltalite.model.types import DataType
from deltalite.scan.columns import Columns
from deltalite.scan.parquet import DataFile, RowGroup
from deltalite.scan.values import plain_type, plain_values, same_kind

Path = tuple[str, ...]
_UNITS = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
_PLAIN = {
    "BOOLEAN": pa.bool_(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
}
_INTEGERS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


class FooterStats:
    """The statistics of row groups, as :class:`deltalite.expr.prune.FileStats`.

    :param columns: the table's columns that may be asked for.
    :param constants: partition values by logical name, of the columns' Arrow types.
    """

    def __init__(
        self, file: DataFile, groups: Sequence[RowGroup], columns: Columns, constants: Mapping[str, pa.Scalar]
    ) -> None:
        self._file = file
        self._groups = groups
        self._columns = columns
        self._constants = constants

    @property
    def length(self) -> int:
        return len(self._groups)

    @property
    def num_records(self) -> pa.Array:
        return array([group.num_rows for group in self._groups], pa.int64())

    def column(self, path: Path) -> ColumnStats | None:
        """The statistics of a column; a column that the file lacks is null in every row."""
        if len(path) == 1 and path[0] in self._constants:
            return _exactly(self._constants[path[0]], self.length)
        found = self._file.leaf(self._columns, path)
        if found is None:
            return None
        if found.leaf is None:
            return _exactly(pa.nulls(1, type_to_arrow(found.type))[0], self.length) if has_bounds(found.type) else None
        return self._leaf(found.leaf, found.type)

    def _leaf(self, leaf: int, kind: DataType) -> ColumnStats:
        stats = [self._file.metadata.row_group(group.index).column(leaf).statistics for group in self._groups]
        counts = array([s.null_count if s is not None and s.has_null_count else None for s in stats], pa.int64())
        column = self._file.schema.column(leaf)
        logical = json.loads(column.logical_type.to_json())
        stored = _stored_type(column.physical_type, logical)
        if stored is None or not has_bounds(kind):
            return ColumnStats(null_count=counts)
        scale = logical.get("scale") if logical["Type"] == "Decimal" else None
        lows = [_readable(s.min_raw, scale) if s is not None and s.has_min_max else None for s in stats]
        highs = [_readable(s.max_raw, scale) if s is not None and s.has_min_max else None for s in stats]
        return ColumnStats(_bounds(lows, stored, kind), _bounds(highs, stored, kind), counts)


def _exactly(value: pa.Scalar, length: int) -> ColumnStats:
    values = pa.repeat(value, length) if value.is_valid else pa.nulls(length, value.type)
    return ColumnStats(values, values, exact=True)


def _bounds(values: list[Any], stored: pa.DataType, kind: DataType) -> pa.Array | None:
    """Raw bounds in the table's type; ``None`` where no conversion leads there, or a bound does not survive it."""
    target, plain = type_to_arrow(kind), plain_type(stored)
    try:
        found = array(values, stored)
        if plain == target or same_kind(plain, target):
            return plain_values(found, target)
        feature = converted(plain, kind)
        return feature(plain_values(found, plain)) if feature else None
    except (pa.ArrowException, ValueError, ArithmeticError):
        return None


def _stored_type(physical: str, logical: Mapping[str, Any]) -> pa.DataType | None:
    """The Arrow type of a leaf's raw statistics; ``None`` for types whose order nobody should rely on."""
    kind = logical["Type"]
    if kind == "Decimal":
        return pa.decimal128(logical["precision"], logical["scale"]) if logical["precision"] <= 38 else None
    if kind == "Timestamp" and logical["timeUnit"] in _UNITS:
        return pa.timestamp(_UNITS[logical["timeUnit"]], "UTC" if logical["isAdjustedToUTC"] else None)
    if kind == "Int":
        return _INTEGERS[logical["bitWidth"]] if logical["isSigned"] else None
    if kind in ("String", "Enum", "JSON"):
        return pa.string()
    if kind == "Date":
        return pa.date32()
    return _PLAIN.get(physical) if kind == "None" else None


def _readable(raw: Any, scale: int | None) -> Any:
    """A raw bound as a value that :func:`deltalite.model.arrow.array` takes; ``None`` if it is none."""
    if scale is not None:
        unscaled = int.from_bytes(raw, "big", signed=True) if isinstance(raw, bytes) else int(raw)
        return decimal.Decimal(unscaled).scaleb(-scale, decimal.Context(prec=76))
    try:
        return raw.decode() if isinstance(raw, bytes) else raw
    except UnicodeDecodeError:
        return None
