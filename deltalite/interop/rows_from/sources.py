"""Where input comes from: a file or stdin, its format, and its bytes without compression."""

from __future__ import annotations

import bz2
import gzip
import io
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deltalite.exceptions import InvalidArgumentError

FORMATS = ("csv", "tsv", "json", "ndjson", "parquet", "arrow")
_ENDINGS = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_COMPRESSED = (".gz", ".bz2", ".zst")
_IN_MEMORY = 64 << 20


@dataclass(frozen=True)
class Source:
    """One input.

    :param name: the path as the user wrote it, or ``stdin``.
    :param path: ``None`` for stdin.
    :param format: one of ``FORMATS``.
    """

    name: str
    path: Path | None
    format: str

    def open(self) -> Any:
        """The bytes as a binary file, decompressed by the ending of the name; read from front to back."""
        if self.path is None:
            return sys.stdin.buffer
        ending = self.path.suffix.lower()
        if ending == ".gz":
            return gzip.open(self.path, "rb")
        if ending == ".bz2":
            return bz2.open(self.path, "rb")
        if ending == ".zst":
            import pyarrow as pa

            return pa.CompressedInputStream(pa.OSFile(str(self.path)), "zstd")
        return self.path.open("rb")

    def open_seekable(self) -> Any:
        """The bytes as a file that can be read in any order; a stream is put aside, on disk when it is large."""
        if self.path is not None and self.path.suffix.lower() not in _COMPRESSED:
            return self.path.open("rb")
        aside = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        stream = self.open()
        while block := stream.read(1 << 20):
            aside.write(block)
        aside.seek(0)
        return aside


def source_of(text: str, format: str | None = None) -> Source:
    """The source that a FILE argument names.

    :param format: ``None`` goes by the ending of the name.
    :raises InvalidArgumentError: when the file is missing, is no file, or its format cannot be told.
    """
    if text == "-":
        if format is None:
            raise InvalidArgumentError("the format of stdin is unknown", hint=f"pass --format {'|'.join(FORMATS)}")
        return Source("stdin", None, format)
    if "://" in text:
        raise InvalidArgumentError(
            f"{text!r} is a URL, and input is read from local files and stdin",
            hint="pipe it: aws s3 cp s3://... - | deltalite append TABLE - --format csv",
        )
    path = Path(text)
    if not path.is_file():
        what = "is a directory" if path.is_dir() else "does not exist"
        raise InvalidArgumentError(f"{text!r} {what}", hint="name the files to load, or - for stdin", path=text)
    endings = [e.lower() for e in path.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    found = format or (_ENDINGS.get(endings[-1]) if endings else None)
    if found is None:
        raise InvalidArgumentError(
            f"the format of {text!r} cannot be told from its name", hint=f"pass --format {'|'.join(FORMATS)}", path=text
        )
    return Source(text, path, found)


class Prefixed(io.RawIOBase):
    """A stream whose first bytes were read already."""

    def __init__(self, prefix: bytes, rest: BinaryIO) -> None:
        super().__init__()
        self._prefix = io.BytesIO(prefix)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if block := self._prefix.read(size):
            return block if size >= 0 else block + self._rest.read()
        return self._rest.read(size) or b""

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


def read_block(stream: BinaryIO, size: int) -> bytes:
    """Up to ``size`` bytes; fewer only at the end, also from a pipe that gives little at a time."""
    parts, left = [], size
    while left > 0 and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
