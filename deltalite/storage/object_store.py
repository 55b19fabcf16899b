"""Tables in S3 and what speaks its protocol, through s3fs.

Requests go straight to the client's operations: s3fs's own methods cache listings, repeat requests that must not be
repeated, and replace an object when asked to create an empty one. Commits are ``If-None-Match: *`` puts of one request.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from deltalite.exceptions import StorageError
from deltalite.storage.base import AmbiguousPut, FileMeta, OutputFile, check_path, directory_prefix, refusal
from deltalite.storage.credentials import Credentials, secret_values
from deltalite.storage.redact import redact
from deltalite.storage.remote_files import BufferedUpload, RangeInput, SINGLE_REQUEST_BYTES
from deltalite.storage.s3_config import s3_config
from deltalite.storage.s3_errors import Verdict, judge
from deltalite.storage.single_writer import put_unless_present, refuse_unless

if TYPE_CHECKING:
    import pyarrow as pa
