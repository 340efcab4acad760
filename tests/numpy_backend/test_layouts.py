"""Values of one rank stored in several layouts: copies are made where an op needs another one."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.layout import Layout, Storage, channels_last, row_major
from netspec.compiler.ir.plan import KernelStep
from netspec.compiler.numpy_backend.layouts import assign_layouts
from netspec.runtime.engine.program import make_plan
from netspec.testing.op_examples import (
    assert_equal_runs,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)

NETS = {
    "a signal and a sequence added": """
        input x: [4, 6]
        y = x -> linear(6) -> tanh
        z = x -> conv(4, 3, pad = 1) -> tanh
        output a = y + z
        output b = z * y
    """,
    "a signal read by layers of both kinds": """
        input x: [3, 7]
        y = x -> conv(4, 3) -> batch_norm -> relu
        output a = y -> linear(2)
        output b = y -> conv(2, 2) -> flatten -> linear(3)
        output c = (y, y -> softmax(axis = 2)) -> concat
        output d = (y, y, y) -> attention
        output e = y -> permute([2, 1]) -> layer_norm -> linear(2)
        output f = mean(y, 2, keep = true) * y
    """,
    "a volume with axes reduced, sliced and moved": """
        input x: [2, 3, 4, 3]
        y = x -> conv(4, 2, pad = 1) -> tanh
        output a = y -> slice(2, 1, 3) -> linear(2)
        output b = y -> reshape([4, 20, 4]) -> conv(2, 3)
        output c = mean(y, [2, 4]) -> conv(2, 3)
        output d = y -> permute([1, 3, 2, 4]) -> max_pool(2)
        output e = y -> unsqueeze(1) -> squeeze(1) -> instance_norm(affine = true)
    """,
    "a picture with its channels behind": """
        input x: [2, 5, 4]
        y = x -> conv(3, 3, pad = 1) -> permute([2, 3, 1]) -> layer_norm(axes = 1) -> linear(4)
        output a = y -> gelu -> linear(2) -> permute([3, 1, 2]) -> conv(2, 3)
        output b = y
    """,
}


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NETS)
def test_the_program_equals_the_reference(name: str, training: bool) -> None:
    graph = netspec.loads(f"net A {{ {NETS[name]} }}").graph
    parameters, inputs = random_parameters(graph), random_inputs(graph, 3)
    dy = random_output_gradients(graph, 3)
    found = run_program(graph, parameters, inputs, dy, training=training)
    wanted = run_reference(graph, parameters, inputs, dy, training=training, masks=found.masks)
    assert_equal_runs(found, wanted, 1e-10)


def test_a_chain_of_layers_for_signals_copies_only_at_its_ends() -> None:
    text = """net A {
        input x: [3, 20]
        y = x -> conv(4, 3) -> batch_norm -> relu -> max_pool(2) -> conv(4, 3) -> dropout(0.5)
        output y -> conv(2, 3)
    }"""
    plan = make_plan(netspec.loads(text).graph, training=True, input_gradients=True)
    moves = [
        step.kernel
        for step in plan.steps
        if isinstance(step, KernelStep) and step.kernel.startswith(("layout.", "copies."))
    ]
    assert sorted(moves) == ["copies.to_channels_first"] * 2 + ["copies.to_channels_last"] * 2


def test_an_input_is_stored_as_its_readers_want_it() -> None:
    text = """net A {
        input sound: [3, 20]
        input tokens: [3, 20]
        input pixels: [4, 5, 3]
        output a = sound -> conv(4, 3)
        output b = tokens -> relu
        output c = pixels -> linear(4)
    }"""
    layouts = assign_layouts(netspec.loads(text).graph)
    assert layouts["sound"] == layouts["conv1"] == channels_last(2)
    assert layouts["tokens"] == layouts["relu1"] == row_major(2)
    assert layouts["pixels"] == row_major(3)


def test_layouts() -> None:
    turned = channels_last(4)
    assert turned == Layout((2, 3, 4, 1))
    assert turned.stored(("c", "d", "h", "w")) == ("d", "h", "w", "c")
    assert [turned.position(axis) for axis in (1, 2, 3, 4)] == list(turned.inverse) == [4, 1, 2, 3]
    x = np.arange(24).reshape(1, 2, 3, 4)
    stored = x.transpose([axis - 1 for axis in turned.order])
    assert np.array_equal(stored.transpose([at - 1 for at in turned.inverse]), x)
    assert turned.keeps_order((1, 2, 3, 4))
    assert turned.keeps_order((5, 1, 1, 1))
    assert not turned.keeps_order((2, 1, 3, 1))
    assert channels_last(1) == row_major(1)
    kept = Storage.KEPT.wanted((turned, row_major(4)), 4)
    assert kept == ((turned, turned), turned)
