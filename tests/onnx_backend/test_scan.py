"""Scan blocks in ONNX models: `Scan`, held against the NumPy program in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import OnnxOptions, onnx_model
from netspec.testing.op_examples import agreement, random_inputs, random_parameters
from tests.helpers.onnx_support import check_model, run_session, session
from tests.ops.test_scan_blocks import ELMAN, MEMORY, ODD, net

TEXTS = {
    "odd": (ODD, {"H": 4}),
    "odd of another height": (ODD, {"H": 6}),
    "states that are given": (
        f"{MEMORY}net N {{ input x: [T, 3]\n input h: [4]\n input c: [4]\n"
        " output Memory(x, h, c, 4) }",
        {"T": 5},
    ),
    "in a block, twice": (
        f"{ELMAN}block Both(n) x {{ return (x -> up: Elman(n)) -> down: Elman(n) }}\n"
        "net N { input tokens: int[T]\n x = tokens -> embedding(7, 3) -> first: Both(4)\n"
        " output x -> second: Both(4) -> linear(2) }",
        {"T": 6},
    ),
    "tokens in each step": (
        "scan block Cell(n) token { state h: [n] = constant(0.5)\n"
        " h = tanh((token -> embedding(5, n) -> flatten) + (h -> linear(n)))\n"
        " return h -> unsqueeze(1) }\n"
        "net N { input tokens: int[T, 1]\n output tokens -> Cell(3) -> linear(2) }",
        {"T": 4},
    ),
}


@pytest.mark.parametrize(
    "options", [{}, {"functions": True}, {"half": True}, {"opset": 17}], ids=str
)
@pytest.mark.parametrize("name", TEXTS)
def test_a_scan_block_in_onnxruntime(name: str, options: dict[str, object]) -> None:
    text, sizes = TEXTS[name]
    open_net, sized = netspec.loads(text), netspec.loads(text, **sizes)
    parameters = random_parameters(sized.graph)
    model = open_net.compile(dtype="float64")
    for key, array in model.parameters.items():
        array[...] = parameters[key]
    state = {key: np.asarray(a, "f4" if a.dtype.kind == "f" else a.dtype)
             for key, a in model.every_array().items()}  # fmt: skip
    made = onnx_model(open_net.graph, state, OnnxOptions(**options))
    check_model(made.proto)
    given = session(made.content())
    for batch in (1, 3):
        inputs = random_inputs(sized.graph, batch)
        y = model.forward(inputs)
        expected = y if isinstance(y, dict) else {"output": y}
        found = run_session(given, inputs)
        for key, value in expected.items():
            assert agreement(value, found[key]) <= (2e-2 if "half" in options else 2e-5), key


def test_a_body_is_one_scan_with_names_of_its_own() -> None:
    cell = net(" input x: [T, 3]\n output x -> cell: Elman(width) -> head: linear(2)", ELMAN)
    model = cell.compile()
    made = onnx_model(cell.graph, model.every_array(), OnnxOptions()).proto
    (scan,) = (node for node in made.graph.node if node.op_type == "Scan")
    assert scan.name == "cell"
    (body,) = (a.g for a in scan.attribute if a.name == "body")
    assert [v.name for v in body.input] == ["cell.h", "cell.x"]
    read = {name for node in body.node for name in node.input}
    assert {"cell.ih.weight", "cell.hh.bias"} <= read
    assert {"cell.ih.weight", "cell.hh.bias"} <= {held.name for held in made.graph.initializer}
    lines = {p.value for node in body.node for p in node.metadata_props if p.key == "netspec.layer"}
    assert "linear(4)" in lines
