"""Fields of structs, elements of arrays and maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, common_type, converted, is_integral
from deltalite.expr.functions.comparison import compare
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.vectors import Datum, bools, broadcast, from_numpy, numpy_bools, numpy_values, valid_mask
from deltalite.model.expr import BOOLEAN, INTEGER, STRING, VOID, Call, Column, Expr, Literal, type_name
from deltalite.model.types import ArrayType, Field, MapType, StructType


def _field_rule(row: Function, args: list[Any]) -> Expr:
    """``value.name``: a path of names stays a column, so that nested statistics serve it."""
    value = args[0]
    name = constant(row, args, 1, "field")
    if isinstance(value.type, MapType):
        return build("[]", value, args[1])
    if not isinstance(value.type, StructType):
        raise ExpressionError(f"{type_name(value.type)} has no field {name!r}", name=name)
    field = value.type.get(name)
    if field is None:
        raise ExpressionError(
            f"the struct has no field {name!r}", hint=f"its fields are: {', '.join(value.type.names)}", name=name
        )
    if isinstance(value, Column):
        return Column((*value.path, field.name), field.type)
    return Call(".", (value, Literal(field.name, STRING)), field.type)


@function(".", _field_rule, strict=False, safe=True)
def get_field(settings: Settings, value: Datum, name: Datum) -> Datum:
    return pc.struct_field(value, [value.type.get_field_index(name.as_py())])


class Lists:
    """Arrays or maps as runs of elements: where each begins and how long it is (0 where null)."""

    def __init__(self, value: Datum, length: int) -> None:
        self.array: Any = broadcast(value, length)
        self.valid = valid_mask(self.array)
        offsets = numpy_values(self.array.offsets).astype(np.int64)
        self.starts = offsets[:-1]
        self.lengths = np.where(self.valid, offsets[1:] - offsets[:-1], 0)

    @property
    def keys(self) -> pa.Array:
        return self.array.keys

    @property
    def values(self) -> pa.Array:
        return self.array.items if pa.types.is_map(self.array.type) else self.array.values

    def owners(self) -> tuple[np.ndarray, np.ndarray]:
        """For every element: the row it belongs to, and its place among all elements."""
        rows = np.repeat(np.arange(len(self.starts)), self.lengths)
        first = np.cumsum(self.lengths) - self.lengths
        return rows, np.arange(len(rows)) - first[rows] + self.starts[rows]

    def find(self, elements: pa.Array, wanted: Datum) -> np.ndarray:
        """The place of the first element of each row that equals the wanted value, or -1."""
        rows, places = self.owners()
        if isinstance(wanted, pa.Array):
            wanted = wanted.take(from_numpy(rows, pa.int64()))
        equal = numpy_bools(broadcast(compare("=", elements.take(from_numpy(places, pa.int64())), wanted), len(rows)))
        found = np.full(len(self.starts), -1, dtype=np.int64)
        found[rows[equal][::-1]] = places[equal][::-1]
        return found


def _taken(values: pa.Array, places: np.ndarray) -> pa.Array:
    """The elements at some places, null where the place is negative."""
    return values.take(from_numpy(np.maximum(places, 0), pa.int64(), places >= 0))


# one element --------------------------------------------------------------------------------------------------------


def _element_rule(row: Function, args: list[Any]) -> Expr:
    """``array[index]`` or ``map[key]``."""
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    container, index = args
    if isinstance(container.type, ArrayType) and (is_integral(index.type) or index.type == VOID):
        return Call(row.name, (container, converted(index, INTEGER)), container.type.element_type)
    if isinstance(container.type, MapType):
        t = common_type(container.type.key_type, index.type)
        if t is not None and t == container.type.key_type:
            return Call(row.name, (container, converted(index, t)), container.type.value_type)
    raise wrong_arguments(row, args, "types")


def _element(base: int, forgiving: bool) -> Any:
    """An element by position (from ``base``, negative ones from the end where that is 1) or by key."""

    def evaluate(settings: Settings, container: Datum, index: Datum) -> Datum:
        lists = Lists(container, settings.length)
        wanted = broadcast(index, settings.length)
        present = lists.valid & valid_mask(wanted)
        if pa.types.is_map(lists.array.type):
            places = lists.find(lists.keys, wanted)
            return _taken(lists.values, np.where(present, places, -1))
        number = np.where(present, numpy_values(wanted), base).astype(np.int64)
        if base == 1 and (present & (number == 0)).any():
            raise ExpressionError("element_at counts from 1: index 0 does not exist")
        offset = np.where((number < 0) & (base == 1), lists.lengths + number, number - base)
        inside = (offset >= 0) & (offset < lists.lengths)
        if not forgiving and (present & ~inside).any():
            first = int(np.argmax(present & ~inside))
            raise ExpressionError(
                f"index {number[first]} is out of bounds: the array has {lists.lengths[first]} elements",
                hint="use get (from 0) or try_element_at (from 1) to get null instead",
            )
        return _taken(lists.values, np.where(present & inside, lists.starts + offset, -1))

    return evaluate


add("[]", _element_rule, _element(0, forgiving=False), strict=False)
add("get", _element_rule, _element(0, forgiving=True), strict=False, safe=True)
add("element_at", _element_rule, _element(1, forgiving=False), strict=False)
add("try_element_at", _element_rule, _element(1, forgiving=True), strict=False)


# sizes and membership -----------------------------------------------------------------------------------------------


def _container_rule(result: Any, kinds: tuple[type, ...] = (ArrayType, MapType)) -> Any:
    def rule(row: Function, args: list[Any]) -> Expr:
        if len(args) != 1:
            raise wrong_arguments(row, args, "arguments")
        if not isinstance(args[0].type, kinds):
            raise wrong_arguments(row, args, "types")
        return Call(row.name, (args[0],), result(args[0].type))

    return rule


@function("size cardinality array_size", _container_rule(lambda t: INTEGER), safe=True)
def size(settings: Settings, value: Datum) -> Datum:
    lists = Lists(value, settings.length)
    return from_numpy(lists.lengths, pa.int32(), lists.valid)


def _member_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) != 2:
        raise wrong_arguments(row, args, "arguments")
    container, value = args
    inner = getattr(container.type, "element_type", None) or getattr(container.type, "key_type", None)
    t = None if inner is None else common_type(inner, value.type)
    if t is None or t != inner:
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (container, converted(value, t)), INTEGER if row.name == "array_position" else BOOLEAN)


@function("array_contains", _member_rule, strict=False, safe=True)
def array_contains(settings: Settings, container: Datum, value: Datum) -> Datum:
    """Null where the value is not found but an element is null."""
    lists, wanted = Lists(container, settings.length), broadcast(value, settings.length)
    found = lists.find(lists.values, wanted) >= 0
    rows, places = lists.owners()
    has_null = np.zeros(settings.length, dtype=bool)
    has_null[rows[~valid_mask(lists.values)[places]]] = True
    return bools(found, lists.valid & valid_mask(wanted) & (found | ~has_null))


@function("map_contains_key", _member_rule, safe=True)
def map_contains_key(settings: Settings, container: Datum, key: Datum) -> Datum:
    lists, wanted = Lists(container, settings.length), broadcast(key, settings.length)
    return bools(lists.find(lists.keys, wanted) >= 0, lists.valid & valid_mask(wanted))


@function("array_position", _member_rule, safe=True)
def array_position(settings: Settings, container: Datum, value: Datum) -> Datum:
    """Counting from 1; 0 where the value is not found."""
    lists, wanted = Lists(container, settings.length), broadcast(value, settings.length)
    places = lists.find(lists.values, wanted)
    return from_numpy(np.where(places < 0, 0, places - lists.starts + 1), pa.int32(), lists.valid & valid_mask(wanted))


def _map_part(part: str) -> Any:
    def evaluate(settings: Settings, value: Datum) -> Datum:
        lists = Lists(value, settings.length)
        _, places = lists.owners()
        elements = (lists.keys if part == "keys" else lists.values).take(from_numpy(places, pa.int64()))
        offsets = np.concatenate([[0], np.cumsum(lists.lengths)])
        mask = None if lists.valid.all() else bools(~lists.valid)
        return pa.ListArray.from_arrays(from_numpy(offsets, pa.int32()), elements, type=settings.arrow_type, mask=mask)

    return evaluate


add("map_keys", _container_rule(lambda t: ArrayType(t.key_type, False), (MapType,)), _map_part("keys"), safe=True)
add("map_values", _container_rule(lambda t: ArrayType(t.value_type), (MapType,)), _map_part("values"), safe=True)


# building -----------------------------------------------------------------------------------------------------------


def _array_rule(row: Function, args: list[Any]) -> Expr:
    t = common_of([a.type for a in args])
    if t is None:
        raise wrong_arguments(row, args, "types")
    return Call("array", tuple(converted(a, t) for a in args), ArrayType(t))  # type: ignore[arg-type]


@function("array", _array_rule, strict=False, safe=True)
def array_of(settings: Settings, *items: Datum) -> Datum:
    columns = [broadcast(i, settings.length) for i in items]
    flat = _interleaved(columns, settings.arrow_type.value_type, settings.length)
    offsets = from_numpy(np.arange(settings.length + 1) * len(items), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, type=settings.arrow_type)


def _map_rule(row: Function, args: list[Any]) -> Expr:
    """``map(key, value, key, value, ...)``"""
    if len(args) % 2:
        raise wrong_arguments(row, args, "arguments")
    key, value = common_of([a.type for a in args[::2]]), common_of([a.type for a in args[1::2]])
    if key is None or value is None or key == VOID:
        raise wrong_arguments(row, args, "types")
    typed = [converted(a, t) for a, t in zip(args, [key, value] * (len(args) // 2), strict=True)]
    return Call("map", tuple(typed), MapType(key, value))  # type: ignore[arg-type]


@function("map", _map_rule, strict=False)
def map_of(settings: Settings, *parts: Datum) -> Datum:
    """Keys must not be null, and must differ from one another."""
    t = settings.arrow_type
    keys = [broadcast(k, settings.length) for k in parts[::2]]
    if any(k.null_count for k in keys):
        raise ExpressionError("the key of a map may not be null")
    for i, key in enumerate(keys):
        if any(numpy_bools(broadcast(compare("=", key, other), settings.length)).any() for other in keys[:i]):
            raise ExpressionError("a map has the same key twice")
    keyed = _interleaved(keys, t.key_type, settings.length)
    values = _interleaved([broadcast(v, settings.length) for v in parts[1::2]], t.item_type, settings.length)
    offsets = from_numpy(np.arange(settings.length + 1) * len(keys), pa.int32())
    return pa.MapArray.from_arrays(offsets, keyed, values, type=t)


def _interleaved(columns: list[pa.Array], t: pa.DataType, length: int) -> pa.Array:
    """The first row of every column, then the second row of every column, ..."""
    flat = pa.concat_arrays(columns) if columns else pa.nulls(0, t)
    order = (np.arange(len(columns))[None, :] * length + np.arange(length)[:, None]).ravel()
    return flat.take(from_numpy(order, pa.int64()))


def _named_struct_rule(row: Function, args: list[Any]) -> Expr:
    if len(args) % 2 or not args:
        raise wrong_arguments(row, args, "arguments")
    names = [constant(row, args, i, "name of a field") for i in range(0, len(args), 2)]
    fields = [Field(str(name), value.type) for name, value in zip(names, args[1::2], strict=True)]
    return Call("named_struct", tuple(args), StructType(fields))


def _struct_rule(row: Function, args: list[Any]) -> Expr:
    """Fields are named after their columns, or ``col1``, ``col2``, ..."""
    named: list[Expr] = []
    for i, arg in enumerate(args, 1):
        named += [Literal(arg.path[-1] if isinstance(arg, Column) else f"col{i}", STRING), arg]
    return build("named_struct", *named)


add("struct", _struct_rule, None)


@function("named_struct", _named_struct_rule, strict=False, safe=True)
def named_struct(settings: Settings, *parts: Datum) -> Datum:
    columns = [broadcast(value, settings.length) for value in parts[1::2]]
    return pa.StructArray.from_arrays(columns, fields=list(settings.arrow_type))
