"""The types of the tensors that a module takes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from netspec.compiler.ir.graph import Graph

_TYPES = {"int": torch.int64, "bool": torch.bool}


def as_declared(graph: Graph, name: str, x: Tensor) -> Tensor:
    """Return the tensor of an input as the module takes it: int64 where the net declares `int`, bool
    where it declares `bool`.
    """
    kind = _TYPES.get(graph.holds(name))
    return x if kind is None else x.to(kind)


def module_inputs(graph: Graph, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of all inputs as the module takes them, those of real numbers with gradients.

    Args:
        graph: the net.
        given: tensors of real numbers by name.
    """
    made = {name: as_declared(graph, name, x) for name, x in given.items()}
    return {n: x.requires_grad_() if graph.holds(n) == "real" else x for n, x in made.items()}
