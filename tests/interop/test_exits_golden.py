"""Every exit over tables that other engines wrote: deletion vectors, column mapping, widened types."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from exits_tables import rows

import deltalite
from deltalite.query import sql

FOLDER = os.environ.get("DELTALITE_GOLDEN")
WORDS = ("deletionVectors", "columnMapping", "typeWidening")
pytestmark = pytest.mark.skipif(not FOLDER, reason="DELTALITE_GOLDEN names no folder of golden tables")


def golden_tables() -> list[Any]:
    found = []
    for file in sorted(Path(FOLDER or "/nowhere").glob("tables/*/*/meta.json")):
        meta = json.loads(file.read_text())
        case = next((c for c in meta["cases"] if c["id"] == "latest" and c["expect"] == "rows"), None)
        if case and any(word in feature for feature in meta["features"] for word in WORDS):
            found.append(pytest.param(file.parent, case, id=f"{file.parent.parent.name}/{file.parent.name}"))
    return found


def expected_files(folder: Path, case: dict[str, Any]) -> list[pq.ParquetFile]:
    place = folder / case["expected"]
    return [pq.ParquetFile(f) for f in (sorted(place.glob("*.parquet")) if place.is_dir() else [place])]


def is_plain(data_type: pa.DataType) -> bool:
    """Whether all engines show values of the type alike."""
    t = pa.types
    return t.is_integer(data_type) or t.is_string(data_type) or t.is_boolean(data_type) or t.is_date32(data_type)


@pytest.mark.parametrize(("folder", "case"), golden_tables())
def test_every_exit_gives_the_same_rows(folder: Path, case: dict[str, Any]) -> None:
    table = deltalite.DeltaTable(folder / "delta")
    dataset = table.to_pyarrow_dataset()
    files = expected_files(folder, case)
    count = sum(file.metadata.num_rows for file in files)
    assert table.count() == dataset.count_rows() == count
    assert len(table.to_pandas()) == count
    assert table.to_polars().select(pl.len()).collect().item() == count
    assert sql("select count(*) as n from t", t=table).read_all().column("n").to_pylist() == [count]
    names = [f.name for f in dataset.schema if is_plain(f.type)]
    if not names:
        return
    plain = pa.schema([dataset.schema.field(name).with_nullable(True) for name in names])
    wanted = pa.concat_tables([file.read(columns=names).select(names).cast(plain) for file in files])
    assert rows(pa.table(table).select(names)) == rows(wanted)
    assert rows(dataset.to_table(columns=names)) == rows(wanted)
    fragments = [fragment.to_table(columns=names) for fragment in dataset.get_fragments()]
    assert rows(pa.concat_tables([wanted.slice(0, 0), *(f.cast(wanted.schema) for f in fragments)])) == rows(wanted)
    assert rows(table.to_polars(columns=names).collect().to_arrow().cast(wanted.schema)) == rows(wanted)
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    assert rows(sql(f"select {listed} from t", t=table).read_all().cast(wanted.schema)) == rows(wanted)
    some = next((n for n in names if wanted.num_rows and wanted.column(n)[0].is_valid), None)
    if some is not None:
        filter_by(table, wanted, some)


def filter_by(table: deltalite.DeltaTable, wanted: pa.Table, name: str) -> None:
    """One value's rows, by every exit."""
    value = wanted.column(name)[0]
    kept = wanted.filter(pc.equal(wanted.column(name), value))
    condition = pc.field(name) == value
    assert rows(table.to_pyarrow_dataset().to_table(wanted.column_names, filter=condition)) == rows(kept)
    frame = table.to_polars(columns=wanted.column_names).filter(pl.col(name) == value.as_py()).collect()
    assert rows(frame.to_arrow().cast(wanted.schema)) == rows(kept)
