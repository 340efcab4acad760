"""Continues a sequence with PyTorch, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netspec.compiler.ir.graph import Graph, Node
from netspec.runtime.models.pytorch.expressions import evaluate, module_of
from netspec.runtime.models.pytorch.input_types import as_declared

Layer = Callable[[Mapping[str, Tensor]], Tensor]


class TorchArrays:
    """A graph for one image, with the parameters of a module that has them under the same names.

    Args:
        graph: what it computes.
        values: the module's parameters and buffers by name; they are used, not copied.
        dtype: the type of real numbers.
        device: where they are.
        autocast: returns the context manager of mixed precision.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Tensor],
        dtype: torch.dtype,
        device: torch.device,
        autocast: Callable[[], torch.autocast],
    ) -> None:
        self._graph, self._dtype, self._device = graph, dtype, device
        self._autocast = autocast
        self._layers = [(node.name, _layer(node, graph, values)) for node in graph.nodes]

    def given(self, name: str, array: NDArray[Any]) -> Tensor:
        """Return a tensor of the type that the graph declares."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        if self._graph.holds(name) == "real":
            return tensor.to(self._dtype)
        return as_declared(self._graph, name, tensor)

    def held(self, shape: tuple[int, ...], value: float) -> Tensor:
        """Return a new tensor."""
        return torch.full(shape, value, dtype=self._dtype, device=self._device)

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Call each layer."""
        found = dict(inputs)
        with torch.no_grad(), self._autocast():
            for name, layer in self._layers:
                found[name] = layer(found)
        return {name: found[value] for name, value in self._graph.outputs.items()}

    def array(self, value: Tensor) -> NDArray[Any]:
        """Return the numbers in the type of the parameters."""
        found: NDArray[Any] = value.to(self._dtype).cpu().numpy()
        return found


def _layer(node: Node, graph: Graph, values: Mapping[str, Tensor]) -> Layer:
    """Return a layer as a function of the values before it."""
    expression = node.op.torch(*graph.shapes_into(node))
    own = {name: values[full] for name, full in node.parameters.items()}
    module = module_of(expression)
    if module is not None:
        _hold(module.eval(), own)
    inputs = node.inputs

    def layer(found: Mapping[str, Tensor]) -> Tensor:
        given = [found[name] for name in inputs]
        return cast(Tensor, evaluate(expression, given, module, own, training=False))

    return layer


def _hold(module: nn.Module, own: Mapping[str, Tensor]) -> None:
    """Put the parameters of a layer into its module."""
    for path, value in own.items():
        parent, _, name = path.rpartition(".")
        setattr(module.get_submodule(parent), name, value)
