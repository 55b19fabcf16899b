"""Tables in memory under a clock that tests move, and what must stay of them, told from the log by a plain reading."""

from __future__ import annotations

import functools
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest

from deltalite import DeltaTable
from deltalite.features.deletion_vectors import removal
from deltalite.features.deletion_vectors.file import uri_of
from deltalite.model.actions import DeletionVector
from deltalite.storage.memory import MemoryStore

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


class Clock:
    """What ``time.time_ns`` says; the store dates its objects by it too."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        self.now_ms += 1
        return self.now_ms * 1_000_000

    def pass_hours(self, hours: float) -> None:
        self.now_ms += round(hours * HOUR_MS)


@contextmanager
def fake_clock() -> Iterator[Clock]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time_ns", clock)
        yield clock


@contextmanager
def vectors_in_files() -> Iterator[None]:
    """Deletion vectors of few rows lie in files too, and files are marked to the last row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            removal, "RowRemover", functools.partial(removal.RowRemover, inline_characters=0, least_live_share=0.0)
        )
        yield


def memory() -> MemoryStore:
    return MemoryStore(f"memory://care-{uuid.uuid4()}")


def rows(table: DeltaTable) -> Counter[tuple[Any, ...]]:
    data = table.to_pyarrow_table().to_pydict()
    names = sorted(data)
    return Counter(zip(*(data[name] for name in names), strict=True)) if names else Counter()


def commits(store: Any) -> dict[int, list[dict[str, Any]]]:
    """The commits of a log, each as its actions."""
    found = {}
    for file in store.list_from("_delta_log/"):
        name = file.path.rpartition("/")[2]
        if len(name) == 25 and name.endswith(".json"):
            found[int(name[:20])] = [json.loads(line) for line in store.get(file.path).splitlines()]
    return found


def time_of(actions: list[dict[str, Any]]) -> int:
    return next(a["commitInfo"]["timestamp"] for a in actions if "commitInfo" in a)


def files_of(action: dict[str, Any]) -> set[str]:
    """The paths that an add or a remove needs."""
    found = {unquote(action["path"])}
    if vector := action.get("deletionVector"):
        uri = uri_of(DeletionVector(vector["storageType"], vector["pathOrInlineDv"], 0, 0, vector.get("offset")))
        if uri is not None:
            found.add(unquote(uri))
    return found


def must_stay(store: Any, cutoff_ms: int, versions: set[int]) -> set[str]:
    """By replaying every version from scratch: the files of the newest one, of those that were the newest at some time
    after the cutoff, of named ones, and the recorded changes of commits since."""
    log = commits(store)
    live: dict[tuple[str, str], set[str]] = {}
    states: dict[int, set[str]] = {}
    stay: set[str] = set()
    for version in sorted(log):
        for action in log[version]:
            for kind in ("add", "remove"):
                if kind in action:
                    body = action[kind]
                    key = (body["path"], json.dumps(body.get("deletionVector"), sort_keys=True))
                    live.pop(key, None)
        for action in log[version]:
            if "add" in action:
                body = action["add"]
                live[body["path"], json.dumps(body.get("deletionVector"), sort_keys=True)] = files_of(body)
            if "cdc" in action and time_of(log[version]) > cutoff_ms:
                stay.add(unquote(action["cdc"]["path"]))
        states[version] = set().union(*live.values())
    newest = max(log)
    for version, files in states.items():
        if version == newest or time_of(log[version + 1]) > cutoff_ms or version in versions:
            stay |= files
    return stay


def mentioned(store: Any) -> set[str]:
    """Every path that some commit speaks of."""
    found: set[str] = set()
    for actions in commits(store).values():
        for action in actions:
            for kind in ("add", "remove", "cdc"):
                found |= files_of(action[kind]) if kind in action else set()
    return found


def data_files(store: Any) -> set[str]:
    return {file.path for file in store.list_all() if not file.path.startswith("_delta_log/")}
