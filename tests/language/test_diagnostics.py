"""How diagnostics are drawn, and their form as data."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from netspec.diagnostics import (
    Code,
    Diagnostic,
    DiagnosticSink,
    Edit,
    Frame,
    Hint,
    Label,
    NetspecError,
    Source,
    Span,
    in_order,
    render,
    suggest,
    to_json,
)

AN_ERROR = Code("a/b", "error", "is not right")
A_WARNING = Code("a/c", "warning", "may be wrong")


def span(source: Source, text: str) -> Span:
    at = source.text.index(text)
    return Span(source, at, at + len(text))


def drawn(text: str, part: str, label: str = "") -> list[str]:
    """Return the source line and the underline of an error at a part of a text."""
    source = Source("a.net", text)
    return render(Diagnostic(AN_ERROR, "m", span(source, part), label)).split("\n")[3:]


def test_all_parts() -> None:
    one, two = Source("a.net", "x = first\ny = second + x\n"), Source("b.net", "\n\nblock B\n")
    diagnostic = Diagnostic(
        Code("shape/x", "error", ""), "they differ", span(one, "second + x"), "here",
        secondary=(Label(span(one, "first"), "there"), Label(span(two, "B"), "elsewhere")),
        notes=("1 + 1 = 3",),
        hints=(Hint("do this"),),
        trace=(
            Frame("block A()", span(one, "y")),
            Frame("block B()", span(two, "block"), (("i", 2),)),
            Frame(turns=(("j", 3), ("k", 4))),
        ),
    )  # fmt: skip
    assert render(diagnostic) == "\n".join([
        "error[shape/x]: they differ",
        "  --> a.net:2:5",
        "   |",
        " 1 | x = first",
        "   |     ----- there",
        " 2 | y = second + x",
        "   |     ^^^^^^^^^^ here",
        "  ::: b.net:3:7",
        "   |",
        " 3 | block B",
        "   |       - elsewhere",
        "   = in the turn j = 3, k = 4",
        "   = in block B(), called at b.net:3:1, i = 2",
        "   = in block A(), called at a.net:2:1",
        "   = note: 1 + 1 = 3",
        "   = help: do this",
    ])  # fmt: skip


def test_two_places_on_one_line_share_it() -> None:
    source = Source("a.net", "aa + bb")
    diagnostic = Diagnostic(
        AN_ERROR, "m", span(source, "aa + bb"), "1", (Label(span(source, "bb"), "2"),)
    )
    assert render(diagnostic).split("\n")[3:] == [
        " 1 | aa + bb",
        "   | ^^^^^^^ 1",
        "   |      -- 2",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert drawn("x = 宽字 + é", "é") == [" 1 | x = 宽字 + é", "   |            ^"]
    assert drawn("宽字 = 1", "宽字")[1] == "   | ^^^^"
    assert drawn("e\u0301 = z", "z")[1] == "   |     ^"  # a combining accent takes no column


def test_tabs_are_four_columns() -> None:
    assert drawn("\tx\t= y", "y") == [" 1 |     x    = y", "   |            ^"]


def test_control_characters_are_escaped() -> None:
    line, under = drawn("x = \x1b[31m + y", "y")
    assert line == " 1 | x = \\x1b[31m + y"
    assert under.index("^") == line.index("y")
    assert "\x1b" not in render(Diagnostic(AN_ERROR, "bad \x1b[2J name"))
    assert "\u202e" not in render(Diagnostic(AN_ERROR, "right to left \u202e mark"))


def test_a_long_line_is_a_window() -> None:
    line, under = drawn("a" * 500 + "HERE" + "b" * 500, "HERE")
    assert len(line) < 160
    assert line[under.index("^") :].startswith("HERE")
    assert under.count("^") == 4


def test_a_span_over_lines_ends_with_dots() -> None:
    assert drawn("x = (a\n + b)", "(a\n + b)") == [" 1 | x = (a", "   |     ^^..."]


def test_the_end_of_the_file() -> None:
    source = Source("a.net", "net A")
    assert render(Diagnostic(AN_ERROR, "m", Span(source, 5, 5))).split("\n")[1:] == [
        "  --> a.net:1:6",
        "   |",
        " 1 | net A",
        "   |      ^",
    ]


def test_no_place() -> None:
    error = NetspecError.simple(Code("file/x", "error", ""), "there is nothing", "look elsewhere")
    assert str(error) == "error[file/x]: there is nothing\n   = help: look elsewhere"


def test_long_chains_are_cut() -> None:
    source = Source("a.net", "x")
    frames = tuple(Frame(f"block B(n = {n})", Span(source, 0, 1)) for n in range(30))
    text = render(Diagnostic(AN_ERROR, "m", trace=frames))
    assert "24 more" in text
    assert text.count("\n") == 7
    same = tuple(Frame("block B()", Span(source, 0, 1)) for _ in range(30))
    assert "called at a.net:1:1, 30 times" in render(Diagnostic(AN_ERROR, "m", trace=same))


def test_json() -> None:
    source = Source("a.net", "x = a\n  + b\n")
    where = span(source, "a\n  + b")
    hint = Hint("say c", (Edit(where, "c"),))
    data = to_json(Diagnostic(A_WARNING, "m", where, "l", hints=(hint,)))
    place = {"file": "a.net", "line": 1, "column": 5, "end_line": 2, "end_column": 6}
    assert json.loads(json.dumps(data)) == {
        "severity": "warning",
        "code": "a/c",
        "message": "m",
        "span": place,
        "label": "l",
        "secondary": [],
        "trace": [],
        "notes": [],
        "hints": [{"text": "say c", "edits": [{**place, "replacement": "c"}], "unsure": False}],
    }


def test_colour_wraps_the_same_text() -> None:
    import re

    source = Source("a.net", "x = y")
    diagnostic = Diagnostic(AN_ERROR, "m", span(source, "y"), "l", notes=("n",))
    coloured = render(diagnostic, color=True)
    assert "\x1b[1;31m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(diagnostic)


def test_a_sink_counts_one_mistake_once() -> None:
    source, sink = Source("a.net", "x"), DiagnosticSink()
    first = Diagnostic(AN_ERROR, "in turn 1", Span(source, 0, 1))
    assert sink.add(first)
    assert not sink.add(Diagnostic(AN_ERROR, "in turn 2", Span(source, 0, 1)))
    assert sink.add(Diagnostic(A_WARNING, "m", Span(source, 0, 1)))
    assert sink.errors == [first]


def test_suggestions() -> None:
    known = ["conv", "relu", "max_pool", "batch_norm", "linear"]
    assert suggest("convv", known) == "conv"
    assert suggest("maxpool", known) == "max_pool"
    assert suggest("ReLU", known) == "relu"
    assert suggest("BatchNorm", known) == "batch_norm"
    assert suggest("transmogrify", known) is None
    assert suggest("relu", known) is None
    assert suggest("x" * 10_000, known) is None


def test_diagnostics_are_in_the_order_of_their_places() -> None:
    one, two = Source("one.net", "abcdef"), Source("two.net", "abcdef")

    def at(source: Source, start: int, message: str = "m") -> Diagnostic:
        return Diagnostic(AN_ERROR, message, Span(source, start, start + 1))

    nowhere = Diagnostic(AN_ERROR, "all in all")
    mixed = [at(two, 3), nowhere, at(one, 4, "first"), at(two, 0), at(one, 2), at(one, 4, "then")]
    ordered = (
        at(two, 0), at(two, 3), at(one, 2), at(one, 4, "first"), at(one, 4, "then"), nowhere,
    )  # fmt: skip
    assert in_order(mixed) == ordered
    assert in_order(ordered) == ordered
    assert NetspecError(mixed).diagnostics == ordered


@given(st.text(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_span_of_any_text_is_drawn(text: str, start: int, length: int) -> None:
    source = Source("a.net", text)
    start = min(start, len(text))
    where = Span(source, start, min(len(text), start + length))
    for line in render(Diagnostic(AN_ERROR, text, where, text)).split("\n"):
        assert line.isprintable()
