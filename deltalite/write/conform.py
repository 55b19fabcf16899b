"""Fitting rows to the table: columns by name, types by store assignment, encodings unwrapped.

:func:`conform` compares two schemas once and answers with a plan, or with one error that lists everything that does not
fit. The plan then converts batch by batch; a value that would change is refused there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import SchemaMismatchError
from deltalite.model.arrow import VARIANT, scalar, schema_to_arrow, type_from_arrow, type_to_arrow
from deltalite.model.expr import type_name
from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, StructType
from deltalite.write import nested
from deltalite.write.casts import Convert, Lossy, converter, store_rule, unsafe_converter

EXAMPLES = 3
_NO_BYTES = scalar(b"", pa.binary())


@dataclass(frozen=True)
class Conform:
    """What to do with each batch of one schema.

    :param schema: the Arrow schema of the outcome: the table's columns in its order and spelling.
    :param absent: columns of the table that the data lacks and that write steps compute; the outcome lacks them too.
    """

    schema: pa.Schema
    absent: tuple[str, ...]
    _sources: tuple[tuple[int | None, Convert | None], ...] = field(repr=False)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch as the table has it.

        :raises SchemaMismatchError: when values do not survive the conversion, naming the column and showing some.
        """
        arrays = []
        for (index, convert), wanted in zip(self._sources, self.schema, strict=True):
            if index is None:
                arrays.append(pa.nulls(batch.num_rows, wanted.type))
            else:
                array = batch.column(index)
                arrays.append(array if convert is None else convert(array))
        if not arrays:
            return batch.select([])
        return nested.relabel(pa.RecordBatch.from_arrays(arrays, names=self.schema.names), self.schema)


def conform(
    data: pa.Schema,
    table: StructType,
    *,
    computed: Collection[str] = (),
    unsafe: bool = False,
    sample: pa.RecordBatch | None = None,
    encoded: bool = False,
) -> Conform:
    """The plan that fits data of one schema to a table.

    Names match ignoring case. A missing column is null, or left to the write steps if it is in ``computed``.

    :param computed: columns of the table that write steps give a value when the data lacks them.
    :param unsafe: convert even where values change (``cast="unsafe"``).
    :param sample: rows to show in the error.
    :param encoded: dictionaries of the right values stay dictionaries.
    :raises SchemaMismatchError: listing all columns that do not fit, in ``columns``.
    :raises UnsupportedTypeError: when Delta has no type for a column.
    """
    comparison = _Comparison(unsafe, sample)
    by_name = _index_names(data.names)
    sources: list[tuple[int | None, Convert | None]] = []
    fields: list[Field] = []
    kept: dict[str, pa.DataType] = {}
    absent: list[str] = []
    for f in table.fields:
        index = by_name.pop(f.name.lower(), None)
        if index is None and f.name in computed:
            absent.append(f.name)
            continue
        convert = None
        if index is not None:
            column = None if sample is None else sample.column(index)
            given = data.field(index).type
            if encoded and pa.types.is_dictionary(given) and given.value_type == type_to_arrow(f.type):
                kept[f.name] = given
            else:
                convert = comparison.field(given, f.type, f.name, column)
        elif not f.nullable:
            comparison.problem(f.name, f"column {f.name!r} is NOT NULL, and the data lacks it")
        sources.append((index, convert))
        fields.append(f)
    comparison.unknown([data.names[i] for i in by_name.values()])
    comparison.finish(table)
    schema = pa.schema([f.with_type(kept.get(f.name, f.type)) for f in schema_to_arrow(StructType(fields))])
    return Conform(schema, tuple(absent), tuple(sources))


