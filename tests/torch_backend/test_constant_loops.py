"""Loops over constants are computed once for the same constants, and are written as before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

import netspec
from netspec.compiler.elaborate.constant_loops import ConstantLoops
from netspec.compiler.syntax import tree as syntax
from tests.conftest import ROOT

# A list that depends on one argument, read by a block and by the net.
NET = """
block Scaled(width) x {
    rates = []
    for i in range(width // 2) {
        rate = 1.5 if i % 2 == 0 else 2.5
        rates = rates + [rate ** i, rate]
    }
    constant table: [width] = rates
    return x * table
}

net N(width = 64, hidden = 24, classes = 10, layers = 2) {
    input x: [width]
    places = []
    for i in range(width // 2) {
        row = []
        for j in range(2) { row = row + [i * j] }
        places = places + row
    }
    constant table: [width] = places
    x = (x + table) -> Scaled(width)
    for i in range(layers) { x = x -> linear(hidden) -> relu }
    output x -> linear(classes)
}
"""


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often the turns of the loops were taken that give names alone, by line."""
    taken: Counter[int] = Counter()
    run = ConstantLoops.run

    def counted(self: ConstantLoops, loop: syntax.For, turns: Callable[[], bool]) -> None:
        def noted() -> bool:
            taken[loop.span.line] += 1
            return turns()

        run(self, loop, noted)

    monkeypatch.setattr(ConstantLoops, "run", counted)
    return taken


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no outcome be kept."""
    monkeypatch.setattr(ConstantLoops, "_names", lambda self, loop: ())


def test_a_loop_is_computed_for_other_constants_alone(
    turns: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wavelengths of sinusoids depend on the width of the net, and on no other argument."""
    file = ROOT / "networks/zoo/transformer.net"
    at = file.read_text("utf-8").split("\n").index("    for i in range(width // 2) {") + 1
    source = netspec.load(file).source("torch")
    once = turns[at]
    never(monkeypatch)
    assert netspec.load(file).source("torch") == source
    assert 0 < 4 * once < turns[at] - once


def test_arguments_that_a_loop_reads_stay_arguments() -> None:
    source = netspec.loads(NET).source("torch")
    assert "width: int = 64" in source
    assert source.count("for i in range(width // 2)") == 2


def test_a_table_of_the_net_itself_is_written_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    file = ROOT / "networks/zoo/swin_t.net"
    source = netspec.load(file).source("torch")
    never(monkeypatch)
    assert netspec.load(file).source("torch") == source


@pytest.mark.parametrize(
    "body",
    [
        # A name of the loop says a size of a value, which is carried.
        "for i in range(40) { a = a + i % 2 }\n y = x -> linear(a)\n for i in range(40) { a = a + 1 }\n"
        " output y -> linear(a)",
        # The loop reads a value's size; the same loop stands in another one.
        "for j in range(2) {\n b = 1\n for i in range(40) { b = b + x.features % 3 }\n"
        " x = x -> linear(b)\n }\n output x",
        "for j in range(3) {\n b = j\n for i in range(40) { b = b + i }\n"
        " x = x -> linear(b)\n }\n output x",
        # A list that begins empty gets items, or none.
        "c = []\n for i in range(a) { for j in range(30) { c = c + [i + 0.5] } }\n"
        " output x -> linear(len(c) + 1)",
        # A case that only some arguments meet.
        "for i in range(40) { if a > 4 { a = a + 1 } else { a = a + 2 } }\n output x -> linear(a)",
        # A function's name is another thing's.
        "for i in range(40) { a = max(a, i) }\n output x -> linear(a)",
    ],
)
def test_odd_loops_are_written_as_before(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"net A(a = 3, width = 8) {{\n input x: [width]\n {body}\n}}\n"
    source = netspec.loads(text).source("torch")
    never(monkeypatch)
    assert netspec.loads(text).source("torch") == source
