"""Row groups to files, several files at once.

Row groups of one partition go into one file after the other, in order; files of different partitions are encoded by
different threads. A write that ends with its first row group never starts a thread.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from deltalite.model import partition
from deltalite.model.actions import AddFile
from deltalite.model.write_spec import MIB, WriteSpec
from deltalite.write.datafile import DataFile
from deltalite.write.layout import layout_of
from deltalite.write.split import Key

if TYPE_CHECKING:
    from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.write")

MAX_WORKERS = 4
OPEN_FILES_LOCAL, OPEN_FILES_REMOTE = 32, 8
IN_FLIGHT_BYTES = 64 * MIB


class _Task(NamedTuple):
    """A row group for a lane; ``last`` finishes the lane's file after it. Without batches it only does that."""

    batches: list[pa.RecordBatch]
    last: bool
    size: int


class _Lane:
    """One partition's files: one at a time, fed by one thread at a time."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.tasks: deque[_Task] = deque()
        self.busy = False
        self.number = 0
        self.file: DataFile | None = None


class Encoder:
    """Encodes row groups into the data files of one write. Used by one thread, which :meth:`submit` may block."""

    def __init__(self, store: Store, spec: WriteSpec) -> None:
        self._store = store
        self._spec = spec
        self._layout = layout_of(spec)
        self._stem = f"{spec.txn_id}-{secrets.token_hex(4)}" if spec.txn_id else str(uuid.uuid4())
        self._max_open = OPEN_FILES_LOCAL if store.is_local else OPEN_FILES_REMOTE
        self._lanes: OrderedDict[Key, _Lane] = OrderedDict()  # with a file that may get more rows; least recent first
        self._active: set[_Lane] = set()  # with a file that is not finished
        self._paths: list[str] = []
        self._finished: dict[int, AddFile] = {}
        self._deferred: tuple[_Lane, _Task] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._changed = threading.Condition()
        self._in_flight = 0
        self._error: BaseException | None = None

    def submit(self, key: Key, batches: list[pa.RecordBatch], last: bool = False) -> None:
        """Write one row group of a partition; ``last`` says that the partition gets no more."""
        lane = self._lanes.pop(key, None) or _Lane(key)
        task = _Task(batches, last, sum(batch.nbytes for batch in batches))
        if last and self._pool is None and self._deferred is None:
            self._deferred = (lane, task)
            return
        if not last:
            self._make_room()
            self._lanes[key] = lane
        self._start(lane, task)

    def finish(self) -> list[AddFile]:
        """Finish all files and describe them, in the order in which they were begun."""
        if self._pool is None and self._deferred is not None:
            lane, task = self._deferred
            self._run(lane, task)
        for lane in self._lanes.values():
            self._start(lane, _Task([], True, 0))
        self._await(lambda: not self._in_progress())
        if self._pool is not None:
            self._pool.shutdown()
        return [self._finished[number] for number in sorted(self._finished)]

    def abort(self) -> None:
        """Throw away unfinished files and delete the finished ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for lane in self._active:
            if lane.file is not None:
                lane.file.abort()
        try:
            self._store.delete_many(self._paths)
        except Exception as error:
            logger.warning("files of a failed write could not be deleted; vacuum will: %s", error)

    # -- scheduling ------------------------------------------------------------------------------------------------

    def _start(self, lane: _Lane, task: _Task) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(MAX_WORKERS, os.cpu_count() or 1), "deltalite-write")
            if self._deferred is not None:
                self._start(*self._deferred)
        self._await(lambda: not self._in_flight or self._in_flight + task.size <= IN_FLIGHT_BYTES)
        with self._changed:
            self._in_flight += task.size
            lane.tasks.append(task)
            if not lane.busy:
                lane.busy = True
                self._active.add(lane)
                self._pool.submit(self._drain, lane)

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or condition())
            if self._error is not None:
                raise self._error

    def _in_progress(self) -> bool:
        return any(lane.busy for lane in self._active)

    def _make_room(self) -> None:
        """Finish the file that waited longest for rows, when too many are open."""
        if len(self._lanes) >= self._max_open:
            _, oldest = self._lanes.popitem(last=False)
            self._start(oldest, _Task([], True, 0))
            self._await(lambda: not oldest.busy)

    def _drain(self, lane: _Lane) -> None:
        while True:
            with self._changed:
                if not lane.tasks or self._error is not None:
                    lane.busy = False
                    self._changed.notify_all()
                    return
                task = lane.tasks.popleft()
            try:
                self._run(lane, task)
            except BaseException as error:
                with self._changed:
                    self._error = self._error or error
            with self._changed:
                self._in_flight -= task.size
                self._changed.notify_all()

    # -- one lane --------------------------------------------------------------------------------------------------

    def _run(self, lane: _Lane, task: _Task) -> None:
        if task.batches:
            if lane.file is None:
                self._open(lane, task.batches)
            assert lane.file is not None
            lane.file.write(task.batches)
        if lane.file is not None and (task.last or lane.file.size >= self._spec.target_file_size):
            add = lane.file.finish()
            with self._changed:
                self._finished[lane.number] = add
                lane.file = None

    def _open(self, lane: _Lane, batches: list[pa.RecordBatch]) -> None:
        keys = self._spec.partition_keys
        values = dict(zip(keys, lane.key, strict=True))
        directory = partition.directory(keys, values)
        with self._changed:
            lane.number = len(self._paths)
            name = f"part-{self._spec.task[0]:05d}-{self._stem}-c{lane.number:03d}{self._layout.suffix}"
            path = f"{directory}/{name}" if directory else name
            self._paths.append(path)
            self._active.add(lane)
        lane.file = DataFile(self._store, path, self._layout, values, batches)
