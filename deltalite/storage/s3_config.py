"""From ``storage_options`` and the environment to one S3 client."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from deltalite.exceptions import InvalidArgumentError, StorageError
from deltalite.storage.options import OptionSet, s3_options
from deltalite.storage.redact import redact

__all__ = ["S3Config", "conditional_put_obstacle", "s3_config"]

DEFAULT_ATTEMPTS = 5

# Variables that object_store reads and botocore does not; credentials and profiles are botocore's own business.
_ENVIRONMENT = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "allow_http": ("AWS_ALLOW_HTTP",),
    "skip_signature": ("AWS_SKIP_SIGNATURE",),
    "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
    "locking_provider": ("AWS_S3_LOCKING_PROVIDER",),
    "conditional_put": ("AWS_CONDITIONAL_PUT",),
}


@dataclass(frozen=True)
class S3Config:
    """Arguments of ``s3fs.S3FileSystem``, and what we decide ourselves."""

    arguments: dict[str, Any]
    attempts: int
    """How often a request that may be repeated is sent."""


def s3_config(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> S3Config:
    """Read the options; what they leave open is taken from the environment.

    The client itself never repeats a request: whether that is safe is known here only.

    :raises StorageError: plain HTTP to another machine without ``allow_http``.
    """
    found = _complete(s3_options(options), environment)
    known = found.known
    _refuse_plain_http(found)

    arguments: dict[str, Any] = dict(found.passed)
    for ours, theirs in (("access_key_id", "key"), ("secret_access_key", "secret"), ("session_token", "token")):
        if ours in known:
            arguments[theirs] = known[ours]
    for name in ("endpoint_url", "profile"):
        if name in known:
            arguments[name] = known[name]
    if found.flag("skip_signature"):
        arguments["anon"] = True
    if found.flag("request_payer"):
        arguments["requester_pays"] = True
    client = dict(arguments.get("client_kwargs") or {})
    client.pop("endpoint_url", None)
    if "region" in known:
        client["region_name"] = known["region"]
    arguments["client_kwargs"] = client
    arguments["config_kwargs"] = _client_config(found, dict(arguments.get("config_kwargs") or {}))
    arguments["s3_additional_kwargs"] = {**_encryption(found), **(arguments.get("s3_additional_kwargs") or {})}
    arguments.update(use_listings_cache=False, skip_instance_cache=True, default_cache_type="none")
    arguments.update(version_aware=False)
    return S3Config(arguments, _attempts(known))


def conditional_put_obstacle(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> str | None:
    """Why the options forbid to rely on conditional puts, as a clause; ``None`` when they do not."""
    known = _complete(s3_options(options), environment).known
    conditional = known.get("conditional_put", "etag").lower()
    if conditional not in ("etag", "true", "on"):
        return f"the storage option conditional_put is {conditional!r}"
    locking = known.get("locking_provider", "none").lower()
    if locking not in ("none", ""):
        return f"the other writers use the lock provider {locking!r}, which does not see conditional puts"
    return None


def _complete(found: OptionSet, environment: Mapping[str, str]) -> OptionSet:
    for name, variables in _ENVIRONMENT.items():
        value = next((environment[variable] for variable in variables if environment.get(variable)), None)
        if value is not None:
            found.known.setdefault(name, value)
    client = found.passed.get("client_kwargs") or {}
    for name in ("endpoint_url", "region_name"):
        if client.get(name):
            found.known.setdefault(name.removesuffix("_name"), client[name])
    return found


def _refuse_plain_http(found: OptionSet) -> None:
    endpoint = found.known.get("endpoint_url", "")
    parts = urlsplit(endpoint)
    if "@" in parts.netloc:
        raise StorageError(
            "the endpoint holds a user or password",
            hint="give access_key_id and secret_access_key as options of their own",
            transient=False,
        )
    if (
        endpoint.lower().startswith("http://")
        and not _is_loopback(parts.hostname or "")
        and not found.flag("allow_http")
    ):
        raise StorageError(
            f"the endpoint {redact(endpoint)} is not encrypted",
            hint='use https, or set the storage option "allow_http" to "true"',
            transient=False,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _client_config(found: OptionSet, config: dict[str, Any]) -> dict[str, Any]:
    from botocore.config import Config  # with s3fs, optional

    config["retries"] = {"total_max_attempts": 1, "mode": "standard"}
    config.setdefault("max_pool_connections", 64)
    for ours, theirs in (("timeout", "read_timeout"), ("connect_timeout", "connect_timeout")):
        if ours in found.known:
            config[theirs] = _seconds(found.known[ours], ours)
    if "proxy_url" in found.known:
        config["proxies"] = {"http": found.known["proxy_url"], "https": found.known["proxy_url"]}
    if "endpoint_url" in found.known:
        style = "virtual" if found.flag("virtual_hosted_style_request") else "path"
        config.setdefault("s3", {"addressing_style": style})
        for name in ("request_checksum_calculation", "response_checksum_validation"):
            if name in Config.OPTION_DEFAULTS:  # many servers reject the checksums that AWS takes by default
                config.setdefault(name, "when_required")
    return config


def _encryption(found: OptionSet) -> dict[str, Any]:
    known = found.known
    arguments: dict[str, Any] = {}
    kind = known.get("server_side_encryption", "")
    if kind.lower() == "sse-c" or "sse_customer_key_base64" in known:
        key = base64.b64decode(known.get("sse_customer_key_base64", ""))
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    if kind:
        arguments["ServerSideEncryption"] = kind
    if "sse_kms_key_id" in known:
        arguments.setdefault("ServerSideEncryption", "aws:kms")
        arguments["SSEKMSKeyId"] = known["sse_kms_key_id"]
    if "sse_bucket_key_enabled" in known:
        arguments["BucketKeyEnabled"] = found.flag("sse_bucket_key_enabled")
    return arguments


def _attempts(known: Mapping[str, str]) -> int:
    if "max_retries" not in known:
        return DEFAULT_ATTEMPTS
    try:
        return 1 + max(0, int(known["max_retries"]))
    except ValueError:
        raise InvalidArgumentError(f"storage option max_retries is not a number: {known['max_retries']!r}") from None


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|sec|secs|seconds?|m|min|mins|minutes?)?")


def _seconds(text: str, name: str) -> float:
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidArgumentError(f"storage option {name} is not a duration: {text!r}", hint='such as "30s"')
    unit = match[2] or "s"
    return float(match[1]) * (0.001 if unit == "ms" else 60 if unit.startswith("m") else 1)
