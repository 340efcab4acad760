"""All syntax errors are reported in one run, each at its place, without errors that follow from
them.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.parse import parse
from netspec.compiler.parse.recovery import MAX_SYNTAX_ERRORS
from netspec.diagnostics import NetspecError, Source
from tests.helpers.fuzz import corpus, mutated, random_tokens
from tests.helpers.fuzz_core import ROOT
from tests.helpers.planted_slips import Score, first_refused, scores

SLIPS_OF_ALL_KINDS = """\
net A(classes = 10 {
    input image: [3, 32, 32]
    x = image -> conv(8, 3 -> relu
    y = x -> max_pool(2)
    for i in range(3) {
        y = y -> conv(8, 3, pad = same) -> relu
    output y -> flatten -> linear(classes)
}

block B(c) x {
    return x -> conv(c, 3 pad = 1)
}
"""


def errors(text: str) -> list[tuple[int, str]]:
    """Return the line of each error, and the text that its span covers."""
    found = compile_request(Request(source=Source("slips.net", text))).errors
    return [(d.span.line, d.span.text) for d in found if d.span is not None]


def test_slips_in_heads_and_of_brackets_braces_and_commas() -> None:
    result = compile_request(Request(source=Source("slips.net", SLIPS_OF_ALL_KINDS)))
    assert [(d.span.line, d.span.text) for d in result.errors if d.span] == [
        (1, "{"), (3, "("), (5, "{"), (11, "pad"),
    ]  # fmt: skip
    unclosed_head, unclosed_call, unclosed_loop, no_comma = result.errors
    (opened,) = unclosed_head.secondary
    assert (opened.span.line, opened.span.text, opened.text) == (1, "(", "opened here")
    assert unclosed_call.message == "`(` is never closed"
    assert unclosed_loop.message == "`{` is never closed"
    assert [hint.text for hint in no_comma.hints] == ["put a comma between them"]


BODY = "net A {\n    input x: [3, 8, 8]\n%s    output x\n}\n"


@pytest.mark.parametrize(
    ("statement", "at", "help"),
    [
        ("assert 3 in [1, 3]", "in", "compare with each"),
        ("a = [i for i in range(3)]", "for", "fill it in a loop"),
        ("x = (w1: conv(3, 3) -> relu)", ":", "a label stands behind an arrow"),
        ("x = w1: conv(3, 3)", ":", "a label stands behind an arrow"),
    ],
)
def test_what_other_languages_have_is_told_how_it_is_written(
    statement: str, at: str, help: str
) -> None:
    text = BODY % f"    {statement}\n"
    error, *_ = compile_request(Request(source=Source("a.net", text))).errors
    assert error.span is not None
    assert (error.span.line, error.span.text) == (3, at)
    assert any(hint.text.startswith(help) for hint in error.hints)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # What is missing at the end of a line is reported on that line, not on the next one.
        ("    x = x ->\n    y = x -> relu\n", [(3, "")]),
        ("    x = x -> concat([\n        x\n        x,\n    ])\n", [(4, "")]),
        ("    = x -> relu\n", [(3, "=")]),
        # A word that starts a statement is not a name where such a word is missing.
        ("    i in range(3) {\n        x = x -> relu\n    }\n", [(3, "in")]),
        ("    for in range(3) {\n        x = x -> relu\n    }\n", [(3, "in")]),
        ("    if 1 > 0 {\n        x = x -> relu\n    else {\n        x = x\n    }\n", [(3, "{")]),
        # Two slips on one line.
        ("    x = x -> conv(8 3) -> max_pool(2 2)\n", [(3, "3"), (3, "2")]),
        ("    input y [3, 8, 8\n", [(3, "["), (3, "[")]),
        # Brackets over several lines.
        ("    x = x -> conv(\n        8\n        3,\n", [(3, "("), (4, "")]),
        # A statement that no small change corrects must not hide another one.
        ("    this is no statement at all\n    y = x -> conv(3 3)\n", [(3, "is"), (4, "3")]),
        ("    x = x\n        -> conv ] 3 ( 3\n        -> relu(1 2)\n", [(4, "]"), (5, "2")]),
    ],
)  # fmt: skip
def test_each_slip_is_reported_at_its_place(lines: str, expected: list[tuple[int, str]]) -> None:
    assert errors(BODY % lines) == expected


def test_every_unclosed_brace_is_shown_where_it_was_opened() -> None:
    loops = (
        "    for i in range(2) {\n        if i > 0 {\n            x = x -> relu\n        x = x\n"
    )
    text = BODY % f"{loops}    x = x -> relu\n" + "\nblock B x {\n    return x\n}\n"
    assert errors(text) == [(3, "{"), (4, "{")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("input x: [1 28 28]", "put a comma between them"),
        ("input x: [1, 28 28]", "put a comma between them"),
        ("input = x[1, 28, 28]",
         "`input` is a word of the language: write `input image: [1, 28, 28]`"),
    ],
)  # fmt: skip
def test_slips_in_the_declaration_of_an_input_have_help(line: str, said: str) -> None:
    text = f"net A {{\n    {line}\n    output x -> flatten -> linear(3)\n}}\n"
    first = compile_request(Request(source=Source("a.net", text))).errors[0]
    assert [hint.text for hint in first.hints] == [said]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("block C(c) x", "a block stands outside of the net"),
        ("scan block C(c) x", "a block stands outside of the net"),
        ("inline block C(c) x", "a block stands outside of the net"),
        ("net C", "a net stands outside of the net"),
    ],
)
def test_a_definition_inside_a_net_is_one_error(head: str, said: str) -> None:
    text = f"net A {{\n    input x: [4]\n    {head} {{\n        return x -> relu\n    }}\n"
    text += "    y = x -> C(3)\n    output y -> linear(2)\n}\n"
    (found,) = compile_request(Request(source=Source("a.net", text))).errors
    assert found.message == said
    assert found.span.text == head.split("(", maxsplit=1)[0]
    assert found.hints[0].text == "move it in front of the net, up to its `}`"
    # At the margin it stands behind a body that is not closed.
    text = "net A {\n    input x: [4]\n    output x\n\nblock C(c) x {\n    return x\n}\n"
    (found,) = compile_request(Request(source=Source("a.net", text))).errors
    assert found.message == "`{` is never closed"


def test_a_word_that_cannot_be_a_name_is_reported_once() -> None:
    assert errors(BODY % "    input if: [3, 8, 8]\n    x = if -> relu\n    y = x x\n") == [
        (3, "if"), (5, "x"),
    ]  # fmt: skip


@pytest.mark.parametrize("label", ["a.{i}0.1", "a.{i}-0.1", "a.{i}0.1e5", "0.1.{i}0.1", "a.0.1"])
def test_fractions_in_labels_are_parts_of_them_where_something_else_is_wrong(label: str) -> None:
    found = errors(BODY % f"    for i in [1] {{ x = x -> {label}: conv(8, 3 4) }}\n")
    assert (3, "4") in found


def test_names_of_a_damaged_import_raise_no_errors(tmp_path) -> None:
    (tmp_path / "lib.net").write_text(
        "block One( x {\n    return x\n}\nblock Two x {\n}\n", "utf-8"
    )
    net = 'from "lib.net" import One, Two\n' + BODY % "    x = x -> One -> Two\n"
    (tmp_path / "net.net").write_text(net, "utf-8")
    found = compile_request(Request(path=tmp_path / "net.net")).errors
    assert [(d.code, d.span.line) for d in found if d.span] == [("syntax/unexpected-token", 1)]


def check_rates(found: list[Score], least: float, most: float) -> None:
    slips = sum(len(score.planted.slips) for score in found)
    missed = sum(len(score.missed) for score in found)
    follow_ons = sum(len(score.follow_ons) for score in found)
    assert (slips - missed) / slips >= least
    assert follow_ons / (slips - missed + follow_ons) <= most


def test_planted_slips_are_reported_in_one_run() -> None:
    check_rates(list(scores(40, seed=3)), 0.9, 0.05)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_slips_of_two_hundred_files(seed: int) -> None:
    check_rates(list(scores(200, seed)), 0.9, 0.05)


@pytest.mark.parametrize("generate", [mutated, random_tokens])
def test_whatever_the_parser_refuses_has_errors(generate) -> None:
    rng, files = random.Random(0), corpus()
    for _ in range(60):
        text = generate(rng, files).decode("utf-8", "replace")
        if len(text) > 4000 or first_refused(text) is None:
            continue
        with pytest.raises(NetspecError) as refused:
            parse(Source("case.net", text))
        assert refused.value.diagnostics
        places = [(d.span, d.message) for d in refused.value.diagnostics]
        assert len(set(places)) == len(places), text


@pytest.mark.parametrize(
    "text",
    [
        "net A {\n" + "x\n" * 30_000,
        "net A {\n x = f(" + "a = 1 " * 10_000 + ")\n}",
        "net A {\n x = y" + "\n -> conv(3 3)" * 4_500 + "\n}",
        "net A {\n" + " for i in x {\n" * 4_500,
        "net A( {\n" * 7_000,
        "net A {\n" + " } else {\n" * 6_000,
        "net A {\n" + f" x = {'(' * 40}\n" * 1_500 + "}",
        "net A {\n x = y z\n" + " x = y -> relu\n" * 4_000 + "}",
        "net A {\n x = (1" + (" ** -1" * 500 + " ** ** ") * 20 + "\n}",
    ],
    ids=["names", "arguments", "chain", "loops", "heads", "branches", "brackets", "one", "powers"],
)  # fmt: skip
def test_a_long_file_ends_in_bounded_work(text: str) -> None:
    start = time.process_time()
    with pytest.raises(NetspecError) as refused:
        parse(Source("long.net", text))
    assert 0 < len(refused.value.diagnostics) <= MAX_SYNTAX_ERRORS
    assert time.process_time() - start < 4


def test_a_good_file_loads_nothing_of_recovery() -> None:
    code = """
import sys
from netspec import cli
assert cli.main(["check", "--quiet", "networks/lenet.net"]) == 0
rooms = "recovery repairs reading recognizer repair_reports leaving_out errors foreign_syntax slips"
print([m for m in rooms.split() if f"netspec.compiler.parse.{m}" in sys.modules])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
