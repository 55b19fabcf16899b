"""A predicate followed through the statistics of many files at once.

Every value becomes a :class:`Bounds`, every condition a :class:`Truth` that says which of true, false and null *may*
occur among the rows of a file. NOT swaps true and false, so nothing is ever concluded from the absence of an answer,
and what is not understood may be anything.

Traps held here: bounds of floats say nothing about NaN, which is above every number (42); 0.0 and -0.0 are one value;
an all-null column has no bounds (45); a missing statistic decides nothing (45).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from deltalite.exceptions import ExpressionError
from deltalite.expr.arrow import Rows, conform, value_of
from deltalite.expr.functions import lookup
from deltalite.expr.functions.casts import cast
from deltalite.expr.functions.comparison import compare
from deltalite.expr.functions.patterns import like_prefix
from deltalite.expr.functions.registry import Settings
from deltalite.expr.literals import parse_offset
from deltalite.expr.simplify import strict, widens
from deltalite.expr.statistics import ColumnStats, FileStats
from deltalite.expr.vectors import (
    Datum,
    arrow_type,
    broadcast,
    from_numpy,
    literal_array,
    literal_scalar,
    numpy_bools,
    numpy_values,
    scalar_null,
    valid_mask,
)
from deltalite.model.expr import (
    BOOLEAN,
    DATE,
    TIMESTAMP,
    TIMESTAMP_NTZ,
    Call,
    Cast,
    Column,
    Expr,
    Literal,
    walk_expr,
)

Flags: TypeAlias = np.ndarray
"""One boolean per file."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Per file: may a row make the condition true, false, null?"""

    true: Flags
    false: Flags
    null: Flags


@dataclass(frozen=True, slots=True)
class Bounds:
    """Per file: what the values of an expression may be. NaN is kept apart from the numbers.

    :param low: no number lies below; null where nothing is known.
    :param high: no number lies above; null where nothing is known.
    :param number: a row may hold a value other than null and NaN.
    :param nan: a row may hold NaN.
    :param null: a row may be null.
    """

    low: pa.Array
    high: pa.Array
    number: Flags
    nan: Flags
    null: Flags

    @property
    def value(self) -> Flags:
        return self.number | self.nan


