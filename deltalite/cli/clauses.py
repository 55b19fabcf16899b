"""The clauses of ``deltalite merge`` as one SQL statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deltalite.exceptions import InvalidArgumentError
from deltalite.expr.tokens import Token, next_token

_ACTIONS = {
    "--when-matched": ("WHEN MATCHED", ("UPDATE", "DELETE")),
    "--when-not-matched": ("WHEN NOT MATCHED", ("INSERT",)),
    "--when-not-matched-by-source": ("WHEN NOT MATCHED BY SOURCE", ("UPDATE", "DELETE")),
}


def merge_statement(on: str, clauses: Mapping[str, Sequence[str]], schema_evolution: bool = False) -> str:
    """``MERGE INTO target USING source ON ... WHEN ... THEN ...``.

    :param clauses: by option, its texts in their order: a condition, which may be absent, and an action.
    :raises InvalidArgumentError: without clauses, and for one without an action.
    :raises ExpressionError: for a clause with characters that begin nothing.
    """
    whens = [_when(option, given) for option, texts in clauses.items() for given in texts]
    if not whens:
        raise InvalidArgumentError(
            "nothing says what happens to rows", hint='--when-matched "update *" --when-not-matched "insert *"'
        )
    evolve = "WITH SCHEMA EVOLUTION " if schema_evolution else ""
    return "\n".join([f"MERGE {evolve}INTO target USING source", f"ON {on}", *whens])


def _when(option: str, given: str) -> str:
    """``s.op = 'D' delete`` as ``WHEN MATCHED AND s.op = 'D' THEN delete``."""
    kind, actions = _ACTIONS[option]
    action = _action(given, actions)
    if action is None:
        raise InvalidArgumentError(
            f"{option} {given!r} has no action", hint=f"it ends in {' or '.join(a.lower() for a in actions)} ..."
        )
    condition = given[: action.position].strip()
    done = given[action.position :]
    if action.upper == "UPDATE" and next_token(given, action.end).upper == "*":
        done = f"UPDATE SET {given[action.end :].strip()}"
    return "\n".join([kind, *([f"  AND {condition}"] if condition else []), f"  THEN {done}"])


def _action(given: str, actions: Sequence[str]) -> Token | None:
    """The word with which the action begins: outside parentheses, and no part of a column's name."""
    depth, before = 0, ""
    token = next_token(given, 0)
    while token.kind != "end":
        if token.kind == "word" and token.upper in actions and depth == 0 and before != ".":
            return token
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        before, token = token.text, next_token(given, token.end)
    return None
