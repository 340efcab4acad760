"""Scan blocks: recurrences of one's own over the first axis, and their messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.analysis.costs import summarize
from netspec.compiler.analysis.diff import compare
from netspec.export import standalone_source
from netspec.testing.op_examples import (
    agreement,
    random_inputs,
    random_output_gradients,
    run_program,
)
from netspec.tools.gradcheck.run import gradcheck
from netspec.tools.verify.run import verify
from tests.helpers.errors import fails

ELMAN = """scan block Elman(width) x {
    state h: [width] = zeros
    h = tanh((x -> ih: linear(width)) + (h -> hh: linear(width)))
    return h
}
"""
MEMORY = """scan block Memory(width) x, h0, c0 {
    state h: [width] = h0
    state c: [width] = c0
    i, f, g, o = (x -> ih: linear(4 * width)) + (h -> hh: linear(4 * width)) -> split(4)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h
}
"""
# A convolutional memory with statistics and a parameter, a shared layer, a scan in a scan, a mask that
# every step is given whole, states that change places, and sizes left open.
ODD = """
block Gates(c) x, h {
    return (x -> a: conv(c, 3, pad = 1)) + (h -> b: conv(c, 3, pad = 1, bias = false))
}

scan block Pictures(c) x {
    state h: [c, x.height, x.width] = zeros
    state m: [c, x.height, x.width] = constant(0.5)

    init weight = normal(0.1)
    parameter scale: [c, 1, 1] = constant(0.7)
    i, f, g, o = Gates(x, h, 4 * c) -> split(4)
    m = sigmoid(f) * m + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(m * scale) -> batch_norm
    return h -> max_pool(2)
}

scan block Inner(n) x {
    state s: [n] = zeros
    s = tanh((x -> linear(n)) + s)
    return s
}

scan block Outer(n) x, mask {
    state s: [n] = zeros
    y = x -> low.0: Inner(n)
    before = s
    s = where(mask, y -> mean(1), s) + 0.1
    return before -> layer_norm
}

scan block Swap(n) x {
    state a: [n] = zeros
    state b: [n] = ones
    a, b = [b + (x -> linear(n, weight = constant(0.1), bias = zeros)), a]
    return x
}

