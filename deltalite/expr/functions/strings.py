"""Text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from deltalite.expr.functions.registry import Settings, function
from deltalite.expr.vectors import Datum, is_null_scalar, is_scalar, scalar_null
from deltalite.model.expr import Call, Literal


@function("startswith", "string, string -> boolean", safe=True)
def startswith(settings: Settings, text: Datum, prefix: Datum) -> Datum:
    return pc.starts_with(text, prefix.as_py())


def like_prefix(expr: Call) -> str:
    """What every match of a LIKE with a constant pattern begins with; empty when nothing is certain."""
    return ""
