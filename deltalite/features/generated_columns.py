"""generatedColumns: columns whose value follows from the others (PROTOCOL.md, "Generated Columns").

A column that the rows lack is computed; one that they have must equal its expression (``<=>``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from deltalite._lazy import LazyModule
from deltalite.exceptions import InvalidArgumentError
from deltalite.features.base import Assignment, Feature, WriteStep
from deltalite.features.bound import tells_time
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.expr import BoundExpr, Cast
from deltalite.model.types import Field, StructType, walk

if TYPE_CHECKING:
    from deltalite.expr import bind, parse
else:
    bind, parse = LazyModule("deltalite.expr.bind"), LazyModule("deltalite.expr.parse")

KEY = "delta.generationExpression"


@lru_cache(maxsize=64)
def _step(schema_string: str) -> WriteStep | None:
    schema = parse_schema(schema_string)
    generated = [f for f in schema.fields if KEY in f.metadata]
    sources = StructType([f for f in schema.fields if KEY not in f.metadata])
    found = tuple(Assignment(f.name, _bound(f, sources), verify=True) for f in generated)
    return WriteStep(assignments=found) if found else None


def _bound(f: Field, sources: StructType) -> BoundExpr:
    """The expression in the column's type. Other generated columns are no sources: nothing says who comes first."""
    return bind.bind(Cast(parse.parse_expression(f.metadata[KEY]), f.type), sources)


def _write(config: TableConfig) -> WriteStep | None:
    return _step(config.metadata.schema_string)


def _check(config: TableConfig) -> None:
    for path, f in walk(config.schema):
        if KEY not in f.metadata:
            continue
        name = ".".join(path)
        if len(path) > 1:
            raise InvalidArgumentError(
                f"field {name!r} cannot be generated: only columns at the top level can", column=name
            )
        if tells_time(f.metadata[KEY], config.schema):
            raise InvalidArgumentError(
                f"generated column {name!r} asks for the current time: {f.metadata[KEY]}",
                hint="a column default may: DEFAULT current_timestamp()",
                column=name,
            )
    _write(config)


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(KEY in f.metadata for _, f in walk(schema))


def _in_use(config: TableConfig) -> str | None:
    found = [f.name for f in config.schema.fields if KEY in f.metadata]
    return f"the generated columns {found}" if found else None


FEATURE = Feature("generatedColumns", legacy=(1, 4), implied_by=_implied, check=_check, write=_write, in_use=_in_use)
