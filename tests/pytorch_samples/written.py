"""A sample of PyTorch's as a net: its text, and which tensor goes where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

MOST_AXES = 4


class InexpressibleError(Exception):
    """The language has nothing for a sample, for the reason in its message."""


@dataclass
class Place:
    """Where a tensor of a sample goes: the tensor, and the shape in which the net holds it."""

    tensor: torch.Tensor
    shape: tuple[int, ...]


@dataclass
class Written:
    """A net that computes what a sample computes.

    Attributes:
        inputs: by the name of the input; the shapes have the batch in front.
        parameters: by the full name of the parameter.
        lines: statements behind the inputs.
        training: whether it runs in training.
        buffers: tensors of the sample that the call updates, by the names of the buffers.
    """

    inputs: dict[str, Place] = field(default_factory=dict)
    parameters: dict[str, Place] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    training: bool = False
    buffers: dict[str, torch.Tensor] = field(default_factory=dict)
    output: str = ""

    def whole(self, tensor: torch.Tensor, shape: Sequence[int] | None = None) -> str:
        """A tensor as the value of one image; a number is a vector of one."""
        return self._input(tensor, (1, *(shape or tensor.shape or (1,))))

    def flat(self, tensor: torch.Tensor) -> str:
        """A tensor as one vector, for what acts on each number alone, if it has too many axes."""
        return self.whole(tensor, (tensor.numel(),) if tensor.ndim > MOST_AXES else None)

    def batch(self, tensor: torch.Tensor, axes: int | None = None) -> str:
        """A tensor whose first axis is the batch; without one, if it has but `axes` axes."""
        if axes is not None and tensor.ndim == axes:
            return self.whole(tensor)
        if tensor.ndim == 1:
            return self._input(tensor, (len(tensor), 1))
        return self._input(tensor, tuple(tensor.shape))

    def aligned(self, tensors: Iterable[torch.Tensor]) -> list[str]:
        """Tensors as values of one image with as many axes, where sizes of 1 are repeated."""
        given = list(tensors)
        rank = max(1, *(t.ndim for t in given))
        return [self.whole(t, (1,) * (rank - t.ndim) + tuple(t.shape)) for t in given]

    def _input(self, tensor: torch.Tensor, shape: tuple[int, ...]) -> str:
        if 0 in shape:
            raise InexpressibleError("a size of 0")
        if len(shape) > MOST_AXES + 1:
            raise InexpressibleError("more than four axes behind the batch")
        if tensor.is_complex():
            raise InexpressibleError("complex numbers")
        name = f"x{len(self.inputs)}"
        self.inputs[name] = Place(tensor, shape)
        return name

    def parameter(
        self, name: str, tensor: torch.Tensor | None, shape: Sequence[int] | None = None
    ) -> None:
        """Give a parameter of the net the numbers of a tensor."""
        if tensor is not None:
            self.parameters[name] = Place(tensor, tuple(tensor.shape if shape is None else shape))

    @property
    def text(self) -> str:
        """The `.net` text."""
        heads = [f"input {n}: {list(p.shape[1:])}" for n, p in self.inputs.items()]
        body = "\n    ".join([*heads, *self.lines, f"output {self.output}"])
        return f"net Sample() {{\n    {body}\n}}\n"


def number(value: Any) -> str:
    """A number as a file writes it."""
    if isinstance(value, torch.Tensor):
        raise InexpressibleError("a tensor in place of a number")
    if isinstance(value, complex):
        raise InexpressibleError("complex numbers")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def axis(dim: int) -> int:
    """An axis of a whole tensor, as the language counts it: the first is 1."""
    return dim + 1 if dim >= 0 else dim


def reduced(value: str, reduction: str, rank: int, shown: str = "mean") -> str:
    """A loss of each element, summed or averaged."""
    if reduction == "none":
        return value
    return f"{reduction}({value}, {list(range(1, rank + 1))}, keep = true)"
