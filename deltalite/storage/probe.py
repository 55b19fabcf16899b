"""Does a backend keep its word about conditional puts? A question for the running endpoint, not for its manual.

Several S3 servers accept ``If-None-Match`` and let two writers win, or ignore it.
"""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deltalite.exceptions import StorageError
from deltalite.storage.base import AmbiguousPut, Store

__all__ = ["ProbeResult", "probe_conditional_put"]


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe saw. ``problems`` is empty when the backend conforms."""

    conforming: bool
    races: int
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.conforming:
            return f"conforming: {self.races} races had one winner each"
        return "not conforming: " + "; ".join(self.problems)


def probe_conditional_put(store: Store, *, threads: int = 32, keys: int = 20) -> ProbeResult:
    """Create objects concurrently in a directory of its own under the root, and delete them again.

    Checked: creating what is absent succeeds, creating what is present is refused, of ``threads`` concurrent creators
    of each of ``keys`` objects one wins, and the object then holds the winner's bytes.

    :raises StorageError: the root cannot be written at all.
    """
    directory = f"_deltalite_probe/{uuid.uuid4().hex}"
    paths = [f"{directory}/{number}" for number in range(keys + 1)]
    problems: list[str] = []
    try:
        problems += _sequential(store, paths[0])
        with ThreadPoolExecutor(threads) as pool:
            for path in paths[1:]:
                problems += _one_race(store, path, pool, threads)
    finally:
        store.delete_many(paths)
    return ProbeResult(not problems, keys, tuple(dict.fromkeys(problems)))


def _sequential(store: Store, path: str) -> list[str]:
    try:
        store.put_if_absent(path, b"first", durable=False)
    except (FileExistsError, AmbiguousPut) as error:
        return [f"creating an absent object failed ({type(error).__name__})"]
    try:
        store.put_if_absent(path, b"second", durable=False)
    except FileExistsError:
        pass
    except (AmbiguousPut, StorageError) as error:
        return [f"creating a present object was not refused as such ({type(error).__name__})"]
    else:
        return ["creating a present object succeeded"]
    return [] if store.get(path) == b"first" else ["a refused create replaced the object"]


def _one_race(store: Store, path: str, pool: ThreadPoolExecutor, threads: int) -> list[str]:
    start = threading.Barrier(threads)

    def create(number: int) -> bool | None:
        start.wait()
        try:
            store.put_if_absent(path, str(number).encode(), durable=False)
        except FileExistsError:
            return False
        except (AmbiguousPut, StorageError):  # busy is not wrong, only unanswered
            return None
        return True

    answers = list(pool.map(create, range(threads)))
    winners = [number for number, won in enumerate(answers) if won]
    if len(winners) > 1:
        return ["several concurrent creators were told that they had won"]
    if winners:
        return [] if store.get(path) == str(winners[0]).encode() else ["the object does not hold the winner's bytes"]
    return [] if None in answers else ["no creator won, and none was left unanswered"]
