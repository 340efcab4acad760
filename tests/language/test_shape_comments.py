"""Comments that consist only of a shape are checked."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.compiler.fmt.formatter import format_source
from netspec.compiler.parse import parse
from netspec.compiler.parse.shape_comments import shape_comments
from netspec.diagnostics import Source
from tests.conftest import ROOT, Run, Write
from tests.verbs.test_fmt import FILES, NAMES, scrambled


def check(text: str, **arguments: Any) -> Compilation:
    return compile_request(Request(source=Source("test.net", text), arguments=arguments))


def body(*lines: str, head: str = "A", image: str = "[3, 8, 8]") -> str:
    return "\n".join([f"net {head} {{", f"input image: {image}", *lines, "}"])


def found(text: str, **arguments: Any) -> list[tuple[str, int]]:
    """Return the codes and lines of what is reported.

    The first line of a body's statements is 3.
    """
    return [(d.code, d.span.line if d.span else 0) for d in check(text, **arguments).diagnostics]


FALSE, UNCLEAR = "shape/comment", "shape/comment-value"


@pytest.mark.parametrize(
    ("line", "right", "wrong"),
    [
        ("output image -> conv(4, 3)  # X", "[4, 6, 6]", "[4, 6, 5]"),
        ("output image -> conv(4, 3)  # X", "[N, 4, 6, 6]", "[N, 4, 6, 5]"),
        ("output image -> conv(4, 3)#X\t", "[4,6,6]", "[4,6]"),
        ("output image -> conv(4, 3)  # X", "[_, 3 * 2, image.height - 2]", "[_, _, 2 * 2]"),
        ("output image -> conv(4, 3)  # X", "[4, min(6, 7), 12 / 2]", "[4, max(6, 7), 12 / 2]"),
        ("output image -> conv(4, 3) -> flatten  # X", "[N, 4 * 6 ** 2]", "[N, 4 * 6 ** 3]"),
        ("output image  # X\n-> conv(4, 3)  # [4, 6, 6]", "[3, 8, 8]", "[4, 8, 8]"),
        ("output image +  # X\nimage", "[3, 8, 8]", "[4, 8, 8]"),
        ("output concat(\nimage,\nimage -> conv(4, 3, pad = 1)  # X\n)", "[4, 8, 8]", "[7, 8, 8]"),
        ("output concat(\nimage,  # X\nimage\n)", "[3, 8, 8]", "[6, 8, 8]"),
        ("output concat(\nimage,\nimage\n)  # X", "[6, 8, 8]", "[3, 8, 8]"),
        ("a, b = concat(image, image) -> split(2)  # X\noutput a + b", "[3, 8, 8]", "[6, 8, 8]"),
        ("y = image if 1 > 2\nelse (image -> flatten)  # X\noutput y", "[192]", "[191]"),
        ("layer l = conv(3, 3)\noutput image -> l -> l  # X", "[3, 4, 4]", "[3, 6, 6]"),
    ],
)
def test_true_ones_say_nothing_and_false_ones_are_warnings(
    line: str, right: str, wrong: str
) -> None:
    assert not found(body(line.replace("X", right)))
    assert [code for code, _ in found(body(line.replace("X", wrong)))] == [FALSE]


@pytest.mark.parametrize(
    ("size", "code"),
    [("H - 2", None), ("(H + 4) // 2 * 2 - 2 * ((H - 2) // 2) - 6 + H - 2", None), ("H - 3", FALSE),
     ("2 * H", FALSE), ("H % 2", None), ("H * W", None),
     ("H * W // W", UNCLEAR), ("H // 0", UNCLEAR), ("H / 2", UNCLEAR)],
)  # fmt: skip
def test_sizes_left_open(size: str, code: str | None) -> None:
    text = body(f"output image -> conv(4, 3)  # [4, {size}, _]", image="[3, H, W]")
    assert [code for code, _ in found(text)] == [code] * (code is not None)


@pytest.mark.parametrize(
    "comment",
    ["# 4, 6, 6", "# [4, 6, 6] as in the paper", "# see [1]", "# [4, 6", "# []", "# [4 6]",
     "# [a, b](https://c.d)", "# [image -> relu]", "# [relu(image)]", "# [[4, 6, 6]]", "## [1]",
     "# [net]", '# ["a", ]b]', "# [(4, 6)]", "# [99999999999999999999999999999999999999999999]"],
)  # fmt: skip
def test_other_comments_are_only_comments(comment: str) -> None:
    assert not found(body(f"output image -> conv(4, 3)  {comment}"))


@pytest.mark.parametrize(
    "lines",
    [
        ["# [1, 2, 3]", "output image -> relu"],
        ["width = 4  # [1]", "output image -> conv(width, 3)"],
        ["for i in range(2) {  # [1]", "image = image -> relu", "}  # [1]", "output image"],
        ['assert "# [1]" != "b"', "output image -> relu"],
    ],
)
def test_a_comment_about_no_value_is_only_a_comment(lines: list[str]) -> None:
    assert FALSE not in dict(found(body(*lines)))


def test_names_stand_for_what_they_stand_for_on_the_line() -> None:
    lines = [
        "x = image",
        "for i in range(2) {",
        "x = x -> max_pool(2)  # [3, x.height // 2, _]",
        "}",
    ]
    assert not found(body(*lines, "output x  # [3, 2, 2]"))
    assert not check(body(*lines, "output x  # [3, x.height, x.width]")).diagnostics


@pytest.mark.parametrize(
    "size", ["nothing", "1.5", '"a"', "true", "1 // 0", "image", "image.hight"]
)
def test_a_size_that_cannot_be_worked_out_is_its_own_warning(size: str) -> None:
    assert found(body(f"output image -> conv(4, 3)  # [4, {size}, 6]")) == [(UNCLEAR, 3)]


def test_a_comment_is_no_code() -> None:
    text = body("output image -> conv(4, 3)  # [4, spare, 6]", head="A(spare = 6)")
    assert found(text) == [("graph/unused", 1)]


def test_it_is_about_the_file_as_it_is_written() -> None:
    text = body("output image -> conv(width, 3)  # [4, 6, 5]", head="A(width = 4)")
    assert found(text) == found(text, width=4) == [(FALSE, 3)]
    assert not found(text, width=5)
    text = body("output image -> conv(4, 3)  # [5, H - 2, _]", image="[3, H, W]")
    assert found(text) == [(FALSE, 3)]
    assert not found(text, H=8)
    assert not found(text.replace("[5,", "[4,"))


def test_what_follows_from_a_false_one_is_not_reported() -> None:
    text = body(
        "x = image -> conv(4, 3)  # [4, 8, 8]",
        "y = x -> relu  # [4, 8, 8]",
        "z = image -> relu  # [3, 7, 7]",
        "w = y -> adaptive_avg_pool(5)  # [4, 5, 5]",
        "output w -> conv(4, 3)  # [4, 5, 5]",
        "output o = z",
    )
    assert found(text) == [(FALSE, 3), (FALSE, 5), (FALSE, 7)]


def test_the_caller_is_told_what_the_block_is_told() -> None:
    block = "block B(n) x {\nreturn x -> conv(n, 3)  # [n, x.height, _]\n}\n"
    text = block + body("y = image -> B(4)  # [4, 8, 8]", "output y -> B(4) -> relu  # [4, 8, 8]")
    assert found(text) == [(FALSE, 2), (FALSE, 6)]


def test_one_in_a_loop_is_reported_once_and_never_ends_the_build() -> None:
    text = body(
        "x = image",
        "for i in range(3000) {",
        "x = image -> conv(4, 1)  # [5, 8, 8]",
        "}",
        "output x",
    )
    result = check(text)
    assert [d.code for d in result.diagnostics].count(FALSE) == 1
    assert len(result.graphs["A"].outputs) == 1


def test_it_comes_before_the_error_that_follows() -> None:
    text = body("x = image -> max_pool(8)  # [3, 4, 4]", "output x -> conv(4, 3)")
    assert found(text) == [(FALSE, 3), ("shape/kernel-too-large", 4)]


def test_it_can_be_silenced_on_the_line_before() -> None:
    assert not found(body("# allow: shape/comment", "output image -> relu  # [1, 1, 1]"))


def test_an_imported_block_keeps_its_comments(run: Run, write: Write) -> None:
    write("block B x {\n    return x -> conv(4, 3)  # [4, x.height, _]\n}\n", "lib.net")
    path = write('from "lib.net" import B\n' + body("output image -> B"))
    assert "lib.net:2:17" in run("check", path).err


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_formatting_keeps_what_each_is_about(path: Path) -> None:
    text = path.read_text("utf-8")
    for seed in range(3):
        mess = scrambled(text, random.Random(seed)).replace("\r\n", "\n")
        assert comments(mess) == comments(text)


def test_formatting_keeps_comments_behind_operators() -> None:
    text = body("y = image +  # [3, 8, 8]\nimage", "output y ->  # [3, 8, 8]\nrelu")
    assert comments(format_source(Source("test.net", text))) == comments(text)
    assert len(comments(text)) == 2


def comments(text: str) -> list[tuple[str, str]]:
    """Return the shape comments of a text, each with the end of what it is about, without blanks."""
    seen = shape_comments(parse(Source("test.net", text))).values()
    pairs = sorted((c.span.start, c.span.text, text[: c.about.end]) for c in seen)
    return [("".join(shape.split()), "".join(about.split())[-4:]) for _, shape, about in pairs]


@pytest.mark.heavy
def test_time_grows_with_the_number_of_comments() -> None:
    def seconds(count: int) -> float:
        lines = [f"image = image -> c{i}: conv(3, 1)  # [3, 8, 8]" for i in range(count)]
        text = body(*lines, "output image")
        start = time.process_time()
        assert not check(text).diagnostics
        return time.process_time() - start

    def best(count: int) -> float:
        return min(seconds(count) for _ in range(2))

    seconds(10)
    # Four times the comments; what grows with their square takes sixteen times as long.
    assert best(2000) < 12 * max(best(500), 0.02)


def test_the_zoo_has_them() -> None:
    for path in sorted((ROOT / "networks").rglob("*.net")):
        assert len(comments(path.read_text("utf-8"))) >= 2, path
