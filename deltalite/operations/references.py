"""What in a table depends on a column: expressions, which hold it under its name, the layout, and lists of names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.parse import parse_expression
from deltalite.features.check_constraints import constraints
from deltalite.features.clustering import clustering_columns
from deltalite.features.generated_columns import KEY as GENERATED
from deltalite.features.invariants import invariants
from deltalite.model.config import TableConfig
from deltalite.model.expr import DoubleQuoted, columns_of, walk_expr
from deltalite.model.properties import STATS_COLUMNS
from deltalite.model.types import walk
from deltalite.write.spec import parse_path

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
    _refuse(references(config), path, what, "drop these first")


def refuse_clustering(config: TableConfig, path: Path) -> None:
    """Refuse to drop a column by which the table is clustered. Renaming one is free: the domain has physical names.

    :raises InvalidArgumentError: naming the column.
    """
    found = (("the clustering of the table", column) for column in clustering_columns(config))
    _refuse(found, path, "dropped", "choose other columns first, with alter.cluster_by(...)")


def _refuse(found: Iterable[tuple[str, Path]], path: Path, what: str, hint: str) -> None:
    users = sorted({who for who, used in found if overlaps(path, used)})
    if users:
        raise InvalidArgumentError(
            f"column {'.'.join(path)!r} cannot be {what}, because of {' and '.join(users)}",
            hint=hint,
            column=".".join(path),
        )


def overlaps(a: Path, b: Path) -> bool:
    """Whether one path leads to the other, or to what the other is inside of; names match ignoring case."""
    shorter = min(len(a), len(b))
    return _folded(a[:shorter]) == _folded(b[:shorter])


def _folded(path: Path) -> Path:
    return tuple(part.lower() for part in path)


def with_stats_columns(configuration: Mapping[str, str], path: Path, new_name: str | None) -> dict[str, str]:
    """The properties after a column got another name, or is gone (``None``): the list of columns that get statistics
    follows it."""
    found = dict(configuration)
    if STATS_COLUMNS.name not in found:
        return found
    names = []
    for text in STATS_COLUMNS.of(configuration):
        listed = parse_path(text)
        if _folded(listed[: len(path)]) != _folded(path):
            names.append(text)
        elif new_name is not None:
            names.append(_text((*listed[: len(path) - 1], new_name, *listed[len(path) :])))
    found[STATS_COLUMNS.name] = ",".join(names)
    return found if names else {key: value for key, value in found.items() if key != STATS_COLUMNS.name}


def _text(path: Path) -> str:
    """A path as dotted text, parts in backticks where they need some."""
    return ".".join(p if p.replace("_", "a").isalnum() else "`" + p.replace("`", "``") + "`" for p in path)
