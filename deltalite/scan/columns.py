"""Matching the columns of one data file to those of the table, and bringing their values into the table's types.

Files were written by many engines under many versions of the schema. A column is found by its physical name (exactly,
else ignoring case, as Spark does) or by its Parquet field id, at every level of nesting; what a file lacks is null.
Only conversions that keep every value are made; any other pair of types is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from deltalite.exceptions import InvalidTableError
from deltalite.features.reading import converted
from deltalite.model.arrow import type_to_arrow
from deltalite.model.stats import type_at
from deltalite.model.types import ArrayType, DataType, Field, MapType, StructType
from deltalite.scan.values import plain_type, plain_values, same_kind

FIELD_ID = "parquet.field.id"
Path = tuple[str, ...]
Convert = Callable[[pa.Array], pa.Array]


class Node(NamedTuple):
    """A field of a file's schema with the range of Parquet leaf columns below it."""

    field: pa.Field
    first: int
    end: int
    children: tuple[Node, ...]

    @property
    def id(self) -> int | None:
        raw = (self.field.metadata or {}).get(b"PARQUET:field_id")
        return int(raw) if raw is not None else None


class Source(NamedTuple):
    """How a file gives a column: the leaves to read, the type they come in, and the way to the table's type."""

    leaves: tuple[int, ...]
    type: pa.DataType
    convert: Convert | None


class Columns(NamedTuple):
    """Some columns of the table: as the table knows them, and in parallel as files do."""

    logical: StructType
    physical: StructType

    def only(self, paths: Iterable[Path]) -> Columns:
        """The columns, and below them the struct fields, that some path leads to."""
        wanted = list(paths)
        pairs = [
            _narrowed(column, stored, [path[1:] for path in wanted if path[0] == column.name])
            for column, stored in zip(self.logical.fields, self.physical.fields, strict=True)
            if any(path[0] == column.name for path in wanted)
        ]
        return Columns(StructType([column for column, _ in pairs]), StructType([stored for _, stored in pairs]))

    def without(self, names: Iterable[str]) -> Columns:
        left = [(c, s) for c, s in zip(self.logical.fields, self.physical.fields, strict=True) if c.name not in names]
        return Columns(StructType([c for c, _ in left]), StructType([s for _, s in left]))


def _narrowed(column: Field, stored: Field, paths: Sequence[Path]) -> tuple[Field, Field]:
    if () in paths or not (isinstance(column.type, StructType) and isinstance(stored.type, StructType)):
        return column, stored
    inner = Columns(column.type, stored.type).only(paths)
    return column.with_(type=inner.logical), stored.with_(type=inner.physical)


class Leaf(NamedTuple):
    """A Parquet leaf column and the table's type of it. ``leaf`` is ``None`` where the file lacks the column."""

    leaf: int | None
    type: DataType


class MatchedColumn(NamedTuple):
    """A column of the table in one file. ``source`` is ``None`` where the file lacks it."""

    name: str
    type: pa.DataType
    source: Source | None
    field: Node | None = None


def file_nodes(schema: pa.Schema) -> tuple[Node, ...]:
    """The top-level fields of a file, leaves numbered in the order of Parquet's columns."""
    return tuple(_nodes(list(schema), 0))


def _nodes(fields: Sequence[pa.Field], first: int) -> Iterator[Node]:
    for field in fields:
        children = tuple(_nodes(_child_fields(field.type), first))
        end = children[-1].end if children else first + (not pa.types.is_struct(field.type))
        yield Node(field, first, end, children)
        first = end


def _child_fields(data_type: pa.DataType) -> list[pa.Field]:
    if isinstance(data_type, pa.BaseExtensionType):
        return _child_fields(data_type.storage_type)
    if pa.types.is_struct(data_type):
        return [data_type.field(i) for i in range(data_type.num_fields)]
    if pa.types.is_map(data_type):
        return [data_type.key_field, data_type.item_field]
    if _is_list(data_type):
        return [data_type.value_field]
    return []


def _is_list(data_type: pa.DataType) -> bool:
    t = pa.types
    return (
        t.is_list(data_type)
        or t.is_large_list(data_type)
        or t.is_fixed_size_list(data_type)
        or t.is_list_view(data_type)
        or t.is_large_list_view(data_type)
    )


