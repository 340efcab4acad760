"""The printed NumPy program: what a reader sees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend import emit, emit_elementwise, fused_functions
from netspec.compiler.numpy_backend.explain import explain_plan
from tests.conftest import Write
from tests.helpers.program_runs import program_run
from tests.helpers.random_nets import random_net

NETWORKS = Path(__file__).parents[2] / "networks"
# What the statements below a comment call, by the op that the comment names.
CALLS = {
    "conv": r"conv\.|conv_\w+\(", "max_pool": r"pool\.max_", "relu": r"\w*relu\w*\(",
    "linear": r"linear\.|linear_\w+\(", "batch_norm": r"batch_norm\w*[.(]|affine\w*\(",
    "flatten": r"layout\.|b\[", "add": r"\w*add\w*\(", "global_avg_pool": r"pool\.global_avg",
}  # fmt: skip


def commented(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the ops that each comment names, and the statements below it."""
    for comment, below in re.findall(r"^    # (.*)\n((?:    [^#\n].*\n)+)", text, re.MULTILINE):
        layers = re.sub(r"line \d+: |\([^()]*\)", "", comment)
        named = [part.split(" = ")[-1] for part in re.split("[,;] ", layers)]
        yield [re.sub(r"^.*\.|\d+$", "", name) for name in named], below


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["lenet", "threelayer", "resnet"])
def test_comments_name_what_stands_below_them(name: str, training: bool) -> None:
    """In their order, also where a pool is computed before the ReLU that it follows in the file."""
    text = netspec.load(NETWORKS / f"{name}.net").source("numpy", training=training)
    told = list(commented(text))
    assert len(told) > 5
    for ops, below in told:
        for op in ops:
            if op in CALLS:
                assert re.search(rf"^    ({CALLS[op]})", below, re.MULTILINE), f"{op}: {below}"
    if name == "lenet":
        assert [op for ops, _ in told for op in ops][:3] == ["conv", "max_pool", "relu"]


def test_what_is_computed_first_is_told_under_its_own_name_and_line() -> None:
    """Where the maxima are taken first, the ReLU is not headed by the pool, nor the pool by it."""
    text = netspec.load(NETWORKS / "lenet.net").source("numpy")
    forward = text[text.index("def forward") : text.index("def backward")]
    pool = forward.index("# line 7: max_pool1 = max_pool(2)\n")
    relu = forward.index("# line 6: relu1\n")
    assert forward.index("# line 6: conv1 =") < pool < relu
    assert forward[pool:].splitlines()[1].startswith('    pool.max_forward(b["conv1"]')
    assert forward[relu:].splitlines()[1].startswith('    relu(b["max_pool1"], ')


def test_formulas_that_differ_in_sizes_and_names_alone_share_a_function() -> None:
    text = netspec.load(NETWORKS / "zoo/densenet121.net", layers=[2, 4, 2, 2]).source("numpy")
    fused = dict(re.findall(r"^@.*\ndef (\w+)\(.*\n    \"\"\"(.*)\"\"\"", text, re.MULTILINE))
    assert len(fused) <= 7
    assert len(set(fused.values())) == len(fused)
    assert {"affine_relu", "relu_grad", "batch_norm_grad", "batch_norm_grad_add"} <= fused.keys()


def test_heads_of_attention_are_copied_once() -> None:
    """By their shape alone they are pictures; storing them as such took three copies of each."""
    net = netspec.load(NETWORKS / "zoo/gpt2.net", layers=1, vocabulary=9, width=12, heads=3, T=5)
    text = net.source("numpy")
    assert "copies.to_channels" not in text
    assert text.count("copies.transpose(") == 2 * 4


def test_dropout_of_nothing_costs_nothing() -> None:
    text = netspec.load(
        NETWORKS / "zoo/gpt2.net", layers=1, vocabulary=9, width=12, heads=3
    ).source("numpy")
    assert "sample_mask" not in text


def test_many_formulas_under_one_name_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = "".join(f" -> leaky_relu(0.{i:03}) -> linear(2)" for i in range(1, 60))
    net = netspec.loads(f"net N {{\n    input x: [2]\n    output x{layers}\n}}\n")
    written = []
    monkeypatch.setattr(
        fused_functions, "emit", lambda step, name: written.append(name) or real(step, name)
    )
    real = emit_elementwise.emit
    text = net.source("numpy")
    functions = re.findall(r"^def (leaky_relu\w*)\(", text, re.MULTILINE)
    assert functions[:3] == ["leaky_relu", "leaky_relu_2", "leaky_relu_3"]
    assert len(functions) == len(set(functions)) == 117
    assert written == functions


# ------------------------------------------------------------------------------- shared functions


@pytest.mark.parametrize(("name", "most"), [("resnet", 250), ("zoo/densenet121", 1500)])
def test_a_block_called_many_times_is_one_function(name: str, most: int) -> None:
    text = netspec.load(NETWORKS / f"{name}.net").source("numpy")
    assert len(text.splitlines()) <= most
    assert max(map(len, text.splitlines())) <= 100
    functions = {f.name: f for f in ast.parse(text).body if isinstance(f, ast.FunctionDef)}
    called = re.findall(r"^    (\w+)\(", text, re.MULTILINE)
    block = "basic" if name == "resnet" else "dense_layer"
    for way in ("forward", "backward"):
        ours = [f for f in functions if f.startswith(f"{block}_{way}")]
        assert 1 <= len(ours) < 20, ours
        assert all(called.count(f) >= 2 for f in ours)
    assert functions["forward"].args.args[-1].arg == "s"


