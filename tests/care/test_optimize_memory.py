"""What is held at a time does not grow with the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from deltalite import write_deltalake

MEASURE = """
import sys, threading, time
import pyarrow.compute, pyarrow.parquet
import deltalite
def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) // 1024
table = deltalite.DeltaTable(sys.argv[1])
table.count()
before, most, over = held(), 0, threading.Event()
def watch():
    global most
    while not over.wait(0.005):
        most = max(most, held())
watcher = threading.Thread(target=watch)
watcher.start()
if sys.argv[2] == "compact":
    table.optimize.compact()
else:
    table.optimize.z_order(["a", "b"], memory_limit=sys.argv[2], target_size="16MB")
over.set()
watcher.join()
print(most - before, table.count())
"""


def grown(root: Path, how: str) -> int:
    """Megabytes that the process grows by."""
    told = subprocess.run([sys.executable, "-c", MEASURE, str(root), how], capture_output=True, text=True, check=True)
    size, count = map(int, told.stdout.split())
    assert count == 3_000_000
    return size


@pytest.mark.slow
def test_compaction_and_z_order_stay_within_their_memory(tmp_path: Path) -> None:
    """200 MB of rows in files, some 500 MB in memory."""
    rng = np.random.default_rng(0)
    for i in range(60):
        numbers = rng.integers(0, 1 << 40, (8, 50_000))
        columns = {name: numbers[k] for k, name in enumerate("abcdefgh")}
        columns["text"] = np.char.add("some text ", numbers[0].astype(str))
        write_deltalake(tmp_path / "t", pa.table(columns), mode="append")
    import shutil

    shutil.copytree(tmp_path / "t", tmp_path / "u")
    assert grown(tmp_path / "t", "compact") <= 250
    assert grown(tmp_path / "u", "128MB") <= 400
    shutil.rmtree(tmp_path / "u")
    shutil.copytree(tmp_path / "t", tmp_path / "u")
    assert grown(tmp_path / "u", "384MB") <= 512
