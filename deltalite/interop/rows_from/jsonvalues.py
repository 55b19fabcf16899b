"""JSON values to Arrow arrays, one by one and to the letter: the word on what a row means.

Misfits are refused with the row and the value.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from deltalite.exceptions import SchemaMismatchError
from deltalite.interop.rows_from.typed import Unfit, typed, unfit_error
from deltalite.model.arrow import array, type_to_arrow
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, StructType

TEXT = ("string", "date", "timestamp", "timestamp_ntz", "binary")
"""The types that JSON has as text."""
_ABSENT = object()
_WHOLE = {"byte": 8, "short": 16, "integer": 32, "long": 64}


def exact_batch(chunk: bytes, columns: Sequence[Field], schema: pa.Schema, name: str, first_row: int) -> pa.RecordBatch:
    """The rows of a chunk of lines.

    :param columns: the columns of ``schema``; keys are matched ignoring case.
    :raises SchemaMismatchError: naming the row, the column and the value that does not fit.
    """

    def where(index: int) -> str:
        return f"{name}, row {first_row + index}"

    rows = [parse_row(line, name, first_row + i) for i, line in enumerate(row_lines(chunk))]
    places = {key: i for i, c in enumerate(columns) for key in (c.name, c.name.lower())}
    values: list[list[Any]] = [[_ABSENT] * len(rows) for _ in columns]
    for i, row in enumerate(rows):
        for key, value in row.items():
            place = places.get(key, places.get(key.lower()))
            if place is None:
                known = ", ".join(c.name for c in columns)
                hint = f"columns are {known}; --schema-mode merge adds those that the first rows have"
                raise _refused(f"{where(i)}: there is no column {key!r}", hint, key)
            if values[place][i] is not _ABSENT:
                raise _refused(f"{where(i)}: two keys name the column {columns[place].name!r}", None, key)
            values[place][i] = value
    arrays = [
        _build_rows([None if v is _ABSENT else v for v in found], c, where)
        for found, c in zip(values, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _refused(message: str, hint: str | None, column: str) -> SchemaMismatchError:
    return SchemaMismatchError(f"{message}; nothing was written", hint=hint, columns=[column])


def row_lines(chunk: bytes) -> Iterator[bytes]:
    return (line for line in chunk.split(b"\n") if line.strip())


def parse_row(line: bytes, name: str, number: int) -> dict[str, Any]:
    """One object; numbers with a point stay decimal, so that nothing is rounded before its type is known."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key appears twice")
        return found

    try:
        row = json.loads(line.decode("utf-8"), parse_float=Decimal, parse_constant=float, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise SchemaMismatchError(f"{name}, row {number} is not valid JSON: {error}", path=name) from error
    if not isinstance(row, dict):
        raise SchemaMismatchError(f"{name}, row {number} is not an object: {str(row)[:80]}", path=name)
    return row


def build_column(texts: pa.Array, column: Field, where: Callable[[int], str]) -> pa.Array:
    """A nested column from JSON texts, one per row.

    :param where: file and row of an index, for messages.
    """
    values = []
    for i, text in enumerate(texts.to_pylist()):
        try:
            values.append(None if text is None else json.loads(text, parse_float=Decimal))
        except ValueError:
            raise unfit_error(where(i), column.name, repr(text), column.type.type, "nested values are JSON") from None
    return _build_rows(values, column, where)


def _build_rows(values: Sequence[Any], column: Field, where: Callable[[int], str]) -> pa.Array:
    """A column; on a misfit the first row that holds one is found by halving."""
    try:
        return _build(values, column.type)
    except Unfit:
        low, high = 0, len(values)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                _build(values[low:middle], column.type)
                low = middle
            except Unfit:
                high = middle
        bad = values[low]
        shown = str(bad) if isinstance(bad, Decimal) else json.dumps(bad, default=str, ensure_ascii=False)
        wanted = column.type.type if isinstance(column.type, PrimitiveType) else str(type_to_arrow(column.type))
        raise unfit_error(where(low), column.name, shown, wanted) from None


def _build(values: Sequence[Any], wanted: DataType) -> pa.Array:
    """Python values as JSON gives them, as an array.

    :raises Unfit: when one is not of the type.
    """
    if isinstance(wanted, ArrayType):
        _expect(values, list)
        inner = _build([v for row in values if row is not None for v in row], wanted.element_type)
        return pa.ListArray.from_arrays(_offsets(values), inner, type=type_to_arrow(wanted))
    if isinstance(wanted, MapType):
        _expect(values, dict)
        pairs = [pair for row in values if row is not None for pair in row.items()]
        keys = typed(array([k for k, _ in pairs], pa.string()), _primitive(wanted.key_type))
        items = _build([v for _, v in pairs], wanted.value_type)
        return pa.MapArray.from_arrays(_offsets(values), keys, items, type=type_to_arrow(wanted))
    if isinstance(wanted, StructType):
        return _build_struct(values, wanted)
    return _build_primitive(values, wanted)


def _primitive(data_type: DataType) -> PrimitiveType:
    if not isinstance(data_type, PrimitiveType):
        raise Unfit
    return data_type


def _expect(values: Iterable[Any], kind: Any) -> None:
    if not all(v is None or (isinstance(v, kind) and not isinstance(v, bool)) for v in values):
        raise Unfit


def _offsets(values: Sequence[Any]) -> pa.Array:
    """Where each list or map begins among the elements of all; null where there is none."""
    ends = np.cumsum([0, *(0 if v is None else len(v) for v in values)]).tolist()
    starts = [None if v is None else end for v, end in zip(values, ends, strict=False)]
    return array([*starts, ends[-1]], pa.int32())


def _build_struct(values: Sequence[Any], wanted: StructType) -> pa.Array:
    _expect(values, dict)
    names = {f.name.lower(): f.name for f in wanted.fields}
    members: dict[str, list[Any]] = {f.name: [None] * len(values) for f in wanted.fields}
    for i, value in enumerate(values):
        for key, member in (value or {}).items():
            if (name := names.get(key.lower())) is None:
                raise Unfit
            members[name][i] = member
    children = [_build(members[f.name], f.type) for f in wanted.fields]
    valid = array([None if v is None else True for v in values], pa.bool_())
    return struct_array(children, type_to_arrow(wanted), valid.is_valid())


def _build_primitive(values: Sequence[Any], wanted: PrimitiveType) -> pa.Array:
    kind = wanted.type
    if kind in TEXT:
        _expect(values, str)
        return typed(array(values, pa.string()), wanted)
    if kind == "boolean":
        if not all(v is None or isinstance(v, bool) for v in values):
            raise Unfit
    elif kind in _WHOLE:
        _expect(values, int)
        limit = 1 << (_WHOLE[kind] - 1)
        if any(v is not None and not -limit <= v < limit for v in values):
            raise Unfit
    elif kind in ("float", "double"):
        _expect(values, (int, float, Decimal))
        values = [None if v is None else _float(v, kind) for v in values]
    elif wanted.is_decimal:
        return _build_decimals(values, wanted)
    elif kind == "void":
        _expect(values, ())
    else:
        raise Unfit
    return array(values, type_to_arrow(wanted))


def _float(value: Any, kind: str) -> float:
    """The nearest floating point number; a finite one never becomes infinite."""
    found = float(value)
    if kind == "float" and math.isfinite(found):
        with np.errstate(over="ignore"):
            found = float(np.float32(found))
    if math.isinf(found) and not (isinstance(value, float) and math.isinf(value)):
        raise Unfit
    return found


def _build_decimals(values: Sequence[Any], wanted: PrimitiveType) -> pa.Array:
    _expect(values, (int, Decimal, str))
    return typed(array([None if v is None else str(v) for v in values], pa.string()), wanted)


def struct_array(children: Sequence[pa.Array], arrow_type: Any, valid: pa.Array) -> pa.Array:
    """A struct array from its members, null where ``valid`` is false."""
    if valid.offset:
        valid = array(valid.to_pylist(), pa.bool_())
    return pa.Array.from_buffers(arrow_type, len(valid), [valid.buffers()[1]], children=list(children))
