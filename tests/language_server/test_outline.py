"""Outline, folds, types of words, lenses, and what is said of words."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netspec.compiler.parse.layout import MAX_NESTING
from netspec.diagnostics import Span
from netspec.language_server.analysis import Analysis
from netspec.language_server.coloring import TYPES, coloured
from netspec.language_server.completion import completions
from netspec.language_server.folding import folds
from netspec.language_server.hints import shape_hints
from netspec.language_server.hover import hover
from netspec.language_server.lenses import lenses
from netspec.language_server.links import links
from netspec.language_server.navigation import definition
from netspec.language_server.selecting import selections
from netspec.language_server.symbols import document_symbols
from tests.language_server.conftest import LENET, analyzed
from tests.language_server.test_names import TEXT


def grows_slowly(seconds: Callable[[int], float], small: int, large: int) -> bool:
    """Whether something large takes less than 20 times as long, in one of three tries."""
    return any(seconds(large) < 20 * max(seconds(small), 0.02) for _ in range(3))


def test_the_outline_has_nets_blocks_and_what_they_hold() -> None:
    block, net = document_symbols(analyzed(TEXT))
    assert (block.name, block.kind, block.detail) == ("Step", "block", "width, stride = 1")
    assert [each.name for each in block.inside] == ["y", "body"]
    assert [each.name for each in net.inside] == [
        "x", "stem", "y", "first.0", "scores", "head",
    ]  # fmt: skip
    assert TEXT[slice(*net.named)] == "A"


def test_the_outline_stays_while_a_line_is_half_typed() -> None:
    typed = TEXT.replace("return y", "return y ->")
    _, net = document_symbols(analyzed(typed, analyzed(TEXT)))
    assert typed[slice(*net.named)] == "A"


def test_bodies_brackets_and_comments_fold() -> None:
    text = "# one\n# two\nnet A {\n    x = [\n        1,\n    ]\n    # alone\n}\n"
    assert [(fold.first, fold.last, fold.kind) for fold in folds(analyzed(text))] == [
        (0, 1, "comment"), (2, 6, "region"), (3, 4, "region"),
    ]  # fmt: skip


def test_a_selection_grows_from_a_word_to_the_text() -> None:
    text = "net A {\n    x = [\n        f(a, b),\n    ]\n}\n"
    shown = [text[slice(*each)] for each in selections(analyzed(text), [text.index("b)")])[0]]
    assert shown == [
        "b", "a, b", "(a, b)", "f(a, b)", "f(a, b),", "[\n        f(a, b),\n    ]",
        "x = [\n        f(a, b),\n    ]", "{\n    x = [\n        f(a, b),\n    ]\n}", text[:-1], text,
    ]  # fmt: skip
    for broken in ("", "net A {", "}", "x = [(", "\n\n"):
        for offset in range(len(broken) + 1):
            (found,) = selections(analyzed(broken), [offset])
            assert found[-1] == (0, len(broken))


def test_a_text_is_read_once_for_all_selections() -> None:
    def seconds(places: int) -> float:
        start = time.process_time()
        selections(dense, range(0, len(dense.text), len(dense.text) // places))
        return time.process_time() - start

    dense = analyzed("x = x -> f((((((((1))))))))\n" * 2_000)
    assert len(dense.tokens) > 40_000
    assert grows_slowly(seconds, 1, 200)


@pytest.mark.parametrize(
    "line",
    ["net A(", "block B(a", "block B y { return y -> B(", 'from "a.net" import A', "a,", "for a,"],
)
def test_the_time_of_broken_texts_grows_with_them(line: str) -> None:
    def seconds(count: int) -> float:
        start = time.process_time()
        broken = analyzed("net A {\n" + f"{line}\n" * count)
        coloured(broken)
        completions(broken, len(broken.text) - 1)
        return time.process_time() - start

    assert grows_slowly(seconds, 1_600, 6_400)


def test_a_selection_grows_by_no_more_than_sound_files_nest() -> None:
    deep = analyzed("f(a,\n" * 3_000 + ")\n" * 3_000)
    (found,) = selections(deep, [deep.text.index(")")])
    assert 2 * MAX_NESTING < len(found) < 4 * MAX_NESTING
    assert found[-1] == (0, len(deep.text))


def test_files_that_a_text_names_are_links(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.net").write_text("block B x { return x }")
    (tmp_path / "out.net").write_text("block C x { return x }")
    text = 'from "b.net" import B\nfrom "none.net" import B\nfrom "../out.net" import C\n'
    (link,) = links(analyzed(text, folder=tmp_path / "in"))
    assert text[link.start : link.end] == "b.net"
    assert link.path == (tmp_path / "in/b.net").resolve()
    assert not [*links(analyzed(text))]


@pytest.mark.parametrize(
    ("word", "type_"),
    [
        ("block", "keyword"), ("Step(width", "class"), ("width, 3", "parameter"),
        ("x -> body", "variable"), ("body:", "label"), ("conv(width, 3", "function"),
        ("stride = stride", "parameter"), ("0.1", "number"), ("stem ->", "variable"),
        ("Step(width, stride = 2", "class"), ("first.0", "label"), ("i + 1", "variable"),
        ("flatten", "function"), ("range", "variable"),
    ],
)  # fmt: skip
def test_words_have_the_type_of_what_they_stand_for(word: str, type_: str) -> None:
    at = TEXT.index(word)
    found = {each.start: each.type for each in coloured(analyzed(TEXT))}
    if word == "range":
        assert at not in found  # a function of constants: the grammar colours it
    else:
        assert found[at] == type_
    assert set(found.values()) <= set(TYPES)


def test_a_net_has_its_costs_above_it(lenet: Analysis) -> None:
    found = list(lenses(lenet))
    assert [lens.title for lens in found] == [
        "44,426 parameters · 281,640 MACs", "draw", "train",
    ]  # fmt: skip
    assert LENET[found[0].start : found[0].end] == "LeNet"
    broken = analyzed(LENET.replace("conv(6", "conv(0"))
    assert [lens.title for lens in lenses(broken)] == ["draw"]


@pytest.mark.parametrize("change", [("conv(6", "conv(0"), ("conv(6", "conv((6"), ("-> relu", "->")])
def test_an_error_leaves_the_costs_above_a_net(lenet: Analysis, change: tuple[str, str]) -> None:
    broken = analyzed(LENET.replace(*change), before=lenet)
    assert broken.result.errors
    found = list(lenses(broken))
    assert [lens.title for lens in found] == [lens.title for lens in lenses(lenet)]
    assert broken.text[found[0].start : found[0].end] == "LeNet"


def test_a_value_has_its_shape_where_it_is_defined() -> None:
    text = "net A {\n    input x: [3, 8, 8]\n    y = x -> conv(4, 3) -> relu\n    output y\n}\n"
    found = hover(analyzed(text), text.index("y ="))
    assert found is not None
    assert found.markdown.startswith("`y`: `[N, 4, 6, 6]`")


STAGES = """block Basic(channels, stride = 1) x {
    return x -> conv(channels, 3, stride = stride)
}

