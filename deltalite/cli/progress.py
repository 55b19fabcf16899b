"""How far long work has come, on one line of stderr that goes away."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deltalite.cli.output.text import plural

if TYPE_CHECKING:
    import pyarrow as pa

    from deltalite.cli.settings import Settings

EVERY_S = 0.2


class RowProgress:
    """Counts the rows that pass, and shows the count while somebody watches."""

    def __init__(self, settings: Settings) -> None:
        self.rows = 0
        self._visible = settings.chatty
        self._shown_at = time.monotonic()
        self._shown = False

    def watch(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """The same rows, counted."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(reader.schema, self._count(reader))

    def _count(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield batch
            self.rows += batch.num_rows
            now = time.monotonic()
            if self._visible and now - self._shown_at >= EVERY_S:
                print(f"\r{plural(self.rows, 'row')} read", end="", file=sys.stderr, flush=True)
                self._shown_at, self._shown = now, True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False


class Share:
    """How much of known work is done, in percent; operations call it with what is done and with all.

    :param what: "rewritten", "deleted".
    """

    def __init__(self, settings: Settings, what: str) -> None:
        self._visible = settings.chatty
        self._what = what
        self._shown_at = time.monotonic()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._visible and now - self._shown_at >= EVERY_S:
            percent = 100 * done // total if total else 100
            print(f"\r{percent} % {self._what}", end="", file=sys.stderr, flush=True)
            self._shown_at, self._shown = now, True

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
