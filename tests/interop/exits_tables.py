"""Tables, a store that tells what was read, and a way to compare rows: shared by the tests of the exits."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa

import deltalite
from deltalite.testing.faults import Call, CountingStore

UTC = dt.timezone.utc
NAN = math.nan

MIXED = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5, 6, 7, 8, None], pa.int64()),
        "i": pa.array([1, None, 3, -4, 5, 6, 7, 8, 9], pa.int32()),
        "x": pa.array([1.0, 6.0, NAN, None, 2.0, -0.0, 0.0, math.inf, 5.0]),
        "s": pa.array(["a", "b", None, "ab", "", "ü", "A", "b'c", "zz"]),
        "o": pa.array([True, False, None, True, False, None, True, True, False]),
        "d": pa.array([dt.date(2026, 1, day) if day else None for day in (1, 2, 3, 4, 0, 6, 7, 8, 9)]),
        "at": pa.array(
            [
                None if h is None else dt.datetime(2026, 1, 1, h, 30, 0, 123456, UTC)
                for h in (0, 1, 2, None, 4, 5, 6, 7, 8)
            ],
            pa.timestamp("us", "UTC"),
        ),
        "m": pa.array(
            [
                decimal.Decimal(v) if v else None
                for v in ("1.50", "2.00", "", "-3.25", "0.00", "9.99", "1.50", "7.00", "8.00")
            ],
            pa.decimal128(9, 2),
        ),
        "st": pa.array(
            [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 4, "b": None}] * 2 + [{"a": 9, "b": "z"}]
        ),
        "l": pa.array([["p"], [], None, ["q", None]] * 2 + [["r"]], pa.list_(pa.string())),
        "p": pa.array(["u", "u", "v", "v", "w", "w", "x/y z", None, "u"]),
    }
)
"""Nulls, NaN and signed zeros wherever they may hurt."""


def write_parts(path: Path, table: pa.Table, parts: int, **options: Any) -> Path:
    """A table of so many commits, by deltalake."""
    step = -(-table.num_rows // parts)
    for start in range(0, table.num_rows, step):
        deltalake.write_deltalake(path, table.slice(start, step), mode="append", **options)
    return path


def numbers(path: Path, files: int = 4, rows: int = 1000) -> Path:
    """``id`` counts on from file to file, ``half`` is null on odd ids, ``text`` names the id."""
    for k in range(files):
        ids = list(range(k * rows, (k + 1) * rows))
        part = pa.table(
            {
                "id": pa.array(ids, pa.int64()),
                "half": pa.array([None if i % 2 else i / 2 for i in ids]),
                "text": pa.array([f"row {i}" for i in ids]),
            }
        )
        deltalake.write_deltalake(path, part, mode="append")
    return path


class WatchedStore(CountingStore):
    """Also records local paths that were handed out: readers may open those themselves."""

    def local_path(self, path: str) -> str | None:
        return self.around(Call("local_path", path), lambda: self.inner.local_path(path))

    def data_files(self) -> set[str]:
        """The data files that somebody asked for."""
        return {call.path for call in self.calls if call.path.endswith(".parquet") and "_delta_log" not in call.path}


def watched(path: Path) -> tuple[deltalite.DeltaTable, WatchedStore]:
    """A handle that has read the log already, and the store that it goes through from now on."""
    table = deltalite.DeltaTable(path)
    table.to_pyarrow_dataset()
    store = WatchedStore(table._store)
    table._store = store
    return table, store


def data_paths(path: Path) -> list[Path]:
    """The data files of a table in the order of their commits."""
    actions = pa.table(deltalake.DeltaTable(path).get_add_actions(flatten=True)).sort_by("modification_time")
    return [path / name for name in actions.column("path").to_pylist()]


def rows(table: Any) -> Counter[str]:
    """The rows as a bag, told apart by value; ``-0.0`` and ``0.0`` differ, NaN equals itself."""
    if isinstance(table, pa.RecordBatchReader):
        table = table.read_all()
    return Counter(repr(tuple(row.items())) for row in table.to_pylist())


def python_rows(found: Iterable[Iterable[Any]]) -> Counter[str]:
    """The same for tuples of Python values."""
    return Counter(repr(tuple(row)) for row in found)


def copied(path: Path, to: Path) -> Path:
    shutil.copytree(path, to)
    return to
