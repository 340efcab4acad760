"""`netspec diff`: which layers are matched, what is reported, and exit codes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec.cli import diff as diff_verb
from netspec.compiler.analysis import diff as compare_module
from netspec.compiler.analysis.diff import GraphDiff, as_text, compare
from netspec.compiler.ops import registry
from netspec.compiler.passes import layer_limit
from tests.conftest import Run, Write

HEAD = "input x: [3, 8, 8]"


def net(*body: str) -> str:
    return "\n".join(["net A {", HEAD, *body, "}"])


def chain(*layers: str) -> str:
    return net(f"output {' -> '.join(['x', *layers])}")


def compared(before: str, after: str, **arguments: Any) -> GraphDiff:
    return compare(*(netspec.loads(text, **arguments).graph for text in (before, after)))


def told(comparison: GraphDiff) -> list[tuple[str, str]]:
    """Return the changes that are not `same`."""
    return [(c.kind, c.name) for c in comparison.changes if c.kind != "same"]


LAYERS = ("conv(4, 3)", "relu", "conv(8, 3)", "relu", "flatten", "linear(5)")


def test_equal_nets() -> None:
    comparison = compared(chain(*LAYERS), chain(*LAYERS))
    assert comparison.equal
    assert told(comparison) == []


@pytest.mark.parametrize("at", range(len(LAYERS) + 1))
def test_a_layer_put_in_between_is_the_one_change(at: int) -> None:
    longer = (*LAYERS[:at], "dropout", *LAYERS[at:])
    assert told(compared(chain(*LAYERS), chain(*longer))) == [("added", "dropout1")]
    assert told(compared(chain(*longer), chain(*LAYERS))) == [("removed", "dropout1")]


def test_what_is_numbered_anew_is_renamed_where_it_has_parameters() -> None:
    after = ("conv(3, 1)", "relu", *LAYERS)
    comparison = compared(chain(*LAYERS), chain(*after))
    assert told(comparison) == [
        ("added", "conv1"), ("added", "relu1"), ("renamed", "conv2"), ("renamed", "conv3"),
    ]  # fmt: skip
    assert comparison.changes[3].details == ("was conv1",)


def test_labels_are_matched_before_anything_else() -> None:
    before = chain("a: conv(4, 3, pad = 1)", "b: conv(8, 3, pad = 1)")
    after = chain("a: conv(8, 3, pad = 1)", "b: conv(4, 3, pad = 1)")
    comparison = compared(before, after)
    assert told(comparison) == [("changed", "a"), ("changed", "b")]
    assert comparison.changes[1].what == "conv(4, 3, pad = 1) -> conv(8, 3, pad = 1)"
    assert comparison.changes[1].shape == "[N, 4, 8, 8] -> [N, 8, 8, 8]"


def test_labels_alone_are_a_difference_of_names() -> None:
    comparison = compared(chain("conv(4, 3)", "relu"), chain("stem: conv(4, 3)", "first: relu"))
    assert told(comparison) == [("renamed", "stem")]
    assert not comparison.equal


def test_a_value_that_becomes_the_default_is_shown() -> None:
    before = "net A { input x: [4]\n output x -> dropout(0.3) -> linear(2) }"
    lines = lines_of(before, before.replace("dropout(0.3)", "dropout(0.5)"))
    assert [line.split("(p ")[-1] for line in lines] == ["0.3 -> 0.5)"]
    (back,) = lines_of(before.replace("dropout(0.3)", "dropout(0.5)"), before)
    assert "dropout -> dropout(p = 0.3)" in back
    assert not back.endswith("0.3)")


def test_shapes_alone_can_change() -> None:
    before, after = chain("relu"), chain("relu").replace("[3, 8, 8]", "[3, 9, 9]")
    assert told(compared(before, after)) == [("changed", "x"), ("changed", "relu1")]


def test_what_a_layer_reads_can_change() -> None:
    lines = ("a = x -> a: conv(4, 1)", "b = x -> b: conv(4, 1)", "c = a * b -> c: conv(4, 1)")
    before, after = net(*lines, "output c + a"), net(*lines, "output c + b")
    comparison = compared(before, after)
    assert told(comparison) == [("changed", "add1")]
    (change,) = [c for c in comparison.changes if c.kind == "changed"]
    assert change.details == ("reads c, b instead of c, a",)


def test_lines_that_changed_places_are_no_difference() -> None:
    one, two = "a = x -> a: conv(4, 1)", "b = x -> b: conv(4, 3, pad = 1)"
    comparison = compared(net(one, two, "output a + b"), net(two, one, "output a + b"))
    assert comparison.equal


def test_a_constant_has_neither_a_name_in_weights_nor_a_value_that_it_reads() -> None:
    head = "constant c: [3] = [1, 2, 3]\n return z * c }\nnet A { input x: [3]\n y = relu(x)\n"
    before = f"block C z {{ {head} output y + (x -> C) }}"
    after = f"block C w, z {{ {head} output y + ((y, x) -> other: C) }}"
    assert compared(before, after).equal
    assert not compared(before, after.replace("3]\n return", "4]\n return")).equal
    learned = [text.replace("constant", "parameter") for text in (before, after)]
    assert told(compared(*learned)) == [("renamed", "other.c")]


def test_inputs_and_outputs_are_compared() -> None:
    before = net("input y: [2]", "output p = x -> relu", "output q = y -> linear(2)")
    after = net("output p = x", "output r = x -> relu")
    assert told(compared(before, after)) == [
        ("removed", "y"), ("removed", "linear1"), ("changed", "p"), ("removed", "q"),
        ("added", "r"),
    ]  # fmt: skip


def test_another_op_under_the_same_label_is_another_layer() -> None:
    comparison = compared(chain("a: relu"), chain("a: flatten"))
    assert told(comparison) == [("removed", "a"), ("added", "a")]


def test_what_is_too_long_to_align_is_matched_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "MAX_PAIRS", 0)
    before = chain(*(f"l{i}: conv({i + 2}, 1)" for i in range(9)))
    after = chain(*(f"l{i}: conv({i + 3}, 1)" for i in range(9) if i != 4))
    kinds = {(kind, name) for kind, name in told(compared(before, after))}
    assert kinds == {("removed", "l4"), *(("changed", f"l{i}") for i in range(9) if i != 4)}


# ------------------------------------------------------------------------------------ command line


def test_equal_files(run: Run, networks: Path) -> None:
    finished = run("diff", networks / "lenet.net", networks / "lenet.net")
    assert (finished.code, finished.err) == (0, "")
    assert "  ... 14 the same\n" in finished.out


def test_two_settings_of_one_file(run: Run, networks: Path) -> None:
    path = networks / "lenet.net"
    finished = run("diff", path, "--set-b", "classes=100")
    assert (finished.code, finished.err) == (1, "")
    assert finished.out == (
        f"--- {path}: LeNet\n"
        f"+++ {path}: LeNet with classes=100\n"
        "\n"
        "  ... 10 the same\n"
        "  linear2  linear(84)                 [N, 84]\n"
        "  relu4    relu                       [N, 84]\n"
        "~ linear3  linear(10) -> linear(100)  [N, 10] -> [N, 100]"
        "  (weight [10, 84] -> [100, 84]; bias [10] -> [100])\n"
        "  output   output                     linear3\n"
        "\n"
        "             before    after  difference\n"
        "layers           12       12\n"
        "parameters   44,426   52,076      +7,650  +17.2 %\n"
        "MACs        281,640  289,200      +7,560   +2.7 %\n"
    )


def test_settings_of_both_and_of_one(run: Run, networks: Path) -> None:
    path = networks / "resnet.net"
    finished = run("diff", path, "--set", "depth=8", "--set", "width=4", "--set-b", "width = 8")
    assert finished.code == 1
    assert finished.out.splitlines()[:2] == [
        f"--- {path}: ResNet with depth=8, width=4",
        f"+++ {path}: ResNet with depth=8, width = 8",
    ]
    assert run("diff", path, "--set", "depth=8", "--set-a", "depth=8").code == 0


def test_blocks_more_are_told_as_added(run: Run, networks: Path) -> None:
    finished = run("diff", networks / "resnet.net", "--set-b", "depth=26")
    signs = [line[:1] for line in finished.out.split("\n\n")[1].splitlines()]
    assert set(signs) == {" ", "+", "="}
    assert signs.count("+") == 3
    assert "+ basic4              Basic(channels = 16, stride = 1) " in finished.out
    assert "(7 layers)" in finished.out
    assert "the same, 12 of them under another name" in finished.out


def lines_of(before: str, after: str, **arguments: Any) -> list[str]:
    """The lines of a comparison that tell a change."""
    text = as_text(compared(before, after, **arguments), "a", "b")
    return [line for line in text.split("\n\n")[1].splitlines() if line[0] in "+-~="]


BLOCK = "block B(c, k = 3) x {\n return x -> a: conv(c, 1) -> b: conv(c, k) -> relu\n}\n"
CALLS = BLOCK + chain("B(4)", "one: B(8, k = 1)", "conv(4, 1)", "two.0: B(4)")


def test_a_change_inside_a_block_is_told_once_for_all_of_its_calls() -> None:
    after = CALLS.replace("conv(c, k)", "conv(c, k, bias = false)")
    (line,) = lines_of(CALLS, after)
    assert line.startswith("~ b1.b      conv(4, 3) -> conv(4, 3, bias = false)  [N, 4, 6, 6]")
    assert line.endswith("(no bias any more; alike in 2 more calls of B: one, two.0)")
    lines = lines_of(CALLS, after.replace("relu", "tanh"))
    assert [line.split()[:2] for line in lines] == [
        ["~", "b1.b"], ["-", "b1.relu1"], ["+", "b1.tanh1"]
    ]  # fmt: skip
    assert len(compared(CALLS, after).changes) == 12, "for programs each layer has its change"


def test_layers_of_a_block_that_changed_otherwise_are_told_apart() -> None:
    grown = CALLS.replace("-> B(4)", "-> B(6)")
    shrunk = grown.replace("two.0: B(4)", "two.0: B(2)")
    first = [line for line in lines_of(CALLS, shrunk) if line.startswith("~ b1.a")]
    assert first[0].endswith("(weight [4, 3, 1, 1] -> [6, 3, 1, 1]; bias [4] -> [6])")
    assert any(line.startswith("~ two.0.a") for line in lines_of(CALLS, shrunk))


def test_a_layer_of_other_rank_is_a_change_too() -> None:
    block = "block B() x {\n return x -> a: linear(4)\n}\nnet N {\n input x: SHAPE\n"
    texts = [f"{block}output x -> B\n}}".replace("SHAPE", shape) for shape in ("[8]", "[2, 8]")]
    assert told(compared(*texts)) == [("changed", "x"), ("changed", "b1.a")]


def test_a_call_of_a_block_that_one_net_has_alone_is_one_line() -> None:
    after = CALLS.replace("-> one:", "-> new: B(4, k = 1) -> one:")
    (line,) = [line for line in lines_of(CALLS, after) if line[0] in "+-"]
    assert line == "+ new       B(c = 4, k = 1)  [N, 4, 6, 6]  (3 layers)"


def test_two_nets_of_one_file(run: Run, write: Write) -> None:
    path = write(chain("relu") + "\n" + chain("selu").replace("net A", "net B"))
    assert run("diff", path, "--net-a", "A", "--net-b", "B").code == 1
    assert run("diff", path, "--net", "A").code == 0
    finished = run("diff", path)
    assert finished.code == 2
    assert "error[file/several-nets]" in finished.err


def test_trouble_is_not_a_difference(run: Run, write: Write) -> None:
    good, bad = write(chain("relu"), "a.net"), write(chain("rleu"), "b.net")
    for files in ((good, bad), (bad, good), (good, "missing.net")):
        finished = run("diff", *files)
        assert (finished.code, finished.out) == (2, "")
        assert finished.err.startswith("error[")
    assert run("diff", good, "--set-b", "nothing=1").code == 2
    assert run("diff", good, "--set-b", "nothing").code == 2
    assert run("diff").code == 2


def test_json(run: Run, networks: Path) -> None:
    finished = run("diff", networks / "lenet.net", "--set-b", "classes=11", "--format", "json")
    assert finished.code == 1
    data = json.loads(finished.out)
    assert data["equal"] is False
    assert (data["before"]["parameters"], data["after"]["parameters"]) == (44_426, 44_511)
    (change,) = data["changes"]
    assert (change["kind"], change["name"]) == ("changed", "linear3")
    assert change["before"]["attributes"]["features"] == 10
    assert change["after"]["shape"] == [11]


def test_open_sizes_are_compared_as_formulas(run: Run, write: Write) -> None:
    text = "net A(width = 2) {\n input x: [3, H, W]\n output x -> conv(width, 3, pad = 1)\n}\n"
    path = write(text)
    finished = run("diff", path, "--set-b", "width=3")
    assert finished.code == 1
    assert "[N, 2, H, W] -> [N, 3, H, W]" in finished.out
    assert "81" in finished.out.splitlines()[-1]
    json.loads(run("diff", path, "--set-b", "width=3", "--format", "json").out)


# --------------------------------------------------------------- nets that differ in exactly one thing

PAIRS = {
    "an attribute": ("x -> conv(4, 3)", "x -> conv(4, 3, pad = 1)"),
    "a word": ("x -> pad(1)", 'x -> pad(1, mode = "replicate")'),
    "a flag": ("x -> conv(4, 3)", "x -> conv(4, 3, bias = false)"),
    "a number of the training": ("x -> dropout(0.5)", "x -> dropout(0.25)"),
    "a layer": ("x -> relu", "x -> selu"),
    "one layer more": ("x -> relu", "x -> relu -> relu"),
    "the order": ("x -> relu -> tanh", "x -> tanh -> relu"),
    "a label with parameters": ("x -> a: conv(4, 3)", "x -> b: conv(4, 3)"),
    "a rule": (
        "x -> flatten -> linear(3, weight = zeros)",
        "x -> flatten -> linear(3, weight = ones)",
    ),
    "a rule's number": (
        "x -> flatten -> linear(3, weight = normal(0.1))",
        "x -> flatten -> linear(3, weight = normal(0.10000001))",
    ),
    "an initial bias": ("x -> flatten -> linear(3)", "x -> flatten -> linear(3, bias = constant(5.0))"),
    "a list of values": (
        "x -> flatten -> linear(2, bias = [1, 2])",
        "x -> flatten -> linear(2, bias = [1, 3])",
    ),
}  # fmt: skip
BODIES = {
    "a shared layer": (
        ("layer fc = linear(4)", "v = x -> flatten", "output v -> linear(4) -> fc -> fc"),
        ("v = x -> flatten", "output v -> linear(4) -> linear(4) -> linear(4)"),
    ),
    "which layer is shared": (
        ("layer f = conv(3, 1)", "layer g = conv(3, 1)", "output x -> f -> g -> f"),
        ("layer f = conv(3, 1)", "layer g = conv(3, 1)", "output x -> f -> g -> g"),
    ),
    "an init statement": (
        ("init weight = kaiming_normal", "output x -> conv(4, 3)"),
        ("init weight = zeros", "output x -> conv(4, 3)"),
    ),
    "the name of an output": (("output a = x -> relu",), ("output b = x -> relu",)),
    "the order of outputs": (
        ("output a = x -> relu", "output b = x -> tanh"),
        ("output b = x -> tanh", "output a = x -> relu"),
    ),
    "which value is an output": (
        ("y = x -> relu", "z = y -> tanh", "output z", "output other = y"),
        ("y = x -> relu", "z = y -> tanh", "output z", "output other = x"),
    ),
    "the order of inputs": (
        ("input a: [3, 8, 8]", "input b: [3, 8, 8]", "output x + a + b"),
        ("input b: [3, 8, 8]", "input a: [3, 8, 8]", "output x + a + b"),
    ),
    "an input that nothing reads": (
        ("input a: [2]", "output x -> relu"), ("output x -> relu",),
    ),
    "the inner size of a product": (
        ("a = x -> reshape([1, 12, 16])", "b = x -> reshape([1, 16, 12])",
         "output a -> matmul(b)"),
        ("a = x -> reshape([1, 12, 16])", "b = x -> reshape([1, 16, 12])",
         "output a -> relu -> matmul(b)"),
    ),
    "two branches": (
        ("a = x -> a: conv(4, 1)", "b = x -> b: conv(4, 1)", "output a + b -> c: conv(4, 1)"),
        ("a = x -> a: conv(4, 1)", "b = x -> b: conv(4, 1)", "output a + a -> c: conv(4, 1)"),
    ),
}  # fmt: skip
ONE_THING = {
    **{name: tuple(net(f"output {each}") for each in pair) for name, pair in PAIRS.items()},
    **{name: tuple(net(*each) for each in pair) for name, pair in BODIES.items()},
    "the size of the input": (chain("relu"), chain("relu").replace("[3, 8, 8]", "[3, 8, 9]")),
    "the channels of the input": (
        chain("conv(4, 3)"), chain("conv(4, 3)").replace("[3, 8, 8]", "[1, 8, 8]"),
    ),
    "a size left open": (chain("relu"), chain("relu").replace("[3, 8, 8]", "[3, 8, W]")),
    "the name of the input": (chain("relu"), chain("relu").replace("x", "y")),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_THING)
def test_nets_that_differ_in_one_thing_are_not_equal(name: str) -> None:
    before, after = ONE_THING[name]
    for pair in ((before, after), (after, before)):
        comparison = compared(*pair)
        assert not comparison.equal
        assert told(comparison), "the totals differ, and nothing says why"
    for same in (before, after):
        assert compared(same, same).equal


# Two calls that do the same, and one that does not.
AXES = {
    "one axis": ("softmax(axis = -1)", "softmax(axis = 3)", "softmax(axis = 2)"),
    "several axes": ("mean([-1, 2])", "mean([3, -2])", "mean([3, -3])"),
    "a new axis": ("unsqueeze(-1) -> relu", "unsqueeze(4) -> relu", "unsqueeze(3) -> relu"),
}


@pytest.mark.parametrize("name", AXES)
def test_an_axis_is_the_same_counted_from_either_end(name: str) -> None:
    one, same, other = map(chain, AXES[name])
    assert compared(one, same).equal
    assert not compared(one, other).equal


def test_every_attribute_and_every_rule_is_compared() -> None:
    """Two different examples of one op on the same inputs never compare equal."""
    for op in registry().values():
        by_inputs: dict[object, list[str]] = {}
        for example in op.examples:
            by_inputs.setdefault(example.inputs, []).append(example.call)
        for inputs, calls in by_inputs.items():
            names = [f"x{i}" for i in range(len(inputs))]
            heads = [
                f"input {name}: {list(shape)}" for name, shape in zip(names, inputs, strict=True)
            ]
            graphs = [
                netspec.loads("\n".join(["net A {", *heads, f"output ({', '.join(names)}) -> {c}", "}"]))
                if len(names) > 1 else
                netspec.loads("\n".join(["net A {", *heads, f"output x0 -> {c}", "}"]))
                for c in calls
            ]  # fmt: skip
            for i, a in enumerate(graphs):
                for j, b in enumerate(graphs):
                    nodes = [each.graph.nodes[-1] for each in (a, b)]
                    is_same = nodes[0].op.resolved(*inputs) == nodes[1].op.resolved(*inputs)
                    rules = [
                        [p.initializer for p in each.graph.parameters.values()] for each in (a, b)
                    ]
                    equal = compare(a.graph, b.graph).equal
                    assert equal == (i == j or (is_same and rules[0] == rules[1])), (
                        calls[i],
                        calls[j],
                    )


def test_weights_that_change_their_shape_are_told(run: Run, networks: Path, write: Write) -> None:
    text = (networks / "lenet.net").read_text()
    assert "conv(16, 5)" in text
    wide = write(text.replace("conv(16, 5)", "conv(24, 5)"))
    finished = run("diff", networks / "lenet.net", wide)
    (line,) = [each for each in finished.out.splitlines() if "linear1" in each]
    assert line.startswith("~ linear1")
    assert "weight [120, 256] -> [120, 384]" in line or "weight [120, 400] -> [120, 600]" in line


def test_initial_values_can_be_left_out(run: Run, write: Write) -> None:
    text = chain("flatten", "linear(3, weight = zeros)")
    a, b = write(text, "a.net"), write(text.replace("zeros", "ones"), "b.net")
    finished = run("diff", a, b)
    assert finished.code == 1
    assert "weight starts as zeros -> ones" in finished.out
    left_out = run("diff", a, b, "--ignore", "init")
    assert left_out.code == 0
    assert "\nnot compared: init\n" in left_out.out
    data = json.loads(run("diff", a, b, "--ignore", "init", "--format", "json").out)
    assert (data["equal"], data["ignored"]) == (True, ["init"])


def test_defaults_that_follow_from_shapes_are_not_told() -> None:
    before, after = chain("conv(4, 3)"), chain("conv(4, 5)")
    (change,) = [c for c in compared(before, after).changes if c.name == "conv1"]
    assert change.details == ("weight [4, 3, 3, 3] -> [4, 3, 5, 5]",)


# ------------------------------------------------------------------------------- up to names

RESIDUAL = """net Residual(classes = 10) {
    input image: [1, 8, 8]
    x = image -> conv1: conv(8, 3, pad = 1) -> relu
    y = x -> conv2: conv(8, 3, pad = 1) -> relu -> conv3: conv(8, 3, pad = 1)
    x = relu(x + y)
    output x -> max_pool(2) -> flatten -> fc: linear(classes)
}
"""
RENAMED = """block Res(c) x {
    y = x -> a: conv(c, 3, pad = same) -> relu -> b: conv(c, [3, 3], pad = [1, 1])
    return y + x -> relu
}
net B {
    input picture: [1, 8, 8]
    output scores = picture -> first: conv(8, 3, pad = same) -> relu -> Res(8)
        -> max_pool(2, stride = 2) -> flatten -> last: linear(10)
}
"""
STEPS = """scan block Cell(n) x {
    state h: [n] = zeros
    h = tanh((x -> linear(n)) + (h -> n: linear(n, bias = false)))
    return h
}
net A {
    input x: [4, 5]
    output x -> Cell(5)
}
"""
OTHER_STEPS = """scan block C(m) y {
    state g: [m] = zeros
    g = tanh((g -> u: linear(m, bias = false)) + (y -> linear(m)))
    return g
}
net D {
    input y: [4, 5]
    output y -> C(5)
}
"""


def branches(*lines: str, end: str) -> str:
    return net(*lines, f"output {end} -> flatten -> linear(2)")


A_AND_B = ("a = x -> conv(4, 1)", "b = x -> conv(4, 1)")
UP_TO_NAMES: dict[str, tuple[str, str, bool]] = {
    "a block and other names": (RESIDUAL, RENAMED, True),
    "one layer less": (
        RESIDUAL, RENAMED.replace(" -> relu -> b: conv(c, [3, 3], pad = [1, 1])", ""), False,
    ),
    "one number": (RESIDUAL, RENAMED.replace("linear(10)", "linear(9)"), False),
    "a sum the other way around": (
        net("a = x -> tanh", "b = x -> relu", "output a + b"),
        net("b = x -> relu", "a = x -> tanh", "output b + a"), True,
    ),
    "a difference the other way around": (
        net("a = x -> tanh", "b = x -> relu", "output a - b"),
        net("a = x -> tanh", "b = x -> relu", "output b - a"), False,
    ),
    "branches that look alike": (
        branches(*A_AND_B, "c = a -> relu", "d = b -> relu", end="(a * d) + (b * c)"),
        branches(*A_AND_B, "c = b -> relu", "d = a -> relu", end="(a * c) + (d * b)"), True,
    ),
    "branches that look alike, and cross": (
        branches(*A_AND_B, "c = a -> relu", "d = b -> relu", end="(a * d) + (b * c)"),
        branches(*A_AND_B, "c = a -> relu", "d = b -> relu", end="(a * c) + (b * d)"), False,
    ),
    "one branch read twice": (
        branches(*A_AND_B, end="a + b"), branches(*A_AND_B, "c = b -> relu", end="a + a"), False,
    ),
    "layers that are shared": (
        net("layer f = conv(3, 1)", "layer g = conv(3, 1)", "output x -> f -> g -> f"),
        net("layer h = conv(3, 1)", "layer k = conv(3, 1)", "output x -> h -> k -> h"), True,
    ),
    "other layers are shared": (
        net("layer f = conv(3, 1)", "layer g = conv(3, 1)", "output x -> f -> g -> f"),
        net("layer f = conv(3, 1)", "layer g = conv(3, 1)", "output x -> f -> g -> g"), False,
    ),
    "inputs and outputs": (
        net("input a: [3, 8, 8]", "output one = x - a", "output two = a"),
        net("input b: [3, 8, 8]", "output p = x - b", "output q = b"), True,
    ),
    "outputs in another order": (
        net("output one = x -> relu", "output two = x -> tanh"),
        net("output one = x -> tanh", "output two = x -> relu"), False,
    ),
    "initial values": (chain("conv(4, 3)"), chain("a: conv(4, 3, weight = zeros)"), False),
    "steps": (STEPS, OTHER_STEPS, True),
    "steps with another start": (STEPS, OTHER_STEPS.replace("zeros", "ones"), False),
    "steps that read the item twice": (STEPS, OTHER_STEPS.replace("(g ->", "(y ->"), False),
    "steps with another function": (STEPS, OTHER_STEPS.replace("tanh(", "sigmoid("), False),
}  # fmt: skip


@pytest.mark.parametrize("name", UP_TO_NAMES)
def test_nets_are_the_same_up_to_names(name: str) -> None:
    before, after, equal = UP_TO_NAMES[name]
    a, b = netspec.loads(before), netspec.loads(after)
    for one, other in ((a, b), (b, a)):
        comparison = one.diff(other, ignore="names")
        assert comparison.equal is equal
        changed = [c for c in comparison.changes if c.kind != "same"]
        assert changed == [] if equal else changed or "in another way" in str(comparison)
    assert a.diff(a, ignore=["init", "names"]).equal


def test_what_differs_is_told_by_structure(run: Run, write: Write) -> None:
    a = write(RESIDUAL, "a.net")
    b = write(RENAMED.replace("[3, 3], pad = [1, 1]", "5, pad = 2, weight = zeros"), "b.net")
    finished = run("diff", a, b, "--ignore", "init,names")
    assert finished.code == 1
    (line,) = [each for each in finished.out.splitlines() if each.startswith(("~ ", "+ ", "- "))]
    assert "was conv3" in line
    same = run("diff", a, write(RENAMED, "c.net"), "--ignore", "names", "--format", "json")
    assert (same.code, json.loads(same.out)["equal"]) == (0, True)
    assert json.loads(same.out)["changes"] == []
    assert run("diff", a, write(RENAMED, "c.net")).code == 1
    wrong = run("diff", a, b, "--ignore", "name")
    assert wrong.code == 2
    assert "usage/diff" in wrong.err


# ------------------------------------------------------------------ folders, standard input, revisions


def git(folder: Path, *arguments: str) -> None:
    who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for role in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{role}_NAME": "A", f"GIT_{role}_EMAIL": "a@example.org"}
    subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, env=os.environ | who
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository with two commits: a net that imports a block, and the block changed."""
    if shutil.which("git") is None:
        pytest.skip("Git is not installed")
    (tmp_path / "nets" / "lib").mkdir(parents=True)
    (tmp_path / "nets" / "lib" / "b.net").write_text("block B x {\n return x -> conv(4, 3)\n}\n")
    (tmp_path / "nets" / "a.net").write_text('from "lib/b.net" import B\n' + chain("B"), "utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    (tmp_path / "nets" / "lib" / "b.net").write_text("block B x {\n return x -> conv(4, 5)\n}\n")
    git(tmp_path, "commit", "-q", "-a", "-m", "two")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_revision_has_the_imports_of_its_time(run: Run, repository: Path) -> None:
    finished = run("diff", "HEAD~1:nets/a.net", "nets/a.net")
    assert (finished.code, finished.err) == (1, "")
    assert finished.out.startswith("--- HEAD~1:nets/a.net: A\n+++ nets/a.net: A\n")
    assert "conv(4, 3) -> conv(4, 5)" in finished.out
    assert run("diff", "HEAD:nets/a.net", "nets/a.net").code == 0
    assert run("diff", "HEAD~1:nets/a.net", "HEAD:nets/a.net").code == 1


def test_a_revision_is_read_from_the_current_folder(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "nets")
    assert run("diff", "HEAD:a.net", "a.net").code == 0
    assert run("diff", "HEAD:../nets/a.net", "a.net").code == 0
    (repository / "nets" / "a.net").unlink()
    assert run("diff", "HEAD~1:a.net", "HEAD:a.net").code == 1


def test_errors_of_a_revision_name_it(run: Run, repository: Path) -> None:
    (repository / "nets" / "lib" / "b.net").write_text("block B x {\n return x -> cov(4, 5)\n}\n")
    git(repository, "commit", "-q", "-a", "-m", "three")
    finished = run("diff", "HEAD:nets/a.net", "HEAD~1:nets/a.net")
    assert finished.code == 2
    assert "--> HEAD:nets/lib/b.net:2:14" in finished.err


@pytest.mark.parametrize(
    "name",
    [
        "HEAD~9:nets/a.net", "HEAD:nothing.net", "--output=x:nets/a.net", ":nets/a.net",
        "HEAD:../outside.net", "HEAD:/etc/passwd", "-p:a.net", "HEAD --help:a.net", "a\nb:c.net",
        "HEAD:nets/lib/*.net",
    ],
)  # fmt: skip
def test_revisions_that_are_none(run: Run, repository: Path, name: str) -> None:
    finished = run("diff", "--", name, "nets/a.net")
    assert (finished.code, finished.out) == (2, "")
    assert finished.err.startswith("error[file/revision]: cannot read ")
    assert sorted(os.listdir(repository)) == [".git", "nets"]


def test_a_repository_runs_no_command_of_its_own(run: Run, repository: Path) -> None:
    """The configuration of an untrusted repository may have filters and text conversions."""
    marker = repository / "ran"
    for key in (
        "diff.x.textconv",
        "filter.x.smudge",
        "filter.x.clean",
        "core.pager",
        "core.fsmonitor",
    ):
        git(repository, "config", key, f"touch {marker}; cat")
    (repository / ".gitattributes").write_text("*.net diff=x filter=x\n")
    assert run("diff", "HEAD~1:nets/a.net", "HEAD:nets/a.net").code == 1
    assert not marker.exists()


def test_folders_are_compared_net_by_net(run: Run, repository: Path) -> None:
    finished = run("diff", "HEAD~1:nets", "nets")
    assert finished.code == 1
    assert "--- HEAD~1:nets/a.net: A\n+++ nets/a.net: A\n" in finished.out
    assert finished.out.endswith("1 net compared, 1 different\n")
    assert run("diff", "nets", "nets").out == "1 net compared, 0 different\n"
    (repository / "nets" / "c.net").write_text(
        chain("relu") + "\n" + chain("tanh").replace("A", "B")
    )
    finished = run("diff", "HEAD:nets", "nets")
    assert finished.code == 1
    assert "only in B: c.net: A\nonly in B: c.net: B\n" in finished.out
    data = json.loads(run("diff", "HEAD:nets", "nets", "--format", "json").out)
    assert (data["equal"], len(data["nets"])) == (False, 1)
    assert run("diff", "nets", "nets/a.net").code == 2


def test_standard_input_is_compared(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = chain("relu")
    path = write(text)
    for other, code in ((text, 0), (text.replace("relu", "tanh"), 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(other.encode())))
        assert run("diff", "-", path).code == code


def test_a_folder_is_not_walked_beside_a_file(
    run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the whole disk."""
    monkeypatch.setattr(diff_verb, "files_below", pytest.fail)
    file, folder = "nets/a.net", "nets"
    for a, b in (
        (file, folder),
        (folder, file),
        (f"HEAD:{file}", folder),
        (f"HEAD:{folder}", file),
    ):
        finished = run("diff", a, b)
        assert finished.code == 2
        assert "is a folder, and the other is a file" in finished.err


def test_a_net_that_is_too_large_is_refused_before_the_other_is_read(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were compiled first: 2.2 s for two files of 64 KB."""
    monkeypatch.setattr(layer_limit, "MAX_LAYERS", 12)
    layers = "for i in range(20) { x = x -> relu }"
    a, b = (
        write(f"net A {{\n input x: [3]\n {layers}\n {more}output x\n}}\n", name)
        for name, more in (("a.net", ""), ("b.net", "y = x\n "))
    )
    finished = run("diff", a, b)
    assert finished.code == 2
    assert "limit/layers" in finished.err
    assert "a.net" in finished.err
    assert "b.net" not in finished.err  # nor is it warned of `y`
    assert "graph/unused" in run("check", b).err
