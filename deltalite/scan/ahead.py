"""Several iterators one after the other, computed ahead by threads, with bounded buffers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def ordered(
    sources: Sequence[Callable[[], Iterator[T]]], threads: int, size_of: Callable[[T], int], budget: int
) -> Iterator[T]:
    """The items of every source, in the order of the sources.

    Nothing starts before the first item is asked for. When the consumer stops early, the iterators of the sources are
    closed before this one is.

    :param threads: how many sources are computed at a time, from the one being consumed onwards.
    :param budget: what ``size_of`` the items waiting in one source may add up to before its thread pauses.
    """
    if threads < 2 or len(sources) < 2:
        for source in sources:
            yield from source()
        return
    ahead = _Ahead(sources, threads, size_of, budget)
    try:
        for index in range(len(sources)):
            yield from ahead.take(index)
    finally:
        ahead.stop()


class _Ahead(Generic[T]):
    """The shared state of the consumer and its threads; ``_changed`` guards all of it."""

    def __init__(
        self, sources: Sequence[Callable[[], Iterator[T]]], threads: int, size_of: Callable[[T], int], budget: int
    ) -> None:
        self._sources = sources
        self._size_of = size_of
        self._budget = budget
        self._window = threads
        self._changed = threading.Condition()
        self._stopped = False
        self._next = 0
        self._current = 0
        self._waiting: dict[int, deque[T]] = {}
        self._sizes: dict[int, int] = {}
        self._done: dict[int, BaseException | None] = {}
        workers = [threading.Thread(target=self._work, daemon=True, name="deltalite-scan") for _ in range(threads)]
        self._threads = workers[: len(sources)]
        for thread in self._threads:
            thread.start()

    def take(self, index: int) -> Iterator[T]:
        """The items of one source; called for one source after the other."""
        with self._changed:
            self._current = index
            self._changed.notify_all()
        while True:
            with self._changed:
                while not self._waiting.get(index) and index not in self._done:
                    self._changed.wait()
                if not self._waiting.get(index):
                    error = self._done.pop(index)
                    self._waiting.pop(index, None)
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
        while (index := self._claim()) is not None:
            error = None
            try:
                self._fill(index)
            except BaseException as caught:  # the consumer raises it, in its turn
                error = caught
            with self._changed:
                self._done[index] = error
                self._changed.notify_all()

    def _claim(self) -> int | None:
        with self._changed:
            while not self._stopped and self._current + self._window <= self._next < len(self._sources):
                self._changed.wait()
            if self._stopped or self._next >= len(self._sources):
                return None
            self._next += 1
            self._waiting[self._next - 1], self._sizes[self._next - 1] = deque(), 0
            return self._next - 1

    def _fill(self, index: int) -> None:
        items = self._sources[index]()
        try:
            for item in items:
                with self._changed:
                    while not self._stopped and self._sizes[index] >= self._budget:
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
