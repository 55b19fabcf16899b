"""Sources whose keys exceed the budget are divided by the codes of the keys, so that one part fits at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from deltalite.engine.index import BYTES_PER_ROW
from deltalite.engine.sides import Keys, spread
from deltalite.engine.spill import Budget
from deltalite.engine.temporary import Partitions
from deltalite.expr.vectors import from_numpy
from deltalite.model.arrow import to_numpy

MOST_PARTS = 256
_MOST_WAITING = 32 << 20
_ENTRY = ("code", "row")


def parts_needed(rows: int, budget: Budget) -> int:
    """How many parts of a source it takes for the index of one to fit into a third of the budget."""
    share = max(1, budget.free // 3)
    return max(1, min(MOST_PARTS, -(-rows * BYTES_PER_ROW // share)))


def partitions(parts: int, budget: Budget) -> Partitions:
    """Room for rows in so many parts; an eighth of the budget waits in memory at a time."""
    return Partitions(parts, min(_MOST_WAITING, budget.free // 8), budget.directory)


def divide_source(keys: Keys, into: Partitions, parts: int) -> None:
    """Put the codes and numbers of the source's rows into their parts."""
    for codes, rows in keys.source_codes():
        columns = [from_numpy(codes, pa.uint64()), from_numpy(rows, pa.int64())]
        into.add(pa.RecordBatch.from_arrays(columns, list(_ENTRY)), spread(codes, parts))
    into.finish()


def entries(divided: Partitions, part: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The codes and row numbers of a part of the source."""
    for batch in divided.read(part):
        codes, rows = (to_numpy(batch.column(name)) for name in _ENTRY)
        yield codes, rows
