"""Bits of whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.compute as pc

from deltalite.expr.coerce import is_integral
from deltalite.expr.functions.arithmetic import one_number, operands
from deltalite.expr.functions.numeric import pair
from deltalite.expr.functions.registry import Function, Settings, add, function, wrong_arguments
from deltalite.expr.vectors import Datum, from_numpy, numpy_values
from deltalite.model.expr import Call, Expr


def _bits_rule(row: Function, args: list[Any]) -> Expr:
    left, right = operands(row, args)
    if not is_integral(left.type):
        raise wrong_arguments(row, args, "types")
    return Call(row.name, (left, right), left.type)


for _name, _bit_kernel in (("&", pc.bit_wise_and), ("|", pc.bit_wise_or), ("^", pc.bit_wise_xor)):
    add(_name, _bits_rule, lambda settings, a, b, kernel=_bit_kernel: kernel(a, b), safe=True)


def _not_rule(row: Function, args: list[Any]) -> Expr:
    node = one_number(row, args)
    if not is_integral(node.type):  # type: ignore[attr-defined]
        raise wrong_arguments(row, args, "types")
    return node


@function("~", _not_rule, safe=True)
def bit_not(settings: Settings, value: Datum) -> Datum:
    return pc.bit_wise_not(value)


def _shift(kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Any:
    """Shifts by the amount modulo the width of the type, as Java does."""

    def evaluate(settings: Settings, value: Datum, amount: Datum) -> Datum:
        a, b, valid = pair(settings, value, amount)
        numbers = numpy_values(a)
        by = (numpy_values(b) & (numbers.dtype.itemsize * 8 - 1)).astype(numbers.dtype)
        return from_numpy(kernel(numbers, by).astype(numbers.dtype), a.type, valid)

    return evaluate


def _unsigned_shift(numbers: np.ndarray, by: np.ndarray) -> np.ndarray:
    unsigned = np.dtype(f"u{numbers.dtype.itemsize}")
    return (numbers.view(unsigned) >> by.view(unsigned)).view(numbers.dtype)


_SHIFTED = "int, int -> int | long, int -> long"
add("shiftleft", _SHIFTED, _shift(np.left_shift), safe=True)
add("shiftright", _SHIFTED, _shift(np.right_shift), safe=True)
add("shiftrightunsigned", _SHIFTED, _shift(_unsigned_shift), safe=True)