net Odd(n = 3) {
    input clip: [4, 2, H, 6]
    input mask: bool[3]

    layer cell = Pictures(n)
    x = clip -> cell
    y = x -> slice(2, 0, 2) -> mean([3, 4]) -> Swap(n)
    z = clip -> reshape([4, 2, -1, 6]) -> cell -> mean([3, 4])
    w = x -> permute([1, 3, 4, 2]) -> reshape([4, -1, n])
    v = Outer(w, mask, n)
    output p = v + (z -> linear(n))
    output q = y -> linear(2)
}
"""


def net(body: str, blocks: str = "", **arguments: int) -> netspec.Net:
    return netspec.loads(f"{blocks}net N(width = 4) {{\n{body}\n}}\n", **arguments)


LAYERS = {
    "rnn": (
        " input x: [T, 3]\n output x -> cell: Elman(width)",
        " input x: [T, 3]\n output x -> cell: rnn(width)",
    ),
    "lstm": (
        " input x: [T, 3]\n input h: [width]\n input c: [width]\n output Memory(x, h, c, width)",
        " input x: [T, 3]\n input h: [width]\n input c: [width]\n output lstm(x, h, c, width)",
    ),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_cell_of_ones_own_equals_the_layer(kind):
    """Its values and gradients are those of the layer with the same parameters."""
    own, layer = (net(body, ELMAN + MEMORY, T=6) for body in LAYERS[kind])
    rng = np.random.default_rng(0)
    inputs = random_inputs(own.graph, 3)
    dy = random_output_gradients(own.graph, 3)
    names = {}
    for mine in own.graph.parameters:
        layer_name, way, what = mine.rsplit(".", 2)
        names[mine] = f"{layer_name.replace('memory', 'lstm')}.{what}_{way}_l0"
    given = {theirs: rng.standard_normal(own.graph.parameters[mine].shape) / 2
             for mine, theirs in names.items()}  # fmt: skip
    first = {mine: given[theirs] for mine, theirs in names.items()}
    found = run_program(own.graph, first, inputs, dy, training=True)
    wanted = run_program(layer.graph, given, inputs, dy, training=True)
    assert agreement(found.outputs["output"], wanted.outputs["output"]) <= 1e-10
    for key, value in wanted.input_gradients.items():
        assert agreement(found.input_gradients[key], value) <= 1e-10, key
    for mine, theirs in names.items():
        assert agreement(found.gradients[mine], wanted.gradients[theirs]) <= 1e-10, mine


def test_reference_numpy_and_pytorch_agree_on_what_steps_can_hold():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.helpers.torch_support import check_equal

    check_equal(netspec.loads(ODD, H=4), batch=2)


@pytest.mark.heavy
def test_every_value_and_slope_agrees():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    odd = netspec.loads(ODD, H=4)
    assert not verify(odd, batch=2, steps=1, dtypes=["float64"]).diagnostics
    report = gradcheck(odd, batch=2)
    assert not report.diagnostics, report.diagnostics


@pytest.mark.heavy
def test_the_module_is_formatted_compiled_and_exported():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from tests.helpers.formatted import check_formatted
    from tests.helpers.torch_support import check_imports, classes

    source = netspec.loads(ODD).source("torch")
    check_formatted({"odd": source})
    check_imports(source)
    assert source.count("class Pictures") == 1
    module = classes(source)["Odd"]().eval()
    given = torch.randn(2, 4, 2, 4, 6), torch.rand(2, 3) > 0.5
    torch.compiler.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    exported = torch.export.export(module, given).module()
    with torch.no_grad():
        wanted = module(*given)
        for other in (compiled, exported):
            for a, b in zip(wanted, other(*given), strict=True):
                assert torch.allclose(a, b, atol=1e-6)


def test_initial_values_are_those_that_the_steps_say():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    module = netspec.loads(ODD, H=4).compile("torch").module
    assert torch.all(module.swap1.linear1.weight == 0.1)
    assert torch.all(module.cell.scale == 0.7)
    assert 0.05 < float(module.cell.gates1["a"].weight.detach().std()) < 0.15


def test_layers_of_a_step_can_share_a_parameter():
    """One gradient, one parameter in the module, and both names in its state dict."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    blocks = """scan block Tied(n) x {
    state h: [n] = zeros
    y = x -> one: linear(n, bias = false)
    h = tanh(y + (h -> two: linear(n, bias = false, weight = one.weight)))
    return h
}
"""
    one = net(" input x: [3, 4]\n output x -> cell: Tied(width)", blocks)
    assert list(one.graph.parameters) == ["cell.one.weight"]
    assert not verify(one, batch=2, steps=1, dtypes=["float64"]).diagnostics
    module = one.compile("torch").module
    assert module.cell.two.weight is module.cell.one.weight


def test_steps_of_other_sizes_are_other_classes():
    source = net(" input x: [T, 3]\n output x -> Elman(4) -> Elman(4) -> Elman(4)", ELMAN).source(
        "torch"
    )
    assert "class Elman(" in source
    assert "class Elman2(" in source
    assert "class Elman3(" not in source


def test_the_standalone_file_computes_the_same(tmp_path: Path):
    one = net(" input x: [5, 3]\n output x -> Elman(width) -> flatten -> linear(2)", ELMAN)
    (tmp_path / "alone.py").write_text(standalone_source(one.graph), "utf-8")
    x = np.random.default_rng(1).standard_normal((3, 5, 3)).astype("f4")
    y = np.array([0, 1, 0])
    np.savez(tmp_path / "batch.npz", x=x, y=y)
    code = (
        "import numpy as np\nfrom alone import N\nb = np.load('batch.npz')\nn = N(seed=2)\n"
        "loss, g = n.loss_and_grads(b['x'], b['y'])\nnp.savez('found.npz', loss=loss, **g)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    loss, gradients = one.compile(seed=2).loss_and_grads(x, y)
    found = np.load(tmp_path / "found.npz")
    assert agreement(loss, found["loss"]) <= 1e-6
    for key, value in gradients.items():
        assert agreement(value, found[key]) <= 1e-5, key


def test_costs_and_names_are_those_of_the_steps():
    one = net(" input x: [T, 3]\n output x -> cell: Elman(width)", ELMAN)
    summary = summarize(one.graph)
    (layer,) = summary.layers
    assert (layer.name, layer.call, str(layer.macs)) == ("cell", "Elman(width = 4)", "28*T")
    assert summary.parameters == 4 * 3 + 4 + 4 * 4 + 4


def test_diff_tells_steps_apart():
    body = " input x: [5, 3]\n output x -> Elman(width)"
    before, after = net(body, ELMAN), net(body, ELMAN.replace("tanh", "relu"))
    assert compare(before.graph, net(body, ELMAN).graph).equal
    (change,) = (c for c in compare(before.graph, after.graph).changes if c.kind != "same")
    assert change.details == ("other steps",)


STEP = " state h: [2] = zeros\n h = h + (x -> linear(2))\n return h\n"
MISTAKES = {
    "shape": (
        " state h: [2] = zeros\n h = x -> linear(3)\n return h\n",
        ("scan/state", "the state `h` is .N, 2., and its next value .N, 3."),
    ),
    "start": (
        " state h: [2] = w\n h = h + (x -> linear(2))\n return h\n",
        ("scan/state", "the state `h` is .N, 2., and would begin with .N, 3."),
    ),
    "item": (
        " state h: [3] = x\n h = h + x\n return h\n",
        ("scan/state", "before the first step, and cannot begin with the item of a step"),
    ),
    "computed": (
        " a = x -> relu\n state h: [3] = a\n h = h + x\n return h\n",
        ("scan/state", "cannot begin with what is computed in a step"),
    ),
    "random": (
        " state h: [2] = normal(1)\n h = h + (x -> linear(2))\n return h\n",
        ("scan/state", "a state cannot begin with `normal.1, 0.`"),
    ),
    "idle": (
        " state h: [3] = zeros\n return x + h\n",
        ("scan/state", "no step gives the state `h` a new value", "h = ..."),
    ),
    "none": (" return x -> relu\n", ("scan/state", "has no state that its steps hand on")),
    "number": (
        " state h: [3] = zeros\n y = h + x\n h = 3\n return y\n",
        ("scan/state", "the next value of the state `h` must be a value of the net"),
    ),
    "several": (
        " state h: [3] = zeros\n h = h + x\n return h, x\n",
        ("scan/state", "a scan block returns one value"),
    ),
    "dropout": (
        " state h: [3] = zeros\n h = h + (x -> dropout(0.5))\n return h\n",
        ("scan/random", "`dropout` would draw other random numbers in each step"),
    ),
    "name": (
        " state x: [3] = zeros\n x = x + 1\n return x\n",
        ("name/twice", "`x` is already the name of something else"),
    ),
    "return": (" state h: [3] = zeros\n h = h + x\n", ("block/no-return", "S does not return")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_steps_is_explained(mistake):
    body, message = MISTAKES[mistake]
    blocks = f"scan block S x, w {{\n{body}}}\n"
    with fails(*message):
        net(" input x: [5, 3]\n input w: [3]\n output S(x, w)", blocks)


def test_mistakes_around_the_steps_are_explained():
    with fails("shape/rank", "S goes over the first axis of a sequence"):
        net(" input x: [5]\n output x -> S", f"scan block S x {{\n{STEP}}}\n")
    with fails("statement/place", "a `state` belongs to a `scan block`"):
        net(" input x: [5]\n output x -> S", f"block S x {{\n{STEP}}}\n")


def test_a_step_that_cannot_take_the_size_of_an_input_is_an_error_when_it_runs():
    blocks = (
        "scan block S x {\n state h: [1] = zeros\n h = x -> conv(1, 3) -> mean([2, 3]) -> add(h)\n"
    )
    model = net(" input x: [4, 1, H, H]\n output x -> S", f"{blocks} return h\n}}\n").compile()
    assert model.forward(np.zeros((1, 4, 1, 5, 5), "f4")).shape == (1, 4, 1)
    with fails("shape/kernel-too-large", "`s1` at"):
        model.forward(np.zeros((1, 4, 1, 2, 2), "f4"))


def test_steps_count_for_the_limits():
    again = " state h: [2] = zeros\n h = h + (x -> unsqueeze(1) -> S -> flatten)\n return h\n"
    with fails("limit/nesting", "blocks call each other more than 24 deep"):
        net(" input x: [4, 2]\n output x -> S", f"scan block S x {{\n{again}}}\n")
    body = " state h: [2] = zeros\n for i in range(1200) {\n  h = h + x\n }\n return h\n"
    many = " y = x\n for i in range(5) {\n  y = y -> S\n }\n output y"
    one = net(f" input x: [3, 2]\n{many}", f"scan block S x {{\n{body}}}\n")
    with fails("limit/layers", "N has 6,005 layers"):
        one.source("numpy")


def test_state_and_scan_are_names_elsewhere():
    one = net(" input scan: [4]\n state = scan -> relu\n output state -> state: linear(2)")
    assert [node.name for node in one.graph.nodes] == ["relu1", "state"]
