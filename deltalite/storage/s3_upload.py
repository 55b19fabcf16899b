"""Writing an S3 object piece by piece: one put when it is small, a multipart upload when not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from deltalite.exceptions import StorageError
from deltalite.storage.base import OutputFile
from deltalite.storage.s3_client import S3Client

if TYPE_CHECKING:
    from deltalite.storage.object_store import S3Store

__all__ = ["S3Output"]

logger = logging.getLogger("deltalite.storage")

PART_BYTES = 16 << 20  # 10,000 parts of it are 160 GB


class S3Output(OutputFile):
    """Holds at most one part in memory. The object appears when the upload is completed, whole."""

    def __init__(self, store: S3Store, client: S3Client, path: str, bucket: str, key: str) -> None:
        self._store, self._client, self._path = store, client, path
        self._object = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._parts: list[dict[str, Any]] = []
        self._upload: dict[str, str] = {}
        self._written = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._buffer += view
        self._written += len(view)
        while len(self._buffer) >= PART_BYTES:
            self._send_part(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return len(view)

    def tell(self) -> int:
        return self._written

    def _publish(self) -> None:
        if not self._upload:
            self._store.put(self._path, bytes(self._buffer))
            return
        try:
            if self._buffer:
                self._send_part(bytes(self._buffer))
            self._complete()
        except BaseException:
            self._discard()
            raise

    def _send_part(self, data: bytes) -> None:
        if not self._upload:
            reply = self._call("create_multipart_upload")
            self._upload = {"UploadId": reply["UploadId"]}
        number = len(self._parts) + 1
        reply = self._call("upload_part", PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": reply["ETag"]})

    def _complete(self) -> None:
        try:
            self._call("complete_multipart_upload", MultipartUpload={"Parts": self._parts})
        except FileNotFoundError:  # the upload is gone: an earlier attempt may have completed it, its reply lost
            found = self._store.head(self._path)
            if found is None or found.size != self._written:
                raise

    def _discard(self) -> None:
        self._buffer.clear()
        if self._upload:
            try:
                self._call("abort_multipart_upload")
            except (StorageError, FileNotFoundError) as error:
                logger.warning("an unfinished upload of %s stays behind: %s", self._path, error)

    def _call(self, operation: str, **arguments: Any) -> Any:
        everything = {**self._object, **self._upload, **arguments}

        async def request(fs: Any) -> Any:
            return await fs._call_s3(operation, **everything)

        return self._store._do("write", self._path, request)

    def __del__(self) -> None:
        if not self.closed and self._upload:
            self.closed = True
            everything = {**self._object, **self._upload}

            async def abort(fs: Any) -> None:
                await fs._call_s3("abort_multipart_upload", **everything)

            self._client.send(abort)
