"""The op that a file of netspec's own says a layer is: `conv(8, 3, pad = same)`.

What it says counts only where the op's form is what the file has there.
"""

from __future__ import annotations

import ast
from typing import Any

from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.text.python_tree import parse_expression

_LONGEST = 1000
_WORDS = {"true": True, "false": False, "none": None}


def said_op(text: str) -> Op | None:
    """Return the op of a call with plain values; None if there is no such op."""
    if len(text) > _LONGEST:
        return None
    try:
        tree = parse_expression(text)
        call = ast.Call(tree, [], []) if isinstance(tree, ast.Name) else tree
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        cls = registry().get(call.func.id)
        if cls is None:
            return None
        given = dict(zip(cls.attributes(), map(_value, call.args), strict=False))
        given |= {word.arg or "": _value(word.value) for word in call.keywords}
        kinds = {name: cls.kind(name) for name in given}
        return cls(**{n: v if v is None else kinds[n].convert(v) for n, v in given.items()})
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, WrongValueError):
        return None


def _value(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Name):
        return _WORDS.get(tree.id, tree.id)
    if isinstance(tree, ast.List):
        return tuple(map(_value, tree.elts))
    return ast.literal_eval(tree)
