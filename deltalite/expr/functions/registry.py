"""The table of functions: name, what arguments it takes, what it gives, how it computes.

A group of functions is a module of this package whose functions are registered by :func:`function`. A signature such
as ``"string, int[, int] -> string"`` names the types; ``T`` is one type that all arguments marked so share, ``...``
repeats the last argument, and ``|`` separates alternatives.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import common_of, converted, implicit_type
from deltalite.expr.functions.usage import USAGE
from deltalite.expr.vectors import Datum, arrow_type
from deltalite.model.expr import Call, Expr, ExprType, Literal, is_small, type_name
from deltalite.model.types import ArrayType, PrimitiveType


@dataclass(frozen=True, slots=True)
class Settings:
    """What an evaluation knows besides its arguments."""

    type: ExprType
    time_zone: str
    length: int

    @property
    def arrow_type(self) -> Any:
        return arrow_type(self.type)


Evaluate = Callable[..., Datum]
"""``evaluate(settings, *arguments)``: Arrow arrays or scalars in, one of them out."""
TypeRule = Callable[["Function", list[Any]], Expr]
"""Typed arguments to a typed node: it inserts the casts, or refuses."""


@dataclass(frozen=True, slots=True)
class Function:
    """One row of the table.

    :param monotone: arguments in which it is monotone: the result never falls as one of these rises, the other
        arguments being constants.
    :param strict: the result is null exactly when an argument is.
    :param safe: no value of the arguments makes it fail.
    :param usage: how it is called, for people.
    """

    name: str
    rule: TypeRule
    evaluate: Evaluate | None
    monotone: tuple[int, ...] = ()
    strict: bool = True
    safe: bool = False
    usage: str = ""


FUNCTIONS: dict[str, Function] = {}
_WORD = re.compile(r"[\w.]+|->|[|,\[\]]")


def function(
    names: str, signature: str | TypeRule, *, monotone: tuple[int, ...] = (), strict: bool = True, safe: bool = False
) -> Callable[[Evaluate], Evaluate]:
    """Register a function under its name and its aliases, separated by spaces."""

    def register(evaluate: Evaluate) -> Evaluate:
        add(names, signature, evaluate, monotone=monotone, strict=strict, safe=safe)
        return evaluate

    return register


def add(names: str, signature: str | TypeRule, evaluate: Evaluate | None, **flags: Any) -> None:
    first = names.split()[0]
    if isinstance(signature, str):
        rule, usage = _signature_rule(signature), _signature_usage(first, signature)
    else:
        rule, usage = signature, USAGE.get(first, first)
    row = Function(first, rule, evaluate, usage=usage, **flags)
    for name in names.split():
        FUNCTIONS[name] = row


def lookup(name: str) -> Function:
    """The function of a name. :raises ExpressionError: when there is none, with names that resemble it."""
    found = FUNCTIONS.get(name)
    if found is None:
        raise unknown_function(name)
    return found


def build(name: str, *args: Expr) -> Expr:
    """The typed node of a function applied to typed arguments."""
    row = lookup(name)
    return row.rule(row, list(args))


def unknown_function(name: str) -> ExpressionError:
    if name in _AGGREGATES:
        return ExpressionError(f"{name}() aggregates rows: it is not part of an expression on one row", name=name)
    if name in _CHANGING:
        return ExpressionError(f"{name}() gives another value each time, which a table cannot reproduce", name=name)
    close = difflib.get_close_matches(name, [n for n in FUNCTIONS if n[0].isalpha()], n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "the functions are listed in docs/expressions.md"
    return ExpressionError(f"there is no function {name}()", hint=hint, name=name, suggestions=close)


_AGGREGATES = frozenset((
    "sum", "avg", "mean", "count", "max", "min", "first", "last", "collect_list", "collect_set", "stddev", "variance",
    "any", "every",
))  # fmt: skip
_CHANGING = frozenset(("rand", "random", "randn", "uuid", "monotonically_increasing_id", "input_file_name"))


def once_more(name: str, operand: Expr) -> Expr:
    """An operand that a rule repeats.

    :raises ExpressionError: when it is so large that nesting would explode.
    """
    if not is_small(operand):
        raise ExpressionError(f"an operand of {name} is too large to be repeated", hint="make it a column", name=name)
    return operand


def _signature_usage(name: str, signature: str) -> str:
    calls = [alternative.split("->") for alternative in signature.split("|")]
    return "; ".join(f"{name}({args.strip().replace('...', ', ...')}) -> {result.strip()}" for args, result in calls)


@dataclass(frozen=True, slots=True)
class _Signature:
    wanted: tuple[str, ...]
    required: int
    variadic: bool
    result: str


def _signature_rule(text: str) -> TypeRule:
    alternatives = [_parse_signature(part) for part in text.split("|")]

    def rule(row: Function, args: list[Any]) -> Expr:
        fitting = [s for s in alternatives if s.required <= len(args) and (s.variadic or len(args) <= len(s.wanted))]
        if not fitting:
            raise wrong_arguments(row, args, "arguments")
        for exact in (True, False):
            for signature in fitting:
                found = _apply(row, signature, args, exact)
                if found is not None:
                    return found
        raise wrong_arguments(row, args, "types")

    return rule


def _parse_signature(text: str) -> _Signature:
    left, result = text.split("->")
    required = left.split("[")[0]
    count = len([w for w in _WORD.findall(required) if w not in ",[]"])
    names = [w for w in _WORD.findall(left) if w not in ",[]"]
    variadic = bool(names) and names[-1].endswith("...")
    return _Signature(tuple(n.removesuffix("...") for n in names), count, variadic, result.strip())


def _apply(row: Function, signature: _Signature, args: list[Any], exact: bool) -> Expr | None:
    wanted = [signature.wanted[min(i, len(signature.wanted) - 1)] for i in range(len(args))]
    shared = common_of([a.type for a, w in zip(args, wanted, strict=True) if w == "T"])
    if shared is None:
        return None
    out: list[Expr] = []
    for arg, want in zip(args, wanted, strict=True):
        t = shared if want == "T" else implicit_type(arg.type, _TYPE_NAMES.get(want, want))
        if t is None or (exact and want != "T" and t != arg.type):
            return None
        out.append(converted(arg, t))
    return Call(row.name, tuple(out), _result_type(signature.result, shared, out))


_TYPE_NAMES = {"int": "integer", "bigint": "long"}


def _result_type(result: str, shared: ExprType, args: Sequence[Any]) -> ExprType:
    if result == "T":
        return shared
    if result == "array.T":
        return ArrayType(shared)  # type: ignore[arg-type]
    if result.startswith("arg"):
        return args[int(result[3:])].type
    if result.startswith("array."):
        return ArrayType(result[6:])
    return PrimitiveType(_TYPE_NAMES.get(result, result))


def wrong_arguments(row: Function, args: Sequence[Any], what: str) -> ExpressionError:
    given = ", ".join(type_name(a.type) for a in args)
    if what == "arguments":
        message = f"{row.name} does not take {len(args)} argument{'' if len(args) == 1 else 's'}"
    else:
        message = f"{row.name} does not take ({given})"
    return ExpressionError(message, hint=f"usage: {row.usage}" if "->" in row.usage else None, name=row.name)


def constant(row: Function, args: Sequence[Any], index: int, what: str) -> Any:
    """The value of an argument that must be a constant."""
    if not isinstance(args[index], Literal):
        raise ExpressionError(f"the {what} of {row.name} must be a constant", name=row.name)
    return args[index].value
