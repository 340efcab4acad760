"""What the compiler guesses, what follows from a guess, and what it does not guess."""

from __future__ import annotations

import pytest

from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.diagnostics import Source


def checked(*lines: str, head: str = "net A", before: str = "") -> Compilation:
    body = "\n".join(["    input x: [16, 32, 32]", *(f"    {line}" for line in lines)])
    text = f"{before}{head} {{\n{body}\n}}\n"
    return compile_request(Request(source=Source("a.net", text)))


def codes(result: Compilation) -> list[str]:
    return [d.code for d in result.diagnostics]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("maxpool(3, 1, 2)", "max_pool"),  # whose padding is over half of its kernel
        ("covn(8, 64)", "conv"),
        ("atention(4)", "attention"),
        ("ConcaT(axis = 9)", "concat"),
        ("lineer(10, 10, 10, 10)", "linear"),
    ],
)
def test_a_layer_that_was_guessed_gives_one_error(wrong: str, meant: str) -> None:
    result = checked(f"y = x -> {wrong}", "output y -> flatten -> linear(10)")
    assert codes(result) == ["name/unknown-layer"]
    assert f"`{meant}`" in result.diagnostics[0].hints[0].text
    assert result.unsaid


def test_a_name_that_was_guessed_gives_one_error() -> None:
    result = checked("output x -> conv(widht, 3)", head='net A(width = "wide")')
    assert codes(result) == ["graph/unused", "name/undefined"]


def test_other_names_in_a_guessed_call_are_certain() -> None:
    result = checked("output x -> covn(widht, 3)", head="net A(width = 8, other = 3)")
    assert {"name/unknown-layer", "name/undefined"} <= {*codes(result)}


def test_the_rest_of_a_file_is_checked_with_the_guess() -> None:
    result = checked("y = x -> covn(8, 3)", "output y -> conv(4, 40)")
    assert codes(result) == ["name/unknown-layer", "shape/kernel-too-large"]


@pytest.mark.parametrize(
    "lines",
    [
        ("if deep {", "  x = x -> conv(width, 3)", "}", "output x -> relu"),
        (
            "if not deep {",
            "  x = x -> relu",
            "} else {",
            "  x = x -> conv(width, 1)",
            "}",
            "output x",
        ),
        ("for i in range(1 if deep else 0) {", "  x = x -> conv(width, 3)", "}", "output x"),
        ("c = width if deep else 3", "output x -> conv(c, 1)"),
        ("c = 3 if not deep else width", "output x -> conv(c, 1)"),
        ("if deep and width > 3 {", "  x = x -> relu", "}", "output x -> tanh"),
        ("layer stem = conv(width, 1)", "if deep {", "  x = x -> stem", "}", "output x"),
        ("layer stem = B(width)", "if deep {", "  x = x -> stem", "}", "output x"),
    ],
)
def test_what_only_a_branch_not_taken_reads_is_read(lines: tuple[str, ...]) -> None:
    block = "block B(c) x {\n    return x -> conv(c, 3)\n}\n"
    result = checked(*lines, head="net A(deep = false, width = 8)", before=block)
    assert "graph/unused" not in codes(result)
    assert not result.errors


def test_what_nothing_reads_is_still_told() -> None:
    lines = ("if deep {", "  x = x -> conv(4, 3)", "}", "output x -> relu")
    assert codes(checked(*lines, head="net A(deep = false, width = 8)")) == ["graph/unused"]


def test_blocks_alone_may_use_the_same_labels() -> None:
    block = "block {} x {{\n    return x -> a: conv(3, 3) -> b.0: relu\n}}\n"
    text = block.format("A") + block.format("B")
    assert not compile_request(Request(source=Source("a.net", text))).diagnostics
    twice = text.replace("b.0: relu", "a: conv(3, 3)")
    result = compile_request(Request(source=Source("a.net", twice)))
    assert codes(result) == ["label/twice", "label/twice"]
