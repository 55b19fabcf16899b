"""Tables whose rows change, and the rows that change them.

An input is a directory of Parquet files, what the log says about them, and sources as Arrow files. Every run lays its
own table over the same files, so that each starts from the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.core import Scale
from benchmarks.inputs import cached, lineitem
from benchmarks.inputs.logs import add, schema_string, write_commit

__all__ = ["FEW", "FILES", "data_files", "event_rows", "events", "lay", "lines", "source"]

FILES = 20
FEW = 1_000
_SEED = 20261121
_LINES = 7  # an order has so many lines at most
_EVENTS = pa.schema(
    [("id", pa.int64()), ("time", pa.timestamp("us", "UTC")), ("value", pa.float64()), ("kind", pa.string())]
)
_EVENT_TYPES = {"id": "long", "time": "timestamp", "value": "double", "kind": "string"}
_KINDS = pa.array(["click", "open", "view", "buy"])


def lay(source: Path, table: Path, *, vectors: bool, files: int = FILES) -> Path:
    """A Delta table over the first ``files`` files of an input.

    :param vectors: deletion vectors are enabled.
    """
    (table / "_delta_log").mkdir(parents=True)
    told = json.loads((source / "log.json").read_text())
    metadata, protocol = told["metaData"], {"minReaderVersion": 1, "minWriterVersion": 2}
    if vectors:
        features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
        metadata["configuration"] = {"delta.enableDeletionVectors": "true"}
    adds = told["adds"][:files]
    for action in adds:
        os.link(source / action["add"]["path"], table / action["add"]["path"])
    write_commit(table, 0, [{"protocol": protocol}, {"metaData": metadata}, *adds])
    return table


def data_files(place: Path) -> list[Path]:
    """The Parquet files of an input, in the order of their keys."""
    return sorted(place.glob("*.parquet"))


def source(place: Path, name: str) -> pa.Table:
    """Rows that change the table, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(place / f"{name}.arrow"))).read_all()


