"""From an exception to what stderr says and what the exit code is."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from deltalite.cli.output.text import escape
from deltalite.exceptions import (
    ConflictError,
    DeltaError,
    InvalidArgumentError,
    TableNotFoundError,
    VersionNotFoundError,
)

OK, FAILED, USAGE, NOT_FOUND, CONFLICT, CHECK_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
EXIT_CODES: Mapping[int, str] = {
    OK: "it worked, or there was nothing to do; also when the reader of a pipe has seen enough",
    FAILED: "it failed",
    USAGE: "it was called wrongly, or refused to act without being told to",
    NOT_FOUND: "there is no such table, or no such version",
    CONFLICT: "other writers won the race for the commit: try again",
    CHECK_FAILED: "a check found something wrong",
    INTERRUPTED: "interrupted (Ctrl-C)",
}

_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (TableNotFoundError, NOT_FOUND),
    (VersionNotFoundError, NOT_FOUND),
    (ConflictError, CONFLICT),
    (InvalidArgumentError, USAGE),
)
_HINTS: tuple[tuple[type[BaseException], str], ...] = (
    (TableNotFoundError, "check the path; deltalite create, append --create and convert make tables"),
)
"""What to do on the command line, where the library speaks of Python."""

_ARGUMENT = re.compile(r"""\b([a-z_]+)=(['"])([^'"]+)\2""")
_SWITCH = re.compile(r"\b([a-z_]+)=True\b")
_PROPERTY = re.compile(r"""\bset_table_properties\(\{(['"])([^'"]+)\1: (['"])([^'"]+)\3\}\)""")
_EXTERNAL = re.compile(r"""\ballow_external_paths=\[(['"][^'"]+['"])\]""")


def exit_code(error: BaseException) -> int:
    """The exit code for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def describe(error: BaseException, options: Collection[str] = (), secrets: Mapping[str, str] | None = None) -> str:
    """The lines for stderr: ``error[code]: message`` and, where there is something to do, ``hint: ...``.

    :param options: the long options of the command: ``name='value'`` and ``name=True`` of Python are shown as
        ``--name value`` and ``--name`` for them.
    :param secrets: storage options, whose credentials are masked wherever they occur.
    """
    if isinstance(error, DeltaError):
        code, message = error.code, error.message
        hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), error.hint)
    elif isinstance(error, MemoryError):
        code, message, hint = "out-of-memory", "the memory does not suffice", None
    elif isinstance(error, OSError):
        where = f": {error.filename}" if error.filename is not None else ""
        code, message, hint = "os-error", f"{error.strerror or error}{where}", None
    else:
        code, message = "internal", f"{type(error).__name__}: {error}"
        hint = "this is a fault in deltalite; run it again with --debug and report what it prints"
    lines = [f"error[{code}]: {_as_options(message, options)}"]
    if hint:
        lines.append(f"hint: {_as_options(hint, options)}")
    return "\n".join(mask(line, secrets) for text in lines for line in _lines(text))


def mask(text: str, secrets: Mapping[str, str] | None = None) -> str:
    """The text without credentials."""
    from deltalite.storage.redact import is_secret_name, redact

    return redact(text, [value for name, value in (secrets or {}).items() if is_secret_name(name)])


def _lines(text: str) -> Iterable[str]:
    """Line by line (a caret points into an expression on the line above), all else escaped."""
    return (escape(line) for line in text.split("\n"))


def _as_options(text: str, options: Collection[str]) -> str:
    def spelled(match: re.Match[str]) -> str:
        flag = "--" + match[1].replace("_", "-")
        value = f" {match[3]}" if match.re is _ARGUMENT else ""
        return flag + value if flag in options else match[0]

    text = _SWITCH.sub(spelled, _ARGUMENT.sub(spelled, text))
    text = _EXTERNAL.sub(r"--allow-external \1", text)
    return _PROPERTY.sub(r"deltalite properties set TABLE \2=\4", text)
