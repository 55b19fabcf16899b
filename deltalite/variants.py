"""Columns of variants from and to JSON text and Python's values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from deltalite.features.variant import from_json as _from_json
from deltalite.features.variant import from_values, to_json

__all__ = ["from_json", "from_values", "to_json"]


def from_json(texts: Any) -> pa.StructArray:
    """JSON texts as a column of variants, as Spark's ``parse_json`` reads them.

    :param texts: an Arrow array of text, or texts. Null is null; ``"null"`` is a variant that holds null.
    :raises InvalidArgumentError: for text that is no JSON, or an object with a key twice.
    """
    values: Iterable[str | None] = texts.to_pylist() if isinstance(texts, (pa.Array, pa.ChunkedArray)) else texts
    return _from_json(values)
