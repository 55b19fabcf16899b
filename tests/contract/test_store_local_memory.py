"""StoreContract on the stores that need no server."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from deltalite.storage import open_store
from deltalite.testing.stores import HOSTILE_NAMES, StoreContract


class _Files(StoreContract):
    hostile_names = HOSTILE_NAMES if os.name == "nt" else (*HOSTILE_NAMES, "new\nline", "back\\slash", "tab\t:colon")

    def raw_put(self, store, path, data):
        file = Path(store.root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def raw_get(self, store, path):
        file = Path(store.root, path)
        return file.read_bytes() if file.is_file() else None


class TestLocalFull(_Files):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(tmp_path / "table")


class TestLocalRelaxed(_Files):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(str(tmp_path / "not" / "yet" / "there"), durability="relaxed")


@pytest.mark.bug("T-43")
class TestLocalHostileRoot(_Files):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(str(tmp_path / "a b%20|#h?x=1&ü値\n{}[*]~"), durability="relaxed")

    # the root cannot matter for these
    test_long_listings_are_complete_and_ordered = None
    test_a_large_output = None
    test_paths_never_leave_the_root = None


@pytest.mark.bug("T-43")
@pytest.mark.parametrize("name", ["a b", "100%", "%20", "p|pe", "h#sh", "wh?t", "ünïcode 値", "new\nline", "-rf", "~x"])
@pytest.mark.parametrize("form", [str, Path, lambda path: path.as_uri()], ids=["text", "path", "url"])
def test_hostile_roots(tmp_path, name, form):
    store = open_store(form(tmp_path / name))
    store.put_if_absent("_delta_log/0.json", b"x")
    assert (tmp_path / name / "_delta_log" / "0.json").read_bytes() == b"x"
    assert os.listdir(tmp_path) == [name]
    assert [meta.path for meta in store.list_all()] == ["_delta_log/0.json"]


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self):
        store = open_store(f"memory://{uuid.uuid4().hex}/table")
        yield store
        store.clear()

    def raw_put(self, store, path, data):
        open_store(store.root.rpartition("/")[0]).put("table/" + path, data)

    def raw_get(self, store, path):
        above = open_store(store.root.rpartition("/")[0])
        return above.get("table/" + path) if above.head("table/" + path) else None