net A(depth = 8) {
    input x: [3, 40, 40]
    n = (depth - 2) // 3
    y = x
    for i in range(n) {
        stride = 2 if i == 0 else 1
        y = y -> Basic([4, 6][i], stride)
    }
    output y
}
"""


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("n = (", "`n` = `2`"),
        ("n) {", "`n` = `2`"),
        ("stride = 2", "`stride` = `2`, `1`"),
        ("stride)\n    }", "`stride` = `2`, `1`"),
        ("stride = 1", "`stride` = `2`, `1`"),
        ("channels, s", "`channels` = `4`, `6`"),
        ("i in", "`i` = `0`, `1`"),
        ("depth = 8", "`depth` = `8`"),
        ("Basic([", "called 2 times here, together:"),
    ],
)
def test_a_constant_has_its_values(word: str, said: str) -> None:
    found = hover(analyzed(STAGES), STAGES.index(word))
    assert found is not None
    assert said in found.markdown


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("conv(6", ["conv(channels, kernel, stride = 1", "Cross-correlation", "number of filters",
                    "`[N, 1, 28, 28] -> [N, 6, 24, 24]`", "parameters: 156", "MACs: 86,400",
                    "receptive field: 5 x 5"]),
        ("LeNet(", ["net LeNet(classes = 10)", "LeNet for 28x28", "parameters: 44,426",
                    "MACs: 281,640"]),
        ("classes)", ["net LeNet(classes = 10)"]),
        ("image\n", ["`[N, 1, 28, 28]`"]),
        ("relu", ["Rectified linear unit"]),
    ],
)  # fmt: skip
def test_what_is_said_of_a_word(lenet: Analysis, word: str, said: list[str]) -> None:
    found = hover(lenet, LENET.index(word) + 1)
    assert found is not None
    for part in said:
        assert part in found.markdown


@pytest.mark.parametrize(
    ("word", "into", "said"),
    [
        ("Step(width, stride = 1", 1, ["block Step(width, stride = 1) x", "called 3 times"]),
        ("Step(width, stride = 2", 1, ["block Step", "shape: `[N, 4, 16, 16]`", "layers: 2"]),
        ("stride = 2", 1, ["`stride = 1`, an argument of block Step"]),
        ("stride = stride", 1, ["`stride` = `1`: step of the filters"]),
        ("body:", 1, ["`first.0.body`, `step1.body`, `step2.body`"]),
        ("width, 3", 1, ["block Step(width"]),
    ],
)
def test_what_is_said_of_blocks(word: str, into: int, said: list[str]) -> None:
    found = hover(analyzed(TEXT), TEXT.index(word) + into)
    assert found is not None
    for part in said:
        assert part in found.markdown


def test_a_code_in_a_comment_is_explained() -> None:
    text = LENET.replace("    output image", "    # allow: graph/unread\n    output image")
    found = hover(analyzed(text), text.index("graph/unread") + 3)
    assert found is not None
    assert found.markdown.startswith("**graph/unread**")
    assert text[found.start : found.end] == "graph/unread"


def test_what_is_wrong_at_a_place_is_explained() -> None:
    text = LENET.replace("conv(6", "cnv(6")
    found = hover(analyzed(text), text.index("cnv") + 1)
    assert found is not None
    assert "**name/" in found.markdown
    assert "netspec explain name/" in found.markdown
    assert "```netspec\nnet" not in found.markdown  # the page has an example
    assert text[found.start : found.end] == "cnv"
    large = LENET.replace("conv(6, 5)", "conv(6, 50)")
    found = hover(analyzed(large), large.index("50)"))
    assert found is not None
    assert found.markdown.startswith("**shape/")


def test_there_is_nothing_to_say_of_blanks_and_numbers(lenet: Analysis) -> None:
    assert hover(lenet, LENET.index("5)")) is None
    assert hover(lenet, len(LENET)) is None


def test_the_server_loads_neither_numpy_nor_the_parser_generator() -> None:
    pytest.importorskip("pygls")
    code = (
        "import sys\n"
        "from netspec.language_server.server import make_server\n"
        "from netspec.language_server.analysis import analyze\n"
        "from netspec.language_server import completion, fixes, hints, hover, lenses\n"
        "make_server('0')\n"
        f"a = analyze({TEXT!r}, 'a.net')\n"
        "hints.shape_hints(a), list(lenses.lenses(a)), list(fixes.quick_fixes(a, 0, 99))\n"
        "completion.completions(a, 50), hover.hover(a, 50)\n"
        "print([m for m in ('numpy', 'torch', 'lark') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


PARTS = """block Good(n) x {
    return x -> conv(n, 3)
}
block Bad(n) x {
    return x -> conv(n, 3
}
net A {
    input image: [3, 32, 32]
    output image -> Good(4) -> cnv(3) -> flatten -> linear(10)
}
net B {
    input image: [3, 32, 32]
    output image -> Bad(4) -> cnv(3) -> flatten -> linear(10)
}
net C {
    input image: [3, 32, 32]
    output image -> Good(4) -> flatten -> linear(10)
}
"""


def test_a_text_that_never_parsed_shows_what_does() -> None:
    found = analyzed(PARTS)
    assert found.module is None
    wrong = [(d.span and d.span.text, d.span and d.span.line) for d in found.found]
    # Nothing is said of B, which calls a block that is not known.
    assert wrong == [("(", 5), ("cnv", 9)]
    tried = found.diagnostics()
    assert [hint.text for d in tried for hint in d.hints] == [
        "close it: `(n, 3)`",
        "did you mean `conv`?",
    ]
    assert all(d.span is not None and d.span.source is found.source for d in tried)
    assert [part.name for part in document_symbols(found)] == ["Good", "Bad", "A", "B", "C"]
    assert [lens.title for lens in lenses(found)][-3:] == [
        "36,122 parameters · 133,200 MACs", "draw", "train",
    ]  # fmt: skip
    where = definition(found, PARTS.index("Good(4)"))
    assert where is not None
    assert where.span == Span(found.source, 6, 10)
    said = hover(found, PARTS.index("conv(n, 3)"))
    assert said is not None
    assert "[N, 3, 32, 32] -> [N, 4, 30, 30]" in said.markdown
    assert [hint.text for hint in shape_hints(found)][-1] == "[N, 10]"


@pytest.mark.parametrize(
    "text", ["net", "net A {", "x", "", "block B x {", 'from "', "}}}", "net A }"]
)
def test_a_text_of_which_nothing_parses_shows_nothing(text: str) -> None:
    found = analyzed(text)
    assert document_symbols(found) == []
    assert list(lenses(found)) == []
    assert found.found == found.result.diagnostics
