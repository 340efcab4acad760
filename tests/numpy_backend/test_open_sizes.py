"""The printed program of a net with open sizes runs on pictures of any size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Plan
from netspec.compiler.ir.sizes import at
from netspec.compiler.numpy_backend.emit import emit_program
from netspec.compiler.numpy_backend.explain import explain_plan
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.passes.bind_sizes import match_sizes, specialize
from netspec.testing.op_examples import (
    random_inputs,
    random_output_gradients,
    random_parameters,
)
from tests.conftest import ROOT, Run
from tests.helpers.open_examples import Shapes, open_net, opened

BATCH = 2


def samples() -> Iterator[tuple[str, str]]:
    """Yield the nets of the documentation that have open sizes."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for number, block in enumerate(re.findall(r"```\w*\n(.*?)```", path.read_text(), re.S)):
            if re.search(r"net \w+.*input \w+: \[[^\]]*[A-Z]", block, re.S):
                yield f"{path.name}-{number}", block
    yield "edges", (ROOT / "docs" / "course" / "edges.net").read_text()


def normed_net(call: str, inputs: Shapes) -> str:
    """Return an example behind a layer norm of each channel, so that the program has row vectors
    too.
    """
    return open_net(call, inputs).replace("output x0 ->", "output x0 -> batch_norm -> silu ->")


class Memory(dict[str, np.ndarray]):
    """Each buffer of a plan in memory of its own, allocated when it is first used."""

    def __init__(self, plan: Plan, sizes: Mapping[str, int]) -> None:
        super().__init__()
        operands = {o for step in plan.steps for o in (*step.reads, *step.writes)}
        self.known = {o.name: o for o in operands if isinstance(o, Buffer)}
        self.sizes = sizes

    def __missing__(self, name: str) -> np.ndarray:
        buffer = self.known[name]
        batch = (BATCH,) if buffer.batched else ()
        self[name] = np.full((*batch, *at(buffer.shape, self.sizes)), np.nan)
        return self[name]


def run_functions(
    plan: Plan, graph: Graph, memory: Memory, functions: Mapping[str, Callable[..., None]]
) -> list[np.ndarray]:
    """Return outputs, gradients of the inputs, and those of the parameters."""
    p = {n: np.array(a) for n, a in random_parameters(graph).items()}
    g = {q.name: np.zeros(q.shape) for q in graph.trainable()}
    for name, array in random_inputs(graph, BATCH).items():
        memory[plan.inputs[name].name] = array
    for name, array in random_output_gradients(graph, BATCH).items():
        memory[plan.output_gradients[name].name] = array
    scratch = np.empty(1 << 20)
    if "sample" in functions:
        functions["sample"](memory, np.random.default_rng(0))
    functions["forward"](memory, p, scratch)
    functions["backward"](memory, p, g, scratch)
    results = (*plan.outputs.values(), *plan.input_gradients.values())
    return [*(memory[b.name] for b in results), *(g[name] for name in sorted(g))]


def holds(
    open_graph: Graph,
    shapes: dict[str, tuple[int, ...]],
    without: tuple[str, ...],
    plain: bool = False,
) -> None:
    """Check that the open net's printed functions give the bits of the program that knows its
    sizes.
    """
    sizes = match_sizes(open_graph, shapes)
    assert sizes is not None
    graph = specialize(open_graph, sizes)
    found = []
    for each in (open_graph, graph):
        plan = make_plan(each, training=True, without=without, input_gradients=True)
        functions: dict[str, Any] = {}
        exec(emit_program(plan, each, plain=plain).text, functions)
        found.append(run_functions(plan, graph, Memory(plan, sizes), functions))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("call", "inputs"), [*opened(normed_net)], ids=str)
def test_every_op_prints_a_program_for_open_sizes(call, inputs):
    graph = netspec.loads(normed_net(call, inputs)).graph
    shapes = {f"x{i}": shape for i, shape in enumerate(inputs)}
    holds(graph, shapes, ())


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("input x: [C, 4]\n output x -> instance_norm(affine = false)", {"x": (3, 4)}),
        (
            "input q: [M, 3, 2]\n input k: [K, 3, 2]\n output (q, k, k) -> attention",
            {"q": (2, 3, 2), "k": (2, 3, 2)},
        ),
    ],
)
def test_channels_and_heads_that_are_open(text, shapes):
    holds(netspec.loads(f"net A {{ {text} }}").graph, shapes, ())


