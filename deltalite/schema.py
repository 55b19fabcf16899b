"""deltalake's ``deltalake.schema``: the types of a schema."""

from deltalite.model.types import ArrayType, DataType, Field, MapType, PrimitiveType, Schema, StructType, VariantType

__all__ = ["ArrayType", "DataType", "Field", "MapType", "PrimitiveType", "Schema", "StructType", "VariantType"]
