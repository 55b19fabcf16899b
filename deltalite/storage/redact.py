"""Keeps credentials out of every text that leaves the storage layer: errors, ``repr``, log records."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

__all__ = ["is_secret_name", "mask_log_records", "redact"]

MASK = "***"

_WORDS = (
    r"secret[a-z_]*|passw(?:or)?d|passphrase|passwd|pwd|(?:[a-z_]*_)?token|access_?key(?:_?id)?|account_?key|"
    r"master_?key|private_?key|shared_?key|sas(?:_?(?:key|token))?|sharedaccesssignature|sharedaccesskey|"
    r"connection_?string|credentials?|authorization|api_?key|client_secret|service_account(?:_?key)?|signature|"
    r"[a-z_]*_secret|sse_customer_key(?:_base64)?|encryption_key"
)
# Left to be compiled by ``re`` when first used: most processes never meet a credential.
_SECRET_NAME = rf"(?i)(?:aws_|azure_|azure_storage_|google_|gcs_|gcp_)*(?:{_WORDS}|key|sig)\Z"
_URL_USER = r"(?i)(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^/\s@'\"]+)@"
_CONTAINER_SCHEMES = ("abfs", "abfss", "wasb", "wasbs", "adl", "az", "azure")  # `container@account` is no credential
_QUERY = (
    r"(?i)(?P<name>[?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|awsaccesskeyid|"
    r"googleaccessid|[a-z_]*token|api_?key|key|password|secret)=)[^&\s'\"<>]*"
)
_PAIR = (
    r"(?i)(?P<name>(?<![a-z0-9])[\"']?(?:x-amz-|x-goog-|x-ms-|aws[_-]|azure[_-]|azure_storage_|google[_-])*"
    r"(?:" + _WORDS.replace("_?", "[_-]?") + r"|security-token)[\"']?\s*[:=]\s*)"
    r"(?P<value>b?\"[^\"]*\"|b?'[^']*'|[^\s,;&}\])'\"]+)"
)
_AUTHORIZATION = r"\b(?P<kind>Bearer|Basic|SharedKey|SharedKeyLite)\s+[A-Za-z0-9+/=._~:-]{6,}"
_ACCESS_KEY_ID = r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b"


def is_secret_name(name: str) -> bool:
    """Whether an option of this name holds a credential, judged by the words that backends use."""
    return re.match(_SECRET_NAME, name.replace("-", "_")) is not None


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without user information in URLs, signatures, tokens, keys, and without the given secret values."""
    for secret in sorted((s for s in secrets if len(s) >= 4), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = re.sub(_URL_USER, _without_user, text)
    text = re.sub(_QUERY, rf"\g<name>{MASK}", text)
    text = re.sub(_AUTHORIZATION, rf"\g<kind> {MASK}", text)
    text = re.sub(_PAIR, rf"\g<name>{MASK}", text)
    return re.sub(_ACCESS_KEY_ID, MASK, text)


def mask_log_records(*loggers: str) -> None:
    """Redact what these loggers of other libraries write from now on."""
    for name in loggers:
        logging.getLogger(name).addFilter(_FILTER)  # a second time it has no effect


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


_FILTER = _RedactingFilter()


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match["scheme"], match["user"]
    if scheme.lower() in _CONTAINER_SCHEMES and ":" not in user:
        return match[0]
    return f"{scheme}://{MASK}@"
