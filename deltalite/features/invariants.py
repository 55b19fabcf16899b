"""invariants: conditions that the metadata of a column holds (PROTOCOL.md, "Column Invariants").

NOT NULL is not among them: writers take it from the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from deltalite.exceptions import InvalidTableError
from deltalite.features.base import Feature, WriteStep
from deltalite.features.bound import row_check
from deltalite.model.config import TableConfig
from deltalite.model.types import StructType, walk

KEY = "delta.invariants"


def invariants(schema: StructType) -> Iterator[tuple[str, str]]:
    """Pairs of column path and SQL text. The text lies as JSON in the JSON of the metadata.

    :raises InvalidTableError: when it is of another form.
    """
    for path, f in walk(schema):
        if text := f.metadata.get(KEY):
            try:
                yield ".".join(path), json.loads(text)["expression"]["expression"]
            except (ValueError, TypeError, KeyError) as error:
                raise InvalidTableError(f"the invariant of column {'.'.join(path)!r} is malformed: {text!r}") from error


def _write(config: TableConfig) -> WriteStep | None:
    text = config.metadata.schema_string
    if KEY not in text:
        return None
    found = invariants(config.schema)
    return WriteStep(checks=tuple(row_check(f"invariant of {column}", sql, text) for column, sql in found))


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(KEY in f.metadata for _, f in walk(schema))


def _check(config: TableConfig) -> None:
    _write(config)


def _in_use(config: TableConfig) -> str | None:
    found = [column for column, _ in invariants(config.schema)]
    return f"the invariants of {found}" if found else None


FEATURE = Feature("invariants", legacy=(1, 2), implied_by=_implied, check=_check, write=_write, in_use=_in_use)
