"""What the playground's worker calls: places in UTF-16 units, fixes, and panes of any text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import ROOT, Run, Write
from website.playground.engine import Playground

LENET = (ROOT / "networks/lenet.net").read_text("utf-8")
WRONG = "net A {\n    input x: [3, 8, 8]\n    output x -> cnv(4, 3) -> relu\n}\n"
TWO = "net A { input x: [4]\n output x -> linear(3) }\nnet B { input x: [4]\n output x -> relu }\n"


def checked(text: str, playground: Playground | None = None) -> tuple[Playground, dict[str, Any]]:
    playground = playground or Playground()
    return playground, json.loads(playground.check(text, "a.net"))


def pane(playground: Playground, which: str, net: str = "") -> tuple[str, str]:
    shown = json.loads(playground.pane(which, net))
    return shown["form"], shown["content"]


def as_javascript(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


@pytest.mark.parametrize("before", ["", "# é\n", "# 𝒳 and 🙂\n"])
def test_places_are_counted_as_javascript_counts_them(before: str) -> None:
    text = before + WRONG
    playground, found = checked(text)
    (problem,) = found["problems"]
    assert as_javascript(text, problem["from"], problem["to"]) == "cnv"
    assert problem["fixes"] == []  # not tried yet
    (problem,) = json.loads(playground.fixes())
    ((edit,),) = [fix["edits"] for fix in problem["fixes"]]
    assert as_javascript(text, edit["from"], edit["to"]) == "cnv"
    mended = before + WRONG.replace("cnv", edit["insert"])
    _, found = checked(mended, playground)
    assert found["problems"] == []
    ends = [as_javascript(mended, 0, hint["at"])[-4:] for hint in found["hints"]]
    assert ends == [", 3)", "relu"]


def test_a_pane_is_of_the_net_that_is_asked_for_or_of_the_first() -> None:
    playground, found = checked(TWO)
    assert found["nets"] == ["A", "B"]
    assert "net A." in pane(playground, "torch")[1]
    assert "net B." in pane(playground, "torch", "B")[1]
    assert "net A." in pane(playground, "torch", "gone")[1]


@pytest.mark.parametrize("which", ["summary", "picture", "torch", "numpy", "plain"])
@pytest.mark.parametrize("text", ["", "net", "block B(n) x { return x }", "\0", "net A {", WRONG])
def test_a_pane_of_any_text_is_a_pane(which: str, text: str) -> None:
    playground, _ = checked(text)
    form, content = pane(playground, which)
    assert form == ("svg" if which == "picture" and text == WRONG else "error"), content
    assert content


def test_names_are_text_in_every_pane() -> None:
    text = "# <img src=x onerror=alert(1)>\nnet A { input x: [4]\n output x -> linear(3) }\n"
    playground, _ = checked(text)
    for which in ("summary", "picture"):
        form, content = pane(playground, which)
        assert form != "error"
        assert "<img" not in content


def test_nothing_is_read_but_the_text() -> None:
    _, found = checked('import "lenet.net"\n' + LENET)
    assert [p["severity"] for p in found["problems"]] == ["error"]
    _, found = checked('use "ops.py"\n' + LENET)
    assert "error" in [p["severity"] for p in found["problems"]]


def test_arguments_are_set_as_on_the_command_line(run: Run, write: Write) -> None:
    text = (
        'net A(n = 3, sizes = [4, 5], mode = "b") {\n    input x: [T, 4]\n'
        '    if mode == "a,b" { x = x -> relu }\n'
        "    output x -> linear(sizes[1]) -> linear(n)\n}\n"
    )
    playground = Playground()
    found = json.loads(playground.check(text, "a.net", 'n = 7, sizes = [1, 2], mode = "a,b"'))
    assert not found["problems"]
    assert found["arguments"] == {"A": 'n = 3, sizes = [4, 5], mode = "b"'}
    assert [hint["text"] for hint in found["hints"]] == [
        "[N, T, 4]", "[N, T, 2]", "[N, T, 7]",
    ]  # fmt: skip
    path = write(text, "a.net")
    done = run("compile", path, "--target", "torch", "--set", "n=7", "--set", "sizes=[1, 2]",
               "--set", 'mode="a,b"')  # fmt: skip
    assert pane(playground, "torch")[1] == done.out.replace(str(path), "a.net")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("m = 7", "no argument `m`"),
        ("n", "has the form name=value"),
        ("n = 1, n = 2", "gives `n` twice"),
        ("n = [", "not one constant"),
        ("n = ), (", "--set"),
        ("n = 0", "linear"),
        (",", "has the form name=value"),
    ],
)
def test_arguments_that_do_not_fit_are_told(settings: str, said: str) -> None:
    playground = Playground()
    text = "net A(n = 3) { input x: [4]\n output x -> linear(n) }\n"
    found = json.loads(playground.check(text, "a.net", settings))
    assert any(said in problem["rendered"] for problem in found["problems"]), found["problems"]
    assert json.loads(playground.fixes())
    assert pane(playground, "torch")[0] == "error"
    assert not json.loads(playground.check(text, "a.net", "  "))["problems"]
    assert pane(playground, "torch")[0] == "text"
