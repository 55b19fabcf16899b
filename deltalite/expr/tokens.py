"""SQL text to tokens, and errors that point into the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: number, string, raw, double, quoted, word, sign or end. ``upper`` is the text in upper case."""

    kind: str
    text: str
    position: int
    upper: str


def tokenize(text: str) -> list[Token]:
    """All tokens of a text, closed by one of kind ``end``; white space and comments left out.

    :raises ExpressionError: at a character that begins no token, or quotes that are not closed.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"an expression of {len(text):,} characters is longer than the limit of {MAX_TEXT:,}")
    tokens: list[Token] = []
    position = _skip_space(text, 0)
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or text.startswith("/*", position):
            raise _bad_character(text, position)
        kind, found = match.lastgroup or "", match.group()
        tokens.append(Token(kind, found, position, found.upper() if kind == "word" else found))
        position = _skip_space(text, match.end())
    tokens.append(Token("end", "", len(text), ""))
    return tokens


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
    line = ("..." if left > start else "") + text[left : min(end, position + 40)] + ("..." if end > position + 40 else "")
    return f"  {line}\n  {' ' * (position - left + (3 if left > start else 0))}^".replace("\t", " ")


class TokenStream:
    """Tokens with a place among them, and the ways to go on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.index = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def peek(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.tokens[self.index]
        self.index = min(self.index + 1, len(self.tokens) - 1)
        return token

    def at(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs, ignoring case."""
        return all(self._is(self.peek(i), word) for i, word in enumerate(words))

    def take(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.at(*words):
            return False
        self.index += len(words)
        return True

    def expect(self, word: str, *also: str) -> Token:
        """Step over a word or sign that must come next. ``also`` names what else would have been right."""
        if not self.at(word):
            raise self.unexpected(word, *also)
        return self.next()

    def unexpected(self, *expected: str) -> ExpressionError:
        token = self.token
        found = "the text ends" if token.kind == "end" else f"found {token.text[:40]!r}"
        wanted = ", ".join(expected[:-1]) + (" or " if len(expected) > 1 else "") + expected[-1]
        return self.error(f"expected {wanted}, but {found}", expected=expected)

    def error(
        self, message: str, expected: Sequence[str] = (), hint: str | None = None, position: int | None = None
    ) -> ExpressionError:
        where = self.token.position if position is None else position
        return syntax_error(self.text, where, message, expected, hint)

    @staticmethod
    def _is(token: Token, word: str) -> bool:
        return token.kind in ("word", "sign") and token.upper == word