@pytest.mark.parametrize("left_out", [(), *((name,) for name in PASS_NAMES)], ids=str)
def test_every_pass_takes_formulas_of_sizes(left_out):
    text = """
        net Fcn {
            input image: [3, H, W]
            input more: [8, H, W]
            x = image -> conv(8, 3, pad = 1) -> batch_norm -> relu -> max_pool(2, stride = 1, pad = 1)
            y = more -> batch_norm -> gelu -> dropout(0.2) -> conv(8, 2, pad = 1)
            z = relu(x + y) -> drop_path(0.1) -> upsample(2) -> max_pool(2, stride = 2) -> tanh
            output z * x -> batch_norm -> sigmoid -> global_avg_pool -> linear(5)
        }"""
    graph = netspec.loads(text).graph
    for height, width in ((5, 7), (8, 8), (1, 2)):
        shapes = {"image": (3, height, width), "more": (8, height, width)}
        holds(graph, shapes, left_out)
    for training in (True, False):
        assert "count as 224" in explain_plan(graph, training=training, without=left_out)


@pytest.mark.parametrize("plain", [False, True])
def test_functions_of_blocks_are_given_the_sizes(plain: bool):
    text = """
        block Rows x {
            return x -> conv(4, 1) -> relu -> pad([[1, 1], [1, 1]]) -> conv(4, 3) -> reshape([4, -1])
        }
        block Twice x { return concat(x -> Rows, x -> Rows, axis = 2) }
        net Open {
            input image: [4, H, W]
            input other: [4, 2 * H, W]
            a = image -> Rows
            b = concat(image -> Twice, other -> Twice, image -> Twice, other -> Twice, axis = 2)
            x = concat(a, b, other -> Rows, image -> Rows, axis = 2)
            output x -> softmax(axis = 2) -> mean(2) -> linear(3)
        }"""
    graph = netspec.loads(text).graph
    emitted = emit_program(make_plan(graph, training=True), graph, plain=plain).text
    assert re.search(r"def rows_forward\(at, x, b, p, s, size\)", emitted)
    assert "def twice_forward(at, " in emitted
    for height, width in ((5, 7), (1, 2)):
        holds(graph, {"image": (4, height, width), "other": (4, 2 * height, width)}, (), plain)


@pytest.mark.parametrize(("name", "text"), [*samples()], ids=lambda value: value[:20])
@pytest.mark.parametrize("flags", [(), ("--explain-plan",), ("--inference",)])
def test_the_samples_of_the_documentation_compile(run: Run, write, name, text, flags):
    finished = run("compile", write(text, "sample.net"), "--target", "numpy", *flags)
    assert (finished.code, finished.err) == (0, "")
    if "--explain-plan" not in flags:
        compile(finished.out, name, "exec")


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6])
def test_a_ceiled_pool_has_one_formula_for_all_sizes(kernel: int, stride: int):
    for pad in range(kernel // 2 + 1):
        pool = f"max_pool({kernel}, stride = {stride}, pad = {pad}, ceil_mode = true)"
        head = "net A { input x: [1, %s, %s]\n output x -> " + pool + " }"
        graph = netspec.loads(head % ("H", "W")).graph
        for size in range(kernel, 12):
            exact = netspec.loads(head % (size, size)).graph
            shapes = specialize(graph, {"H": size, "W": size}).by_name["max_pool1"].shape
            formula = at(graph.by_name["max_pool1"].shape, {"H": size, "W": size})
            assert formula == exact.by_name["max_pool1"].shape == shapes


def test_a_slice_of_an_open_size_compiles_to_pytorch(run: Run, write):
    net = write("net A { input x: [1, H, W]\n output x -> slice(2, -3) -> slice(3, 1, step = 2) }")
    finished = run("compile", net, "--target", "torch")
    assert (finished.code, finished.err) == (0, "")
    assert "torch.narrow(" in finished.out
