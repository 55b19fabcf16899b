"""DuckLake as an engine: DuckDB with the extension that a wheel brings, a catalog of its own for every run."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["PACKAGE", "connect", "is_there"]

PACKAGE = "duckdb_extension_ducklake"


def is_there() -> bool:
    """Whether the extension is installed; it wants the very version of DuckDB that it was built for."""
    return find_spec(PACKAGE) is not None


def connect(place: Path, files: Sequence[Path]) -> Any:
    """A connection with a table ``lake.t`` over existing Parquet files.

    :param place: where the catalog goes, and new files.
    """
    import duckdb

    (home,) = importlib.import_module(PACKAGE).__path__
    (extension,) = Path(home).glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH 'ducklake:{place}/catalog.ducklake' AS lake (DATA_PATH '{place}/data')")
    connection.execute(f"CREATE TABLE lake.t AS SELECT * FROM read_parquet('{files[0]}') LIMIT 0")
    for file in files:
        connection.execute(f"CALL ducklake_add_data_files('lake', 't', '{file}')")
    return connection
