"""invariants: conditions that the metadata of a column holds (PROTOCOL.md, "Column Invariants").

NOT NULL is not among them: writers take it from the schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache

from deltalite.exceptions import InvalidTableError
from deltalite.expr.bind import bind_predicate
from deltalite.features.base import Feature, RowCheck, WriteStep
from deltalite.model.config import TableConfig, parse_schema
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


@lru_cache(maxsize=64)
def _step(schema_string: str) -> WriteStep | None:
    schema = parse_schema(schema_string)
    checks = [
        RowCheck(f"invariant of {column}", text, bind_predicate(text, schema)) for column, text in invariants(schema)
    ]
    return WriteStep(checks=tuple(checks)) if checks else None


def _write(config: TableConfig) -> WriteStep | None:
    return _step(config.metadata.schema_string)


def _implied(schema: StructType, _: Mapping[str, str]) -> bool:
    return any(KEY in f.metadata for _, f in walk(schema))


def _check(config: TableConfig) -> None:
    _write(config)


FEATURE = Feature("invariants", legacy=(1, 2), implied_by=_implied, check=_check, write=_write)