class Walk:
    """Follows one predicate through the statistics of all files."""

    def __init__(self, stats: FileStats, time_zone: str) -> None:
        self.stats = stats
        self.time_zone = time_zone
        self.fixed_zone = parse_offset(time_zone) is not None
        self.all = np.ones(stats.length, dtype=bool)
        self.none = np.zeros(stats.length, dtype=bool)
        self.known: dict[tuple[str, ...], ColumnStats | None] = {}

    # conditions -----------------------------------------------------------------------------------------------------

    def truth(self, expr: Any) -> Truth:
        exact = self.exactly(expr)
        if exact is not None:
            valid, true = valid_mask(exact), numpy_bools(exact)
            return Truth(true, valid & ~true, ~valid)
        if isinstance(expr, Call):
            rule = _TRUTHS.get(expr.function)
            if rule is not None:
                return rule(self, expr)
            if expr.function in _OUTCOMES and len(expr.args) == 2:
                return self.comparison(expr)
        if isinstance(expr, Column):
            return self.comparison(Call("=", (expr, Literal(True, BOOLEAN)), BOOLEAN))
        return Truth(self.all, self.all, self.all)

    def conjunction(self, expr: Call) -> Truth:
        a = self.truth(expr.args[0])
        for arg in expr.args[1:]:
            b = self.truth(arg)
            null = (a.null & (b.true | b.null)) | (b.null & (a.true | a.null))
            a = Truth(a.true & b.true, a.false | b.false, null)
        return a

    def disjunction(self, expr: Call) -> Truth:
        a = self.truth(expr.args[0])
        for arg in expr.args[1:]:
            b = self.truth(arg)
            null = (a.null & (b.false | b.null)) | (b.null & (a.false | a.null))
            a = Truth(a.true | b.true, a.false & b.false, null)
        return a

    def negation(self, expr: Call) -> Truth:
        a = self.truth(expr.args[0])
        return Truth(a.false, a.true, a.null)

    def is_null(self, expr: Call) -> Truth:
        operand: Any = expr.args[0]
        if operand.type == BOOLEAN and not isinstance(operand, Column):
            found = self.truth(operand)
            return Truth(found.null, found.true | found.false, self.none)
        a = self.bounds(operand)
        return Truth(a.null, a.value, self.none)

    def is_true(self, expr: Call) -> Truth:
        a = self.truth(expr.args[0])
        return Truth(a.true, a.false | a.null, self.none)

    def is_false(self, expr: Call) -> Truth:
        a = self.truth(expr.args[0])
        return Truth(a.false, a.true | a.null, self.none)

    def comparison(self, expr: Call) -> Truth:
        """Which of less, equal and greater may occur decides every comparison."""
        a, b = self.bounds(expr.args[0]), self.bounds(expr.args[1])
        both = a.number & b.number
        less = both & _may(compare("<", a.low, b.high))
        greater = both & _may(compare(">", a.high, b.low))
        equal = both & _may(compare("<=", a.low, b.high)) & _may(compare(">=", a.high, b.low))
        less = less | (a.number & b.nan)
        greater = greater | (a.nan & b.number)
        equal = equal | (a.nan & b.nan)
        true, false = _OUTCOMES[expr.function](less, equal, greater)
        null = a.null | b.null
        if expr.function == "<=>":
            apart = (a.null & b.value) | (a.value & b.null)
            return Truth(true | (a.null & b.null), false | apart, self.none)
        return Truth(true, false, null)

    def is_in(self, expr: Call) -> Truth:
        items = expr.args[1]
        if len(expr.args) != 2 or not isinstance(items, Literal) or not hasattr(items.type, "element_type"):
            return Truth(self.all, self.all, self.all)
        a, constants = self.bounds(expr.args[0]), literal_array(items)
        present = constants.drop_null()
        has_nan = False
        if pa.types.is_floating(present.type):
            nans = numpy_bools(pc.is_nan(present))
            present, has_nan = present.filter(from_numpy(~nans, pa.bool_())), bool(nans.any())
        inside, single = _members(a.low, a.high, present)
        true = (a.number & inside) | (a.nan & has_nan)
        missed = (a.number & ~(inside & single)) | (a.nan & (not has_nan))
        if constants.null_count:
            return Truth(true, self.none, a.null | missed)
        return Truth(true, missed, a.null)

    def starts_with(self, expr: Call) -> Truth:
        prefix = expr.args[1]
        if not isinstance(prefix, Literal) or not isinstance(prefix.value, str):
            return Truth(self.all, self.all, self.all)
        return self.prefix(expr.args[0], prefix.value, exact=True)

    def like(self, expr: Call) -> Truth:
        prefix = like_prefix(expr)
        if not prefix:
            return Truth(self.all, self.all, self.all)
        return self.prefix(expr.args[0], prefix, exact=False)

    def prefix(self, operand: Expr, prefix: str, exact: bool) -> Truth:
        """Strings that begin with a prefix lie together: ``low`` cut to its length must not lie above it."""
        a = self.bounds(operand)
        wanted = literal_scalar(Literal(prefix, operand.type))  # type: ignore[attr-defined]
        low, high = (pc.utf8_slice_codeunits(bound, 0, len(prefix)) for bound in (a.low, a.high))
        true = a.number & _may(compare("<=", low, wanted)) & _may(compare(">=", a.high, wanted))
        all_begin = _must(compare("=", low, wanted)) & _must(compare("=", high, wanted))
        return Truth(true, a.number & ~all_begin if exact else self.all, a.null)

    # values ---------------------------------------------------------------------------------------------------------

    def bounds(self, expr: Any) -> Bounds:
        exact = self.exactly(expr)
        if exact is not None:
            return self.constant(exact)
        if isinstance(expr, Column):
            return self.column(expr)
        if isinstance(expr, (Call, Cast)) and strict(expr):
            return self.strict(expr)
        return self.anything(expr)

    def anything(self, expr: Any) -> Bounds:
        unknown = pa.nulls(self.stats.length, arrow_type(expr.type))
        nan = self.all if pa.types.is_floating(unknown.type) else self.none
        return Bounds(unknown, unknown, self.all, nan, self.all)

    def constant(self, values: pa.Array) -> Bounds:
        valid = valid_mask(values)
        nan = self.none
        if pa.types.is_floating(values.type):
            nan = numpy_bools(pc.is_nan(values))
        return Bounds(values, values, valid & ~nan, nan, ~valid)

    def column(self, column: Column) -> Bounds:
        found = self.column_stats(column)
        t = arrow_type(column.type)  # type: ignore[arg-type]
        unknown = pa.nulls(self.stats.length, t)
        if found is None:
            return self.anything(column)
        low, high = (unknown if bound is None else bound for bound in (found.min, found.max))
        nan = self.none
        null, value = self.null_flags(found)
        if pa.types.is_floating(t):
            low, high, nan = _without_nan(low), _without_nan(high), value
        return Bounds(low, high, value, nan, null)

    def null_flags(self, found: ColumnStats) -> tuple[Flags, Flags]:
        """May a row be null, may one not be null?"""
        counts, rows = found.null_count, self.stats.num_records
        if counts is None:
            return self.all, self.all
        null = ~valid_mask(counts) | (numpy_values(conform(counts, pa.int64())) > 0)
        if rows is None:
            return null, self.all
        all_null = _must(pc.equal(conform(counts, pa.int64()), conform(rows, pa.int64())))
        return null, ~all_null

    def column_stats(self, column: Column) -> ColumnStats | None:
        """The statistics of a column in its Arrow type; bounds of a type that does not convert tell nothing."""
        if column.path not in self.known:
            found = self.stats.column(column.path)
            try:
                self.known[column.path] = found and _conformed(found, arrow_type(column.type))  # type: ignore[arg-type]
            except ExpressionError:
                self.known[column.path] = None
        return self.known[column.path]

    def strict(self, expr: Any) -> Bounds:
        """A function that is null exactly where an operand is; a monotone one also carries bounds over."""
        operands = [expr.operand] if isinstance(expr, Cast) else list(expr.args)
        parts = [self.bounds(o) for o in operands]
        free = self.anything(expr)
        null = np.logical_or.reduce([p.null for p in parts]) if parts else self.none
        value = np.logical_and.reduce([p.value for p in parts]) if parts else self.all
        low, high, nan = free.low, free.high, free.nan & value
        place = _monotone_in(expr)
        if place is not None and (pa.types.is_floating(low.type) or not parts[place].nan.any()):
            low, high = self.carried(expr, place, operands[place], parts[place])
            if pa.types.is_floating(low.type):
                low, high = _without_nan(low), _without_nan(high)
            if isinstance(expr, Cast):
                nan = parts[place].nan  # while arithmetic with infinities makes NaN of numbers
        return Bounds(low, high, value, nan, null)

    def carried(self, expr: Any, place: int, operand: Any, bounds: Bounds) -> tuple[pa.Array, pa.Array]:
        """The bounds that a monotone function maps the bounds of its operand to.

        Local time is not monotone where clocks are set back, so in such zones both ends are spread.
        """
        low, high = bounds.low, bounds.high
        local = operand.type == TIMESTAMP and not self.fixed_zone
        if local:
            low, high = pc.subtract(low, _ZONE_SPREAD), pc.add(high, _ZONE_SPREAD)
        unknown = pa.nulls(self.stats.length, arrow_type(expr.type))
        found = [self.applied(expr, place, operand, bound) for bound in (low, high)]
        low, high = (unknown if bound is None else bound for bound in found)
        if local and expr.type == TIMESTAMP:
            low, high = pc.subtract(low, _ZONE_SPREAD), pc.add(high, _ZONE_SPREAD)
        return low, high

    def applied(self, expr: Any, place: int, operand: Any, bound: pa.Array) -> pa.Array | None:
        """The expression with one operand replaced by a bound; ``None`` where that cannot be computed."""
        try:
            if isinstance(expr, Cast):
                found: Datum = cast(bound, operand.type, expr.type, self.time_zone)
            else:
                settings = Settings(expr.type, self.time_zone, self.stats.length)
                args = [bound if i == place else literal_scalar(a) for i, a in enumerate(expr.args)]
                found = lookup(expr.function).evaluate(settings, *args)  # type: ignore[misc]
            return broadcast(found, self.stats.length)
        except (ExpressionError, pa.ArrowException):
            return None

    def exactly(self, expr: Any) -> pa.Array | None:
        """The value per file of an expression over constants and partition columns only."""
        rows = Rows(None, self.time_zone, self.stats.length)
        for node in walk_expr(expr):
            if not isinstance(node, Column):
                continue
            found = self.column_stats(node)
            if found is None or not found.exact or found.min is None:
                return None
            rows.cache[node.path] = found.min
        try:
            return broadcast(value_of(expr, rows), rows.length)
        except (ExpressionError, pa.ArrowException):
            return None


