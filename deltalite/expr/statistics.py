"""What pruning knows of files: the statistics of columns, and who gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """What is known of one column, one element per file.

    :param min: no value lies below; null where unknown. Of the column's Arrow type.
    :param max: no value lies above (NaN aside); null where unknown. Widened already for truncated text and times.
    :param null_count: how many rows are null; null where unknown.
    :param exact: the column is constant in each file, ``min`` and ``max`` are that constant, and a null constant
        means that all rows are null: a partition value.
    """

    min: pa.Array | None = None
    max: pa.Array | None = None
    null_count: pa.Array | None = None
    exact: bool = False


class FileStats(Protocol):
    """The statistics of some files (or row groups)."""

    @property
    def length(self) -> int:
        """How many files."""
        ...

    @property
    def num_records(self) -> pa.Array | None:
        """How many rows each file has; null where unknown."""
        ...

    def column(self, path: tuple[str, ...]) -> ColumnStats | None:
        """The statistics of a column; ``None`` when there are none."""
        ...
