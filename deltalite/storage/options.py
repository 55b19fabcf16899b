"""``storage_options``: the keys that users of deltalake and polars have, mapped to what each backend takes.

Keys are matched ignoring case, with or without their vendor's prefix (``AWS_REGION``, ``aws_region``, ``region``). What
is not known is reported with a guess at what was meant, never dropped in silence.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from deltalite.exceptions import InvalidArgumentError
from deltalite.storage.redact import is_secret_name, redact

__all__ = ["OptionSet", "azure_options", "gcs_options", "local_options", "parse_bool", "public_options", "s3_options"]

logger = logging.getLogger("deltalite.storage")


@dataclass(frozen=True)
class OptionSet:
    """Options sorted by what they are for.

    ``known``: by our own names. ``passed``: arguments of the backend's file system class, as they came.
    """

    known: dict[str, str] = field(default_factory=dict)
    passed: dict[str, Any] = field(default_factory=dict)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean among ``known``."""
        return parse_bool(self.known[name], name) if name in self.known else default


@dataclass(frozen=True)
class _Backend:
    name: str
    prefixes: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    """Our name for an option, and the others it goes by (prefixes left out)."""
    passed: frozenset[str]
    ignored: Mapping[str, str]
    """Options of other engines that mean nothing here, and why."""

    def sort(self, options: Mapping[str, Any]) -> OptionSet:
        found = OptionSet()
        spellings = {alias: name for name, aliases in self.names.items() for alias in (name, *aliases)}
        for key, value in options.items():
            plain = key.lower().replace("-", "_")
            short = next((plain[len(p) :] for p in self.prefixes if plain.startswith(p)), plain)
            if plain in self.passed:
                found.passed[plain] = value
            elif name := spellings.get(plain) or spellings.get(short):
                found.known[name] = _text(value)
            elif note := self.ignored.get(short) or self.ignored.get(plain):
                logger.info("storage option %s is not needed: %s", key, note)
            else:
                self._report(key, short, spellings)
        return found

    def _report(self, key: str, short: str, spellings: Iterable[str]) -> None:
        known = {*spellings, *self.passed, *self.ignored}
        guess = get_close_matches(short, known, n=1, cutoff=0.7)
        meant = f"; did you mean {self._like(key, guess[0])!r}?" if guess else ""
        warnings.warn(f"storage option {key!r} is not known for {self.name} and has no effect{meant}", stacklevel=2)

    def _like(self, key: str, name: str) -> str:
        """The known name, spelled the way the user spells."""
        prefix = next((p for p in self.prefixes if key.lower().startswith(p)), "")
        return (prefix + name).upper() if key.isupper() else prefix + name


def parse_bool(value: Any, name: str) -> bool:
    """Booleans as they come in options: ``true``, ``1``, ``yes``, ``on`` and their opposites."""
    text = str(value).strip().lower()
    if text in ("true", "1", "yes", "on", "y", "t"):
        return True
    if text in ("false", "0", "no", "off", "n", "f", ""):
        return False
    raise InvalidArgumentError(f"storage option {name} is neither true nor false: {value!r}")


