"""Stores that stand between an engine and its bytes: they count, slow down, or fail calls on purpose.

The loop that finds every hole is SQLite's: fail the first call, then the second, ... until a run ends unharmed::

    for run in every_fault(make_inner, mode="after"):
        run.attempt(lambda store: write_deltalake(store, data))
        check(run.inner)        # the table is old or new, never between
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Literal, NamedTuple

from deltalite.exceptions import StorageError
from deltalite.storage.base import AmbiguousPut, FileMeta, OutputFile, Store

__all__ = [
    "MUTATING",
    "Call",
    "CountingStore",
    "FaultRun",
    "FaultyStore",
    "LatencyStore",
    "Mode",
    "RelayStore",
    "SimulatedCrash",
    "every_fault",
]

MUTATING = frozenset({"put", "put_if_absent", "publish", "delete_many", "sync"})
"""The calls that change something. ``publish`` is the closing of an output; opening one changes nothing visible."""

Mode = Literal["before", "after", "torn", "hang", "delay", "crash_before", "crash_after"]


class SimulatedCrash(BaseException):
    """The process died here. A store that raised it answers nothing any more, so no clean-up runs through it."""


class Call(NamedTuple):
    """One call: the method's name (``publish`` for closing an output) and its path or prefix."""

    op: str
    path: str


class RelayStore:
    """Forwards every call to another store through :meth:`around`, which subclasses override."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.root = inner.root
        self.atomic_put = inner.atomic_put
        self.accepts_commits = inner.accepts_commits
        self.is_local = inner.is_local

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def around(self, call: Call, effect: Callable[[], Any], data: bytes | None = None) -> Any:
        """Do, or do not do, ``effect``. ``data`` is what a put would write."""
        return effect()

    def local_path(self, path: str) -> str | None:
        return self.inner.local_path(path)

    def get(self, path: str) -> bytes:
        return self.around(Call("get", path), lambda: self.inner.get(path))

    def get_range(self, path: str, start: int, length: int) -> bytes:
        return self.around(Call("get_range", path), lambda: self.inner.get_range(path, start, length))

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self.around(Call("put", path), lambda: self.inner.put(path, data, durable=durable), data)

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self.around(Call("put_if_absent", path), lambda: self.inner.put_if_absent(path, data, durable=durable), data)

    def sync(self) -> None:
        self.around(Call("sync", ""), self.inner.sync)

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        return iter(self.around(Call("list_from", prefix), lambda: list(self.inner.list_from(prefix, start_after))))

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        return iter(self.around(Call("list_all", prefix), lambda: list(self.inner.list_all(prefix))))

    def head(self, path: str) -> FileMeta | None:
        return self.around(Call("head", path), lambda: self.inner.head(path))

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        paths = list(paths)
        return self.around(Call("delete_many", " ".join(paths)), lambda: self.inner.delete_many(paths))

    def open_input(self, path: str, *, size: int | None = None) -> Any:
        return self.around(Call("open_input", path), lambda: self.inner.open_input(path, size=size))

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        inner = self.around(Call("open_output", path), lambda: self.inner.open_output(path, durable=durable))
        return _RelayOutput(self, path, inner)


class _RelayOutput(OutputFile):
    def __init__(self, store: RelayStore, path: str, inner: OutputFile) -> None:
        self._store, self._path, self._inner = store, path, inner

    def write(self, data: Any) -> int:
        return self._inner.write(data)

    def tell(self) -> int:
        return self._inner.tell()

    def _publish(self) -> None:
        try:
            self._store.around(Call("publish", self._path), self._inner.close)
        except BaseException:
            if not getattr(self._store, "delayed", None):  # a delayed publish still needs it
                self._inner.abort()
            raise

    def _discard(self) -> None:
        self._inner.abort()


class CountingStore(RelayStore):
    """Records every call in ``calls``, in the order in which they began."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.calls: list[Call] = []
        self._lock = threading.Lock()

    def around(self, call: Call, effect: Callable[[], Any], data: bytes | None = None) -> Any:
        with self._lock:
            self.calls.append(call)
        return effect()

    def count(self, *ops: str, containing: str = "") -> int:
        """How many calls were among ``ops`` (all, when none is given) and had ``containing`` in their path."""
        return sum((not ops or call.op in ops) and containing in call.path for call in self.calls)


class LatencyStore(CountingStore):
    """Delays every call by so many seconds, as a distant object store would, and records it."""

    def __init__(self, inner: Store, seconds: float) -> None:
        super().__init__(inner)
        self.seconds = seconds

    def around(self, call: Call, effect: Callable[[], Any], data: bytes | None = None) -> Any:
        time.sleep(self.seconds)
        return super().around(call, effect, data)


