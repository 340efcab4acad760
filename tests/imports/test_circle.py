"""From a net to PyTorch and back: the generated module is read as the file that it came from."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec.compiler.analysis.diff import as_text, compare
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Op
from netspec.compiler.ops import registry
from netspec.compiler.ops.expand import Expand
from netspec.compiler.ops.layer_norm import LayerNorm
from netspec.compiler.ops.reshape import Reshape
from netspec.compiler.ops.slice_as import SliceAs
from netspec.imports.torch_import import import_torch
from netspec.testing.op_examples import net_of
from tests.helpers.zoo import FEW

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
NETS = sorted(p.relative_to(ROOT / "networks").as_posix() for p in ROOT.glob("networks/**/*.net"))
QUICK = ("lenet.net", "threelayer.net", "resnet.net")
# What open sizes are in the trace, which knows no other names of them than the batch's.
OPEN_SIZE = 32
# Models of language are smaller. A rate of 0 drops nothing, and is no layer of the import.
GIVEN: dict[str, dict[str, Any]] = {
    **FEW,
    "gpt2": FEW["gpt2"] | {"drop": 0.1},
    "mlp_mixer_b_16": {"drop": 0.1},
}


def closed(path: Path) -> netspec.Net:
    """Load a net, with numbers for the sizes that its inputs leave open."""
    given = GIVEN.get(path.stem, {})
    net = netspec.load(path, **given)
    names = {
        name
        for shape in net.graph.inputs.values()
        for size in shape
        if not isinstance(size, int)
        for name in size.names()
    }
    if not names:
        return net
    text = path.read_text()
    for name in names:
        text = re.sub(rf"(?m)^(    input .*)\b{name}\b", rf"\g<1>{OPEN_SIZE}", text)
        text = re.sub(rf"\b{name}\b(?![^\n]*\binput\b)", str(OPEN_SIZE), text)
    return netspec.loads(text, **given)


def as_traced(graph: Graph) -> Graph:
    """Return a net as a trace of fixed sizes tells it: sizes that follow from others are numbers."""

    def traced(node: Node) -> Node:
        if isinstance(node.op, SliceAs):
            x, other = graph.shapes_into(node)
            return replace(node, op=node.op._slice(x, other), inputs=node.inputs[:1])
        if isinstance(node.op, Reshape):
            return replace(node, op=Reshape(node.shape))
        if isinstance(node.op, Expand):
            return replace(node, op=Expand(node.shape))
        if isinstance(node.op, LayerNorm):
            return replace(node, op=replace(node.op, axes=node.op._axes(node.shape)))
        return node

    return replace(graph, nodes=tuple(map(traced, graph.nodes)))


def example(net: netspec.Net) -> dict[str, torch.Tensor]:
    found = {}
    for name, shape in net.graph.inputs.items():
        holds = net.graph.holds(name)
        if holds == "bool":
            found[name] = torch.zeros((2, *shape), dtype=torch.bool)
        elif holds == "int" or name in net.graph.whole_inputs:
            found[name] = torch.zeros((2, *shape), dtype=torch.int64)
        else:
            found[name] = torch.randn(2, *shape)
    return found


def close_the_circle(path: Path) -> None:
    net = closed(path)
    module = net.compile("torch").module
    found = import_torch(module, example(net), name=net.name)
    back = netspec.loads(found.text)
    same = compare(as_traced(net.graph), as_traced(back.graph), frozenset(["init"]))
    assert same.equal, as_text(same, "the file", "the import")
    again = back.compile("torch").module
    again.load_state_dict(module.state_dict(), strict=True)
    given = list(example(net).values())
    with torch.no_grad():
        ours, theirs = (m.eval()(*given) for m in (again, module))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", QUICK)
def test_a_small_net_comes_back_from_its_module(name: str) -> None:
    close_the_circle(ROOT / "networks" / name)


# Ops that come back as others, and what a trace of PyTorch has in their place.
AS_OTHERS = {
    "local_response_norm": "a mean over padded channels, and a power",
    "softsign": "a quotient by 1 + |x|",
}


def of_op(op: type[Op], number: int = 0) -> netspec.Net:
    """Return a net of an op's example, with the inputs of whole numbers that it has."""
    text = net_of(op.examples[number].call, op.examples[number].inputs)
    whole = netspec.loads(text).graph.whole_inputs
    for name in whole:
        text = text.replace(f"input {name}: [", f"input {name}: int[")
    return netspec.loads(text)


@pytest.mark.parametrize("op", registry().values(), ids=lambda op: op.name)
def test_each_op_comes_back_from_its_module(op: type[Op]) -> None:
    """An op without an `aten` table, or one that does not fit what `torch` writes, is told here."""
    net = of_op(op)
    module = net.compile("torch").module
    try:
        back = netspec.loads(import_torch(module, example(net), name=net.name).text)
    except netspec.NetspecError as error:
        pytest.fail(f"no `aten` of {op.name} for what its `torch` writes, or a wrong one:\n{error}")
    same = compare(as_traced(net.graph), as_traced(back.graph), frozenset(["init"]))
    told = (
        f"what `torch` of {op.name} writes should come back as the op by its `aten`; the first example"
        f" does not:\n{as_text(same, 'the op', 'the import')}"
    )
    assert same.equal != (op.name in AS_OTHERS), told


# Examples of layers with parameters that do not come back as they are, and a part of what is told.
_PADS = "pad1"  # a convolution of PyTorch pads both ends alike: a `pad` stands before it
NOT_BACK = {
    ("conv", 10): _PADS, ("conv", 14): _PADS, ("conv", 20): _PADS,
    ("prelu", 6): "prelu(per_channel = true) -> prelu",  # there is one channel
}  # fmt: skip
WITH_PARAMETERS = [
    (op, number)
    for op in registry().values()
    for number in range(1, len(op.examples))
    if any(node.parameters for node in of_op(op).graph.nodes)
]


@pytest.mark.parametrize(
    ("op", "number"), WITH_PARAMETERS, ids=lambda x: x if isinstance(x, int) else x.name
)
def test_each_example_of_a_layer_with_parameters_comes_back(op: type[Op], number: int) -> None:
    net = of_op(op, number)
    try:
        back = netspec.loads(import_torch(net.compile("torch").module, example(net)).text)
    except netspec.NetspecError as error:
        found = str(error)
    else:
        same = compare(as_traced(net.graph), as_traced(back.graph), frozenset(["init"]))
        found = "" if same.equal else as_text(same, "the op", "the import")
    expected = NOT_BACK.get((op.name, number), "")
    assert bool(found) == bool(expected), found
    assert expected in found


ROWS = """
net Rows {
    input x: [4, 6, 6]

    y = x -> gate: conv(4, 3, pad = 1) -> hardsigmoid
    y = x * y -> mix: conv(4, 1) -> relu6 -> drop_path(0.2)
    output x + y -> global_avg_pool -> fc: linear(5)
}
"""


def test_layers_that_pytorch_has_no_function_for_come_back(tmp_path: Path) -> None:
    (tmp_path / "rows.net").write_text(ROWS)
    close_the_circle(tmp_path / "rows.net")


@pytest.mark.heavy
@pytest.mark.parametrize("name", NETS)
def test_each_net_comes_back_from_its_module(name: str) -> None:
    close_the_circle(ROOT / "networks" / name)
