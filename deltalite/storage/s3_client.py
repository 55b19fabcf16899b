"""One s3fs instance of our own, and the rules by which its requests are repeated."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable
from functools import cache
from itertools import count
from typing import Any, TypeVar

from deltalite.exceptions import StorageError
from deltalite.storage.credentials import CredentialSource
from deltalite.storage.redact import mask_log_records, redact
from deltalite.storage.s3_config import s3_config
from deltalite.storage.s3_errors import Kind, Verdict, judge

__all__ = ["IDEMPOTENT", "UNANSWERED_ONLY_IF_BUSY", "RequestFailed", "S3Client"]

T = TypeVar("T")

IDEMPOTENT: frozenset[Kind] = frozenset({"busy", "unknown"})
UNANSWERED_ONLY_IF_BUSY: frozenset[Kind] = frozenset({"busy"})
"""For a conditional put: repeated only when the server says that it did nothing."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds


class RequestFailed(Exception):
    """A request's last failure. It carries no cause: the client's exceptions hold headers and signatures."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


class S3Client:
    """Runs requests on an s3fs instance that nobody else shares.

    The instance is made at first use, again in a forked child, and again with fresh credentials.
    """

    def __init__(self, source: CredentialSource) -> None:
        self._source = source
        self._fs: Any = None
        self._pid = -1
        self._lock = threading.Lock()

    def run(self, request: Callable[[Any], Awaitable[T]], *, repeat: frozenset[Kind] = IDEMPOTENT) -> T:
        """Run ``request(filesystem)`` until it succeeds or its failure is not one to ``repeat``.

        :raises RequestFailed: with the verdict on the last failure.
        """
        from fsspec.asyn import sync

        renewed = False
        for attempt in count(1):
            fs = self._filesystem()
            try:
                return sync(fs.loop, request, fs)
            except (Exception, asyncio.CancelledError) as error:
                verdict = self._judged(error)
            # outside the handler: what is raised from here has no context to leak
            if verdict.kind == "expired" and self._source.renewable and not renewed:
                renewed = True
                self._renew(fs)
            elif verdict.kind not in repeat or attempt >= self._attempts:
                raise RequestFailed(verdict)
            else:
                time.sleep(min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.25, 0.75))
        raise AssertionError("unreachable")

    def send(self, request: Callable[[Any], Awaitable[Any]]) -> None:
        """Start a request and do not wait for its end; for destructors, which must not block."""
        fs = self._fs
        if fs is not None and self._pid == os.getpid() and fs.loop is not None and fs.loop.is_running():

            async def quietly() -> None:
                try:
                    await request(fs)
                except Exception:  # nobody is there to be told
                    return

            asyncio.run_coroutine_threadsafe(quietly(), fs.loop)

    def _judged(self, error: BaseException) -> Verdict:
        verdict = judge(error)
        return verdict._replace(reason=redact(verdict.reason, self._source.secrets()))

    def _renew(self, old: Any) -> None:
        with self._lock:
            if self._fs is old:  # else another thread did it
                self._source.renew()
                self._fs = None

    def _filesystem(self) -> Any:
        if self._pid != os.getpid():  # sockets and event loops do not survive a fork, nor may the lock
            self._lock = threading.Lock()
            self._fs = None
            self._pid = os.getpid()
        fs = self._fs
        if fs is not None and not self._source.expired:
            return fs
        with self._lock:
            if self._source.expired:
                self._source.renew()
                self._fs = None
            if self._fs is None:
                self._fs = self._connect()
            return self._fs

    def _connect(self) -> Any:
        try:
            from s3fs import S3FileSystem
        except ImportError:
            raise StorageError("s3:// needs s3fs", hint="pip install 'deltalite[s3]'", transient=False) from None
        config = s3_config(self._source.options())
        self._attempts = config.attempts
        try:
            arguments = config.arguments
            profile = arguments.pop("profile", None)
            arguments.setdefault("session", _session(profile))
            fs = S3FileSystem(**arguments)
        except Exception as error:
            reason = redact(f"{type(error).__name__}: {error}", self._source.secrets())
        else:
            fs.retries = 1
            mask_log_records("botocore.auth", "botocore.endpoint")  # they print session tokens at DEBUG
            return fs
        raise StorageError(f"cannot set up the S3 client: {reason}", transient=False)


def _session(profile: str | None) -> Any:
    """A session of its own, but for botocore's service descriptions: 80 ms of parsing that all may share."""
    from aiobotocore.session import AioSession

    session = AioSession(profile=profile)
    session.register_component("data_loader", _service_descriptions())
    return session


@cache
def _service_descriptions() -> Any:
    from botocore.loaders import create_loader

    return create_loader(os.environ.get("AWS_DATA_PATH"))
