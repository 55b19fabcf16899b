"""Local tables: the fsync order, racing processes, links, permissions, and what each failing system call leaves."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from deltalite.exceptions import StorageError, UnsafePathError
from deltalite.storage import AmbiguousPut, NotDurable, is_temporary, open_store, publish
from deltalite.testing.stores import race

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX calls")
FIRST, SECOND = "_delta_log/00000000000000000000.json", "_delta_log/00000000000000000001.json"


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "t")


@pytest.fixture
def events(monkeypatch):
    """Every fsync, link and rename, with the path that it is about."""
    log: list[tuple[str, str]] = []
    real = {name: getattr(os, name) for name in ("fsync", "link", "replace", "unlink", "mkdir")}

    def fsync(fd):
        log.append(("fsync", os.readlink(f"/proc/self/fd/{fd}")))
        real["fsync"](fd)

    def two(name):
        def call(source, target, **options):
            real[name](source, target, **options)
            log.append((name, os.fspath(target)))
            log.append(("was", os.fspath(source)))

        return call

    def mkdir(path, mode=0o777, **options):
        real["mkdir"](path, mode, **options)
        log.append(("mkdir", os.fspath(path).rstrip("/")))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "mkdir", mkdir)
    for name in ("link", "replace"):
        monkeypatch.setattr(os, name, two(name))
    return log


def assert_durable_before(events, published, paths, root):
    """The law of durable order: contents and every directory on the way are flushed before ``published`` is linked."""
    end = events.index(("link", published))
    for path in paths:
        replaced = events.index(("replace", path))
        written_as = events[replaced + 1][1]
        assert ("fsync", written_as) in events[:replaced], f"{path}: contents after the name"
        directory = os.path.dirname(path)
        assert ("fsync", directory) in events[replaced:end], f"{path}: its name is not flushed before the commit"
    linked_as = events[end + 1][1]
    assert ("fsync", linked_as) in events[:end], "the commit's contents"
    assert ("fsync", os.path.dirname(published)) in events[end:], "the commit's name"
    for made in [path for kind, path in events if kind == "mkdir" and path.startswith(root)]:
        after = events[events.index(("mkdir", made)) : end]
        assert ("fsync", os.path.dirname(made)) in after, f"{made}: a new directory is not flushed before the commit"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc names the descriptors")
class TestFsyncOrder:
    def test_first_commit(self, store, events):
        with store.open_output("day=1/hour=2/a.parquet") as output:
            output.write(b"data")
        store.put("_change_data/c.parquet", b"cdc")
        store.put_if_absent(FIRST, b"{}\n")
        root = store.root
        paths = [f"{root}/day=1/hour=2/a.parquet", f"{root}/_change_data/c.parquet"]
        assert_durable_before(events, f"{root}/{FIRST}", paths, root)
        assert ("fsync", os.path.dirname(root)) in events, "the new root's own name"

    def test_a_small_append_costs_four_fsyncs(self, store, events):
        store.put("a.parquet", b"0")
        store.put_if_absent(FIRST, b"{}\n")
        events.clear()
        store.put("b.parquet", b"data")
        store.put_if_absent(SECOND, b"{}\n")
        assert_durable_before(events, f"{store.root}/{SECOND}", [f"{store.root}/b.parquet"], store.root)
        assert sum(kind == "fsync" for kind, _ in events) == 4

    def test_a_new_handle_pays_no_more(self, store, events):
        store.put("a.parquet", b"0")
        store.put_if_absent(FIRST, b"{}\n")
        other = open_store(store.root)
        events.clear()
        other.put("b.parquet", b"data")
        other.put_if_absent(SECOND, b"{}\n")
        assert sum(kind == "fsync" for kind, _ in events) == 4

    def test_many_files_share_the_flush_of_their_directory(self, store, events):
        for number in range(10):
            store.put(f"p={number % 2}/{number}.parquet", b"data")
        store.put_if_absent(FIRST, b"{}\n")
        flushed = [path for kind, path in events if kind == "fsync" and os.path.isdir(path)]
        assert flushed.count(f"{store.root}/p=0") == flushed.count(f"{store.root}/p=1") == 1

    def test_a_directory_that_another_writer_just_made_is_flushed_too(self, store, events):
        """The maker may not have flushed its name yet, and our commit relies on it."""
        os.makedirs(f"{store.root}/p=1")
        events.clear()
        store.put("p=1/x.parquet", b"data")
        store.put_if_absent(FIRST, b"{}\n")
        end = events.index(("link", f"{store.root}/{FIRST}"))
        assert ("fsync", store.root) in events[:end]

    def test_hints_cost_none(self, store, events):
        store.put_if_absent(FIRST, b"{}\n")
        events.clear()
        store.put("_delta_log/_last_checkpoint", b"{}", durable=False)
        store.put_if_absent("_delta_log/0.crc", b"{}", durable=False)
        assert [path for kind, path in events if kind == "fsync"] == []

    def test_relaxed_never_flushes(self, tmp_path, events):
        store = open_store(tmp_path / "r", durability="relaxed")
        store.put("p=1/a.parquet", b"0")
        store.put_if_absent(FIRST, b"{}\n")
        store.sync()
        assert [path for kind, path in events if kind == "fsync"] == []

    def test_sync_waits_for_a_flush_that_another_thread_took_over(self, store, monkeypatch):
        """Else a commit could refer to a file whose directory another commit is still flushing."""
        store.put("a.parquet", b"0")
        started, release = threading.Event(), threading.Event()
        flush = publish.fsync_directory

        def slow(path):
            started.set()
            assert release.wait(10)
            flush(path)

        monkeypatch.setattr(publish, "fsync_directory", slow)
        first = threading.Thread(target=store.sync)
        first.start()
        assert started.wait(10)
        second = threading.Thread(target=store.sync)
        second.start()
        second.join(0.2)
        assert second.is_alive()
        release.set()
        first.join(10)
        second.join(10)
        assert not second.is_alive()


@posix
class TestFailingCalls:
    """Every system call on the way fails once; what is visible is old or new, and no temporary file stays."""

    @pytest.mark.bug("F-06")
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EMFILE])
    @pytest.mark.parametrize("call", ["open", "write", "fsync", "link"])
    def test_definite_refusals(self, store, monkeypatch, call, code):
        store.put_if_absent(FIRST, b"zero")
        real = getattr(os, call)
        due = [True]

        def fail(*args, **options):
            if due and (call != "open" or args[1] & os.O_CREAT):
                due.clear()
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        monkeypatch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            store.put_if_absent(SECOND, b"one")
        assert (caught.value.path, caught.value.errno) == (SECOND, code)
        assert not due
        assert [meta.path for meta in store.list_all()] == [FIRST]
        store.put_if_absent(SECOND, b"one")
        assert store.get(SECOND) == b"one"

    @pytest.mark.bug("F-17")
    def test_fsync_of_contents_fails(self, store, monkeypatch):
        real = os.fsync
        monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(StorageError):
            store.put("a.parquet", b"data")
        with pytest.raises(StorageError):
            store.put_if_absent(FIRST, b"data")
        monkeypatch.setattr(os, "fsync", real)
        assert list(store.list_all()) == []

    @pytest.mark.bug("F-17")
    def test_a_failed_flush_of_data_is_never_forgotten(self, store, monkeypatch):
        """The kernel reports a lost page once; the next fsync would succeed and prove nothing."""
        store.put("p/a.parquet", b"data")
        monkeypatch.setattr(publish, "fsync_directory", _raise(OSError(errno.EIO, "I/O error")))
        with pytest.raises(StorageError):
            store.put_if_absent(FIRST, b"refers to p/a.parquet")
        monkeypatch.undo()
        with pytest.raises(StorageError, match="earlier flush failed"):
            store.put_if_absent(FIRST, b"refers to p/a.parquet")
        assert store.head(FIRST) is None

    @pytest.mark.bug("F-17")
    def test_a_commit_whose_directory_cannot_be_flushed_is_not_acknowledged(self, store, monkeypatch):
        store.put_if_absent(FIRST, b"0")
        monkeypatch.setattr(publish, "fsync_directory", _raise(OSError(errno.EIO, "I/O error")))
        with pytest.raises(NotDurable):
            store.put_if_absent(SECOND, b"1")
        assert issubclass(NotDurable, AmbiguousPut)
        assert store.get(SECOND) == b"1"

    @pytest.mark.bug("T-07")
    @pytest.mark.parametrize("code", [errno.EEXIST, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
    def test_link_that_failed_after_it_succeeded(self, store, monkeypatch, code):
        """As over NFS, when the reply is lost and the client asks again."""
        real = os.link

        def link(source, target):
            real(source, target)
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", link)
        store.put_if_absent(FIRST, b"ours")
        assert [meta.path for meta in store.list_all()] == [FIRST]

    @pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
    def test_link_without_an_answer(self, store, monkeypatch, code):
        monkeypatch.setattr(os, "link", _raise(OSError(code, os.strerror(code))))
        with pytest.raises(AmbiguousPut):
            store.put_if_absent(FIRST, b"ours")
        assert list(store.list_all()) == []

    @pytest.mark.parametrize("kind", ["no links", "no renames either"])
    def test_file_systems_without_links(self, store, monkeypatch, caplog, kind):
        monkeypatch.setattr(os, "link", _raise(OSError(errno.EPERM, "no hard links here")))
        if kind == "no renames either":
            monkeypatch.setattr(publish, "_system_rename", lambda: None)
        for version in range(3):
            path = f"_delta_log/{version}.json"
            outcomes = race(8, lambda n, path=path: store.put_if_absent(path, b"%d" % n * 1000))
            assert outcomes.count(None) == 1, outcomes
            assert all(isinstance(outcome, FileExistsError) for outcome in outcomes if outcome is not None), outcomes
            assert store.get(path) == b"%d" % outcomes.index(None) * 1000
        assert len(list(store.list_all())) == 3
        warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert bool(warned) == (kind == "no renames either")

    def test_interrupted_writes_leave_nothing(self, store, monkeypatch):
        for name in ("write", "fsync", "link"):
            monkeypatch.setattr(os, name, _raise(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                store.put_if_absent(FIRST, b"data")
            monkeypatch.undo()
        assert list(store.list_all()) == []

    def test_short_writes_are_continued(self, store, monkeypatch):
        real = os.write
        monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
        store.put_if_absent(FIRST, bytes(range(100)))
        monkeypatch.undo()
        assert store.get(FIRST) == bytes(range(100))

    def test_short_reads_are_continued(self, store, monkeypatch):
        store.put("x", bytes(range(100)))
        real = os.read
        monkeypatch.setattr(os, "read", lambda fd, length: real(fd, min(length, 7)))
        assert store.get("x") == bytes(range(100))
        assert store.get_range("x", 10, 50) == bytes(range(10, 60))

    @pytest.mark.bug("F-14")
    def test_a_file_that_shrinks_while_read_is_an_error(self, store, monkeypatch):
        store.put("x", bytes(100))
        real = os.read

        def read(fd, length):
            os.truncate(store.local_path("x"), 40)
            return real(fd, length)

        monkeypatch.setattr(os, "read", read)
        with pytest.raises(StorageError, match="40 of 100"):
            store.get("x")

    def test_a_directory_removed_between_two_writes_comes_back(self, store):
        store.put("p=1/a", b"x")
        store.delete_many(["p=1/a"])
        os.rmdir(store.local_path("p=1"))
        store.put("p=1/b", b"x")
        store.put_if_absent("p=1/c", b"x")
        assert {meta.path for meta in store.list_all()} == {"p=1/b", "p=1/c"}

    @pytest.mark.bug("F-16")
    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_permissions(self, store):
        store.put("x", b"1")
        os.chmod(store.root, 0o500)
        try:
            with pytest.raises(StorageError, match="ermission"):
                store.put("y", b"1")
        finally:
            os.chmod(store.root, 0o700)


def _raise(error):
    def call(*args, **options):
        raise error

    return call


def _claim(root, first, last, name, start):
    store = open_store(root, durability="relaxed")
    won = []
    start.wait()
    for version in range(first, last):
        try:
            store.put_if_absent(f"_delta_log/{version:020}.json", f"{name} ".encode() * 200)
            won.append(version)
        except FileExistsError:
            pass
    return won


def _claim_in_process(root, versions, name, start, results):
    results.put((name, _claim(root, 0, versions, name, start)))


class TestRaces:
    def test_threads(self, store):
        start = threading.Barrier(16)
        outcomes = race(16, lambda n: _claim(store.root, 0, 25, f"w{n}", start))
        self._check(store, {f"w{n}": won for n, won in enumerate(outcomes)}, 25)

    def test_processes(self, store):
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(4), context.Queue()
        workers = [
            context.Process(target=_claim_in_process, args=(store.root, 200, f"p{n}", start, results)) for n in range(4)
        ]
        for worker in workers:
            worker.start()
        won = dict(results.get(timeout=60) for _ in workers)
        for worker in workers:
            worker.join(60)
        self._check(store, won, 200)

    @staticmethod
    def _check(store, won, versions):
        assert sorted(version for mine in won.values() for version in mine) == list(range(versions))
        for name, mine in won.items():
            for version in mine:
                assert store.get(f"_delta_log/{version:020}.json") == f"{name} ".encode() * 200
        assert len(list(store.list_all())) == versions

    def test_readers_never_see_half_a_commit(self, store):
        whole = b"x" * 2_000_000
        done = threading.Event()
        sizes = set()

        def look():
            while not done.is_set():
                for meta in store.list_from("_delta_log/"):
                    if not is_temporary(meta.path):
                        sizes.add((meta.size, len(store.get(meta.path))))

        reader = threading.Thread(target=look)
        reader.start()
        for version in range(30):
            store.put_if_absent(f"_delta_log/{version}.json", whole)
            store.put("_delta_log/_last_checkpoint", whole)
        done.set()
        reader.join()
        assert sizes <= {(len(whole), len(whole))}

    @posix
    def test_killed_writers_leave_only_temporary_files(self, store):
        code = (
            "import os, sys\n"
            "from deltalite.storage import open_store\n"
            "real = os.link\n"
            "os.link = lambda a, b: os._exit(9)\n"
            f"open_store({store.root!r}).put_if_absent({FIRST!r}, b'data')\n"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 9
        (left,) = store.list_all()
        assert is_temporary(left.path)
        store.put_if_absent(FIRST, b"after")
        assert store.get(FIRST) == b"after"

    @posix
    def test_a_fork_may_use_the_handle_of_its_parent(self, store):
        store.put("x", b"1")
        store._unsynced._set_lock.acquire()  # as if another thread were at it in the moment of the fork
        store._unsynced._flush_lock.acquire()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                store.put("y", store.get("x") + b"2")
                store.put_if_absent(FIRST, b"3")
            finally:
                os._exit(0 if store.head(FIRST) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert store.get("y") == b"12"


@posix
class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path):
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "victim.parquet").write_bytes(b"precious")
        return tmp_path / "outside"

    @pytest.fixture
    def linked(self, store, outside):
        store.put("inside.parquet", b"x")
        os.symlink(outside, store.local_path("dir"))
        os.symlink(outside / "victim.parquet", store.local_path("file.parquet"))
        os.symlink("inside.parquet", store.local_path("alias.parquet"))
        return store

    @pytest.mark.bug("S-02")
    def test_listing_and_deleting_never_follow(self, linked, outside, caplog):
        assert {meta.path for meta in linked.list_all()} == {"inside.parquet"}
        assert "dir" in caplog.text
        assert list(linked.list_all("dir/")) == []
        asked = ["dir/victim.parquet", "file.parquet", "alias.parquet", "dir", "inside.parquet"]
        assert linked.delete_many(asked) == ["inside.parquet"]
        assert (outside / "victim.parquet").read_bytes() == b"precious"
        assert os.path.islink(linked.local_path("file.parquet"))

    @pytest.mark.bug("S-02")
    def test_a_directory_swapped_for_a_link_is_not_followed(self, store, outside):
        store.put("p/victim.parquet", b"ours")
        assert [meta.path for meta in store.list_all()] == ["p/victim.parquet"]
        os.rename(store.local_path("p"), store.local_path("q"))
        os.symlink(outside, store.local_path("p"))
        assert store.delete_many(["p/victim.parquet"]) == []
        assert (outside / "victim.parquet").exists()

    @pytest.mark.bug("S-01")
    def test_reading_and_writing_through_links_out_of_the_table(self, linked, outside):
        for path in ("dir/victim.parquet", "file.parquet"):
            for read in (linked.get, linked.open_input, lambda path: linked.get_range(path, 0, 1)):
                with pytest.raises(UnsafePathError):
                    read(path)
        for write in (linked.put, linked.put_if_absent):
            with pytest.raises(UnsafePathError):
                write("dir/new", b"x")
        with pytest.raises(UnsafePathError):
            linked.open_output("dir/new")
        with pytest.raises(UnsafePathError):
            list(linked.list_from("dir/"))
        assert linked.get("alias.parquet") == linked.open_input("alias.parquet").read() == b"x"
        assert os.listdir(outside) == ["victim.parquet"]
        trusting = open_store(linked.root, {"follow_symlinks": "true"})
        assert trusting.get("dir/victim.parquet") == trusting.get("file.parquet") == b"precious"
        assert trusting.delete_many(["dir/victim.parquet"]) == []

    @pytest.mark.bug("S-13")
    def test_writing_replaces_links_and_never_writes_through_them(self, linked, outside):
        linked.put("file.parquet", b"new")
        assert (outside / "victim.parquet").read_bytes() == b"precious"
        assert linked.get("file.parquet") == b"new"
        os.link(outside / "victim.parquet", linked.local_path("hard"))
        linked.put("hard", b"new")
        assert (outside / "victim.parquet").read_bytes() == b"precious"
        os.symlink(outside / "absent", linked.local_path("n.json"))
        with pytest.raises(FileExistsError):
            linked.put_if_absent("n.json", b"x")
        assert not (outside / "absent").exists()

    def test_the_root_may_be_a_link(self, store, tmp_path):
        store.put("p/x", b"1")
        os.symlink(store.root, tmp_path / "link")
        other = open_store(tmp_path / "link")
        assert other.get("p/x") == b"1"
        assert [meta.path for meta in other.list_all()] == ["p/x"]
        assert other.delete_many(["p/x"]) == ["p/x"]

    def test_special_files_do_not_hang(self, store):
        store.put("x", b"1")
        os.mkfifo(store.local_path("fifo"))
        for read in (store.get, store.open_input):
            with pytest.raises(StorageError):
                read("fifo")
        assert [meta.path for meta in store.list_from("")] == ["x"]
        assert store.delete_many(["fifo"]) == []

    @pytest.mark.bug("S-12")
    def test_the_umask_is_honoured(self, store):
        old = os.umask(0o027)
        try:
            store.put("a", b"")
            store.put_if_absent("b", b"")
            with store.open_output("c/d"):
                pass
        finally:
            os.umask(old)
        for path in ("a", "b", "c/d"):
            assert stat.S_IMODE(os.stat(store.local_path(path)).st_mode) == 0o640
        assert stat.S_IMODE(os.stat(store.local_path("c")).st_mode) == 0o750

    @pytest.mark.bug("S-12")
    def test_temporary_files_are_hidden_beside_their_target(self, store):
        output = store.open_output("p=1/part.parquet")
        (left,) = store.list_all()
        assert left.path.startswith("p=1/.part.parquet.")
        assert is_temporary(left.path)
        assert not is_temporary("p=1/part.parquet")
        assert not is_temporary("_delta_log/00000000000000000000.json.tmp")
        output.abort()
