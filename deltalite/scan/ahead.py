"""Several iterators one after the other, computed ahead by threads, with bounded buffers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


Source = Callable[[], Iterator[T]]


def ordered(sources: Iterable[Source[T]], threads: int, size_of: Callable[[T], int], budget: int) -> Iterator[T]:
    """The items of every source, in the order of the sources.

    Nothing starts before the first item is asked for, and sources are taken only as they are needed. When the consumer
    stops early, the iterators of the sources are closed before this one is.

    :param threads: how many sources are computed at a time, from the one being consumed onwards.
    :param budget: what ``size_of`` the items waiting in one source may add up to before its thread pauses.
    """
    if threads < 2:
        for source in sources:
            yield from source()
        return
    ahead = _Ahead(sources, threads, size_of, budget)
    try:
        index = 0
        while ahead.reaches(index):
            yield from ahead.take(index)
            index += 1
    finally:
        ahead.stop()


class _Ahead(Generic[T]):
    """The shared state of the consumer and its threads; ``_changed`` guards all of it."""

    def __init__(self, sources: Iterable[Source[T]], threads: int, size_of: Callable[[T], int], budget: int) -> None:
        self._sources = iter(sources)
        self._size_of = size_of
        self._budget = budget
        self._window = threads
        self._changed = threading.Condition()
        self._stopped = False
        self._exhausted = False
        self._claimed = 0
        self._current = 0
        self._waiting: dict[int, deque[T]] = {}
        self._sizes: dict[int, int] = {}
        self._done: dict[int, BaseException | None] = {}
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name="deltalite-scan") for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def reaches(self, index: int) -> bool:
        """Whether there is a source of this number; all before it are consumed."""
        with self._changed:
            self._current = index
            self._changed.notify_all()
            while self._claimed <= index and not self._exhausted:
                self._changed.wait()
            return self._claimed > index

    def take(self, index: int) -> Iterator[T]:
        """The items of one source."""
        while True:
            with self._changed:
                while not self._waiting[index] and index not in self._done:
                    self._changed.wait()
                if not self._waiting[index]:
                    del self._waiting[index], self._sizes[index]
                    error = self._done.pop(index)
                    break
                item = self._waiting[index].popleft()
                self._sizes[index] -= self._size_of(item)
                self._changed.notify_all()
            yield item
        if error is not None:
            raise error

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (claim := self._claim()) is not None:
            index, source = claim
            error = None
            try:
                self._fill(index, source)
            except BaseException as caught:  # the consumer raises it, in its turn
                error = caught
            with self._changed:
                self._done[index] = error
                self._changed.notify_all()

    def _claim(self) -> tuple[int, Source[T]] | None:
        """The next source, once the consumer has come near enough to it."""
        with self._changed:
            while not (self._stopped or self._exhausted) and self._claimed >= self._current + self._window:
                self._changed.wait()
            if self._stopped or self._exhausted:
                return None
            index = self._claimed
            try:
                source = next(self._sources)
            except BaseException as caught:
                self._exhausted = True
                if not isinstance(caught, StopIteration):
                    self._open(index)
                    self._done[index] = caught
                self._changed.notify_all()
                return None
            self._open(index)
            self._changed.notify_all()
            return index, source

    def _open(self, index: int) -> None:
        self._claimed = index + 1
        self._waiting[index], self._sizes[index] = deque(), 0

    def _fill(self, index: int, source: Source[T]) -> None:
        items = source()
        try:
            for item in items:
                with self._changed:
                    while not self._stopped and self._waiting[index] and self._sizes[index] >= self._budget:
                        self._changed.wait()
                    if self._stopped:
                        return
                    self._waiting[index].append(item)
                    self._sizes[index] += self._size_of(item)
                    self._changed.notify_all()
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
