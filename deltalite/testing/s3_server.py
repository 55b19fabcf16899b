"""An S3 server on loopback that decides conditional puts under a lock, and misbehaves when told to.

It checks no signatures and keeps everything in memory. Never use it for anything but tests.

    with S3Server() as server:
        store = open_store("s3://bucket/table", server.storage_options)
        server.inject("drop", method="PUT", key="_delta_log/")     # the next commit's reply is lost
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

__all__ = ["Action", "Dialect", "S3Server"]

_XML = '<?xml version="1.0" encoding="UTF-8"?>'

Action = Literal["drop", "refuse", "error", "error_after", "error_200", "truncate", "slow", "delay"]


@dataclass
class Dialect:
    """How servers differ about conditional puts."""

    condition_element: bool = True
    """Whether a 412 names the condition, as AWS does."""
    conflict: tuple[int, str] = (412, "PreconditionFailed")
    """Status and code for a name that is taken."""
    honours_condition: bool = True
    """``False``: ``If-None-Match`` is ignored."""
    atomic: bool = True
    """``False``: the server looks, then puts, and lets another request pass between."""
    page_size: int = 1000
    honours_start_after: bool = True
    sorted_listings: bool = True


@dataclass
class _Fault:
    action: Action
    method: str
    key: str
    times: int
    status: int
    code: str
    seconds: float


class _Object(NamedTuple):
    data: bytes
    etag: str
    modified: float


class _Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class _Upload:
    bucket: str
    key: str
    parts: dict[int, bytes] = field(default_factory=dict)


class S3Server:
    """The server; a context manager.

    ``objects[bucket][key]`` are its contents, ``requests`` what it was asked, ``access_keys`` by whom.
    """

    def __init__(self, bucket: str = "bucket", dialect: Dialect | None = None) -> None:
        self.dialect = dialect or Dialect()
        self.bucket = bucket
        self.objects: dict[str, dict[str, _Object]] = {bucket: {}}
        self.uploads: dict[str, _Upload] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.access_keys: list[str] = []
        self._faults: list[_Fault] = []
        self._delayed: list[Callable[[], _Reply]] = []
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _QuietServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def storage_options(self) -> dict[str, str]:
        """Options that lead a client here."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def __enter__(self) -> S3Server:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # --- for tests ----------------------------------------------------------------------------------------------------

    def put(self, key: str, data: bytes) -> None:
        """Write as another client would."""
        with self._lock:
            self._store(self.bucket, key, data)

    def reset(self) -> None:
        """Forget contents, faults and history; speak as AWS does again."""
        with self._lock:
            self.objects = {self.bucket: {}}
            self.dialect = Dialect()
            for record in (self.uploads, self.requests, self.access_keys, self._faults, self._delayed):
                record.clear()

    def get(self, key: str) -> bytes | None:
        found = self.objects[self.bucket].get(key)
        return found.data if found else None

    def inject(
        self,
        action: Action,
        *,
        method: str = "PUT",
        key: str = "",
        times: int = 1,
        status: int = 500,
        code: str = "InternalError",
        seconds: float = 0.5,
    ) -> None:
        """Misbehave in the next ``times`` requests of this method whose key (or prefix) contains ``key``.

        ``drop``: apply, then cut the connection. ``refuse``: cut it at once. ``error``, ``error_after``: answer
        ``status`` and ``code`` without, or after, applying. ``error_200``: answer 200 with an error as body, without
        applying. ``truncate``: cut the connection in the middle of the reply's body. ``slow``: answer after
        ``seconds``. ``delay``: cut the connection; the request takes effect in :meth:`deliver`.
        """
        self._faults.append(_Fault(action, method, key, times, status, code, seconds))

    def deliver(self) -> list[int]:
        """Apply the delayed requests; returns the statuses that nobody is there to receive."""
        waiting, self._delayed = self._delayed, []
        return [effect().status for effect in waiting]

    # --- serving ------------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> _Reply | None:
        """The reply to a request; ``None`` cuts the connection. A truncated reply has a wrong Content-Length."""
        parts = urlsplit(target)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        where = key or query.get("prefix", "")
        with self._lock:
            self.requests.append((method, where, query))
            self.access_keys.append(headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0])
            fault = self._take_fault(method, where)

        def effect() -> _Reply:
            return self._route(method, bucket, key, query, headers, body)

        if fault is None:
            return effect()
        if fault.action == "refuse":
            return None
        if fault.action == "drop":
            effect()
            return None
        if fault.action == "delay":
            self._delayed.append(effect)
            return None
        if fault.action == "slow":
            time.sleep(fault.seconds)
            return effect()
        if fault.action == "truncate":
            reply = effect()
            return reply._replace(
                body=reply.body[: len(reply.body) // 2],
                headers=(*reply.headers, ("Content-Length", str(len(reply.body)))),
            )
        if fault.action == "error_200":
            return _Reply(200, _error_xml(fault.code))
        if fault.action == "error_after":
            effect()
        return _error(fault.status, fault.code)

    def _take_fault(self, method: str, where: str) -> _Fault | None:
        for fault in self._faults:
            if fault.method == method and fault.key in where:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None

    def _route(self, method: str, bucket: str, key: str, query: dict[str, str], headers: Any, body: bytes) -> _Reply:
        if bucket not in self.objects:
            return _error(404, "NoSuchBucket")
        if not key:
            if method == "POST" and "delete" in query:
                return self._delete_objects(bucket, body)
            return self._list(bucket, query) if method == "GET" else _Reply(200)
        if method in ("GET", "HEAD"):
            return self._get(bucket, key, headers)
        if method == "PUT" and "uploadId" in query:
            return self._upload_part(query, body)
        if method == "PUT":
            return self._put(bucket, key, headers, body)
        if method == "POST" and "uploads" in query:
            return self._create_upload(bucket, key)
        if method == "POST" and "uploadId" in query:
            return self._complete_upload(query["uploadId"], headers, body)
        if method == "DELETE":
            if "uploadId" in query:
                self.uploads.pop(query["uploadId"], None)
            else:
                self.objects[bucket].pop(key, None)
            return _Reply(204)
        return _error(501, "NotImplemented")

    def _put(self, bucket: str, key: str, headers: Any, data: bytes) -> _Reply:
        conditional = headers.get("If-None-Match") == "*" and self.dialect.honours_condition
        if conditional and not self.dialect.atomic:
            taken = key in self.objects[bucket]
            time.sleep(0.02)
            if taken:
                return self._conflict()
            conditional = False
        with self._lock:
            if conditional and key in self.objects[bucket]:
                return self._conflict()
            self._store(bucket, key, data)
            return _Reply(200, headers=(("ETag", f'"{self.objects[bucket][key].etag}"'),))

    def _store(self, bucket: str, key: str, data: bytes) -> None:
        self.objects[bucket][key] = _Object(data, hashlib.md5(data).hexdigest(), time.time())  # noqa: S324

    def _conflict(self) -> _Reply:
        status, code = self.dialect.conflict
        extra = "<Condition>If-None-Match</Condition>" if self.dialect.condition_element and status == 412 else ""
        return _error(status, code, extra)

    def _get(self, bucket: str, key: str, headers: Any) -> _Reply:
        found = self.objects[bucket].get(key)
        if found is None:
            return _error(404, "NoSuchKey")
        if headers.get("If-Match") not in (None, "*", f'"{found.etag}"', found.etag):
            return _error(412, "PreconditionFailed", "<Condition>If-Match</Condition>")
        reply_headers = (
            ("ETag", f'"{found.etag}"'),
            ("Last-Modified", formatdate(found.modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
        )
        range_ = headers.get("Range")
        if range_ is None:
            return _Reply(200, found.data, reply_headers)
        first, _, last = range_.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(found.data) - int(last))
        end = min(int(last), len(found.data) - 1) if first and last else len(found.data) - 1
        if start >= len(found.data):
            return _error(416, "InvalidRange")
        span = ("Content-Range", f"bytes {start}-{end}/{len(found.data)}")
        return _Reply(206, found.data[start : end + 1], (*reply_headers, span))

    def _create_upload(self, bucket: str, key: str) -> _Reply:
        upload_id = uuid.uuid4().hex
        self.uploads[upload_id] = _Upload(bucket, key)
        return _xml("InitiateMultipartUploadResult", f"<Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>")

    def _upload_part(self, query: dict[str, str], data: bytes) -> _Reply:
        upload = self.uploads.get(query["uploadId"])
        if upload is None:
            return _error(404, "NoSuchUpload")
        upload.parts[int(query["partNumber"])] = data
        return _Reply(200, headers=(("ETag", f'"{hashlib.md5(data).hexdigest()}"'),))  # noqa: S324

    def _complete_upload(self, upload_id: str, headers: Any, body: bytes) -> _Reply:
        upload = self.uploads.get(upload_id)
        if upload is None:
            return _error(404, "NoSuchUpload")
        numbers = [int(part.text or 0) for part in _parse(body).iter() if part.tag.endswith("PartNumber")]
        reply = self._put(upload.bucket, upload.key, headers, b"".join(upload.parts[number] for number in numbers))
        if reply.status != 200:
            return reply
        del self.uploads[upload_id]
        etag = self.objects[upload.bucket][upload.key].etag
        return _xml("CompleteMultipartUploadResult", f"<Key>{escape(upload.key)}</Key><ETag>{etag}</ETag>")

    def _delete_objects(self, bucket: str, body: bytes) -> _Reply:
        deleted = []
        with self._lock:
            for element in _parse(body).iter():
                if element.tag.endswith("Key"):
                    self.objects[bucket].pop(element.text or "", None)
                    deleted.append(f"<Deleted><Key>{escape(element.text or '')}</Key></Deleted>")
        return _xml("DeleteResult", "".join(deleted))

    def _list(self, bucket: str, query: dict[str, str]) -> _Reply:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("start-after", "") if self.dialect.honours_start_after else ""
        if "continuation-token" in query:
            after = base64.b64decode(query["continuation-token"]).decode()
        limit = min(int(query.get("max-keys", 1000)), self.dialect.page_size)
        encode = quote if query.get("encoding-type") == "url" else escape
        with self._lock:
            keys = sorted((k for k in self.objects[bucket] if k.startswith(prefix)), key=str.encode)
            objects = dict(self.objects[bucket])
        entries: list[str] = []
        groups: set[str] = set()
        last, truncated = "", False
        for key in keys:
            group = ""
            if delimiter and delimiter in key[len(prefix) :]:
                group = key[: key.index(delimiter, len(prefix)) + len(delimiter)]
            if (group or key) <= after or group in groups or (group and after.startswith(group)):
                continue
            if len(entries) == limit:
                truncated = True
                break
            last = group or key
            if group:
                groups.add(group)
                entries.append(f"<CommonPrefixes><Prefix>{encode(group)}</Prefix></CommonPrefixes>")
            else:
                entries.append(_contents(encode(key), objects[key]))
        if not self.dialect.sorted_listings:
            entries.reverse()
        token = f"<NextContinuationToken>{base64.b64encode(last.encode()).decode()}</NextContinuationToken>"
        return _xml(
            "ListBucketResult",
            f"<Name>{bucket}</Name><Prefix>{encode(prefix)}</Prefix><KeyCount>{len(entries)}</KeyCount>"
            f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{token if truncated else ''}"
            + ("<EncodingType>url</EncodingType>" if encode is quote else "")
            + "".join(entries),
        )


def _contents(key: str, found: _Object) -> str:
    fraction = f"{found.modified % 1:.3f}"[1:5]
    modified = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found.modified)) + fraction + "Z"
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>{found.etag}</ETag>"
        f"<Size>{len(found.data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _parse(body: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(body)  # noqa: S314  (from our own client)


