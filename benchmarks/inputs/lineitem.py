"""A table like TPC-H's lineitem: 16 columns, clustered by ``l_orderkey``, one chunk a data file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.core import Scale
from benchmarks.inputs import cached
from benchmarks.inputs.logs import add, schema_string, write_commit

__all__ = ["MONEY", "SCHEMA", "arrow_file", "chunk_rows", "chunks", "metadata", "statistics", "table"]

_SEED = 20261120
_BATCH_ROWS = 60_000
MONEY = pa.decimal128(15, 2)
SCHEMA = pa.schema(
    [
        ("l_orderkey", pa.int64()),
        ("l_partkey", pa.int64()),
        ("l_suppkey", pa.int64()),
        ("l_linenumber", pa.int32()),
        ("l_quantity", MONEY),
        ("l_extendedprice", MONEY),
        ("l_discount", MONEY),
        ("l_tax", MONEY),
        ("l_returnflag", pa.string()),
        ("l_linestatus", pa.string()),
        ("l_shipdate", pa.date32()),
        ("l_commitdate", pa.date32()),
        ("l_receiptdate", pa.date32()),
        ("l_shipinstruct", pa.string()),
        ("l_shipmode", pa.string()),
        ("l_comment", pa.string()),
    ]
)
_INSTRUCTIONS = ("DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN")
_MODES = ("REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB")
_WORDS = (
    "the slyly carefully furiously quickly blithely final regular express special pending bold even ironic silent "
    "packages requests accounts deposits foxes ideas theodolites pinto beans instructions dependencies excuses "
    "platelets sleep wake nag haggle cajole detect integrate boost among above across after against along beneath about"
)


def chunk_rows(scale: Scale) -> int:
    """Rows in one chunk; chunk ``k`` holds order keys from ``k * chunk_rows`` on."""
    return scale.rows // scale.files


def arrow_file(cache: Path, scale: Scale) -> Path:
    """All rows as an Arrow IPC file of large record batches, to be mapped into memory."""

    def build(place: Path) -> None:
        with pa.OSFile(str(place), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for chunk in chunks(max(1, scale.rows // _BATCH_ROWS), min(scale.rows, _BATCH_ROWS)):
                writer.write_batch(chunk)

    return cached(cache / "lineitem.arrow", build)


def table(cache: Path, scale: Scale) -> Path:
    """The rows as a Delta table of ``scale.files`` files, with statistics, in one commit.

    Decimals lie in integers, as Spark, delta-rs and DuckDB write them; pyarrow's own default is bytes.
    """

    def build(place: Path) -> None:
        (place / "_delta_log").mkdir(parents=True)
        actions = [
            {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
            {"metaData": metadata()},
        ]
        for number, chunk in enumerate(chunks(scale.files, chunk_rows(scale))):
            name = f"part-{number:05d}-{_SEED:08x}.zstd.parquet"
            pq.write_table(pa.table(chunk), place / name, compression="zstd", store_decimal_as_integer=True)
            actions.append(add(name, {}, (place / name).stat().st_size, statistics(chunk)))
        write_commit(place, 0, actions)

    return cached(cache / "lineitem-table", build)


def metadata() -> dict[str, Any]:
    kinds = {pa.int64(): "long", pa.int32(): "integer", pa.string(): "string", pa.date32(): "date"}
    return {
        "id": "5f1e6f0e-6c1d-4c39-9d7e-0c5a0d2f7c11",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": schema_string({f.name: kinds.get(f.type, "decimal(15,2)") for f in SCHEMA}),
        "partitionColumns": [],
        "configuration": {},
        "createdTime": 1_790_000_000_000,
    }


def statistics(chunk: pa.RecordBatch) -> str:
    lowest, highest = {}, {}
    for name, values in zip(chunk.schema.names, chunk.columns, strict=True):
        bounds = pc.min_max(values)
        lowest[name], highest[name] = _json(bounds["min"].as_py()), _json(bounds["max"].as_py())
    nulls = dict.fromkeys(chunk.schema.names, 0)
    return json.dumps({"numRecords": len(chunk), "minValues": lowest, "maxValues": highest, "nullCount": nulls})


def _json(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value if isinstance(value, int) else str(value)[:32]


def chunks(count: int, rows: int) -> Iterator[pa.RecordBatch]:
    text = _text_pool()
    return (_chunk(number, rows, text) for number in range(count))


def _chunk(number: int, rows: int, text: np.ndarray) -> pa.RecordBatch:
    random = np.random.default_rng([_SEED, number])
    lines = random.integers(1, 8, rows)
    order = np.repeat(np.arange(rows), lines)[:rows]
    line = np.arange(rows) - np.searchsorted(order, order) + 1
    quantity = random.integers(1, 51, rows)
    part = random.integers(1, 200_001, rows)
    ordered = random.integers(8_035, 8_035 + 2_405, rows)[order]
    shipped = ordered + random.integers(1, 122, rows)
    status = (shipped > 9_298).astype(np.int8)
    columns = [
        pa.array(number * rows + order),
        pa.array(part),
        pa.array(random.integers(1, 10_001, rows)),
        pa.array(line.astype(np.int32)),
        _money(quantity * 100),
        _money(quantity * (90_000 + part // 10 % 20_001 + 100 * (part % 1_000))),
        _money(random.integers(0, 11, rows)),
        _money(random.integers(0, 9, rows)),
        _choice(("R", "A", "N"), np.where(status, 2, random.integers(0, 2, rows))),
        _choice(("F", "O"), status),
        pa.array(shipped.astype(np.int32)).cast(pa.date32()),
        pa.array((ordered + random.integers(30, 91, rows)).astype(np.int32)).cast(pa.date32()),
        pa.array((shipped + random.integers(1, 31, rows)).astype(np.int32)).cast(pa.date32()),
        _choice(_INSTRUCTIONS, random.integers(0, len(_INSTRUCTIONS), rows)),
        _choice(_MODES, random.integers(0, len(_MODES), rows)),
        _comments(text, random, rows),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _money(cents: np.ndarray) -> pa.Array:
    words = np.zeros((len(cents), 2), np.int64)
    words[:, 0] = cents
    return pa.Array.from_buffers(MONEY, len(cents), [None, pa.py_buffer(words)])


def _choice(values: tuple[str, ...], codes: np.ndarray) -> pa.Array:
    return pa.array(list(values)).take(pa.array(codes.astype(np.int32)))


def _text_pool() -> np.ndarray:
    words = np.random.default_rng(_SEED).choice(np.array(_WORDS.split()), 200_000)
    return np.frombuffer(" ".join(words).encode(), np.uint8)


def _comments(text: np.ndarray, random: np.random.Generator, rows: int) -> pa.Array:
    sizes = random.integers(10, 44, rows)
    starts = random.integers(0, len(text) - 44, rows)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    letters = text[np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])]
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(letters)])
