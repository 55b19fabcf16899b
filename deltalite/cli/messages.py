"""Warnings and log records of the library on stderr, in the words of the command line."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deltalite.cli.output.text import escape

if TYPE_CHECKING:
    from deltalite.cli.settings import Settings

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


@contextmanager
def messages_on_stderr(settings: Settings) -> Iterator[None]:
    """While it lasts, what the library has to say goes to stderr, as much of it as ``-q`` and ``-v`` ask for."""
    logger = logging.getLogger("deltalite")
    before = logger.handlers, logger.level, logger.propagate
    logger.handlers, logger.propagate = [_Stderr()], False
    logger.setLevel(logging.ERROR if settings.quiet else _LEVELS[min(settings.verbose, 2)])
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_, **__: settings.warn(str(message))
        try:
            yield
        finally:
            logger.handlers, logger.propagate = before[0], before[2]
            logger.setLevel(before[1])


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(escape(f"{record.levelname.lower()}: {record.getMessage()}"), file=sys.stderr)