BLOCKS = """
block Inner(c) x { return x -> conv(c, 3, pad = 1) -> dropout(0.5) -> relu }
block Outer(c, k = 2) x {
    y = x -> Inner(c) -> Inner(c)
    return concat(y -> max_pool(k), y -> avg_pool(k))
}
"""
NETS = {
    "nested": BLOCKS + """
net N {
    input image: [2, 16, 16]
    output image -> Outer(3) -> Outer(4) -> Outer(2, k = 1) -> Outer(3) -> flatten -> linear(3)
}
""",
    "one block of a layer": """
block One x { return x -> linear(4) }
net N { input x: [4]
    output x -> One -> One -> One -> One -> One -> One -> One -> One }
""",
    "a shared block": """
block Tower x { return x -> conv(4, 3, pad = 1) -> batch_norm -> relu -> conv(4, 1) -> sigmoid }
net N {
    input left: [4, 6, 6]
    input right: [4, 6, 6]
    layer tower = Tower()
    a = left -> tower -> tower
    b = right -> tower
    output concat(a, b, b -> Tower -> Tower) -> flatten -> linear(3)
}
""",
    "labels with dots and names of kernels": """
block Conv(c) x { return x -> conv: conv(c, 3, pad = 1) -> pool: batch_norm -> relu }
block Forward x { return x -> x: linear(5) -> b: tanh -> at: linear(5) -> softplus }
net N {
    input image: [1, 8, 8]
    x = image -> a.conv: Conv(2) -> a.b.s: Conv(3) -> Conv(4) -> Conv(4)
    output x -> flatten -> linear(5) -> p: Forward -> g: Forward -> Forward
}
""",
    "residuals": """
block Step(c, stride = 1) x {
    main = x -> conv(c, 3, stride = stride, pad = 1) -> batch_norm -> relu -> dropout(0.2)
    return relu(main + (x if stride == 1 else x -> conv(c, 1, stride = stride)))
}
net N {
    input image: [3, 8, 8]
    x = image -> conv(4, 1)
    for i in range(4) { x = x -> Step(4, stride = 1 + i % 2) }
    output x -> global_avg_pool -> linear(2)
}
""",
}  # fmt: skip


def assert_sharing_changes_nothing(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = program_run(graph, "f4")
    with monkeypatch.context() as to:
        to.setattr(emit, "share", lambda phases, names: [])
        theirs = program_run(graph, "f4")
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("name", NETS)
def test_shared_functions_compute_the_same_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = netspec.loads(NETS[name])
    assert re.search(r"^def \w+_(forward|backward)", net.source("numpy"), re.MULTILINE)
    assert_sharing_changes_nothing(net.graph, monkeypatch)


@pytest.mark.parametrize("seed", range(12))
def test_shared_functions_of_random_nets_compute_the_same_to_the_bit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        graph = netspec.loads(random_net(seed)).graph
    except netspec.NetspecError:
        pytest.skip("not a valid net")
    assert_sharing_changes_nothing(graph, monkeypatch)


def test_a_number_that_most_calls_give_is_a_default() -> None:
    net = netspec.load(NETWORKS / "zoo/densenet121.net", layers=[4, 4, 4, 4])
    text = net.source("numpy")
    assert "def dense_layer_forward(at, x, b, p, s, start):" in text
    assert "def conv_backward(at, x, dy, b, p, g, s, pad=(0, 0, 0, 0)):" in text


def test_comments_in_a_shared_function_show_what_the_file_says() -> None:
    """Where calls differ in a number, the comment has the argument's name."""
    text = netspec.loads(NETS["nested"]).source("numpy")
    inner = text[text.index("def inner_forward") : text.index("def forward")]
    assert "conv1 = conv(c, 3, pad = 1)" in inner
    assert "kernel=kernel" in text


def test_a_line_of_another_file_is_told_with_its_file(write: Write) -> None:
    write("block Part x { return x -> linear(4) -> relu }\n", "parts.net")
    net = "net N { input x: [4]\n    output x -> Part -> linear(2) }\n"
    path = write(f'from "parts.net" import Part\n{net}')
    text = netspec.load(path).source("numpy")
    assert "    # parts.net, line 1: part1.linear1 = linear(4), part1.relu1\n" in text
    assert "    # line 3: linear1 = linear(2)\n" in text


def test_an_activation_that_goes_behind_two_pools_keeps_its_name() -> None:
    pools = "max_pool(3, stride = 1, pad = 1) -> max_pool(3, stride = 3)"
    net = netspec.loads(
        f"net N {{ input x: [2, 6, 6]\n output x -> conv(4, 1) -> relu -> {pools} }}"
    )
    explained = explain_plan(net.graph, training=True)
    assert "  relu1 + max_pool1 + max_pool2: max_pool1 and max_pool2 come first\n" in explained
    assert "computed for 16 numbers an image in place of 144" in explained
    assert "max_pool2 = max_pool(3, stride = 3), relu1\n" in net.source("numpy")


@pytest.mark.parametrize("seed", range(10))
def test_every_plan_can_be_explained(seed: int) -> None:
    graph = netspec.loads(random_net(seed)).graph
    for training in (True, False):
        assert explain_plan(graph, training=training).startswith("The plan of ")
