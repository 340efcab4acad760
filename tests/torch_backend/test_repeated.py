"""A repeated expression of a generated PyTorch function is a local variable there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.compiler.torch_backend.structured.repeated import Repeated  # noqa: E402
from tests.helpers.torch_support import check_against, check_equal, classes  # noqa: E402

ZOO = Path(__file__).parents[2] / "networks" / "zoo"
pytestmark = pytest.mark.usefixtures("one_thread")


def locals_of(source: str, function: str = "__init__") -> dict[str, str]:
    """The variables that functions of a generated file give values to, with their first values."""
    found: dict[str, str] = {}
    for defined in ast.walk(ast.parse(source)):
        if isinstance(defined, ast.FunctionDef) and defined.name == function:
            for each in ast.walk(defined):
                if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
                    found.setdefault(each.targets[0].id, ast.unparse(each.value))
    return found


def test_a_block_says_what_its_channels_are() -> None:
    made = locals_of(netspec.load(ZOO / "wide_resnet50_2.net").source("torch"))
    assert made["mid_channels"] == "2 * channels"
    assert made["out_channels"] == "4 * channels"
    assert made["channels"] == "64 * width"
    assert made["stage_channels"] == "channels * 2 ** stage"


def test_many_multiples_of_a_name_are_numbers() -> None:
    steps = "".join(
        f"x = x -> conv({n} * width, 3, pad = 1) -> conv({n} * width, 3, pad = 1) -> relu\n"
        for n in (2, 4, 8, 16)
    )
    text = f"net N(width = 2) {{\ninput x: [3, 5, 5]\n{steps}output x -> global_avg_pool\n}}"
    source = netspec.loads(text).source("torch")
    assert source.count("4 * width") > 3
    assert not locals_of(source)


NETS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    # A name stands for something else in between.
    "given again": (
        """net N(w = 2) {
            input x: [3, 5, 5]
            k = w
            y = x -> conv(3 * k + 1, 1) -> conv(3 * k + 1, 1)
            k = 2 * w
            y = y -> conv(3 * k + 1, 1) -> conv(3 * k + 1, 1)
            output y -> global_avg_pool
        }""",
        {"w": 3}, {"3 * k + 1"},
    ),
    "in turns": (
        """net N(w = 2, n = 3) {
            input x: [3, 5, 5]
            for i in range(n) {
                x = x -> conv(w * (i + 1), 1) -> batch_norm -> conv(w * (i + 1), 1)
            }
            output x -> global_avg_pool
        }""",
        {"n": 4}, {"w * (i + 1)"},
    ),
    # A division that only a case allows.
    "by a number that may be 0": (
        """net N(w = 4, parts = 2) {
            input x: [3, 5, 5]
            if parts > 0 {
                x = x -> conv(2 * (w // parts), 1) -> batch_norm -> conv(2 * (w // parts), 1)
            }
            if parts > 0 { x = x -> conv(2 * (w // parts), 1) }
            output x -> global_avg_pool
        }""",
        {"parts": 0}, {"2 * (w // parts)", "w // parts"},
    ),
    "names that are taken": (
        """block B(channels, features, out_channels, mid_channels) x {
            return x -> conv(channels * 2 + 1, 1) -> conv(channels * 2 + 1, 1)
                -> conv(out_channels * mid_channels * features, 1)
        }
        net N(w = 2) {
            input x: [3, 5, 5]
            first_channels = w + 1
            x = x -> conv(2 * w + first_channels, 1) -> conv(2 * w + first_channels, 1)
            output x -> B(w, 1, 2, first_channels) -> global_avg_pool
        }""",
        {"w": 3}, {"channels * 2 + 1", "2 * w + first_channels"},
    ),
    "in cases": (
        """net N(w = 2, wide = true) {
            input x: [3, 5, 5]
            if wide { x = x -> conv(w * w + 1, 1) -> batch_norm }
            else { x = x -> conv(w * w + 1, 3) }
            output x -> conv(w * w + 1, 1) -> global_avg_pool
        }""",
        {"wide": False}, {"w * w + 1"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_other_arguments(name: str) -> None:
    text, arguments, repeated = NETS[name]
    net = netspec.loads(text)
    check_equal(net)
    module = classes(net.source("torch"))[net.name](**arguments)
    check_against(module.double(), netspec.loads(text, **arguments).graph)
    assert repeated & set(locals_of(net.source("torch")).values())


def written(*statements: Any) -> list[str]:
    """A function of assignments (a name and a text) and of bodies that it may skip (lists)."""

    def write(repeated: Repeated, inner: tuple[Any, ...], depth: int) -> list[str]:
        lines: list[str] = []
        for each in inner:
            repeated.step()
            lines += repeated.locals(depth)
            if isinstance(each, list):
                mark = repeated.mark()
                repeated.enter()
                body = write(repeated, tuple(each), depth + 1)
                repeated.leave()
                if (
                    not body
                ):  # what was read for nothing is read again when the text is written anew
                    repeated.drop(mark)
                    continue
                lines += ["    " * depth + "if ...:", *body]
                continue
            if each == ("", ""):
                repeated.text("a * b * c")
                continue
            name, text = each
            lines.append("    " * depth + f"{name} = {repeated.text(text)}")
            repeated.gives([name])
        return lines

    repeated = Repeated(["a", "b", "c"])
    lines = write(repeated, statements, 0)
    if not repeated.plan({"a_times_b"}):
        return lines
    repeated.restart()
    return write(repeated, statements, 0)


@pytest.mark.parametrize(
    ("statements", "lines"),
    [
        # One operation that stands there twice is left alone; names and items always are.
        ([("x", "a * b"), ("y", "a * b")], None),
        ([("x", "c[0]"), ("y", "c[0]"), ("z", "c[0]"), ("u", "-a"), ("v", "-a"), ("w", "-a")], None),
        (
            [("x", "a * b"), ("y", "a * b"), ("z", "c - a * b")],
            ["a_times_b2 = a * b", "x = a_times_b2", "y = a_times_b2", "z = c - a_times_b2"],
        ),
        # `c - a * b` is no `(c - a) * b`.
        ([("x", "c - a * b"), ("y", "(c - a) * b"), ("z", "(c - a) * a")], None),
        # Brackets go with what they were around.
        (
            [("x", "2 * (a + b + c)"), ("y", "3 * (a + b + c)")],
            ["a_plus_b_plus_c = a + b + c", "x = 2 * a_plus_b_plus_c", "y = 3 * a_plus_b_plus_c"],
        ),
        # A variable is made before those that are made of it.
        (
            [*((name, "a + b + 1") for name in "xyz"), ("u", "a + b"), ("v", "a + b")],
            [
                "a_plus_b = a + b", "a_plus_b_plus_1 = a_plus_b + 1", "x = a_plus_b_plus_1",
                "y = a_plus_b_plus_1", "z = a_plus_b_plus_1", "u = a_plus_b", "v = a_plus_b",
            ],
        ),
        # What two bodies need is made in front of them, unless it can fail.
        (
            [[("x", "a * b * c")], [("y", "a * b * c")]],
            [
                "a_times_b_times_c = a * b * c", "if ...:", "    x = a_times_b_times_c", "if ...:",
                "    y = a_times_b_times_c",
            ],
        ),
        ([[("x", "a // b // c")], [("y", "a // b // c")]], None),
        ([("x", "a // b // 2 if b else 0"), ("y", "a // b // 2 if b else 1")], None),
        ([("x", "a * b * c"), ("a", "1"), ("y", "a * b * c")], None),
        ([("x", "a * b * c"), [("a", "1")], ("y", "a * b * c")], None),
        (
            [[("", "")], ("x", "a * b * c"), [("", "")], ("y", "a * b * c")],
            ["a_times_b_times_c = a * b * c", "x = a_times_b_times_c", "y = a_times_b_times_c"],
        ),
        ([[("", "")], ("x", "a * b * c"), ("y", "b")], None),
        ([("x", "(a, b + 1 + c)"), ("y", "[a + 1, b]"), ("z", "[a + 1, b]")], None),
    ],
)  # fmt: skip
def test_what_becomes_a_variable(statements: list[Any], lines: list[str] | None) -> None:
    found = written(*statements)
    if lines is None:
        kept = [s for s in statements if s != [("", "")]]
        assert len(found) == sum(1 + (len(s) if isinstance(s, list) else 0) for s in kept)
    else:
        assert found == lines
