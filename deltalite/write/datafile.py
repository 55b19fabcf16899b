"""One data file: row groups in, an AddFile out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deltalite.model.actions import AddFile
from deltalite.model.paths import encode_path
from deltalite.write import stats
from deltalite.write.footer import MAGIC, file_end
from deltalite.write.layout import Layout
from deltalite.write.rowgroup import RowGroup

if TYPE_CHECKING:
    from deltalite.storage.base import Store


class DataFile:
    """A data file being written; nobody sees it before :meth:`finish`.

    :param path: its path below the table's root, not percent-encoded.
    :param partition_values: the log's texts by partition key.
    """

    def __init__(self, store: Store, path: str, layout: Layout, partition_values: Mapping[str, str | None]) -> None:
        self._path = path
        self._layout = layout
        self._partition_values = partition_values
        self._output = store.open_output(path)
        self._starts: list[int] = []
        self._footers: list[bytes] = []
        self._stats: list[stats.LeafStats] | None = None
        self._rows = 0
        self.size = 0
        """Bytes written so far."""

    def append(self, group: RowGroup) -> None:
        """Add a row group."""
        self._starts.append(self.size or len(MAGIC))
        self._footers.append(group.footer)
        self._write(group.data[len(MAGIC) if self.size else 0 : group.footer_at])
        self._stats = group.stats if self._stats is None else stats.merged(self._stats, group.stats)
        self._rows += group.rows

    def finish(self) -> AddFile:
        """Write the footer, make the file visible and describe it."""
        self._write(file_end(self._footers, self._starts))
        text = stats.to_json(self._layout.stats, self._stats or (), self._rows, self._layout.spec.stats_prefix)
        self._output.close()
        return AddFile(
            path=encode_path(self._path),
            partition_values=self._partition_values,
            size=self.size,
            modification_time=time.time_ns() // 1_000_000,
            data_change=True,
            stats=text,
        )

    def abort(self) -> None:
        """Throw the file away."""
        self._output.abort()

    def _write(self, data: bytes | memoryview) -> None:
        self._output.write(data)
        self.size += len(data)
