"""A scan with predicate, partitions, deletion vector, times and decimals loads neither pandas nor pyarrow.dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import decimal
import pyarrow as pa
from deltalite.model.arrow import array
from scan_tables import add_file, make_config, make_snapshot, memory_store
from deltalite.expr.bind import bind_predicate
from deltalite.features.deletion_vectors import RowPositions
from deltalite.features.deletion_vectors.file import inline
from deltalite.model.types import Field, Schema
from deltalite.scan.plan import explain, plan
from deltalite.scan.read import read_plan

names = ["t", "x", "s", "d"]
schema = Schema([Field("t", "timestamp"), Field("x", "decimal(5,2)"), Field("s", "string"), Field("d", "date"), Field("p", "long")])
data = pa.table([array([1, None, 3], pa.timestamp("ns")), array([decimal.Decimal("1.5")] * 3, pa.decimal128(4, 1)),
                 array(["a", "b", None], pa.large_string()), array([1, 2, 3], pa.date32())], names=names)
store = memory_store()
stats = {"numRecords": 3, "minValues": {"t": "1970-01-01T00:00:00.000Z"}, "maxValues": {"t": "1970-01-01T00:00:00.000Z"}}
add = add_file(store, "f", data, {"p": "5"}, stats=stats, deletion_vector=inline(RowPositions.of([1])))
snapshot = make_snapshot(make_config(schema, ["p"]), [add])
predicate = bind_predicate("p = 5 and t < TIMESTAMP '1971-01-01 00:00:00Z' and s = 'a'", schema)
explain(snapshot, predicate)
assert read_plan(store, plan(snapshot, predicate=predicate, virtual=["_file", "_row_index"])).read_all().num_rows == 1
heavy = [m for m in ("pandas", "pyarrow.dataset", "pyarrow.acero") if m in sys.modules]
assert not heavy, heavy
"""


def test_scans_stay_light():
    subprocess.run([sys.executable, "-c", SCRIPT, str(Path(__file__).parent)], check=True, timeout=60)
