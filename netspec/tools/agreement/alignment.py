"""Which of a module's calls computes which node of the graph.

A generated module is ordinary code: it does not say which node a call belongs to. But it makes the
calls in the ops' PyTorch expressions, in the file's order. So the expected calls are aligned with
the recorded calls, the way `diff` aligns the lines of two files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import ITEM, P, Torch, X


@dataclass(frozen=True)
class Key:
    """What identifies a call: the function's name and the trained parameters among its arguments."""

    function: str
    parameters: frozenset[str] = frozenset()


def key(function: str, parameters: frozenset[str]) -> Key:
    """Return the key of a call; `nn.BatchNorm2d`, `F.batch_norm` and `torch.batch_norm` have the same.

    >>> key("nn.BatchNorm2d", frozenset()).function, key("__add__", frozenset()).function
    ('batchnorm', 'add')
    """
    name = function.rpartition(".")[2].replace("_", "").lower()
    return Key(re.sub(r"[123]d$", "", name), parameters)


@dataclass(frozen=True)
class Expected:
    """A call that a node's expression makes. `gives` is True if its result is the node's value."""

    key: Key
    node: str
    gives: bool


def expected_calls(graph: Graph) -> list[Expected]:
    """Return the calls in all nodes' expressions that read an activation, in the order they are made."""
    expected = []
    for node in graph.nodes:
        calls = list(_calls(node.op.torch(*graph.shapes_into(node)), node, graph))
        expected += [Expected(call, node.name, i == len(calls) - 1) for i, call in enumerate(calls)]
    return expected


def _calls(expression: Torch, node: Node, graph: Graph) -> Iterator[Key]:
    """Yield the keys of the calls in an expression, inner calls first."""
    if not _reads(expression):
        return
    parts = expression.inputs if expression.is_module else _parts(expression)
    for part in parts:
        if isinstance(part, Torch):
            yield from _calls(part, node, graph)
    if expression.target == ITEM:
        return  # what it is taken from is the call
    if expression.is_module:
        held = list(node.parameters.values())
    else:
        held = [node.parameters[part.name] for part in parts if isinstance(part, P)]
    trained = frozenset(full for full in held if graph.parameters[full].trainable)
    yield key(expression.target, trained)


def _parts(expression: Torch) -> list[Any]:
    """Return the arguments, with tuples flattened."""
    parts: list[Any] = []
    for part in (*expression.arguments, *expression.options.values()):
        parts += part if isinstance(part, tuple) else (part,)
    return parts


def _reads(part: Any) -> bool:
    """Return True if a part of an expression reads an input of the node."""
    if isinstance(part, tuple):
        return any(map(_reads, part))
    if isinstance(part, Torch):
        inputs = part.inputs if part.is_module else (*part.arguments, *part.options.values())
        return any(map(_reads, inputs))
    return isinstance(part, X)


def align(expected: Sequence[Expected], made: Sequence[Key]) -> list[int | None]:
    """Return for each expected call the index of the matching recorded call, or None.

    A run of unmatched calls that is as long as the run of expected calls at the same place is taken
    in order, despite the different names.
    """
    keys = [call.key for call in expected]
    found: list[int | None] = [None] * len(keys)
    if keys == list(made):
        return list(range(len(keys)))
    matcher = difflib.SequenceMatcher(None, keys, list(made), autojunk=False)
    for tag, start, end, other, other_end in matcher.get_opcodes():
        if tag == "equal" or (tag == "replace" and end - start == other_end - other):
            found[start:end] = range(other, other + end - start)
    return found
