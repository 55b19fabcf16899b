"""``pyarrow.compute.Expression`` to our nodes, where both mean the same for every row.

pyarrow shows no way into an expression, but its pickled form is an Arrow IPC file: the tree stands in prefix order in
the schema's metadata, and the constants are the columns. Reading that is exact, where parsing ``str(expression)``
would stumble over quotes and long lists.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import DeltaError, ExpressionError
from deltalite.expr.coerce import is_integral, name_of
from deltalite.expr.vectors import arrow_type, numpy_bools, python_value
from deltalite.model.arrow import scalar, type_from_arrow
from deltalite.model.expr import BOOLEAN, DOUBLE, STRING, Call, Case, Cast, Column, Expr, Literal, and_, not_, or_
from deltalite.model.types import StructType

_COMPARISONS = {
    "equal": "=", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=",
}  # fmt: skip
_TEXT_TESTS = {
    "starts_with": "startswith",
    "ends_with": "endswith",
    "match_substring": "contains",
    "match_like": "like",
}


def from_pyarrow(expression: Any, schema: StructType) -> Expr:
    """The expression in our nodes.

    :raises ExpressionError: for a function, a type or a combination without an exact counterpart.
    """
    if not hasattr(expression, "__reduce__") or type(expression).__name__ != "Expression":
        raise ExpressionError(f"{type(expression).__name__} is not a pyarrow expression")
    try:
        _, (serialized,) = expression.__reduce__()
        reader = pa.ipc.open_file(serialized)
        tokens = schema_metadata(reader.schema)
        return _Reader(tokens, reader.get_batch(0), schema).read()
    except (pa.ArrowException, ValueError, TypeError, IndexError) as error:
        raise refused(f"its pickled form cannot be read: {error}") from error
    except RecursionError:
        raise refused("it nests too deeply") from None


def refused(why: str) -> ExpressionError:
    return ExpressionError(
        f"the pyarrow expression has no exact counterpart: {why}", hint="write the predicate as SQL text"
    )


class _CSchema(ctypes.Structure):
    """The head of ``struct ArrowSchema`` of the Arrow C data interface."""

    _fields_ = [("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_void_p)]


def schema_metadata(schema: pa.Schema) -> list[tuple[str, bytes]]:
    """The key-value pairs of a schema in order, repeated keys included, which ``schema.metadata`` would merge."""
    capsule = schema.__arrow_c_schema__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    place = _CSchema.from_address(pointer(capsule, b"arrow_schema")).metadata
    if not place:
        return []
    count, place = ctypes.c_int32.from_address(place).value, place + 4
    parts: list[bytes] = []
    for _ in range(2 * count):
        size, place = ctypes.c_int32.from_address(place).value, place + 4
        parts.append(ctypes.string_at(place, size))
        place += size
    return [(key.decode(), value) for key, value in zip(parts[::2], parts[1::2], strict=True)]


class _Reader:
    """Reads one tree in prefix order."""

    def __init__(self, tokens: list[tuple[str, bytes]], values: pa.RecordBatch, schema: StructType) -> None:
        self.tokens = tokens
        self.values = values
        self.schema = schema
        self.position = 0

    def next(self) -> tuple[str, str]:
        kind, value = self.tokens[self.position]
        self.position += 1
        return kind, value.decode()

    def read(self) -> Any:
        kind, value = self.next()
        if kind == "literal":
            return constant(self.values.column(int(value))[0])
        if kind == "field_ref":
            return self.column([value])
        if kind == "nested_field_ref":
            return self.column([self.next()[1] for _ in range(int(value))])
        if kind == "call":
            return self.call(value)
        raise refused(f"it holds a {kind}")

    def column(self, path: list[str]) -> Column:
        """Names are compared exactly, as pyarrow does."""
        here: Any = self.schema
        for name in path:
            field = here.get(name) if isinstance(here, StructType) else None
            if field is None or field.name != name:
                raise ExpressionError(f"there is no column {'.'.join(path)!r}")
            here = field.type
        return Column(tuple(path), here)

    def call(self, name: str) -> Expr:
        args: list[Any] = []
        options: dict[str, pa.Scalar] = {}
        while True:
            kind, value = self.tokens[self.position]
            if kind == "end":
                self.position += 1
                break
            if kind == "options":
                self.position += 1
                struct = self.values.column(int(value))[0]
                options = {k: struct[k] for k in struct}
                continue
            args.append(self.read())
        convert = _CALLS.get(name)
        if convert is None:
            raise refused(f"the function {name}")
        return convert(args, options)


def constant(value: pa.Scalar) -> Literal:
    """An Arrow scalar as a literal.

    :raises ExpressionError: when no literal holds it exactly.
    """
    try:
        if pa.types.is_dictionary(value.type):
            value = value.cast(value.type.value_type)
        data_type = type_from_arrow(value.type)
        return Literal(python_value(value.cast(arrow_type(data_type)), data_type), data_type)
    except (DeltaError, pa.ArrowException) as error:
        raise refused(f"the constant {value}") from error


def _is_float(arg: Any) -> bool:
    return name_of(getattr(arg, "type", None)) in ("float", "double")


def _comparison(op: str) -> Callable[[list[Any], dict[str, Any]], Expr]:
    """In pyarrow a comparison with NaN is false, here NaN is the greatest number: the difference is spelt out."""

    def convert(args: list[Any], options: dict[str, Any]) -> Expr:
        left, right = args
        plain = Call(op, (left, right), BOOLEAN)
        if any(isinstance(a, Literal) and isinstance(a.value, float) and a.value != a.value for a in args):
            raise refused("a comparison with NaN")
        if all(isinstance(a, Literal) for a in args if _is_float(a)):
            return plain
        variable = [a for a in args if not isinstance(a, Literal)]
        if len(variable) != 1 or any(isinstance(a, Literal) and a.value is None for a in args):
            raise refused("a comparison of floats with each other")
        greater = (">", ">=") if variable[0] is left else ("<", "<=")
        return and_(plain, not_(Call("isnan", (variable[0],), BOOLEAN))) if op in greater else plain

    return convert


def _is_in(args: list[Any], options: dict[str, Any]) -> Expr:
    """Nulls match nulls (0), are left out (1), give null (2), or are SQL's unknown (3)."""
    value, behaviour = args[0], options["null_matching_behavior"].as_py()
    items: pa.Array = options["value_set"].values
    if (
        _is_float(value)
        and len(items)
        and numpy_bools(pc.equal(items.cast(pa.float64()), scalar(0.0, pa.float64()))).any()
    ):
        raise refused("is_in with 0.0, which does not match -0.0 in pyarrow")
    constants = [constant(item) for item in items]
    present = [c for c in constants if c.value is not None]
    if behaviour not in (0, 1) or not isinstance(value, Column):
        raise refused("is_in with this treatment of nulls")
    found: list[Expr] = [Call("is_true", (Call("in", (value, *present)),), BOOLEAN)] if present else []
    if behaviour == 0 and len(present) < len(constants):
        found.append(Call("is_null", (value,)))
    return or_(*found)