def _write_source(place: Path, name: str, rows: pa.Table) -> None:
    with pa.OSFile(str(place / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=1 << 16)


def _write_files(
    place: Path, metadata: dict[str, Any], chunks: Iterator[pa.RecordBatch], statistics: Callable[[pa.RecordBatch], str]
) -> None:
    adds = []
    for number, chunk in enumerate(chunks):
        name = f"part-{number:05d}-{_SEED:08x}.zstd.parquet"
        pq.write_table(pa.table(chunk), place / name, compression="zstd", store_decimal_as_integer=True)
        adds.append(add(name, {}, (place / name).stat().st_size, statistics(chunk)))
    (place / "log.json").write_text(json.dumps({"metaData": metadata, "adds": adds}))


# -- lineitem ------------------------------------------------------------------------------------------------------


def lines(cache: Path, scale: Scale) -> Path:
    """lineitem in 20 files, and the sources ``random``, ``local`` (keys of one file) and ``few``.

    A key is ``(l_orderkey, l_linenumber)``. Known rows come with another quantity and comment, new ones are further
    lines of known orders.
    """

    def build(place: Path) -> None:
        place.mkdir(parents=True)
        _write_files(place, lineitem.metadata(), _line_chunks(scale), lineitem.statistics)
        shares = _shares(scale.updates), _shares(scale.inserts)
        few = _shares(min(FEW, scale.updates) * 9 // 10), _shares(min(FEW, scale.updates) // 10)
        parts: dict[str, list[pa.RecordBatch]] = {"random": [], "local": [], "few": []}
        for number, chunk in enumerate(_line_chunks(scale)):
            parts["random"].append(_changed(chunk, shares[0][number], shares[1][number], number))
            parts["few"].append(_changed(chunk, few[0][number], few[1][number], number))
            if number == FILES * 2 // 3:
                updates = min(scale.updates, len(chunk) // 4)
                parts["local"].append(_changed(chunk, updates, updates // 5, number))
        for name, found in parts.items():
            _write_source(place, name, _shuffled(pa.Table.from_batches(found)))

    return cached(cache / "lines", build)


def _line_chunks(scale: Scale) -> Iterator[pa.RecordBatch]:
    return lineitem.chunks(FILES, scale.rows // FILES)


def _shares(count: int) -> list[int]:
    return [count // FILES + (number < count % FILES) for number in range(FILES)]


def _changed(chunk: pa.RecordBatch, updates: int, inserts: int, seed: int) -> pa.RecordBatch:
    rows = np.random.default_rng([_SEED, seed]).permutation(len(chunk))[: updates + inserts]
    chosen = chunk.take(pa.array(rows))
    number = chosen.column("l_linenumber").to_numpy(zero_copy_only=False)
    is_new = np.arange(len(rows)) >= updates
    columns = {
        "l_linenumber": pa.array((number + _LINES * is_new).astype(np.int32)),
        "l_quantity": pc.add(chosen.column("l_quantity"), pa.scalar(Decimal(1), lineitem.MONEY)).cast(lineitem.MONEY),
        "l_comment": pa.repeat(pa.scalar("corrected"), len(rows)),
    }
    return pa.RecordBatch.from_arrays(
        [columns.get(name, chosen.column(name)) for name in chosen.schema.names], schema=chunk.schema
    )


def _shuffled(rows: pa.Table) -> pa.Table:
    return rows.take(pa.array(np.random.default_rng(_SEED).permutation(len(rows))))


# -- events --------------------------------------------------------------------------------------------------------


def events(cache: Path, scale: Scale) -> Path:
    """Narrow events in 20 files with even ids; odd ones are new.

    The sources: ``large`` (``scale.upserts`` rows), ``local`` (keys of the first file), ``spread-N`` (of ``N`` files).
    """

    def build(place: Path) -> None:
        place.mkdir(parents=True)
        metadata = {**lineitem.metadata(), "schemaString": schema_string(_EVENT_TYPES)}
        rows = event_rows(scale)
        chunks = (_events(np.arange(n * rows, (n + 1) * rows) * 2, n) for n in range(FILES))
        _write_files(place, metadata, chunks, _event_statistics)
        _write_source(place, "large", _some_events(scale.upserts * 9 // 10, scale.upserts // 10, FILES * rows))
        updates, inserts = min(scale.updates, rows // 4), min(scale.inserts, rows // 20)
        for files in (1, 2, 5, 10, 20):
            _write_source(place, f"spread-{files}", _some_events(updates, inserts, files * rows))
        _write_source(place, "local", _some_events(updates, inserts, rows))

    return cached(cache / "events", build)


def event_rows(scale: Scale) -> int:
    """Rows in one file of events."""
    return scale.events // FILES


def _some_events(updates: int, inserts: int, known: int) -> pa.Table:
    random = np.random.default_rng([_SEED, updates, known])
    old = random.permutation(known)[:updates] * 2
    new = random.permutation(known)[:inserts] * 2 + 1
    return pa.Table.from_batches([_events(random.permutation(np.concatenate([old, new])), 1_000)])


def _events(ids: np.ndarray, seed: int) -> pa.RecordBatch:
    random = np.random.default_rng([_SEED, seed])
    columns = [
        pa.array(ids),
        pa.array(1_790_000_000_000_000 + ids * 1_000 + seed).cast(pa.timestamp("us")).cast(_EVENTS.types[1]),
        pa.array(random.integers(0, 1_000_000, len(ids)) / 8),
        _KINDS.take(pa.array(random.integers(0, len(_KINDS), len(ids)).astype(np.int32))),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_EVENTS)


def _event_statistics(chunk: pa.RecordBatch) -> str:
    ids = pc.min_max(chunk.column("id"))
    counts = {"numRecords": len(chunk), "nullCount": dict.fromkeys(chunk.schema.names, 0)}
    return json.dumps({**counts, "minValues": {"id": ids["min"].as_py()}, "maxValues": {"id": ids["max"].as_py()}})
