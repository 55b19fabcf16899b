"""Memory stays within the budget while source and table grow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np, pyarrow as pa
from deltalite.engine.match import find
from deltalite.engine.spill import Budget, Source
from deltalite.expr.vectors import from_numpy
from deltalite.model.change import Match
from deltalite.model.types import Field, PrimitiveType, Schema
from match_model import Merge

limit, source_rows, table_rows, text = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "text"
STEP = 1 << 16


def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024


def column(numbers):
    if not text:
        return from_numpy(numbers * 0x9E3779B97F4A7C1, pa.int64())
    digits = np.empty((len(numbers), 30), np.uint8)
    for place in range(30):
        digits[:, place] = 48 + numbers // 7 ** (place % 8) % 10
    offsets = from_numpy(np.arange(len(numbers) + 1) * 30, pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, offsets, pa.py_buffer(digits.tobytes())])


def blocks(rows, odd):
    for start in range(0, rows, STEP):
        yield start, (np.arange(start, min(start + STEP, rows)) * 7919 % rows) * odd


kind = PrimitiveType("string" if text else "long")
schema = Schema([Field("a", kind), Field("b", PrimitiveType("long")), Field("pad", PrimitiveType("string"))])
merge = Merge(schema, schema)
match = Match((merge.pair("t_a", "s_a"), merge.pair("t_b", "s_b")))
clauses = [merge.clause("matched", "update", "s_b % 10 = 0"), merge.clause("not_matched", "insert", "s_b % 10 = 1")]


def source():
    for start, numbers in blocks(source_rows, 1):
        pad = pa.array(["p" * 50] * len(numbers))
        yield pa.RecordBatch.from_arrays([column(numbers), from_numpy(numbers, pa.int64()), pad], ["a", "b", "pad"])


def table():
    for start, numbers in blocks(table_rows, 2):
        positions = from_numpy(np.arange(start, start + len(numbers)) % (1 << 20), pa.int64())
        columns = [column(numbers), from_numpy(numbers, pa.int64()), positions]
        yield start >> 20, pa.RecordBatch.from_arrays(columns, ["target.a", "target.b", "_row_index"])


first = next(source())
list(table())[:1] if table_rows < STEP else next(table())
before, peak, done = anonymous(), [0.0], threading.Event()


def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())


thread = threading.Thread(target=watch)
thread.start()
budget = Budget(limit)
with Source.of(pa.RecordBatchReader.from_batches(first.schema, source()), budget) as kept:
    edits = find(table(), kept, match, clauses, budget)
    spilled = kept.spilled
done.set()
thread.join()
print(spilled, sum(len(f.positions) for f in edits.files), sum(len(rows) for _, rows in edits.inserted), peak[0] - before)
"""


def grown(limit: str, source_rows: int, table_rows: int, kind: str) -> tuple[bool, int, int, float]:
    arguments = [os.path.dirname(__file__), limit, str(source_rows), str(table_rows), kind]
    found = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    spilled, changed, inserted, megabytes = found.stdout.split()
    return spilled == "True", int(changed), int(inserted), float(megabytes)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["numbers", "text"])
def test_memory_stays_within_the_budget_while_the_source_grows(kind):
    """Results included: 17 bytes for each row that changes, 8 for each that comes."""
    for source_rows in (500_000, 4_000_000):
        spilled, changed, inserted, megabytes = grown("48MB", source_rows, 2_000_000, kind)
        assert spilled
        matched = sum(1 for n in range(0, source_rows, 10) if n % 2 == 0 and n < 4_000_000)
        assert changed == matched and inserted == sum(1 for n in range(1, source_rows, 10) if n % 2 or n >= 4_000_000)
        assert megabytes < 1.1 * 48, (kind, source_rows, megabytes)