def _is_null(args: list[Any], options: dict[str, Any]) -> Expr:
    test: Expr = Call("is_null", (args[0],), BOOLEAN)
    if options and options["nan_is_null"].as_py() and _is_float(args[0]):
        return or_(test, Call("isnan", (args[0],), BOOLEAN))
    return test


def _if_else(args: list[Any], options: dict[str, Any]) -> Expr:
    """DuckDB writes IN as ``if_else(is_valid(x), is_in(x, ...), null)``, which is SQL's IN."""
    condition, value, otherwise = args
    if isinstance(otherwise, Literal) and otherwise.value is None and _tests_validity(condition, value):
        return value.args[0]
    return Case(((Call("is_null", (condition,)), Literal(None, BOOLEAN)), (condition, value)), otherwise)


def _tests_validity(condition: Any, value: Any) -> bool:
    if not isinstance(value, Call) or value.function != "is_true" or not isinstance(value.args[0], Call):
        return False
    return value.args[0].function == "in" and condition == not_(Call("is_null", (value.args[0].args[0],)))


def _cast(args: list[Any], options: dict[str, Any]) -> Expr:
    source, target = getattr(args[0], "type", None), type_from_arrow(options["to_type"].type)
    if source == target:
        return args[0]
    if not is_integral(source) or not (is_integral(target) or target in (DOUBLE, STRING)):
        raise refused(f"a cast to {target}")
    return Cast(args[0], target)


def _text_test(name: str) -> Callable[[list[Any], dict[str, Any]], Expr]:
    def convert(args: list[Any], options: dict[str, Any]) -> Expr:
        if options["ignore_case"].as_py():
            raise refused("a test of text that ignores case")
        return Call(name, (args[0], Literal(options["pattern"].as_py(), STRING)), BOOLEAN)

    return convert


_CALLS: dict[str, Callable[[list[Any], dict[str, Any]], Expr]] = {
    **{name: _comparison(op) for name, op in _COMPARISONS.items()},
    **{name: _text_test(function) for name, function in _TEXT_TESTS.items()},
    "and_kleene": lambda args, options: and_(*args),
    "or_kleene": lambda args, options: or_(*args),
    "invert": lambda args, options: not_(args[0]),
    "is_null": _is_null,
    "is_valid": lambda args, options: not_(Call("is_null", (args[0],), BOOLEAN)),
    "is_nan": lambda args, options: Call("=", (args[0], Literal(float("nan"), DOUBLE)), BOOLEAN),
    "is_in": _is_in,
    "if_else": _if_else,
    "cast": _cast,
}
