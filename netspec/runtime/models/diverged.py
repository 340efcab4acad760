"""Explains a loss that is not finite: at which step and layer it began, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.passes.bind_sizes import match_sizes, open_sizes, specialize
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.weights.safetensors_file import first_not_finite

Array = NDArray[Any]


@dataclass(frozen=True)
class LastStep:
    """The data of the last step.

    Attributes:
        graph: The net.
        frozen: Its frozen parameters.
        parameters: Parameters and buffers, as they were at that step.
        x: The batch (N, ...), augmented and normalized; one array for each of several inputs.
        random: The state of the random numbers before the step's masks were drawn; None to use
            others.
    """

    graph: Graph
    frozen: frozenset[str]
    parameters: Mapping[str, Array]
    x: Array | Mapping[str, Array]
    random: Mapping[str, Any] | None = None

    @property
    def inputs(self) -> Mapping[str, Array]:
        """The batch by the names of the inputs."""
        return self.x if isinstance(self.x, Mapping) else {next(iter(self.graph.inputs)): self.x}


@dataclass(frozen=True)
class Fault:
    """Where the first number is that is not finite: in `node`, or in the net's input.

    Attributes:
        node: The layer; None for the input.
        parameter: The parameter that has it; None if it is in the layer's values.
        text: Describes the number.
    """

    node: Node | None
    parameter: str | None
    text: str


def diverged(
    value: float,
    step: int,
    epoch: int,
    lr: float,
    last: LastStep | None,
    *,
    is_normalized: bool = False,
) -> NetspecError:
    """Return the error for a loss that is infinite or NaN.

    Args:
        value: The loss.
        step: The number of the step, from 1.
        epoch: Its epoch, from 1.
        lr: Its learning rate.
        last: The data of the step; None if they are not available any more.
        is_normalized: Whether the input is normalized by its statistics.
    """
    message = f"the loss became {value} at step {step} (epoch {epoch}, learning rate {lr:g})"
    fault = find_fault(last) if last is not None else None
    notes = []
    if last is not None and fault is None:
        notes.append("every layer's values are finite in that step, but the loss is not")
    if fault is not None:
        since = " since the step before" if step > 1 and fault.parameter is not None else ""
        notes.append(fault.text + since)
    advice = _advice(step, fault, is_normalized=is_normalized)
    return _error(message, fault.node if fault is not None else None, advice, notes)


def overflowed(
    state: Mapping[str, Array],
    step: int,
    epoch: int,
    lr: float,
    last: LastStep | None,
    *,
    is_normalized: bool = False,
) -> NetspecError:
    """Return the error for a step after which parameters or buffers are not finite.

    Args:
        state: Parameters and buffers by name; all finite if only another process's are not.
        step: The number of the step, from 1.
        epoch: Its epoch, from 1.
        lr: Its learning rate.
        last: The data of the step; None if they are not available any more.
        is_normalized: Whether the input is normalized by its statistics.
    """
    name = first_not_finite(state)
    what = "weights of another process are not finite"
    if name is not None:
        what = f"`{name}` holds {_not_finite(state[name])}"
    message = f"after step {step} (epoch {epoch}, learning rate {lr:g}) {what}"
    nodes = last.graph.nodes if last is not None else ()
    node = next((n for n in nodes if name in n.parameters.values()), None)
    return _error(message, node, _slower(is_normalized=is_normalized))


def _error(
    message: str, node: Node | None, advice: Sequence[str], notes: Sequence[str] = ()
) -> NetspecError:
    """Return an error that points at the responsible node, if there is one."""
    blamed = node.origin if node is not None else None
    return NetspecError([
        Diagnostic(
            codes.TRAIN_DIVERGED, message, blamed.span if blamed else None,
            "the first that is not finite" if blamed else "", notes=tuple(notes),
            hints=tuple(map(Hint, advice)), trace=blamed.trace if blamed else (),
        )
    ])  # fmt: skip


def _slower(*, is_normalized: bool) -> list[str]:
    advice = ["lower the learning rate, warm it up (--warmup), or clip the gradient (--clip-norm)"]
    return advice if is_normalized else [*advice, "normalise the input (`channel`)"]


def _advice(step: int, fault: Fault | None, *, is_normalized: bool) -> list[str]:
    if fault is not None and fault.node is None:
        return ["look at the data: the images hold numbers that are not finite, or far too large"]
    if step == 1 and fault is not None and fault.parameter is not None:
        return ["start from other weights: these may come from a run that diverged"]
    if step == 1:  # no learning rate has been used yet
        smaller = "start from smaller weights (`init`)"
        return [smaller if is_normalized else f"normalise the input (`channel`), or {smaller}"]
    return _slower(is_normalized=is_normalized)


def find_fault(last: LastStep) -> Fault | None:
    """Run the batch again layer by layer, and find the first number that is not finite.

    Returns None if all of them are finite, or if there is not enough memory.
    """
    for name, array in last.inputs.items():
        if not np.isfinite(array).all():
            which = f" `{name}`" if len(last.inputs) > 1 else ""
            return Fault(None, None, f"the input{which} holds {_not_finite(array)}")
    graph = last.graph
    if open_sizes(graph):
        sizes = match_sizes(graph, {n: x.shape[1:] for n, x in last.inputs.items()}) or {}
        graph = specialize(graph, sizes)
    try:
        values = _values(graph, last)
    except MemoryError:
        return None
    for node in graph.nodes:
        for parameter in node.parameters.values():
            array = last.parameters[parameter]
            if graph.parameters[parameter].trainable and not np.isfinite(array).all():
                text = f"`{parameter}` holds {_not_finite(array)}"
                return Fault(node, parameter, text)
        if node.name in values and not np.isfinite(values[node.name]).all():
            array = values[node.name]
            inputs = [v for v in node.inputs if v in values]
            largest = max((float(np.abs(values[v]).max()) for v in inputs), default=math.nan)
            text = f"`{node.name}` gives {_not_finite(array)}"
            if not math.isnan(largest):
                text += f" from numbers of up to {largest:.3g}"
            return Fault(node, None, text)
    return None


def _values(graph: Graph, last: LastStep) -> dict[str, Array]:
    """Return the value of every node, and of each input."""
    plan = make_plan(graph, training=True, keep_activations=True, frozen=last.frozen)
    first = next(iter(last.inputs.values()))
    program = Program(graph, plan, first.dtype)
    buffers = program.bind(len(first))
    for name, array in last.inputs.items():
        buffers[plan.inputs[name].name] = array
    rng = np.random.default_rng(0)
    if last.random is not None:
        rng.bit_generator.state = dict(last.random)
    program.sample(buffers, rng)
    # The pass updates running statistics, so it works on copies.
    parameters = {name: np.array(array) for name, array in last.parameters.items()}
    with np.errstate(all="ignore"):
        program.forward(buffers, parameters)
    values = {node: buffers[buffer.name] for node, buffer in plan.activations.items()}
    return {**values, **last.inputs}


def _not_finite(array: Array) -> str:
    """Describe what an array contains besides finite numbers."""
    infinite, nan = int(np.isinf(array).sum()), int(np.isnan(array).sum())
    parts = []
    if nan:
        parts.append(f"{nan:,} NaN")
    if infinite:
        parts.append(f"{infinite:,} infinite")
    return f"{' and '.join(parts)} of {array.size:,} numbers"
