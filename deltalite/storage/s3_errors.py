"""What an S3 client's exception means for the request that raised it."""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

__all__ = ["Verdict", "judge"]

Kind = Literal["missing", "taken", "busy", "expired", "refused", "unknown"]

_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken"}
)
_BUSY = frozenset({
    "ConditionalRequestConflict", "OperationAborted", "SlowDown", "Throttling", "ThrottlingException",
    "RequestLimitExceeded", "TooManyRequests", "ServiceUnavailable",
})  # fmt: skip
_UNREACHED = frozenset({
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ParamValidationError",
    "ProfileNotFound", "NoRegionError", "InvalidConfigError", "UnknownEndpointError", "TokenRetrievalError",
    "InvalidEndpointConfigurationError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "ConfigParseError",
    "ConfigNotFound",
})  # fmt: skip
"""Exceptions of botocore that arise before anything is sent."""

_HINTS = {
    "NoSuchBucket": "create the bucket first, or correct the URL",
    "AccessDenied": "these credentials lack the permission",
    "InvalidAccessKeyId": "the access key is not known there; check the endpoint as well",
    "SignatureDoesNotMatch": "the secret key is wrong, or belongs to another access key",
    "PermanentRedirect": 'the bucket is in another region: storage option "region"',
    "AuthorizationHeaderMalformed": 'the bucket is in another region: storage option "region"',
    "NotImplemented": "this server does not know conditional puts; single_writer=True accepts that",
    "NoCredentialsError": 'storage options "access_key_id" and "secret_access_key", a profile, or the environment',
    "EndpointConnectionError": "check the endpoint and the network",
}
_EXPIRED_HINT = "pass credentials=, a callable that returns fresh ones"


class Verdict(NamedTuple):
    """``missing``: no such object. ``taken``: the condition failed. ``busy``: not carried out, ask again. ``expired``:
    not carried out, new credentials may help. ``refused``: not carried out. ``unknown``: nobody can tell.
    """

    kind: Kind
    reason: str
    code: str = ""
    hint: str | None = None

    @property
    def transient(self) -> bool:
        """Whether asking again may help."""
        return self.kind in ("busy", "unknown", "expired")


def judge(error: BaseException) -> Verdict:
    """Read an exception of s3fs, botocore or aiohttp; s3fs hides the server's answer in the cause."""
    for link in (error, error.__cause__, error.__context__):
        response = getattr(link, "response", None)
        if isinstance(response, dict) and isinstance(response.get("Error"), dict):
            return _judge_answer(response)
    name = type(error).__name__
    reason = f"{name}: {error}" if str(error) else name
    if name in _UNREACHED:
        return Verdict("refused", reason, name, _HINTS.get(name))
    if isinstance(error, (asyncio.CancelledError, asyncio.TimeoutError, OSError)):
        return Verdict("unknown", reason, name)
    return Verdict("unknown", reason, name, _HINTS.get(name))


def _judge_answer(response: dict) -> Verdict:
    code = str(response["Error"].get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode") or (int(code) if code.isdigit() else 0)
    reason = f"{code}: {response['Error'].get('Message', '')} (HTTP {status})"
    hint = _HINTS.get(code)
    if code in _EXPIRED:
        return Verdict("expired", reason, code, _EXPIRED_HINT)
    if code in _BUSY or status == 429:
        return Verdict("busy", reason, code, hint)
    if code == "PreconditionFailed" or status in (409, 412):
        return Verdict("taken", reason, code, hint)
    if code == "NoSuchBucket":
        return Verdict("refused", reason, code, hint)
    if status == 404:
        return Verdict("missing", reason, code, hint)
    if code in ("NotImplemented", "MethodNotAllowed") or (300 <= status < 500 and code != "RequestTimeout"):
        return Verdict("refused", reason, code, hint)
    return Verdict("unknown", reason, code, hint)  # 5xx, an error under a 200, a timeout reported by the server