def public_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that may be pickled: no credentials, and plain values only, dictionaries of such included."""
    public: dict[str, Any] = {}
    for key, value in options.items():
        if is_secret_name(key):
            continue
        if isinstance(value, Mapping):
            public[key] = public_options(value)
        elif isinstance(value, (str, bool, int, float)) and redact(str(value)) == str(value):
            public[key] = value
    return public


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


# --- the backends -----------------------------------------------------------------------------------------------------

_HTTP = {
    "timeout": ("request_timeout", "read_timeout"),
    "connect_timeout": (),
    "max_retries": (),
    "allow_http": (),
    "proxy_url": (),
}
_CLIENT_IGNORED = {
    "allow_invalid_certificates": "certificates are always checked",
    "retry_timeout": "requests are retried by count",
    "retry_timeout_ms": "requests are retried by count",
    "user_agent": "the client library names itself",
    "pool_idle_timeout": "connections are pooled by the client library",
    "pool_max_idle_per_host": "connections are pooled by the client library",
    "http1_only": "only HTTP/1.1 is spoken",
    "http2_only": "only HTTP/1.1 is spoken",
    "checksum_algorithm": "checksums are chosen by the client library",
    "mount_allow_unsafe_rename": "the file system's own primitive is used",
    "allow_unsafe_rename": "commits are conditional puts",
}

_S3 = _Backend(
    "S3",
    ("aws_s3_", "aws_", "s3_"),
    {
        **_HTTP,
        "access_key_id": ("key",),
        "secret_access_key": ("secret",),
        "session_token": ("token", "security_token"),
        "region": ("default_region", "region_name"),
        "endpoint_url": ("endpoint", "endpoint_url_s3"),
        "profile": ("profile_name",),
        "skip_signature": ("anon", "anonymous"),
        "virtual_hosted_style_request": (),
        "conditional_put": (),
        "locking_provider": (),
        "request_payer": ("requester_pays",),
        "server_side_encryption": ("sse_type", "sse"),
        "sse_kms_key_id": ("sse_kms_key",),
        "sse_bucket_key_enabled": (),
        "sse_customer_key_base64": (),
    },
    frozenset(
        [
            "client_kwargs",
            "config_kwargs",
            "s3_additional_kwargs",
            "use_ssl",
            "default_block_size",
            "max_concurrency",
            "fixed_upload_size",
            "version_aware",
            "cache_regions",
            "session",
        ]
    ),
    {
        **_CLIENT_IGNORED,
        "copy_if_not_exists": "commits are conditional puts",
        "bucket": "the URL names the bucket",
        "bucket_name": "the URL names the bucket",
        "unsigned_payload": "payloads are signed as the client library decides",
        "imdsv1_fallback": "instance credentials are found by botocore",
        "metadata_endpoint": "instance credentials are found by botocore",
        "ec2_metadata_disabled": "instance credentials are found by botocore",
        "container_credentials_relative_uri": "container credentials are found by botocore in the environment",
        "web_identity_token_file": "web identities are found by botocore in the environment",
        "role_arn": "web identities are found by botocore in the environment",
        "role_session_name": "web identities are found by botocore in the environment",
        "disable_tagging": "objects are not tagged",
        "dynamo_lock_table_name": "commits are conditional puts",
        "delta_dynamo_table_name": "commits are conditional puts",
    },
)

_GCS = _Backend(
    "Google Cloud Storage",
    ("google_", "gcs_", "gcp_", "gs_"),
    {
        **_HTTP,
        "service_account": ("service_account_path", "application_credentials", "application_default_credentials"),
        "service_account_key": (),
        "endpoint_url": ("base_url", "endpoint"),
        "project": ("project_id", "cloud_project"),
        "skip_signature": ("anon", "anonymous"),
        "token": (),
        "bearer_token": (),
    },
    frozenset(["access", "consistency", "cache_timeout", "session_kwargs", "requester_pays", "default_location"]),
    {**_CLIENT_IGNORED, "bucket": "the URL names the bucket", "bucket_name": "the URL names the bucket"},
)

_AZURE = _Backend(
    "Azure storage",
    ("azure_storage_", "azure_"),
    {
        **_HTTP,
        "account_name": (),
        "account_key": ("access_key", "master_key"),
        "sas_token": ("sas_key",),
        "client_id": (),
        "client_secret": (),
        "tenant_id": ("authority_id",),
        "connection_string": (),
        "account_host": (),
        "endpoint_url": ("endpoint",),
        "skip_signature": ("anon", "anonymous"),
        "use_emulator": ("use_azure_emulator",),
    },
    frozenset(["credential", "location_mode", "request_session", "blocksize", "max_concurrency", "socket_timeout"]),
    {
        **_CLIENT_IGNORED,
        "container_name": "the URL names the container",
        "container": "the URL names the container",
        "use_azure_cli": "azure-identity tries the command line by itself",
        "use_fabric_endpoint": "give account_host",
        "msi_endpoint": "managed identities are found by azure-identity",
        "identity_endpoint": "managed identities are found by azure-identity",
        "object_id": "managed identities are found by azure-identity",
        "msi_resource_id": "managed identities are found by azure-identity",
        "federated_token_file": "federated tokens are found by azure-identity in the environment",
        "authority_host": "the public authority is used",
        "disable_tagging": "objects are not tagged",
    },
)

_LOCAL = _Backend("local tables", (), {"follow_symlinks": ()}, frozenset(), _CLIENT_IGNORED)


def s3_options(options: Mapping[str, Any]) -> OptionSet:
    """Options for ``s3://``."""
    return _S3.sort(options)


def local_options(options: Mapping[str, Any]) -> OptionSet:
    """Options for paths and ``file://``. Those that an object store would know are passed over: one set serves both."""
    return _LOCAL.sort({key: value for key, value in options.items() if not _cloud_key(key)})


def _cloud_key(key: str) -> bool:
    return any(key.lower().startswith(prefix) for prefix in (*_S3.prefixes, *_GCS.prefixes, *_AZURE.prefixes))


def gcs_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``gcsfs.GCSFileSystem`` for these options."""
    found = _GCS.sort(options)
    known, arguments = found.known, dict(found.passed)
    if "service_account_key" in known:
        arguments["token"] = json.loads(known["service_account_key"])
    elif token := known.get("service_account") or known.get("token"):
        arguments["token"] = json.loads(token) if token.lstrip().startswith("{") else token
    if found.flag("skip_signature"):
        arguments["token"] = "anon"  # noqa: S105  (gcsfs's word for no credentials)
    _rename(known, arguments, {"project": "project", "endpoint_url": "endpoint_url"})
    return arguments


def azure_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``adlfs.AzureBlobFileSystem`` for these options."""
    found = _AZURE.sort(options)
    known, arguments = found.known, dict(found.passed)
    same = ("account_name", "account_key", "sas_token", "client_id", "client_secret", "tenant_id", "connection_string")
    _rename(known, arguments, {name: name for name in (*same, "account_host")})
    if found.flag("use_emulator"):
        arguments.setdefault("connection_string", "UseDevelopmentStorage=true")
    if endpoint := known.get("endpoint_url"):
        arguments.setdefault("account_host", re.sub(r"^https?://|/.*$", "", endpoint))
    keys = {"account_key", "sas_token", "client_secret", "connection_string", "credential"} & set(arguments)
    if found.flag("skip_signature"):
        arguments["anon"] = True
    elif not keys:
        arguments["anon"] = False  # the credentials of this machine, which some versions of adlfs do not try by default
    return arguments


def _rename(known: Mapping[str, str], arguments: dict[str, Any], names: Mapping[str, str]) -> None:
    for ours, theirs in names.items():
        if ours in known:
            arguments[theirs] = known[ours]
