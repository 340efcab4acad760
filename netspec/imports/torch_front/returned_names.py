"""What the `return` of a model's Python calls its outputs, where they are a tuple without names."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from netspec.compiler.parse.tree_builder import KEYWORDS

if TYPE_CHECKING:
    from torch import nn


def with_returned_names(
    names: Sequence[str], module: nn.Module, count: Callable[[], int]
) -> list[str]:
    """Return the names of outputs, with those of `return o, aux` in the place of numbers.

    The only output that evaluation has is called `output`, as that of a model with one.

    Args:
        names: of the outputs in training, `output1` and so on where they have none.
        module: the model.
        count: returns how many outputs it has in evaluation.
    """
    numbered = [f"output{i + 1}" for i in range(len(names))]
    if list(names) != numbered or len(names) < 2:
        return list(names)
    returned = _returned(module, len(names))
    is_auxiliary = count() == 1
    taken = {"output"} | {name for name, _ in module.named_children()} | KEYWORDS
    usable = bool(returned) and len(set(returned)) == len(names) and not set(returned) & taken
    found = list(returned) if usable else numbered
    return ["output", *found[1:]] if is_auxiliary else found


def _returned(module: nn.Module, count: int) -> tuple[str, ...]:
    """Return the names in the tuples that `forward` returns, if there is one such tuple of names."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError):
        return ()
    found = {
        tuple(item.id for item in each.elts if isinstance(item, ast.Name))
        for given in ast.walk(tree)
        if isinstance(given, ast.Return) and given.value is not None
        for each in ast.walk(given.value)
        if isinstance(each, ast.Tuple) and len(each.elts) == count
    }
    return found.pop() if len(found) == 1 else ()