_ZONE_SPREAD = from_numpy(np.array([26 * 3600 * 1_000_000]), pa.duration("us"))[0]
"""The widest that two offsets from UTC can differ."""

_TRUTHS: dict[str, Callable[[Walk, Call], Truth]] = {
    "and": Walk.conjunction,
    "or": Walk.disjunction,
    "not": Walk.negation,
    "is_null": Walk.is_null,
    "is_true": Walk.is_true,
    "is_false": Walk.is_false,
    "in": Walk.is_in,
    "startswith": Walk.starts_with,
    "like": Walk.like,
}
_OUTCOMES: dict[str, Callable[[Flags, Flags, Flags], tuple[Flags, Flags]]] = {
    "=": lambda less, equal, greater: (equal, less | greater),
    "<=>": lambda less, equal, greater: (equal, less | greater),
    "!=": lambda less, equal, greater: (less | greater, equal),
    "<": lambda less, equal, greater: (less, equal | greater),
    "<=": lambda less, equal, greater: (less | equal, greater),
    ">": lambda less, equal, greater: (greater, less | equal),
    ">=": lambda less, equal, greater: (greater | equal, less),
}


def _conformed(found: ColumnStats, t: pa.DataType) -> ColumnStats:
    low, high = (None if bound is None else conform(bound, t) for bound in (found.min, found.max))
    return replace(found, min=low, max=high)


