"""One-file tables for tests of the features that change how files are read."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from deltalite.expr.bind import bind_predicate
from deltalite.model.types import Field, Schema, StructType
from deltalite.scan.plan import plan
from deltalite.scan.read import read_plan

_HERE = Path(__file__).parent
_SPEC = importlib.util.spec_from_file_location("scan_tables", _HERE.parent / "unit" / "scan" / "scan_tables.py")
assert _SPEC is not None and _SPEC.loader is not None
scan_tables = sys.modules.setdefault("scan_tables", importlib.util.module_from_spec(_SPEC))
if not hasattr(scan_tables, "memory_store"):
    _SPEC.loader.exec_module(scan_tables)

memory_store = scan_tables.memory_store
VIRTUAL = Schema([Field("_row_index", "long"), Field("_file", "string")])


def read_file(
    data: pa.Table,
    *,
    schema: Schema | None = None,
    partition: Mapping[str, str | None] | None = None,
    predicate: str | None = None,
    configuration: Mapping[str, str] | None = None,
    store: Any = None,
    columns: Any = None,
    virtual: tuple[str, ...] = ("_row_index",),
    **add: Any,
) -> pa.Table:
    """Write ``data`` as the only file of a table and read it through a scan; partition columns are text."""
    store = store or memory_store()
    schema = schema or Schema.from_arrow(data.schema)
    schema = Schema([*schema.fields, *(Field(name, "string") for name in partition or {})])
    config = scan_tables.make_config(schema, list(partition or {}), configuration)
    snapshot = scan_tables.make_snapshot(config, [scan_tables.add_file(store, "f.parquet", data, partition, **add)])
    bound = bind_predicate(predicate, StructType([*schema.fields, *VIRTUAL.fields])) if predicate else None
    return read_plan(store, plan(snapshot, predicate=bound, columns=columns, virtual=virtual)).read_all()
