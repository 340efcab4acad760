"""Tests of every op in the registry with its own examples. Nothing here names an op."""

from __future__ import annotations

import dataclasses
import operator

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.op import BATCH, BadExample, Example, Op, P, Torch, X
from netspec.compiler.numpy_backend.lower import lower
from netspec.compiler.ops import registry
from netspec.compiler.torch_backend.expressions import OPERATORS
from netspec.runtime.engine.program import make_plan
from tests.helpers.nets import (
    agreement,
    assert_equal_runs,
    graph_of,
    net_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)

EXAMPLES = [(cls, example) for cls in registry().values() for example in cls.examples]
BAD = [(cls, example) for cls in registry().values() for example in cls.bad_examples]
every_example = pytest.mark.parametrize(
    ("cls", "example"),
    EXAMPLES,
    ids=[f"{e.call} of {list(map(list, e.inputs))}" for _, e in EXAMPLES],
)
both_modes = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])


def case(example: Example, batch: int = 3):
    graph = graph_of(example.call, example.inputs)
    return (
        graph,
        random_parameters(graph),
        random_inputs(graph, batch),
        random_output_gradients(graph, batch),
    )


@pytest.mark.parametrize("cls", registry().values(), ids=lambda cls: cls.name)
def test_an_op_documents_and_exemplifies_itself(cls: type[Op]):
    assert cls.__doc__
    assert cls.examples, "the generic tests need examples"
    for name, field in cls.attributes().items():
        assert field.metadata["doc"], f"{name} has no line of documentation"
    named = " ".join(e.call for e in (*cls.examples, *cls.bad_examples))
    for name, field in cls.attributes().items():
        if field.default is not dataclasses.MISSING:
            assert f"{name} =" in named or "(" in named, f"no example sets `{name}`"


@every_example
@both_modes
def test_the_shape_is_what_the_reference_computes(cls, example, training):
    graph, parameters, inputs, dy = case(example)
    masks = run_program(graph, parameters, inputs, dy, training=training).masks
    run = run_reference(graph, parameters, inputs, dy, training=training, masks=masks)
    assert run.outputs["output"].shape[1:] == graph.nodes[-1].shape
    for name, dx in run.input_gradients.items():
        assert dx.shape == inputs[name].shape
    for parameter in graph.trainable():
        assert run.gradients[parameter.name].shape == parameter.shape


@every_example
@both_modes
def test_the_reference_gradient_is_the_slope(cls, example, training):
    """The slope is measured by central differences along random directions, in float64."""
    graph, parameters, inputs, dy = case(example)
    masks = run_program(graph, parameters, inputs, dy, training=training).masks
    run = run_reference(graph, parameters, inputs, dy, training=training, masks=masks)
    rng = np.random.default_rng(3)

    def objective(shift_p, shift_x, step):
        p = {n: a + step * shift_p[n] if n in shift_p else a for n, a in parameters.items()}
        x = {n: a + step * shift_x[n] if n in shift_x else a for n, a in inputs.items()}
        out = run_reference(graph, p, x, dy, training=training, masks=masks).outputs
        return sum(float((out[n] * dy[n]).sum()) for n in out)

    step = 1e-6
    for group, gradients in (("p", run.gradients), ("x", run.input_gradients)):
        for name, gradient in gradients.items():
            direction = {name: rng.standard_normal(gradient.shape)}
            shifts = (direction, {}) if group == "p" else ({}, direction)
            slope = (objective(*shifts, step) - objective(*shifts, -step)) / (2 * step)
            expected = float((gradient * direction[name]).sum())
            scale = max(1.0, float(np.abs(gradient * direction[name]).sum()))
            assert abs(slope - expected) <= 1e-6 * scale, name


@every_example
@both_modes
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_program_equals_the_reference(cls, example, training, batch):
    graph, parameters, inputs, dy = case(example, batch)
    if training and batch < graph.nodes[0].op.least_training_batch(*example.inputs):
        pytest.skip("a batch too small to train on")
    ours = run_program(graph, parameters, inputs, dy, training=training)
    theirs = run_reference(graph, parameters, inputs, dy, training=training, masks=ours.masks)
    assert_equal_runs(ours, theirs, 1e-11)


