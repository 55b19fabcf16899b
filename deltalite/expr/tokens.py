"""SQL text to tokens, and errors that point into the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from deltalite.exceptions import ExpressionError

_SPACE = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[bB][dD]|[lLsSyYdDfF])?(?!\w))
      | (?P<raw>[rR](?:'[^']*'|"[^"]*"))
      | (?P<string>'[^'\\]*(?:(?:\\.|'')[^'\\]*)*')
      | (?P<double>"[^"\\]*(?:(?:\\.|"")[^"\\]*)*")
      | (?P<quoted>`[^`]*(?:``[^`]*)*`)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=>|<>|!=|==|<=|>=|\|\||::|[-=<>+*/%()\[\],.&|^~!:;])""",
    re.VERBOSE | re.DOTALL,
)
_UNCLOSED = {"'": "string", '"': "double-quoted text", "`": "quoted name"}
MAX_TEXT = 16 * 1024 * 1024


class Token(NamedTuple):
    """``kind``: number, string, raw, double, quoted, word, sign or end. ``upper`` is the text in upper case."""

    kind: str
    text: str
    position: int
    end: int
    upper: str


def next_token(text: str, position: int) -> Token:
    """The token after a position, past white space and comments; of kind ``end`` where the text ends.

    :raises ExpressionError: at a character that begins no token, or quotes that are not closed.
    """
    position = _skip_space(text, position)
    if position >= len(text):
        return Token("end", "", position, position, "")
    match = _TOKEN.match(text, position)
    if match is None or text.startswith("/*", position):
        raise _bad_character(text, position)
    kind, found = match.lastgroup or "", match.group()
    return Token(kind, found, position, match.end(), found.upper() if kind == "word" else found)


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _bad_character(text: str, position: int) -> ExpressionError:
    character = text[position]
    if character in _UNCLOSED:
        return syntax_error(text, position, f"this {_UNCLOSED[character]} is not closed")
    if text.startswith("/*", position):
        return syntax_error(text, position, "this comment is not closed")
    if character.isdigit():
        return syntax_error(text, position, "a name may not begin with a digit", hint="write it in backticks")
    return syntax_error(text, position, f"unexpected character {character!r}")


def syntax_error(
    text: str, position: int, message: str, expected: Sequence[str] = (), hint: str | None = None, **context: object
) -> ExpressionError:
    """An error whose message shows the line of the text with a caret under ``position``."""
    shown = f"{message}\n{caret(text, position)}"
    return ExpressionError(shown, hint=hint, position=position, expected=list(expected), **context)


def caret(text: str, position: int) -> str:
    """The line around a position, cut to a readable width, with a caret below."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    left = max(start, position - 70)
    line = (
        ("..." if left > start else "") + text[left : min(end, position + 40)] + ("..." if end > position + 40 else "")
    )
    return f"  {line}\n  {' ' * (position - left + (3 if left > start else 0))}^".replace("\t", " ")


class TokenStream:
    """Tokens, read as they are needed, with a place among them and the ways to go on."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_TEXT:
            raise ExpressionError(f"an expression of {len(text):,} characters is longer than the limit of {MAX_TEXT:,}")
        self.text = text
        self.token = next_token(text, 0)
        self.ahead: list[Token] = []

    def peek(self, ahead: int = 1) -> Token:
        """A token further on; 0 is the current one."""
        while len(self.ahead) < ahead:
            last = self.ahead[-1] if self.ahead else self.token
            self.ahead.append(next_token(self.text, last.end))
        return self.ahead[ahead - 1] if ahead else self.token

    def next(self) -> Token:
        """The current token, stepping over it."""
        token = self.token
        self.token = self.ahead.pop(0) if self.ahead else next_token(self.text, token.end)
        return token

    def at(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs, ignoring case."""
        if self.token.upper != words[0] or self.token.kind not in ("word", "sign"):
            return False
        return all(self.peek(i).upper == word for i, word in enumerate(words[1:], 1))

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.at(*words):
            return False
        for _ in words:
            self.next()
        return True

    def expect(self, word: str, *also: str) -> Token:
        """Step over a word or sign that must come next. ``also`` names what else would have been right."""
        if not self.at(word):
            raise self.unexpected(word, *also)
        return self.next()

    def unexpected(self, *expected: str) -> ExpressionError:
        token = self.token
        found = "the text ends" if token.kind == "end" else f"found {token.text[:40]!r}"
        shown = [repr(e) if len(e) == 1 else e for e in expected]
        wanted = ", ".join(shown[:-1]) + (" or " if len(shown) > 1 else "") + shown[-1]
        return self.error(f"expected {wanted}, but {found}", expected=expected)

    def error(
        self, message: str, expected: Sequence[str] = (), hint: str | None = None, position: int | None = None
    ) -> ExpressionError:
        where = self.token.position if position is None else position
        return syntax_error(self.text, where, message, expected, hint)
