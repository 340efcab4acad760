"""Lists that hold values."""

from __future__ import annotations

import pytest

import netspec


def net_of(*lines: str) -> netspec.Net:
    return netspec.loads("\n".join(["net A(n = 3) {", "input x: [4]", *lines, "}"]))


GROWN = ["rows = []", "for i in range(n) {", "x = x -> linear(4)", "rows = rows + [x]", "}"]
USES = {
    "concat(rows)": ["linear1", "linear2", "linear3"],
    "rows -> concat": ["linear1", "linear2", "linear3"],
    "concat(rows[1:])": ["linear2", "linear3"],
    "concat(rows[:-1] + [rows[0]])": ["linear1", "linear2", "linear1"],
    "add(rows[-1], rows[0])": ["linear3", "linear1"],
    "(rows[0:2] if len(rows) == 3 else rows) -> mul": ["linear1", "linear2"],
    "concat([x, x] + [])": ["linear3", "linear3"],
}


@pytest.mark.parametrize("use", USES)
def test_what_a_list_holds(use: str) -> None:
    net = net_of(*GROWN, f"output {use}")
    assert list(net.graph.nodes[-1].inputs) == USES[use]


def test_a_list_is_unpacked_and_given_to_a_block() -> None:
    net = netspec.loads("""
        block Sum a, b { return a + b }
        net A {
            input x: [4]
            pair = [x -> relu, x -> tanh]
            a, b = pair
            output Sum(pair) + (a -> mul(b))
        }""")
    assert [node.inputs for node in net.graph.nodes[2:4]] == [("relu1", "tanh1")] * 2


WRONG = {
    "[x, 2]": "value/not-a-tensor",
    "[1] + [x]": "value/operator",
    "[x] + x": "value/several",
    "concat([x] * 2)": "value/several",
    "concat(rows[7], x)": "constant/index",
    "len(x)": "value/not-a-constant",
    "x.length": "value/attribute",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_list_of_values(wrong: str) -> None:
    with pytest.raises(netspec.NetspecError) as error:
        net_of("rows = [x, x]", f"output {wrong}")
    assert WRONG[wrong] in {d.code for d in error.value.diagnostics}


def test_doubling_a_list_ends() -> None:
    with pytest.raises(netspec.NetspecError) as error:
        net_of(
            "rows = [x]", "for i in range(60) {", "rows = rows + rows", "}", "output concat(rows)"
        )
    assert error.value.diagnostics[0].code == "limit/list"


def test_the_channels_are_the_first_axis_and_the_features_the_last() -> None:
    net = netspec.loads("""net A {
        input x: [5, 7]
        assert x.channels == 5 and x.features == 7
        output x
    }""")
    with pytest.raises(netspec.NetspecError, match=r"x\.shape\[1\]"):
        netspec.loads("net A {\ninput x: [5, 7]\nassert x.length == 5\noutput x\n}")
    assert net.graph.inputs == {"x": (5, 7)}
