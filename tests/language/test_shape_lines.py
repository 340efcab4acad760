"""`netspec fmt --shapes`: shapes written down as comments, which the compiler then checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec.compiler.driver import Request, compile_request
from netspec.compiler.shape_lines import with_shapes
from netspec.diagnostics import NetspecError, Source
from tests.conftest import ROOT, Run

NETS = sorted((ROOT / "networks").rglob("*.net"))
QUICK = ("lenet", "resnet", "gpt2", "unet", "char_lstm")


def shaped(text: str) -> str:
    return with_shapes(Request(source=Source("a.net", text)))


def body(*lines: str) -> str:
    return "net A {\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines) + "}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            body("input x: [3, 8, 8]", "", "output x -> conv(4, 3) -> relu"),
            body("input x: [3, 8, 8]", "", "output x -> conv(4, 3) -> relu  # [4, 6, 6]"),
        ),
        (  # an open size is a formula of the names that the net gives
            body("input x: [3, H, 8]", "", "output x -> max_pool(2) -> conv(4, 3)"),
            body("input x: [3, H, 8]", "", "output x -> max_pool(2) -> conv(4, 3)"
                 "  # [4, H // 2 - 2, 2]"),
        ),
        (  # a comment of the author stays alone on its line
            body("input x: [3, 8, 8]", "", "output x -> relu  # as in the paper"),
            body("input x: [3, 8, 8]", "", "output x -> relu  # as in the paper"),
        ),
        (  # a wrong one is for `check`
            body("input x: [3, 8, 8]", "", "output x -> relu  # [1, 2]"),
            body("input x: [3, 8, 8]", "", "output x -> relu  # [1, 2]"),
        ),
        (  # sizes that differ between calls are not said, and several values have no comment
            "block B(n) x {\n    return x -> conv(n, 3)\n}\n\n"
            + body("input x: [3, 8, 8]", "", "a, b = x -> B(4) -> split(2)", "output a -> B(5)"),
            "block B(n) x {\n    return x -> conv(n, 3)\n}\n\n"
            + body("input x: [3, 8, 8]", "", "a, b = x -> B(4) -> split(2)",
                   "output a -> B(5)  # [5, 4, 4]"),
        ),
        (
            "block B(n) x {\n    return x -> conv(4, n)\n}\n\n"
            + body("input x: [3, 8, 8]", "", "y = x -> B(3)", "output y -> B(2)"),
            "block B(n) x {\n    return x -> conv(4, n)  # [4, _, _]\n}\n\n"
            + body("input x: [3, 8, 8]", "", "y = x -> B(3)  # [4, 6, 6]",
                   "output y -> B(2)  # [4, 5, 5]"),
        ),
    ],
)  # fmt: skip
def test_what_is_written(before: str, after: str) -> None:
    assert shaped(before) == after
    assert shaped(after) == after


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.heavy) for p in NETS],
    ids=lambda path: path.stem,
)
def test_what_is_written_is_right_and_stays(path: Path) -> None:
    request = Request(source=Source(path.name, path.read_text("utf-8")), folder=path.parent)
    text = with_shapes(request)
    again = Request(source=Source(path.name, text), folder=path.parent)
    assert with_shapes(again) == text
    assert not compile_request(again).diagnostics


def test_a_file_with_errors_is_left(tmp_path: Path, run: Run) -> None:
    with pytest.raises(NetspecError):
        shaped(body("input x: [3, 8, 8]", "output x -> nothing"))
    path = tmp_path / "a.net"
    path.write_text(body("input x: [3, 8, 8]", "output x -> nothing"))
    finished = run("fmt", "--shapes", str(path))
    assert finished.code == 1
    assert "nothing" in finished.err
    assert path.read_text() == body("input x: [3, 8, 8]", "output x -> nothing")


def test_the_command_line_writes_and_checks(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(body("input x: [3, 8, 8]", "output x -> relu").replace("\n", "\r\n").encode())
    assert run("fmt", "--shapes", "--check", str(path)).code == 1
    assert run("fmt", "--shapes", str(path)).code == 0
    assert b"output x -> relu  # [3, 8, 8]\r\n" in path.read_bytes()
    assert run("fmt", "--shapes", "--check", str(path)).code == 0
