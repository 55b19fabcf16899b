"""The grammar of expressions: a Pratt parser in Spark's dialect.

Every operator has a binding power; :meth:`Parser.expression` reads one operand and then all operators that bind
tighter than the caller's. Time is linear in the text, and nesting is bounded, so no input can exhaust the stack.
"""

from __future__ import annotations

from deltalite.exceptions import ExpressionError
from deltalite.expr import literals
from deltalite.expr.datatypes import parse_name, parse_type
from deltalite.expr.forms import PREFIXED, SPECIAL, interval
from deltalite.expr.tokens import Token, TokenStream
from deltalite.model.expr import (
    BOOLEAN,
    STRING,
    VOID,
    Call,
    Case,
    Cast,
    Column,
    DoubleQuoted,
    Expr,
    Literal,
    and_,
    children,
    is_small,
    not_,
    or_,
)

MAX_DEPTH = 100
"""How deep a parsed expression may nest."""

OR, AND, NOT, COMPARISON, BIT_OR, BIT_XOR, BIT_AND, SUM, PRODUCT, UNARY = range(1, 11)
BINARY_OPERATORS = {
    "=": COMPARISON, "==": COMPARISON, "<=>": COMPARISON, "!=": COMPARISON, "<>": COMPARISON,
    "<": COMPARISON, "<=": COMPARISON, ">": COMPARISON, ">=": COMPARISON,
    "|": BIT_OR, "^": BIT_XOR, "&": BIT_AND,
    "+": SUM, "-": SUM, "||": SUM, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT, "DIV": PRODUCT,
}  # fmt: skip
_CANONICAL = {"==": "=", "<>": "!=", "DIV": "div"}
_PREDICATES = frozenset(("IN", "BETWEEN", "LIKE", "ILIKE", "RLIKE", "REGEXP", "IS", "NOT"))
_NO_OPERAND = _PREDICATES | {"AND", "OR", "CASE", "WHEN", "THEN", "ELSE", "SELECT"}
_NO_FUNCTION = frozenset(("AND", "OR", "IN", "IS", "BETWEEN"))
_CONSTANTS = {"TRUE": Literal(True, BOOLEAN), "FALSE": Literal(False, BOOLEAN), "NULL": Literal(None, VOID)}


