"""Other values of arguments: with these a body is built again, which shows what depends on them.

They only choose what is tried. That the statements hold for them is seen where they are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def others_in_net(value: Any) -> Iterator[Any]:
    """Yield other values of a net's argument that is no word, most likely ones first."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        # Sizes of pictures are often halved by the net, so twice as large ones are tried soon.
        half, twice = value // 2, 2 * value
        steps = (1, -1, half, value, -half, twice, 2, -2, 3, -3, 4, -4, 5, -5, 6, 8, 12)
        yield from (value + step for step in steps if step and value + step >= 0)
    elif isinstance(value, float):
        yield from (value / 2 + 0.0125, 0.0, value * 0.75, value * 2, value + 1.0)
    elif isinstance(value, tuple) and value and all(type(item) is int for item in value):
        longer = (*value, value[-1])
        if len(value) > 2:  # two turns of a loop show what the others do, and are built soon
            yield tuple(min(item, 2) for item in value[:2])
            yield tuple(min(item, 2) for item in value[:-1])
        yield tuple(min(item, 3) for item in longer)
        yield tuple(min(item, 2) for item in value[:-1])
        yield from (value[:-1], longer, tuple(item + 1 for item in value))
        yield tuple(2 * item for item in value)
    elif isinstance(value, tuple) and value and all(type(item) is float for item in value):
        yield tuple(item / 2 + 0.0125 for item in value)
        yield tuple(item * 0.75 for item in value)
        yield from (value[:-1], (*value, value[-1]))


def others_in_block(value: Any) -> Iterator[Any]:
    """Yield other values of a block's argument that is no word, or of the size of an input.

    What a block does is tried with all of them where a condition asks for a size.
    """
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 2 * value, 2 * value + 1, value + 8, max(value - 1, 0), 3 * value)
        yield from (1, 2)
    elif isinstance(value, float):
        yield from (
            value / 2 + 0.0125,
            value * 0.75,
            value * 2,
            value + 1.0,
            value / 3,
            value + 0.1,
        )
    elif isinstance(value, tuple) and value and all(type(item) is int for item in value):
        yield from (value[:-1], (*value, value[-1]), tuple(item + 1 for item in value))
