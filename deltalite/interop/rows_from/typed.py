"""Text as typed values, exactly or not at all: what a csv cell or a JSON string means in a column."""

from __future__ import annotations

import base64
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import SchemaMismatchError
from deltalite.model.arrow import array, type_to_arrow
from deltalite.model.types import DataType

COMPUTED = ("delta.generationExpression", "CURRENT_DEFAULT", "delta.identity.start")
"""Metadata of the fields whose values the table itself may provide."""

_ZONED = r":\d\d(?:\.\d+)?\s*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"
_FORMS = {
    "date": "dates read like 2026-11-20",
    "timestamp": "times read like 2026-11-20T10:00:00Z or 2026-11-20 10:00:00 (in UTC), up to 6 digits of a second",
    "timestamp_ntz": "times read like 2026-11-20 10:00:00, without a zone and with at most 6 digits of a second",
    "boolean": "booleans are true and false",
    "binary": "binary values are base64",
}


class Unfit(Exception):
    """Some value is not of the wanted type."""


def typed(texts: pa.Array, wanted: DataType) -> pa.Array:
    """Text as values of a primitive type; null stays null, and spaces around a value do not count.

    Timestamps without a zone are UTC. Nothing is rounded, cut or turned into infinity.

    :raises Unfit: when a value is not of the type.
    """
    kind = wanted.type
    if kind == "string":
        return texts
    if kind == "void":
        if texts.null_count < len(texts):
            raise Unfit
        return pa.nulls(len(texts))
    texts = pc.utf8_trim_whitespace(texts)
    try:
        if kind in ("timestamp", "timestamp_ntz"):
            return _timestamps(texts, with_zone=kind == "timestamp")
        if kind == "binary":
            return array(
                [None if t is None else base64.b64decode(t, validate=True) for t in texts.to_pylist()], pa.binary()
            )
        if kind in ("byte", "short", "integer", "long"):
            _refuse(texts, "[xX]")
        values = pc.cast(texts, type_to_arrow(wanted))
    except ValueError as error:  # also of base64 and pyarrow
        raise Unfit from error
    if kind in ("float", "double") and _true(pc.is_inf(values)):
        _refuse(pc.if_else(pc.is_inf(values), texts, pa.nulls(len(texts), pa.string())), r"\d")
    return values


def _timestamps(texts: pa.Array, with_zone: bool) -> pa.Array:
    zoned = pc.match_substring_regex(texts, _ZONED)
    if not with_zone:
        return pc.cast(texts, pa.timestamp("us"))
    utc, none = pa.timestamp("us", tz="UTC"), pa.nulls(len(texts), pa.string())
    if not _true(zoned):
        return pc.cast(texts, pa.timestamp("us")).view(utc)
    there = pc.cast(pc.if_else(zoned, texts, none), utc)
    here = pc.cast(pc.if_else(zoned, none, texts), pa.timestamp("us")).view(utc)
    return pc.coalesce(there, here)


def _refuse(texts: pa.Array, pattern: str) -> None:
    if _true(pc.match_substring_regex(texts, pattern)):
        raise Unfit


def _true(mask: Any) -> bool:
    return pc.any(mask).as_py() is True


def first_unfit(texts: pa.Array, wanted: DataType) -> int:
    """The index of the first value that :func:`typed` refuses, found by halving."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            typed(texts.slice(low, middle - low), wanted)
            low = middle
        except Unfit:
            high = middle
    return low


def unfit_error(where: str, column: str, shown: str, wanted: str, hint: str | None = None) -> SchemaMismatchError:
    """The refusal of one value.

    :param where: file and row, for people: ``"new.csv, row 3"``.
    :param shown: the value as it stands there; long ones are cut.
    :param wanted: the type of the column, as text.
    """
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return SchemaMismatchError(
        f"{where}: {shown} in column {column!r} is not of type {wanted}; nothing was written",
        hint=_FORMS.get(wanted, hint),
        columns=[column],
        value=shown,
    )