class Parser(TokenStream):
    """Reads expressions from a stream of tokens."""

    depth = 0

    def whole(self) -> Expr:
        """The expression that makes up all of the text."""
        expr = self.expression()
        if self.token.kind != "end":
            raise self.unexpected("an operator", "the end")
        return self.checked(expr)

    def checked(self, expr: Expr) -> Expr:
        """The expression, unless its tree (a long chain of ``+``, say) is too deep to walk."""
        level, depth = [expr], 0
        while level:
            depth += 1
            if depth > 2 * MAX_DEPTH:
                raise self.error(f"the expression nests deeper than {2 * MAX_DEPTH} levels", position=0)
            level = [child for node in level for child in children(node)]
        return expr

    def expression(self, power: int = 0) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"the expression nests deeper than {MAX_DEPTH} levels")
        expr = self.postfix(self.operand())
        while True:
            longer = self.operator(expr, power)
            if longer is None:
                break
            expr = longer
        self.depth -= 1
        return expr

    def value(self) -> Expr:
        """An expression that ends before a comparison or a predicate."""
        return self.expression(COMPARISON)

    # operators ------------------------------------------------------------------------------------------------------

    def operator(self, left: Expr, power: int) -> Expr | None:
        """``left`` continued by the operator that comes next, or ``None`` when none binds tighter than ``power``."""
        token = self.token
        if token.kind not in ("word", "sign"):
            return None
        name = token.upper
        if name in BINARY_OPERATORS:
            binding = BINARY_OPERATORS[name]
            if binding <= power:
                return None
            self.next()
            return Call(_CANONICAL.get(name, name), (left, self.expression(binding)))
        if name in ("AND", "OR"):
            binding = AND if name == "AND" else OR
            return self.chain(left, name, binding) if binding > power else None
        if name in _PREDICATES and power < COMPARISON:
            return self.predicate(left)
        return None

    def chain(self, left: Expr, word: str, binding: int) -> Expr:
        parts = [left]
        while self.take(word):
            parts.append(self.expression(binding))
        return and_(*parts) if word == "AND" else or_(*parts)

    def predicate(self, left: Expr) -> Expr:
        if self.take("IS"):
            return self.is_predicate(left)
        negated = self.take("NOT")
        token = self.token
        name = token.upper if token.kind == "word" else ""
        if name not in _PREDICATES - {"IS", "NOT"}:
            raise self.unexpected("IN", "BETWEEN", "LIKE", "ILIKE", "RLIKE")
        self.next()
        if name == "IN":
            found: Expr = Call("in", (left, *self.in_list()))
        elif name == "BETWEEN":
            low = self.value()
            self.expect("AND")
            found = Call("between", (left, low, self.value()))
        elif name in ("LIKE", "ILIKE"):
            pattern = self.value()
            escape = (self.value(),) if self.take("ESCAPE") else ()
            found = Call(name.lower(), (left, pattern, *escape))
        else:
            found = Call("rlike", (left, self.value()))
        return not_(found) if negated else found

    def in_list(self) -> list[Expr]:
        self.expect("(")
        if self.at("SELECT"):
            raise self.no_subquery()
        return self.arguments()

    def is_predicate(self, left: Expr) -> Expr:
        negated = self.take("NOT")
        if self.take("NULL") or self.take("UNKNOWN"):
            found: Expr = Call("is_null", (left,))
        elif self.take("TRUE"):
            found = Call("is_true", (left,))
        elif self.take("FALSE"):
            found = Call("is_false", (left,))
        elif self.take("DISTINCT", "FROM"):
            found, negated = Call("<=>", (left, self.value())), not negated
        else:
            raise self.unexpected("NULL", "TRUE", "FALSE", "DISTINCT FROM")
        return not_(found) if negated else found

    # operands -------------------------------------------------------------------------------------------------------

    def operand(self) -> Expr:
        token = self.token
        if token.kind == "number":
            return self.number(self.next())
        if token.kind in ("string", "raw"):
            return Literal(self.strings(), STRING)
        if token.kind in ("double", "quoted"):
            return self.quoted()
        if token.kind == "word":
            return self.word()
        if self.take("("):
            if self.at("SELECT"):
                raise self.no_subquery()
            expr = self.expression()
            self.expect(")", "an operator")
            return expr
        if self.take("-"):
            if self.token.kind == "number":
                return self.number(self.next(), negative=True)
            return Call("negative", (self.expression(UNARY - 1),))
        if self.take("+"):
            return Call("positive", (self.expression(UNARY - 1),))
        if self.take("~"):
            return Call("~", (self.expression(UNARY - 1),))
        if self.take("!"):
            return not_(self.expression(NOT))
        raise self.unexpected("an expression")

    def postfix(self, expr: Expr) -> Expr:
        """Subscripts, fields and ``::`` casts behind an operand; they bind tightest."""
        while True:
            if self.take("["):
                expr = Call("[]", (expr, self.expression()))
                self.expect("]")
            elif isinstance(expr, (Call, Case, Cast)) and self.take("."):
                expr = Call(".", (expr, Literal(parse_name(self), STRING)))
            elif self.take("::"):
                expr = Cast(expr, parse_type(self))
            else:
                return expr

    def number(self, token: Token, negative: bool = False) -> Literal:
        try:
            return literals.number(token.text, negative)
        except ExpressionError as error:
            raise self.error(error.message, position=token.position, hint=error.hint) from None

    def strings(self) -> str:
        """A string literal; neighbours are joined, as in SQL."""
        parts = []
        while self.token.kind in ("string", "raw"):
            parts.append(literals.string_value(self.next().text))
        return "".join(parts)

    def quoted(self) -> Expr:
        token = self.token
        if token.kind == "double" and self.peek().text != ".":
            return DoubleQuoted(literals.string_value(self.next().text))
        return self.column()

    def column(self) -> Column:
        path = [parse_name(self)]
        while self.at(".") and self.peek().kind in ("word", "quoted", "double"):
            self.next()
            path.append(parse_name(self))
        return Column(tuple(path))

    def word(self) -> Expr:
        token = self.token
        name = token.upper
        if name in _CONSTANTS:
            self.next()
            return _CONSTANTS[name]
        if name == "NOT":
            self.next()
            return not_(self.expression(NOT - 1))
        if name == "CASE":
            self.next()
            return self.case()
        follows = self.peek()
        if follows.kind in ("string", "raw", "double") and name in PREFIXED:
            return self.prefixed(name)
        if name == "INTERVAL" and self.interval_follows():
            self.next()
            return interval(self)
        if follows.kind == "sign" and follows.text == "(" and name not in _NO_FUNCTION:
            return self.call()
        if name in _NO_OPERAND:
            raise self.unexpected("an expression")
        return self.column()

    def prefixed(self, name: str) -> Expr:
        start = self.next().position
        text = literals.string_value(self.next().text)
        try:
            return PREFIXED[name](text)
        except (ExpressionError, ValueError) as error:
            message = error.message if isinstance(error, ExpressionError) else f"{text!r} is not a {name} literal"
            raise self.error(message, position=start, hint=getattr(error, "hint", None)) from None

    def interval_follows(self) -> bool:
        ahead = 2 if self.peek().text in ("-", "+") else 1
        if self.peek(ahead).kind == "string":
            return True
        return self.peek(ahead).kind == "number" and self.peek(ahead + 1).upper in literals.INTERVAL_UNITS

    def case(self) -> Expr:
        operand = None if self.at("WHEN") else self.repeatable(self.expression())
        branches: list[tuple[Expr, Expr]] = []
        while self.take("WHEN"):
            condition = self.expression()
            self.expect("THEN")
            branches.append((condition if operand is None else Call("=", (operand, condition)), self.expression()))
        if not branches:
            raise self.unexpected("WHEN")
        otherwise = self.expression() if self.take("ELSE") else None
        self.expect("END", "WHEN", "ELSE")
        return Case(tuple(branches), otherwise)

    def repeatable(self, expr: Expr) -> Expr:
        if not is_small(expr):
            raise self.error("the operand of CASE is too large to be repeated", hint="use CASE WHEN condition")
        return expr

    def no_subquery(self) -> ExpressionError:
        return self.error(
            "a subquery is not part of an expression", hint="compute its result first, or use MERGE with a source"
        )

    # calls ----------------------------------------------------------------------------------------------------------

    def call(self) -> Expr:
        token = self.next()
        self.expect("(")
        if self.at("SELECT"):
            raise self.no_subquery()
        special = SPECIAL.get(token.upper)
        if special is not None:
            return special(self)
        if self.at("*") or self.at("DISTINCT") or self.at("ALL"):
            raise self.error(
                f"{token.text}({self.token.text} ...) aggregates rows: it is not part of an expression on one row"
            )
        return Call(token.text.lower(), tuple(self.arguments(empty=True)))

    def arguments(self, empty: bool = False) -> list[Expr]:
        """Expressions up to the closing parenthesis."""
        found: list[Expr] = []
        if empty and self.take(")"):
            return found
        while True:
            found.append(self.argument())
            if not self.take(","):
                self.expect(")", ",", "an operator")
                return found

    def argument(self) -> Expr:
        """An expression; constants, of which IN lists have many, go the short way."""
        if self.token.kind in ("number", "string") and self.peek().text in (",", ")"):
            token = self.next()
            return self.number(token) if token.kind == "number" else Literal(literals.string_value(token.text), STRING)
        return self.expression()