class Matcher:
    """Matches the table's columns to the fields of one file.

    :param by_field_id: find fields by Parquet field id instead of by name (column mapping mode ``id``).
    :param file: the file's name, for messages.
    """

    def __init__(self, by_field_id: bool, file: str) -> None:
        self._by_field_id = by_field_id
        self._file = file

    def match(self, nodes: Sequence[Node], columns: Columns) -> list[MatchedColumn]:
        """Where the file has each of the columns.

        :raises InvalidTableError: two fields fit one column, the file has no ids to match by, or a field has a type
            that the table's type cannot take.
        """
        if self._by_field_id and nodes and not any(_has_id(node) for node in nodes):
            raise InvalidTableError(
                f"{self._file} has no field ids, though the table finds its columns by them",
                hint="the file was written by an engine that ignored column mapping; rewrite it",
                path=self._file,
            )
        found = []
        for column, stored in zip(columns.logical.fields, columns.physical.fields, strict=True):
            node = self._find(nodes, stored, column.name)
            source = None if node is None else self._source(node, column.type, stored.type, column.name)
            found.append(MatchedColumn(column.name, type_to_arrow(column.type), source, node))
        return found

    def leaf(self, nodes: Sequence[Node], columns: Columns, path: Path) -> Leaf | None:
        """The leaf column at a path of struct fields; ``None`` where the path leads to no plain column."""
        logical, physical = columns
        for depth, name in enumerate(path, 1):
            at = logical.names.index(name) if name in logical.names else -1
            if at < 0:
                return None
            kind, stored = logical.fields[at].type, physical.fields[at]
            node = self._find(nodes, stored, name)
            if node is None:
                found = type_at(logical, path[depth - 1 :])
                return None if found is None else Leaf(None, found)
            if not isinstance(kind, StructType) or not isinstance(stored.type, StructType):
                plain = depth == len(path) and not node.children and not isinstance(kind, (ArrayType, MapType))
                return Leaf(node.first, kind) if plain else None
            logical, physical, nodes = kind, stored.type, node.children
        return None

    def _find(self, nodes: Sequence[Node], wanted: Field, path: str) -> Node | None:
        if self._by_field_id and FIELD_ID in wanted.metadata:
            return self._only([n for n in nodes if n.id == wanted.metadata[FIELD_ID]], path)
        exact = [n for n in nodes if n.field.name == wanted.name]
        folded = wanted.name.lower()
        return self._only(exact or [n for n in nodes if n.field.name.lower() == folded], path)

    def _only(self, nodes: Sequence[Node], path: str) -> Node | None:
        if len(nodes) > 1:
            names = [n.field.name for n in nodes]
            raise InvalidTableError(
                f"{self._file} has several columns that could be {path!r}: {names}", path=self._file, column=path
            )
        return nodes[0] if nodes else None

    def _source(self, node: Node, logical: DataType, physical: DataType, path: str) -> Source:
        if isinstance(logical, StructType) and isinstance(physical, StructType):
            if pa.types.is_struct(node.field.type):
                return self._struct(node, logical, physical, path)
        elif isinstance(logical, ArrayType) and isinstance(physical, ArrayType):
            if _is_list(node.field.type):
                return self._list(node, logical, physical, path)
        elif isinstance(logical, MapType) and isinstance(physical, MapType):
            entries = _entries(node)
            if entries is not None:
                return self._map(node, entries, logical, physical, path)
        else:
            return self._plain(node, logical, path)
        raise self._refuse(node, logical, path)

    def _plain(self, node: Node, logical: DataType, path: str) -> Source:
        target = type_to_arrow(logical)
        leaves = tuple(range(node.first, node.end))
        if node.field.type == target:
            return Source(leaves, target, None)
        plain = plain_type(node.field.type)
        if plain == target or same_kind(plain, target):
            return Source(leaves, node.field.type, lambda values: plain_values(values, target))
        feature = converted(plain, logical)
        if feature is None:
            raise self._refuse(node, logical, path)
        return Source(leaves, node.field.type, lambda values: feature(plain_values(values, plain)))

    def _struct(self, node: Node, logical: StructType, physical: StructType, path: str) -> Source:
        members: list[tuple[str, Source] | None] = []
        for column, stored in zip(logical.fields, physical.fields, strict=True):
            child = self._find(node.children, stored, f"{path}.{column.name}")
            members.append(
                None
                if child is None
                else (child.field.name, self._source(child, column.type, stored.type, f"{path}.{column.name}"))
            )
        leaves = tuple(sorted(leaf for member in members if member for leaf in member[1].leaves))
        target = type_to_arrow(logical)
        if not leaves:  # nothing of it but whether it is null: any one leaf tells
            return Source((node.first,), node.field.type, lambda values: _struct_of(values, target, members))
        by_name = {name: source.type for name, source in filter(None, members)}
        kept = [f for f in _child_fields(node.field.type) if f.name in by_name]
        read = pa.struct([f.with_type(by_name[f.name]) for f in kept])
        unchanged = all(m and m[1].convert is None for m in members) and read == target
        return Source(leaves, read, None if unchanged else lambda values: _struct_of(values, target, members))

    def _list(self, node: Node, logical: ArrayType, physical: ArrayType, path: str) -> Source:
        element = self._source(node.children[0], logical.element_type, physical.element_type, f"{path}.element")
        target = type_to_arrow(logical)
        if element.convert is None and node.field.type == target:
            return Source(element.leaves, target, None)
        return Source(element.leaves, node.field.type, lambda values: _list_of(values, target, element.convert))

    def _map(self, node: Node, entries: tuple[Node, Node], logical: MapType, physical: MapType, path: str) -> Source:
        key = self._source(entries[0], logical.key_type, physical.key_type, f"{path}.key")
        value = self._source(entries[1], logical.value_type, physical.value_type, f"{path}.value")
        target = type_to_arrow(logical)
        leaves = (*key.leaves, *value.leaves)
        if key.convert is None and value.convert is None and node.field.type == target:
            return Source(leaves, target, None)
        return Source(leaves, node.field.type, lambda values: _map_of(values, target, key.convert, value.convert))

    def _refuse(self, node: Node, logical: DataType, path: str) -> InvalidTableError:
        return InvalidTableError(
            f"{self._file} holds column {path!r} as {node.field.type}, which cannot be read as {logical}",
            hint="the file does not fit the table's schema; no conversion of the protocol leads from one to the other",
            path=self._file,
            column=path,
        )


