"""Holds what a net computes against what PyTorch computes for a sample."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

import netspec
from netspec.diagnostics import NetspecError
from netspec.export.assemble import standalone_source
from netspec.runtime.engine.program import Program, make_plan
from netspec.testing.op_examples import (
    Array,
    Run,
    agreement,
    random_parameters,
    require,
    run_program,
    run_reference,
)
from netspec.tools.agreement.torch_trace import SharedMasks
from tests.helpers.torch_support import classes, load, masks_of, run_module
from tests.pytorch_samples import (
    flags_left_open,
    layers,  # noqa: F401 - it registers writers, as do the next two
    losses,  # noqa: F401
    sequences,  # noqa: F401
)
from tests.pytorch_samples.functions import WRITERS
from tests.pytorch_samples.written import InexpressibleError, Place, Written

TOLERANCE = 1e-9
# A standalone file takes as long to make as all else together: it is made of every tenth sample.
EVERY_STANDALONE = 10
# PyTorch rounds the slope of its hard sigmoid, a sixth, to float32.
ROUNDED = {"nn.functional.hardsigmoid": 1e-7}


@functools.cache
def variants() -> dict[str, Any]:
    """PyTorch's operators with samples, by their names and those of their variants."""
    with flags_left_open():
        from torch.testing._internal.common_methods_invocations import op_db

    return {
        f"{op.name} {op.variant_test_name}".rstrip(): op
        for op in op_db
        if op.name in WRITERS and torch.float64 in op.dtypes
    }


def samples(op: Any) -> Iterator[Any]:
    """The samples of an operator, the same ones each time."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from op.sample_inputs("cpu", torch.float64, requires_grad=True)


def write(function: str, sample: Any) -> tuple[Written, netspec.Net]:
    """Write a sample of a function as a net.

    Raises:
        InexpressibleError: if there is no such net.
    """
    written = Written()
    written.output = WRITERS[function](written, sample)
    try:
        return written, netspec.loads(written.text)
    except NetspecError as error:
        first = error.diagnostics[0]
        raise InexpressibleError(f"{first.code}: {first.message}") from None


def check(function: str, call: Callable[..., Any], sample: Any, *, standalone: bool = True) -> None:
    """Check values and gradients in every evaluator.

    Args:
        function: the name of PyTorch's function.
        call: computes it from the sample's arguments.
        sample: the sample.
        standalone: whether a standalone file is made and run too.

    Raises:
        InexpressibleError: if the sample cannot be written as a net.
        AssertionError: naming the evaluator and what differs.
    """
    written, net = write(function, sample)
    tolerance = ROUNDED.get(function, TOLERANCE)
    given = Given.of(written, net)
    runs = evaluate(written, net, given, standalone=standalone)
    _, ours = next(runs)
    value, gradients, buffers = _theirs(call, sample, written, ours, given.slopes["output"])
    places = {**written.inputs, **written.parameters}
    for who, run in chain([("NumPy", ours)], runs):
        found = {**run.input_gradients, **run.gradients}
        _close(f"{who}: the value", run.outputs["output"].reshape(value.shape), value, tolerance)
        for tensor, expected in gradients.items():
            parts = [found[n] for n, p in places.items() if p.tensor is tensor and n in found]
            if parts and len(parts) == sum(p.tensor is tensor for p in places.values()):
                total = sum(part.reshape(expected.shape) for part in parts)
                _close(f"{who}: a gradient", total, expected, tolerance)
        for name, expected in buffers.items() if who != "standalone" else ():
            _close(f"{who}: {name}", run.parameters[name], expected, tolerance)


class Given(NamedTuple):
    """What every evaluator is given: inputs, parameters and the gradient of the output, by name."""

    inputs: dict[str, Array]
    parameters: dict[str, Array]
    slopes: dict[str, Array]

    @classmethod
    def of(cls, written: Written, net: netspec.Net) -> Given:
        """The tensors of a sample, and random numbers for what it has none for."""
        graph = net.graph
        inputs = {name: _array(place) for name, place in written.inputs.items()}
        parameters = random_parameters(graph)
        for name, place in written.parameters.items():
            require(parameters[name].shape == place.shape, f"the shape of {name}")
            parameters[name] = _array(place)
        (output,) = graph.outputs.values()
        shape = (len(next(iter(inputs.values()))), *graph.shape_of(output))
        return cls(inputs, parameters, {"output": np.random.default_rng(0).standard_normal(shape)})


def evaluate(
    written: Written, net: netspec.Net, given: Given, *, standalone: bool
) -> Iterator[tuple[str, Run]]:
    """Run every evaluator, the NumPy program first.

    A standalone file gives the gradients of parameters alone.
    """
    graph, training = net.graph, written.training
    inputs, parameters, slopes = given
    ours = run_program(graph, parameters, inputs, slopes, training=training)
    yield "NumPy", ours
    masks, dy = ours.masks, slopes["output"]
    yield (
        "reference",
        run_reference(graph, parameters, inputs, slopes, training=training, masks=masks),
    )
    yield "recorded", _recorded(net, parameters, inputs, dy, masks, training=training)
    module = load(classes(net.source("torch"))[net.name]().double(), parameters)
    with masks_of(ours):
        theirs = run_module(module, graph, inputs, slopes, training=training)
    yield "PyTorch", theirs
    if standalone:
        yield "standalone", _standalone(written, parameters, inputs, dy, training=training)


def _array(place: Place) -> Array:
    array: Array = place.tensor.detach().to(torch.float64).numpy().reshape(place.shape).copy()
    return array


def _theirs(
    call: Callable[..., Any], sample: Any, written: Written, ours: Run, dy: Array
) -> tuple[Array, dict[torch.Tensor, Array], dict[str, Array]]:
    """PyTorch's value, its gradients by tensor, and the buffers that the call has updated."""
    masks = [torch.tensor(mask) for mask in ours.masks.values()]
    with SharedMasks(masks):
        y = call(sample.input, *sample.args, **sample.kwargs)
    y = y[0] if isinstance(y, tuple) else y
    places = (*written.inputs.values(), *written.parameters.values())
    leaves = list(dict.fromkeys(p.tensor for p in places if p.tensor.requires_grad))
    found: tuple[Any, ...] = (None,) * len(leaves)
    if y.requires_grad and leaves:
        found = torch.autograd.grad(y, leaves, torch.tensor(dy).reshape(y.shape), allow_unused=True)
    gradients = {
        leaf: (torch.zeros_like(leaf) if g is None else g).numpy()
        for leaf, g in zip(leaves, found, strict=True)
    }
    buffers = {name: tensor.detach().numpy() for name, tensor in written.buffers.items()}
    return y.detach().numpy(), gradients, buffers


