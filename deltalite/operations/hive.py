"""Partition columns told by directories: ``year=2026/month=1/part-0.parquet``, or ``2026/1/part-0.parquet``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from deltalite.exceptions import InvalidArgumentError, InvalidTableError
from deltalite.model.partition import HIVE_NULL, parse, serialize
from deltalite.model.types import DataType, Field, PrimitiveType, StructType

HIVE, DIRECTORY = "hive", "directory"
_LONG = re.compile(r"-?[1-9][0-9]{0,17}|0")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def is_hidden(path: str) -> bool:
    """Whether a file is none of a table's data: a part of its path begins with ``.`` or ``_``, unless that part is the
    directory of a partition column named so."""
    *directories, name = path.split("/")
    return name.startswith((".", "_")) or any(
        part.startswith(".") or (part.startswith("_") and "=" not in part) for part in directories
    )


@dataclass(frozen=True)
class Partitioning:
    """The partition columns of some files.

    :param columns: in the order of the directories.
    :param values: each path's raw values in that order; ``None`` is null.
    """

    columns: tuple[Field, ...]
    values: Mapping[str, tuple[str | None, ...]]

    def values_of(self, path: str) -> dict[str, str | None]:
        """The values of a file as the log writes them."""
        texts = zip(self.columns, self.values[path], strict=True)
        return {f.name: _canonical(text, f.type, path) for f, text in texts}


def partitioning(
    paths: Sequence[str], declared: StructType | Sequence[str] | None, strategy: str | None
) -> Partitioning:
    """What the directories of files say.

    :param declared: the partition columns with their types, or their names alone; ``None`` takes what is there.
        Types that nobody declared are ``long``, ``date`` or ``string``: the first in which all values keep their text.
    :param strategy: ``hive``, or ``directory`` where directories hold the values alone, in the declared order.
    :raises InvalidArgumentError: when files contradict one another or the declaration, naming them.
    """
    if strategy not in (None, HIVE, DIRECTORY):
        raise InvalidArgumentError(f"partition_strategy is {HIVE!r} or {DIRECTORY!r}, not {strategy!r}")
    fields = list(declared.fields) if isinstance(declared, StructType) else None
    names = [f.name for f in fields] if fields else list(declared or ())  # type: ignore[arg-type]
    if strategy == DIRECTORY:
        if not names:
            raise InvalidArgumentError("directories without names need names", hint="declare them with partition_by")
        found = {path: _by_place(path, names) for path in paths}
    else:
        split = {path: _by_name(path) for path in paths}
        names = _agreed(split, names)
        found = {path: tuple(text for _, text in pairs) for path, pairs in split.items()}
    if fields is None:
        kinds = [_inferred({values[i] for values in found.values()}) for i in range(len(names))]
        fields = [Field(name, kind) for name, kind in zip(names, kinds, strict=True)]
    else:
        by_name = {f.name.lower(): f for f in fields}
        fields = [by_name[name.lower()].with_(name=name) for name in names]
    return Partitioning(tuple(fields), found)


def _by_place(path: str, names: Sequence[str]) -> tuple[str | None, ...]:
    directories = path.split("/")[:-1]
    if len(directories) != len(names):
        raise InvalidArgumentError(
            f"{path} lies {len(directories)} directories deep, yet there are {len(names)} partition columns: {names}",
            path=path,
        )
    return tuple(map(_value, directories))


def _by_name(path: str) -> tuple[tuple[str, str | None], ...]:
    directories = path.split("/")[:-1]
    if not any("=" in part for part in directories):
        return ()
    if plain := [part for part in directories if "=" not in part]:
        raise InvalidArgumentError(
            f"{path}: the directory {plain[0]!r} is no partition of the form column=value",
            hint=f"partition_strategy={DIRECTORY!r} takes directories that hold the values alone",
            path=path,
        )
    pairs = (part.partition("=") for part in directories)
    return tuple((unquote(name), _value(text)) for name, _, text in pairs)


def _value(text: str) -> str | None:
    return None if text in (HIVE_NULL, "") else unquote(text)


def _agreed(split: Mapping[str, tuple[tuple[str, str | None], ...]], declared: Sequence[str]) -> list[str]:
    """The one list of names that all files have."""
    first_path, first = next(iter(split.items()))
    names = [name for name, _ in first]
    for path, pairs in split.items():
        if [name for name, _ in pairs] != names:
            raise InvalidArgumentError(
                f"{first_path} is partitioned by {names}, {path} by {[name for name, _ in pairs]}",
                hint="all files of a table lie in directories of the same columns, in the same order",
                path=path,
            )
    if len({name.lower() for name in names}) != len(names):
        raise InvalidArgumentError(f"{first_path} names a partition column twice", path=first_path)
    if declared and {name.lower() for name in declared} != {name.lower() for name in names}:
        raise InvalidArgumentError(
            f"partition_by names {list(declared)}, the directories {names}",
            hint="declare exactly the columns of the directories",
            path=first_path,
        )
    return names


def _inferred(texts: Iterable[str | None]) -> DataType:
    known = [text for text in texts if text is not None]
    if known and all(_LONG.fullmatch(text) for text in known):
        return PrimitiveType("long")
    if known and all(_DATE.fullmatch(text) and _is(text, "date") for text in known):
        return PrimitiveType("date")
    return PrimitiveType("string")


def _is(text: str, kind: str) -> bool:
    try:
        return parse(text, PrimitiveType(kind)) is not None
    except InvalidTableError:
        return False


def _canonical(text: str | None, kind: DataType, path: str) -> str | None:
    if text is None or kind.type == "string":
        return text
    try:
        value: Any = parse(text, kind)
    except InvalidTableError as error:
        raise InvalidArgumentError(f"{path}: {error.message}", hint="declare another type", path=path) from None
    return serialize(value, kind)
