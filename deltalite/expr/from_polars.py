"""polars expressions to our nodes, by the JSON they serialise to.

polars orders NaN and joins conditions as Spark does, so comparisons carry over. Arithmetic does not: polars wraps
where ANSI SQL raises.
"""

from __future__ import annotations

import datetime as dt
import json
import warnings
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import is_integral
from deltalite.expr.from_pyarrow import constant
from deltalite.model.expr import (
    BOOLEAN,
    BYTE,
    DATE,
    DOUBLE,
    FLOAT,
    INTEGER,
    LONG,
    SHORT,
    STRING,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    VOID,
    Call,
    Cast,
    Column,
    Expr,
    Literal,
    and_,
    lit,
    not_,
    or_,
)
from deltalite.model.types import StructType

_COMPARISONS = {
    "Eq": "=", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">=", "EqValidity": "<=>",
}  # fmt: skip
_BETWEEN = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
_INTEGERS = {"Int8": BYTE, "Int16": SHORT, "Int32": INTEGER, "Int64": LONG}
_PER_SECOND = {"Milliseconds": 1_000, "Microseconds": 1_000_000, "Nanoseconds": 1_000_000_000}


def from_polars(expression: Any, schema: StructType) -> Expr:
    """The expression in our nodes.

    :raises ExpressionError: for a function, a type or a combination without an exact counterpart.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the form is not promised to be stable: what is unknown is refused
            tree = json.loads(expression.meta.serialize(format="json"))
        return _Reader(schema).read(tree)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, pa.ArrowException) as error:
        if isinstance(error, ExpressionError):
            raise
        raise refused(f"its JSON form cannot be read: {error!r}") from error
    except RecursionError:
        raise refused("it nests too deeply") from None


def refused(why: str) -> ExpressionError:
    return ExpressionError(
        f"the polars expression has no exact counterpart: {why}", hint="write the predicate as SQL text"
    )


class _Reader:
    def __init__(self, schema: StructType) -> None:
        self.schema = schema

    def read(self, tree: Any) -> Any:
        if not isinstance(tree, dict) or len(tree) != 1:
            raise refused(f"{str(tree)[:60]}")
        ((kind, body),) = tree.items()
        reader: Callable[[Any], Any] | None = getattr(self, f"read_{kind.lower()}", None)
        if reader is None:
            raise refused(kind)
        return reader(body)

    def read_column(self, name: str) -> Column:
        field = self.schema.get(name)
        if field is None or field.name != name:
            raise ExpressionError(f"there is no column {name!r}")
        return Column((name,), field.type)

    def read_alias(self, body: list[Any]) -> Any:
        return self.read(body[0])

    def read_binaryexpr(self, body: dict[str, Any]) -> Expr:
        op = body["op"]
        left, right = self.read(body["left"]), self.read(body["right"])
        if op in ("And", "LogicalAnd"):
            return and_(left, right)
        if op in ("Or", "LogicalOr"):
            return or_(left, right)
        if op == "NotEqValidity":
            return not_(Call("<=>", (left, right), BOOLEAN))
        if op not in _COMPARISONS:
            raise refused(f"the operator {op}")
        return Call(_COMPARISONS[op], (left, right), BOOLEAN)

    def read_cast(self, body: dict[str, Any]) -> Expr:
        operand, target = self.read(body["expr"]), _INTEGERS.get(body["dtype"].get("Literal"))
        if target is None or not is_integral(getattr(operand, "type", None)) or body["options"] != "Strict":
            raise refused(f"a cast to {body['dtype']}")
        return operand if operand.type == target else Cast(operand, target)

    # constants ------------------------------------------------------------------------------------------------------

    def read_literal(self, body: dict[str, Any]) -> Literal:
        ((kind, value),) = body.items()
        if kind == "Dyn":
            ((_, number),) = value.items()
            if number is None:
                raise refused("a constant NaN, which its JSON form loses")
            return lit(number)  # type: ignore[return-value]
        if kind == "Scalar":
            return self.scalar(value)
        raise refused(f"a constant {kind}")

    def scalar(self, body: dict[str, Any]) -> Literal:
        ((kind, value),) = body.items()
        if kind == "Null":
            return Literal(None, VOID)
        if kind in _INTEGERS:
            return Literal(int(value), _INTEGERS[kind])
        plain = {
            "String": (str, STRING),
            "Boolean": (bool, BOOLEAN),
            "Float64": (float, DOUBLE),
            "Float32": (float, FLOAT),
        }
        if kind in plain and isinstance(value, (plain[kind][0], int)):
            return Literal(plain[kind][0](value), plain[kind][1])
        if kind == "Date":
            return Literal(dt.date.fromordinal(719163 + value), DATE)
        if kind == "Datetime":
            return self.moment(*value)
        raise refused(f"a constant {kind}")

    def moment(self, count: int, unit: str, zone: Any) -> Literal:
        micros, rest = divmod(count * 1_000_000, _PER_SECOND[unit])
        if rest:
            raise refused("a time finer than microseconds")
        wall = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=micros)
        if zone is None:
            return Literal(wall, TIMESTAMP_NTZ)
        return Literal(wall.replace(tzinfo=dt.timezone.utc), TIMESTAMP)

    def items(self, tree: Any) -> list[Literal]:
        """The constants of ``is_in``: an Arrow IPC stream in a list of bytes."""
        body = tree["Literal"]
        data = body["Scalar"]["List"] if "Scalar" in body else body["Series"]
        column = pa.ipc.open_stream(bytes(data)).read_all().column(0)
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if pa.types.is_large_list(values.type) or pa.types.is_list(values.type):
            values = values.flatten()
        return [constant(v) for v in values]

    # functions ------------------------------------------------------------------------------------------------------

    def read_function(self, body: dict[str, Any]) -> Expr:
        ((group, what),) = body["function"].items()
        ((name, options),) = what.items() if isinstance(what, dict) else ((what, {}),)
        reader: Any = getattr(self, f"call_{group.lower()}", None)
        if reader is None:
            raise refused(f"the function {group}.{name}")
        return reader(name, options, body["input"])

    def call_boolean(self, name: str, options: dict[str, Any], inputs: list[Any]) -> Expr:
        value = self.read(inputs[0])
        if name in ("IsNull", "IsNotNull"):
            test = Call("is_null", (value,), BOOLEAN)
            return test if name == "IsNull" else not_(test)
        if name in ("IsNan", "IsNotNan"):
            return Call("=" if name == "IsNan" else "!=", (value, Literal(float("nan"), DOUBLE)), BOOLEAN)
        if name == "Not":
            return not_(value)
        if name == "IsBetween":
            low, high = _BETWEEN[options["closed"]]
            return and_(Call(low, (value, self.read(inputs[1]))), Call(high, (value, self.read(inputs[2]))))
        if name == "IsIn" and not options["nulls_equal"]:
            present = [i for i in self.items(inputs[1]) if i.value is not None]
            if present:
                return Call("in", (value, *present), BOOLEAN)
        raise refused(f"the function {name}")

    def call_stringexpr(self, name: Any, options: Any, inputs: list[Any]) -> Expr:
        functions = {"StartsWith": "startswith", "EndsWith": "endswith"}
        if name == "Contains" and isinstance(options, dict) and options.get("literal"):
            functions["Contains"] = "contains"
        if name not in functions:
            raise refused(f"the function str.{name}")
        return Call(functions[name], (self.read(inputs[0]), self.read(inputs[1])), BOOLEAN)

    def call_structexpr(self, name: str, options: Any, inputs: list[Any]) -> Expr:
        value = self.read(inputs[0])
        field = value.type.get(options) if isinstance(value, Column) and isinstance(value.type, StructType) else None
        if name != "FieldByName" or field is None or field.name != options:
            raise refused(f"struct.{name}")
        return Column((*value.path, field.name), field.type)
