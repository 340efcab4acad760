"""`--set name=value`: the language's constants, and errors that point into what was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netspec.compiler.overrides import parse_setting
from netspec.diagnostics import NetspecError
from tests.conftest import Run


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=5", 5), ("x = -2", -2), ("x=2.5", 2.5), ("x=1e-3", 1e-3), ("x=true", True),
        ("x=none", None), ('x="a b"', "a b"), ("x=same", "same"), ("x=[512,256]", (512, 256)),
        ("x=[a, [b, 2]]", ("a", ("b", 2))), ("x=[]", ()), ("x=2 ** 3 - 1", 7),
        ("x=max(1, 2)", 2), ("x=5 # five", 5), ("x=\n5", 5),
    ],
)  # fmt: skip
def test_settings_are_constants_of_the_language(text: str, value: Any) -> None:
    name, got = parse_setting(text)
    assert name == "x"
    assert got == value
    assert type(got) is type(value)


def test_a_setting_can_be_an_init_rule() -> None:
    assert str(parse_setting("x=normal(0.5)")[1]) == "normal(0.5, 0)"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x", 1), ("=3", 1), ("3x=3", 1), ("x=", 3), ("x=1 2", 3), ("x=1)", 3), ("x=[1,", 3),
        ("x=(1", 3), ("x=1, y=2", 3), ("x=16,32", 3), ("x=max(2", 3),
        ("x=1) { } net B(y=2", 3), ("x=nope + 1", 3), ("x=b if true else 1", 3), ("x=[1, 1/0]", 7),
        ('x="\\q"', 4), ("x=image -> relu", 3), ("x=" + "9" * 60, 3), ("x=" + "[" * 100, None),
    ],
)  # fmt: skip
def test_a_bad_setting_points_into_what_was_typed(text: str, column: int | None) -> None:
    with pytest.raises(NetspecError) as caught:
        parse_setting(text)
    span = caught.value.diagnostics[0].span
    assert span is not None
    assert span.source.text == text
    if column is not None:
        assert span.where == f"--set:1:{column}"


def test_a_list_without_brackets_is_told_where_they_belong() -> None:
    with pytest.raises(NetspecError) as caught:
        parse_setting("widths=16, 32, 96")
    (diagnostic,) = caught.value.diagnostics
    assert [hint.text for hint in diagnostic.hints] == [
        "a list stands in brackets: widths=[16, 32, 96]"
    ]


def test_a_setting_reaches_the_net(run: Run, networks: Path) -> None:
    finished = run("check", networks / "resnet.net", "--set", "depth=8", "--set", "width=4")
    assert "272,474" not in finished.out
    assert finished.code == 0