def _xml(root: str, inner: str) -> _Reply:
    text = f'{_XML}<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{root}>'
    return _Reply(200, text.encode(), (("Content-Type", "application/xml"),))


def _error_xml(code: str, extra: str = "") -> bytes:
    return f"{_XML}<Error><Code>{code}</Code><Message>told to</Message>{extra}</Error>".encode()


def _error(status: int, code: str, extra: str = "") -> _Reply:
    return _Reply(status, _error_xml(code, extra), (("Content-Type", "application/xml"),))


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: S3Server

    def _serve(self) -> None:
        body = self._body()
        reply = self.owner.answer(self.command, self.path, self.headers, body)
        if reply is None:
            self._cut()
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        announced = next((int(value) for name, value in reply.headers if name == "Content-Length"), None)
        if announced is None:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        if announced is not None:
            self._cut()

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked(self.rfile)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            return self._chunked(BytesIO(data))
        return data

    @staticmethod
    def _chunked(source: Any) -> bytes:
        """Chunks of ``size[;signature]\\r\\ndata\\r\\n``; trailers after the empty chunk are checksums."""
        parts = []
        while True:
            size = int(source.readline().split(b";")[0].strip() or b"0", 16)
            if size == 0:
                while source.readline().strip():
                    pass
                return b"".join(parts)
            parts.append(source.read(size))
            source.readline()

    def _cut(self) -> None:
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the client was faster
            pass

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815  (names that http.server looks up)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests look at ``S3Server.requests``."""
