"""Trying changes of a table's metadata: a transaction that is never committed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deltalite.table import DeltaTable


class _Enough(Exception):
    """Leaves the transaction without a commit."""


@contextlib.contextmanager
def rehearsal(handle: DeltaTable) -> Iterator[DeltaTable]:
    """A handle on which changes can be checked by making them; nobody else sees them, and none stays."""
    with contextlib.suppress(_Enough), handle.transaction() as staged:
        yield staged
        raise _Enough
