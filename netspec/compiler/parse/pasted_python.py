"""Translates statements that were pasted from PyTorch or Keras into this language.

Python's own parser reads them; none of them is run. A statement that has no counterpart here with
as many statements is not translated.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Collection, Sequence

from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.compiler.syntax import other_frameworks
from netspec.diagnostics import Source, Span
from netspec.records import record
from netspec.text.python_tree import parse_python

MAX_LENGTH = 2000
MAX_FILE = 100_000
_MAX_DEPTH = 20
# The names that layers in Python start with, as in `nn.Conv2d`.
MODULES = frozenset("nn torch F tf keras layers functional np flax jax nnx".split())
_KERAS = frozenset("tf keras layers".split())
_GIVES = re.compile(r"(output(?:[ \t]+\w+[ \t]*=(?!=))?|return)[ \t]+")
# Arguments that only say what netspec does anyway, or finds out by itself.
_IDLE = frozenset("inplace training start_dim dim name padding_mode device dtype".split())
_BATCH = ("-1", "x.size(0)", "x.shape[0]", "len(x)", "batch_size", "x.size()[0]")
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
_OF_VALUES: dict[type[ast.operator], str] = {ast.Add: "+", ast.Mult: "*"}


class _OtherwiseError(Exception):
    """Raised at Python code that cannot be translated."""


def statement_at(source: Source, at: int) -> Span:
    """Return the span of the statement at a place: its line, and the next ones until its brackets
    close.
    """
    text = source.text
    start = text.rfind("\n", 0, at) + 1
    start += len(text[start:]) - len(text[start:].lstrip(" \t"))
    depth, end = 0, start
    while end < len(text) and end - start < MAX_LENGTH:
        char = text[end]
        depth += (char in "([{") - (char in ")]}")
        if (char == "\n" and depth <= 0) or (char == "}" and depth < 0):
            break
        end += 1
    return Span(source, start, start + len(text[start:end].rstrip()))


def translated(text: str) -> str | None:
    """Translate a statement of PyTorch or Keras; None where the translation is not obvious."""
    gives = _GIVES.match(text)
    try:
        body = _parsed(text[gives.end() :] if gives else text)
        if len(body) != 1:
            return None
        (statement,) = body
        if gives is not None:
            if not isinstance(statement, ast.Expr):
                return None
            return f"{gives[1]} {_value(statement.value)}"
        return _statement(statement)
    except (_OtherwiseError, RecursionError):
        return None


def chain(text: str) -> str | None:
    """Translate the first `nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU())` in a text to a chain such
    as `x -> conv(6, 5) -> relu`; None if there is none.
    """
    try:
        found = (_chain_of(part) for each in _parsed(text) for part in ast.walk(each))
        return next((each for each in found if each is not None), None)
    except (_OtherwiseError, RecursionError):
        return None


def _chain_of(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call) or _dotted(node.func)[-1:] != ["Sequential"]:
        return None
    return " -> ".join(["x", *(_layer(item) for item in _items(node.args))])


def examples(text: str) -> list[tuple[str, str]]:
    """Return up to two examples from a Python file, each with its translation.

    One is the first definition of a layer, the other the first statement that uses layers.
    """
    found: dict[bool, tuple[str, str]] = {}
    lines = text.split("\n")
    try:
        nodes = [part for each in _parsed(text, MAX_FILE) for part in ast.walk(each)]
    except _OtherwiseError:
        return []
    for node in nodes:
        if isinstance(node, (ast.Assign, ast.Return)) and node.lineno == node.end_lineno:
            written = lines[node.lineno - 1].strip()
            better = translated(written) if len(written) <= 80 else None
            if better is not None and better != written:
                found.setdefault(better.startswith("layer "), (written, better))
        elif isinstance(node, ast.Call) and (better := _chain_or_none(node)) is not None:
            found.setdefault(True, (f"{'.'.join(_dotted(node.func))}(...)", better))
        if len(found) == 2:
            break
    return [found[kind] for kind in (True, False) if kind in found]


def _chain_or_none(node: ast.Call) -> str | None:
    try:
        return _chain_of(node)
    except (_OtherwiseError, RecursionError):
        return None


def _parsed(text: str, limit: int = MAX_LENGTH) -> list[ast.stmt]:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    if len(text) > limit or deepest > _MAX_DEPTH:
        raise _OtherwiseError
    try:
        return parse_python(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _OtherwiseError from None


def _statement(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Return) and statement.value is not None:
        return f"output {_value(statement.value)}"
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        raise _OtherwiseError
    target = statement.targets[0]
    name = _dotted(target)
    if not name or (len(name) > 1 and (name[0] != "self" or len(name) > 2)):
        raise _OtherwiseError
    if _is_layer(statement.value):
        layer = _layer(statement.value)
        if " -> " in layer:
            raise _OtherwiseError
        return f"layer {name[-1]} = {layer}"
    if name[0] == "self":
        raise _OtherwiseError
    return f"{name[0]} = {_value(statement.value)}"


def _is_layer(node: ast.expr) -> bool:
    """Whether an expression creates a layer without calling it: `nn.Conv2d(1, 6, 5)`."""
    if not isinstance(node, ast.Call):
        return False
    name = _dotted(node.func)
    return len(name) > 1 and name[0] in MODULES and name[-1][:1].isupper()


def _value(node: ast.expr) -> _Chain:
    if isinstance(node, ast.Name):
        return _Chain(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OF_VALUES:
        sides = [_value(side) for side in (node.left, node.right)]
        return _Chain(f" {_OF_VALUES[type(node.op)]} ".join(side.in_brackets() for side in sides))
    if not isinstance(node, ast.Call):
        raise _OtherwiseError
    if isinstance(node.func, ast.Call):
        return _inputs(node.args).through(_layer(node.func))
    name = _dotted(node.func)
    if name[:1] == ["self"] and len(name) == 2:
        return _inputs(node.args).through(name[1])
    if name and (len(name) == 1 or name[0] in MODULES) and node.args and not _is_layer(node):
        return _inputs(node.args[:1]).through(_stage(name[-1], node.args[1:], node.keywords, False))
    if (
        isinstance(node.func, ast.Attribute)
        and name[:1] != ["self"]
        and name[:1] not in [[m] for m in MODULES]
    ):
        return _value(node.func.value).through(
            _stage(node.func.attr, node.args, node.keywords, False)
        )
    raise _OtherwiseError


@record(slots=True)
class _Chain:
    """A value and the layers that it passes through."""

    head: str
    stages: tuple[str, ...] = ()

    def through(self, stage: str) -> _Chain:
        """Return the chain with one more layer."""
        return _Chain(self.head, (*self.stages, stage))

    def in_brackets(self) -> str:
        """Return the chain as an operand, in brackets where it needs them."""
        return f"({self})" if self.stages else self.head

    def __str__(self) -> str:
        return " -> ".join([self.head, *self.stages])


def _inputs(nodes: Sequence[ast.expr]) -> _Chain:
    values = [_value(item) for item in _items(nodes)]
    if not values:
        raise _OtherwiseError
    return values[0] if len(values) == 1 else _Chain(f"({', '.join(map(str, values))})")


def _items(nodes: Sequence[ast.expr]) -> Sequence[ast.expr]:
    """Return the items of the list that is the only argument, or else the arguments."""
    only = nodes[0] if len(nodes) == 1 else None
    return only.elts if isinstance(only, (ast.List, ast.Tuple)) else nodes


def _layer(node: ast.expr) -> str:
    if not isinstance(node, ast.Call):
        raise _OtherwiseError
    name = _dotted(node.func)
    if not name:
        raise _OtherwiseError
    torch = name[0] not in _KERAS and other_frameworks.is_torch_class(name[-1])
    return _stage(name[-1], node.args, node.keywords, torch)


def _stage(
    name: str, arguments: Sequence[ast.expr], named: Sequence[ast.keyword], torch_order: bool
) -> str:
    """Translate a call of a layer, with the activation behind it that an argument asks for.

    With `torch_order` the positional arguments are in PyTorch's order, which may start with the
    size of the input.
    """
    known = registry()
    meant = other_frameworks.layer_named(name, list(known))
    if meant is None or other_frameworks.why_absent(name) is not None:
        raise _OtherwiseError
    if meant in ("reshape", "flatten"):
        return _flat(meant, arguments)
    op = known[meant]
    given = _positional(op, arguments, named, torch_order)
    behind = ""
    for keyword in named:
        attribute = _attribute(keyword.arg, list(op.attributes()))
        if keyword.arg in other_frameworks.INPUT_SIZES or keyword.arg in _IDLE:
            continue
        if keyword.arg in other_frameworks.ACTIVATIONS:
            behind = f" -> {_activation(keyword.value, list(known))}"
        elif attribute is not None and attribute in op.attributes():
            given.append(f"{attribute} = {_constant(keyword.value)}")
        else:
            raise _OtherwiseError
    return (f"{meant}({', '.join(given)})" if given else meant) + behind


def _positional(
    op: type[Op], arguments: Sequence[ast.expr], named: Sequence[ast.keyword], torch_order: bool
) -> list[str]:
    """Translate the positional arguments. Those that are not in our order get a name."""
    own = list(op.attributes())
    order = list(op.torch_order) if torch_order and "" in op.torch_order else own
    needed = {word for word, f in op.attributes().items() if f.default is dataclasses.MISSING}
    if needed - {*order[: len(arguments)], *(_attribute(keyword.arg, own) for keyword in named)}:
        order = own  # too few arguments for PyTorch's order
    if len(arguments) > len(order):
        raise _OtherwiseError
    given: list[str] = []
    for word, argument in zip(order, arguments, strict=False):
        if word:
            shown = _constant(argument)
            given.append(shown if own.index(word) == len(given) else f"{word} = {shown}")
    return given


def _attribute(word: str | None, own: Collection[str]) -> str | None:
    """Return our name for an argument, or None."""
    return word if word in own else other_frameworks.ATTRIBUTES.get(word or "")


def _flat(meant: str, arguments: Sequence[ast.expr]) -> str:
    """Translate `flatten(x, 1)` and `x.view(-1, 400)` to `flatten`.

    Other shapes are not translated.
    """
    shown = [ast.unparse(argument) for argument in arguments]
    if meant == "flatten" and shown in ([], ["1"]):
        return "flatten"
    if len(shown) == 2 and (
        shown[0] in _BATCH or re.fullmatch(r"\w+\.(size\(0\)|shape\[0\])", shown[0])
    ):
        return "flatten"
    raise _OtherwiseError


def _activation(node: ast.expr, known: Collection[str]) -> str:
    name = node.value if isinstance(node, ast.Constant) else "".join(_dotted(node)[-1:])
    meant = other_frameworks.layer_named(name, known) if isinstance(name, str) else None
    if meant is None:
        raise _OtherwiseError
    return meant


def _constant(node: ast.expr) -> str:
    """Translate a constant."""
    if isinstance(node, ast.Constant):
        words = {"True": "true", "False": "false", "None": "none"}
        if isinstance(node.value, str):
            return node.value if node.value.isidentifier() else f'"{node.value}"'
        return words.get(repr(node.value), repr(node.value))
    if isinstance(node, (ast.Tuple, ast.List)):
        items = [_constant(item) for item in node.elts]
        return items[0] if len(set(items)) == 1 else f"[{', '.join(items)}]"
    if isinstance(node, ast.UnaryOp) and type(node.op) is ast.USub:
        return f"-{_constant(node.operand)}"
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        for side in (node.left, node.right):
            _constant(side)
        return ast.unparse(node)  # arithmetic is written the same way
    if isinstance(node, ast.Name):
        return node.id
    raise _OtherwiseError


def _dotted(node: ast.expr) -> list[str]:
    """Return the parts of a dotted name such as `nn.functional.relu`; none for any other
    expression.
    """
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return [*base, node.attr] if base else []
    return []
