"""Options whose credentials may expire, and the secrets among them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from deltalite.exceptions import StorageError
from deltalite.storage.redact import is_secret_name, redact

__all__ = ["CredentialSource", "secret_values"]

_MARGIN_SECONDS = 60.0


class CredentialSource:
    """Options, and a callable that gives fresh ones.

    :param options: what the caller gave for good.
    :param provider: returns options that override them; or a pair of these and the time of their expiry, in seconds
        since 1970 or as a ``datetime``. It is called at first use, a minute before expiry, and when the server says
        that they expired.
    """

    def __init__(self, options: Mapping[str, Any], provider: Callable[[], Any] | None = None) -> None:
        self.static = dict(options)
        self.provider = provider
        self._expires = float("inf")
        self._fresh: Mapping[str, Any] = {}
        if provider is not None:
            self._expires = 0.0

    @property
    def renewable(self) -> bool:
        return self.provider is not None

    @property
    def expired(self) -> bool:
        return time.time() > self._expires - _MARGIN_SECONDS

    def renew(self) -> None:
        """Ask the provider."""
        if self.provider is None:
            return
        try:
            answer = self.provider()
        except Exception as error:
            reason = redact(f"{type(error).__name__}: {error}", self.secrets())
        else:
            fresh, expires = answer if isinstance(answer, tuple) else (answer, None)
            if isinstance(fresh, Mapping):
                self._fresh = dict(fresh)
                self._expires = expires.timestamp() if isinstance(expires, datetime) else expires or float("inf")
                return
            reason = f"it returned {type(fresh).__name__}, not options"
        raise StorageError(f"the credentials callable failed: {reason}", transient=False)

    def options(self) -> dict[str, Any]:
        """All options as they are now."""
        return {**self.static, **self._fresh}

    def secrets(self) -> list[str]:
        """The secret values among them."""
        return list(secret_values(self.options()))


def secret_values(options: Any, name: str = "") -> Iterator[str]:
    """Every value that an option's name, or the name above it, marks as a credential."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            yield from secret_values(value, name if is_secret_name(name) else str(key))
    elif is_secret_name(name) and isinstance(options, (str, bytes)):
        yield options.decode("utf-8", "replace") if isinstance(options, bytes) else options
