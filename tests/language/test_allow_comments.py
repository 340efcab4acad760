"""`# allow: CODE` is about a statement, not about a line."""

from __future__ import annotations

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.fmt.formatter import format_source
from netspec.diagnostics import Source

BIAS = "graph/useless-bias"


def reported(text: str) -> list[tuple[str, str]]:
    """Return the codes that are reported, each with the text that it is about."""
    result = compile_request(Request(source=Source("test.net", text)))
    return [(d.code, d.span.text) for d in result.diagnostics if d.span is not None]


def body(*lines: str) -> str:
    return "\n".join(["net A {", "input image: [3, 8, 8]", *lines, "}"])


@pytest.mark.parametrize(
    "lines",
    [
        ["output image -> conv(4, 3) -> batch_norm  # allow: X"],
        ["output image -> conv(4, 3)", "-> batch_norm  # allow: X"],
        ["output image  # allow: X", "-> relu", "-> conv(4, 3)", "-> batch_norm"],
        ["output image -> relu", "# allow: X", "-> relu", "-> conv(4, 3) -> batch_norm"],
        ["# allow: X", "", "# as in the paper", "output image -> conv(4, 3) -> batch_norm"],
        ["# allow: graph/unread, X", "output image -> conv(4, 3) -> batch_norm"],
        ["for i in [1] { image = image -> conv(4, 3) -> batch_norm }  # allow: X", "output image"],
        ["for i in [1] {", "image = image -> conv(4, 3)", "-> batch_norm", "}#allow:X",
         "output image"],
    ],
)  # fmt: skip
def test_silenced(lines: list[str]) -> None:
    text = body(*lines).replace("X", BIAS)
    assert reported(text) == []
    assert reported(format_source(Source("test.net", text))) == []
    assert [code for code, _ in reported(text.replace(BIAS, "graph/unread"))] == [BIAS]


@pytest.mark.parametrize(
    "lines",
    [
        ["x = image -> relu  # allow: X", "output x -> conv(4, 3) -> batch_norm"],
        ["output image -> conv(4, 3) -> batch_norm", "# allow: X"],
        ["# allow: X", "for i in [1] {", "image = image -> conv(4, 3) -> batch_norm", "}",
         "output image"],
        ["for i in [1] {  # allow: X", "image = image -> conv(4, 3) -> batch_norm", "}",
         "output image"],
        ["if 1 < 2 { image = image -> relu", "# allow: X", "}",
         "output image -> conv(4, 3) -> batch_norm"],
        ['assert "# allow: X" != "}"', "output image -> conv(4, 3) -> batch_norm"],
    ],
)  # fmt: skip
def test_not_silenced(lines: list[str]) -> None:
    text = body(*lines).replace("X", BIAS)
    assert [code for code, _ in reported(text)] == [BIAS]
    assert [code for code, _ in reported(format_source(Source("test.net", text)))] == [BIAS]


@pytest.mark.parametrize(
    "text",
    [
        "# allow: X\nnet A(a = 1, b = 2) {\nN\n}",
        "net A(a = 1, b = 2) {  # allow: X\nN\n}",
        "net A(\na = 1,  # allow: X\nb = 2\n) {\nN\n}",
        "net A(a = 1, b = 2) {\nN\n}  # allow: X",
    ],
)
def test_the_head_of_a_net(text: str) -> None:
    text = text.replace("N", "input x: [4]\noutput x").replace("X", "graph/unused")
    assert reported(text) == []
    assert [what for _, what in reported(text.replace("allow", "a"))] == ["a", "b"]


def test_what_is_in_a_branch() -> None:
    """`loop/no-turn` is about the head of a loop, which is in a branch here."""
    text = body(
        "if 1 > 2 {", "}", "else if 2 > 1 {", "# allow: loop/no-turn", "for i in range(3, 0) {",
        "}", "}", "output image",
    )  # fmt: skip
    assert reported(text) == []
    assert [code for code, _ in reported(text.replace("allow", "a"))] == ["loop/no-turn"]
