"""Tables in memory that can be copied, and what of them must hold after a conflict or a fault."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from deltalite import DeltaTable, features
from deltalite.model.actions import AddCDCFile, AddFile, RemoveFile
from deltalite.model.paths import relative_path
from deltalite.storage.memory import MemoryStore

_NAMES = itertools.count()

Rows = Counter[tuple[Any, ...]]


def empty_store() -> MemoryStore:
    return MemoryStore(f"memory://rows-{next(_NAMES)}")


def copy_of(store: MemoryStore) -> MemoryStore:
    """The same objects under another name."""
    found = empty_store()
    for meta in store.list_all():
        found.put(meta.path, store.get(meta.path))
    return found


def names(store: Any) -> set[str]:
    """Every object, files of the log that follow a commit left out: checksums, checkpoints."""
    found = {meta.path for meta in store.list_all()}
    return {name for name in found if not name.startswith("_delta_log/") or name.removesuffix(".json")[-1].isdigit()}


def rows_of(table: DeltaTable, columns: list[str] | None = None) -> Rows:
    data = table.to_pyarrow_table(columns=columns)
    return Counter(zip(*(column.to_pylist() for column in data.columns), strict=True))


def txn_ids(store: Any) -> list[str]:
    return [commit.txn_id for commit in DeltaTable(store).commits() if commit.txn_id]


def named_files(store: Any) -> set[str]:
    """Every file that any version of the log names: data, vectors, changes."""
    found: set[str] = set()
    for commit in DeltaTable(store).commits():
        for action in commit.actions:
            if isinstance(action, (AddFile, RemoveFile)):
                found |= {relative_path(action.path), *features.files_of(action)}
            elif isinstance(action, AddCDCFile):
                found.add(relative_path(action.path))
    return found


def orphans(store: Any) -> set[str]:
    """Files beside the log that no version names."""
    return {name for name in names(store) if not name.startswith("_delta_log/")} - named_files(store)


def missing(store: Any) -> set[str]:
    """Files that a version names and that are gone."""
    return named_files(store) - names(store)
