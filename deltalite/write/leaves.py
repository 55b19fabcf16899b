"""The leaf columns of a schema, as statistics count them and as Parquet stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from deltalite.model.types import ArrayType, DataType, Field, MapType, StructType

Path = tuple[str, ...]
_WITHOUT_BOUNDS = ("boolean", "binary", "array", "map", "variant")


class Leaf(NamedTuple):
    """A column or field that statistics count as one: structs are entered, arrays and maps are not.

    :param path: the names that lead to it.
    :param place: the same way as positions in a batch.
    :param parquet: the dotted paths of its leaf columns in a Parquet file; several for an array or a map.
    :param position: the place of the first of them among all leaf columns of the file.
    """

    path: Path
    type: DataType
    place: tuple[int, ...]
    parquet: tuple[str, ...]
    position: int

    @property
    def has_bounds(self) -> bool:
        """Whether it gets a minimum and a maximum."""
        return self.type.type not in _WITHOUT_BOUNDS

    @property
    def is_float(self) -> bool:
        return self.type.type in ("float", "double")

    @property
    def is_plain(self) -> bool:
        """Whether its values are those of one leaf column of the file."""
        return not isinstance(self.type, (ArrayType, MapType)) and self.type.type != "variant"


def leaves(fields: Sequence[Field]) -> list[Leaf]:
    """The leaves of the columns of a data file, in order. Fields of type ``void`` are in no file."""
    found: list[Leaf] = []
    position = 0
    for path, data_type, place in _walk(fields, (), ()):
        parquet = tuple(_parquet_paths(data_type, ".".join(path)))
        found.append(Leaf(path, data_type, place, parquet, position))
        position += len(parquet)
    return found


def _walk(
    fields: Sequence[Field], path: Path, place: tuple[int, ...]
) -> Iterator[tuple[Path, DataType, tuple[int, ...]]]:
    stored = [f for f in fields if f.type.type != "void"]
    for index, f in enumerate(stored):
        if isinstance(f.type, StructType):
            yield from _walk(f.type.fields, (*path, f.name), (*place, index))
        else:
            yield (*path, f.name), f.type, (*place, index)


def _parquet_paths(data_type: DataType, path: str) -> Iterator[str]:
    if isinstance(data_type, StructType):
        for f in data_type.fields:
            yield from _parquet_paths(f.type, f"{path}.{f.name}")
    elif isinstance(data_type, ArrayType):
        yield from _parquet_paths(data_type.element_type, f"{path}.list.element")
    elif isinstance(data_type, MapType):
        yield from _parquet_paths(data_type.key_type, f"{path}.key_value.key")
        yield from _parquet_paths(data_type.value_type, f"{path}.key_value.value")
    elif data_type.type == "variant":
        yield from (f"{path}.metadata", f"{path}.value")
    else:
        yield path
