"""What the footer of a Parquet file tells of its columns and of its rows, as a table's schema and statistics."""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.statistics import ColumnStats
from deltalite.model.actions import AddFile, Metadata, Protocol
from deltalite.model.arrow import array, to_numpy, type_from_arrow
from deltalite.model.config import TableConfig
from deltalite.model.stats import record_counts
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, Schema, StructType
from deltalite.scan.columns import Columns, Node, file_nodes
from deltalite.scan.footer import FooterStats
from deltalite.scan.parquet import DataFile
from deltalite.scan.paths import Resolve
from deltalite.write.leaves import Leaf, leaves
from deltalite.write.spec import spec_of
from deltalite.write.stats import LeafStats, to_json


def schema_of(file: DataFile) -> Schema:
    """The Delta schema of a file; every column may be null.

    Times in Parquet's deprecated INT96 are instants, as the engines that write them mean it.

    :raises UnsupportedTypeError: for a type that Delta does not have.
    """
    nodes = file_nodes(file.arrow_schema)
    return Schema([Field(node.field.name, _type(node, file, node.field.name)) for node in nodes])


def _type(node: Node, file: DataFile, path: str) -> DataType:
    kind = node.field.type
    if isinstance(kind, pa.BaseExtensionType):
        return type_from_arrow(kind, path)
    if pa.types.is_struct(kind):
        return StructType([Field(n.field.name, _type(n, file, f"{path}.{n.field.name}")) for n in node.children])
    if pa.types.is_map(kind):
        key, value = node.children
        return MapType(_type(key, file, f"{path}.key"), _type(value, file, f"{path}.value"), True)
    if node.children:
        return ArrayType(_type(node.children[0], file, f"{path}.element"), True)
    if node.first < len(file.schema) and file.schema.column(node.first).physical_type == "INT96":
        return PrimitiveType("timestamp")
    return type_from_arrow(kind, path)


def row_count(add: AddFile, resolve: Resolve) -> int:
    """Rows of a file, deleted ones included: from the log where that knows, else from the footer."""
    known = record_counts(pa.chunked_array([array([add.stats], pa.string())]))[0].as_py()
    if known is not None:
        return known
    store, path = resolve(add.path)
    with DataFile(store, path, add.size, by_field_id=False) as file:
        return file.num_rows


class FooterReader:
    """The statistics of files with one schema, from their footers alone.

    A footer leaves NaN out of its bounds, so that floats get no maximum (protocol trap 42); it counts no nulls of
    arrays and maps. What it does not tell of every row group is left out.

    :param schema: the columns of the files.
    :param configuration: the table's properties, which say what statistics there are.
    """

    def __init__(self, schema: Schema, configuration: dict[str, str]) -> None:
        plain = {k: v for k, v in configuration.items() if not k.startswith("delta.columnMapping.")}
        spec = spec_of(TableConfig(Protocol(1, 2), Metadata("", schema.to_json(), (), plain)))
        wanted = set(spec.stats_columns)
        self._prefix = spec.stats_prefix
        self._leaves = [leaf for leaf in leaves(list(schema.fields)) if leaf.path in wanted and leaf.is_plain]
        self._columns = Columns(schema, schema)

    def stats(self, file: DataFile) -> str:
        """The statistics of a file for the log."""
        found = FooterStats(file, file.row_groups(), self._columns, {})
        told = [(leaf, _leaf_stats(leaf, found.column(leaf.path), file)) for leaf in self._leaves]
        known = [(leaf, stats) for leaf, stats in told if stats is not None]
        return to_json([leaf for leaf, _ in known], [stats for _, stats in known], file.num_rows, self._prefix)


def _leaf_stats(leaf: Leaf, column: ColumnStats | None, file: DataFile) -> LeafStats | None:
    if column is None or column.null_count is None or column.null_count.null_count:
        return None
    rows = [group.num_rows for group in file.row_groups()]
    nulls = to_numpy(column.null_count).tolist()
    filled = [n < total for n, total in zip(nulls, rows, strict=True)]
    low, high, bounds = column.min, column.max, None
    whole = low is not None and high is not None and leaf.has_bounds
    if low is not None and high is not None and whole:
        known = zip(filled, low.is_valid().to_pylist(), high.is_valid().to_pylist(), strict=True)
        whole = all(has_low and has_high for has_values, has_low, has_high in known if has_values)
        if whole and any(filled):
            bounds = _plain(pc.min(_numbers(low)), leaf.type), _plain(pc.max(_numbers(high)), leaf.type)
    return LeafStats(sum(nulls), bounds, has_nan=leaf.is_float, unbounded=not whole)


def _numbers(values: pa.Array) -> pa.Array:
    if pa.types.is_date(values.type):
        return values.view(pa.int32())
    return values.view(pa.int64()) if pa.types.is_timestamp(values.type) else values


def _plain(value: pa.Scalar, kind: DataType) -> Any:
    """A bound as :func:`deltalite.write.stats.render` takes it: unscaled decimals, UTF-8 bytes, numbers."""
    found = value.as_py()
    if isinstance(found, str):
        return found.encode()
    if isinstance(found, decimal.Decimal):
        assert isinstance(kind, PrimitiveType)
        return int(found.scaleb(kind.scale, decimal.Context(prec=76)))
    return found
