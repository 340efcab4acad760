"""Multi-head attention, as a layer and spelled out as a block: names and numbers are equal."""

from __future__ import annotations

import re

import numpy as np

import netspec
from netspec.testing.op_examples import agreement, run_program
from tests.conftest import ROOT


def test_the_layer_is_what_the_block_of_the_documentation_spells_out():
    text = (ROOT / "docs/layers.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```net\n(block MultiheadAttention.*?)```", text, re.DOTALL)
    spelled = netspec.loads(block).graph
    layer = netspec.loads(block.replace(": MultiheadAttention(", ": multihead_attention(")).graph
    assert {n: p.shape for n, p in spelled.parameters.items()} == {
        n: p.shape for n, p in layer.parameters.items()
    }
    rng = np.random.default_rng(0)
    parameters = {name: rng.normal(0, 0.3, p.shape) for name, p in layer.parameters.items()}
    inputs = {name: rng.standard_normal((3, *shape)) for name, shape in layer.inputs.items()}
    dy = {"output": rng.standard_normal((3, *layer.shape_of("self_attention")))}
    ours, theirs = (
        run_program(graph, dict(parameters), inputs, dy, training=True)
        for graph in (layer, spelled)
    )
    assert agreement(ours.outputs["output"], theirs.outputs["output"]) <= 1e-12
    for name in inputs:
        assert agreement(ours.input_gradients[name], theirs.input_gradients[name]) <= 1e-12
    for name in parameters:
        assert agreement(ours.gradients[name], theirs.gradients[name]) <= 1e-12, name
