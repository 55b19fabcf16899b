"""deltalite: Delta Lake tables in Python, without a JVM.

``import deltalite as deltalake`` is all a migration takes. The names below are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deltalite._version import __version__

if TYPE_CHECKING:
    from deltalite.expr.operators import call, col, lit
    from deltalite.model.result import CommitResult
    from deltalite.model.types import (
        ArrayType,
        DataType,
        Field,
        MapType,
        PrimitiveType,
        Schema,
        StructType,
        VariantType,
    )
    from deltalite.operations.convert import convert_to_deltalake
    from deltalite.operations.inspect import Metadata
    from deltalite.operations.options import CommitProperties, PostCommitHookProperties, Transaction
    from deltalite.operations.protocol import TableFeatures
    from deltalite.query import QueryBuilder, sql
    from deltalite.table import DeltaTable
    from deltalite.write.options import BloomFilterProperties, ColumnProperties, WriterProperties
    from deltalite.writer import write_deltalake

_HOMES = {
    "ArrayType": "model.types",
    "BloomFilterProperties": "write.options",
    "ColumnProperties": "write.options",
    "CommitProperties": "operations.options",
    "CommitResult": "model.result",
    "DataType": "model.types",
    "DeltaTable": "table",
    "Field": "model.types",
    "MapType": "model.types",
    "Metadata": "operations.inspect",
    "PostCommitHookProperties": "operations.options",
    "PrimitiveType": "model.types",
    "QueryBuilder": "query",
    "Schema": "model.types",
    "StructType": "model.types",
    "TableFeatures": "operations.protocol",
    "Transaction": "operations.options",
    "VariantType": "model.types",
    "WriterProperties": "write.options",
    "call": "expr.operators",
    "col": "expr.operators",
    "convert_to_deltalake": "operations.convert",
    "lit": "expr.operators",
    "sql": "query",
    "write_deltalake": "writer",
}

__all__ = [
    "ArrayType",
    "BloomFilterProperties",
    "ColumnProperties",
    "CommitProperties",
    "CommitResult",
    "DataType",
    "DeltaTable",
    "Field",
    "MapType",
    "Metadata",
    "PostCommitHookProperties",
    "PrimitiveType",
    "QueryBuilder",
    "Schema",
    "StructType",
    "TableFeatures",
    "Transaction",
    "VariantType",
    "WriterProperties",
    "__version__",
    "call",
    "col",
    "convert_to_deltalake",
    "lit",
    "sql",
    "write_deltalake",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'deltalite' has no attribute {name!r}")
    value = getattr(import_module(f"deltalite.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
