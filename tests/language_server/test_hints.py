"""Shapes behind the stages: those of `summarize`, and those of before while a line is half-typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.ir.graph import show_shape
from netspec.language_server.analysis import analyze
from netspec.language_server.hints import SEVERAL, shape_hints
from tests.conftest import ROOT
from tests.language_server.conftest import LENET, analyzed

NETS = sorted((ROOT / "networks").rglob("*.net"))
QUICK = ("lenet", "resnet", "gpt2", "unet", "squeezenet1_0", "char_lstm")


def shown(text: str, before: str | None = None) -> list[tuple[str, str]]:
    """Return each hint with the word before it."""
    analysis = analyzed(text, analyzed(before) if before is not None else None)
    hints = shape_hints(analysis)
    return [(text[: h.offset].rpartition("-> ")[2], h.text) for h in hints]


def test_each_stage_has_its_shape_unless_a_comment_says_it() -> None:
    assert shown(LENET) == [
        ("conv(6, 5)", "[N, 6, 24, 24]"),
        ("conv(16, 5)", "[N, 16, 8, 8]"),
        ("max_pool(2)", "[N, 16, 4, 4]"),
        ("linear(120)", "[N, 120]"),
        ("relu", "[N, 120]"),
        ("linear(84)", "[N, 84]"),
        ("relu", "[N, 84]"),
        ("linear(classes)", "[N, 10]"),
    ]


def test_an_open_size_is_a_formula_and_several_values_are_all_said() -> None:
    text = "net A { input x: [4, H, W]\n a, b = x -> conv(8, 3) -> split(2)\n output a }"
    assert shown(text) == [
        ("conv(8, 3)", "[N, 8, H - 2, W - 2]"),
        ("split(2)", "[N, 4, H - 2, W - 2], [N, 4, H - 2, W - 2]"),
    ]


def test_what_is_computed_without_an_arrow_has_its_shape() -> None:
    text = (
        "net A { input x: [4, 9, 9]\n a = relu(conv(x, 8, 3))\n b = a + a\n c = concat(a, b)\n"
        " k = 3\n d = c\n e = d.channels\n output relu(d) }"
    )
    hints = shape_hints(analyzed(text))
    assert [(text[: h.offset].rpartition("\n")[2].strip(), h.text) for h in hints] == [
        ("a = relu(conv(x, 8, 3))", "[N, 8, 7, 7]"),
        ("b = a + a", "[N, 8, 7, 7]"),
        ("c = concat(a, b)", "[N, 16, 7, 7]"),
        ("output relu(d)", "[N, 16, 7, 7]"),
    ]


def test_a_block_of_several_shapes_shows_the_first_and_tells_all() -> None:
    text = (
        "block B(n) x { return x -> conv(n, 3) }\n"
        "net A { input x: [3, 9, 9]\n output x -> B(4) -> B(5) -> B(4) }"
    )
    first, *rest = shape_hints(analyzed(text))
    assert first.text == "[N, 4, 7, 7]" + SEVERAL
    for shape in ("[N, 4, 7, 7]", "[N, 5, 5, 5]", "[N, 4, 3, 3]"):
        assert shape in first.tooltip
    assert [hint.text for hint in rest] == ["[N, 4, 7, 7]", "[N, 5, 5, 5]", "[N, 4, 3, 3]"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.heavy) for p in NETS],
    ids=lambda path: path.stem,
)
def test_hints_equal_the_shapes_of_the_layers(path: Path) -> None:
    """Every layer that a stage makes has one of the shapes that the stage shows."""
    analysis = analyze(path.read_text("utf-8"), path.name, path.parent)
    assert analysis.module is not None
    hints = {hint.offset: hint for hint in shape_hints(analysis)}
    told: dict[int, set[str]] = {}
    for layer in analysis.layers:
        span, graph = layer.node.origin.span, analysis.result.sketches[layer.net].graph
        if span.source is analysis.source:
            shape = show_shape(layer.node.shape, graph.holds(layer.node.name))
            told.setdefault(span.end, set()).add(shape)
    for offset in told.keys() & hints.keys():
        hint = hints[offset]
        shapes = {line.removeprefix("- ") for line in hint.tooltip.splitlines()[1:]} or {hint.text}
        assert "], " in hint.text or shapes == told[offset]
    assert told.keys() & hints.keys()


HALF_TYPED = [
    "-> conv(16, 5) -> rel",
    "-> conv(16, 5) -> ",
    "-> conv(16, 5) -",
    "-> conv(16, ",
    "-> conv(16",
    "-> con",
    "-> ",
    "",
    '-> "',
]


@pytest.mark.parametrize("line", HALF_TYPED)
def test_the_hints_of_before_stay_while_a_line_is_half_typed(line: str) -> None:
    text = LENET.replace("-> conv(16, 5) -> relu", line)
    assert text != LENET
    kept = dict(shown(text, before=LENET))
    others = {
        (stage, shape) for stage, shape in shown(LENET) if stage not in ("conv(16, 5)", "relu")
    }
    if not analyzed(text).result.errors:  # the line left out is a net too, of other shapes
        assert kept["linear(84)"] == "[N, 84]"
    else:
        assert others <= set(kept.items())


def test_a_word_that_goes_on_loses_its_hint() -> None:
    typed = LENET.replace("linear(120) -> relu", "linear(120) -> relux")
    assert ("relu", "[N, 120]") not in shown(typed, before=LENET)[:5]
    assert ("linear(84)", "[N, 84]") in shown(typed, before=LENET)


def test_known_hints_replace_those_of_before() -> None:
    typed = LENET.replace("conv(6, 5)", "conv(7, 5)").replace("linear(classes)", "linear(clas)")
    assert shown(typed, before=LENET)[0] == ("conv(7, 5)", "[N, 7, 24, 24]")
