"""Tables in S3 and what speaks its protocol, through s3fs.

Requests go straight to the client's operations: s3fs's own methods cache listings, repeat requests that must not be
repeated, and replace an object when asked to create an empty one. A commit is one put with ``If-None-Match: *``.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from deltalite.exceptions import StorageError
from deltalite.storage.base import AmbiguousPut, FileMeta, OutputFile, check_path, directory_prefix, refusal
from deltalite.storage.credentials import CredentialSource
from deltalite.storage.options import public_options
from deltalite.storage.remote_files import open_ranges
from deltalite.storage.s3_client import IDEMPOTENT, UNANSWERED_ONLY_IF_BUSY, RequestFailed, S3Client
from deltalite.storage.s3_config import conditional_put_obstacle
from deltalite.storage.s3_errors import Kind, Verdict
from deltalite.storage.s3_upload import S3Output
from deltalite.storage.single_writer import SingleWriter

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["S3Store"]

logger = logging.getLogger("deltalite.storage")

T = TypeVar("T")

_DELETE_BATCH = 1000  # the most that one DeleteObjects takes


class IncompleteReply(Exception):
    """A reply that is not what was asked for, though no error."""


class S3Store:
    """Objects under ``s3://bucket/prefix``.

    :param url: ``s3://bucket/prefix``; keys are taken literally.
    :param options: as :func:`deltalite.storage.options.s3_options` understands them.
    :param credentials: see :class:`deltalite.storage.credentials.CredentialSource`.
    :param single_writer: allow writes where conditional puts are switched off.
    :param pickle_secrets: let credentials travel with a pickled store.
    """

    is_local = False

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        *,
        credentials: Callable[[], Any] | None = None,
        single_writer: bool = False,
        pickle_secrets: bool = False,
    ) -> None:
        location = url.removeprefix("s3://").rstrip("/")
        self._bucket, _, prefix = location.partition("/")
        if not self._bucket or "@" in self._bucket:
            raise StorageError(
                "an S3 URL is s3://bucket/prefix, without credentials",
                hint='storage options "access_key_id" and "secret_access_key" take them',
                transient=False,
            )
        self.root = f"s3://{location}"
        self._base = prefix + "/" if prefix else ""
        self._source = CredentialSource(options or {}, credentials)
        self._client = S3Client(self._source)
        self._single_writer, self._pickle_secrets = single_writer, pickle_secrets
        obstacle = conditional_put_obstacle(self._source.static)
        self.atomic_put = obstacle is None
        self.accepts_commits = self.atomic_put or single_writer
        self._alone = SingleWriter(self.root, obstacle or "", single_writer or self.atomic_put)

    def __repr__(self) -> str:
        return f"S3Store({self.root!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        keep = self._pickle_secrets
        options = self._source.static if keep else public_options(self._source.static)
        return _reopen, (self.root, options, self._source.provider if keep else None, self._single_writer, keep)

    def local_path(self, path: str) -> str | None:
        check_path(path)
        return None

    # --- reading ------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> bytes:
        return self._read(path)

    def get_range(self, path: str, start: int, length: int) -> bytes:
        if length == 0:
            check_path(path)
            return b""
        return self._read(path, start, length)

    def _read(self, path: str, start: int = 0, length: int | None = None, etag: str | None = None) -> bytes:
        arguments = {"Bucket": self._bucket, "Key": self._key(path)}
        if length is not None:
            arguments["Range"] = f"bytes={start}-{start + length - 1}"
        if etag:
            arguments["IfMatch"] = etag

        async def request(fs: Any) -> bytes:
            reply = await fs._call_s3("get_object", **arguments)
            async with reply["Body"] as body:
                data = await body.read()
            if len(data) != reply.get("ContentLength", len(data)):
                raise IncompleteReply(f"{len(data)} of {reply['ContentLength']} bytes arrived")
            return data

        data = self._do("read", path, request)
        if length is not None and len(data) != length:
            raise refusal("read", path, f"{len(data)} bytes came instead of {length} from offset {start}")
        return data

    def head(self, path: str) -> FileMeta | None:
        reply = self._head(path)
        return FileMeta(path, reply["ContentLength"], _milliseconds(reply["LastModified"])) if reply else None

    def _head(self, path: str) -> dict[str, Any] | None:
        key = self._key(path)

        async def request(fs: Any) -> dict[str, Any]:
            return await fs._call_s3("head_object", Bucket=self._bucket, Key=key)

        try:
            return self._do("look at", path, request)
        except FileNotFoundError:
            return None

    def list_from(self, prefix: str, start_after: str = "") -> Iterator[FileMeta]:
        prefix = directory_prefix(prefix)
        after = start_after.removeprefix(prefix)
        found = {
            meta.path: meta
            for meta in self._list(prefix, delimiter="/", start_after=after)
            if meta.path > prefix + after  # some servers ignore StartAfter
        }
        return iter([found[path] for path in sorted(found)])  # directory buckets do not sort

    def list_all(self, prefix: str = "") -> Iterator[FileMeta]:
        return self._list(directory_prefix(prefix))

    def _list(self, prefix: str, *, delimiter: str = "", start_after: str = "") -> Iterator[FileMeta]:
        base = self._base + prefix
        arguments = {"Bucket": self._bucket, "Prefix": base, "Delimiter": delimiter}
        arguments["StartAfter"] = base + start_after if start_after else ""
        arguments = {name: value for name, value in arguments.items() if value}

        async def request(fs: Any) -> dict[str, Any]:
            reply = await fs._call_s3("list_objects_v2", **arguments)
            if "IsTruncated" not in reply:
                raise IncompleteReply("the listing is incomplete")
            return reply

        while True:
            reply = self._do("list", prefix or ".", request)
            for entry in reply.get("Contents", ()):
                path = entry["Key"][len(self._base) :]
                if path.endswith("/") or "//" in path:  # markers that tools leave; names that no table can refer to
                    continue
                yield FileMeta(path, entry["Size"], _milliseconds(entry["LastModified"]))
            if not reply["IsTruncated"]:
                return
            arguments["ContinuationToken"] = reply["NextContinuationToken"]
            arguments.pop("StartAfter", None)

    def open_input(self, path: str, *, size: int | None = None) -> pa.NativeFile:
        etag: str | None = None
        if size is None:
            reply = self._head(path)
            if reply is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{path}")
            size, etag = int(reply["ContentLength"]), reply.get("ETag")
        return open_ranges(size, lambda start, length: self._read(path, start, length, etag) if length else b"")

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes, *, durable: bool = True) -> None:
        self._alone.check(path)
        self._put(path, data)

    def put_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> None:
        if not self.atomic_put:
            self._alone.put_if_absent(path, lambda: self.head(path) is not None, lambda: self._put(path, data))
            return
        request = self._put_request(path, data, IfNoneMatch="*")
        try:
            self._client.run(request, repeat=UNANSWERED_ONLY_IF_BUSY)
            return
        except RequestFailed as failed:
            verdict = failed.verdict
        if verdict.kind == "taken" or (verdict.kind == "busy" and self.head(path) is not None):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), f"{self.root}/{path}")
        if verdict.kind in ("unknown", "busy"):
            raise AmbiguousPut(f"creating {path!r} ended without an answer: {verdict.reason}")
        raise self._error("write", path, verdict)

    def sync(self) -> None:
        """Nothing to do: an acknowledged put is durable."""

    def open_output(self, path: str, *, durable: bool = True) -> OutputFile:
        self._alone.check(path)
        return S3Output(self, self._client, path, self._bucket, self._key(path))

    def delete_many(self, paths: Iterable[str]) -> list[str]:
        waiting = iter([check_path(path) for path in paths])
        gone: list[str] = []
        while batch := list(islice(waiting, _DELETE_BATCH)):
            failed = self._delete(batch)
            gone += [path for path in batch if path not in failed]
        return gone

    def _delete(self, paths: list[str]) -> set[str]:
        """Delete at most 1,000 objects; returns those that are still there."""
        objects = [{"Key": self._base + path} for path in paths]

        async def request(fs: Any) -> dict[str, Any]:
            return await fs._call_s3("delete_objects", Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})

        try:
            errors = self._do("delete", paths[0], request).get("Errors", ())
        except StorageError as error:
            logger.warning("not deleting %d objects: %s", len(paths), error.message)
            return set(paths)
        for error in errors:
            logger.warning("not deleting %s: %s %s", error.get("Key"), error.get("Code"), error.get("Message"))
        return {error["Key"][len(self._base) :] for error in errors}

    def _put(self, path: str, data: bytes) -> None:
        self._do("write", path, self._put_request(path, data))

    def _put_request(self, path: str, data: bytes, **condition: str) -> Callable[[Any], Awaitable[None]]:
        key, body = self._key(path), bytes(data)

        async def request(fs: Any) -> None:
            reply = await fs._call_s3("put_object", Bucket=self._bucket, Key=key, Body=body, **condition)
            if not reply.get("ETag"):  # success in the status, an error in the body
                raise IncompleteReply("the server's answer is no acknowledgement")

        return request

    # --- requests -----------------------------------------------------------------------------------------------------

    def _key(self, path: str) -> str:
        return self._base + check_path(path)

    def _do(
        self, action: str, path: str, request: Callable[[Any], Awaitable[T]], repeat: frozenset[Kind] = IDEMPOTENT
    ) -> T:
        try:
            return self._client.run(request, repeat=repeat)
        except RequestFailed as failed:
            verdict = failed.verdict
        raise self._error(action, path, verdict)  # outside the handler, to carry no context

    def _error(self, action: str, path: str, verdict: Verdict) -> StorageError | FileNotFoundError:
        if verdict.kind == "missing":
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{path}")
        reason = f"it changed while it was read ({verdict.code})" if verdict.kind == "taken" else verdict.reason
        where = f"{self.root}/{path}"
        return refusal(action, where, reason, hint=verdict.hint, transient=verdict.transient, error_code=verdict.code)


def _milliseconds(moment: Any) -> int:
    return round(moment.timestamp() * 1000)


def _reopen(
    url: str, options: dict[str, Any], credentials: Callable[[], Any] | None, single_writer: bool, pickle_secrets: bool
) -> S3Store:
    return S3Store(url, options, credentials=credentials, single_writer=single_writer, pickle_secrets=pickle_secrets)
