"""The words that conditions ask for: other values of an argument that is a word."""

from __future__ import annotations

from collections.abc import Iterator

from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax

# So many other words are tried at most.
_MOST = 6


def words_asked(module: Module) -> tuple[str, ...]:
    """Return the words that a module compares with, those of its own file first."""
    trees = (each.tree for each in module.modules() if each.tree is not None)
    found = dict.fromkeys(word for tree in trees for word in _compared(tree.definitions))
    return tuple(found)


def other_words(value: str, words: tuple[str, ...]) -> Iterator[str]:
    """Yield other words than a value, at last one that nothing asks for."""
    yield from [word for word in words if word != value][: _MOST - 1]
    yield f"{value}_"


def _compared(tree: tuple[object, ...]) -> Iterator[str]:
    for part in syntax.parts(tree):
        if isinstance(part, syntax.Compare):
            for item in (part.first, *(other for _, other in part.rest)):
                if isinstance(item, syntax.Literal) and isinstance(item.value, str):
                    yield item.value