@every_example
@both_modes
def test_the_program_in_single_precision(cls, example, training):
    graph, parameters, inputs, dy = case(example)
    ours = run_program(graph, parameters, inputs, dy, training=training, dtype=np.float32)
    assert all(a.dtype == np.float32 for a in (*ours.outputs.values(), *ours.gradients.values()))
    theirs = run_reference(graph, parameters, inputs, dy, training=training, masks=ours.masks)
    assert_equal_runs(ours, theirs, 2e-4)


@every_example
def test_passes_change_nothing(cls, example):
    graph, parameters, inputs, dy = case(example)
    plain = lower(graph, training=True, input_gradients=True)
    planned = make_plan(graph, training=True, input_gradients=True)
    a = run_program(graph, parameters, inputs, dy, training=True, plan=plain)
    b = run_program(graph, parameters, inputs, dy, training=True, plan=planned)
    assert_equal_runs(a, b, 1e-13)


def torch_call(torch, expression, inputs, module, parameters):
    """Evaluate an op's PyTorch expression on tensors."""

    def value(argument):
        if isinstance(argument, X):
            return inputs[argument.index]
        if isinstance(argument, P):
            return parameters[argument.name]
        if isinstance(argument, Torch):
            return torch_call(torch, argument, inputs, module, parameters)
        if isinstance(argument, tuple):
            return tuple(map(value, argument))
        return len(inputs[0]) if argument is BATCH else argument

    if expression.is_module:
        return module(*map(value, expression.inputs))
    prefix, _, name = expression.target.partition(".")
    home = {"F": torch.nn.functional, "torch": torch}[prefix]
    if expression.target in OPERATORS:  # an operand may be a number
        home, name = operator, {"div": "truediv"}.get(name, name)
    options = {key: value(v) for key, v in expression.options.items()}
    function = operator.attrgetter(name)(home)
    return function(*map(value, expression.arguments), **options)


@every_example
@both_modes
def test_the_program_equals_pytorch(cls, example, training):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    graph, parameters, inputs, dy = case(example)
    ours = run_program(graph, parameters, inputs, dy, training=training)
    if ours.masks and training:
        pytest.skip("PyTorch draws another random mask")
    expression = graph.nodes[0].op.torch(*example.inputs)
    inner, module = expression.module, None
    path = graph.nodes[0].name
    state = {name.removeprefix(path + "."): torch.tensor(a) for name, a in parameters.items()}
    loose = {}
    if inner is not None:
        build = getattr(torch.nn, inner.target.removeprefix("nn."))
        module = build(*inner.arguments, **inner.options).double().train(training)
        module.load_state_dict(state)
    else:
        loose = {name: tensor.requires_grad_() for name, tensor in state.items()}
    x = [torch.tensor(a, requires_grad=True) for a in inputs.values()]
    y = torch_call(torch, expression, x, module, loose)
    if y.requires_grad:
        y.backward(torch.tensor(dy["output"]))
    assert agreement(ours.outputs["output"], y.detach().numpy()) <= 1e-11
    for array, tensor in zip(ours.input_gradients.values(), x, strict=True):
        theirs = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        assert agreement(array, theirs.numpy()) <= 1e-10
    trained = module.named_parameters() if module is not None else loose.items()
    for name, p in trained:
        assert agreement(ours.gradients[f"{path}.{name}"], p.grad.numpy()) <= 1e-10
    for name, b in module.named_buffers() if module is not None else ():
        assert agreement(ours.parameters[f"{path}.{name}"], b.numpy()) <= 1e-11


@pytest.mark.parametrize(("cls", "example"), BAD, ids=[e.call for _, e in BAD])
def test_bad_examples_are_refused(cls, example: BadExample):
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(net_of(example.call, example.inputs))
    codes = [d.code for d in error.value.diagnostics]
    assert codes == [example.code]
    assert error.value.diagnostics[0].span is not None
