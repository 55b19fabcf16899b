"""How a table's rows lie in its data files: what is derived from a WriteSpec once and used for every batch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import InvalidArgumentError, UnsupportedTypeError
from deltalite.model.arrow import VARIANT, scalar, schema_to_arrow, type_to_arrow
from deltalite.model.types import ArrayType, DataType, Field, MapType, StructType
from deltalite.model.write_spec import WriteSpec
from deltalite.write import nested
from deltalite.write.conform import Conform, conform
from deltalite.write.leaves import leaves

FIELD_ID = b"PARQUET:field_id"
_NO_IDS: Mapping[str, int] = {}
_NO_BYTES = scalar(b"", pa.binary())
_PLANS = 8
_SUFFIXES = {"none": "", "gzip": ".gz", "lz4": ".lz4raw", "lz4_raw": ".lz4raw", "brotli": ".br"}


class Layout:
    """The data files of one WriteSpec.

    :raises UnsupportedTypeError: for ``void`` inside arrays or maps, and structs of nothing else (PROTOCOL.md has no
        Parquet form for them).
    """

    def __init__(self, spec: WriteSpec) -> None:
        self.spec = spec
        self._plans: dict[tuple[pa.Schema, frozenset[str], bool, bool], Conform] = {}
        pairs = spec.file_fields
        if not spec.data_fields:
            raise InvalidArgumentError(
                "no column is left for the data files: all columns are partition columns or of type void",
                hint="partition by fewer columns",
            )
        for f, _ in pairs:
            _check_void(f.type, f.name)
        self.table_schema = schema_to_arrow(spec.schema)
        self.required = [f for f in spec.schema.fields if has_required(f)]
        self.columns = [f.name for f, _ in pairs]
        self.fields = [p for _, p in pairs]
        self.file_schema = pa.schema([file_field(p) for p in self.fields])
        self._convert = [_stored(f.type) for f, _ in pairs]
        self.leaves = leaves(self.fields)
        wanted = set(spec.stats_columns)
        self.stats = [leaf for leaf in self.leaves if leaf.path in wanted]
        codec = spec.parquet.compression.lower()
        self.suffix = f"{_SUFFIXES.get(codec, '.' + codec)}.parquet"

    @cached_property
    def footer_off(self) -> frozenset[int]:
        """Positions of the leaf columns whose Parquet statistics are switched off."""
        off = self.spec.parquet.statistics_off
        return frozenset(i for i, name in enumerate(self._parquet_names) if name in off)

    @cached_property
    def footer_statistics(self) -> bool | list[str]:
        """The leaf columns that get Parquet statistics, as pyarrow wants it said."""
        if not self.footer_off:
            return True
        return [name for i, name in enumerate(self._parquet_names) if i not in self.footer_off] or False

    @property
    def _parquet_names(self) -> list[str]:
        return [name for leaf in self.leaves for name in leaf.parquet]

    def plan(
        self,
        data: pa.Schema,
        computed: frozenset[str],
        unsafe: bool,
        sample: pa.RecordBatch | None,
        encoded: bool = False,
    ) -> Conform:
        """How data of a schema is fitted to the table; the last few plans are kept. See :func:`conform`."""
        key = (data, computed, unsafe, encoded)
        if (known := self._plans.get(key)) is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            schema = self.spec.schema
            known = conform(data, schema, computed=computed, unsafe=unsafe, sample=sample, encoded=encoded)
            self._plans[key] = known
        return known

    def file_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns of a batch that go into the file, under their physical names and with field ids; dictionaries
        stay."""
        arrays = [batch.column(name) for name in self.columns]
        arrays = [convert(a) if convert else a for a, convert in zip(arrays, self._convert, strict=True)]
        plain = pa.RecordBatch.from_arrays(arrays, names=self.file_schema.names)
        schema = self.file_schema
        for i, array in enumerate(arrays):
            if pa.types.is_dictionary(array.type):
                schema = schema.set(i, schema.field(i).with_type(array.type))
        return nested.relabel(plain, schema)


def has_required(f: Field) -> bool:
    """Whether the column, or something inside, may not be null."""
    return not f.nullable or requires_values(f.type)


