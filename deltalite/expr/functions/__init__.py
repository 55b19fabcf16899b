"""The functions of the expression language, one module per group."""

from deltalite.expr.functions import collections, comparison, logic, strings
from deltalite.expr.functions.registry import FUNCTIONS, Function, lookup

__all__ = ["FUNCTIONS", "Function", "collections", "comparison", "logic", "lookup", "strings"]
