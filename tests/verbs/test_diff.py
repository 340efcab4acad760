"""`netspec diff`: what is matched with what, what is told of it, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import netspec
from netspec.compiler.analysis import diff as compare_module
from netspec.compiler.analysis.costs import summarize
from netspec.compiler.analysis.diff import Comparison, compare
from tests.conftest import Run, Write

HEAD = "input x: [3, 8, 8]"


def net(*body: str) -> str:
    return "\n".join(["net A {", HEAD, *body, "}"])


def chain(*layers: str) -> str:
    return net(f"output {' -> '.join(['x', *layers])}")


def compared(before: str, after: str, **arguments: Any) -> Comparison:
    return compare(*(summarize(netspec.loads(text, **arguments).graph) for text in (before, after)))


def told(comparison: Comparison) -> list[tuple[str, str]]:
    """What is not the same."""
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
        "~ linear3  linear(10) -> linear(100)  [N, 10] -> [N, 100]\n"
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
    assert signs.count("+") == 21
    assert "the same, 12 of them under another name" in finished.out


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
