"""Which columns have statistics, as far as checkpoints care."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from deltalite import features
from deltalite.model.config import TableConfig
from deltalite.model.properties import STATS_COLUMNS, STATS_NUM_COLUMNS
from deltalite.model.types import DataType, StructType

Path = tuple[str, ...]
_PART = re.compile(r"`((?:[^`]|``)*)`|([^.`]+)")


def stats_paths(config: TableConfig, physical: StructType) -> tuple[Path, ...]:
    """The physical paths of the leaves that ``delta.dataSkippingStatsColumns`` names, or of the first
    ``delta.dataSkippingNumIndexedCols``, and of those that features cannot do without (trap 43)."""
    partitions = {name.lower() for name in config.partition_columns}
    pairs = [
        pair
        for logical, own in zip(config.schema.fields, physical.fields, strict=True)
        if logical.name.lower() not in partitions
        for pair in _leaves((logical.name,), (own.name,), logical.type, own.type)
    ]
    limit = config.get(STATS_NUM_COLUMNS)
    roots = [_parse(text) for text in config.get(STATS_COLUMNS)]
    chosen = {path for path, _ in pairs if _below(path, roots)} if roots else {p for p, _ in _first(pairs, limit)}
    chosen |= {path for path, _ in pairs if _below(path, features.stats_columns(config))}
    return tuple(own for path, own in pairs if path in chosen)


def _first(pairs: list[tuple[Path, Path]], limit: int) -> list[tuple[Path, Path]]:
    return pairs if limit < 0 else pairs[:limit]


def _leaves(logical: Path, physical: Path, kind: DataType, own: DataType) -> Iterator[tuple[Path, Path]]:
    if not isinstance(kind, StructType) or not isinstance(own, StructType):
        if kind.type != "void":
            yield logical, physical
        return
    for f, p in zip(kind.fields, own.fields, strict=True):
        yield from _leaves((*logical, f.name), (*physical, p.name), f.type, p.type)


def _below(path: Path, roots: Iterable[Path]) -> bool:
    folded = tuple(part.lower() for part in path)
    return any(folded[: len(root)] == tuple(part.lower() for part in root) for root in roots)


def _parse(text: str) -> Path:
    return tuple(m[1].replace("``", "`") if m[1] is not None else m[2].strip() for m in _PART.finditer(text))
