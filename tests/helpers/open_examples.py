"""The examples of ops with pictures whose sizes are open."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import netspec
from netspec.compiler.ops import registry
from netspec.diagnostics import NetspecError
from netspec.testing.op_examples import net_of

Shapes = tuple[tuple[int, ...], ...]


def open_net(call: str, inputs: Shapes) -> str:
    """Return an example whose pictures' sizes are open; equal sizes have equal names."""
    text = net_of(call, inputs)
    sizes: dict[tuple[int, ...], str] = {}
    for shape in inputs:
        names = sizes.setdefault(shape[1:], f"H{len(sizes)}, W{len(sizes)}")
        text = text.replace(str(list(shape)), f"[{shape[0]}, {names}]", 1)
    return text


def opened(write: Callable[[str, Shapes], str] = open_net) -> Iterator[tuple[str, Shapes]]:
    """Yield the examples that are valid when the sizes of their pictures are open.

    Args:
        write: Returns the net of an example.
    """
    for cls in registry().values():
        for example in cls.examples:
            if all(len(shape) == 3 for shape in example.inputs):
                try:
                    netspec.loads(write(example.call, example.inputs))
                except NetspecError:
                    continue
                yield example.call, example.inputs
