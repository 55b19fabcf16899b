"""JSON text cut into chunks of whole lines, a row on each, however it was laid out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from deltalite.exceptions import SchemaMismatchError
from deltalite.interop.rows_from.sources import read_block

BLOCK = 4 << 20
_BOM = b"\xef\xbb\xbf"
_MARK = re.compile(rb'\\.|["\[\]{}]', re.DOTALL)
_OPENING = (b"[", b"{")


def json_chunks(stream: BinaryIO, lines: bool, name: str) -> Iterator[bytes]:
    """Chunks of some megabytes that hold one object per line.

    :param lines: the text is laid out like that already. Otherwise it may also be an array of objects, or objects that
        span lines.
    """
    start = read_block(stream, BLOCK).removeprefix(_BOM)
    if lines or _is_lines(start):
        return _line_chunks(start, stream)
    return _object_chunks(start, stream, name)


def _is_lines(start: bytes) -> bool:
    """Whether the first line is an object by itself."""
    line, newline, _ = start.lstrip().partition(b"\n")
    if not line.startswith(b"{") or not newline:
        return False
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _line_chunks(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    carried = start
    while True:
        end = carried.rfind(b"\n") + 1
        if end:
            yield carried[:end]
            carried = carried[end:]
        block = read_block(stream, BLOCK)
        if not block:
            break
        carried += block
    if carried.strip():
        yield carried


def _object_chunks(start: bytes, stream: BinaryIO, name: str) -> Iterator[bytes]:
    """Objects one after another, or the elements of one array, each brought onto a line of its own."""
    splitter = _Splitter(name)
    block = start
    while block:
        if chunk := splitter.feed(block):
            yield chunk
        block = read_block(stream, BLOCK)
    if rest := splitter.finish():
        yield rest


class _Splitter:
    """Follows strings and brackets through the text, and breaks lines between the objects only.

    What is left of an unfinished object is looked at again from its beginning, together with the next block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._array: bool | None = None
        self._carried = b""
        self._objects = 0
        self._ended = False

    def feed(self, block: bytes) -> bytes:
        """The whole objects that the text so far holds, as lines."""
        text = self._carried + block
        if self._array is None:
            text = text.lstrip()
            if text:
                self._array = text.startswith(b"[")
                text = text[1:] if self._array else text
        if self._ended:
            self._after_end(text)
            return b""
        lines, self._carried = self._split(text)
        return b"".join(lines)

    def _split(self, text: bytes) -> tuple[list[bytes], bytes]:
        """Lines of the whole objects, and the rest of the text."""
        lines: list[bytes] = []
        done = start = depth = 0
        in_string = False
        for match in _MARK.finditer(text):
            mark = match[0]
            if in_string:
                in_string = mark != b'"'
            elif mark == b'"':
                in_string = True
            elif mark in _OPENING:
                start = start if depth else match.start()
                depth += 1
            elif depth == 0:
                self._after_array(text[done : match.start()], text[match.end() :])
                return lines, b""
            else:
                depth -= 1
                if depth == 0:
                    self._check_between(text[done:start])
                    done = match.end()
                    # A line break inside an object is space between its parts: strings cannot hold one.
                    lines.append(text[start:done].replace(b"\n", b" ").replace(b"\r", b" ") + b"\n")
        return lines, text[done:]

    def finish(self) -> bytes:
        """The end of the text: nothing may be left, but half an object, which whoever reads it will refuse."""
        if self._array and not self._ended:
            raise self._malformed("the array does not end")
        rest = self._carried.strip()
        return rest.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n" if rest else b""

    def _check_between(self, text: bytes) -> None:
        wanted = b"," if self._array and self._objects else b""
        if (found := text.strip()) != wanted:
            what = f"{found[:40].decode('utf-8', 'replace')!r} stands" if found else "a comma is missing"
            raise self._malformed(f"{what} before row {self._objects + 1}")
        self._objects += 1

    def _after_array(self, between: bytes, rest: bytes) -> None:
        if not self._array or between.strip():
            raise self._malformed(
                f"an array of objects is expected, or objects one after another (after row {self._objects})"
            )
        self._ended = True
        self._after_end(rest)

    def _after_end(self, rest: bytes) -> None:
        if rest.strip():
            raise self._malformed("there is something after the end of the array")

    def _malformed(self, what: str) -> SchemaMismatchError:
        return SchemaMismatchError(f"{self._name} is not valid JSON: {what}", path=self._name)
