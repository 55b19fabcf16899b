"""The types of a Delta schema and their JSON (PROTOCOL.md, "Schema Serialization Format").

The classes carry the names and constructors of ``deltalake.schema``, and there is no second set behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deltalite.exceptions import InvalidArgumentError, InvalidTableError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = ("long", "integer", "short", "byte", "float", "double")
_OTHERS = ("string", "boolean", "binary", "date", "timestamp", "timestamp_ntz", "void", "variant")
PRIMITIVES = frozenset((*_NUMBERS, *_OTHERS))
_ALIASES = {"null": "void", "int": "integer", "bigint": "long", "smallint": "short", "tinyint": "byte"}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(-?\d+)\s*\)")
_TEXT = re.compile(r"(?:string collate .+|(?:var)?char\(\s*\d+\s*\))", re.IGNORECASE)
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class PrimitiveType:
    """A type without parts: ``long``, ``string``, ``decimal(10,2)``, ..."""

    type: str

    def __post_init__(self) -> None:
        name = _ALIASES.get(self.type, self.type)
        if name == "decimal":
            name = "decimal(10,0)"
        if match := _DECIMAL.fullmatch(name):
            precision, scale = int(match[1]), int(match[2])
            if not (0 < precision <= 38 and 0 <= scale <= precision):
                raise InvalidArgumentError(f"{name} is out of range: precision 1 to 38, scale 0 to precision")
            name = f"decimal({precision},{scale})"
        elif _TEXT.fullmatch(name):
            name = "string"
        elif name not in PRIMITIVES:
            raise InvalidArgumentError(
                f"invalid type string: {self.type}", hint=f"the types are {', '.join(sorted(PRIMITIVES))}, decimal(p,s)"
            )
        object.__setattr__(self, "type", name)

    @property
    def is_decimal(self) -> bool:
        return self.type.startswith("decimal")

    @property
    def precision(self) -> int:
        """Digits of a decimal in all."""
        return int(self.type[8:-1].split(",")[0])

    @property
    def scale(self) -> int:
        """Digits of a decimal behind the point."""
        return int(self.type[8:-1].split(",")[1])

    def __str__(self) -> str:
        return f'PrimitiveType("{self.type}")'

    __repr__ = __str__

    def to_json(self) -> str:
        return json.dumps(self.type)

    @staticmethod
    def from_json(text: str) -> PrimitiveType:
        return _expect(type_from_json(json.loads(text)), PrimitiveType)

    def to_arrow(self) -> pa.DataType:
        return _arrow().type_to_arrow(self)

    @staticmethod
    def from_arrow(data_type: Any) -> PrimitiveType:
        return _expect(_arrow().type_from_arrow(data_type), PrimitiveType)


class VariantType(PrimitiveType):
    """A semi-structured value (PROTOCOL.md, "Variant Data Type")."""

    __slots__ = ()

    def __init__(self) -> None:
        PrimitiveType.__init__(self, "variant")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrimitiveType) and other.type == "variant"

    def __hash__(self) -> int:
        return hash(("variant",))

    def __str__(self) -> str:
        return "VariantType()"

    __repr__ = __str__

    def __reduce__(self) -> tuple[Any, ...]:
        return VariantType, ()


@dataclass(frozen=True, slots=True, init=False)
class ArrayType:
    """A list of elements of one type."""

    element_type: DataType
    contains_null: bool

    def __init__(self, element_type: DataType | str, contains_null: bool = True) -> None:
        object.__setattr__(self, "element_type", _as_type(element_type))
        object.__setattr__(self, "contains_null", contains_null)

    @property
    def type(self) -> str:
        return "array"

    def __str__(self) -> str:
        return f"ArrayType({self.element_type}, contains_null={self.contains_null})"

    __repr__ = __str__

    def to_json(self) -> str:
        return _dumps(type_to_json(self))

    @staticmethod
    def from_json(text: str) -> ArrayType:
        return _expect(type_from_json(json.loads(text)), ArrayType)

    def to_arrow(self) -> pa.DataType:
        return _arrow().type_to_arrow(self)

    @staticmethod
    def from_arrow(data_type: Any) -> ArrayType:
        return _expect(_arrow().type_from_arrow(data_type), ArrayType)


@dataclass(frozen=True, slots=True, init=False)
class MapType:
    """Keys of one type (never null) to values of one type."""

    key_type: DataType
    value_type: DataType
    value_contains_null: bool

    def __init__(self, key_type: DataType | str, value_type: DataType | str, value_contains_null: bool = True) -> None:
        object.__setattr__(self, "key_type", _as_type(key_type))
        object.__setattr__(self, "value_type", _as_type(value_type))
        object.__setattr__(self, "value_contains_null", value_contains_null)

    @property
    def type(self) -> str:
        return "map"

    def __str__(self) -> str:
        return f"MapType({self.key_type}, {self.value_type}, value_contains_null={self.value_contains_null})"

    __repr__ = __str__

    def to_json(self) -> str:
        return _dumps(type_to_json(self))

    @staticmethod
    def from_json(text: str) -> MapType:
        return _expect(type_from_json(json.loads(text)), MapType)

    def to_arrow(self) -> pa.DataType:
        return _arrow().type_to_arrow(self)

    @staticmethod
    def from_arrow(data_type: Any) -> MapType:
        return _expect(_arrow().type_from_arrow(data_type), MapType)


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Field:
    """A named, typed column or struct member. ``metadata`` holds the JSON values of the schema, unknown ones too."""

    name: str
    type: DataType
    nullable: bool
    metadata: Mapping[str, Any] = field(hash=False)

    def __init__(
        self, name: str, type: DataType | str, nullable: bool = True, metadata: Mapping[str, Any] | None = None
    ) -> None:
        if not isinstance(name, str):
            raise InvalidArgumentError(f"a field name is text, not {name!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "type", _as_type(type))
        object.__setattr__(self, "nullable", bool(nullable))
        object.__setattr__(self, "metadata", dict(metadata or {}))

    def with_(self, **changes: Any) -> Field:
        """A copy with some of ``name``, ``type``, ``nullable`` and ``metadata`` replaced."""
        kept = {"name": self.name, "type": self.type, "nullable": self.nullable, "metadata": self.metadata}
        return Field(**{**kept, **changes})

    def __str__(self) -> str:
        extra = f", metadata={dict(self.metadata)}" if self.metadata else ""
        return f"Field({self.name}, {self.type}, nullable={self.nullable}{extra})"

    __repr__ = __str__

    def to_json(self) -> str:
        return _dumps(field_to_json(self))

    @staticmethod
    def from_json(text: str) -> Field:
        return field_from_json(json.loads(text))

    def to_arrow(self) -> pa.Field:
        return _arrow().field_to_arrow(self)

    @staticmethod
    def from_arrow(field: Any) -> Field:
        return _arrow().field_from_arrow(field)

    def __arrow_c_schema__(self) -> Any:
        return self.to_arrow().__arrow_c_schema__()


StructField = Field


@dataclass(frozen=True, slots=True, init=False, repr=False)
class StructType:
    """Named fields in order."""

    fields: list[Field] = field(hash=False)

    def __init__(self, fields: Sequence[Field]) -> None:
        object.__setattr__(self, "fields", list(fields))

    @property
    def type(self) -> str:
        return "struct"

    @property
    def names(self) -> list[str]:
        return [f.name for f in self.fields]

    def get(self, name: str) -> Field | None:
        """The field of this name, ignoring case as Delta does, or ``None``."""
        folded = name.lower()
        return next((f for f in self.fields if f.name == name), None) or next(
            (f for f in self.fields if f.name.lower() == folded), None
        )

    def __hash__(self) -> int:
        return hash(tuple(self.fields))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StructType) and self.fields == other.fields

    def __str__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(str, self.fields))}])"

    __repr__ = __str__

    def to_json(self) -> str:
        return _dumps(type_to_json(self))

    @classmethod
    def from_json(cls, text: str) -> StructType:
        return cls(_expect(type_from_json(json.loads(text)), StructType).fields)

    def to_arrow(self) -> Any:
        return _arrow().type_to_arrow(self)

    @classmethod
    def from_arrow(cls, data_type: Any) -> StructType:
        return cls(_expect(_arrow().type_from_arrow(data_type), StructType).fields)


class Schema(StructType):
    """The schema of a table: a struct at the top."""

    __slots__ = ()

    def to_arrow(self, as_large_types: bool = False) -> pa.Schema:
        """The Arrow schema of what reads return. ``as_large_types`` asks for 64-bit offsets."""
        return _arrow().schema_to_arrow(self, as_large_types)

    @classmethod
    def from_arrow(cls, data_type: Any) -> Schema:
        """From anything with ``__arrow_c_schema__``.

        :raises UnsupportedTypeError: when a column has no Delta type, with the cast that would help.
        """
        return _arrow().schema_from_arrow(data_type)

    @property
    def invariants(self) -> list[tuple[str, str]]:
        """Pairs of column path and SQL expression from ``delta.invariants`` of the fields."""
        found = []
        for path, leaf in walk(self):
            if text := leaf.metadata.get("delta.invariants"):
                found.append((".".join(path), json.loads(text)["expression"]["expression"]))
        return found

    def json(self) -> dict[str, Any]:
        return type_to_json(self)

    def __arrow_c_schema__(self) -> Any:
        return self.to_arrow().__arrow_c_schema__()


DataType = PrimitiveType | ArrayType | MapType | StructType


def walk(struct: StructType, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Field]]:
    """Every field with its path, parents first; array and map levels are named ``element``, ``key``, ``value``."""
    for f in struct.fields:
        yield (*prefix, f.name), f
        yield from _walk_type(f.type, (*prefix, f.name))


def _walk_type(data_type: DataType, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    if isinstance(data_type, StructType):
        yield from walk(data_type, path)
    elif isinstance(data_type, ArrayType):
        yield from _walk_type(data_type.element_type, (*path, "element"))
    elif isinstance(data_type, MapType):
        yield from _walk_type(data_type.key_type, (*path, "key"))
        yield from _walk_type(data_type.value_type, (*path, "value"))


def map_fields(data_type: Any, change: Any) -> Any:
    """The type with ``change(field, path)`` applied to every field, children first."""
    return _map_fields(data_type, change, ())


def _map_fields(data_type: Any, change: Any, path: tuple[str, ...]) -> Any:
    if isinstance(data_type, StructType):
        fields = [
            change(f.with_(type=_map_fields(f.type, change, (*path, f.name))), (*path, f.name))
            for f in data_type.fields
        ]
        return type(data_type)(fields)
    if isinstance(data_type, ArrayType):
        inner = _map_fields(data_type.element_type, change, (*path, "element"))
        return ArrayType(inner, data_type.contains_null)
    if isinstance(data_type, MapType):
        return MapType(
            _map_fields(data_type.key_type, change, (*path, "key")),
            _map_fields(data_type.value_type, change, (*path, "value")),
            data_type.value_contains_null,
        )
    return data_type


def type_to_json(data_type: DataType) -> Any:
    """The JSON value of a type: text for a primitive, an object for a nested one."""
    if isinstance(data_type, PrimitiveType):
        return data_type.type
    if isinstance(data_type, ArrayType):
        inner = type_to_json(data_type.element_type)
        return {"type": "array", "elementType": inner, "containsNull": data_type.contains_null}
    if isinstance(data_type, MapType):
        return {
            "type": "map",
            "keyType": type_to_json(data_type.key_type),
            "valueType": type_to_json(data_type.value_type),
            "valueContainsNull": data_type.value_contains_null,
        }
    return {"type": "struct", "fields": [field_to_json(f) for f in data_type.fields]}


def field_to_json(f: Field) -> dict[str, Any]:
    return {"name": f.name, "type": type_to_json(f.type), "nullable": f.nullable, "metadata": dict(f.metadata)}


def type_from_json(value: Any, depth: int = 0) -> DataType:
    """The type that a JSON value of a schema denotes.

    :raises InvalidTableError: when the value is no Delta type, or nests deeper than 100 levels.
    """
    if depth > MAX_DEPTH:
        raise InvalidTableError(f"the schema nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        return VariantType() if value == "variant" else PrimitiveType(value)
    try:
        kind = value["type"]
        if kind == "struct":
            return StructType([field_from_json(f, depth + 1) for f in value["fields"]])
        if kind == "array":
            return ArrayType(type_from_json(value["elementType"], depth + 1), value.get("containsNull", True))
        if kind == "map":
            return MapType(
                type_from_json(value["keyType"], depth + 1),
                type_from_json(value["valueType"], depth + 1),
                value.get("valueContainsNull", True),
            )
        if kind == "udt":
            return type_from_json(value["sqlType"], depth + 1)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidTableError(f"not a Delta type: {str(value)[:200]}") from error
    raise InvalidTableError(f"not a Delta type: {str(value)[:200]}")


def field_from_json(value: Any, depth: int = 0) -> Field:
    try:
        return Field(
            value["name"], type_from_json(value["type"], depth), value.get("nullable", True), value.get("metadata")
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidTableError(f"not a field of a Delta schema: {str(value)[:200]}") from error


def _as_type(value: DataType | str) -> DataType:
    if isinstance(value, str):
        return VariantType() if value == "variant" else PrimitiveType(value)
    if isinstance(value, (PrimitiveType, ArrayType, MapType, StructType)):
        return value
    raise InvalidArgumentError(f"{value!r} is not a Delta type")


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{value} is not a {kind.__name__}")
    return value


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _arrow() -> Any:
    from deltalite.model import arrow

    return arrow
