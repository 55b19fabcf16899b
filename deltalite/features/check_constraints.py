"""checkConstraints: named conditions on every row, kept in table properties (PROTOCOL.md, "CHECK Constraints")."""

from __future__ import annotations

from collections.abc import Mapping

from deltalite.features.base import Feature, WriteStep
from deltalite.features.bound import row_check
from deltalite.model.config import TableConfig
from deltalite.model.types import StructType

PREFIX = "delta.constraints."


def constraints(configuration: Mapping[str, str]) -> dict[str, str]:
    """SQL texts by the constraints' names, in lower case."""
    start = len(PREFIX)
    return {key[start:].lower(): text for key, text in configuration.items() if key.lower().startswith(PREFIX)}


def _write(config: TableConfig) -> WriteStep | None:
    texts = constraints(config.configuration)
    schema_string = config.metadata.schema_string
    checks = tuple(row_check(name, text, schema_string) for name, text in texts.items())
    return WriteStep(checks=checks) if checks else None


def _check(config: TableConfig) -> None:
    _write(config)


def _implied(_: StructType, configuration: Mapping[str, str]) -> bool:
    return bool(constraints(configuration))


def _in_use(config: TableConfig) -> str | None:
    found = list(constraints(config.configuration))
    return f"the constraints {found}" if found else None


FEATURE = Feature("checkConstraints", legacy=(1, 3), implied_by=_implied, check=_check, write=_write, in_use=_in_use)
