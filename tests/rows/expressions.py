"""Small expressions that evaluate themselves by SQL's three-valued logic and spell themselves as SQL text.

``t`` is a row of the table, ``s`` one of the source; either may be missing.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
COMPARE = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Col:
    side: str
    name: str

    def value(self, t: Row, s: Row) -> Any:
        return (t if self.side == "t" else s)[self.name]

    def sql(self, alias: bool = True) -> str:
        return f"{self.side}.{self.name}" if alias else self.name


@dataclass(frozen=True)
class Lit:
    literal: Any

    def value(self, t: Row, s: Row) -> Any:
        return self.literal

    def sql(self, alias: bool = True) -> str:
        if self.literal is None:
            return "NULL"
        if isinstance(self.literal, bool):
            return str(self.literal).upper()
        return repr(self.literal) if isinstance(self.literal, int) else "'" + self.literal.replace("'", "''") + "'"


@dataclass(frozen=True)
class Compare:
    op: str
    left: Any
    right: Any

    def value(self, t: Row, s: Row) -> bool | None:
        a, b = self.left.value(t, s), self.right.value(t, s)
        if self.op == "<=>":
            return a is None and b is None if a is None or b is None else a == b
        return None if a is None or b is None else COMPARE[self.op](a, b)

    def sql(self, alias: bool = True) -> str:
        return f"{self.left.sql(alias)} {self.op} {self.right.sql(alias)}"


@dataclass(frozen=True)
class IsNull:
    arg: Any
    negated: bool = False

    def value(self, t: Row, s: Row) -> bool:
        return (self.arg.value(t, s) is None) != self.negated

    def sql(self, alias: bool = True) -> str:
        return f"{self.arg.sql(alias)} IS {'NOT ' if self.negated else ''}NULL"


@dataclass(frozen=True)
class In:
    arg: Any
    values: tuple[Any, ...]

    def value(self, t: Row, s: Row) -> bool | None:
        found = self.arg.value(t, s)
        if found is None:
            return None
        if found in [v for v in self.values if v is not None]:
            return True
        return None if None in self.values else False

    def sql(self, alias: bool = True) -> str:
        return f"{self.arg.sql(alias)} IN ({', '.join(Lit(v).sql() for v in self.values)})"


@dataclass(frozen=True)
class Not:
    arg: Any

    def value(self, t: Row, s: Row) -> bool | None:
        found = self.arg.value(t, s)
        return None if found is None else not found

    def sql(self, alias: bool = True) -> str:
        return f"NOT ({self.arg.sql(alias)})"


@dataclass(frozen=True)
class And:
    left: Any
    right: Any

    def value(self, t: Row, s: Row) -> bool | None:
        found = {self.left.value(t, s), self.right.value(t, s)}
        return False if False in found else None if None in found else True

    def sql(self, alias: bool = True) -> str:
        return f"({self.left.sql(alias)} AND {self.right.sql(alias)})"


@dataclass(frozen=True)
class Or:
    left: Any
    right: Any

    def value(self, t: Row, s: Row) -> bool | None:
        found = {self.left.value(t, s), self.right.value(t, s)}
        return True if True in found else None if None in found else False

    def sql(self, alias: bool = True) -> str:
        return f"({self.left.sql(alias)} OR {self.right.sql(alias)})"


@dataclass(frozen=True)
class Plus:
    left: Any
    right: Any

    def value(self, t: Row, s: Row) -> int | None:
        a, b = self.left.value(t, s), self.right.value(t, s)
        return None if a is None or b is None else a + b

    def sql(self, alias: bool = True) -> str:
        return f"({self.left.sql(alias)} + {self.right.sql(alias)})"


@dataclass(frozen=True)
class Coalesce:
    first: Any
    second: Any

    def value(self, t: Row, s: Row) -> Any:
        found = self.first.value(t, s)
        return self.second.value(t, s) if found is None else found

    def sql(self, alias: bool = True) -> str:
        return f"coalesce({self.first.sql(alias)}, {self.second.sql(alias)})"


@dataclass(frozen=True)
class When:
    condition: Any
    then: Any
    otherwise: Any

    def value(self, t: Row, s: Row) -> Any:
        return (self.then if self.condition.value(t, s) is True else self.otherwise).value(t, s)

    def sql(self, alias: bool = True) -> str:
        parts = (part.sql(alias) for part in (self.condition, self.then, self.otherwise))
        return "CASE WHEN {} THEN {} ELSE {} END".format(*parts)