def _index_names(names: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        if found.setdefault(name.lower(), index) != index:
            raise SchemaMismatchError(
                f"the data has two columns {name!r}, ignoring case",
                hint="names of a Delta table differ by more than case; rename one of them",
                columns=[name],
            )
    return found


class _Comparison:
    """Collects conversions, and everything that does not fit."""

    def __init__(self, unsafe: bool, sample: pa.RecordBatch | None) -> None:
        self._unsafe = unsafe
        self._sample = sample
        self._problems: dict[str, str] = {}
        self._hints: dict[str, None] = {}

    def problem(self, column: str, text: str, hint: str | None = None) -> None:
        self._problems[column] = text
        if hint:
            self._hints[hint] = None

    def unknown(self, names: Sequence[str]) -> None:
        for name in names:
            self.problem(name, f"column {name!r} is not in the table", 'schema_mode="merge" adds new columns')

    def finish(self, table: StructType) -> None:
        if not self._problems:
            return
        lines = "".join(f"\n  - {text}" for text in self._problems.values())
        raise SchemaMismatchError(
            f"the data does not fit the table:{lines}",
            hint="; ".join(self._hints) or f"the columns of the table are {', '.join(table.names)}",
            columns=list(self._problems),
        )

    def field(self, arrow: pa.DataType, target: DataType, path: str, sample: Any = None) -> Convert | None:
        """The conversion of a column or nested field, ``None`` when there is nothing to do."""
        unwrap, arrow = nested.unwrap(arrow)
        if isinstance(target, PrimitiveType) and not pa.types.is_nested(arrow):
            convert = self._leaf(arrow, target, path, sample)
        else:
            convert = self._nested(arrow, target, path)
        if unwrap is None or convert is None:
            return convert or unwrap
        return lambda array: convert(unwrap(array))

    def _leaf(self, arrow: pa.DataType, target: PrimitiveType, path: str, sample: Any) -> Convert | None:
        source = type_from_arrow(arrow, path)
        assert isinstance(source, PrimitiveType)
        rule = store_rule(source, target)
        canonical = _to_canonical(arrow, source, self._unsafe)
        if source == target or source.type == "void":
            step = canonical if source == target else (lambda array: pa.nulls(len(array), type_to_arrow(target)))
            return None if step is None else _checked(step, path, target)
        if self._unsafe:
            change = unsafe_converter(source, target)
        else:
            change = converter(rule, source, target) if rule else None
        if change is None:
            self._refuse(source, target, path, sample)
            return None
        exact = change
        step = exact if canonical is None else (lambda array: exact(canonical(array)))
        return _checked(step, path, target)

    def _refuse(self, source: DataType, target: DataType, path: str, sample: Any) -> None:
        shown = "" if sample is None else _for_example(sample)
        text = f"column {path!r}: {type_name(source)} cannot be stored as {type_name(target)}{shown}"
        self.problem(path, text, _refusal_hint(source, target))

    def _nested(self, arrow: pa.DataType, target: DataType, path: str) -> Convert | None:
        if pa.types.is_null(arrow):
            return lambda array: pa.nulls(len(array), type_to_arrow(target))
        if isinstance(target, StructType) and pa.types.is_struct(arrow):
            return self._struct(arrow, target, path)
        if isinstance(target, ArrayType) and nested.is_list(arrow):
            change = self.field(arrow.value_type, target.element_type, f"{path}.element")
            return nested.list_converter(arrow, change)
        if isinstance(target, MapType) and pa.types.is_map(arrow):
            keys = self.field(arrow.key_type, target.key_type, f"{path}.key")
            values = self.field(arrow.item_type, target.value_type, f"{path}.value")
            return nested.map_converter(keys, values)
        if target.type == "variant" and arrow == VARIANT:
            return None
        if target.type == "variant" and _is_encoded_variant(arrow):
            return lambda array: _as_variant(array, path)
        self._refuse(type_from_arrow(arrow, path), target, path, None)
        return None

    def _struct(self, arrow: pa.DataType, target: StructType, path: str) -> Convert | None:
        by_name = _index_names([arrow.field(i).name for i in range(arrow.num_fields)])
        children: list[tuple[int | None, Convert | None]] = []
        for f in target.fields:
            index = by_name.pop(f.name.lower(), None)
            convert = None
            if index is not None:
                convert = self.field(arrow.field(index).type, f.type, f"{path}.{f.name}")
            elif not f.nullable:
                self.problem(f"{path}.{f.name}", f"field {path}.{f.name} is NOT NULL, and the data lacks it")
            children.append((index, convert))
        self.unknown([f"{path}.{arrow.field(i).name}" for i in by_name.values()])
        return nested.struct_converter(children, type_to_arrow(target), arrow.num_fields)


def _is_encoded_variant(arrow: pa.DataType) -> bool:
    """A struct of the two parts of a variant, whatever else is said of them."""
    if not pa.types.is_struct(arrow) or sorted(f.name for f in arrow) != ["metadata", "value"]:
        return False
    return all(type_from_arrow(f.type).type == "binary" for f in arrow)


def _as_variant(array: Any, path: str) -> Any:
    parts = [pc.cast(pc.struct_field(array, f.name), pa.binary()) for f in VARIANT]
    if any(part.null_count > array.null_count for part in parts):
        raise SchemaMismatchError(f"column {path!r} has variants without metadata or value", columns=[path])
    whole = [pc.fill_null(part, _NO_BYTES) for part in parts]
    return pa.StructArray.from_arrays(whole, fields=list(VARIANT), mask=array.is_null() if array.null_count else None)


def _to_canonical(arrow: pa.DataType, source: PrimitiveType, unsafe: bool) -> Convert | None:
    """From any Arrow encoding of a Delta type to the one that this library computes with."""
    wanted = type_to_arrow(source)
    if arrow == wanted:
        return None
    return lambda array: pc.cast(array, wanted, safe=not unsafe)


def _checked(convert: Convert, path: str, target: PrimitiveType) -> Convert:
    def run(array: Any) -> Any:
        try:
            return convert(array)
        except Lossy as error:
            raise _lossy(array.filter(error.mask), path, target) from None
        except pa.ArrowInvalid as error:
            raise _lossy(_offenders(array, convert), path, target) from error

    return run


def _lossy(values: Any, path: str, target: PrimitiveType) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"column {path!r}: values of type {values.type} do not fit {type_name(target)}{_for_example(values)}",
        hint='round or cast them first (in SQL: CAST(x AS INT)); appends take cast="unsafe" to accept changed values',
        columns=[path],
    )