def _close(what: str, ours: Array, theirs: Array, tolerance: float) -> None:
    finite = np.isfinite(theirs)
    require(np.array_equal(np.isfinite(ours), finite), f"{what} is not finite elsewhere")
    error = agreement(np.where(finite, theirs, 0), np.where(finite, ours, 0))
    require(error <= tolerance, f"{what} differs by {error:.2e}")


def _recorded(
    net: netspec.Net,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dy: Array,
    masks: Mapping[str, Array],
    *,
    training: bool,
) -> Run:
    """The same program where it makes the recorded calls again."""
    graph = net.graph
    plan = make_plan(graph, training=training, input_gradients=True)
    program = Program(graph, plan, np.dtype(np.float64), replays=True)
    p = {name: a.copy() for name, a in parameters.items()}
    g = {q.name: np.zeros(q.shape) for q in graph.trainable()}
    buffers = program.bind(len(next(iter(inputs.values()))))
    for name, buffer in plan.inputs.items():
        buffers[buffer.name] = inputs[name]
    for _ in range(3):
        for name, a in parameters.items():
            p[name][...] = a
        program.sample(buffers, np.random.default_rng(5))  # as `run_program` draws them
        program.forward(buffers, p)
        outputs = {name: buffers[b.name].copy() for name, b in plan.outputs.items()}
        for buffer in plan.output_gradients.values():
            buffers[buffer.name][...] = dy
        program.backward(buffers, p, g)
    dx = {name: buffers[b.name].copy() for name, b in plan.input_gradients.items()}
    return Run(outputs, g, dx, p, dict(masks))


def _standalone(
    written: Written,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dy: Array,
    *,
    training: bool,
) -> Run:
    """The file by itself: its values, and the gradients of parameters, which are all it gives.

    It is made of a net that ends with a vector, for such a file is trained on scores.
    """
    net = netspec.loads(
        written.text.replace("output ", "y = ").replace("\n}", "\n    output flatten(y)\n}")
    )
    with _module(standalone_source(net.graph)) as module:
        network = getattr(module, net.name)(dtype="float64")
        for name, array in parameters.items():
            network.parameters[name][...] = array
        network.refresh()
        network._rng = np.random.default_rng(5)  # as `run_program` draws
        if not training and _depends_on_mode(net):
            y = network.forward(dict(inputs))
            return Run({"output": np.asarray(y)}, {}, {}, network.parameters, {})
        program = network.training
        with network._training.borrowed() as memory:
            buffers = network._forward(memory, dict(inputs))
            y = buffers[program.outputs["output"]].copy()
            (slope,) = program.output_gradients.values()
            buffers[slope][...] = dy.reshape(y.shape)
            program.backward(buffers, network.parameters, network.gradients, memory.scratch)
        return Run({"output": y}, dict(network.gradients), {}, network.parameters, {})


def _depends_on_mode(net: netspec.Net) -> bool:
    modes = [make_plan(net.graph, training=training).steps for training in (True, False)]
    return modes[0] != modes[1]


@contextmanager
def _module(source: str) -> Iterator[ModuleType]:
    """A file of Python as a module, as long as it is used."""
    module = ModuleType("standalone_sample")
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, "<standalone>", "exec"), module.__dict__)
        yield module
    finally:
        del sys.modules[module.__name__]
