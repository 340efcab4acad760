"""Labels with text behind a brace and in quotes."""

from __future__ import annotations

import pytest

import netspec
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source

LABELS = {
    "block{a}-{b}": "block1-2",
    "bn{a}a": "bn1a",
    "{a}": "1",
    "{a}x{b}": "1x2",
    "{a}-x.{b}if": "1-x.2if",
    "stage.{a}0": "stage.10",
    '"stem-a"': "stem-a",
    '"trunk.block{a}-{b + 1}"': "trunk.block1-3",
    'trunk."a-{a}".0': "trunk.a-1.0",
    '"a:{word}"."b+c"': "a:c-d.b+c",
    "{word}": "c-d",
    '"{a}{b}"': "12",
}


def net_of(label: str) -> str:
    return (
        'net A(a = 1, b = 2, word = "c-d") {\n    input x: [3, 4, 4]\n\n'
        f"    output x -> {label}: conv(2, 1)\n}}\n"
    )


@pytest.mark.parametrize("label", LABELS)
def test_the_name(label: str) -> None:
    net = netspec.loads(net_of(label))
    assert [node.name for node in net.graph.nodes] == [LABELS[label]]
    assert f"{LABELS[label]}.weight" in net.graph.parameters
    assert format_source(Source("a.net", net_of(label))) == net_of(label)


WRONG = ('""', '"a b"', '"a/b"', '"a..b"', '"{a"', '"{}"', '"{a b}"', '"{nobody}"', '"\\n"', '"07"',
         "x-{a}", "{a} b", "{a}- {b}", '"_a"', '"{[1]}"', '"forward"', '"a@2"')  # fmt: skip


@pytest.mark.parametrize("label", WRONG)
def test_what_no_label_can_be(label: str) -> None:
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(net_of(label))
    assert all(d.span is not None and d.span.line == 4 for d in error.value.diagnostics)


def test_other_errors_are_found_beside_such_a_label() -> None:
    text = net_of('"block{a}-{b}"').replace("input x: [3, 4, 4]", "input x [3, 4, 4]")
    with pytest.raises(netspec.NetspecError) as error:
        netspec.loads(text)
    assert [d.code for d in error.value.diagnostics] == ["syntax/unexpected-token"]


def test_the_module_has_the_names() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = netspec.loads("""
        block Stage(w) x {
            for i in range(2) { x = x -> block{w}-{i}: conv(w, 1) -> relu }
            return x
        }
        net A {
            input x: [3, 4, 4]
            for i in range(2) { x = x -> "trunk.block{i}": Stage(4) -> "c-{i}": conv(3, 1) }
            for i in range(3) { x = x -> body."b-{i}": conv(3, 1) }
            output x
        }""")
    state = net.compile("torch").module.state_dict()
    assert set(state) == set(net.graph.saved())
