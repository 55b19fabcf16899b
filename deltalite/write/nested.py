"""Arrow encodings and nested arrays: unwrap, rebuild, relabel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.model.arrow import scalar

Convert = Callable[[Any], Any]

_ZERO = scalar(0, pa.int32())


class _Relabelled:
    """A batch under another schema of the same layout, by way of the Arrow C data interface."""

    def __init__(self, batch: pa.RecordBatch, schema: pa.Schema) -> None:
        self._batch, self._schema = batch, schema

    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]:
        return self._schema.__arrow_c_schema__(), self._batch.__arrow_c_array__()[1]


def relabel(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same buffers under other names, nullability and metadata, at every depth; nothing is copied."""
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    return pa.record_batch(_Relabelled(batch, schema))  # type: ignore[arg-type]


def unwrap(arrow: pa.DataType) -> tuple[Convert | None, pa.DataType]:
    """The step that takes off extension, dictionary and run-end encoding, and the type below."""
    step: Convert | None = None
    if isinstance(arrow, pa.BaseExtensionType):
        arrow, step = arrow.storage_type, lambda array: array.storage
    inner: Convert | None = None
    if pa.types.is_dictionary(arrow):
        arrow, inner = arrow.value_type, lambda array: array.dictionary_decode()
    elif pa.types.is_run_end_encoded(arrow):
        arrow, inner = arrow.value_type, pc.run_end_decode
    if inner is None or step is None:
        return inner or step, arrow
    first, second = step, inner
    return lambda array: second(first(array)), arrow


def is_list(arrow: pa.DataType) -> bool:
    """Any list but a map."""
    t = pa.types
    return (
        t.is_list(arrow)
        or t.is_large_list(arrow)
        or t.is_fixed_size_list(arrow)
        or t.is_list_view(arrow)
        or t.is_large_list_view(arrow)
    )


def list_converter(arrow: pa.DataType, change: Convert | None) -> Convert | None:
    """The step to a plain list with converted elements."""
    if change is None:
        return None if pa.types.is_list(arrow) else _plain_list

    def convert(array: Any) -> Any:
        array = compact(_plain_list(array))
        values = change(array.values)
        return _with_children(pa.list_(values.type), array, [values])

    return convert


def _plain_list(array: Any) -> Any:
    """Any list as one with 32-bit offsets."""
    if pa.types.is_list(array.type):
        return array
    wanted = pa.list_(array.type.value_field)
    if pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type):
        return pc.cast(array, wanted)
    lengths = pc.fill_null(pc.list_value_length(array).cast(pa.int32()), _ZERO)
    offsets = np.zeros(len(array) + 1, dtype=np.int32)
    np.cumsum(np.frombuffer(lengths.buffers()[1], dtype=np.int32, count=len(array)), out=offsets[1:])
    return pa.Array.from_buffers(
        wanted, len(array), [pc.is_valid(array).buffers()[1], pa.py_buffer(offsets)], array.null_count, 0,
        [array.flatten()],
    )  # fmt: skip


def map_converter(keys: Convert | None, values: Convert | None) -> Convert | None:
    """The step to a map with converted keys and values."""
    if keys is None and values is None:
        return None

    def convert(array: Any) -> Any:
        array = compact(array)
        k = keys(array.keys) if keys else array.keys
        v = values(array.items) if values else array.items
        entries = pa.StructArray.from_arrays([k, v], fields=[pa.field("key", k.type, False), pa.field("value", v.type)])
        return _with_children(pa.map_(k.type, v.type), array, [entries])

    return convert


def struct_converter(
    children: Sequence[tuple[int | None, Convert | None]], wanted: pa.DataType, width: int
) -> Convert | None:
    """The step to a struct with the children of these places, converted, in this order; a place of ``None`` is null."""
    in_place = [index for index, _ in children] == list(range(width))
    if in_place and all(convert is None for _, convert in children):
        return None

    def convert(array: Any) -> Any:
        had = array.flatten()  # with the nulls of the struct itself, so that what hides below them is not judged
        arrays = []
        for number, (index, change) in enumerate(children):
            if index is None:
                arrays.append(pa.nulls(len(array), wanted.field(number).type))
            else:
                arrays.append(change(had[index]) if change else had[index])
        fields = [pa.field(wanted.field(i).name, a.type) for i, a in enumerate(arrays)]
        mask = pc.is_null(array) if array.null_count else None
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=mask)

    return convert


def compact(array: Any) -> Any:
    """The same lists without an offset, and with nothing hidden below a null list."""
    if array.null_count:
        every_row = np.arange(len(array), dtype=np.int64)
        return array.take(pa.Array.from_buffers(pa.int64(), len(array), [None, pa.py_buffer(every_row)]))
    return pa.concat_arrays([array]) if array.offset else array


def _with_children(data_type: pa.DataType, array: Any, children: list[Any]) -> Any:
    buffers = array.buffers()[:2]
    return pa.Array.from_buffers(data_type, len(array), buffers, array.null_count, array.offset, children)
