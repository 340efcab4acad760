"""Builds the nodes of the syntax tree, with their spans, from the reductions of the parser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from netspec import codes
from netspec.compiler.parse.lalr import Token
from netspec.compiler.parse.layout import token_ends, token_span
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import Expr, Statement
from netspec.diagnostics import Diagnostic, Edit, Hint, Source, Span

MAX_NUMBER_LENGTH = 40
MAX_NAME_LENGTH = 200
LANGUAGE_VERSION = 1
# The lexer takes these words as names where no keyword is allowed.
KEYWORDS = frozenset(
    "net block input output return init assert for in if else layer from import language and or not"
    " true false none".split()
)


class LocatedError(Exception):
    """Raised inside a tree-building callback; carries the finished diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


class _Tower:
    """Powers of powers while they are read, the last exponent first: a tuple for each of thousands would
    be a copy of all behind it.
    """

    __slots__ = ("items", "span")

    def __init__(self, items: list[Expr], span: Span) -> None:
        self.items = items
        self.span = span


class _Holder(list[Any]):
    """The children of a rule that is only a part of its parent (parameters, a body, an index)."""

    def __init__(self, items: Iterable[Any], span: Span) -> None:
        super().__init__(items)
        self.span = span


class TreeBuilder:
    """The callbacks of the parser: one for each reduction, children first.

    Nothing here recurses.
    """

    source: Source

    def check(self, token: Token, kind: str, previous: str) -> None:
        """Check a token that is read as `kind`, after one of the kind `previous`.

        Raises:
            LocatedError: if it is not a valid name, number or string, as which it is read.
        """
        if kind == "NAME":
            self._name(token)
        elif previous == "LANGUAGE":
            self.version([token, token])
        elif kind in ("INT", "FLOAT", "STRING"):
            self.literal([Token(kind, token, token.start_pos, token.end_pos, token.column)])

    # -- helpers

    def _span(self, children: list[Any]) -> Span:
        # Of the spans of the first and the last child only an end each is needed: none is made.
        source, first, last = self.source, children[0], children[-1]
        start = token_ends(source, first)[0] if isinstance(first, Token) else first.span.start
        end = token_ends(source, last)[1] if isinstance(last, Token) else last.span.end
        return Span(source, start, end if end > start else start)

    def _at(self, child: Any) -> Span:
        if isinstance(child, Token):
            return token_span(self.source, child)
        span: Span = child.span
        return span

    def _name(self, token: Token) -> syntax.Name:
        if len(token) > MAX_NAME_LENGTH:
            message = f"a name of {len(token)} characters; the limit is {MAX_NAME_LENGTH}"
            raise LocatedError(Diagnostic(codes.LIMIT_NAME, message, self._at(token)))
        if token in KEYWORDS:
            message = f"`{token}` is a keyword of the language, and cannot be a name"
            at = self._at(token)
            hints = (Hint(f"call it `{token}_`", (Edit(at, f"{token}_"),)),)
            raise LocatedError(Diagnostic(codes.SYNTAX_KEYWORD, message, at, hints=hints))
        return syntax.Name(str(token), self._at(token))

    def _names(self, children: list[Any]) -> tuple[syntax.Name, ...]:
        return tuple(self._name(t) for t in children if _is(t, "NAME"))

    def _expr(self, child: Any) -> Expr:
        """Return the expression of a child, where a name is still a bare token."""
        if isinstance(child, _Tower):
            return syntax.Power(tuple(reversed(child.items)), child.span)
        return self._name(child) if isinstance(child, Token) else child

    def _exprs(self, children: list[Any]) -> tuple[Expr, ...]:
        return tuple(self._expr(c) for c in children if not isinstance(c, Token) or _is(c, "NAME"))

    def _string(self, token: Token) -> str:
        escapes = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}

        def replace(match: re.Match[str]) -> str:
            if match.group(1) not in escapes:
                at = (token.start_pos or 0) + 1 + match.start()
                span = Span(self.source, at, at + 2)
                message = f"`\\{match.group(1)}` is not an escape"
                hint = Hint('the escapes are \\" \\\\ \\n \\t')
                raise LocatedError(Diagnostic(codes.SYNTAX_STRING, message, span, hints=(hint,)))
            return escapes[match.group(1)]

        return re.sub(r"\\(.)", replace, token[1:-1])

    def _operators(self, children: list[Any]) -> tuple[Expr, tuple[tuple[str, Expr], ...]]:
        rest = tuple(
            (str(op), self._expr(operand))
            for op, operand in zip(children[1::2], children[2::2], strict=True)
        )
        return self._expr(children[0]), rest

    # -- expressions

    def literal(self, children: list[Any]) -> syntax.Literal:
        (token,) = children
        span = self._at(token)
        kind = token.type
        if kind in ("INT", "FLOAT") and len(token) > MAX_NUMBER_LENGTH:
            message = f"a number of {len(token)} characters; the limit is {MAX_NUMBER_LENGTH}"
            raise LocatedError(Diagnostic(codes.LIMIT_NUMBER, message, span))
        if kind == "INT":
            return syntax.Literal(int(token.replace("_", "")), span)
        if kind == "FLOAT":
            value = float(token.replace("_", ""))
            if value == float("inf"):
                message = f"`{token}` is larger than the largest number, 1.8e308"
                raise LocatedError(Diagnostic(codes.LIMIT_NUMBER, message, span))
            return syntax.Literal(value, span)
        if kind == "STRING":
            return syntax.Literal(self._string(token), span)
        return syntax.Literal({"true": True, "false": False, "none": None}[str(token)], span)

    def array(self, children: list[Any]) -> syntax.ListExpr:
        return syntax.ListExpr(self._exprs(children), self._span(children))

    def group(self, children: list[Any]) -> syntax.Parens | syntax.Group:
        items = self._exprs(children)
        trailing_comma = str(children[-2]) == ","
        if len(items) == 1 and not trailing_comma:
            return syntax.Parens(items[0], self._span(children))
        return syntax.Group(items, self._span(children))

    def sum(self, children: list[Any]) -> syntax.Chain:
        return syntax.Chain(*self._operators(children), self._span(children))

    product = sum

    def comparison(self, children: list[Any]) -> syntax.Compare:
        return syntax.Compare(*self._operators(children), self._span(children))

    def either(self, children: list[Any]) -> syntax.Logic:
        operands = tuple(self._expr(c) for c in children[::2])
        return syntax.Logic(str(children[1]), operands, self._span(children))

    both = either

    def unary(self, children: list[Any]) -> syntax.Unary:
        operators = tuple(str(c) for c in children[:-1])
        return syntax.Unary(operators, self._expr(children[-1]), self._span(children))

    negation = unary

    def power(self, children: list[Any]) -> _Tower:
        base, _, last = children
        tower = last if isinstance(last, _Tower) else _Tower([self._expr(last)], self._at(last))
        tower.items.append(self._expr(base))
        tower.span = self._span(children)
        return tower

    def constant(self, children: list[Any]) -> syntax.Conditional:
        operands = [self._expr(c) for c in children[::2]]
        cases = tuple(zip(operands[:-1:2], operands[1::2], strict=True))
        return syntax.Conditional(cases, operands[-1], self._span(children))

    def attribute(self, children: list[Any]) -> syntax.Attribute:
        return syntax.Attribute(str(children[1]), self._span(children))

    def index(self, children: list[Any]) -> syntax.Index | syntax.Slice:
        span = self._span(children)
        inner = children[1:-1]
        colon = next((i for i, c in enumerate(inner) if _is(c, "COLON")), None)
        if colon is None:
            items = self._exprs(inner)
            return syntax.Index(items[0] if len(items) == 1 else syntax.ListExpr(items, span), span)
        start = self._expr(inner[0]) if colon > 0 else None
        stop = self._expr(inner[-1]) if colon < len(inner) - 1 else None
        return syntax.Slice(start, stop, span)

    def access(self, children: list[Any]) -> syntax.Access:
        return syntax.Access(self._expr(children[0]), tuple(children[1:]), self._span(children))

    def argument(self, children: list[Any]) -> syntax.Argument:
        name = self._name(children[0]) if len(children) == 3 else None
        return syntax.Argument(name, self._expr(children[-1]), self._span(children))

    def call(self, children: list[Any]) -> syntax.Call:
        arguments = tuple(c for c in children if isinstance(c, syntax.Argument))
        return syntax.Call(self._name(children[0]), arguments, self._span(children))

    def keyword(self, children: list[Any]) -> Token:
        token: Token = children[0]
        return token

    def hole(self, children: list[Any]) -> _Holder:
        return _Holder([self._expr(children[1])], self._span(children))

    def segment(self, children: list[Any]) -> _Holder:
        if _is(children[0], "STRING"):
            return _Holder(self._quoted(children[0]), self._at(children[0]))
        for before, after in itertools.pairwise(children):
            start, end = self._at(before).end, self._at(after).start
            if start != end and (not isinstance(after, _Holder) or _is(before, "MINUS")):
                gap = Span(self.source, start, end)
                message = "the parts of a label stand side by side"
                hints = (Hint("take the blank out", (Edit(gap, ""),)),)
                span = self._span(children)
                raise LocatedError(Diagnostic(codes.LABEL_INVALID, message, span, hints=hints))
        parts = [c[0] if isinstance(c, _Holder) else str(c) for c in children]
        return _Holder([tuple(parts)], self._span(children))

    def _quoted(self, token: Token) -> Iterator[tuple[str | Expr, ...]]:
        """Yield the segments of a label in quotes: text, and the constants in its braces."""
        from netspec.compiler.parse import parse_hole

        start, segment = (token.start_pos or 0) + 1, list[str | Expr]()
        for match in re.finditer(r"\{([^{}]*)\}|\.|[^{.]+|\{", token[1:-1]):
            if match.group() == ".":
                yield tuple(segment) or ("",)
                segment = []
            elif match.group(1) is None:
                segment.append(match.group())
            else:
                inside = (start + end for end in match.span(1))
                segment.append(parse_hole(self.source, *inside))
        yield tuple(segment) or ("",)

    def text_hole(self, children: list[Any]) -> Expr:
        return self._expr(children[1])

    def label(self, children: list[Any]) -> syntax.Label:
        segments = tuple(s for c in children if isinstance(c, _Holder) for s in c)
        return syntax.Label(segments, self._span(children))

    def stage(self, children: list[Any]) -> syntax.Stage:
        callee = children[-1]
        if isinstance(callee, Token):
            callee = syntax.Call(self._name(callee), (), self._at(callee))
        label = children[0] if isinstance(children[0], syntax.Label) else None
        return syntax.Stage(label, callee, self._span(children))

    def pipeline(self, children: list[Any]) -> syntax.Pipeline:
        stages = tuple(c for c in children[1:] if isinstance(c, syntax.Stage))
        return syntax.Pipeline(self._expr(children[0]), stages, self._span(children))

    # -- statements

    def input(self, children: list[Any]) -> syntax.Input:
        name, shape = self._name(children[1]), self._expr(children[3])
        match shape:
            case syntax.Access(syntax.Name("int" | "bool" as holds), (syntax.Index() as index,)):
                shape = syntax.ListExpr(index.items, index.span)
                return syntax.Input(name, shape, self._span(children), holds)
        return syntax.Input(name, shape, self._span(children))

    def output(self, children: list[Any]) -> syntax.Output:
        name = self._name(children[1]) if len(children) == 4 else None
        return syntax.Output(name, self._expr(children[-1]), self._span(children))

    def return_(self, children: list[Any]) -> syntax.Return:
        return syntax.Return(self._exprs(children[1:]), self._span(children))

    def rule(self, children: list[Any]) -> _Holder:
        pair = (self._name(children[0]), self._expr(children[2]))
        return _Holder([pair], self._span(children))

    def init(self, children: list[Any]) -> syntax.Init:
        rules = tuple(c[0] for c in children if isinstance(c, _Holder))
        return syntax.Init(rules, self._span(children))

    def assert_(self, children: list[Any]) -> syntax.Assert:
        message = self._string(children[3]) if len(children) > 2 else None
        return syntax.Assert(self._expr(children[1]), message, self._span(children))

    def body(self, children: list[Any]) -> _Holder:
        statements = [c for c in children if not isinstance(c, Token)]
        return _Holder(statements, self._span(children))

    def for_(self, children: list[Any]) -> syntax.For:
        where = next(i for i, c in enumerate(children) if _is(c, "IN"))
        return syntax.For(
            self._names(children[:where]),
            self._expr(children[where + 1]),
            tuple(children[-1]),
            self._span(children),
        )

    def if_(self, children: list[Any]) -> syntax.If:
        parts = [c for c in children if not _is(c, "IF") and not _is(c, "ELSE")]
        branches: list[tuple[Expr, tuple[Statement, ...]]] = []
        while len(parts) >= 2:
            condition, body, *parts = parts
            branches.append((self._expr(condition), tuple(body)))
        otherwise = tuple(parts[0]) if parts else ()
        return syntax.If(tuple(branches), otherwise, self._span(children))

    def layer(self, children: list[Any]) -> syntax.Layer:
        return syntax.Layer(self._name(children[1]), children[3], self._span(children))

    def declared(self, children: list[Any]) -> syntax.Declared:
        kind, name, _, shape, _, initial = children
        return syntax.Declared(
            str(kind),
            self._name(name),
            self._expr(shape),
            self._expr(initial),
            self._span(children),
        )

    def assign(self, children: list[Any]) -> syntax.Assign:
        targets = (self._name(children[0]), *self._names(children[1:-1]))
        return syntax.Assign(targets, self._expr(children[-1]), self._span(children))

    # -- definitions

    def parameter(self, children: list[Any]) -> syntax.Parameter:
        default = self._expr(children[2]) if len(children) > 1 else None
        return syntax.Parameter(self._name(children[0]), default, self._span(children))

    def parameters(self, children: list[Any]) -> _Holder:
        found = [c for c in children if isinstance(c, syntax.Parameter)]
        return _Holder(found, self._span(children))

    def net(self, children: list[Any]) -> syntax.Net:
        _, name, *head, body = children
        span = self._span(children)
        parameters = self._parameters(head)
        return syntax.Net(self._name(name), parameters, tuple(body), span, _comment_above(span))

    def block(self, children: list[Any]) -> syntax.Block:
        kind = children[0].type
        _, name, *head, body = children[kind != "BLOCK" :]
        inputs = self._names(head)
        span = self._span(children)
        return syntax.Block(
            self._name(name),
            self._parameters(head),
            inputs,
            tuple(body),
            span,
            _comment_above(span),
            inline=kind == "INLINE",
            scan=kind == "SCAN",
        )

    def _parameters(self, head: list[Any]) -> tuple[syntax.Parameter, ...]:
        return next((tuple(c) for c in head if isinstance(c, _Holder)), ())

    def import_(self, children: list[Any]) -> syntax.Import:
        path = children[1]
        names = self._names(children)
        return syntax.Import(self._string(path), self._at(path), names, self._span(children))

    def use(self, children: list[Any]) -> syntax.Use:
        name = children[1]
        return syntax.Use(self._string(name), self._at(name), self._span(children))

    def shape_comment(self, children: list[Any]) -> syntax.ListExpr:
        shape: syntax.ListExpr = children[1]
        return shape

    def version(self, children: list[Any]) -> syntax.Version:
        span = self._at(children[1])
        if str(children[1]) != str(LANGUAGE_VERSION):
            message = f"this is netspec's language {LANGUAGE_VERSION}, the file asks for another"
            raise LocatedError(Diagnostic(codes.SYNTAX_VERSION, message, span))
        return syntax.Version(LANGUAGE_VERSION, span)

    def start(self, children: list[Any]) -> syntax.File:
        definitions = tuple(c for c in children if not isinstance(c, Token))
        return syntax.File(self.source, definitions)


# The parser looks its callbacks up by rule name, and these rules are named like Python keywords.
for _rule in ("return", "assert", "for", "if", "import"):
    setattr(TreeBuilder, _rule, getattr(TreeBuilder, _rule + "_"))


def _is(child: Any, kind: str) -> bool:
    return isinstance(child, Token) and child.type == kind


def _comment_above(span: Span) -> str:
    """Return the comment lines above a definition, without their `#`, as its documentation.

    Empty lines in between are ignored: layout never changes what a file means.
    """
    lines: list[str] = []
    for number in range(span.line - 1, 0, -1):
        line = span.source.line(number).strip()
        if line.startswith("#"):
            lines.append(line.lstrip("#").strip())
        elif line:
            break
    said = [line for line in reversed(lines) if not line.startswith("allow:")]
    return "\n".join(said).strip()