def _offenders(array: Any, convert: Convert) -> Any:
    """The first values that make a conversion fail, found by halving."""
    found: list[Any] = []
    todo = [array]
    while todo and len(found) < EXAMPLES:
        part = todo.pop()
        try:
            convert(part)
        except (pa.ArrowInvalid, Lossy):
            if len(part) <= 1:
                found.append(part)
            else:
                half = len(part) // 2
                todo += [part.slice(half), part.slice(0, half)]
    return pa.concat_arrays(found) if found else array.slice(0, 0)


def _for_example(values: Any) -> str:
    known = values.drop_null().slice(0, EXAMPLES)
    if not len(known):
        return ""
    try:
        texts = pc.cast(known, pa.string()).to_pylist()
        quote = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        shown = [repr(text) if quote else text for text in texts]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        shown = [str(value) for value in known.to_pylist()]
    return f" (for example {', '.join(text[:80] for text in shown)})"


def _refusal_hint(source: DataType, target: DataType) -> str:
    if target.type == "variant":
        return "deltalite.variants.from_json(column) makes variants of JSON text, from_values(...) of Python's values"
    pair = {source.type, target.type}
    if pair == {"timestamp", "timestamp_ntz"}:
        if source.type == "timestamp_ntz":
            return "give the values a time zone, for example with pyarrow.compute.assume_timezone"
        return "drop the time zone, for example with pyarrow.compute.local_timestamp"
    if source.type in ("float", "double"):
        return 'cast it to an integer type first (in SQL: CAST(x AS INT)); appends take cast="unsafe" to cut fractions'
    return 'cast the column first (in SQL: CAST(x AS ...)); appends take cast="unsafe" to convert what can be converted'