class FaultyStore(CountingStore):
    """Fails the ``at``-th call (from 1), once.

    :param at: which of the counted calls fails; ``None`` fails none and only counts.
    :param mode: ``before``: raise, without effect. ``after``: take effect, then raise, as when a reply is lost.
        ``torn``: a put leaves ``torn(data)`` behind, then raises (what is published atomically cannot tear: it raises
        before). ``hang``: call ``on_hang`` first, then go on. ``delay``: raise now; the effect waits for
        :meth:`deliver`. ``crash_before``, ``crash_after``: :class:`SimulatedCrash`, and the store is dead from then on.
    :param counts: ``mutating`` or ``any``: which calls are counted.
    :param matching: count only calls for which this is true.
    :param error: what to raise; by default ``AmbiguousPut`` for a put-if-absent whose effect may come, else a
        ``StorageError``.
    """

    def __init__(
        self,
        inner: Store,
        *,
        at: int | None = None,
        mode: Mode = "before",
        counts: Literal["mutating", "any"] = "mutating",
        matching: Callable[[Call], bool] = lambda call: True,
        error: BaseException | type[BaseException] | None = None,
        torn: Callable[[bytes], bytes] = lambda data: data[: len(data) // 2],
        on_hang: Callable[[Call], None] = lambda call: None,
    ) -> None:
        super().__init__(inner)
        self.at, self.mode, self.counts, self.matching = at, mode, counts, matching
        self.error, self.torn, self.on_hang = error, torn, on_hang
        self.hit: Call | None = None
        self.dead = False
        self.delayed: list[tuple[Call, Callable[[], Any]]] = []
        self._counted = 0
        self._visible: set[str] | None = None

    def freeze_listings(self) -> None:
        """From now on listings show only what is there now, as a stale cache does; :meth:`thaw_listings` ends it."""
        self._visible = {meta.path for meta in self.inner.list_all()}

    def thaw_listings(self) -> None:
        self._visible = None

    def deliver(self) -> list[BaseException | None]:
        """Let the delayed requests arrive, in order; returns for each its error, ``None`` when it took effect."""
        waiting, self.delayed = self.delayed, []
        outcomes: list[BaseException | None] = []
        for _, effect in waiting:
            try:
                effect()
                outcomes.append(None)
            except Exception as error:  # the outcome is the caller's to judge
                outcomes.append(error)
        return outcomes

    def around(self, call: Call, effect: Callable[[], Any], data: bytes | None = None) -> Any:
        if self.dead:
            raise SimulatedCrash(f"{call.op} {call.path} after the crash")
        if not self._is_due(call):
            return self._filtered(call, effect())
        self.hit = call
        if self.mode == "hang":
            self.on_hang(call)
            return self._filtered(call, effect())
        if self.mode == "delay":
            self.delayed.append((call, effect))
        elif self.mode in ("after", "crash_after"):
            effect()
        elif self.mode == "torn" and data is not None and call.op == "put":
            self.inner.put(call.path, self.torn(data))
        if self.mode.startswith("crash"):
            self.dead = True
            raise SimulatedCrash(f"{call.op} {call.path}")
        raise self._error(call)

    def _is_due(self, call: Call) -> bool:
        with self._lock:
            self.calls.append(call)
            if (self.counts == "mutating" and call.op not in MUTATING) or not self.matching(call):
                return False
            self._counted += 1
            return self._counted == self.at

    def _filtered(self, call: Call, result: Any) -> Any:
        if self._visible is not None and call.op in ("list_from", "list_all"):
            return [meta for meta in result if meta.path in self._visible]
        return result

    def _error(self, call: Call) -> BaseException:
        if self.error is not None:
            return self.error() if isinstance(self.error, type) else self.error
        message = f"injected fault ({self.mode}) in {call.op} {call.path!r}"
        if call.op == "put_if_absent" and self.mode in ("after", "delay"):
            return AmbiguousPut(message)
        return StorageError(message, transient=self.mode != "before")


class FaultRun:
    """One run of a scenario with a fault at one place. ``error`` is what the scenario raised, ``result`` its value."""

    def __init__(self, number: int, inner: Store, store: FaultyStore) -> None:
        self.number, self.inner, self.store = number, inner, store
        self.result: Any = None
        self.error: BaseException | None = None

    def attempt(self, scenario: Callable[[FaultyStore], Any]) -> FaultRun:
        """Run the scenario and keep its outcome; injected errors do not propagate, failed assertions do."""
        try:
            self.result = scenario(self.store)
        except AssertionError:
            raise
        except (Exception, SimulatedCrash, KeyboardInterrupt) as error:
            self.error = error
        return self


def every_fault(make_inner: Callable[[], Store], **fault: Any) -> Iterator[FaultRun]:
    """A run with the fault at call 1, at call 2, ... and a last one in which it was not reached.

    :param make_inner: a fresh store in the state before the scenario.
    :param fault: the other arguments of :class:`FaultyStore`.
    """
    for number in count(1):
        inner = make_inner()
        store = FaultyStore(inner, at=number, **fault)
        yield FaultRun(number, inner, store)
        if store.hit is None:
            return
