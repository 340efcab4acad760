"""A net as a list of calls, for peers that build it layer by layer.

Each op describes itself in PyTorch's terms (`Op.torch`), as data. A peer other than PyTorch
supports those of these terms that it has a function for, and nobody needs to ask an op for its
name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import P, Torch, X


class UnsupportedError(Exception):
    """A peer cannot do this."""


@dataclass(frozen=True)
class TorchCall:
    """A call of one function or module of PyTorch.

    Attributes:
        target: such as `nn.Conv2d` or `F.relu`.
        inputs: names of values.
        output: the name of its result.
        arguments: the other positional arguments.
        options: the keyword arguments.
        parameters: full names by the module's own names (`weight`).
    """

    target: str
    inputs: tuple[str, ...]
    output: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    parameters: Mapping[str, str]


def calls(graph: Graph, known: Mapping[str, Any]) -> list[TorchCall]:
    """Return a graph as calls, in order.

    Raises:
        UnsupportedError: naming a target that is not among `known`.
    """
    found = [call for node in graph.nodes for call in _calls_of(node, graph)]
    strange = sorted({call.target for call in found} - set(known))
    if strange:
        raise UnsupportedError(f"has no {', '.join(strange)} here")
    return found


def _calls_of(node: Node, graph: Graph) -> Iterator[TorchCall]:
    counter = 0

    def unfold(form: Torch, output: str) -> Iterator[TorchCall]:
        nonlocal counter
        parts = form.inputs if form.is_module else form.arguments
        inputs: list[str] = []
        rest: list[Any] = list(form.arguments) if form.is_module else []
        for part in _flat(parts):
            if isinstance(part, X):
                inputs.append(node.inputs[part.index])
            elif isinstance(part, Torch):
                counter += 1
                inputs.append(f"{node.name}.{counter}")
                yield from unfold(part, inputs[-1])
            elif isinstance(part, P):
                raise UnsupportedError(f"has no `{node.op}` here")
            else:
                rest.append(part)
        yield TorchCall(
            form.target, tuple(inputs), output, tuple(rest), form.options, node.parameters
        )

    yield from unfold(node.op.torch(*graph.shapes_into(node)), node.name)


def _flat(parts: tuple[Any, ...]) -> Iterator[Any]:
    """Return the parts, with tuples of values (as joined by `torch.cat`) flattened."""
    for part in parts:
        if isinstance(part, tuple) and any(isinstance(item, (X, Torch)) for item in part):
            yield from part
        else:
            yield part


def pair(value: Any) -> tuple[int, int]:
    """Return a pair of numbers: the pair itself, or one number for both axes."""
    return (value[0], value[1]) if isinstance(value, tuple) else (value, value)


def padding(options: Mapping[str, Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return ((top, bottom), (left, right)) for a convolution or a pool."""
    given = options.get("padding", 0)
    if given == "same":
        reaches = [
            d * (k - 1)
            for k, d in zip(
                pair(options["kernel_size"]), pair(options.get("dilation", 1)), strict=True
            )
        ]
        (top, left), (height, width) = [r // 2 for r in reaches], reaches
        return (top, height - top), (left, width - left)
    vertical, horizontal = pair(given)
    return (vertical, vertical), (horizontal, horizontal)


def plain(call: TorchCall, **wanted: Any) -> None:
    """Refuse options that a peer does not have, unless they have these values.

    Raises:
        UnsupportedError: naming the first such option.
    """
    for name, value in wanted.items():
        given = call.options.get(name, value)
        if given not in (value, (value, value)):
            raise UnsupportedError(f"has no {call.target}({name}={given}) here")