def _has_id(node: Node) -> bool:
    return node.id is not None or any(_has_id(child) for child in node.children)


def _entries(node: Node) -> tuple[Node, Node] | None:
    """Key and value of a map; also of one that a writer left as a list of pairs."""
    if pa.types.is_map(node.field.type):
        return node.children[0], node.children[1]
    if _is_list(node.field.type) and len(node.children[0].children) == 2:
        return node.children[0].children[0], node.children[0].children[1]
    return None


# -- rebuilding nested arrays around converted children ------------------------------------------------------------


def _struct_of(values: Any, target: pa.StructType, members: Sequence[tuple[str, Source] | None]) -> pa.Array:
    values = _storage(values)
    fields = [target.field(i) for i in range(target.num_fields)]
    children = []
    for field, member in zip(fields, members, strict=True):
        if member is None:
            children.append(pa.nulls(len(values), field.type))
        else:
            child = values.field(member[0])
            children.append(child if member[1].convert is None else member[1].convert(child))
    mask = values.is_null() if values.null_count else None
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _list_of(values: Any, target: pa.DataType, convert: Convert | None) -> pa.Array:
    values = _storage(values)
    if not pa.types.is_list(values.type):
        values = values.cast(pa.list_(values.type.value_field))
    element = values.values if convert is None else convert(values.values)
    return _with_children(target, values, element)


def _map_of(values: Any, target: pa.DataType, key: Convert | None, value: Convert | None) -> pa.Array:
    values = _storage(values)
    if pa.types.is_map(values.type):
        keys, items = values.keys, values.items
    else:
        if not pa.types.is_list(values.type):
            values = values.cast(pa.list_(values.type.value_field))
        keys, items = values.values.field(0), values.values.field(1)
    keys = keys if key is None else key(keys)
    items = items if value is None else value(items)
    entries = pa.StructArray.from_arrays([keys, items], fields=[target.key_field, target.item_field])
    return _with_children(target, values, entries)


def _with_children(target: pa.DataType, values: pa.Array, children: pa.Array) -> pa.Array:
    """The lists (or maps) of ``values`` over other children."""
    buffers = values.buffers()[:2]
    return pa.Array.from_buffers(target, len(values), buffers, values.null_count, values.offset, [children])


def _storage(values: Any) -> Any:
    return values.storage if isinstance(values, pa.ExtensionArray) else values
