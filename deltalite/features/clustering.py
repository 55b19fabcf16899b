"""Clustered tables: the columns by which rows are laid out, and which files lie so already (PROTOCOL.md, "Clustered
Table").

The columns are in the metadata domain ``delta.clustering``, under their physical names (protocol trap 61); statistics
of theirs are never left out (trap 43). Files that were clustered together are a *cube*: each carries the cube's id, and
the columns by which it was made, in tags that Delta Spark uses too, so that either engine goes on where the other one
stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.features.base import Feature
from deltalite.features.column_mapping import physical
from deltalite.model.actions import DomainMetadata
from deltalite.model.columns import find_column
from deltalite.model.config import TableConfig
from deltalite.model.stats import has_bounds, type_at
from deltalite.model.types import DataType, StructType

Path = tuple[str, ...]
DOMAIN, COLUMNS = "delta.clustering", "clusteringColumns"
PROVIDER = "liquid"
"""The implementation named on clustered files: the layout of Delta Spark's, whose files may be clustered anew."""
CUBE_ID, CUBE_COLUMNS, CUBE_CURVE = "ZCUBE_ID", "ZCUBE_ZORDER_BY", "ZCUBE_ZORDER_CURVE"
SUPPORT = {"delta.feature.clustering": "supported"}
"""The property that brings the table feature."""
MOST_COLUMNS = 4
_WITHOUT_BOUNDS = ("boolean",)


def clustering_columns(config: TableConfig) -> tuple[Path, ...]:
    """The logical paths of the columns by which a table is clustered; none where it is not.

    :raises InvalidTableError: when the domain names columns that the table lacks.
    """
    domain = config.domains.get(DOMAIN)
    if domain is None or domain.removed:
        return ()
    found = []
    for path in _parsed(domain.configuration):
        logical = _translated(path, physical(config) or config.schema, config.schema)
        if logical is None:
            raise InvalidTableError(
                f"the table is clustered by the column {'.'.join(path)!r}, which it does not have",
                hint="choose other columns to cluster by",
                column=".".join(path),
            )
        found.append(logical)
    return tuple(found)


def clustering_domain(config: TableConfig, columns: Iterable[str]) -> DomainMetadata:
    """The action that clusters a table by some columns, or with none of them no longer.

    :param config: the table's, ``SUPPORT`` among its features.
    :param columns: logical names, dotted for fields of structs.
    :raises InvalidArgumentError: for columns that do not exist or by which a table cannot be clustered.
    """
    found = [find_column(config.schema, name)[0] for name in columns]
    check_columns(config, found)
    paths = [_translated(path, config.schema, physical(config) or config.schema) for path in found]
    return DomainMetadata(DOMAIN, json.dumps({COLUMNS: paths}, separators=(",", ":")))


def check_columns(config: TableConfig, columns: Iterable[Path]) -> None:
    """
    :raises InvalidArgumentError: for columns by which a table cannot be clustered.
    """
    columns = list(columns)
    if len(columns) > MOST_COLUMNS:
        raise InvalidArgumentError(
            f"a table is clustered by {MOST_COLUMNS} columns at most, not {len(columns)}",
            hint="choose those that queries filter by most often",
        )
    if len(set(columns)) != len(columns):
        raise InvalidArgumentError("a column to cluster by is named twice", columns=[".".join(c) for c in columns])
    if columns and config.partition_columns:
        raise InvalidArgumentError(
            f"a table is partitioned or clustered, not both; it is partitioned by {list(config.partition_columns)}",
            hint="leave partition_by out and cluster by these columns too",
        )
    for path in columns:
        kind = type_at(config.schema, path)
        if kind is None or not has_bounds(kind) or kind.type in _WITHOUT_BOUNDS:
            raise InvalidArgumentError(
                f"a table cannot be clustered by {'.'.join(path)!r} of type {kind}: files keep no bounds of it",
                hint="numbers, dates, timestamps and strings have bounds",
                column=".".join(path),
            )


def cube_tags(cube_id: str, columns: Sequence[Path], curve: str) -> dict[str, str]:
    """The tags of a cube's files."""
    names = json.dumps([".".join(path) for path in columns], separators=(",", ":"), ensure_ascii=False)
    return {CUBE_ID: cube_id, CUBE_COLUMNS: names, CUBE_CURVE: curve}


def _check(config: TableConfig) -> None:
    try:
        columns = clustering_columns(config)
    except InvalidTableError as error:
        raise InvalidArgumentError(error.message, hint=error.hint, **error.context) from None
    check_columns(config, columns)


@lru_cache(maxsize=64)
def _parsed(text: str) -> tuple[Path, ...]:
    """Paths as lists of names, as engines write them, or plain names, as the protocol's sample has them."""
    try:
        columns = json.loads(text)[COLUMNS]
        return tuple((c,) if isinstance(c, str) else tuple(str(name) for name in c) for c in columns)
    except (ValueError, KeyError, TypeError):
        raise InvalidTableError(f"the metadata domain {DOMAIN} does not tell the clustering columns: {text}") from None


def _translated(path: Path, here: DataType, there: DataType) -> Path | None:
    """A path of one schema under the names of a parallel one; ``None`` where it leads nowhere."""
    found = []
    for name in path:
        if not (isinstance(here, StructType) and isinstance(there, StructType)):
            return None
        pairs = zip(here.fields, there.fields, strict=True)
        pair = next(((h, t) for h, t in pairs if h.name == name), None)
        if pair is None:
            return None
        found.append(pair[1].name)
        here, there = pair[0].type, pair[1].type
    return tuple(found)


def _in_use(config: TableConfig) -> str | None:
    found = [".".join(path) for path in clustering_columns(config)]
    return f"the columns {found} by which it is clustered" if found else None


FEATURE = Feature(
    "clustering",
    aliases=("liquid",),
    requires=("domainMetadata",),
    own_domain=DOMAIN,
    check=_check,
    stats_columns=clustering_columns,
    in_use=_in_use,
)
