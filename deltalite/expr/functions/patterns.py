"""LIKE, RLIKE and the functions of regular expressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type
from deltalite.expr.functions.registry import Function, Settings, add, build, constant, function, wrong_arguments
from deltalite.expr.java_regex import (
    FOLDS_TO_ASCII,
    LINE_END,
    Regex,
    escaped,
    extracting,
    replacement,
    searching,
    translate,
)
from deltalite.expr.vectors import Datum, broadcast, from_numpy, is_scalar, numpy_bools, scalar_null, valid_mask
from deltalite.model.arrow import scalar
from deltalite.model.expr import BOOLEAN, STRING, Call, Expr, Literal
from deltalite.model.types import ArrayType

ANY, ONE = object(), object()
"""The wildcards ``%`` and ``_``."""


def like_parts(pattern: str, escape: str = "\\") -> list[Any]:
    """A LIKE pattern as texts and wildcards.

    :raises ExpressionError: where the escape character escapes nothing.
    """
    parts: list[Any] = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == escape:
            i += 1
            if i >= len(pattern) or pattern[i] not in ("_", "%", escape):
                raise ExpressionError(
                    f"in the pattern {pattern!r} the escape character {escape!r} escapes nothing",
                    hint=f"write {escape * 2} for the character itself",
                )
            c = pattern[i]
        elif c in "%_":
            parts.append(ANY if c == "%" else ONE)
            i += 1
            continue
        if parts and isinstance(parts[-1], str):
            parts[-1] += c
        else:
            parts.append(c)
        i += 1
    return parts


def like_prefix(expr: Call) -> str:
    """What every match of a LIKE with a constant pattern begins with; empty when nothing is certain."""
    if not all(isinstance(a, Literal) and isinstance(a.value, str) for a in expr.args[1:]):
        return ""
    pattern, escape = expr.args[1].value, expr.args[2].value if len(expr.args) > 2 else "\\"  # type: ignore[attr-defined]
    parts = like_parts(pattern, escape)
    return parts[0] if parts and isinstance(parts[0], str) else ""


def like_regex(pattern: str, escape: str) -> str:
    body = "".join("(?s:.)*" if p is ANY else "(?s:.)" if p is ONE else escaped(p) for p in like_parts(pattern, escape))
    return rf"\A(?:{body})\z"


def _texts(row: Function, args: list[Any], counts: tuple[int, ...]) -> list[Any]:
    if len(args) not in counts:
        raise wrong_arguments(row, args, "arguments")
    if any(implicit_type(a.type, "string") is None for a in args):
        raise wrong_arguments(row, args, "types")
    return [converted(a, STRING) for a in args]


def _like_rule(row: Function, args: list[Any]) -> Expr:
    """A pattern that is a mere prefix, suffix or part becomes that test, which needs no regular expression."""
    texts = _texts(row, args, (2, 3))
    escape = constant(row, texts, 2, "escape character") if len(texts) == 3 else "\\"
    if not isinstance(escape, str) or len(escape) != 1:
        raise ExpressionError("the escape character of LIKE is one character")
    subject, pattern = texts[0], texts[1]
    if isinstance(pattern, Literal) and isinstance(pattern.value, str):
        parts = like_parts(pattern.value, escape)
        simple = _simple(parts)
        if simple is not None:
            return build(simple, subject, Literal("".join(p for p in parts if isinstance(p, str)), STRING))
    kept = (subject, pattern) if escape == "\\" else (subject, pattern, Literal(escape, STRING))
    return Call(row.name, kept, BOOLEAN)


def _simple(parts: list[Any]) -> str | None:
    kinds = ["text" if isinstance(p, str) else p for p in parts]
    for shape, name in (
        (["text"], "="), ([], "="), (["text", ANY], "startswith"), ([ANY, "text"], "endswith"),
        ([ANY, "text", ANY], "contains"),
    ):  # fmt: skip
        if kinds == shape:
            return name
    return None


@function("like", _like_rule)
def like(settings: Settings, text: Datum, pattern: Datum, escape: Datum | None = None) -> Datum:
    sign = "\\" if escape is None else escape.as_py()
    return _by_pattern(settings, text, pattern, lambda p: like_regex(p, sign))


def _ilike_rule(row: Function, args: list[Any]) -> Expr:
    texts = _texts(row, args, (2, 3))
    lowered = [build("lower", t) for t in texts[:2]]
    if isinstance(texts[1], Literal) and isinstance(texts[1].value, str):
        lowered[1] = Literal(texts[1].value.lower(), STRING)
    return build("like", *lowered, *texts[2:])


add("ilike", _ilike_rule, None)


def _by_pattern(settings: Settings, text: Datum, pattern: Datum, regex: Any) -> Datum:
    """Whether each text matches its pattern, one pattern at a time."""
    if is_scalar(pattern):
        if not pattern.is_valid:
            return scalar_null(pa.bool_())
        return pc.match_substring_regex(text, regex(pattern.as_py()))
    texts = broadcast(text, settings.length)
    found = np.zeros(settings.length, dtype=bool)
    for one in pc.unique(pattern.drop_null()):
        here = numpy_bools(pc.equal(pattern, one))
        chosen = from_numpy(here, pa.bool_())
        found[here] = numpy_bools(pc.match_substring_regex(texts.filter(chosen), regex(one.as_py())))
    return from_numpy(found, pa.bool_(), valid_mask(texts) & valid_mask(pattern))


# regular expressions ------------------------------------------------------------------------------------------------


def _regex_rule(result: Any, counts: tuple[int, ...]) -> Any:
    """Text and a constant pattern, checked and translated before any row is read."""

    def rule(row: Function, args: list[Any]) -> Expr:
        texts = [*_texts(row, args[:2], (2,)), *args[2:]]
        if len(args) not in counts:
            raise wrong_arguments(row, args, "arguments")
        pattern = constant(row, texts, 1, "regular expression")
        if pattern is not None:
            _check(row, pattern, [constant(row, args, i, "argument") for i in range(2, len(args))])
        return Call(row.name, tuple(texts), result)

    return rule


def _check(row: Function, pattern: str, rest: list[Any]) -> None:
    regex = translate(pattern)
    try:
        pc.match_substring_regex(scalar("", pa.string()), searching(regex))
    except pa.ArrowInvalid as error:
        raise ExpressionError(f"{pattern!r} is not a regular expression: {error}", pattern=pattern) from None
    if row.name == "regexp_replace":
        replacement(rest[0] or "", regex.groups)
        if rest[1:] not in ([], [1]):
            raise ExpressionError("regexp_replace from a position is not supported")
    if row.name == "regexp_extract" and rest:
        translate(pattern, rest[0])
    if row.name == "split" and pc.match_substring_regex(scalar("", pa.string()), searching(regex)).as_py():
        raise ExpressionError(f"split by {pattern!r}, which matches the empty text, is not supported")


@function("rlike regexp regexp_like", _regex_rule(BOOLEAN, (2,)))
def rlike(settings: Settings, text: Datum, pattern: Datum) -> Datum:
    if not pattern.is_valid:
        return scalar_null(pa.bool_())
    regex = translate(pattern.as_py())
    return pc.match_substring_regex(_checked(text, regex, matched=False), searching(regex))


def _checked(text: Datum, regex: Regex, matched: bool) -> Datum:
    """The text, refused where RE2's answer could differ from Java's."""
    risky = [FOLDS_TO_ASCII] if regex.folds else []
    if regex.dollar and matched:
        risky.append(rf"[{LINE_END}]\z")
    for pattern in risky:
        found = pc.match_substring_regex(text, pattern)
        if found.as_py() if isinstance(found, pa.Scalar) else numpy_bools(found).any():
            raise ExpressionError(
                "a text holds characters for which this regular expression cannot be evaluated exactly"
            )
    return text


@function("regexp_extract", _regex_rule(STRING, (2, 3)))
def regexp_extract(settings: Settings, text: Datum, pattern: Datum, group: Datum | None = None) -> Datum:
    """The group of the first match; empty where there is no match."""
    if not pattern.is_valid or (group is not None and not group.is_valid):
        return scalar_null(pa.string())
    regex = translate(pattern.as_py(), 1 if group is None else group.as_py())
    values = broadcast(_checked(text, regex, matched=True), settings.length)
    found = pc.struct_field(pc.extract_regex(values, extracting(regex)), [0])
    return pc.if_else(pc.is_null(values), values, pc.fill_null(found, scalar("", pa.string())))


@function("regexp_replace", _regex_rule(STRING, (3, 4)))
def regexp_replace(settings: Settings, text: Datum, pattern: Datum, new: Datum, position: Datum | None = None) -> Datum:
    if not pattern.is_valid or not new.is_valid:
        return scalar_null(pa.string())
    regex = translate(pattern.as_py())
    values = _checked(text, regex, matched=True)
    return pc.replace_substring_regex(values, extracting(regex), replacement(new.as_py(), regex.groups))


@function("split", _regex_rule(ArrayType(STRING), (2, 3)))
def split(settings: Settings, text: Datum, pattern: Datum, limit: Datum | None = None) -> Datum:
    if not pattern.is_valid:
        return scalar_null(settings.arrow_type)
    regex = translate(pattern.as_py())
    values = broadcast(_checked(text, regex, matched=True), settings.length)
    count = limit.as_py() if limit is not None and limit.is_valid else -1
    parts = pc.split_pattern_regex(values, extracting(regex), max_splits=count - 1 if count > 0 else None)
    return pc.cast(parts, settings.arrow_type)
