"""Java's regular expressions to RE2's, where both mean exactly the same; anything else is refused by name.

RE2 runs in linear time, so no pattern and no text can make a scan hang. It knows no look-around, back-references,
atomic groups or possessive quantifiers, and differs in what ``.``, ``$``, ``\\s`` and ``(?i)`` mean: those are written
out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from deltalite.exceptions import ExpressionError

LINE_END = r"\n\r\x{85}\x{2028}\x{2029}"
FOLDS_TO_ASCII = "[\u017f\u212a]"
"""The long s and the Kelvin sign: RE2 matches them with ``(?i)s`` and ``(?i)k``, Java does not."""

_SAME = frozenset("dDwWbBAztnrfaQE")
_POSIX = {
    "Lower": "lower", "Upper": "upper", "Alpha": "alpha", "Digit": "digit", "Alnum": "alnum", "Punct": "punct",
    "Graph": "graph", "Print": "print", "Blank": "blank", "Cntrl": "cntrl", "XDigit": "xdigit", "Space": "space",
}  # fmt: skip
_HEX2 = re.compile(r"\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{2})")
_HEX4 = re.compile(r"()([0-9a-fA-F]{4})")
_PROPERTY = re.compile(r"\{(\^?)([A-Z][a-z]?|[A-Z][a-z]+|XDigit)\}|([A-Z])")
_GROUP = re.compile(r"\(\?(?:(?P<name><[A-Za-z][A-Za-z0-9]*>)|(?P<flags>[a-zA-Z-]*)(?P<close>[:)]))")


@dataclass(frozen=True, slots=True)
class Regex:
    """A translated pattern.

    :param text: for RE2; a capturing group has the number it has in Java.
    :param groups: how many groups capture.
    :param dollar: ``$`` is used: it also matches before a line end at the end of the text.
    :param folds: case is ignored, for ASCII letters only.
    """

    text: str
    groups: int
    dollar: bool
    folds: bool


@lru_cache(maxsize=256)
def translate(pattern: str, capture: int | None = None) -> Regex:
    """A Java pattern in RE2's syntax.

    :param capture: make this group (0 is the whole match) the only one that captures, named ``g``.
    :raises ExpressionError: for what RE2 lacks or means otherwise.
    """
    found = _Translation(pattern, capture).run()
    if capture is not None and capture > found.groups:
        raise ExpressionError(f"the pattern {pattern!r} has {found.groups} groups, not {capture}")
    return found


class _Translation:
    def __init__(self, pattern: str, capture: int | None) -> None:
        self.pattern, self.capture = pattern, capture
        self.position = 0
        self.out: list[str] = []
        self.groups = 0
        self.dollar = self.folds = self.dot_all = False

    def run(self) -> Regex:
        while self.position < len(self.pattern):
            self.step(self.pattern[self.position])
        text = "".join(self.out)
        if self.folds and not self.pattern.isascii():
            raise self.refused("(?i) with letters beyond ASCII")
        if self.folds:
            text = f"(?i){text}"
        if self.capture == 0:
            text = f"(?P<g>{text})"
        return Regex(text, self.groups, self.dollar, self.folds)

    def refused(self, what: str) -> ExpressionError:
        return ExpressionError(
            f"the regular expression {self.pattern!r} uses {what}, which cannot be evaluated exactly here",
            hint="rewrite it without, e.g. with several conditions", pattern=self.pattern,
        )  # fmt: skip

    def step(self, c: str) -> None:
        if c == "\\":
            self.out.append(self.escape(in_class=False))
        elif c == "[":
            self.out.append(self.char_class())
        elif c == "(":
            self.group()
        elif c == ".":
            self.emit(r"(?s:.)" if self.dot_all else f"[^{LINE_END}]")
        elif c == "$":
            self.dollar_sign()
        elif c in "*+?}":
            self.quantifier(c)
        else:
            self.emit(c)

    def emit(self, text: str, width: int = 1) -> None:
        self.out.append(text)
        self.position += width

    def peek(self, ahead: int = 1) -> str:
        return self.pattern[self.position + ahead : self.position + ahead + 1]

    def quantifier(self, c: str) -> None:
        if self.peek() == "+":
            raise self.refused(f"the possessive quantifier {c}+")
        if c == "}" and any(
            int(n) > 1000 for n in re.findall(r"\d+", self.pattern[: self.position].rpartition("{")[2])
        ):
            raise self.refused("more than 1000 repetitions")
        self.emit(c)

    def dollar_sign(self) -> None:
        if self.peek() not in ("", ")", "|"):
            raise self.refused("$ before more of the pattern")
        self.dollar = True
        self.emit("$")

    def group(self) -> None:
        if self.peek() != "?":
            self.groups += 1
            named = self.capture == self.groups
            plain = "(" if self.capture is None else "(?:"
            self.emit("(?P<g>" if named else plain)
            return
        match = _GROUP.match(self.pattern, self.position)
        if match is None:
            raise self.refused(
                {"=": "look-ahead", "!": "look-ahead", ">": "an atomic group"}.get(self.peek(2), "look-behind")
            )
        if match["name"]:
            self.groups += 1
            named = self.capture == self.groups
            self.emit("(?P<g>" if named else "(" if self.capture is None else "(?:", match.end() - self.position)
            return
        self.flags(match)

    def flags(self, match: re.Match[str]) -> None:
        flags = match["flags"]
        if match["close"] == ":" and not flags:
            self.emit("(?:", 3)
            return
        if self.position != 0 or match["close"] == ":" or set(flags) - {"i", "s"} or not flags:
            raise self.refused(f"the flags {match.group()}")
        self.folds, self.dot_all = "i" in flags, "s" in flags
        self.position = match.end()

    def escape(self, in_class: bool) -> str:
        """A backslash and what follows."""
        c = self.peek()
        self.position += 2
        if c in _SAME and not (in_class and c in "bBAzQE"):
            return self.quoted() if c == "Q" else f"\\{c}"
        if c in "sS":
            inner = "[:space:]" if c == "s" else "[:^space:]"
            return inner if in_class else f"[{inner}]"
        if c in "pP":
            return self.property(c, in_class)
        if c == "e":
            return r"\x1b"
        if c in "xu":
            return self.code_point(c)
        if c and not c.isalnum():
            return f"\\{c}" if c.isascii() else c
        raise self.refused(f"\\{c}" if not c.isdigit() or c == "0" else f"the back-reference \\{c}")

    def quoted(self) -> str:
        end = self.pattern.find("\\E", self.position)
        body = self.pattern[self.position :] if end < 0 else self.pattern[self.position : end]
        self.position = len(self.pattern) if end < 0 else end + 2
        return escaped(body)

    def code_point(self, c: str) -> str:
        match = (_HEX2 if c == "x" else _HEX4).match(self.pattern, self.position)
        if match is None:
            raise self.refused(f"a malformed \\{c}")
        self.position = match.end()
        return rf"\x{{{match[1] or match[2]}}}"

    def property(self, c: str, in_class: bool) -> str:
        match = _PROPERTY.match(self.pattern, self.position)
        name = (match[2] or match[3]) if match else ""
        if match is None or match[1]:
            raise self.refused(f"the class \\{c}{self.pattern[self.position : self.position + 20]}")
        self.position = match.end()
        if name in _POSIX:
            inner = f"[:{'^' if c == 'P' else ''}{_POSIX[name]}:]"
            return inner if in_class else f"[{inner}]"
        if len(name) > 2:
            raise self.refused(f"the class \\{c}{{{name}}}")
        return rf"\{c}{{{name}}}"

    def char_class(self) -> str:
        parts = ["["]
        self.position += 1
        if self.pattern[self.position : self.position + 1] == "^":
            parts.append("^")
            self.position += 1
        start = self.position
        while True:
            c = self.pattern[self.position : self.position + 1]
            if c == "":
                raise ExpressionError(
                    f"the regular expression {self.pattern!r} has an unclosed [", pattern=self.pattern
                )
            if c == "]" and self.position > start:
                self.position += 1
                return "".join(parts) + "]"
            if c == "[" or self.pattern.startswith("&&", self.position) or c == "]":
                raise self.refused("a class within a class")
            if c == "\\":
                parts.append(self.escape(in_class=True))
            else:
                parts.append(c)
                self.position += 1


def escaped(text: str) -> str:
    """Text that RE2 matches literally."""
    return "".join(c if c.isalnum() or not c.isascii() or c in "_ " else f"\\x{{{ord(c):x}}}" for c in text)


def searching(regex: Regex) -> str:
    """The pattern for a search that only asks whether there is a match."""
    if not regex.dollar:
        return regex.text
    return _DOLLAR.sub(lambda m: m[0] if m[0] != "$" else rf"(?:\r\n|[{LINE_END}])?\z", regex.text)


def extracting(regex: Regex) -> str:
    """The pattern for a search that wants the match: ``$`` is the very end, the caller sees to line ends."""
    return _DOLLAR.sub(lambda m: m[0] if m[0] != "$" else r"\z", regex.text) if regex.dollar else regex.text


_DOLLAR = re.compile(r"\\x\{[0-9a-fA-F]+\}|\\.|\[\^?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\$", re.DOTALL)


def replacement(text: str, groups: int) -> str:
    """A Java replacement (``$1``, ``\\$``) as RE2 writes it (``\\1``).

    :raises ExpressionError: for a group the pattern does not have, or a named one.
    """
    out: list[str] = []
    i = 0
    while i < len(text):
        c = text[i]
        if c == "$":
            digits = re.compile(r"\d+").match(text, i + 1)
            if digits is None or int(digits[0][0]) > groups:
                raise ExpressionError(f"the replacement {text!r} names a group that the pattern does not have")
            number = digits[0]
            while len(number) > 1 and int(number) > groups:
                number = number[:-1]
            if len(number) > 1:
                raise ExpressionError("a replacement may name groups 0 to 9 only")
            out.append(f"\\{number}")
            i += 1 + len(number)
            continue
        if c == "\\":
            i += 1
            if i >= len(text):
                raise ExpressionError(f"the replacement {text!r} ends in a backslash")
            c = text[i]
        out.append("\\\\" if c == "\\" else c)
        i += 1
    return "".join(out)