def _monotone_in(expr: Any) -> int | None:
    """The position of the operand in which the expression is monotone, its others being constants."""
    if isinstance(expr, Cast):
        source: Any = expr.operand
        carries = widens(source.type, expr.type) or (source.type, expr.type) in _MONOTONE_CASTS
        return 0 if carries else None
    variable = [i for i, a in enumerate(expr.args) if not isinstance(a, Literal)]
    return variable[0] if len(variable) == 1 and variable[0] in lookup(expr.function).monotone else None


_MONOTONE_CASTS = {(TIMESTAMP, DATE), (TIMESTAMP_NTZ, DATE), (DATE, TIMESTAMP), (DATE, TIMESTAMP_NTZ)}


def _may(found: Datum) -> Flags:
    """Where a comparison of bounds is not known to fail."""
    return numpy_bools(found) | ~valid_mask(found)


def _must(found: Datum) -> Flags:
    """Where a comparison of bounds is known to hold."""
    return numpy_bools(found)


def _without_nan(bound: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(bound), scalar_null(bound.type), bound)


def _members(low: pa.Array, high: pa.Array, constants: pa.Array) -> tuple[Flags, Flags]:
    """Whether some constant lies between the bounds, and whether the bounds are one and the same value."""
    n, m = len(low), len(constants)
    single = _must(compare("=", low, high))
    if m == 0:
        return np.zeros(n, dtype=bool), single
    everything = pa.concat_arrays([low, high, constants])
    if pa.types.is_floating(everything.type):
        everything = pc.add(everything, from_numpy(np.zeros(1), everything.type)[0])
    ranks = numpy_values(pc.rank(everything, "ascending", tiebreaker="dense").cast(pa.int64()))
    held = np.sort(ranks[2 * n :])
    first = np.where(valid_mask(low), np.searchsorted(held, ranks[:n], "left"), 0)
    behind = np.where(valid_mask(high), np.searchsorted(held, ranks[n : 2 * n], "right"), m)
    return behind > first, single
