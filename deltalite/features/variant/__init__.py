"""Variants: semi-structured values, stored whole or shredded into typed columns (PROTOCOL.md, "Variant Data Type",
"Variant Shredding").

Readers see structs of ``metadata`` and ``value`` in the binary encoding, the same whether a file is shredded or not.
Files are written unshredded, which every reader knows. ``binary`` knows the encoding, ``encode`` makes variants of JSON
text and of Python's values, ``shredding`` and ``scalars`` put shredded values together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.features.base import Feature
from deltalite.features.plain import columns_of_type, has_type
from deltalite.features.variant import binary
from deltalite.features.variant.encode import from_json, from_values
from deltalite.features.variant.shredding import rebuild
from deltalite.model.arrow import array
from deltalite.model.config import TableConfig
from deltalite.model.properties import VARIANT_SHREDDING
from deltalite.model.types import DataType

__all__ = ["FEATURES", "from_json", "from_values", "to_json"]


def to_json(values: pa.StructArray | pa.ChunkedArray) -> pa.Array:
    """A column of variants as JSON text, as Spark's ``to_json`` writes it; times in UTC.

    :raises InvalidTableError: when a value is damaged.
    """
    if isinstance(values, pa.ChunkedArray):
        return pa.concat_arrays([to_json(chunk) for chunk in values.chunks] or [pa.nulls(0, pa.string())])
    metadata = pc.struct_field(values, [values.type.get_field_index("metadata")]).dictionary_encode()
    names = [binary.names_of(text) for text in metadata.dictionary.to_pylist()]
    codes = metadata.indices.to_pylist()
    raw = pc.struct_field(values, [values.type.get_field_index("value")]).to_pylist()
    found = [
        None if code is None or value is None else binary.to_json(names[code], value)
        for code, value in zip(codes, raw, strict=True)
    ]
    return array(found, pa.string())


def _convert(stored: pa.DataType, wanted: DataType) -> Callable[[Any], pa.Array] | None:
    is_variant = pa.types.is_struct(stored) and stored.get_field_index("metadata") >= 0
    return rebuild if wanted.type == "variant" and is_variant else None


def _is_shredded(config: TableConfig, _: Any, file: Callable[[], pa.Schema]) -> bool:
    return has_type("variant")(config.schema, {}) and _has_typed_value(pa.struct(list(file())))


def _has_typed_value(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind) and {"metadata", "typed_value"} <= {f.name for f in kind}:
        return True
    return any(_has_typed_value(kind.field(i).type) for i in range(kind.num_fields))


TYPE = Feature(
    "variantType",
    "reader-writer",
    aliases=("variantType-preview",),
    implied_by=has_type("variant"),
    convert=_convert,
    in_use=columns_of_type("variant"),
)
SHREDDING = Feature(
    "variantShredding",
    "reader-writer",
    aliases=("variantShredding-preview",),
    requires=("variantType",),
    property=VARIANT_SHREDDING.name,
    bears=_is_shredded,
)
FEATURES = (TYPE, SHREDDING)
