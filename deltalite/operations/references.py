"""What in a table depends on a column, so that it cannot be dropped or renamed beneath it."""

from __future__ import annotations

from collections.abc import Iterator

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.parse import parse_expression
from deltalite.features.check_constraints import constraints
from deltalite.features.generated_columns import KEY as GENERATED
from deltalite.features.invariants import invariants
from deltalite.model.config import TableConfig
from deltalite.model.expr import DoubleQuoted, columns_of, walk_expr
from deltalite.model.types import walk

Path = tuple[str, ...]


def references(config: TableConfig) -> Iterator[tuple[str, Path]]:
    """Pairs of what depends on a column, in words, and the column's path as it is spelled there."""
    for name, text in constraints(config.configuration).items():
        yield from ((f"the CHECK constraint {name!r}", path) for path in _columns(text))
    for path, field in walk(config.schema):
        if text := field.metadata.get(GENERATED):
            yield from ((f"the generated column {'.'.join(path)!r}", used) for used in _columns(text))
    for column, text in invariants(config.schema):
        yield from ((f"the invariant of {column!r}", path) for path in _columns(text))


def _columns(text: str) -> set[Path]:
    tree = parse_expression(text)
    quoted = {(node.text,) for node in walk_expr(tree) if isinstance(node, DoubleQuoted)}
    return columns_of(tree) | quoted


def refuse_referenced(config: TableConfig, path: Path, what: str) -> None:
    """Refuse to touch a column, or what it holds, that an expression of the table names.

    :param what: what was asked for, as in ``"dropped"``.
    :raises InvalidArgumentError: naming everything that depends on it.
    """
    folded = tuple(part.lower() for part in path)
    users = sorted({who for who, used in references(config) if _overlaps(folded, tuple(p.lower() for p in used))})
    if users:
        raise InvalidArgumentError(
            f"column {'.'.join(path)!r} cannot be {what}, because of {' and '.join(users)}",
            hint="drop these first",
            column=".".join(path),
        )


def _overlaps(a: Path, b: Path) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]
