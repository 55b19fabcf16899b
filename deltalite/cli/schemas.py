"""A Delta schema in the notations of other tools."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalite.model.types import Field, Schema

_SQL_NAMES = {"long": "BIGINT", "integer": "INT", "short": "SMALLINT", "byte": "TINYINT"}
_SPARK_NAMES = {
    "string": "StringType", "long": "LongType", "integer": "IntegerType", "short": "ShortType", "byte": "ByteType",
    "float": "FloatType", "double": "DoubleType", "boolean": "BooleanType", "binary": "BinaryType", "date": "DateType",
    "timestamp": "TimestampType", "timestamp_ntz": "TimestampNTZType", "void": "NullType", "variant": "VariantType",
}  # fmt: skip
_PYTHON_NAMES = {
    "string": "str", "long": "int", "integer": "int", "short": "int", "byte": "int", "float": "float",
    "double": "float", "boolean": "bool", "binary": "bytes", "date": "date", "timestamp": "datetime",
    "timestamp_ntz": "datetime", "void": "None", "variant": "Any",
}  # fmt: skip


def column_records(schema: Schema, partition_columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A record per column, struct members after their struct; ``depth`` and ``outline`` serve the tree."""
    yield from _records(schema.fields, (), set(partition_columns))


def _records(fields: Sequence[Field], path: tuple[str, ...], partitions: set[str]) -> Iterator[dict[str, Any]]:
    for f in fields:
        here = (*path, f.name)
        inner, members = _inside(f.type)
        yield {
            "column": ".".join(map(quoted, here)),
            "type": type_text(f.type),
            "nullable": f.nullable,
            "partition": not path and f.name in partitions,
            "comment": f.metadata.get("comment"),
            "name": f.name,
            "depth": len(path),
            "outline": inner,
        }
        yield from _records(members, here, partitions)


def _inside(data_type: Any) -> tuple[str, Sequence[Field]]:
    """The type with its struct members left out, and those members: ``array<struct>`` and what is in the struct."""
    kind = data_type.type
    if kind == "struct":
        return "struct", data_type.fields
    if kind == "array":
        inner, members = _inside(data_type.element_type)
        return f"array<{inner}>", members
    if kind == "map":
        inner, members = _inside(data_type.value_type)
        return f"map<{type_text(data_type.key_type)}, {inner}>", members
    return kind, ()


def type_text(data_type: Any, names: dict[str, str] | None = None) -> str:
    """A type on one line: ``array<struct<a: long, b: string>>``.

    :param names: other names for primitive types.
    """
    kind: str = data_type.type
    if kind == "array":
        return f"array<{type_text(data_type.element_type, names)}>"
    if kind == "map":
        return f"map<{type_text(data_type.key_type, names)}, {type_text(data_type.value_type, names)}>"
    if kind == "struct":
        members = (
            f"{quoted(f.name)}: {type_text(f.type, names)}{' not null' if names and not f.nullable else ''}"
            for f in data_type.fields
        )
        return f"struct<{', '.join(members)}>"
    return names.get(kind, kind) if names else kind


