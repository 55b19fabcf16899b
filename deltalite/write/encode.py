"""Row groups to files, on several threads.

Threads encode row groups, of one file or of many. The encoded row groups of a partition go into one file after the
other, in the order in which they came. A write that ends with its first row group never starts a thread.
"""

from __future__ import annotations

import logging
import secrets
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from deltalite.model import partition
from deltalite.model.actions import AddFile
from deltalite.model.write_spec import MIB, WriteSpec
from deltalite.write import rowgroup
from deltalite.write.datafile import DataFile
from deltalite.write.layout import layout_of
from deltalite.write.split import Key

if TYPE_CHECKING:
    from deltalite.storage.base import Store

logger = logging.getLogger("deltalite.write")

MAX_WORKERS = 4
OPEN_FILES_LOCAL, OPEN_FILES_REMOTE = 128, 8
IN_FLIGHT_BYTES = 48 * MIB


class _Task:
    """A row group on its way into a partition's file; ``last`` finishes the file. No rows: only that."""

    def __init__(self, batches: list[pa.RecordBatch], last: bool, size: int) -> None:
        self.batches = batches
        self.last = last
        self.size = size
        self.group: rowgroup.RowGroup | None = None
        self.is_encoded = not batches


class _Lane:
    """One partition's files: one at a time, written by one thread at a time."""

    def __init__(self, key: Key, number: int) -> None:
        self.key = key
        self.number = number
        self.tasks: deque[_Task] = deque()
        self.is_busy = False
        self.file: DataFile | None = None


class Encoder:
    """Writes the data files of one write. Used by one thread, which :meth:`submit` may block."""

    def __init__(self, store: Store, spec: WriteSpec) -> None:
        self._store = store
        self._spec = spec
        self._layout = layout_of(spec)
        self._stem = f"{spec.txn_id}-{secrets.token_hex(4)}" if spec.txn_id else str(uuid.uuid4())
        self._max_open = OPEN_FILES_LOCAL if store.is_local else OPEN_FILES_REMOTE
        self._lanes: OrderedDict[Key, _Lane] = OrderedDict()  # that may get more rows; least recent first
        self._lane_count = 0
        self._paths: list[str] = []
        self._open_files: set[DataFile] = set()
        self._finished: list[tuple[int, AddFile]] = []  # with the number of the lane
        self._deferred: tuple[_Lane, _Task] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._changed = threading.Condition()
        self._tasks = 0
        self._in_flight = 0
        self._error: BaseException | None = None

    def submit(self, key: Key, batches: list[pa.RecordBatch], last: bool = False) -> None:
        """Write one row group of a partition; ``last`` says that the partition gets no more."""
        lane = self._lanes.pop(key, None)
        if lane is None:
            lane = _Lane(key, self._lane_count)
            self._lane_count += 1
        if last and self._pool is None and self._deferred is None:
            self._deferred = (lane, _Task(batches, last, 0))
            return
        if not last:
            self._make_room()
            self._lanes[key] = lane
        self._start(lane, _Task(batches, last, max(MIB, sum(batch.nbytes for batch in batches))))

    def finish(self) -> list[AddFile]:
        """Finish all files and describe them: partitions in order of appearance, files in the order of their rows."""
        if self._pool is None and self._deferred is not None:
            lane, task = self._deferred
            self._encode(task)
            self._write(lane, task)
        for lane in self._lanes.values():
            self._start(lane, _Task([], True, 0))
        self._await(lambda: not self._tasks)
        if self._pool is not None:
            self._pool.shutdown()
        return [add for _, add in sorted(self._finished, key=lambda found: found[0])]

    def abort(self) -> None:
        """Throw away unfinished files and delete the finished ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for file in self._open_files:
            file.abort()
        try:
            self._store.delete_many(self._paths)
        except Exception as error:
            logger.warning("files of a failed write could not be deleted; vacuum will: %s", error)

    # -- scheduling ------------------------------------------------------------------------------------------------

    def _start(self, lane: _Lane, task: _Task) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(MAX_WORKERS, pa.cpu_count()), "deltalite-write")
            if self._deferred is not None:
                self._start(*self._deferred)
        self._await(lambda: not self._in_flight or self._in_flight + task.size <= IN_FLIGHT_BYTES)
        with self._changed:
            self._tasks += 1
            self._in_flight += task.size
            lane.tasks.append(task)
        self._pool.submit(self._work, lane, task)

    def _make_room(self) -> None:
        """Finish the file that waited longest for rows, when too many are open."""
        if len(self._lanes) >= self._max_open:
            _, oldest = self._lanes.popitem(last=False)
            self._start(oldest, _Task([], True, 0))
            self._await(lambda: not oldest.tasks and not oldest.is_busy)

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or condition())
            if self._error is not None:
                raise self._error

    def _work(self, lane: _Lane, task: _Task) -> None:
        try:
            self._encode(task)
            self._drain(lane)
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _drain(self, lane: _Lane) -> None:
        """Write what is encoded, in order, unless another thread is at it."""
        while True:
            with self._changed:
                if lane.is_busy or not lane.tasks or not lane.tasks[0].is_encoded or self._error is not None:
                    return
                lane.is_busy = True
                task = lane.tasks.popleft()
            self._write(lane, task)
            with self._changed:
                lane.is_busy = False
                self._tasks -= 1
                self._in_flight -= task.size
                self._changed.notify_all()

    # -- work ------------------------------------------------------------------------------------------------------

    def _encode(self, task: _Task) -> None:
        if task.batches:
            task.group = rowgroup.encode(self._layout, task.batches)
            task.batches = []
        with self._changed:
            task.is_encoded = True

    def _write(self, lane: _Lane, task: _Task) -> None:
        if task.group is not None:
            if lane.file is not None and self._is_full(lane.file, task):
                self._finish(lane, lane.file)
            file = lane.file or self._open(lane)
            file.append(task.group)
        if task.last and lane.file is not None:
            self._finish(lane, lane.file)

    def _is_full(self, file: DataFile, task: _Task) -> bool:
        """Whether a row group begins a new file. The last one does not, if the new file would be a small one."""
        target = self._spec.target_file_size
        return file.size >= target and not (task.last and task.size < target // 8)

    def _open(self, lane: _Lane) -> DataFile:
        values = dict(zip(self._spec.partition_keys, lane.key, strict=True))
        directory = partition.directory(self._spec.partition_keys, values)
        with self._changed:
            name = f"part-{self._spec.task[0]:05d}-{self._stem}-c{len(self._paths):03d}{self._layout.suffix}"
            path = "/".join(filter(None, (self._spec.directory, directory, name)))
            self._paths.append(path)
        lane.file = DataFile(self._store, path, self._layout, values)
        with self._changed:
            self._open_files.add(lane.file)
        return lane.file

    def _finish(self, lane: _Lane, file: DataFile) -> None:
        add = file.finish()
        with self._changed:
            self._finished.append((lane.number, add))
            self._open_files.discard(file)
            lane.file = None
