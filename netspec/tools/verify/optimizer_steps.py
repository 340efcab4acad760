"""Steps of each optimizer, in NumPy and in PyTorch, from the same weights on the same batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from netspec.compiler.ir.graph import Graph
from netspec.runtime.engine.program import Program
from netspec.runtime.models.numpy_model import Model
from netspec.runtime.models.pytorch.input_types import module_inputs
from netspec.runtime.models.pytorch.optimizers import Trained, make_torch_optimizer
from netspec.runtime.models.torch_build import load_all
from netspec.runtime.optim.optimizers import OPTIMIZERS, make_optimizer
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.difference import difference
from netspec.tools.agreement.evaluators import compare_sides, trace_sides
from netspec.tools.agreement.numpy_trace import plan_as_run, step, trace_reference
from netspec.tools.agreement.torch_trace import SharedMasks, by_name, load, tensors

Array = NDArray[Any]

# The limit up to which rounding is measured in float32, where the squares of larger numbers are
# infinite.
LARGEST = 1e15


@dataclass(frozen=True)
class Steps:
    """How far apart the parameters of NumPy and PyTorch are after some steps of an optimizer.

    `parameter`, `index` and `values` (NumPy's, PyTorch's) describe the largest difference.
    `excused` is True if it has grown from rounding.
    """

    optimizer: str
    size: float = -1.0
    parameter: str = ""
    index: tuple[int, ...] = ()
    values: tuple[float, float] = (0.0, 0.0)
    excused: bool = False


class Stepper:
    """Takes steps in NumPy and in PyTorch, from the weights of a case."""

    def __init__(self, graph: Graph, module: nn.Module, case: Trial, dtype: str) -> None:
        self.module = module
        self.case = case
        self.dtype = dtype
        self.model = Model(graph, dtype=dtype)
        self.graph = graph
        self.program = Program(graph, plan_as_run(graph, training=True), self.model.dtype)
        self.inputs = module_inputs(graph, tensors(case.inputs, dtype))
        self.masks = tensors(case.masks, dtype)

    def compare(self, optimizer: str, count: int, tolerance: float | None) -> Steps:
        """Take `count` steps at the optimizer's default rate, and compare parameters and buffers.

        A difference beyond the tolerance is excused if each single step is right.
        """
        self._start(optimizer)
        for _ in range(count):
            self._gradients()
            self._step()
        worst = Steps(optimizer)
        theirs = _arrays(self.module)
        for name, ours in self.model.parameters.items():
            size, index = difference(ours, theirs[name])
            if size > worst.size:
                values = (float(ours[index]), float(theirs[name][index]))
                worst = Steps(optimizer, size, name, index, values)
        if tolerance is not None and not worst.size <= tolerance:
            sound = self._each_is_sound(optimizer, count, tolerance)
            worst = dataclasses.replace(worst, excused=sound)
        return worst

    def _each_is_sound(self, optimizer: str, count: int, tolerance: float) -> bool:
        """Return True if each step by itself agrees.

        The passes are compared at PyTorch's weights, and the updates for PyTorch's gradients.

        The following steps magnify a rounding error in one step. Here, each step starts from the
        same numbers on both sides, so none is passed on. Weights that have diverged to infinity
        prove nothing any more.
        """
        self._start(optimizer)
        for _ in range(count):
            weights = {name: array.copy() for name, array in self._theirs().items()}
            if not all(np.abs(array).max(initial=0) <= LARGEST for array in weights.values()):
                return True
            for name, array in weights.items():
                self.model.parameters[name][...] = array
            self._gradients()
            if not self._passes_agree(weights, tolerance):
                return False
            for name, array in self._theirs().items():
                self.model.parameters[name][...] = array
            for name, p in self.module.named_parameters():
                self.model.gradients[name][...] = p.grad.numpy()
            self._step()
            if not self._apart(self.model.parameters, self._theirs()) <= tolerance:
                return False
        return True

    def _theirs(self) -> dict[str, Array]:
        """Return the module's arrays by the names of the model's; a tied weight has two there."""
        held = _arrays(self.module)
        return {name: held[name] for name in self.model.parameters}

    def _passes_agree(self, weights: Mapping[str, Array], tolerance: float) -> bool:
        """Return True if both sides' gradients and statistics at these weights agree up to rounding."""
        gradients = {name: p.grad.numpy() for name, p in self.module.named_parameters()}
        after = {name: array.copy() for name, array in _arrays(self.module).items()}
        apart = max(
            self._apart(self.model.gradients, gradients),
            self._apart(self.model.parameters, after),
        )
        return apart <= tolerance or self._differ_by_rounding(weights, tolerance, after)

    def _differ_by_rounding(
        self, weights: Mapping[str, Array], tolerance: float, after: Mapping[str, Array]
    ) -> bool:
        """Return True if every number at these weights is the reference's result for those before it.

        Numbers that are zero in exact arithmetic are only rounding, and so is any multiple of them.
        """
        case = dataclasses.replace(self.case, parameters=weights)
        gradients = {name: p.grad.clone() for name, p in self.module.named_parameters()}
        reference = trace_reference(self.graph, case)
        sides = trace_sides(self.graph, case, self.dtype, reference, self.module)
        found = compare_sides(self.graph, case, sides, tolerance)
        load_all(self.module, tensors(after, self.dtype))
        for name, p in self.module.named_parameters():
            p.grad = gradients[name]
        return all(comparison.parting is None for comparison in found)

    @staticmethod
    def _apart(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
        """Return the largest difference between arrays of the same name."""
        return max((difference(array, theirs[name])[0] for name, array in ours.items()), default=0)

    def _start(self, name: str) -> None:
        model, case = self.model, self.case
        model.load_state_dict({name: case.parameters[name] for name in self.graph.saved()})
        load(self.graph, self.module, case, self.dtype)
        self.ours = make_optimizer(name, model.flat_parameters, model.flat_gradients, model.members)
        roles = self.graph.parameters
        parameters = [
            Trained(p, key, decay=float(roles[key].role == "weight"))
            for key, p in self.module.named_parameters()
        ]
        self.theirs = make_torch_optimizer(self.ours, parameters)

    def _gradients(self) -> None:
        """Run forward and backward on both sides; running statistics are updated."""
        step(self.program, self.case, self.model.parameters, self.model.gradients)
        self.theirs.zero_grad()
        with torch.enable_grad(), SharedMasks(self.masks.values()):
            outputs = by_name(self.graph, self.module(*self.inputs.values()))
            loss = self.case.objective.in_torch(outputs)
            if loss.requires_grad:
                loss.backward()
        for p in self.module.parameters():
            if p.grad is None:  # no gradient flows back to it
                p.grad = torch.zeros_like(p)

    def _step(self) -> None:
        self.ours.step(self.ours.default_lr)
        self.theirs.step()


def _arrays(module: nn.Module) -> dict[str, Array]:
    held = {**module.state_dict(), **dict(module.named_buffers())}
    return {name: t.detach().numpy() for name, t in held.items()}


def compare_steps(
    graph: Graph, module: nn.Module, case: Trial, dtype: str, count: int, tolerance: float | None
) -> Iterator[Steps]:
    """Compare `count` steps of each optimizer; without a tolerance no verdict is given."""
    if next(graph.trainable(), None) is None:
        return
    stepper = Stepper(graph, module, case, dtype)
    for name in OPTIMIZERS:
        with np.errstate(over="ignore", invalid="ignore"):
            found = stepper.compare(name, count, tolerance)
        yield found