def quoted(name: str) -> str:
    """The name as SQL takes it: in backticks unless it is a plain word."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else "`" + name.replace("`", "``") + "`"


def as_json(schema: Schema) -> str:
    """The JSON of the protocol, indented."""
    return json.dumps(json.loads(schema.to_json()), indent=2, ensure_ascii=False)


def as_ddl(schema: Schema) -> str:
    """The column list of CREATE TABLE, which ``--schema`` takes."""
    return ",\n".join(_ddl_column(f) for f in schema.fields)


def _ddl_column(f: Field) -> str:
    parts = [quoted(f.name), _upper(type_text(f.type, _SQL_NAMES))]
    if not f.nullable:
        parts.append("NOT NULL")
    if generated := f.metadata.get("delta.generationExpression"):
        parts.append(f"GENERATED ALWAYS AS ({generated})")
    if (start := f.metadata.get("delta.identity.start")) is not None:
        how = "BY DEFAULT" if f.metadata.get("delta.identity.allowExplicitInsert") else "ALWAYS"
        step = f.metadata.get("delta.identity.step")
        parts.append(f"GENERATED {how} AS IDENTITY (START WITH {start} INCREMENT BY {step})")
    if default := f.metadata.get("CURRENT_DEFAULT"):
        parts.append(f"DEFAULT {default}")
    if comment := f.metadata.get("comment"):
        text = str(comment).replace("\\", "\\\\").replace("'", "\\'")
        parts.append(f"COMMENT '{text}'")
    return " ".join(parts)


def _upper(type_name: str) -> str:
    return type_name.upper() if re.fullmatch(r"[a-z_]+(\(\d+, ?\d+\)|\(\d+,\d+\))?", type_name) else type_name


def as_arrow(schema: Schema) -> str:
    """What ``pyarrow`` prints of the schema in which rows are read."""
    return schema.to_arrow().to_string(show_field_metadata=False, show_schema_metadata=False)


def as_spark(schema: Schema) -> str:
    """PySpark code; needs ``from pyspark.sql.types import *``."""
    return _spark(schema, "")


def _spark(data_type: Any, indent: str) -> str:
    kind = data_type.type
    if kind == "array":
        return f"ArrayType({_spark(data_type.element_type, indent)}, {data_type.contains_null})"
    if kind == "map":
        key, value = _spark(data_type.key_type, indent), _spark(data_type.value_type, indent)
        return f"MapType({key}, {value}, {data_type.value_contains_null})"
    if kind == "struct":
        inner = indent + "    "
        members = "".join(
            f"{inner}StructField({f.name!r}, {_spark(f.type, inner)}, {f.nullable}),\n" for f in data_type.fields
        )
        return f"StructType([\n{members}{indent}])"
    if data_type.is_decimal:
        return f"DecimalType({data_type.precision}, {data_type.scale})"
    return f"{_SPARK_NAMES[kind]}()"


def as_pydantic(schema: Schema) -> str:
    """Pydantic models, one per struct, the table's last."""
    classes: list[str] = []
    taken: set[str] = set()
    _model("Row", schema, classes, taken)
    imports = [
        "from __future__ import annotations", "from datetime import date, datetime", "from decimal import Decimal",
        "from typing import Any", "from pydantic import BaseModel, Field",
    ]  # fmt: skip
    return "\n\n".join([imports[0], "\n".join(imports[1:4]), imports[4]]) + "\n\n\n" + "\n\n\n".join(classes)


def _model(name: str, struct: Any, classes: list[str], taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    lines = [f"class {name}(BaseModel):"]
    for f in struct.fields:
        hint = _python(f.type, "".join(part.capitalize() for part in re.findall(r"\w+", f.name)), classes, taken)
        hint += " | None" if f.nullable and hint not in ("None", "Any") else ""
        attribute = f.name
        if not f.name.isidentifier() or keyword.iskeyword(f.name) or f.name.startswith("_"):
            attribute = "field_" + re.sub(r"\W", "_", f.name).strip("_")
        options = [] if f.nullable is False else ["default=None"]
        options += [f"alias={f.name!r}"] if attribute != f.name else []
        default = f" = Field({', '.join(options)})" if attribute != f.name else " = None" if f.nullable else ""
        lines.append(f"    {attribute}: {hint}{default}")
    classes.append("\n".join(lines))
    return name


def _python(data_type: Any, name: str, classes: list[str], taken: set[str]) -> str:
    kind = data_type.type
    if kind == "array":
        inner = _python(data_type.element_type, name, classes, taken)
        return f"list[{inner}{' | None' if data_type.contains_null else ''}]"
    if kind == "map":
        key = _python(data_type.key_type, name + "Key", classes, taken)
        inner = _python(data_type.value_type, name, classes, taken)
        return f"dict[{key}, {inner}{' | None' if data_type.value_contains_null else ''}]"
    if kind == "struct":
        return _model(name or "Struct", data_type, classes, taken)
    return "Decimal" if data_type.is_decimal else _PYTHON_NAMES[kind]


NOTATIONS: dict[str, Callable[[Any], str]] = {
    "ddl": as_ddl,
    "json": as_json,
    "arrow": as_arrow,
    "spark": as_spark,
    "pydantic": as_pydantic,
}
