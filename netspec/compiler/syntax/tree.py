"""The syntax tree of a `.net` file. Every node has its span.

Operator chains are flat (`a + b + c` is one `Chain`), so the depth of a tree is the depth of its
brackets: a long file does not make a deep tree. Nodes are never changed after they are made. They
are not frozen and define no comparison, because that makes the classes three times as quick to
define, which every start of the tool does.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from typing import Literal as OneOf

from netspec.diagnostics import Source, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# What a value of a net holds: real numbers, whole numbers such as tokens, or booleans such as masks.
NumberType = OneOf["real", "int", "bool"]


@dataclass(slots=True, eq=False, repr=False)
class Name:
    """A use or a definition of a name."""

    id: str
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Literal:
    """A number, a string, `true`, `false` or `none`."""

    value: int | float | str | bool | None
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Computed(Literal):
    """A value that was already computed, in place of the expression that it came from."""

    value: Any


@dataclass(slots=True, eq=False, repr=False)
class ListExpr:
    """`[a, b]`."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Parens:
    """`(a)`."""

    inner: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Group:
    """`(a, b)`: several values that are the inputs of one layer."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Chain:
    """`a + b - c` or `a * b // c`, evaluated from left to right."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Compare:
    """`a < b <= c`, as in Python: every neighbouring pair must hold."""

    first: Expr
    rest: tuple[tuple[str, Expr], ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Logic:
    """`a and b and c`, or the same with `or`; evaluation stops at the first item that decides."""

    operator: str
    items: tuple[Expr, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Unary:
    """`-a`, `+a`, `not a`, with as many signs as were written."""

    operators: tuple[str, ...]
    operand: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Power:
    """`a ** b ** c`, evaluated from right to left."""

    items: tuple[Expr, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Conditional:
    """`a if p else b if q else c`: the cases (value, condition) in order, then the value for the
    rest.
    """

    cases: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Attribute:
    """`.name` behind an expression."""

    name: str
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Index:
    """`[i]` behind an expression; `[i, j]` behind the type of an input, or by mistake."""

    at: Expr
    span: Span

    @property
    def items(self) -> tuple[Expr, ...]:
        """What stands between the brackets."""
        inner = self.at
        return inner.items if isinstance(inner, ListExpr) and inner.span == self.span else (inner,)


@dataclass(slots=True, eq=False, repr=False)
class Slice:
    """`[a:b]` behind an expression."""

    start: Expr | None
    stop: Expr | None
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Access:
    """An expression with attributes and indices behind it: `x.shape[0]`."""

    base: Expr
    trailers: tuple[Attribute | Index | Slice, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Argument:
    """One argument of a call; `name` is None for a positional one."""

    name: Name | None
    value: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """`conv(8, 3, pad = 1)`; a bare `relu` in a pipeline is a call without arguments."""

    callee: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Label:
    """`layer{i + 1}.0`: segments joined by dots, each of fixed text and interpolated constants."""

    segments: tuple[tuple[str | Expr, ...], ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Stage:
    """One `-> label: call` of a pipeline."""

    label: Label | None
    call: Call
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Pipeline:
    """`head -> stage -> stage`."""

    head: Expr
    stages: tuple[Stage, ...]
    span: Span


Expr = (
    Name
    | Literal
    | ListExpr
    | Parens
    | Group
    | Chain
    | Compare
    | Logic
    | Unary
    | Power
    | Conditional
    | Access
    | Call
    | Pipeline
)


@dataclass(slots=True, eq=False, repr=False)
class Input:
    """`input image: [3, 32, 32]`, or with what it holds, `input tokens: int[T]`."""

    name: Name
    shape: Expr
    span: Span
    holds: NumberType = "real"


@dataclass(slots=True, eq=False, repr=False)
class Output:
    """`output x -> linear(10)`, or with a name of its own, `output logits = ...`."""

    name: Name | None
    value: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Return:
    """`return a, b` of a block."""

    values: tuple[Expr, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Init:
    """`init weight = normal(0.01), bias = zeros`: applies from here to the end of its body."""

    rules: tuple[tuple[Name, Expr], ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Assert:
    """`assert depth % 6 == 2, "depth must be 6n + 2"`."""

    condition: Expr
    message: str | None
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class For:
    """`for i in range(3) { ... }`."""

    targets: tuple[Name, ...]
    iterable: Expr
    body: tuple[Statement, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class If:
    """`if a { ... } else if b { ... } else { ... }`, decided at compile time."""

    branches: tuple[tuple[Expr, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Layer:
    """`layer stem = conv(8, 3)`: one set of parameters that may be called many times."""

    name: Name
    call: Call
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Declared:
    """`parameter table: [169, 3] = zeros`, or `buffer`, `constant`, or `state`: a value of its own.

    `kind` is that word.
    """

    kind: str
    name: Name
    shape: Expr
    initial: Expr
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Assign:
    """`a, b = value`."""

    targets: tuple[Name, ...]
    value: Expr
    span: Span


Statement = Input | Output | Return | Init | Assert | For | If | Layer | Declared | Assign


@dataclass(slots=True, eq=False, repr=False)
class Parameter:
    """A parameter in the head of a net or a block; a call must give one that has no default."""

    name: Name
    default: Expr | None
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Net:
    """`net LeNet(classes = 10) { ... }`. `doc` is the comment right above it."""

    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span
    doc: str = ""


@dataclass(slots=True, eq=False, repr=False)
class Block:
    """`block Basic(channels, stride = 1) x { ... }`. `doc` is the comment right above it.

    The layers of an `inline block` are named as if they were written in the body that calls it. A
    `scan block` is called with a sequence, and its body is one step.
    """

    name: Name
    parameters: tuple[Parameter, ...]
    inputs: tuple[Name, ...]
    body: tuple[Statement, ...]
    span: Span
    doc: str = ""
    inline: bool = False
    scan: bool = False


@dataclass(slots=True, eq=False, repr=False)
class Import:
    """`from "blocks.net" import Basic, Bottleneck`."""

    path: str
    path_span: Span
    names: tuple[Name, ...]
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Use:
    """`use "my_ops.py"`: the file calls ops from there. It loads nothing."""

    name: str
    name_span: Span
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class Version:
    """`language 1`."""

    number: int
    span: Span


@dataclass(slots=True, eq=False, repr=False)
class File:
    """A whole file."""

    source: Source
    definitions: tuple[Import | Use | Net | Block | Version, ...]


def nested(statements: Sequence[Statement]) -> Iterator[Statement]:
    """Yield the statements of a body, and those in its loops and conditions, in preorder."""
    stack = list(reversed(statements))
    while stack:
        statement = stack.pop()
        yield statement
        if isinstance(statement, For):
            stack.extend(reversed(statement.body))
        elif isinstance(statement, If):
            stack.extend(reversed(statement.otherwise))
            for _, body in reversed(statement.branches):
                stack.extend(reversed(body))


# The fields whose names refer to something that is neither a value nor a constant.
NAMING = ("callee", "name", "label")


def parts(tree: Any, skipping: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield the nodes of a tree, or of a tuple of trees, in preorder, which is the order of the
    file.

    The fields named in `skipping` are not entered.
    """
    known = _CHILDREN.setdefault(skipping, {})
    stack = [tree]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is tuple:
            stack.extend(reversed(item))
            continue
        if kind not in known:
            known[kind] = _children(kind, skipping)
        if (children := known[kind]) is not None:
            yield item
            stack.extend(children(item))


# How the fields of a class are read, the last one first, by the fields that are skipped; None for what
# is no node. Asking a class for its fields anew for each node took most of the time of a walk.
_CHILDREN: dict[tuple[str, ...], dict[type, Callable[[Any], Sequence[Any]] | None]] = {}


def _children(kind: type, skipping: tuple[str, ...]) -> Callable[[Any], Sequence[Any]] | None:
    if kind.__module__ != __name__:
        return None
    # No node is in a span.
    slots = [s for s in reversed(kind.__slots__) if s not in skipping and s != "span"]  # type: ignore[attr-defined]
    if len(slots) < 2:
        return lambda node: [getattr(node, slot) for slot in slots]
    return attrgetter(*slots)
