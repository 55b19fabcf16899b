"""checkConstraints: named conditions on every row, kept in table properties (PROTOCOL.md, "CHECK Constraints")."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from deltalite.expr.bind import bind_predicate
from deltalite.features.base import Feature, RowCheck, WriteStep
from deltalite.model.config import TableConfig, parse_schema
from deltalite.model.types import StructType

PREFIX = "delta.constraints."


def constraints(configuration: Mapping[str, str]) -> dict[str, str]:
    """SQL texts by the constraints' names, in lower case."""
    start = len(PREFIX)
    return {key[start:].lower(): text for key, text in configuration.items() if key.lower().startswith(PREFIX)}


@lru_cache(maxsize=64)
def _step(schema_string: str, texts: tuple[tuple[str, str], ...]) -> WriteStep:
    schema = parse_schema(schema_string)
    return WriteStep(checks=tuple(RowCheck(name, text, bind_predicate(text, schema)) for name, text in texts))


def _write(config: TableConfig) -> WriteStep | None:
    texts = constraints(config.configuration)
    return _step(config.metadata.schema_string, tuple(texts.items())) if texts else None


def _check(config: TableConfig) -> None:
    _write(config)


def _implied(_: StructType, configuration: Mapping[str, str]) -> bool:
    return bool(constraints(configuration))


FEATURE = Feature("checkConstraints", legacy=(1, 3), implied_by=_implied, check=_check, write=_write)
