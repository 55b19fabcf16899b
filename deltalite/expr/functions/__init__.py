"""The functions of the expression language, one module per group."""

from deltalite.expr.functions import (
    arithmetic,
    bits,
    calendars,
    casts,
    collections,
    comparison,
    conditional,
    dates,
    formats,
    hashes,
    intervals,
    logic,
    mathematics,
    patterns,
    strings,
)
from deltalite.expr.functions.registry import FUNCTIONS, Function, lookup

__all__ = [
    "FUNCTIONS",
    "Function",
    "arithmetic",
    "bits",
    "calendars",
    "casts",
    "collections",
    "comparison",
    "conditional",
    "dates",
    "formats",
    "hashes",
    "intervals",
    "logic",
    "lookup",
    "mathematics",
    "patterns",
    "strings",
]
