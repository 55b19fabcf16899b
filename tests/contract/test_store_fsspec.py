"""StoreContract on fsspec file systems: one writer by promise, and object stores that create atomically."""

from __future__ import annotations

import errno
import os
import threading
import uuid
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from deltalite.exceptions import StorageError
from deltalite.storage import AmbiguousPut, open_store
from deltalite.storage.fsspec import FsspecStore
from deltalite.storage.local import LocalStore
from deltalite.testing.stores import StoreContract


class TestFsspecLocal(StoreContract):
    """Never what ``open_store`` gives for local paths, but what other file systems are like."""

    @pytest.fixture
    def store(self, tmp_path):
        fs = LocalFileSystem(skip_instance_cache=True)
        return FsspecStore(fs, str(tmp_path / "t"), f"test://{tmp_path}/t", single_writer=True)

    def other_handle(self, store):
        return FsspecStore(store._fs, store._base.rstrip("/"), store.root, single_writer=True)

    def raw_put(self, store, path, data):
        file = Path(store._base, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def raw_get(self, store, path):
        file = Path(store._base, path)
        return file.read_bytes() if file.is_file() else None


class TestFsspecMemory(StoreContract):
    @pytest.fixture
    def store(self):
        return open_store(
            f"/{uuid.uuid4().hex}", filesystem=MemoryFileSystem(), single_writer=True, pickle_secrets=True
        )

    def raw_put(self, store, path, data):
        MemoryFileSystem().pipe_file(store._base + path, data)

    def raw_get(self, store, path):
        fs = MemoryFileSystem()
        return fs.cat_file(store._base + path) if fs.isfile(store._base + path) else None


class _AtomicFileSystem(MemoryFileSystem):
    """Like gcsfs and adlfs: ``pipe_file(mode="create")`` is one conditional request, files appear when closed."""

    protocol = "gs"
    store: dict = {}
    pseudo_dirs = [""]
    _mutex = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("gs://").strip("/")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        with self._mutex:
            if mode == "create" and self.exists(path):
                raise FileExistsError(path)
            with super().open(path, "wb") as file:
                file.write(value)

    def open(self, path, mode="rb", **options):
        return _Upload(self, path, mode, **options) if mode == "wb" else super().open(path, mode, **options)


class _Upload(AbstractBufferedFile):
    def _initiate_upload(self):
        self.parts = []

    def _upload_chunk(self, final=False):
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.pipe_file(self.path, b"".join(self.parts))


class TestFsspecAtomic(StoreContract):
    @pytest.fixture
    def store(self):
        return open_store(f"gs://bucket/{uuid.uuid4().hex}", filesystem=_AtomicFileSystem(), pickle_secrets=True)

    def raw_put(self, store, path, data):
        store._fs.pipe_file(store._base + path, data)

    def raw_get(self, store, path):
        return store._fs.cat_file(store._base + path) if store._fs.isfile(store._base + path) else None


# --- what differs from the contract -----------------------------------------------------------------------------------


def test_backends_without_atomic_create_refuse_to_write():
    store = open_store(f"/{uuid.uuid4().hex}", filesystem=MemoryFileSystem())
    assert not store.atomic_put
    for write in (store.put, store.put_if_absent, lambda path, data: store.open_output(path)):
        with pytest.raises(StorageError, match="overwrite each other") as caught:
            write("x", b"")
        assert "single_writer=True" in caught.value.hint
    assert list(store.list_all()) == []


def test_local_file_systems_become_the_local_store(tmp_path):
    from pyarrow import fs as pa_fs

    for filesystem in (LocalFileSystem(), fsspec.filesystem("file"), pa_fs.LocalFileSystem()):
        store = open_store(str(tmp_path / "t"), filesystem=filesystem)
        assert isinstance(store, LocalStore)
        assert store.root == str(tmp_path / "t")


def test_pyarrow_file_systems_never_write_commits(tmp_path):
    from pyarrow import fs as pa_fs

    tree = pa_fs.SubTreeFileSystem(str(tmp_path), pa_fs.LocalFileSystem())
    alone = open_store("t", filesystem=tree, single_writer=True)
    alone.put_if_absent("_delta_log/0.json", b"x")
    assert (tmp_path / "t/_delta_log/0.json").read_bytes() == b"x"
    reader = open_store("t", filesystem=tree)
    assert reader.get("_delta_log/0.json") == b"x"
    assert [meta.path for meta in reader.list_from("_delta_log/")] == ["_delta_log/0.json"]
    with pytest.raises(StorageError):
        reader.put_if_absent("_delta_log/1.json", b"x")


def test_an_s3fs_given_as_an_object_becomes_a_client_of_our_own():
    s3fs = pytest.importorskip("s3fs")
    from deltalite.testing.s3_server import S3Server

    with S3Server() as server:
        fs = s3fs.S3FileSystem(key="mine", secret="s", endpoint_url=server.url, skip_instance_cache=True)
        store = open_store("bucket/t", filesystem=fs)
        assert store.atomic_put
        store.put_if_absent("x", b"1")
        assert server.access_keys[-1] == "mine"
        with pytest.raises(FileExistsError):
            store.put_if_absent("x", b"")


@pytest.mark.parametrize(
    "error, expected",
    [
        (PermissionError("403"), StorageError),
        (NotImplementedError("mode"), StorageError),
        (TypeError("unexpected keyword 'mode'"), StorageError),
        (OSError(errno.EIO, "reset"), AmbiguousPut),
        (TimeoutError("30 s"), AmbiguousPut),
        (ValueError("invalid"), AmbiguousPut),
        (RuntimeError("whatever a client may raise"), AmbiguousPut),
        (FileExistsError("taken"), FileExistsError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_what_a_failed_create_means(error, expected):
    class Failing(_AtomicFileSystem):
        def pipe_file(self, path, value, mode="overwrite", **kwargs):
            raise error

    store = open_store("gs://bucket/t", filesystem=Failing())
    with pytest.raises(expected):
        store.put_if_absent("x", b"1")


def test_unknown_modification_times_count_as_new():
    class Timeless(MemoryFileSystem):
        def info(self, path, **kwargs):
            return {key: value for key, value in super().info(path).items() if key != "created"}

    store = open_store(f"/{uuid.uuid4().hex}", filesystem=Timeless(), single_writer=True)
    store.put("x", b"1")
    assert store.head("x").modified_ms > 1_700_000_000_000


@pytest.mark.bug("S-02")
@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_links_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").write_bytes(b"precious")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "link").symlink_to(tmp_path / "outside")
    store = FsspecStore(LocalFileSystem(), str(tmp_path / "t"), "test://t", single_writer=True)
    store.put("x", b"1")
    assert {meta.path for meta in store.list_all()} == {"x"}


def test_a_table_is_written_where_its_only_writer_says_so(tmp_path):
    import pyarrow as pa

    from deltalite import DeltaTable, write_deltalake

    fs = fsspec.filesystem("dir", path=str(tmp_path), target_protocol="file")
    rows = pa.table({"id": [1, 2]})
    with pytest.raises(StorageError, match="single_writer"):
        write_deltalake("t", rows, filesystem=fs)
    alone = {"single_writer": "true"}
    write_deltalake("t", rows, filesystem=fs, storage_options=alone)
    table = DeltaTable("t", filesystem=fs, storage_options=alone)
    table.delete("id = 1")
    assert table.to_pyarrow_table().to_pylist() == [{"id": 2}] and table.version() == 1
