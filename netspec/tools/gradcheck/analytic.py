"""The gradients to check: those of the compiled program and of the PyTorch module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.runtime.engine.native.code import native_program
from netspec.runtime.engine.program import Program, make_plan
from netspec.tools.agreement.case import Trial, another
from netspec.tools.agreement.numpy_trace import MakeProgram, step

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]


@dataclass(frozen=True)
class Analytic:
    """What one backend computes at the point.

    Attributes:
        backend: `numpy`, `c` or `torch`.
        loss: the value of the loss.
        gradients: by kind (`parameter`, `input`) and name.
        buffers: the values that are saved but not trained, after the pass.
    """

    backend: str
    loss: float
    gradients: Mapping[tuple[str, str], Array]
    buffers: Mapping[str, Array]


# What makes the programs of a backend.
PROGRAMS: Mapping[str, MakeProgram] = {"numpy": Program, "c": native_program}


def program_gradients(graph: Graph, case: Trial, backend: str) -> Analytic:
    """Return the gradients of the fused and planned program.

    Those of parameters come from the training program, which does not compute the gradients of
    inputs; those of inputs come from a program that computes both.

    Args:
        graph: the net.
        case: the point.
        backend: one of `PROGRAMS`.
    """
    make = PROGRAMS[backend]
    with_inputs = make_plan(graph, training=case.training, input_gradients=True)
    loss, gradients, buffers = _run(graph, with_inputs, case, make)
    if next(graph.trainable(), None) is not None:
        as_trained = make_plan(graph, training=case.training)
        loss, trained, buffers = _run(graph, as_trained, case, make)
        gradients |= trained
    for name in graph.real_inputs:  # an input that is never read has no gradient
        gradients.setdefault(("input", name), np.zeros_like(case.inputs[name]))
    return Analytic(backend, loss, gradients, buffers)


def _run(
    graph: Graph, plan: Plan, case: Trial, make: MakeProgram
) -> tuple[float, dict[tuple[str, str], Array], dict[str, Array]]:
    program = make(graph, plan, np.dtype(np.float64))
    _step(graph, program, another(case))
    loss, p, g, b = _step(graph, program, case)
    gradients = {("parameter", name): array for name, array in g.items()}
    for name, buffer in plan.input_gradients.items():
        gradients["input", name] = b[buffer.name].copy()
    buffers = {q.name: p[q.name] for q in graph.parameters.values() if not q.trainable}
    return loss, gradients, buffers


def _step(
    graph: Graph, program: Program, case: Trial
) -> tuple[float, dict[str, Array], dict[str, Array], dict[str, Array]]:
    p = {name: array.copy() for name, array in case.parameters.items()}
    g = {q.name: np.full(q.shape, np.nan) for q in graph.trainable()}
    loss, _, b = step(program, case, p, g)
    return loss, p, g, b


def torch_gradients(graph: Graph, module: nn.Module, case: Trial) -> Analytic:
    """Return the generated module's gradients by PyTorch's autograd, with the same dropout masks."""
    import torch

    from netspec.runtime.models.pytorch.input_types import module_inputs
    from netspec.tools.agreement.torch_trace import SharedMasks, by_name, load, one_thread, tensors

    load(graph, module, case, "float64")
    module.zero_grad()
    inputs = module_inputs(graph, tensors(case.inputs, "float64"))
    with one_thread(), torch.enable_grad():
        with SharedMasks(tensors(case.masks, "float64").values()):
            outputs = by_name(graph, module(*inputs.values()))
        values = {name: y.detach().numpy() for name, y in outputs.items()}
        loss, upstream = case.objective.program(values)
        read = [name for name, y in outputs.items() if y.requires_grad]
        torch.autograd.backward(
            [outputs[name] for name in read], [torch.from_numpy(upstream[name]) for name in read]
        )
    leaves = {("parameter", name): p for name, p in module.named_parameters()}
    leaves |= {("input", name): inputs[name] for name in graph.real_inputs}
    gradients = {
        key: np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy().copy()
        for key, leaf in leaves.items()
    }
    buffers = {name: b.detach().numpy().copy() for name, b in module.named_buffers()}
    return Analytic("torch", loss, gradients, buffers)