def requires_values(data_type: DataType) -> bool:
    """Whether something inside the type may not be null."""
    if isinstance(data_type, StructType):
        return any(has_required(f) for f in data_type.fields)
    if isinstance(data_type, ArrayType):
        return not data_type.contains_null or requires_values(data_type.element_type)
    if isinstance(data_type, MapType):
        inside = requires_values(data_type.key_type) or requires_values(data_type.value_type)
        return inside or not data_type.value_contains_null
    return False


def layout_of(spec: WriteSpec) -> Layout:
    """The layout of a spec, derived once per spec object."""
    found = spec.derived.get("layout")
    if found is None:
        found = spec.derived["layout"] = Layout(spec)
    return found


def file_field(f: Field) -> pa.Field:
    """A physical field as it lies in a file: nullable throughout, so that a file fits every later schema."""
    nested_ids = f.metadata.get("parquet.field.nested.ids") or {}
    return pa.field(f.name, _file_type(f.type, f.name, nested_ids), True, _id(f.metadata.get("parquet.field.id")))


def _id(number: int | None) -> dict[bytes, bytes] | None:
    return None if number is None else {FIELD_ID: str(number).encode()}


def _file_type(data_type: DataType, path: str = "", ids: Mapping[str, int] = _NO_IDS) -> pa.DataType:
    """The type of a column in a file.

    :param path: the way from the field to it, through arrays and maps.
    :param ids: the field ids of elements, keys and values by such paths.
    """
    if isinstance(data_type, StructType):
        return pa.struct([file_field(f) for f in data_type.fields if f.type.type != "void"])

    def part(name: str, kind: DataType, nullable: bool = True) -> pa.Field:
        inside = f"{path}.{name}"
        return pa.field(name, _file_type(kind, inside, ids), nullable, _id(ids.get(inside)))

    if isinstance(data_type, ArrayType):
        return pa.list_(part("element", data_type.element_type))
    if isinstance(data_type, MapType):
        return pa.map_(part("key", data_type.key_type, False), part("value", data_type.value_type))
    return type_to_arrow(data_type)


def _check_void(data_type: DataType, path: str) -> None:
    if isinstance(data_type, StructType):
        if all(f.type.type == "void" for f in data_type.fields):
            raise UnsupportedTypeError(f"column {path!r} is a struct without a storable field", column=path)
        for f in data_type.fields:
            _check_void(f.type, f"{path}.{f.name}")
    elif isinstance(data_type, (ArrayType, MapType)):
        parts = (
            [data_type.element_type] if isinstance(data_type, ArrayType) else [data_type.key_type, data_type.value_type]
        )
        for part in parts:
            if part.type == "void":
                raise UnsupportedTypeError(
                    f"column {path!r} has elements of type void, which Parquet cannot store",
                    hint="give the elements a type",
                    column=path,
                )
            _check_void(part, path)


def _stored(data_type: DataType) -> nested.Convert | None:
    """The step from values to how files hold them, ``None`` where they are the same: void fields of structs are left
    out, and the parts of variants, which are required, have no nulls below null variants."""
    if data_type.type == "variant":
        return _with_parts
    if isinstance(data_type, ArrayType):
        return nested.list_converter(pa.list_(type_to_arrow(data_type.element_type)), _stored(data_type.element_type))
    if isinstance(data_type, MapType):
        return nested.map_converter(_stored(data_type.key_type), _stored(data_type.value_type))
    if not isinstance(data_type, StructType):
        return None
    children: list[tuple[int | None, nested.Convert | None]] = [
        (i, _stored(f.type)) for i, f in enumerate(data_type.fields) if f.type.type != "void"
    ]
    return nested.struct_converter(children, _file_type(data_type), len(data_type.fields))


def _with_parts(variants: Any) -> Any:
    if not variants.null_count:
        return variants
    parts = [pc.fill_null(pc.struct_field(variants, f.name), _NO_BYTES) for f in VARIANT]
    return pa.StructArray.from_arrays(parts, fields=list(VARIANT), mask=pc.is_null(variants))
