"""Text, counted in characters (code points), and a few functions of bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.coerce import converted, implicit_type
from deltalite.expr.functions.registry import Function, Settings, add, function, wrong_arguments
from deltalite.expr.vectors import Datum, broadcast, is_scalar, values_array
from deltalite.model.arrow import scalar
from deltalite.model.expr import BINARY, STRING, Call, Expr, Literal

_EMPTY = scalar("", pa.string())


def rowwise(compute: Callable[..., Any]) -> Any:
    """A function computed value by value, once for each distinct text where the other arguments are constants."""

    def evaluate(settings: Settings, *args: Datum) -> Datum:
        first = args[0]
        if isinstance(first, pa.Array) and all(isinstance(a, pa.Scalar) and a.is_valid for a in args[1:]):
            distinct = pc.unique(first.drop_null())
            rest = [a.as_py() for a in args[1:]]
            texts = values_array([compute(v.as_py(), *rest) for v in distinct], settings.type)
            return texts.take(pc.index_in(first, distinct))
        columns = [broadcast(a, settings.length).to_pylist() for a in args]
        rows = zip(*columns, strict=True)
        return values_array([None if None in row else compute(*row) for row in rows], settings.type)

    return evaluate


def _by_case(ascii_kernel: Any, method: Callable[[str], str]) -> Any:
    """ASCII goes by a kernel; the rest by Python, which knows the full Unicode mappings as Java does."""
    slow = rowwise(method)

    def evaluate(settings: Settings, text: Datum) -> Datum:
        plain = pc.all(pc.string_is_ascii(text)) if isinstance(text, pa.Array) else pc.string_is_ascii(text)
        if plain.is_valid and not plain.as_py():
            return slow(settings, text)
        return ascii_kernel(text)

    return evaluate


add("upper ucase", "string -> string", _by_case(pc.ascii_upper, str.upper), safe=True)
add("lower lcase", "string -> string", _by_case(pc.ascii_lower, str.lower), safe=True)


def _initcap(text: str) -> str:
    return " ".join(word[:1].title() + word[1:].lower() for word in text.split(" "))


add("initcap", "string -> string", rowwise(_initcap), safe=True)


@function("length char_length character_length len", "string -> int | binary -> int", safe=True)
def length(settings: Settings, value: Datum) -> Datum:
    return pc.binary_length(value) if pa.types.is_binary(value.type) else pc.utf8_length(value)


@function("octet_length", "string -> int | binary -> int", safe=True)
def octet_length(settings: Settings, value: Datum) -> Datum:
    return pc.binary_length(value)


@function("bit_length", "string -> int | binary -> int", safe=True)
def bit_length(settings: Settings, value: Datum) -> Datum:
    return pc.multiply(pc.binary_length(value), scalar(8, pa.int32()))


# trimming and padding -----------------------------------------------------------------------------------------------


def _trim(names: str, kernel: Any, method: Callable[[str, str], str], text_first: bool = False) -> None:
    """``trim(text)`` or ``trim(characters, text)``; ``btrim`` has the text first."""

    def evaluate(settings: Settings, first: Datum, second: Datum | None = None) -> Datum:
        text, removed = (first, second) if text_first or second is None else (second, first)
        if removed is None:
            return kernel(text, characters=" ")
        if is_scalar(removed) and removed.is_valid:
            characters = removed.as_py()
            return kernel(text, characters=characters) if characters else text
        return rowwise(method)(settings, text, removed)

    add(names, "string[, string] -> string", evaluate, safe=True)


_trim("trim", pc.utf8_trim, str.strip)
_trim("ltrim", pc.utf8_ltrim, str.lstrip)
_trim("rtrim", pc.utf8_rtrim, str.rstrip)
_trim("btrim", pc.utf8_trim, str.strip, text_first=True)


def _filler(missing: int, pad: str) -> str:
    return (pad * (missing // len(pad) + 1))[:missing] if pad and missing > 0 else ""


def _pad(left: bool) -> Callable[[str, int, str], str]:
    def pad(text: str, width: int, fill: str = " ") -> str:
        if width <= 0:
            return ""
        kept = text[:width]
        extra = _filler(width - len(kept), fill)
        return extra + kept if left else kept + extra

    return pad


add("lpad", "string, int[, string] -> string", rowwise(_pad(left=True)))
add("rpad", "string, int[, string] -> string", rowwise(_pad(left=False)))
add("repeat", "string, int -> string", rowwise(lambda text, times: text * max(times, 0)))
add("space", "int -> string", rowwise(lambda n: " " * max(n, 0)))


@function("reverse", "string -> string", safe=True)
def reverse(settings: Settings, text: Datum) -> Datum:
    return pc.utf8_reverse(text)


# parts --------------------------------------------------------------------------------------------------------------


def substring_of(text: str, start: int, count: int = 2**31 - 1) -> str:
    """Counting from 1; 0 counts as 1, negative positions from the end."""
    begin = start - 1 if start > 0 else len(text) + start if start < 0 else 0
    return text[max(begin, 0) : max(begin + count, 0)] if count > 0 else ""


_slow_substring = rowwise(substring_of)


@function("substring substr", "string, int[, int] -> string", safe=True)
def substring(settings: Settings, text: Datum, start: Datum, count: Datum | None = None) -> Datum:
    constant = is_scalar(start) and start.is_valid and (count is None or (is_scalar(count) and count.is_valid))
    if constant and start.as_py() >= 0:
        begin, size = max(start.as_py() - 1, 0), 2**31 if count is None else count.as_py()
        if size > 0:
            return pc.utf8_slice_codeunits(text, begin, begin + size)
    return _slow_substring(settings, text, start, *(() if count is None else (count,)))


@function("left", "string, int -> string", monotone=(0,), safe=True)
def left(settings: Settings, text: Datum, count: Datum) -> Datum:
    if is_scalar(count) and count.is_valid and count.as_py() > 0:
        return pc.utf8_slice_codeunits(text, 0, count.as_py())
    return rowwise(lambda t, n: t[:n] if n > 0 else "")(settings, text, count)


add("right", "string, int -> string", rowwise(lambda t, n: t[-n:] if n > 0 else ""), safe=True)


def _substring_index(text: str, delimiter: str, count: int) -> str:
    if not delimiter or count == 0:
        return ""
    parts = text.split(delimiter)
    return delimiter.join(parts[:count] if count > 0 else parts[count:])


def _split_part(text: str, delimiter: str, part: int) -> str:
    if part == 0:
        raise ExpressionError("split_part counts from 1: part 0 does not exist")
    parts = text.split(delimiter) if delimiter else [text]
    return parts[part - 1 if part > 0 else part] if -len(parts) <= part <= len(parts) else ""


add("substring_index", "string, string, int -> string", rowwise(_substring_index), safe=True)
add("split_part", "string, string, int -> string", rowwise(_split_part))


def _locate(part: str, text: str, start: int = 1) -> int:
    return text.find(part, start - 1) + 1 if start > 0 else 0


add("instr", "string, string -> int", rowwise(lambda text, part: text.find(part) + 1), safe=True)
add("locate position charindex", "string, string[, int] -> int", rowwise(_locate), safe=True)


def _contains(names: str, kernel: Any, test: Callable[[Any, Any], bool]) -> None:
    slow = rowwise(test)

    def evaluate(settings: Settings, text: Datum, part: Datum) -> Datum:
        if is_scalar(part) and part.is_valid and isinstance(text, pa.Array):
            return kernel(text, part.as_py())
        return slow(settings, text, part)

    add(names, "string, string -> boolean | binary, binary -> boolean", evaluate, safe=True)


_contains("startswith", pc.starts_with, lambda text, part: text.startswith(part))
_contains("endswith", pc.ends_with, lambda text, part: text.endswith(part))
_contains("contains", pc.match_substring, lambda text, part: part in text)


# putting together ---------------------------------------------------------------------------------------------------


def _concat_rule(row: Function, args: list[Any]) -> Expr:
    """Binary stays binary, everything else becomes text. ``a || b || c`` is one call."""
    if not args:
        return Literal("", STRING)
    args = [part for a in args for part in (a.args if isinstance(a, Call) and a.function == "concat" else (a,))]
    if all(a.type == BINARY for a in args):
        return Call("concat", tuple(args), BINARY)
    if any(implicit_type(a.type, "string") is None for a in args):
        raise wrong_arguments(row, args, "types")
    return Call("concat", tuple(converted(a, STRING) for a in args), STRING)


@function("concat ||", _concat_rule, safe=True)
def concat(settings: Settings, *parts: Datum) -> Datum:
    separator = values_array([b"" if pa.types.is_binary(settings.arrow_type) else ""], settings.type)[0]
    return pc.binary_join_element_wise(*parts, separator, null_handling="emit_null")


@function("concat_ws", "string[, string...] -> string", strict=False, safe=True)
def concat_ws(settings: Settings, separator: Datum, *parts: Datum) -> Datum:
    """The parts that are not null, with the separator between them. (Arrow's own join drops rows of nulls only.)"""
    if is_scalar(separator):
        if not separator.is_valid or not parts:
            return separator if not separator.is_valid else _EMPTY
        led = [pc.if_else(pc.is_null(p), _EMPTY, pc.binary_join_element_wise(separator, p, _EMPTY)) for p in parts]
        joined = pc.binary_join_element_wise(*led, _EMPTY)
        return pc.utf8_slice_codeunits(joined, len(separator.as_py()), 2**31)
    columns = [broadcast(a, settings.length).to_pylist() for a in (separator, *parts)]
    rows = zip(*columns, strict=True)
    joined = [None if s is None else s.join(p for p in row if p is not None) for s, *row in rows]
    return values_array(joined, STRING)


@function("replace", "string, string[, string] -> string", safe=True)
def replace(settings: Settings, text: Datum, search: Datum, new: Datum = _EMPTY) -> Datum:
    if all(is_scalar(a) and a.is_valid for a in (search, new)):
        found = search.as_py()
        return pc.replace_substring(text, found, new.as_py()) if found else text
    return rowwise(lambda t, old, n: t.replace(old, n) if old else t)(settings, text, search, new)


def _translate(text: str, old: str, new: str) -> str:
    table: dict[int, str | None] = {}
    for i, c in enumerate(old):
        table.setdefault(ord(c), new[i] if i < len(new) else None)
    return text.translate(table)


add("translate", "string, string, string -> string", rowwise(_translate), safe=True)


# codes --------------------------------------------------------------------------------------------------------------


def _hex(value: Any) -> str:
    if isinstance(value, int):
        return f"{value & (2**64 - 1):X}"
    return (value.encode() if isinstance(value, str) else value).hex().upper()


def _unhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
    except ValueError:
        raise ExpressionError(f"{text[:40]!r} is no hexadecimal text") from None


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ExpressionError(f"{text[:40]!r} is no base64 text") from None


add("hex", "long -> string | binary -> string | string -> string", rowwise(_hex), safe=True)
add("unhex", "string -> binary", rowwise(_unhex))
add("base64", "binary -> string", rowwise(lambda data: base64.b64encode(data).decode()), safe=True)
add("unbase64", "string -> binary", rowwise(_unbase64))
add("ascii", "string -> int", rowwise(lambda text: ord(text[0]) if text else 0), safe=True)
add("chr char", "long -> string", rowwise(lambda n: "" if n < 0 else chr(n & 0xFF)), safe=True)


def _levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


add("levenshtein", "string, string -> int", rowwise(_levenshtein), safe=True)
