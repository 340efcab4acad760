"""Loops over constants are computed once for the same constants, and are written as before."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

import netspec
from netspec.compiler.elaborate.constant_loops import ConstantLoops
from netspec.compiler.ir.constants import Constant
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.structured.follower import StructureFollower
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

    def counted(
        self: ConstantLoops,
        loop: syntax.For,
        values: Sequence[Constant],
        turns: Callable[[Sequence[Constant]], bool],
    ) -> None:
        is_first = True

        def noted(some: Sequence[Constant]) -> bool:
            nonlocal is_first
            taken[loop.span.line] += is_first
            is_first = False
            return turns(some)

        run(self, loop, values, noted)

    monkeypatch.setattr(ConstantLoops, "run", counted)
    return taken


def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no outcome be kept."""
    monkeypatch.setattr(ConstantLoops, "_names", lambda self, loop: ())


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each turn be followed, in each build."""
    never(monkeypatch)
    monkeypatch.setattr(StructureFollower, "skips_turns", False)


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


# Loops that give numbers and lists to names, in turns of which most are not followed.
STEADY = (
    "b = b + i % 3",
    "c = c + [b, i]",
    "c = c + [10000 ** (-2 * i / width)]",
    "d = 1.5 if i % 2 == 0 else b",
    "c = [max(b, i)] + c[1:]",
    "for j in range(9) { b = b + j % 2\n c = c + [j] }",
    "for j, e in enumerate([3, 1]) { b = b + e * j }",
    "d = len(c) // 2 + a",
    "b, d = [i, b]",
)
# Names that stand for lists in some turns, and for none in others.
UNSTEADY = (
    "d = [i] if i > 4 else i",
    "d = (range(3) if i == 5 else 7)",
    "for e in [[1], 2] { d = e }",
    "d = [[1, 2], 3][i % 2]",
    "if i > 5 { b = b + 1 } else { c = [i] }",
)


def random_loop(chance: random.Random, statements: Sequence[str]) -> str:
    """A net with a table and layers that a loop says; all that it changes is read behind it."""
    body = "\n ".join(chance.choices(statements, k=chance.randint(1, 4)))
    count = chance.choice(["12", "width", "a + 9", "3", "len(range(10))"])
    start = chance.choice(["[]", "[4]", "[2, 3]"])
    return (
        "net A(a = 3, width = 8) {\n input x: [width]\n"
        f" b = a\n d = 0\n c = {start}\n for i in range({count}) {{\n {body}\n }}\n"
        " y = x -> linear(b % 7 + 1) -> linear(len(c + [0]) % 11 + 2)\n"
        " constant table: [len(c) + 1] = c + [i]\n"
        " y = (y -> linear(len(c) + 1)) * table\n output y -> linear(a)\n}\n"
    )


def written(text: str) -> str:
    """The module of a net, or the message that there is none."""
    try:
        return netspec.loads(text).source("torch")
    except netspec.NetspecError as error:
        return str(error)


def test_turns_that_are_not_followed_change_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(24)
    texts = [random_loop(chance, STEADY) for _ in range(12)]
    texts += [random_loop(chance, (*STEADY, *UNSTEADY)) for _ in range(12)]
    sources = [written(text) for text in texts]
    assert sum("class A(" in source for source in sources) > 14
    always(monkeypatch)
    assert [written(text) for text in texts] == sources


def test_few_turns_of_a_long_loop_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: Counter[str] = Counter()
    turn = StructureFollower.turn

    def counted(self: StructureFollower, loop: syntax.For, values: Sequence[Constant]) -> object:
        taken[loop.targets[0].id] += 1
        return turn(self, loop, values)

    monkeypatch.setattr(StructureFollower, "turn", counted)
    loop = "for k in range(800) { b = b + k % 7\n c = c + [b] }"
    text = f"net A(a = 3) {{\n input x: [4]\n b = a\n c = []\n {loop}\n output x -> linear(b) }}\n"
    assert "for k in range(800)" in netspec.loads(text).source("torch")
    assert 0 < taken["k"] < 80


@pytest.mark.parametrize("statement", UNSTEADY)
def test_each_turn_is_followed_where_turns_differ(
    statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written of such a loop says nothing of the turns between."""
    text = random_loop(random.Random(1), (statement,)).replace("range(12)", "range(30)")
    source = written(text)
    always(monkeypatch)
    assert written(text) == source
